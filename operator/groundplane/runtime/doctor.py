"""Is an installation sound?  Each check asks the cluster, or the store, what is so, and says what to do; nothing is changed.

The kinds, the rights, who leads, who else does, what definitions say of themselves, whether credentials work.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

from groundplane.aws.cloud import AwsCloud
from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import activation, conditions, managed_definition, providers
from groundplane.core.crds.marks import Step, step
from groundplane.core.objects import Key, Object, meta, spec_of
from groundplane.core.roles import HOLD, grant
from groundplane.errors import Awaited, Denied, GroundplaneError, NoSuchKind, NotLeader, counted
from groundplane.ports import Cluster, Context, Options
from groundplane.reconcile import definition, provider_config
from groundplane.runtime import clouds, crds, guard, preflight, rights, rivals, webhook_configurations
from groundplane.runtime.clouds import Clouds
from groundplane.runtime.compiling import compiled
from groundplane.runtime.election import PREFIX
from groundplane.runtime.settings import Settings

State = Literal["ok", "warning", "failed", "not allowed"]
AT_ONCE = 16  # questions
LOOK = 0.5  # seconds between two looks at the Lease
CONNECT = 5.0  # seconds for a connection to a webhook
LOGS = "the Pods' logs say why nobody leads"
SHOWN = 5  # names in a message; `objects` has them all


@dataclass(frozen=True)
class Finding:
    id: str
    state: State
    message: str
    mend: str = ""
    objects: tuple[str, ...] = ()  # which it is about


@dataclass(frozen=True)
class Installation:
    """What is looked at, and how it is meant to be."""

    server: Api | None  # None: a store
    cluster: Cluster
    context: Context
    namespace: str = "crossplane-system"  # the operator's
    activations: tuple[str, ...] = ()  # globs of managed kinds to be served; (): all but those inactive in the cluster
    mode: str = "aggregated"  # of RBAC
    webhooks: bool = False  # whether the operator is to serve them
    secret_places: tuple[str, ...] = ()  # the only namespaces whose Secrets it works with; none: all
    account: str = ""  # whose rights are looked at, as "namespace/name" of a ServiceAccount; "": one's own

    @property
    def api(self) -> Api:
        assert self.server is not None, "a store has no API server"
        return self.server


Check = Callable[[Installation], Awaitable[list[Finding]]]


async def examine(installation: Installation, checks: Mapping[str, Check]) -> list[Finding]:
    """What these checks find, in their order."""
    found = []
    installation = replace(installation, activations=await _activations(installation))
    for name, check in checks.items():
        found += await guarded(name, check(installation))
    return found


async def _activations(installation: Installation) -> tuple[str, ...]:
    """The managed kinds that are meant to be served, as globs; what can't be seen of it in the cluster, the checks tell."""
    try:
        heads = await installation.cluster.heads(activation.VERSION, activation.DEFINITION, activation.head)
    except GroundplaneError:
        heads = []
    states = {meta(head)["name"]: activation.is_active(head) for head in heads if managed_definition.is_built_in(head)}
    if installation.activations:
        return (*installation.activations, *(name for name, active in states.items() if active))
    return tuple(each.name for each in crds.brought() if states.get(each.name, True))


async def guarded(name: str, checking: Awaitable[list[Finding]]) -> list[Finding]:
    """What a check finds, or why it could not look."""
    try:
        return await checking
    except Denied as error:
        return [not_allowed(name, error)]
    except GroundplaneError as error:
        return [Finding(name, "failed", error.without_mend, error.mend)]


def not_allowed(name: str, error: Denied) -> Finding:
    """That a check could not look."""
    return Finding(name, "not allowed", error.without_mend, error.mend)


# --- the kinds -----------------------------------------------------------------------------------------


async def check_kinds(installation: Installation) -> list[Finding]:
    """Whether what is wanted is served and current."""
    wanted, there = crds.brought(installation.activations), await crds.listed(installation.api)
    lacking = crds.missing(wanted, there.get)
    steps = {each.name: step(each.mark, there[each.name].mark) for each in wanted if each.name in there}
    found = []
    if lacking:
        mend = "start the operator, which brings them, or run `groundplane crds --apply`"
        found.append(about("kinds", "failed", f"{len(lacking)} not served", lacking, mend))
    if older := [name for name, todo in steps.items() if todo is Step.APPLY]:
        mend = "the next replica that leads upgrades them; `groundplane crds --apply` does it now"
        found.append(about("kinds", "warning", f"{len(older)} not those of this version", older, mend))
    if newer := [name for name, todo in steps.items() if todo is Step.NEWER]:
        found.append(about("kinds", "warning", f"{len(newer)} of a later version", newer, "upgrade the operator again"))
    if foreign := [name for name, todo in steps.items() if todo is Step.FOREIGN]:
        mend = "nothing, or take them over with `--crds adopt`"
        found.append(about("kinds", "warning", f"{len(foreign)} somebody else's, and used as they are", foreign, mend))
    return found or [
        Finding("kinds", "ok", f"{counted(len(wanted), 'definition is', 'definitions are')} served and current")
    ]


# --- rights ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Question:
    group: str
    resource: str  # with its subresource: "vpcs/status"
    verb: str
    name: str = ""
    namespace: str = ""

    @property
    def attributes(self) -> dict[str, str]:
        resource, _, subresource = self.resource.partition("/")
        asked = {
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "verb": self.verb,
            "name": self.name,
            "namespace": self.namespace,
        }
        return {name: value for name, value in asked.items() if value}


async def check_rights(installation: Installation) -> list[Finding]:
    """Whether every request that the operator makes would be allowed: those of the table, and those for what definitions declare."""
    api = installation.api
    questions = [*_of_the_table(installation), *await _of_definitions(installation)]
    if installation.account:
        namespace, _, name = installation.account.rpartition("/")
        place = namespace or installation.namespace
        who = f"system:serviceaccount:{place}:{name}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{place}", "system:authenticated"]
        path, subject = "subjectaccessreviews", {"user": who, "groups": groups}
    else:
        who, path, subject = await _myself(api), "selfsubjectaccessreviews", {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def is_allowed(question: _Question) -> bool:
        kind = "SubjectAccessReview" if subject else "SelfSubjectAccessReview"
        spec = {**subject, "resourceAttributes": question.attributes}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        async with slots:
            _, said = await api.request("POST", f"/apis/authorization.k8s.io/v1/{path}", body=body, idempotent=True)
        return bool(((said or {}).get("status") or {}).get("allowed"))

    answers = await asyncio.gather(*map(is_allowed, questions))
    missing: dict[tuple[str, str], dict[str, None]] = {}  # each verb once, in order
    for question, allowed in zip(questions, answers, strict=True):
        if not allowed:
            missing.setdefault((question.group, question.resource), {})[question.verb] = None
    if not missing:
        return [Finding("rights", "ok", f"{who} has all {len(questions)} rights")]
    objects = tuple(
        f"{', '.join(verbs)}: {_as_kubectl(group, resource)}" for (group, resource), verbs in missing.items()
    )
    if subject and await _is_no_account(api, place, name):
        mend = "name the operator's: --account [NAMESPACE/]NAME, which the chart calls groundplane, and --namespace"
        return [Finding("rights", "failed", f"there is no ServiceAccount {place}/{name}", mend)]
    first = next(iter(missing))
    mend = f"helm upgrade, or {grant(*first)}"
    return [about("rights", "failed", f"resources to which {who} lacks rights", objects, mend)]


async def _is_no_account(api: Api, namespace: str, name: str) -> bool:
    """Whether it can be seen that there is no such ServiceAccount."""
    with suppress(Denied):
        status, _ = await api.request("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
        return status == 404
    return False


def _of_the_table(installation: Installation) -> list[_Question]:
    found = []
    for concern in rights.CONCERNS:
        if concern.mode in ("", installation.mode) and (
            not concern.part or (concern.part != "objects" and installation.webhooks)
        ):
            places = [installation.namespace] if concern.in_namespace else [""]
            if concern.confined_by and installation.secret_places:
                places = [*installation.secret_places]
            found += [each for place in places for rule in concern.rules for each in _questions(rule, place)]
    active = {kind.name for kind in clouds.kinds() if crds.is_active(kind.name, installation.activations)}
    for rule in rights.managed():
        kept = tuple(each for each in rule.resources if f"{each.partition('/')[0]}.{rule.group}" in active)
        found += _questions(rights.Rule(rule.group, kept, rule.verbs), "")
    return found


def _as_kubectl(group: str, resource: str) -> str:
    """A resource as kubectl writes it: "vpcs.ec2.aws.upbound.io/status"."""
    plural, slash, subresource = resource.partition("/")
    return f"{plural}{f'.{group}' if group else ''}{slash}{subresource}"


def _questions(rule: rights.Rule, namespace: str) -> list[_Question]:
    return [
        _Question(rule.group, resource, verb, name, namespace)
        for resource in rule.resources
        for verb in rule.verbs
        for name in rule.names or ("",)
    ]


async def _of_definitions(installation: Installation) -> list[_Question]:
    try:
        definitions = await definitions_of(installation.cluster)
    except Denied:
        definitions = []  # that right is in the table, and told as missing
    found = []
    for xrd in definitions:
        names = [(spec_of(xrd).get(field) or {}).get("plural") for field in ("names", "claimNames")]
        for plural in filter(None, names):
            group = spec_of(xrd).get("group") or ""
            found += [_Question(group, plural, verb) for verb in HOLD]
            found.append(_Question(group, f"{plural}/status", "update"))
    return found


async def _myself(api: Api) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    _, said = await api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body, idempotent=True)
    return str((((said or {}).get("status") or {}).get("userInfo") or {}).get("username") or "this user")


# --- who leads -------------------------------------------------------------------------------------------


async def check_lease(installation: Installation) -> list[Finding]:
    """Whether somebody leads: the Lease is seen to change, since no clock of another machine is to be trusted."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{installation.namespace}/leases/{preflight.LEASE}"
    place = f"{installation.namespace}/{preflight.LEASE}"
    status, lease = await installation.api.request("GET", path)
    if status == 404:
        mend = f"start the operator, or name its namespace: --namespace; {LOGS}. One with --no-leader-election has none"
        return [Finding("lease", "failed", f"there is no Lease {place}: no replica has led", mend)]
    spec = spec_of(lease)
    if not (holder := str(spec.get("holderIdentity") or "")):
        return [Finding("lease", "failed", f"nobody holds the Lease {place}", f"start the operator; {LOGS}")]
    duration = float(spec.get("leaseDurationSeconds") or 15)
    for _ in range(int(duration / LOOK) + 1):
        await asyncio.sleep(LOOK)
        _, now = await installation.api.request("GET", path)
        if now and spec_of(now) != spec:
            holder = str(spec_of(now).get("holderIdentity") or "")
            if holder.startswith(PREFIX):
                return [Finding("lease", "ok", f"{holder} leads")]
            if holder:
                mend = "scale it to zero first, or remove one of the two"
                return [Finding("lease", "failed", f"a Crossplane holds the Lease {place}: {holder}", mend)]
    text = f"{holder} holds the Lease {place} and has not renewed it for {duration:.0f} s"
    return [Finding("lease", "failed", text, f"start the operator, which takes it over; {LOGS}")]


async def check_rivals(installation: Installation) -> list[Finding]:
    """Whether another control plane is at work in the cluster."""
    rival, denied = await rivals.sought(installation.cluster, installation.namespace)
    found = [not_allowed("rivals", error) for error in denied]
    if rival:
        mend = "scale it to zero: its objects stay"
        found.append(Finding("rivals", "failed", f"a Crossplane is at work in this cluster: {rival}", mend))
    return found or [Finding("rivals", "ok", "no other Crossplane is at work")]


# --- what is declared --------------------------------------------------------------------------------------


async def definitions_of(cluster: Cluster) -> list[Object]:
    try:
        return list(await cluster.list(definition.API_VERSION, definition.KIND))
    except NoSuchKind:
        return []


async def check_definitions(installation: Installation) -> list[Finding]:
    """Whether what definitions declare is served and followed."""
    found, all_of_them = [], await definitions_of(installation.cluster)
    count = len(all_of_them)
    for xrd in all_of_them:
        sides = [definition.COMPOSITE, *([definition.CLAIM] if spec_of(xrd).get("claimNames") else [])]
        for side in sides:
            type_ = side.established.type
            if not conditions.is_true(xrd, type_):
                said = (conditions.find(xrd, type_) or {}).get(
                    "message"
                ) or "nothing is told yet: is the operator running?"
                name = meta(xrd)["name"]
                found.append(Finding("definitions", "failed", f"{name} is not {type_}: {said}", objects=(name,)))
    return found or [Finding("definitions", "ok", f"{count} {'is' if count == 1 else 'are'} established")]


async def check_credentials(installation: Installation) -> list[Finding]:
    """Whether each ProviderConfig has what it takes to log in, and whether AWS accepts its credentials."""
    context, slots = installation.context, asyncio.Semaphore(AT_ONCE)
    assert isinstance(context.cloud, Clouds)
    clouds_, aws = context.cloud, context.cloud.of(providers.FAMILIES[0].api_version)
    assert isinstance(aws, AwsCloud)

    async def one(config: Object, family: providers.Family) -> list[Finding]:
        account = await provider_config.account_of(config, context)
        await clouds_.check_account(account)
        if family.provider != "aws":
            return [Finding("credentials", "ok", "what it says is complete; it is tried by who uses it")]
        async with slots:
            return [Finding("credentials", "ok", await aws.identify(account))]

    found = []
    for family in providers.FAMILIES:
        for kind in family.config_kinds:
            try:
                each = await installation.cluster.list(family.api_version, kind)
            except NoSuchKind:
                continue
            except Denied as error:
                found.append(not_allowed("credentials", error))
                continue
            told = await asyncio.gather(*(guarded("credentials", one(config, family)) for config in each))
            found += [_named(line, config, family) for config, lines in zip(each, told, strict=True) for line in lines]
    if not found:
        return [Finding("credentials", "warning", "there is no ProviderConfig", "make one, called default")]
    return found


def _named(finding: Finding, config: Object, family: providers.Family) -> Finding:
    """A finding with the ProviderConfig that it is about, which an error may have named."""
    kind, name, namespace = config["kind"], meta(config)["name"], meta(config).get("namespace")
    place = f"{namespace}/{name}" if namespace else name
    text = finding.message
    for said in (f'{kind} "{name}": ', f"{kind} {name} › ", f"{kind} {name}: "):
        text = text.removeprefix(said)
    state = finding.state if finding.state == "ok" else "failed"
    of = "" if family.provider == "aws" else f" of {family.title}"
    return Finding(finding.id, state, f"{kind} {place}{of}: {text}", finding.mend, (place,))


async def aws_configs(installation: Installation) -> list[Object]:
    """The ProviderConfigs of AWS, of both generations."""
    found: list[Object] = []
    for family in providers.FAMILIES:
        for kind in family.config_kinds if family.provider == "aws" else ():
            with suppress(NoSuchKind):
                found += await installation.cluster.list(family.api_version, kind)
    return found


async def check_webhooks(installation: Installation) -> list[Finding]:
    """Whether somebody answers where the API server asks: one that nobody answers refuses, or delays, what it is asked about.

    The API server itself is asked, by a dry run of a Composition that every webhook refuses; who may not do that connects to the server.
    """
    api, live = installation.api, {}
    for name in webhook_configurations.NAMES:
        status, found = await api.request("GET", f"{webhook_configurations.PATH}/{name}")
        if status != 404 and (found or {}).get("webhooks"):
            live[name] = (found or {})["webhooks"][0].get("clientConfig") or {}
    if live:
        of_compositions = live.get(webhook_configurations.CROSSPLANE)
        said = await webhook_configurations.unanswered(api) if of_compositions else None
        return [
            await _asked(name, client, said if of_compositions and _same(client, of_compositions) else None)
            for name, client in live.items()
        ]
    if installation.webhooks:
        mend = "look at the operator's log: the replica that leads applies them"
        return [Finding("webhooks", "failed", "the API server is not told of the webhooks", mend)]
    return [await _without(installation)]


async def _without(installation: Installation) -> Finding:
    """Where no webhooks are installed, a policy keeps what is in use."""
    for plural in (guard.POLICIES, guard.BINDINGS):
        status, _ = await installation.api.request("GET", f"/apis/{guard.API_VERSION}/{plural}/{guard.NAME}")
        if status == 404:
            mend = "start the operator, whose log says what is in the way; it takes Kubernetes 1.30. Or switch --webhooks on"
            text = f"none are installed, and usages protect nothing: there is no {plural}/{guard.NAME}"
            return Finding("webhooks", "warning", text, mend)
    return Finding("webhooks", "ok", f"none are installed; the policy {guard.NAME} keeps what is in use")


async def _asked(name: str, client: Mapping[str, Any], said: str | None) -> Finding:
    """Whether the webhooks of a configuration are answered, by what the API server `said`; None: nothing."""
    if said == "":
        return Finding("webhooks", "ok", f"the API server gets answers from those of {name}")
    mend = (
        "is the operator running, with --webhooks on? Its log says what is wrong; a firewall may keep the API server from the"
        f" Pods' port. Without an operator: kubectl delete validatingwebhookconfigurations {name}"
    )
    if said:
        text = f"the API server gets no answer from those of {name}: {said}"
        return Finding("webhooks", "failed", text, mend, (name,))
    try:
        problem = await _unreachable(client)
    except socket.gaierror:
        text = f"those of {name} are reached by a name that is not known here"
        return Finding("webhooks", "warning", text, "look from within the cluster: helm test", (name,))
    if problem:
        return Finding("webhooks", "failed", f"nobody answers those of {name}: {problem}", mend, (name,))
    return Finding("webhooks", "ok", f"those of {name} are answered")


def _same(client: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two `clientConfig`s lead to one server, and trust the same."""

    def place(each: Mapping[str, Any]) -> tuple[Any, ...]:
        service = each.get("service") or {}
        url = urlsplit(each.get("url") or "")
        return each.get("caBundle"), url.netloc, service.get("namespace"), service.get("name"), service.get("port")

    return place(client) == place(other)


async def _unreachable(client: Mapping[str, Any]) -> str:
    """Why nobody can be reached where a webhook's `clientConfig` says; "" if somebody is, and is who he should be.

    Raises:
        socket.gaierror: the name is not known here.
    """
    service = client.get("service") or {}
    host = f"{service.get('name')}.{service.get('namespace')}.svc"
    address = urlsplit(client.get("url") or f"https://{host}:{service.get('port') or 443}")
    trusted = base64.b64decode(client.get("caBundle") or "")
    try:
        context = ssl.create_default_context(cadata=trusted.decode() or None)
        async with asyncio.timeout(CONNECT):
            _, writer = await asyncio.open_connection(address.hostname, address.port or 443, ssl=context)
        writer.transport.abort()
    except socket.gaierror:
        raise
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message}"
    except TimeoutError:
        return "no answer in time"
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or 0
        return os.strerror(number) if number > 0 else type(error).__name__
    return ""


CHECKS: Mapping[str, Check] = {
    "kinds": check_kinds,
    "rights": check_rights,
    "lease": check_lease,
    "rivals": check_rivals,
    "definitions": check_definitions,
    "credentials": check_credentials,
    "webhooks": check_webhooks,
}
IN_A_STORE = ("definitions", "credentials", "leaks", "missing", "finalizers")  # what a store has, too


def about(id: str, state: State, what: str, objects: Iterable[str], mend: str) -> Finding:
    names = tuple(sorted(objects))
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return Finding(id, state, f"{what}: {shown}", mend, names)


def has_failed(findings: Iterable[Finding]) -> bool:
    return any(finding.state in ("failed", "not allowed") for finding in findings)


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """`{"checks": [{"id", "state", "message", "mend", "objects"}]}`."""
    return {
        "checks": [
            {
                "id": each.id,
                "state": each.state,
                "message": each.message,
                "mend": each.mend,
                "objects": list(each.objects),
            }
            for each in findings
        ]
    }


# --- on what -------------------------------------------------------------------------------------------------


async def examine_cluster(settings: Settings, checks: Mapping[str, Check], *, mode: str, account: str) -> list[Finding]:
    """What the checks find in a cluster.  Raises Unavailable if there is no way to it; Denied: its credentials are not accepted."""
    async with installed(settings, mode=mode, account=account) as installation:
        return await examine(installation, checks)


@asynccontextmanager
async def installed(settings: Settings, *, mode: str, account: str) -> AsyncIterator[Installation]:
    """What is looked at in a cluster, and how it is meant to be."""
    api = Api.connect(settings.kubeconfig or None, settings.context or None)
    try:
        await api.request("GET", "/version")
        cluster = KubernetesCluster(api, Cache(), settings.secret_places)
        yield Installation(
            api,
            cluster,
            looking(cluster, settings.namespace),
            settings.namespace,
            settings.active,
            mode,
            webhooks=settings.webhooks == "on",
            secret_places=settings.secret_places,
            account=account,
        )
    finally:
        await api.close()


@asynccontextmanager
async def reached(kubeconfig: str, context: str) -> AsyncIterator[Cluster]:
    """A cluster to look at: each read asks."""
    api = Api.connect(kubeconfig or None, context or None)
    try:
        await api.request("GET", "/version")
        yield KubernetesCluster(api, Cache(), ())
    finally:
        await api.close()


async def examine_store(cluster: SqliteCluster, checks: Mapping[str, Check]) -> list[Finding]:
    """What those of the checks find that make sense in the store of `groundplane up`: there are no rights and no others."""
    return await examine(of_store(cluster), {name: check for name, check in checks.items() if name in IN_A_STORE})


def of_store(cluster: SqliteCluster) -> Installation:
    """The store of `groundplane up` as something to be looked at."""
    return Installation(None, cluster, looking(cluster, Options().namespace))


def looking(cluster: Cluster, namespace: str) -> Context:
    """What it takes to find an account's credentials; nobody is told anything."""
    return Context(
        cluster=cluster,
        cloud=Clouds({"aws": partial(AwsCloud, namespace=namespace, may_write=_refuse)} | clouds.beside_aws()),
        events=_Nobody(),
        watches=_Nobody(),
        now=lambda: datetime.now(UTC),
        choose=lambda below: 0,
        compiled=compiled,
        options=Options(namespace=namespace),
    )


def _refuse() -> None:
    raise NotLeader("a look changes nothing")


class _Nobody:
    """Events go nowhere, and nothing is followed: each read asks."""

    def event(self, about: Object, type_: str, reason: str, message: str, **more: Any) -> None:
        return None

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

    def wake(self, keys: Sequence[Key]) -> None:
        return None
