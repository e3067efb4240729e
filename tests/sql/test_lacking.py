"""What a spec names and the server has not, or can't have: told with the field that names it, and what to do."""

from __future__ import annotations

import pytest

from groundplane.sql import text
from tests.sql.conftest import applied, deleted, edited, is_ready, message, thing

LONG = "x" * (text.LONGEST + 1)
CREATE = "create it, or correct spec.forProvider."
ROUTINE = {"name": "plus", "args": ["integer"]}
IN_PUBLIC = {"schema": "public", "privileges": ["SELECT"]}


@pytest.fixture
async def placed(every_sql):
    sql = every_sql
    role, database = sql.name("app"), sql.name("place")
    await sql.run(f'CREATE ROLE "{role}"', f'CREATE DATABASE "{database}"')
    statements = (
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION plus(a int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    )
    await sql.run(*statements, database=database)
    yield sql, await sql.world(), {"role": role, "database": database}
    await sql.close()
    await sql.run(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)', f'DROP ROLE IF EXISTS "{role}"')


GRANTS = [
    ({**IN_PUBLIC, "tables": ["t", "gone"]}, ('table "gone" in schema "public"', f"{CREATE}tables[1]")),
    ({**IN_PUBLIC, "sequences": ["t"]}, ('sequence "t" in schema "public"', f"{CREATE}sequences[0]")),
    ({**IN_PUBLIC, "schema": "gone", "tables": ["t"]}, ('schema "gone"', f"{CREATE}schema")),
    ({"schema": "gone", "privileges": ["USAGE"]}, ('schema "gone"', f"{CREATE}schema")),
    (
        {**IN_PUBLIC, "tables": ["t"], "columns": ["a", "z"]},
        ('column "z" of table "t" in schema "public"', f"{CREATE}columns[1]"),
    ),
    (
        {**IN_PUBLIC, "tables": ["t", "gone"], "columns": ["a"]},
        ('table "gone" in schema "public"', f"{CREATE}tables[1]"),
    ),
    (
        {"schema": "public", "routines": [ROUTINE, {"name": "gone"}], "privileges": ["EXECUTE"]},
        ('routine "public"."gone"()', f"{CREATE}routines[1]"),
    ),
    (
        {"schema": "public", "routines": [{"name": "plus", "args": ["int; drop"]}], "privileges": ["EXECUTE"]},
        ("spec.forProvider.routines", "as PostgreSQL writes a type"),
    ),
    ({"foreignServers": ["gone"], "privileges": ["USAGE"]}, ('foreign server "gone"', f"{CREATE}foreignServers[0]")),
    ({**IN_PUBLIC, "tables": ["t", LONG]}, ("spec.forProvider.tables[1]", "64 bytes")),
    ({**IN_PUBLIC, "tables": ["t"], "columns": [LONG]}, ("spec.forProvider.columns[0]", "64 bytes")),
    (
        {"schema": "public", "routines": [{"name": LONG}], "privileges": ["EXECUTE"]},
        ("spec.forProvider.routines[0].name", "64 bytes"),
    ),
]


@pytest.mark.parametrize(("asked", "words"), GRANTS)
async def test_a_grant_names_the_field_of_what_is_not_there(placed, asked, words):
    _, world, place = placed
    found = message(await applied(world, grant := thing("Grant", "some", **place, **asked)))
    assert all(each in found for each in words), found
    assert await deleted(world, grant, seconds=5) is None


async def test_a_grant_comes_when_its_table_does_and_goes_when_its_routine_was_edited_to_nonsense(placed):
    sql, world, place = placed
    late = thing("Grant", "late", **place, **IN_PUBLIC, tables=["late"])
    assert not is_ready(await applied(world, late))
    await sql.run("CREATE TABLE late (a int)", database=place["database"])
    assert is_ready(await applied(world, late, seconds=70))
    routine = thing("Grant", "routine", **place, schema="public", routines=[ROUTINE], privileges=["EXECUTE"])
    assert is_ready(await applied(world, routine))
    assert "routines" in message(await edited(world, routine, routines=[{"name": "plus", "args": ["int)', ("]}]))
    assert await deleted(world, routine, seconds=5) is None
    query = (
        "SELECT count(*) FROM pg_proc p, aclexplode(p.proacl) x WHERE p.proname = 'plus' AND x.grantee = $1::regrole"
    )
    assert await sql.value(query, f'"{place["role"]}"', database=place["database"]) == 0


OTHERS = [
    ("Extension", {"extension": "citext", "schema": "gone"}, ('schema "gone"', f"{CREATE}schema")),
    ("Extension", {"extension": "citext", "schema": "s"}, ('schema "s"', f"{CREATE}schema")),
    ("Extension", {"extension": "citext", "schema": LONG}, ("spec.forProvider.schema", "64 bytes")),
    ("Schema", {"role": LONG}, ("spec.forProvider.role", "64 bytes")),
    (
        "DefaultPrivileges",
        {"role": "app", "targetRole": "app", "objectType": "table", "privileges": ["SELECT"], "schema": "gone"},
        ('schema "gone"', f"{CREATE}schema"),
    ),
]


@pytest.mark.parametrize(("kind", "asked", "words"), OTHERS)
async def test_others_name_the_field_of_what_is_not_there(placed, kind, asked, words):
    _, world, place = placed
    asked = asked | {field: place["role"] for field, value in asked.items() if value == "app"}
    found = message(await applied(world, thing(kind, "some", database=place["database"], **asked)))
    assert all(each in found for each in words), found


@pytest.mark.soak  # PostgreSQL waits five seconds for the sessions to end
@pytest.mark.parametrize("template", ["", "template1"])
async def test_a_template_that_is_in_use_is_named_with_its_field_and_another_one(placed, template):
    sql, world, _ = placed
    database = thing("Database", sql.name("copy"), **({"template": template} if template else {}))
    async with sql.connected("template1"):
        found = message(await applied(world, database))
    assert "spec.forProvider.template: template1" in found
    assert "or name another one, such as template0" in found
    assert is_ready(await applied(world, database, seconds=70)), "nothing half done"
    assert await deleted(world, database) is None


async def test_a_default_database_that_is_not_there_is_the_provider_configs(placed):
    sql, world, _ = placed
    await world.apply(sql.config(name="away", defaultDatabase="gone"))
    spec = {"providerConfigRef": {"name": "away"}}
    for each in (
        thing("Role", sql.name("some"), spec=spec),
        thing("Extension", "some", spec=spec, extension="citext"),
    ):
        assert "correct spec.defaultDatabase of the ProviderConfig" in message(await applied(world, each))
