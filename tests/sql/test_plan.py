"""`groundplane plan` and `apply` of PostgreSQL's kinds on a store, against a real server that takes no write while a plan is made."""

from __future__ import annotations

import asyncio
import copy
import json

import pytest
import yaml

from groundplane.runtime.local import LocalControlPlane
from tests.cli.platform import groundplane
from tests.sql.conftest import Sql, thing


@pytest.fixture
def shop(server, tmp_path, monkeypatch):
    """A store with a ProviderConfig that leads to the server, as the current folder's."""
    monkeypatch.chdir(tmp_path)
    sql = Sql(server)

    async def fill():
        async with LocalControlPlane("groundplane.db") as plane:
            for obj in (sql.secret(), sql.config()):
                await plane.cluster.apply(obj, manager="person")
            await plane.idle()

    asyncio.run(fill())
    return sql


def asked(sql):
    name = sql.name("shop")
    both = {"roleRef": {"name": name}, "databaseRef": {"name": name}}
    return [
        thing(
            "Role",
            name,
            privileges={"login": True},
            spec={"writeConnectionSecretToRef": {"name": "conn", "namespace": "default"}},
        ),
        thing("Database", name, connectionLimit=-1),
        thing("Grant", name, privileges=["CONNECT", "TEMPORARY"], **both),
        thing("Schema", name, **both),
        thing("Extension", name, extension="citext", databaseRef={"name": name}),
        thing(
            "DefaultPrivileges",
            name,
            targetRole=name,
            schema="public",
            objectType="table",
            privileges=["SELECT"],
            **both,
        ),
    ]


def planned(sql, *objects, flags=()):
    """What is told of these, by a login that can't write."""
    with open("change.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump_all(objects, file)
    asyncio.run(sql.run(f'ALTER ROLE "{sql.user}" SET default_transaction_read_only = on'))
    try:
        ran = groundplane("plan", *(["change.yaml"] if objects else []), "--db", "groundplane.db", *flags)
    finally:
        asyncio.run(sql.run("SET default_transaction_read_only = off", f'ALTER ROLE "{sql.user}" RESET ALL'))
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def applied():
    ran = groundplane("apply", "p.json", "--db", "groundplane.db")
    assert ran.exit_code == 0, ran.output
    return ran.stdout.splitlines()[-1]


def test_what_postgresql_would_get_is_told_field_by_field_and_done_so(shop):
    name, objects = shop.name("shop"), asked(shop)
    told = planned(shop, *objects, flags=("--out", "p.json"))
    assert told.startswith(f"PostgreSQL\n+ Database {name}\n")
    assert f'    spec.forProvider.role: "{name}"\n' in told
    assert "Plan: 6 to add, 0 to change, 0 to destroy, 0 blocked, 0 to forget, 0 unknown." in told
    assert applied() == "Applied: 6 added, 0 changed, 0 destroyed."
    assert planned(shop, *objects) == "No changes. 6 resources match PostgreSQL.\n"

    asyncio.run(shop.run(f'ALTER ROLE "{name}" CREATEDB', f'REVOKE CONNECT ON DATABASE "{name}" FROM "{name}"'))

    changed = copy.deepcopy(objects)
    for number, values in enumerate(
        [
            {"privileges": {"login": True, "createRole": True}},
            {"connectionLimit": 7},
            {"privileges": ["CREATE"]},
            {"revokePublicOnSchema": True},
            {"schema": name},
            {"privileges": ["INSERT"]},
        ]
    ):
        changed[number]["spec"]["forProvider"] |= values
    blocked = copy.deepcopy(changed[1])
    blocked["spec"]["forProvider"]["encoding"] = "SQL_ASCII"
    told = planned(shop, blocked)
    assert 'spec.forProvider.encoding: "UTF8" → "SQL_ASCII"   immutable in PostgreSQL. Mend: make a second one' in told
    told = planned(shop, *changed, flags=("--out", "p.json"))
    assert f"~ Role {name}" in told
    assert "    spec.forProvider.privileges.createRole: false → true\n" in told
    assert f"Changed outside: Role {name} privileges.createDb true (would be set to false)\n" in told
    assert "    spec.forProvider.connectionLimit: -1 → 7\n" in told
    assert "Plan: 0 to add, 6 to change, 0 to destroy, 0 blocked, 0 to forget, 0 unknown." in told
    with open("p.json", encoding="utf-8") as file:
        (role,) = [each for each in json.load(file)["resources"] if each["key"]["kind"] == "Role"]
    assert {each["path"].rpartition(".")[2]: each["from"] for each in role["changes"]} == {
        "createDb": "outside",
        "createRole": "file",
    }
    assert applied() == "Applied: 0 added, 6 changed, 0 destroyed."
    assert planned(shop, *changed) == "No changes. 6 resources match PostgreSQL.\n"
