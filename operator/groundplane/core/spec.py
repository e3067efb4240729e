"""The base of everything that users write, and what can be wrong with it.

A `Spec` is frozen and closed: a field that it does not know is a mistake.  Mistakes are collected as
`Problem`s, all of them, with the path and the type that the Kubernetes API would give them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, PydanticKnownError

from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, did_you_mean, shown

Dialect = Literal["native", "function"]  # mode Resources of Crossplane v1, or function-patch-and-transform
NATIVE: Dialect = "native"
FUNCTION: Dialect = "function"

ProblemType = Literal["Required", "Invalid", "TypeInvalid", "Duplicate", "Forbidden", "NotSupported"]


def is_function(info: ValidationInfo) -> bool:
    """Whether what is validated is a function's input; there no schema refuses or defaults anything beforehand."""
    return (info.context or {}).get("dialect") == FUNCTION


class Spec(BaseModel):
    """Base of user-written models: frozen, no unknown fields, nothing converted; a null is as nothing at all."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)

    zero: ClassVar[
        Mapping[str, Json]
    ] = {}  # what the function reads where a field is left out that is required natively

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any, info: ValidationInfo) -> Any:
        """As the API server does, for fields that are not declared nullable: none of ours is."""
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        return {**cls.zero, **given} if cls.zero and is_function(info) else given


class Problem(NamedTuple):
    """One thing that is wrong in what a user wrote; `field` is its path in the manifest."""

    type: ProblemType
    field: str
    detail: str
    mend: str = ""

    def under(self, prefix: str) -> Problem:
        """The same problem, seen from further up."""
        joint = "" if not prefix or not self.field or self.field.startswith("[") else "."
        return self._replace(field=f"{prefix}{joint}{self.field}")

    def __str__(self) -> str:
        text = f"{self.field}: {self.detail}"
        return f"{text} ({self.mend})" if self.mend else text


def required(field: str, detail: str = "must be set", mend: str = "") -> Problem:
    """Something that must be there and is not."""
    return Problem("Required", field, detail, mend)


ENVIRONMENT = re.compile("(From|To)EnvironmentFieldPath|Combine(From|To)Environment")
NO_ENVIRONMENT = (
    "mode Resources has no environment since Crossplane v1.18: `groundplane convert pipeline-composition` makes a pipeline of it that means "
    "the same, with function-environment-configs for spec.environment"
)
GONE_ENVIRONMENT = (
    "gone since Crossplane v1.18: `groundplane convert pipeline-composition` (mode Pipeline: `convert composition-environment`) makes it a step"
    " of function-environment-configs, which means the same"
)


def not_supported(field: str, value: object, known: Iterable[str]) -> Problem:
    """A word that is none of the known ones."""
    mend = NO_ENVIRONMENT if ENVIRONMENT.fullmatch(str(value)) else did_you_mean(str(value), known)
    return Problem("NotSupported", field, f"unsupported value {shown(value)}", mend)


def refusal(problems: Sequence[Problem]) -> InvalidInput:
    """One error that tells all problems, each with its mend."""
    if len(problems) == 1:
        return InvalidInput(f"{problems[0].field}: {problems[0].detail}", mend=problems[0].mend)
    return InvalidInput("; ".join(str(problem) for problem in problems))


def only(dialect: Dialect, instead: str) -> BeforeValidator:
    """Mark a field that only one dialect has; in the other it is unknown, and `instead` is the mend there."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if value is not None and (info.context or {}).get("dialect", dialect) != dialect:
            raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted", {"mend": instead})
        return value

    return BeforeValidator(check)


def word(*known: str) -> AfterValidator:
    """Mark a text that must be one of the known words.

    Natively the API server sees to it.  The function takes any text: it complains later, or when it is used.
    """

    def check(value: Any, info: ValidationInfo) -> Any:
        if value is not None and value not in known and not is_function(info):
            raise PydanticKnownError("literal_error", {"expected": ", ".join(f"'{name}'" for name in known)})
        return value

    return AfterValidator(check)


def filled() -> AfterValidator:
    """Mark a list that must not be empty natively; the function looks at that later."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if not value and not is_function(info):
            raise PydanticKnownError("too_short", {"field_type": "List", "min_length": 1, "actual_length": 0})
        return value

    return AfterValidator(check)


S = TypeVar("S", bound=Spec)


def load(
    model: type[S], raw: Mapping[str, Any], prefix: str, dialect: Dialect
) -> tuple[S | None, list[Problem], list[str]]:
    """Read what a user wrote: the model, or else every problem; and the paths of unknown fields.

    In the native dialect unknown fields are left out, as the API server does; in the other they are problems.
    """
    unknown: list[tuple[str | int, ...]] = []
    data: Any = raw
    while True:
        try:
            found = model.model_validate(data, context={"dialect": dialect})
        except ValidationError as error:
            details = error.errors(include_url=False)
            extra = [_location(item["loc"], data) for item in details if item["type"] == "extra_forbidden"]
            if not extra or dialect != NATIVE:
                problems = [_problem(item, _location(item["loc"], data), model) for item in details]
                return None, [problem.under(prefix) for problem in problems], _texts(prefix, unknown)
            unknown += extra
            for location in extra:
                data = _without(data, location)
        else:
            return found, [], _texts(prefix, unknown)


def _texts(prefix: str, locations: Iterable[tuple[str | int, ...]]) -> list[str]:
    return [Problem("Forbidden", _path(location), "").under(prefix).field for location in locations]


def _location(parts: Iterable[str | int], data: Any) -> tuple[str | int, ...]:
    """Pydantic's location in the data: without the names of union members, which we write as "<type>"."""
    result: list[str | int] = []
    for part in parts:
        is_there = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if not is_there and str(part).startswith("<"):
            continue
        data = data[part] if is_there else None
        result.append(part)
    return tuple(result)


def _path(location: Iterable[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def _without(data: Any, location: Sequence[str | int]) -> Any:
    """A copy of the data, copied as far as needed, without what is at one location."""
    first, rest = location[0], location[1:]
    if isinstance(data, list):
        return [_without(item, rest) if index == first else item for index, item in enumerate(data)]
    if not isinstance(data, dict):
        return data
    if not rest:
        return {name: value for name, value in data.items() if name != first}
    return {name: _without(value, rest) if name == first else value for name, value in data.items()}


def _problem(item: Any, location: Sequence[str | int], model: type[Spec]) -> Problem:
    """Pydantic's error in Kubernetes' terms."""
    context, field = item.get("ctx") or {}, _path(location)
    match item["type"]:
        case "missing":
            return required(field)
        case "union_tag_not_found":
            return required(f"{field}.type")
        case "union_tag_invalid":
            known = [tag.strip("<>") for tag in re.findall("'(.*?)'", context["expected_tags"])]
            return not_supported(f"{field}.type", context["tag"].strip("<>"), known)
        case "literal_error":
            return not_supported(
                field, item.get("input"), [word for word in re.findall("'(.*?)'", context["expected"]) if word]
            )
        case "extra_forbidden":
            mend = context.get("mend") or did_you_mean(str(location[-1]), _fields(model, location[:-1]))
            return Problem("Forbidden", field, "unknown field", mend)
        case "too_short":
            return Problem("Invalid", field, "must not be empty")
        case "value_error":
            return Problem("Invalid", field, str(context["error"]))
        case kind if kind.endswith("_type"):
            return Problem("TypeInvalid", field, item["msg"], _TYPE_MENDS.get(kind, ""))
    return Problem("Invalid", field, item["msg"])


_TYPE_MENDS = {
    "string_type": "put it into quotes",
    "list_type": "make it a list, even if of one",
    "dict_type": "give it names and values",
    "bool_type": "write true or false, without quotes",
    "int_type": "write a whole number, without quotes",
}


def _fields(model: type[Spec], location: Iterable[str | int]) -> Iterable[str]:
    """The names of the fields that there are at a place; none if that can't be told."""
    for part in location:
        if isinstance(part, int):
            continue
        found = _by_name(model).get(part)
        inner = _model(found.annotation) if found else None
        if inner is None:
            return ()
        model = inner
    return _by_name(model)


def _by_name(model: type[Spec]) -> dict[str, FieldInfo]:
    """A model's fields, by the names that users write."""
    return {found.alias or name: found for name, found in model.model_fields.items()}


def _model(annotation: Any) -> type[Spec] | None:
    """The first model in a type; the members of our unions all have the same fields."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    return next((model for each in get_args(annotation) if (model := _model(each)) is not None), None)
