"""Readiness: may a composed resource be used?  The author's checks, else its condition Ready.

Source: Crossplane v1.20 `internal/controller/apiextensions/composite/ready.go` and function-patch-and-transform v0.10
`ready.go`.  All checks must pass.  A path that is not there is not ready; one that has another kind of value
is a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from groundplane.core import conditions, fieldpath
from groundplane.core.fieldpath import MISSING
from groundplane.core.objects import Json, Object
from groundplane.core.spec import NATIVE, Dialect, Problem, Spec, not_supported, required
from groundplane.core.transforms.base import Int64
from groundplane.errors import GroundplaneError, InvalidInput, did_you_mean

LONGEST_SHOWN = 60  # characters of a value that a check does not match


class Unusable(InvalidInput):
    """A check can't work on any object."""


Check = Callable[[Object], bool]
_Kind = type[str] | type[int] | type[bool]


_KINDS: dict[_Kind, str] = {str: "a string", int: "an integer", bool: "a boolean"}


class ConditionMatch(Spec):
    """A condition of `status.conditions`; Ready and True where left out natively."""

    type: str | None = None
    status: str | None = None


class AnyCheck(Spec):
    """The fields of every check: settings that belong to another type are read and not used."""

    type: str
    fieldPath: str | None = None
    matchString: str | None = None
    matchInteger: Int64 | None = None
    matchCondition: ConditionMatch | None = None

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        """What is wrong with this one check, beyond the shape of its YAML."""
        if self.fieldPath is None or (dialect == NATIVE and not self.fieldPath):
            yield required("fieldPath", f"must be set for type {self.type}")

    def compile(self) -> Check:
        """Says of an object whether it passes; raises InvalidInput where the question makes no sense."""
        raise NotImplementedError

    @property
    def wanted(self) -> str:
        """What is to be at the path, as people write it."""
        return "something"

    def value_check(self, kind: _Kind, wanted: Json) -> Check:
        """The value at the path equals `wanted`; another kind of value is an error."""
        text = self.fieldPath or ""
        name = _KINDS[kind]

        def check(obj: Object) -> bool:
            value = fieldpath.find(obj, fieldpath.parse(text))
            if value is MISSING:
                return False
            if type(value) is not kind:
                raise InvalidInput(f"{text}: not {name}, but {fieldpath.kind_of(value)}")
            return bool(value == wanted)

        return check


class NonEmptyCheck(AnyCheck):
    """The path is there; an empty value counts."""

    type: Literal["NonEmpty"]

    def compile(self) -> Check:
        text = self.fieldPath or ""
        return lambda obj: fieldpath.find(obj, fieldpath.parse(text)) is not MISSING


class MatchStringCheck(AnyCheck):
    """The path holds this string."""

    type: Literal["MatchString"]

    @property
    def wanted(self) -> str:
        return json.dumps(self.matchString, ensure_ascii=False)

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.matchString is None or (dialect == NATIVE and not self.matchString):
            yield required("matchString", "must be set, and not be empty, for type MatchString")
        yield from super().problems(dialect)

    def compile(self) -> Check:
        return self.value_check(str, self.matchString)


class MatchIntegerCheck(AnyCheck):
    """The path holds this integer."""

    type: Literal["MatchInteger"]

    @property
    def wanted(self) -> str:
        return str(self.matchInteger)

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.matchInteger is None or (dialect == NATIVE and not self.matchInteger):
            yield required("matchInteger", "must be set, and not be 0, for type MatchInteger")
        yield from super().problems(dialect)

    def compile(self) -> Check:
        return self.value_check(int, self.matchInteger)


class MatchTrueCheck(AnyCheck):
    """The path holds true."""

    type: Literal["MatchTrue"]

    @property
    def wanted(self) -> str:
        return "true"

    def compile(self) -> Check:
        return self.value_check(bool, True)


class MatchFalseCheck(AnyCheck):
    """The path is there and holds false."""

    type: Literal["MatchFalse"]

    @property
    def wanted(self) -> str:
        return "false"

    def compile(self) -> Check:
        return self.value_check(bool, False)


class MatchConditionCheck(AnyCheck):
    """A condition has a status; where the resource has no such condition, its status counts as Unknown."""

    type: Literal["MatchCondition"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        if self.matchCondition is None:
            return
        wanted = _defaulted(self.matchCondition) if dialect == NATIVE else self.matchCondition
        if not wanted.type:
            yield required("matchCondition.type")
        if not wanted.status:
            yield required("matchCondition.status")

    def compile(self) -> Check:
        if self.matchCondition is None:
            return _no_condition
        wanted = _defaulted(self.matchCondition)
        return condition_check(wanted.type or "", wanted.status or "")


def _no_condition(obj: Object) -> bool:
    raise Unusable('type "MatchCondition" needs a condition', mend="set matchCondition.type and .status")


def _defaulted(wanted: ConditionMatch) -> ConditionMatch:
    """What the API server fills in of a native check."""
    return ConditionMatch(
        type="Ready" if wanted.type is None else wanted.type, status="True" if wanted.status is None else wanted.status
    )


class NoneCheck(AnyCheck):
    """Ready as soon as it exists."""

    type: Literal["None"]

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        return iter(())

    def compile(self) -> Check:
        return lambda obj: True


class UnknownCheck(AnyCheck):
    """Of a type that there is not; the function complains of it beside everything else that is wrong."""

    zero: ClassVar = {"type": ""}

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        yield not_supported("type", self.type, CHECKS) if self.type else required("type", mend=did_you_mean("", CHECKS))


CHECKS = ("MatchString", "MatchInteger", "NonEmpty", "MatchCondition", "MatchTrue", "MatchFalse", "None")


def _tag(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return None if kind is None else f"<{kind}>"


def _function_tag(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{kind}>" if kind in CHECKS else "<unknown>"


ReadinessCheck = Annotated[
    Annotated[MatchStringCheck, Tag("<MatchString>")]
    | Annotated[MatchIntegerCheck, Tag("<MatchInteger>")]
    | Annotated[NonEmptyCheck, Tag("<NonEmpty>")]
    | Annotated[MatchConditionCheck, Tag("<MatchCondition>")]
    | Annotated[MatchTrueCheck, Tag("<MatchTrue>")]
    | Annotated[MatchFalseCheck, Tag("<MatchFalse>")]
    | Annotated[NoneCheck, Tag("<None>")],
    Discriminator(_tag),
]


FunctionCheck = Annotated[
    Annotated[MatchStringCheck, Tag("<MatchString>")]
    | Annotated[MatchIntegerCheck, Tag("<MatchInteger>")]
    | Annotated[NonEmptyCheck, Tag("<NonEmpty>")]
    | Annotated[MatchConditionCheck, Tag("<MatchCondition>")]
    | Annotated[MatchTrueCheck, Tag("<MatchTrue>")]
    | Annotated[MatchFalseCheck, Tag("<MatchFalse>")]
    | Annotated[NoneCheck, Tag("<None>")]
    | Annotated[UnknownCheck, Tag("<unknown>")],
    Discriminator(_function_tag),
]


# --- running -------------------------------------------------------------------------------------------


def condition_check(type_: str, status: str) -> Check:
    """The object's condition of that type has that status."""

    def check(obj: Object) -> bool:
        if not isinstance(obj.get("status"), dict):
            return False
        condition = conditions.find(obj, type_)
        return (condition.get("status") if condition else "Unknown") == status

    return check


DEFAULT: Sequence[Check] = (condition_check("Ready", "True"),)


def compile(checks: Sequence[AnyCheck]) -> Sequence[Check]:
    """The checks of one template, ready to run; without any, condition Ready decides."""
    return tuple(check.compile() for check in checks) or DEFAULT


def is_ready(obj: Object, checks: Sequence[Check]) -> bool:
    """Whether the object passes all checks; the first that fails decides.

    Raises:
        InvalidInput: a check makes no sense for this object.
    """
    for index, check in enumerate(checks):
        try:
            if not check(obj):
                return False
        except GroundplaneError as error:
            error.where = (f"readinessChecks[{index}]", *error.where)
            raise
    return True


# --- telling -------------------------------------------------------------------------------------------


@cache
def _adapter() -> TypeAdapter[list[ReadinessCheck]]:
    return TypeAdapter(list[ReadinessCheck])


def unmet(obj: Object, given: Sequence[Json]) -> str:
    """The first of a template's checks, as they are written, that the object does not pass, with what is there.

    "" if there is none, and for what are no such checks, but a function's own that has the same name for them.

    >>> unmet({"status": {"phase": "Pending"}}, [{"type": "MatchString", "fieldPath": "status.phase", "matchString": "Running"}])
    'readinessChecks[0]: status.phase is "Pending", and is to be "Running"'
    """
    try:
        checks = _adapter().validate_python(given)
    except ValidationError:
        return ""
    for index, check in enumerate(checks):
        place = f"readinessChecks[{index}]"
        try:
            if not check.compile()(obj):
                return f"{place}: {_found(obj, check)}"
        except GroundplaneError as error:
            return f"{place}: {error.without_mend}"
    return ""


def _found(obj: Object, check: AnyCheck) -> str:
    if isinstance(check, MatchConditionCheck):
        wanted = _defaulted(check.matchCondition or ConditionMatch())
        status = (conditions.find(obj, wanted.type or "") or {}).get("status", "not there")
        return f"condition {wanted.type} is {status}, and is to be {wanted.status}"
    path = check.fieldPath or ""
    value = fieldpath.find(obj, fieldpath.parse(path))
    if value is MISSING:
        return f"{path} is not there, and is to be {check.wanted}"
    # only a status is shown: what a spec or a Secret's data has may be nobody's to read
    is_shown = path.startswith("status.") and isinstance(value, str | int) and len(str(value)) <= LONGEST_SHOWN
    return f"{path} is {json.dumps(value, ensure_ascii=False) if is_shown else 'something else'}, and is to be {check.wanted}"
