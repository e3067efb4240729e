"""What flows between claim and composite; the tables follow control-plane behaviour recorded from upstream."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import claim as flow


def a_claim(**spec):
    return {
        "apiVersion": "example.org/v1",
        "kind": "Thing",
        "metadata": {"name": "db", "namespace": "team-a"},
        "spec": spec,
    }


def a_composite(**spec):
    return {"apiVersion": "example.org/v1", "kind": "XThing", "metadata": {"name": "db-abcde"}, "spec": spec}


def wanted(claim, composite=None, *, enforced=False):
    return flow.composite_from(
        claim, composite, api_version="example.org/v1", kind="XThing", name="db-abcde", enforced=enforced
    )


@pytest.mark.parametrize(
    "key",
    ["app.kubernetes.io/name", "kubectl.kubernetes.io/last-applied-configuration", "x.k8s.io/y", "notkubernetes.io/z"],
)
def test_metadata_with_a_reserved_prefix_does_not_flow(key):
    claim = a_claim()
    claim["metadata"] |= {"labels": {key: "v"}, "annotations": {key: "v"}}
    metadata = wanted(claim)["metadata"]
    assert key not in metadata["labels"]
    assert "annotations" not in metadata


@pytest.mark.parametrize("key", ["team", "kubernetes.io.example/k", "example.org/a"])
def test_other_metadata_flows(key):
    claim = a_claim()
    claim["metadata"] |= {"labels": {key: "v"}, "annotations": {key: "v"}}
    metadata = wanted(claim)["metadata"]
    assert metadata["labels"][key] == "v"
    assert metadata["annotations"] == {key: "v"}


def test_a_claim_that_is_read_in_an_older_version_is_named_in_the_one_that_its_composite_has():
    claim = a_claim(size="large") | {"apiVersion": "example.org/v1alpha1"}
    assert wanted(claim)["spec"]["claimRef"]["apiVersion"] == "example.org/v1"


def test_the_claims_identity_wins_over_labels_a_user_wrote():
    claim = a_claim()
    claim["metadata"]["labels"] = {"crossplane.io/claim-name": "wrong"}
    assert wanted(claim)["metadata"]["labels"] == {
        "crossplane.io/claim-name": "db",
        "crossplane.io/claim-namespace": "team-a",
    }


@pytest.mark.parametrize(
    ("owned", "chosen", "flows"),
    [
        ({"f:size": {}}, "a", False),  # the composite chose it, and the claim has taken it over
        ({"f:size": {}, "f:compositionRef": {}}, "a", True),  # the claim chose it: not to apply it would remove it
        ({"f:size": {}}, "b", True),  # the claim wants another
        ({}, "a", True),  # nothing has been applied yet
    ],
)
def test_a_choice_that_came_back_from_the_composite_is_not_applied_to_it_again(owned, chosen, flows):
    composite = a_composite(size="small", compositionRef={"name": "a"})
    if owned:
        entry = {"manager": flow.MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": owned}}
        composite["metadata"]["managedFields"] = [entry]
    spec = wanted(a_claim(size="small", compositionRef={"name": chosen}), composite)["spec"]
    assert spec.get("compositionRef") == ({"name": chosen} if flows else None)


def test_machinery_does_not_flow_to_the_composite_but_for_the_choice_of_a_composition():
    claim = a_claim(
        size="small",
        compositionRef={"name": "a"},
        compositionSelector={"matchLabels": {"a": "b"}},
        compositionRevisionRef={"name": "a-1"},
        compositionUpdatePolicy="Manual",
        compositeDeletePolicy="Foreground",
        resourceRef={"name": "db-abcde"},
        writeConnectionSecretToRef={"name": "conn"},
        resourceRefs=[{"kind": "Secret"}],
    )
    assert wanted(claim)["spec"] == {
        "size": "small",
        "compositionRef": {"name": "a"},
        "compositionSelector": {"matchLabels": {"a": "b"}},
        "compositionUpdatePolicy": "Manual",
        "claimRef": {"apiVersion": "example.org/v1", "kind": "Thing", "namespace": "team-a", "name": "db"},
    }


def test_a_revision_flows_only_to_a_composite_that_follows_manually():
    claim = a_claim(compositionRevisionRef={"name": "a-2"})
    assert "compositionRevisionRef" not in wanted(claim, a_composite(compositionUpdatePolicy="Automatic"))["spec"]
    manual = wanted(claim, a_composite(compositionUpdatePolicy="Manual"))["spec"]
    assert manual["compositionRevisionRef"] == {"name": "a-2"}


def test_an_enforced_composition_is_not_overruled_by_the_claim():
    claim = a_claim(compositionRef={"name": "mine"})
    assert "compositionRef" not in wanted(claim, enforced=True)["spec"]
    back = flow.claim_from(claim, a_composite(compositionRef={"name": "theirs"}), enforced=True)
    assert back["spec"]["compositionRef"] == {"name": "theirs"}


def test_the_composites_external_name_wins_in_both_directions():
    claim, composite = a_claim(), a_composite()
    claim["metadata"]["annotations"] = {flow.EXTERNAL_NAME: "mine"}
    composite["metadata"]["annotations"] = {flow.EXTERNAL_NAME: "theirs"}
    assert wanted(claim, composite)["metadata"]["annotations"][flow.EXTERNAL_NAME] == "theirs"
    back = flow.claim_from(claim, composite, enforced=False)
    assert back["metadata"]["annotations"][flow.EXTERNAL_NAME] == "theirs"


def test_a_revision_flows_back_only_from_a_composite_that_follows_automatically():
    chosen = {"compositionRef": {"name": "a"}, "compositionRevisionRef": {"name": "a-1"}}
    automatic = flow.claim_from(a_claim(), a_composite(compositionUpdatePolicy="Automatic", **chosen), enforced=False)
    assert automatic["spec"]["compositionRevisionRef"] == {"name": "a-1"}
    manual = flow.claim_from(a_claim(), a_composite(compositionUpdatePolicy="Manual", **chosen), enforced=False)
    assert "compositionRevisionRef" not in manual["spec"]
    assert manual["spec"]["compositionRef"] == {"name": "a"}


def test_a_revision_that_a_claim_pins_is_not_overwritten_by_a_composite_that_has_not_learnt_of_it():
    pinning = a_claim(compositionUpdatePolicy="Manual", compositionRevisionRef={"name": "a-1"})
    there = a_composite(compositionUpdatePolicy="Automatic", compositionRevisionRef={"name": "a-2"})
    assert flow.claim_from(pinning, there, enforced=False)["spec"]["compositionRevisionRef"] == {"name": "a-1"}


def test_a_claims_own_choice_of_composition_stays():
    back = flow.claim_from(
        a_claim(compositionRef={"name": "mine"}), a_composite(compositionRef={"name": "x"}), enforced=False
    )
    assert back["spec"]["compositionRef"] == {"name": "mine"}


def test_status_is_replaced_but_each_keeps_its_own_conditions():
    claim, composite = a_claim(), a_composite()
    claim["status"] = {"gone": 1, "conditions": ["mine"], "connectionDetails": {"lastPublishedTime": "t"}}
    composite["status"] = {"address": "a", "conditions": ["theirs"], "claimConditionTypes": ["X"]}
    assert flow.status_from(claim, composite) == {
        "address": "a",
        "conditions": ["mine"],
        "connectionDetails": {"lastPublishedTime": "t"},
    }


def test_a_composite_without_status_leaves_the_claims_alone():
    claim = a_claim()
    claim["status"] = {"address": "a"}
    assert flow.status_from(claim, a_composite()) == {"address": "a"}


@pytest.mark.parametrize(
    ("reference", "elsewhere"),
    [
        (None, False),
        ({"apiVersion": "example.org/v1", "kind": "Thing", "namespace": "team-a", "name": "db"}, False),
        ({"apiVersion": "example.org/v1", "kind": "Thing", "namespace": "team-b", "name": "db"}, True),
        ({"apiVersion": "example.org/v2", "kind": "Thing", "namespace": "team-a", "name": "db"}, False),
        ({"apiVersion": "example.com/v1", "kind": "Thing", "namespace": "team-a", "name": "db"}, True),
        ({"apiVersion": "example.org/v1", "kind": "Other", "namespace": "team-a", "name": "db"}, True),
    ],
)
def test_a_composite_is_bound_elsewhere_unless_its_reference_is_this_claim_in_any_version(reference, elsewhere):
    composite = a_composite(**({"claimRef": reference} if reference else {}))
    assert flow.is_bound_elsewhere(a_claim(), composite) is elsewhere


fields = st.dictionaries(
    st.sampled_from(["size", "compositionRef", "resourceRefs", "claimRef", "compositionUpdatePolicy", "region"]),
    st.fixed_dictionaries({"name": st.text(max_size=3)}),
)


@given(spec=fields, theirs=fields)
def test_syncing_settles_after_one_round_and_changes_no_input(spec, theirs):
    claim, composite = a_claim(**spec), a_composite(**theirs)
    before = copy.deepcopy((claim, composite))
    once = flow.claim_from(claim, composite, enforced=False)
    assert flow.claim_from(once, composite, enforced=False) == once
    assert wanted(once, composite)["spec"]["claimRef"] == flow.reference_to(claim)
    assert (claim, composite) == before


@pytest.mark.parametrize(
    ("obj", "tenant"),
    [
        ({"metadata": {"namespace": "team-a"}}, "team-a"),
        ({"metadata": {}, "spec": {"claimRef": {"namespace": "team-a", "name": "db"}}}, "team-a"),
        ({"metadata": {"labels": {"crossplane.io/claim-namespace": "team-a"}}, "spec": {}}, "team-a"),
        ({"metadata": {"namespace": "team-b", "labels": {"crossplane.io/claim-namespace": "team-a"}}}, "team-b"),
        ({"metadata": {}}, ""),
    ],
)
def test_an_object_counts_for_its_own_namespace_or_that_of_the_claim_it_was_made_for(obj, tenant):
    assert flow.tenant(obj) == tenant
