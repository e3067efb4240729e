"""Names and values that mean something in SQL, in text of Python or in a URL mean themselves."""

from __future__ import annotations

import pytest

from groundplane.core.objects import key_of as key
from tests.sql.conftest import applied, deleted, edited, is_quiet, is_ready, message, publishes, secret_of, thing

NAMES = [
    'my "own" one',
    "a.b.c",
    "Ünï-名前-🦊",
    "UPPER lower",
    "x'; DROP DATABASE postgres; --",
    'x"; DROP ROLE postgres; --',
    "$1 {0} %s {acl} %(a)s",
    "back\\slash\\",
    " blank ",
    "tab\tand\nline",
    "select",
    "ﬁ²",
]
PASSWORDS = [
    "p@ss:w/o?r#d%20&=+",
    'it\'s "quoted" \\ $(id) `id` ${HOME}',
    "ünï 名前 🦊",
    " blanks around ",
    "line\n",
    "x' VALID UNTIL 'yesterday",
    "md5" + "0" * 32,
    "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy",
    "%",
    "x" * 900,
]


def named(name):
    return {"annotations": {"crossplane.io/external-name": name}}


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_of_any_form_lives_and_goes_and_nothing_else_does(every_sql, name):
    sql = every_sql
    world = await sql.world()
    name = f"{name} {sql.number}"
    there = "SELECT array_agg(datname ORDER BY datname) || (SELECT array_agg(rolname ORDER BY rolname) FROM pg_roles) FROM pg_database"
    before = await sql.value(there)
    role = thing("Role", "some", **named(name), spec=publishes(), privileges={"login": True})
    database = thing("Database", "some", **named(name), owner=name)
    schema = thing("Schema", "some", **named(name), database=name, role=name)
    reader = thing("Role", "reader", **named(f"{name}2"))
    grants = [
        thing("Grant", "in-database", role=f"{name}2", database=name, privileges=["CONNECT"], revokePublicOnDb=True),
        thing("Grant", "in-schema", role=f"{name}2", database=name, schema=name, privileges=["USAGE"]),
        thing("Grant", "member", role=name, memberOf=f"{name}2"),
        thing(
            "DefaultPrivileges",
            "later",
            role=f"{name}2",
            targetRole=name,
            database=name,
            schema=name,
            objectType="table",
            privileges=["SELECT"],
        ),
    ]
    every = [role, reader, database, schema, *grants]
    await applied(world, *every, seconds=10)
    for each in every:
        assert is_ready(await world.cluster.get(key(each))), message(await world.cluster.get(key(each)))
    assert await is_quiet(world, sql, *every)
    told = await secret_of(world)
    table = '"' + name.replace('"', '""') + '"."t"'
    async with sql.connected(name, told["username"], told["password"]) as connection:
        assert await connection.fetchval("SELECT current_user") == name
        await connection.execute(f"CREATE TABLE {table} (a int)")
        assert await connection.fetchval("SELECT has_table_privilege($1, $2, 'SELECT')", f"{name}2", table)
    await edited(world, database, connectionLimit=7)
    assert await sql.value("SELECT datconnlimit FROM pg_database WHERE datname = $1", name) == 7
    await deleted(world, *reversed(grants), database, schema, role, reader, seconds=60)
    for each in every:
        assert await world.cluster.get(key(each)) is None, message(await world.cluster.get(key(each)))
    assert await sql.value(there) == before


@pytest.mark.parametrize("password", PASSWORDS)
async def test_a_password_of_any_form_logs_in(every_sql, password):
    sql = every_sql
    world = await sql.world()
    given = sql.secret("given", "shop", password=password)
    reference = {"name": "given", "namespace": "shop", "key": "password"}
    role = thing("Role", sql.name("user"), spec=publishes(), privileges={"login": True}, passwordSecretRef=reference)
    assert is_ready(await applied(world, given, role)), message(await applied(world, role))
    told = await secret_of(world)
    assert told["password"] == password
    async with sql.connected("postgres", told["username"], told["password"]) as connection:
        assert await connection.fetchval("SELECT rolvaliduntil IS NULL FROM pg_roles WHERE rolname = current_user")
    assert await is_quiet(world, sql, role)
    assert await deleted(world, role) is None


INJECTIONS = [
    ("Database", {"encoding": "UTF8' TEMPLATE template0 --"}, "encoding"),
    ("Database", {"lcCollate": "C' OWNER postgres --"}, "lcCollate"),
    ("Database", {"tablespace": 'pg_default" OWNER postgres --'}, "tablespace"),
    ("Database", {"template": 'template0"; --'}, "template"),
    ("Role", {"configurationParameters": [{"name": 'work_mem" TO DEFAULT; --', "value": "1"}]}, "name"),
    ("Role", {"configurationParameters": [{"name": "NoSuch", "value": "1"}]}, "name"),
    ("Role", {"configurationParameters": [{"name": "work_mem", "value": "4MB'; DROP ROLE postgres; --"}]}, "value"),
    ("Extension", {"extension": 'citext" CASCADE; --'}, "extension"),
    ("Extension", {"extension": "citext", "version": "1.6' CASCADE; --"}, "version"),
    ("Extension", {"extension": "citext", "schema": 'public" CASCADE; --'}, "schema"),
]


@pytest.mark.parametrize(("kind", "asked", "field"), INJECTIONS)
async def test_statements_in_a_value_are_a_value_that_the_server_does_not_know(every_sql, kind, asked, field):
    sql = every_sql
    world = await sql.world()
    before = await sql.value("SELECT count(*) FROM pg_roles")
    mine = thing(kind, sql.name("some"), **asked)
    obj = await applied(world, mine)
    assert not is_ready(obj)
    assert f"spec.forProvider.{field}" in message(obj) or f"].{field}" in message(obj), message(obj)
    assert "syntax error" not in message(obj)
    assert await deleted(world, mine, seconds=10) is None
    assert await sql.value("SELECT count(*) FROM pg_roles") == before
