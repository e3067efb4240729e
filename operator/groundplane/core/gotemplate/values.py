"""Go's values in Python, and what Go's reflection says of them.

JSON is Python's own: an int is Go's int64, a dict a map[string]interface {}, a list a []interface {}, None a nil interface.  What a template
can tell apart beside these has a class of its own.  `INVALID` is what there is where nothing is: a key that is not in a map.
Text that is not UTF-8 is carried as surrogate escapes, as in `goformat`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from groundplane.core import goformat
from groundplane.core.fieldpath import INT64_MIN, utf8
from groundplane.core.goformat import Special

Value = Any


class _Invalid:
    """No value at all."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<no value>"


INVALID = _Invalid()


class Int(int):
    """Go's int: of literals, of `len` and of indexes."""

    __slots__ = ()
    go_type: ClassVar[str] = "int"


class Uint8(int):
    """A byte of a text."""

    __slots__ = ()
    go_type: ClassVar[str] = "uint8"


class Uint32(int):
    __slots__ = ()
    go_type: ClassVar[str] = "uint32"


class Uint64(int):
    __slots__ = ()
    go_type: ClassVar[str] = "uint64"


class Named(str):
    """A text of a type of its own: it is compared and printed like any other, and is no `string` where one is wanted."""

    go_type: str

    def __new__(cls, text: str, go_type: str) -> Named:
        made = super().__new__(cls, text)
        made.go_type = go_type
        return made


class Nil:
    """A map or list that is typed, and not there."""

    __slots__ = ()


class Strings(list[str]):
    go_type: ClassVar[str] = "[]string"


class Ints(list[Int]):
    go_type: ClassVar[str] = "[]int"


class Lists(list[list[Value]]):
    go_type: ClassVar[str] = "[][]interface {}"


class StringMap(dict[str, str]):
    go_type: ClassVar[str] = "map[string]string"


class BytesMap(dict[str, bytes]):
    go_type: ClassVar[str] = "map[string][]uint8"


class AnyMap(dict[Value, Value]):
    """A map whose keys are not all texts: YAML has such."""

    go_type: ClassVar[str] = "map[interface {}]interface {}"


class NilMap(Nil, dict[str, Value]):
    go_type: ClassVar[str] = "map[string]interface {}"


class NilList(Nil, list[Value]):
    go_type: ClassVar[str] = "[]interface {}"


class NilStrings(Nil, Strings):
    pass


class NilBytesMap(Nil, BytesMap):
    pass


class Struct(Special):
    """A struct: its fields by name, and its methods, which templates call without arguments or with."""

    __slots__ = ("fields",)
    go_type = "struct"
    kind: ClassVar[str] = "struct"
    methods: ClassVar[dict[str, Callable[..., Value]]] = {}

    def __init__(self, **fields: Value) -> None:
        self.fields = fields

    def text(self) -> str:
        return "{" + " ".join(goformat.text(value) for value in self.fields.values()) + "}"


class Function(Special):
    """A function that templates call.

    Parameters are Go's types by the words of `PARAMETERS`; the last one may be repeated.
    """

    __slots__ = ("call", "is_builtin", "is_deep", "is_random", "name", "repeated", "types", "wants_run")
    go_type = "func"

    def __init__(
        self,
        name: str,
        call: Callable[..., Value],
        types: Sequence[str],
        repeated: str = "",
        *,
        wants_run: bool = False,
        is_deep: bool = False,
        is_random: bool = False,
        is_builtin: bool = False,
    ) -> None:
        self.name = name
        self.call = call
        self.types = tuple(types)
        self.repeated = repeated
        self.wants_run = wants_run  # its first argument is the run
        self.is_deep = is_deep  # it looks at all that is in what it is given, which is weighed before
        self.is_random = is_random  # another answer each time
        self.is_builtin = is_builtin

    def text(self) -> str:
        return self.name


PARAMETERS = {
    "any": "interface {}",
    "value": "reflect.Value",
    "string": "string",
    "int": "int",
    "int64": "int64",
    "float64": "float64",
    "bool": "bool",
    "uint32": "uint32",
    "map": "map[string]interface {}",
    "list": "[]interface {}",
    "strings": "[]string",
    "time": "time.Time",
    "certificate": "sprig.certificate",
}

_ZERO: dict[str, Callable[[], Value]] = {
    "any": lambda: None,
    "value": lambda: None,
    "map": NilMap,
    "list": NilList,
    "strings": NilStrings,
}

type_name = goformat.type_name


def zero(parameter: str) -> Value:
    """What a function is given where nothing is; INVALID if its parameter can't be nil."""
    make = _ZERO.get(parameter)
    return make() if make else INVALID


def fits(value: Value, parameter: str) -> bool:
    """Whether a value can be assigned to a parameter."""
    return parameter in ("any", "value") or type_name(value) == PARAMETERS[parameter]


_KINDS = {
    "<nil>": "invalid",
    "[]uint8": "slice",
    "time.Duration": "int64",
    "func": "func",
}


def kind(value: Value) -> str:
    """Go's word for the kind of a value.

    >>> kind([]), kind({}), kind(None), kind(1), kind(Int(1))
    ('slice', 'map', 'invalid', 'int64', 'int')
    """
    if value is INVALID:
        return "invalid"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Struct):
        return value.kind
    name = type_name(value)
    if name in _KINDS:
        return _KINDS[name]
    if name.startswith("[]"):
        return "slice"
    return "map" if name.startswith("map[") else name


def is_nil(value: Value) -> bool:
    """Whether Go compares it equal to nil."""
    return value is None or value is INVALID or isinstance(value, Nil)


def is_integer(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def wrapped(number: int) -> int:
    """What is left of a number in 64 bits.

    >>> wrapped(2**64 - 2)
    -2
    """
    return (number - INT64_MIN) % 2**64 + INT64_MIN


def text_length(text: str) -> int:
    """Bytes of a text."""
    return len(text) if text.isascii() else len(utf8(text))


def sliced(text: str, start: int | None, end: int | None) -> str:
    """Bytes of a text, which may cut a character into pieces."""
    if text.isascii():
        return text[start:end]
    return utf8(text)[start:end].decode("utf-8", "surrogateescape")


def same(one: Value, other: Value) -> bool:
    """Go's reflect.DeepEqual: types count, too."""
    waiting = [(one, other)]
    while waiting:
        a, b = waiting.pop()
        if a is b and a is not INVALID and not isinstance(a, float):
            continue
        if type(a) is not type(b) and type_name(a) != type_name(b):
            return False
        if isinstance(a, Nil) is not isinstance(b, Nil):
            return False
        if isinstance(a, list):
            if len(a) != len(b):
                return False
            waiting.extend(zip(a, b, strict=True))
        elif isinstance(a, dict):
            if a.keys() != b.keys():
                return False
            waiting.extend((value, b[name]) for name, value in a.items())
        elif isinstance(a, Special):
            if a.text() != b.text():
                return False
        elif a != b:
            return False
    return True
