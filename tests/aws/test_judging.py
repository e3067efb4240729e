"""Fields that exclude each other, and values that are spelt otherwise, are refused before any call; what may be new is sent, with a hint if it is refused."""

from __future__ import annotations

import itertools

import pytest

from groundplane.aws import catalogue, crds, judging
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.grammar import siblings
from groundplane.core import fieldpath, typecheck
from groundplane.errors import InvalidInput
from tests.aws.conftest import EC2, managed

OTHERWISE = [
    ("dynamodb.aws.upbound.io/v1beta1", "Table", {"billingMode": "pay_per_request"}, "spec.forProvider.billingMode", "PAY_PER_REQUEST"),
    ("dynamodb.aws.upbound.io/v1beta1", "Table", {"billingMode": "PayPerRequest"}, "spec.forProvider.billingMode", "PAY_PER_REQUEST"),
    ("dynamodb.aws.upbound.io/v1beta1", "Table", {"attribute": [{"name": "a", "type": "s"}]}, "spec.forProvider.attribute[0].type", "S"),
    ("s3.aws.upbound.io/v1beta1", "BucketVersioning", {"versioningConfiguration": [{"status": "enabled"}]}, "versioningConfiguration[0].status", "Enabled"),
    ("s3.aws.m.upbound.io/v1beta1", "BucketVersioning", {"versioningConfiguration": {"status": "enabled"}}, "versioningConfiguration[0].status", "Enabled"),
    ("ec2.aws.upbound.io/v1beta1", "VPC", {"instanceTenancy": "Default"}, "spec.forProvider.instanceTenancy", "default"),
]  # fmt: skip


def pairs():
    for found in catalogue.first_generation():
        seen = {tuple(sorted((name, other))) for name, field in found.fields.items() for other in field.conflicts}
        for names in found.exclusive:
            seen |= {tuple(sorted(pair)) for pair in itertools.combinations(names, 2)}
        for one, two in sorted(seen):
            if not found.fields[one].unsupported and not found.fields[two].unsupported:
                yield pytest.param(found, one, two, id=f"{found.file}-{one}-{two}")


def any_value(field):
    inner = field.type.removeprefix("[]")
    one = {"string": "x", "number": 1, "boolean": True, "map[string]": {"a": "b"}}.get(inner, {"name": "x"})
    if field.fields and not getattr(field, "secret", ""):
        one = {name: any_value(each) for name, each in list(field.fields.items())[:1]}
    return [one] if field.type.startswith("[]") else one


@pytest.mark.parametrize(("found", "one", "two"), list(pairs()))
def test_each_two_fields_that_exclude_each_other_are_refused_before_any_call(found, one, two):
    fields = {name: any_value(found.fields[name]) for name in (one, two)}
    with pytest.raises(InvalidInput, match="can't be used with") as told:
        AwsCloud().check(managed(f"{found.group}/{found.versions[0]}", found.kind, "orders", **fields))
    assert told.value.mend
    for name in (one, two):  # a reference counts as what it will give
        if found.fields[name].reference is not None:
            ref, selector = siblings(name, found.fields[name])
            given = {ref: [{"name": "x"}]} if found.fields[name].type.startswith("[]") else {ref: {"name": "x"}}
            for by in (given, {selector: {"matchLabels": {"a": "b"}}}):
                others = {each: value for each, value in fields.items() if each != name} | by
                with pytest.raises(InvalidInput, match="can't be used with"):
                    AwsCloud().check(managed(f"{found.group}/{found.versions[0]}", found.kind, "orders", **others))


@pytest.mark.parametrize(
    ("expiration", "is_fine"),
    [
        ({"days": 3}, True),
        ({"days": 0, "date": "", "expiredObjectDeleteMarker": True}, True),  # as upstream's exports have it
        ({"days": 3, "expiredObjectDeleteMarker": True}, False),
    ],
)
def test_members_that_exclude_each_other_are_refused_with_their_place(expiration, is_fine):
    rule = [{"id": "a", "status": "Enabled", "expiration": [expiration]}]
    wanted = managed("s3.aws.upbound.io/v1beta1", "BucketLifecycleConfiguration", "x", bucket="b", rule=rule)
    if is_fine:
        return AwsCloud().check(wanted)
    with pytest.raises(InvalidInput, match="can't be used with expiredObjectDeleteMarker") as told:
        AwsCloud().check(wanted)
    assert told.value.where == ("spec.forProvider.rule[0].expiration[0].days",)
    return None


@pytest.mark.parametrize(("api_version", "kind", "fields", "where", "meant"), OTHERWISE)
def test_a_value_that_is_spelt_otherwise_is_refused_with_what_is_meant(api_version, kind, fields, where, meant):
    namespaced = {"namespace": "team-a"} if ".m." in api_version else {}
    wanted = managed(api_version, kind, "orders", bucket="b", hashKey="a", **fields)
    wanted["metadata"] |= namespaced
    with pytest.raises(InvalidInput, match="is not spelt as AWS does") as told:
        AwsCloud().check(wanted)
    assert told.value.where[0].endswith(where)
    assert told.value.mend == f"did you mean {meant}?"


def test_a_value_that_may_be_new_is_sent(cloud):
    wanted = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16", instanceTenancy="dedicate")
    cloud.check(wanted)
    found = catalogue.load("ec2_vpc")
    told = list(judging.unknown(wanted["spec"]["forProvider"], found.fields))
    assert told == [("instanceTenancy", "did you mean dedicated?")]
    odd = cloud._offline(wanted).odd_values()
    assert odd == "for instanceTenancy, did you mean dedicated?"


async def test_what_aws_refuses_is_told_with_what_may_be_meant(cloud, account):
    wanted = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/99", instanceTenancy="dedicate")
    with pytest.raises(InvalidInput) as refused:
        await cloud.create(wanted, account, {})
    assert "for instanceTenancy, did you mean dedicated?" in refused.value.mend


@pytest.mark.parametrize(
    "path, types",
    [
        ("pointInTimeRecovery.enabled", {"boolean"}),
        ("pointInTimeRecovery[0].enabled", {"boolean"}),
        ("pointInTimeRecovery", {"array", "object"}),
        ("pointInTimeRecovery.enabeld", "has no field"),
        ("pointInTimeRecovery[0].enabeld", "has no field"),
        ("pointInTimeRecovery[1].enabled", "at most 1 items"),
    ],
)
def test_a_patch_onto_what_is_a_list_or_an_object_is_checked_in_both_shapes(path, types):
    schema, whole = crds.schema_of("dynamodb.aws.upbound.io/v1beta1", "Table"), f"spec.forProvider.{path}"
    if isinstance(types, set):
        assert typecheck.types_at(schema, fieldpath.parse(whole)) == types
        return
    with pytest.raises(typecheck.NoSuchField, match=types):
        typecheck.types_at(schema, fieldpath.parse(whole))


def test_render_tells_what_is_meant_and_no_api_server_is_told_of_values():
    schema = crds.schema_of("dynamodb.aws.upbound.io/v1beta1", "Table")
    obj = {
        "spec": {
            "forProvider": {"billingMode": "pay-per-request", "tableClass": "NEWEST", "attribute": [{"type": "S"}]}
        }
    }
    told = [(each.detail, each.mend) for each in typecheck.misfits(schema, obj)]
    assert told == [
        ('spec.forProvider.billingMode can hardly be the string "pay-per-request"', "did you mean PAY_PER_REQUEST?")
    ]
    crd = crds.of_kind(catalogue.load("dynamodb_table"), docs=False, strict_upstream=False)
    assert typecheck.KNOWN_VALUES not in repr(crd)
