"""In which order what a composite is composed of is deleted: who uses something goes before what it uses.

Who uses what is read from the objects themselves, as they are now: it needs no Composition, survives a restart, and holds
for what an older revision composed.  An object uses another one where it names it in a reference, where a field that a
reference fills has the other one's value, and where a Usage says so.  Sequences, in which things were made, are handed in: what
was made later goes first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from groundplane.core import usages
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import Key, Object, annotations_of, group_of, key_of, meta, spec_of
from groundplane.core.references import BLOCKS, Reference, value_of

OUTPUTS = ("writeConnectionSecretToRef", "publishConnectionDetailsTo", "resourceRef", "resourceRefs", "claimRef")

SEQUENCES = "groundplane.io/sequences"  # annotation of a composite: in which order its pipeline makes things, JSON
# Whoever may edit the composite may write it, and have us compile it.
MOST_NOTED = 8 << 10  # bytes of it that are written, and read
NOTED_MEMORY = 64 << 10  # bytes that one of its patterns may take

References = Callable[
    [str, str], Sequence[Reference]
]  # of a kind, by api version and kind; () of one that is not managed


Sequences = Sequence[Sequence[Callable[[str], bool]]]  # each element says whether it means a template, by its name


def users(objects: Sequence[Object], references: References, sequences: Sequences = ()) -> dict[Key, list[Key]]:
    """Who of these objects still needs each of them; [] of what may be deleted now.

    Where nothing is free since they need each other in a circle, one of it is.
    """
    known = {key_of(obj): obj for obj in objects}
    index = _Index(objects)
    needs: dict[Key, set[Key]] = {key: set() for key in known}
    for key, obj in known.items():
        if usages.is_usage(key):
            of, by = (index.party(obj, side) for side in ("of", "by"))
            needs[key] |= {each for each in of if each != key}
            for user in by:
                needs[user] |= {key} - {user}
        else:
            needs[key] |= {each for each in _used(obj, index, references(key.api_version, key.kind)) if each != key}
    for sequence in sequences:
        _follow(sequence, objects, needs)
    found: dict[Key, list[Key]] = {key: [] for key in known}
    for key in sorted(needs):
        for used in needs[key]:
            found[used].append(key)
    if found and all(found.values()):
        found[_in_circle(found)] = []
    return found


def note_sequences(composite: Object, sequences: Sequence[Sequence[str]]) -> None:
    """Note on a composite, in place, in which order its pipeline makes things: its deletion follows that, also when the Composition is gone by then.

    What is too long for an annotation is not noted.
    """
    text = json.dumps(sequences, separators=(",", ":")) if sequences else ""
    metadata = composite["metadata"]
    if text and len(text) <= MOST_NOTED:
        metadata.setdefault("annotations", {})[SEQUENCES] = text
    elif SEQUENCES in annotations_of(composite):
        del metadata["annotations"][SEQUENCES]


def noted_sequences(composite: Object) -> list[list[str]]:
    """What `note_sequences` has noted; [] if that is nothing, or somebody has made something else of it, or something longer.

    >>> noted_sequences({"metadata": {"annotations": {SEQUENCES: '[["network", "database-.*"]]'}}})
    [['network', 'database-.*']]
    >>> noted_sequences({"metadata": {"annotations": {SEQUENCES: '["network"]'}}})
    []
    """
    text = annotations_of(composite).get(SEQUENCES) or "[]"
    if len(text) > MOST_NOTED:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    is_so = isinstance(found, list) and all(
        isinstance(sequence, list) and all(isinstance(pattern, str) for pattern in sequence) for sequence in found
    )
    return found if is_so else []


def _follow(sequence: Sequence[Callable[[str], bool]], objects: Sequence[Object], needs: dict[Key, set[Key]]) -> None:
    """What is at a place is needed as long as there is anything at the next one; an object's place is the first that means it.

    One of those that are there speaks for all: a thousand that wait for a thousand are a thousand needs, not a million.
    """
    groups: list[list[Key]] = [[] for _ in sequence]
    for obj in objects:
        name = annotations_of(obj).get(TEMPLATE_ANNOTATION)
        place = next((index for index, means in enumerate(sequence) if name and means(name)), None)
        if place is not None and not usages.is_usage(key_of(obj)):
            groups[place].append(key_of(obj))
    for earlier, later in pairwise(filter(None, groups)):
        needs[min(later)].update(earlier)


def _in_circle(found: Mapping[Key, Sequence[Key]]) -> Key:
    """One of those that need each other, the same each time: everybody is needed by somebody, so following that ends in a circle."""
    key, seen = min(found), set[Key]()
    while key not in seen:
        seen.add(key)
        key = min(found[key])
    return key


class _Index:
    """The objects by name, and the values that managed resources give to others."""

    def __init__(self, objects: Sequence[Object]) -> None:
        self._by_name: dict[str, list[Key]] = {}
        self._objects = {key_of(obj): obj for obj in objects}
        for key in self._objects:
            self._by_name.setdefault(key.name, []).append(key)

    def named(self, name: Any, *, group: str = "", kind: str = "") -> list[Key]:
        if not isinstance(name, str):
            return []
        return [
            key
            for key in self._by_name.get(name, ())
            if (not kind or key.kind == kind) and (not group or key.group == group)
        ]

    def giving(self, values: Sequence[Any], reference: Reference) -> Iterator[Key]:
        """The objects of the reference's kind whose value is among these."""
        for key, obj in self._objects.items():
            if (key.group, key.kind) == (reference.group, reference.kind):
                value = value_of(obj, reference.extract)
                if value and value in values:
                    yield key

    def party(self, usage: Object, side: str) -> list[Key]:
        """What a Usage names as used or as using."""
        told = spec_of(usage).get(side)
        if not isinstance(told, Mapping):
            return []
        reference = told.get("resourceRef")
        name = reference.get("name") if isinstance(reference, Mapping) else None
        return self.named(name, group=group_of(str(told.get("apiVersion") or "")), kind=str(told.get("kind") or ""))


def _used(obj: Object, index: _Index, references: Sequence[Reference]) -> Iterator[Key]:
    spec = spec_of(obj)
    by_field = {reference.ref: reference for reference in references}
    for field, told in _references(spec):
        reference = by_field.get(field)
        group, kind = (reference.group, reference.kind) if reference else ("", str(told.get("kind") or ""))
        if not kind and field.lower().endswith("secretref"):
            kind = "Secret"
        found = index.named(told.get("name"), group=group, kind=kind)
        if not kind and field == "providerConfigRef":
            found = [key for key in found if key.kind.endswith("ProviderConfig")]
        yield from found
    for block in BLOCKS:
        filled = spec.get(block)
        if not isinstance(filled, Mapping):
            continue
        for reference in references:
            if value := filled.get(reference.field):
                yield from index.giving(value if isinstance(value, list) else [value], reference)


def _references(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every reference below a value, with the name of its field; those to what an object makes itself are none."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending += each
        elif isinstance(each, Mapping):
            for name, below in each.items():
                if name in OUTPUTS:
                    continue
                told = below if isinstance(below, list) else [below]
                if name.endswith(("Ref", "Refs")):
                    yield from ((name, one) for one in told if isinstance(one, Mapping))
                pending.append(below)


def waits_text(left: Sequence[Object], freed: Sequence[Key], why: Callable[[Object], str]) -> str:
    """What a deletion waits for, in words that change only when that does: of what goes now one that refuses to, else the first, and why.

    >>> waits_text([], [], lambda obj: "")
    ''
    """
    going = [obj for obj in left if key_of(obj) in set(freed)]
    if not going:
        return ""
    first = min(going, key=lambda obj: (str(meta(obj).get("deletionTimestamp") or ""), not why(obj), key_of(obj)))
    since = meta(first).get("deletionTimestamp")
    text = f"waiting for {key_of(first).kind} {key_of(first).name} to be gone"
    if since:
        text += f" (being deleted since {since})"
    if cause := why(first):
        text += f": {cause}"
    others = len(left) - 1
    if others:
        text += f"; {others} more after or beside it"
    return text
