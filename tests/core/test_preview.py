"""What surrounds a render: what functions find, what belongs to whom, what counts as a mistake."""

from __future__ import annotations

import pytest

from groundplane.core import composition, preview
from groundplane.core.pipeline import Selector
from groundplane.errors import InvalidInput


def config(name, *, version="v1beta1", namespace="", **labels):
    metadata = {"name": name, "labels": labels} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"example.org/{version}", "kind": "Config", "metadata": metadata}


CONFIGS = [
    config("b", tier="gold"),
    config("a", tier="gold", env="prod"),
    config("old", version="v1alpha1"),
    config("a", namespace="team", tier="gold"),
    {"apiVersion": "other.org/v1beta1", "kind": "Config", "metadata": {"name": "a"}},
]


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({"name": "a"}, ["/a"]),
        ({"name": "a", "namespace": "team"}, ["team/a"]),
        ({"name": "old"}, ["/old"]),
        ({"name": "absent"}, []),
        ({"labels": {"tier": "gold"}}, ["/a", "/b", "team/a"]),
        ({"labels": {"tier": "gold", "env": "prod"}}, ["/a"]),
        ({"labels": {"tier": "gold"}, "namespace": "team"}, ["team/a"]),
        ({}, ["/a", "/b", "/old", "team/a"]),
    ],
)
def test_a_function_finds_what_it_selects_in_any_version_of_the_kind(how, found):
    objects = preview.fetched(Selector("example.org/v1beta1", "Config", **how), CONFIGS)
    assert [f"{o['metadata'].get('namespace', '')}/{o['metadata']['name']}" for o in objects] == found


def source(*resources):
    reference = {"apiVersion": "example.org/v1", "kind": "XR"}
    return {"metadata": {"name": "it"}, "spec": {"compositeTypeRef": reference, "resources": list(resources)}}


def template(*patches, name="one", **more):
    named = {"name": name} if name else {}
    return {**named, "base": {"apiVersion": "a.b/v1", "kind": "Thing"}, "patches": list(patches), **more}


COMPOSITE = {"apiVersion": "example.org/v1", "kind": "XR", "metadata": {"name": "xr"}, "spec": {"size": "small"}}


def native(*resources, observed=(), composite=COMPOSITE):
    return preview.native(composite, composition.compile(source(*resources)), observed)


def test_a_required_value_that_is_missing_is_no_mistake_for_it_may_come():
    found = native(
        template({"fromFieldPath": "status.arn", "policy": {"fromFieldPath": "Required"}}), template(name="two")
    )
    assert found.mistakes == []
    assert [told.severity for told in found.results] == ["WARNING"]
    assert len(found.composed) == 1


def test_a_patch_that_can_never_work_is_one():
    found = native(template({"fromFieldPath": "spec.size.of.it"}))
    assert [error.where for error in found.mistakes] == [
        ("Composition it", "resource one", "patches[0] (FromCompositeFieldPath)")
    ]
    assert found.composed == []


def test_anonymous_resources_are_observed_in_their_order():
    observed = [
        {"apiVersion": "a.b/v1", "kind": "Thing", "metadata": {"name": name}, "status": {"ready": name == "second"}}
        for name in ("first", "second")
    ]
    checks = [{"type": "MatchTrue", "fieldPath": "status.ready"}]
    found = native(*(template(name="", readinessChecks=checks) for _ in range(2)), observed=observed)
    assert [obj["metadata"]["name"] for obj in found.composed] == ["first", "second"]
    assert found.composite["status"]["conditions"][0]["message"] == "Unready resources: resource 1"


def test_what_another_composite_controls_is_not_observed():
    owner = {"apiVersion": "a.b/v1", "kind": "XR", "name": "other", "uid": "x", "controller": True}
    metadata = {
        "name": "n",
        "ownerReferences": [owner],
        "annotations": {"crossplane.io/composition-resource-name": "one"},
    }
    observed = [{"apiVersion": "a.b/v1", "kind": "Thing", "metadata": metadata}]
    composite = COMPOSITE | {"metadata": {"name": "xr", "uid": "u"}}
    with pytest.raises(InvalidInput, match="is controlled by XR other"):
        native(template(), observed=observed, composite=composite)


def test_nothing_that_is_handed_in_is_changed_and_what_was_made_up_is_not_shown():
    found = native(template({"fromFieldPath": "metadata.uid", "toFieldPath": "spec.uid"}))
    assert COMPOSITE == {
        "apiVersion": "example.org/v1",
        "kind": "XR",
        "metadata": {"name": "xr"},
        "spec": {"size": "small"},
    }
    assert found.composite["metadata"] == {"name": "xr"}
    assert found.composed[0]["spec"]["uid"]


SECRET_PATCH = {
    "fromFieldPath": "spec.writeConnectionSecretToRef.namespace",
    "toFieldPath": "spec.writeConnectionSecretToRef.namespace",
}


@pytest.mark.parametrize(
    ("composition_says", "else_", "own", "namespace"),
    [
        ("secrets", "", None, "secrets"),
        ("secrets", "other", None, "secrets"),
        (None, "other", None, "other"),
        ("secrets", "other", {"name": "s", "namespace": "mine"}, "mine"),
        (None, "", None, None),
    ],
)
def test_a_composite_has_a_place_for_its_secret_as_in_a_cluster(composition_says, else_, own, namespace):
    given = source(template(SECRET_PATCH))
    if composition_says:
        given["spec"]["writeConnectionSecretsToNamespace"] = composition_says
    spec = {"size": "small"} | ({"writeConnectionSecretToRef": own} if own else {})
    found = preview.native(COMPOSITE | {"spec": spec}, composition.compile(given), [], secrets=else_)
    reference = found.composed[0].get("spec", {}).get("writeConnectionSecretToRef", {})
    assert reference.get("namespace") == namespace
    assert found.composite["spec"] == spec


def test_a_bound_claim_keeps_its_composite():
    claim = {"apiVersion": "a.b/v1", "kind": "Thing", "metadata": {"name": "c", "namespace": "n"}}
    claim["spec"] = {"resourceRef": {"apiVersion": "a.b/v1", "kind": "XThing", "name": "c-12345"}, "size": 1}
    composite = preview.composite_of(claim, api_version="a.b/v1", kind="XThing")
    assert composite["metadata"]["name"] == "c-12345"
    assert composite["spec"]["size"] == 1
    assert "resourceRef" not in composite["spec"]
