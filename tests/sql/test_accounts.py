"""ProviderConfigs of PostgreSQL: how their Secrets are read, what is told of them, and how many connections that makes."""

from __future__ import annotations

import asyncio

import pytest

from groundplane.core import conditions
from groundplane.core.objects import Key
from groundplane.errors import InvalidInput
from groundplane.ports import Account
from groundplane.sql import server as connections
from groundplane.sql.account import login_of
from tests.sql.conftest import GROUP, NAMESPACED, applied, deleted, is_ready, message, seen, thing

CONFIG = Key(GROUP, "ProviderConfig", "", "default")
FULL = {"endpoint": "db.example.org", "port": "5433", "username": "boss", "password": "hush"}


def login(strict=False, credentials=None, **secret):
    config = {
        "kind": "ProviderConfig",
        "metadata": {"name": "default", "uid": "1"},
        "apiVersion": GROUP,
        "spec": {"credentials": {"connectionSecretRef": {"namespace": "n", "name": "s"}, **(credentials or {})}},
    }
    data = {key: value.encode() for key, value in (FULL | secret).items() if value is not None}
    return login_of(Account(config, data), strict_upstream=strict)


@pytest.mark.parametrize(
    ("secret", "place"),
    [
        ({}, ("db.example.org", 5433)),
        ({"port": None}, ("db.example.org", 5432)),
        ({"endpoint": "db.example.org:6000", "port": None}, ("db.example.org", 6000)),
        ({"endpoint": "db.example.org:6000"}, ("db.example.org", 5433)),
        ({"endpoint": None, "host": "other"}, ("other", 5433)),
        ({"endpoint": None, "address": "third"}, ("third", 5433)),
        ({"endpoint": "::1"}, ("::1", 5433)),
        ({"endpoint": "[::1]:6000", "port": None}, ("::1", 6000)),
    ],
)
def test_where_the_server_is_is_read_as_people_write_it(secret, place):
    assert login(**secret).place == place


def test_keys_may_be_called_otherwise_and_what_is_missing_is_named():
    mapped = login(credentials={"secretKeyMapping": {"username": "user"}}, username=None, user="me")
    assert mapped.user == "me"
    assert "hush" not in repr(mapped)
    with pytest.raises(InvalidInput, match="Secret n/s has no key username and no key password.*secretKeyMapping"):
        login(username=None, password=None)
    with pytest.raises(InvalidInput, match="is no port"):
        login(port="many")
    with pytest.raises(InvalidInput, match="is no port"):
        login(port="9" * 5000)
    for host in ("a..b", "a" * 64, ".", "db.example.org..:5432", "/tmp", "/run/postgresql:5432", "a b", "user@db"):
        with pytest.raises(InvalidInput, match="key endpoint of Secret n/s is no host name"):
            login(endpoint=host)
    with pytest.raises(InvalidInput, match="no key endpoint"):
        login(strict=True, endpoint=None, host="other")
    with pytest.raises(InvalidInput, match="ca.crt"):
        login(**{"ca.crt": "nonsense"}).tls()


async def test_what_is_wrong_with_an_account_is_told_on_it_and_by_its_users(sql):
    world = await sql.world()
    await world.apply(sql.secret(username=None, user="postgres"))
    await world.settle()
    config = await world.cluster.get(CONFIG)
    assert "has no key username" in message(config)
    await world.patch(CONFIG, {"spec": {"credentials": {"secretKeyMapping": {"username": "user"}}}})
    await world.settle()
    config = await world.cluster.get(CONFIG)
    assert conditions.is_true(config, "Ready"), config["status"]
    role = thing("Role", sql.name("user"))
    assert is_ready(await applied(world, role))
    assert (await world.cluster.get(CONFIG))["status"]["users"] == 1
    assert await deleted(world, role) is None


@pytest.mark.parametrize(
    ("secret", "spec", "words"),
    [
        ({"password": "wrong"}, {}, ("password authentication failed", "28P01")),
        ({"port": "1"}, {}, ("does not answer",)),
        ({}, {"sslMode": "require"}, ("has no TLS", "sslMode")),
        ({}, {"defaultDatabase": "none-such"}, ("none-such",)),
    ],
)
async def test_a_server_that_can_not_be_used_is_told_with_the_mend(sql, secret, spec, words):
    world = await sql.world(**spec)
    await world.apply(sql.secret(**secret))
    await world.settle()
    role = thing("Role", sql.name("user"))
    found = await applied(world, role, seconds=120)
    assert all(word in message(found) for word in words), message(found)
    assert "wrong" not in message(found)


async def test_accounts_of_namespaces_read_their_own_secret_and_are_kept_while_they_are_used(sql):
    world, name = await sql.world(), sql.name("user")
    own = sql.config(kind="ProviderConfig", name="own", secret="mine")
    own = {**own, "apiVersion": NAMESPACED, "metadata": {"name": "own", "namespace": "shop"}}
    own["spec"]["credentials"]["connectionSecretRef"] = {"name": "mine"}
    reference = {
        "providerConfigRef": {"kind": "ProviderConfig", "name": "own"},
        "writeConnectionSecretToRef": {"name": "c"},
    }
    role = thing("Role", name, reference, namespace="shop", privileges={"login": True})
    by_default = thing("Database", name, namespace="shop", ownerRef={"name": name})
    await applied(world, own, role, by_default)
    assert "mine" in message(await seen(world, role))
    await world.apply(sql.secret("mine", "shop"))
    await world.settle(seconds=10)
    for each in (role, by_default):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    assert await world.cluster.get(Key("v1", "Secret", "shop", "c")) is not None
    config = Key(NAMESPACED, "ProviderConfig", "shop", "own")
    await world.cluster.delete(config)
    await world.settle()
    assert (await world.cluster.get(config))["status"]["users"] == 1
    await deleted(world, by_default, role)
    await world.settle(seconds=60)
    assert await world.cluster.get(config) is None


async def test_connections_are_few_and_close_when_nobody_uses_them(sql, monkeypatch):
    world, names = await sql.world(), [sql.name(f"many-{number}") for number in range(8)]
    databases = [thing("Database", name) for name in names]
    schemas = [thing("Schema", f"s-{name}", database=name) for name in names]
    await applied(world, *databases, *schemas)
    assert all([is_ready(await seen(world, each)) for each in schemas])
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'groundplane'"
    assert await sql.value(count) <= connections.PER_SERVER
    monkeypatch.setattr(connections, "IDLE", 0.05)
    server = next(iter(sql.clouds[0]._servers._servers.values()))
    await deleted(world, *schemas, *databases)
    for name, kept in list(server._kept.items()):
        server._retire(name, kept)
    async with asyncio.timeout(60):
        while server._kept or await sql.value(count):
            await asyncio.sleep(0.02)
