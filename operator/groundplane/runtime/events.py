"""Kubernetes Events: what happened, on the object that it happened to.

Telling never blocks and never fails a reconcile: events are written later, a few at a time.  One that repeats is
counted, and the count written at most every five minutes.  Its name is made of what it says, so that a repeat meets itself, also
after a restart.  Bounds per object are client-go's (tools/record, `EventSourceObjectSpamFilter`); the form is core/v1.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import orjson

from groundplane.core.conditions import timestamp
from groundplane.core.objects import Key, Object, key_of, meta
from groundplane.errors import AlreadyExists, Conflict, GroundplaneError, NotFound, NotLeader, Unavailable
from groundplane.ports import Cluster
from groundplane.runtime import logs, metrics

QUIET = 300.0  # seconds in which a repeated event is only counted
REMEMBERED = 4096  # different events; when more come, the oldest is forgotten, written or not
LONGEST = 1024  # characters of a message, as events.k8s.io has it
LONGEST_NAME = 236  # characters of the object's name: with the digest an event's name has 253 at most
BURST, REFILL = 25, 1 / 300  # events of one object from one source at once, and then per second
RATE, RATE_BURST = 50.0, 100  # writes per second, and at once, in all
EPSILON = 1e-6  # of a token: sums of fractions are not exact
LONGEST_PAUSE = 30.0  # seconds between two attempts when the API server can't be reached

log = logs.get_logger(__name__)


class _Bucket:
    """Lets `rate` pass per second, `burst` at once."""

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate, self._burst = rate, float(burst)
        self._tokens, self._filled = self._burst, now

    def wait(self, now: float) -> float:
        """Seconds until one may pass; 0 lets it pass."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1 - EPSILON:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


@dataclass(slots=True)
class _Series:
    """One event and how often it happened."""

    body: bytes  # as JSON, which takes a third of the memory
    last: str  # time of the last occurrence
    count: int = 0
    exists: bool = False  # at the API server, as far as we know
    next_write: float = 0.0  # not before this time of the event loop
    queued: bool = False


class EventRecorder:
    """`ports.Recorder` on any cluster.  `run` must run for events to be written."""

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster, self._now = cluster, now
        self._series: OrderedDict[Key, _Series] = OrderedDict()  # the longest unheard of first
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._queue: list[tuple[float, int, Key]] = []  # a heap: when to write, order
        self._order = itertools.count()
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self._failures = 0

    def event(
        self,
        about: Object,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        source: str = "",
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Take it down.  Of what comes too fast or finds the memory full, only a metric tells."""
        now = asyncio.get_running_loop().time()
        if not self._may_pass(meta(about).get("uid") or "", source, now):
            metrics.events.labels(result="spam").inc()
            return
        moment = timestamp(self._now())
        body = _body(about, type_, reason, message, source or "groundplane", annotations or {}, moment)
        key = key_of(body)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(orjson.dumps(body), moment)
            if len(self._series) > REMEMBERED:
                _, oldest = self._series.popitem(last=False)
                if oldest.queued:
                    metrics.events.labels(result="overflow").inc()
        else:
            self._series.move_to_end(key)
            metrics.events.labels(result="counted").inc()
        series.count += 1
        series.last = moment
        self._enqueue(key, series, max(now, series.next_write))

    async def run(self) -> None:
        """Write events until cancelled."""
        loop = asyncio.get_running_loop()
        limit = _Bucket(RATE, RATE_BURST, loop.time())
        while True:
            pause = self._queue[0][0] - loop.time() if self._queue else None
            if pause is None or pause > 0:
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), pause)
                except TimeoutError:
                    continue
            elif pause := limit.wait(loop.time()):
                await asyncio.sleep(pause)
            else:
                await self._write_next()

    async def flush(self, seconds: float = 5.0) -> None:
        """Write all there is, at once, but no longer than so."""
        try:
            async with asyncio.timeout(seconds):
                while self._queue and await self._write_next():
                    pass
                async with self._writing:
                    pass
        except TimeoutError:
            pass
        if left := sum(series.queued for series in self._series.values()):
            log.warning("events were not written", count=left)

    # --- inside ---------------------------------------------------------------------------------------------

    def _may_pass(self, uid: str, source: str, now: float) -> bool:
        bucket = self._buckets.get((uid, source))
        if bucket is None:
            bucket = self._buckets[uid, source] = _Bucket(REFILL, BURST, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end((uid, source))
        return bucket.wait(now) == 0

    def _enqueue(self, key: Key, series: _Series, when: float) -> None:
        if not series.queued:
            series.queued = True
            heapq.heappush(self._queue, (when, next(self._order), key))
            self._news.set()

    async def _write_next(self) -> bool:
        """Write the one that is due first; False if the API server can't take it now, and it is back in the queue."""
        async with self._writing:
            if not self._queue:
                return True
            _, _, key = heapq.heappop(self._queue)
            series = self._series.get(key)
            if series is None or not series.queued:
                return True  # forgotten
            now = asyncio.get_running_loop().time()
            series.queued = False
            try:
                await self._write(key, series)
            except (Unavailable, Conflict, NotLeader) as error:
                self._failures += 1
                log.debug("event is not written yet", about=str(key), error=str(error))
                self._enqueue(key, series, now + min(LONGEST_PAUSE, 0.5 * 2 ** min(self._failures, 10)))
                return False
            except GroundplaneError as error:
                metrics.events.labels(result="failed").inc()
                log.warning("event could not be written", about=str(key), error=str(error))
            else:
                metrics.events.labels(result="posted").inc()
            self._failures = 0
            series.next_write = now + QUIET
            return True

    async def _write(self, key: Key, series: _Series) -> None:
        if series.exists:
            try:
                await self._cluster.patch(key, {"count": series.count, "lastTimestamp": series.last})
                return
            except NotFound:  # it has expired: the API server keeps events for an hour
                series.exists = False
        body = orjson.loads(series.body) | {"count": series.count, "lastTimestamp": series.last}
        try:
            await self._cluster.create(body)
        except AlreadyExists:  # written before our restart
            found = await self._cluster.get(key, live=True)
            series.count += int((found or {}).get("count") or 0)
            await self._cluster.patch(key, {"count": series.count, "lastTimestamp": series.last})
        series.exists = True


def _body(
    about: Object,
    type_: str,
    reason: str,
    message: str,
    source: str,
    annotations: Mapping[str, str],
    moment: str,
) -> Object:
    key, uid = key_of(about), meta(about).get("uid") or ""
    digest = hashlib.sha256("\0".join((uid, type_, reason, message, source)).encode()).hexdigest()[:16]
    involved = {
        "apiVersion": key.api_version,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "uid": uid,
        "resourceVersion": meta(about).get("resourceVersion") or "",
    }
    metadata: Object = {
        "name": f"{key.name[:LONGEST_NAME].rstrip('-.')}.{digest}",
        "namespace": key.namespace or "default",
    }
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": {name: value for name, value in involved.items() if value},
        "type": type_,
        "reason": reason,
        "message": message if len(message) <= LONGEST else message[: LONGEST - 1] + "…",
        "source": {"component": source},
        "reportingComponent": source,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
    }
