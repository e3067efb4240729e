"""`groundplane diff --server`: what the API server would store of each change, and what it would refuse, by its own word.

Nothing is stored.  What can't be tried there is told as it was worked out here: what needs a definition or a namespace that is new as well, and what
this person may not create.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from groundplane.cli.sources import Server
from groundplane.core.objects import Object, meta
from groundplane.errors import AlreadyExists, Conflict, Denied, NoSuchKind, Rejected, Waiting
from groundplane.objects import manifest
from groundplane.runtime.overlay import Change

AT_ONCE = 16  # requests
OWN = manifest.SERVERS_OWN | {"ownerReferences"}


@dataclass(frozen=True)
class Tried:
    """What came of one change."""

    change: Change
    error: str = ""
    is_refused: bool = False


async def tried(server: Server, changes: Sequence[Change]) -> list[Tried]:
    """Each change as the API server would have it."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(change: Change) -> Tried:
        if change.new is None:
            return Tried(change)
        async with gate:
            return await _tried(server, change, change.new)

    return list(await asyncio.gather(*map(one, changes)))


async def _tried(server: Server, change: Change, new: Object) -> Tried:
    is_new = change.old is None
    local = Tried(replace(change, local=True))
    try:
        live = None if is_new else await server.get(change.key)  # in the copy that was changed it has another version
        found = await server.tried(_asked(new, live), is_new=live is None)
    except Rejected as error:
        return Tried(change, f"{change.key.kind}/{change.key.name}: {error}", is_refused=True)
    except (NoSuchKind, AlreadyExists, Waiting):
        return local
    except (Denied, Conflict) as error:
        return local if is_new else Tried(change, f"{change.key.kind}/{change.key.name}: {error}")
    if found is None:
        return local
    status = {"status": new["status"]} if "status" in new else {}  # a subresource: what was asked for is not looked at
    return Tried(replace(change, new={name: value for name, value in found.items() if name != "status"} | status))


def _asked(new: Object, live: Object | None) -> Object:
    """The object to be sent: without what the server has to say, and as an edit of what is there."""
    metadata = {name: value for name, value in meta(new).items() if name not in OWN}
    if live is not None:
        metadata |= {name: meta(live)[name] for name in OWN if name in meta(live) and name != "managedFields"}
    return {**new, "metadata": metadata}
