"""Managed resources for reconciler tests, and the ProviderConfig that leads them to the stand-in."""

from __future__ import annotations

import base64
import copy
import json

from groundplane.core import conditions
from groundplane.core.objects import Key, annotations_of, key_of
from tests.standin import REGION

EC2, RDS, IAM, S3 = (f"{service}.aws.upbound.io/v1beta1" for service in ("ec2", "rds", "iam", "s3"))
AWS = "aws.upbound.io/v1beta1"
SECRET_KEY = "hush-hush-0123456789"
INI = f"[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = {SECRET_KEY}\n"
PASSWORD = "correct-horse-battery"
CONFIG = Key(AWS, "ProviderConfig", "", "default")
TRUST = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}


def secret(name, namespace="crossplane-system", **data):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": data,
    }


CREDENTIALS = secret("aws", creds=INI)


def provider_config(url, name="default", **spec):
    return {
        "apiVersion": AWS,
        "kind": "ProviderConfig",
        "metadata": {"name": name},
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


def resource(api_version, kind, name, spec, **for_provider):
    spec = copy.deepcopy(spec)
    if "iam" not in api_version:
        for_provider = {"region": REGION, **for_provider}
    labels = spec.pop("labels", {})
    annotations = spec.pop("annotations", {})
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": metadata,
        "spec": {"forProvider": {name: value for name, value in for_provider.items() if value is not None}, **spec},
    }


def instance(name="orders", spec=None, **for_provider):
    """A database with all that it needs; None takes a field away."""
    usual = {
        "engine": "postgres",
        "instanceClass": "db.t3.micro",
        "allocatedStorage": 20,
        "username": "boss",
        "passwordSecretRef": {"namespace": "crossplane-system", "name": "orders-password", "key": "password"},
        "autoGeneratePassword": True,
        "skipFinalSnapshot": True,
    }
    connection = {"writeConnectionSecretToRef": {"namespace": "team-a", "name": "conn"}}
    return resource(RDS, "Instance", name, connection | (spec or {}), **usual | for_provider)


def vpc(name="main", spec=None, **for_provider):
    return resource(EC2, "VPC", name, spec or {}, **{"cidrBlock": "10.0.0.0/16"} | for_provider)


def group(name="database", spec=None, **for_provider):
    return resource(EC2, "SecurityGroup", name, spec or {}, **for_provider)


def role(name="orders", spec=None, **for_provider):
    policy = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
    return resource(IAM, "Role", name, spec or {}, **{"assumeRolePolicy": policy} | for_provider)


def bucket(name="orders-bucket", spec=None, **for_provider):
    return resource(S3, "Bucket", name, spec or {}, **for_provider)


# --- what a person does


async def applied(world, *manifests, seconds=0):
    await world.apply(*manifests)
    await world.settle(seconds=seconds)
    return await get(world, manifests[-1])


async def edited(world, manifest, *, seconds=0, **for_provider):
    await world.patch(key_of(manifest), {"spec": {"forProvider": for_provider}})
    await world.settle(seconds=seconds)
    return await get(world, manifest)


async def deleted(world, manifest, *, seconds=60):
    await world.cluster.delete(key_of(manifest))
    await world.settle(seconds=seconds)
    return await get(world, manifest)


# --- what one looks at


def key(manifest):
    return key_of(manifest)


async def get(world, manifest):
    return await world.cluster.get(key_of(manifest))


def condition(obj, type_):
    """(status, reason) of a condition; (None, None) if there is none."""
    found = conditions.find(obj, type_) or {}
    return found.get("status"), found.get("reason")


def message(obj, type_="Synced"):
    return (conditions.find(obj, type_) or {}).get("message", "")


def is_ready(obj):
    if obj is None:
        return False
    return conditions.is_true(obj, "Ready") and conditions.is_true(obj, "Synced")


def external_name(obj):
    return annotations_of(obj).get("crossplane.io/external-name")


def decoded(obj):
    return {name: base64.b64decode(value).decode(errors="replace") for name, value in (obj.get("data") or {}).items()}


async def secret_of(world, namespace="team-a", name="conn"):
    """The data of a Secret; None if there is none."""
    found = await world.cluster.get(Key("v1", "Secret", namespace, name))
    return decoded(found) if found else None


async def kinds_left(world):
    """The kinds of all objects but those that were there before the first managed resource."""
    before = {"CustomResourceDefinition", "ProviderConfig", "Namespace"}
    return sorted(
        obj["kind"] for obj in world.objects() if obj["kind"] not in before and obj["metadata"]["name"] != "aws"
    )
