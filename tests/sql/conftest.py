"""A real PostgreSQL server, one for all tests of a process, and worlds whose ProviderConfig leads to it."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager

import asyncpg
import pytest

from groundplane.core.objects import key_of, meta
from groundplane.errors import InvalidInput
from groundplane.ports import Options
from groundplane.runtime.clouds import Clouds
from groundplane.sql import standin
from groundplane.sql.cloud import SqlCloud
from tests.steps import applied as applied
from tests.steps import deleted as deleted
from tests.steps import is_ready as is_ready
from tests.steps import message as message
from tests.steps import secret_of as secret_of
from tests.steps import seen as seen
from tests.steps import texts as texts
from tests.world import Clock, World

GROUP, NAMESPACED = "postgresql.sql.crossplane.io/v1alpha1", "postgresql.sql.m.crossplane.io/v1alpha1"
SYSTEM = "crossplane-system"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    try:
        with standin.serving() as running:
            yield running
    except InvalidInput as error:
        pytest.fail(str(error))


PROGRAMS = standin.installed()[:1] + [each for each in standin.installed()[1:] if each.is_relative_to(standin.SYSTEM)]
"""The preferred server, and those of the system: PostgreSQL 15 of Debian 12 still knows no grantor of a membership, and its CREATEROLE may do more."""


@pytest.fixture(scope="session", params=PROGRAMS, ids=lambda each: each.parts[-2])
def any_server(request):
    if request.param == standin.programs():
        yield request.getfixturevalue("server")
        return
    with standin.serving(found=request.param) as running:
        yield running


class Sql:
    """The server as a test sees it, the world that works on it, and names that are this test's own."""

    def __init__(self, server):
        self.server, self.clouds, self.number = server, [], next(_numbers)
        self.user, self.password = server.user, server.password
        self.writes = []
        self.before_write = lambda: None

    def name(self, word):
        return f"{word}-{self.number}"

    async def world(self, *, strict=False, cluster_settings=None, **config):
        clock = Clock()
        options = Options(strict_upstream=strict, poll_interval=60.0)
        self.clock = clock
        world = World(self.cloud(strict=strict), clock=clock, options=options)
        await world.install()
        await world.apply(self.secret(), self.config(**config), self.config(kind="ClusterProviderConfig", **config))
        await world.settle()
        return world

    def cloud(self, *, strict=False):
        cloud = SqlCloud(strict_upstream=strict, now=self.clock, may_write=self.wrote)
        self.clouds.append(cloud)
        return Clouds({"sql": lambda: cloud})

    def wrote(self):
        self.before_write()
        self.writes.append(None)

    async def boss(self):
        """From now on the administrator is no superuser."""
        self.user, self.password = self.name("boss"), "x"
        await self.run(f"""CREATE ROLE "{self.user}" LOGIN CREATEDB CREATEROLE PASSWORD 'x'""")

    def secret(self, name="postgresql-admin", namespace=SYSTEM, **data):
        told = {
            "endpoint": self.server.host,
            "port": str(self.server.port),
            "username": self.user,
            "password": self.password,
        } | data
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "stringData": {key: value for key, value in told.items() if value is not None},
        }

    def config(self, kind="ProviderConfig", name="default", secret="postgresql-admin", **spec):
        reference = {"namespace": SYSTEM, "name": secret}
        return {
            "apiVersion": GROUP if kind == "ProviderConfig" else NAMESPACED,
            "kind": kind,
            "metadata": {"name": name},
            "spec": {
                "credentials": {
                    "source": "PostgreSQLConnectionSecret",
                    "connectionSecretRef": reference,
                    **spec.pop("credentials", {}),
                },
                "sslMode": "disable",
                **spec,
            },
        }

    @asynccontextmanager
    async def connected(self, database="postgres", user="", password=""):
        made = await asyncpg.connect(
            host=self.server.host,
            port=self.server.port,
            user=user or self.server.user,
            password=password or self.server.password,
            database=database,
            ssl=False,
        )
        try:
            yield made
        finally:
            await made.close()

    async def value(self, query, *arguments, database="postgres"):
        async with self.connected(database) as connection:
            return await connection.fetchval(query, *arguments)

    async def run(self, *statements, database="postgres"):
        async with self.connected(database) as connection:
            for statement in statements:
                await connection.execute(statement)

    async def close(self):
        for cloud in self.clouds:
            await cloud.close()


@pytest.fixture
async def sql(server):
    made = Sql(server)
    yield made
    await made.close()


@pytest.fixture
async def every_sql(any_server):
    """The same on each server that this machine has."""
    made = Sql(any_server)
    yield made
    await made.close()


# --- what a person writes, and looks at


def thing(kind, name, spec=None, *, namespace="", annotations=None, **for_provider):
    return {
        "apiVersion": NAMESPACED if namespace else GROUP,
        "kind": kind,
        "metadata": {"name": name, "annotations": annotations or {}} | ({"namespace": namespace} if namespace else {}),
        "spec": {"forProvider": for_provider, **(spec or {})},
    }


def publishes(name="conn", namespace="shop"):
    return {"writeConnectionSecretToRef": {"name": name, "namespace": namespace}}


async def edited(world, manifest, *, seconds=0, **for_provider):
    await world.patch(key_of(manifest), {"spec": {"forProvider": for_provider}})
    await world.settle(seconds=seconds)
    return await seen(world, manifest)


async def is_quiet(world, sql, *manifests, seconds=130):
    """Whether two polls change neither objects nor the server."""
    await world.settle(seconds=5)
    before = [meta(await seen(world, each))["resourceVersion"] for each in manifests]
    sql.writes.clear()
    await world.settle(seconds=seconds)
    after = [meta(await seen(world, each))["resourceVersion"] for each in manifests]
    return before == after and not sql.writes
