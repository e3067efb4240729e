"""What requests consist of, as bytes: an object that has not changed since the last one is not encoded again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from groundplane.core.objects import Json, Object
from groundplane.remote import wire

MOST_BYTES = 32 * 1024 * 1024  # that are kept
MOST_INPUTS = 256  # of steps

Version = tuple[str, str, str]


class Encoded:
    """Bytes of objects by their versions, and of steps' inputs; those that were not asked for the longest go first."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._size = most, 0
        self._objects: OrderedDict[Version, bytes] = OrderedDict()
        self._inputs: OrderedDict[int, tuple[Mapping[str, Json], bytes]] = OrderedDict()

    def object(self, obj: Object) -> bytes:
        """An object's bytes.

        Raises:
            InvalidInput: it is no JSON.
        """
        version = _version(obj)
        if version is None:
            return wire.struct(obj)
        found = self._objects.pop(version, None)
        if found is None:
            found = wire.struct(obj)
            self._size += len(found)
        self._objects[version] = found
        while self._size > self._most:
            self._size -= len(self._objects.popitem(last=False)[1])
        return found

    def input(self, given: Mapping[str, Json]) -> bytes:
        """A step's input: the same object as long as its revision is compiled.

        Raises:
            InvalidInput: it is no JSON.
        """
        known = self._inputs.pop(id(given), None)
        if known is None or known[0] is not given:
            known = (given, wire.struct(given))
        self._inputs[id(given)] = known
        if len(self._inputs) > MOST_INPUTS:
            self._inputs.popitem(last=False)
        return known[1]


def _version(obj: Object) -> Version | None:
    """What changes whenever the object does; None of what the API server has not stored."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return None
    uid, version, api = metadata.get("uid"), metadata.get("resourceVersion"), obj.get("apiVersion")
    if isinstance(uid, str) and isinstance(version, str) and isinstance(api, str) and uid and version:
        return uid, version, api
    return None
