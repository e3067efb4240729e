"""The order in which composed resources are deleted, from the objects alone."""

import re

import pytest

from groundplane.core import deletion
from groundplane.core.objects import key_of
from groundplane.core.references import Reference

EC2 = "ec2.aws.upbound.io/v1beta1"
VPC_REFERENCE = Reference("vpcId", "vpcIdRef", "vpcIdSelector", "ec2.aws.upbound.io", "VPC", "external-name")


def obj(kind, name, *, api_version=EC2, external="", **spec):
    annotations = {"crossplane.io/external-name": external} if external else {}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    }


def usage(of, by=None, *, name="usage", group="protection.crossplane.io/v1beta1", kind="Usage"):
    def party(each):
        return {
            "apiVersion": each["apiVersion"],
            "kind": each["kind"],
            "resourceRef": {"name": each["metadata"]["name"]},
        }

    return obj(kind, name, api_version=group, of=party(of), **({"by": party(by)} if by else {}))


def references(api_version, kind):
    return [VPC_REFERENCE] if kind == "Subnet" else []


def order(*objects, sequences=()):
    """Which are deleted together, wave by wave, by name."""
    left, waves = list(objects), []
    while left:
        users = deletion.users(left, references, sequences)
        free = [each for each in left if not users[key_of(each)]]
        assert free, "nothing may ever be deleted"
        waves.append(sorted(each["metadata"]["name"] for each in free))
        left = [each for each in left if each not in free]
    return waves


def test_who_refers_goes_before_what_it_refers_to():
    subnet = obj("Subnet", "subnet", forProvider={"vpcIdRef": {"name": "vpc"}})
    assert order(obj("VPC", "vpc"), subnet) == [["subnet"], ["vpc"]]


def test_a_value_that_a_patch_filled_counts_like_a_reference():
    subnet = obj("Subnet", "subnet", forProvider={"vpcId": "vpc-0a"})
    assert order(obj("VPC", "vpc", external="vpc-0a"), subnet) == [["subnet"], ["vpc"]]
    assert order(obj("VPC", "other", external="vpc-0b"), subnet) == [["other", "subnet"]]


def test_a_reference_means_its_kind_also_where_several_objects_have_one_name():
    same = [
        obj("VPC", "shop"),
        obj("Subnet", "shop", forProvider={"vpcIdRef": {"name": "shop"}}),
        obj("Bucket", "shop"),
    ]
    users = deletion.users(same, references)
    assert {f"{key.kind}": [user.kind for user in found] for key, found in users.items()} == {
        "VPC": ["Subnet"],
        "Subnet": [],
        "Bucket": [],
    }


def test_references_of_kinds_that_nobody_knows_count_by_kind_or_name():
    config = obj("ProviderConfig", "config", api_version="aws.upbound.io/v1beta1")
    config["spec"] = {"credentials": {"source": "Secret", "secretRef": {"namespace": "a", "name": "keys", "key": "k"}}}
    secret = obj("Secret", "keys", api_version="v1")
    bucket = obj("Bucket", "bucket", providerConfigRef={"name": "config"})
    release = obj("Release", "release", api_version="example.org/v1", targetRefs=[{"kind": "Bucket", "name": "bucket"}])
    assert order(secret, config, bucket, release) == [["release"], ["bucket"], ["config"], ["keys"]]


def test_what_an_object_writes_itself_is_not_what_it_uses():
    secret = obj("Secret", "conn", api_version="v1")
    assert order(secret, obj("VPC", "vpc", writeConnectionSecretToRef={"name": "conn"})) == [["conn", "vpc"]]


@pytest.mark.parametrize(
    "group, kind",
    [
        ("protection.crossplane.io/v1beta1", "Usage"),
        ("protection.crossplane.io/v1beta1", "ClusterUsage"),
        ("apiextensions.crossplane.io/v1beta1", "Usage"),
    ],
)
def test_a_usage_goes_after_who_uses_and_before_what_is_used(group, kind):
    used, using = obj("VPC", "used"), obj("Bucket", "using")
    how = {"group": group, "kind": kind}
    assert order(used, using, usage(used, using, **how)) == [["using"], ["usage"], ["used"]]
    assert order(used, usage(used, **how)) == [["usage"], ["used"]]


def test_a_usage_of_what_is_composed_elsewhere_holds_nothing():
    here, elsewhere = obj("VPC", "here"), obj("VPC", "elsewhere")
    assert order(here, usage(elsewhere)) == [["here", "usage"]]


def named(name):
    made = obj("Thing", name)
    made["metadata"]["annotations"]["crossplane.io/composition-resource-name"] = name
    return made


def sequence(*patterns):
    return [re.compile(pattern).fullmatch for pattern in patterns]


def test_what_a_sequence_makes_later_goes_first():
    a, b1, b2, c = (named(name) for name in ("a", "b1", "b2", "c"))
    assert order(a, b1, b2, c, sequences=[sequence("a", "b.", "c")]) == [["c"], ["b1", "b2"], ["a"]]
    assert order(a, c, named("x"), sequences=[sequence("a", "b.", "c")]) == [["c", "x"], ["a"]]
    assert order(a, b1, c, sequences=[sequence("a", "b."), sequence("c", "a")]) == [["b1"], ["a"], ["c"]]


def test_of_two_places_that_mean_an_object_the_first_counts():
    a, b = named("a"), named("b")
    assert order(a, b, sequences=[sequence("a", ".*")]) == [["b"], ["a"]]
    assert order(a, b, sequences=[sequence(".*", ".*")]) == [["a", "b"]]
    assert order(a, b, sequences=[[], sequence("a")]) == [["a", "b"]]


def test_sequences_that_contradict_each_other_hold_up_nothing_for_ever():
    a, b = named("a"), named("b")
    assert order(a, b, sequences=[sequence("a", "b"), sequence("b", "a")]) == [["a"], ["b"]]


def test_a_usage_is_in_no_sequence():
    a = named("a")
    held = usage(a)
    held["metadata"]["annotations"]["crossplane.io/composition-resource-name"] = "b"
    assert order(a, held, sequences=[sequence("b", "a")]) == [["usage"], ["a"]]


def test_a_circle_is_broken_in_the_circle_and_always_at_the_same_place():
    a = obj("A", "a", otherRef={"kind": "B", "name": "b"})
    b = obj("B", "b", otherRef={"kind": "A", "name": "a"})
    used = obj("Used", "aa")  # by one of the circle, so it is not what is freed
    a["spec"]["usedRef"] = {"kind": "Used", "name": "aa"}
    assert order(a, b, used) == order(used, b, a) == [["a"], ["aa", "b"]]


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [],
        {"aRef": None, "bRefs": [1, None, {"name": 7}], "cRef": {"name": ["x"]}, "forProvider": []},
        {"of": 3, "by": {"resourceRef": "x"}},
    ],
)
def test_a_spec_of_any_shape_is_read(spec):
    for kind, group in (("VPC", EC2), ("Usage", "protection.crossplane.io/v1beta1")):
        odd = obj(kind, "odd", api_version=group)
        odd["spec"] = spec
        assert order(odd, obj("VPC", "x")) == [["odd", "x"]]


def test_what_is_waited_for_names_the_first_its_cause_and_how_many_follow():
    first, second = obj("VPC", "a"), obj("VPC", "b")
    first["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    second["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:01Z"
    both, freed = [second, first], [key_of(first), key_of(second)]
    assert deletion.waits_text(both, freed, lambda each: "it has dependencies") == (
        "waiting for VPC a to be gone (being deleted since 2026-01-01T00:00:00Z): it has dependencies; "
        "1 more after or beside it"
    )
    del second["metadata"]["deletionTimestamp"]
    assert deletion.waits_text(both, freed, lambda each: "refused" if each is second else "") == (
        "waiting for VPC b to be gone: refused; 1 more after or beside it"
    )
