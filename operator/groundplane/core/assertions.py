"""Whether what came out of a step of a test is what its assertions say.

Source: author-tools specification, §6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from groundplane.core import cel, expectation, fieldpath
from groundplane.core.composition_tests import Assertion, Told
from groundplane.core.expectation import Difference
from groundplane.core.explain import MASK, is_secret
from groundplane.core.explain import Told as Patched
from groundplane.core.fieldpath import MISSING
from groundplane.core.objects import Json, Object, joined
from groundplane.errors import InvalidInput, did_you_mean, shown

_TYPES = (("claim", "dyn"), ("composite", "dyn"), ("ready", "bool"), ("resources", ("map", "dyn")))


@dataclass(frozen=True)
class Outcome:
    """What is there after a step, and what was said on the way."""

    composite: Object | None = None
    claim: Object | None = None
    composed: Mapping[str, Object] = field(default_factory=dict)  # by the name of the template
    ready: bool = False
    writes: int = 0  # objects that were made, changed or deleted
    keys: frozenset[str] = frozenset()  # of the connection Secret
    errors: Sequence[str] = ()  # why something could not be done
    places: Mapping[str, tuple[str, str]] = field(
        default_factory=dict
    )  # by the error: the object, and the path of the field
    results: Sequence[tuple[str, str]] = ()  # (severity, message)
    told: Sequence[Patched] = ()  # what each patch did
    readiness: Mapping[str, bool] = field(default_factory=dict)  # by the name of the template
    source: Object | None = None  # the Composition; only where it is rendered


Snapshot = Callable[[str, Outcome], list[str]]  # how what is there differs from the file of that name
Written = Callable[[Outcome, Patched], str]  # where a patch is written: "composition.yaml:58:5", or nothing


def problems(
    assertions: Sequence[Assertion],
    outcome: Outcome,
    snapshot: Snapshot,
    written: Written = lambda outcome, told: "",
) -> list[str]:
    """What is not as asserted, a line each; nothing if all is.

    An error that no assertion of the step is about is a problem itself.

    Raises:
        InvalidInput: an assertion makes no sense.
    """
    found = [] if any(each.error for each in assertions) else list(outcome.errors)
    for index, assertion in enumerate(assertions):
        try:
            found += _problems(assertion, outcome, snapshot, written)
        except InvalidInput as error:
            error.where = (f"assertions[{index}]", *error.where)
            raise
    return list(dict.fromkeys(found))


def _problems(assertion: Assertion, outcome: Outcome, snapshot: Snapshot, written: Written) -> Iterator[str]:
    for template, want in (assertion.resources or {}).items():
        yield from _of_resource(template, want, outcome, written)
    for what, wanted, got in (
        ("composite", assertion.composite, outcome.composite),
        ("claim", assertion.claim, outcome.claim),
    ):
        if wanted is not None:
            for each in expectation.differences(wanted, MISSING if got is None else got):
                yield f"{_unlike(what, each)}{_hint(what, each, outcome, written)}"
    if assertion.count is not None:
        yield from _of("count of composed resources", assertion.count, len(outcome.composed))
    if assertion.writes is not None:
        yield from _of("writes", assertion.writes, outcome.writes)
    if assertion.ready is not None and assertion.ready != outcome.ready:
        yield f"ready: want {shown(assertion.ready)}, got {shown(outcome.ready)}{_why_unready(outcome)}"
    if assertion.secret is not None:
        for key in assertion.secret.keys:
            if key not in outcome.keys:
                yield f"connection Secret: want key {shown(key)}, got {joined(sorted(outcome.keys)) or 'none'}"
    if assertion.error is not None and not any(assertion.error.contains in text for text in outcome.errors):
        yield _untold("an error", assertion.error, outcome.errors)
    if assertion.result is not None:
        severity = assertion.result.severity.upper()
        texts = [text for told, text in outcome.results if severity in ("", told)]
        if not any(assertion.result.contains in text for text in texts):
            yield _untold("a result", assertion.result, texts)
    for text in assertion.that:
        yield from _that(text, outcome)
    if assertion.chainsaw is not None:
        for tree in assertion.chainsaw.resources:
            yield from _chainsaw(tree, outcome)
    if assertion.snapshot:
        yield from snapshot(assertion.snapshot, outcome)


def _of(what: str, want: Json, got: Any) -> Iterator[str]:
    return (_unlike(what, each) for each in expectation.differences(want, got))


def _unlike(what: str, found: Difference) -> str:
    path = fieldpath.render(found.path)
    return f"{' '.join(part for part in (what, path) if part)}: want {found.want}, got {found.got}"


def _of_resource(template: str, want: Json, outcome: Outcome, written: Written) -> Iterator[str]:
    got: Any = outcome.composed.get(template, MISSING)
    if got is MISSING and not _may_be_absent(want):
        mend = did_you_mean(template, outcome.composed)
        yield f"{template}: want it composed, got nothing{f' ({mend})' if mend else ''}"
        return
    for each in expectation.differences(want, got):
        masked = each._replace(got=MASK) if got is not MISSING and is_secret(got) else each
        yield f"{_unlike(template, masked)}{_hint(template, each, outcome, written)}"


def _may_be_absent(want: Json) -> bool:
    return isinstance(want, dict) and "$absent" in want


def _hint(what: str, found: Difference, outcome: Outcome, written: Written) -> str:
    """The patch that should have written there and did not, why, and where it is written."""
    path = fieldpath.render(found.path)
    for each in outcome.told:
        reason = each.skipped or each.error
        if not reason or not path:
            continue
        to_composite = each.type.startswith(("ToComposite", "CombineToComposite"))
        is_there = to_composite if what == "composite" else f"resource {what}" in each.place and not to_composite
        if is_there and (each.target == path or path.startswith((f"{each.target}.", f"{each.target}["))):
            place = written(outcome, each)
            text = f"; {' › '.join(each.place)} {'skipped' if each.skipped else 'failed'}: {reason}"
            return f"{text} ({place})" if place else text
    return ""


def _why_unready(outcome: Outcome) -> str:
    status = (outcome.composite or {}).get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("message"):
            return f": {condition['message']}"
    return ""


def _untold(what: str, want: Told, texts: Sequence[str]) -> str:
    got = "; ".join(texts) or "none"
    about = f" with {shown(want.contains)}" if want.contains else ""
    of = f" of severity {want.severity}" if want.severity else ""
    return f"want {what}{of}{about}, got {got}"


def _that(text: str, outcome: Outcome) -> Iterator[str]:
    variables = {
        "claim": outcome.claim or {},
        "composite": outcome.composite or {},
        "ready": outcome.ready,
        "resources": dict(outcome.composed),
    }
    try:
        value = cel.compile(text, _TYPES).evaluate(variables)
    except cel.Unchecked as error:
        mend = f"install it: {cel.INSTALL}" if error.missing else "correct the expression"
        raise InvalidInput(f"that: {shown(text)}: {error}", mend=mend) from None
    except cel.Failure as error:
        yield f"that {text}: {error}"
        return
    if value is not True:
        yield f"that {text}: want true, got {shown(value)}"


def _chainsaw(tree: Mapping[str, Any], outcome: Outcome) -> Iterator[str]:
    """One object that is as the tree has it, among the composite and all that is composed."""
    if (found := _parenthesised(tree)) is not None:
        raise InvalidInput(
            f"chainsaw's expressions are not evaluated: {shown(found)}", mend="write a CEL expression under that"
        )
    objects = [*outcome.composed.values(), *([outcome.composite] if outcome.composite else [])]
    same = [obj for obj in objects if all(obj.get(name) == tree.get(name) for name in ("apiVersion", "kind"))]
    kind = f"{tree.get('kind')} of {tree.get('apiVersion')}"
    if not same:
        yield f"want {kind}, got none"
        return
    differing = [[*_of(kind, dict(tree), obj)] for obj in same]
    if all(differing):
        yield from min(differing, key=len)


def _parenthesised(value: Any) -> str | None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if str(name).startswith("("):
                return str(name)
            if (found := _parenthesised(inner)) is not None:
                return found
    if isinstance(value, list):
        return next((found for found in map(_parenthesised, value) if found is not None), None)
    return value if isinstance(value, str) and value.startswith("(") and value.endswith(")") else None
