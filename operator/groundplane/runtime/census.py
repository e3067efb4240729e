"""What there is, as metrics: claims, composites and managed resources by readiness, and how long they took.

Numbers come from the cache's tallies, which are kept as objects change, so that a scrape costs as much as there are kinds.  Times are
measured on changes.  Who does not lead tells nothing, or sums over replicas would be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from groundplane.cluster.cache import Kind
from groundplane.cluster.tally import Tally
from groundplane.core import conditions
from groundplane.core.conditions import moment
from groundplane.core.objects import Key, Object, group_of, key_of, meta
from groundplane.runtime import metrics

KNOWN = 16_384  # objects that were ready and are not now: of more, the earliest are forgotten
OLD = 3_600.0  # seconds: what is older when we first see it, and is not ready, may well have been

Own = Callable[[Key], Sequence[str]]  # the controllers that reconcile an object


class Census:
    """One for the process."""

    def __init__(self, own: Own, now: Callable[[], datetime]) -> None:
        self._own, self._now = own, now
        self._lapsed: dict[str, None] = {}  # UIDs of what was ready before, and is not
        self._as_wanted: dict[str, tuple[int, datetime]] = {}  # by UID: at which generation, when last

    def __len__(self) -> int:
        return len(self._lapsed) + len(self._as_wanted)

    def changed(self, old: Object | None, new: Object | None, *, leads: bool) -> None:
        """Measure what a change ends: the time until the first look, until ready, until gone."""
        obj = new if new is not None else old
        if obj is None:
            return
        controllers = self._own(key_of(obj))
        if not controllers or controllers[0] not in ("claim", "managed"):
            return
        is_managed, uid = controllers[0] == "managed", str(meta(obj).get("uid") or "")
        if new is None:
            self._lapsed.pop(uid, None)
            self._as_wanted.pop(uid, None)
            if is_managed and leads and (since := self._since(meta(obj).get("deletionTimestamp"))) is not None:
                metrics.managed_deletion.labels(gvk=_gvk(obj["apiVersion"], obj["kind"])).observe(since)
                metrics.upjet_deletion.labels(*metrics.gvk(obj["apiVersion"], obj["kind"])).observe(since)
            return
        age = self._since(meta(new).get("creationTimestamp"))
        ready = conditions.is_true(new, "Ready")
        if old is None:
            if not ready and age is not None and age > OLD:
                self._lapse(uid)
            return
        if age is not None and leads and is_managed and _unseen(old) and not _unseen(new):
            metrics.managed_first_look.labels(gvk=_gvk(new["apiVersion"], new["kind"])).observe(age)
        was_ready = conditions.is_true(old, "Ready")
        if was_ready and not ready:
            self._lapse(uid)
        elif ready and not was_ready:
            if uid not in self._lapsed and age is not None and leads:
                self._provisioned(new, age, is_managed)
            self._lapsed.pop(uid, None)

    def looked(self, managed: Object, *, is_as_wanted: bool) -> None:
        """Measure drift: that AWS is no more as it was wanted, and still is, since it was last found to be so."""
        uid, generation, now = (
            str(meta(managed).get("uid") or ""),
            int(meta(managed).get("generation") or 0),
            self._now(),
        )
        known = self._as_wanted.pop(uid, None)
        if is_as_wanted:
            self._as_wanted[uid] = (generation, now)
            if len(self._as_wanted) > KNOWN:
                del self._as_wanted[next(iter(self._as_wanted))]
        elif known and known[0] == generation:
            seconds = max(0.0, (now - known[1]).total_seconds())
            metrics.managed_drift.labels(gvk=_gvk(managed["apiVersion"], managed["kind"])).observe(seconds)

    def tell(self, tallies: Mapping[Kind, Tally], *, leads: bool) -> None:
        """Bring the gauges up to date."""
        gauges = (
            metrics.claims,
            metrics.claim_namespaces,
            metrics.composites,
            metrics.managed_exists,
            metrics.managed_ready,
            metrics.managed_synced,
            metrics.oldest_deletion,
        )
        for gauge in gauges:
            gauge.clear()
        for (api_version, kind), tally in tallies.items() if leads else ():
            own = self._own(Key(api_version, kind, "", ""))
            if not own or own[0] not in ("claim", "composite", "managed"):
                continue
            oldest = min(tally.deleting.values(), default="")
            metrics.oldest_deletion.labels(gvk=_gvk(api_version, kind)).set(self._since(oldest) or 0.0)
            match own[0]:
                case "claim":
                    _tell_claims(group_of(api_version), kind, tally)
                case "composite":
                    _tell_composites(group_of(api_version), kind, tally)
                case _:
                    _tell_managed(_gvk(api_version, kind), tally)

    def _provisioned(self, obj: Object, age: float, is_managed: bool) -> None:
        api_version, kind = obj["apiVersion"], obj["kind"]
        if is_managed:
            metrics.managed_first_ready.labels(gvk=_gvk(api_version, kind)).observe(age)
            metrics.upjet_ready.labels(*metrics.gvk(api_version, kind)).observe(age)
        else:
            metrics.claim_ready_seconds.labels(group=group_of(api_version), kind=kind).observe(age)

    def _lapse(self, uid: str) -> None:
        self._lapsed[uid] = None
        if len(self._lapsed) > KNOWN:
            del self._lapsed[next(iter(self._lapsed))]

    def _since(self, time: object) -> float | None:
        """Seconds since a time of the API server's; never below 0, for clocks differ.  None: there is none."""
        then = moment(str(time)) if time else None
        return None if then is None else max(0.0, (self._now() - then).total_seconds())


def _tell_claims(group: str, kind: str, tally: Tally) -> None:
    for ready in (True, False):
        count = sum(count for state, count in tally.states.items() if state.is_ready is ready)
        metrics.claims.labels(group=group, kind=kind, ready=str(ready).lower()).set(count)
    metrics.claim_namespaces.labels(group=group, kind=kind).set(len(tally.namespaces))


def _tell_composites(group: str, kind: str, tally: Tally) -> None:
    counts = dict.fromkeys(("ready", "unready", "failing"), 0)
    for state, count in tally.states.items():
        counts["failing" if state.is_failing else "ready" if state.is_ready else "unready"] += count
    for name, count in counts.items():
        metrics.composites.labels(group=group, kind=kind, state=name).set(count)


def _tell_managed(gvk: str, tally: Tally) -> None:
    metrics.managed_exists.labels(gvk=gvk).set(tally.states.total())
    metrics.managed_ready.labels(gvk=gvk).set(sum(n for state, n in tally.states.items() if state.is_ready))
    metrics.managed_synced.labels(gvk=gvk).set(sum(n for state, n in tally.states.items() if state.is_synced))


def _unseen(obj: Object) -> bool:
    return conditions.find(obj, "Synced") is None


def _gvk(api_version: str, kind: str) -> str:
    """As upstream writes it."""
    return f"{api_version}, Kind={kind}"
