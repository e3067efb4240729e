"""The functions of the language itself.

Source: Go 1.26 `text/template/funcs.go`.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable

from groundplane.core import goformat
from groundplane.core.fieldpath import utf8
from groundplane.core.goformat import Special
from groundplane.core.gotemplate import values
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import check_length
from groundplane.core.gotemplate.values import INVALID, Function, Int, Uint8, Value, is_integer, is_nil, kind, type_name


def basic_kind(value: Value) -> str:
    """What comparisons tell apart; "" for what they can't compare."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, values.Uint8 | values.Uint32 | values.Uint64):
        return "uint"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, complex):
        return "complex"
    return "string" if isinstance(value, str) else ""


_NUMBERS = ("int", "uint")
_CONVERT = "convert one of them: int, float64, toString"


def eq(first: Value, *others: Value) -> bool:
    if not others:
        raise Failure("missing argument for comparison")
    return any(_equal(first, other) for other in others)


def _equal(one: Value, other: Value) -> bool:
    a, b = basic_kind(one), basic_kind(other)
    if a != b:
        if a in _NUMBERS and b in _NUMBERS:
            return bool(one == other)
        if one is not None and other is not None:
            raise Failure(f"incompatible types for comparison: {type_name(one)} and {type_name(other)}", _CONVERT)
        return False
    if a:
        return bool(one == other)
    if one is not None and other is not None and kind(one) != kind(other):
        raise Failure(f"non-comparable types {type_name(one)} and {type_name(other)}", "use deepEqual")
    if is_nil(one) or is_nil(other):
        return is_nil(one) and is_nil(other)
    if isinstance(one, Special):
        return one is other or (type(one) is type(other) and one.text() == other.text())
    raise Failure(f"non-comparable type {type_name(other)}", "use deepEqual")


def ne(one: Value, other: Value) -> bool:
    return not _equal(one, other)


def lt(one: Value, other: Value) -> bool:
    a, b = basic_kind(one), basic_kind(other)
    if not a or not b:
        raise Failure("invalid type for comparison")
    if a != b and not (a in _NUMBERS and b in _NUMBERS):
        raise Failure(f"incompatible types for comparison: {type_name(one)} and {type_name(other)}", _CONVERT)
    if a in ("bool", "complex"):
        raise Failure("invalid type for comparison")
    if a == "string":
        return utf8(one) < utf8(other)
    return bool(one < other)


def le(one: Value, other: Value) -> bool:
    return lt(one, other) or _equal(one, other)


def length(item: Value) -> Int:
    if item is None:
        raise Failure("len of nil pointer", "guard it: {{ with X }}…{{ end }}, or len (X | default list)")
    if isinstance(item, str):
        return Int(values.text_length(item))
    if isinstance(item, list | dict | bytes):
        return Int(len(item))
    raise Failure(f"len of type {type_name(item)}")


def index(item: Value, *indexes: Value) -> Value:
    if item is None:
        raise Failure("index of untyped nil", "what is indexed is not there: guard it with if or with, or use dig")
    for each in indexes:
        item = _indexed(item, each)
    return item


def _indexed(item: Value, key: Value) -> Value:
    if item is None:
        raise Failure("index of nil pointer", "what is indexed is not there: guard it with if or with, or use dig")
    if isinstance(item, dict):
        if isinstance(item, values.AnyMap):
            return item.get(key) if not isinstance(key, list | dict) else None
        if not isinstance(key, str):
            if key is None:
                raise Failure("value is nil; should be of type string")
            raise Failure(f"value has type {type_name(key)}; should be string", "turn it into text: toString")
        if key in item:
            return item[key]
        return "" if isinstance(item, values.StringMap) else None
    if isinstance(item, list | bytes | str):
        data = utf8(item) if isinstance(item, str) else item
        position = _position(key, len(data))
        if position == len(data):
            raise Failure(f"reflect: {'string' if isinstance(item, str) else 'slice'} index out of range")
        found = data[position]
        return Uint8(found) if isinstance(data, bytes) else found
    raise Failure(f"can't index item of type {type_name(item)}")


def _position(key: Value, most: int) -> int:
    if key is None:
        raise Failure("cannot index slice/array with nil")
    if not is_integer(key):
        raise Failure(f"cannot index slice/array with type {type_name(key)}", "turn it into a number: int")
    if not 0 <= key <= most:
        raise Failure(f"index out of range: {key}", "look at len first")
    return int(key)


def slice_of(item: Value, *indexes: Value) -> Value:
    if item is None:
        raise Failure("slice of untyped nil")
    if len(indexes) > 3:
        raise Failure(f"too many slice indexes: {len(indexes)}")
    if isinstance(item, str) and len(indexes) == 3:
        raise Failure("cannot 3-index slice a string")
    if not isinstance(item, str | list | bytes):
        raise Failure(f"can't slice item of type {type_name(item)}")
    size = values.text_length(item) if isinstance(item, str) else len(item)
    given = [_position(each, size) for each in indexes]
    start, end = [*given, 0][0], [*given, 0, size][1] if len(given) > 1 else size
    if start > end:
        raise Failure(f"invalid slice index: {start} > {end}")
    if isinstance(item, str):
        return values.sliced(item, start, end)
    return type(item)(item[start:end])


def call(function: Value, *arguments: Value) -> Value:
    if function is None:
        raise Failure("call of nil")
    raise Failure(f"non-function of type {type_name(function)}", "functions are called by their names")


def printed(*arguments: Value) -> str:
    """Go's Sprint: a space between two that are no texts."""
    out: list[str] = []
    before_is_text, total = True, 0
    for argument in arguments:
        is_text = isinstance(argument, str)
        if not is_text and not before_is_text:
            out.append(" ")
        out.append(goformat.text(argument))
        total += len(out[-1])
        check_length(total)
        before_is_text = is_text
    return "".join(out)


def print_line(*arguments: Value) -> str:
    out = []
    for argument in arguments:
        out.append(goformat.text(argument))
        check_length(sum(map(len, out)) if len(out) < 100 else 0)
    return " ".join(out) + "\n"


def _text_of(arguments: tuple[Value, ...]) -> str:
    if len(arguments) == 1 and isinstance(arguments[0], str):
        return arguments[0]
    return printed(*("<no value>" if argument is None else argument for argument in arguments))


_HTML = str.maketrans({"'": "&#39;", '"': "&#34;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"})
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def html(*arguments: Value) -> str:
    return _text_of(arguments).translate(_HTML)


def js(*arguments: Value) -> str:
    return "".join(_js(character) for character in _text_of(arguments))


def _js(character: str) -> str:
    if character in _JS:
        return _JS[character]
    if character < " ":
        return f"\\u{ord(character):04X}"
    return character if character.isascii() or character.isprintable() else f"\\u{ord(character):04X}"


def urlquery(*arguments: Value) -> str:
    return urllib.parse.quote_plus(utf8(_text_of(arguments)), safe="-_.~")


def _nothing(*arguments: Value) -> Value:
    return INVALID


def _builtin(name: str, function: Callable[..., Value], types: str, repeated: str = "") -> Function:
    return Function(name, function, types.split(), repeated, is_builtin=True)


BUILTINS = {
    function.name: function
    for function in (
        _builtin("and", _nothing, "value", "value"),  # these two are not called: see `evaluate`
        _builtin("or", _nothing, "value", "value"),
        _builtin("not", lambda value: not value, "value"),
        _builtin("call", call, "value", "value"),
        _builtin("html", html, "", "any"),
        _builtin("index", index, "value", "value"),
        _builtin("slice", slice_of, "value", "value"),
        _builtin("js", js, "", "any"),
        _builtin("len", length, "value"),
        _builtin("print", printed, "", "any"),
        _builtin("printf", goformat.sprintf, "string", "any"),
        _builtin("println", print_line, "", "any"),
        _builtin("urlquery", urlquery, "", "any"),
        _builtin("eq", eq, "value", "value"),
        _builtin("ne", ne, "value value"),
        _builtin("lt", lt, "value value"),
        _builtin("le", le, "value value"),
        _builtin("gt", lambda one, other: not le(one, other), "value value"),
        _builtin("ge", lambda one, other: not lt(one, other), "value value"),
    )
}
