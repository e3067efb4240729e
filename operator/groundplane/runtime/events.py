"""Kubernetes Events: what happened, on the object that it happened to.

Telling never blocks and never fails a reconcile: events are written later, a few at a time.  One that repeats is
counted, and the count written after five minutes, then ever more seldom; what is new goes before what repeats (`backlog.py`).
Nothing is merged that differs: ten thousand objects that begin at once have ten thousand events, the last of them after RATE's 200 seconds.
So the namespaces take turns, each with its warnings and the rest apart: one's flood delays no other's, nor its own warnings.  Its name
is made of what it says, so that a repeat meets itself, also after a restart.  Bounds per object are client-go's (tools/record, `EventSourceObjectSpamFilter`); the form is core/v1.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import orjson

from groundplane.cluster import compact, slots
from groundplane.core.bucket import Bucket
from groundplane.core.conditions import timestamp
from groundplane.core.objects import Key, Object, key_of, meta
from groundplane.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    GroundplaneError,
    NotFound,
    NotLeader,
    Unavailable,
    clipped,
)
from groundplane.ports import Cluster
from groundplane.runtime import logs, metrics
from groundplane.runtime.backlog import Backlog

# Seconds in which a repeated event is only counted, doubled each time; the API server keeps it for 3600.
QUIET, LONGEST_QUIET = 300.0, 1800.0
REMEMBERED = 16_384  # different events; when more come, the oldest of whoever has most is forgotten, written or not
LONGEST = 1024  # characters of a message, as events.k8s.io has it
LONGEST_NAME = 236  # characters of the object's name: with the digest an event's name has 253 at most
BURST, REFILL = 25, 1 / 300  # events of one object from one source at once, and then per second
RATE, RATE_BURST = 50.0, 100  # writes per second, and at once, in all
LONGEST_PAUSE = 30.0  # seconds between two attempts when the API server can't be reached

log = logs.get_logger(__name__)


@dataclass(slots=True)
class _Series:
    """One event and how often it happened."""

    share: str
    body: bytes  # as JSON, which takes a third of the memory; empty when there is nothing to write
    last: str  # time of the last occurrence
    count: int = 0
    exists: bool = False  # at the API server, as far as we know
    next_write: float = 0.0  # not before this time of the event loop
    quiet: float = QUIET  # seconds from the next write to the one after it


class EventRecorder:
    """`ports.Recorder` on any cluster.  `run` must run for events to be written."""

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster, self._now = cluster, now
        self._series: dict[Key, _Series] = {}
        self._by_share: dict[str, OrderedDict[Key, None]] = {}  # the longest unheard of first
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._backlog = Backlog()
        self._resume = 0.0  # when the API server is tried again, in seconds of the event loop
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self._failures = 0
        # about events that we may not write, in seconds of the event loop
        self._silent_until = 0.0
        self._silence = QUIET

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
            share = f"{key_of(about).namespace or about['kind']} {type_}"
            series = self._series[key] = _Series(share, b"", moment)
            self._by_share.setdefault(series.share, OrderedDict())[key] = None
            if len(self._series) > REMEMBERED:
                self._forget_one()
        else:
            self._by_share[series.share].move_to_end(key)
            metrics.events.labels(result="counted").inc()
        series.count += 1
        series.last = moment
        if key in self._backlog:
            return
        series.body = compact.dumps(body)
        if series.next_write:
            self._backlog.add_later(key, max(now, series.next_write))
        else:
            self._backlog.add(key, series.share)
        self._news.set()

    def memory(self) -> int:
        """How many entries are kept, all in all: for tests, which hold it to bounds."""
        shares = sum(len(keys) for keys in self._by_share.values())
        return len(self._series) + shares + len(self._buckets) + self._backlog.memory()

    async def run(self) -> None:
        """Write events until cancelled."""
        loop = asyncio.get_running_loop()
        limit = Bucket(RATE, RATE_BURST, loop.time())
        while True:
            at = self._backlog.next_at()
            pause = None if at is None else max(at, self._resume) - loop.time()
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
                while self._backlog and await self._write_next():
                    pass
                async with self._writing:
                    pass
        except TimeoutError:
            pass
        if left := len(self._backlog):
            log.warning("events were not written", count=left)

    # --- inside ---------------------------------------------------------------------------------------------

    def _may_pass(self, uid: str, source: str, now: float) -> bool:
        bucket = self._buckets.get((uid, source))
        if bucket is None:
            bucket = self._buckets[uid, source] = Bucket(REFILL, BURST, now)
            if len(self._buckets) > REMEMBERED:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end((uid, source))
        return bucket.wait(now) == 0

    def _forget_one(self) -> None:
        """The longest unheard of, of whoever has most."""
        share = max(self._by_share, key=lambda share: len(self._by_share[share]))
        keys = self._by_share[share]
        oldest, _ = keys.popitem(last=False)
        if not keys:
            del self._by_share[share]
        del self._series[oldest]
        if self._backlog.discard(oldest):
            metrics.events.labels(result="overflow").inc()

    async def _write_next(self) -> bool:
        """Write the one that is due first; False if the API server can't take it now, and it is back in the backlog."""
        async with self._writing:
            key = self._backlog.take()
            series = self._series.get(key) if key else None
            if key is None or series is None:
                return True
            now = asyncio.get_running_loop().time()
            series.next_write = now + series.quiet
            try:
                with slots.turn("retry", "events"):  # what is told waits for what is done
                    await self._write(key, series)
            except (Unavailable, Conflict, NotLeader) as error:
                self._failures += 1
                log.debug("event is not written yet", about=str(key), error=str(error))
                self._resume = now + min(LONGEST_PAUSE, 0.5 * 2 ** min(self._failures, 10))
                if key in self._series:
                    self._backlog.add_later(key, self._resume)
                return False
            except GroundplaneError as error:
                metrics.events.labels(result="failed").inc()
                if not isinstance(error, Denied) or self._may_tell_denial(now):
                    log.warning("event could not be written", about=str(key), error=str(error))
            else:
                metrics.events.labels(result="posted").inc()
                self._silence = QUIET
            self._failures = 0
            series.quiet = min(LONGEST_QUIET, 2 * series.quiet)
            if key not in self._backlog:
                series.body = b""
            return True

    def _may_tell_denial(self, now: float) -> bool:
        """Whether to say again that we lack the right: it is the same for each event, and the metric counts them."""
        if now < self._silent_until:
            return False
        self._silent_until = now + self._silence
        self._silence = min(LONGEST_QUIET, 2 * self._silence)
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
        "message": clipped(message, LONGEST),
        "source": {"component": source},
        "reportingComponent": source,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
    }
