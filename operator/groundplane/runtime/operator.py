"""The operator as a whole: everything wired, started, and ended in order.

One process leads, the others stand by: they list, watch, cache and know the definitions, and write nothing (`leader.py`).
Who begins to lead enqueues everything.  Who can't renew the Lease stops writing and goes on when it can; who finds
another leading ends.

On the first SIGTERM or SIGINT: not ready any more, nothing new is begun, what runs may finish, events are written, watches
and sessions are closed, the Lease is released if no call to AWS is under way.  The second one ends the process at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from groundplane import __version__
from groundplane.cluster.cache import Cache, Change, Reading
from groundplane.cluster.client import REQUEST_TIMEOUT, Api, Untrusted, why
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core import activation, roles
from groundplane.core.circuit import Circuits
from groundplane.core.declared_kinds import Definitions
from groundplane.core.objects import Key, key_of
from groundplane.errors import GroundplaneError, InvalidInput, NotLeader, Unavailable
from groundplane.ports import Certifier, Context, ManagedKind
from groundplane.reconcile import definition
from groundplane.remote.runner import Runner
from groundplane.remote.turns import Slices
from groundplane.runtime import (
    alive,
    clouds,
    guard,
    initial,
    logs,
    memory,
    metrics,
    preflight,
    template_files,
    tracing,
    webhook_configurations,
)
from groundplane.runtime.aside import Aside
from groundplane.runtime.census import Census
from groundplane.runtime.clouds import Clouds
from groundplane.runtime.compiling import compiled
from groundplane.runtime.controllers import all_controllers
from groundplane.runtime.dispatch import Dispatcher
from groundplane.runtime.election import PREFIX, Standing
from groundplane.runtime.engine import Engine
from groundplane.runtime.events import EventRecorder
from groundplane.runtime.health import Health
from groundplane.runtime.kopf_kinds import REQUIRED
from groundplane.runtime.leader import Elector, Gate
from groundplane.runtime.managed_kinds import ManagedKinds
from groundplane.runtime.own_kinds import OwnKinds
from groundplane.runtime.rivals import Rivals
from groundplane.runtime.routes import Routes
from groundplane.runtime.served import CRDS
from groundplane.runtime.settings import Settings
from groundplane.runtime.targets import ClusterTargets
from groundplane.runtime.tracing import NoTraces
from groundplane.runtime.watches import KubernetesWatches

if TYPE_CHECKING:
    from groundplane.aws.cloud import AwsCloud
    from groundplane.runtime.webhooks import Webhooks

# Shares of the grace period: another replica waits for the Lease during the first two; the rest is for watches and sessions.
DRAIN, FLUSH, TRACES = 0.6, 0.025, 0.1
START_PATIENCE = 60.0  # seconds to wait for an API server that isn't there at the start, before ending
KNOCK = 5.0  # seconds between two attempts to reach the API server at the start
TOLD = 100  # budgets that the debug page names: those with trouble come first
BATCH = 100  # objects that are looked at in one go when we begin to lead
ARENAS = 2  # from which all threads take memory: one each would keep what a hundred calls of AWS once needed
SWITCH = 0.0005  # seconds a thread that reads an answer of AWS may keep the interpreter from the event loop; Python's 0.005 add up

log = logs.get_logger(__name__)


async def run(settings: Settings) -> int:
    """Work until a signal comes; the exit code.

    Raises:
        InvalidInput: no usable kubeconfig, or a Crossplane is at work in the cluster.
        Denied: no usable credentials, or no right to list what is always followed.
    """
    logs.configure(settings.log_format, settings.log_level)
    sys.setswitchinterval(SWITCH)
    memory.share_arenas(ARENAS)

    traces = tracing.connected(settings.trace_endpoint, settings.trace_ratio, os.environ)

    def told(verb: str, resource: str, status: int, seconds: float) -> None:
        metrics.request_made(api.host, verb, resource, status, seconds)
        traces.api_request(verb, resource, status, seconds)

    gate, identity = Gate(is_open=settings.no_leader_election), alive.new_identity(PREFIX)
    api = Api.connect(
        settings.kubeconfig or None,
        settings.context or None,
        qps=settings.qps,
        burst=settings.burst,
        on_request=told,
        may_write=gate.check,
        write_timeout=write_timeout(settings),
        identity=identity,
    )
    try:
        return await Operator(api, settings, gate, identity, traces).run()
    finally:
        await api.close()


def write_timeout(settings: Settings) -> float:
    """Seconds for a write to any API server: what a leader has begun has ended there before another one may lead."""
    return REQUEST_TIMEOUT if settings.no_leader_election else settings.lease_duration - settings.renew_deadline


class Operator:
    """One operator on one API server."""

    def __init__(self, api: Api, settings: Settings, gate: Gate, identity: str, traces: NoTraces) -> None:
        """`api` must ask `gate` before it writes."""
        self._api, self._settings, self._gate, self._identity, self._traces = api, settings, gate, identity, traces
        self._cache = Cache()
        self._cluster = KubernetesCluster(api, self._cache, settings.secret_places)
        traces.peek = self._cache.get
        self._aws: AwsCloud | None = None  # nobody has asked anything of AWS yet
        self._targets = self._make_targets()
        self._cloud = self._make_clouds()
        self._kinds = self._make_kinds()
        slices = Slices()
        self._aside = Aside(slices)
        self._functions = self._make_functions(slices)
        self._events = EventRecorder(self._cluster, _now)
        self._watches = self._make_watches()
        self._context = self._make_context()
        routes = self._make_routes()
        self._census = Census(routes.own, _now)
        self._dispatcher = Dispatcher(
            Engine(all_controllers(), self._context, self._traces),
            routes,
            peek=self._cache.get,
            exists=self._cache.has,
            may_work=self._may_work,
        )
        self._is_working = False
        self._own_kinds = OwnKinds(api, self._kinds, self._watches.definition, settings)
        self._has_listed = False
        self._led = asyncio.Event()  # we lead, and have not yet looked at everything
        self._ended = asyncio.Event()  # another one leads
        self._declared: dict[Key, None] = {}  # definitions that a standby has to look at
        self._news = asyncio.Event()
        self._leading: asyncio.Task[None] | None = None
        self._migrating: asyncio.Task[None] | None = None
        self._declaring: asyncio.Task[None] | None = None
        self._open_api: Api | None = None
        self._webhooks: Webhooks | None = None
        if place := webhook_configurations.place(settings, api.server):
            self._open_api, self._webhooks = self._with_webhooks(place)
        self._elector = Elector(
            lambda: Api.connect(settings.kubeconfig or None, settings.context or None, identity=identity),
            gate,
            settings.namespace,
            settings.terms,
            self._on_standing,
            identity=identity,
        )
        self._rivals = Rivals(self._cluster, self._elector, settings)

    # --- the parts: where one asks another, it does so when it is needed, since some are made later -------------

    def _make_targets(self) -> ClusterTargets:
        """The clusters that Objects are in."""
        return ClusterTargets(
            self._cluster,
            self._acting_as if self._settings.objects_identity else None,
            may_write=self._gate.check,
            write_timeout=write_timeout(self._settings),
            identity=self._identity,
            warns=True,
        )

    def _make_clouds(self) -> Clouds:
        """What acts outside of the control plane, by provider."""
        settings = self._settings
        may_write = _refuse_change if settings.observe_only else self._gate.check
        beside = clouds.beside_aws(
            strict_upstream=settings.strict_upstream,
            may_write=may_write,
            looks_first=settings.observe_only,
            targets=self._targets,
        )
        return Clouds(
            {"aws": partial(self._with_aws, may_write)} | beside,
            is_active=lambda definition: self._kinds.is_active(definition),
        )

    def _make_kinds(self) -> ManagedKinds:
        """The managed kinds that we bring, and which of them are active."""
        settings = self._settings
        return ManagedKinds(
            self._api,
            self._cluster,
            settings.active,
            lambda name: self._watches.definition(name),
            self._serve,
            nop_scope=settings.nop_scope,
            brings=settings.crds != "leave" and not settings.strict_upstream,
            adopt=settings.crds == "adopt",
        )

    def _make_functions(self, slices: Slices) -> Runner:
        """What runs the functions that are not built in."""
        settings = self._settings
        return Runner(
            slices=slices,
            calls=settings.function_calls,
            keep=settings.function_cache,
            certificates=settings.tls_client_certs_dir,
            strict_upstream=settings.strict_upstream,
            on_call=metrics.function_called,
        )

    def _make_watches(self) -> KubernetesWatches:
        return KubernetesWatches(
            self._api,
            self._cluster,
            self._cache,
            self._cloud,
            self._tell,
            enqueue=lambda key: self._dispatcher.enqueue(key),
            begin=lambda obj: self._dispatcher.begin(obj),
            wake=lambda keys: self._dispatcher.wake(keys),
            secret_namespaces=self._settings.secret_places,
        )

    def _make_context(self) -> Context:
        """What reconcilers work with."""
        settings = self._settings
        options = replace(settings.options, templates=template_files.read(settings.function_templates_dir))
        circuits = Circuits(
            settings.circuit_breaker_burst, settings.circuit_breaker_refill_rate, settings.circuit_breaker_cooldown
        )
        return Context(
            cluster=self._cluster,
            cloud=self._cloud,
            events=self._events,
            watches=self._watches,
            now=_now,
            choose=secrets.randbelow,
            compiled=partial(compiled, templates=options.templates),
            functions=self._functions,
            work=self._aside,
            certifier=_certifier(self._api, settings),
            collected=self._cloud,
            definitions=Definitions(),
            built_in=self._kinds,
            options=options,
            is_waiting=lambda key: self._dispatcher.is_waiting(key),
            circuits=circuits,
        )

    def _make_routes(self) -> Routes:
        """Who has to look when an object changes."""
        context = self._context
        return Routes(
            context.definitions,
            lambda v, k: self._cloud.kind(v, k) is not None,
            self._cache.get,
            context.interests,
            context.accounts,
            self._cache.speaking_of,
            context.policies,
        )

    def _with_aws(self, may_write: Callable[[], None]) -> AwsCloud:
        """What acts on AWS; boto3 comes with it."""
        from groundplane.aws.cloud import AwsCloud

        settings = self._settings
        self._aws = AwsCloud(
            settings.aws_threads,
            strict_upstream=settings.strict_upstream,
            namespace=settings.namespace,
            may_write=may_write,
            poll=settings.poll_interval,
            on_call=self._aws_called,
            on_wait=metrics.aws_call_waited,
            on_look=lambda managed, observation: self._census.looked(managed, is_as_wanted=not observation.drift),
        )
        return self._aws

    def _acting_as(self) -> Api:
        """The way to the API server for Objects, as whom they are to act as."""
        settings = self._settings
        namespace, _, name = settings.objects_identity.partition("/")
        user = f"system:serviceaccount:{namespace}:{name}"
        return Api.connect(
            settings.kubeconfig or None,
            settings.context or None,
            qps=settings.qps,
            burst=settings.burst,
            may_write=self._gate.check,
            write_timeout=write_timeout(settings),
            identity=self._identity,
            impersonate=user,
            grant=partial(roles.grant_to, settings.objects_identity),
        )

    def _with_webhooks(self, place: webhook_configurations.Place) -> tuple[Api, Webhooks]:
        """What serves the webhooks, also while this process stands by; and a way to the API server that no gate shuts, for that."""
        from groundplane.runtime import webhook_registry, webhook_server, webhooks  # only for who has any

        settings, loop, asked = self._settings, asyncio.get_running_loop(), webhook_registry.all_webhooks()
        if place.is_tentative:
            asked = webhook_registry.tentative_webhooks(strict_upstream=settings.strict_upstream)

        def connected() -> Api:
            return Api.connect(
                settings.kubeconfig or None,
                settings.context or None,
                on_request=lambda *told: metrics.request_made(self._api.host, *told),
                write_timeout=webhook_server.PATIENCE,
                identity=self._identity,
            )

        def begin() -> tuple[webhook_server.Server, Api]:
            api = connected()
            cluster = KubernetesCluster(api, Reading(self._cache), settings.secret_places)
            watches = webhook_server.Hopping(self._watches, loop)
            context = replace(self._context, cluster=cluster, watches=watches)
            return webhook_server.Server(
                asked, context, webhook_server.trying_out(api), host=place.host, port=place.port
            ), api

        api = connected()
        return api, webhooks.Webhooks(
            webhook_server.Apart(begin),
            asked,
            api,
            webhook_configurations.Configurations(self._api, settings.webhook_owner),
            self._context,
            place,
            leads=self._gate.is_open,
            namespace=settings.namespace,
        )

    async def run(self) -> int:
        """Until a signal comes, or something breaks that must not: the exit code."""
        health = Health(
            live={
                "watches": self._watches.problem,
                "elector": self._elector.problem,
                **({"webhooks": self._webhooks.dead} if self._webhooks and not self._webhooks.is_tentative else {}),
            },
            ready={
                "kinds": lambda: ", ".join(self._watches.unready()) or self._lacks(),
                "engine": self._check_working,
                "rivals": self._rivals.problem,
                **({"webhooks": self._webhooks.problem} if self._webhooks and not self._webhooks.is_tentative else {}),
            },
            host=self._settings.health_host,
            port=self._settings.health_port,
            before_metrics=self._count_objects,
            debug=self._debug_page if self._settings.debug_endpoints else None,
        )
        with _stop_signals() as stop:
            async with health:
                log.info(
                    "starting",
                    version=__version__,
                    server=self._api.server,
                    health_port=health.port,
                    identity=self._elector.identity,
                )
                working = asyncio.create_task(self._work())
                waits = [asyncio.create_task(event.wait()) for event in (stop, self._ended)]
                await asyncio.wait({working, *waits}, return_when=asyncio.FIRST_COMPLETED)
                for waiting in waits:
                    waiting.cancel()
                log.info("stopping")
                await self._shut_down(working)
        error = None if working.cancelled() else working.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, GroundplaneError):
            raise error
        if error:
            log.exception("the operator broke", error=error)
            return 1
        return 1 if self._ended.is_set() else 0

    async def _work(self) -> None:
        await self._reach_cluster()
        if not self._settings.no_leader_election:
            self._elector.start()
        await self._watches.start()
        missing = [resource.plural for resource in REQUIRED if not self._watches.serves(resource)]
        if missing and self._own_kinds.are_left:
            log.error(
                "the cluster lacks our kinds; waiting for them",
                kinds=", ".join(missing),
                mend="groundplane crds | kubectl apply --server-side -f -",
            )
        if self._settings.observe_only:
            log.warning("observing only: nothing in AWS is created, changed or deleted")
        gc.collect()
        gc.freeze()  # what is here now stays: no need to look through it again and again
        gc.set_threshold(2_000, 20, 1_000)  # small collections, for the event loop waits for each
        log.info("working")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatcher.run())
            group.create_task(self._events.run())
            group.create_task(self._stand_by())
            group.create_task(self._rivals.mind())
            if self._webhooks:
                group.create_task(self._webhooks.run())
            self._leading = group.create_task(self._lead())
            group.create_task(self._tidy())
            self._is_working = True

    async def _tidy(self) -> None:
        """When all is listed, nobody needs what the lists took."""
        await self._watches.listed()
        await memory.keep_giving_back()

    async def _reach_cluster(self) -> None:
        """Look whether we may start; wait a while for an API server that isn't there yet."""
        begun = time.monotonic()
        while True:
            try:
                await preflight.check_rights(self._api, (CRDS, *REQUIRED))
                await self._rivals.refuse(waits=self._settings.takeover_wait)
                if self._settings.no_leader_election:
                    await preflight.ensure_namespace(self._cluster, self._settings.namespace)
                return
            except Untrusted:
                raise
            except Unavailable as error:
                server, cause = self._api.server, why(error) or str(error)
                if time.monotonic() - begun >= START_PATIENCE:
                    mend = "start it, or correct server and context in the kubeconfig"
                    raise Unavailable(f"can't reach the API server at {server}: {cause}", mend=mend) from error
                log.warning("waiting for the API server", server=server, cause=cause)
                await asyncio.sleep(KNOCK)

    # --- leading and standing by ---------------------------------------------------------------------------

    def _on_standing(self, standing: Standing) -> None:
        match standing:
            case Standing.LEADS:
                log.info("leading", identity=self._elector.identity)
                self._led.set()
                if self._webhooks:
                    self._webhooks.look()
            case Standing.SUSPENDED:
                log.error("the Lease could not be renewed in time: nothing is written until it is")
            case Standing.LOST:
                log.error("another replica leads: ending")
                self._ended.set()
            case Standing.FOLLOWS:
                log.info("standing by")

    async def _lead(self) -> None:
        """Whenever we begin to: bring the kinds, then look at everything, and have what is stored in old versions rewritten."""
        if self._settings.no_leader_election:
            self._led.set()
        while True:
            await self._led.wait()
            self._led.clear()
            try:
                await self._own_kinds.bring()
                if self._webhooks is None or self._webhooks.have_ended:
                    await guard.bring(self._cluster)
                await initial.make(self._cluster)
                await self._watches.listed()
                await self._own_kinds.bring_added()
                self._has_listed = True
                await self._enqueue_all()
            except (NotLeader, Unavailable) as error:
                log.warning("the kinds could not be brought to the cluster", error=str(error))
                await asyncio.sleep(KNOCK)
                if self._gate.is_open():
                    self._led.set()
                continue
            if self._webhooks is None or self._webhooks.have_ended:
                await webhook_configurations.withdraw(self._api)
            if self._migrating is None or self._migrating.done():
                self._migrating = asyncio.create_task(self._own_kinds.migrate())
            if self._declaring is None or self._declaring.done():
                self._declaring = asyncio.create_task(self._own_kinds.declare())

    def _serve(self, kind: ManagedKind) -> None:
        """A managed kind has become active: follow it, and look at what there is of it."""
        self._watches.activate(kind.api_versions[0], kind.kind)
        for api_version in kind.api_versions:
            for obj in self._cache.list(api_version, kind.kind):
                self._dispatcher.enqueue(key_of(obj))

    def _may_work(self) -> bool:
        return self._own_kinds.have_been_brought and self._has_listed and self._gate.is_open()

    def _lacks(self) -> str:
        """What of the kinds that we bring is not served, and why; "" for a standby, to whom the leader brings them."""
        return self._own_kinds.lacking() if self._gate.is_open() else ""

    async def _enqueue_all(self) -> None:
        """Look at everything; first at what somebody waits for."""
        self._dispatcher.resume()
        for count, key in enumerate(self._cache.keys()):
            obj = self._cache.get(key)
            if obj is not None:
                self._dispatcher.begin(obj)
            if count % BATCH == BATCH - 1:
                await asyncio.sleep(0)

    async def _stand_by(self) -> None:
        """Know and follow what the definitions declare, as long as another one leads."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._declared and not self._gate.is_open():
                key = next(iter(self._declared))
                del self._declared[key]
                try:
                    await definition.take_up(key, self._context)
                except GroundplaneError as error:  # its next change brings it back
                    log.debug("definition is not followed yet", definition=key.name, error=str(error))
            self._declared.clear()

    async def _shut_down(self, working: asyncio.Task[None]) -> None:
        grace = 0.0 if self._ended.is_set() else self._settings.shutdown_grace
        self._is_working = False
        begun = [task for task in (self._leading, self._migrating, self._declaring) if task]
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        if late := await self._dispatcher.drain(DRAIN * grace):
            log.warning("reconciles were cancelled", count=late)
        await self._events.flush(FLUSH * grace)
        if self._webhooks:
            await self._webhooks.withdraw()
        # Nothing is written from here on, and another replica waits for the Lease: what takes its time to end has it after that.
        await self._elector.stop(release=not (self._aws and self._aws.in_flight))
        await self._watches.stop()
        await self._functions.close()
        await self._cloud.close()
        await self._targets.close()
        self._aside.close()
        working.cancel()
        await asyncio.wait({working})
        await self._traces.stop(TRACES * grace)
        if self._open_api:
            await self._open_api.close()

    def _aws_called(self, service: str, operation: str, outcome: str, seconds: float, request: str) -> None:
        metrics.aws_call_made(service, operation, outcome, seconds)
        self._traces.aws_call(service, operation, outcome, seconds, request)

    def _tell(self, change: Change, idle: bool) -> None:
        if change.new is not None and change.new.get("kind") == activation.DEFINITION:
            self._kinds.see(change.new)
        self._census.changed(change.old, change.new, leads=self._gate.is_open())
        self._dispatcher.dispatch(change.old, change.new, idle=idle)
        if self._webhooks and change.key.kind == definition.KIND:
            self._webhooks.look()
        if not self._gate.is_open() and (obj := change.new or change.old) and obj.get("kind") == definition.KIND:
            self._declared[key_of(obj)] = None
            self._news.set()

    def _check_working(self) -> str:
        return "" if self._is_working else "not working"

    def _debug_page(self) -> dict[str, object]:
        return {
            "leads": self._gate.is_open(),
            "identity": self._elector.identity,
            "queues": self._dispatcher.told(),
            "waiting": self._dispatcher.told_waiting(),
            "budgets": self._aws.budgets[:TOLD] if self._aws else [],
        }

    def _count_objects(self) -> None:
        metrics.objects.clear()
        for (api_version, kind), count in self._cache.count().items():
            metrics.objects.labels(kind=f"{api_version}, Kind={kind}").set(count)
        self._census.tell(self._cache.tallies(), leads=self._gate.is_open())
        for state, count in self._own_kinds.count().items():
            metrics.crds.labels(state=state).set(count)


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event that the first signal sets."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def ask(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _refuse_change() -> None:
    raise InvalidInput("this operator changes no external resource", mend="start it without --observe-only")


def _certifier(api: Api, settings: Settings) -> Certifier | None:
    """What makes certificates for functions that are run here; imported with its library only if any is."""
    if settings.function_runtime != "Deployment":
        return None
    from groundplane.runtime import certificates

    return certificates.Certifier(api, settings.namespace)


def _now() -> datetime:
    return datetime.now(UTC)
