"""`groundplane plan` and `apply` on a store, against AWS's stand-in: what would be done, and that no more is."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import shutil
import stat
import time
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from groundplane.cli import apply, manifests, planned
from groundplane.cli.plan import _save
from groundplane.cli.store import opened as store_of
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import managed
from groundplane.core.explain import LAST_APPLIED
from groundplane.core.objects import Key, annotations_of, key_of, meta
from groundplane.errors import Conflict, GroundplaneError
from groundplane.ports import Options
from groundplane.runtime.local import LocalControlPlane
from tests.cli import filled, looked
from tests.cli.filled import claim, read, version
from tests.cli.platform import groundplane

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
READING = ("Describe", "Get", "List", "Head", "GET", "HEAD")


@pytest.fixture(scope="module")
def store(standin_process, tmp_path_factory):
    """A store of two databases in their network, all of it in the stand-in."""
    standin_process.reset()
    path = tmp_path_factory.mktemp("store") / "groundplane.db"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": standin_process.url}).items():
            patch.setenv(name, value)
        asyncio.run(asyncio.wait_for(looked.fill(path), 120))
        yield path


@pytest.fixture
def aws(standin_process):
    standin_process.mend()
    standin_process.forget_calls()
    yield standin_process
    standin_process.mend()


@pytest.fixture
def plan(store, aws, tmp_path, monkeypatch):
    """Write objects to change.yaml and plan it, on a copy of the store; nothing may be written, there or in AWS."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(store, "groundplane.db")

    def ask(*objects, flags=()):
        paths = ["change.yaml"] if objects else []
        (tmp_path / "change.yaml").write_text(yaml.safe_dump_all(objects))
        before = version(tmp_path / "groundplane.db")
        ran = groundplane("plan", *paths, "--db", "groundplane.db", *flags)
        assert version(tmp_path / "groundplane.db") == before
        assert [call for call in aws.operations() if not call.startswith(READING)] == []
        return ran

    return ask


def composition(**changes):
    (found,) = copy.deepcopy(read("composition.yaml"))
    found["spec"]["resources"][0]["base"]["spec"]["forProvider"] |= changes
    return found


def record(ran):
    return json.loads(ran.stdout)


def test_what_is_as_wanted_is_said_to_be(plan, aws):
    ran = plan()
    assert ran.stdout == "No changes. 7 resources match AWS.\n"
    assert "DescribeDBInstances" in aws.operations()
    assert plan(claim("orders")).stdout == "No changes. 1 resource matches AWS.\n"
    assert plan(composition(), flags=("--detailed-exitcode", "--forbid", "add,change,unknown")).exit_code == 0


def test_a_composition_s_change_is_told_of_each_that_it_reaches(plan):
    ran = plan(composition(storageType="gp2"))
    assert ran.exit_code == 0, ran.output
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("AWS 123456789012 eu-west-1; 2 of 2 XDatabase change; ")
    assert lines[1].startswith("~ Instance orders-")
    assert lines[1].endswith("   (Database my-team/orders › instance)")
    late = "waits for the maintenance window (applyImmediately: false)"
    assert lines[2] == f'    spec.forProvider.storageType: "gp3" → "gp2"   {late}'
    assert lines[-1] == "Plan: 0 to add, 2 to change, 0 to destroy, 0 blocked, 0 to forget, 0 unknown."
    assert plan(composition(storageType="gp2"), flags=("--detailed-exitcode",)).exit_code == 2
    one = record(plan(composition(storageType="gp2"), flags=("-o", "json", "--resource", "my-team/users")))
    (resource,) = one["resources"]
    assert resource["owner"]["name"] == "users"
    assert resource["changes"][0]["from"] == "Composition database-aws"
    told = plan(composition(storageType="gp2"), flags=("--refresh=false", "-o", "json"))
    assert record(told)["summary"]["change"] == 2
    assert record(told)["calls"] == 0


def test_what_aws_can_t_change_is_blocked(plan):
    ran = plan(claim("orders", engine="mysql", version="8.0"), flags=("--forbid", "blocked"))
    assert ran.exit_code == 3
    assert "0 of 1 XDatabase change, 1 is blocked" in ran.stdout
    assert (
        'spec.forProvider.engine: "postgres" → "mysql"   immutable in AWS. Mend: make a second Database and move the data.'
        in ran.stdout
    )


def test_what_is_not_made_yet_is_followed_with_what_its_making_tells(plan):
    text = yaml.safe_dump_all(read("network.yaml")).replace("database", "other")
    ran = plan(*yaml.safe_load_all(text), claim("fourth"))
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.count("\n+ ") == 6
    assert "    spec.forProvider.vpcId: (known after apply)" in ran.stdout
    assert "+ Instance fourth-" in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("Plan: 6 to add, 0 to change")


def test_the_name_that_something_new_will_have_is_told_and_filled_in_elsewhere(plan):
    def of(kind, **asked):
        return {
            "apiVersion": "s3.aws.upbound.io/v1beta1",
            "kind": kind,
            "metadata": {"name": "new-photos", "labels": {"for": "photos"}},
            "spec": {"forProvider": {"region": "eu-west-1", **asked}},
        }

    selector = {"matchLabels": {"for": "photos"}}
    versioning = of("BucketVersioning", bucketSelector=selector, versioningConfiguration=[{"status": "Enabled"}])
    ran = plan(versioning, of("Bucket"))
    assert '+ Bucket new-photos\n    metadata.annotations[crossplane.io/external-name]: "new-photos"\n' in ran.stdout
    assert '+ BucketVersioning new-photos\n    spec.forProvider.bucket: "new-photos"\n' in ran.stdout
    assert "2 to add, 0 to change" in ran.stdout


def test_what_no_template_makes_any_more_is_destroyed_or_forgotten(plan, store, tmp_path):
    source = composition()
    source["spec"]["resources"][0]["name"] = "renamed"
    ran = plan(source)
    assert ran.stdout.count("\n- Instance ") == 2
    assert "Plan: 2 to add, 0 to change, 2 to destroy" in ran.stdout

    async def orphan():
        cluster = SqliteCluster(tmp_path / "groundplane.db")
        for obj in await cluster.list("rds.aws.upbound.io/v1beta1", "Instance"):
            await cluster.patch(key_of(obj), {"spec": {"deletionPolicy": "Orphan"}})
        cluster.close()

    asyncio.run(orphan())
    ran = plan(source)
    assert ran.stdout.count("\n. Instance ") == 2
    assert "Plan: 2 to add, 0 to change, 0 to destroy, 0 blocked, 2 to forget" in ran.stdout


def bucket():
    """A Bucket of the library, with its platform."""
    folder = filled.DATABASE.parent / "bucket-aws"
    files = [folder / name for name in ("definition.yaml", "composition.yaml", "examples/claim.yaml")]
    return [found.object for file in files for found in manifests.read(file)]


def test_what_follows_from_something_new_is_planned_and_applied(plan):
    made = plan(*bucket(), flags=("--out", "p.json"))
    assert (made.exit_code, made.stderr) == (0, "")
    assert "Plan: 7 to add, 0 to change, 0 to destroy, 0 blocked, 0 to forget, 0 unknown." in made.stdout
    ran = groundplane("apply", "p.json", "--db", "groundplane.db")
    assert ran.exit_code == 0, ran.output
    assert "Applied: 7 added, 0 changed, 0 destroyed." in ran.stdout
    assert groundplane("plan", "change.yaml", "--db", "groundplane.db").stdout == "No changes. 7 resources match AWS.\n"


def test_what_follows_from_what_can_t_be_seen_blames_nobody_else(plan, aws):
    *platform, claimed = bucket()
    claimed["metadata"]["name"] = "photos"
    aws.fail("s3", "HEAD /", "AccessDenied", status=403, times=100)
    ran = plan(*platform, claimed)
    assert "? Bucket photos-" in ran.stdout
    assert ran.stdout.count("    it needs Bucket photos-") == 1, "five are told as one"
    assert "status.arn" not in ran.stderr, "the Composition is right"
    assert ran.stderr.startswith("ERROR: XBucket photos-")
    assert "can't be told, since that can't be" in ran.stderr


def test_what_is_named_alike_is_no_cause(plan, aws):
    """A RouteTable is no Table."""
    spec = {"forProvider": {"region": "eu-west-1"}}
    table = {
        "apiVersion": "dynamodb.aws.upbound.io/v1beta1",
        "kind": "Table",
        "metadata": {"name": "orders"},
        "spec": spec,
    }
    aws.fail("dynamodb", "DescribeTable", "AccessDenied", status=403, times=100)
    reference = {"region": "eu-west-1", "routeTableIdRef": {"name": "orders"}, "subnetIdRef": {"name": "orders"}}
    other = {
        "apiVersion": "ec2.aws.upbound.io/v1beta1",
        "kind": "RouteTableAssociation",
        "metadata": {"name": "orders"},
        "spec": {"forProvider": reference},
    }
    ran = plan(table, other)
    assert "? Table orders" in ran.stdout
    assert "? RouteTableAssociation orders" in ran.stdout
    assert "it needs Table orders" not in ran.stdout


def test_under_another_external_name_the_old_thing_stays_and_is_told_of(plan, aws, monkeypatch):
    monkeypatch.setattr(managed, "GRACE", timedelta())  # else what was made just now is waited for
    (group,) = [obj for obj in read("network.yaml") if obj["kind"] == "SubnetGroup"]
    own, other = meta(group)["name"], copy.deepcopy(group)
    other["metadata"]["annotations"] = {"crossplane.io/external-name": "renamed"}
    path = "    metadata.annotations[crossplane.io/external-name]"

    def goes(obj, flags=("--out", "p.json")):
        told = plan(obj, flags=flags).stdout.splitlines()
        ran = groundplane("apply", "p.json", "--db", "groundplane.db")
        assert ran.exit_code == 0, ran.output
        aws.forget_calls()
        return told

    told = goes(other)
    assert told[1] == f"+ SubnetGroup {own}"
    assert told[2] == f'{path}: "{own}" → "renamed"   {own} stays, and nobody here knows it any more'
    assert sum("external-name" in line for line in told) == 1
    group["metadata"]["annotations"] = {"crossplane.io/external-name": own}
    told = goes(group)
    assert told[1] == f". SubnetGroup {own}", "it is there as it should be: nothing is sent"
    assert told[2] == f'{path}: "renamed" → "{own}"   renamed stays, and nobody here knows it any more'
    assert "1 to forget" in told[-1]
    assert groundplane("plan", "change.yaml", "--db", "groundplane.db").stdout.startswith("No changes.")


def test_of_what_is_taken_over_the_tag_with_a_uid_is_known_once_the_object_is_there(plan, aws):
    aws.client("s3").create_bucket(Bucket="old", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    aws.forget_calls()
    taken = {
        "apiVersion": "s3.aws.upbound.io/v1beta1",
        "kind": "Bucket",
        "metadata": {"name": "old"},
        "spec": {"forProvider": {"region": "eu-west-1"}},
    }
    ran = plan(taken)
    assert "crossplane-uid" in ran.stdout
    assert "0000-4000" not in ran.stdout
    assert "(known after apply)" in ran.stdout


def test_a_region_that_there_is_not_is_told_as_that(plan):
    assert "immutable in AWS" in plan(composition(region="us-east-1")).stdout
    ran = plan(composition(region="mars"))
    assert '    spec.forProvider.region: "mars" is no region of AWS. Mend: name one: eu-west-1' in ran.stdout
    assert "immutable" not in ran.stdout


def test_what_somebody_changed_outside_is_told_apart(plan, aws):
    rds = aws.client("rds")
    name = next(each["DBInstanceIdentifier"] for each in rds.describe_db_instances()["DBInstances"])
    rds.modify_db_instance(DBInstanceIdentifier=name, BackupRetentionPeriod=3, ApplyImmediately=True)
    aws.forget_calls()
    try:
        ran = plan()
        assert f"Changed outside: Instance {name} backupRetentionPeriod 3 (would be set to 7)" in ran.stdout
        assert "1 to change" in ran.stdout
        assert [each["path"] for each in record(plan(flags=("-o", "json")))["outside"]] == [
            "spec.forProvider.backupRetentionPeriod"
        ]
    finally:
        rds.modify_db_instance(DBInstanceIdentifier=name, BackupRetentionPeriod=7, ApplyImmediately=True)


def test_tags_that_say_whose_a_thing_is_are_the_control_planes(plan, aws):
    """As after `migrate take-over`, where the thing has gone over and its tags have still to follow."""
    rds = aws.client("rds")
    arn, name = next(
        (each["DBInstanceArn"], each["DBInstanceIdentifier"]) for each in rds.describe_db_instances()["DBInstances"]
    )
    (owner,) = [
        each for each in rds.list_tags_for_resource(ResourceName=arn)["TagList"] if each["Key"] == "crossplane-uid"
    ]
    rds.add_tags_to_resource(
        ResourceName=arn, Tags=[{"Key": "crossplane-uid", "Value": "another"}, {"Key": "x", "Value": "y"}]
    )
    aws.forget_calls()
    try:
        ran = plan()
        assert f'    spec.forProvider.tags[crossplane-uid]: "another" → "{owner["Value"]}"' in ran.stdout
        assert f'Changed outside: Instance {name} tags[x] + "y" (would be removed)' in ran.stdout
        assert [each["path"] for each in record(plan(flags=("-o", "json")))["outside"]] == ["spec.forProvider.tags[x]"]
    finally:
        rds.add_tags_to_resource(ResourceName=arn, Tags=[owner])
        rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["x"])


def test_what_can_t_be_seen_is_unknown_and_never_no_changes(plan, aws):
    aws.fail("rds", "DescribeDBInstances", "AccessDenied", times=100)
    ran = plan(flags=("--forbid", "unknown"))
    assert ran.exit_code == 3
    assert "No changes" not in ran.stdout
    assert ran.stdout.count("\n? Instance ") == 2
    assert "2 unknown." in ran.stdout
    ran = plan(composition(storageType="gp2"))
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.count("\n    DescribeDBInstances: AccessDenied: ") == 2, "however often each was looked at"


def test_a_plan_of_some_is_not_saved_and_not_applied_if_the_files_reach_others(plan, tmp_path):
    ran = plan(composition(storageType="gp2"), flags=("--resource", "my-team/users", "--out", "p.json"))
    assert ran.exit_code == 1
    assert "leaves out what these files change as well: " in ran.stderr
    assert "orders" in ran.stderr
    assert not (tmp_path / "p.json").exists()
    definition = read("definition.yaml")[0]
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "Another."
    ran = plan(definition, flags=("--resource", "my-team/users", "--out", "p.json"))
    assert (ran.exit_code, "orders" in ran.stderr) == (1, True), ran.output
    found = asyncio.run(
        planned.make(planned.Asked(("change.yaml",), resource=("my-team/users",)), ("groundplane.db", "", ""))
    )
    _save(found.plan, "p.json")  # as if somebody had saved it all the same
    before = version(tmp_path / "groundplane.db")
    ran = groundplane("apply", "p.json", "--db", "groundplane.db")
    assert ran.exit_code == 1
    assert "leaves out" in ran.stderr
    assert version(tmp_path / "groundplane.db") == before
    for flags in (("--resource", "my-team/users"), ("-n", "my-team")):
        assert plan(composition(), claim("users"), flags=(*flags, "--out", "p.json")).exit_code == 0


def test_a_plan_is_not_stale_because_nobody_says_what_it_is_of(plan, tmp_path, monkeypatch):
    plan(composition(backupRetentionPeriod=8), flags=("--out", "p.json"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    ran = groundplane("apply", tmp_path / "p.json")
    assert ran.exit_code == 1
    assert "the plan is stale" not in ran.stderr
    assert "no kubeconfig at" in ran.stderr
    assert "--db" in ran.stderr


def test_a_saved_plan_is_applied_exactly_or_refused(plan, aws, store):
    change = (composition(backupRetentionPeriod=8), claim("third"))
    try:
        made = plan(*change, flags=("--out", "p.json"))
        assert made.stdout.endswith("   Saved: p.json, valid 24 h\n")
        with open("p.json", encoding="utf-8") as file:
            text = file.read()
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
        assert not any(password in text for password in aws.passwords().values())

        rds = aws.client("rds")
        name = sorted(each["DBInstanceIdentifier"] for each in rds.describe_db_instances()["DBInstances"])[0]
        rds.modify_db_instance(DBInstanceIdentifier=name, PubliclyAccessible=True, ApplyImmediately=True)
        aws.forget_calls()
        ran = groundplane("apply", "p.json", "--db", "groundplane.db")
        assert ran.exit_code == 4
        assert ran.stderr == (
            f"Error: the plan is stale: Instance {name} spec.forProvider.publiclyAccessible was false, is true (changed outside). "
            "Mend: plan again.\n"
        )
        assert [call for call in aws.operations() if not call.startswith(READING)] == []
        rds.modify_db_instance(DBInstanceIdentifier=name, PubliclyAccessible=False, ApplyImmediately=True)

        aws.forget_calls()
        ran = groundplane("apply", "p.json", "--db", "groundplane.db")
        assert ran.exit_code == 0, ran.output
        assert ran.stdout.splitlines()[-1] == "Applied: 1 added, 2 changed, 0 destroyed."
        calls = [call for call in aws.operations() if not call.startswith(READING)]
        assert calls.count("CreateDBInstance") == 1
        assert set(calls) <= {"CreateDBInstance", "ModifyDBInstance", "AddTagsToResource"}
        assert (
            groundplane("plan", "change.yaml", "--db", "groundplane.db").stdout
            == "No changes. 3 resources match AWS.\n"
        )
        assert groundplane("apply", "p.json", "--db", "groundplane.db").exit_code == 4
    finally:
        shutil.copy("groundplane.db", store)  # what is in AWS by now


def test_what_is_unknown_is_applied_only_by_who_says_so(plan, tmp_path):
    config = {
        "apiVersion": "kubernetes.crossplane.io/v1alpha1",
        "kind": "ProviderConfig",
        "metadata": {"name": "here"},
        "spec": {"credentials": {"source": "InjectedIdentity"}},
    }
    made, taken = (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "my-team"},
            "data": {"a": "b"},
        }
        for name in ("made", "taken")
    )
    source = {"apiVersion": "v1", "kind": "ConfigMap", "name": "made", "namespace": "my-team", "fieldPath": "data.a"}

    def thing(manifest, **spec):
        return {
            "apiVersion": "kubernetes.crossplane.io/v1alpha2",
            "kind": "Object",
            "metadata": {"name": manifest["metadata"]["name"]},
            "spec": {"forProvider": {"manifest": manifest}, "providerConfigRef": {"name": "here"}, **spec},
        }

    things = [thing(made), thing(taken, references=[{"patchesFrom": source}])]
    assert (
        "1 to add, 0 to change, 0 to destroy, 0 blocked, 0 to forget, 1 unknown"
        in plan(config, *things, flags=("--out", "p.json")).stdout
    )
    before = version(tmp_path / "groundplane.db")
    ran = groundplane("apply", "p.json", "--db", "groundplane.db")
    assert ran.exit_code == 1
    assert "it can't be told what would be done to Object taken: " in ran.stderr
    assert "apply --allow-unknown" in ran.stderr
    assert ran.stderr.count("Mend: ") == 1
    assert version(tmp_path / "groundplane.db") == before
    ran = groundplane("apply", "p.json", "--db", "groundplane.db", "--allow-unknown")
    assert ran.exit_code == 0, ran.output
    with store_of(str(tmp_path / "groundplane.db")) as cluster:
        assert cluster.peek(key_of(taken)) is not None


def test_a_store_whose_nopresources_live_in_no_namespace_is_applied_to(plan, tmp_path, monkeypatch):
    async def install():
        async with LocalControlPlane("other.db", options=Options(nop_scope="cluster")):
            pass

    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "some", "namespace": "my-team"}}
    plan(settings)
    asyncio.run(install())
    place = ("--db", "other.db")
    assert groundplane("plan", "change.yaml", *place, "--out", "p.json").exit_code == 0
    before = version(tmp_path / "other.db")
    with monkeypatch.context() as patch:
        patch.setattr(apply, "_nop_scope", lambda cluster: "namespaced")  # what can't be installed
        ran = groundplane("apply", "p.json", *place)
        assert (ran.exit_code, "immutable" in ran.stderr) == (1, True)
        assert version(tmp_path / "other.db") == before, "a file was applied before all was looked at"
    ran = groundplane("apply", "p.json", *place)
    assert ran.exit_code == 0, ran.output


def test_on_a_cluster_what_was_not_planned_is_paused(plan, tmp_path):
    async def oversee():
        found = await planned.make(planned.Asked(("change.yaml",)), ("groundplane.db", "", ""))
        without = replace(found, plan=replace(found.plan, steps=()))
        cluster = SqliteCluster(tmp_path / "groundplane.db")
        try:
            with pytest.raises(GroundplaneError, match="paused, since it is not in the plan: Instance orders-"):
                await apply._Overseer(cluster, without).run(time.monotonic() + 30)
            (paused,) = [
                obj
                for obj in await cluster.list("rds.aws.upbound.io/v1beta1", "Instance")
                if annotations_of(obj).get("crossplane.io/paused") == "true"
            ]
            assert meta(paused)["name"].startswith("orders-")
        finally:
            cluster.close()

    plan(claim("orders"))
    asyncio.run(oversee())
    # until somebody takes the annotation off, also if `apply` was killed
    every = plan(flags=("-v",))
    [paused] = [line for line in every.stdout.splitlines() if line.startswith("Paused")]
    assert re.fullmatch(r"Paused, and not looked at: Instance orders-[-\w]+", paused), every.stdout
    told = plan(claim("orders")).stdout
    assert told == f"No changes: all that this concerns is paused.\n{paused}\n"


def test_on_a_cluster_what_the_operator_has_still_to_come_to_is_not_paused(plan, tmp_path):
    assert "~ Instance orders-" in plan(composition(storageType="gp2")).stdout

    async def oversee():
        found = await planned.make(planned.Asked(("change.yaml",)), ("groundplane.db", "", ""))
        cluster = SqliteCluster(tmp_path / "groundplane.db")
        try:
            with pytest.raises(GroundplaneError, match="not all of the plan could be done"):
                await apply._Overseer(cluster, found).run(0)
            instances = await cluster.list("rds.aws.upbound.io/v1beta1", "Instance")
            assert not any(annotations_of(obj).get("crossplane.io/paused") for obj in instances)
        finally:
            cluster.close()

    asyncio.run(oversee())


def test_on_a_cluster_what_the_operator_comes_to_while_it_is_looked_at_is_not_paused(plan, tmp_path):
    assert "~ Instance orders-" in plan(composition(storageType="gp2")).stdout

    async def oversee():
        found = await planned.make(planned.Asked(("change.yaml",)), ("groundplane.db", "", ""))
        cluster = SqliteCluster(tmp_path / "groundplane.db")
        overseer = apply._Overseer(cluster, found)
        look, looks = overseer._get, []

        async def come_to_it_after_the_first_look(key):
            obj = await look(key)
            if key.kind == "Instance":
                if not looks:
                    wanted = found.wanted[key.place]["spec"]["forProvider"]
                    await cluster.patch(key, {"spec": {"forProvider": wanted}})
                looks.append(key)
            return obj

        overseer._get = come_to_it_after_the_first_look
        try:
            with pytest.raises(GroundplaneError, match="not all of the plan could be done"):
                await overseer.run(0)
            assert len(looks) > 1
            instances = await cluster.list("rds.aws.upbound.io/v1beta1", "Instance")
            assert not any(annotations_of(obj).get("crossplane.io/paused") for obj in instances)
        finally:
            cluster.close()

    asyncio.run(oversee())


def test_wrong_input_is_told(plan, tmp_path):
    assert groundplane("plan", "--forbid", "nothing").exit_code == 80
    assert groundplane("plan", "-", "--out", "p.json").exit_code == 80
    ran = plan(claim("orders", engine="oracle"))
    assert ran.exit_code == 1
    assert ran.stdout == ""
    assert '"oracle"' in ran.stderr
    (tmp_path / "p.json").write_text("{}")
    assert "no saved plan" in groundplane("apply", "p.json", "--db", "groundplane.db").stderr
    gone = groundplane("apply", "nosuch.json", "--db", "groundplane.db").stderr
    assert (
        gone == "Error: there is no saved plan nosuch.json. Mend: make one with: groundplane plan PATH… --out FILE.\n"
    )
    (tmp_path / "p.json").write_text("nonsense")
    assert "no JSON" in groundplane("apply", "p.json", "--db", "groundplane.db").stderr


@pytest.mark.parametrize("given", [composition, lambda: claim("orders")], ids=["Composition", "claim"])
def test_the_rights_that_looking_takes_change_nothing(plan, aws, given):
    found = json.loads(plan(given(), flags=("--iam",)).stdout)
    names = [action.partition(":")[2] for each in found["Statement"] for action in each["Action"]]
    assert "DescribeDBInstances" in names
    assert all(name.startswith(READING) for name in names)
    assert aws.operations() == []


@pytest.mark.parametrize("is_before", [True, False])
def test_on_a_cluster_what_leaves_a_manifest_is_no_reason_for_the_operator_to_make_the_plan_stale(tmp_path, is_before):
    """What kubectl has applied takes two writes: the operator may come between, and nobody may before."""
    key = Key("v1", "ConfigMap", "default", "one")
    last = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"}}
    last |= {"data": {"kept": "a", "gone": "b"}}
    noted = {**last, "metadata": {**last["metadata"], "annotations": {LAST_APPLIED: json.dumps(last)}}}

    async def life():
        cluster = SqliteCluster(tmp_path / "store.db")
        try:
            made = await cluster.create(noted)
            patch = cluster.patch

            async def as_the_operator_does():
                await patch(key, {"metadata": {"labels": {"seen": "true"}}})

            async def patched(key, body):
                found = await patch(key, body)
                await as_the_operator_does()
                return found

            cluster.patch = patched
            seen = {**last["metadata"], "resourceVersion": meta(made)["resourceVersion"]}
            if is_before:
                await as_the_operator_does()
            await apply._AsBefore(cluster).apply({**last, "metadata": seen, "data": {"kept": "c"}}, manager="planner")
            return await cluster.get(key)
        finally:
            cluster.close()

    if is_before:
        with pytest.raises(Conflict):
            asyncio.run(life())
    else:
        found = asyncio.run(life())
        assert (found["data"], found["metadata"]["labels"]) == ({"kept": "c"}, {"seen": "true"})
