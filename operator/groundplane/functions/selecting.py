"""What functions that select objects of the cluster share: labels whose values stand in the composite, and an order by a field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from groundplane.core import fieldpath
from groundplane.core.fieldpath import MISSING
from groundplane.core.objects import Json, Object
from groundplane.core.spec import Problem, Spec, required
from groundplane.errors import InvalidInput


class Label(Spec):
    """A label that objects must have, and where its value comes from."""

    type: Literal["FromCompositeFieldPath", "FromEnvironmentFieldPath", "Value"] = "FromCompositeFieldPath"
    key: str
    valueFromFieldPath: str | None = None
    value: str | None = None
    fromFieldPathPolicy: Literal["Optional", "Required"] = "Required"

    def problems(self) -> Iterator[Problem]:
        if self.type == "Value":
            if not self.value:
                yield required("value", "must be set for type Value")
        elif not self.valueFromFieldPath:
            yield required("valueFromFieldPath", f"must be set for type {self.type}")
        else:
            yield from path_problems("valueFromFieldPath", self.valueFromFieldPath)


class Resolution(Spec):
    """Whether an object that is referred to must be there."""

    resolution: Literal["Required", "Optional"] = "Required"


def path_problems(field: str, text: str) -> Iterator[Problem]:
    try:
        fieldpath.parse(text)
    except InvalidInput as error:
        yield Problem("Invalid", field, error.what, error.mend)


def label_value(source: Mapping[str, Json], path: str) -> str:
    """The text at a path.

    Raises:
        InvalidInput: there is none.
    """
    value = fieldpath.get(source, fieldpath.parse(path))
    if not isinstance(value, str):
        raise InvalidInput(f"{path}: not a string, but {fieldpath.kind_of(value)}", mend="labels are strings")
    return value


def ordered(found: Sequence[Object], path: str) -> Sequence[Object]:
    """Ascending by the value at a path: what lacks it counts as "" or 0; nothing moves where all lack it.

    Raises:
        InvalidInput: the values can't be compared.
    """
    values = [fieldpath.find(obj, fieldpath.parse(path)) for obj in found]
    kinds = {_kind(obj, path, value) for obj, value in zip(found, values, strict=True)} - {None}
    if not kinds:
        return found
    if len(kinds) > 1:
        raise InvalidInput(f"{path} is a string here and a number there", mend="sort by a field of one kind")
    zero: Any = kinds.pop()
    keys = [zero if value in (None, MISSING) else value for value in values]
    return [found[index] for index in sorted(range(len(found)), key=lambda index: keys[index])]


def metadata(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata of what a function may have made: {} if that is no object."""
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def _kind(obj: Object, path: str, value: Json) -> str | float | None:
    """The zero of the value's kind; None where there is no value."""
    if value is None or value is MISSING:
        return None
    if isinstance(value, str):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0.0
    raise InvalidInput(
        f"{obj.get('kind')} {metadata(obj).get('name')} › {path}: {fieldpath.kind_of(value)} can't be sorted by",
        mend="sort by a string or a number",
    )
