"""Tests that run the real reconcilers: a control plane in memory, against a cloud that obeys or against AWS's stand-in.

What a step asserts has to become so within its test's patience; the clock is the real one.  Source: author-tools specification, §6.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from groundplane.aws.cloud import AwsCloud
from groundplane.core import conditions
from groundplane.core.assertions import Outcome
from groundplane.core.composition_tests import Patches, Step
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    controller_of,
    group_of,
    key_of,
    merge_patched,
    meta,
    spec_of,
    status_of,
)
from groundplane.core.rehearsal import Misuse, patched
from groundplane.errors import GroundplaneError, NoSuchKind, NotFound, did_you_mean
from groundplane.ports import Account, Cloud, Creation, Default, ManagedKind, Observation, Options
from groundplane.runtime.local import LocalControlPlane

MANAGER = "groundplane-test"
GLANCE = 0.05  # seconds between two looks
POLL = 1.0  # seconds until a settled resource is looked at again
STAYS = 2.5 * POLL  # seconds without any change after which what is not ready is taken not to become so
CONFIGS = (
    ("aws.upbound.io/v1beta1", "ProviderConfig"),
    ("aws.m.upbound.io/v1beta1", "ClusterProviderConfig"),
)


def lacking(objects: Sequence[Object]) -> Iterator[Object]:
    """The ProviderConfigs that managed resources of AWS name unless they say otherwise, as far as none of their kinds is given."""
    for api_version, kind in CONFIGS:
        if not any(obj["kind"] == kind and group_of(obj["apiVersion"]) == group_of(api_version) for obj in objects):
            spec = {"credentials": {"source": "InjectedIdentity"}}
            yield {"apiVersion": api_version, "kind": kind, "metadata": {"name": "default"}, "spec": spec}


class Obedient:
    """`ports.Cloud` with AWS's kinds, where each resource is there, as wanted, from the moment that it is asked for."""

    def __init__(self) -> None:
        self._aws = AwsCloud()
        self._made: dict[str, str] = {}  # UID → external name
        self.observed: dict[str, Mapping[str, Any]] = {}  # template → what its status shows

    def kind(self, api_version: str, kind: str) -> ManagedKind | None:
        return self._aws.kind(api_version, kind)

    def kinds(self) -> Sequence[ManagedKind]:
        return self._aws.kinds()

    def default_external_name(self, managed: Object) -> str:
        return self._aws.default_external_name(managed)

    def check(self, managed: Object) -> None:
        self._aws.check(managed)

    async def check_account(self, account: Account) -> None:
        return None

    def defaults(self, managed: Object) -> Sequence[Default]:
        return self._aws.defaults(managed)

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        name = self._made.get(meta(managed)["uid"])
        if name is None:
            return Observation(exists=False)
        shown = self.observed.get(annotations_of(managed).get(TEMPLATE_ANNOTATION) or "", {})
        ready = _ready(shown) or conditions.available()
        at_provider = merge_patched(
            {**spec_of(managed).get("forProvider", {}), "id": name}, shown.get("atProvider") or {}
        )
        connection = {key: value.encode() for key, value in secrets.items()}
        return Observation(exists=True, ready=ready, at_provider=at_provider, connection=connection)

    async def find(self, managed: Object, account: Account) -> str | None:
        return self._made.get(meta(managed)["uid"], "")

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        name = self.default_external_name(managed) or f"made-{meta(managed)['uid'][:8]}"
        self._made[meta(managed)["uid"]] = name
        return Creation(name)

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        return {}

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        self._made.pop(meta(managed)["uid"], None)

    async def let_go(self, managed: Object) -> None:
        return None


def _ready(shown: Mapping[str, Any]) -> conditions.Condition | None:
    for each in shown.get("conditions") or ():
        if each.get("type") == "Ready":
            is_true = each.get("status") == "True"
            return conditions.available() if is_true else conditions.unavailable(str(each.get("message") or ""))
    return None


class Trial:
    """One test on a control plane of its own."""

    def __init__(self, plane: LocalControlPlane, obedient: Obedient | None, patience: float) -> None:
        self._plane, self._obedient, self._patience = plane, obedient, patience
        self._subject: Key | None = None
        self._refused: list[str] = []
        self._objects: dict[Key, Object] = {}  # all that is there
        self._seen = plane.cluster.version()  # as of which version of the store

    async def prepare(self, objects: Sequence[Object]) -> None:
        """Have the platform in the control plane: definitions, Compositions, whatever else is given.

        Raises:
            Misuse: it is refused, or its kind does not come.
        """
        for config in lacking(objects):
            await self._apply(config)
        for obj in objects:
            try:
                await self._apply(obj)
            except GroundplaneError as error:
                raise Misuse(f"{key_of(obj)} can't be applied: {error.what}", mend=error.mend) from None

    async def play(
        self, subjects: Sequence[Object], step: Step, patches: Patches, problems: Callable[[Outcome], list[str]]
    ) -> Outcome:
        """Do the step; what is there as soon as `problems` finds none in it, or when patience ends.

        Raises:
            Misuse: the step makes no sense.
        """
        self._refused = []
        since = self._plane.cluster.version()
        for given in subjects:
            obj = patched(patched(given, patches), step.patches)
            try:
                await self._apply(obj)
                self._subject = key_of(obj)
            except GroundplaneError as error:
                self._refused.append(str(error))
        await self._observe(step)
        now = asyncio.get_running_loop().time
        begun = now()
        end, changed = begun + self._patience, begun
        is_negative = any(each.ready is False for each in step.assertions)  # so of what has not begun yet, too
        judged, is_right, outcome = (
            -1,
            False,
            Outcome(),
        )  # the store's version that was judged last, and what came of it
        while True:
            await self._plane.idle(max(0.0, end - now()))
            is_over, version = now() >= end, self._plane.cluster.version()
            if version != judged or is_over:
                judged, changed, outcome = version, now(), await self._outcome(since)
                is_right = not problems(outcome)
            if is_over or (is_right and (not is_negative or now() - changed >= STAYS)):
                return outcome
            await asyncio.sleep(GLANCE)

    async def _apply(self, obj: Object) -> None:
        """Apply it, as soon as its kind is there."""
        end = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                await self._plane.cluster.apply(obj, manager=MANAGER)
                return
            except (NoSuchKind, NotFound) as error:
                if isinstance(error, NotFound) and meta(obj).get("namespace"):
                    namespace = {
                        "apiVersion": "v1",
                        "kind": "Namespace",
                        "metadata": {"name": obj["metadata"]["namespace"]},
                    }
                    await self._plane.cluster.apply(namespace, manager=MANAGER)
                elif asyncio.get_running_loop().time() >= end:
                    raise
            await asyncio.sleep(GLANCE)

    async def _observe(self, step: Step) -> None:
        """Have what is composed look as the step says."""
        if not step.observe:
            return
        await self._plane.idle(self._patience)
        composed = (await self._outcome(0)).composed
        for name, changes in step.observe.items():
            if name not in composed:
                raise Misuse(f"observe: nothing composed is called {name}", mend=did_you_mean(name, composed))
            obj = composed[name]
            if self._obedient is None:
                raise Misuse(
                    "observe: what AWS's stand-in has is observed as it is", mend="set run: engine, or leave it out"
                )
            if self._plane.cloud.kind(obj["apiVersion"], obj["kind"]):
                self._obedient.observed[name] = changes.get("status") or {}
                self._plane.dispatcher.enqueue(key_of(obj))
            else:
                current = await self._plane.cluster.get(key_of(obj))
                await self._plane.cluster.update(
                    {**(current or obj), "status": merge_patched(status_of(obj), changes.get("status"))},
                    subresource="status",
                )

    async def _outcome(self, since: int) -> Outcome:
        objects = self._look()
        subject = next((obj for obj in objects if key_of(obj) == self._subject), None)
        if subject is None:
            return Outcome(errors=list(self._refused))
        reference = spec_of(subject).get("resourceRef")
        composite = subject
        if isinstance(reference, dict):
            named = (group_of(reference.get("apiVersion", "")), reference.get("kind"), reference.get("name"))
            composite = next(
                (obj for obj in objects if (group_of(obj["apiVersion"]), obj["kind"], meta(obj)["name"]) == named), {}
            )
        uid = meta(composite).get("uid")
        composed = {
            annotations_of(obj).get(TEMPLATE_ANNOTATION) or str(key_of(obj)): obj
            for obj in objects
            if uid and (controller_of(obj) or {}).get("uid") == uid and obj["kind"] not in _OWN
        }
        written = [c for c in self._plane.cluster.changes(since) if c.object["kind"] not in _TOLD]
        family = [subject, *([composite] if composite is not subject and composite else []), *composed.values()]
        uids = {meta(obj).get("uid") for obj in family}
        events = [
            obj for obj in objects if obj["kind"] == "Event" and (obj.get("involvedObject") or {}).get("uid") in uids
        ]
        return Outcome(
            composite=composite or None,
            claim=subject if composite is not subject else None,
            composed=composed,
            ready=conditions.is_true(subject, "Ready"),
            writes=len(written),
            keys=await self._keys(subject),
            errors=[*self._refused, *(text for obj in family for text in _failures(obj))],
            results=[(str(event.get("type", "")).upper(), str(event.get("message", ""))) for event in events],
        )

    def _look(self) -> list[Object]:
        """All that is there, but for definitions."""
        for change in self._plane.cluster.changes(self._seen):
            self._seen = max(self._seen, change.rv)
            key = key_of(change.object)
            if change.type == "DELETED":
                self._objects.pop(key, None)
            elif key.kind != "CustomResourceDefinition":
                self._objects[key] = change.object
        return list(self._objects.values())

    async def _keys(self, subject: Object) -> frozenset[str]:
        reference = spec_of(subject).get("writeConnectionSecretToRef")
        if not isinstance(reference, dict) or not reference.get("name"):
            return frozenset()
        namespace = meta(subject).get("namespace") or reference.get("namespace") or ""
        secret = await self._plane.cluster.get(Key("v1", "Secret", namespace, reference["name"]))
        return frozenset((secret or {}).get("data") or {})


_OWN = frozenset({"Secret", "ProviderConfigUsage", "Event"})  # what the reconcilers themselves make
_TOLD = frozenset({"Event", "Namespace"})


def _failures(obj: Object) -> list[str]:
    found = conditions.find(obj, "Synced")
    return [f"{key_of(obj)}: {found.get('message', '')}"] if found and found.get("status") == "False" else []


@asynccontextmanager
async def trial(*, obeys: bool, patience: float) -> AsyncIterator[Trial]:
    """A control plane in memory for one test: with a cloud that `obeys`, or with AWS as the process's environment has it."""
    obedient = Obedient() if obeys else None
    cloud: Cloud = obedient or AwsCloud()
    async with LocalControlPlane(options=Options(poll_interval=POLL), cloud=cloud) as plane:
        yield Trial(plane, obedient, patience)
    if isinstance(cloud, AwsCloud):
        cloud.close()
