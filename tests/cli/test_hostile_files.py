"""Files that nobody means well with, or that a machine has made wrong: told in a line, with their place, by every command that reads manifests."""

from __future__ import annotations

import os
import shutil

import pytest

from groundplane.cli import manifests
from groundplane.errors import InvalidInput
from tests.cli import platform
from tests.cli.platform import groundplane

HEAD = "apiVersion: tests.example.com/v1\nkind: XNote\nmetadata: {name: first}\nspec:\n  text: "
VALUES = {
    "a mapping in itself": "&x {a: *x}",
    "a list in itself": "&x [*x]",
    "deep lists": "[" * 250 + "]" * 250,
    "deep mappings": "{a: " * 900 + "1" + "}" * 900,
    "deeper than YAML's reader goes": "[" * 5000,
    "deep by aliases": "[&a0 [1], " + ", ".join(f"&a{at + 1} [*a{at}]" for at in range(250)) + "]",
    "a number of five thousand digits": "9" * 5000,
    "a fraction beyond all": "1.0e+999",
    "no number": ".nan",
    "what is said to be a number": "!!int hello",
    "what is said to be a fraction": "!!float hello",
    "what is said to be a boolean": "!!bool hello",
    "a day that is none": "!!timestamp 2020-99-99",
    "bytes": "!!binary aGVsbG8=",
    "a set": "!!set {a, b}",
    "pairs": "!!omap [a: 1]",
    "a list as a name": "{? [a] : b}",
    "a program": "!!python/object/apply:os.getcwd []",
}
COMMANDS = {
    "validate": ("{}",),
    "migrate check": ("{}",),
    "migrate v2 -o made": ("{}",),
    "convert pipeline-composition": ("{}",),
    "render": ("{}", "composition.yaml"),
    "test --lint": ("{}",),
    "iam-policy": ("-c", "{}"),
    "diff": ("{}", "--db", "groundplane.db"),
    "argocd-health": ("{}",),
    "crds --only usages.* --json-schema made": ("--definitions", "{}"),
    "delete": ("-f", "{}", "--db", "groundplane.db"),
    "up --once": ("{}", "--db", "new.db", "--timeout", "1"),
}
FOR_ALL = "a mapping in itself"


@pytest.fixture
def folder(filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(filled, "groundplane.db")
    return platform.write(tmp_path, definition=platform.DEFINITION, composition=platform.COMPOSITION)


def refused(command, text):
    """What a command says of a file with this text."""
    with open("bad.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    arguments = [*command.split(), *(each.format("bad.yaml") for each in COMMANDS[command])]
    ran = groundplane(*arguments)  # any error that nobody meant comes out here
    return ran.exit_code, ran.output


@pytest.mark.parametrize("value", VALUES)
def test_what_no_json_can_hold_is_told_with_its_place(folder, value):
    text = HEAD + VALUES[value] + "\n"
    for command in ("validate", "migrate check", "iam-policy"):
        code, output = refused(command, text)
        assert (code != 0, "bad.yaml:5" in output) == (True, True), (command, output)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_it(folder, command):
    text = (HEAD + VALUES[FOR_ALL] + "\n").replace(
        "XNote", "CompositionTest" if command == "test --lint" else "Composition"
    )
    code, output = refused(command, text)
    assert code != 0
    assert "bad.yaml:5" in output
    assert "an alias stands for what it is in, without an end" in output


def test_a_bomb_of_aliases_is_refused_however_small_its_text(folder, monkeypatch):
    monkeypatch.setattr(manifests, "MOST_NODES", 10_000)
    bomb = "[&a [x, x, x, x, x, x, x, x, x, x]" + "".join(
        f", &{after} [{', '.join([f'*{before}'] * 10)}]" for before, after in zip("abcde", "bcdef", strict=True)
    )
    for command in ("validate", "render"):
        code, output = refused(command, f"{HEAD}{bomb}]\n")
        assert (code, "its aliases stand for too much" in output) == (1, True)


def test_aliases_and_two_hundred_levels_are_fine():
    deep = HEAD + "[" * 198 + "]" * 198
    assert len(manifests.parse(deep, "x.yaml")) == 1
    with pytest.raises(InvalidInput, match="x.yaml:5: it is nested more than 200 levels deep"):
        manifests.parse(HEAD + "[" * 199 + "]" * 199, "x.yaml")
    (shared,) = manifests.parse(HEAD + "{a: &a {b: [1]}, c: *a, d: {<<: *a, e: *a}}", "x.yaml")
    assert shared.object["spec"]["text"]["d"] == {"b": [1], "e": {"b": [1]}}


@pytest.mark.parametrize(
    "text, value",
    [
        ("22:22", "22:22"),
        ("1:30:00.5", "1:30:00.5"),
        ("=", "="),
        ("[y, N, yes, 'n', nil]", [True, False, True, "n", "nil"]),
        ("2020-01-01", "2020-01-01"),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2.0**63),
        ("{2: a, true: b, null: c, 1.5: d}", {"2": "a", "true": "b", "null": "c", "1.5": "d"}),
    ],
)
def test_values_are_read_as_kubectl_reads_them(text, value):
    (found,) = manifests.parse(HEAD + text, "x.yaml")
    assert found.object["spec"]["text"] == value
    assert type(found.object["spec"]["text"]) is type(value)


def test_the_value_itself_is_never_told():
    with pytest.raises(InvalidInput) as told:
        manifests.parse("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: !!int hunter2}\n", "x.yaml")
    assert "hunter2" not in str(told.value)


def test_a_pipe_in_a_folder_holds_nobody_up(folder):
    os.mkfifo("pipe.yaml")
    assert groundplane("validate", ".").exit_code == 0
    assert groundplane("test", "--lint", ".").exit_code in (0, 5)
    assert groundplane("iam-policy", "-c", ".").exit_code == 1


def test_a_file_without_an_end_is_too_large(folder, monkeypatch):
    monkeypatch.setattr(manifests, "LARGEST", 5_000_000)
    for arguments in (("validate", "/dev/zero"), ("iam-policy", "-c", "/dev/zero"), ("render", "/dev/zero", ".")):
        ran = groundplane(*arguments)
        assert (ran.exit_code, "more than 5 MB" in ran.output, ran.output.count("/dev/zero")) == (1, True, 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x7fELF\x80", "no text in UTF-8: its byte 5 can't be. Mend: name a file of YAML, or save it as UTF-8."),
        (HEAD.encode() + b"a\0b\n", "there is a character that YAML does not allow. Mend: leave it out"),
    ],
    ids=["binary", "control character"],
)
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "test --lint"])
def test_what_is_no_text_is_told_once_with_its_mend(folder, command, content, told):
    with open("bad.yaml", "wb") as file:
        file.write(content)
    ran = groundplane(*command.split(), *(each.format("bad.yaml") for each in COMMANDS[command]))
    assert ran.exit_code == 1
    assert told.partition(". Mend")[0] in ran.output
    assert told.rpartition("Mend: ")[2].rstrip(".") in ran.output
    assert "bad.yaml:5" in ran.output or "character" not in told
    assert "codec" not in ran.output
    assert "bad.yaml: bad.yaml" not in ran.output


@pytest.mark.parametrize("command", ["diff", "plan"])
def test_what_is_given_twice_and_differs_is_refused(folder, command):
    text = platform.CLAIM + "---" + platform.CLAIM.replace("hello", "bye")
    with open("twice.yaml", "w", encoding="utf-8") as file:
        file.write(text)
    ran = groundplane(command, "twice.yaml", "--db", "groundplane.db")
    assert ran.exit_code == 1
    assert (
        ran.stderr
        == "Error: twice.yaml:7:1: Note team/first is given at twice.yaml:2:1 already. Mend: remove one of them.\n"
    )
    with open("twice.yaml", "w", encoding="utf-8") as file:
        file.write(platform.CLAIM + "---" + platform.CLAIM)
    assert "already" not in groundplane(command, "twice.yaml", "--db", "groundplane.db").output


def test_what_was_there_before_and_cannot_be_read_is_told(folder):
    with open("old.yaml", "w", encoding="utf-8") as file:
        file.write("a: [1\n")
    ran = groundplane("validate", "--old", "old.yaml", "composition.yaml", "definition.yaml")
    assert ran.stderr.startswith("--old: old.yaml:2:1: ")
    assert "nothing in it is compared with" in ran.stderr


@pytest.mark.parametrize(
    "field", ["labels: x", "annotations: [a]", "namespace: 5", "finalizers: x", "ownerReferences: {}"]
)
def test_metadata_of_another_shape_is_refused(field):
    with pytest.raises(InvalidInput, match=r"x\.yaml:1: metadata\.\w+ is no (mapping|list|text)"):
        manifests.parse(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, {field}}}\n", "x.yaml")


@pytest.mark.parametrize(
    "field, value",
    [
        ("versions", "5"),
        ("versions", "[5]"),
        ("names", "{kind: [1], plural: {}}"),
        ("group", "[1]"),
        ("connectionSecretKeys", "x"),
    ],
)
def test_a_definition_of_another_shape_ends_no_command(folder, field, value):
    lines = [f"  {field}: {value}", "apiVersion: apiextensions.crossplane.io/v1", "kind: CompositeResourceDefinition"]
    text = "\n".join(["metadata: {name: xs.e.org}", "spec:", *lines]) + "\n"
    for command in ("argocd-health", "validate", "migrate check", "crds --only usages.* --json-schema made"):
        refused(command, text)  # would raise what nobody meant
    ran = groundplane("render", "bad.yaml", "composition.yaml", "--xrd", "bad.yaml")
    assert ran.exit_code == 1


@pytest.mark.parametrize(
    "version", ["..", "{name: 5}", "{name: v1, served: true, schema: {openAPIV3Schema: {properties: [1]}}}"]
)
def test_a_custom_resource_definition_of_another_shape_ends_no_command(folder, version):
    text = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: as.e.org}\n"
        f"spec: {{group: e.org, names: {{kind: A}}, versions: [{version}]}}\n"
    )
    for command in ("validate", "crds --only usages.* --json-schema made"):
        refused(command, text)
    groundplane("render", "bad.yaml", "composition.yaml", "--crds", "bad.yaml")


def test_a_composition_for_what_is_no_type_is_for_no_composite(folder):
    text = platform.COMPOSITION.replace("{apiVersion: tests.example.com/v1, kind: XNote}", "'{{'")
    platform.write(folder, claim=platform.CLAIM, bad=text)
    ran = groundplane("render", "claim.yaml", "bad.yaml", "--xrd", "definition.yaml")
    assert ran.exit_code == 1
    assert "compositeTypeRef" in ran.output


@pytest.mark.parametrize("metadata", ["", "metadata: {generateName: a-}", "metadata: {labels: {a: b}}"])
def test_what_has_no_name_ends_no_command(folder, metadata):
    text = "---\n".join(
        f"apiVersion: {api_version}\nkind: {kind}\n{metadata}\nspec: {{forProvider: {{}}}}\n"
        for api_version, kind in (
            ("postgresql.sql.crossplane.io/v1alpha1", "Role"),
            ("iam.aws.upbound.io/v1beta1", "Role"),
            ("nop.crossplane.io/v1alpha1", "NopResource"),
            ("pkg.crossplane.io/v1", "Function"),
        )
    )
    pipeline = "  mode: Pipeline\n  pipeline:\n  - {step: a, functionRef: {name: function-patch-and-transform}}\n"
    (composition,) = platform.COMPOSITION.partition("  resources:")[:1]
    for command in ("validate", "migrate check", "migrate v2 -o made"):
        refused(command, f"{text}---\n{composition}{pipeline}")
