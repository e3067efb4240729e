"""What a CustomResourceDefinition of ours says of itself, and what to do with the one of that name that a cluster has.

The mark is an annotation: the version of Groundplane, and the digest of what is declared.  By it a definition is known as ours, as current, and
as newer than what this process brings: a rollback must take no field and no version from objects that are stored already.
"""

from __future__ import annotations

import hashlib
import json
import re
from enum import Enum, auto

from groundplane.core.objects import Object

MARK = "groundplane.io/crd"  # "<version>-<12 hex digits>"
DIGITS = 12


class Step(Enum):
    APPLY = auto()
    CURRENT = auto()
    NEWER = auto()  # a later Groundplane brought it: it stays
    FOREIGN = auto()  # somebody else brought it: it is used as it is


def marked(crd: Object, version: str) -> Object:
    """The definition with its mark, as this version of Groundplane brings it."""
    text = json.dumps(crd["spec"], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    metadata = crd["metadata"]
    annotations = {**(metadata.get("annotations") or {}), MARK: f"{version}-{digest}"}
    return {**crd, "metadata": {**metadata, "annotations": annotations}}


def step(ours: str, theirs: str | None, *, adopt: bool = False) -> Step:
    """What to do, by two marks: `ours`, and of the definition that is there; None: there is none, "": it has no mark.

    `adopt`: take one without a mark over.

    >>> step("1.2.0-aaaaaaaaaaaa", "1.10.0-bbbbbbbbbbbb").name
    'NEWER'
    """
    if theirs is None:
        return Step.APPLY
    if not theirs:
        return Step.APPLY if adopt else Step.FOREIGN
    if _digest(ours) == _digest(theirs):
        return Step.CURRENT
    return Step.NEWER if _version(theirs) > _version(ours) else Step.APPLY


def _digest(mark: str) -> str:
    return mark.rpartition("-")[2]


def _version(mark: str) -> tuple[tuple[int, ...], bool]:
    """Comparable; a pre-release comes before its release."""
    numbers = re.match(r"[0-9]+(\.[0-9]+)*", mark)
    version = mark.rpartition("-")[0]
    if not numbers:
        return (), False
    parts = [int(part) for part in numbers[0].split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts), version == numbers[0]
