"""Rendering: whose object is whose, what is applied, what flows back.  Upstream's single answers: test_conformance.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.core import composition, fieldpath, naming, render
from groundplane.errors import InvalidInput

LABELS = {
    "crossplane.io/composite": "db-x7k2p",
    "crossplane.io/claim-name": "db",
    "crossplane.io/claim-namespace": "team-a",
}
OURS = {"apiVersion": "example.org/v1", "kind": "XThing", "name": "db-x7k2p", "uid": "uid-xr"}


def composite(**spec):
    return {
        "apiVersion": "example.org/v1",
        "kind": "XThing",
        "metadata": {"name": "db-x7k2p", "uid": "uid-xr", "labels": dict(LABELS)},
        "spec": spec,
    }


def template(name="bucket", *patches, **more):
    made = {
        "base": {"apiVersion": "s3.example.org/v1", "kind": "Bucket"} | more.pop("base", {}),
        "patches": list(patches),
    }
    return made | ({"name": name} if name else {}) | more


def compiled(*templates, annotations=None, **spec):
    source = {
        "metadata": {"name": "thing", "annotations": annotations or {}},
        "spec": {"compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "XThing"}, "resources": list(templates)}
        | spec,
    }
    return composition.compile(source)


def live(name, template_name="bucket", kind="Bucket", **more):
    annotations = {"crossplane.io/composition-resource-name": template_name} if template_name else {}
    return {
        "apiVersion": "s3.example.org/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": annotations, "ownerReferences": [OURS | {"controller": True}]},
    } | more


def reference(obj):
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"]}


def rendered(*templates, xr=None, observed=None, helpful=False):
    return render.render(xr or composite(), compiled(*templates), observed or {}, helpful=helpful)


def patch(path, target, **more):
    return {"type": "FromCompositeFieldPath", "fromFieldPath": path, "toFieldPath": target} | more


def back(path, target, **more):
    return {"type": "ToCompositeFieldPath", "fromFieldPath": path, "toFieldPath": target} | more


# --- which object is whose -------------------------------------------------------------------------------


def associate(templates, found, references=None):
    wanted = [reference(obj) for obj in found] if references is None else references
    return render.associate(composite(), compiled(*templates), wanted, found)


def test_objects_belong_to_the_template_that_they_name():
    one, other = live("one", "a"), live("other", "b")
    found = associate([template("b"), template("a")], [one, other])
    assert found.observed == {"a": one, "b": other}
    assert found.garbage == []


def test_what_names_no_template_is_garbage():
    gone = live("gone", "gone")
    found = associate([template("a")], [live("one", "a"), gone])
    assert found.garbage == [gone]


def test_what_somebody_else_controls_is_never_garbage():
    foreign = live("gone", "gone")
    foreign["metadata"]["ownerReferences"] = [{"kind": "Other", "name": "o", "uid": "other", "controller": True}]
    with pytest.raises(InvalidInput, match="controlled by Other"):
        associate([template("a")], [foreign])


def test_anonymous_templates_go_by_their_place():
    one, other = live("one", None), live("other", None)
    found = associate(
        [template(None), template(None), template(None)], [other, one], [reference(one), reference(other)]
    )
    assert found.observed == {"resource 1": one, "resource 2": other}


def test_an_object_without_the_annotation_makes_all_go_by_their_place():
    one, other = live("one", None), live("other", "a")
    found = associate([template("a"), template("b")], [one, other])
    assert found.observed == {"a": one, "b": other}
    assert found.garbage == []


def test_by_place_the_name_of_an_object_that_is_gone_is_kept():
    references = [{}, reference(live("gone", None))]
    found = associate([template(None), template(None)], [], references)
    [first, second] = render.render(
        composite(), compiled(template(None), template(None)), found.observed, helpful=False
    )
    assert first.object["metadata"]["name"] != "gone"
    assert second.object["metadata"]["name"] == "gone"


# --- what is applied ----------------------------------------------------------------------------------------


def test_a_new_object_is_named_labelled_and_owned():
    [item] = rendered(template())
    assert item.object == {
        "apiVersion": "s3.example.org/v1",
        "kind": "Bucket",
        "metadata": {
            "name": "db-x7k2p-11c616f11e4a",
            "generateName": "db-x7k2p-",
            "labels": LABELS,
            "annotations": {"crossplane.io/composition-resource-name": "bucket"},
            "ownerReferences": [OURS | {"controller": True, "blockOwnerDeletion": True}],
        },
    }
    assert item.reference == reference(item.object)


def test_a_new_name_is_the_same_each_time():
    assert rendered(template())[0].object == rendered(template())[0].object


def test_labels_of_a_claim_are_empty_without_a_claim():
    xr = composite()
    xr["metadata"]["labels"] = {"crossplane.io/composite": "db-x7k2p"}
    labels = rendered(template(), xr=xr)[0].object["metadata"]["labels"]
    assert labels["crossplane.io/claim-name"] == labels["crossplane.io/claim-namespace"] == ""


def test_an_object_that_exists_keeps_its_name_and_namespace_and_nothing_else():
    there = live("bucket-1", spec={"old": 1})
    there["metadata"]["namespace"] = "ns"
    [item] = rendered(template(base={"metadata": {"name": "base"}, "spec": {"new": 1}}), observed={"bucket": there})
    assert (item.object["metadata"]["name"], item.object["metadata"]["namespace"]) == ("bucket-1", "ns")
    assert item.object["spec"] == {"new": 1}
    assert item.reference["namespace"] == "ns"


def test_a_patched_name_counts_for_a_new_object():
    [item] = rendered(template("bucket", patch("spec.n", "metadata.name")), xr=composite(n="mine"))
    assert item.object["metadata"]["name"] == item.reference["name"] == "mine"


def test_a_patched_name_does_not_orphan_an_object_that_exists():
    observed = {"bucket": live("bucket-1")}
    [item] = rendered(template("bucket", patch("spec.n", "metadata.name")), xr=composite(n="mine"), observed=observed)
    assert item.object["metadata"]["name"] == "bucket-1"
    assert item.notes == (
        'bucket: a patch asks for the name "mine", but the resource exists as "bucket-1" and keeps its name',
    )


@pytest.mark.parametrize("member", ["labels", "annotations"])
def test_a_label_or_annotation_that_is_null_is_a_place_for_a_patch(member):
    metadata = {member: {"team": None, "other": "x"}}
    base = {"apiVersion": "s3.example.org/v1", "kind": "Bucket", "metadata": metadata}
    filling = template("bucket", patch("spec.v", f"metadata.{member}[team]")) | {"base": base}
    [item] = rendered(filling, xr=composite(v="a"))
    assert item.object["metadata"][member].items() >= {"team": "a", "other": "x"}.items()
    [item] = rendered(template("bucket") | {"base": base})
    assert not {"team", "other"} & item.object["metadata"][member].keys()
    told = f"bucket: metadata.{member}[team] is null and no patch fills it: none of its {member} is taken"
    assert item.notes == (told,)


@pytest.mark.parametrize("value", [5, True, {"a": "b"}])
@pytest.mark.parametrize("member", ["labels", "annotations"])
def test_a_label_or_annotation_that_is_no_string_is_named(member, value):
    [item] = rendered(template("bucket", patch("spec.v", f"metadata.{member}[team]")), xr=composite(v=value))
    assert item.object is None
    assert f"metadata.{member}[team]" in item.error.what
    assert item.error.where == ("resource bucket",)


@pytest.mark.parametrize("target", ["apiVersion", "metadata"])
def test_an_object_must_stay_an_object(target):
    [item] = rendered(template("bucket", patch("spec.v", target)), xr=composite(v=""))
    assert item.object is None


def test_what_a_patch_requires_of_a_status_is_waited_for():
    required = {"policy": {"fromFieldPath": "Required"}}
    [item] = rendered(template("a", patch("status.arn", "spec.x", **required)))
    assert item.object is None
    assert str(item.error) == (
        "resource a › patches[0] (FromCompositeFieldPath): status: no such field. "
        "Mend: it is required, and comes once resources that exist have filled the status; if it never does, correct the path."
    )


def test_a_template_that_fails_is_withheld_and_the_others_go_on():
    required = {"policy": {"fromFieldPath": "Required"}}
    [first, second] = rendered(template("a", patch("spec.no", "spec.x", **required)), template("b"))
    assert first.object is None
    assert str(first.error) == (
        "resource a › patches[0] (FromCompositeFieldPath): spec.no: no such field. "
        "Mend: it is required: fill it, or make the patch's policy.fromFieldPath Optional."
    )
    assert second.object is not None
    assert [item["name"] for item in render.references([first, second])] == [
        naming.composed_name("db-x7k2p-", "uid-xr", name) for name in "ab"
    ]


def test_a_template_that_fails_keeps_its_reference_to_what_exists():
    [item] = rendered(
        template("bucket", patch("spec.a.b", "spec.x")), xr=composite(a="text"), observed={"bucket": live("bucket-1")}
    )
    assert item.object is None
    assert item.reference["name"] == "bucket-1"


def test_a_kind_can_not_change():
    with pytest.raises(InvalidInput, match=r"from Topic .* to Bucket"):
        rendered(template(), observed={"bucket": live("one", kind="Topic")})


def test_a_composite_without_its_label_renders_nothing():
    xr = composite()
    del xr["metadata"]["labels"]
    [item] = rendered(template(), xr=xr)
    assert "crossplane.io/composite" in item.error.what


def test_another_controller_is_an_error_and_another_owner_is_kept():
    other = {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "other"}
    [item] = rendered(template(base={"metadata": {"ownerReferences": [other, OURS]}}))
    assert [owner["uid"] for owner in item.object["metadata"]["ownerReferences"]] == ["other", "uid-xr"]
    [item] = rendered(template(base={"metadata": {"ownerReferences": [other | {"controller": True}]}}))
    assert "already controlled by Other o" in item.error.what


def test_a_secret_without_a_name_gets_one_only_if_that_helps():
    wanted = template(base={"spec": {"writeConnectionSecretToRef": {"namespace": "secrets"}}})
    [item] = rendered(wanted, helpful=True)
    assert item.object["spec"]["writeConnectionSecretToRef"] == {"namespace": "secrets", "name": "uid-xr-bucket"}
    assert item.notes == ('bucket: spec.writeConnectionSecretToRef has no name: assuming "uid-xr-bucket"',)
    [item] = rendered(wanted)
    assert item.object["spec"]["writeConnectionSecretToRef"] == {"namespace": "secrets"}
    assert item.notes == ()


def test_a_secret_with_a_name_or_without_a_namespace_is_left_alone():
    for wanted in ({"namespace": "secrets", "name": "mine"}, {}, "text"):
        [item] = rendered(template(base={"spec": {"writeConnectionSecretToRef": wanted}}), helpful=True)
        assert item.object["spec"]["writeConnectionSecretToRef"] == wanted


# --- what flows back ----------------------------------------------------------------------------------------


def collected(*templates, xr=None, helpful=False, annotations=None, **composed):
    there = {
        name: value if isinstance(value, render.Composed) else render.Composed(value)
        for name, value in composed.items()
    }
    return render.collect(xr or composite(), compiled(*templates, annotations=annotations), there, helpful=helpful)


def ready(**status):
    return live("bucket-1", status={"conditions": [{"type": "Ready", "status": "True"}]} | status)


def test_status_connection_and_readiness_flow_back():
    found = collected(
        template(
            "bucket",
            back("status.arn", "status.arn"),
            connectionDetails=[{"name": "arn", "fromFieldPath": "status.arn"}, {"fromConnectionSecretKey": "key"}],
        ),
        template("other"),
        bucket=render.Composed(ready(arn="arn:x"), {"key": b"k", "unlisted": b"u"}),
    )
    assert found.composite["status"] == {"arn": "arn:x"}
    assert found.connection == {"arn": b"arn:x", "key": b"k"}
    assert found.ready == {"bucket": True, "other": False}


def test_later_templates_overwrite_details_of_the_same_name():
    detail = {"connectionDetails": [{"name": "n", "fromFieldPath": "metadata.name"}]}
    found = collected(template("a", **detail), template("b", **detail), a=live("one", "a"), b=live("two", "b"))
    assert found.connection == {"n": b"two"}


def test_a_failure_keeps_the_status_patched_until_then_and_nothing_else():
    with pytest.raises(render.Broken) as caught:
        collected(
            template("a", back("status.v", "status.a"), back("status.v", "spec.a")),
            template("b", back("status.v", "status.b"), connectionDetails=[{"value": "x"}]),
            template("c", back("status.v", "status.c")),
            **{name: live(name, name, status={"v": name}) for name in "abc"},
        )
    assert caught.value.composite == composite() | {"status": {"a": "a", "b": "b"}}
    assert caught.value.where == ("resource b", "connectionDetails[0]")


def test_a_null_in_the_spec_goes_and_one_in_a_list_or_status_stays():
    found = collected(
        template("bucket", back("status.no", "status.no"), back("status.no", "spec.o.x")),
        xr=composite(o={"x": 1, "y": None, "l": [None]}),
        bucket=ready(no=None),
    )
    assert found.composite["spec"] == {"o": {"l": [None]}}
    assert found.composite["status"] == {"no": None}


def test_a_host_loses_its_port_only_if_that_helps_and_nobody_objects():
    details = [{"name": "host", "fromFieldPath": "status.endpoint"}, {"name": "port", "fromFieldPath": "status.port"}]
    wanted, obj = template("bucket", connectionDetails=details), ready(endpoint="db:5432", port=5432)
    found = collected(wanted, helpful=True, bucket=obj)
    assert found.connection["host"] == b"db"
    assert len(found.notes) == 1
    assert "keep-host-port" in found.notes[0]
    for options in ({"helpful": False}, {"helpful": True, "annotations": {"groundplane.io/keep-host-port": "true"}}):
        found = collected(wanted, bucket=obj, **options)
        assert found.connection["host"] == b"db:5432"
        assert found.notes == ()


def test_connection_details_are_not_shown():
    found = collected(
        template("a", connectionDetails=[{"fromConnectionSecretKey": "k"}]),
        a=render.Composed(live("one", "a"), {"k": b"hunter2"}),
    )
    assert "hunter2" not in repr(found)
    assert "hunter2" not in repr(render.Composed({}, {"k": b"hunter2"}))


names = st.sampled_from(["a", "b", "c"])
json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("xy", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
spec_paths = st.lists(names, min_size=1, max_size=2).map(lambda parts: ".".join(["spec", *parts]))
policies = st.sampled_from([{}, {"policy": {"mergeOptions": {"keepMapValues": True, "appendSlice": True}}}])


@given(
    st.dictionaries(names, json, max_size=3),
    st.dictionaries(names, json, max_size=3),
    st.lists(st.builds(lambda a, b, p: patch(a, b, **p), spec_paths, spec_paths, policies), max_size=3),
    st.lists(st.builds(lambda a, b, p: back(a, b, **p), spec_paths, spec_paths, policies), max_size=3),
)
def test_rendering_and_collecting_change_nothing_that_they_were_given(theirs, ours, there, back_again):
    xr, made = composite(**theirs), compiled(template("bucket", *there, *back_again, base={"spec": ours}))
    observed = {"bucket": live("bucket-1", spec=fieldpath.copied(theirs))}
    before = fieldpath.copied([xr, observed])
    try:
        [first] = render.render(xr, made, observed, helpful=True)
        [again] = render.render(xr, made, observed, helpful=True)
        assert first.object == again.object
        if first.object is not None:
            render.collect(xr, made, {"bucket": render.Composed(first.object)}, helpful=True)
            assert first.object == again.object
    except InvalidInput:
        pass
    assert fieldpath.same([xr, observed], before)
