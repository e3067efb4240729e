"""Functions that run elsewhere, over real gRPC: found, called, waited for, and told of when they fail."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import pytest

from groundplane.core.function_sources import Rules
from groundplane.core.objects import Key, owner_reference
from groundplane.errors import Busy
from groundplane.ports import Options
from groundplane.remote.runner import Runner
from tests.reconcile import things
from tests.reconcile.managed import condition, message, secret_of
from tests.reconcile.things import a_world
from tests.remote.certificates import Authority, data_of
from tests.remote.server import serving

API = "pkg.crossplane.io/v1"
PACKAGE = "example.org/acme/function-acme:v1"
ALPHA = {"apiVersion": things.COMPOSED, "kind": "Alpha", "spec": {"forProvider": {"n": 3}}}


@pytest.fixture
async def function():
    async with serving() as running:
        yield running


@pytest.fixture
async def runner():
    made = Runner()
    yield made
    await made.close()


@pytest.fixture
async def world(runner):
    return await a_world(functions=runner)


def declared(function=None, *, port=0, name="acme", **annotations):
    port = port or (function.port if function else 0)
    notes = {f"groundplane.io/{each.replace('_', '-')}": text for each, text in annotations.items()}
    notes |= {"groundplane.io/endpoint": f"localhost:{port}"} if port else {}
    return {
        "apiVersion": API,
        "kind": "Function",
        "metadata": {"name": name, "annotations": notes},
        "spec": {"package": PACKAGE},
    }


def step(name="acme", *, credentials=None, needs=None, **given):
    made = {"step": name, "functionRef": {"name": name}}
    if given:
        made["input"] = {"apiVersion": "acme.fn.example.org/v1", "kind": "Input", **given}
    made |= {"credentials": credentials} if credentials else {}
    return made | ({"requirements": needs} if needs else {})


def pipeline(*steps):
    return things.changed(things.PIPELINE, pipeline=list(steps))


def makes(**more):
    return step(resources={"alpha": ALPHA}, ready=True, **more)


async def composite(world):
    return await world.one(things.VERSION, "XThing")


async def package(world, name="acme"):
    return await world.cluster.get(Key(API, "Function", "", name))


def events(world, kind="XThing"):
    return {tuple(event[1:]) for event in world.told.events if event[0].startswith(f"{kind} ")}


# --- composing --------------------------------------------------------------------------------------------------


async def test_from_claim_to_composed_resources_status_secret_and_a_function_that_is_healthy(world, function):
    await world.apply(declared(function))
    told = {"results": [{"severity": "SEVERITY_NORMAL", "message": "made it", "target": 2}, {"message": "odd"}]}
    await things.running(
        world, composition=pipeline(makes(status={"address": "there"}, details={"url": "http"}, more=told))
    )
    alpha = await world.one(things.COMPOSED, "Alpha")
    assert alpha["spec"]["forProvider"] == {"n": 3}
    claim = await world.cluster.get(things.CLAIM)
    assert (condition(claim, "Ready"), condition(claim, "Synced")[0]) == (("True", "Available"), "True")
    assert claim["status"]["address"] == "there"
    assert await secret_of(world) == {"url": "http"}
    found = await package(world)
    assert condition(found, "Installed") == ("True", "ActivePackageRevision")
    assert condition(found, "Healthy") == ("True", "HealthyPackageRevision")
    revision = await world.one(API, "FunctionRevision")
    assert found["status"]["currentRevision"] == revision["metadata"]["name"]
    assert condition(revision, "RuntimeHealthy") == ("True", "HealthyPackageRevision")
    assert ("Normal", "ComposeResources", 'Pipeline step "acme": made it') in events(world)
    assert ("Normal", "ComposeResources", "made it") in events(world, "Thing")
    odd = 'Pipeline step "acme" returned a result of unknown severity (assuming warning): odd'
    assert ("Warning", "ComposeResources", odd) in events(world)


async def test_it_works_between_steps_that_are_built_in(world, function):
    await world.apply(declared(function))
    beta = {"name": "beta", "base": {"apiVersion": things.COMPOSED, "kind": "Beta", "spec": {"forProvider": {}}}}
    steps = things.patch_step(beta), step(resources={"alpha": ALPHA}), things.READY_STEP
    await things.running(world, composition=pipeline(*steps))
    assert set(function.asked[0].desired.resources) == {"beta"}
    await things.report(world, "Alpha")
    await things.report(world, "Beta")
    await world.settle()
    assert condition(await world.cluster.get(things.CLAIM), "Ready") == ("True", "Available")


async def test_a_settled_composite_is_neither_written_nor_asked_about_until_its_ttl_has_passed(world, function):
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(makes(ttl=60)))
    await world.settle(seconds=1)
    asked, written = len(function.asked), world.cluster.writes
    await world.settle(seconds=45)
    assert len(function.asked) == asked
    await world.settle(seconds=300)
    assert 4 <= len(function.asked) - asked <= 6
    assert world.cluster.writes == written


async def test_what_it_wants_to_see_is_fetched_and_a_change_of_it_has_it_called_again(world, function):
    site = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "site", "namespace": "team-a"},
        "data": {"a": "1"},
    }
    selector = {"apiVersion": "v1", "kind": "ConfigMap", "matchName": "site", "namespace": "team-a"}
    kind = {"apiVersion": things.COMPOSED, "kind": "Alpha"}
    wanted = {
        "resources": {"site": selector},
        "extraResources": {"old": {"apiVersion": "v1", "kind": "ConfigMap", "matchLabels": {"labels": {"x": "y"}}}},
        "schemas": {"alpha": kind, "none": {"apiVersion": "example.org/v9", "kind": "None"}},
    }
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(step(do="require", requirements=wanted)))
    seen = function.asked[-1]
    assert set(seen.required_resources) == {"site"}
    assert not seen.required_resources["site"].items
    assert not seen.extra_resources["old"].items
    assert seen.required_schemas["alpha"].HasField("openapi_v3")
    assert not seen.required_schemas["none"].HasField("openapi_v3")
    tags = {each.meta.tag for each in function.asked[-2:]}
    assert len(tags) == 1
    await world.apply(site)
    await world.settle()
    assert function.asked[-1].required_resources["site"].items[0].resource["data"]["a"] == "1"
    before = len(function.asked)
    await world.apply({**site, "data": {"a": "2"}})
    await world.settle()
    assert len(function.asked) > before
    assert function.asked[-1].required_resources["site"].items[0].resource["data"]["a"] == "2"


async def test_what_the_step_itself_requires_is_there_at_the_first_call(world, function):
    requires = {
        "requiredResources": [{"requirementName": "ns", "apiVersion": "v1", "kind": "Namespace", "name": "none"}],
        "requiredSchemas": [{"requirementName": "alpha", "apiVersion": things.COMPOSED, "kind": "Alpha"}],
    }
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(step(needs=requires)))
    assert set(function.asked[0].required_resources) == {"ns"}
    assert function.asked[0].required_schemas["alpha"].HasField("openapi_v3")


async def test_requirements_that_never_stabilise_are_an_error_after_six_calls(world, function):
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(step(do="require", for_ever=True)))
    assert "did not stabilise within 5 iterations" in message(await composite(world))
    assert len(function.asked) == 6


async def test_credentials_are_handed_over_and_one_that_is_missing_is_waited_for(world, function):
    credentials = [
        {"name": "c", "source": "Secret", "secretRef": {"namespace": "team-a", "name": "token"}},
        {"name": "none", "source": "None"},
    ]
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(step(credentials=credentials)))
    words = 'cannot get Composition pipeline step "acme" credential "c" from Secret'
    assert words in message(await composite(world))
    assert function.asked == []
    data = {"token": base64.b64encode(b"hunter2").decode()}
    await world.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "team-a"}, "data": data}
    )
    await world.settle()
    assert function.asked[-1].credentials["c"].credential_data.data["token"] == b"hunter2"
    assert set(function.asked[-1].credentials) == {"c"}


# --- failing ----------------------------------------------------------------------------------------------------


async def test_a_fatal_result_changes_nothing_and_is_tried_again_soon(world, function):
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(makes()))
    before = await world.one(things.COMPOSED, "Alpha")
    fatal = {"results": [{"severity": "SEVERITY_FATAL", "message": "no such size"}]}
    told = {"conditions": [{"type": "Sized", "status": "STATUS_CONDITION_FALSE", "reason": "No"}]}
    await world.apply(pipeline(step(more=fatal | told)))
    await world.settle()
    xr = await composite(world)
    assert message(xr) == ('cannot compose resources: pipeline step "acme" returned a fatal result: no such size')
    assert condition(xr, "Sized") == ("False", "No")
    assert await world.one(things.COMPOSED, "Alpha") == before
    assert condition(xr, "Ready") == ("True", "Available")
    asked = len(function.asked)
    await world.settle(seconds=65)
    assert 2 <= len(function.asked) - asked <= 5


async def test_a_function_that_dies_leaves_all_as_it_is_and_goes_on_when_it_is_back(runner, function):
    world = await a_world(functions=runner)
    async with serving() as dying:
        port = dying.port
        await world.apply(declared(port=port), declared(function, name="first"))
        first = step("first", more={"results": [{"severity": "SEVERITY_NORMAL", "message": "heard"}]})
        await things.running(world, composition=pipeline(first, makes()))
        alpha, references = await world.one(things.COMPOSED, "Alpha"), (await composite(world))["spec"]["resourceRefs"]
    world.told.events.clear()
    await world.patch(things.CLAIM, {"spec": {"size": "large"}})
    await world.settle(seconds=60)
    xr = await composite(world)
    assert (
        'cannot run Composition pipeline step "acme": cannot run Function "acme": rpc error: code = Unavailable'
        in message(xr)
    )
    assert f"see that it runs and serves at dns:///localhost:{port}, without TLS" in message(xr)
    assert ("Normal", "ComposeResources", 'Pipeline step "first": heard') in events(world)
    assert (await world.one(things.COMPOSED, "Alpha"), xr["spec"]["resourceRefs"]) == (alpha, references)
    await world.settle(seconds=300)
    found = await package(world)
    assert condition(found, "Healthy") == ("False", "UnhealthyPackageRevision")
    assert "refused" in message(found, "Healthy")
    assert ("Warning", "InstallPackageRevision") in world.told.reasons("Function")
    async with serving(address=f"127.0.0.1:{port}") as back:
        for _ in range(100):
            await world.settle(seconds=60)
            if (
                condition(await package(world), "Healthy")[0] == "True"
                and condition(await composite(world), "Synced")[0] == "True"
            ):
                break
            await asyncio.sleep(0.1)  # gRPC connects by a clock of its own
        assert back.asked
        assert condition(await composite(world), "Synced") == ("True", "ReconcileSuccess")
        await world.settle(seconds=60)
        assert condition(await package(world), "Healthy") == ("True", "HealthyPackageRevision")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"do": "bytes", "hex": "ff"}, "its answer is no RunFunctionResponse"),
        ({"do": "bytes", "hex": ""}, "its answer is empty: everything that is composed would be deleted"),
        ({"do": "abort", "code": "INVALID_ARGUMENT", "text": "what?"}, "code = InvalidArgument desc = what?"),
        ({"resources": {"alpha": {"apiVersion": "v1"}}}, "has no kind"),
        ({"resources": {"alpha": {**ALPHA, "metadata": {"labels": {"a": 1}}}}}, "not a string"),
        ({"resources": {"alpha": {**ALPHA, "metadata": "x"}}}, "metadata is no object"),
        ({"resources": {"alpha": {**ALPHA, "metadata": {"namespace": ["x"]}}}}, "metadata.namespace is an array"),
        (
            {"resources": {"alpha": {**ALPHA, "metadata": {"generateName": {}, "namespace": 3}}}},
            "metadata.namespace is",
        ),
        ({"resources": {"beta": {**ALPHA, "metadata": {"generateName": [1]}}}}, "metadata.generateName is an array"),
        ({"status": "text"}, "status"),
    ],
)
async def test_a_wrong_answer_is_told_and_nothing_that_is_there_goes(world, function, given, says):
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(makes()))
    before = await world.one(things.COMPOSED, "Alpha")
    await world.apply(pipeline(step(**given)))
    await world.settle(seconds=40)
    assert says in message(await composite(world))
    if "status" not in given:
        assert await world.one(things.COMPOSED, "Alpha") == before


async def test_whoever_is_held_back_is_told_nothing_for_a_while_and_comes_again(world, function, runner, monkeypatch):
    await world.apply(declared(function))
    real, held = runner.run, []

    async def run(*given):
        if len(held) < 3:
            held.append(given)
            raise Busy("not your turn", after=1.0)
        return await real(*given)

    monkeypatch.setattr(runner, "run", run)
    await things.running(world, composition=pipeline(makes()))
    assert condition(await composite(world), "Synced") == (None, None)
    await world.settle(seconds=10)
    assert condition(await composite(world), "Synced") == ("True", "ReconcileSuccess")
    assert not [event for event in world.told.events if "not your turn" in event[3]]


# --- where it is found ------------------------------------------------------------------------------------------


async def test_a_function_that_nobody_declared_is_told_how_to_be_had_and_used_as_soon_as_it_is(world, function):
    await things.running(world, composition=pipeline(makes()))
    xr = await composite(world)
    assert 'no function "acme" is built in' in message(xr)
    assert "groundplane.io/endpoint: HOST:PORT" in message(xr)
    await world.apply(declared())
    await world.settle()
    assert f'Function "acme" is package "{PACKAGE}", which is not built in' in message(await composite(world))
    assert condition(await package(world), "Healthy") == ("False", "UnhealthyPackageRevision")
    await world.apply(declared(function))
    await world.settle()
    assert condition(await composite(world), "Ready") == ("True", "Available")
    assert condition(await package(world), "Healthy") == ("True", "HealthyPackageRevision")


async def test_a_function_that_moves_is_called_where_it_is(world, function):
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(makes()))
    async with serving() as other:
        await world.apply(declared(other))
        await world.patch(things.CLAIM, {"spec": {"size": "large"}})
        await world.settle()
        assert other.asked
        assert condition(await composite(world), "Synced") == ("True", "ReconcileSuccess")


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("functions.example.org:443", "is no Service of this cluster"),
        ("localhost", "is no address of a function"),
        ("http://localhost:1", "is no address of a function"),
    ],
)
async def test_an_address_that_may_not_be_called_is_told_on_the_function_and_on_the_composite(world, address, says):
    function = declared()
    function["metadata"]["annotations"]["groundplane.io/endpoint"] = address
    await world.apply(function)
    await things.running(world, composition=pipeline(makes()))
    assert says in message(await composite(world))
    assert says in message(await package(world), "Healthy")
    assert condition(await package(world), "Installed") == ("False", "InactivePackageRevision")


async def test_where_crossplane_was_its_functions_are_called_at_their_revisions_with_its_certificates(world, tmp_path):
    authority = Authority(tmp_path / "ca")
    client = authority.sign("crossplane")
    async with serving(certificates=authority.sign("function", "localhost")) as function:
        await world.apply(declared())
        await things.running(world, composition=pipeline(makes()))
        assert "which is not built in" in message(await composite(world))
        revision = await world.cluster.create(
            {
                "apiVersion": API,
                "kind": "FunctionRevision",
                "metadata": {
                    "name": "acme-1234",
                    "labels": {"pkg.crossplane.io/package": "acme"},
                    "ownerReferences": [owner_reference(await package(world))],
                },
                "spec": {"image": PACKAGE, "revision": 1, "desiredState": "Active"},
            }
        )
        endpoint = {"endpoint": f"dns:///localhost:{function.port}"}
        await world.cluster.update({**revision, "status": endpoint}, subresource="status")
        await world.settle()
        assert "there is no Secret crossplane-system/crossplane-tls-client" in message(await composite(world))
        data = {name: base64.b64encode(value).decode() for name, value in data_of(client).items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "data": data}
        await world.apply(secret | {"metadata": {"name": "crossplane-tls-client", "namespace": "crossplane-system"}})
        await world.settle(seconds=40)
        assert condition(await composite(world), "Ready") == ("True", "Available")
        found = await package(world)
        assert condition(found, "Healthy") == ("True", "HealthyPackageRevision")
        assert found["status"]["currentRevision"] == "acme-1234"
        assert [each["metadata"]["name"] for each in await world.cluster.list(API, "FunctionRevision")] == ["acme-1234"]


async def test_annotations_of_crossplanes_render_count_on_a_laptop_only(function, runner):
    for develops in (True, False):
        options = Options(poll_interval=60.0, functions=Rules(develops=develops))
        world = await a_world(functions=runner, options=options)
        development = declared()
        development["metadata"]["annotations"] = {
            "render.crossplane.io/runtime": "Development",
            "render.crossplane.io/runtime-development-target": f"localhost:{function.port}",
        }
        await world.apply(development)
        await things.running(world, composition=pipeline(makes()))
        assert (condition(await composite(world), "Synced")[0] == "True") is develops


async def test_what_the_command_line_gives_goes_before_all_else_even_before_what_is_built_in(function, runner):
    given = {"function-auto-ready": f"localhost:{function.port}"}
    world = await a_world(functions=runner, options=Options(functions=Rules(given=given)))
    await things.running(world, composition=pipeline(things.READY_STEP))
    assert function.asked


async def test_with_strict_upstream_it_works_as_well(function, runner):
    world = await a_world(functions=runner, options=replace(Options(), strict_upstream=True))
    await world.apply(declared(function))
    await things.running(world, composition=pipeline(makes()))
    assert condition(await composite(world), "Ready") == ("True", "Available")
