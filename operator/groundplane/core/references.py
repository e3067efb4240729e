"""References and selectors of managed resources: which field is to be filled from which object, and with what.

Source: crossplane-runtime v1.20, pkg/reference.  The reading of other objects is `reconcile/resolving.py`'s.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import Json, Object, annotations_of, controller_of, labels_of, matches, meta, spec_of
from groundplane.errors import Awaited, Waiting

BLOCKS = ("forProvider", "initProvider")
MANAGER = "managed.crossplane.io/api-simple-reference-resolver"


@dataclass(frozen=True)
class Reference:
    """A field of forProvider and of initProvider that can be filled from another managed resource.

    The names may be paths of members, with `[]` for each entry of a list: "replica[].kmsKeyArn".
    """

    field: str  # "vpcSecurityGroupIds"
    ref: str  # "vpcSecurityGroupIdRefs"
    selector: str  # "vpcSecurityGroupIdSelector"
    group: str  # of the target: "ec2.aws.upbound.io"
    kind: str  # "SecurityGroup"
    extract: str  # "external-name", or a field path: "status.atProvider.arn"
    many: bool = False


@dataclass(frozen=True)
class Wish:
    """One field that wants a value from other objects: by name, or whichever a selector matches."""

    field: str
    ref: str  # the field that names the objects: "vpcIdRef", "subnetIdRefs"
    block: str  # of spec: "forProvider" or "initProvider"
    group: str
    kind: str
    extract: str
    many: bool
    names: tuple[str, ...] = ()  # by reference
    labels: Mapping[str, str] | None = None  # by selector
    same_controller: bool = False
    optional: bool = False
    namespaces: tuple[str, ...] = ()  # of the names; of objects that live in none: ""
    namespace: str = ""  # that a selector looks at
    inside: tuple[str | int, ...] = ()  # where in the block the object is that has the field; (): it is the block

    @property
    def where(self) -> str:
        return f"spec.{self.block}.{self.parent}{self.field}"

    @property
    def parent(self) -> str:
        """The path of the object that has the field, with its dot: `replica[0].`."""
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.inside)
        return f"{steps[1:]}." if steps else ""


def wishes(managed: Object, references: Sequence[Reference]) -> list[Wish]:
    """What is to be resolved now, of all that the kind can resolve."""
    home = str(meta(managed).get("namespace") or "")
    return [wish for block in BLOCKS for wish in _wishes(spec_of(managed).get(block) or {}, block, references, home)]


def _wishes(block: Mapping[str, Json], name: str, references: Sequence[Reference], home: str) -> Iterator[Wish]:
    for reference in references:
        parent, _, field = reference.field.rpartition(".")
        short = replace(reference, field=field, ref=_last(reference.ref), selector=_last(reference.selector))
        for inside, spec in _objects(block, parent.split(".") if parent else []):
            if wish := _wish(spec, name, short, home):
                yield replace(wish, inside=inside)


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _objects(value: Json, path: Sequence[str]) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Json]]]:
    """The objects at a path of members, and where they are; a list is looked into, an object may stand for a list of one."""
    if isinstance(value, list):
        for place, entry in enumerate(value):
            yield from (((place, *inside), found) for inside, found in _objects(entry, path))
    elif isinstance(value, dict) and not path:
        yield (), value
    elif isinstance(value, dict):
        name = path[0].removesuffix("[]")
        yield from (((name, *inside), found) for inside, found in _objects(value.get(name), path[1:]))


def _wish(spec: Mapping[str, Json], block: str, reference: Reference, home: str) -> Wish | None:
    """`home` is the namespace of who refers, "" if it lives in none: then so does what it refers to."""
    given = spec.get(reference.ref)
    selector = spec.get(reference.selector)
    chosen = [given] if isinstance(given, dict) else list(given or ())
    policy = (selector or (chosen[0] if chosen else {}) or {}).get("policy") or {}
    again = policy.get("resolve") == "Always"
    if (spec.get(reference.field) and not again) or not (chosen or selector):
        return None
    names = [] if selector and (again or not chosen) else chosen
    return Wish(
        field=reference.field,
        ref=reference.ref,
        block=block,
        group=reference.group,
        kind=reference.kind,
        extract=reference.extract,
        many=reference.many,
        optional=policy.get("resolution") == "Optional",
        names=tuple(str(each.get("name")) for each in names),
        namespaces=tuple(str(each.get("namespace") or home) if home else "" for each in names),
        namespace=str((selector or {}).get("namespace") or home) if home else "",
        labels=dict(selector.get("matchLabels") or {}) if selector and (again or not chosen) else None,
        same_controller=bool((selector or {}).get("matchControllerRef")),
    )


def placed(managed: Object, found: Sequence[tuple[Wish, Mapping[str, Json]]]) -> Object:
    """The object with values in it that references inside of its fields gave; it itself if there are none."""
    if not found:
        return managed
    changed = copy.deepcopy(managed)
    for wish, values in found:
        target: Any = spec_of(changed).get(wish.block)
        try:
            for step in wish.inside:
                target = target[step]
        except (LookupError, TypeError):
            continue  # somebody has edited it meanwhile
        if isinstance(target, dict):
            target.update(values)
    return changed


def matching(wish: Wish, managed: Object, candidates: Sequence[Object]) -> list[Object]:
    """The candidates that the selector means: the first for one value, all for a list."""
    controller = (controller_of(managed) or {}).get("uid")
    fitting = [
        candidate
        for candidate in candidates
        if matches(labels_of(candidate), wish.labels or {})
        and (not wish.same_controller or (controller and (controller_of(candidate) or {}).get("uid") == controller))
        and not meta(candidate).get("deletionTimestamp")
    ]
    return fitting if wish.many else fitting[:1]


def value_of(target: Object, extract: str) -> str:
    """The value that an object gives to who refers to it; "" if it has none yet."""
    if extract == "external-name":
        return annotations_of(target).get(EXTERNAL_NAME) or ""
    try:
        value = fieldpath.get(target, fieldpath.parse(extract))
    except fieldpath.FieldNotFound:
        return ""
    return str(value) if value is not None else ""


def resolved(wish: Wish, targets: Sequence[Object]) -> dict[str, Json]:
    """The fields of the wish's block to set: the value or values, and what a selector chose.

    References that the user wrote stay as they are, in their order and with their policies.

    Raises:
        Waiting: nothing matches yet, or what matches has no value yet.
    """
    places = zip(wish.names, wish.namespaces or [""] * len(wish.names), strict=True)
    on = [Awaited(wish.group, wish.kind, namespace, name) for name, namespace in places]
    labels = tuple(sorted((wish.labels or {}).items()))
    on = on or [Awaited(wish.group, wish.kind, wish.namespace, labels=labels)]
    if not targets:
        raise Waiting(f"{wish.where}: {_nothing(wish)}", mend=_mend(wish), on=on)
    pairs = []
    for target in targets:
        value = value_of(target, wish.extract)
        if not value:
            raise Waiting(
                f"{wish.where}: referenced field was empty (referenced resource may not yet be ready): "
                f"{wish.kind} {meta(target)['name']} has no {wish.extract} yet",
                mend=f"look at {wish.kind} {meta(target)['name']}, or wait for it",
                on=[Awaited(wish.group, wish.kind, meta(target).get("namespace") or "", meta(target)["name"])],
            )
        named = {"name": meta(target)["name"]}
        pairs.append((value, named | ({"namespace": wish.namespace} if wish.namespace else {})))
    by_value = dict(sorted(pairs, key=lambda pair: (pair[0], pair[1]["name"])))
    values: dict[str, Json] = {wish.field: list(by_value) if wish.many else pairs[0][0]}
    if wish.labels is None:
        return values
    chosen = list(by_value.values())
    return values | {wish.ref: chosen if wish.many else chosen[0]}


def _nothing(wish: Wish) -> str:
    kind = f"{wish.kind}.{wish.group}"
    if wish.labels is None:
        return f"cannot get referenced resource: {kind} {', '.join(wish.names)} not found"
    labels = ", ".join(f"{name}={value}" for name, value in sorted(wish.labels.items()))
    has = f"{kind} has labels {labels}" if labels else f"{kind} is there"
    return f"no resources matched selector: no {has}{' under the same controller' if wish.same_controller else ''}"


def _mend(wish: Wish) -> str:
    if wish.labels is None:
        return f"create {wish.kind} {', '.join(wish.names)}, or correct spec.{wish.block}.{wish.parent}{wish.ref}"
    such = " with these labels" if wish.labels else ""
    return f"create a {wish.kind}{such}, or set {wish.where}"
