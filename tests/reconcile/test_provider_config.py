"""ProviderConfigs: what is wrong with them is said on them, their users are counted, and they stay while they have any."""

from dataclasses import replace

import pytest

from groundplane.core.accounts import CHANGES
from groundplane.core.objects import Key
from groundplane.errors import Rejected
from tests.reconcile import managed
from tests.reconcile.managed import CONFIG, condition, get, is_ready, message

SECRET = Key("v1", "Secret", "crossplane-system", "aws")


async def config_of(world):
    return await world.cluster.get(CONFIG)


def from_secret(**reference):
    usual = {"namespace": "crossplane-system", "name": "aws", "key": "creds"}
    return {"credentials": {"source": "Secret", "secretRef": usual | reference}}


FAULTS = {
    "no reference": ({"credentials": {"source": "Secret"}}, "spec.credentials.secretRef is not set"),
    "no such Secret": (from_secret(name="other"), "Secret crossplane-system/other not found"),
    "no such key": (from_secret(key="keys"), 'Secret crossplane-system/aws has no key "keys"'),
    "no INI": (from_secret(key="text"), "is no INI text"),
    "half of a key": (from_secret(key="half"), "has no aws_secret_access_key in section [default]"),
    "no variable": ({"credentials": {"source": "Environment", "env": {"name": "NOPE"}}}, "no such variable"),
    "no file": ({"credentials": {"source": "Filesystem", "fs": {"path": "/nowhere"}}}, "can't read /nowhere"),
    "no role": ({"credentials": {"source": "WebIdentity", "webIdentity": {}}}, "webIdentity.roleARN: is missing"),
    "no Secret of a token": (
        {
            "credentials": {
                "source": "WebIdentity",
                "webIdentity": {
                    "roleARN": "arn:aws:iam::123456789012:role/a",
                    "tokenConfig": {
                        "source": "Secret",
                        "secretRef": {"namespace": "crossplane-system", "name": "other", "key": "token"},
                    },
                },
            }
        },
        "or correct spec.credentials.webIdentity.tokenConfig.secretRef",
    ),
    "a hop without a role": ({"assumeRoleChain": [{"externalID": "x"}]}, "assumeRoleChain[0].roleARN: is missing"),
    "no URL": ({"endpoint": {"url": {"type": "Static"}}}, "spec.endpoint.url.static: is missing"),
    "a faulty URL": ({"endpoint": {"url": {"type": "Static", "static": "here"}}}, '"here" is no URL'),
    "no such service": (
        {"endpoint": {"url": {"type": "Static", "static": "http://127.0.0.1:1"}, "services": ["rds", "elasticach"]}},
        'spec.endpoint.services[1]: no service of AWS: "elasticach". Mend: did you mean elasticache?',
    ),
    "no host": (
        {"endpoint": {"url": {"type": "Dynamic", "dynamic": {}}}},
        "spec.endpoint.url.dynamic.host: is missing",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_wrong_is_said_as_soon_as_it_is_applied_and_taken_back_once_it_is_mended(aws, fault):
    spec, text = FAULTS[fault]
    world = await aws.world(ready=False)
    secret = managed.secret("aws", creds=managed.INI, text="no\nINI", half="aws_access_key_id = AKIATEST")
    await world.apply(secret, managed.provider_config(aws.standin.url, **spec))
    await world.settle()
    found = await config_of(world)
    assert condition(found, "Synced") == ("False", "ReconcileError")
    assert text in message(found)
    assert "Mend: " in message(found)
    assert condition(found, "Ready") == ("False", "Unavailable")
    assert ("Warning", "InvalidProviderConfig") in world.told.reasons("ProviderConfig")
    await world.apply(managed.provider_config(aws.standin.url, assumeRoleChain=[]))
    await world.settle()
    assert condition(await config_of(world), "Ready") == ("True", "Available")
    assert condition(await config_of(world), "Synced") == ("True", "ReconcileSuccess")


@pytest.mark.parametrize("fault", FAULTS)
async def test_strict_upstream_says_nothing_on_the_provider_config(aws, fault):
    world = await aws.world(ready=False, strict=True)
    await world.apply(managed.CREDENTIALS, managed.provider_config(aws.standin.url, **FAULTS[fault][0]))
    await world.settle()
    assert (await config_of(world))["status"] == {"users": 0}
    assert world.told.reasons("ProviderConfig") == set()


async def test_a_source_that_does_not_exist_is_refused_with_those_that_do(aws):
    world = await aws.world(ready=False)
    with pytest.raises(Rejected, match="InjectedIdentity"):
        await world.apply(managed.provider_config(aws.standin.url, credentials={"source": "Sceret"}))


async def test_a_sound_one_is_ready_and_counts(aws):
    world = await aws.world()
    status = (await config_of(world))["status"]
    assert status["users"] == 0
    assert [each["type"] for each in status["conditions"]] == ["Ready"]


async def test_resources_go_on_the_moment_their_secret_appears_or_is_mended(aws):
    world = await aws.world(ready=False)
    await world.apply(managed.provider_config(aws.standin.url), managed.vpc())
    await world.settle()
    found = await get(world, managed.vpc())
    assert "Secret crossplane-system/aws not found" in message(found)
    assert ("Warning", "CannotConnectToProvider") in world.told.reasons("VPC")
    await world.apply(managed.secret("aws", creds="nonsense"))
    await world.settle()
    assert "is no INI text" in message(await get(world, managed.vpc()))
    await world.apply(managed.CREDENTIALS)
    await world.settle(seconds=4)
    assert is_ready(await get(world, managed.vpc()))
    assert condition(await config_of(world), "Synced") == ("True", "ReconcileSuccess")


async def test_resources_wait_for_a_missing_provider_config_and_name_it(aws):
    world = await aws.world(ready=False)
    await world.apply(managed.CREDENTIALS, managed.vpc(spec={"providerConfigRef": {"name": "main"}}))
    await world.settle()
    found = await get(world, managed.vpc())
    assert condition(found, "Ready") == ("False", "Creating")
    assert 'connect failed: cannot get referenced ProviderConfig: "main" not found' in message(found)
    await world.apply(managed.provider_config(aws.standin.url, name="main"))
    await world.settle(seconds=2)
    assert is_ready(await get(world, managed.vpc()))


async def test_refused_credentials_delete_nothing_and_are_tried_again(aws):
    world = await aws.world()
    await world.apply(managed.vpc())
    await world.settle(seconds=10)
    aws.standin.fail("ec2", "*", "AuthFailure", status=401, times=10_000, message="credentials are not valid")
    await world.settle(seconds=120)
    found = await get(world, managed.vpc())
    assert condition(found, "Ready") == ("True", "Available")
    assert "AuthFailure" in message(found)
    assert (
        "observe failed: AuthFailure: credentials are not valid. Mend: store valid ones under key creds of Secret"
        in message(found)
    )
    await world.cluster.delete(managed.key(managed.vpc()))
    await world.settle(seconds=120)
    assert await get(world, managed.vpc()) is not None
    aws.standin.mend()
    assert len(aws.vpcs()) == 1
    await world.settle(seconds=120)
    assert aws.vpcs() == []


async def test_another_account_is_used_once_the_secret_is_rotated(aws):
    world = await aws.world()
    role = "arn:aws:iam::111111111111:role/other"
    keys = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="other")["Credentials"]
    lines = ["[default]", f"aws_access_key_id = {keys['AccessKeyId']}", "aws_secret_access_key = other-key"]
    rotated = "\n".join([*lines, f"aws_session_token = {keys['SessionToken']}"])
    await world.apply(managed.secret("aws", creds=rotated), managed.vpc())
    await world.settle(seconds=10)
    found = await get(world, managed.vpc())
    assert is_ready(found)
    assert found["status"]["atProvider"]["ownerId"] == "111111111111"
    assert aws.vpcs() == []


def keys(name):
    return f"[default]\naws_access_key_id = {name}\naws_secret_access_key = {managed.SECRET_KEY}\n"


async def refused(aws, world, *manifests):
    """Managed resources that were Ready, and whose credentials AWS does not take any more."""
    await world.apply(*manifests)
    await world.settle(seconds=10)
    aws.standin.fail("*", "*", "InvalidClientTokenId", status=403, times=10_000, key="AKIATEST")
    await world.settle(seconds=100)
    for manifest in manifests:
        assert "InvalidClientTokenId" in message(await get(world, manifest))


@pytest.mark.parametrize("strict", [False, True])
async def test_what_failed_goes_on_when_its_credentials_are_rotated_without_any_other_event(aws, strict):
    world = await aws.world(strict=strict)
    await refused(aws, world, managed.vpc(), managed.vpc("other"), managed.role())
    await world.apply(managed.secret("aws", creds=keys("AKIAROTATED")))
    await world.settle()  # no time passes
    for manifest in (managed.vpc(), managed.vpc("other"), managed.role()):
        assert is_ready(await get(world, manifest))


async def test_what_is_to_be_deleted_goes_on_when_credentials_are_rotated_whose_provider_config_is_to_be_deleted(aws):
    world = await aws.world()
    await refused(aws, world, managed.vpc())
    await world.cluster.delete(managed.key(managed.vpc()))
    await world.cluster.delete(CONFIG)
    await world.settle()
    await world.apply(managed.secret("aws", creds=keys("AKIAROTATED")))
    await world.settle(seconds=5)
    assert await get(world, managed.vpc()) is None
    assert await config_of(world) is None


async def test_credentials_that_change_again_and_again_are_followed_ever_so_often_and_it_says_so(aws):
    world = await aws.world()
    await managed.applied(world, managed.vpc(), seconds=10)
    aws.standin.forget_calls()
    for number in range(40):
        await world.apply(managed.secret("aws", creds=keys(f"AKIA{number}")))
        await world.settle()  # no time passes
    assert aws.standin.operations().count("DescribeVpcs") <= CHANGES
    assert (
        "change again and again, and are followed every ten seconds. Mend: find out who writes them"
        in world.told.text()
    )
    aws.standin.fail("*", "*", "InvalidClientTokenId", status=403, times=10_000, key="AKIA38")
    await world.settle(seconds=15)
    assert condition(await config_of(world), "Ready") == ("True", "Available")
    assert is_ready(await get(world, managed.vpc()))


async def test_a_clock_that_is_set_back_keeps_nobody_from_new_credentials(aws):
    world = await aws.world()
    await managed.applied(world, managed.vpc(), seconds=10)
    up = world.context.uptime()  # goes on as if nothing had happened
    world.context = world.engine.context = replace(world.context, uptime=lambda: up)
    world.clock.advance(-3600)
    await world.apply(managed.secret("aws", creds=keys("AKIANEW")))
    await world.settle(seconds=15)
    assert "change again and again" not in world.told.text()
    assert is_ready(await get(world, managed.vpc()))


async def test_a_secret_that_changes_in_what_nobody_uses_wakes_nobody(aws):
    world = await aws.world()
    await world.apply(managed.vpc())
    await world.settle(seconds=10)
    aws.standin.forget_calls()
    await world.patch(SECRET, {"metadata": {"labels": {"touched": "yes"}}, "stringData": {"another": "value"}})
    await world.settle()
    assert aws.standin.operations() == []


# --- users -----------------------------------------------------------------------------------------------------


async def test_users_are_counted_and_hold_it_until_the_last_is_gone(aws):
    world = await aws.world()
    await world.apply(managed.vpc(), managed.role())
    await world.settle(seconds=10)
    assert (await config_of(world))["status"]["users"] == 2
    await world.cluster.delete(CONFIG)
    await world.settle(seconds=60)
    found = await config_of(world)
    assert condition(found, "Terminating") == ("True", "InUse")
    assert "while 2 managed resources use it; delete them first" in message(found, "Terminating")
    assert message(found, "Terminating").endswith("; providerconfigusages.aws.upbound.io say which")
    assert ("Warning", "UsageAccounting") in world.told.reasons("ProviderConfig")
    await world.cluster.delete(managed.key(managed.vpc()))
    await world.settle(seconds=40)
    assert (await config_of(world))["status"]["users"] == 1
    await world.cluster.delete(managed.key(managed.role()))
    await world.settle(seconds=40)
    assert await config_of(world) is None
    assert (aws.vpcs(), aws.roles()) == ([], [])


async def test_a_usage_moves_with_its_resource_to_another_provider_config(aws):
    world = await aws.world()
    await world.apply(managed.provider_config(aws.standin.url, name="other"), managed.vpc())
    await world.settle(seconds=10)
    await world.patch(managed.key(managed.vpc()), {"spec": {"providerConfigRef": {"name": "other"}}})
    await world.settle(seconds=10)
    assert (await world.cluster.get(CONFIG._replace(name="other")))["status"]["users"] == 1
    assert (await config_of(world))["status"]["users"] == 0


async def test_a_usage_that_belongs_to_nobody_is_taken_away(aws):
    world = await aws.world()
    stray = {
        "apiVersion": managed.AWS,
        "kind": "ProviderConfigUsage",
        "metadata": {"name": "stray", "labels": {"crossplane.io/provider-config": "default"}},
        "providerConfigRef": {"name": "default"},
        "resourceRef": {"apiVersion": managed.EC2, "kind": "VPC", "name": "gone"},
    }
    await world.apply(stray)
    await world.settle()
    assert await world.cluster.list(managed.AWS, "ProviderConfigUsage") == []
    assert (await config_of(world))["status"]["users"] == 0


async def test_an_unchanged_one_is_not_written(aws):
    world = await aws.world()
    before = world.cluster.writes
    await aws.restarted(world).settle(seconds=600)
    assert world.cluster.writes == before


async def test_users_are_counted_right_by_a_new_process_and_what_is_nobodys_is_taken_away_for_it(aws):
    world = await aws.world()
    await world.apply(managed.vpc(), managed.role())
    await world.settle(seconds=10)
    await world.cluster.delete(CONFIG)
    await world.settle()
    nobodys = {
        "apiVersion": managed.AWS,
        "kind": "ProviderConfigUsage",
        "metadata": {"name": "nobodys", "labels": {"crossplane.io/provider-config": "default"}},
        "providerConfigRef": {"name": "default"},
        "resourceRef": {"apiVersion": managed.EC2, "kind": "VPC", "name": "gone"},
    }
    await world.cluster.create(nobodys)
    world = aws.restarted(world)
    await world.settle(seconds=40)
    assert "while 2 managed resources use it" in message(await config_of(world), "Terminating")
    assert (await config_of(world))["status"]["users"] == 2
    for manifest in (managed.vpc(), managed.role()):
        await world.cluster.delete(managed.key(manifest))
    await world.settle(seconds=60)
    assert await config_of(world) is None


async def test_where_the_token_is_not_read_from_is_told_once(aws):
    identity = {
        "roleARN": "arn:aws:iam::123456789012:role/a",
        "tokenConfig": {"source": "Filesystem", "fs": {"path": "/x"}},
    }
    world = await aws.world()
    config = managed.provider_config(aws.standin.url, name="upbound")
    config["spec"]["credentials"] = {"source": "Upbound", "upbound": {"webIdentity": identity}}
    await world.apply(config)
    await world.settle(seconds=120)
    told = [each for each in world.told.events if "upbound.webIdentity.tokenConfig has no effect" in each[3]]
    assert len(told) == 1
