"""Plays a scenario: what a person does, step by step, and what a real API server shows then, by the specification of Crossplane.

A scenario is a YAML list of steps.  Those that do something are as in the scenarios that were recorded from Crossplane; what is to be
seen is said here, with the paragraph that says so, where those compare with a recording.

    scenario: one line about it (first)
    composed-kinds: {group, kinds, namespaced: […]}   kinds that nobody reconciles, v1alpha1, with a status subresource
    apply: [manifests], with `refused: text` if the API server must refuse it in these words
    patch: {SELECT, patch, subresource}    a merge patch; with `refused`
    delete: {SELECT}    without waiting; with `refused`
    set-status: {SELECT, ready: true|false}    as a provider does
    expect: {SELECT, paragraph, and any of
        gone: true, count: number
        has: {path: value}    at a path with dots, which may name a condition: conditions[Ready].status; null: nothing is there
        event: {type, reason, message}    about it; the message is a part}
    every expectation is waited for.

SELECT: kind (`plural.group`), and any of name, namespace, template (the composed resource's name in its Composition), labels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.rig import ControlPlane

FOLDER = Path(__file__).parent
PATIENCE = 60.0  # seconds
TEMPLATE = "crossplane.io/composition-resource-name"
SELECTS = ("kind", "name", "namespace", "template", "labels")
DOES = ("composed-kinds", "apply", "patch", "delete", "set-status", "expect")
_PART = re.compile(r"(?P<name>[^.\[\]]+)|\[(?P<key>[^\]]+)\]")


@dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    steps: list[dict[str, Any]]


class Unmet(AssertionError):
    """Something else is to be seen than the scenario says."""


def scenarios() -> list[Scenario]:
    """All that there are, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.yaml"))]


def read(path: Path) -> Scenario:
    """A scenario.  Raises ValueError if it is none, or does not say which paragraph it goes by."""
    first, *steps = yaml.safe_load(path.read_text())
    for step in steps:
        (what, *_) = known = [name for name in step if name in DOES] or [""]
        if len(known) != 1 or not what or set(step) - {what, "refused"}:
            raise ValueError(f"{path.name}: {sorted(step)} is no step")
        if what == "expect" and not str(step[what].get("paragraph", "")).startswith("§"):
            raise ValueError(f"{path.name}: an expectation names no paragraph: {step[what]}")
    return Scenario(path.stem, first["scenario"], steps)


class Play:
    """One scenario on a control plane where an operator works."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._does: Mapping[str, Callable[[Any, str], None]] = {
            "composed-kinds": self._composed_kinds,
            "apply": self._apply,
            "patch": self._patch,
            "delete": self._delete,
            "set-status": self._set_status,
            "expect": self._expect,
        }

    def run(self, scenario: Scenario) -> None:
        """Raises Unmet with the step that did not go as it should."""
        for number, step in enumerate(scenario.steps, 1):
            (what,) = (name for name in step if name in DOES)
            try:
                self._does[what](step[what], step.get("refused", ""))
            except AssertionError as error:
                raise Unmet(f"{scenario.name}, step {number}, {what}: {error}") from error

    # --- what is done ---------------------------------------------------------------------------------

    def _composed_kinds(self, said: dict[str, Any], refused: str) -> None:
        free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}}
        version = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema}
        kinds = [(kind, "Cluster") for kind in said.get("kinds", ())]
        for kind, scope in (*kinds, *((kind, "Namespaced") for kind in said.get("namespaced", ()))):
            names = {"kind": kind, "plural": f"{kind.lower()}s"}
            manifest = {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{names['plural']}.{said['group']}"},
                "spec": {
                    "group": said["group"],
                    "scope": scope,
                    "names": names,
                    "versions": [{**version, "subresources": {"status": {}}}],
                },
            }
            self._plane.apply(manifest)
        self._plane.wait_for_kinds()

    def _apply(self, manifests: list[dict[str, Any]], refused: str) -> None:
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        self._sent(refused, "apply", "--server-side", "--force-conflicts", "-f", "-", input=manifest)

    def _patch(self, said: dict[str, Any], refused: str) -> None:
        more = ("--subresource", said["subresource"]) if "subresource" in said else ()
        for place in self._places(said):
            self._sent(refused, "patch", *place, "--type=merge", "-p", json.dumps(said["patch"]), *more)

    def _delete(self, said: dict[str, Any], refused: str) -> None:
        for place in self._places(said):
            self._sent(refused, "delete", *place, "--wait=false")

    def _set_status(self, said: dict[str, Any], refused: str) -> None:
        told = {"reason": "Said", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        conditions = [
            {"type": "Synced", "status": "True", **told},
            {"type": "Ready", "status": str(said["ready"]), **told},
        ]
        self._patch({**said, "patch": {"status": {"conditions": conditions}}, "subresource": "status"}, refused)

    def _sent(self, refused: str, *args: str, input: str | None = None) -> None:
        """Until it is taken, for a kind may take a moment to be served; or, if so, until it is refused in these words."""

        def is_so() -> bool:
            done = self._plane.kubectl(*args, input=input, check=False)
            said.append(done.stderr)
            return bool(done.returncode) and refused in done.stderr if refused else not done.returncode

        said: list[str] = []
        try:
            self._plane.wait("", is_so, seconds=PATIENCE)
        except AssertionError:
            raise Unmet(f"{'not refused' if refused else 'not taken'}: {said[-1].strip()}") from None

    # --- what is seen ---------------------------------------------------------------------------------

    def _found(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        where = ["-n", said["namespace"]] if "namespace" in said else ["-A"]
        listed = (self._plane.get(said["kind"], *where) or {}).get("items", ())
        labels = said.get("labels", {}).items()
        return [
            obj
            for obj in listed
            for metadata in [obj["metadata"]]
            if said.get("name", metadata["name"]) == metadata["name"]
            and labels <= metadata.get("labels", {}).items()
            and ("template" not in said or metadata.get("annotations", {}).get(TEMPLATE) == said["template"])
        ]

    def _places(self, said: dict[str, Any]) -> list[list[str]]:
        """For kubectl; waits until something is there."""
        found = self._plane.wait(f"{said} is there", lambda: self._found(said))
        return [
            [said["kind"], obj["metadata"]["name"], *_in_namespace(obj["metadata"].get("namespace"))] for obj in found
        ]

    def _expect(self, said: dict[str, Any], refused: str) -> None:
        unmet: list[str] = []

        def is_so() -> bool:
            unmet[:] = self._unmet(said)
            return not unmet

        try:
            self._plane.wait("", is_so, seconds=PATIENCE)
        except AssertionError:
            about = {name: said[name] for name in SELECTS if name in said}
            raise Unmet(f"{said['paragraph']}: {about}: {'; '.join(unmet)}") from None

    def _unmet(self, said: dict[str, Any]) -> list[str]:
        found = self._found(said)
        if said.get("gone"):
            return [f"{len(found)} are there"] if found else []
        if "count" in said:
            return [f"{len(found)} are there"] if len(found) != said["count"] else []
        if not found:
            return ["there is none"]
        wrong = [
            f"{path} is {json.dumps(value)}, not {json.dumps(wanted)}"
            for obj in found
            for path, wanted in said.get("has", {}).items()
            for value in [at(obj, path)]
            if value != wanted
        ]
        if event := said.get("event"):
            wrong += [f"no event {event}" for obj in found if not self._has_event(obj, event)]
        return wrong

    def _has_event(self, obj: dict[str, Any], wanted: dict[str, str]) -> bool:
        events = (self._plane.get("events", "-A") or {}).get("items", ())
        return any(
            event["involvedObject"].get("uid") == obj["metadata"]["uid"]
            and event["type"] == wanted["type"]
            and event["reason"] == wanted["reason"]
            and wanted.get("message", "") in event.get("message", "")
            for event in events
        )


def at(obj: Any, path: str) -> Any:
    """What is at a path; None where nothing is.

    >>> at({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "status.conditions[Ready].status")
    'True'
    >>> at({"metadata": {"labels": {"crossplane.io/composite": "a"}}}, "metadata.labels[crossplane.io/composite]")
    'a'
    """
    for part in _PART.finditer(path):
        name = part["name"] or part["key"]
        if isinstance(obj, list):
            by_type = (each for each in obj if isinstance(each, dict) and each.get("type") == name)
            obj = obj[int(name)] if name.isdigit() and int(name) < len(obj) else next(by_type, None)
        else:
            obj = obj.get(name) if isinstance(obj, dict) else None
    return obj


def _in_namespace(namespace: str | None) -> list[str]:
    return ["-n", namespace] if namespace else []
