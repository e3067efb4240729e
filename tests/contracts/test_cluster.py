"""What every adapter of the Cluster port does, said against the port alone."""

from __future__ import annotations

import base64
import copy

import pytest

from groundplane.core.objects import Key, key_of, meta, owner_reference, spec_of, status_of
from groundplane.errors import AlreadyExists, Conflict, NoSuchKind, NotFound, Rejected
from groundplane.ports import Resource
from tests.contracts.conftest import Place, definition, eventually

FINALIZER = "example.org/hold"


def version(obj):
    return meta(obj)["resourceVersion"]


def held(place, name="one", **fields):
    return place.widget(name, metadata={"finalizers": [FINALIZER]}, **fields)


async def current(place, name="one", **key):
    found = await place.cluster.get(place.key(name, **key), live=True)
    assert found is not None, f"{name} is not there"
    return found


async def release(place, name):
    """Drop the finalizer that `held` put on."""
    await place.cluster.patch(place.key(name), {"metadata": {"finalizers": None}})


def owned_by(place, name, *owners, blocking=True, finalizers=()):
    references = [owner_reference(owner, controller=False) | {"blockOwnerDeletion": blocking} for owner in owners]
    return place.widget(name, metadata={"ownerReferences": references, "finalizers": list(finalizers)})


# --- reading


async def test_what_was_created_is_read_back_with_its_identity(place: Place):
    created = await place.cluster.create(place.widget(spec={"count": 1}))
    assert created == await current(place)
    assert spec_of(created)["count"] == 1
    assert {"uid", "resourceVersion", "creationTimestamp"} <= meta(created).keys()
    assert meta(created)["generation"] == 1


async def test_an_object_that_is_not_there_reads_as_none(place: Place):
    assert await place.cluster.get(place.key("nobody")) is None
    assert await place.cluster.get(place.key("nobody"), live=True) is None


async def test_what_is_read_is_the_callers_to_change(place: Place):
    created = await place.cluster.create(place.widget(spec={"tags": ["a"]}))
    created["spec"]["tags"].append("b")
    found = await current(place)
    found["spec"]["tags"].append("c")
    assert spec_of(await current(place))["tags"] == ["a"]


async def test_the_callers_object_is_not_changed_by_a_write(place: Place):
    ours = place.widget(spec={"settings": {"a": "1"}})
    before = copy.deepcopy(ours)
    await place.cluster.create(ours)
    await place.cluster.apply(ours, manager="us")
    assert ours == before


async def test_a_list_is_sorted_and_keeps_to_namespace_and_labels(place: Place):
    other = f"{place.namespace}-b"
    await place.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    for name, namespace, labels in [
        ("b", place.namespace, {"app": "x", "tier": "web"}),
        ("a", place.namespace, {"app": "x"}),
        ("c", place.namespace, {}),
        ("a", other, {"app": "xx"}),
    ]:
        await place.cluster.create(place.widget(name, metadata={"namespace": namespace, "labels": labels}))

    async def names(**how):
        found = await place.cluster.list(f"{place.group}/v1", "Widget", **how)
        places = [(meta(obj)["namespace"], meta(obj)["name"]) for obj in found]
        return [each for each in places if each[0].startswith(place.namespace)]  # others have theirs

    ours = place.namespace
    assert await names() == [(ours, "a"), (ours, "b"), (ours, "c"), (other, "a")]
    assert await names(namespace=other) == [(other, "a")]
    assert await names(labels={"app": "x"}) == [(ours, "a"), (ours, "b")]
    assert await names(labels={"app": "x", "tier": "web"}) == [(ours, "b")]
    assert await names(namespace=other, labels={"app": "x"}) == []
    assert await names(labels={}) == await names()


async def test_what_one_object_controls_is_listed_by_its_uid(place: Place):
    owner = await place.cluster.create(place.widget("owner"))
    controlled = {"ownerReferences": [owner_reference(owner)]}
    await place.cluster.create(place.widget("b", metadata=controlled | {"labels": {"app": "x"}}))
    await place.cluster.create(place.widget("a", metadata=controlled))
    await place.cluster.create(owned_by(place, "only-owned", owner))

    async def names(**how):
        found = await place.cluster.list(f"{place.group}/v1", "Widget", namespace=place.namespace, **how)
        return [meta(obj)["name"] for obj in found]

    assert await names(controller=meta(owner)["uid"]) == ["a", "b"]
    assert await names(controller=meta(owner)["uid"], labels={"app": "x"}) == ["b"]
    assert await names(controller="nobody") == []


async def test_heads_are_what_the_cut_leaves_of_objects_as_they_are_now(place: Place):
    def cut(obj):
        return {"metadata": meta(obj), "size": spec_of(obj).get("count")}

    await place.cluster.create(place.widget("b", metadata={"labels": {"heads": place.namespace}}, spec={"count": 1}))
    await place.cluster.create(place.widget("a", metadata={"labels": {"heads": place.namespace}}, spec={"count": 2}))

    async def heads():
        found = await place.cluster.heads(f"{place.group}/v1", "Widget", cut, labels={"heads": place.namespace})
        return [(meta(head)["name"], head["size"]) for head in found]

    assert await heads() == [("a", 2), ("b", 1)]
    await place.cluster.patch(place.key("b"), {"spec": {"count": 3}})
    await place.cluster.delete(place.key("a"))
    assert await heads() == [("b", 3)]


async def test_listed_objects_say_their_type(place: Place):
    await place.cluster.create(place.secret())
    [found] = await place.cluster.list("v1", "Secret", namespace=place.namespace)
    assert (found["apiVersion"], found["kind"]) == ("v1", "Secret")


async def test_an_object_can_be_read_in_every_served_version(place: Place):
    await place.cluster.create(place.widget(spec={"count": 3}))
    found = await place.cluster.get(place.key(version="v1beta1"))
    assert found is not None
    assert (found["apiVersion"], spec_of(found)["count"]) == (f"{place.group}/v1beta1", 3)
    [listed] = await place.cluster.list(f"{place.group}/v1beta1", "Widget", namespace=place.namespace)
    assert listed["apiVersion"] == f"{place.group}/v1beta1"


# --- kinds


async def test_a_kind_is_unknown_until_it_is_defined(bare: Place):
    for ask in (
        bare.cluster.resource(f"{bare.group}/v1", "Widget"),
        bare.cluster.get(bare.key()),
        bare.cluster.list(f"{bare.group}/v1", "Widget"),
        bare.cluster.create(bare.widget()),
        bare.cluster.apply(bare.widget(), manager="us"),
        bare.cluster.delete(bare.key()),
        bare.cluster.patch(bare.key(), {}),
    ):
        with pytest.raises(NoSuchKind) as raised:
            await ask
        assert "Widget" in raised.value.what
        assert raised.value.mend


async def test_a_misspelt_kind_or_group_is_told_with_what_is_meant(bare: Place):
    await bare.install("Widget", "widgets")
    for api_version, kind, meant in (
        (f"{bare.group}/v1", "Widgit", "Widget"),
        (f"{bare.group}/v1", "widgets", "Widget"),
        (f"{bare.group[1:]}/v1", "Widget", f"Widget of {bare.group}"),
    ):
        with pytest.raises(NoSuchKind) as raised:
            await bare.cluster.resource(api_version, kind)
        assert raised.value.mend == f"did you mean {meant}?"


async def test_a_resource_tells_how_its_kind_is_served(bare: Place):
    await bare.install("Widget", "widgets")
    await bare.install("Rack", "racks", scope="Cluster", status=False)
    api_version = f"{bare.group}/v1"
    assert await bare.cluster.resource(api_version, "Widget") == Resource(
        api_version, "Widget", "widgets", namespaced=True, has_status=True
    )
    assert await bare.cluster.resource(api_version, "Rack") == Resource(
        api_version, "Rack", "racks", namespaced=False, has_status=False
    )
    secret = await bare.cluster.resource("v1", "Secret")
    assert (secret.plural, secret.namespaced, secret.has_status) == ("secrets", True, False)


async def test_a_definition_is_defaulted_and_established(place: Place):
    key = Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"widgets.{place.group}")
    found = await place.cluster.get(key, live=True)
    assert found is not None
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"}
    assert spec_of(found)["names"] == status_of(found)["acceptedNames"] == names
    assert spec_of(found)["conversion"] == {"strategy": "None"}
    assert status_of(found)["storedVersions"] == ["v1"]
    told = {one["type"]: (one["status"], one["reason"], one["message"]) for one in status_of(found)["conditions"]}
    assert told == {
        "NamesAccepted": ("True", "NoConflicts", "no conflicts found"),
        "Established": ("True", "InitialNamesAccepted", "the initial names have been accepted"),
    }


async def test_a_definition_must_be_named_after_plural_and_group(bare: Place):
    wrong = definition(bare.group, "Widget", "widgets")
    wrong["metadata"]["name"] = f"widget.{bare.group}"
    with pytest.raises(Rejected) as raised:
        await bare.cluster.create(wrong)
    assert 'metadata.name: Invalid value: "widget.' in raised.value.what
    assert 'must be spec.names.plural+"."+spec.group' in raised.value.what


async def test_a_definition_needs_exactly_one_storage_version(bare: Place):
    wrong = definition(bare.group, "Widget", "widgets")
    wrong["spec"]["versions"][1]["storage"] = True
    with pytest.raises(Rejected) as raised:
        await bare.cluster.create(wrong)
    assert "must have exactly one version marked as storage version" in raised.value.what


async def test_the_scope_of_a_definition_is_immutable(place: Place):
    changed = definition(place.group, "Widget", "widgets", scope="Cluster")
    with pytest.raises(Rejected) as raised:
        await place.cluster.apply(changed, manager="us")
    assert "spec.scope: Invalid value" in raised.value.what


async def test_deleting_a_definition_deletes_its_objects_through_their_finalizers(bare: Place):
    await bare.install("Widget", "widgets")
    await bare.cluster.create(bare.widget("free"))
    await bare.cluster.create(held(bare, "held"))
    key = Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", f"widgets.{bare.group}")
    assert await bare.cluster.delete(key) is True
    await bare.gone(bare.key("free"))

    async def held_is_marked():
        return "deletionTimestamp" in meta(await current(bare, "held"))

    await eventually(held_is_marked, "the held object is being deleted")
    assert await bare.cluster.get(key, live=True) is not None
    await release(bare, "held")
    await bare.gone(key)

    async def unknown():
        try:
            await bare.cluster.list(f"{bare.group}/v1", "Widget")
        except NoSuchKind:
            return True
        return False

    await eventually(unknown, "the kind is unknown again")
    with pytest.raises(NoSuchKind):
        await bare.cluster.create(bare.widget())


# --- create


async def test_a_second_create_meets_the_first(place: Place):
    await place.cluster.create(place.widget())
    with pytest.raises(AlreadyExists):
        await place.cluster.create(place.widget(spec={"count": 2}))
    assert "count" not in spec_of(await current(place))


async def test_a_name_is_generated_where_one_is_asked_for(place: Place):
    asked = place.widget(metadata={"generateName": "one-"})
    del asked["metadata"]["name"]
    first, second = [await place.cluster.create(asked) for _ in range(2)]
    assert meta(first)["name"].startswith("one-")
    assert len(meta(first)["name"]) == len("one-") + 5
    assert meta(first)["name"] != meta(second)["name"]


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a..b", "x" * 254])
async def test_a_name_must_be_a_subdomain(place: Place, name):
    with pytest.raises(Rejected) as raised:
        await place.cluster.create(place.widget(name))
    assert "metadata.name: Invalid value" in raised.value.what


@pytest.mark.parametrize(("name", "is_good"), [("crossplane:a:View_1", True), ("a%b", False), ("a/b", False)])
async def test_a_role_may_be_called_whatever_can_stand_in_a_path(place: Place, name, is_good):
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [],
    }
    if is_good:
        await place.cluster.create(role)
        assert await place.cluster.delete(key_of(role))
        return
    with pytest.raises(Rejected) as raised:
        await place.cluster.create(role)
    assert "metadata.name: Invalid value" in raised.value.what


@pytest.mark.parametrize("name", ["one/status", "../../other/widgets/one", "%6fne", "one?x=y", "one#", ".", ".."])
async def test_a_name_that_no_object_can_have_names_no_other_object(place: Place, name):
    """A claim may choose the name of a Secret: it must not be one of another namespace, nor a request of another kind."""
    await place.cluster.create(place.widget())
    assert await place.cluster.get(place.key(name)) is None
    assert await place.cluster.get(place.key(name), live=True) is None
    assert await place.cluster.get(place.key()._replace(namespace=f"{place.namespace}/widgets/one"), live=True) is None
    assert await place.cluster.delete(place.key(name)) is False
    with pytest.raises(Rejected):
        await place.cluster.create(place.widget(name))
    with pytest.raises((Rejected, NotFound)):
        await place.cluster.create(place.widget(metadata={"namespace": name}))
    with pytest.raises(Rejected):
        await place.cluster.apply(place.widget(name, spec={"count": 7}), manager="us")
    assert "count" not in spec_of(await current(place))


@pytest.mark.parametrize("rest", ["/namespaces/kube-system/secrets", "?x=y", "/../v1", "%2fwidgets", "/", "#"])
async def test_a_version_that_no_kind_can_have_names_no_other_path(place: Place, rest):
    """A Usage of a tenant's names a kind: it must not be a request of another one."""
    key = place.key()
    for api_version in (f"{key.api_version}{rest}", f"v1{rest}"):
        wrong = key._replace(api_version=api_version)
        with pytest.raises(NoSuchKind):
            await place.cluster.resource(api_version, key.kind)
        for ask in (place.cluster.get(wrong, live=True), place.cluster.patch(wrong, {}), place.cluster.delete(wrong)):
            with pytest.raises(NoSuchKind):
                await ask


async def test_what_is_nested_too_deep_is_refused(place: Place):
    note: object = "x"
    for _ in range(300):
        note = {"a": note}
    with pytest.raises(Rejected, match="nested too deep"):
        await place.cluster.create(place.widget(spec={"note": note}))


@pytest.mark.parametrize("label", ["with space", "x" * 64, "-dash"])
async def test_a_label_must_be_a_word(place: Place, label):
    with pytest.raises(Rejected) as raised:
        await place.cluster.create(place.widget(metadata={"labels": {"app": label}}))
    assert "metadata.labels: Invalid value" in raised.value.what


async def test_a_scope_that_does_not_fit_is_rejected(bare: Place):
    await bare.install("Widget", "widgets")
    await bare.install("Rack", "racks", scope="Cluster")
    rack = {"apiVersion": f"{bare.group}/v1", "kind": "Rack", "metadata": {"name": "r", "namespace": bare.namespace}}
    with pytest.raises(Rejected):
        await bare.cluster.apply(rack, manager="us")
    widget = bare.widget()
    del widget["metadata"]["namespace"]
    with pytest.raises(Rejected):
        await bare.cluster.apply(widget, manager="us")


# --- schemas


async def test_defaults_are_filled_in_and_unknown_fields_dropped(place: Place):
    created = await place.cluster.create(place.widget(spec={"ports": [{"name": "web"}], "typo": 1}))
    assert spec_of(created) == {"size": "small", "ports": [{"name": "web", "number": 80}]}
    assert spec_of(await current(place)) == spec_of(created)


async def test_an_apply_with_a_field_that_the_schema_does_not_know_is_refused(place: Place):
    with pytest.raises(Rejected) as raised:
        await place.cluster.apply(place.widget(spec={"typo": 1}), manager="us")
    assert ".spec.typo: field not declared in schema" in raised.value.what
    assert await place.cluster.get(place.key()) is None


async def test_an_invalid_object_is_rejected_with_all_its_problems(place: Place):
    with pytest.raises(Rejected) as raised:
        await place.cluster.create(place.widget(spec={"size": "huge", "count": -1}))
    assert f'Widget.{place.group} "one" is invalid' in raised.value.what
    assert "spec.count: Invalid value: -1" in raised.value.what
    assert 'spec.size: Unsupported value: "huge"' in raised.value.what
    assert await place.cluster.get(place.key()) is None


async def test_an_update_and_a_patch_to_an_invalid_object_are_rejected(place: Place):
    created = await place.cluster.create(place.widget(spec={"count": 1}))
    with pytest.raises(Rejected):
        await place.cluster.update(created | {"spec": {"count": -1}})
    with pytest.raises(Rejected):
        await place.cluster.patch(place.key(), {"spec": {"count": -1}})
    with pytest.raises(Rejected):
        await place.cluster.apply(place.widget(spec={"count": -1}), manager="us")
    assert await current(place) == created


# --- update


async def test_an_update_replaces_the_object(place: Place):
    created = await place.cluster.create(place.widget(spec={"count": 1, "note": "a"}))
    updated = await place.cluster.update(created | {"spec": {"count": 2}})
    assert spec_of(updated) == {"count": 2, "size": "small"}
    assert spec_of(await current(place)) == spec_of(updated)
    assert version(updated) != version(created)
    assert meta(updated)["uid"] == meta(created)["uid"]


async def test_an_update_of_what_somebody_else_wrote_is_a_conflict(place: Place):
    created = await place.cluster.create(place.widget(spec={"count": 1}))
    await place.cluster.update(created | {"spec": {"count": 2}})
    with pytest.raises(Conflict):
        await place.cluster.update(created | {"spec": {"count": 3}})
    assert spec_of(await current(place))["count"] == 2


async def test_an_update_with_equal_content_writes_nothing(place: Place):
    created = await place.cluster.create(place.widget(spec={"count": 1}))
    assert version(await place.cluster.update(copy.deepcopy(created))) == version(created)
    assert version(await current(place)) == version(created)


async def test_an_update_of_an_object_that_is_gone_is_not_found(place: Place):
    created = await place.cluster.create(place.widget())
    await place.cluster.delete(place.key())
    for subresource in ("", "status"):
        with pytest.raises(NotFound):
            await place.cluster.update(
                created | {"spec": {"count": 1}, "status": {"phase": "x"}}, subresource=subresource
            )


async def test_the_generation_counts_changes_outside_of_metadata_and_status(place: Place):
    obj = await place.cluster.create(place.widget(spec={"count": 1}))
    obj = await place.cluster.patch(place.key(), {"metadata": {"labels": {"a": "b"}}})
    assert meta(obj)["generation"] == 1
    obj = await place.cluster.update(obj | {"status": {"phase": "up"}}, subresource="status")
    assert meta(obj)["generation"] == 1
    obj = await place.cluster.update(obj | {"spec": {"count": 2}})
    assert meta(obj)["generation"] == 2


async def test_what_a_default_of_another_version_fills_in_is_no_new_generation(bare: Place):
    """As of a definition that is written in v2 and reconciled in v1."""
    crd = definition(bare.group, "Gear", "gears")
    crd["spec"]["versions"] = [copy.deepcopy(each) for each in crd["spec"]["versions"]]
    older = crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    del older["size"]["default"]
    await bare.cluster.create(crd)
    await bare.served("Gear")
    metadata = {"name": "one", "namespace": bare.namespace}
    gear = {"apiVersion": f"{bare.group}/v1beta1", "kind": "Gear", "metadata": metadata, "spec": {"count": 1}}
    made = await bare.cluster.create(gear)
    assert meta(made)["generation"] == 1
    key = bare.key(kind="Gear")
    told = await bare.cluster.patch(key, {"status": {"phase": "seen"}}, subresource="status")
    assert meta(told)["generation"] == 1
    marked = await bare.cluster.patch(key, {"metadata": {"labels": {"a": "b"}}})
    assert (spec_of(marked), meta(marked)["generation"]) == ({"count": 1, "size": "small"}, 1)
    edited = await bare.cluster.patch(key, {"spec": {"size": "large"}})
    assert meta(edited)["generation"] == 2


async def test_status_is_written_by_its_own_endpoint_only(place: Place):
    obj = await place.cluster.create(place.widget(spec={"count": 1}, status={"phase": "lie"}))
    assert "status" not in obj
    obj = await place.cluster.update(obj | {"spec": {"count": 9}, "status": {"phase": "up"}}, subresource="status")
    assert (spec_of(obj)["count"], status_of(obj)) == (1, {"phase": "up"})
    obj = await place.cluster.update(obj | {"spec": {"count": 2}, "status": {"phase": "lie"}})
    assert (spec_of(obj)["count"], status_of(obj)) == (2, {"phase": "up"})
    assert status_of(await current(place)) == {"phase": "up"}


async def test_a_kind_without_the_subresource_takes_status_as_any_field(bare: Place):
    await bare.install("Rack", "racks", scope="Cluster", status=False)
    rack = {"apiVersion": f"{bare.group}/v1", "kind": "Rack", "metadata": {"name": bare.namespace}}
    obj = await bare.cluster.create(rack | {"status": {"phase": "new"}})
    assert status_of(obj) == {"phase": "new"}
    obj = await bare.cluster.apply(rack | {"status": {"phase": "old"}}, manager="us")
    assert status_of(obj) == {"phase": "old"}
    assert meta(obj)["generation"] == 2


# --- apply


async def test_an_apply_creates_and_owns(place: Place):
    made = await place.cluster.apply(place.widget(spec={"count": 1, "settings": {"a": "1"}}), manager="us")
    [entry] = meta(made)["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("us", "Apply", f"{place.group}/v1")
    assert entry["fieldsV1"] == {"f:spec": {"f:count": {}, "f:settings": {"f:a": {}}}}
    assert spec_of(made) == {"count": 1, "settings": {"a": "1"}, "size": "small"}


async def test_an_apply_merges_maps_and_replaces_lists(place: Place):
    await place.cluster.create(place.widget(spec={"settings": {"a": "1"}, "tags": ["x", "y"], "note": "kept"}))
    made = await place.cluster.apply(place.widget(spec={"settings": {"b": "2"}, "tags": ["z"]}), manager="us")
    assert spec_of(made) == {"settings": {"a": "1", "b": "2"}, "tags": ["z"], "note": "kept", "size": "small"}


async def test_an_apply_that_changes_nothing_writes_nothing(place: Place):
    wanted = place.widget(
        metadata={"labels": {"app": "x"}, "annotations": {"note": "y"}},
        spec={"count": 1, "tags": ["a"], "ports": [{"name": "web"}], "settings": {}, "colours": ["red"]},
    )
    first = await place.cluster.apply(wanted, manager="us")
    assert version(await place.cluster.apply(wanted, manager="us")) == version(first)
    assert version(await current(place)) == version(first)


async def test_a_field_that_is_no_longer_applied_goes(place: Place):
    await place.cluster.apply(
        place.widget(
            metadata={"labels": {"a": "1", "b": "2"}}, spec={"count": 1, "note": "x", "settings": {"a": "1", "b": "2"}}
        ),
        manager="us",
    )
    made = await place.cluster.apply(
        place.widget(metadata={"labels": {"b": "2"}}, spec={"count": 1, "settings": {"b": "2"}}), manager="us"
    )
    assert spec_of(made) == {"count": 1, "settings": {"b": "2"}, "size": "small"}
    assert meta(made)["labels"] == {"b": "2"}


async def test_a_default_comes_back_when_a_field_is_no_longer_applied(place: Place):
    await place.cluster.apply(place.widget(spec={"size": "large", "count": 1}), manager="us")
    made = await place.cluster.apply(place.widget(spec={"count": 1}), manager="us")
    assert spec_of(made) == {"size": "small", "count": 1}


async def test_what_another_manager_owns_stays(place: Place):
    await place.cluster.apply(place.widget(spec={"note": "both", "count": 1, "settings": {"a": "1"}}), manager="us")
    await place.cluster.apply(place.widget(spec={"note": "both", "settings": {"b": "2"}}), manager="them")
    made = await place.cluster.apply(place.widget(spec={}), manager="us")
    assert spec_of(made) == {"note": "both", "settings": {"b": "2"}, "size": "small"}


async def test_what_a_plain_update_wrote_stays(place: Place):
    made = await place.cluster.apply(place.widget(spec={"count": 1}), manager="us")
    await place.cluster.update(made | {"spec": {"count": 1, "note": "person's"}})
    made = await place.cluster.apply(place.widget(spec={}), manager="us")
    assert spec_of(made) == {"note": "person's", "size": "small"}


async def test_an_apply_takes_a_field_from_others_by_force(place: Place):
    await place.cluster.apply(place.widget(spec={"count": 1, "note": "theirs"}), manager="them")
    made = await place.cluster.apply(place.widget(spec={"count": 2}), manager="us")
    assert spec_of(made)["count"] == 2
    owners = {entry["manager"]: entry["fieldsV1"] for entry in meta(made)["managedFields"]}
    assert owners == {"us": {"f:spec": {"f:count": {}}}, "them": {"f:spec": {"f:note": {}}}}


async def test_a_changed_value_moves_to_whoever_updated_it(place: Place):
    made = await place.cluster.apply(place.widget(spec={"count": 1, "note": "x"}), manager="us")
    updated = await place.cluster.update(made | {"spec": {"count": 2, "note": "x", "size": "small"}})
    owners = {(e["manager"], e["operation"]): e["fieldsV1"] for e in meta(updated)["managedFields"]}
    assert owners == {
        ("us", "Apply"): {"f:spec": {"f:note": {}}},
        ("crossplane", "Update"): {"f:spec": {"f:count": {}}},
    }
    again = await place.cluster.apply(place.widget(spec={"count": 1, "note": "x"}), manager="us")
    assert spec_of(again)["count"] == 1


async def test_items_with_keys_merge_one_by_one(place: Place):
    await place.cluster.apply(place.widget(spec={"ports": [{"name": "a", "number": 1}]}), manager="them")
    made = await place.cluster.apply(
        place.widget(spec={"ports": [{"name": "b", "number": 2}, {"name": "c"}]}), manager="us"
    )
    assert spec_of(made)["ports"] == [
        {"name": "a", "number": 1},
        {"name": "b", "number": 2},
        {"name": "c", "number": 80},
    ]
    made = await place.cluster.apply(place.widget(spec={"ports": [{"name": "c", "number": 3}]}), manager="us")
    assert spec_of(made)["ports"] == [{"name": "a", "number": 1}, {"name": "c", "number": 3}]
    assert version(
        await place.cluster.apply(place.widget(spec={"ports": [{"name": "c", "number": 3}]}), manager="us")
    ) == version(made)


async def test_sets_merge_value_by_value(place: Place):
    await place.cluster.apply(place.widget(spec={"colours": ["red", "blue"]}), manager="them")
    made = await place.cluster.apply(place.widget(spec={"colours": ["green", "blue"]}), manager="us")
    assert sorted(spec_of(made)["colours"]) == ["blue", "green", "red"]
    made = await place.cluster.apply(place.widget(spec={"colours": ["green"]}), manager="us")
    assert sorted(spec_of(made)["colours"]) == ["blue", "green", "red"]
    made = await place.cluster.apply(place.widget(spec={"colours": ["red"]}), manager="us")
    assert sorted(spec_of(made)["colours"]) == ["blue", "red"]


async def test_a_set_that_is_applied_empty_goes_with_its_last_value(place: Place):
    await place.cluster.apply(place.widget(spec={"count": 1, "colours": ["red"]}), manager="us")
    made = await place.cluster.apply(place.widget(spec={"count": 1, "colours": []}), manager="us")
    assert spec_of(made) == {"count": 1, "size": "small"}


async def test_a_map_that_is_applied_empty_is_so_after_its_last_value(place: Place):
    full = place.widget(spec={"size": "large", "settings": {"a": "1"}})
    await place.cluster.apply(full, manager="us")
    made = await place.cluster.apply(place.widget(spec={"size": "large", "settings": {}}), manager="us")
    assert spec_of(made) == {"size": "large", "settings": {}}
    [entry] = meta(made)["managedFields"]
    assert (entry["manager"], entry["fieldsV1"]) == ("us", {"f:spec": {"f:size": {}, "f:settings": {}}})
    await place.cluster.apply(full, manager="us")
    await place.cluster.apply(place.widget(spec={"settings": {"b": "2"}}), manager="them")
    made = await place.cluster.apply(place.widget(spec={"size": "large", "settings": {}}), manager="us")
    assert spec_of(made) == {"size": "large", "settings": {"b": "2"}}


async def test_a_map_in_an_item_that_is_applied_empty_is_so_after_its_last_value(place: Place):
    full = [{"name": "a", "limits": {"cpu": "1"}}, {"name": "b", "limits": {"cpu": "2"}}]
    emptied = [{"name": "a", "limits": {}}, {"name": "b", "limits": {}}]
    await place.cluster.apply(place.widget(spec={"ports": full}), manager="us")
    await place.cluster.apply(
        place.widget(spec={"ports": [{"name": "b", "limits": {"memory": "3"}}, {"name": "c"}]}), manager="them"
    )
    made = await place.cluster.apply(place.widget(spec={"ports": emptied}), manager="us")
    limits = {port["name"]: port.get("limits") for port in spec_of(made)["ports"]}
    assert limits == {"a": {}, "b": {"memory": "3"}, "c": None}


async def test_an_apply_that_empties_a_map_with_an_old_resource_version_is_a_conflict(place: Place):
    full = place.widget(spec={"settings": {"a": "1"}})
    first = await place.cluster.apply(full, manager="us")
    await place.cluster.patch(key_of(first), {"spec": {"note": "x"}})
    emptied = place.widget(metadata={"resourceVersion": version(first)}, spec={"settings": {}})
    with pytest.raises(Conflict):
        await place.cluster.apply(emptied, manager="us")
    emptied["metadata"]["resourceVersion"] = version(await current(place))
    assert spec_of(await place.cluster.apply(emptied, manager="us"))["settings"] == {}


async def test_the_applied_order_of_shared_items_wins(place: Place):
    await place.cluster.apply(
        place.widget(spec={"ports": [{"name": "a"}, {"name": "x"}, {"name": "b"}]}), manager="them"
    )
    made = await place.cluster.apply(place.widget(spec={"ports": [{"name": "b"}, {"name": "a"}]}), manager="us")
    assert [port["name"] for port in spec_of(made)["ports"]] == ["x", "b", "a"]


async def test_a_key_dropped_from_an_item_of_a_plain_list_goes(place: Place):
    await place.cluster.apply(place.widget(spec={"rules": [{"from": "a", "to": "b"}]}), manager="us")
    made = await place.cluster.apply(place.widget(spec={"rules": [{"from": "a"}]}), manager="us")
    assert spec_of(made)["rules"] == [{"from": "a"}]


async def test_owner_references_and_finalizers_of_several_managers_add_up(place: Place):
    one, two = [await place.cluster.create(place.widget(name)) for name in ("owner-1", "owner-2")]
    await place.cluster.apply(owned_by(place, "one", one, finalizers=["example.org/a"]), manager="us")
    wanted = owned_by(place, "one", two, finalizers=["example.org/b"])
    made = await place.cluster.apply(wanted, manager="them")
    assert [ref["name"] for ref in meta(made)["ownerReferences"]] == ["owner-1", "owner-2"]
    assert meta(made)["finalizers"] == ["example.org/a", "example.org/b"]
    assert version(await place.cluster.apply(wanted, manager="them")) == version(made)
    made = await place.cluster.apply(place.widget("one"), manager="us")
    assert [ref["name"] for ref in meta(made)["ownerReferences"]] == ["owner-2"]
    assert meta(made)["finalizers"] == ["example.org/b"]


async def test_an_apply_with_an_old_resource_version_is_a_conflict(place: Place):
    first = await place.cluster.create(place.widget(spec={"count": 1}))
    seen = {"resourceVersion": version(first)}
    await place.cluster.patch(place.key(), {"spec": {"note": "somebody else's"}})
    with pytest.raises(Conflict):
        await place.cluster.apply(place.widget(metadata=seen, spec={"count": 2}), manager="us")
    assert spec_of(await current(place))["count"] == 1


async def test_nulls_are_dropped_before_an_apply(place: Place):
    wanted = place.widget(metadata={"labels": {"a": "1", "b": None}}, spec={"count": 1, "note": None})
    made = await place.cluster.apply(wanted, manager="us")
    assert spec_of(made) == {"count": 1, "size": "small"}
    assert meta(made)["labels"] == {"a": "1"}
    assert version(await place.cluster.apply(wanted, manager="us")) == version(made)


async def test_status_is_applied_by_its_own_endpoint_with_an_ownership_of_its_own(place: Place):
    spec = place.widget(metadata={"labels": {"a": "1"}}, spec={"count": 1})
    await place.cluster.apply(spec | {"status": {"phase": "lie"}}, manager="us")
    wanted = place.widget(
        spec={"count": 9}, status={"phase": "up", "conditions": [{"type": "Ready", "status": "True"}]}
    )
    made = await place.cluster.apply(wanted, manager="us", subresource="status")
    assert spec_of(made)["count"] == 1
    assert status_of(made) == wanted["status"]
    assert version(await place.cluster.apply(wanted, manager="us", subresource="status")) == version(made)
    assert version(await place.cluster.apply(spec, manager="us")) == version(made)
    made = await place.cluster.apply(place.widget(status={"address": "a"}), manager="us", subresource="status")
    assert status_of(made) == {"address": "a"}
    assert meta(made)["labels"] == {"a": "1"}


async def test_conditions_of_several_managers_merge_by_type(place: Place):
    await place.cluster.apply(place.widget(), manager="us")
    ready, synced = {"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False", "reason": "x"}
    await place.cluster.apply(place.widget(status={"conditions": [ready]}), manager="us", subresource="status")
    made = await place.cluster.apply(
        place.widget(status={"conditions": [synced]}), manager="them", subresource="status"
    )
    assert status_of(made)["conditions"] == [ready, synced]


async def test_status_of_an_object_that_is_not_there_is_not_found(place: Place):
    with pytest.raises(NotFound):
        await place.cluster.apply(place.widget(status={"phase": "up"}), manager="us", subresource="status")
    assert await place.cluster.get(place.key()) is None


# --- patch


async def test_a_merge_patch_sets_and_removes(place: Place):
    await place.cluster.create(place.widget(spec={"count": 1, "note": "x", "settings": {"a": "1", "b": "2"}}))
    made = await place.cluster.patch(
        place.key(), {"metadata": {"labels": {"a": "b"}}, "spec": {"note": None, "settings": {"a": None, "c": "3"}}}
    )
    assert spec_of(made) == {"count": 1, "settings": {"b": "2", "c": "3"}, "size": "small"}
    assert meta(made)["labels"] == {"a": "b"}
    assert spec_of(await current(place)) == spec_of(made)


async def test_a_patch_of_status_leaves_the_rest(place: Place):
    await place.cluster.create(place.widget(spec={"count": 1}))
    made = await place.cluster.patch(
        place.key(), {"spec": {"count": 9}, "status": {"phase": "up"}}, subresource="status"
    )
    assert (spec_of(made)["count"], status_of(made)) == (1, {"phase": "up"})


async def test_a_json_patch_is_applied_if_its_tests_hold(place: Place):
    created = await place.cluster.create(held(place))
    made = await place.cluster.patch(
        place.key(),
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version(created)},
            {"op": "add", "path": "/metadata/finalizers/-", "value": "example.org/second"},
        ],
    )
    assert meta(made)["finalizers"] == [FINALIZER, "example.org/second"]


async def test_a_json_patch_whose_test_fails_is_a_conflict(place: Place):
    created = await place.cluster.create(held(place))
    with pytest.raises(Conflict):
        await place.cluster.patch(
            place.key(),
            [
                {"op": "test", "path": "/metadata/finalizers/0", "value": "example.org/other"},
                {"op": "remove", "path": "/metadata/finalizers/0"},
            ],
        )
    assert await current(place) == created


async def test_a_json_patch_that_does_not_fit_is_rejected(place: Place):
    await place.cluster.create(place.widget())
    with pytest.raises(Rejected):
        await place.cluster.patch(place.key(), [{"op": "remove", "path": "/spec/nothing"}])


async def test_a_patch_with_an_old_resource_version_is_a_conflict(place: Place):
    created = await place.cluster.create(place.widget())
    await place.cluster.patch(place.key(), {"spec": {"count": 1}})
    with pytest.raises(Conflict):
        await place.cluster.patch(
            place.key(), {"metadata": {"resourceVersion": version(created)}, "spec": {"count": 2}}
        )


async def test_a_patch_that_changes_nothing_writes_nothing(place: Place):
    created = await place.cluster.create(place.widget(spec={"count": 1}))
    assert version(await place.cluster.patch(place.key(), {"spec": {"count": 1}})) == version(created)


async def test_a_patch_of_what_is_not_there_is_not_found(place: Place):
    for patch in ({"spec": {"count": 1}}, [{"op": "add", "path": "/spec", "value": {}}]):
        with pytest.raises(NotFound):
            await place.cluster.patch(place.key(), patch)


# --- deletion


async def test_a_deleted_object_is_gone_and_a_second_delete_says_so(place: Place):
    await place.cluster.create(place.widget())
    assert await place.cluster.delete(place.key()) is True
    assert await place.cluster.get(place.key(), live=True) is None
    assert await place.cluster.delete(place.key()) is False


async def test_a_finalizer_holds_a_deleted_object_until_it_is_dropped(place: Place):
    created = await place.cluster.create(held(place, spec={"count": 1}))
    assert await place.cluster.delete(place.key()) is True
    marked = await current(place)
    assert meta(marked)["deletionTimestamp"]
    assert meta(marked)["generation"] == meta(created)["generation"] + 1
    assert await place.cluster.delete(place.key()) is True
    assert version(await current(place)) == version(marked)
    changed = await place.cluster.update(marked | {"spec": {"count": 2, "size": "small"}})
    assert spec_of(changed)["count"] == 2
    changed["metadata"]["finalizers"] = []
    await place.cluster.update(changed)
    assert await place.cluster.get(place.key(), live=True) is None


async def test_an_object_that_is_being_deleted_takes_no_new_finalizer(place: Place):
    await place.cluster.create(held(place))
    await place.cluster.delete(place.key())
    with pytest.raises(Rejected) as raised:
        await place.cluster.patch(place.key(), {"metadata": {"finalizers": [FINALIZER, "example.org/late"]}})
    assert "no new finalizers can be added if the object is being deleted" in raised.value.what
    assert 'found new finalizers []string{"example.org/late"}' in raised.value.what


async def test_a_delete_with_a_uid_means_that_incarnation_only(place: Place):
    first = await place.cluster.create(place.widget())
    await place.cluster.delete(place.key(), uid=meta(first)["uid"])
    second = await place.cluster.create(place.widget())
    with pytest.raises(Conflict):
        await place.cluster.delete(place.key(), uid=meta(first)["uid"])
    assert await current(place) == second
    assert await place.cluster.delete(place.key(), uid=meta(second)["uid"]) is True


async def test_dependents_follow_an_owner_that_is_gone(collected: Place):
    place = collected
    owner = await place.cluster.create(place.widget("owner"))
    child = await place.cluster.create(owned_by(place, "child", owner))
    await place.cluster.create(owned_by(place, "grandchild", child))
    await place.cluster.create(place.secret("its-secret") | {"metadata": meta(owned_by(place, "its-secret", owner))})
    await place.cluster.create(place.widget("stranger"))
    await place.cluster.delete(place.key("owner"))
    assert await place.cluster.get(place.key("owner"), live=True) is None
    await place.gone(place.key("child"), place.key("grandchild"), Key("v1", "Secret", place.namespace, "its-secret"))
    assert await current(place, "stranger")


async def test_a_dependent_with_a_finalizer_is_marked(collected: Place):
    place = collected
    owner = await place.cluster.create(place.widget("owner"))
    await place.cluster.create(owned_by(place, "child", owner, finalizers=[FINALIZER]))
    await place.cluster.delete(place.key("owner"), propagation="Background")
    assert await place.cluster.get(place.key("owner"), live=True) is None

    async def marked():
        return "deletionTimestamp" in meta(await current(place, "child"))

    await eventually(marked, "the child is being deleted")
    await release(place, "child")
    await place.gone(place.key("child"))


async def test_a_dependent_of_two_owners_stays_while_one_is_there(collected: Place):
    place = collected
    one, two = [await place.cluster.create(place.widget(name)) for name in ("owner-1", "owner-2")]
    await place.cluster.create(owned_by(place, "child", one, two))
    await place.cluster.delete(place.key("owner-1"))

    async def reduced():
        return [ref["name"] for ref in meta(await current(place, "child"))["ownerReferences"]] == ["owner-2"]

    await eventually(reduced, "the reference to the first owner is gone")
    await place.cluster.delete(place.key("owner-2"))
    await place.gone(place.key("child"))


async def test_in_the_foreground_the_owner_waits_for_dependents_that_block_it(collected: Place):
    place = collected
    owner = await place.cluster.create(place.widget("owner"))
    await place.cluster.create(owned_by(place, "child", owner, finalizers=[FINALIZER]))
    await place.cluster.create(owned_by(place, "loose", owner, blocking=False, finalizers=[FINALIZER]))
    await place.cluster.create(owned_by(place, "free", owner))
    await place.cluster.delete(place.key("owner"), propagation="Foreground")

    async def marked():
        return all(["deletionTimestamp" in meta(await current(place, name)) for name in ("child", "loose")])

    await eventually(marked, "the dependents are being deleted")
    await place.gone(place.key("free"))
    waiting = await current(place, "owner")
    assert meta(waiting)["deletionTimestamp"]
    assert meta(waiting)["finalizers"] == ["foregroundDeletion"]
    await release(place, "child")
    await place.gone(place.key("child"), place.key("owner"))
    assert await current(place, "loose")


async def test_in_the_foreground_a_dependent_with_dependents_waits_for_them_in_turn(collected: Place):
    place = collected
    owner = await place.cluster.create(place.widget("owner"))
    child = await place.cluster.create(owned_by(place, "child", owner))
    await place.cluster.create(owned_by(place, "grandchild", child, finalizers=[FINALIZER]))
    await place.cluster.delete(place.key("owner"), propagation="Foreground")

    async def waiting():
        return meta(await current(place, "child")).get("finalizers") == ["foregroundDeletion"]

    await eventually(waiting, "the child waits for the grandchild")
    assert await current(place, "owner")
    await release(place, "grandchild")
    await place.gone(place.key("grandchild"), place.key("child"), place.key("owner"))


async def test_in_the_foreground_without_dependents_the_owner_goes(collected: Place):
    place = collected
    await place.cluster.create(place.widget("owner"))
    await place.cluster.delete(place.key("owner"), propagation="Foreground")
    await place.gone(place.key("owner"))


async def test_an_owner_keeps_its_other_finalizers_in_the_foreground(collected: Place):
    place = collected
    await place.cluster.create(held(place, "owner"))
    await place.cluster.delete(place.key("owner"), propagation="Foreground")

    async def only_its_own():
        return meta(await current(place, "owner"))["finalizers"] == [FINALIZER]

    await eventually(only_its_own, "nothing is waited for but the owner's own finalizer")
    await release(place, "owner")
    await place.gone(place.key("owner"))


async def test_orphans_stay_without_their_owner(collected: Place):
    place = collected
    owner = await place.cluster.create(place.widget("owner"))
    child = await place.cluster.create(owned_by(place, "child", owner))
    await place.cluster.delete(place.key("owner"), propagation="Orphan")
    await place.gone(place.key("owner"))
    left = await current(place, "child")
    assert "ownerReferences" not in meta(left)
    assert meta(left)["uid"] == meta(child)["uid"]


async def test_an_object_made_for_an_owner_that_is_gone_already_goes_too(collected: Place):
    place = collected
    owner = await place.cluster.create(place.widget("owner"))
    await place.cluster.delete(place.key("owner"))
    await place.cluster.create(owned_by(place, "late", owner))
    await place.gone(place.key("late"))


async def test_a_new_object_of_the_owners_name_is_not_the_owner(collected: Place):
    place = collected
    owner = await place.cluster.create(place.widget("owner"))
    await place.cluster.create(owned_by(place, "child", owner))
    await place.cluster.delete(place.key("owner"), propagation="Background")
    await place.cluster.create(place.widget("owner"))
    await place.gone(place.key("child"))


async def test_a_deleted_namespace_takes_its_objects_along(place: Place):
    await place.cluster.create(place.widget("free"))
    await place.cluster.create(held(place, "held"))
    key = Key("v1", "Namespace", "", place.namespace)
    await place.cluster.delete(key)
    await place.gone(place.key("free"))
    marked = await place.cluster.get(key, live=True)
    assert marked is not None
    assert status_of(marked)["phase"] == "Terminating"

    async def held_is_marked():
        return "deletionTimestamp" in meta(await current(place, "held"))

    await eventually(held_is_marked, "the held object is being deleted")
    await release(place, "held")
    await place.gone(key)


# --- Secrets


async def test_a_secrets_plain_text_is_kept_as_base64(place: Place):
    made = await place.cluster.create(
        place.secret(stringData={"b": "two"}, data={"a": base64.b64encode(b"one").decode()})
    )
    assert "stringData" not in made
    assert made["type"] == "Opaque"
    assert {name: base64.b64decode(text) for name, text in made["data"].items()} == {"a": b"one", "b": b"two"}


async def test_the_type_of_a_secret_is_immutable(place: Place):
    made = await place.cluster.create(place.secret(type="connection.crossplane.io/v1alpha1"))
    with pytest.raises(Rejected) as raised:
        await place.cluster.update(made | {"type": "Opaque"})
    assert 'Secret "one" is invalid: type' in raised.value.what


async def test_a_secret_is_applied_key_by_key(place: Place):
    data = {name: base64.b64encode(name.encode()).decode() for name in "abc"}
    await place.cluster.apply(place.secret(data={"a": data["a"]}), manager="them")
    wanted = place.secret(data={"b": data["b"], "c": data["c"]})
    made = await place.cluster.apply(wanted, manager="us")
    assert made["data"] == data
    assert version(await place.cluster.apply(wanted, manager="us")) == version(made)
    made = await place.cluster.apply(place.secret(data={"b": data["b"]}), manager="us")
    assert made["data"] == {"a": data["a"], "b": data["b"]}


MOST = 2**20  # bytes of a Secret's or a ConfigMap's values


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # the client's, of more than 1 MiB
async def test_a_secret_has_a_mebibyte_of_values_and_no_more(place: Place):
    kept = place.secret(data={"a": base64.b64encode(b"x" * (MOST - 1)).decode(), "b": base64.b64encode(b"y").decode()})
    made = await place.cluster.create(kept)
    with pytest.raises(Rejected) as raised:
        await place.cluster.update(made | {"data": kept["data"] | {"b": base64.b64encode(b"yz").decode()}})
    assert raised.value.what == 'Secret "one" is invalid: data: Too long: may not be more than 1048576 bytes'


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # the client's, of more than 1 MiB
async def test_a_config_map_has_a_mebibyte_of_values_and_no_more(place: Place):
    kept = place.config_map(data={"a": "x" * (MOST - 3)}, binaryData={"b": base64.b64encode(b"xyz").decode()})
    made = await place.cluster.create(kept)
    with pytest.raises(Rejected) as raised:
        await place.cluster.update(made | {"data": {"a": "x" * (MOST - 4) + "ä"}})
    assert raised.value.what == 'ConfigMap "one" is invalid: []: Too long: may not be more than 1048576 bytes'


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"a": 5}},
        {"data": {"a": True}},
        {"data": {"a": {"b": "c"}}},
        {"data": ["a"]},
        {"data": {"a b": "c"}},
        {"binaryData": {"a": "no base64"}},
        {"binaryData": {"a": "YQ=="}, "data": {"a": "a"}},
    ],
    ids=str,
)
async def test_a_config_map_that_is_none_is_refused(place: Place, fields):
    with pytest.raises(Rejected):
        await place.cluster.apply(place.config_map(**fields), manager="me")
    with pytest.raises(Rejected):
        await place.cluster.create(place.config_map(**fields))


async def test_a_secret_of_what_is_no_base64_is_refused(place: Place):
    with pytest.raises(Rejected) as raised:
        await place.cluster.apply(place.secret(data={"a": "no base64"}), manager="me")
    assert "no base64" not in raised.value.what


async def test_a_config_map_that_is_immutable_stays_as_it_is(place: Place):
    made = await place.cluster.create(place.config_map(data={"a": "b"}, immutable=True))
    made = await place.cluster.update(made | {"metadata": meta(made) | {"labels": {"a": "b"}}})
    with pytest.raises(Rejected, match="field is immutable when `immutable` is set"):
        await place.cluster.update(made | {"data": {"a": "c"}})


# --- binding by server-side apply


async def test_an_apply_with_version_one_makes_an_object_and_never_takes_one_that_is_there(place: Place):
    """No object ever has version 1: who says that he knows it means that there is none."""
    metadata = {"resourceVersion": "1"}
    made = await place.cluster.apply(place.widget(spec={"count": 1}, metadata=metadata), manager="first")
    assert spec_of(made)["count"] == 1
    with pytest.raises(Conflict):
        await place.cluster.apply(place.widget(spec={"count": 2}, metadata=metadata), manager="second")
    assert spec_of(await current(place))["count"] == 1


async def test_an_apply_with_a_uid_meets_only_that_incarnation(place: Place):
    first = await place.cluster.create(place.widget())
    uid = {"uid": meta(first)["uid"]}
    await place.cluster.apply(place.widget(spec={"count": 1}, metadata=uid), manager="mine")
    await place.cluster.delete(place.key())
    await place.gone(place.key())
    with pytest.raises((Conflict, NotFound)):
        await place.cluster.apply(place.widget(spec={"count": 2}, metadata=uid), manager="mine")
    await place.cluster.create(place.widget())
    with pytest.raises((Conflict, Rejected)):
        await place.cluster.apply(place.widget(spec={"count": 3}, metadata=uid), manager="mine")


async def test_an_apply_without_the_last_label_takes_only_the_label(place: Place):
    await place.cluster.apply(place.widget(spec={"count": 1}, metadata={"labels": {"a": "1"}}), manager="us")
    made = await place.cluster.apply(place.widget(spec={"count": 1}), manager="us")
    assert "labels" not in meta(made)
    assert meta(made)["name"] == "one"
