"""List and watch one kind, for as long as the process lives, and keep the cache the same as the API server.

Everything that can happen to a watch is handled here and nowhere else: it ends, expires (410), falls silent, is refused;
the kind vanishes and comes back.  Source: Kubernetes API concepts, "Efficient detection of changes".
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

from groundplane.cluster.cache import Cache, Change, Listing
from groundplane.cluster.client import Api, Expired
from groundplane.core.objects import Key, Object, meta
from groundplane.errors import Denied, NotFound, Throttled, Unavailable
from groundplane.ports import Resource

PAGE = 250  # objects of one answer to a list: some ten milliseconds to decode
LARGE = 10  # where each may be some hundred KiB
WATCH_SECONDS = (300, 600)  # after which the server ends a watch: drawn anew each time, so that they spread
BREATH = 25  # events after which others get their turn
FIRST_PAUSE = 0.2  # seconds before the second attempt, doubled up to
LONGEST_PAUSE = 30.0
PARTIAL = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
KEPT = frozenset(  # of the metadata; an annotation may hold a whole Secret
    ("name", "namespace", "uid", "resourceVersion", "generation", "labels", "ownerReferences", "deletionTimestamp")
)


class Informer:
    """One kind's list and watch; `run` it as a task.  Its changes, and those that we write, go to `on_change`."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        cache: Cache,
        on_change: Callable[[Change], None],
        *,
        field_selector: str = "",
        label: str = "",
        namespace: str = "",
        metadata_only: bool = False,
        large: bool = False,
        on_denied: Callable[[Resource, str], None] = lambda resource, why: None,
    ) -> None:
        """With a field selector, or a namespace, the cache holds only a part of the kind: it is told of, but not read from.

        `label`: only objects that have it come (or, after "!", those that have it not).

        `namespace`: only those in it come; others of the kind may be followed by other informers.

        `metadata_only`: of each object only its names, labels, owners and versions come and are kept.  Give such an informer a
        cache of its own, which nobody reads.  `large`: an object may be some hundred KiB, and is seldom read.

        `on_denied` is told once that the kind may not be listed or watched, and why; again if that is taken back in between.
        """
        self._api, self._cache, self._on_change, self._on_denied = api, cache, on_change, on_denied
        self.resource = resource
        self._query = {
            name: value for name, value in (("fieldSelector", field_selector), ("labelSelector", label)) if value
        }
        self._namespace = namespace
        place = f"/namespaces/{namespace}" if namespace else ""
        self._path = f"/{_root(resource.api_version)}{place}/{resource.plural}"
        self._metadata_only, self._large = metadata_only, large
        self._label = label if not label.startswith("!") else ""
        self._accept = {name: PARTIAL.format(name) if metadata_only else "application/json" for name in ("List", "")}
        self.synced = asyncio.Event()  # set while the kind is served and has been listed
        self.last_seen = time.monotonic()  # of the last answer, event or bookmark
        self.problem = ""  # why it can't go on at the moment, for people
        self._failures = 0
        self._version = ""  # to watch from; "": list first
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._relisting: asyncio.Task[None] | None = None
        self._stopping = False

    async def run(self) -> None:
        """Until `stop`.  Never fails for what the API server does."""
        api_version, kind = self.resource.api_version, self.resource.kind
        is_partial = bool(self._query or self._namespace)
        self._cache.follow(
            api_version, kind, self._on_change, partial=is_partial, label=self._label, compressed=self._large
        )
        self._task = asyncio.current_task()
        try:
            while not self._stopping:
                try:
                    if not self._version:
                        await self._list()
                    await self._watch()
                except Expired:
                    self._version = ""
                    await self._pause("the watch has expired")
                except NotFound:
                    self._version = ""
                    self.synced.clear()
                    self._cache.empty(api_version, kind)
                    await self._pause("the kind is not served")
                except (Denied, Unavailable) as error:
                    if isinstance(error, Denied) and self.problem != str(error):
                        self._on_denied(self.resource, str(error))
                    await self._pause(str(error), error.after if isinstance(error, Throttled) else 0.0)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._task = None

    def stop(self) -> None:
        """`run` returns soon; the cache keeps what it has until it is told to drop it."""
        self._stopping = True
        if self._task:
            self._task.cancel()

    def relist(self) -> None:
        """List once more, beside the watch."""
        if self._task and not self._stopping:
            self._relisting = asyncio.create_task(self._list_again())

    def wake(self) -> None:
        """Don't wait any longer before the next attempt: there is news, say a CustomResourceDefinition."""
        self._wake.set()

    async def _list_again(self) -> None:
        try:
            await self._list()
        except (Expired, NotFound, Denied, Unavailable):
            self._version = ""  # the watch's next turn begins with a list

    async def _list(self) -> None:
        query = {**self._query, "limit": str(LARGE if self._large else PAGE)}
        listing = None
        while True:
            status, page = await self._api.request("GET", self._path, query=query, accept=self._accept["List"])
            if status == 404 or page is None:
                raise NotFound(f"{self.resource.plural} are not served")
            version = page["metadata"]["resourceVersion"]
            self.last_seen = time.monotonic()
            if listing is None:
                kind = (self.resource.api_version, self.resource.kind)
                listing = self._cache.listing(*kind, version, namespace=self._namespace)
            await self._cache.in_batches(page.get("items") or (), partial(self._add, listing))
            if not (rest := page["metadata"].get("continue")):
                break
            query["continue"] = rest
        listing.finish()
        self._version = version
        self._went_well()
        self.synced.set()

    async def _watch(self) -> None:
        """One watch, from its start to its end."""
        cache, kind = self._cache, (self.resource.api_version, self.resource.kind)
        query = {
            **self._query,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),
        }
        count = 0
        begun = time.monotonic()
        stream = self._api.stream_watch(self._path, query, accept=self._accept[""])
        async with aclosing(stream):
            async for type_, obj in stream:
                self.last_seen = time.monotonic()
                self._version = meta(obj)["resourceVersion"]
                if type_ == "BOOKMARK":
                    cache.saw(*kind, self._version, namespace=self._namespace)
                elif type_ == "DELETED":
                    metadata = meta(obj)
                    key = Key(*kind, metadata.get("namespace") or "", metadata["name"])
                    cache.remove(key, self._version, uid=metadata["uid"])
                else:
                    cache.put(self._named(obj))
                count += 1
                if count % BREATH == 0:
                    await asyncio.sleep(0)
        self.last_seen = time.monotonic()
        if count or self.last_seen - begun > 1:
            self._went_well()
        else:  # the server ends it at once, as one does that is about to go: not in a tight loop
            await self._pause("the watch ends at once")

    def _add(self, listing: Listing, obj: Object) -> None:
        listing.add(self._named(obj))

    def _named(self, obj: Object) -> Object:
        """The items of a list of built-in kinds do not say what they are, and metadata alone says it is that."""
        if self._metadata_only:
            kept = {name: value for name, value in meta(obj).items() if name in KEPT}
            return {"apiVersion": self.resource.api_version, "kind": self.resource.kind, "metadata": kept}
        if "kind" not in obj:
            obj["apiVersion"], obj["kind"] = self.resource.api_version, self.resource.kind
        return obj

    def _went_well(self) -> None:
        self._failures, self.problem = 0, ""

    async def _pause(self, why: str, at_least: float = 0.0) -> None:
        self.problem = why
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)
        self._failures += 1
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), max(pause, at_least))
        except TimeoutError:
            return
        self._failures = 0


def _root(api_version: str) -> str:
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
