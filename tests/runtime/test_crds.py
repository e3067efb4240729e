"""How the definitions come to a real API server: what is missing or old is applied, and of what is stored nothing is lost."""

from __future__ import annotations

import copy
import json

import pytest

from groundplane.cluster.client import Api
from groundplane.core import providers
from groundplane.core.crds.marks import MARK, marked
from groundplane.core.crds.upstream import OF_V2_ONLY
from groundplane.errors import Denied
from groundplane.runtime import crds
from groundplane.runtime.crds import Brought

GROUP = "brought.example.org"
OLD, NEW = "1.0.0", "1.1.0"


def thing(plural, versions=("v1",), stores="v1", fields=("size",)):
    """A definition with these fields in each version."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {name: {"type": "string"} for name in fields}}},
    }
    listed = [
        {"name": name, "served": True, "storage": name == stores, "schema": {"openAPIV3Schema": schema}}
        for name in versions
    ]
    names = {"kind": plural[:-1].capitalize(), "plural": plural, "singular": plural[:-1]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": listed},
    }


def written(file, definition):
    file.write_text(json.dumps(definition))  # which is YAML
    return file


class Bringer:
    """Brings definitions as a version of Groundplane would, and counts its requests."""

    def __init__(self, plane, folder, kubeconfig):
        self.plane, self.folder, self.requests = plane, folder, []
        self.api = Api.connect(str(kubeconfig), on_request=lambda verb, resource, *_: self.requests.append(verb))

    async def bring(self, version, *definitions, adopt=False):
        wanted = []
        for each in definitions:
            ours = marked(each, version)
            file = written(self.folder / f"{ours['metadata']['name']}.yaml", ours)
            wanted.append(Brought(ours["metadata"]["name"], ours["metadata"]["annotations"][MARK], file))
        there = await crds.listed(self.api)
        self.requests.clear()
        problems = await crds.bring(self.api, wanted, there.get, adopt=adopt)
        made, self.requests = list(self.requests), []
        for _ in range(600):
            there = await crds.listed(self.api)
            if problems.keys() >= set(crds.missing(wanted, there.get)):
                break
        await crds.migrate(self.api, wanted, there.get)
        return problems, made

    def live(self, definition):
        return self.plane.get("crd", definition["metadata"]["name"])


@pytest.fixture
async def bringer(control_plane, tmp_path):
    bringer = Bringer(control_plane, tmp_path, control_plane.kubeconfig)
    yield bringer
    await bringer.api.close()


async def test_what_is_missing_is_made_and_what_is_current_costs_one_request(bringer):
    definitions = thing("apples"), thing("pears")
    assert await bringer.bring(OLD, *definitions) == ({}, ["list", "apply", "apply"])
    assert await bringer.bring(NEW, *definitions) == ({}, ["list"])
    before = bringer.live(definitions[0])
    assert before["metadata"]["annotations"][MARK].startswith(f"{OLD}-")
    wider = thing("apples", fields=("size", "colour"))
    assert await bringer.bring(NEW, wider, definitions[1]) == ({}, ["list", "apply"])
    assert bringer.live(wider)["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_rollback_takes_no_field_from_what_is_stored(bringer, control_plane):
    await bringer.bring(OLD, thing("plums"))
    await bringer.bring(NEW, thing("plums", fields=("size", "colour")))
    plum = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Plum",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"size": "l", "colour": "blue"},
    }
    control_plane.apply(plum)
    problems, made = await bringer.bring(OLD, thing("plums"))
    assert (problems, made) == ({}, ["list"])
    control_plane.kubectl("label", "plums", "one", "touched=yes")
    assert control_plane.get("plums", "one")["spec"] == plum["spec"]


async def test_what_somebody_else_brought_is_used_as_it_is_until_it_is_to_be_adopted(bringer, control_plane):
    theirs = thing("figs")
    theirs["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": uid(control_plane)}
    ]
    control_plane.apply(theirs)
    ours = thing("figs", fields=("size", "colour"))
    assert await bringer.bring(NEW, ours) == ({}, ["list"])
    assert MARK not in bringer.live(ours)["metadata"].get("annotations", {})
    assert await bringer.bring(NEW, ours, adopt=True) == ({}, ["list", "apply"])
    live = bringer.live(ours)
    assert MARK in live["metadata"]["annotations"]
    assert live["metadata"]["ownerReferences"] == theirs["metadata"]["ownerReferences"]


def uid(plane):
    return plane.get("namespace", "default")["metadata"]["uid"]


async def test_a_foreign_one_without_a_version_of_ours_is_reported_with_its_mend(bringer, control_plane):
    control_plane.apply(thing("dates", versions=("v7",), stores="v7"))
    problems, _ = await bringer.bring(NEW, thing("dates"))
    assert problems == {
        f"dates.{GROUP}": f"dates.{GROUP} is somebody else's and serves v7, not v1."
        " Mend: update it, or let it be taken over with --crds adopt."
    }


async def test_one_that_the_api_server_refuses_keeps_no_other_from_being_applied(bringer):
    wrong = thing("nuts")
    wrong["spec"]["versions"][0]["storage"] = False
    problems, _ = await bringer.bring(OLD, wrong, thing("limes"))
    assert list(problems) == [f"nuts.{GROUP}"]
    assert bringer.live(thing("limes"))


async def test_after_a_change_of_the_stored_version_all_is_rewritten_and_the_old_version_can_go(bringer, control_plane):
    await bringer.bring(OLD, thing("grapes", versions=("v1", "v2")))
    grapes = [
        {"apiVersion": f"{GROUP}/v1", "kind": "Grape", "metadata": {"name": f"g{n}", "namespace": "default"}}
        for n in range(3)
    ]
    control_plane.apply(*grapes)
    control_plane.wait("it is served", lambda: control_plane.get("grapes") is not None)
    await bringer.bring(NEW, thing("grapes", versions=("v1", "v2"), stores="v2"))
    assert bringer.live(thing("grapes"))["status"]["storedVersions"] == ["v2"]
    problems, _ = await bringer.bring("2.0.0", thing("grapes", versions=("v2",), stores="v2"))
    assert problems == {}
    control_plane.wait("v2 alone is served", lambda: control_plane.get("grapes") is not None)
    assert len(control_plane.get("grapes")["items"]) == 3


async def test_two_that_bring_at_once_do_each_others_work_no_harm(bringer, control_plane, tmp_path):
    """As when the lead changes in the middle: the later version's is what stays."""
    wide, narrow = thing("melons", fields=("size", "colour")), thing("melons")
    there = await crds.listed(bringer.api)
    files = []
    for version, each in ((NEW, wide), (OLD, narrow)):
        ours = marked(each, version)
        file = written(tmp_path / f"{version}.yaml", ours)
        files.append(Brought(ours["metadata"]["name"], ours["metadata"]["annotations"][MARK], file))
    late = copy.copy(files[1])
    await crds.bring(bringer.api, files[:1], there.get)
    # The older one decided when nothing was there.
    await crds._bring(bringer.api, late, None, adopt=False)
    assert bringer.live(wide)["metadata"]["annotations"][MARK] == files[0].mark


async def test_without_the_right_it_says_which_rule_is_missing(control_plane, tmp_path):
    account = "crds-reader"
    control_plane.kubectl("create", "serviceaccount", account, "-n", "default")
    control_plane.kubectl(
        "create", "clusterrole", account, "--verb=get,list,watch", "--resource=customresourcedefinitions"
    )
    control_plane.kubectl(
        "create", "clusterrolebinding", account, f"--clusterrole={account}", f"--serviceaccount=default:{account}"
    )
    reader = Bringer(control_plane, tmp_path, control_plane.kubeconfig_of_account("default", account))
    try:
        with pytest.raises(Denied) as denied:
            await reader.bring(OLD, thing("kiwis"))
    finally:
        await reader.api.close()
    assert "can't bring the kinds to the cluster: " in str(denied.value)
    assert "Mend: grant apiGroups [apiextensions.k8s.io], resources [customresourcedefinitions]" in str(denied.value)
    assert "\n" not in str(denied.value)


def test_what_the_package_brings_is_what_the_repository_generates():
    everything = {each.name: each for each in crds.brought()}
    assert {
        "instances.rds.aws.upbound.io",
        "providerconfigs.aws.upbound.io",
        "compositions.apiextensions.crossplane.io",
    } <= set(everything)
    for each in everything.values():
        assert each.read()["metadata"] == {"name": each.name, "annotations": {MARK: each.mark}}
    strict = {each.name for each in crds.brought(strict_upstream=True)}
    assert everything.keys() - strict == set(OF_V2_ONLY)
    others = {each.name for each in crds.brought(strict_upstream=True) if each.mark != everything[each.name].mark}
    assert others == {
        name for name in strict if not providers.is_managed(name)
    }  # or each start would write a hundred anew
    some = {each.name for each in crds.brought(["*.rds.*"])}
    assert {name for name in everything if not providers.is_managed(name)} < some
    assert {name for name in some if providers.is_managed(name)} == {name for name in everything if ".rds.aws." in name}
