"""Where what a table wants and what we got differ: one text for each place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def differences(what: str, wanted: Any, got: Any) -> Iterator[str]:
    """Of plain data; true is not 1."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        for name in sorted(wanted.keys() | got.keys()):
            if name not in got or name not in wanted:
                yield f"{what}.{name}: wanted {_shown(wanted, name)}, got {_shown(got, name)}"
            else:
                yield from differences(f"{what}.{name}", wanted[name], got[name])
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for index, (one, other) in enumerate(zip(wanted, got, strict=True)):
            yield from differences(f"{what}[{index}]", one, other)
    elif wanted != got or isinstance(wanted, bool) is not isinstance(got, bool):
        yield f"{what}: wanted {json.dumps(wanted)}, got {json.dumps(got)}"


def _shown(holder: Mapping[str, Any], name: str) -> str:
    return json.dumps(holder[name]) if name in holder else "nothing"
