"""Reads that travel together: one call to AWS answers for many things of one account, region and kind of call.

Whoever polls what has settled asks here.  Those that ask within a tenth of a second go into one call; and since polls are spread over
their interval, the call also asks for others that were looked at here and will be due next, the longest unseen first.  Their answers
are kept for a minute, those of a listing for a quarter of that interval, for one look each.  What an answer is good for is decided elsewhere (`Engine.glance`): to confirm that
nothing has changed.  So None is always a right answer here, and it means "look for yourself": there is nobody to share with, the
shared call failed, a listing has more pages than it saves looks, or the thing isn't in the answer.

Bounded: by what `MEMBERS` things are known, and by their answers.  Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from groundplane.aws.budget import Place
from groundplane.aws.grammar import KEYS, Shared
from groundplane.aws.resource import Item, Want
from groundplane.core.objects import Json
from groundplane.errors import Denied, GroundplaneError

WINDOW = 0.1  # seconds in which those that ask go into one call
POLLED = 600.0  # seconds in which most are looked at once
KEPT, LISTED = 60.0, 150.0  # seconds for which an answer holds, and one of a listing
MEMBERS = 32_768  # keys of things that are known, of all accounts, mostly two of a thing; of more, the longest unseen are forgotten
STRANGERS = 2048  # entries of a listing that are kept though their things are not known: as after a start, they may be looked at soon
LEAST = 2  # things for which a call is worth sharing
DENIED = 600.0  # seconds without a shared call after one that was refused, or that looks can do without
FAILED = 10.0  # and after another that failed
GROUPS = 4096  # kinds of calls, regions and accounts that are known


class Answer(NamedTuple):
    entries: list[Any]
    read: float  # when the call was begun
    used: set[tuple[str, str]]  # by which reads of which UIDs, or what was looked at since


Read = Callable[[str, str, Json, Shared], Awaitable[tuple[list[Any], int]]]
"""Makes a call, all its pages: service, call, arguments.  What it lists, and how many pages that took."""


@dataclass(eq=False)
class Group:
    """What is read by the same call."""

    seen: OrderedDict[str, float] = field(
        default_factory=OrderedDict
    )  # keys of things: when they were looked at last, the longest ago first
    answers: dict[str, Answer] = field(default_factory=dict)  # by key
    waiting: dict[str, list[asyncio.Future[list[Any] | None]]] = field(default_factory=dict)  # by key
    calls: int = 0  # that are under way
    changed: set[str] = field(default_factory=set)  # keys of things that were changed while a call was under way
    until: float = 0.0  # no call before
    pages: int = 1  # of the last listing
    listed: float = float("-inf")  # when a listing was begun last


class SharedReads:
    """One for the process."""

    def __init__(self, *, window: float = WINDOW, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds; `window` passes on the event loop's own."""
        self._window, self._clock = window, clock
        self._groups: OrderedDict[tuple[Place, str], Group] = OrderedDict()
        self._known = 0  # things, of all groups
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many things are known."""
        return self._known

    @property
    def kept(self) -> int:
        """How many answers are kept."""
        return sum(len(group.answers) for group in self._groups.values())

    def seen(self, place: Place, wants: Iterable[Want], uid: str) -> None:
        """A thing was looked at, and has settled: it may travel with others from now on, and no answer from before counts for it."""
        now = self._clock()
        for want in wants:
            group = self._group(place, want)
            self._known += want.key not in group.seen
            group.seen[want.key] = now
            group.seen.move_to_end(want.key)
            if answer := group.answers.get(want.key):
                answer.used.add((uid, want.read))
        self._bound()

    def forget(self, place: Place, wants: Iterable[Want]) -> None:
        """A thing changes, or is gone: no answer from before counts, and it is looked at by itself until it has settled."""
        for want in wants:
            group = self._groups.get((place, _signature(want)))
            if group is not None:
                self._known -= group.seen.pop(want.key, None) is not None
                group.answers.pop(want.key, None)
                if group.calls:
                    group.changed.add(want.key)

    async def look(self, place: Place, wants: Sequence[Want], uid: str, read: Read) -> dict[str, Item] | None:
        """What the reads of a thing answer, by their names; an extra one may be missing.  None: they are to be made for it alone.

        `read` calls its account.
        """
        answers: dict[str, Item] = {}
        for is_extra in (False, True):  # without the others nobody needs the extra ones
            asked = [want for want in wants if want.is_extra is is_extra]
            found = await asyncio.gather(*(self._entries(self._group(place, want), want, uid, read) for want in asked))
            for want, entries in zip(asked, found, strict=True):
                shared = want.shared
                answer = None
                if entries:
                    answer = shared.answer.search(entries) if shared.answer else {shared.in_.text: entries}
                if isinstance(answer, dict):
                    answers[want.read] = answer
                elif not is_extra or entries:
                    return None
        return answers

    # --- inside -----------------------------------------------------------------------------------------------

    def _group(self, place: Place, want: Want) -> Group:
        key = (place, _signature(want))
        if key not in self._groups:
            if len(self._groups) >= GROUPS:
                for known in [each for each, group in self._groups.items() if not group.waiting][: GROUPS // 4]:
                    self._known -= len(self._groups.pop(known).seen)
            self._groups[key] = Group()
        self._groups.move_to_end(key)
        return self._groups[key]

    def _bound(self) -> None:
        """Forget the longest unseen of the group that was used the longest ago."""
        while self._known > MEMBERS:
            group = next(group for group in self._groups.values() if group.seen)
            key, _ = group.seen.popitem(last=False)
            group.answers.pop(key, None)
            self._known -= 1

    async def _entries(self, group: Group, want: Want, uid: str, read: Read) -> list[Any] | None:
        now = self._clock()
        answer = group.answers.get(want.key)
        if answer is not None and now - answer.read < _holds(want.shared) and (uid, want.read) not in answer.used:
            answer.used.add((uid, want.read))
            return answer.entries
        if now < group.until:
            return None
        if want.shared.is_listing and answer is None and now - group.listed < LISTED and not group.waiting:
            return None  # it is not among what was listed a moment ago, or came since
        future: asyncio.Future[list[Any] | None] = asyncio.get_running_loop().create_future()
        is_first = not group.waiting
        group.waiting.setdefault(want.key, []).append(future)
        if is_first:
            task = asyncio.get_running_loop().create_task(self._gather(group, want, read))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _gather(self, group: Group, want: Want, read: Read) -> None:
        """Wait for others, make the call, and answer."""
        await asyncio.sleep(self._window)
        waiting, group.waiting = group.waiting, {}
        try:
            found = await self._call(group, want, list(waiting), read)
        except GroundplaneError as error:
            group.until = self._clock() + (DENIED if isinstance(error, Denied) or want.is_extra else FAILED)
            found = {}
        except BaseException:
            _answer(waiting, {})
            raise
        _answer(waiting, found)

    async def _call(self, group: Group, want: Want, due: list[str], read: Read) -> dict[str, list[Any]]:
        """The entries of those that are due; those of others are kept."""
        group.calls += 1
        try:
            return await self._listed(group, want, due, read)
        finally:
            group.calls -= 1
            if not group.calls:
                group.changed.clear()

    async def _listed(self, group: Group, want: Want, due: list[str], read: Read) -> dict[str, list[Any]]:
        now, shared, waited = self._clock(), want.shared, set(due)
        group.answers = {key: each for key, each in group.answers.items() if now - each.read < _holds(shared)}
        asked: set[str] | None = None  # all there are
        if shared.is_listing:
            if max(len(due), len(group.seen) * LISTED / POLLED) < max(group.pages, LEAST):
                return {}
            group.listed = now
            entries, group.pages = await read(want.service, want.call, shared.with_, shared)
        else:
            keys = list(due)
            for key, seen in group.seen.items():
                if len(keys) >= shared.most or now - seen < 2 * KEPT:
                    break
                if key not in waited and key not in group.answers:
                    keys.append(key)
            if len(keys) < LEAST:
                return {}
            entries, asked = [], set(keys)
            for start in range(0, len(keys), shared.most):
                arguments = _filled(shared.with_, keys[start : start + shared.most])
                entries += (await read(want.service, want.call, arguments, shared))[0]
        found: dict[str, list[Any]] = {}
        for entry in entries:
            keys_of = shared.key.search(entry)
            for key in keys_of if isinstance(keys_of, list) else [keys_of]:
                if asked is None or key in asked:
                    found.setdefault(key, []).append(entry)
        strangers = STRANGERS
        for key, mine in found.items():
            is_known = key in group.seen or key in waited
            strangers -= not is_known  # after a start all are
            if (is_known or strangers >= 0) and key not in group.changed and group.seen.get(key, -math.inf) < now:
                group.answers[key] = Answer(mine, now, set())  # nothing has happened to it meanwhile
        return found


def _answer(waiting: dict[str, list[asyncio.Future[list[Any] | None]]], found: dict[str, list[Any]]) -> None:
    for key, futures in waiting.items():
        for future in futures:
            if not future.done():
                future.set_result(found.get(key))


def _holds(shared: Shared) -> float:
    return LISTED if shared.is_listing else KEPT


def _signature(want: Want) -> str:
    return json.dumps(
        [want.service, want.call, want.shared.with_, want.shared.in_.text, want.shared.key.text], sort_keys=True
    )


def _filled(value: Json, keys: list[str]) -> Any:
    """Arguments with the keys in their place.

    >>> _filled({"Filters": [{"Name": "vpc-id", "Values": "$keys"}]}, ["vpc-1"])
    {'Filters': [{'Name': 'vpc-id', 'Values': ['vpc-1']}]}
    """
    if value == KEYS:
        return keys
    if isinstance(value, dict):
        return {name: _filled(entry, keys) for name, entry in value.items()}
    return [_filled(entry, keys) for entry in value] if isinstance(value, list) else value
