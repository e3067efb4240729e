"""Kubernetes Events: what happened, on the object that it happened to.

Telling never blocks and never fails a reconcile.  The same event again is counted, and its count is written at most every
few minutes; its name is made of its content, so that a restarted operator finds the one it wrote before.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from groundplane.core.conditions import timestamp
from groundplane.core.objects import Key, Object, key_of, meta
from groundplane.errors import AlreadyExists, GroundplaneError, NotFound
from groundplane.ports import Cluster
from groundplane.runtime import logs, metrics

QUIET = 300.0  # seconds in which a repeated event is only counted
REMEMBERED = 20_000  # events whose counts are kept
BUFFER = 10_000  # events that wait to be written; more are dropped, and counted
LONGEST = 1024  # characters of a message, the API's limit
POSTERS = 4  # events written at the same time

log = logs.get_logger(__name__)


@dataclass
class _Series:
    """One event and how often it happened."""

    body: Object
    count: int = 0
    written: int = 0
    last: datetime | None = None  # time of the last write


class EventRecorder:
    """Writes events through any cluster.  `run` must run for them to be written."""

    def __init__(self, cluster: Cluster, now: Callable[[], datetime]) -> None:
        self._cluster, self._now = cluster, now
        self._series: OrderedDict[Key, _Series] = OrderedDict()
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._available = asyncio.Event()
        self._busy = 0

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
        now = self._now()
        body = _body(about, type_, reason, message, source=source, annotations=annotations or {}, now=now)
        key = key_of(body)
        series = self._series.setdefault(key, _Series(body))
        self._series.move_to_end(key)
        series.count += 1
        if len(self._series) > REMEMBERED:
            self._series.popitem(last=False)
        if series.last is not None and (now - series.last).total_seconds() < QUIET:
            return
        if len(self._waiting) >= BUFFER:
            metrics.events_dropped.inc()
            return
        self._waiting[key] = None
        self._available.set()

    async def run(self) -> None:
        """Write events until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(POSTERS):
                group.create_task(self._post_all())

    async def flush(self, seconds: float = 5.0) -> None:
        """Wait until all is written, but no longer than so."""
        try:
            async with asyncio.timeout(seconds):
                while self._waiting or self._busy:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            log.warning("events were not written in time", left=len(self._waiting))

    async def _post_all(self) -> None:
        while True:
            if not self._waiting:
                self._available.clear()
                await self._available.wait()
                continue
            key, _ = self._waiting.popitem(last=False)
            self._busy += 1
            try:
                await self._post(key)
            except GroundplaneError as error:
                log.warning("event could not be written", error=str(error), about=str(key))
            finally:
                self._busy -= 1

    async def _post(self, key: Key) -> None:
        series = self._series.get(key)
        if series is None or series.count == series.written:
            return
        now = self._now()
        count, series.last = series.count, now
        if series.written == 0:
            try:
                await self._cluster.create(series.body | {"count": count})
                series.written = count
                metrics.events_posted.labels(type=series.body["type"]).inc()
                return
            except AlreadyExists:
                found = await self._cluster.get(key, live=True)
                series.written = 0
                series.count = count = count + int((found or {}).get("count") or 0)
        try:
            await self._cluster.patch(key, {"count": count, "lastTimestamp": timestamp(now)})
        except NotFound:  # expired at the API server
            await self._cluster.create(series.body | {"count": count})
        series.written = count


def _body(
    about: Object,
    type_: str,
    reason: str,
    message: str,
    *,
    source: str,
    annotations: Mapping[str, str],
    now: datetime,
) -> Object:
    key, uid = key_of(about), meta(about).get("uid") or ""
    message = message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"
    told = "\0".join((uid, type_, reason, message, source, *(f"{k}={annotations[k]}" for k in sorted(annotations))))
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    metadata: Object = {"name": f"{key.name[:236]}.{digest}", "namespace": key.namespace or "default"}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": metadata,
        "involvedObject": {
            "apiVersion": key.api_version,
            "kind": key.kind,
            "name": key.name,
            "namespace": key.namespace,
            "uid": uid,
            "resourceVersion": meta(about).get("resourceVersion", ""),
        },
        "type": type_,
        "reason": reason,
        "message": message,
        "source": {"component": source or "groundplane"},
        "reportingComponent": source or "groundplane",
        "reportingInstance": "groundplane",
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
    }
