"""What was left behind: planted in AWS's stand-in and in a store, all of it found, and nothing of what lives."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import replace

import pytest

from groundplane.aws import tags
from groundplane.core.objects import Key, annotations_of, key_of
from groundplane.errors import Denied
from groundplane.runtime import doctor, moves, orphans
from groundplane.runtime.installation import Installation
from tests.cli.platform import groundplane
from tests.reconcile import managed
from tests.reconcile.conftest import Aws
from tests.standin import REGION

EC2, S3, IAM = (f"{service}.aws.upbound.io/v1beta1" for service in ("ec2", "s3", "iam"))
NAMESPACED = "s3.aws.m.upbound.io/v1beta1"


@pytest.fixture
def aws(standin):
    made = Aws(standin)
    yield made
    made.close()


def bucket(name, api_version=S3, **spec):
    found = {
        "apiVersion": api_version,
        "kind": "Bucket",
        "metadata": {"name": name},
        "spec": {"forProvider": {"region": REGION}, **spec},
    }
    if ".m." in api_version:
        found["metadata"]["namespace"] = "team-a"
    return found


def role(name):
    trust = '{"Version": "2012-10-17", "Statement": []}'
    return {
        "apiVersion": IAM,
        "kind": "Role",
        "metadata": {"name": name},
        "spec": {"forProvider": {"assumeRolePolicy": trust}},
    }


def vpc(name):
    return managed.resource(EC2, "VPC", name, {}, cidrBlock="10.0.0.0/16")


async def forget(world, *objects):
    """Take the objects out of the store as if nobody had ever had them."""
    for each in objects:
        key = key_of(each)
        live = await world.cluster.get(key)
        live["metadata"]["finalizers"] = []
        await world.cluster.update(live)
        await world.cluster.delete(key)


async def lived(aws, *objects):
    world = await aws.world()
    config = managed.provider_config(aws.standin.url)
    config |= {"apiVersion": "aws.m.upbound.io/v1beta1", "kind": "ClusterProviderConfig"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}
    await world.apply(namespace, config, *objects)
    await world.settle(seconds=120)
    return world


def installation(world):
    return Installation(None, world.cluster, world.context)


async def found_in(world, regions=()):
    found, problems = await orphans.orphans(installation(world), regions)
    assert problems == []
    return sorted(f"{each.kind.kind} {each.key.name}" for each in found)


async def test_orphans_of_both_generations_are_found_and_none_of_what_lives(aws):
    lost = (
        [bucket(f"lost-{n}") for n in range(9)]
        + [bucket(f"lost-m-{n}", NAMESPACED) for n in range(3)]
        + [role(f"lost-{n}") for n in range(3)]
    )
    kept = [bucket("kept"), bucket("kept-m", NAMESPACED), role("kept"), vpc("kept")]
    world = await lived(aws, *lost, *kept)
    await forget(world, *lost)
    foreign = {
        "crossplane-uid": "1",
        "crossplane-kind": "bucket.s3.aws.upbound.io",
        "crossplane-providerconfig": "elsewhere",
    }
    for name, has in {"by-hand": {"team": "orders"}, "elsewhere": foreign}.items():
        aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        tagging = {"TagSet": [{"Key": key, "Value": value} for key, value in has.items()]}
        aws.client("s3").put_bucket_tagging(Bucket=name, Tagging=tagging)
    aws.standin.forget_calls()
    assert await found_in(world) == sorted(f"{each['kind']} {each['metadata']['name']}" for each in lost)
    assert aws.writes() == []


async def test_an_object_that_came_back_under_another_uid_has_its_thing(aws):
    world = await lived(aws, bucket("orders"), bucket("other"))
    key = Key(S3, "Bucket", "", "orders")
    live = await world.cluster.get(key)
    await forget(world, live)
    assert await found_in(world) == ["Bucket orders"]
    back = bucket("orders")
    back["metadata"]["annotations"] = {
        "crossplane.io/external-name": annotations_of(live)["crossplane.io/external-name"]
    }
    await world.apply(back)
    assert await found_in(world) == []


async def test_where_no_object_is_left_the_regions_are_to_be_named(aws):
    world = await lived(aws, bucket("orders"))
    await forget(world, bucket("orders"))
    found, (problem,) = await orphans.orphans(installation(world))
    assert (found, problem) == ([], "no object names a region, so none was looked in: name each with --region")
    assert await found_in(world, [REGION]) == ["Bucket orders"]


async def test_orphans_are_adopted_as_they_were(aws):
    things = [bucket("orders"), bucket("orders-m", NAMESPACED), vpc("main")]
    world = await lived(aws, *things, bucket("kept"))
    before = {
        str(key_of(each)): annotations_of(await world.cluster.get(key_of(each)))["crossplane.io/external-name"]
        for each in things
    }
    await forget(world, *things)
    found, _ = await orphans.orphans(installation(world))
    aws.standin.forget_calls()
    lines = await orphans.adopt(installation(world), found)
    assert [line.rpartition(": ")[2] for line in lines] == ["made again"] * 3, lines
    assert aws.writes() == []
    await world.settle(seconds=120)
    for each in things:
        live = await world.cluster.get(key_of(each))
        assert annotations_of(live)["crossplane.io/external-name"] == before[str(key_of(each))]
    assert set(aws.writes()) <= {"CreateTags", "PUT ?tagging"}
    assert await found_in(world) == []
    again = await orphans.adopt(installation(world), found)
    assert all(line.startswith("✘") or "is gone, or another's now" in line for line in again), again


async def test_only_what_nobody_has_is_deleted_in_an_order_that_aws_takes(aws):
    world = await lived(aws, vpc("main"), bucket("orders"), bucket("full"), bucket("kept"), role("saved"))
    subnet = managed.resource(
        EC2, "Subnet", "a", {}, vpcIdRef={"name": "main"}, cidrBlock="10.0.1.0/24", availabilityZone=f"{REGION}a"
    )
    await world.apply(subnet)
    await world.settle(seconds=120)
    await forget(world, vpc("main"), subnet, bucket("orders"), bucket("full"), role("saved"))
    aws.client("s3").put_object(Bucket="full", Key="a", Body=b"b")
    found, _ = await orphans.orphans(installation(world))
    assert len(found) == 5
    saved = next(each for each in found if each.key.name == "saved")
    back = role("saved")
    back["metadata"]["annotations"] = {"crossplane.io/external-name": saved.candidate.external_name}
    await world.apply(back)  # between the look and the deed
    lines = await orphans.delete(installation(world), found, pause=0)
    told = {line.split(",")[0].split(" in ")[0]: line for line in lines}
    assert told["– Role saved"].endswith("has an object now; left alone")
    assert told["✘ Bucket full"].count("BucketNotEmpty") or "empty" in told["✘ Bucket full"]
    assert {each["Name"] for each in aws.buckets()} == {"full", "kept"}
    assert aws.vpcs() == []
    assert [each["RoleName"] for each in aws.roles()] == ["saved"]


async def test_what_was_tagged_by_somebody_else_meanwhile_is_left_alone(aws):
    world = await lived(aws, bucket("orders"), bucket("kept"))
    await forget(world, bucket("orders"))
    found, _ = await orphans.orphans(installation(world))
    tagging = {"TagSet": [{"Key": tags.OWNER, "Value": "another"}]}
    aws.client("s3").put_bucket_tagging(Bucket="orders", Tagging=tagging)
    [line] = await orphans.delete(installation(world), found, pause=0)
    assert line.endswith("is another's now; left alone")
    [line] = await orphans.adopt(installation(world), found)
    assert line.endswith("is gone, or another's now")
    assert "orders" in {each["Name"] for each in aws.buckets()}


async def test_a_list_that_lacks_some_is_no_ground_for_anything(aws, monkeypatch):
    world = await lived(aws, bucket("orders"))
    listed = world.cluster.list

    async def denied(api_version, kind, **how):
        if kind == "VPC":
            raise Denied("VPCs may not be listed")
        return await listed(api_version, kind, **how)

    monkeypatch.setattr(world.cluster, "list", denied)
    with pytest.raises(Denied):
        await orphans.orphans(installation(world))
    [finding] = await doctor.examine(installation(world), {"leaks": orphans.check_leaked})
    assert finding.state == "not allowed"


async def test_objects_without_a_thing_and_deletions_that_nobody_ends(aws):
    stuck = bucket("stuck")
    stuck["metadata"]["finalizers"] = ["example.org/keep"]
    world = await lived(aws, bucket("orders"), bucket("kept"), stuck)
    aws.client("s3").delete_bucket(Bucket="orders")
    await world.cluster.delete(key_of(stuck))
    found = {each.id: each for each in await doctor.examine(installation(world), orphans.ORPHANS)}
    assert found["leaks"].state == "ok"
    assert (found["missing"].state, found["missing"].objects) == ("warning", ("Bucket orders → orders",))
    assert (found["finalizers"].state, found["finalizers"].objects) == ("warning", ("Bucket stuck (example.org/keep)",))
    live = await world.cluster.get(key_of(bucket("kept")))
    await world.cluster.delete(key_of(live))
    idle = copy.copy(installation(world))
    object.__setattr__(idle, "activations", ("*.ec2.*",))
    states = [each.objects for each in await orphans.check_finalizers(idle)]
    assert ("Bucket kept", "Bucket stuck") in states


def test_the_command_asks_before_it_does_anything(aws, tmp_path):
    """On a store: what `groundplane up` has left."""
    db = tmp_path / "store.db"

    async def plant():
        world = await lived(aws, bucket("orders"), bucket("kept"))
        await forget(world, bucket("orders"))
        world.cluster._store._db.execute("vacuum into ?", (str(db),))

    asyncio.run(plant())
    done = groundplane("doctor", "orphans", "--db", db)
    assert done.exit_code == 3, done.output
    assert "! leaks        1 leaked: Bucket orders in eu-west-1, made for Bucket orders" in done.output
    assert f"Mend: look at each; then groundplane doctor orphans --db {db} --adopt --alone makes" in done.output
    for deed in ("--adopt", "--delete"):
        refused = groundplane("doctor", "orphans", "--db", db, deed, "--yes")
        assert refused.exit_code == 1
        assert f"{deed}: what another control plane has made in the account looks the same" in refused.stderr
    done = groundplane("doctor", "orphans", "--db", db, "--delete", "--alone")  # nobody answers
    assert done.exit_code == 1
    assert "Delete 1 thing in AWS? This can't be undone." in done.output
    assert "orders" in {each["Name"] for each in aws.buckets()}
    done = groundplane("doctor", "orphans", "--db", db, "--adopt", "--alone", "--yes")
    assert (done.exit_code, done.output.splitlines()[-1]) == (
        0,
        "✔ Bucket orders in eu-west-1, made for Bucket orders: made again",
    )
    assert (
        "Nothing was left behind."
        in groundplane("doctor", "orphans", "--db", db, "--delete", "--alone", "--yes").output
    )
    assert {each["Name"] for each in aws.buckets()} == {"orders", "kept"}
    for wrong in (("--adopt", "--delete", "--alone"), ("--delete", "--alone", "-o", "json")):
        assert groundplane("doctor", "orphans", "--db", db, *wrong).exit_code == 80
    for usage in (("--region", REGION), ("takeover", "--leaks"), ("--leaks", "--delete", "--alone")):
        assert groundplane("doctor", *usage).exit_code == 80, usage


def test_leaks_are_looked_for_beside_the_installation(aws, tmp_path):
    """Exit code 3 is for leaks alone: what failed beside them counts more."""
    db = tmp_path / "store.db"

    async def plant(*, is_broken):
        world = await lived(aws, bucket("orders"), bucket("kept"))
        await forget(world, bucket("orders"))
        if is_broken:
            secret = {"namespace": "default", "name": "gone", "key": "credentials"}
            broken = {"source": "Secret", "secretRef": secret}
            config = {"apiVersion": "aws.upbound.io/v1beta1", "kind": "ProviderConfig", "metadata": {"name": "broken"}}
            await world.cluster.apply({**config, "spec": {"credentials": broken}}, manager="person")
        db.unlink(missing_ok=True)
        world.cluster._store._db.execute("vacuum into ?", (str(db),))

    asyncio.run(plant(is_broken=False))
    assert "leak" not in groundplane("doctor", "--db", db).output
    done = groundplane("doctor", "--leaks", "--db", db, "-o", "json")
    checks = {each["id"]: each for each in json.loads(done.stdout)["checks"]}
    assert (done.exit_code, list(checks)) == (3, ["definitions", "credentials", "leaks"])
    assert checks["leaks"]["objects"] == ["Bucket orders in eu-west-1, made for Bucket orders"]
    assert (
        groundplane("doctor", "--leaks", "--region", "us-west-2", "--checks", "definitions", "--db", db).exit_code == 3
    )
    aws.client("s3").delete_bucket(Bucket="orders")
    asyncio.run(plant(is_broken=True))
    done = groundplane("doctor", "--leaks", "--db", db)
    assert done.exit_code == 1
    assert "! leaks" in done.output


async def test_what_aws_names_is_counted_without_what_is_elsewhere_in_words_that_agree(aws):
    world = await lived(aws, vpc("net"))
    nop = {"apiVersion": "nop.crossplane.io/v1alpha1", "kind": "NopResource", "spec": {"forProvider": {}}}
    await world.cluster.create(nop | {"metadata": {"name": "nothing", "namespace": "team-a"}})
    found = await moves.check_managed(replace(installation(world), activations=("*",)))
    assert [each.message for each in found] == ["1 managed resource has its name in AWS"]
