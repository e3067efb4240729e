"""Whose a thing in the server is: what others have made, hold, or were given stays theirs, also on an older server, and for an administrator without superuser."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from groundplane.core import conditions
from groundplane.core.objects import key_of
from groundplane.sql import marks, standin, text
from tests.reconcile.interrupt import Killed
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

COMMENTS = {
    "Role": "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1",
    "Database": "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1",
    "Schema": "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1",
    "Extension": "SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = $1",
}
EXISTS = {
    kind: query.replace(query.split("SELECT ")[1].split(" FROM")[0], "true", 1) for kind, query in COMMENTS.items()
}


# --- two objects for one thing


@pytest.mark.parametrize("kind", ["Role", "Database", "Schema"])
@pytest.mark.parametrize("is_named", [False, True], ids=["by-default", "by-annotation"])
async def test_of_two_objects_for_one_thing_the_first_has_it_and_the_second_says_whose_it_is(every_sql, kind, is_named):
    sql = every_sql
    world, name = await sql.world(), sql.name("app")
    database = "postgres"
    place = {"database": database} if kind == "Schema" else {}
    asked = {"Role": {"connectionLimit": 3}, "Database": {"connectionLimit": 3}, "Schema": {}}[kind] | place
    other = {"Role": {"connectionLimit": 9}, "Database": {"connectionLimit": 9}, "Schema": {"role": "pg_monitor"}}[kind]
    first = thing(kind, name, namespace="one", **asked)
    second = thing(
        kind,
        f"my-{name}" if is_named else name,
        namespace="two",
        annotations={"crossplane.io/external-name": name} if is_named else {},
        **(place | other),
    )
    if kind == "Role":
        for each in (first, second):
            each["spec"]["writeConnectionSecretToRef"] = {"name": "conn"}
    assert is_ready(await applied(world, first)), message(await seen(world, first))
    before = await secret_of(world, "conn", "one")
    found = await applied(world, second, seconds=130)
    assert not is_ready(found)
    assert all(word in message(found) for word in (f"one/{name}", "Orphan")), message(found)
    assert is_ready(await seen(world, first))
    assert await is_quiet(world, sql, first)
    if kind == "Role":
        async with sql.connected("postgres", user="", password=""):
            stored = await sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = $1", name)
        assert text.is_verified(before["password"], name, stored)
    assert await deleted(world, second) is None
    assert await sql.value(EXISTS[kind], name)
    third = thing(
        kind, f"his-{name}", namespace="two", annotations={"crossplane.io/external-name": name}, **(place | other)
    )
    third["metadata"]["annotations"]["groundplane.io/adopt"] = "true"
    third["metadata"]["annotations"]["groundplane.io/create-uid"] = (await seen(world, first))["metadata"]["uid"]
    assert f"one/{name}" in message(await applied(world, third, seconds=130))
    assert await is_quiet(world, sql, first)
    assert await deleted(world, third) is None
    assert await sql.value(EXISTS[kind], name)
    await world.patch(key_of(first), {"spec": {"managementPolicies": ["Observe", "Create", "Update"]}})
    assert await deleted(world, first, seconds=5) is None
    assert is_ready(await applied(world, third, seconds=70)), message(await seen(world, third))
    assert await deleted(world, third) is None
    assert not await sql.value(EXISTS[kind], name)


async def test_two_roles_that_come_at_once_do_not_share_a_password(sql):
    """The second sees nothing, for the first is not there yet, and is late with its create."""
    world, name = await sql.world(), sql.name("app")
    manifest = thing("Role", name, publishes(), privileges={"login": True})
    other = f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'theirs'"
    missed = []

    async def first():
        await sql.run(other)

    cloud = world.context.cloud
    create = cloud.create

    async def late(*given):
        if not missed:
            missed.append(await first())
        return await create(*given)

    cloud.create = late
    await applied(world, manifest, seconds=10)
    stored = await sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = $1", name)
    assert missed
    assert text.is_verified("theirs", name, stored)
    assert await deleted(world, manifest) is None
    assert await sql.value(EXISTS["Role"], name)
    await sql.run(f'DROP ROLE "{name}"')


async def test_a_comment_keeps_what_somebody_wrote_and_a_mark_that_was_lost_comes_back(every_sql):
    sql = every_sql
    world, name = await sql.world(), sql.name("app")
    manifest = thing("Role", name, publishes())
    await applied(world, manifest)
    mark = await sql.value(COMMENTS["Role"], name)
    assert marks.read(mark)["crossplane-name"] == name
    await sql.run(f"""COMMENT ON ROLE "{name}" IS 'ours, it''s [not] for you'""")
    await world.settle(seconds=70)
    assert await sql.value(COMMENTS["Role"], name) == f"ours, it's [not] for you {mark}"
    assert await is_quiet(world, sql, manifest)
    assert await deleted(world, manifest) is None


async def test_strict_upstream_writes_no_comments(sql):
    world, name = await sql.world(strict=True), sql.name("app")
    for kind in ("Role", "Database"):
        assert is_ready(await applied(world, thing(kind, name)))
        assert await sql.value(COMMENTS[kind], name) is None
        assert await deleted(world, thing(kind, name)) is None


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"groundplane.io/adopt": "true"},
        {"crossplane.io/external-create-pending": "2026-01-01T00:00:00Z"}
        | {"crossplane.io/external-create-succeeded": "2026-01-01T00:00:01Z"},
    ],
    ids=["named", "adopted", "as-if-made"],
)
@pytest.mark.parametrize("powers", ["SUPERUSER", 'IN ROLE "{0}"'], ids=["itself", "member"])
async def test_a_powerful_role_is_nobodys_without_an_administrators_word(every_sql, more, powers):
    sql = every_sql
    world, name, group = await sql.world(), sql.name("dba"), sql.name("admins")
    await sql.run(f'CREATE ROLE "{group}" CREATEROLE', f'CREATE ROLE "{name}" LOGIN {powers.format(group)}')
    manifest = thing(
        "Role",
        "mine",
        {"writeConnectionSecretToRef": {"name": "conn"}},
        namespace="two",
        annotations={"crossplane.io/external-name": name, **more},
        privileges={"login": False},
    )
    found = await applied(world, manifest, seconds=70)
    assert not is_ready(found)
    assert "is neither taken" in message(found), message(found)
    assert "password" not in await secret_of(world, "conn", "two")
    assert await deleted(world, manifest, seconds=70) is None
    assert await sql.value("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", name)
    assert await sql.value(COMMENTS["Role"], name) is None
    await sql.run(re.search(r"COMMENT ON ROLE .*'", message(found))[0])
    assert is_ready(await applied(world, manifest, seconds=70)), message(await seen(world, manifest))
    assert not await sql.value("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", name)
    assert await deleted(world, manifest, seconds=70) is None
    assert not await sql.value(EXISTS["Role"], name)
    await sql.run(f'DROP ROLE "{group}"')


async def test_what_a_template_brought_along_is_not_another_object_s(sql):
    world, one, two = await sql.world(), sql.name("one"), sql.name("two")

    def schema(name, database):
        how = {"crossplane.io/external-name": "app", "groundplane.io/adopt": "true"}
        return thing("Schema", name, annotations=how, database=database)

    def extension(name, database, **more):
        return thing(
            "Extension", name, annotations={"groundplane.io/adopt": "true"}, database=database, extension="pg_trgm"
        )

    first = [thing("Database", one), schema("a", one), extension("a", one)]
    second = [thing("Database", two, template=one), schema("b", two), extension("b", two)]
    await applied(world, *first, seconds=10)
    await sql.close()
    await applied(world, *second, seconds=70)
    for each in (*first, *second):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    assert marks.read(await sql.value(COMMENTS["Schema"], "app", database=two))["crossplane-name"] == "b"
    stranger = extension("c", two)
    assert "b" in message(await applied(world, stranger, seconds=10))
    assert await deleted(world, stranger) is None
    assert await sql.value(EXISTS["Extension"], "pg_trgm", database=two)
    assert await deleted(world, *reversed(second), seconds=10) is None
    assert is_ready(await seen(world, first[1]))
    assert await deleted(world, *reversed(first), seconds=10) is None


# --- what was there before


async def test_what_a_database_had_before_stays(every_sql):
    sql = every_sql
    world, name = await sql.world(), sql.name("place")
    await sql.run(f'CREATE DATABASE "{name}"')
    await sql.run("CREATE EXTENSION hstore", "CREATE SCHEMA old", database=name)
    old = [
        thing("Extension", "a", database=name, extension="hstore"),
        thing("Extension", "b", database=name, extension="plpgsql"),
        thing("Schema", "old", database=name, dropBehavior="CASCADE"),
        thing("Schema", "info", database=name, annotations={"crossplane.io/external-name": "information_schema"}),
        thing("Schema", "catalog", database=name, annotations={"crossplane.io/external-name": "pg_catalog"}),
    ]
    new = [thing("Extension", "c", database=name, extension="pg_trgm"), thing("Schema", "fresh", database=name)]
    await applied(world, *old, *new, seconds=5)
    for each in (*old, *new):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    assert "similarity" in await sql.value(COMMENTS["Extension"], "pg_trgm", database=name)
    assert await is_quiet(world, sql, *old, *new)
    shared = thing("Extension", "d", database=name, extension="pg_trgm")
    assert is_ready(await applied(world, shared))
    assert "c" in message(await edited(world, shared, schema="old"))
    await deleted(world, shared)
    assert await sql.value(EXISTS["Extension"], "pg_trgm", database=name)
    await deleted(world, *old, *new)
    for each in (*old, *new):
        assert await seen(world, each) is None
    left = "SELECT array_agg(extname::text ORDER BY extname) FROM pg_extension"
    assert await sql.value(left, database=name) == ["hstore", "plpgsql"]
    assert await sql.value(EXISTS["Schema"], "old", database=name)
    assert not await sql.value(EXISTS["Schema"], "fresh", database=name)
    await sql.close()
    await sql.run(f'DROP DATABASE "{name}"')


async def test_the_server_s_own_is_not_changed(sql):
    world = await sql.world()
    changed = {
        "template1": ({"isTemplate": False}, "not changed"),
        "postgres": ({"allowConnections": False}, "not changed"),
    }
    for name, (asked, words) in changed.items():
        manifest = thing("Database", name, **asked)
        assert words in message(await applied(world, manifest))
        assert await deleted(world, manifest) is None
    manifest = thing(
        "Schema", "c", database="postgres", role="pg_monitor", annotations={"crossplane.io/external-name": "pg_catalog"}
    )
    assert "not changed" in message(await applied(world, manifest))
    assert await deleted(world, manifest) is None
    assert await sql.value("SELECT datistemplate FROM pg_database WHERE datname = 'template1'")
    assert await sql.value("SELECT datallowconn FROM pg_database WHERE datname = 'postgres'")
    assert (
        await sql.value("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'pg_catalog'") == "postgres"
    )


async def test_a_template_that_we_made_goes(sql):
    world, manifest = await sql.world(), thing("Database", sql.name("template"), isTemplate=True)
    assert is_ready(await applied(world, manifest))
    assert await deleted(world, manifest) is None


@pytest.fixture
async def place(every_sql):
    """A table, and a role that holds some of it."""
    sql = every_sql
    database, role = sql.name("things"), sql.name("reader")
    await sql.run(f'CREATE DATABASE "{database}"', *(f'CREATE ROLE "{each}"' for each in (role, f"{role}-2")))
    await sql.run(
        "CREATE TABLE orders (a int)", "CREATE TABLE prices (a int)", f'GRANT SELECT ON orders TO "{role}"',
        f'GRANT "{role}-2" TO "{role}"', f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO "{role}"',
        database=database,
    )  # fmt: skip
    yield sql, database, role
    await sql.close()
    await sql.run(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)', f'DROP ROLE "{role}", "{role}-2"')


HELD = """
SELECT string_agg(relname || ':' || privilege_type, ' ' ORDER BY relname, privilege_type)
FROM pg_class c, aclexplode(c.relacl) x WHERE x.grantee = (SELECT oid FROM pg_roles WHERE rolname = $1)
"""


async def test_what_a_role_held_before_it_keeps_when_the_grant_goes(place):
    sql, database, role = place
    world = await sql.world()
    manifest = thing(
        "Grant", "g", role=role, database=database, schema="public", tables=["orders", "prices"], privileges=["SELECT"]
    )
    member = thing("Grant", "m", role=role, memberOf=f"{role}-2")
    defaults = thing(
        "DefaultPrivileges", "d", role=role, database=database, schema="public", objectType="table",
        targetRole=sql.server.user, privileges=["SELECT", "INSERT"],
    )  # fmt: skip
    await applied(world, manifest, member, defaults, seconds=5)
    for each in (manifest, member, defaults):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    assert (await seen(world, manifest))["status"]["atProvider"]["heldBefore"] == ["SELECT on orders"]
    assert await is_quiet(world, sql, manifest, member, defaults)
    await sql.run(f'GRANT INSERT ON orders TO "{role}"', database=database)
    await edited(world, manifest, seconds=5, privileges=["SELECT", "INSERT", "DELETE"])
    assert await sql.value(HELD, role, database=database) == (
        "orders:DELETE orders:INSERT orders:SELECT prices:DELETE prices:INSERT prices:SELECT"
    )
    assert await is_quiet(world, sql, manifest, member, defaults)
    await deleted(world, manifest, member, defaults)
    for each in (manifest, member, defaults):
        assert await seen(world, each) is None
    assert await sql.value(HELD, role, database=database) == "orders:INSERT orders:SELECT"
    assert await sql.value("SELECT pg_has_role($1, $2, 'MEMBER')", role, f"{role}-2")
    query = "SELECT string_agg(privilege_type, ' ') FROM pg_default_acl, aclexplode(defaclacl) WHERE grantee = (SELECT oid FROM pg_roles WHERE rolname = $1)"
    assert await sql.value(query, role, database=database) == "SELECT"


@pytest.mark.parametrize("is_looked_at", [False, True])
async def test_a_grant_whose_status_is_lost_revokes_nothing(place, is_looked_at):
    """After a restore its annotations say that it was created, and nobody knows of what."""
    sql, database, role = place
    world = await sql.world()
    now = "2026-01-01T00:00:00Z"
    done = {"crossplane.io/external-create-pending": now, "crossplane.io/external-create-succeeded": now}
    grants = [
        thing(
            "Grant",
            "a",
            annotations=done,
            role=role,
            database=database,
            schema="public",
            tables=["orders"],
            privileges=["SELECT"],
        ),
        thing("Grant", "b", annotations=done, role=role, memberOf=f"{role}-2"),
        thing(
            "DefaultPrivileges",
            "c",
            annotations=done,
            role=role,
            targetRole="postgres",
            database=database,
            schema="public",
            objectType="table",
            privileges=["SELECT"],
        ),
    ]
    for each in grants:
        each["metadata"]["finalizers"] = ["finalizer.managedresource.crossplane.io"]
    await world.apply(*grants)
    if is_looked_at:
        await world.settle(seconds=70)
    assert await deleted(world, *grants, seconds=70) is None
    assert await sql.value(HELD, role, database=database) == "orders:SELECT"
    assert await sql.value("SELECT pg_has_role($1, $2, 'MEMBER')", role, f"{role}-2")
    assert await sql.value("SELECT count(*) FROM pg_default_acl", database=database) == 1


async def test_what_somebody_else_has_granted_is_told_and_holds_no_deletion_up(place):
    sql, database, role = place
    other = f"{role}-2"
    await sql.run(
        f'GRANT SELECT ON prices TO "{other}" WITH GRANT OPTION', f'SET ROLE "{other}"; GRANT SELECT ON prices TO "{role}"',
        database=database,
    )  # fmt: skip
    world = await sql.world()
    manifest = thing("Grant", "g", role=role, database=database, schema="public", tables=["prices"], privileges=["ALL"])
    assert is_ready(await applied(world, manifest, seconds=5)), message(await seen(world, manifest))
    assert await deleted(world, manifest) is None
    assert await sql.value(HELD, role, database=database) == "orders:SELECT prices:SELECT"
    only = thing("Grant", "h", role=role, database=database, schema="public", tables=["prices"], privileges=["SELECT"])
    assert is_ready(await applied(world, only, seconds=5))
    assert f"SELECT on prices stays when this object is deleted: {other} has granted it" in world.told.text()
    assert await deleted(world, only) is None
    await sql.run(f'REVOKE SELECT ON prices FROM "{other}" CASCADE', database=database)


async def test_a_membership_by_another_grantor_is_left(place):
    sql, _, role = place
    other = f"{role}-2"
    admin, third = sql.name("admin"), sql.name("third")
    await sql.run(
        f'CREATE ROLE "{admin}"', f'CREATE ROLE "{third}"', f'GRANT "{other}" TO "{admin}" WITH ADMIN OPTION',
        f'SET ROLE "{admin}"; GRANT "{other}" TO "{third}"',
    )  # fmt: skip
    world, manifest = await sql.world(), thing("Grant", "m", role=third, memberOf=other)
    assert is_ready(await applied(world, manifest))
    assert await is_quiet(world, sql, manifest)
    assert await deleted(world, manifest) is None
    assert await sql.value("SELECT pg_has_role($1, $2, 'MEMBER')", third, other)
    await sql.run(f'DROP OWNED BY "{admin}", "{third}" CASCADE', f'DROP ROLE "{third}", "{admin}"')


async def test_a_grant_to_nobody_says_so(place):
    sql, database, _ = place
    world, manifest = (
        await sql.world(),
        thing("Grant", "g", role="not-there", database=database, privileges=["CONNECT"]),
    )
    assert 'role "not-there" does not exist' in message(await applied(world, manifest))
    assert await deleted(world, manifest) is None


# --- an administrator without superuser


async def test_an_administrator_without_superuser_grants_what_its_roles_own(every_sql):
    sql = every_sql
    await sql.boss()
    world, name = await sql.world(), sql.name("app")
    role = thing("Role", name, publishes(), privileges={"login": True})
    database = thing("Database", name, owner=name)
    grant = thing("Grant", name, role=name, database=name, privileges=["ALL"], revokePublicOnDb=True)
    await applied(world, role, database, grant, seconds=10)
    for each in (role, database, grant):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    assert await is_quiet(world, sql, role, database, grant)
    assert marks.read(await sql.value(COMMENTS["Database"], name))["crossplane-name"] == name
    await deleted(world, role, database, grant, seconds=10)
    assert [await seen(world, each) for each in (role, database, grant)] == [None] * 3
    theirs = sql.name("theirs")
    await sql.run(f'CREATE DATABASE "{theirs}"', f'CREATE ROLE "{name}"')
    await sql.run(f'GRANT CREATE ON DATABASE "{theirs}" TO "{sql.user}"')
    powerless = thing("Grant", "p", role=name, database=theirs, privileges=["CREATE"])
    found = await applied(world, powerless, seconds=10)
    assert not is_ready(found)
    assert f"{sql.user} has granted or revoked nothing" in message(found), message(found)
    assert await deleted(world, powerless) is None
    await sql.close()
    await sql.run(f'DROP DATABASE "{theirs}"', f'DROP ROLE "{name}"')


@pytest.mark.parametrize("fatal", range(6))
async def test_no_break_leaves_the_administrator_a_member(sql, fatal):
    await sql.boss()
    world, name = await sql.world(), sql.name("app")
    role, other = thing("Role", name), thing("Role", f"{name}-2")
    database = thing("Database", name, owner=name)
    await applied(world, role, other)
    left = [fatal]

    def die():
        left[0] -= 1
        if left[0] == -1:
            raise Killed

    sql.before_write = die

    async def life():
        await applied(world, database, seconds=5)
        await edited(world, database, owner=f"{name}-2", seconds=5)
        await deleted(world, database, seconds=5)

    with pytest.raises(Killed):
        await life()
    sql.before_write = lambda: None
    query = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE rolname = $1 AND (set_option OR inherit_option)"
    assert await sql.value(query, sql.user) == 0
    again = world.restarted(cloud=sql.cloud())
    await again.settle(seconds=200)
    await deleted(again, database, role, other, seconds=100)
    assert [await seen(again, each) for each in (database, role, other)] == [None] * 3


# --- passwords


PASSWORDS = [
    "so\u00adft",
    "a\u200bb",
    "n\u00a0b",
    "\u2168\ufb01",
    "\u05d0a",
    "\u05d0b\u05d1",
    "\u0627\u0644",
    "e\u0301",
    "\U0001f600\ufb01",
    "\u0007\u00e9",
    "\u00ad",
]


@pytest.mark.parametrize("password", PASSWORDS, ids=ascii)
async def test_a_verifier_is_the_one_that_the_server_would_make(sql, password):
    name = sql.name("user")
    await sql.run(f'CREATE ROLE "{name}" LOGIN PASSWORD {text.literal(password)}')
    stored = await sql.value("SELECT rolpassword FROM pg_authid WHERE rolname = $1", name)
    assert text.is_verified(password, name, stored)
    psql = next((each / "psql" for each in standin.installed() if (each / "psql").exists()), None)
    assert psql
    await sql.run(f'ALTER ROLE "{name}" PASSWORD {text.literal(text.verifier(password, name, "scram-sha-256"))}')
    logged_in = await said(psql, sql.server, name, password)
    assert logged_in.stdout.strip() == name, logged_in.stderr
    await sql.run(f'DROP ROLE "{name}"')


async def said(psql: Path, server, user, password):
    import asyncio

    environment = {"PGPASSWORD": password, "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    target = f"host={server.host} port={server.port} user={user} dbname=postgres sslmode=disable"
    return await asyncio.to_thread(
        subprocess.run, [psql, "-AtX", target, "-c", "SELECT current_user"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


async def test_no_status_helps_to_guess_a_password(sql):
    await sql.boss()
    world, name = await sql.world(), sql.name("user")
    manifest = thing(
        "Role",
        name,
        privileges={"login": True},
        passwordSecretRef={"name": "given", "namespace": "shop", "key": "word"},
    )
    await world.apply(sql.secret("given", "shop", word="hunter2"))
    found = await applied(world, manifest)
    assert is_ready(found), message(found)
    assert await is_quiet(world, sql, manifest)
    told = (await seen(world, manifest))["status"]["atProvider"]["passwordDigest"]
    uid = found["metadata"]["uid"]
    assert told != text.digest("", uid, "hunter2")
    assert told == text.digest("x", uid, "hunter2")
    assert "hunter2" not in texts(world)
    await deleted(world, manifest)


async def test_a_list_s_parts_may_have_commas(sql):
    world, name = await sql.world(), sql.name("user")
    wanted = [{"name": "search_path", "value": '"a,b", "Say ""hi""", public'}]
    manifest = thing("Role", name, configurationParameters=wanted)
    assert is_ready(await applied(world, manifest))
    stored = await sql.value("SELECT rolconfig FROM pg_roles WHERE rolname = $1", name)
    assert stored == ['search_path="a,b", "Say ""hi""", public']
    assert await is_quiet(world, sql, manifest)
    await deleted(world, manifest)


async def test_a_name_alone_gives_no_right_to_what_is_nobody_s_if_the_config_says_so(sql):
    """A tenant whose claim is called as somebody's database is."""
    world, name, prod = await sql.world(adoption="Annotated"), sql.name("tenant"), sql.name("prod")
    await sql.run(
        f'CREATE DATABASE "{prod}"', f'CREATE ROLE "{prod}-owner"', f'ALTER DATABASE "{prod}" OWNER TO "{prod}-owner"'
    )
    role, own = thing("Role", name), thing("Database", name, owner=name)
    assert is_ready(await applied(world, role))
    assert is_ready(await applied(world, own))
    refused = [
        thing("Database", prod, owner=name),
        thing("Database", "other", annotations={"crossplane.io/external-name": prod}, owner=name),
        thing("Grant", "in-it", role=name, database=prod, privileges=["ALL"]),
        thing("Schema", sql.name("schema"), role=name, database=prod),
        thing("Grant", "member", role=name, memberOf=f"{prod}-owner"),
        thing("Database", sql.name("copy"), template=prod),
        thing("Extension", "in-the-default-one", extension="hstore"),
        thing("DefaultPrivileges", "in-it", targetRole=name, role=name, objectType="schema", privileges=["ALL"]),
    ]
    for each in refused:
        found = await applied(world, each)
        assert not conditions.is_true(found, "Ready")
        assert "was there before, and is no object's" in message(found)
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1"
    assert await sql.value(owner, prod) == f"{prod}-owner"
    assert not await sql.value("SELECT has_database_privilege($1, $2, 'CREATE')", name, prod)
    assert not await sql.value("SELECT pg_has_role($1, $2, 'MEMBER')", name, f"{prod}-owner")
    assert (
        await sql.value("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1", prod)
        is None
    )
    grant = thing("Grant", name, role=name, database=name, privileges=["ALL"])
    assert is_ready(await applied(world, grant)), "what an object has made is for others"
    copy = thing("Database", sql.name("of-mine"), template=name, owner=name)
    assert is_ready(await applied(world, copy))
    shared = thing("Database", sql.name("of-a-template"), template="template0", owner=name)
    assert is_ready(await applied(world, shared)), "an administrator has said that it may be copied"
    own = thing("Extension", "in-mine", extension="hstore", database=name)
    assert is_ready(await applied(world, own))
    looks = thing(
        "Database", "looks", {"managementPolicies": ["Observe"]}, annotations={"crossplane.io/external-name": prod}
    )
    assert is_ready(await applied(world, looks))
    refused[2]["metadata"]["annotations"]["groundplane.io/adopt"] = "true"
    assert is_ready(await applied(world, refused[2]))
    for each in refused:
        await deleted(world, each)
    assert await sql.value(owner, prod) == f"{prod}-owner"
