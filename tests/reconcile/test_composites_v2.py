"""Composites of Crossplane v2, in a namespace: what they may be composed of, and what their annotations ask for."""

import collections
import copy
from functools import partial

import pytest

from groundplane.core import conditions, naming
from groundplane.core.objects import Key, is_deleting, key_of
from groundplane.errors import NotFound, Rejected
from groundplane.ports import Options
from groundplane.reconcile.doubts import READ
from groundplane.runtime.queue import After, Done
from tests.reconcile import things
from tests.reconcile.interrupt import deaths
from tests.reconcile.things import a_world
from tests.world import World

STRICT = Options(poll_interval=60.0, strict_upstream=True)


def native(*resources):
    found = things.changed(things.COMPOSITION, resources=list(resources), writeConnectionSecretsToNamespace=None)
    found["spec"]["compositeTypeRef"] = {"apiVersion": things.VERSION, "kind": "App"}
    return found


def piped(*resources):
    found = native()
    del found["spec"]["resources"]
    found["spec"] |= {"mode": "Pipeline", "pipeline": [things.patch_step(*resources), things.READY_STEP]}
    return found


def template(kind="ConfigMap", name="settings", **metadata):
    base = {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    return {"name": name, "base": base, "readinessChecks": [{"type": "None"}]}


async def running(composition, *, world=None, definition=None, **annotations):
    world = world or await a_world()
    await world.apply(definition or things.v2_definition())
    await world.settle()
    await world.apply(composition, things.v2_composite(**annotations))
    return await world.settle()


async def synced(world):
    return conditions.find(await world.cluster.get(things.APP), "Synced")


# --- what they are composed of --------------------------------------------------------------------------------


@pytest.mark.parametrize("composition", [native, piped])
async def test_what_it_is_composed_of_is_in_its_namespace_and_marked_without_a_claim(composition):
    astray = {"type": "FromCompositeFieldPath", "fromFieldPath": "spec.size", "toFieldPath": "metadata.namespace"}
    world = await running(composition(template(), template(name="other") | {"patches": [astray]}))
    found = await world.cluster.list("v1", "ConfigMap")
    assert [obj["metadata"]["namespace"] for obj in found] == ["team-a", "team-a"]
    assert all(obj["metadata"]["labels"] == {"crossplane.io/composite": "app"} for obj in found)
    app = await world.cluster.get(things.APP)
    assert conditions.is_true(app, "Ready")
    assert {tuple(reference) for reference in app["spec"]["crossplane"]["resourceRefs"]} == {
        ("apiVersion", "kind", "name")
    }
    assert [obj["metadata"]["generateName"] for obj in found] == ["app-", "app-"]
    text = 'Composed resource "other" asks for namespace "small": it goes to that of its composite, "team-a"'
    assert text in world.told.text()
    assert 'resource "settings" asks' not in world.told.text()
    before = world.cluster.writes
    await world.settle(seconds=1000)
    assert world.cluster.writes == before


@pytest.mark.parametrize("options", [None, STRICT])
@pytest.mark.parametrize("composition", [native, piped])
async def test_a_namespace_is_made_before_what_is_in_it_wherever_its_template_stands(composition, options):
    world = await a_world(options=options)
    into = {"fromFieldPath": "spec.size", "toFieldPath": "metadata.namespace", "type": "FromCompositeFieldPath"}
    called = into | {"toFieldPath": "metadata.name"}
    wanted = composition(template(name="a") | {"patches": [into]}, template("Namespace", "z") | {"patches": [called]})
    wanted["spec"]["compositeTypeRef"]["kind"] = "XThing"
    apply, create = world.cluster.apply, world.cluster.create

    def only_where_its_namespace_is(write):
        async def written(obj, **how):
            key = key_of(obj)
            if key.namespace == "small" and await world.cluster.get(Key("v1", "Namespace", "", "small")) is None:
                raise NotFound('namespaces "small" not found')
            return await write(obj, **how)

        return written

    world.cluster.apply = only_where_its_namespace_is(apply)
    world.cluster.create = only_where_its_namespace_is(create)
    await things.running(world, composition=wanted)
    await world.settle(seconds=300)
    [settings] = await world.cluster.list("v1", "ConfigMap")
    assert settings["metadata"]["namespace"] == "small"


@pytest.mark.parametrize("composition", [native, piped])
async def test_what_is_in_no_namespace_is_refused_for_it_would_be_collected_at_once(composition):
    alpha = {"name": "alpha", "base": {"apiVersion": things.COMPOSED, "kind": "Alpha", "spec": {}}}
    world = await running(composition(template(), alpha))
    assert 'cannot apply cluster scoped composed resource "alpha"' in (await synced(world))["message"]
    assert await world.cluster.list(things.COMPOSED, "Alpha") == []
    told = conditions.find(await world.cluster.get(key_of(composition())), "FitsSchemas")
    assert told["status"] == "False"
    assert "Alpha of" in told["message"]
    assert "is cluster-scoped: a composite in a namespace can't own it" in told["message"]
    assert "other" not in told["message"]


async def test_anonymous_templates_find_what_they_made_in_the_namespace():
    anonymous = [{"base": template()["base"], "readinessChecks": [{"type": "None"}]} for _ in range(2)]
    world = await running(native(*anonymous))
    names = {obj["metadata"]["name"] for obj in await world.cluster.list("v1", "ConfigMap")}
    assert len(names) == 2
    await world.patch(things.APP, {"spec": {"size": "large"}})
    await world.settle(seconds=1000)
    assert {obj["metadata"]["name"] for obj in await world.cluster.list("v1", "ConfigMap")} == names


@pytest.mark.parametrize("options", [None, STRICT])
async def test_what_a_template_made_before_it_made_another_kind_stays_and_is_told(options):
    def made(kind):
        base = {"apiVersion": things.COMPOSED, "kind": kind}
        return things.changed(things.PIPELINE, pipeline=[things.patch_step({"name": "one", "base": base})])

    world = await a_world(options=options)
    await things.running(world, composition=made("Alpha"))
    before = await world.one(things.COMPOSED, "Alpha")
    await world.apply(made("Beta"))
    await world.settle()
    after = await world.one(things.COMPOSED, "Beta")
    assert after["metadata"]["name"] == before["metadata"]["name"]
    [reference] = (await world.one(things.VERSION, "XThing"))["spec"]["resourceRefs"]
    assert reference["kind"] == "Beta"
    assert await world.one(things.COMPOSED, "Alpha") == before
    assert ('template "one" makes a Beta now' in world.told.text()) is (options is None)


async def test_a_template_may_come_to_make_what_is_in_a_namespace_where_it_made_what_is_in_none():
    world = await a_world()
    cluster = things.v2_definition("Cluster")
    await world.apply(cluster)
    await world.settle()
    made = piped({"name": "settings", "base": {"apiVersion": things.COMPOSED, "kind": "Alpha"}})
    app = things.v2_composite()
    del app["metadata"]["namespace"]
    await world.apply(made, app)
    await world.settle()
    await world.one(things.COMPOSED, "Alpha")
    await world.apply(piped(template(namespace="team-b")))
    await world.settle()
    assert (await world.one("v1", "ConfigMap"))["metadata"]["namespace"] == "team-b"


# --- what its annotations ask for -----------------------------------------------------------------------------


def counted(cluster):
    """What is asked of an API server from now on, which answers reads from the cache, and writes that change nothing not at all."""
    asked = collections.Counter()

    def counting(verb, inner):
        async def call(*args, **how):
            before = cluster.writes
            result = await inner(*args, **how)
            kind = args[0]["kind"] if isinstance(args[0], dict) else args[0].kind
            if cluster.writes > before or how.get("live"):
                asked[verb, kind, how.get("subresource", "")] += 1
            return result

        return call

    for verb in ("get", "create", "update", "apply", "patch", "delete"):
        setattr(cluster, verb, counting(verb, getattr(cluster, verb)))
    return asked


async def with_a_new_app():
    """A world in which a composite of three resources has just come, and its requests from now on."""
    world = await a_world()
    await world.apply(things.v2_definition("Cluster"))
    await world.settle()
    alpha, *others = copy.deepcopy(things.COMPOSITION["spec"]["resources"])
    del alpha["connectionDetails"]
    await world.apply(piped(alpha, *others))
    await world.settle()
    app = things.v2_composite()
    del app["metadata"]["namespace"]
    await world.apply(app)
    return world, counted(world.cluster)


async def is_ready(world):
    return conditions.is_true(await world.cluster.get(things.APP._replace(namespace="")), "Ready")


async def test_what_is_ready_soon_after_it_was_created_through_a_pipeline_takes_one_report():
    world, asked = await with_a_new_app()
    world.listen()
    (target,) = world.due
    await world.engine.process(*target)
    for kind in things.KINDS:
        await things.report(world, kind)
    await world.settle()
    assert await is_ready(world)
    assert asked["update", "App", "status"] == 1


async def test_a_new_composite_through_a_pipeline_takes_no_request_too_many():
    """Of three resources, all but the reports; with two more and an event it is ten, and the budget of the spike fourteen."""
    world, asked = await with_a_new_app()
    await world.settle()
    await things.all_ready(world)
    assert await is_ready(world)
    assert asked == {
        ("update", "App", ""): 1,
        ("apply", "App", ""): 1,
        ("apply", "Alpha", ""): 1,
        ("apply", "Beta", ""): 1,
        ("apply", "Gamma", ""): 1,
        ("update", "App", "status"): 2,
        ("apply", "App", "status"): 1,
    } | {("patch", kind, "status"): 1 for kind in things.KINDS}  # the provider's


async def test_a_look_that_somebody_asks_for_is_taken_and_answered_once():
    world = await running(piped(template()))
    for token in ("2026-01-01T00:00:00Z", "again"):
        asked = {"metadata": {"annotations": {"crossplane.io/reconcile-requested-at": token}}}
        await world.patch(things.APP, asked)
        await world.settle()
        assert (await world.cluster.get(things.APP))["status"]["lastHandledReconcileAt"] == token
    await world.settle(seconds=3600)
    assert world.told.text().count("ReconcileRequestHandled") == 2


async def test_a_paused_composite_answers_no_request():
    asked = {"crossplane.io/paused": "true", "crossplane.io/reconcile-requested-at": "now"}
    world = await running(piped(template()), **asked)
    assert "lastHandledReconcileAt" not in (await world.cluster.get(things.APP))["status"]
    assert "(including deletion) is paused" in (await synced(world))["message"]
    await world.patch(things.APP, {"metadata": {"annotations": {"crossplane.io/paused": None}}})
    await world.settle()
    assert (await world.cluster.get(things.APP))["status"]["lastHandledReconcileAt"] == "now"


async def test_a_field_of_the_users_that_has_the_answers_name_is_the_users():
    declared = things.v2_definition()
    [version] = things.changed(declared)["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["lastHandledReconcileAt"] = {
        "type": "integer"
    }
    declared = things.changed(declared, versions=[version])
    world = await running(piped(template()), definition=declared, **{"crossplane.io/reconcile-requested-at": "now"})
    app = await world.cluster.get(things.APP)
    assert conditions.is_true(app, "Ready")
    assert "lastHandledReconcileAt" not in app["status"]
    assert "ReconcileRequestHandled" not in world.told.text()


@pytest.mark.parametrize(
    ("interval", "seconds"), [("1m30s", 90), ("10ms", 1), ("often", 0), ("", 0), ("-1m", 0), ("0s", 0)]
)
async def test_the_interval_of_an_annotation_is_kept(interval, seconds):
    world = await running(piped(template()), **{"crossplane.io/poll-interval": interval})
    await world.settle(seconds=10)
    outcome = await world.engine.process("composite", things.APP)
    assert outcome == (After(seconds) if seconds else Done())
    assert ("crossplane.io/poll-interval has no effect" in world.told.text()) == (seconds == 0)


async def asking_of_a_composite(world):
    """A composite of a claim that is asked to be looked at."""
    await things.running(world, composition=things.PIPELINE)
    await things.all_ready(world)
    key = key_of(await world.one(things.VERSION, "XThing"))
    asked = {"crossplane.io/reconcile-requested-at": "now", "crossplane.io/poll-interval": "1s"}
    await world.patch(key, {"metadata": {"annotations": asked}})
    await world.settle()
    return key


async def test_v1_knows_neither_request_nor_interval():
    world = await a_world(options=STRICT)
    key = await asking_of_a_composite(world)
    assert await world.engine.process("composite", key) == Done()
    assert "ReconcileRequestHandled" not in world.told.text()


async def test_a_claim_does_not_take_its_composites_answer_for_its_own():
    world = await a_world()
    key = await asking_of_a_composite(world)
    assert await world.engine.process("composite", key) == After(1.0)
    assert (await world.cluster.get(key))["status"]["lastHandledReconcileAt"] == "now"
    claim = await world.cluster.get(things.CLAIM)
    assert conditions.is_true(claim, "Ready")
    assert "lastHandledReconcileAt" not in claim["status"]


@pytest.mark.parametrize("composition", [native, piped])
async def test_a_condition_that_is_patched_into_the_status_stays_beside_ours(composition):
    made = template()
    made["base"]["data"] = {"type": "Custom", "status": "True", "reason": "Said", "time": "2026-01-01T00:00:00Z"}
    fields = {"type": "type", "status": "status", "reason": "reason", "time": "lastTransitionTime"}
    made["patches"] = [
        {
            "type": "ToCompositeFieldPath",
            "fromFieldPath": f"data.{source}",
            "toFieldPath": f"status.conditions[0].{target}",
        }
        for source, target in fields.items()
    ]
    world = await running(composition(made))
    await world.settle(seconds=1000)
    app = await world.cluster.get(things.APP)
    found = {entry["type"]: entry["status"] for entry in app["status"]["conditions"]}
    assert found == {"Synced": "True", "Ready": "True", "Responsive": "True", "Custom": "True"}
    before = world.cluster.writes
    await world.settle(seconds=1000)
    assert world.cluster.writes == before


async def test_without_a_name_a_connection_detail_is_upstreams_mistake_and_nothing_is_made():
    made = template() | {"connectionDetails": [{"type": "FromValue", "value": "x"}]}
    world = await running(piped(made))
    assert "connectionDetails[0].name: must be set" in (await synced(world))["message"]
    assert await world.cluster.list("v1", "ConfigMap") == []


async def test_natively_it_is_told_once_its_resource_is_there():
    made = template() | {"connectionDetails": [{"type": "FromValue", "value": "x"}]}
    world = await running(native(made))
    assert (
        "resource settings › connectionDetails[0]: connection detail is missing name"
        in (await synced(world))["message"]
    )
    await world.one("v1", "ConfigMap")


async def test_a_composite_that_asks_for_a_secret_as_a_legacy_one_gets_none():
    made = native(template() | {"connectionDetails": [{"name": "url", "type": "FromValue", "value": "x"}]})
    made["spec"]["writeConnectionSecretsToNamespace"] = "crossplane-system"
    world = await running(made)
    assert conditions.is_true(await world.cluster.get(things.APP), "Ready")
    assert await world.cluster.list("v1", "Secret") == []
    assert await world.cluster.get(Key("v1", "Secret", "team-a", "app-connection")) is None


# --- which revision they use ----------------------------------------------------------------------------------


def selecting(**selector):
    return things.changed(things.v2_definition(), defaultCompositionRevisionSelector=selector)


def channelled(channel, *resources):
    made = piped(*resources)
    made["metadata"] = made["metadata"] | {"labels": {"channel": channel}}
    return made


async def test_a_definitions_selector_of_revisions_holds_for_who_has_neither_selector_nor_revision():
    world = await running(channelled("stable", template()), definition=selecting(matchLabels={"channel": "stable"}))
    machinery = (await world.cluster.get(things.APP))["spec"]["crossplane"]
    first = machinery["compositionRevisionRef"]
    assert machinery["compositionRevisionSelector"] == {"matchLabels": {"channel": "stable"}}
    assert "Default revision selector has been selected" in world.told.text()
    await world.apply(channelled("beta", template(), template(name="more")))
    await world.settle(seconds=10)
    assert (await world.cluster.get(things.APP))["spec"]["crossplane"]["compositionRevisionRef"] == first
    await world.one("v1", "ConfigMap")


async def test_a_definitions_selector_of_revisions_that_fits_none_is_kept_and_waited_for():
    world = await running(channelled("beta", template()), definition=selecting(matchLabels={"channel": "stable"}))
    assert "no compatible CompositionRevisions found" in (await synced(world))["message"]
    await world.apply(channelled("stable", template()))
    await world.settle(seconds=10)
    app = await world.cluster.get(things.APP)
    assert conditions.is_true(app, "Ready")
    assert app["spec"]["crossplane"]["compositionRevisionSelector"] == {"matchLabels": {"channel": "stable"}}


async def test_a_definitions_selector_of_revisions_changes_nothing_for_who_has_a_revision():
    world = await running(channelled("beta", template()))
    before = (await world.cluster.get(things.APP))["spec"]["crossplane"]
    await world.apply(selecting(matchLabels={"channel": "stable"}))
    await world.settle()
    await world.patch(things.APP, {"spec": {"size": "large"}})
    await world.settle(seconds=10)
    assert (await world.cluster.get(things.APP))["spec"]["crossplane"] == before


async def test_what_auto_ready_knows_more_of_than_a_condition_is_not_told_to_never_be_ready():
    settings = template()
    del settings["readinessChecks"]
    world = await running(piped(settings))
    await world.settle(seconds=600)
    assert conditions.is_true(await world.cluster.get(things.APP), "Ready")
    assert "will never be ready" not in world.told.text()


# --- what newcomers write ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field, value, mend",
    [
        ("claimNames", {"kind": "Claim", "plural": "claims"}, "people write the composite itself"),
        ("connectionSecretKeys", ["url"], "compose a Secret"),
    ],
)
async def test_what_only_a_definition_of_v1_has_is_refused(field, value, mend):
    world = await a_world()
    with pytest.raises(Rejected, match=f"{field} is only for scope LegacyCluster: leave it out, .*{mend}"):
        await world.apply(things.changed(things.v2_definition(), **{field: value}))


async def test_a_definition_without_a_scope_is_of_namespaces():
    world = await running(piped(template()), definition=things.changed(things.v2_definition(), scope=None))
    assert conditions.is_true(await world.cluster.get(things.APP), "Ready")


@pytest.mark.parametrize(
    "field, mend",
    [
        ("compositionRef", "did you mean crossplane.compositionRef?"),
        ("compositionUpdatePolicy", "did you mean crossplane.compositionUpdatePolicy?"),
        ("writeConnectionSecretToRef", "have no connection Secret: compose a Secret"),
    ],
)
async def test_machinery_where_v1_has_it_is_refused_with_its_place(field, mend):
    world = await running(piped(template()))
    with pytest.raises(Rejected) as caught:
        await world.apply(things.changed(things.v2_composite(), **{field: {"name": "x"}}))
    assert f".spec.{field}: field not declared in schema" in str(caught.value)
    assert mend in caught.value.mend


def declaring(**schema):
    found = copy.deepcopy(things.v2_definition())
    [version] = found["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] |= schema
    return found


async def told_of_definition(world):
    [found] = await world.cluster.list("apiextensions.crossplane.io/v1", "CompositeResourceDefinition")
    return conditions.find(found, READ)


async def test_fields_of_a_definition_that_machinery_replaces_are_told_without_webhooks():
    world = await running(piped(template()), definition=declaring(crossplane={"type": "string"}))
    found = await told_of_definition(world)
    assert (found["status"], found["reason"]) == ("False", "FieldsNotRead")
    assert "openAPIV3Schema.properties.spec.properties.crossplane is not used" in found["message"]
    assert ("Warning", "FieldsNotRead") in world.told.reasons("CompositeResourceDefinition")
    await world.apply(things.v2_definition())
    await world.settle(seconds=60)
    assert (await told_of_definition(world))["status"] == "True"
    before = world.cluster.writes
    await world.settle(seconds=1000)
    assert world.cluster.writes == before


async def test_nothing_is_told_of_a_definition_that_is_read_whole_nor_with_strict_upstream():
    assert await told_of_definition(await running(piped(template()))) is None
    world = await a_world(options=STRICT)
    found = things.changed(things.XRD)
    [version] = found["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["resourceRefs"] = {"type": "string"}
    await world.apply(found)
    await world.settle()
    assert await told_of_definition(world) is None


@pytest.mark.parametrize("composition", [native, piped])
async def test_references_that_a_person_writes_into_a_composite_give_it_nothing_that_is_another_s(composition):
    theirs = things.v2_composite() | {"metadata": {"name": "app", "namespace": "team-b"}}
    alpha = {"apiVersion": things.COMPOSED, "kind": "Alpha", "metadata": {"name": "free"}, "spec": {}}
    free = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "free", "namespace": "team-a"},
        "data": {"a": "b"},
    }
    world = await running(composition(template(name="settings")))
    await world.apply(theirs, alpha, free)
    await world.settle()
    [own] = await world.cluster.list("v1", "ConfigMap", namespace="team-b")
    objects = [own, alpha, free]
    before = [await world.cluster.get(key_of(obj)) for obj in objects]
    named = [
        {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"]}
        | ({"namespace": obj["metadata"]["namespace"]} if astray and "namespace" in obj["metadata"] else {})
        for obj in objects
        for astray in (False, True)
    ]
    await world.patch(things.APP, {"spec": {"crossplane": {"resourceRefs": named}}})
    await world.settle(seconds=100)
    assert conditions.is_true(await world.cluster.get(things.APP), "Ready")
    assert [await world.cluster.get(key_of(obj)) for obj in objects] == before
    await world.patch(things.APP, {"spec": {"crossplane": {"resourceRefs": named}}})
    await world.cluster.delete(things.APP)
    await world.settle(seconds=100)
    assert await world.cluster.get(things.APP) is None
    assert [await world.cluster.get(key_of(obj)) for obj in objects] == before


# --- interrupted --------------------------------------------------------------------------------------------


async def as_it_is(world):
    """What there is of a composite and of what it composes, without what differs from run to run."""
    app = await world.cluster.get(things.APP)
    found = [
        (key_of(obj).name, obj["metadata"]["ownerReferences"][0]["name"], obj.get("data"))
        for obj in await world.cluster.list("v1", "ConfigMap")
    ]
    if app is None:
        return found
    refs = app["spec"]["crossplane"].get("resourceRefs")
    told = {each["type"]: (each["status"], each["reason"]) for each in app["status"]["conditions"]}
    return found, refs, told, app["metadata"]["finalizers"]


def with_data(name, **data):
    found = template(name=name)
    found["base"]["data"] = data
    return found


@pytest.mark.parametrize("composition", [native, piped])
async def test_killed_at_any_write_the_next_process_makes_changes_and_deletes_it_all_the_same(composition):
    start = await a_world()
    await start.apply(things.v2_definition())
    await start.settle()
    await start.apply(composition(with_data("a", x="1"), with_data("b"), with_data("c")), things.v2_composite())

    async def carried_on(world, at_least):
        """The world at its end, after all that were killed on the way have come there, too."""
        heirs = await deaths(world, partial(World.settle, seconds=60))
        assert len(heirs) >= at_least
        expected = await as_it_is(world)
        for heir in heirs:
            await heir.settle(seconds=60)
            assert await as_it_is(heir) == expected
        return expected

    made, refs, told, _ = await carried_on(start, 6)
    assert (len(made), len(refs), told["Ready"][0]) == (3, 3, "True")
    await start.apply(composition(with_data("a", x="2"), with_data("d"), with_data("c")))
    changed, refs, told, _ = await carried_on(start, 5)
    assert [data for _, _, data in changed].count({"x": "2"}) == 1
    assert (len({name for name, *_ in made} & {name for name, *_ in changed}), len(refs)) == (2, 3)
    await start.cluster.delete(things.APP)
    assert await carried_on(start, 4) == []


async def test_killed_at_any_write_it_is_deleted_in_the_order_of_its_sequence_though_its_composition_is_gone():
    composition = piped(*(with_data(name) for name in "abc"))
    rules = {"rules": [{"sequence": ["b", "c", "a"], "deleteOnly": True}]}
    sequencer = {"apiVersion": "sequencer.fn.crossplane.io/v1beta1", "kind": "Input"} | rules
    step = {"step": "order", "functionRef": {"name": "function-sequencer"}, "input": sequencer}
    composition["spec"]["pipeline"].append(step)
    world = await running(composition)
    names = {
        obj["metadata"]["annotations"][naming.TEMPLATE_ANNOTATION]: key_of(obj)
        for obj in await world.cluster.list("v1", "ConfigMap")
    }
    for key in names.values():
        await world.patch(key, {"metadata": {"finalizers": ["example.org/held"]}})
    for revision in await world.cluster.list(composition["apiVersion"], "CompositionRevision"):
        await world.cluster.delete(key_of(revision))
    await world.cluster.delete(key_of(composition))
    await world.cluster.delete(things.APP)

    async def go(world):
        for name in "acb":
            await world.settle(seconds=10)
            going = [key_of(obj) for obj in await world.cluster.list("v1", "ConfigMap") if is_deleting(obj)]
            if await world.cluster.get(names[name]):
                assert going == [names[name]]
                await world.patch(names[name], {"metadata": {"finalizers": None}})
        await world.settle(seconds=310)
        assert await as_it_is(world) == []

    heirs = await deaths(world, go)
    assert len(heirs) > 6
    for heir in heirs:
        await go(heir)
