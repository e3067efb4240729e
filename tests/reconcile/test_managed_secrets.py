"""Passwords and connection Secrets of managed resources, helpful defaults, and upstream's behaviour without them."""

from dataclasses import replace

from groundplane.core.objects import Key, key_of
from tests.reconcile import managed, restore
from tests.reconcile.interrupt import Counter, FragileSessions, Killed, Trouble
from tests.reconcile.managed import applied, condition, deleted, get, is_ready, message, secret_of

CONN = Key("v1", "Secret", "team-a", "conn")


async def test_a_generated_password_is_stored_before_the_create_is_called(aws):
    world = await aws.world(sessions=FragileSessions(Counter(1), Trouble.KILLED))
    try:
        await applied(world, managed.instance())
        raise AssertionError("the first call was not the create")
    except Killed:
        stored = await secret_of(world, "crossplane-system", "orders-password")
    assert aws.standin.passwords() == {"orders": stored["password"]}
    assert len(stored["password"]) == 27


async def test_a_password_that_somebody_stored_is_used_and_never_overwritten(aws):
    world = await aws.world()
    await world.apply(managed.secret("orders-password", password=managed.PASSWORD))
    await applied(world, managed.instance(), seconds=10)
    assert aws.standin.passwords() == {"orders": managed.PASSWORD}
    await deleted(world, managed.instance())
    assert await secret_of(world, "crossplane-system", "orders-password") == {"password": managed.PASSWORD}


async def test_a_missing_password_is_awaited_if_it_is_not_to_be_generated(aws):
    world = await aws.world()
    found = await applied(world, managed.instance(autoGeneratePassword=None))
    assert "there is no Secret crossplane-system/orders-password. Mend: create it, with key password, or" in message(
        found
    )
    assert "autoGeneratePassword: true" in message(found)
    assert condition(found, "Ready") == ("False", "Creating")
    await world.apply(managed.secret("orders-password", other="x"))
    await world.settle(seconds=3)
    found = await get(world, managed.instance())
    assert "Secret crossplane-system/orders-password has no key password. Mend: add it, or set" in message(found)
    await world.apply(managed.secret("orders-password", password=managed.PASSWORD))
    await world.settle(seconds=3)
    assert is_ready(await get(world, managed.instance()))


async def test_a_changed_password_reaches_the_database_and_the_connection_secret(aws):
    world = await aws.world()
    await world.apply(managed.secret("orders-password", password=managed.PASSWORD))
    await applied(world, managed.instance(), seconds=10)
    await world.apply(managed.secret("orders-password", password="another-password"))
    await world.settle(seconds=130)
    assert aws.standin.passwords() == {"orders": "another-password"}
    assert (await secret_of(world))["password"] == "another-password"
    aws.standin.forget_calls()
    await world.settle(seconds=130)
    assert aws.writes() == []


async def test_a_password_that_is_restored_after_its_database_is_published_at_once_and_not_sent_again(aws):
    world = await aws.world()
    database = await applied(world, managed.instance(), seconds=30)
    stored = next(obj for obj in world.objects() if key_of(obj)[2:] == ("crossplane-system", "orders-password"))
    fresh = await aws.world()
    options = replace(fresh.context.options, poll_interval=3600.0)
    fresh.context = fresh.engine.context = replace(fresh.context, options=options)
    aws.standin.forget_calls()
    assert is_ready(await applied(fresh, restore.kept(database), seconds=200))
    assert "password" not in await secret_of(fresh)
    await fresh.apply(restore.kept(stored))
    await fresh.settle(seconds=5)
    assert (await secret_of(fresh))["password"] == aws.standin.passwords()["orders"]
    assert set(aws.writes()) <= {"AddTagsToResource"}


async def test_a_password_that_aws_refuses_is_never_quoted(aws):
    world = await aws.world()
    await world.apply(managed.secret("orders-password", password='sl/ash"ed-password'))
    message_ = 'Invalid master password: sl/ash"ed-password'
    aws.standin.fail("rds", "CreateDBInstance", "InvalidParameterValue", message=message_)
    found = await applied(world, managed.instance())
    assert "Invalid master password" in message(found)
    assert "Mend: use 8 to 41 printable ASCII characters" in message(found)


async def test_an_edited_or_deleted_connection_secret_is_repaired(aws):
    world = await aws.world()
    await applied(world, managed.instance(), seconds=10)
    right = await secret_of(world)
    await world.patch(CONN, {"data": {"password": "aGFuZA==", "port": None}})
    await world.settle()
    assert await secret_of(world) == right
    await world.cluster.delete(CONN)
    await world.settle()
    assert await secret_of(world) == right


async def test_a_secret_of_somebody_else_is_not_written(aws):
    world = await aws.world()
    await world.apply(managed.secret("conn", "team-a", mine="mine"))
    found = await applied(world, managed.instance(), seconds=10)
    assert "refusing to modify uncontrolled secret" in message(found)
    assert await secret_of(world) == {"mine": "mine"}
    await world.cluster.delete(CONN)
    await world.settle(seconds=310)
    assert is_ready(await get(world, managed.instance()))
    assert (await secret_of(world))["username"] == "boss"


# --- helpful defaults ----------------------------------------------------------------------------------------------

BARE = {"username": None, "passwordSecretRef": None, "autoGeneratePassword": None}
UNNAMED = {"writeConnectionSecretToRef": {"namespace": "team-a"}}


async def test_user_password_and_the_name_of_the_secret_are_chosen_if_nobody_did_each_with_an_event(aws):
    world = await aws.world()
    found = await applied(world, managed.instance(spec=UNNAMED, **BARE), seconds=10)
    assert is_ready(found)
    assert found["spec"]["forProvider"]["username"] == "postgres"
    assert aws.database()["MasterUsername"] == "postgres"
    secret = await secret_of(world, "team-a", "orders-connection")
    stored = await secret_of(world, "crossplane-system", "orders-master-password")
    assert aws.standin.passwords() == {"orders": secret["password"]} == {"orders": stored["password"]}
    notes = [text for _, _, reason, text in world.told.events if reason == "AssumedDefault"]
    assert len(notes) == 2
    assert "postgres" in notes[0]
    assert "crossplane-system/orders-master-password" in notes[1]
    await deleted(world, managed.instance())
    assert await managed.kinds_left(world) == []


async def test_a_database_whose_password_aws_keeps_publishes_what_aws_generated(aws):
    world = await aws.world()
    manifest = managed.instance(manageMasterUserPassword=True, **BARE | {"username": "boss"})
    found = await applied(world, manifest, seconds=10)
    assert is_ready(found)
    secret = await secret_of(world)
    assert secret["password"] == secret["attribute.password"] != ""
    assert await secret_of(world, "crossplane-system", "orders-master-password") is None


async def test_a_password_that_aws_keeps_and_nobody_lets_us_read_is_told_and_no_failure(aws):
    world = await aws.world()
    aws.standin.fail("secretsmanager", "GetSecretValue", "AccessDeniedException", status=400)
    manifest = managed.instance(manageMasterUserPassword=True, **BARE | {"username": "boss"})
    found = await applied(world, manifest, seconds=60)
    assert is_ready(found)
    assert "password" not in await secret_of(world)
    notes = [text for _, _, reason, text in world.told.events if reason == "ObservedExternalResource"]
    assert any("AccessDeniedException at secretsmanager:GetSecretValue" in note for note in notes)


async def test_strict_upstream_chooses_nothing_and_makes_nothing(aws):
    world = await aws.world(strict=True)
    found = await applied(world, managed.instance(**BARE), seconds=10)
    assert '"username": required field is not set' in message(found)
    assert "username" not in found["spec"]["forProvider"]
    assert aws.databases() == []
    assert ("Normal", "AssumedDefault") not in world.told.reasons("Instance")
    found = await applied(world, managed.instance(**BARE | {"username": "boss"}), seconds=10)
    assert "no password is given" in message(found)
    assert aws.databases() == []


async def test_strict_upstream_wants_a_name_for_the_secret(aws):
    world = await aws.world(strict=True)
    found = await applied(world, managed.instance(spec=UNNAMED), seconds=10)
    assert "spec.writeConnectionSecretToRef needs a name and a namespace" in message(found)
    assert await secret_of(world, "team-a", "orders-connection") is None


async def test_a_password_that_is_no_text_is_told_and_never_keeps_a_database_from_being_deleted(aws):
    world = await aws.world()
    await applied(world, managed.instance(), seconds=10)
    key = Key("v1", "Secret", "crossplane-system", "orders-password")
    await world.patch(key, {"data": {"password": "//79"}})
    await world.settle(seconds=70)
    assert "key password of Secret orders-password is not UTF-8 text" in message(await get(world, managed.instance()))
    await world.cluster.delete(managed.key(managed.instance()))
    await world.settle(seconds=30)
    assert await get(world, managed.instance()) is None
    assert aws.databases() == []
