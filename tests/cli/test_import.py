"""`groundplane import`, against AWS's stand-in: what is chosen, written and told, and what is refused."""

from __future__ import annotations

import io
import json

import pytest
import yaml

from groundplane.aws import adopting
from groundplane.cli import import_
from tests.cli.platform import groundplane
from tests.standin import REGION

READS = ("Describe", "Get", "List", "HEAD", "GET")


@pytest.fixture
def old(standin, monkeypatch, tmp_path):
    """What somebody made by hand long ago: buckets, a network, a role."""
    for name, value in {
        "AWS_ENDPOINT_URL": standin.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    s3, ec2, iam = (standin.client(name) for name in ("s3", "ec2", "iam"))
    for name, team in (("orders-old", "orders"), ("shop-old", "shop")):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "team", "Value": team}]})
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "Main VPC"}]}]
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags)["Vpc"]["VpcId"]
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
    read = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    iam.create_role(RoleName="orders", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    iam.put_role_policy(RoleName="orders", PolicyName="read", PolicyDocument=json.dumps(read))
    standin.forget_calls()
    yield standin
    assert [name for name in standin.operations() if not name.startswith(READS)] == []


def documents(text):
    return list(yaml.safe_load_all(text))


def test_buckets_by_tag(old):
    done = groundplane("import", "bucket", "--tag", "team=orders")
    assert done.exit_code == 0
    [bucket] = documents(done.stdout)
    assert bucket == {
        "apiVersion": "s3.aws.upbound.io/v1beta1",
        "kind": "Bucket",
        "metadata": {"name": "orders-old", "annotations": {"crossplane.io/external-name": "orders-old"}},
        "spec": {
            "managementPolicies": ["Observe"],
            "deletionPolicy": "Orphan",
            "forProvider": {"region": REGION, "tags": {"team": "orders"}},
        },
    }
    assert done.stderr.splitlines() == [
        "✔ Bucket orders-old   plan empty",
        "1 written, 0 with a difference, 0 skipped.",
    ]


def test_progress_on_a_terminal_is_gone_when_all_was_looked_at(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(import_, "STEP", 1)
    monkeypatch.setattr("sys.stderr", terminal)
    search = import_.Search(None, None, (), {}, foreign=False)
    for _ in range(3):
        search._progress(3)
    assert terminal.getvalue() == "\r1 of 3 looked at\r2 of 3 looked at\r\x1b[K"


def test_a_folder_of_what_refers_to_each_other_in_a_namespace(old, tmp_path):
    done = groundplane(
        "import", "VPC,Subnet", "role", "rolepolicy", "--refs", "-n", "shop", "--adopt", "-o", "imported"
    )
    assert done.exit_code == 0, done.output
    found = {each["kind"]: each for path in (tmp_path / "imported").iterdir() for each in documents(path.read_text())}
    assert set(found) == {"VPC", "Subnet", "Role", "RolePolicy"}
    assert (tmp_path / "imported" / "vpc-main-vpc.yaml").exists()
    subnet = found["Subnet"]
    assert subnet["apiVersion"] == "ec2.aws.m.upbound.io/v1beta1"
    assert subnet["metadata"]["namespace"] == "shop"
    assert subnet["spec"]["forProvider"]["vpcIdRef"] == {"name": "main-vpc"}
    assert "vpcId" not in subnet["spec"]["forProvider"]
    assert subnet["spec"]["managementPolicies"] == ["Observe", "Create", "Update", "LateInitialize"]
    assert "deletionPolicy" not in subnet["spec"]
    assert found["RolePolicy"]["spec"]["forProvider"]["roleRef"] == {"name": "orders"}
    assert "✔ VPC vpc-" in done.stdout

    again = groundplane("import", "VPC", "-n", "shop", "-o", "imported")
    assert again.exit_code == 1
    assert "vpc-main-vpc.yaml exists. Mend: name a new folder, or overwrite with --force." in again.stderr
    assert groundplane("import", "VPC", "-n", "shop", "-o", "imported", "--force", "--json").exit_code == 0


def test_what_a_control_plane_has_is_skipped_unless_asked_for(old):
    tags = [
        {"Key": "crossplane-uid", "Value": "1"},
        {"Key": "crossplane-name", "Value": "orders"},
        {"Key": "team", "Value": "a"},
    ]
    old.client("s3").put_bucket_tagging(Bucket="orders-old", Tagging={"TagSet": tags})
    old.forget_calls()
    done = groundplane("import", "bucket", "--name", "orders-*", "--json")
    assert documents(done.stdout) == []
    [told] = json.loads(done.stderr)
    assert told["skipped"].startswith("belongs to a control plane")
    done = groundplane("import", "bucket", "--name", "orders-*", "--adopt-foreign")
    assert documents(done.stdout)[0]["spec"]["forProvider"]["tags"] == {"team": "a"}


def test_all_has_what_people_made_and_not_what_aws_made_for_itself(old):
    done = groundplane("import", "all", "-o", "imported")
    assert done.exit_code == 0, done.output
    kinds = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("✔")}
    assert {"Bucket", "VPC", "Subnet", "Role", "RolePolicy", "BucketVersioning"} <= kinds
    assert not kinds & {"SecurityGroupRule", "BucketACL", "MainRouteTableAssociation", "SecretVersion"}
    default = next(each for each in old.client("ec2").describe_vpcs()["Vpcs"] if each["IsDefault"])["VpcId"]
    assert default not in done.stdout
    tables = old.client("ec2").describe_route_tables()["RouteTables"]
    assert {each["RouteTableId"] for each in tables if each["VpcId"] == default}.isdisjoint(done.stdout.split())
    assert any(each["RouteTableId"] in done.stdout for each in tables if each["VpcId"] != default)
    old.forget_calls()
    assert documents(groundplane("import", "vpc", "--name", default).stdout)[0]["kind"] == "VPC"


def test_what_has_a_long_name_is_found_by_the_end_of_it(old):
    sqs, sns = old.client("sqs"), old.client("sns")
    url = sqs.create_queue(QueueName="orders-in")["QueueUrl"]
    sns.create_topic(Name="orders-out")
    old.forget_calls()
    for kind, name, pattern in (
        ("queue", url, "orders-*"),
        ("queue", url, "orders-in"),
        ("topic", "orders-out", "*-out"),
    ):
        done = groundplane("import", kind, "--name", pattern)
        assert done.exit_code == 0, done.output
        [found] = documents(done.stdout)
        assert found["metadata"]["annotations"]["crossplane.io/external-name"] == name
    assert "Queue orders-o is not there" in groundplane("import", "queue", "--name", "orders-o").stderr


def test_settings_belong_to_whom_the_bucket_belongs_to(old):
    s3 = old.client("s3")
    tags = {"crossplane-uid": "1", "crossplane-name": "orders"}
    tagging = {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
    s3.put_bucket_tagging(Bucket="orders-old", Tagging=tagging)
    for name in ("orders-old", "shop-old"):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    old.forget_calls()
    done = groundplane("import", "bucketversioning")
    [mine] = documents(done.stdout)
    assert mine["spec"]["forProvider"]["bucket"] == "shop-old"
    skipped = "– BucketVersioning orders-old: belongs to Bucket orders-old, which a control plane has; skipped (--adopt-foreign)"
    assert skipped in done.stderr
    assert len(documents(groundplane("import", "bucketversioning", "--adopt-foreign").stdout)) == 2


def test_a_field_that_would_be_changed_is_left_out_and_told(old, monkeypatch):
    telling = adopting._telling

    def wrong(engine, item, known):
        return telling(engine, item, known) | {"enableDnsHostnames": True}

    monkeypatch.setattr(adopting, "_telling", wrong)
    done = groundplane("import", "vpc")
    assert done.exit_code == 1
    assert "enableDnsHostnames" not in done.stdout
    assert "enableDnsHostnames false can't be written; left out" in done.stderr


def test_a_secret_is_told_of_and_never_written(old):
    old.client("rds").create_db_instance(
        DBInstanceIdentifier="orders", DBInstanceClass="db.t4g.micro", Engine="postgres", MasterUsername="boss",
        MasterUserPassword="correct-horse-battery", AllocatedStorage=20,
    )  # fmt: skip
    old.forget_calls()
    done = groundplane("import", "rds/Instance", "--adopt")
    assert done.exit_code == 0, done.output
    assert "correct-horse" not in done.output
    assert "Secret" not in done.stdout
    assert "Secret values can't be read: set passwordSecretRef of Instance before taking over." in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    {
        ("queu",): "did you mean sqs/Queue?",
        ("bukket",): "did you mean s3/Bucket?",
        ("vpc", "--name", "vpc-nope"): "VPC vpc-nope is not there. Mend: list",
        ("resource",): "Resource is listed by its typeName. Mend: give it: --with typeName=….",
        ("vpc", "--with", "typeName"): '"typeName" is no --with. Mend: write KEY=VALUE.',
        ("vpc", "--db", "none.db", "--provider-config", "default"): "there is no store at none.db",
        ("vpc", "--db", "none.db"): "no ProviderConfig is named",
        ("vpc", "--region", "mars"): '"mars" is no region of AWS',
        ("vpc", "--region", ""): "no region is named. Mend: write --region eu-west-1, or set AWS_REGION.",
    }.items(),
)
def test_what_can_not_be_is_told_with_its_mend(old, arguments, message):
    done = groundplane("import", *arguments)
    assert done.exit_code == 1
    assert message in done.stderr


def test_what_is_not_allowed_is_told_and_the_rest_goes_on(old):
    old.fail("ec2", "DescribeVpcs", "UnauthorizedOperation")
    try:
        done = groundplane("import", "vpc,bucket")
    finally:
        old.mend()
    assert done.exit_code == 1
    assert "✘ VPC: can't be listed:" in done.stderr
    assert len(documents(done.stdout)) == 2


def test_a_provider_config_of_a_store(old, tmp_path):
    config = {
        "apiVersion": "aws.upbound.io/v1beta1",
        "kind": "ProviderConfig",
        "metadata": {"name": "orders"},
        "spec": {"credentials": {"source": "InjectedIdentity"}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert groundplane("up", "config.yaml", "--once", "--db", "store.db").exit_code == 0
    done = groundplane("import", "bucket", "--provider-config", "orders", "--db", "store.db")
    assert done.exit_code == 0, done.output
    assert {each["spec"]["providerConfigRef"]["name"] for each in documents(done.stdout)} == {"orders"}
    done = groundplane("import", "bucket", "--provider-config", "other", "--db", "store.db")
    assert 'ProviderConfig.aws.upbound.io "other" not found' in done.stderr
