"""What `up --prune` may delete: only what its owner certainly wants gone.

Files vanish for other reasons than that: a mount that failed, a folder that is renamed or checked out anew, an editor
that saves.  So an object goes when no file has held it for SETTLED seconds, while the place that it was in is still in
use: its file, if that is there, and each folder down to it hold other manifests.  A place that holds nothing any more
keeps what came from it, and that is told; `--prune-folders` says that the folders are meant to be gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from groundplane.cli.manifests import Manifest

SETTLED = 3.0  # seconds that an object must be gone from the files before it is deleted: some looks at them

_HELD = "{} holds no manifests any more: what came from it stays. Mend: "
_BACK = "put them back; or delete it with groundplane delete, or by starting up with --prune-folders."


@dataclass(frozen=True)
class Placed:
    """A manifest, and where it is."""

    manifest: Manifest
    root: str  # the path that was given, absolute
    file: str  # absolute; "-" is standard input


def places_in_use(found: Iterable[Placed]) -> set[str]:
    """The files that hold manifests, and the folders down to them from the paths that were given.

    >>> manifest = Manifest({}, "")
    >>> sorted(places_in_use([Placed(manifest, "/m", "/m/a/x.yaml"), Placed(manifest, "/n.yaml", "/n.yaml")]))
    ['/m', '/m/a', '/m/a/x.yaml', '/n.yaml']
    """
    return {place for root, file in {(each.root, each.file) for each in found} for place in _down_to(root, file)}


def held(entry: Mapping[str, str], in_use: Collection[str], there: Collection[str], *, folders: bool = False) -> str:
    """Why an object that is in no file any more stays, or "".

    `entry`: where it was (`from`, and `file`, unless an older release noted it); `there`: the files that there are.
    `folders`: those that hold nothing are meant to.
    """
    file = entry.get("file") or entry["from"]
    for place in _down_to(entry["from"], file):
        if place in in_use:
            continue
        if place in there:
            return f"{_HELD.format(place)}remove the file if what it held is to go."
        if not folders and (place != file or place == entry["from"]):
            return _HELD.format(place) + _BACK
    return ""


def _down_to(root: str, file: str) -> Iterator[str]:
    """The path that was given, the folders in it on the way to a file, and the file."""
    if root == file:
        yield root
        return
    path = Path(file)
    yield from reversed([str(each) for each in (path, *path.parents) if each.is_relative_to(root)])
