"""References and selectors: what is to be resolved, what a selector means, and what the targets give."""

import pytest

from groundplane.core import references
from groundplane.core.references import Reference, Wish
from groundplane.errors import Awaited, Waiting

ONE = Reference("vpcId", "vpcIdRef", "vpcIdSelector", "ec2.aws.upbound.io", "VPC", "external-name")
MANY = Reference(
    "subnetIds", "subnetIdRefs", "subnetIdSelector", "ec2.aws.upbound.io", "Subnet", "external-name", many=True
)
ALWAYS, OPTIONAL = {"policy": {"resolve": "Always"}}, {"policy": {"resolution": "Optional"}}


def managed(controller="", **for_provider):
    metadata = {"name": "db", "uid": "u-db"}
    if controller:
        metadata["ownerReferences"] = [owner(controller)]
    return {"metadata": metadata, "spec": {"forProvider": for_provider}}


def owner(uid):
    return {"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": True}


def target(name, external_name="", labels=None, controller="", **more):
    metadata = {"name": name, "labels": labels or {}}
    if external_name:
        metadata["annotations"] = {"crossplane.io/external-name": external_name}
    if controller:
        metadata["ownerReferences"] = [owner(controller)]
    return {"metadata": metadata | more.pop("metadata", {}), **more}


def wish(reference=ONE, block="forProvider", **more):
    facts = {name: getattr(reference, name) for name in ("field", "ref", "group", "kind", "extract", "many")}
    return Wish(block=block, **facts | more)


# --- wishes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec, names, labels",
    [
        ({"vpcIdRef": {"name": "main"}}, ("main",), None),
        ({"vpcIdSelector": {"matchLabels": {"a": "b"}}}, (), {"a": "b"}),
        ({"vpcIdSelector": {"matchControllerRef": True}}, (), {}),
        ({"vpcIdRef": {"name": "main"}, "vpcIdSelector": {"matchLabels": {"a": "b"}}}, ("main",), None),
        ({"vpcIdRef": {"name": "main"}, "vpcIdSelector": {"matchLabels": {"a": "b"}} | ALWAYS}, (), {"a": "b"}),
        ({"vpcId": "vpc-1", "vpcIdRef": {"name": "main"} | ALWAYS}, ("main",), None),
        ({"vpcId": "vpc-1", "vpcIdRef": {"name": "main"}, "vpcIdSelector": {"matchLabels": {}} | ALWAYS}, (), {}),
    ],
)
def test_one_value_is_wanted_by_name_or_by_labels(spec, names, labels):
    [found] = references.wishes(managed(**spec), [ONE])
    assert (found.names, found.labels) == (names, labels)
    assert (found.field, found.ref, found.where) == ("vpcId", "vpcIdRef", "spec.forProvider.vpcId")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"vpcId": "vpc-1"},
        {"vpcId": "vpc-1", "vpcIdRef": {"name": "main"}},
        {"vpcId": "vpc-1", "vpcIdSelector": {"matchLabels": {"a": "b"}}},
        {"vpcIdRef": None, "vpcIdSelector": None},
    ],
)
def test_nothing_is_wanted_where_a_value_is_or_nobody_asked(spec):
    assert references.wishes(managed(**spec), [ONE]) == []


def test_a_list_is_wanted_by_several_names():
    [found] = references.wishes(managed(subnetIdRefs=[{"name": "b"}, {"name": "a"}]), [ONE, MANY])
    assert found.names == ("b", "a")
    assert found.many
    assert references.wishes(managed(subnetIdRefs=[]), [MANY]) == []
    assert references.wishes(managed(subnetIds=["s-1"], subnetIdRefs=[{"name": "b"}]), [MANY]) == []


def test_the_policies_are_read_from_the_reference_or_the_selector():
    assert references.wishes(managed(vpcIdRef={"name": "main"} | OPTIONAL), [ONE])[0].optional
    assert references.wishes(managed(vpcIdSelector={"matchLabels": {}} | OPTIONAL), [ONE])[0].optional
    assert references.wishes(managed(subnetIdRefs=[{"name": "main"} | OPTIONAL]), [MANY])[0].optional
    assert not references.wishes(managed(vpcIdRef={"name": "main"}), [ONE])[0].optional


# --- matching -------------------------------------------------------------------------------------------------

CANDIDATES = [
    target("a", labels={"type": "database", "zone": "a"}, controller="c-1"),
    target("b", labels={"type": "database", "zone": "b"}, controller="c-2"),
    target("c", labels={"type": "web"}, controller="c-2"),
]


def matching(found, obj=None):
    return [each["metadata"]["name"] for each in references.matching(found, obj or managed(), CANDIDATES)]


def test_a_selector_takes_the_first_for_one_value_and_all_for_a_list():
    assert matching(wish(labels={"type": "database"})) == ["a"]
    assert matching(wish(MANY, labels={"type": "database"})) == ["a", "b"]
    assert matching(wish(MANY, labels={"type": "database", "zone": "b"})) == ["b"]
    assert matching(wish(MANY, labels={})) == ["a", "b", "c"]
    assert matching(wish(MANY, labels={"type": "cache"})) == []


def test_only_those_of_the_same_controller_are_taken_where_that_is_asked():
    same = wish(MANY, labels={"type": "database"}, same_controller=True)
    assert matching(same, managed(controller="c-2")) == ["b"]
    assert matching(same, managed(controller="c-9")) == []
    assert matching(same, managed()) == []


def test_what_is_being_deleted_is_not_taken():
    leaving = target("a", labels={"x": "y"}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert references.matching(wish(labels={}), managed(), [leaving, target("b")]) == [target("b")]


# --- extracted and resolved -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extract, found",
    [
        ("external-name", "vpc-1"),
        ("status.atProvider.arn", "arn:1"),
        ("status.atProvider.id", ""),
        ("status.atProvider.port", "5432"),
        ("status.atProvider.empty", ""),
    ],
)
def test_a_value_comes_from_the_external_name_or_from_a_path(extract, found):
    obj = target("main", "vpc-1", status={"atProvider": {"arn": "arn:1", "port": 5432, "empty": None}})
    assert references.value_of(obj, extract) == found


def test_a_named_target_gives_the_value_and_leaves_the_reference_as_its_author_wrote_it():
    assert references.resolved(wish(names=("main",)), [target("main", "vpc-1")]) == {"vpcId": "vpc-1"}


def test_several_targets_give_values_in_order_and_each_once():
    targets = [target("z", "s-1"), target("y", "s-3"), target("x", "s-2"), target("w", "s-3")]
    found = references.resolved(wish(MANY, labels={}), targets)
    assert found["subnetIds"] == ["s-1", "s-2", "s-3"]
    assert [reference["name"] for reference in found["subnetIdRefs"]][:2] == ["z", "x"]
    assert len(found["subnetIdRefs"]) == 3


def test_a_missing_target_is_named_with_a_mend_and_waited_for():
    with pytest.raises(Waiting) as caught:
        references.resolved(wish(names=("main",)), [])
    assert str(caught.value) == (
        "spec.forProvider.vpcId: cannot get referenced resource: VPC.ec2.aws.upbound.io main not found. "
        "Mend: create VPC main, or correct spec.forProvider.vpcIdRef."
    )
    assert caught.value.on == (Awaited("ec2.aws.upbound.io", "VPC", name="main"),)


@pytest.mark.parametrize(
    "labels, same, words, mend",
    [
        ({"b": "2", "a": "1"}, False, "no VPC.ec2.aws.upbound.io has labels a=1, b=2", "a VPC with these labels"),
        ({}, True, "no VPC.ec2.aws.upbound.io is there under the same controller", "a VPC"),
    ],
)
def test_a_selector_without_match_says_what_it_looked_for(labels, same, words, mend):
    with pytest.raises(Waiting) as caught:
        references.resolved(wish(labels=labels, same_controller=same), [])
    assert f"spec.forProvider.vpcId: no resources matched selector: {words}. Mend: " in str(caught.value)
    assert f"Mend: create {mend}, or set spec.forProvider.vpcId" in str(caught.value)


def test_a_target_without_a_value_is_named_and_waited_for():
    with pytest.raises(Waiting, match="referenced field was empty .* VPC main has no external-name yet") as caught:
        references.resolved(wish(names=("main",)), [target("main")])
    assert caught.value.on == (Awaited("ec2.aws.upbound.io", "VPC", name="main"),)


# --- inside of fields -----------------------------------------------------------------------------------------

NESTED = Reference(
    "replica[].kmsKeyArn",
    "replica[].kmsKeyArnRef",
    "replica[].kmsKeyArnSelector",
    "kms.aws.upbound.io",
    "Key",
    "external-name",
)


def test_members_of_the_entries_of_a_list_are_wanted_each_at_its_place():
    replicas = [
        {"kmsKeyArn": "a", "kmsKeyArnRef": {"name": "x"}},
        {"kmsKeyArnRef": {"name": "y"}},
        {"kmsKeyArnSelector": {"matchLabels": {"a": "b"}}},
    ]
    thing = managed(replica=replicas)
    first, second = references.wishes(thing, [NESTED])
    assert (first.names, first.inside, first.where) == (("y",), ("replica", 1), "spec.forProvider.replica[1].kmsKeyArn")
    assert (second.labels, second.inside) == ({"a": "b"}, ("replica", 2))
    found = [(wish, references.resolved(wish, [target("y", "key-1")])) for wish in (first, second)]
    placed = references.placed(thing, found)
    assert [entry.get("kmsKeyArn") for entry in placed["spec"]["forProvider"]["replica"]] == ["a", "key-1", "key-1"]
    assert "kmsKeyArn" not in thing["spec"]["forProvider"]["replica"][1]


def test_an_object_may_stand_for_the_list_that_a_member_is_in():
    thing = managed(replica={"kmsKeyArnRef": {"name": "y"}})
    [wish] = references.wishes(thing, [NESTED])
    assert wish.inside == ("replica",)
    placed = references.placed(thing, [(wish, {"kmsKeyArn": "key-1"})])
    assert placed["spec"]["forProvider"]["replica"]["kmsKeyArn"] == "key-1"


@pytest.mark.parametrize("replica", [None, "x", [], [None], ["x"], [[{"kmsKeyArnRef": {"name": "y"}}]]])
def test_what_has_another_type_wants_nothing_or_its_own(replica):
    for wish in references.wishes(managed(replica=replica), [NESTED]):
        references.placed(managed(replica=replica), [(wish, {"kmsKeyArn": "a"})])
        references.placed(managed(), [(wish, {"kmsKeyArn": "a"})])
