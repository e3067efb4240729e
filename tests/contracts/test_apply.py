"""Server-side apply as rules: ownership cases, and the laws that hold for any object."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundplane.cluster import apply as rules
from groundplane.cluster import ownership
from groundplane.core.objects import meta, spec_of
from tests.contracts.conftest import WIDGET

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def widget(spec=None, **fields):
    obj = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "here"}}
    obj["metadata"] |= fields.pop("metadata", {})
    return obj | ({} if spec is None else {"spec": spec}) | fields


def applied(live, obj, manager="us", subresource="", schema=WIDGET, now=NOW):
    return rules.server_side_apply(live, obj, manager, subresource, schema, now)


def updated(live, obj, manager="person", schema=WIDGET, now=LATER):
    return rules.record_update(live, obj, manager, "", now, schema)


def owners(obj):
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in meta(obj).get("managedFields") or ()}


# --- ownership


def test_a_created_object_is_owned_whole_by_its_creator():
    made = updated(None, widget({"settings": {"a": "1"}, "tags": ["x"]}, metadata={"labels": {"l": "1"}}))
    [entry] = meta(made)["managedFields"]
    assert entry == {
        "apiVersion": "example.org/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
            "f:spec": {".": {}, "f:settings": {".": {}, "f:a": {}}, "f:tags": {}},
        },
        "manager": "person",
        "operation": "Update",
        "time": LATER,
    }


def test_list_items_are_owned_by_key_and_set_items_by_value():
    reference = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u-1"}
    made = applied(
        None,
        widget(
            {"ports": [{"name": "a", "number": 1}], "colours": ["red"]},
            metadata={"ownerReferences": [reference], "finalizers": ["f/x"]},
        ),
    )
    assert owners(made)["us", "Apply"] == {
        "f:metadata": {"f:finalizers": {'v:"f/x"': {}}, "f:ownerReferences": {'k:{"uid":"u-1"}': {}}},
        "f:spec": {
            "f:colours": {'v:"red"': {}},
            "f:ports": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:number": {}}},
        },
    }


def test_without_a_schema_maps_merge_and_lists_are_replaced():
    live = applied(None, widget({"a": {"x": 1}, "l": [1]}), "them", schema=None)
    made = applied(live, widget({"a": {"y": 2}, "l": [2]}), schema=None)
    assert spec_of(made) == {"a": {"x": 1, "y": 2}, "l": [2]}
    assert owners(made)["them", "Apply"] == {"f:spec": {".": {}, "f:a": {".": {}, "f:x": {}}}}


def test_an_equal_value_is_shared_and_goes_only_with_its_last_owner():
    live = applied(applied(None, widget({"note": "x"}), "them"), widget({"note": "x"}))
    live = applied(live, widget({}))
    assert spec_of(live)["note"] == "x"
    live = applied(live, widget({}), "them")
    assert "note" not in spec_of(live)


def test_an_unowned_field_below_a_dropped_one_goes_with_it():
    live = applied(None, widget({"deep": {"mine": 1}}), schema=None)
    live["spec"]["deep"]["default"] = 2
    assert spec_of(applied(live, widget({}), schema=None)) == {}


def test_a_dropped_field_with_somebody_elses_below_keeps_what_is_not_ours():
    live = applied(None, widget({"deep": {"mine": 1}}), schema=None)
    live = applied(live, widget({"deep": {"theirs": 2}}), "them", schema=None)
    live["spec"]["deep"]["default"] = 3
    assert spec_of(applied(live, widget({}), schema=None)) == {"deep": {"theirs": 2, "default": 3}}


def test_the_first_apply_to_an_untracked_object_leaves_the_rest_to_before_first_apply():
    made = applied(widget({"count": 1, "note": "x"}), widget({"count": 2}))
    assert owners(made) == {
        ("us", "Apply"): {"f:spec": {"f:count": {}}},
        ("before-first-apply", "Update"): {"f:spec": {".": {}, "f:note": {}}},
    }
    assert spec_of(made) == {"count": 2, "note": "x"}


def test_a_single_empty_entry_resets_what_was_tracked():
    live = updated(None, widget({"count": 1}))
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = [{}]
    assert "managedFields" not in meta(updated(live, new))


def test_an_update_that_removes_a_field_removes_it_from_everybody():
    live = applied(None, widget({"count": 1, "note": "x"}))
    new = copy.deepcopy(live)
    del new["spec"]["note"]
    assert owners(updated(live, new)) == {("us", "Apply"): {"f:spec": {"f:count": {}}}}


def test_times_tell_who_wrote_last():
    live = applied(None, widget({"count": 1}))
    live = applied(live, widget({"note": "x"}), "them", now=LATER)
    assert [(entry["manager"], entry["time"]) for entry in meta(live)["managedFields"]] == [
        ("us", NOW),
        ("them", LATER),
    ]
    assert applied(live, widget({"count": 1}), now="2026-01-01T00:02:00Z") is live


def test_an_apply_in_another_version_moves_the_entry_there():
    live = applied(None, widget({"count": 1})) | {"apiVersion": "example.org/v2"}
    wanted = widget({"count": 1}) | {"apiVersion": "example.org/v2"}
    assert not rules.unchanged(live, wanted, "us")
    made = applied(live, wanted)
    assert [entry["apiVersion"] for entry in meta(made)["managedFields"]] == ["example.org/v2"]
    assert rules.unchanged(made, wanted, "us")


# --- unchanged


def test_nothing_is_unchanged_that_was_never_applied_by_this_manager():
    live = applied(None, widget({"count": 1}))
    assert rules.unchanged(live, widget({"count": 1}), "us")
    assert not rules.unchanged(live, widget({"count": 1}), "them")
    assert not rules.unchanged(live, widget({"count": 1}), "us", "status")
    assert not rules.unchanged(updated(None, widget({"count": 1})), widget({"count": 1}), "person")


@pytest.mark.parametrize(
    "spec, is_unchanged",
    [
        ({"count": 1, "ports": [{"name": "a"}], "rules": [{"from": "x"}], "settings": {"a": "1"}}, True),
        ({"count": 1.0, "ports": [{"name": "a"}], "rules": [{"from": "x"}], "settings": {"a": "1"}}, True),
        ({"count": True, "ports": [{"name": "a"}], "rules": [{"from": "x"}], "settings": {"a": "1"}}, False),
        ({"count": 1, "ports": [{"name": "a"}], "rules": [{"from": "x"}], "settings": {"a": "1"}, "note": None}, True),
        ({"count": 1, "ports": [{"name": "a"}], "rules": [{"from": "x"}], "settings": {"a": "1"}, "note": "n"}, False),
        ({"count": 1, "ports": [{"name": "a"}], "rules": [{"from": "x"}]}, False),
        ({"count": 1, "ports": [{"name": "a"}], "rules": [{}], "settings": {"a": "1"}}, False),
        ({"count": 1, "ports": [{"name": "a"}], "rules": [], "settings": {"a": "1"}}, False),
        ({"count": 1, "ports": [{"name": "a", "number": 80}], "rules": [{"from": "x"}], "settings": {"a": "1"}}, False),
        ({"count": 1, "ports": [{"name": "b"}], "rules": [{"from": "x"}], "settings": {"a": "1"}}, False),
        ({"count": 1, "ports": [], "rules": [{"from": "x"}], "settings": {"a": "1"}}, False),
    ],
)
def test_what_counts_as_a_change(spec, is_unchanged):
    live = applied(
        None, widget({"count": 1, "ports": [{"name": "a"}], "rules": [{"from": "x"}], "settings": {"a": "1"}})
    )
    live["spec"]["ports"][0]["number"] = 80  # a default
    live["spec"]["settings"]["b"] = "somebody else's"
    assert rules.unchanged(live, widget(spec), "us", schema=WIDGET) is is_unchanged


def test_a_default_inside_a_plain_list_is_tolerated_if_the_schema_tells():
    schema = {"properties": {"spec": {"properties": {"l": {"items": {"properties": {"b": {"default": 1}, "c": {}}}}}}}}
    live = applied(None, widget({"l": [{"a": 1}]}), schema=schema)
    live["spec"]["l"][0]["b"] = 1
    assert rules.unchanged(live, widget({"l": [{"a": 1}]}), "us", schema=schema)
    assert not rules.unchanged(live, widget({"l": [{"a": 1}]}), "us")
    live["spec"]["l"][0]["c"] = 1
    assert not rules.unchanged(live, widget({"l": [{"a": 1}]}), "us", schema=schema)


def test_what_is_taken_out_of_a_plain_list_is_a_change_where_the_default_is_another():
    inner = {"default": [{"type": "x"}], "items": {"properties": {"type": {}, "deep": {"default": True}}}}
    schema = {"properties": {"spec": {"properties": {"l": {"items": {"properties": {"checks": inner}}}}}}}
    live = applied(None, widget({"l": [{"a": 1, "checks": [{"type": "y"}]}]}), schema=schema)
    assert not rules.unchanged(live, widget({"l": [{"a": 1}]}), "us", schema=schema)
    live["spec"]["l"][0]["checks"] = [{"type": "x", "deep": True}]
    assert rules.unchanged(live, widget({"l": [{"a": 1}]}), "us", schema=schema)


def test_an_empty_map_is_unchanged_whatever_others_put_into_it():
    live = applied(None, widget({"settings": {}}))
    live["spec"]["settings"]["a"] = "default"
    assert rules.unchanged(live, widget({"settings": {}}), "us")


def test_owner_references_of_others_are_no_change_but_another_order_is():
    def reference(uid):
        return {"apiVersion": "v1", "kind": "X", "name": uid, "uid": uid}

    theirs = widget(metadata={"ownerReferences": [reference("a")]})
    ours = widget(metadata={"ownerReferences": [reference("b"), reference("c")]})
    live = applied(applied(None, theirs, "them"), ours)
    assert rules.unchanged(live, ours, "us")
    assert rules.unchanged(live, theirs, "them")
    ours["metadata"]["ownerReferences"].reverse()
    assert not rules.unchanged(live, ours, "us")
    assert [each["uid"] for each in meta(applied(live, ours))["ownerReferences"]] == ["a", "c", "b"]


# --- laws

names = st.sampled_from(["a", "b", "c"])
scalars = st.one_of(st.integers(0, 3), st.sampled_from(["x", "y", ""]), st.booleans())
free = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
ports = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"number": st.integers(0, 3)}),
    unique_by=lambda port: port["name"],
    max_size=3,
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(0, 3),
        "note": st.sampled_from(["x", "y"]),
        "tags": st.lists(names, max_size=3),
        "rules": st.lists(st.dictionaries(st.sampled_from(["from", "to"]), names), max_size=2),
        "settings": st.dictionaries(names, st.sampled_from(["1", "2"]), max_size=3),
        "ports": ports,
        "colours": st.lists(st.sampled_from(["red", "green", "blue"]), unique=True, max_size=3),
        "free": st.dictionaries(names, free, max_size=3),
    },
)
metadatas = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(names, names, min_size=1, max_size=3),
        "finalizers": st.lists(st.sampled_from(["f/a", "f/b"]), unique=True, min_size=1),
        "ownerReferences": st.lists(
            st.fixed_dictionaries({"uid": names, "controller": st.booleans()}),
            unique_by=lambda reference: reference["uid"],
            min_size=1,
        ),
    },
)
widgets = st.builds(lambda spec, metadata: widget(spec, metadata=metadata), specs, metadatas)
# An empty list that merges by key is owned by nobody: it goes with the last item, here as on the API server.
filled = widgets.filter(lambda obj: obj["spec"].get("ports") != [] and obj["spec"].get("colours") != [])
writes = st.lists(st.tuples(st.sampled_from(["them", "others", "us"]), widgets), max_size=3)


def lived(history):
    live = None
    for manager, obj in history:
        live = applied(live, obj, manager)
    return live


@given(writes, filled)
def test_applying_twice_is_applying_once(history, wanted):
    once = applied(lived(history), wanted)
    assert applied(once, wanted, now=LATER) is once


@given(writes, filled)
def test_what_was_just_applied_is_unchanged(history, wanted):
    assert rules.unchanged(applied(lived(history), wanted), wanted, "us", schema=WIDGET)


@given(writes, filled)
def test_neither_the_schema_nor_others_entries_are_needed_to_tell(history, wanted):
    live = applied(lived(history), wanted)
    assert rules.unchanged(live, wanted, "us")
    trimmed = [entry for entry in meta(live).get("managedFields") or () if entry["manager"] == "us"]
    assert rules.unchanged(live | {"metadata": meta(live) | {"managedFields": trimmed}}, wanted, "us")


@given(writes.filter(bool), widgets)
def test_unchanged_says_exactly_whether_an_apply_would_change_something(history, wanted):
    live = lived(history)
    for obj in (wanted, history[-1][1]):
        assert rules.unchanged(live, obj, "us", schema=WIDGET) == (applied(live, obj, now=LATER) is live)


@given(writes, widgets)
def test_an_apply_owns_exactly_what_it_applies(history, wanted):
    live = applied(lived(history), wanted)
    alone = applied(None, wanted)
    assert owners(live).get(("us", "Apply")) == owners(alone).get(("us", "Apply"))


@given(widgets, filled)
def test_letting_go_leaves_what_another_manager_applied(ours, theirs):
    live = applied(applied(None, ours), theirs, "them")
    live = applied(live, widget(spec={}))
    assert rules.unchanged(live, theirs, "them")


@given(writes, widgets)
def test_an_apply_leaves_its_arguments_alone(history, wanted):
    live = lived(history)
    before = copy.deepcopy((live, wanted))
    applied(live, wanted)
    assert (live, wanted) == before


@given(widgets, widgets)
def test_an_update_owns_what_it_changed_and_what_it_left_stays_owned_as_it_was(before, after):
    live = applied(None, before)
    new = updated(live, after | {"metadata": meta(live) | meta(after)})
    changed, removed = ownership.compare(live, new | {"metadata": meta(new)}, ownership.rooted(WIDGET))
    theirs = owners(new).get(("us", "Apply"), {})
    assert theirs == ownership.difference(
        ownership.difference(owners(live).get(("us", "Apply"), {}), ownership.stripped(changed)), removed or {}
    )
    assert owners(new).get(("person", "Update"), {}) == ownership.stripped(changed)


elements = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}'])
fieldsets = st.recursive(
    st.dictionaries(elements, st.just({}), max_size=3),
    lambda below: st.dictionaries(elements, below, max_size=3),
    max_leaves=8,
).map(lambda fields: ownership.union(fields, {}))


def members(fields, path=()):
    found = set()
    for element, below in fields.items():
        if element != ".":
            if ownership.is_member(below):
                found.add((*path, element))
            found |= members(below, (*path, element))
    return found


@given(fieldsets, fieldsets)
def test_sets_of_fields_are_sets(one, other):
    assert members(ownership.union(one, other)) == members(one) | members(other)
    assert members(ownership.difference(one, other)) == members(one) - members(other)
    assert ownership.difference(one, one) == {}
