"""The kinds that the embedded store serves: a few built in, every other by its CustomResourceDefinition.

What a real API server does to a CRD when it is written (defaults, names, Established), and the schema that an object of
the kind is admitted with.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from groundplane.core import schema
from groundplane.core.objects import Object, meta
from groundplane.errors import NoSuchKind, Rejected
from groundplane.ports import Resource

CRD_VERSION = "apiextensions.k8s.io/v1"
CRD_KIND = "CustomResourceDefinition"

BUILT_IN = {
    ("", "Namespace"): Resource("v1", "Namespace", "namespaces", namespaced=False),
    ("", "Secret"): Resource("v1", "Secret", "secrets", namespaced=True, has_status=False),
    ("", "ConfigMap"): Resource("v1", "ConfigMap", "configmaps", namespaced=True, has_status=False),
    ("", "Event"): Resource("v1", "Event", "events", namespaced=True, has_status=False),
    ("apiextensions.k8s.io", CRD_KIND): Resource(CRD_VERSION, CRD_KIND, "customresourcedefinitions", namespaced=False),
}


@dataclass
class Version:
    """One served version of a kind."""

    name: str
    openapi: dict[str, Any] | None
    has_status: bool
    compiled: Any = None


@dataclass
class Kind:
    """A custom kind as its CRD declares it."""

    group: str
    kind: str
    plural: str
    namespaced: bool
    deleting: bool
    versions: dict[str, Version] = field(default_factory=dict)

    def version(self, api_version: str) -> Version:
        name = api_version.rpartition("/")[2]
        found = self.versions.get(name)
        if found is None:
            served = ", ".join(sorted(self.versions))
            raise NoSuchKind(
                f'no matches for kind "{self.kind}" in version "{api_version}"', mend=f"it is served as {served}"
            )
        return found

    def resource(self, api_version: str) -> Resource:
        version = self.version(api_version)
        return Resource(api_version, self.kind, self.plural, namespaced=self.namespaced, has_status=version.has_status)

    def admit(self, obj: Object, old: Object | None) -> Object:
        """Default, prune and validate, as the schema of the object's version says.  Raises Rejected."""
        version = self.version(obj["apiVersion"])
        if version.openapi is None:
            return obj
        if version.compiled is None:
            version.compiled = schema.admission(version.openapi)
        return schema.admit(version.compiled, obj, old=old)


def read(crd: Object) -> Kind:
    spec = crd["spec"]
    kind = Kind(
        group=spec["group"],
        kind=spec["names"]["kind"],
        plural=spec["names"]["plural"],
        namespaced=spec.get("scope") == "Namespaced",
        deleting=bool(meta(crd).get("deletionTimestamp")),
    )
    for version in spec.get("versions") or ():
        if version.get("served"):
            kind.versions[version["name"]] = Version(
                version["name"],
                (version.get("schema") or {}).get("openAPIV3Schema"),
                "status" in (version.get("subresources") or {}),
            )
    return kind


def accept(crd: Object, others: list[Object], now: str) -> Object:
    """The CRD as the API server keeps it: defaulted, Established, its names accepted.

    Raises:
        Rejected: with the API server's words for a wrong name, versions or schema.
    """
    problems = _problems(crd)
    if problems:
        listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise Rejected(f'{CRD_KIND}.apiextensions.k8s.io "{meta(crd).get("name")}" is invalid: {listed}')
    crd = copy.deepcopy(crd)
    spec = crd["spec"]
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})
    taken = _taken(crd, others)
    told = [
        {
            "type": "NamesAccepted",
            "status": "False" if taken else "True",
            "reason": "KindConflict" if taken else "NoConflicts",
            "message": taken or "no conflicts found",
            "lastTransitionTime": now,
        },
        {
            "type": "Established",
            "status": "False" if taken else "True",
            "reason": "NotAccepted" if taken else "InitialNamesAccepted",
            "message": "not all names are accepted" if taken else "the initial names have been accepted",
            "lastTransitionTime": now,
        },
    ]
    status = crd.setdefault("status", {})
    before = {c["type"]: c for c in status.get("conditions") or ()}
    for condition in told:
        if before.get(str(condition["type"]), {}).get("status") == condition["status"]:
            condition["lastTransitionTime"] = before[str(condition["type"])]["lastTransitionTime"]
    status["conditions"] = told
    status["acceptedNames"] = dict(names)
    storage = next(v["name"] for v in spec["versions"] if v.get("storage"))
    stored = status.setdefault("storedVersions", [])
    if storage not in stored:
        stored.append(storage)
    return crd


def _problems(crd: Object) -> list[str]:
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    problems = [
        f"spec.{path}: Required value"
        for path, value in (
            ("group", spec.get("group")),
            ("names.kind", names.get("kind")),
            ("names.plural", names.get("plural")),
            ("scope", spec.get("scope")),
            ("versions", spec.get("versions")),
        )
        if not value
    ]
    if problems:
        return problems
    name = meta(crd).get("name")
    if name != f"{names['plural']}.{spec['group']}":
        problems.append(f'metadata.name: Invalid value: "{name}": must be spec.names.plural+"."+spec.group')
    if sum(bool(v.get("storage")) for v in spec["versions"]) != 1:
        problems.append("spec.versions: Invalid value: must have exactly one version marked as storage version")
    for index, version in enumerate(spec["versions"]):
        openapi = (version.get("schema") or {}).get("openAPIV3Schema")
        if openapi is None:
            problems.append(f"spec.versions[{index}].schema.openAPIV3Schema: Required value: schemas are required")
        else:
            problems += schema.defects(openapi, f"spec.versions[{index}].schema.openAPIV3Schema")
    return problems


def _taken(crd: Object, others: list[Object]) -> str:
    """Which name another CRD of the group has, if any."""
    spec = crd["spec"]
    for other in others:
        theirs = other["spec"]
        if meta(other)["name"] == meta(crd)["name"] or theirs["group"] != spec["group"]:
            continue
        for name in ("plural", "singular", "kind", "listKind"):
            if theirs["names"].get(name) == spec["names"].get(name):
                return f'"{spec["names"][name]}" is already in use'
    return ""


def names_text(kind: Kind) -> str:
    """How messages call the kind: "databases.platform.example.com"."""
    return f"{kind.plural}.{kind.group}"
