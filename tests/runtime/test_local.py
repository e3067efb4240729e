"""The control plane on one machine: who is run again after a write, and who is not."""

import copy

import pytest

from groundplane.aws.cloud import AwsCloud
from groundplane.aws.session import Sessions
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import key_of
from groundplane.ports import Options
from groundplane.runtime import initial
from groundplane.runtime.local import LocalControlPlane
from tests.reconcile import managed, things

SECONDS = 30.0  # until the control plane has nothing left to do now


@pytest.fixture
async def plane(standin, tmp_path):
    cloud = AwsCloud(sessions=Sessions(attempts=1))
    async with LocalControlPlane(tmp_path / "store.db", cloud=cloud) as made:
        await made.cluster.apply(managed.CREDENTIALS, manager="person")
        await made.cluster.apply(managed.provider_config(standin.url), manager="person")
        yield made
    cloud.close()


async def test_a_reconcile_is_not_run_again_for_what_it_wrote_itself(standin, plane):
    standin.fail("s3", "PUT /", "TooManyBuckets", times=1000)
    await plane.cluster.apply(managed.bucket(), manager="person")
    assert await plane.idle(SECONDS)
    assert standin.operations() == ["HEAD /", "PUT /"]


async def test_what_another_process_wrote_is_reconciled(standin, plane, tmp_path):
    other = SqliteCluster(tmp_path / "store.db")
    await other.apply(managed.bucket(), manager="person")
    await plane.cluster.apply(managed.bucket("mine-bucket"), manager="person")
    other.close()
    assert await plane.idle(SECONDS)
    names = {bucket["Name"] for bucket in standin.client("s3").list_buckets()["Buckets"]}
    assert names == {"orders-bucket", "mine-bucket"}


@pytest.mark.parametrize("strict_upstream", [False, True])
async def test_a_store_has_what_a_cluster_has_from_the_start(tmp_path, strict_upstream):
    options = Options(strict_upstream=strict_upstream)
    async with LocalControlPlane(tmp_path / "store.db", options=options) as made:
        for wanted in initial.OBJECTS:
            assert await made.cluster.get(key_of(wanted))
        config = await made.cluster.get(key_of(initial.OBJECTS[1]))
        edited = await made.cluster.update(config | {"spec": {"serviceTemplate": {"metadata": {"name": "ours"}}}})
    async with LocalControlPlane(tmp_path / "store.db", options=options) as again:
        assert await again.cluster.get(key_of(edited)) == edited


async def test_it_is_not_idle_before_all_follow_an_edited_composition(tmp_path):
    composition, claims = copy.deepcopy(things.COMPOSITION), 4
    async with LocalControlPlane(tmp_path / "store.db") as made:
        for obj in (*things.composed_crds(), things.XRD, composition):
            await made.cluster.apply(obj, manager="person")
        assert await made.idle(SECONDS)
        for number in range(claims):
            claim = {**things.THING, "metadata": {"name": f"db-{number}", "namespace": "team-a"}}
            await made.cluster.apply(claim, manager="person")
        assert await made.idle(SECONDS)
        composition["spec"]["resources"][0]["base"]["spec"]["forProvider"]["fixed"] = 2
        await made.cluster.apply(composition, manager="person")
        assert await made.idle(SECONDS)
        composed = await made.cluster.list(things.COMPOSED, "Alpha")
        assert [each["spec"]["forProvider"]["fixed"] for each in composed] == [2] * claims
