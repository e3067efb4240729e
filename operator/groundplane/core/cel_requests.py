"""CEL as composition functions ask it: about a request, as upstream's protocol describes it, or about one object.

Expressions have CEL's standard library.  `observed` and `desired` are messages, so a field that they don't have is a mistake of
the expression, and one that is not set has its zero; what is in objects is dynamic, and numbers there are doubles.

Source: function-cel-filter v0.2 (`fn.go`), function-sequencer v0.6, function-auto-ready v0.7; Crossplane's run_function.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from groundplane.core import cel
from groundplane.core.objects import Json, Object
from groundplane.core.pipeline import Request, Resource, State
from groundplane.errors import InvalidInput, did_you_mean, shown

PACKAGE: Final = "apiextensions.fn.proto.v1"
_REQUEST: Final = (
    ("context", "google.protobuf.Struct"),
    ("desired", f"{PACKAGE}.State"),
    ("observed", f"{PACKAGE}.State"),
)
_OBJECT: Final = (("object", "dyn"),)
SHORTEST_SECRET = 4  # characters of a value that is looked for in what is told
_READY = {True: 1, False: 2, None: 0}
_MISSING = "evaluating CEL needs a library that is not installed"
_MENDS = {
    "no such key": "ask whether it is there first, by has()",
    "No matching overloads": "numbers of objects are doubles: compare with 1.0, or convert: int(), double(), string()",
}
_INSTALL = f"install it where Groundplane runs: {cel.INSTALL}"


class Question:
    """An expression about a request, true or false."""

    def __init__(self, text: str, *, is_dynamic: bool = False) -> None:
        """Compile it.  `is_dynamic`: it may turn out only when it is evaluated that it is true or false.

        Raises:
            InvalidInput: it can't be compiled, or is something else than true or false.
        """
        self._expression = _compiled(text, _REQUEST, _messages().pool)
        _check(text, self._expression.gives, ("bool", "dyn") if is_dynamic else ("bool",))

    def ask(self, about: Asked) -> bool:
        """What it is for a request.

        Raises:
            InvalidInput: it fails.
        """
        return _truth(self._expression, about.variables, about.secrets)


class Asked:
    """A request, as expressions see it; made once for all expressions of a step."""

    def __init__(self, request: Request) -> None:
        """
        Raises:
            InvalidInput: something in it is no JSON.
        """
        messages = _messages()
        try:
            found = {
                "observed": messages.state(request.observed),
                "desired": messages.state(request.desired, is_desired=True),
                "context": messages.struct(request.context),
            }
        except (ValueError, OverflowError, RecursionError, TypeError) as error:
            raise InvalidInput(f"CEL can't be asked about what is no plain JSON: {error}") from None
        size = sum(each.ByteSize() for each in found.values())
        self.variables = cel.prepared(found, _REQUEST, messages.pool, size)
        states = (request.observed, request.desired)
        resources = [each for state in states for each in (state.composite, *state.resources.values())]
        self.secrets = {text for each in resources for text in _secrets(each.object, each.connection)}


class Check:
    """An expression about one object, `object`, true or false."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            InvalidInput: it can't be compiled, or is something else than true or false.
        """
        self._expression = _compiled(text, _OBJECT, None)
        _check(text, self._expression.gives, ("bool",))

    def holds(self, obj: Object) -> bool:
        """What it is for an object.

        Raises:
            InvalidInput: it fails.
        """
        return _truth(self._expression, {"object": _floats(obj)}, set(_secrets(obj)))


def _compiled(text: str, types: cel.Types, pool: Any) -> cel.Expression:
    try:
        return cel.standard(text, types, pool)
    except cel.Unchecked as error:
        if error.missing:
            raise _missing() from None
        undeclared = re.search(r"undeclared reference to '([^'.]*)", str(error))
        mend = did_you_mean(undeclared[1], [name for name, _ in types]) if undeclared else "correct the expression"
        raise InvalidInput(f"cannot compile expression {shown(text)}: {error}", mend=mend) from None


def _missing() -> InvalidInput:
    return InvalidInput(_MISSING, mend=_INSTALL)


def _check(text: str, gives: str, wanted: tuple[str, ...]) -> None:
    if gives not in wanted:
        raise InvalidInput(
            f"expression {shown(text)} must return a boolean, but will return {gives} instead",
            mend="compare it with something: == true, if it is true or false",
        )


def _secrets(obj: Object, connection: Mapping[str, bytes] | None = None) -> Iterator[str]:
    """What must not be told of an object: its connection details, and what is in a Secret."""
    for value in (connection or {}).values():
        yield value.decode("utf-8", "replace")
    if obj.get("kind") == "Secret":
        for member in ("data", "stringData"):
            held = obj.get(member)
            yield from (value for value in (held if isinstance(held, dict) else {}).values() if isinstance(value, str))


def _truth(expression: cel.Expression, data: Mapping[str, Any] | cel.Prepared, secrets: set[str]) -> bool:
    try:
        value = expression.evaluate(data)
    except (cel.Failure, cel.Unchecked) as error:
        told = str(error)  # an engine's words may have a key or a pattern that was made of something secret
        mend = next((mend for words, mend in _MENDS.items() if words in told), "")
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= SHORTEST_SECRET:
                told = told.replace(secret, "…")
        raise InvalidInput(f"cannot evaluate the expression: {told}", mend=mend) from None
    if not isinstance(value, bool):
        raise InvalidInput("the expression is neither true nor false", mend="compare it with something")
    return value


def _floats(value: Json) -> Json:
    """JSON as the protocol hands it over: every number is a double."""
    if isinstance(value, dict):
        return {name: _floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 1 << 1023 else value
    return value


# --- a request as messages


class _Messages:
    """The protocol's messages that expressions see, made from a description: there is no generated code."""

    def __init__(self) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

        field = descriptor_pb2.FieldDescriptorProto
        once, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
        file = descriptor_pb2.FileDescriptorProto(
            name="run_function.proto", package=PACKAGE, syntax="proto3", dependency=["google/protobuf/struct.proto"]
        )

        def mapping(message: Any, name: str, number: int, entry: str, **of: Any) -> None:
            nested = message.nested_type.add(name=entry)
            nested.options.map_entry = True
            nested.field.add(name="key", number=1, label=once, type=field.TYPE_STRING)
            nested.field.add(name="value", number=2, label=once, **of)
            kind = f".{PACKAGE}.{message.name}.{entry}"
            message.field.add(name=name, number=number, label=many, type=field.TYPE_MESSAGE, type_name=kind)

        ready = file.enum_type.add(name="Ready")
        for number, name in enumerate(("READY_UNSPECIFIED", "READY_TRUE", "READY_FALSE")):
            ready.value.add(name=name, number=number)
        resource = file.message_type.add(name="Resource")
        struct = {"type": field.TYPE_MESSAGE, "type_name": ".google.protobuf.Struct"}
        resource.field.add(name="resource", number=1, label=once, **struct)
        mapping(resource, "connection_details", 2, "ConnectionDetailsEntry", type=field.TYPE_BYTES)
        resource.field.add(name="ready", number=3, label=once, type=field.TYPE_ENUM, type_name=f".{PACKAGE}.Ready")
        state = file.message_type.add(name="State")
        of = {"type": field.TYPE_MESSAGE, "type_name": f".{PACKAGE}.Resource"}
        state.field.add(name="composite", number=1, label=once, **of)
        mapping(state, "resources", 2, "ResourcesEntry", **of)

        self.pool = descriptor_pool.DescriptorPool()
        known = descriptor_pb2.FileDescriptorProto()
        struct_pb2.DESCRIPTOR.CopyToProto(known)
        self.pool.Add(known)
        self.pool.Add(file)
        found = {
            name: message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))
            for name in (f"{PACKAGE}.State", "google.protobuf.Struct")
        }
        self._state, self._struct = found.values()

    def state(self, given: State, *, is_desired: bool = False) -> Any:
        """A state; of a desired composite nothing is there as long as no function desires anything of it."""
        made, composite = self._state(), given.composite
        is_bare = composite.object.keys() <= {"apiVersion", "kind"} and not composite.connection
        if not (is_desired and is_bare and composite.ready is None):
            self._fill(made.composite, composite)
        for name, resource in given.resources.items():
            self._fill(made.resources[name], resource)
        return made

    def struct(self, given: Mapping[str, Json]) -> Any:
        made = self._struct()
        made.update(given)
        return made

    def _fill(self, message: Any, given: Resource) -> None:
        message.resource.update(given.object)
        for name, value in given.connection.items():
            message.connection_details[name] = value
        message.ready = _READY[given.ready]


@lru_cache(maxsize=1)
def _messages() -> _Messages:
    if not cel.is_available():
        raise _missing()
    try:
        return _Messages()
    except ImportError:
        raise _missing() from None
