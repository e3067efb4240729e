"""Usages of all three kinds as one model: what they speak of, what they say, which of them count."""

from __future__ import annotations

import pytest

from groundplane.core import usages
from groundplane.core.usages import LEGACY, PROTECTION, Referent
from groundplane.errors import InvalidInput

ALPHA = {"apiVersion": "nop.example.org/v1alpha1", "kind": "Alpha"}
BETA = {"apiVersion": "nop.example.org/v1alpha1", "kind": "Beta"}


def usage(kind="Usage", group=PROTECTION, version="v1beta1", namespace="team-a", /, **spec):
    metadata = {"name": "u"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def legacy(version="v1beta1", **spec):
    return usage("Usage", LEGACY, version, "", **spec)


def cluster_usage(**spec):
    return usage("ClusterUsage", PROTECTION, "v1beta1", "", **spec)


def named(party, name, **more):
    return {**party, "resourceRef": {"name": name, **more}}


A1 = Referent("nop.example.org", "Alpha", "", "a1")


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_a_legacy_usage_speaks_of_the_same_in_each_version(version):
    found = legacy(version, of=named(ALPHA, "a1"), by=named(BETA, "b1"))
    assert list(usages.spoken_of(found)) == [("of", A1), ("by", A1._replace(kind="Beta", name="b1"))]


def test_the_version_in_which_the_used_object_is_named_does_not_matter():
    for version in ("v1", "v1alpha1"):
        of = named({"apiVersion": f"nop.example.org/{version}", "kind": "Alpha"}, "a1")
        assert usages.is_of(cluster_usage(of=of, reason="r"), A1)


def test_a_usage_in_a_namespace_speaks_of_what_is_in_it_or_where_it_says():
    here, there = A1._replace(namespace="team-a"), A1._replace(namespace="team-b")
    assert usages.is_of(usage(of=named(ALPHA, "a1"), reason="r"), here)
    across = usage(of=named(ALPHA, "a1", namespace="team-b"), by=named(BETA, "b1"))
    assert usages.is_of(across, there)
    assert not usages.is_of(across, here)
    user = A1._replace(kind="Beta", name="b1")
    assert [found for role, found in usages.spoken_of(across) if role == "by"] == [
        user._replace(namespace="team-a"),
        user,  # its kind may have no namespaces
    ]


def test_no_usage_in_a_namespace_speaks_of_anything_without_one():
    assert not usages.is_of(usage(of=named(ALPHA, "a1"), reason="r"), A1)


def test_another_namespace_takes_somebody_here_who_uses_it():
    taken = usage(of=named(ALPHA, "a1", namespace="team-b"), reason="because I say so")
    assert list(usages.spoken_of(taken)) == []
    with pytest.raises(InvalidInput, match="nothing in this one uses it"):
        usages.read(taken)
    own = usage(of=named(ALPHA, "a1", namespace="team-a"), reason="r")
    assert usages.is_of(own, A1._replace(namespace="team-a"))


def test_a_namespace_in_a_usage_without_one_is_nothing():
    found = cluster_usage(of=named(ALPHA, "a1", namespace="team-b"), reason="r")
    assert usages.is_of(found, A1)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, "neither spec.by nor spec.reason is set"),
        ({"reason": "r"}, "spec.of is not set"),
        ({"reason": "r", "of": {}}, "spec.of names no apiVersion"),
        ({"reason": "r", "of": {"apiVersion": "v1"}}, "spec.of names no kind"),
        ({"reason": "r", "of": ALPHA}, "spec.of has neither a resourceRef with a name nor a resourceSelector"),
        ({"of": named(ALPHA, "a1"), "by": BETA}, "spec.by has neither"),
        ({"of": "a1", "reason": "r"}, "spec.of is not set"),
    ],
)
def test_what_a_usage_does_not_say_is_told(spec, told):
    for found in (legacy(**spec), cluster_usage(**spec), usage(**spec)):
        with pytest.raises(InvalidInput, match=told) as caught:
            usages.read(found)
        assert caught.value.mend
        assert list(usages.spoken_of(found)) == []


def test_a_usage_that_is_being_deleted_protects_only_while_it_waits_for_the_user():
    found = legacy(of=named(ALPHA, "a1"), by=named(BETA, "b1"))
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not usages.is_of(found, A1)
    found["metadata"]["labels"] = {"crossplane.io/composite": "x"}
    assert usages.is_of(found, A1)
    del found["spec"]["by"]
    found["spec"]["reason"] = "r"
    assert not usages.is_of(found, A1)


def test_a_usage_does_not_protect_itself():
    for found in (usage(), cluster_usage(), legacy()):
        found["spec"] = {"of": named({"apiVersion": found["apiVersion"], "kind": found["kind"]}, "u"), "reason": "r"}
        with pytest.raises(InvalidInput, match="spec.of is the usage itself"):
            usages.read(found)
        assert list(usages.spoken_of(found)) == []


def test_nothing_else_is_a_usage():
    other = {**legacy(of=named(ALPHA, "a1"), reason="r"), "apiVersion": "example.org/v1"}
    assert list(usages.spoken_of(other)) == []
    assert list(usages.spoken_of({})) == []


def test_the_sentence_for_people_is_upstreams():
    a, b = named(ALPHA, "a1"), named(BETA, "b1")
    assert usages.read(legacy(of=a, by=b)).details == "Beta/b1 uses Alpha/a1"
    assert usages.read(legacy(of=a, by=b, reason="because")).details == "because"
    assert usages.read(usage(of=a, by=b)).details == "Beta/b1 uses Alpha/a1"
    across = usage(of=named(ALPHA, "a1", namespace="team-b"), by=b)
    assert usages.read(across).details == "Beta/b1 uses Alpha/a1 in namespace team-b"


@pytest.mark.parametrize(
    ("found", "strict", "text"),
    [
        (
            [legacy(of=named(ALPHA, "a1"), by=named(BETA, "b1"))],
            False,
            'This resource is in-use by 1 usage(s), including the *v1beta1.Usage "u" by resource Beta/b1.',
        ),
        (
            [legacy(of=named(ALPHA, "a1"), by=named(BETA, "b1"))] * 2,
            True,
            'This resource is in-use by 2 Usage(s), including the Usage "u" by resource Beta/b1.',
        ),
        (
            [cluster_usage(of=named(ALPHA, "a1"), reason='so "it" is')],
            False,
            'This resource is in-use by 1 usage(s), including the *v1beta1.ClusterUsage "u" with reason: "so \\"it\\" is".',
        ),
        (
            [usage(of=named(ALPHA, "a1"), by=named(BETA, "b1"), reason="r")],
            False,
            'This resource is in-use by 1 usage(s), including the *v1beta1.Usage "u" (in namespace "team-a") by resource Beta/b1.',
        ),
        (
            [usage(of=named(ALPHA, "a1"), reason="")],
            False,
            'This resource is in-use by 1 usage(s), including the *v1beta1.Usage "u" (in namespace "team-a").',
        ),
    ],
)
def test_a_denial_names_the_first_usage(found, strict, text):
    assert usages.denial(found[0], len(found), strict_upstream=strict) == text


def test_the_first_with_the_same_controller_is_selected_if_that_is_wanted():
    owner = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1", "controller": True}
    others = [{**ALPHA, "metadata": {"name": name}} for name in ("a", "b")]
    ours = {**ALPHA, "metadata": {"name": "c", "ownerReferences": [owner]}}
    of = {**ALPHA, "resourceSelector": {"matchControllerRef": True}}
    composed = cluster_usage(of=of, reason="r")
    party = usages.read(composed).of
    assert usages.selected(party, composed, [*others, ours]) is None  # it has no controller, as they
    composed["metadata"]["ownerReferences"] = [owner]
    assert usages.selected(party, composed, [*others, ours]) is ours
    any_one = usages.read(cluster_usage(of={**ALPHA, "resourceSelector": {}}, reason="r")).of
    assert usages.selected(any_one, composed, [*others, ours]) is others[0]
    assert usages.nothing_selected(any_one) == 'no "Alpha" found matching labels: map[]'
    two = {"matchLabels": {"b": "2", "a": "1"}, "matchControllerRef": True}
    party = usages.read(cluster_usage(of={**ALPHA, "resourceSelector": two}, reason="r")).of
    told = 'no "Alpha" found matching labels: map["a":"1" "b":"2"] and with same controller reference'
    assert usages.nothing_selected(party) == told


def test_an_owner_of_the_same_name_that_is_gone_gives_way():
    using = {**BETA, "metadata": {"name": "b1", "uid": "new"}}
    found = cluster_usage(of=named(ALPHA, "a1"), by=named(BETA, "b1"))
    reference = {**BETA, "name": "b1", "uid": "new"}
    assert usages.owners(found, using) == [reference]
    controller = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1", "controller": True}
    found["metadata"]["ownerReferences"] = [controller, {**reference, "uid": "old"}]
    assert usages.owners(found, using) == [controller, reference]
    found["metadata"]["ownerReferences"] = [controller, reference]
    assert usages.owners(found, using) is None
