"""What each patch did, step by step: for people who wonder where a value came from.

A `Trace` is handed along with a render and filled while it runs.  Without one, nothing of this happens.
Values that come out of a Secret, or go into one, are masked before they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from groundplane.core import fieldpath
from groundplane.core.objects import Json, Object

MASK = "********"


@dataclass
class Told:
    """One patch's run; `skipped` or `error` says why nothing was written."""

    place: tuple[str, ...]  # ("resource instance", "patches[0]")
    type: str
    sources: tuple[str, ...]  # the paths that are read
    target: str  # the path that is written
    policy: str = ""
    masked: bool = field(default=False, repr=False)
    inputs: list[tuple[str, Json]] = field(default_factory=list)  # path → value, for those that are there
    steps: list[tuple[str, Json]] = field(default_factory=list)  # what was done to the value → what it was then
    written: list[tuple[str, Json]] = field(default_factory=list)  # path → what is there now
    skipped: str = ""
    error: str = ""

    def read(self, path: str, value: Json) -> None:
        self.inputs.append((path, self._kept(value)))

    def step(self, what: str, value: Json) -> None:
        self.steps.append((what, self._kept(value)))

    def wrote(self, path: str, value: Json) -> None:
        self.written.append((path, self._kept(value)))

    def _kept(self, value: Json) -> Json:
        return MASK if self.masked and value is not None else fieldpath.copied(value)


class Trace:
    """All that was told in one render, in the order in which it happened."""

    def __init__(self, told: list[Told] | None = None, place: tuple[str, ...] = ()) -> None:
        self.told = [] if told is None else told
        self._place = place

    def within(self, *place: str) -> Trace:
        """The same trace, as it is seen from further down."""
        return Trace(self.told, (*self._place, *place))

    def begin(
        self,
        place: Sequence[str],
        *,
        type: str,
        sources: Sequence[str],
        target: str,
        policy: str = "",
        between: Sequence[Mapping[str, Json]] = (),
    ) -> Told:
        """Start on the next patch; `between` are the two objects that it copies between."""
        told = Told(
            (*self._place, *place),
            type,
            tuple(sources),
            target,
            policy=policy,
            masked=any(is_secret(obj) for obj in between),
        )
        self.told.append(told)
        return told


LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # annotation: the whole object again


def masked_secret(secret: Object) -> Object:
    """A Secret without its values, and without the annotation in which kubectl keeps them, too."""
    found = {
        name: dict.fromkeys(value, MASK) if name in ("data", "stringData") and isinstance(value, dict) else value
        for name, value in secret.items()
    }
    metadata = secret.get("metadata")
    if isinstance(metadata, dict) and LAST_APPLIED in (metadata.get("annotations") or {}):
        found["metadata"] = {**metadata, "annotations": {**metadata["annotations"], LAST_APPLIED: MASK}}
    return found


def is_secret(obj: Mapping[str, Json] | Object) -> bool:
    """Whether an object's values are nobody's business.

    >>> is_secret({"apiVersion": "v1", "kind": "Secret"}), is_secret({"apiVersion": "v1", "kind": "ConfigMap"})
    (True, False)
    """
    return obj.get("kind") == "Secret" and obj.get("apiVersion") == "v1"
