"""How a function is made known to templates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from groundplane.core import goformat
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import check_length
from groundplane.core.gotemplate.values import Function, Strings, Value, kind

Library = dict[str, Function]
Body = TypeVar("Body", bound=Callable[..., Any])


def function(
    library: Library, names: str, types: str = "", repeated: str = "", **flags: bool
) -> Callable[[Body], Body]:
    """Put a function into a library, under each of some names; types are words of `values.PARAMETERS`."""

    def register(body: Body) -> Body:
        for name in names.split():
            library[name] = Function(name, body, types.split(), repeated, **flags)
        return body

    return register


def text_of(value: Value) -> str:
    """sprig's strval."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return goformat.text(value)


def texts_of(value: Value) -> Strings:
    """sprig's strslice: the items as texts, without nulls; anything else is a list of itself."""
    if value is None:
        return Strings()
    items = value if isinstance(value, list) else [value]
    found, total = Strings(), 0
    for item in items:
        if item is not None:
            text = text_of(item)
            total += len(text)
            check_length(total)
            found.append(text)
    return found


def items_of(value: Value, complaint: str) -> list[Value]:
    """A list's items; the complaint is about the kind of what is none."""
    if isinstance(value, list):
        return value
    if value is None:
        raise Failure(
            "runtime error: invalid memory address or nil pointer dereference",
            "what should be a list is not there: X | default list",
        )
    raise Failure(f"{complaint} {kind(value)}", "give it a list")
