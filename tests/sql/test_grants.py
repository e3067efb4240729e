"""Grants on a real PostgreSQL server: each type made, quiet, mended, narrowed, gone; and what stands beside them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from groundplane.core.objects import key_of
from groundplane.errors import Rejected
from groundplane.sql import wishes
from groundplane.sql.thing import Thing
from tests.sql.conftest import applied, deleted, edited, is_quiet, is_ready, message, seen, thing

SETUP = (
    "CREATE SCHEMA shop",
    "CREATE TABLE shop.orders (id int, name text)",
    "CREATE VIEW shop.seen AS SELECT 1 AS a",
    "CREATE SEQUENCE shop.numbers",
    "CREATE FUNCTION shop.plus(a integer, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FOREIGN DATA WRAPPER wrap",
    "CREATE SERVER far FOREIGN DATA WRAPPER wrap",
)
IN_SHOP = {"schema": "shop"}
TYPES = {
    "database": ({"privileges": ["CONNECT", "TEMP"]}, "has_database_privilege($1, current_database(), 'TEMP')"),
    "schema": ({"privileges": ["ALL"], **IN_SHOP}, "has_schema_privilege($1, 'shop', 'CREATE')"),
    "tables": (
        {"privileges": ["SELECT", "INSERT"], **IN_SHOP, "tables": ["orders", "seen"]},
        "has_table_privilege($1, 'shop.seen', 'SELECT')",
    ),
    "all-of-a-table": (
        {"privileges": ["ALL PRIVILEGES"], **IN_SHOP, "tables": ["orders"]},
        "has_table_privilege($1, 'shop.orders', 'MAINTAIN')",
    ),
    "columns": (
        {"privileges": ["UPDATE"], **IN_SHOP, "tables": ["orders"], "columns": ["name"]},
        "has_column_privilege($1, 'shop.orders', 'name', 'UPDATE')",
    ),
    "sequences": (
        {"privileges": ["USAGE"], **IN_SHOP, "sequences": ["numbers"]},
        "has_sequence_privilege($1, 'shop.numbers', 'USAGE')",
    ),
    "routines": (
        {"privileges": ["EXECUTE"], **IN_SHOP, "routines": [{"name": "plus", "args": ["integer", "text"]}]},
        "EXISTS (SELECT FROM pg_proc p, aclexplode(p.proacl) x WHERE p.proname = 'plus' AND x.grantee = to_regrole(quote_ident($1)))",
    ),
    "servers": ({"privileges": ["USAGE"], "foreignServers": ["far"]}, "has_server_privilege($1, 'far', 'USAGE')"),
    "wrappers": (
        {"privileges": ["ALL"], "foreignDataWrappers": ["wrap"]},
        "has_foreign_data_wrapper_privilege($1, 'wrap', 'USAGE')",
    ),
}


@pytest.fixture
async def place(sql):
    """A database with things in it, and a role that may do nothing with them."""
    database, role = sql.name("things"), sql.name("reader")
    await sql.run(f'CREATE DATABASE "{database}"', f'CREATE ROLE "{role}"', f'CREATE ROLE "{role}-2"')
    await sql.run(*SETUP, database=database)
    yield database, role
    await sql.close()
    await sql.run(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)', f'DROP ROLE IF EXISTS "{role}", "{role}-2"')


def grant(role, database, name="g", **asked):
    return thing("Grant", name, role=role, database=database, **asked)


@pytest.mark.parametrize("type_", TYPES)
async def test_each_type_is_granted_mended_and_revoked(sql, place, type_):
    database, role = place
    asked, query = TYPES[type_]
    world, manifest = await sql.world(), grant(role, database, **asked)

    async def is_held():
        return await sql.value(f"SELECT {query}", role, database=database)

    found = await applied(world, manifest)
    assert is_ready(found), message(found)
    assert await is_held()
    assert await is_quiet(world, sql, manifest)
    await sql.run(f'DROP OWNED BY "{role}"', database=database)
    await world.settle(seconds=70)
    assert await is_held()
    assert await deleted(world, manifest) is None
    if type_ != "database":  # everybody may make temporary tables
        assert not await is_held()


async def test_what_is_wished_no_more_is_revoked_and_nothing_that_others_granted(sql, place):
    database, role = place
    world = await sql.world()
    manifest = grant(
        role, database, privileges=["SELECT", "DELETE"], schema="shop", tables=["orders", "seen"], withOption="GRANT"
    )
    await applied(world, manifest)
    await sql.run(f'GRANT TRUNCATE ON shop.orders TO "{role}"', database=database)

    async def held(table):
        query = "SELECT string_agg(privilege_type || x.is_grantable::text, ' ' ORDER BY 1) FROM pg_class c, aclexplode(c.relacl) x WHERE relname = $1 AND x.grantee = (SELECT oid FROM pg_roles WHERE rolname = $2)"
        return await sql.value(query.replace("ORDER BY 1", "ORDER BY privilege_type"), table, role, database=database)

    assert await held("orders") == "DELETEtrue SELECTtrue TRUNCATEfalse"
    await edited(world, manifest, seconds=5, privileges=["SELECT"])
    assert await held("orders") == "SELECTtrue TRUNCATEfalse"
    await edited(world, manifest, seconds=5, tables=["orders"], withOption=None)
    assert (await held("orders"), await held("seen")) == ("SELECTfalse TRUNCATEfalse", None)
    assert await is_quiet(world, sql, manifest)
    await edited(world, manifest, role=f"{role}-2")
    assert await held("orders") == "TRUNCATEfalse"
    assert await deleted(world, manifest) is None
    assert (
        await sql.value("SELECT has_table_privilege($1, 'shop.orders', 'SELECT')", f"{role}-2", database=database)
        is False
    )


async def test_the_owner_holds_all_and_loses_nothing(sql, place):
    database, role = place
    await sql.run(f'ALTER DATABASE "{database}" OWNER TO "{role}"')
    world, manifest = await sql.world(), grant(role, database, privileges=["ALL"], revokePublicOnDb=True)
    assert is_ready(await applied(world, manifest))
    assert await is_quiet(world, sql, manifest)
    await sql.run(
        f'GRANT CONNECT ON DATABASE "{database}" TO PUBLIC', f'REVOKE CREATE ON DATABASE "{database}" FROM "{role}"'
    )
    await world.settle(seconds=70)
    other = await sql.value("SELECT has_database_privilege($1, $2, 'CONNECT')", f"{role}-2", database)
    assert other is False
    assert await deleted(world, manifest) is None
    assert await sql.value("SELECT has_database_privilege($1, $2, 'CREATE')", role, database) is True


async def test_a_membership_is_given_changed_and_taken(sql, place):
    _, role = place
    world, manifest = await sql.world(), thing("Grant", "m", role=role, memberOf=f"{role}-2", withInherit=False)
    query = (
        "SELECT admin_option::text || inherit_option FROM pg_auth_members WHERE member = to_regrole(quote_ident($1))"
    )
    assert is_ready(await applied(world, manifest))
    assert await sql.value(query, role) == "falsefalse"
    assert await is_quiet(world, sql, manifest)
    await edited(world, manifest, seconds=5, withInherit=True, withOption="ADMIN")
    assert await sql.value(query, role) == "truetrue"
    await edited(world, manifest, withOption=None)
    assert await sql.value(query, role) == "falsetrue"
    assert await deleted(world, manifest) is None
    assert await sql.value(query, role) is None


async def test_a_grant_waits_for_its_partners_and_goes_when_they_are_gone(sql, place):
    database, role = place
    world, manifest = await sql.world(), grant("late-" + role, "late-" + database, privileges=["CONNECT"])
    found = await applied(world, manifest)
    assert "late-" in message(found)
    assert not is_ready(found)
    await applied(world, thing("Role", "late-" + role), thing("Database", "late-" + database), seconds=10)
    assert is_ready(await seen(world, manifest)), message(await seen(world, manifest))
    await sql.run(f'DROP DATABASE "late-{database}"')
    assert await deleted(world, manifest) is None
    await deleted(world, thing("Role", "late-" + role), thing("Database", "late-" + database))


async def test_fifty_grants_at_once_all_go_through(sql, place):
    database, role = place
    roles = [f"{role}-many-{number}" for number in range(50)]
    await sql.run(*(f'CREATE ROLE "{each}"' for each in roles))
    world = await sql.world()
    manifests = [grant(each, database, f"g{number}", privileges=["CONNECT"]) for number, each in enumerate(roles)]
    await world.apply(*manifests)
    world.listen()
    due, world.due = list(world.due), {}
    outcomes = await asyncio.gather(*(world.engine.process(*target) for target in due))
    await world.settle(seconds=5)
    assert len(outcomes) == 50
    assert "concurrently" not in world.told.text()
    assert all([is_ready(await seen(world, each)) for each in manifests])
    await deleted(world, *manifests)
    await sql.run(*(f'DROP ROLE "{each}"' for each in roles))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"database": "a", "privileges": ["SELECT"]}, ("SELECT", "CONNECT")),
        ({"database": "a", "privileges": ["CONNECT"], "withOption": "ADMIN"}, ("GRANT",)),
        (
            {"database": "a", "tables": ["t"], "privileges": ["SELECT"]},
            ("cannot identify grant type", "database, tables"),
        ),
        ({"memberOf": "a", "privileges": ["SELECT"]}, ("membership",)),
        ({"database": "a"}, ("privileges",)),
    ],
)
async def test_what_can_not_be_granted_is_told_before_any_statement(sql, asked, words):
    world, manifest = await sql.world(), thing("Grant", "g", role="a", **asked)
    found = await applied(world, manifest)
    assert all(word in message(found) for word in words), message(found)
    assert not sql.writes
    await world.cluster.delete(key_of(manifest))
    await world.settle()
    assert await seen(world, manifest) is None


async def test_a_grant_that_was_edited_to_nonsense_still_goes_with_what_it_had_granted(sql, place):
    database, role = place
    world, manifest = await sql.world(), grant(role, database, privileges=["CREATE"])
    await applied(world, manifest, seconds=5)
    query = "SELECT has_database_privilege($1, $2, 'CREATE')"
    assert await sql.value(query, role, database)
    assert "SELECT" in message(await edited(world, manifest, privileges=["SELECT"]))
    assert await deleted(world, manifest) is None
    assert not await sql.value(query, role, database)


@pytest.mark.parametrize("how", ["deleted", "narrowed"])
@pytest.mark.parametrize("is_member", [False, True])
async def test_what_two_grants_wish_the_second_has_at_once_when_the_first_goes(sql, place, how, is_member):
    """And takes it along then: it has granted it itself."""
    database, role = place
    world = await sql.world()
    asked = {"memberOf": f"{role}-2"} if is_member else {"privileges": ["CREATE", "CONNECT"]}
    query = (
        f"SELECT pg_has_role($1, '{role}-2', 'MEMBER')"
        if is_member
        else f"SELECT has_database_privilege($1, '{database}', 'CREATE')"
    )
    place_ = {"role": role} if is_member else {"role": role, "database": database}
    first, second = (thing("Grant", name, **place_, **asked) for name in ("first", "second"))
    other = grant(f"{role}-2", database, "other", privileges=["TEMP"])
    await applied(world, first, second, other, seconds=70)
    if how == "deleted":
        assert await deleted(world, first) is None
    else:
        await edited(world, first, **({"memberOf": "pg_monitor"} if is_member else {"privileges": ["CONNECT"]}))
    assert await sql.value(query, role), "it waits for its next look"
    alive = [second] if how == "deleted" else [first, second]
    await world.settle(seconds=70)
    assert all([is_ready(await seen(world, each)) for each in alive])
    assert await is_quiet(world, sql, *alive)
    assert await deleted(world, second) is None
    assert not await sql.value(query, role)


def test_of_grants_that_wish_the_same_a_few_are_woken_and_the_longest_unseen_forgotten(monkeypatch):
    monkeypatch.setattr(wishes, "REMEMBERED", 20)
    known, one = wishes.Wishes(), ("SELECT on t",)
    things = [Thing(grant("r", "d", f"g{n}"), datetime.now(UTC)) for n in range(30)]
    for n, each in enumerate(things):
        each.managed["metadata"]["uid"] = f"uid-{n}"
        known.note(each, [one, (n,)])
    assert len(known._by_uid) == 20
    assert len(known._who) == 21
    woken = [each.name for each in known.others(things[29], [one])]
    assert woken == [f"g{n}" for n in range(28, 18, -1)]
    for each in things:
        known.forget(each.uid)
    assert not known._who


# --- schemas, extensions, default privileges


async def test_a_schema_lives(sql, place):
    database, role = place
    world, manifest = (
        await sql.world(),
        thing("Schema", "mine", database=database, role=role, revokePublicOnSchema=True),
    )
    assert is_ready(await applied(world, manifest))
    owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'mine'"
    assert await sql.value(owner, database=database) == f'"{role}"'
    assert await is_quiet(world, sql, manifest)
    await sql.run("ALTER SCHEMA mine OWNER TO postgres", "GRANT USAGE ON SCHEMA public TO PUBLIC", database=database)
    await world.settle(seconds=70)
    assert await sql.value(owner, database=database) == f'"{role}"'
    assert not await sql.value("SELECT has_schema_privilege($1, 'public', 'USAGE')", role, database=database)
    await sql.run("CREATE TABLE mine.t (a int)", database=database)
    assert "mine.t" in message(await deleted(world, manifest))
    await edited(world, manifest, dropBehavior="CASCADE")
    assert await seen(world, manifest) is None


async def test_an_extension_lives(sql, place):
    database, _ = place
    world = await sql.world()
    manifest = thing("Extension", "h", database=database, extension="hstore", schema="shop", version="1.7")
    found = await applied(world, manifest)
    assert is_ready(found), message(found)
    query = "SELECT extnamespace::regnamespace::text || extversion FROM pg_extension WHERE extname = 'hstore'"
    assert await sql.value(query, database=database) == "shop1.7"
    await edited(world, manifest, version="1.8", schema="public")
    assert await sql.value(query, database=database) == "public1.8"
    assert await is_quiet(world, sql, manifest)
    assert await deleted(world, manifest) is None
    assert await sql.value(query, database=database) is None
    assert "nothing-such" in message(
        await applied(world, thing("Extension", "n", database=database, extension="nothing-such"))
    )


@pytest.mark.parametrize("how", ["deleted", "narrowed"])
async def test_what_two_objects_have_given_by_default_the_second_has_at_once_when_the_first_goes(sql, place, how):
    database, role = place
    world = await sql.world()
    usual = {"database": database, "schema": "shop", "role": role, "objectType": "table", "targetRole": "postgres"}
    first, second = (
        thing("DefaultPrivileges", each, **usual, privileges=["SELECT", "INSERT"]) for each in ("first", "second")
    )
    await applied(world, first, second, seconds=70)
    query = "SELECT defaclacl::text LIKE '%=ar/%' FROM pg_default_acl"
    if how == "deleted":
        assert await deleted(world, first) is None
    else:
        await edited(world, first, privileges=["SELECT"])
    assert await sql.value(query, database=database), "it waits for its next look"
    alive = [second] if how == "deleted" else [first, second]
    await world.settle(seconds=70)
    assert all([is_ready(await seen(world, each)) for each in alive])
    assert await is_quiet(world, sql, *alive)
    await deleted(world, *alive)
    assert not await sql.value(query, database=database)


async def test_default_privileges_of_two_targets_stand_beside_each_other(sql, place):
    database, role = place
    world = await sql.world()
    usual = {"database": database, "schema": "shop", "role": role, "objectType": "table"}
    one = thing("DefaultPrivileges", "one", **usual, targetRole="postgres", privileges=["SELECT", "INSERT"])
    two = thing("DefaultPrivileges", "two", **usual, targetRole=f"{role}-2", privileges=["ALL"])
    wide = thing(
        "DefaultPrivileges",
        "wide",
        database=database,
        role=role,
        objectType="schema",
        targetRole="postgres",
        privileges=["USAGE"],
    )
    await applied(world, one, two, wide)
    for each in (one, two, wide):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    assert await is_quiet(world, sql, one, two, wide)
    await sql.run("CREATE TABLE shop.new (a int)", database=database)
    held = "SELECT has_table_privilege($1, 'shop.new', 'INSERT')"
    assert await sql.value(held, role, database=database)
    await edited(world, one, privileges=["SELECT"])
    await sql.run("DROP TABLE shop.new", "CREATE TABLE shop.new (a int)", database=database)
    assert not await sql.value(held, role, database=database)
    await sql.run(f'ALTER DEFAULT PRIVILEGES IN SCHEMA shop REVOKE SELECT ON TABLES FROM "{role}"', database=database)
    await world.settle(seconds=70)
    assert await sql.value("SELECT count(*) FROM pg_default_acl", database=database) == 3
    await deleted(world, one, two, wide)
    assert await sql.value("SELECT count(*) FROM pg_default_acl", database=database) == 0
    wrong = thing(
        "DefaultPrivileges", "w", database=database, role=role, objectType="table", targetRole="a", privileges=["ALL"]
    )
    with pytest.raises(Rejected, match="schema is required"):
        await world.apply(wrong)
