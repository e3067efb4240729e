"""A role, its database and its grant on a real API server and a real PostgreSQL server, in both generations: a login that works, and its end."""

from __future__ import annotations

import asyncio
import base64
import json

import asyncpg
import pytest

from groundplane.sql import standin
from tests.cli.platform import groundplane
from tests.e2e.guide import condition

TEAM = "team-sql"
GROUP = "postgresql.sql{}.crossplane.io"
KINDS = ("roles", "databases", "grants")


@pytest.fixture(scope="module")
def server():
    with standin.serving() as running:
        yield running


def manifests(server):
    told = {"endpoint": server.host, "port": str(server.port), "username": server.user, "password": server.password}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}}
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "admin", "namespace": TEAM},
        "stringData": told,
    }
    for generation, name in (("", "old"), (".m", "new")):
        version = f"{GROUP.format(generation)}/v1alpha1"
        place = {"namespace": TEAM} if generation else {}
        credentials = {
            "source": "PostgreSQLConnectionSecret",
            "connectionSecretRef": {"name": "admin"} | ({} if generation else {"namespace": TEAM}),
        }
        reference = {"providerConfigRef": {"name": "default"} | ({"kind": "ProviderConfig"} if generation else {})}
        secret = {"name": f"{name}-conn"} | ({} if generation else {"namespace": TEAM})
        asked = {
            "Role": {"privileges": {"login": True}},
            "Database": {"ownerRef": {"name": name}},
            "Grant": {
                "privileges": ["ALL"],
                "roleRef": {"name": name},
                "databaseRef": {"name": name},
                "revokePublicOnDb": True,
            },
        }
        yield {
            "apiVersion": version,
            "kind": "ProviderConfig",
            "metadata": {"name": "default", **place},
            "spec": {"sslMode": "disable", "credentials": credentials},
        }
        for kind, fields in asked.items():
            spec = {"forProvider": fields, **reference}
            if kind == "Role":
                spec["writeConnectionSecretToRef"] = secret
            yield {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}, "spec": spec}


async def counted(server, user, password):
    connection = await asyncpg.connect(
        host=server.host, port=server.port, user=user, password=password, database=user, ssl=False
    )
    try:
        await connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)")
        return await connection.fetchval("SELECT count(*) FROM t")
    finally:
        await connection.close()


async def asked_of(server, statement):
    connection = await asyncpg.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, database="postgres", ssl=False
    )
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def test_a_login_comes_works_and_goes_in_both_generations(plane, aws, operator, clean, server):
    items = list(manifests(server))
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    resources = [f"{kind}.{GROUP.format(generation)}" for generation in ("", ".m") for kind in KINDS]

    def there():
        return [obj for each in resources for obj in plane.get(each, "-A")["items"]]

    def is_done():
        found = there()
        types = ("Ready", "Synced")
        return len(found) == 6 and all(
            condition(each, type_).get("status") == "True" for each in found for type_ in types
        )

    try:
        plane.wait("all are ready", is_done)
    except AssertionError as error:
        raise AssertionError(f"{json.dumps(there(), indent=1)}\n{operator.text()[-3000:]}") from error
    ran = groundplane("plan", "--kubeconfig", plane.kubeconfig, "-o", "json")
    differing = [each for each in json.loads(ran.stdout)["resources"] if "postgresql" in each["key"]["apiVersion"]]
    assert differing == []
    asyncio.run(asked_of(server, 'CREATE ROLE "by-hand" NOLOGIN CONNECTION LIMIT 3'))
    config = ("--provider-config", "default", "--kubeconfig", plane.kubeconfig)
    ran = groundplane("import", "postgresql/role", "--name", "by-hand", *config)
    assert ran.exit_code == 0, ran.output
    plane.kubectl("apply", "-f", "-", input=ran.stdout)
    roles = f"roles.{GROUP.format('')}"
    plane.wait("it is seen", lambda: condition(plane.get(roles, "by-hand"), "Ready").get("status") == "True")
    assert plane.get(roles, "by-hand")["spec"]["forProvider"] == {"connectionLimit": 3}
    logins = {}
    for name in ("old", "new"):
        data = plane.get("secret", f"{name}-conn", "-n", TEAM)["data"]
        logins[name] = {key: base64.b64decode(text).decode() for key, text in data.items()}
        assert asyncio.run(counted(server, logins[name]["username"], logins[name]["password"])) == 2
        assert logins[name]["password"] not in operator.text()
    for each in resources:
        plane.kubectl("delete", each, "--all", "-A", "--wait=false")
    plane.wait("all is gone", lambda: not there())
    asyncio.run(asked_of(server, 'DROP ROLE "by-hand"'))  # it is not our own: it stayed
    for name in ("old", "new"):
        with pytest.raises(asyncpg.InvalidPasswordError):
            asyncio.run(counted(server, name, logins[name]["password"]))
    for generation in ("", ".m"):
        configs = f"providerconfigs.{GROUP.format(generation)}"
        plane.kubectl("delete", configs, "default", *(("-n", TEAM) if generation else ()), "--timeout=180s")
