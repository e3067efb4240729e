"""JSON that is kept."""

from __future__ import annotations

import orjson

from groundplane.core.objects import Json


def dumps(value: Json, option: int | None = None) -> bytes:
    """The JSON of a value, in no more memory than it takes: what orjson hands out keeps its whole buffer, 8 KiB for 700 bytes.

    Raises:
        orjson.JSONEncodeError: it has none.
    """
    return bytes(memoryview(orjson.dumps(value, option=option)))
