"""What goes with an object that is deleted: the composite of a claim, and whatever any of it owns, down to the Secrets.

Known by UID: an object made anew under the same name does not belong to it, nor does one that was let go on the way
(with propagation policy Orphan, or by taking its owner reference off).
"""

from __future__ import annotations

from dataclasses import dataclass

from groundplane.cli import tree
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import Key, Object, is_deleting, key_of, meta, spec_of
from groundplane.errors import NoSuchKind


@dataclass(frozen=True)
class _Member:
    key: Key
    to: str  # the UID of what it belongs to; "": it was asked for by name


class Belonging:
    """What is to go, and what of it is still there."""

    def __init__(self, cluster: SqliteCluster) -> None:
        self._cluster = cluster
        self._members: dict[str, _Member] = {}  # by UID

    async def add(self, key: Key) -> None:
        """An object, and all that belongs to it."""
        obj = await self._get(key)
        if obj is not None:
            self._members.setdefault(meta(obj)["uid"], _Member(key, ""))
            await self._extend([obj])

    async def left(self) -> list[Key]:
        """What is still there and goes, or will go once what it belongs to has gone; sorted."""
        await self._extend(list((await self._there()).values()))  # what was being made when it was deleted
        there = await self._there()
        return sorted(
            self._members[uid].key
            for uid, obj in there.items()
            if is_deleting(obj) or not self._members[uid].to or self._members[uid].to in there
        )

    async def _there(self) -> dict[str, Object]:
        found = [await self._get(member.key) for member in list(self._members.values())]
        by_uid = {meta(obj)["uid"]: obj for obj in found if obj is not None}
        return {uid: by_uid[uid] for uid in self._members if uid in by_uid}

    async def _extend(self, due: list[Object]) -> None:
        """Take in what belongs to these members, and what belongs to that."""
        while due:
            obj = due.pop()
            uid = meta(obj)["uid"]
            composites = [await self._get(key) for key in tree.references(obj)]
            below = [each for each in composites if each is not None and _is_bound(each, key_of(obj))]
            for each in [*below, *self._cluster.owned_by(uid)]:
                if meta(each)["uid"] not in self._members:
                    self._members[meta(each)["uid"]] = _Member(key_of(each), uid)
                    due.append(each)

    async def _get(self, key: Key) -> Object | None:
        try:
            return await self._cluster.get(key)
        except NoSuchKind:
            return None


def _is_bound(composite: Object, claim: Key) -> bool:
    reference = spec_of(composite).get("claimRef") or {}
    bound = (reference.get("kind"), reference.get("namespace"), reference.get("name"))
    return bound == (claim.kind, claim.namespace, claim.name)
