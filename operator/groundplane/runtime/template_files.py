"""The folder that templates of function-go-templating may come from: read once, when the operator starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from groundplane.errors import InvalidInput

MOST = 16 << 20  # characters of all of them


def read(folder: str) -> Mapping[str, str] | None:
    """Its files by their path below it, as upstream reads them: no names that begin with a dot.  None if there is no such setting.

    Raises:
        InvalidInput: it can't be read, or is far too large.
    """
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise InvalidInput(f"--function-templates-dir {folder} is no folder", mend="mount it, or leave the setting out")
    found: dict[str, str] = {}
    total = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.startswith(".") or not path.is_file():
                continue
            text = _text(path, MOST - total)
            total += len(text)
            found[path.relative_to(folder).as_posix()] = text
    return found


def _text(path: Path, most: int) -> str:
    try:
        if path.stat().st_size > most:
            raise InvalidInput(
                f"more than {MOST >> 20} MiB of templates, with {path}", mend="leave there what templates need"
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path} can't be read: {error}", mend="let it be text in UTF-8 that the operator may read"
        ) from error
