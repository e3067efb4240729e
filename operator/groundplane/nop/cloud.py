"""The Cloud port over nothing: a resource is there as long as its object, and says what its spec has it say.

Source: crossplane-contrib/provider-nop, internal/controller/nopresource/nopresource.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from groundplane.core import durations
from groundplane.core.conditions import Condition, moment
from groundplane.core.connection import check_key
from groundplane.core.objects import Object, is_deleting, meta, spec_of, status_of
from groundplane.errors import InvalidInput, at
from groundplane.nop.kinds import API_VERSION, KINDS
from groundplane.ports import Account, Creation, Default, ManagedKind, Observation


class NopCloud:
    """`ports.Cloud` for provider-nop's kinds."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    def kind(self, api_version: str, kind: str) -> ManagedKind | None:
        return KINDS.get(kind) if api_version == API_VERSION else None

    def kinds(self) -> Sequence[ManagedKind]:
        return tuple(KINDS.values())

    def default_external_name(self, managed: Object) -> str:
        return str(meta(managed)["name"])

    def check(self, managed: Object) -> None:
        asked = _asked(managed)
        for place, entry in enumerate(asked.get("conditionAfter") or ()):
            with at(f"spec.forProvider.conditionAfter[{place}].time"):
                durations.seconds(str(entry["time"]))
        for place, detail in enumerate(asked.get("connectionDetails") or ()):
            with at(f"spec.forProvider.connectionDetails[{place}].name"):
                check_key(str(detail["name"]))
        if "deleteAfter" in asked:
            with at("spec.forProvider.deleteAfter"):
                durations.seconds(str(asked["deleteAfter"]))

    async def check_account(self, account: Account) -> None:
        return None

    def defaults(self, managed: Object) -> Sequence[Default]:
        return ()

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        at_provider = status_of(managed).get("atProvider") or {}
        if is_deleting(managed):
            return _leaving(managed, self._since(meta(managed)["deletionTimestamp"]), at_provider)
        asked = _asked(managed)
        told, left = due(asked.get("conditionAfter") or (), self._since(meta(managed)["creationTimestamp"]))
        return Observation(
            exists=True,
            ready=told.pop("Ready", None),
            conditions=tuple(each for type_, each in told.items() if type_ != "Synced"),  # the reconciler's
            next_look=left,
            at_provider=at_provider,
            connection={
                str(each["name"]): str(each["value"]).encode() for each in asked.get("connectionDetails") or ()
            },
        )

    async def find(self, managed: Object, account: Account) -> str | None:
        return self.default_external_name(managed)

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        return Creation(self.default_external_name(managed))

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        return {}

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        if text := _asked(managed).get("deleteError"):
            raise InvalidInput(str(text), mend="take spec.forProvider.deleteError out")

    async def let_go(self, managed: Object) -> None:
        return None

    def _since(self, timestamp: str) -> float:
        then = moment(timestamp)
        return (self._now() - then).total_seconds() if then else 0.0


def due(entries: Iterable[Mapping[str, Any]], age: float) -> tuple[dict[str, Condition], float | None]:
    """The conditions of this age, by type, and the seconds until there are others; None: there will be none.

    Of each type the latest one counts, of equally late ones the one written first.

    >>> soon = {"time": "5s", "conditionType": "Ready", "conditionStatus": "False"}
    >>> late = {"time": "1m", "conditionType": "Ready", "conditionStatus": "True", "conditionReason": "Here"}
    >>> due([late, soon], 10.0)
    ({'Ready': Condition(type='Ready', status='False', reason='', message='')}, 50.0)
    """
    timed = [(durations.seconds(str(entry["time"])), entry) for entry in entries]
    found: dict[str, Condition] = {}
    for time, entry in sorted(timed, key=lambda each: -each[0]):
        if time <= age:
            type_ = str(entry["conditionType"])
            reason = str(entry.get("conditionReason") or "")
            found.setdefault(type_, Condition(type_, str(entry["conditionStatus"]), reason))
    return found, min((time - age for time, _ in timed if time > age), default=None)


def _leaving(managed: Object, passed: float, at_provider: Mapping[str, Any]) -> Observation:
    """What is seen of one that is being deleted."""
    asked = _asked(managed)
    if asked.get("deleteError"):
        told = Condition("Deletion", "False", "DeletionFailed")
        return Observation(exists=True, at_provider=at_provider, conditions=(told,))
    with at("spec.forProvider.deleteAfter"):
        left = durations.seconds(str(asked.get("deleteAfter") or "0")) - passed
    if left <= 0:
        return Observation(exists=False)
    told = Condition("Deletion", "False", "DeletionPending")
    return Observation(exists=True, deleting=True, at_provider=at_provider, conditions=(told,), next_look=left)


def _asked(managed: Object) -> Mapping[str, Any]:
    return spec_of(managed).get("forProvider") or {}
