"""`groundplane diff`: what would change, for whom."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from groundplane.cli import diff_server, sources, store
from groundplane.core.objects import key_of
from groundplane.errors import Denied, NoSuchKind, Rejected
from groundplane.runtime.overlay import Change, comparable
from tests.cli.filled import DATABASE, claim, labelled, read, version
from tests.cli.platform import groundplane


@pytest.fixture
def diff(filled, tmp_path, monkeypatch):
    """Write objects to change.yaml, and ask what they would change in a store of three databases and an app."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(filled, tmp_path / "groundplane.db")

    def ask(*objects, flags=()):
        (tmp_path / "change.yaml").write_text(yaml.safe_dump_all(objects))
        before = version(tmp_path / "groundplane.db")
        ran = groundplane("diff", "change.yaml", "--db", "groundplane.db", *flags)
        assert version(tmp_path / "groundplane.db") == before
        return ran

    return ask


def composition(**changes):
    (found,) = read("composition.yaml")
    found = copy.deepcopy(found)
    found["spec"]["resources"][0]["base"]["spec"]["forProvider"] |= changes
    return found


def differing(ran):
    return [line for line in ran.stdout.splitlines() if line.startswith(("+ ", "- "))]


def test_what_is_there_already_changes_nothing(diff):
    for objects in (read("composition.yaml"), [claim("orders")], read("definition.yaml"), labelled()):
        ran = diff(*objects)
        assert "Affected" not in ran.stdout or "⚠" not in ran.stdout
        assert ran.stdout.splitlines()[-1] in ("No changes.", "Summary: no changes"), ran.output
        assert ran.exit_code == 0


def test_a_composition_s_change_is_told_once_for_all_that_it_reaches(diff):
    ran = diff(composition(storageType="gp2"), flags=("--compact",))
    assert ran.exit_code == 3
    assert "  ⚠ 3 XDatabase (-v lists)" in ran.stdout
    assert (
        "~~~ Instance  of 3 XDatabase, the same change in each\n-     storageType: gp3\n+     storageType: gp2"
        in ran.stdout
    )
    assert ran.stdout.endswith("Summary: 3 modified\n")
    every = diff(composition(storageType="gp2"), flags=("--compact", "-v"))
    assert every.stdout.count("~~~ Instance/") == 3
    one = diff(composition(storageType="gp2"), flags=("--resource", "my-team/users"))
    assert one.stdout.count("~~~ Instance/users-") == 1
    assert "orders" not in one.stdout.partition("Impact")[2]
    assert "  ⚠ XDatabase/users-" in one.stdout
    assert "  ⊘ 3 XDatabase — not asked for" in one.stdout  # nobody has said that they stay as they are
    nobody = diff(composition(storageType="gp2"), flags=("-n", "nowhere"))
    assert "✓" not in nobody.stdout


def test_a_claim_s_change_is_followed_to_what_is_composed(diff):
    ran = diff(claim("orders", size="large"), flags=("--compact",))
    assert ran.exit_code == 3
    assert "-     instanceClass: db.t4g.medium" in differing(ran)
    assert "+     instanceClass: db.r7g.large" in differing(ran)
    assert "users" not in ran.stdout
    new = diff(claim("fourth"))
    assert new.stdout.count("+++ ") == 4  # claim, composite, instance, and the composite's connection Secret
    assert "Summary: 4 added" in new.stdout
    assert diff(claim("fourth")).stdout == new.stdout  # names and UIDs are the same each time


def test_in_which_order_things_are_composed_is_no_change():
    one, other = ({"kind": "Instance", "name": name} for name in ("a", "b"))
    for place in (lambda refs: {"resourceRefs": refs}, lambda refs: {"crossplane": {"resourceRefs": refs}}):
        before, after = ({"metadata": {}, "spec": place(refs)} for refs in ([one, other], [other, one]))
        assert comparable(before) == comparable(after)


def test_what_no_template_makes_any_more_is_removed(diff):
    source = composition()
    source["spec"]["resources"][0]["name"] = "renamed"
    ran = diff(source)
    assert ran.stdout.count("--- Instance/") == 3
    assert ran.stdout.count("+++ Instance/") == 3
    assert "3 added" in ran.stdout.splitlines()[-1]
    assert "3 removed" in ran.stdout.splitlines()[-1]


def test_all_that_is_wrong_with_a_file_is_told_at_once(diff):
    wrong = claim("orders", engine="oracle", size="huge", versoin="15")
    ran = diff(wrong)
    lines = Path("change.yaml").read_text().splitlines()
    place = {
        word: number for number, text in enumerate(lines, 1) for word in ("oracle", "huge", "versoin") if word in text
    }
    assert (ran.exit_code, ran.stdout) == (2, "")
    told = ran.stderr.splitlines()
    assert len(told) == 3, told
    for word, text in (
        ("versoin", "spec.parameters.versoin: field not declared in schema. Mend: did you mean version?"),
        ("oracle", "spec.parameters.engine: Unsupported value"),
        ("huge", "spec.parameters.size: Unsupported value"),
    ):
        assert any(text in line and f"(change.yaml:{place[word]}:" in line for line in told), told


def test_all_that_is_wrong_with_definitions_and_compositions_is_told_once_where_it_is_written(diff):
    source, (xrd,) = composition(), read("definition.yaml")
    source["spec"]["resources"][0]["patches"][0]["transforms"] = [{"type": "map", "map": {}}]
    source["spec"]["resources"][0]["patches"][1]["type"] = "ToCompositeFieldPth"
    ran = diff(source)
    told = ran.stderr.splitlines()
    assert len(told) == 2, told
    assert all(re.search(r" \(change.yaml:\d+:\d+\)$", line) for line in told), told
    assert all(line.count("database-aws") == 1 for line in told), told
    xrd = copy.deepcopy(xrd)
    xrd["metadata"]["name"] = "other"
    xrd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"] = {"type": "strin"}
    told = diff(xrd).stderr.splitlines()
    assert len(told) == 2, told
    assert "ERROR: CompositeResourceDefinition/other: metadata.name " in told[0]
    assert 'Unsupported value: "strin"' in told[1]
    assert all(re.search(r" \(change.yaml:\d+:\d+\)$", line) for line in told), told


def test_a_field_that_is_taken_out_of_a_file_goes(diff):
    kept, without = claim("orders", size="large"), claim("orders")
    Path("claim.yaml").write_text(yaml.safe_dump(kept))
    assert groundplane("up", "claim.yaml", "--db", "groundplane.db", "--once", "--timeout", "0").exit_code in (0, 1)
    del without["spec"]["parameters"]["size"]
    ran = diff(without, flags=("--compact",))
    assert ran.exit_code == 3, ran.output
    assert "-     size: large" in differing(ran)


def test_a_misspelt_group_or_kind_is_told_with_what_is_meant(diff):
    for given, meant in (
        ({"kind": "Databas"}, "Database"),
        ({"apiVersion": "platfrm.example.com/v1alpha1"}, "Database of platform.example.com"),
    ):
        ran = diff(claim("orders") | given)
        assert ran.exit_code == 2
        assert f"Mend: did you mean {meant}? (change.yaml:" in ran.stderr


def test_a_file_that_would_be_refused_is_told_with_its_place(diff):
    ran = diff(claim("orders", engine="oracle"))
    assert ran.exit_code == 2
    assert ran.stdout == ""
    line, text = next(
        (number, text)
        for number, text in enumerate(Path("change.yaml").read_text().splitlines(), 1)
        if "oracle" in text
    )
    assert ran.stderr == (
        'ERROR: Database/orders: spec.parameters.engine: Unsupported value: "oracle": supported values: "postgres", "mysql"'
        f" (change.yaml:{line}:{text.index('oracle') + 1})\n"
    )


def test_whom_it_reaches_is_never_guessed_where_a_list_is_not_allowed(diff, monkeypatch):
    listed = sources.Stored.list

    async def refuse(self, api_version, kind, **which):
        if kind == "XDatabase":
            raise Denied("xdatabases.platform.example.com is forbidden")
        return await listed(self, api_version, kind, **which)

    monkeypatch.setattr(sources.Stored, "list", refuse)
    ran = diff(composition(storageType="gp2"))
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == (
        "Error: not allowed to list xdatabases.platform.example.com: can't tell whom this reaches."
        " Mend: grant list of xdatabases.platform.example.com.\n"
    )


def test_a_uid_that_nothing_has_is_told_with_what_to_do(diff):
    ran = diff(*read("examples/composite.yaml"))
    assert ran.exit_code == 2
    assert "not found, and so none with uid 6e1b0f4c-" in ran.stderr
    assert "Mend: leave metadata.uid out: the one that is made gets its own. (change.yaml:1:1)" in ran.stderr


def test_a_change_of_several_files_is_one(diff):
    """A field that only the new definition has, used by the new Composition, asked for by the new claim."""
    (xrd,) = copy.deepcopy(read("definition.yaml"))
    properties = xrd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["parameters"]["properties"]["storage"] = {"type": "string", "default": "gp3"}
    source = composition()
    patch = {"type": "FromCompositeFieldPath", "fromFieldPath": "spec.parameters.storage"}
    source["spec"]["resources"][0]["patches"].append(patch | {"toFieldPath": "spec.forProvider.storageType"})
    ran = diff(claim("users", storage="io2"), source, xrd, flags=("--compact",))
    assert ran.exit_code == 3, ran.output
    assert "+     storageType: io2" in differing(ran)
    assert "+     storage: gp3" in differing(ran)  # the default, for those that ask for nothing


def test_composites_that_stay_on_their_revision_are_left_out_and_told(diff):
    ran = diff(composition(storageType="gp2"))
    assert "⊘ XDatabase/pinned-" in ran.stdout
    assert "filtered: Manual update policy (use --include-manual to evaluate)" in ran.stdout
    ran = diff(composition(storageType="gp2"), flags=("--include-manual",))
    assert "~~~ Instance  of 4 XDatabase" in ran.stdout
    assert "⊘" not in ran.stdout


def test_fields_may_be_left_out_of_account(diff):
    flags = ("--ignore-paths", "spec.forProvider.storageType")
    ran = diff(composition(storageType="gp2"), flags=flags)
    assert "Summary: no changes" in ran.stdout
    assert "--ignore-paths" not in ran.stderr


def test_a_field_to_leave_out_that_nothing_has_is_told_and_no_path_is_wrong_usage(diff):
    ran = diff(composition(storageType="gp2"), flags=("--ignore-paths", "spec.forProvider.storageTyp"))
    assert ran.exit_code == 3
    assert ran.stderr == "--ignore-paths spec.forProvider.storageTyp: nothing that would change has such a field\n"
    ran = diff(composition(), flags=("--ignore-paths", "spec[forProvider"))
    assert ran.exit_code == 80
    assert "--ignore-paths spec[forProvider: " in ran.stderr


def test_kinds_of_kubernetes_and_composites_in_namespaces(diff):
    _, source, app = labelled()
    ran = diff(app | {"spec": {"word": "goodbye"}}, flags=("--compact",))
    assert ran.exit_code == 3, ran.output
    assert "+   word: goodbye" in differing(ran)
    assert "~~~ ConfigMap/web-" in ran.stdout
    source["spec"]["pipeline"][0]["input"]["resources"][0]["base"]["data"]["kept"] = "no"
    ran = diff(source)
    assert "~~~ ConfigMap/web-" in ran.stdout
    assert "⚠ App/web (namespace: my-team)" in ran.stdout


def test_json_has_every_change_and_the_groups(diff):
    ran = diff(composition(storageType="gp2"), flags=("-o", "json"))
    found = json.loads(ran.stdout)
    assert found["summary"] == {"added": 0, "modified": 3, "removed": 0}
    assert [each["kind"] for each in found["changes"]] == ["Composition", "Instance", "Instance", "Instance"]
    assert found["changes"][1]["diff"]["new"]["spec"]["forProvider"]["storageType"] == "gp2"
    assert [group["count"] for group in found["groups"]] == [3]
    assert "password" not in {name for each in found["changes"] if each["kind"] == "Secret" for name in each}


def test_what_can_t_be_read_is_an_error(diff, tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    assert groundplane("diff", "empty.yaml", "--db", "groundplane.db").exit_code == 1
    (tmp_path / "wrong.yaml").write_text("kind: [")
    assert "wrong.yaml:2" in groundplane("diff", "wrong.yaml", "--db", "groundplane.db").stderr
    assert groundplane("diff").exit_code == 80
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(claim("orders")))
    assert "there is no store at nowhere.db" in groundplane("diff", "one.yaml", "--db", "nowhere.db").stderr
    ran = diff(composition(), flags=("--resource", "nobody"))
    assert ran.exit_code == 1
    assert "there is no nobody" in ran.stderr


@pytest.mark.parametrize("group", ["test.crossplane.io", "meta.dev.upbound.io"])
def test_tests_beside_what_they_test_are_no_change(diff, group):
    test = {"apiVersion": f"{group}/v1alpha1", "kind": "CompositionTest", "metadata": {"name": "a"}, "spec": {}}
    ran = diff(*read("composition.yaml"), test)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert "CompositionTest" not in ran.stdout
    assert "there is no object in change.yaml" in diff(test).stderr


def test_a_platform_s_folder_that_is_applied_changes_nothing(diff, tmp_path):
    """Its own tests and examples below it are not read, and what counts users or revisions is no change."""
    folder = tmp_path / "platform"
    shutil.copytree(DATABASE, folder)
    ran = groundplane("diff", str(folder), "--db", "groundplane.db")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.endswith("Summary: no changes\n")


def test_what_kubectl_remembers_of_a_secret_is_not_shown(diff):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "s",
            "namespace": "my-team",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"},
        },
        "stringData": {"password": "hunter2"},
    }
    ran = diff(secret)
    assert ran.exit_code == 3
    assert "hunter2" not in ran.output


def test_flags_that_only_crossplane_diff_needs_are_accepted(tmp_path):
    needless = ["--max-nested-depth", "5", "--max-iterations", "9", "--timeout", "1m", "--crossplane-version", "v2.0.2"]
    ran = groundplane("diff", "xr", tmp_path / "nowhere.yaml", *needless, "--db", tmp_path / "x.db")
    assert ran.exit_code == 1  # not 80, wrong usage
    assert f'there is no file or folder "{tmp_path / "nowhere.yaml"}"' in ran.stderr


def test_of_a_changed_composition_a_line_is_enough_if_only_what_comes_of_it_matters(diff):
    ran = diff(composition(storageType="gp2"), flags=("--compact", "--minimize-composition"))
    lines = ran.stdout.splitlines()
    assert lines[lines.index("=== Composition Changes ===") + 2 :][:2] == ["~~~ Composition/database-aws  …", ""]
    assert differing(ran) == ["-     storageType: gp3", "+     storageType: gp2"]


def pipeline(*steps):
    """The app's Composition with two resources, the second of which waits for the first."""
    _, source, app = copy.deepcopy(labelled())
    base = {"apiVersion": "nop.crossplane.io/v1alpha1", "kind": "NopResource", "spec": {"forProvider": {}}}
    pt = source["spec"]["pipeline"][0]
    pt["input"]["resources"] = [{"name": name, "base": base} for name in ("first", "second")]
    sequencer = {
        "step": "in turn",
        "functionRef": {"name": "function-sequencer"},
        "input": {
            "apiVersion": "sequencer.fn.crossplane.io/v1beta1",
            "kind": "Input",
            "rules": [{"sequence": ["first", "second"]}],
        },
    }
    source["spec"]["pipeline"] = [pt, sequencer, *steps]
    return source, app


def test_what_waits_for_what_is_composed_to_be_ready_is_told_if_asked_for(diff):
    source, app = pipeline()
    assert diff(source, app).stdout.count("+++ NopResource/") == 1
    ran = diff(source, app, flags=("--eventual-state",))
    assert ran.stdout.count("+++ NopResource/") == 2, ran.output
    assert "conditions" not in ran.stdout


def test_what_steps_are_handed_is_read_or_given(diff, tmp_path):
    where = {"namespace": "my-team", "name": "of-a-step"}
    handed = {"name": "login", "source": "Secret", "secretRef": where}
    objects = pipeline({"step": "ready", "functionRef": {"name": "function-auto-ready"}, "credentials": [handed]})
    assert "there is no Secret my-team/of-a-step" in diff(*objects).stderr
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": where, "data": {"word": "c2VjcmV0"}}
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))
    ran = diff(*objects, flags=("--function-credentials", "secret.yaml"))
    assert (ran.exit_code, ran.stderr) == (3, "")
    assert "c2VjcmV0" not in ran.stdout
    with store.opened("groundplane.db") as cluster:
        asyncio.run(cluster.apply(secret, manager="person"))
    assert diff(*objects).exit_code == 3


class Says:
    """`sources.Server` that answers what a test wants."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    async def get(self, key):
        return {"metadata": {"name": key.name, "uid": "1", "resourceVersion": "7"}}

    async def tried(self, obj, *, is_new):
        self.asked.append((obj, is_new))
        return self.answer(obj)


def change(old=None, new=None):
    given = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b", "uid": "1"}}
    both = [{**given, "data": each} if each is not None else None for each in (old, new)]
    return Change("added" if old is None else "modified", key_of(given), *both)


def of_server(answer, *changes):
    server = Says(answer)
    return server, asyncio.run(diff_server.tried(server, changes))


def test_a_server_says_what_it_would_store():
    server, (added, modified, removed) = of_server(
        lambda obj: {**obj, "data": {**obj["data"], "by": "webhook"}},
        change(new={}),
        change(old={"c": "1"}, new={"c": "2"}),
        Change("removed", change(new={}).key, {}, None),
    )
    assert added.change.new["data"] == {"by": "webhook"}
    assert modified.change.new["data"] == {"c": "2", "by": "webhook"}
    assert removed.change.new is None
    (first, is_new), (second, _) = server.asked
    assert is_new
    assert "uid" not in first["metadata"]
    assert second["metadata"]["resourceVersion"] == "7", "an edit of what is there"


@pytest.mark.parametrize(
    ("error", "of_new", "of_old"),
    [
        (Rejected("no"), ("ConfigMap/a: no", True, False), ("ConfigMap/a: no", True, False)),
        (Denied("may not"), ("", False, True), ("ConfigMap/a: may not", False, False)),
        (NoSuchKind("not served"), ("", False, True), ("", False, True)),
    ],
)
def test_what_a_server_can_t_try_is_told_as_it_was_worked_out_here(error, of_new, of_old):
    def refuse(obj):
        raise error

    _, found = of_server(refuse, change(new={}), change(old={}, new={"c": "2"}))
    assert [(each.error, each.is_refused, each.change.local) for each in found] == [of_new, of_old]


def test_a_store_has_no_server_to_be_asked(diff):
    ran = diff(claim("orders"), flags=("--server",))
    assert ran.exit_code == 1
    assert "--server asks an API server, and a store has none. Mend: leave it out." in ran.stderr
