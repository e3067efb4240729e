"""`groundplane import` of a PostgreSQL server that people have set up by hand, on a real one that takes no write meanwhile."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml

from groundplane.cli import import_sql, store
from groundplane.core.importing import How
from groundplane.core.objects import key_of, meta
from groundplane.ports import Account
from groundplane.sql import marks
from tests.cli.platform import groundplane
from tests.sql.conftest import is_quiet, is_ready, message, seen
from tests.sql.test_plan import planned, shop  # noqa: F401  # a fixture

PLACE = ("--provider-config", "default", "--db", "groundplane.db")


async def furnish(sql):
    """What somebody made by hand long ago: each kind of thing, and each kind of grant."""
    sql.db, sql.app, sql.team = (sql.name(word) for word in ("sales", "app", "team"))
    db, app, team = sql.db, sql.app, sql.team
    await sql.run(
        f"""CREATE ROLE "{team}" NOLOGIN""",
        f"""CREATE ROLE "{app}" LOGIN PASSWORD 'never-told' CONNECTION LIMIT 5 CREATEDB NOINHERIT""",
        f"""ALTER ROLE "{app}" SET search_path = 'sales, public'""",
        f"""GRANT "{team}" TO "{app}" WITH ADMIN OPTION""",
        f"""CREATE DATABASE "{db}" OWNER "{team}" CONNECTION LIMIT 9""",
        f"""GRANT CONNECT, TEMPORARY ON DATABASE "{db}" TO "{app}" """,
    )
    await sql.run(
        f"""CREATE SCHEMA sales AUTHORIZATION "{team}" """,
        "CREATE EXTENSION citext SCHEMA public",
        "CREATE TABLE sales.orders (id serial, note text)",
        "CREATE TABLE sales.items (id int)",
        "CREATE FUNCTION sales.total(a int, b text[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FOREIGN DATA WRAPPER far",
        "CREATE SERVER there FOREIGN DATA WRAPPER far",
        f"""GRANT USAGE ON SCHEMA sales, public TO "{app}" """,
        f"""GRANT SELECT, INSERT ON sales.orders, sales.items TO "{app}" """,
        f"""GRANT DELETE ON sales.items TO "{app}" WITH GRANT OPTION""",
        f"""GRANT UPDATE (note) ON sales.orders TO "{app}" """,
        f"""GRANT USAGE ON SEQUENCE sales.orders_id_seq TO "{app}" """,
        f"""GRANT EXECUTE ON FUNCTION sales.total TO "{app}" """,
        f"""GRANT USAGE ON FOREIGN SERVER there TO "{app}" """,
        f"""GRANT USAGE ON FOREIGN DATA WRAPPER far TO "{app}" """,
        f"""ALTER DEFAULT PRIVILEGES FOR ROLE "{team}" IN SCHEMA sales GRANT SELECT ON TABLES TO "{app}" """,
        database=db,
    )


@pytest.fixture
def old(shop):  # noqa: F811
    asyncio.run(furnish(shop))
    return shop


def imported(sql, *arguments, names=True):
    """What is told of the test's own things, by a login that can't write; the manifests."""
    own = ("--name", f"*-{sql.number}", "--name", f"*-{sql.number}-*") if names else ()
    asyncio.run(sql.run(f'ALTER ROLE "{sql.user}" SET default_transaction_read_only = on'))
    try:
        ran = groundplane("import", *arguments, *PLACE, *own)
    finally:
        asyncio.run(sql.run("SET default_transaction_read_only = off", f'ALTER ROLE "{sql.user}" RESET ALL'))
    return ran, [each for each in yaml.safe_load_all(ran.stdout) if each] if ran.exit_code != 2 else []


def asked(manifests, kind):
    return [each["spec"]["forProvider"] for each in manifests if each["kind"] == kind]


def test_all_of_a_server_is_written_and_changes_nothing(old):
    ran, manifests = imported(old, "postgresql")
    assert ran.exit_code == 0, ran.output
    db, app, team = old.db, old.app, old.team
    assert asked(manifests, "Role") == [
        {
            "privileges": {"inherit": False, "createDb": True, "login": True},
            "connectionLimit": 5,
            "configurationParameters": [{"name": "search_path", "value": '"sales, public"'}],
        },
        {},
    ]
    assert [each["owner"] for each in asked(manifests, "Database")] == [team]
    assert asked(manifests, "Schema") == [{"database": db, "role": team}]
    assert [(each["extension"], each["schema"]) for each in asked(manifests, "Extension")] == [("citext", "public")]
    on = {"role": app, "database": db}
    grants = asked(manifests, "Grant")
    for each in (
        {"memberOf": team, "role": app, "withOption": "ADMIN"},
        {**on, "privileges": ["CONNECT", "TEMPORARY"]},
        {**on, "schema": "sales", "privileges": ["USAGE"]},
        {**on, "schema": "public", "privileges": ["USAGE"]},
        {**on, "schema": "sales", "privileges": ["INSERT", "SELECT"], "tables": ["items", "orders"]},
        {**on, "schema": "sales", "privileges": ["DELETE"], "withOption": "GRANT", "tables": ["items"]},
        {**on, "schema": "sales", "privileges": ["UPDATE"], "tables": ["orders"], "columns": ["note"]},
        {**on, "schema": "sales", "privileges": ["USAGE"], "sequences": ["orders_id_seq"]},
        {**on, "schema": "sales", "privileges": ["EXECUTE"], "routines": [{"name": "total", "args": ["integer", "text[]"]}]},
        {**on, "privileges": ["USAGE"], "foreignServers": ["there"]},
        {**on, "privileges": ["USAGE"], "foreignDataWrappers": ["far"]},
    ):  # fmt: skip
        assert each in grants
        grants.remove(each)
    assert grants == []
    assert asked(manifests, "DefaultPrivileges") == [
        {**on, "objectType": "table", "privileges": ["SELECT"], "schema": "sales", "targetRole": team}
    ]
    assert "never-told" not in ran.output
    assert planned(old, *manifests).splitlines()[-1].startswith("No changes.")


def test_names_that_no_object_can_have_are_told_and_none_moves_the_cursor(shop):  # noqa: F811
    app, db, red = (shop.name(word) for word in ("app", "odd", "\x1b[31mred"))
    asyncio.run(shop.run(f'CREATE ROLE "{app}"', f'CREATE ROLE "{red}"', f'CREATE DATABASE "{db}"'))
    asyncio.run(
        shop.run(
            'CREATE TABLE "a table" (id int)',
            f'GRANT SELECT ON "a table" TO "{app}"',
            f'CREATE SCHEMA "a\nschema" AUTHORIZATION "{app}"',
            database=db,
        )
    )
    ran, manifests = imported(shop, "postgresql", "--json")
    assert [each["problem"].partition(":")[0] for each in json.loads(ran.stderr) if each["problem"]] == [
        "no Grant can be so"
    ]
    assert red in [
        meta(each)["annotations"]["crossplane.io/external-name"] for each in manifests if each["kind"] == "Role"
    ]
    ran, manifests = imported(shop, "postgresql")
    assert ran.exit_code == 1
    assert '"a table"' in ran.stderr
    assert "\\x1b[31mred" in ran.stderr
    assert "Schema a\\nschema   plan empty" in ran.stderr
    assert asked(manifests, "Grant") == []
    assert planned(shop, *manifests).splitlines()[-1].startswith("No changes.")


@pytest.mark.parametrize("adopt", [False, True])
async def test_the_operator_is_silent_on_what_was_imported(every_sql, adopt):
    """Adopted things are marked once, as the operator's own; nothing else is written, and what there was works on."""
    sql = every_sql
    world = await sql.world()
    await furnish(sql)
    account = Account(sql.config(), {name: text.encode() for name, text in sql.secret()["stringData"].items()})
    wanted = import_sql.kinds(["postgresql"], namespaced=False)
    how = How(provider_config="default", adopt=adopt)
    looks = await import_sql.looks(wanted, how, [f"*-{sql.number}", f"*-{sql.number}-*"], account, foreign=False)
    assert {each.problem for each in looks} == {""}
    manifests = [each.manifest for each in looks]
    assert {each["kind"] for each in manifests} == {each.kind for each in wanted}
    for number, each in enumerate(manifests):
        each["metadata"]["name"] += f"-{number}"
    before = await privileges(sql)
    await world.apply(*manifests)
    await world.settle(seconds=5)
    for each in manifests:
        found = await seen(world, each)
        assert is_ready(found), message(found)
    marked = [each for each in manifests if each["kind"] in ("Role", "Database", "Schema", "Extension")]
    assert len(sql.writes) == (len(marked) if adopt else 0)
    assert await privileges(sql) == before
    assert await is_quiet(world, sql, *manifests)
    for each in manifests:
        await world.cluster.delete(key_of(each))
    await world.settle(seconds=60)
    assert [each for each in manifests if await seen(world, each)] == []
    assert await privileges(sql) == before


async def test_a_login_that_is_no_superuser_writes_what_it_sees(every_sql):
    sql = every_sql
    await sql.world()
    await furnish(sql)
    own = [f"*-{sql.number}", f"*-{sql.number}-*"]
    wanted, how = import_sql.kinds(["postgresql"], namespaced=False), How(provider_config="default")

    async def seen_by_login():
        told = {name: text.encode() for name, text in sql.secret()["stringData"].items()}
        looks = await import_sql.looks(wanted, how, own, Account(sql.config(), told), foreign=False)
        return {
            (each.kind.kind, each.name): (each.problem, each.manifest) for each in looks if sql.user not in each.called
        }

    every = await seen_by_login()
    await sql.boss()
    seen_by_boss = await seen_by_login()
    routines = "Grant", f"{sql.app}-on-{sql.db}-sales-routines"  # a schema that is not its own to look into
    assert seen_by_boss.pop(routines)[0].startswith("permission denied for schema sales (42501). Mend: grant ")
    del every[routines]
    assert seen_by_boss == every


async def privileges(sql):
    """What there is, and who may do what with it, as the server's catalogs say."""
    return [
        await sql.value(f"SELECT array_agg({row}::text ORDER BY 1) FROM {table}", database=sql.db)
        for table, row in (
            ("pg_class c JOIN pg_namespace n ON n.oid = relnamespace AND n.nspname = 'sales'", "(relname, relacl)"),
            ("pg_namespace", "(nspname, nspacl)"),
            ("pg_database", "(datname, datacl, datdba)"),
            ("pg_default_acl", "(defaclrole, defaclacl)"),
            ("pg_roles", "(rolname, rolconfig, rolconnlimit, rolcreatedb)"),
            ("pg_auth_members", "(roleid, member, admin_option)"),
            ("pg_extension", "(extname, extversion)"),
        )
    ]


def test_with_references_and_in_a_namespace(old):
    with store.opened("groundplane.db") as cluster:
        asyncio.run(cluster.apply(old.config(kind="ClusterProviderConfig"), manager="person"))
    ran, manifests = imported(old, "postgresql/grant,postgresql/database,postgresql/roles", "--refs", "-n", "shop")
    assert ran.exit_code == 0, ran.output
    assert {each["apiVersion"] for each in manifests} == {"postgresql.sql.m.crossplane.io/v1alpha1"}
    assert {meta(each)["namespace"] for each in manifests} == {"shop"}
    [database] = asked(manifests, "Database")
    assert database["ownerRef"] == {"name": old.team}
    assert "owner" not in database
    [member] = [each for each in asked(manifests, "Grant") if "memberOfRef" in each]
    assert (member["roleRef"], member["memberOfRef"]) == ({"name": old.app}, {"name": old.team})
    assert {json.dumps(each.get("databaseRef")) for each in asked(manifests, "Grant")} == {
        "null",
        json.dumps({"name": old.db}),
    }
    # no Schema is imported beside
    assert [each for each in asked(manifests, "Grant") if "schemaRef" in each] == []


def test_what_an_object_has_is_passed_over_and_the_servers_own_is_not_asked_for(old):
    mark = marks.written("", {"crossplane-kind": "x", "crossplane-name": "its", "crossplane-uid": "1"})
    asyncio.run(old.run(f"""COMMENT ON ROLE "{old.app}" IS '{mark}'"""))
    ran, manifests = imported(old, "postgresql/role")
    assert ran.exit_code == 0
    assert [meta(each)["name"] for each in manifests] == [old.team]
    assert f"– Role {old.app}: belongs to its of a control plane; skipped (--adopt-foreign)" in ran.stderr
    _, manifests = imported(old, "postgresql/role", "--adopt-foreign")
    assert len(manifests) == 2
    _, manifests = imported(old, "postgresql/role,postgresql/database,postgresql/schema", names=False)
    names = {each["metadata"]["annotations"]["crossplane.io/external-name"] for each in manifests}
    assert not names & {"postgres", "template0", "template1", "pg_monitor", "public", old.user}
    ran, [database] = imported(old, "postgresql/database", "--name", "postgres", names=False)
    assert meta(database)["name"] == "postgres"


def test_what_no_object_can_say_or_be_held_to_is_told(old):
    asyncio.run(
        old.run(
            f"""ALTER DEFAULT PRIVILEGES FOR ROLE "{old.team}" GRANT SELECT ON SEQUENCES TO "{old.app}" """,
            f"""ALTER ROLE "{old.app}" CREATEROLE""",
            database=old.db,
        )
    )
    ran, _ = imported(old, "postgresql/defaultprivileges")
    assert ran.exit_code == 1
    assert f"s-of-{old.team}: is for sequences of every schema, and DefaultPrivileges name one" in ran.stderr
    ran, manifests = imported(old, "postgresql/role", "--adopt")
    assert ran.exit_code == 1
    assert [meta(each)["name"] for each in manifests] == [old.team]
    assert meta(manifests[0])["annotations"]["groundplane.io/adopt"] == "true"
    assert f"✘ Role {old.app}: may do more than work in databases, and can only be looked at" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["postgresql/rolle"], 'PostgreSQL has no kind "rolle" here. Mend: did you mean role?'),
        (["postgresql,bucket"], '"bucket" is not of PostgreSQL'),
        (
            ["postgresql/role", "--name", "nobody"],
            "Role nobody is not there. Mend: list what there is: leave --name out",
        ),
    ],
)
def test_what_is_asked_for_wrongly(shop, arguments, words):  # noqa: F811
    ran = groundplane("import", *arguments, *PLACE)
    assert ran.exit_code == 1
    assert words in ran.stderr


def test_a_server_needs_a_provider_config_and_has_no_tags(shop):  # noqa: F811
    ran = groundplane("import", "postgresql")
    assert ran.exit_code == 1
    assert "no ProviderConfig is named. Mend: write --provider-config default" in ran.stderr
    assert groundplane("import", "postgresql", *PLACE, "--tag", "team").exit_code == 80
