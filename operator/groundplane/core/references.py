"""References between managed resources: which fields still need one, and what they get.

A field `foo` of forProvider (or initProvider) can be filled from another managed resource, named by `fooRef`
or found by `fooSelector`.  The looking up is `reconcile/references.py`'s; the rules are here.
Source: crossplane-runtime v1.20, pkg/reference/reference.go, `APIResolver`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import Json, Object, annotations_of, controller_of, meta, spec_of

BLOCKS = ("forProvider", "initProvider")


@dataclass(frozen=True)
class Reference:
    """A field of forProvider that can be filled from another managed resource."""

    field: str  # "vpcSecurityGroupIds"
    ref: str  # "vpcSecurityGroupIdRefs"
    selector: str  # "vpcSecurityGroupIdSelector"
    group: str  # of the target: "ec2.aws.upbound.io"
    kind: str  # "SecurityGroup"
    extract: str  # "external-name", or a field path: "status.atProvider.arn"
    many: bool = False


@dataclass(frozen=True)
class Question:
    """A field to be filled: by targets with these names, or else by those that the selector finds."""

    reference: Reference
    block: str  # of spec: "forProvider"
    names: tuple[tuple[str, str], ...] = ()  # (namespace, name); "": the managed resource's own namespace
    labels: Mapping[str, str] | None = None  # None: by name
    namespace: str = ""  # to select in
    same_controller: bool = False
    optional: bool = False

    @property
    def where(self) -> str:
        return f"spec.{self.block}.{self.reference.field}"

    @property
    def target(self) -> str:
        return f"{self.reference.kind}.{self.reference.group}"


@dataclass(frozen=True)
class Answer:
    """What a question gets, or the trouble with it; neither, if it is optional and can't be answered."""

    question: Question
    patch: Mapping[str, Json]  # fields of the block to write; empty if they are there already
    trouble: str = ""
    mend: str = ""


def questions(managed: Object, references: Sequence[Reference]) -> list[Question]:
    """The references of a managed resource that must be looked up now.

    A field that has a value is left alone, unless its reference says `policy.resolve: Always`.
    """
    return [
        question
        for block in BLOCKS
        for reference in references
        for question in _questions(spec_of(managed).get(block) or {}, block, reference)
    ]


def _questions(spec: Mapping[str, Json], block: str, reference: Reference) -> Iterator[Question]:
    refs = spec.get(reference.ref) or ()
    refs = [refs] if isinstance(refs, Mapping) else list(refs)
    selector = spec.get(reference.selector)
    has_value = bool(spec.get(reference.field))
    if selector is not None and (not refs or _resolve(selector) == "Always"):
        if has_value and _resolve(selector) != "Always":
            return
        yield Question(
            reference,
            block,
            labels=dict(selector.get("matchLabels") or {}),
            namespace=str(selector.get("namespace") or ""),
            same_controller=bool(selector.get("matchControllerRef")),
            optional=_resolution(selector) == "Optional",
        )
    elif refs and (not has_value or any(_resolve(ref) == "Always" for ref in refs)):
        yield Question(
            reference,
            block,
            names=tuple((str(ref.get("namespace") or ""), str(ref.get("name") or "")) for ref in refs),
            optional=all(_resolution(ref) == "Optional" for ref in refs),
        )


def _resolve(reference: Mapping[str, Json]) -> str:
    return str((reference.get("policy") or {}).get("resolve") or "IfNotPresent")


def _resolution(reference: Mapping[str, Json]) -> str:
    return str((reference.get("policy") or {}).get("resolution") or "Required")


def answer(question: Question, managed: Object, targets: Sequence[Object | None]) -> Answer:
    """Fill a field from the targets that were found: one for each name (None: not there), or all with the labels."""
    if question.labels is None:
        found = [target for target in targets if target is not None]
        missing = [name for (_, name), target in zip(question.names, targets, strict=True) if target is None]
        trouble = f'{question.target} "{missing[0]}" does not exist' if missing else ""
        mend = f"create it, or correct {question.reference.ref}"
    else:
        found = [target for target in targets if target is not None and _fits(question, managed, target)]
        trouble = "" if found else f"no {question.target} matches {_wanted(question)}"
        mend = f"create one with these labels, or set {question.reference.field}"
        found = found if question.reference.many else found[:1]
    if not trouble:
        empty = [target for target in found if not extracted(target, question.reference.extract)]
        if empty:
            what = "external name" if question.reference.extract == "external-name" else question.reference.extract
            trouble = f'{question.target} "{meta(empty[0])["name"]}" has no {what} yet'
            mend = "it is waited for; see that object's conditions"
    if trouble:
        return Answer(question, {}, "" if question.optional else trouble, mend)
    return Answer(question, _patch(question, managed, found))


def _patch(question: Question, managed: Object, found: Sequence[Object]) -> dict[str, Json]:
    """The field and, where a selector chose, the reference; without what is there already."""
    reference = question.reference
    by_value = {extracted(target, reference.extract): target for target in reversed(found)}
    values = sorted(by_value)
    patch: dict[str, Json] = {reference.field: values if reference.many else values[0]}
    if question.labels is not None:
        chosen = [_reference_to(by_value[value], question) for value in values]
        patch[reference.ref] = chosen if reference.many else chosen[0]
    spec = spec_of(managed).get(question.block) or {}
    if all(spec.get(name) == value for name, value in patch.items()):
        return {}
    return patch


def _reference_to(target: Object, question: Question) -> dict[str, str]:
    reference = {"name": meta(target)["name"]}
    return reference | {"namespace": question.namespace} if question.namespace else reference


def _fits(question: Question, managed: Object, target: Object) -> bool:
    if not question.same_controller:
        return True
    mine, theirs = controller_of(managed), controller_of(target)
    return mine is not None and theirs is not None and mine.get("uid") == theirs.get("uid")


def _wanted(question: Question) -> str:
    pairs = ", ".join(f"{name}={value}" for name, value in sorted((question.labels or {}).items()))
    parts = [f"labels {pairs}" if pairs else "", "the same controller" if question.same_controller else ""]
    return " and ".join(part for part in parts if part) or "at all"


def extracted(target: Object, extract: str) -> str:
    """The value that a reference takes from its target, "" if it is not there yet.

    >>> extracted({"status": {"atProvider": {"arn": "arn:aws:x"}}}, "status.atProvider.arn")
    'arn:aws:x'
    """
    if extract == "external-name":
        return annotations_of(target).get(EXTERNAL_NAME) or ""
    value: Any = fieldpath.find(target, fieldpath.parse(extract))
    return "" if value is fieldpath.MISSING or value is None else str(value)
