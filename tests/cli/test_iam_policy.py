"""`groundplane iam-policy`: what it prints, and how kinds are named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from groundplane.aws import actions, catalogue
from groundplane.cli.main import main

ROLE = "arn:aws:iam::123456789012:role/orders"
PLATFORM = Path(__file__).parents[2] / "compositions" / "database-aws"
TEMPLATES = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: orders}
spec:
  compositeTypeRef: {apiVersion: example.com/v1, kind: XOrders}
  mode: Pipeline
  pipeline:
    - step: make
      functionRef: {name: function-go-templating}
      input:
        apiVersion: gotemplating.fn.crossplane.io/v1beta1
        kind: GoTemplate
        source: Inline
        inline:
          template: |
            {{ range .zones }}
            kind: Queue
            apiVersion: sqs.aws.m.upbound.io/v1beta1
            ---
            {"apiVersion": "sns.aws.upbound.io/v1beta1", "kind": "Topic"}
            {{ end }}
"""


def run(*arguments, code=0, **how):
    result = CliRunner().invoke(main, ["iam-policy", *map(str, arguments)], **how)
    assert result.exit_code == code, result.output
    return result


def allowed(*arguments):
    document = json.loads(run(*arguments).stdout)
    assert document["Version"] == "2012-10-17"
    assert all(statement["Effect"] == "Allow" and statement["Sid"].isalnum() for statement in document["Statement"])
    return {action for statement in document["Statement"] for action in statement["Action"]}


@pytest.mark.parametrize(
    "name", ["ec2/VPC", "VPC", "vpcs", "vpcs.ec2.aws.upbound.io", "VPC.ec2.aws.m.upbound.io", "ec2.aws.upbound.io/VPC"]
)
def test_a_kind_is_named_as_people_name_it(name):
    found = allowed(name)
    assert {"ec2:CreateVpc", "ec2:DescribeVpcs", "ec2:DeleteVpc", "ec2:CreateTags", "ec2:ModifyVpcAttribute"} <= found
    assert "ec2:DescribeSubnets" not in found


def test_a_service_is_all_of_its_kinds():
    assert allowed("sqs") == allowed("sqs/Queue", "sqs/QueuePolicy")


def test_what_is_no_kind_or_several_is_refused_with_the_names():
    assert "rds/Instance" in run("rds/Instanc", code=1).output
    said = run("Cluster", code=1).output
    assert "elasticache/Cluster" in said
    assert "rds/Cluster" in said
    run(code=80)
    run("--composition", "nowhere.yaml", code=1)


def test_actions_have_the_names_of_iam_and_roles_are_bounded():
    assert {"s3:ListBucket", "s3:GetBucketCORS", "s3:GetLifecycleConfiguration"} <= allowed("Bucket")
    document = json.loads(run("rds/Instance").stdout)
    (passed,) = [each for each in document["Statement"] if "iam:PassRole" in each["Action"]]
    services = passed["Condition"]["StringEquals"]["iam:PassedToService"]
    assert services == ["monitoring.rds.amazonaws.com", "rds.amazonaws.com"]
    assert not [each for each in document["Statement"] if "*" in "".join(each["Action"])]


def test_what_only_saves_calls_is_a_statement_of_its_own():
    statements = {each["Sid"]: each["Action"] for each in json.loads(run("iam/Role", "s3/Bucket").stdout)["Statement"]}
    assert statements["SharedReads"] == [
        "iam:GetAccountAuthorizationDetails",
        "iam:ListRoles",
        "s3:ListAllMyBuckets",
        "tag:GetResources",
    ]
    assert "SharedReads" not in run("ec2/VPC").stdout  # it is the call that a look makes, too


def test_a_file_is_searched_for_kinds_in_bases_and_templates(tmp_path):
    (tmp_path / "one.yaml").write_text(TEMPLATES)
    found = allowed("--composition", tmp_path)
    assert {"sqs:CreateQueue", "sns:CreateTopic"} <= found
    assert {"rds:CreateDBInstance", "ec2:CreateSecurityGroup"} <= allowed("-c", PLATFORM)
    (tmp_path / "one.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n")
    assert "uses no kind of AWS" in run("-c", tmp_path, code=1).output


def test_a_chain_of_roles_is_allowed_role_by_role():
    document = json.loads(run("--assume-role", ROLE).stdout)
    (statement,) = document["Statement"]
    assert statement["Action"] == ["sts:AssumeRole", "sts:TagSession"]
    assert statement["Resource"] == [ROLE]
    assert "no role's ARN" in run("--assume-role", "orders", code=1).output


def test_what_is_too_long_for_one_policy_is_told():
    services = {kind.group.partition(".")[0] for kind in catalogue.first_generation()}
    assert "6,144" in run(*services).stderr
    for service in services:
        kinds = [kind for kind in catalogue.first_generation() if kind.group.startswith(f"{service}.")]
        assert len(json.dumps(actions.policy(kinds), separators=(",", ":"))) <= actions.LONGEST
        assert not run(service).stderr


def test_it_loads_neither_boto3_nor_kopf():
    code = "import sys; from groundplane.cli.iam_policy import named; named('rds/Instance'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"boto3", "botocore", "kopf", "aiohttp"} & set(loaded)
