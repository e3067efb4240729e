"""`ports.Watches` where no kind has to be followed: a store tells of every kind by itself, and who only looks asks each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from groundplane.core.objects import Key, Object, key_of
from groundplane.errors import Awaited


class Unfollowed:
    """Nothing is followed, and nothing enqueued; whoever has a queue overrides that."""

    async def ensure(self, kinds: Iterable[tuple[str, str]], *, whole: bool = False) -> None:
        return None

    async def follow(self, api_version: str, kind: str, plural: str, *, namespaced: bool, role: str) -> None:
        return None

    def expect(self, awaited: Sequence[Awaited]) -> None:
        return None

    def unfollow(self, api_version: str, kind: str) -> None:
        return None

    def enqueue(self, key: Key) -> None:
        return None

    def enqueue_listed(self, obj: Object) -> None:
        self.enqueue(key_of(obj))

    def wake(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self.enqueue(key)
