"""What taking a field out of the spec leaves in AWS, field by field, for each that is updated.

Source: Terraform AWS provider 5.31, schemas and update functions.  Optional with a default: that default, always.  Optional and
computed: what is there stays.  Optional alone: what is empty to AWS, if nothing is late-initialised; where AWS can't, it stays.
"""

import copy
import json

import pytest

from groundplane.aws import catalogue
from tests.aws.conftest import EC2, IAM, RDS, made, managed, settle

EXACT = ["Observe", "Create", "Update", "Delete"]
SECRETS = {"password": "correct-horse-battery"}
TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
READ = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
POLICY = "arn:aws:iam::123456789012:policy/Limits"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"
ROLE = "arn:aws:iam::123456789012:role/watch"
STAYS = object()  # what is there
NOT_SHOWN = object()  # by the stand-in


def policy(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


READ_ONLY = json.dumps(json.loads(policy(READ)), sort_keys=True, separators=(",", ":"))
# (kind, field) → what is set, what the status says when it is no more in the spec
FIELDS = {
    ("VPC", "assignGeneratedIpv6CidrBlock"): (True, False),
    ("VPC", "enableDnsHostnames"): (True, STAYS),
    ("VPC", "enableDnsSupport"): (False, True),
    ("VPC", "enableNetworkAddressUsageMetrics"): (True, NOT_SHOWN),  # read only where it is set
    ("VPC", "instanceTenancy"): ("default", "default"),
    ("VPC", "ipv6CidrBlock"): ("2001:db8:1::/56", STAYS),
    ("Subnet", "assignIpv6AddressOnCreation"): (True, False),
    ("Subnet", "customerOwnedIpv4Pool"): ("ipv4pool-coip-1", STAYS),
    ("Subnet", "enableDns64"): (True, False),
    ("Subnet", "enableLniAtDeviceIndex"): (1, None),
    ("Subnet", "enableResourceNameDnsARecordOnLaunch"): (True, False),
    ("Subnet", "enableResourceNameDnsAaaaRecordOnLaunch"): (True, False),
    ("Subnet", "ipv6CidrBlock"): ("2001:db8:1:1::/64", None),
    ("Subnet", "mapCustomerOwnedIpOnLaunch"): (True, False),
    ("Subnet", "mapPublicIpOnLaunch"): (True, False),
    ("Subnet", "privateDnsHostnameTypeOnLaunch"): ("ip-name", STAYS),
    ("SubnetGroup", "description"): ("other words", "Managed by Crossplane"),
    ("Role", "description"): ("other words", ""),
    ("Role", "inlinePolicy"): ([{"name": "read", "policy": READ_ONLY}], NOT_SHOWN),  # read only where it is set
    ("Role", "managedPolicyArns"): ([POLICY], NOT_SHOWN),
    ("Role", "maxSessionDuration"): (7200, 3600),
    ("Role", "permissionsBoundary"): (POLICY, None),
    ("Instance", "allocatedStorage"): (40, STAYS),
    ("Instance", "autoMinorVersionUpgrade"): (False, True),
    ("Instance", "backupRetentionPeriod"): (5, STAYS),
    ("Instance", "backupWindow"): ("01:00-01:30", STAYS),
    ("Instance", "caCertIdentifier"): ("rds-ca-2019", STAYS),
    ("Instance", "copyTagsToSnapshot"): (True, False),
    ("Instance", "customerOwnedIpEnabled"): (True, False),
    ("Instance", "databaseInsightsMode"): ("advanced", STAYS),
    ("Instance", "dbSubnetGroupName"): ("orders", STAYS),
    ("Instance", "dedicatedLogVolume"): (True, False),
    ("Instance", "deletionProtection"): (True, False),
    ("Instance", "domain"): ("d-1", None),
    ("Instance", "domainAuthSecretArn"): ("arn:aws:secretsmanager:eu-west-1:1:secret:a", None),
    ("Instance", "domainDnsIps"): (["10.0.0.2", "10.0.0.3"], None),
    ("Instance", "domainFqdn"): ("orders.example.com", None),
    ("Instance", "domainIamRoleName"): ("join", None),
    ("Instance", "domainOu"): ("OU=a", None),
    ("Instance", "enabledCloudwatchLogsExports"): (["upgrade"], None),
    ("Instance", "engineVersion"): ("15.4", STAYS),
    ("Instance", "iamDatabaseAuthenticationEnabled"): (True, False),
    ("Instance", "iops"): (3000, STAYS),
    ("Instance", "licenseModel"): ("postgresql-license", STAYS),
    ("Instance", "maintenanceWindow"): ("mon:03:00-mon:03:30", STAYS),
    ("Instance", "manageMasterUserPassword"): (True, False),
    ("Instance", "masterUserSecretKmsKeyId"): (KEY, NOT_SHOWN),  # goes with the Secret
    ("Instance", "maxAllocatedStorage"): (100, None),
    ("Instance", "monitoringInterval"): (60, 0),
    ("Instance", "monitoringRoleArn"): (ROLE, STAYS),
    ("Instance", "multiAz"): (True, STAYS),
    ("Instance", "networkType"): ("IPV4", STAYS),
    ("Instance", "optionGroupName"): ("default:postgres-15-3", STAYS),
    ("Instance", "parameterGroupName"): ("default.postgres15", STAYS),
    ("Instance", "performanceInsightsEnabled"): (True, False),
    ("Instance", "performanceInsightsKmsKeyId"): (KEY, STAYS),
    ("Instance", "performanceInsightsRetentionPeriod"): (7, STAYS),
    ("Instance", "port"): (5433, STAYS),
    ("Instance", "publiclyAccessible"): (True, False),
    ("Instance", "replicaMode"): ("mounted", STAYS),
    ("Instance", "replicateSourceDb"): ("orders", None),
    ("Instance", "storageThroughput"): (500, STAYS),
    ("Instance", "storageType"): ("io1", STAYS),
    ("Instance", "vpcSecurityGroupIds"): (["sg-1"], STAYS),
}
# what a field can't be without
BESIDE = {
    ("Subnet", "assignIpv6AddressOnCreation"): {"ipv6CidrBlock": "2001:db8:1:1::/64"},
    ("Subnet", "customerOwnedIpv4Pool"): {"mapCustomerOwnedIpOnLaunch": True},
    ("Subnet", "mapCustomerOwnedIpOnLaunch"): {"customerOwnedIpv4Pool": "ipv4pool-coip-1"},
    ("Instance", "iops"): {"storageType": "io1"},
    ("Instance", "masterUserSecretKmsKeyId"): {"manageMasterUserPassword": True},
    ("Instance", "storageType"): {"iops": 3000},
    ("Instance", "storageThroughput"): {"storageType": "gp3", "allocatedStorage": 500, "iops": 12000},
    ("Instance", "monitoringInterval"): {"monitoringRoleArn": ROLE},
    ("Instance", "monitoringRoleArn"): {"monitoringInterval": 60},
    ("Instance", "performanceInsightsKmsKeyId"): {"performanceInsightsEnabled": True},
    ("Instance", "performanceInsightsRetentionPeriod"): {"performanceInsightsEnabled": True},
}


# a replica is another thing to begin with: below; the others the stand-in doesn't know
NOT_SERVED = {("Instance", name) for name in ("replicateSourceDb", "replicaMode", "masterUserSecretKmsKeyId")}
NOT_SERVED.add(("VPC", "ipv6CidrBlock"))


# what the others have is tried by the test of their lives
TRIED = ("ec2_vpc", "ec2_subnet", "rds_subnet_group", "iam_role", "rds_instance")


def test_every_field_that_is_updated_is_among_them():
    updated = {
        (kind.kind, name)
        for kind in map(catalogue.load, TRIED)
        for name, field in kind.fields.items()
        if field.group and field.observe and not field.secret and not field.with_ and not field.required
    }
    assert updated == set(FIELDS)


def bases(network):
    secret = {"namespace": "crossplane-system", "name": "orders", "key": "password"}
    return {
        "VPC": (EC2, {"cidrBlock": "10.1.0.0/16"}),
        "Subnet": (EC2, {"cidrBlock": "10.0.7.0/24", "vpcId": network["vpc"]}),
        "SubnetGroup": (RDS, {"subnetIds": network["subnets"]}),
        "Role": (IAM, {"assumeRolePolicy": policy(TRUST)}),
        "Instance": (
            RDS,
            {
                "engine": "postgres",
                "engineVersion": "15.3",
                "instanceClass": "db.t4g.micro",
                "allocatedStorage": 20,
                "username": "postgres",
                "passwordSecretRef": secret,
                "skipFinalSnapshot": True,
                "applyImmediately": True,
            },
        ),
    }


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in FIELDS}))
async def test_a_field_that_leaves_the_spec_leaves_what_upstream_would(cloud, account, network, standin, kind):
    standin.client("iam").create_policy(PolicyName="Limits", PolicyDocument=policy(READ))
    standin.client("rds").create_db_subnet_group(
        DBSubnetGroupName="orders", DBSubnetGroupDescription="orders", SubnetIds=network["subnets"]
    )
    api_version, base = bases(network)[kind]
    wrong = {}
    cases = [(field, *case) for (of, field), case in FIELDS.items() if of == kind and (of, field) not in NOT_SERVED]
    for index, (field, value, left) in enumerate(cases):
        spec = copy.deepcopy({**base, **BESIDE.get((kind, field), {}), field: value})
        if kind == "Subnet":
            spec["cidrBlock"] = f"10.0.{10 + index}.0/24"
        secrets = SECRETS if "passwordSecretRef" in spec else {}
        if spec.get("manageMasterUserPassword"):
            del spec["passwordSecretRef"]
            secrets = {}
        thing = managed(api_version, kind, f"orders-{index}", **spec)
        thing["spec"]["managementPolicies"] = EXACT
        before = await made(cloud, thing, account, secrets)
        if before.at_provider.get(field) != value:
            wrong[field] = ("set", before.at_provider.get(field), before.notes)
        del thing["spec"]["forProvider"][field]
        if field == "manageMasterUserPassword":
            thing["spec"]["forProvider"]["passwordSecretRef"], secrets = base["passwordSecretRef"], SECRETS
        after = (await settle(cloud, thing, account, secrets)).at_provider.get(field)
        if left is not NOT_SHOWN and after != (value if left is STAYS else left):
            wrong[field] = ("left", after)
    assert wrong == {}


async def test_a_replica_whose_source_leaves_the_spec_is_a_database_of_its_own(cloud, account, network):
    _, base = bases(network)["Instance"]
    await made(cloud, managed(RDS, "Instance", "orders", **base), account, SECRETS)
    spec = {"instanceClass": "db.t4g.micro", "replicateSourceDb": "orders", "skipFinalSnapshot": True}
    reader = managed(RDS, "Instance", "reader", **spec)
    reader["spec"]["managementPolicies"] = EXACT
    assert (await made(cloud, reader, account)).at_provider["replicateSourceDb"] == "orders"
    del reader["spec"]["forProvider"]["replicateSourceDb"]
    assert "replicateSourceDb" not in (await settle(cloud, reader, account)).at_provider


@pytest.mark.parametrize("policies", [["*"], [*EXACT, "LateInitialize"]])
async def test_what_is_late_initialised_is_not_reset(cloud, account, policies):
    role = managed(IAM, "Role", "orders", assumeRolePolicy=policy(TRUST), description="words")
    role["spec"]["managementPolicies"] = policies
    await made(cloud, role, account)
    del role["spec"]["forProvider"]["description"]
    observation = await cloud.observe(role, account, {})
    assert (observation.drift, observation.at_provider["description"]) == ((), "words")


async def test_what_only_the_creation_asked_for_is_not_reset_either(cloud, account):
    role = managed(IAM, "Role", "orders", assumeRolePolicy=policy(TRUST))
    role["spec"] |= {"initProvider": {"description": "words"}, "managementPolicies": EXACT}
    await made(cloud, role, account)
    role["status"]["conditions"] = [{"type": "Ready", "status": "True", "reason": "Available"}]
    assert (await cloud.observe(role, account, {})).drift == ()


async def test_a_password_of_its_own_ends_that_aws_manages_one(cloud, account, network):
    _, base = bases(network)["Instance"]
    own = base.pop("passwordSecretRef")
    database = managed(RDS, "Instance", "orders", **base, manageMasterUserPassword=True)
    assert "masterUserSecret" in (await made(cloud, database, account)).at_provider
    del database["spec"]["forProvider"]["manageMasterUserPassword"]
    database["spec"]["forProvider"]["passwordSecretRef"] = own
    assert "masterUserSecret" not in (await settle(cloud, database, account, SECRETS)).at_provider


async def test_a_subnet_gets_its_ipv6_block_before_what_needs_it_and_loses_it_after(cloud, account, network, standin):
    spec = {"cidrBlock": "10.0.7.0/24", "vpcId": network["vpc"]}
    subnet = managed(EC2, "Subnet", "orders", **spec)
    await made(cloud, subnet, account)
    standin.forget_calls()
    subnet["spec"]["forProvider"] |= {"ipv6CidrBlock": "2001:db8:1:1::/64", "assignIpv6AddressOnCreation": True}
    await settle(cloud, subnet, account)
    subnet["spec"]["forProvider"] |= {"ipv6CidrBlock": "", "assignIpv6AddressOnCreation": False}
    await settle(cloud, subnet, account)
    changes = [name for name in standin.operations() if not name.startswith("Describe")]
    block, flag = "SubnetCidrBlock", "ModifySubnetAttribute"
    assert changes == [f"Associate{block}", flag, flag, f"Disassociate{block}", flag]  # off twice does no harm
