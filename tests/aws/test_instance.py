"""RDS Instance: users, passwords, states that take time, the maintenance window, and the way out."""

import json

import pytest

from groundplane import errors
from tests.aws.conftest import RDS, made, managed, settle

BASE = {
    "engine": "postgres",
    "engineVersion": "15",
    "instanceClass": "db.t4g.micro",
    "allocatedStorage": 20,
    "skipFinalSnapshot": True,
}
SECRET_REF = {"namespace": "crossplane-system", "name": "orders", "key": "password"}
SECRETS = {"password": "correct-horse-battery"}


def instance(name="orders", **more):
    return managed(RDS, "Instance", name, **(BASE | {"username": "postgres", "passwordSecretRef": SECRET_REF} | more))


def bare(**more):
    return managed(RDS, "Instance", "orders", **(BASE | more))


# --- users and passwords --------------------------------------------------------------------------


def test_a_missing_user_and_password_are_filled_in(cloud):
    found = {default.field: default.value for default in cloud.defaults(bare())}
    assert found == {
        "username": "postgres",
        "autoGeneratePassword": True,
        "passwordSecretRef": {"namespace": "crossplane-system", "name": "orders-master-password", "key": "password"},
    }


@pytest.mark.parametrize("engine, username", [("postgres", "postgres"), ("mysql", "admin"), ("mariadb", "admin")])
def test_the_user_is_the_engines_usual_one(cloud, engine, username):
    [default] = cloud.defaults(bare(engine=engine, passwordSecretRef=SECRET_REF))
    assert (default.field, default.value) == ("username", username)
    assert username in default.note


def test_what_the_user_wrote_is_left_alone(cloud):
    assert cloud.defaults(instance()) == ()
    assert cloud.defaults(bare(username="me", manageMasterUserPassword=True)) == ()
    assert cloud.defaults(bare(snapshotIdentifier="backup")) == ()


def test_a_generated_password_needs_a_secret_to_live_in(cloud):
    [default] = cloud.defaults(bare(username="me", autoGeneratePassword=True))
    assert default.field == "passwordSecretRef"


async def test_strict_upstream_fills_nothing_in_and_refuses_the_create(strict_cloud, account, standin):
    assert strict_cloud.defaults(bare()) == ()
    with pytest.raises(errors.InvalidInput, match='"username": required field is not set'):
        await strict_cloud.create(bare(), account, {})
    with pytest.raises(errors.InvalidInput, match="no password is given"):
        await strict_cloud.create(bare(username="me"), account, {})
    assert standin.operations() == []


async def test_one_that_exists_needs_none_of_what_a_create_needs(cloud, account):
    await made(cloud, instance(), account, SECRETS)
    adopted = managed(RDS, "Instance", "orders", instanceClass="db.t4g.micro")
    cloud.check(adopted)
    observation = await cloud.observe(adopted, account, {})
    assert observation.late["username"] == "postgres"
    assert observation.late["engine"] == "postgres"
    assert observation.late["allocatedStorage"] == 20
    watched = managed(RDS, "Instance", "orders")
    watched["spec"]["managementPolicies"] = ["Observe"]
    cloud.check(watched)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"username": "admin"}, "admin is reserved"),
        ({"username": "rdsadmin"}, "rdsadmin is reserved"),
        ({"instanceClass": None}, "instanceClass: is required"),
        ({"maxAllocatedStorage": 10}, "10 is below allocatedStorage 20"),
        ({"manageMasterUserPassword": True}, "can't be used with"),
    ],
)
def test_combinations_that_cannot_work_are_refused(cloud, more, message):
    with pytest.raises(errors.InvalidInput, match=message):
        cloud.check(instance(**more))


async def test_a_create_without_a_password_is_never_sent(cloud, account, standin):
    with pytest.raises(errors.InvalidInput, match="passwordSecretRef: has no value"):
        await cloud.create(instance(), account, {})
    for field in ("engine", "allocatedStorage"):
        with pytest.raises(errors.InvalidInput, match=f"{field}: is required"):
            await cloud.create(instance(**{field: None}), account, SECRETS)
    assert standin.operations() == []


async def test_the_stand_in_demands_what_aws_demands(cloud, account):
    client = cloud._sessions.clients(account).client("rds", "eu-west-1")
    facts = {
        "DBInstanceIdentifier": "a",
        "Engine": "postgres",
        "DBInstanceClass": "db.t4g.micro",
        "AllocatedStorage": 20,
    }
    with pytest.raises(client.exceptions.ClientError, match="MasterUsername must be provided"):
        client.create_db_instance(**facts)
    with pytest.raises(client.exceptions.ClientError, match="Invalid master password"):
        client.create_db_instance(**facts, MasterUsername="postgres")
    with pytest.raises(client.exceptions.ClientError, match="Invalid master password"):
        client.create_db_instance(**facts, MasterUsername="postgres", MasterUserPassword="short")


async def test_the_connection_is_complete(cloud, account):
    observation = await made(cloud, instance(), account, SECRETS)
    host = "orders.aaaaaaaaaa.eu-west-1.rds.amazonaws.com"
    assert observation.connection == {
        "address": host.encode(),
        "attribute.password": b"correct-horse-battery",
        "endpoint": f"{host}:5432".encode(),
        "host": host.encode(),
        "password": b"correct-horse-battery",
        "port": b"5432",
        "username": b"postgres",
    }
    assert observation.at_provider["endpoint"] == f"{host}:5432"
    assert observation.at_provider["port"] == 5432


async def test_a_new_password_is_sent_once_and_never_shown(cloud, account, standin):
    database = instance()
    await made(cloud, database, account, SECRETS)
    changed = {"password": "another-horse-entirely"}
    observation = await cloud.observe(database, account, changed)
    assert [difference.field for difference in observation.drift] == ["passwordSecretRef"]
    standin.forget_calls()
    observation = await settle(cloud, database, account, changed)
    assert standin.operations().count("ModifyDBInstance") == 1
    assert "horse" not in repr(observation)
    assert "horse" not in json.dumps(observation.at_provider)
    assert observation.connection["password"] == b"another-horse-entirely"


async def test_the_digest_in_status_outlives_the_process(cloud, strict_cloud, account):
    database = instance()
    await made(cloud, database, account, SECRETS)
    assert database["status"]["atProvider"]["passwordDigest"] == cloud.digest(database, SECRETS)["password"]
    assert (await strict_cloud.observe(database, account, SECRETS)).drift == ()
    assert (await strict_cloud.observe(database, account, {"password": "another-horse"})).drift != ()


async def test_a_password_that_aws_manages_is_read_back(cloud, account):
    database = bare(username="postgres", manageMasterUserPassword=True)
    observation = await made(cloud, database, account)
    assert observation.connection["username"]
    assert observation.connection["password"] == observation.connection["attribute.password"]
    assert observation.at_provider["masterUserSecret"][0]["secretArn"].startswith("arn:aws:secretsmanager:")


# --- states ---------------------------------------------------------------------------------------


async def test_it_is_created_modified_and_deleted_in_its_own_time(cloud, account, standin):
    standin.slow(60)
    database = instance(applyImmediately=True)
    cloud.check(database)
    await cloud.create(database, account, SECRETS)
    creating = await cloud.observe(database, account, SECRETS)
    assert (creating.ready.status, creating.ready.reason) == ("False", "Creating")
    assert not creating.settled
    assert creating.late == {}
    assert "endpoint" not in creating.connection
    assert "endpoint" not in creating.at_provider

    standin.advance(61)
    available = await cloud.observe(database, account, SECRETS)
    assert available.ready.status == "True"
    assert available.settled
    assert available.drift == ()

    database["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    database["spec"]["forProvider"]["instanceClass"] = "db.t4g.small"
    await cloud.update(database, account, SECRETS, await cloud.observe(database, account, SECRETS))
    modifying = await cloud.observe(database, account, SECRETS)
    assert modifying.ready is None
    assert not modifying.settled
    assert modifying.drift == ()

    standin.advance(61)
    await cloud.delete(database, account, await cloud.observe(database, account, SECRETS))
    deleting = await cloud.observe(database, account, SECRETS)
    assert deleting.deleting
    assert deleting.ready.reason == "Deleting"
    standin.advance(61)
    assert not (await cloud.observe(database, account, SECRETS)).exists


async def test_a_change_that_waits_for_the_window_is_neither_drift_nor_sent_again(cloud, account, standin):
    database = instance()
    await made(cloud, database, account, SECRETS)
    database["spec"]["forProvider"] |= {"instanceClass": "db.t4g.large", "allocatedStorage": 50}
    observation = await settle(cloud, database, account, SECRETS, rounds=2)
    pending = observation.at_provider["pendingModifiedValues"]
    assert pending == {"dbInstanceClass": "db.t4g.large", "allocatedStorage": 50}
    standin.maintain()
    observation = await cloud.observe(database, account, SECRETS)
    assert "pendingModifiedValues" not in observation.at_provider
    assert observation.at_provider["instanceClass"] == "db.t4g.large"


async def test_one_group_of_changes_is_sent_at_a_time(cloud, account, standin):
    database = instance(enabledCloudwatchLogsExports=["upgrade"])
    await made(cloud, database, account, SECRETS)
    database["spec"]["forProvider"] |= {"backupRetentionPeriod": 3, "enabledCloudwatchLogsExports": ["postgresql"]}
    observation = await cloud.observe(database, account, SECRETS)
    assert {difference.field for difference in observation.drift} == {
        "backupRetentionPeriod",
        "enabledCloudwatchLogsExports",
    }
    standin.forget_calls()
    await cloud.update(database, account, SECRETS, observation)
    assert standin.operations() == ["ModifyDBInstance"]
    observation = await settle(cloud, database, account, SECRETS)
    assert observation.at_provider["enabledCloudwatchLogsExports"] == ["postgresql"]


# --- versions and storage -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "desired, drifts", [("15", False), ("15.4", False), ("15.3", False), ("14", False), ("16", True)]
)
async def test_a_version_only_goes_up(cloud, account, desired, drifts):
    database = instance(engineVersion="15.4", allowMajorVersionUpgrade=True, applyImmediately=True)
    await made(cloud, database, account, SECRETS)
    database["spec"]["forProvider"]["engineVersion"] = desired
    observation = await cloud.observe(database, account, SECRETS)
    assert bool(observation.drift) is drifts
    assert any("can't go back" in note for note in observation.notes) is (desired in ("14", "15.3"))
    if drifts:
        assert (await settle(cloud, database, account, SECRETS)).at_provider["engineVersionActual"] == desired


async def test_the_configured_version_stays_in_status(cloud, account):
    database = instance(engineVersion="15.4")
    await made(cloud, database, account, SECRETS)
    database["spec"]["forProvider"]["engineVersion"] = "15"
    at_provider = (await cloud.observe(database, account, SECRETS)).at_provider
    assert (at_provider["engineVersion"], at_provider["engineVersionActual"]) == ("15", "15.4")


async def test_storage_never_shrinks(cloud, account):
    database = instance(allocatedStorage=40)
    await made(cloud, database, account, SECRETS)
    database["spec"]["forProvider"]["allocatedStorage"] = 20
    observation = await cloud.observe(database, account, SECRETS)
    assert observation.drift == ()
    assert any("can't shrink" in note for note in observation.notes)


# --- errors and deletion --------------------------------------------------------------------------


async def test_a_wrong_class_is_refused_with_the_mend(cloud, account):
    with pytest.raises(errors.InvalidInput) as caught:
        await cloud.create(instance(instanceClass="huge"), account, SECRETS)
    assert str(caught.value) == (
        "spec.forProvider.instanceClass: CreateDBInstance: InvalidParameterValue: Invalid DB Instance class: huge."
        " Mend: use a class that RDS has, such as db.t4g.micro."
    )


async def test_a_deletion_needs_a_decision_about_the_last_snapshot(cloud, account):
    database = instance(skipFinalSnapshot=None)
    observation = await made(cloud, database, account, SECRETS)
    assert any("finalSnapshotIdentifier" in note for note in observation.notes)
    with pytest.raises(errors.InvalidInput, match="is required when skipFinalSnapshot is false"):
        await cloud.delete(database, account, observation)
    database["spec"]["forProvider"]["finalSnapshotIdentifier"] = "orders-last"
    await cloud.delete(database, account, observation)
    client = cloud._sessions.clients(account).client("rds", "eu-west-1")
    [snapshot] = client.describe_db_snapshots(DBSnapshotIdentifier="orders-last")["DBSnapshots"]
    assert snapshot["DBInstanceIdentifier"] == "orders"


async def test_protection_holds_unless_the_spec_gives_it_up_at_once(cloud, account):
    database = instance(deletionProtection=True)
    observation = await made(cloud, database, account, SECRETS)
    for change in ({}, {"deletionProtection": False}, {"deletionProtection": True, "applyImmediately": True}):
        database["spec"]["forProvider"] |= change
        with pytest.raises(errors.InvalidInput, match="deletion protection"):
            await cloud.delete(database, account, observation)
    database["spec"]["forProvider"] |= {"deletionProtection": False, "applyImmediately": True}
    await cloud.delete(database, account, observation)
    assert not (await cloud.observe(database, account, SECRETS)).exists


async def test_a_copy_of_a_snapshot_needs_no_user_and_gets_its_password_afterwards(cloud, account):
    original = instance()
    await made(cloud, original, account, SECRETS)
    client = cloud._sessions.clients(account).client("rds", "eu-west-1")
    client.create_db_snapshot(DBInstanceIdentifier="orders", DBSnapshotIdentifier="backup")
    copied = managed(RDS, "Instance", "copied", **BASE, snapshotIdentifier="backup", passwordSecretRef=SECRET_REF)
    cloud.check(copied)
    await cloud.create(copied, account, SECRETS)
    observation = await cloud.observe(copied, account, SECRETS)
    assert "passwordSecretRef" in [difference.field for difference in observation.drift]
    observation = await settle(cloud, copied, account, SECRETS)
    assert observation.at_provider["username"] == "postgres"


async def test_a_replica_is_made_of_its_source(cloud, account):
    await made(cloud, instance(), account, SECRETS)
    replica = managed(
        RDS, "Instance", "reader", instanceClass="db.t4g.micro", replicateSourceDb="orders", skipFinalSnapshot=True
    )
    cloud.check(replica)
    await cloud.create(replica, account, {})
    observation = await settle(cloud, replica, account)
    assert observation.at_provider["replicateSourceDb"] == "orders"


async def test_an_object_of_a_later_provider_is_found_by_its_resource_id(cloud, account):
    first, second = instance(), instance("billing")
    resource_id = (await made(cloud, first, account, SECRETS)).at_provider["resourceId"]
    await made(cloud, second, account, SECRETS)
    migrated = instance()
    migrated["metadata"]["annotations"]["crossplane.io/external-name"] = resource_id
    cloud.check(migrated)
    observation = await cloud.observe(migrated, account, SECRETS)
    assert observation.external_name == "orders"
    await cloud.delete(migrated, account, observation)
    assert not (await cloud.observe(first, account, SECRETS)).exists
    assert (await cloud.observe(second, account, SECRETS)).exists


# --- what others log in with ------------------------------------------------------------------------

LOGIN = {"username", "password", "endpoint", "host", "port"}
CLUSTER = {"engine": "aurora-postgresql", "masterUsername": "orders", "skipFinalSnapshot": True}
REF = {"namespace": "crossplane-system", "name": "orders", "key": "password"}
WAYS = {  # to give a password: of each kind, the fields and the secrets
    "cluster, given": ("Cluster", CLUSTER | {"masterPasswordSecretRef": REF}, {"masterPassword": "correct-horse"}),
    "cluster, write only": (
        "Cluster",
        CLUSTER | {"masterPasswordWoSecretRef": REF, "masterPasswordWoVersion": 1},
        {"masterPasswordWo": "correct-horse"},
    ),
    "cluster, kept by AWS": ("Cluster", CLUSTER | {"manageMasterUserPassword": True}, {}),
    "cluster, serverless": (
        "Cluster",
        CLUSTER
        | {
            "masterPasswordSecretRef": REF,
            "serverlessv2ScalingConfiguration": [{"minCapacity": 0.5, "maxCapacity": 2}],
        },
        {"masterPassword": "correct-horse"},
    ),
    "instance, write only": (
        "Instance",
        {"username": "orders", "passwordWoSecretRef": REF, "passwordWoVersion": 1},
        {"passwordWo": "correct-horse"},
    ),
    "instance, kept by AWS": ("Instance", {"username": "orders", "manageMasterUserPassword": True}, {}),
}


@pytest.mark.parametrize("api_version", [RDS, RDS.replace(".aws.", ".aws.m.")])
@pytest.mark.parametrize("way", WAYS)
async def test_the_secret_has_what_a_client_logs_in_with(cloud, account, api_version, way):
    kind, fields, hidden = WAYS[way]
    if kind == "Instance":
        fields = bare(**fields)["spec"]["forProvider"]
    database = managed(api_version, kind, "orders", **fields)
    observation = await made(cloud, database, account, hidden)
    assert {key for key, value in observation.connection.items() if value} >= LOGIN
    if hidden:
        assert observation.connection["password"] == b"correct-horse"
    own = "attribute.master_password" if kind == "Cluster" else "attribute.password"
    if "kept by AWS" in way or "given" in way:
        assert observation.connection[own] == observation.connection["password"]


AURORA = {"engine": "aurora-postgresql", "skipFinalSnapshot": True}
LATEST = {"useLatestRestorableTime": True}
COPIES = {  # of the instance orders and the cluster orders: kind, what they are made from
    "instance of a snapshot": ("Instance", BASE | {"snapshotIdentifier": "backup"}),
    "instance of a moment": (
        "Instance",
        BASE | {"restoreToPointInTime": [{"sourceDbInstanceIdentifier": "orders", **LATEST}]},
    ),
    "cluster of a snapshot": ("Cluster", AURORA | {"snapshotIdentifier": "backups"}),
    "cluster of a moment": (
        "Cluster",
        AURORA | {"restoreToPointInTime": [{"sourceClusterIdentifier": "orders", **LATEST}]},
    ),
}


async def sources(cloud, account, api_version):
    """An instance and a cluster, each with a snapshot; the client that made these."""
    fields = instance()["spec"]["forProvider"] | {"username": "boss"}
    await made(cloud, managed(api_version, "Instance", "orders", **fields), account, SECRETS)
    cluster = managed(api_version, "Cluster", "orders", **CLUSTER | {"masterPasswordSecretRef": REF})
    await made(cloud, cluster, account, {"masterPassword": "correct-horse"})
    client = cloud._sessions.clients(account).client("rds", "eu-west-1")
    client.create_db_snapshot(DBInstanceIdentifier="orders", DBSnapshotIdentifier="backup")
    client.create_db_cluster_snapshot(DBClusterIdentifier="orders", DBClusterSnapshotIdentifier="backups")
    return client


@pytest.mark.parametrize("api_version", [RDS, RDS.replace(".aws.", ".aws.m.")])
@pytest.mark.parametrize("kept", [True, False], ids=["kept by AWS", "given"])
@pytest.mark.parametrize("what", COPIES)
async def test_the_secret_of_a_copy_is_complete_and_follows_its_password(
    cloud, account, standin, api_version, kept, what
):
    await sources(cloud, account, api_version)
    kind, fields = COPIES[what]
    reference = "masterPasswordSecretRef" if kind == "Cluster" else "passwordSecretRef"
    copied = managed(
        api_version, kind, "copied", **fields, **({"manageMasterUserPassword": True} if kept else {reference: REF})
    )
    secret = reference.removesuffix("SecretRef")
    hidden = {} if kept else {secret: "correct-horse"}
    found = await made(cloud, copied, account, hidden)
    assert {key for key, value in found.connection.items() if value} >= LOGIN
    assert found.connection["username"] == (b"orders" if kind == "Cluster" else b"boss")
    before = found.connection["password"]
    if kept:
        arn = found.at_provider["masterUserSecret"][0]["secretArn"]
        value = json.dumps({"username": found.connection["username"].decode(), "password": "after-the-rotation"})
        secrets = cloud._sessions.clients(account).client("secretsmanager", "eu-west-1")
        secrets.put_secret_value(SecretId=arn, SecretString=value)
    else:
        assert before == b"correct-horse"
        hidden = {secret: "after-the-rotation"}
    standin.forget_calls()
    found = await settle(cloud, copied, account, hidden)
    assert found.connection["password"] == b"after-the-rotation" != before
    sent = [name for name in standin.operations() if name.startswith("Modify")]
    assert sent == ([] if kept else [f"ModifyDB{kind}"])


@pytest.mark.parametrize("given", [{"backupWindow": "06:00-07:00"}, {"maintenanceWindow": "wed:13:00-wed:14:00"}])
async def test_the_window_that_is_left_to_aws_does_not_overlap_the_other(cloud, account, given):
    login = {"username": "orders", "passwordSecretRef": SECRET_REF}
    database = managed(RDS, "Instance", "orders", **BASE, **login, **given)
    await made(cloud, database, account, SECRETS)
    database["spec"]["forProvider"]["copyTagsToSnapshot"] = True
    assert (await settle(cloud, database, account, SECRETS)).drift == ()


async def test_a_replica_that_becomes_a_database_of_its_own_is_told_its_password(cloud, account, standin):
    await sources(cloud, account, RDS)
    fields = BASE | {"replicateSourceDb": "orders", "passwordSecretRef": SECRET_REF, "applyImmediately": True}
    replica = managed(RDS, "Instance", "reader", **fields)
    replica["spec"]["managementPolicies"] = ["Observe", "Create", "Update", "Delete"]
    found = await made(cloud, replica, account, {"password": "of-the-reader"})
    assert standin.passwords()["reader"] != "of-the-reader"  # it has its source's
    assert not {"password", "attribute.password"} & found.connection.keys()
    assert "a replica has the password of orders: the spec's is set once replicateSourceDb is removed" in found.notes
    del replica["spec"]["forProvider"]["replicateSourceDb"]
    found = await settle(cloud, replica, account, {"password": "of-the-reader"})
    assert standin.passwords()["reader"] == "of-the-reader"
    assert found.connection["password"] == b"of-the-reader"


@pytest.mark.parametrize("api_version", [RDS, RDS.replace(".aws.", ".aws.m.")])
async def test_the_secret_of_a_clusters_instance_has_all_but_the_password_which_is_the_clusters(
    cloud, account, api_version
):
    await sources(cloud, account, api_version)
    fields = {"clusterIdentifier": "orders", "engine": "aurora-postgresql", "instanceClass": "db.r6g.large"}
    found = await made(cloud, managed(api_version, "ClusterInstance", "orders-1", **fields), account)
    assert {key for key, value in found.connection.items() if value} == LOGIN - {"password"}
    assert found.connection["username"] == b"orders"


async def test_a_database_in_two_zones_may_change_over_to_the_second_one(cloud, account, standin):
    client = await sources(cloud, account, RDS)
    fields = BASE | {"availabilityZone": "eu-west-1a", "multiAz": True, "applyImmediately": True}
    replica = managed(RDS, "Instance", "reader", **fields, replicateSourceDb="orders")
    assert (await made(cloud, replica, account)).at_provider["availabilityZone"] == "eu-west-1a"
    client.reboot_db_instance(DBInstanceIdentifier="reader", ForceFailover=True)
    found = await settle(cloud, replica, account)
    assert found.at_provider["availabilityZone"] == "eu-west-1b"
    assert found.immutable == ()
    replica["spec"]["forProvider"]["availabilityZone"] = "eu-west-1c"  # this it has never been in
    found = await cloud.observe(replica, account, {})
    assert [each.field for each in found.immutable] == ["availabilityZone"]


async def test_a_database_gets_a_second_zone_later_but_not_with_the_first_one_named_at_once(cloud, account, standin):
    fields = BASE | {"availabilityZone": "eu-west-1a", "applyImmediately": True}
    fields |= {"username": "boss", "passwordSecretRef": SECRET_REF}
    database = managed(RDS, "Instance", "orders", **fields)
    await made(cloud, database, account, SECRETS)
    database["spec"]["forProvider"]["multiAz"] = True
    found = await settle(cloud, database, account, SECRETS)
    assert found.at_provider["multiAz"] is True
    standin.forget_calls()
    both = managed(RDS, "Instance", "other", **fields, multiAz=True)
    with pytest.raises(errors.InvalidInput, match="availabilityZone: AWS chooses the zones"):
        await cloud.create(both, account, SECRETS)
    assert standin.operations() == []
    client = cloud._sessions.clients(account).client("rds", "eu-west-1")
    asked = {"DBInstanceClass": "db.t4g.micro", "Engine": "postgres", "AllocatedStorage": 20, "MasterUsername": "boss"}
    with pytest.raises(client.exceptions.ClientError, match="not valid for Multi-AZ instances"):
        client.create_db_instance(
            DBInstanceIdentifier="other",
            MasterUserPassword="correct-horse",
            MultiAZ=True,
            AvailabilityZone="eu-west-1a",
            **asked,
        )


async def test_the_secret_of_a_cache_has_what_a_client_logs_in_with(cloud, account):
    fields = {"description": "orders", "engine": "redis", "nodeType": "cache.t4g.micro", "applyImmediately": True}
    fields |= {"transitEncryptionEnabled": True, "authTokenSecretRef": REF}
    cache = managed("elasticache.aws.upbound.io/v1beta2", "ReplicationGroup", "orders", **fields)
    observation = await made(cloud, cache, account, {"authToken": "correct-horse-battery"})
    assert LOGIN - {"username"} <= {key for key, value in observation.connection.items() if value}
    assert observation.connection["password"] == b"correct-horse-battery"
