"""Connection details: where each key of a composite's connection Secret comes from.

Source: Crossplane v1.20 `internal/controller/apiextensions/composite/connection.go` and function-patch-and-transform
v0.10 `connection.go`.  Values are bytes and never appear in a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from groundplane.core import fieldpath, goformat
from groundplane.core.fieldpath import MISSING
from groundplane.core.objects import Object
from groundplane.core.spec import FUNCTION, Dialect, Problem, Spec, not_supported, required, word
from groundplane.errors import GroundplaneError, InvalidInput, at, did_you_mean, shown

_PARAMETERS = {
    "FromValue": "value",
    "FromConnectionSecretKey": "fromConnectionSecretKey",
    "FromFieldPath": "fromFieldPath",
}

SECRET_TYPE = "connection.crossplane.io/v1alpha1"  # of connection Secrets


def check_key(name: str) -> None:
    """Raise InvalidInput for what can't be a key of a Secret."""
    if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", name):
        raise InvalidInput(
            f"{shown(name)} can't be a key of a Secret", mend="write letters, digits, '-', '_' and '.', 253 at most"
        )


class ConnectionDetail(Spec):
    """One key of the composite's Secret."""

    name: str | None = None
    type: Annotated[str | None, word("FromConnectionSecretKey", "FromFieldPath", "FromValue")] = None
    value: str | None = None
    fromConnectionSecretKey: str | None = None
    fromFieldPath: str | None = None

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        """What is wrong with this one detail; the native engine finds it only when it composes."""
        if dialect != FUNCTION:
            return
        if not self.type:
            yield required("type", mend=did_you_mean("", _PARAMETERS))
        elif self.type not in _PARAMETERS:
            yield not_supported("type", self.type, _PARAMETERS)
        elif not self.name:
            yield required("name")
        elif getattr(self, _PARAMETERS[self.type]) is None:
            yield required(_PARAMETERS[self.type])

    @property
    def kind(self) -> str:
        """The type, or the one that the settings imply."""
        if self.type is not None:
            return self.type
        for kind, parameter in _PARAMETERS.items():
            if getattr(self, parameter) is not None:
                return kind
        return "FromConnectionSecretKey"


@dataclass(frozen=True, slots=True)
class Detail:
    """A connection detail that is ready to be read; with `error` it can't be."""

    name: str
    kind: str
    parameter: str = field(repr=False)
    error: str = ""


def compile(details: Sequence[ConnectionDetail]) -> tuple[Detail, ...]:
    """The details of one template, ready to be read."""
    return tuple(_compile(detail) for detail in details)


def _compile(detail: ConnectionDetail) -> Detail:
    kind = detail.kind
    parameter = getattr(detail, _PARAMETERS[kind])
    name = detail.name
    if name is None and kind == "FromConnectionSecretKey":
        name = parameter or ""
    error = ""
    if name is None:
        error = "connection detail is missing name"
    elif parameter is None:
        error = f"connection detail of type {kind} has no {_PARAMETERS[kind]}"
    return Detail(name or "", kind, parameter or "", error)


def extract(details: Sequence[Detail], obj: Object, secret: Mapping[str, bytes]) -> dict[str, bytes]:
    """The keys and values that one composed resource gives; what is not there yet is left out.

    Raises:
        InvalidInput: a detail can't be read from anything.
    """
    result: dict[str, bytes] = {}
    for index, detail in enumerate(details):
        if detail.error:
            with at(f"connectionDetails[{index}]"):
                raise InvalidInput(detail.error, mend="complete it")
        value = _read(detail, obj, secret)
        if value is not None:
            result[detail.name] = value
    return result


def _read(detail: Detail, obj: Object, secret: Mapping[str, bytes]) -> bytes | None:
    if detail.kind == "FromValue":
        return fieldpath.utf8(detail.parameter)
    if detail.kind == "FromConnectionSecretKey":
        return secret.get(detail.parameter)
    try:
        value = fieldpath.find(obj, fieldpath.parse(detail.parameter))
        if value is MISSING:
            return None
        text = value if isinstance(value, str) else goformat.dumps(value)
    except GroundplaneError:
        return None
    return fieldpath.utf8(text)


def without_port(details: dict[str, bytes]) -> bool:
    """Turn a `host` that is "<x>:<n>" beside a `port` that is "<n>" into "<x>", in place; True if it was.

    AWS reports some endpoints with their port, and programs do not expect that of a host.
    """
    host, port = details.get("host", b""), details.get("port", b"")
    name, colon, number = host.rpartition(b":")
    if not (name and colon and number.isdigit() and number == port):
        return False
    details["host"] = name
    return True
