"""Mistakes of who begins: each command says what is wrong, where, and what to write instead; none passes over it."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner

from groundplane.cli.main import main
from tests.cli import platform
from tests.cli.platform import groundplane

TEST = """
apiVersion: test.crossplane.io/v1alpha1
kind: CompositionTest
metadata: {name: notes}
spec:
  tests:
  - name: made
    inputs: {xrd: {path: definition.yaml}, composition: {path: composition.yaml}, claim: {path: claim.yaml}}
    assertions: [{count: 1}]
"""
COMMANDS = {
    "validate": ("validate", "."),
    "render": ("render", "claim.yaml", "composition.yaml", "--xrd", "definition.yaml"),
    "diff": ("diff", ".", "--db", "groundplane.db"),
    "plan": ("plan", ".", "--refresh=false", "--db", "groundplane.db"),
    "test": ("test", "tests/test.yaml"),
}
CLAIM = "claim.yaml"


@pytest.fixture
def folder(filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(filled, "groundplane.db")
    platform.write(tmp_path / "tests", test=TEST.replace("path: ", "path: ../"))
    return platform.write(
        tmp_path, definition=platform.DEFINITION, composition=platform.COMPOSITION, claim=platform.CLAIM
    )


def edited(file, old, new):
    with open(file, encoding="utf-8") as opened:
        text = opened.read()
    assert old in text
    with open(file, "w", encoding="utf-8") as opened:
        opened.write(text.replace(old, new, 1))


def told(*but):
    """What each command says, but for these."""
    return {name: groundplane(*words) for name, words in COMMANDS.items() if name not in but}


MISTAKES = {
    "a line --- that is missing": (
        CLAIM,
        "spec: {text",
        "apiVersion: v1\nspec: {text",
        ("claim.yaml:5", '"apiVersion" is given twice', "part two objects by a line ---"),
    ),
    "a field twice": (
        CLAIM,
        "{text: hello",
        "{text: a, text: hello",
        ("claim.yaml:5", '"text" is given twice', "take out one of the two"),
    ),
    "another tool's tag": (CLAIM, "hello", "!vault hello", ("claim.yaml:5", "'!vault'", "take out what begins with !")),
    "a number without an end": (
        CLAIM,
        "length: 5",
        "length: .inf",
        ("claim.yaml:5", "no number that JSON can hold", "is put in quotes"),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_yaml_does_not_take_is_told_with_its_line_and_its_own_mend(folder, mistake):
    file, old, new, words = MISTAKES[mistake]
    edited(file, old, new)
    for name, ran in told().items():
        assert ran.exit_code == 1, (name, ran.output)
        assert all(word in ran.output for word in words), (name, ran.output)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            platform.CLAIM.replace("metadata: {name: first, namespace: team, labels: {tier: gold}}", "metadata: first"),
            "metadata is no mapping",
        ),
        (platform.CLAIM.replace("kind: Note\n", ""), "kind missing"),
        (platform.CLAIM.replace("apiVersion:", "apiversion:"), "apiVersion missing"),
        (
            "- " + platform.CLAIM.strip().replace("\n", "\n  "),
            "no Kubernetes object. Mend: write them one below the other",
        ),
    ],
    ids=["no metadata", "no kind", "no apiVersion", "a list"],
)
def test_what_was_meant_as_an_object_is_not_passed_over_in_a_folder(folder, text, problem):
    (folder / CLAIM).write_text(text)
    for name in ("validate", "diff", "plan"):
        ran = groundplane(*COMMANDS[name])
        assert ran.exit_code == 1, (name, ran.output)
        assert problem in ran.output
        assert "claim.yaml:" in ran.output


def test_other_tools_files_in_a_folder_are_passed_over(folder):
    platform.write(
        folder, Chart="{apiVersion: v2, name: chart, version: 1.0.0}", values="{size: 1, kind: x}", names="[a, b]"
    )
    assert groundplane("validate", ".").exit_code == 0


@pytest.mark.parametrize("metadata", ["{namespace: team}", "", "{name: '', namespace: team}"])
def test_an_object_without_a_name_is_told(folder, metadata):
    edited(CLAIM, "{name: first, namespace: team, labels: {tier: gold}}", metadata)
    for name, ran in told().items():
        assert ran.exit_code in (1, 2), (name, ran.output)
        assert "metadata.name" in ran.output, name
        assert "Note/None" not in ran.output


def test_what_a_composition_makes_and_the_api_server_names_needs_no_name(folder):
    edited(CLAIM, "{name: first, namespace: team, labels: {tier: gold}}", "{generateName: first-, namespace: team}")
    assert groundplane("validate", ".", "--no-render").exit_code == 0
    composed = "{annotations: {crossplane.io/composition-resource-name: note}, namespace: team}"
    edited(CLAIM, "{generateName: first-, namespace: team}", composed)
    assert groundplane("validate", ".", "--no-render").exit_code == 0


@pytest.mark.parametrize(
    ("file", "kind", "group"),
    [
        ("composition.yaml", "Composition", "apiextension.crossplane.io"),
        ("definition.yaml", "CompositeResourceDefinition", "apiextensions.k8s.io"),
    ],
)
def test_a_group_that_is_nearly_crossplanes_is_told_with_the_right_one(folder, file, kind, group):
    edited(file, "apiextensions.crossplane.io", group)
    for name in ("render", "test"):
        ran = groundplane(*COMMANDS[name])
        assert ran.exit_code == 1, ran.output
        assert f"is of {group}/v1. Mend: write apiVersion: apiextensions.crossplane.io/v1." in ran.output
    for name in ("diff", "plan"):
        ran = groundplane(*COMMANDS[name])
        assert f"Mend: did you mean {kind} of apiextensions.crossplane.io? ({file}:" in ran.stderr, ran.output
    ran = groundplane("validate", ".")
    assert f"{group}/v1, Kind={kind} (did you mean {kind} of apiextensions.crossplane.io/v" in ran.output


def test_what_a_schema_refuses_is_told_with_its_line_by_all_that_read_the_file(folder):
    edited(CLAIM, "text: hello, length: 5", "text: no, length: 5")
    for name, ran in told("test").items():
        assert ran.exit_code in (1, 2), name
        assert "spec.text: Invalid value" in ran.output, (name, ran.output)
        assert "claim.yaml:5:" in ran.output, (name, ran.output)
    with open(CLAIM, encoding="utf-8") as file:
        ran = CliRunner().invoke(
            main, ["render", "-", "composition.yaml", "--xrd", "definition.yaml"], input=file.read()
        )
    assert (ran.exit_code, "spec.text: Invalid value" in ran.stderr, "claim.yaml" in ran.stderr) == (1, True, False)


def test_a_list_where_an_object_is_wanted_is_told_once_and_as_that(folder):
    edited(CLAIM, "spec: {text: hello, length: 5}", "spec:\n- text: hello\n- {lenth: 5}")
    for name, ran in told().items():
        assert ran.exit_code in (1, 2), name
        assert 'spec: Invalid value: "array": spec in body must be of type object' in ran.output, (name, ran.output)
        assert "spec[0]" not in ran.output, name


def test_a_version_that_the_definition_does_not_have_is_told(folder):
    edited(CLAIM, "tests.example.com/v1", "tests.example.com/v2")
    mend = {
        "validate": "did you mean Note of tests.example.com/v1?",
        "render": "write apiVersion: tests.example.com/v1",
    }
    mend |= {"test": mend["render"], "diff": "it is served as tests.example.com/v1"}
    for name, ran in told("plan").items():
        assert mend[name] in ran.output, (name, ran.output)
        assert ran.exit_code == {"validate": 0, "diff": 2}.get(name, 1)
