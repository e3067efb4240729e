"""The Cloud port over AWS: kinds by their files, calls on threads of our own, AWS's errors as ours.

boto3 blocks, so each operation runs as one piece on a thread of its own, when its account's budget lets it (`budget.py`); the event
loop only waits.  A thread that hangs takes nothing from others, and does not keep the process from ending.  Source of the
behaviour: `engine.py` and `kinds/` (the facts).
"""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from groundplane.aws import actions, catalogue, deadline, faults
from groundplane.aws.budget import Budgets, Call, Fate, Place
from groundplane.aws.engine import Engine
from groundplane.aws.grammar import Errors, Kind, Shared
from groundplane.aws.memory import Memory, digest
from groundplane.aws.resource import POLL, Alone
from groundplane.aws.sdk import unlisted
from groundplane.aws.session import AccountClients, Sessions
from groundplane.aws.shared_reads import WINDOW, Read, SharedReads
from groundplane.core import conditions
from groundplane.core.claim import tenant
from groundplane.core.objects import Json, Object, is_deleting, meta, spec_of, status_of
from groundplane.errors import Awaited, Denied, GroundplaneError, InvalidInput, Throttled, Unavailable, Waiting
from groundplane.ports import Account, Creation, Default, ManagedKind, Observation

REMEMBERED = 16_384  # managed resources of which something is known beyond their objects
THREADS = 16  # calls to AWS at a time; measured: 241 calls/s at 60 ms latency, with 3.5 ms lag of the event loop
PATIENCE = 80.0  # seconds for all calls of one operation, those for credentials included; a reconcile has 120
CLOSING = 10.0  # seconds that `close` waits for calls
CERTAIN_AFTER = 10.0  # seconds: AWS may not show sooner what a create has made
T = TypeVar("T")


class AwsCloud:
    """`ports.Cloud` for AWS.  One for the process; safe for many reconciles at once, one per managed resource."""

    def __init__(
        self,
        threads: int = THREADS,
        *,
        sessions: Sessions | None = None,
        strict_upstream: bool = False,
        namespace: str = "crossplane-system",
        may_write: Callable[[], None] = lambda: None,
        on_call: Callable[[str, str, faults.Outcome, float, str], None] = lambda *told: None,
        on_wait: Callable[[str, float], None] = lambda service, seconds: None,
        on_look: Callable[[Object, Observation], None] = lambda managed, observation: None,
        only_looks: bool = False,
        certain_after: float = CERTAIN_AFTER,
        patience: float = PATIENCE,
        window: float = WINDOW,
        poll: float = POLL,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`threads` calls are made at a time, besides those that hang.  `clock` measures pauses, in seconds.

        `on_call` is told of each call to AWS when it has ended, on the thread that made it: service, operation, outcome, seconds,
        and AWS's id of the request, if there is one; in the context of who wanted it.
        `on_wait` is told how long each piece of work waited for its budget (service, seconds), `on_look` what an existing resource was
        found to be; both on the event loop.
        `poll`: seconds from poll to poll of what says nothing else; what is read once an hour is read at every sixth.
        One that `only_looks` has no way to change anything: no call gets through but the reads that kind files name.
        """
        self._on_wait, self._on_look = on_wait, on_look
        self._budgets = Budgets(threads, clock)
        self._reads: set[str] | None = set() if only_looks else None  # the calls that get through, by the kinds so far
        self._calls: set[Future[Any]] = set()  # those that a thread works on
        self._sessions = sessions or Sessions(
            may_write=may_write,
            clock=clock,
            only=self._reads,
            on_call=lambda service, operation, answer, error, seconds: on_call(
                service, operation, faults.outcome(answer, error), seconds, faults.request_id(answer)
            ),
        )
        self._strict_upstream = strict_upstream
        self._namespace = namespace
        self._certain_after = certain_after
        self._patience = patience
        self._poll = poll
        self._now = now
        self._shared = SharedReads(window=window, clock=clock)
        self._memories: dict[str, Memory] = {}  # by UID, the longest unused first
        self._running: set[str] = set()  # UIDs of what a thread works on

    @property
    def in_flight(self) -> int:
        """How many objects a thread works on, those included that nobody waits for any more."""
        return len(self._running)

    @property
    def budgets(self) -> list[dict[str, str | int]]:
        """Each account, region and service that is called, or was not long ago, and how it goes: those with trouble first."""
        return self._budgets.told()

    def close(self, seconds: float = CLOSING) -> int:
        """Wait for the calls that run, so long at most: how many still do.  They do not keep the process from ending."""
        return len(wait(self._calls.copy(), timeout=seconds).not_done)

    # --- what needs no call -------------------------------------------------------------------------

    def kind(self, api_version: str, kind_: str) -> ManagedKind | None:
        return catalogue.port(api_version, kind_)

    def kinds(self) -> Sequence[ManagedKind]:
        return tuple(catalogue.ports())

    def default_external_name(self, managed: Object) -> str:
        return self._offline(managed).name_in_advance()

    def check(self, managed: Object) -> None:
        self._offline(managed).check()

    def defaults(self, managed: Object) -> Sequence[Default]:
        if self._strict_upstream:
            return ()
        engine = self._offline(managed)
        found = tuple(engine.hooks.defaults(engine))
        return tuple(map(_local, found)) if engine.kind.is_namespaced else found

    def digest(self, managed: Object, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """Salted digests of write-only values, as they are kept in status.atProvider under `<name>Digest`."""
        uid = meta(managed).get("uid") or ""
        return {name: digest(uid, name, value) for name, value in secrets.items()}

    async def check_account(self, account: Account) -> None:
        def check() -> None:
            self._sessions.clients(account, for_calls=False).check()

        call = await self._budgets.begin(_place(account, "", "ProviderConfig"), account.lane)
        await self._start(check, call)

    # --- what calls AWS -----------------------------------------------------------------------------

    async def identify(self, account: Account) -> str:
        """Who its credentials are, as STS says it: an ARN.  Raises Denied, InvalidInput, Unavailable."""

        def ask() -> str:
            clients = self._sessions.clients(account)
            try:
                return clients.arn()
            except faults.BOTO as error:
                found = faults.translate(error, Errors())
                if faults.are_stale(error):
                    found.mend = clients.credentials.renewal()
                raise found from error

        return await self._start(ask, await self._budgets.begin(_place(account, "", "sts")))

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        found = await self._confirmed(managed, account, secrets)
        if found is None:
            found = await self._run(managed, account, secrets, Engine.observe)
            self._note(managed, account, is_settled=self._offline(managed).is_confirmed(found))
        if found.exists:
            self._on_look(managed, found)
        return found

    async def find(self, managed: Object, account: Account) -> str | None:
        return await self._run(managed, account, {}, lambda engine: engine.find(self._certain_after))

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        self._note(managed, account, is_settled=False)
        return await self._run(managed, account, secrets, Engine.create)

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        self._note(managed, account, is_settled=False)
        await self._run(managed, account, secrets, lambda engine: engine.update(observation))
        return {}

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        self._note(managed, account, is_settled=False)
        await self._run(managed, account, {}, lambda engine: engine.delete(observation), deleting=True)

    async def let_go(self, managed: Object) -> None:
        return None

    # --- inside -------------------------------------------------------------------------------------

    def _kind(self, managed: Object) -> Kind:
        found = catalogue.lookup(managed["apiVersion"], managed["kind"])
        if found is None:
            raise InvalidInput(
                f"{managed['kind']} of {managed['apiVersion']} is not built in", mend="see `groundplane crds`"
            )
        return found

    def _offline(self, managed: Object) -> Engine:
        return self._engine(managed)

    def _engine(
        self,
        managed: Object,
        clients: AccountClients | None = None,
        secrets: Mapping[str, str] | None = None,
        memory: Memory | None = None,
    ) -> Engine:
        kind = self._kind(managed)
        return Engine(
            kind,
            catalogue.hooks(kind.file),
            managed,
            clients,
            secrets,
            memory,
            now=self._now(),
            strict_upstream=self._strict_upstream,
            namespace=self._namespace,
            poll=self._poll,
        )

    # --- polls --------------------------------------------------------------------------------------

    async def _confirmed(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation | None:
        """What a poll of something that has settled finds, if that is nothing new, with fewer calls than a look of its own has.

        None: it is to be looked at by itself.
        """
        if account.lane != "poll" or not _is_settled(managed):
            return None
        kind, uid = self._kind(managed), meta(managed).get("uid") or ""
        engine = self._engine(managed, None, secrets, self._memories.get(uid))
        is_complete = engine.is_complete
        if uid in self._running:
            return None
        self._remember(uid, engine.memory)
        if not (is_complete or engine.may_be_completed):
            return None
        try:
            wants = engine.wants()
            if wants is None:
                may = kind.is_hourly and is_complete
                return await self._run(managed, account, secrets, Engine.glance) if may else None
            place = _place(account, engine.region, kind.service)
            reader = self._reader(account, engine.region, tenant(managed))
            given = await self._shared.look(place, wants, uid, reader) if wants else None
            if given is None or not (is_complete or engine.is_completed_by(given)):
                return None

            def look() -> Observation:
                return self._engine(managed, self._sessions.clients(account), secrets, engine.memory).glance(given)

            found = await asyncio.to_thread(look)
        except Alone:
            return None
        self._remember(uid, engine.memory)
        self._shared.seen(place, wants, uid)
        return found

    def _note(self, managed: Object, account: Account, *, is_settled: bool) -> None:
        """Whether a thing may travel with others from now on."""
        engine = self._offline(managed)
        wants = engine.wants()
        if not wants:
            return
        place = _place(account, engine.region, engine.kind.service)
        if is_settled:
            self._shared.seen(place, wants, engine.uid)
        else:
            self._shared.forget(place, wants)

    def _reader(self, account: Account, region: str, whose: str) -> Read:
        """What makes a shared call, on a thread of its own."""

        async def read(service: str, call: str, arguments: Json, shared: Shared) -> tuple[list[Any], int]:
            def ask() -> tuple[list[Any], int]:
                try:
                    client = self._sessions.clients(account).client(service, region)
                    if not client.can_paginate(call):
                        return list(shared.in_.search(getattr(client, call)(**arguments)) or ()), 1
                    pages = [shared.in_.search(page) or () for page in client.get_paginator(call).paginate(**arguments)]
                    return [entry for page in pages for entry in page], len(pages)
                except faults.BOTO as error:
                    raise faults.translate(error, Errors()) from error

            call_ = await self._budgets.begin(_place(account, region, service), "poll", whose)
            return await self._start(ask, call_)

        return read

    async def _run(
        self,
        managed: Object,
        account: Account,
        secrets: Mapping[str, str],
        operation: Callable[[Engine], T],
        *,
        deleting: bool = False,
    ) -> T:
        kind_ = self._kind(managed)
        if self._reads is not None:
            self._reads.update(actions.reads(kind_))
        uid = meta(managed).get("uid") or ""
        memory = self._memories.get(uid) or Memory()

        def work() -> T:
            engine: Engine | None = None
            clients: AccountClients | None = None
            try:
                clients = self._sessions.clients(account)
                engine = self._engine(managed, clients, secrets, memory)
                return operation(engine)
            except Denied as error:
                if clients is not None:
                    clients.refuse(error)
                raise
            except faults.BOTO as error:
                busy = kind_.delete.busy if deleting else ()
                young = engine is not None and engine.is_young
                found = faults.translate(error, kind_.errors, busy=busy, secrets=secrets.values(), young=young)
                if faults.are_stale(error) and clients is not None:
                    found.mend = clients.credentials.renewal()
                    clients.refuse(found)
                if faults.is_silence(error) and (asked := deadline.doing()):
                    found.what = f"{asked}: {found.what}"
                if isinstance(found, Unavailable):
                    found.unsent = engine is not None and not engine.has_sent
                    found.mend = "; ".join(filter(None, (unlisted(engine.region if engine else ""), found.mend)))
                if type(found) is InvalidInput and engine is not None and (odd := engine.odd_values()):
                    found.mend = "; ".join(filter(None, (found.mend, odd)))
                if engine is not None and isinstance(found, InvalidInput) and not found.where:
                    found.where = engine.place_of(found)
                if faults.is_of_another(error):
                    found.on = _missing(kind_, managed, found)
                raise found from error

        # A reconcile that ran out of time leaves its thread behind, which may be about to create.
        if uid in self._running:
            raise Waiting("an earlier call to AWS for it has not come back yet")
        region = self._offline(managed).region  # where it is: what is sent goes there, whatever the spec says
        begun = time.monotonic()
        try:
            call = await self._budgets.begin(_place(account, region, kind_.service), account.lane, tenant(managed))
        finally:
            self._on_wait(kind_.service, time.monotonic() - begun)
        try:
            self._running.add(uid)
            return await self._start(work, call, uid)
        finally:
            self._remember(uid, memory)

    def _remember(self, uid: str, memory: Memory) -> None:
        self._memories.pop(uid, None)
        if memory:
            self._memories[uid] = memory
            if len(self._memories) > REMEMBERED:
                del self._memories[next(iter(self._memories))]

    async def _start(self, work: Callable[[], T], call: Call, uid: str = "") -> T:
        """Run it on a thread; its end is taken account of even if nobody waits any more."""
        loop = asyncio.get_running_loop()
        future: Future[T] = Future()

        future.set_running_or_notify_cancel()  # who waits may go, the call goes on

        def run() -> None:
            found: T | None = None
            error: BaseException | None = None
            try:
                with deadline.within(self._patience):
                    found = work()
            except BaseException as raised:  # noqa: BLE001 - whoever waits gets it
                error = raised
            self._running.discard(uid)
            self._calls.discard(future)
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(cast(T, found))

        def ended(done: Future[T]) -> None:
            fate, problem = _fate(done.exception())
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._budgets.done, call, fate, problem)

        future.add_done_callback(ended)
        self._calls.add(future)
        try:
            # Not threading.Thread: its start holds up the event loop until the thread runs, behind all that read answers.
            _thread.start_new_thread(contextvars.copy_context().run, (run,))
        except RuntimeError:  # the system gives no more threads
            self._running.discard(uid)
            self._calls.discard(future)
            future.set_exception(
                Unavailable(
                    "no thread is left to call AWS with", mend="raise the limit of the Pod's or the user's processes"
                )
            )
        return await asyncio.wrap_future(future)


def _fate(error: BaseException | None) -> tuple[Fate, str]:
    """What a call's end says of the account, region and service it went to."""
    if isinstance(error, Throttled):
        return "throttled", str(error)
    if error is not None and faults.is_silence(error.__cause__):
        return "silent", str(error)
    return "answered" if error is None or isinstance(error, GroundplaneError | Alone) else "unknown", ""


def _is_settled(managed: Object) -> bool:
    """Whether the last look found it as it is to be, and nothing is asked of it since."""
    is_current = status_of(managed).get("observedGeneration") == meta(managed).get("generation")
    is_well = conditions.is_true(managed, "Synced") and conditions.is_true(managed, "Ready")
    return is_current and is_well and not is_deleting(managed)


def _local(default: Default) -> Default:
    """A default of an object that lives in a namespace: its Secrets are there, and it names no other."""
    value = default.value
    if isinstance(value, dict):
        value = {name: entry for name, entry in value.items() if name != "namespace"}
    return Default(default.field, value, default.note)


def _place(account: Account, region: str, service: str) -> Place:
    key = meta(account.provider_config)
    name = f"{key['namespace']}/{key.get('name')}" if key.get("namespace") else str(key.get("name") or "")
    return Place(name, region, service, account.version)


def _missing(kind_: Kind, managed: Object, error: GroundplaneError) -> tuple[Awaited, ...]:
    """What may be missing: that which the field at fault refers to, or whatever the object may refer to.

    Nothing of its own kind, unless by name: what we write about the trouble would count as its end.
    """
    at_fault = [each for each in kind_.port.references if f"spec.forProvider.{each.field}" in error.where]
    blocks = spec_of(managed)
    spec = {**(blocks.get("initProvider") or {}), **(blocks.get("forProvider") or {})}
    found: set[Awaited] = set()
    for each in at_fault or kind_.port.references:
        given = spec.get(each.ref) or ()
        named = {str(ref.get("name")) for ref in ([given] if isinstance(given, dict) else given)}
        found.update(Awaited(each.group, each.kind, name=name) for name in named)
        if not named and (each.group, each.kind) != (kind_.group, kind_.kind):
            found.add(Awaited(each.group, each.kind))
    return tuple(sorted(found))
