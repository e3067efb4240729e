"""Worlds whose Objects act in their own store, or in another one that stands for another cluster."""

from __future__ import annotations

import base64
from dataclasses import replace

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import key_of, meta
from groundplane.errors import InvalidInput
from groundplane.objects.cloud import ObjectCloud
from groundplane.ports import Options
from groundplane.runtime.clouds import Clouds
from tests.steps import applied as applied
from tests.steps import deleted as deleted
from tests.steps import is_ready as is_ready
from tests.steps import message as message
from tests.steps import secret_of as secret_of
from tests.steps import seen as seen
from tests.steps import texts as texts
from tests.world import Clock, World

GROUP, NAMESPACED = "kubernetes.crossplane.io/v1alpha2", "kubernetes.m.crossplane.io/v1alpha1"
CONFIGS = "kubernetes.crossplane.io/v1alpha1"
TEAM = "shop"


class Targets:
    """`ports.Targets` over stores: `here`, and those that kubeconfigs name."""

    def __init__(self, here):
        self._here, self.others, self.by_aws = here, {}, set()

    async def here(self):
        return self._here

    def replace(self, here):
        self._here = here

    async def there(self, config, version, kubeconfig, *, by_aws=False):
        self.by_aws.add(by_aws)
        return self.others[kubeconfig.decode()]

    def check(self, kubeconfig, *, by_aws=False):
        if kubeconfig.decode() not in self.others:
            raise InvalidInput("no kubeconfig")


async def made(*, strict=False, targets=None, cloud=None, **options):
    """A world with a ProviderConfig of each kind that means this cluster."""
    clock = Clock()
    cluster = SqliteCluster(":memory:", now=clock)
    targets = (targets or Targets)(cluster)
    objects = _cloud(targets, clock, strict=strict, observe_only=options.get("observe_only", False))
    asked = Options(strict_upstream=strict, **{"poll_interval": 60.0, "create_wait": 0.0, **options})
    clouds = Clouds({"objects": lambda: objects})
    world = World(clouds, cluster=cluster, clock=clock, options=asked)
    world.context = world.engine.context = replace(world.context, collected=clouds)
    world.targets = targets
    await world.install()
    await world.apply(config(), config(kind="ClusterProviderConfig"), config(kind="ProviderConfig", namespace=TEAM))
    await world.settle()
    return world


def _cloud(targets, clock, *, strict=False, observe_only=False):
    """As an operator has it: one that only observes must not write to anything that Objects stand for."""
    may_write = _refuse if observe_only else lambda: None
    return ObjectCloud(targets, strict_upstream=strict, looks_first=observe_only, may_write=may_write, now=clock)


def _refuse():
    raise AssertionError("something was to be changed that an Object stands for")


def again(world, *, observe_only=False):
    """A new process on the same store."""
    clouds = Clouds({"objects": lambda: _cloud(world.targets, world.clock, observe_only=observe_only)})
    fresh = world.restarted(cloud=clouds)
    fresh.targets = world.targets
    options = replace(fresh.context.options, observe_only=observe_only)
    fresh.context = fresh.engine.context = replace(fresh.context, collected=clouds, options=options)
    return fresh


# --- what a person writes, and looks at


def config(kind="ProviderConfig", name="default", namespace="", credentials=None, **spec):
    is_old = kind == "ProviderConfig" and not namespace
    return {
        "apiVersion": CONFIGS if is_old else NAMESPACED,
        "kind": kind,
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "spec": {"credentials": credentials or {"source": "InjectedIdentity"}, **spec},
    }


def configmap(name="settings", namespace=TEAM, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "data": data or {"colour": "blue"},
    }


def secret(name="login", namespace=TEAM, **data):
    data = data or {"password": "s3cret-word"}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def thing(manifest, name="some", *, namespace="", version="", annotations=None, for_provider=None, **spec):
    return {
        "apiVersion": version or (NAMESPACED if namespace else GROUP),
        "kind": "Object",
        "metadata": {"name": name, "annotations": annotations or {}} | ({"namespace": namespace} if namespace else {}),
        "spec": {"forProvider": {"manifest": manifest, **(for_provider or {})}, **spec},
    }


async def edited(world, manifest, spec, *, seconds=0):
    await world.patch(key_of(manifest), {"spec": spec})
    await world.settle(seconds=seconds)
    return await seen(world, manifest)


async def is_quiet(world, *manifests, seconds=130):
    """Whether two polls change nothing."""
    await world.settle(seconds=5)
    before, writes = [meta(await seen(world, each))["resourceVersion"] for each in manifests], world.cluster.writes
    await world.settle(seconds=seconds)
    return (
        before == [meta(await seen(world, each))["resourceVersion"] for each in manifests]
        and world.cluster.writes == writes
    )
