"""kopf as a source of events, on a real API server that does its worst: nothing is lost, nothing is made up."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, suppress

import pytest

from groundplane.cluster.client import Api
from groundplane.core.objects import Key
from groundplane.errors import TooDeep
from groundplane.runtime import kopf_supervisor
from groundplane.runtime.kopf_supervisor import KopfSupervisor
from groundplane.runtime.served import ApiKind
from tests.runtime.watching import CRDS, Kind, Rig, at_rest, eventually


@asynccontextmanager
async def block():
    """As kopf has one around each watch."""
    waits = asyncio.get_running_loop().create_future()
    try:
        yield
    finally:
        with suppress(asyncio.CancelledError):
            waits.cancel()
            await waits


async def test_watches_that_kopf_leaves_behind_are_closed_without_a_traceback(caplog):
    async def stream():
        async with block():
            while True:
                yield

    async def begun(left):
        await anext(left)  # within the loop, which so comes to know of it

    def live():
        loop = asyncio.new_event_loop()
        left = stream()
        loop.run_until_complete(begun(left))
        kopf_supervisor.close(loop)
        return loop.is_closed()

    assert await asyncio.to_thread(live)
    assert [record for record in caplog.records if record.exc_info] == []


async def test_what_people_write_is_seen_and_so_is_its_end(control_plane):
    kind = Kind("plain.test")
    async with Rig(control_plane) as rig:
        await rig.bring(kind)
        await rig.person.apply(kind.path, kind.thing("a", spec={"size": 1}))
        await rig.sees(kind.key("a"), spec={"size": 1})
        await rig.person.apply(kind.path, kind.thing("a", spec={"size": 2}))
        await rig.sees(kind.key("a"), spec={"size": 2})
        await rig.person.delete(f"{kind.path}/a")
        await rig.misses(kind.key("a"))
        told = [(old and old["spec"], new and new["spec"]) for key, old, new, _ in rig.told if key == kind.key("a")]
        assert told == [(None, {"size": 1}), ({"size": 1}, {"size": 2}), ({"size": 2}, None)]
        await rig.remove(kind)


async def test_what_was_there_before_is_told_as_found_and_what_changes_then_as_changed(control_plane, monkeypatch):
    """And without pointing kopf at it: a restart of the operator writes nothing."""
    kind = Kind("before.test")
    async with Rig(control_plane) as rig:
        await rig.bring(kind)
        await rig.person.apply(kind.path, kind.thing("old"))
        await rig.sees(kind.key("old"))
    monkeypatch.setattr("groundplane.runtime.kopf_supervisor.FIRST_TOUCH", 3600.0)
    async with Rig(control_plane) as rig:
        await rig.follow(kind)
        await rig.sees(kind.key("old"))
        await rig.person.apply(kind.path, kind.thing("new"))
        await rig.sees(kind.key("new"))
        found = {key.name: idle for key, _, _, idle in rig.told if key[:2] == (kind.api_version, kind.kind)}
        assert found == {"old": True, "new": False}
        await rig.remove(kind)


async def test_a_user_without_a_name_as_in_an_image_of_ones_own_follows_as_any_other(control_plane, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # KeyError, as for a uid that /etc/passwd does not know
    kind = Kind("nameless.test")
    async with Rig(control_plane) as rig:
        await rig.bring(kind)
        await rig.person.apply(kind.path, kind.thing("a"))
        await rig.sees(kind.key("a"))
        await rig.remove(kind)


async def test_at_rest_there_are_no_requests_but_watches(control_plane):
    kind = Kind("rest.test")
    async with Rig(control_plane) as rig:
        await rig.bring(kind)
        await rig.person.apply(kind.path, kind.thing("a"))
        await rig.sees(kind.key("a"))
        await at_rest(lambda: (len(rig.requests), len(rig.asked)))
        ours, kopfs = len(rig.requests), len(rig.asked)
        await asyncio.sleep(2)
        assert [verb for verb, _ in rig.requests[ours:] if verb != "watch"] == []
        assert [path for _, path, is_watch in rig.asked[kopfs:] if not is_watch] == []
        await rig.remove(kind)


async def test_kopf_begins_with_the_first_kind_for_in_a_cluster_without_any_it_dies(control_plane):
    """There the list of CustomResourceDefinitions has `items: null`."""
    api, kind, served = Api.connect(str(control_plane.kubeconfig)), ApiKind("apps", "v1", "deployments"), []
    supervisor = KopfSupervisor(api, lambda *_: None, served=served.__contains__, touch=lambda _: asyncio.sleep(0))
    supervisor.want([kind])
    supervisor.start()
    with pytest.raises(AssertionError):
        await eventually("it follows what is not there", lambda: supervisor.is_streaming(kind), seconds=1)
    served.append(kind)
    await eventually("it follows what has come", lambda: supervisor.is_streaming(kind))
    await supervisor.stop()
    await api.close()


@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.soak)])
async def test_many_kinds_come_go_and_come_again_at_once(control_plane, count):
    kinds = [Kind(f"group{number}.test") for number in range(count)]
    async with Rig(control_plane) as rig:
        await rig.bring(*kinds)
        await asyncio.gather(*(rig.person.apply(kind.path, kind.thing("a")) for kind in kinds))
        for kind in kinds:
            await rig.sees(kind.key("a"))

        await rig.person.uninstall(*kinds)
        for kind in kinds:
            await rig.misses(kind.key("a"))
        assert {kind.key("a") for kind in kinds} <= set(rig.gone())

        await rig.person.install(*(kind.crd() for kind in kinds))
        await asyncio.gather(*(rig.person.apply(kind.path, kind.thing("b")) for kind in kinds))
        for kind in kinds:
            await rig.sees(kind.key("b"))
        assert rig.supervisor.deaths == 0
        await rig.remove(*kinds)


async def test_a_version_that_is_added_takes_nothing_from_the_other_kinds_of_its_group(control_plane):
    one, other = Kind("versions.test", "ones", ["v1alpha1"]), Kind("versions.test", "others", ["v1alpha1"])
    async with Rig(control_plane) as rig:
        await rig.bring(one, other)
        await rig.person.apply(one.path, one.thing("a"))
        await rig.sees(one.key("a"))

        later = one.at("v1alpha1", "v1")
        await rig.bring(later)
        await rig.sees(later.key("a"))
        await rig.person.apply(later.path, later.thing("b"))
        await rig.sees(later.key("b"))
        await rig.person.apply(other.path, other.thing("c"))
        await rig.sees(other.key("c"))
        assert (one.api_version, one.kind) not in rig.cache.count()  # one object is kept once
        await rig.remove(later, other)


async def test_a_kind_that_is_forbidden_costs_the_others_nothing_and_is_seen_once_allowed(control_plane):
    allowed, forbidden = Kind("allowed.test"), Kind("forbidden.test")
    groups = ["apiextensions.k8s.io", "apiextensions.crossplane.io", "pkg.crossplane.io", "aws.upbound.io"]

    def grant(name, *groups):
        rules = [{"apiGroups": list(groups), "resources": ["*"], "verbs": ["get", "list", "watch", "patch"]}]
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        binding = role | {"kind": "ClusterRoleBinding", "subjects": [subject], "roleRef": reference}
        return asyncio.to_thread(control_plane.apply, role | {"rules": rules}, binding)

    await grant("test-seeing", *groups, "allowed.test")
    async with Rig(control_plane, user="nobody") as rig:
        await rig.bring(allowed)
        bringing = asyncio.create_task(rig.bring(forbidden))
        await rig.person.wait_for_crd(forbidden.name)
        await rig.person.apply(forbidden.path, forbidden.thing("a"))
        await eventually("kopf is refused", lambda: forbidden.path in {path for _, path, _ in rig.asked})
        for number in range(5):
            await rig.person.apply(allowed.path, allowed.thing("a", spec={"number": number}))
            await rig.sees(allowed.key("a"), seconds=5, spec={"number": number})
        assert rig.cache.get(forbidden.key("a")) is None

        await grant("test-seeing-more", "forbidden.test")
        await rig.sees(forbidden.key("a"))
        await rig.person.apply(forbidden.path, forbidden.thing("b"))
        await rig.sees(forbidden.key("b"))
        await bringing
        assert rig.supervisor.deaths == 0
        await rig.remove(allowed, forbidden)
    for name in ("test-seeing", "test-seeing-more"):
        await asyncio.to_thread(control_plane.kubectl, "delete", "clusterrole,clusterrolebinding", name)


async def test_an_api_server_that_crashes_and_returns_leaves_no_gap(control_plane):
    kind = Kind("crash.test")
    async with Rig(control_plane) as rig:
        await rig.bring(kind)
        for name in ("stays", "changes", "goes"):
            await rig.person.apply(kind.path, kind.thing(name))
            await rig.sees(kind.key(name))
        await asyncio.to_thread(control_plane.restart_api_server)
        await rig.person.apply(kind.path, kind.thing("changes", spec={"size": 2}))
        await rig.person.apply(kind.path, kind.thing("comes"))
        await rig.person.delete(f"{kind.path}/goes")
        await rig.sees(kind.key("changes"), spec={"size": 2})
        await rig.sees(kind.key("comes"))
        await rig.misses(kind.key("goes"))
        await rig.sees(kind.key("stays"))
        assert (rig.supervisor.deaths, rig.supervisor.problem()) == (0, "")
        await rig.remove(kind)


async def test_a_kopf_that_dies_is_started_again_and_what_it_slept_through_is_made_good(control_plane):
    kind = Kind("death.test")
    async with Rig(control_plane) as rig:
        await rig.bring(kind)
        for name in ("changes", "goes"):
            await rig.person.apply(kind.path, kind.thing(name))
            await rig.sees(kind.key(name))

        def die(request):
            raise RuntimeError("injected")

        rig.fault = die
        rig.supervisor.restart()  # whatever it asks for now, it dies
        await eventually("it has died a few times", lambda: rig.supervisor.deaths > 2)
        await rig.person.apply(kind.path, kind.thing("changes", spec={"size": 2}))
        await rig.person.apply(kind.path, kind.thing("comes"))
        await rig.person.delete(f"{kind.path}/goes")
        rig.fault = None

        await rig.sees(kind.key("comes"))
        await rig.sees(kind.key("changes"), spec={"size": 2})
        await rig.misses(kind.key("goes"))
        assert kind.key("goes") in rig.gone()
        await rig.remove(kind)


async def test_an_object_that_is_nested_too_deep_to_be_read_stops_nobody(control_plane):
    """One claim with a thousand levels, of a kind that leaves fields open, ended kopf as often as it was started."""
    kind = Kind("deep.test")
    async with Rig(control_plane) as rig:
        await rig.bring(kind)
        manifest = json.dumps(kind.thing("deep"))[:-1] + ', "spec": ' + '{"a":' * 1200 + "1" + "}" * 1201
        await asyncio.to_thread(control_plane.kubectl, "create", "--validate=false", "-f", "-", input=manifest)
        await rig.sees(kind.key("deep"))
        with pytest.raises(TooDeep):
            await rig.cluster.get(kind.key("deep"))
        await rig.person.apply(kind.path, kind.thing("flat"))
        await rig.sees(kind.key("flat"))
        assert rig.supervisor.deaths == 0
    async with Rig(control_plane) as rig:  # and it is in a list now
        await rig.follow(kind)
        await rig.sees(kind.key("deep"))
        await rig.person.delete(f"{kind.path}/deep")
        await rig.misses(kind.key("deep"))
        assert rig.supervisor.deaths == 0
        await rig.remove(kind)


async def test_a_kind_that_kopf_overlooks_is_pointed_out_to_it(control_plane):
    kind = Kind("overlooked.test")
    async with Rig(control_plane) as rig:
        await rig.person.install(kind.crd())
        await eventually("it is known to be there", lambda: rig.cache.get(Key(*CRD, "", kind.name)))

        def looks():
            return len([path for _, path, _ in rig.asked if f"/{kind.group}/" in path])

        await eventually("kopf has looked", looks)
        await at_rest(looks)  # each change of the definition's status is a reason to look once more
        await rig.follow(kind)
        await eventually("kopf follows it", lambda: ("GET", kind.path, True) in rig.asked)
        await rig.person.apply(kind.path, kind.thing("a"))
        await rig.sees(kind.key("a"))
        assert rig.supervisor.touches > 0
        await rig.remove(kind)


async def test_stopping_is_final(control_plane):
    async with Rig(control_plane) as rig:
        await rig.supervisor.stop()
        assert not any(thread.name == "kopf" for thread in threading.enumerate())
        asked = len(rig.asked)
        await asyncio.sleep(0.5)
        assert len(rig.asked) == asked


def test_what_an_operator_seldom_needs_is_not_imported_with_it():
    """kopf brings the kubernetes package if it can: 20 MiB.  cryptography is for templates that make certificates, and for webhooks: 8.

    re2 is for regular expressions: 2.  A provider of which nobody has anything is not there, nor what was read of its kinds: botocore and
    the kind files are 11.
    """
    seldom = {"kubernetes", "cryptography", "sqlite3", "boto3", "botocore", "asyncpg", "grpc", "moto", "re2"}
    code = (
        "import sys, groundplane.runtime.operator; from groundplane.runtime import clouds; every = clouds.kinds();"
        "assert all(clouds.lookup(each.api_versions[0], each.kind) is each for each in every);"
        "from groundplane.aws import catalogue; assert not catalogue.load.cache_info().currsize;"
        f"print({seldom} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"


async def test_kopf_reads_no_more_of_what_kinds_there_are_than_metadata(control_plane):
    """A definition may have some hundred KiB; kopf wants to know its group."""
    kind, accepted = Kind("metadata.test"), set()
    async with Rig(control_plane) as rig:
        rig.answered = lambda request: accepted.add(
            (
                request.url.path == CRDS,
                "as=PartialObjectMetadata" in request.headers["Accept"],
                "watch" in request.url.query,
            )
        )
        rig.supervisor.restart()
        await eventually("kopf begins anew", lambda: rig.supervisor.restarts)
        await rig.bring(kind)  # which it notices by the definition's event
        await rig.person.apply(kind.path, kind.thing("a"))
        await rig.sees(kind.key("a"))
        await eventually("it has listed and watched", lambda: len({each[2] for each in accepted if each[0]}) == 2)
        assert {are_definitions == is_partial for are_definitions, is_partial, _ in accepted} == {True}, accepted
        assert rig.supervisor.deaths == 0
        await rig.remove(kind)


CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
