"""kopf, for seeing only: events of the kinds that people write, handed to the main event loop.

kopf keeps the watches; everything it decides about handling, retrying, finalizers and annotations is left unused, so it
writes nothing.  It runs in a thread and an event loop of its own under a supervisor, because a terminal error of one watch ends
its whole operator, sometimes without returning.  Three things keep it honest: a guard in its HTTP session turns what would end it into
what it retries, an audit compares what is wanted with the streams that are open, and each list that it makes is
announced (RELIST), since of deletions in a gap it does not tell.  kopf is pinned to 1.45: the guard reads its URLs.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import aiohttp
import orjson

from groundplane.cluster import depth
from groundplane.cluster.client import Api
from groundplane.cluster.informer import PARTIAL
from groundplane.core.objects import Object
from groundplane.errors import GroundplaneError
from groundplane.runtime import logs, metrics
from groundplane.runtime.served import CRDS, ApiKind


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Have `import` not find these packages for a moment.

    kopf imports the `kubernetes` package if it is installed, only to recognise its classes: 20 MiB and half a
    second (measured: 62 MiB with, 43 without), for nothing.  None in sys.modules is Python's way to say "not there".
    """
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type] # None is allowed (importlib's documentation)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with _hidden("kubernetes", "kubernetes_asyncio", "pykube"):
    import kopf

CHUNK = 100  # objects of one answer to a list
FRESH = 12.0  # seconds after a request during which a kind counts as being taken care of
FIRST_TOUCH, TOUCHES = 0.9, 5  # seconds until kopf is told of a kind that it overlooks, then twice as long; how often
STUCK = 90.0  # seconds after which a kind that is still not followed has kopf restarted
LEFT_OVER = 60.0  # seconds that kopf may keep asking for a kind that is gone
GRACE = 5.0  # seconds for kopf to end by itself
LAST_BREATH = 1.0  # seconds after its last hook
FAREWELL = 0.1  # seconds for connections to close, which aiohttp does not wait for
KNOCK = 0.2  # seconds between two looks for a kind to follow, while there is none
SHORT_LIFE, LONGEST_PAUSE = 10.0, 5.0  # seconds: who lives shorter is restarted after a growing pause, up to

log = logs.get_logger(__name__)


Event = Literal["ADDED", "MODIFIED", "DELETED", "RELIST"] | None  # None: it was listed, it may be known
Sink = Callable[[ApiKind, Event, Object | None], None]


class _Life:
    """One run of kopf's operator: its event loop, and the ways to end it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.asked = asyncio.Event()  # to end; an asyncio flag, since a threading one would park a thread for good
        self._is_over = False

    def ask(self) -> None:
        """Have it end: politely, then not.  Called in its loop."""
        self.asked.set()
        self.loop.call_later(GRACE, self.end)

    def end(self) -> None:
        """Leave its loop, whatever its tasks do."""
        if not self._is_over:  # a timer that rings late must not end the tidying up
            self.loop.stop()

    def run(self, operating: asyncio.Task[None]) -> None:
        operating.add_done_callback(lambda _: self.end())
        self.loop.run_forever()
        self._is_over = True


class KopfSupervisor:
    """Follows the kinds in `wanted` and calls `sink` on the main event loop.

    "RELIST" comes without an object when kopf begins to list a kind: whoever keeps a cache should list too,
    for objects that vanished while kopf was blind yield no DELETED.
    """

    def __init__(
        self,
        api: Api,
        sink: Sink,
        *,
        served: Callable[[ApiKind], bool],
        touch: Callable[[ApiKind], Awaitable[None]],
    ) -> None:
        """`served` says whether a kind exists; `touch` changes its CustomResourceDefinition, so that kopf looks again."""
        self._api, self._sink, self._served, self._touch = api, sink, served, touch
        self._main = asyncio.get_running_loop()
        self.wanted: frozenset[ApiKind] = frozenset()
        self.restarts = self.deaths = self.touches = 0
        self._streams: dict[ApiKind, aiohttp.ClientResponse] = {}  # open watches; written in kopf's thread
        self._tried: dict[ApiKind, float] = {}  # last list or watch
        self._gone: dict[ApiKind, float] = {}  # answered 404 since
        self._missing: dict[ApiKind, tuple[float, int]] = {}  # wanted, not followed: since when, touched how often
        self._stopping = threading.Event()
        self._life: _Life | None = None
        self._sessions: list[aiohttp.ClientSession] = []
        self._thread = threading.Thread(target=self._supervise, name="kopf", daemon=True)
        self._registry = kopf.OperatorRegistry()
        kopf.on.login(registry=self._registry)(self._login)
        kopf.on.cleanup(registry=self._registry)(self._end_soon)
        # A callable, not a category: that would follow the group's preferred version and hide the others.
        kopf.on.event(self._wants, registry=self._registry)(self._on_event)

    # --- main event loop --------------------------------------------------------------------------------

    def want(self, kinds: Collection[ApiKind]) -> None:
        """Follow these from now on.  Best said before a kind comes into being: kopf looks only when a CRD changes."""
        self.wanted = self.wanted | frozenset(kinds)

    def unwant(self, kinds: Collection[ApiKind]) -> None:
        """Best said after a kind is gone: what kopf no longer serves, it does not tell the end of."""
        self.wanted = self.wanted - frozenset(kinds)

    def start(self) -> None:
        """As soon as any of it is served, kopf scans the API once and follows what is wanted."""
        self._thread.start()

    async def audit(self, every: float = 1.0) -> None:
        """Until stopped: compare what is wanted with what is followed, and set right what is not."""
        while not self._stopping.is_set():
            await asyncio.sleep(every)
            now = time.monotonic()
            self._missing = {
                kind: self._missing.get(kind, (now, 0))
                for kind in self.wanted
                if self._served(kind) and not self._is_followed(kind, now)
            }
            for kind, (since, touched) in list(self._missing.items()):
                if touched < TOUCHES and now - since > FIRST_TOUCH + 1.5 * (2**touched - 1):
                    self._missing[kind] = (since, touched + 1)
                    await self._point_out(kind)
            stuck = [kind for kind, (since, _) in self._missing.items() if now - since > STUCK]
            stuck += [
                kind for kind, since in list(self._gone.items()) if now - since > LEFT_OVER and not self._served(kind)
            ]
            if stuck:
                log.warning("kopf is restarted: its watches are not as they should be", kinds=str(sorted(stuck)))
                self._missing, self._gone = {}, {}
                self.restart()

    def is_streaming(self, kind: ApiKind) -> bool:
        """Whether kopf has a watch of the kind open now."""
        stream = self._streams.get(kind)
        return stream is not None and not stream.closed

    def restart(self) -> None:
        """Have kopf end and begin anew: a full scan and a relist of everything wanted."""
        life = self._life
        if life is None:
            return
        try:
            life.loop.call_soon_threadsafe(life.ask)
        except RuntimeError:  # closed in between: it is about to begin anew by itself
            log.debug("kopf was ending already")

    async def stop(self) -> None:
        """End kopf for good; returns when its thread has ended, or has had time enough to."""
        self._stopping.set()
        self.restart()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, GRACE + 2 * LAST_BREATH)

    def problem(self) -> str:
        """Why it must be considered dead; "" if it is not."""
        return "" if self._stopping.is_set() or self._thread.is_alive() else "kopf's thread has ended"

    def _is_followed(self, kind: ApiKind, now: float) -> bool:
        stream = self._streams.get(kind)
        return (stream is not None and not stream.closed) or now - self._tried.get(kind, -FRESH) < FRESH

    async def _point_out(self, kind: ApiKind) -> None:
        self.touches += 1
        metrics.kopf_touches.inc()
        try:
            await self._touch(kind)
        except GroundplaneError as error:
            log.warning("CustomResourceDefinition could not be touched", kind=".".join(kind), error=str(error))

    # --- kopf's thread: the supervisor --------------------------------------------------------------------

    def _supervise(self) -> None:
        short_lives = 0
        while not self._stopping.is_set():
            if not any(map(self._served, self.wanted)):  # of a cluster without any kind of ours it can't read the list
                self._stopping.wait(KNOCK)
                continue
            begun = time.monotonic()
            asked = self._live_once()
            if self._stopping.is_set():
                return
            self.restarts += 1
            metrics.kopf_restarts.inc()
            short_lives = 0 if asked or time.monotonic() - begun > SHORT_LIFE else short_lives + 1
            self._stopping.wait(min(LONGEST_PAUSE, 0.2 * 2 ** min(short_lives, 10)))

    def _live_once(self) -> bool:
        """One life of kopf's operator; whether it was asked to end.

        Not asyncio.run: that would wait for tasks that hang.
        """
        life = _Life()
        operating = life.loop.create_task(self._operate(life.asked))
        self._life = life
        if self._stopping.is_set():  # asked for while there was nothing to tell
            life.asked.set()
        life.run(operating)
        self._life = None
        if not (asked := life.asked.is_set()):
            self.deaths += 1
            metrics.kopf_deaths.inc()
            error = operating.exception() if operating.done() and not operating.cancelled() else None
            log.error("kopf has died", error=type(error).__name__ if error else "it did not return")
        life.loop.run_until_complete(self._tidy())
        close(life.loop)
        return asked

    async def _tidy(self) -> None:
        leftover = asyncio.all_tasks() - {asyncio.current_task()}
        for task in leftover:
            task.cancel()
        if leftover:
            await asyncio.wait(leftover, timeout=LAST_BREATH)
        for session in self._sessions:
            await session.close()
        await asyncio.sleep(FAREWELL)
        self._sessions.clear()
        self._streams = {}
        self._tried, self._gone = {}, {}

    async def _operate(self, asked: asyncio.Event) -> None:
        settings = kopf.OperatorSettings()
        settings.process.ultimate_exiting_timeout = None  # else it kills this process after ten minutes
        settings.networking.error_backoffs = _Forever()
        settings.posting.enabled = False
        settings.queueing.idle_timeout = 0.5  # seconds; its workers keep objects in memory for so long
        settings.watching.chunk_size = CHUNK
        settings.persistence.diffbase_storage = _NoDiffs()
        settings.persistence.progress_storage = _NoProgress()
        await kopf.operator(
            registry=self._registry,
            settings=settings,
            clusterwide=True,
            standalone=True,
            stop_flag=asked,
            # Of no use without peering; else it asks for the user's name, and dies where the uid has none.
            identity="groundplane",  # type: ignore[arg-type] # a NewType of str that kopf does not export
        )

    # --- kopf's thread: what kopf calls -------------------------------------------------------------------

    def _wants(self, resource: kopf.Resource) -> bool:
        return (resource.group, resource.version, resource.plural) in self.wanted

    async def _on_event(self, event: Any, resource: kopf.Resource, **_: Any) -> None:  # async, or it takes a thread
        self._hand_over(
            ApiKind(resource.group, resource.version or "", resource.plural), event["type"], event["object"]
        )

    def _hand_over(self, kind: ApiKind, event: Event, obj: Object | None) -> None:
        if not self._stopping.is_set():  # later the main loop may be closed
            self._main.call_soon_threadsafe(self._sink, kind, event, obj)

    async def _login(self, **_: Any) -> kopf.AiohttpSession:
        """Called at the start, and again after a 401."""
        if self._sessions:
            self._api.refresh()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._api.ssl),
            middlewares=(self.guard,),
            response_class=_Shallow,
        )
        self._sessions.append(session)
        return kopf.AiohttpSession(server=self._api.server, aiohttp_session=session)

    async def guard(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """See every request that kopf makes."""
        if request.method != "GET":  # it has nothing to write, and would write past the gate
            raise aiohttp.ClientConnectionError("kopf only reads")
        try:
            request.headers.update(self._api.headers())
        except GroundplaneError as error:  # the token file can't be read just now
            raise aiohttp.ClientConnectionError(str(error)) from error
        path, query = request.url.path.split("/"), request.url.query
        if path == _CRDS:  # it wants to know which groups change, not what kinds look like
            request.headers["Accept"] = PARTIAL.format("" if "watch" in query else "List")
        if path[1] != "apis" or len(path) != 5 or not ("watch" in query or "limit" in query):
            return await handler(request)
        kind = ApiKind(*path[2:])
        self._tried[kind] = time.monotonic()
        response = await handler(request)
        if response.status == 404:  # would end the operator; a lost connection is retried
            self._gone.setdefault(kind, time.monotonic())
            response.close()
            raise aiohttp.ClientConnectionError(f"{request.url.path} is not served")
        self._gone.pop(kind, None)
        if response.status == 200 and "watch" in query:
            self._streams[kind] = response
        elif response.status == 200 and "continue" not in query and kind in self.wanted:
            self._hand_over(kind, "RELIST", None)
        return response

    async def _end_soon(self, **_: Any) -> None:
        """kopf's last hook.  A dying operator may hang for ever after it."""
        if life := self._life:
            life.loop.call_later(LAST_BREATH, life.end)


def close(loop: asyncio.AbstractEventLoop) -> None:
    """End a loop whose tasks have ended, whatever its generators say to it.

    asyncio closes all that are left side by side; one that is inside another (kopf's block around a watch) is then closed twice, and
    the second attempt fails ("generator didn't stop after athrow()"): nothing is wrong, nothing is left open.
    """
    loop.set_exception_handler(lambda _, context: log.debug("while kopf ended", cause=str(context.get("message"))))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


_CRDS = f"/apis/{CRDS.api_version}/{CRDS.plural}".split("/")


class _Shallow(aiohttp.ClientResponse):
    """An answer without what is nested so deep that kopf's reader of JSON would fail, and end its whole operator."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        await super().start(connection)
        self.content = _Lines(self.content, self.url.path.split("/") == _CRDS)  # type: ignore[assignment] # all of a stream but what is overridden
        return self

    async def json(self, **_: Any) -> Any:
        return depth.read(await self.read())


class _Lines:
    """A watch's stream as kopf reads it."""

    def __init__(self, content: aiohttp.StreamReader, are_definitions: bool) -> None:
        self._content, self._read = content, _with_group if are_definitions else depth.cut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        rest = b""
        async for chunk in self._content.iter_chunked(size):
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                yield b"".join(self._read(line) + b"\n" for line in lines)
        if rest:
            yield self._read(rest)


def _with_group(line: bytes) -> bytes:
    """An event of a CustomResourceDefinition's metadata with the one field that kopf reads: its name says it."""
    event = orjson.loads(line)
    if event["type"] != "ERROR" and "name" in (found := event["object"]["metadata"]):
        event["object"]["spec"] = {"group": found["name"].partition(".")[2]}
    return orjson.dumps(event)


class _Forever(Iterable[float]):
    """Endless backoffs, in seconds: what is refused or broken is retried in place, and not fatal."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.2, 0.5, 1, 2, 4), itertools.repeat(8))


class _NoDiffs(kopf.DiffBaseStorage):
    """Seeing needs no memory of what was handled."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Nor of how far handling has come."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence
