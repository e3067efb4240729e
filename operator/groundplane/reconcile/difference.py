"""The JSON merge patch that brings a live object to what is desired, without touching anything else.

Native composition changes composed resources the way upstream's "patching applicator" does: what the template
no longer has stays as it is, a null removes, a list is replaced whole.
"""

from __future__ import annotations

from typing import Any

from groundplane.core.objects import Json, Object


def merge_patch(live: Object, desired: Object) -> dict[str, Json]:
    """What of `desired` differs from `live`; empty if nothing does.

    >>> merge_patch({"spec": {"a": 1, "b": 2}}, {"spec": {"a": 1, "b": 3, "c": None}})
    {'spec': {'b': 3}}
    """
    patch: dict[str, Json] = {}
    for name, wanted in desired.items():
        if name not in live:
            if wanted is not None:
                patch[name] = wanted
            continue
        found = live[name]
        if isinstance(wanted, dict) and isinstance(found, dict):
            if nested := merge_patch(found, wanted):
                patch[name] = nested
        elif not _same(found, wanted):
            patch[name] = wanted
    return patch


def _same(found: Any, wanted: Any) -> bool:
    """JSON equality: a boolean is no number, 10 is 10.0, dict items of lists may have been defaulted."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_same, found, wanted))
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and _same(found[name], value) for name, value in wanted.items() if value is not None)
    return bool(found == wanted)
