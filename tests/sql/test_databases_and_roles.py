"""Databases, roles and grants on a real PostgreSQL server: made, quiet, mended, changed, gone."""

from __future__ import annotations

import asyncpg
import pytest

from groundplane.core import conditions
from groundplane.core.objects import Key, key_of
from tests import gitops
from tests.sql.conftest import (
    applied,
    deleted,
    edited,
    is_quiet,
    is_ready,
    message,
    publishes,
    secret_of,
    seen,
    texts,
    thing,
)

LIMIT = "SELECT datconnlimit FROM pg_database WHERE datname = $1"
OWNER = "SELECT r.rolname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE datname = $1"
THERE = "SELECT count(*) FROM pg_database WHERE datname = $1"
ROLE = "SELECT count(*) FROM pg_roles WHERE rolname = $1"


async def test_a_database_lives(sql):
    world, name = await sql.world(), sql.name("orders")
    manifest = thing("Database", name, encoding="utf8", connectionLimit=5)
    found = await applied(world, manifest)
    assert is_ready(found), message(found)
    asked = found["spec"]["forProvider"]
    assert (asked["owner"], asked["allowConnections"], asked["encoding"]) == ("postgres", True, "utf8")
    assert await sql.value(LIMIT, name) == 5
    assert await is_quiet(world, sql, manifest)
    await sql.run(f'ALTER DATABASE "{name}" CONNECTION LIMIT 7')
    await world.settle(seconds=70)
    assert await sql.value(LIMIT, name) == 5
    await edited(world, manifest, connectionLimit=9)
    assert await sql.value(LIMIT, name) == 9
    assert "cannot be changed" in message(await edited(world, manifest, encoding="LATIN1"))
    await edited(world, manifest, encoding="UTF8")
    async with sql.connected(name):  # somebody is logged in
        assert await deleted(world, manifest) is None
    assert await sql.value(THERE, name) == 0


async def test_a_user_a_database_and_its_grant_are_a_login_that_works(sql):
    world, name = await sql.world(), sql.name("app")
    role = thing("Role", name, publishes(), privileges={"login": True}, connectionLimit=3)
    database = thing("Database", name, ownerRef={"name": name})
    grant = thing(
        "Grant", name, privileges=["ALL"], roleRef={"name": name}, databaseRef={"name": name}, revokePublicOnDb=True
    )
    await applied(world, grant, database, role)
    for each in (role, database, grant):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    told = await secret_of(world)
    assert told | {"password": ""} == {
        "username": name,
        "password": "",
        "endpoint": "127.0.0.1",
        "port": str(sql.server.port),
    }
    assert len(told["password"]) == 27
    async with sql.connected(name, name, told["password"]) as connection:
        await connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    assert await sql.value(OWNER, name) == name
    assert not await sql.value("SELECT has_database_privilege('pg_monitor', $1, 'CONNECT')", name)
    assert await is_quiet(world, sql, role, database, grant)
    assert told["password"] not in texts(world)
    assert (await seen(world, role))["status"]["atProvider"]["privilegesAsClauses"] == [
        "NOSUPERUSER",
        "INHERIT",
        "NOCREATEDB",
        "NOCREATEROLE",
        "LOGIN",
        "NOREPLICATION",
        "NOBYPASSRLS",
    ]
    await deleted(world, role, database, grant)
    for each in (role, database, grant):
        assert await seen(world, each) is None
    assert (await sql.value(ROLE, name), await sql.value(THERE, name)) == (0, 0)
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with sql.connected("postgres", name, told["password"]):
            pass


async def test_a_role_is_mended_and_its_password_rotated(sql):
    world, name = await sql.world(), sql.name("user")
    manifest = thing(
        "Role",
        name,
        publishes(),
        privileges={"login": True},
        configurationParameters=[
            {"name": "search_path", "value": '"$user",public'},
            {"name": "work_mem", "value": "8MB"},
        ],
    )
    assert is_ready(await applied(world, manifest))
    assert await is_quiet(world, sql, manifest)
    first = (await secret_of(world))["password"]
    await sql.run(
        f"""ALTER ROLE "{name}" NOLOGIN PASSWORD 'else' CONNECTION LIMIT 0""",
        f"""ALTER ROLE "{name}" SET work_mem TO '1MB'""",
    )
    await world.settle(seconds=70)
    async with sql.connected("postgres", name, first) as connection:
        assert await connection.fetchval("SHOW work_mem") == "8MB"
        assert await connection.fetchval("SHOW search_path") == '"$user", public'
    await edited(world, manifest, passwordRotationTrigger="2026-01-01T00:10:00Z")
    assert (await secret_of(world))["password"] == first  # not yet
    await world.settle(seconds=600)
    second = (await secret_of(world))["password"]
    assert second != first
    async with sql.connected("postgres", name, second):
        pass
    assert (await seen(world, manifest))["status"]["atProvider"]["lastPasswordChange"] == "2026-01-01T00:10:00Z"
    assert await is_quiet(world, sql, manifest)
    assert (await secret_of(world))["password"] == second


async def test_a_given_password_is_used_as_it_is_and_its_change_is_followed(sql):
    world, name = await sql.world(), sql.name("user")
    manifest = thing(
        "Role",
        name,
        publishes(),
        privileges={"login": True},
        passwordSecretRef={"name": "given", "namespace": "shop", "key": "word"},
    )
    found = await applied(world, manifest)
    assert "Secret shop/given" in message(found)
    await world.apply(sql.secret("given", "shop", word="pass'wörd\\1"))
    await world.settle(seconds=10)
    assert is_ready(await seen(world, manifest))
    assert (await secret_of(world))["password"] == "pass'wörd\\1"
    async with sql.connected("postgres", name, "pass'wörd\\1"):
        pass
    await world.apply(sql.secret("given", "shop", word="another"))
    await world.settle(seconds=70)
    async with sql.connected("postgres", name, "another"):
        pass
    await world.cluster.delete(Key("v1", "Secret", "shop", "given"))
    assert await deleted(world, manifest) is None  # deleting reads no Secret


async def test_a_lost_connection_secret_gets_another_password(sql):
    world, name = await sql.world(), sql.name("user")
    manifest = thing("Role", name, publishes(), privileges={"login": True})
    await applied(world, manifest)
    first = (await secret_of(world))["password"]
    await world.cluster.delete(Key("v1", "Secret", "shop", "conn"))
    await world.settle()
    second = (await secret_of(world))["password"]
    assert second != first
    async with sql.connected("postgres", name, second):
        pass


async def test_without_a_place_for_it_no_password_is_set_and_an_event_says_so(sql):
    world, name = await sql.world(), sql.name("user")
    manifest = thing("Role", name, privileges={"login": True})
    assert is_ready(await applied(world, manifest))
    assert await sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = $1", name) is None
    assert "no password is set" in world.told.text()


async def test_an_administrator_who_is_no_superuser_gives_to_roles_and_takes_from_them(sql):
    boss = sql.name("boss")
    await sql.run(f"""CREATE ROLE "{boss}" LOGIN CREATEDB CREATEROLE PASSWORD 'x'""")
    sql.user, sql.password = boss, "x"
    world, name, other = await sql.world(), sql.name("app"), sql.name("other")
    role, second = (thing("Role", each, publishes(each), privileges={"login": True}) for each in (name, other))
    database = thing("Database", name, owner=name)
    await applied(world, role, second, database)
    for each in (role, second, database):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    assert await sql.value(OWNER, name) == name
    await edited(world, database, owner=other)
    assert await sql.value(OWNER, name) == other
    memberships = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE rolname = $1 AND (set_option OR inherit_option)"
    assert await sql.value(memberships, boss) == 0
    assert await is_quiet(world, sql, role, database)
    password = (await secret_of(world, name))["password"]
    await edited(world, role, passwordRotationTrigger="2026-01-01T00:01:00Z")
    assert (await secret_of(world, name))["password"] != password
    async with sql.connected("postgres", name, (await secret_of(world, name))["password"]):
        pass
    await deleted(world, database, role, second)
    assert [await sql.value(ROLE, each) for each in (name, other)] == [0, 0]


async def test_a_role_that_owns_something_waits_until_that_is_gone_or_an_heir_is_named(sql):
    world, name = await sql.world(), sql.name("user")
    role, database = thing("Role", name, publishes()), thing("Database", name, owner=name)
    await applied(world, role, database)
    await sql.run(f'CREATE TABLE t (a int); ALTER TABLE t OWNER TO "{name}"')
    found = await deleted(world, role)
    assert "owns 1 of database, 1 of class in database postgres" in message(found)
    assert await deleted(world, database) is None
    assert await seen(world, role) is not None
    await world.patch(key_of(role), {"metadata": {"annotations": {"groundplane.io/reassign-owned-to": "postgres"}}})
    await world.settle()
    assert await seen(world, role) is None
    assert await sql.value("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == "postgres"
    await sql.run("DROP TABLE t")


async def test_who_waits_for_a_role_is_woken_when_it_is_made_and_the_role_when_what_it_owns_is_gone(sql, monkeypatch):
    world, name, looked = await sql.world(), sql.name("user"), []
    role, database, process = thing("Role", name), thing("Database", name, owner=name), world.engine.process
    grant = thing("Grant", name, role=name, database=name, privileges=["CONNECT"])
    stranger = thing("Database", sql.name("stranger"), owner=sql.name("nobody"))

    async def process_noted(controller, key, *lane):
        looked.append(key.name)
        return await process(controller, key, *lane)

    await applied(world, grant, database, stranger)
    assert "does not exist" in message(await seen(world, database))
    monkeypatch.setattr(world.engine, "process", process_noted)
    await applied(world, role, seconds=0.5)  # less than the pause after a failure
    assert all([is_ready(await seen(world, each)) for each in (role, database, grant)])
    await deleted(world, grant)
    assert "owns 1 of database" in message(await deleted(world, role))
    await deleted(world, database, seconds=0.5)
    assert await seen(world, role) is None
    assert stranger["metadata"]["name"] not in looked


async def test_privileges_elsewhere_go_with_the_role_and_no_data_does(sql):
    world, name = await sql.world(), sql.name("user")
    role = thing("Role", name)
    await applied(world, role)
    await sql.run(
        "CREATE TABLE kept (a int)",
        f'GRANT SELECT ON kept TO "{name}"',
        f'GRANT CONNECT ON DATABASE postgres TO "{name}"',
        f'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "{name}"',
    )
    assert await deleted(world, role) is None
    assert await sql.value("SELECT count(*) FROM kept") == 0
    await sql.run("DROP TABLE kept")


async def test_a_role_waits_for_a_database_that_lets_nobody_in(sql):
    world, name = await sql.world(), sql.name("user")
    role, database = thing("Role", name), thing("Database", name)
    await applied(world, role, database)
    await sql.run(f'GRANT CREATE ON SCHEMA public TO "{name}"', database=name)
    await edited(world, database, allowConnections=False)
    found = await deleted(world, role)
    assert "not currently accepting connections (55000). Mend: let the database accept" in message(found)
    assert conditions.find(found, "Reconciling")["reason"] == "Waiting", "it is told as wrong for good"
    assert await deleted(world, database, seconds=0.5) is None  # less than the pause after a failure
    assert await seen(world, role) is None


async def test_who_waits_for_a_database_that_lets_nobody_in_is_woken_when_it_does(sql):
    world, name = await sql.world(), sql.name("user")
    role, database = thing("Role", name), thing("Database", name)
    schema = thing("Schema", sql.name("late"), database=name)
    await applied(world, role, database)
    await sql.run(f'GRANT CREATE ON SCHEMA public TO "{name}"', database=name)
    await edited(world, database, allowConnections=False)
    assert "accepting connections" in message(await applied(world, schema))
    assert "accepting connections" in message(await deleted(world, role))
    await edited(world, database, allowConnections=True, seconds=0.5)
    assert is_ready(await seen(world, schema))
    assert await seen(world, role) is None


async def test_a_schema_that_is_not_empty_waits_and_says_how_it_would_go(sql):
    world, name = await sql.world(), sql.name("full")
    schema = thing("Schema", name, database="postgres")
    await applied(world, schema)
    await sql.run(f'CREATE TABLE "{name}".kept ()')
    assert "or set spec.forProvider.dropBehavior: CASCADE" in message(await deleted(world, schema))
    await sql.run(f'DROP TABLE "{name}".kept')
    await world.settle(seconds=60)
    assert await seen(world, schema) is None


@pytest.mark.parametrize("annotations", [{}, {"crossplane.io/external-name": None}])
async def test_the_password_of_a_role_that_was_there_before_is_nobody_s_to_take(sql, annotations):
    world, name = await sql.world(), sql.name("admin")
    await sql.run(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'theirs'")
    before = await sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = $1", name)
    metadata = dict.fromkeys(annotations, name)
    manifest = thing("Role", f"my-{name}" if annotations else name, annotations=metadata)
    manifest["spec"]["writeConnectionSecretToRef"] = {"name": f"{name}-taken", "namespace": "default"}
    await applied(world, manifest)
    assert await sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = $1", name) == before


async def test_the_role_that_logs_in_is_neither_changed_nor_dropped(sql):
    world = await sql.world()
    manifest = thing("Role", "me", annotations={"crossplane.io/external-name": sql.user})
    manifest["spec"]["forProvider"]["connectionLimit"] = 1
    assert "logs in as" in message(await applied(world, manifest))
    assert await deleted(world, manifest) is None
    manifest["metadata"]["annotations"]["groundplane.io/adopt"] = "true"
    assert "logs in as" in message(await applied(world, manifest))
    assert await deleted(world, manifest) is None
    assert await sql.value("SELECT rolconnlimit FROM pg_roles WHERE rolname = $1", sql.user) == -1


@pytest.mark.parametrize("kind", ["Database", "Role"])
async def test_what_was_there_before_stays_unless_it_was_adopted(sql, kind):
    world, name = await sql.world(), sql.name("old")
    await sql.run(f'CREATE {kind.upper()} "{name}"')
    manifest = thing(kind, name)
    assert is_ready(await applied(world, manifest))
    assert "was there before" in world.told.text()
    assert await deleted(world, manifest) is None
    count = {"Database": THERE, "Role": ROLE}[kind]
    assert await sql.value(count, name) == 1
    chosen = thing(kind, f"my-{name}", annotations={"crossplane.io/external-name": name})
    assert is_ready(await applied(world, chosen))
    assert await deleted(world, chosen) is None
    assert await sql.value(count, name) == 1
    assert is_ready(await applied(world, chosen))
    chosen["metadata"]["annotations"]["groundplane.io/adopt"] = "true"
    assert is_ready(await applied(world, chosen, seconds=70))
    await world.patch(key_of(chosen), {"metadata": {"annotations": {"groundplane.io/adopt": None}}})
    await world.settle(seconds=70)
    assert await deleted(world, chosen) is None
    assert await sql.value(count, name) == 0


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (thing("Role", "x" * 64), ("64 bytes", "external-name")),
        (thing("Database", "a", annotations={"crossplane.io/external-name": "é" * 32}), ("64 bytes",)),
        (thing("Role", "a", annotations={"crossplane.io/external-name": "pg_mine"}), ("pg_mine", "42939")),
        (thing("Database", "a", encoding="KLINGON"), ("KLINGON", "42704")),
        (thing("Database", "a", owner="nobody-such"), ("nobody-such", "spec.forProvider.owner")),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, tuple) else "",
)
async def test_what_can_not_work_is_told(sql, manifest, words):
    world = await sql.world()
    found = await applied(world, manifest)
    assert all(word in message(found) for word in words), message(found)
    assert await deleted(world, manifest) is None


@pytest.mark.parametrize(
    ("kind", "spec", "field", "words"),
    [
        ("Database", {"encoding": "NOPE"}, "encoding", "NOPE is not a valid encoding name"),
        ("Database", {"tablespace": "nope"}, "tablespace", 'tablespace "nope" does not exist'),
        ("Database", {"lcCollate": "nope", "template": "template0"}, "lcCollate", '"nope"'),
        ("Database", {"encoding": "UTF8", "lcCollate": "C", "lcCType": "nope", "template": "template0"}, "lcCType", '"nope"'),
        ("Database", {"owner": "postgres", "tablespace": "postgres"}, "tablespace", 'tablespace "postgres" does not exist'),
        ("Role", {"configurationParameters": [{"name": "nope", "value": "1"}]}, "configurationParameters[0].name", "nope"),
        ("Role", {"configurationParameters": [{"name": "work_mem", "value": "no"}]}, "configurationParameters[0].value", "no"),
        ("Extension", {"extension": "nope"}, "extension", 'extension "nope" is not available'),
        ("Extension", {"extension": "hstore", "version": "99"}, "version", 'version "99"'),
    ],
)  # fmt: skip
async def test_what_the_server_does_not_take_is_told_with_the_field_and_the_mend(sql, kind, spec, field, words):
    world, manifest = await sql.world(), thing(kind, sql.name("wrong"), **spec)
    found = message(await applied(world, manifest))
    assert found.startswith(f"create failed: spec.forProvider.{field}: "), found
    assert words in found
    assert f"Mend: correct spec.forProvider.{field}, or have the server know it." in found
    assert await deleted(world, manifest) is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"connectionLimit": -5},
            "spec.forProvider.connectionLimit: -5 is no number of connections. Mend: write 0 or more",
        ),
        ({"owner": "o" * 64}, "has 64 bytes: PostgreSQL cuts what is longer than 63. Mend: write a shorter one."),
    ],
)
async def test_what_no_database_can_have_is_told_with_its_field(sql, spec, said):
    world, manifest = await sql.world(), thing("Database", sql.name("wrong"), **spec)
    assert said in message(await applied(world, manifest))
    assert await deleted(world, manifest) is None


async def test_a_database_waits_for_its_template(sql):
    world, name = await sql.world(), sql.name("template")
    copy = thing("Database", sql.name("copy"), template=name)
    assert "Mend: create it, or correct spec.forProvider.template." in message(await applied(world, copy))
    template = thing("Database", name)
    await applied(world, template, seconds=60)
    assert is_ready(await seen(world, copy))
    async with sql.connected(name):
        another = thing("Database", sql.name("another"), template=name)
        told = message(await applied(world, another))
        assert f'source database "{name}" is being accessed by other users' in told
        assert "Mend: have the sessions that use it ended" in told
    await world.settle(seconds=60)
    assert is_ready(await seen(world, another))


async def test_the_servers_own_databases_are_never_dropped(sql):
    world = await sql.world()
    names = {"crossplane.io/external-name": "postgres", "groundplane.io/adopt": "true"}
    manifest = thing("Database", "a", annotations=names)
    assert is_ready(await applied(world, manifest))
    assert "not dropped" in message(await deleted(world, manifest))
    await world.patch(key_of(manifest), {"spec": {"deletionPolicy": "Orphan"}})
    await world.settle()
    assert await seen(world, manifest) is None


@pytest.mark.parametrize("namespace", ["", "shop"], ids=["first generation", "second generation"])
async def test_what_gitops_tools_make_of_every_kind_in_every_state(sql, namespace):
    """Of each kind: never healthy before the first look, and then; and what waits, is wrong, or is going."""
    world, name = await sql.world(), sql.name("health")
    new, going = ("InProgress", "Progressing", "waits"), ("Terminating", "Progressing", "waits")
    awaited, wrong = ("InProgress", "Degraded", "waits"), ("Failed", "Degraded", "waits")
    refs = {"roleRef": {"name": name}, "databaseRef": {"name": name}}
    kinds = {
        "Role": {},
        "Database": {},
        "Schema": {"databaseRef": {"name": name}},
        "Extension": {"databaseRef": {"name": name}, "extension": "plpgsql"},
        "Grant": {**refs, "privileges": ["CONNECT"]},
        "DefaultPrivileges": {
            **refs,
            "targetRole": sql.user,
            "objectType": "table",
            "schema": "public",
            "privileges": ["SELECT"],
        },
    }
    manifests = [thing(kind, name, namespace=namespace, **spec) for kind, spec in kinds.items()]
    of_nobody = thing("Grant", f"{name}-waits", namespace=namespace, **{**refs, "roleRef": {"name": "nobody"}})
    bad = thing("Database", f"{name}-bad", namespace=namespace, encoding="nonsense")
    for each in (*manifests, of_nobody, bad):
        await world.apply(each)
        assert gitops.verdict(await seen(world, each)) == new
    await world.settle(seconds=600)
    said = {each["kind"]: gitops.verdict(await seen(world, each)) for each in manifests}
    assert said == dict.fromkeys(kinds, ("Current", "Healthy", "met"))
    assert gitops.verdict(await seen(world, of_nobody)) == awaited
    assert gitops.verdict(await seen(world, bad)) == wrong
    for each in reversed(manifests):
        await world.cluster.delete(key_of(each))
        assert gitops.verdict(await seen(world, each)) == going
    await world.settle(seconds=60)
    assert [await seen(world, each) for each in manifests] == [None] * len(manifests)
