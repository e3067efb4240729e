"""Managed objects to try on the stand-in for AWS."""

import itertools
from importlib import resources

import pytest
import yaml

from groundplane.aws.cloud import AwsCloud
from groundplane.aws.session import Sessions
from groundplane.ports import Account
from tests.standin import REGION

EC2, RDS, IAM, S3 = (f"{service}.aws.upbound.io/v1beta1" for service in ("ec2", "rds", "iam", "s3"))
_uids = itertools.count(1)


@pytest.fixture
def kind_source():
    """A kind file as YAML has it, by the file's name."""

    def read(file):
        source = resources.files("groundplane.aws.kinds") / f"{file}.yaml"
        return yaml.safe_load(source.read_text(encoding="utf-8"))

    return read


def source_of_hooks(file):
    """The text of the module beside a kind file; "" if there is none."""
    source = resources.files("groundplane.aws.kinds") / f"{file}.py"
    return source.read_text(encoding="utf-8") if source.is_file() else ""


@pytest.fixture
def account(standin):
    return Account(provider_config(standin.url), {"creds": INI}, "1")


INI = b"[default]\naws_access_key_id = test\naws_secret_access_key = dummy-secret\n"


def provider_config(url, **spec):
    return {
        "apiVersion": "aws.upbound.io/v1beta1",
        "kind": "ProviderConfig",
        "metadata": {"name": "default", "uid": "pc-1", "generation": 1},
        "spec": {
            "credentials": {
                "source": "Secret",
                "secretRef": {"namespace": "crossplane-system", "name": "aws", "key": "creds"},
            },
            "endpoint": {"url": {"type": "Static", "static": url}, "hostnameImmutable": True},
            "s3_use_path_style": True,
            **spec,
        },
    }


@pytest.fixture
def cloud():
    made = AwsCloud(sessions=Sessions(attempts=1))
    yield made
    made.close()


@pytest.fixture
def patient_cloud():
    """One that is asked again only when the pauses after trouble are over: a minute passes with each look at its clock."""
    passed = itertools.count(step=60.0)
    made = AwsCloud(sessions=Sessions(attempts=1), clock=lambda: next(passed))
    yield made
    made.close()


@pytest.fixture
def strict_cloud():
    made = AwsCloud(sessions=Sessions(attempts=1), strict_upstream=True)
    yield made
    made.close()


def managed(api_version, kind, name, /, external_name="", **for_provider):
    if "iam" not in api_version:
        for_provider = {"region": REGION, **for_provider}
    annotations = {"crossplane.io/external-name": external_name} if external_name else {}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "uid": f"uid-{next(_uids):032}", "generation": 1, "annotations": annotations},
        "spec": {"forProvider": for_provider},
    }


async def settle(cloud, managed, account, secrets=None, rounds=6):
    """Observe and update until nothing drifts; the last observation, its status stored as a reconciler would."""
    for _ in range(rounds):
        observation = await cloud.observe(managed, account, secrets or {})
        managed["status"] = {"atProvider": dict(observation.at_provider)}
        if observation.external_name:
            managed["metadata"]["annotations"]["crossplane.io/external-name"] = observation.external_name
        if not observation.drift:
            return observation
        await cloud.update(managed, account, secrets or {}, observation)
    raise AssertionError(f"still drifts: {observation.drift}")


async def made(cloud, managed, account, secrets=None):
    """Create, store the external name, settle."""
    cloud.check(managed)
    creation = await cloud.create(managed, account, secrets or {})
    managed["metadata"]["annotations"]["crossplane.io/external-name"] = creation.external_name
    return await settle(cloud, managed, account, secrets)


def external_name(managed):
    return managed["metadata"]["annotations"]["crossplane.io/external-name"]


@pytest.fixture
async def network(cloud, account):
    """A VPC, two subnets in two zones, and a security group: their ids, and the objects."""
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    await made(cloud, vpc, account)
    subnets = []
    for index, zone in enumerate("ab"):
        facts = {"cidrBlock": f"10.0.{index}.0/24", "availabilityZone": f"{REGION}{zone}", "vpcId": external_name(vpc)}
        subnet = managed(EC2, "Subnet", f"data-{zone}", **facts)
        await made(cloud, subnet, account)
        subnets.append(external_name(subnet))
    group = managed(EC2, "SecurityGroup", "database", vpcId=external_name(vpc))
    await made(cloud, group, account)
    return {"vpc": external_name(vpc), "subnets": subnets, "group": external_name(group)}
