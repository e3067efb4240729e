"""An installation as something to be looked at: a cluster with a control plane, or the store of `groundplane up`; nothing in it is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from groundplane.aws.cloud import AwsCloud
from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import providers
from groundplane.core.objects import Object
from groundplane.errors import NoSuchKind, NotLeader
from groundplane.ports import Cluster, Context, Options
from groundplane.reconcile import definition
from groundplane.runtime import clouds
from groundplane.runtime.clouds import Clouds
from groundplane.runtime.compiling import compiled
from groundplane.runtime.findings import Finding
from groundplane.runtime.settings import Settings
from groundplane.runtime.unfollowed import Unfollowed

AT_ONCE = 16  # questions


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


async def definitions_of(cluster: Cluster) -> list[Object]:
    """The definitions; none where there can be none."""
    try:
        return list(await cluster.list(definition.API_VERSION, definition.KIND))
    except NoSuchKind:
        return []


async def aws_configs(installation: Installation) -> list[Object]:
    """The ProviderConfigs of AWS, of both generations."""
    found: list[Object] = []
    for family in providers.FAMILIES:
        for kind in family.config_kinds if family.provider == "aws" else ():
            with suppress(NoSuchKind):
                found += await installation.cluster.list(family.api_version, kind)
    return found


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


def of_store(cluster: SqliteCluster) -> Installation:
    """The store of `groundplane up` as something to be looked at."""
    return Installation(None, cluster, looking(cluster, Options().namespace))


def looking(cluster: Cluster, namespace: str) -> Context:
    """What it takes to find an account's credentials; nobody is told anything."""
    return Context(
        cluster=cluster,
        cloud=Clouds({"aws": partial(AwsCloud, namespace=namespace, may_write=_refuse)} | clouds.beside_aws()),
        events=_Nobody(),
        watches=Unfollowed(),
        now=lambda: datetime.now(UTC),
        choose=lambda below: 0,
        compiled=compiled,
        options=Options(namespace=namespace),
    )


def _refuse() -> None:
    raise NotLeader("a look changes nothing")


class _Nobody:
    """Events go nowhere."""

    def event(self, about: Object, type_: str, reason: str, message: str, **more: Any) -> None:
        return None
