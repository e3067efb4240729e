"""A name that is needed belongs to an object of somebody else."""

from __future__ import annotations

from groundplane.core.objects import Object, key_of
from groundplane.errors import Awaited, InvalidInput


def taken(obj: Object, what: str, *, mend: str) -> InvalidInput:
    """The error; it is tried again when that object changes, or goes."""
    error, key = InvalidInput(what, mend=mend), key_of(obj)
    error.on = (Awaited(key.group, key.kind, key.namespace, key.name),)
    return error
