"""`groundplane render`: what a person sees, right and wrong."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from groundplane.cli import explanation
from groundplane.core.explain import Told
from groundplane.core.typecheck import MODE_ANNOTATION
from tests.cli import platform
from tests.cli.platform import groundplane, write

REPOSITORY = Path(__file__).resolve().parents[2]
DATABASE = REPOSITORY / "compositions" / "database-aws"
HEAVY = {
    "aiohttp",
    "boto3",
    "botocore",
    "cel_expr_python",
    "kopf",
    "kubernetes",
    "jsonpatch",
    "prometheus_client",
    "rich",
    "sqlite3",
}

COMPOSITE = """
apiVersion: tests.example.com/v1
kind: XNote
metadata: {name: first, uid: some-uid}
spec: {text: hello, claimRef: {apiVersion: tests.example.com/v1, kind: Note, namespace: team, name: first}}
"""
TWO = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes, labels: {tier: gold}}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  resources:
  - name: b
    base: {apiVersion: v1, kind: ConfigMap}
    readinessChecks: [{type: None}]
    patches:
    - {fromFieldPath: spec.text, toFieldPath: data.text}
    - {type: ToCompositeFieldPath, fromFieldPath: data.text, toFieldPath: status.text}
  - name: a
    base: {apiVersion: example.org/v1, kind: Bucket, spec: {region: eu}}
    patches:
    - {fromFieldPath: spec.absent, toFieldPath: spec.absent}
    - {type: ToCompositeFieldPath, fromFieldPath: status.arn, toFieldPath: status.arn}
"""


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "it", definition=platform.DEFINITION, composition=TWO, xr=COMPOSITE, claim=platform.CLAIM)


def documents(result):
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def composed(result):
    return {d["metadata"]["annotations"]["crossplane.io/composition-resource-name"]: d for d in documents(result)[1:]}


def unplaced(lines):
    """Errors without file, line and column."""
    return [re.sub(r" \(\S+:\d+:\d+\)$", "", line) for line in lines]


def errors(result):
    assert result.exit_code == 1, result.output
    return [line for line in result.stderr.splitlines() if line.startswith("Error: ")]


def test_of_a_version_that_is_not_served_the_mend_names_one_that_is_even_where_none_is_referenceable(folder):
    write(folder, definition=platform.DEFINITION.replace("    referenceable: true\n", ""))
    write(folder, claim=platform.CLAIM.replace("tests.example.com/v1", "tests.example.com/v9"))
    (told,) = errors(groundplane("render", folder / "claim.yaml", folder))
    assert "Note is not served as tests.example.com/v9. Mend: write apiVersion: tests.example.com/v1, or" in told


# --- output -------------------------------------------------------------------------------------------------


def test_the_composite_comes_first_and_its_resources_follow_by_name(folder):
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml")
    assert result.stdout.startswith("---\n")
    composite, *others = documents(result)
    assert composite == {
        "apiVersion": "tests.example.com/v1",
        "kind": "XNote",
        "metadata": {"name": "first"},
        "status": {
            "text": "hello",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "Creating",
                    "message": "Unready resources: a",
                    "lastTransitionTime": "2024-01-01T00:00:00Z",
                }
            ],
        },
    }
    assert [o["metadata"]["annotations"]["crossplane.io/composition-resource-name"] for o in others] == ["a", "b"]
    assert others[1]["data"] == {"text": "hello"}
    assert others[1]["metadata"]["labels"] == {
        "crossplane.io/composite": "first",
        "crossplane.io/claim-name": "first",
        "crossplane.io/claim-namespace": "team",
    }


def test_names_are_those_of_the_cluster_where_the_uid_is_known(folder):
    with_uid = composed(groundplane("render", folder / "xr.yaml", folder / "composition.yaml"))
    assert with_uid["a"]["metadata"]["name"].startswith("first-")
    assert with_uid["a"]["metadata"]["ownerReferences"][0]["uid"] == "some-uid"
    write(folder, xr=COMPOSITE.replace(", uid: some-uid", ""))
    without = composed(groundplane("render", folder / "xr.yaml", folder / "composition.yaml"))
    assert "name" not in without["a"]["metadata"]
    assert without["a"]["metadata"]["generateName"] == "first-"
    assert without["a"]["metadata"]["ownerReferences"][0]["uid"] == ""


def test_rendering_twice_gives_the_same_text(folder):
    one, two = (groundplane("render", folder / "claim.yaml", folder, "-x", "-r").stdout for _ in range(2))
    assert one == two


def test_a_full_composite_is_printed_on_demand(folder):
    composite = documents(groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "-x"))[0]
    assert composite["spec"]["text"] == "hello"
    assert composite["metadata"] == {"name": "first", "uid": "some-uid"}


def test_json_is_a_list(folder):
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "--output", "json", "--explain")
    listed = json.loads(result.stdout)
    assert listed["kind"] == "List"
    assert [item["kind"] for item in listed["items"]] == ["XNote", "Bucket", "ConfigMap"]
    assert "patches[0]" in result.stderr


def test_warnings_are_told_or_printed_as_results(folder):
    write(
        folder,
        composition=TWO.replace("toFieldPath: spec.absent}", "toFieldPath: x, policy: {fromFieldPath: Required}}"),
    )
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml")
    assert list(composed(result)) == ["b"]
    assert result.stderr.startswith("Warning: Composition notes › resource a › patches[0] (FromCompositeFieldPath): ")
    assert "spec.absent: no such field" in result.stderr
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "-r")
    assert result.stderr == ""
    told = documents(result)[-1]
    assert (told["apiVersion"], told["kind"]) == ("render.crossplane.io/v1beta1", "Result")
    assert told["severity"] == "SEVERITY_WARNING"
    assert "spec.absent: no such field" in told["message"]


# --- what is observed -----------------------------------------------------------------------------------------


def observed(name="bucket-1", template="a", **more):
    return {
        "apiVersion": "example.org/v1",
        "kind": "Bucket",
        "metadata": {"name": name, "annotations": {"crossplane.io/composition-resource-name": template}},
        **more,
    }


def test_observed_resources_are_associated_by_their_annotation(folder):
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "arn": "arn:bucket"}
    (folder / "seen.yaml").write_text(yaml.safe_dump(observed(status=ready)))
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "-o", folder / "seen.yaml")
    assert documents(result)[0]["status"]["arn"] == "arn:bucket"
    assert documents(result)[0]["status"]["conditions"][0]["reason"] == "Available"
    assert composed(result)["a"]["metadata"]["name"] == "bucket-1"
    assert "status" not in composed(result)["a"]


def test_what_left_the_composition_would_be_deleted(folder):
    (folder / "seen.yaml").write_text(yaml.safe_dump(observed(template="old")))
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "-o", folder / "seen.yaml", "-r")
    assert "Bucket bucket-1 is of no template any more: it would be deleted" in result.stdout


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        ([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}], "has no annotation"),
        ([observed(), observed("other")], 'two observed objects are resource "a"'),
    ],
)
def test_what_can_not_be_associated_is_an_error(folder, objects, text):
    (folder / "seen.yaml").write_text(yaml.safe_dump_all(objects))
    (line,) = errors(groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "-o", folder / "seen.yaml"))
    assert text in line
    assert "Mend: " in line


# --- claims and definitions -----------------------------------------------------------------------------------


def test_a_claim_stands_for_its_composite(folder):
    result = groundplane("render", folder / "claim.yaml", folder, "-x")
    composite = documents(result)[0]
    assert composite["kind"] == "XNote"
    assert composite["metadata"]["name"].startswith("first-")
    assert composite["metadata"]["labels"]["tier"] == "gold"
    assert composite["spec"]["claimRef"]["namespace"] == "team"
    assert composite["spec"]["length"] == 5


def test_a_claim_is_recognised_by_its_kind_if_there_is_no_definition(folder):
    result = groundplane("render", folder / "claim.yaml", folder / "composition.yaml")
    assert documents(result)[0]["kind"] == "XNote"


def test_the_shipped_composition_renders_its_claim(tmp_path):
    result = groundplane("render", DATABASE / "examples" / "claim.yaml", DATABASE)
    assert composed(result)["instance"]["spec"]["forProvider"]["instanceClass"] == "db.t4g.medium"


def test_defaults_come_from_the_definition(folder):
    definition = platform.DEFINITION.replace("length: {type: integer}", "length: {type: integer, default: 7}")
    (folder / "definition.yaml").unlink()
    xrd = write(folder / "xrd", definition=definition)
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "-x", "--xrd", xrd)
    assert documents(result)[0]["spec"]["length"] == 7


def test_a_file_of_definitions_without_one_is_an_error(folder):
    (told,) = errors(groundplane("render", folder / "xr.yaml", folder, "--xrd", folder / "xr.yaml"))
    assert told == f"Error: --xrd {folder}/xr.yaml: no CompositeResourceDefinition. Mend: name the file that has it."


def test_a_composite_that_its_definition_refuses_is_an_error_with_every_problem(folder):
    write(folder, xr=COMPOSITE.replace("text: hello", "txet: hello, length: long"))
    lines = errors(groundplane("render", folder / "xr.yaml", folder))
    assert len(lines) == 3
    assert "XNote first: .spec.txet: field not declared in schema. Mend: did you mean text?" in lines[0]
    assert "spec.length: Invalid value" in lines[1]
    assert "Mend: write an integer, without quotes." in lines[1]
    assert "spec.text: Required value. Mend: write a string." in lines[2]


def test_a_value_that_is_nearly_one_of_the_allowed_is_told_which(folder):
    definition = platform.DEFINITION.replace("length: {type: integer}", "size: {type: string, enum: [small, large]}")
    assert definition != platform.DEFINITION
    write(folder, definition=definition, xr=COMPOSITE.replace("text: hello", "text: hello, size: smal"))
    [line] = errors(groundplane("render", folder / "xr.yaml", folder))
    assert 'spec.size: Unsupported value: "smal": supported values: "small", "large". Mend: did you mean small?' in line


@pytest.mark.parametrize("strict", [(), ("--strict-upstream",)])
@pytest.mark.parametrize(
    ("old", "new", "tells"),
    [
        ("  group:", "  scope: namespaced\n  group:", 'spec.scope: Unsupported value: "namespaced": supported values: "LegacyCluster", "Namespaced", "Cluster". Mend: did you mean Namespaced?'),
        ("  group:", "  scope: Namespaced\n  group:", "spec.claimNames is only for scope LegacyCluster. Mend: leave it out, people write the composite itself; or write apiVersion apiextensions.crossplane.io/v1 without a scope."),
        ("  claimNames: {kind: Note, plural: notes, shortNames: [nt]}", "  connectionSecretKeys: [a]\n  scope: Cluster", "spec.connectionSecretKeys is only for scope LegacyCluster. Mend: leave it out, and compose a Secret."),
        ("crossplane.io/v1\n", "crossplane.io/v2\n", "spec.claimNames is only for scope LegacyCluster. Mend: "),
        ("  versions:", "  versions: {}\n  others:", 'spec.versions: Invalid value: "object": spec.versions in body must be of type array: "object". Mend: write a list.'),
        ("  names: {kind: XNote, plural: xnotes}", "  names: {kind: XNote}", "spec.names.plural: Required value"),
    ],
)  # fmt: skip
def test_a_definition_that_the_api_server_refuses_is_an_error(folder, old, new, tells, strict):
    text = platform.DEFINITION.replace(old, new, 1)
    assert text != platform.DEFINITION
    write(folder, definition=text)
    xrd = folder / "definition.yaml"
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "--xrd", xrd, *strict)
    assert [f"CompositeResourceDefinition xnotes.tests.example.com: {tells}" in line for line in errors(result)] == [
        True
    ]
    assert result.stdout == ""


def ruled(rule, message=""):
    """The definition with a rule for its spec."""
    said = f", message: {message}" if message else ""
    length = "length: {type: integer}}"
    return platform.DEFINITION.replace(
        length, f'{length}\n            x-kubernetes-validations: [{{rule: "{rule}"{said}}}]'
    )


@pytest.mark.parametrize("given", ["claim", "xr"])
def test_what_a_rule_of_the_definition_refuses_is_an_error(folder, given):
    write(folder, definition=ruled("self.length <= 10"), xr=COMPOSITE.replace("text: hello", "text: hello, length: 11"))
    write(folder, claim=platform.CLAIM.replace("length: 5", "length: 11"))
    (line,) = errors(groundplane("render", folder / f"{given}.yaml", folder))
    assert 'first: spec: Invalid value: "object": failed rule: self.length <= 10 (' in line
    assert line.endswith(f"{given}.yaml:5:7)")


def test_a_rule_may_ask_about_what_is_put_into_the_schema(folder):
    write(folder, definition=ruled("!has(self.compositionRef) || self.compositionRef.name != 'other'"))
    assert composed(groundplane("render", folder / "xr.yaml", folder))


def test_a_rule_that_no_definition_can_have_is_an_error_of_the_definition(folder):
    write(folder, definition=ruled("self.lenght <= 10"))
    (line,) = errors(groundplane("render", folder / "xr.yaml", folder))
    assert "CompositeResourceDefinition xnotes.tests.example.com › version v1" in line
    assert "properties[spec].x-kubernetes-validations[0].rule" in line
    assert "undefined field 'lenght'" in line


def test_a_rule_that_can_not_be_checked_here_is_warned_of_and_refuses_nothing(folder):
    write(folder, definition=ruled("[self.text].distinct() == [self.text]"))
    result = groundplane("render", folder / "claim.yaml", folder)
    assert composed(result)
    (line,) = [line for line in result.stderr.splitlines() if "not checked" in line]
    assert "Note first: spec: rule [self.text].distinct() == [self.text] was not checked" in line


def test_without_the_library_one_warning_names_the_rules_and_what_to_install(folder):
    write(folder, definition=ruled("self.length <= 10"), claim=platform.CLAIM.replace("length: 5", "length: 11"))
    code = (
        "import sys; sys.modules['cel_expr_python'] = None; from groundplane.cli.main import main; "
        f"main(['render', {str(folder / 'claim.yaml')!r}, {str(folder)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "not checked" in line] == [
        "Warning: Note first: a rule was not checked, as no CEL library is installed: spec: self.length <= 10. "
        "Mend: pip install 'groundplane[cel]'."
    ]


# --- mistakes -------------------------------------------------------------------------------------------------


def test_every_mistake_in_a_composition_is_told_with_its_place_and_mend(folder):
    wrong = (
        TWO.replace("toFieldPath: data.text}", "tofieldPath: data.text}", 1)
        .replace("type: ToCompositeFieldPath, fromFieldPath: status.arn", "type: ToCompositeFieldPth")
        .replace("{type: None}", "{type: MatchStrin}")
    )
    write(folder, composition=wrong)
    lines = errors(groundplane("render", folder / "xr.yaml", folder / "composition.yaml"))
    at = [number for number, text in enumerate(wrong.splitlines(), 1) if re.search("Pth|tofield|MatchStrin", text)]
    assert sorted(int(line.rpartition("composition.yaml:")[2].partition(":")[0]) for line in lines) == at
    assert unplaced(lines) == [
        "Error: Composition notes › resource a › patches[1] › type: "
        'unsupported value "ToCompositeFieldPth". Mend: did you mean ToCompositeFieldPath?',
        "Error: Composition notes › resource b › patches[0]: "
        'unknown field "tofieldPath". Mend: did you mean toFieldPath?',
        "Error: Composition notes › resource b › readinessChecks[0] › type: "
        'unsupported value "MatchStrin". Mend: did you mean MatchString?',
    ]


def test_what_is_malformed_hides_nothing_of_what_makes_no_sense(folder):
    wrong = TWO.replace("type: ToCompositeFieldPath, fromFieldPath: status.arn", "type: ToCompositeFieldPth").replace(
        "toFieldPath: data.text}", "toFieldPath: data.text, transforms: [{type: map, map: {}}]}", 1
    )
    write(folder, composition=wrong)
    lines = errors(groundplane("render", folder / "xr.yaml", folder / "composition.yaml"))
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [
        "Composition notes › resource a › patches[1] › type",
        "Composition notes › resource b › patches[0] › transforms[0].map.pairs",
    ]


@pytest.mark.parametrize(
    ("choice", "region"),
    [("compositionRef: {name: other}", "us"), ("compositionSelector: {matchLabels: {tier: gold}}", "eu")],
)
def test_one_of_several_compositions_is_chosen_as_the_composite_says(folder, choice, region):
    write(folder, second=TWO.replace("{name: notes, labels: {tier: gold}}", "{name: other}").replace("eu", "us"))
    (line,) = errors(groundplane("render", folder / "xr.yaml", folder))
    assert "there are 2 Compositions for XNote (there: Composition notes, Composition other)" in line
    write(folder, xr=COMPOSITE.replace("text: hello", f"text: hello, {choice}"))
    assert composed(groundplane("render", folder / "xr.yaml", folder))["a"]["spec"]["region"] == region


def test_a_misspelt_field_is_told_with_the_right_one(folder):
    write(folder, composition=TWO.replace("toFieldPath: data.text}", "tofieldPath: data.text}", 1))
    (line,) = unplaced(errors(groundplane("render", folder / "xr.yaml", folder / "composition.yaml")))
    assert (
        line
        == 'Error: Composition notes › resource b › patches[0]: unknown field "tofieldPath". Mend: did you mean toFieldPath?'
    )


def test_a_field_that_is_like_none_is_warned_of_since_the_api_server_drops_it(folder):
    write(folder, composition=TWO.replace("  resources:", "  surroundings: {patches: []}\n  resources:"))
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml")
    assert len(documents(result)) == 3
    assert (
        result.stderr
        == 'Warning: Composition notes: unknown field "surroundings". Mend: remove it: nothing reads it.\n'
    )


def test_a_patch_that_fails_tells_resource_patch_path_and_transform_and_the_rest_is_printed(folder):
    broken = TWO.replace(
        "toFieldPath: data.text}", "toFieldPath: data.text, transforms: [{type: map, map: {hi: x}}]}", 1
    )
    write(folder, composition=broken)
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml")
    assert errors(result) == [
        "Error: Composition notes › resource b › patches[0] (FromCompositeFieldPath) › spec.text › transforms[0] (map): "
        'no entry for "hello" in the map. Mend: add it, or use one of: hi.'
    ]
    assert [d["kind"] for d in yaml.safe_load_all(result.stdout)] == ["XNote", "Bucket"]


@pytest.mark.parametrize(
    ("xr", "source", "text"),
    [
        ("xr.yaml", "xr.yaml", "there is no Composition in what was given as COMPOSITION (there: XNote first)"),
        ("composition.yaml", "composition.yaml", "there is no XNote of tests.example.com/v1 in what was given as XR"),
        ("absent.yaml", "composition.yaml", 'there is no file or folder "'),
        (".", "composition.yaml", "there are 2 composites or claims in what was given as XR"),
        ("other.yaml", "composition.yaml", "Composition notes is for XNote of tests.example.com/v1, this is Other of"),
        ("picky.yaml", "composition.yaml", "selects a Composition with the labels tier=lead, which notes has not"),
        (
            "named.yaml",
            ".",
            'there is no Composition "note", which spec.compositionRef names. Mend: did you mean notes?',
        ),
    ],
)
def test_wrong_arguments_are_told_with_what_was_found(folder, xr, source, text):
    write(
        folder.parent / "more",
        other="{apiVersion: tests.example.com/v1, kind: Other, metadata: {name: x}}",
        picky=COMPOSITE.replace("text: hello", "text: hello, compositionSelector: {matchLabels: {tier: lead}}"),
        named=COMPOSITE.replace("text: hello", "text: hello, compositionRef: {name: note}"),
    )
    write(folder, second=TWO.replace("name: notes,", "name: notes2,"))
    place = folder.parent / "more" if (folder.parent / "more" / xr).exists() and xr != "." else folder
    (line,) = errors(groundplane("render", place / xr, folder / source))
    assert text in line


def test_a_composition_that_says_badly_what_it_is_for_is_told_its_own_mistakes(folder):
    write(folder, composition=TWO.replace("compositeTypeRef", "compositeTypRef"))
    assert unplaced(errors(groundplane("render", folder / "xr.yaml", folder / "composition.yaml"))) == [
        'Error: Composition notes: unknown field "compositeTypRef". Mend: did you mean compositeTypeRef?',
        "Error: Composition notes › compositeTypeRef: must be set",
    ]


def test_other_files_in_a_folder_do_no_harm(folder):
    write(
        folder,
        values="just: values",
        kustomization="{apiVersion: kustomize.config.k8s.io/v1beta1, kind: Kustomization}",
    )
    assert groundplane("render", folder / "xr.yaml", folder).exit_code == 0
    (line,) = errors(groundplane("render", folder / "values.yaml", folder))
    assert "values.yaml:1: apiVersion and kind missing" in line


def test_standard_input_is_read_once(folder):
    (line,) = errors(groundplane("render", "-", "-"))
    assert "standard input (-) can be read only once" in line


def test_a_pipe_is_read_once_also_where_a_place_in_it_is_asked_for(folder):
    os.mkfifo(folder / "pipe")
    command = [sys.executable, "-m", "groundplane.cli.main", "render", "pipe", "composition.yaml"]
    command += ["--xrd", "definition.yaml"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        (folder / "pipe").write_text(COMPOSITE.replace("text: hello", "text: 5"))
        assert "spec.text: Invalid value" in process.communicate(timeout=60)[1]
    assert process.returncode == 1


def test_a_composition_may_come_from_standard_input(folder):
    command = [sys.executable, "-m", "groundplane.cli.main", "render", str(folder / "xr.yaml"), "-"]
    said = subprocess.run(command, input=TWO, capture_output=True, text=True, check=True).stdout
    assert "kind: Bucket" in said


# --- schemas --------------------------------------------------------------------------------------------------


def test_a_patch_that_does_not_fit_its_definition_is_warned_of(folder):
    write(folder, composition=TWO.replace("spec.absent", "spec.lenght", 1))
    result = groundplane("render", folder / "xr.yaml", folder)
    assert len(documents(result)) == 3
    assert result.stderr == (
        "Warning: Composition notes › resource b › patches[1] › toFieldPath: "
        'status.text: status has no field "text". Mend: use one of: claimConditionTypes, composed, conditions, connectionDetails, lastHandledReconcileAt, observedGeneration.\n'
        "Warning: Composition notes › resource a › patches[0] › fromFieldPath: "
        'spec.lenght: spec has no field "lenght". Mend: did you mean length?\n'
        "Warning: Composition notes › resource a › patches[1] › toFieldPath: "
        'status.arn: status has no field "arn". Mend: use one of: claimConditionTypes, composed, conditions, connectionDetails, lastHandledReconcileAt, observedGeneration.\n'
    )


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        (
            "kind: Database\n",
            "kind: Databse\n",
            "there is no definition of Databse of platform.example.com/v1alpha1. Mend: did you mean Database?",
        ),
        ("platform.example.com/", "platform.exmaple.com/", "Mend: did you mean platform.example.com?"),
    ],
)
def test_a_claim_whose_kind_or_group_is_misspelt_is_told_the_defined_one(tmp_path, written, instead, said):
    claim = (DATABASE / "examples" / "claim.yaml").read_text()
    (tmp_path / "claim.yaml").write_text(claim.replace(written, instead, 1))
    [line] = errors(groundplane("render", tmp_path / "claim.yaml", DATABASE))
    assert said in line


def test_a_composed_kind_that_is_misspelt_is_told_the_one_whose_schema_is_given(tmp_path):
    text = (DATABASE / "composition.yaml").read_text()
    (tmp_path / "composition.yaml").write_text(text.replace("kind: Instance\n", "kind: Instanc\n", 1))
    result = groundplane("render", DATABASE / "examples" / "claim.yaml", tmp_path, "--crds", REPOSITORY / "crds")
    assert result.exit_code == 0
    assert (
        "the schema of Instanc of rds.aws.upbound.io/v1beta1 is not known: its fields are not checked. Mend: did you mean Instance?"
        in result.stderr
    )


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        (
            "toFieldPath: spec.forProvider.instanceClass",
            "toFieldPath: spec.forProvider.instanceClas",
            'has no field "instanceClas". Mend: did you mean instanceClass?',
        ),
        ("kind: Instance\n", "kind: Instanc\n", "Mend: did you mean Instance?"),
    ],
)
def test_the_kinds_that_are_built_in_are_known_without_being_given(tmp_path, written, instead, said):
    text = (DATABASE / "composition.yaml").read_text()
    assert written in text
    (tmp_path / "composition.yaml").write_text(text.replace(written, instead, 1))
    result = groundplane("render", DATABASE / "examples" / "claim.yaml", tmp_path)
    assert result.exit_code == 0
    assert said in result.stderr
    strict = groundplane("render", DATABASE / "examples" / "claim.yaml", tmp_path, "--strict-upstream")
    assert said not in strict.stderr


@pytest.mark.parametrize(
    ("version", "kind", "field", "said"),
    [
        ("s3", "Bucket", "forceDestory: true", 'base.spec.forProvider.forceDestory: spec.forProvider has no field "forceDestory". Mend: did you mean forceDestroy?'),
        ("sqs", "Queue", 'visibilityTimeoutSeconds: "60"', 'spec.forProvider.visibilityTimeoutSeconds is a number, and not the string "60". Mend: write 60.'),
        ("ec2", "VPC", "cidrBlok: 10.0.0.0/16", 'spec.forProvider has no field "cidrBlok". Mend: did you mean cidrBlock?'),
        ("ec2", "InternetGatway", "vpcId: a", "Mend: did you mean InternetGateway? Else"),
        ("ec2/v1beta2", "InternetGateway", "vpcId: a", "Mend: did you mean InternetGateway of ec2.aws.upbound.io/v1beta1? Else"),
    ],
)  # fmt: skip
def test_a_base_that_its_kind_does_not_know_so_is_warned_of(folder, version, kind, field, said):
    group, _, version = version.partition("/")
    base = f"{{apiVersion: {group}.aws.upbound.io/{version or 'v1beta1'}, kind: {kind}, spec: {{forProvider: {{region: eu, {field}}}}}}}"
    text = TWO.replace("{apiVersion: example.org/v1, kind: Bucket, spec: {region: eu}}", base)
    text = text[: text.index("    patches:\n    - {fromFieldPath: spec.absent")]
    write(folder, composition=text)
    result = groundplane("render", folder / "xr.yaml", folder)
    assert result.exit_code == 0
    assert [said in line for line in result.stderr.splitlines() if kind in line or "resource a" in line] == [True]
    strict = groundplane("render", folder / "xr.yaml", folder, "--strict-upstream")
    assert "resource a" not in strict.stderr
    assert said not in strict.stderr


def test_what_is_rendered_is_checked_against_the_schema_of_its_kind(folder):
    base = "{apiVersion: sqs.aws.upbound.io/v1beta1, kind: Queue, spec: {forProvider: {delaySeconds: ''}}}"
    text = TWO.replace("{apiVersion: example.org/v1, kind: Bucket, spec: {region: eu}}", base)
    text = text[: text.index("    - {fromFieldPath: spec.absent")]
    text += "    - {fromFieldPath: spec.text, toFieldPath: spec.forProvider.delaySeconds, transforms: [{type: map, map: {hello: '60'}}]}\n"
    text = text.replace("toFieldPath: spec.forProvider.delaySeconds", "toFieldPath: 'spec.forProvider[delaySeconds]'")
    write(folder, composition=text)
    result = groundplane("render", folder / "xr.yaml", folder)
    assert result.exit_code == 0
    assert (
        "Warning: Composition notes › resource a › rendered: spec.forProvider.delaySeconds is a number, and not the "
        'string "60". Mend: write 60.\n'
    ) in result.stderr


def test_a_format_that_does_not_fit_prints_as_go_does_and_is_warned_of_with_its_patch(folder):
    text = TWO.replace(
        "fromFieldPath: spec.text,", "fromFieldPath: spec.text, transforms: [{type: string, string: {fmt: '%d-x'}}],", 1
    )
    assert text != TWO
    write(folder, composition=text)
    result = groundplane("render", folder / "xr.yaml", folder)
    assert result.exit_code == 0
    assert "%!d(string=hello)-x" in result.stdout
    assert "patches[0]" in result.stderr
    assert "Mend: write %v" in result.stderr


def test_render_imports_nothing_that_calls_aws():
    code = f"""import sys
from groundplane.cli.main import main
main(["render", {str(DATABASE / "examples" / "claim.yaml")!r}, {str(DATABASE)!r}], standalone_mode=False)
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"aiohttp", "asyncio", "boto3", "botocore", "kopf"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_strict_compositions_must_fit_and_every_kind_must_be_known(folder):
    strict = TWO.replace("name: notes,", f"name: notes, annotations: {{{MODE_ANNOTATION}: strict}},")
    write(folder, composition=strict)
    lines = errors(groundplane("render", folder / "xr.yaml", folder))
    assert len(lines) == 4
    assert lines[3] == (
        "Error: Composition notes: the schema of Bucket of example.org/v1 is not known: its fields are not checked. "
        "Mend: pass its CustomResourceDefinition with --crds, or its definition with --xrd."
    )


def test_composed_kinds_are_checked_against_their_definitions():
    result = groundplane("render", DATABASE / "examples" / "claim.yaml", DATABASE, "--crds", REPOSITORY / "crds")
    assert result.exit_code == 0
    assert result.stderr == ""


# --- pipelines ------------------------------------------------------------------------------------------------


PIPELINE = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: piped}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  mode: Pipeline
  pipeline:
  - step: environment
    functionRef: {name: function-environment-configs}
    input:
      apiVersion: environmentconfigs.fn.crossplane.io/v1beta1
      kind: Input
      spec: {environmentConfigs: [{type: Reference, ref: {name: platform}}]}
  - step: resources
    functionRef: {name: patches}
    input:
      apiVersion: pt.fn.crossplane.io/v1beta1
      kind: Resources
      patchSets: [{name: common, patches: [{fromFieldPath: spec.text, toFieldPath: data.text}]}]
      resources:
      - name: b
        base: {apiVersion: v1, kind: ConfigMap}
        patches:
        - {type: PatchSet, patchSetName: common}
        - {type: FromEnvironmentFieldPath, fromFieldPath: account, toFieldPath: data.account}
        - {type: FromEnvironmentFieldPath, fromFieldPath: more, toFieldPath: data.more}
      - name: a
        base: {apiVersion: example.org/v1, kind: Bucket}
        patches:
        - {type: ToCompositeFieldPath, fromFieldPath: status.arn, toFieldPath: status.arn}
  - step: ready
    functionRef: {name: crossplane-contrib-function-auto-ready}
"""
FUNCTIONS = """
apiVersion: pkg.crossplane.io/v1
kind: Function
metadata: {name: patches}
spec: {package: "xpkg.crossplane.io/crossplane-contrib/function-patch-and-transform:v0.9.0"}
"""
CONFIG = """
apiVersion: apiextensions.crossplane.io/v1beta1
kind: EnvironmentConfig
metadata: {name: platform}
data: {account: "4711"}
"""


@pytest.fixture
def piped(tmp_path):
    return write(
        tmp_path / "piped",
        composition=PIPELINE,
        functions=FUNCTIONS,
        config=CONFIG,
        xr=COMPOSITE.replace(", uid: some-uid", ""),
    )


def arguments(piped, *more):
    return [
        "render",
        piped / "xr.yaml",
        piped / "composition.yaml",
        piped / "functions.yaml",
        "-e",
        piped / "config.yaml",
        *more,
    ]


def test_a_pipeline_runs_with_the_functions_that_are_built_in(piped):
    result = groundplane(*arguments(piped))
    assert list(composed(result)) == ["a", "b"]
    assert composed(result)["b"]["data"] == {"text": "hello", "account": "4711"}
    assert "name" not in composed(result)["b"]["metadata"]
    condition = documents(result)[0]["status"]["conditions"]
    assert [(c["reason"], c["message"]) for c in condition] == [("Creating", "Unready resources: a, b")]


def test_what_is_observed_makes_a_pipeline_ready(piped):
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "arn": "arn:bucket"}
    config_map = observed("map-1", "b") | {"apiVersion": "v1", "kind": "ConfigMap"}
    (piped / "seen.yaml").write_text(yaml.safe_dump_all([observed(status=ready), config_map]))
    result = groundplane(*arguments(piped, "-o", piped / "seen.yaml"))
    composite = documents(result)[0]
    assert composite["status"]["arn"] == "arn:bucket"
    assert composite["status"]["conditions"][0]["status"] == "True"
    assert composed(result)["a"]["metadata"]["name"] == "bucket-1"


def test_context_comes_in_and_goes_out(piped):
    key = "apiextensions.crossplane.io/environment"
    (piped / "context.json").write_text('{"more": "from a file"}')
    result = groundplane(*arguments(piped, "--context-files", f"{key}={piped / 'context.json'}"))
    assert composed(result)["b"]["data"]["more"] == "from a file"
    result = groundplane(
        *arguments(
            piped,
            "-c",
            "--context-files",
            f"{key}={piped / 'context.json'}",
            "--context-values",
            f'{key}={{"more": "x"}}',
        )
    )
    context = documents(result)[-1]
    assert (context["apiVersion"], context["kind"]) == ("render.crossplane.io/v1beta1", "Context")
    assert context["fields"][key]["more"] == "x"
    assert context["fields"][key]["account"] == "4711"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--context-values", "a"), '--context-values "a" is no KEY=…'),
        (("--context-values", "a={"), "--context-values a is neither JSON nor YAML"),
        (("--context-files", "a=absent.json"), "--context-files: absent.json can't be read"),
    ],
)
def test_a_context_that_can_not_be_read_is_an_error(piped, more, text):
    (line,) = errors(groundplane(*arguments(piped, *more)))
    assert text in line


def test_a_function_that_is_not_built_in_is_told_with_those_that_are(piped):
    write(piped, functions=FUNCTIONS.replace("function-patch-and-transform", "function-kcl"))
    (line,) = errors(groundplane(*arguments(piped)))
    assert line.startswith(
        'Error: Composition piped › step resources › functionRef.name: Function "patches" is package '
        '"xpkg.crossplane.io/crossplane-contrib/function-kcl:v0.9.0", which is not built in. Mend: run it, and say where: '
        "--function NAME=localhost:9443, or NAME=exec:COMMAND; or use one of: function-auto-ready"
    )


def test_every_mistake_in_the_input_of_a_step_is_told_with_its_place(piped):
    wrong = PIPELINE.replace("patchSetName: common", "patchSetName: comon").replace(
        "account, toFieldPath", "account, tofieldPath"
    )
    write(piped, composition=wrong)
    assert unplaced(errors(groundplane(*arguments(piped)))) == [
        "Error: Composition piped › step resources › resource b › patches[0] › patchSetName: "
        'no patch set is named "comon". Mend: did you mean common?',
        "Error: Composition piped › step resources › resource b › patches[1]: "
        'unknown field "tofieldPath". Mend: did you mean toFieldPath?',
    ]
    write(
        piped,
        composition=PIPELINE.replace("patchSetName: common", "patchSetName: comon").replace(
            "status.arn}", "status.arn, transforms: [{type: map}]}"
        ),
    )
    assert unplaced(errors(groundplane(*arguments(piped)))) == [
        "Error: Composition piped › step resources › resource a › patches[0] › transforms[0].map: "
        "at least one pair must be given",
        "Error: Composition piped › step resources › resource b › patches[0] › patchSetName: "
        'no patch set is named "comon". Mend: did you mean common?',
    ]


def test_a_fatal_result_is_an_error_with_its_place(piped):
    write(
        piped,
        composition=PIPELINE.replace(
            "toFieldPath: data.text}", "toFieldPath: data.text, transforms: [{type: map, map: {hi: x}}]}"
        ),
    )
    result = groundplane(*arguments(piped))
    assert errors(result) == [
        'Error: Composition piped: pipeline step "resources" returned a fatal result: resource b › patches[0] › patch set common › '
        "patches[0] (FromCompositeFieldPath) › spec.text › transforms[0] (map): "
        'no entry for "hello" in the map. Mend: add it, or use one of: hi.'
    ]
    assert result.stdout == ""


def test_credentials_are_secrets_that_must_be_given(piped):
    wanted = "functionRef: {name: patches}\n    credentials: [{name: aws, source: Secret, secretRef: {namespace: team, name: s}}]"
    write(piped, composition=PIPELINE.replace("functionRef: {name: patches}", wanted))
    (line,) = errors(groundplane(*arguments(piped)))
    assert 'step "resources" credential "aws" from Secret. Mend: pass Secret s of namespace team' in line
    write(
        piped, secret="{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: team}, stringData: {key: value}}"
    )
    assert groundplane(*arguments(piped, "--function-credentials", piped / "secret.yaml")).exit_code == 0


def test_what_functions_say_is_told_or_printed_as_results(piped):
    required = PIPELINE.replace("fromFieldPath: more,", "fromFieldPath: more, policy: {fromFieldPath: Required},")
    write(piped, composition=required)
    assert list(composed(groundplane(*arguments(piped)))) == ["a"]
    told = documents(groundplane(*arguments(piped, "-r")))[-1]
    assert told["severity"] == "SEVERITY_WARNING"
    assert told["step"] == "resources"
    assert "more: no such field" in told["message"]


def test_the_patches_of_a_step_are_explained(piped):
    result = groundplane(*arguments(piped, "--explain"))
    comments = result.stdout[: result.stdout.index("---")].splitlines()
    assert comments[:4] == [
        "# step resources › resource b",
        "#   patches[0] › patch set common › patches[0] (FromCompositeFieldPath)  spec.text → data.text",
        '#     input   spec.text = "hello"',
        '#     output  data.text = "hello"',
    ]
    assert "#     skipped the composed resource does not exist yet" in comments


ODD = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: odd}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  mode: Pipeline
  pipeline:
  - step: resources
    functionRef: {name: function-patch-and-transform}
    input:
      apiVersion: pt.fn.crossplane.io/v1beta1
      kind: Resources
      environment:
        patches: [%s]
      resources:
      - name: map
        base: {apiVersion: v1, kind: ConfigMap, metadata: {namespace: default}, data: {text: x}}
        patches: [%s]
"""


@pytest.fixture
def odd(tmp_path):
    """Render a pipeline with these patches: what is said on both streams."""
    xr = "{apiVersion: tests.example.com/v1, kind: XNote, metadata: {name: x}, spec: {text: hi}}"
    folder = write(tmp_path / "odd", xr=xr)

    def rendered(patch: str = "", *flags: str, environment: str = ""):
        write(folder, composition=ODD % (environment, patch))
        return groundplane("render", folder / "xr.yaml", folder / "composition.yaml", *flags)

    return rendered


@pytest.mark.parametrize(
    "options, policy",
    [
        ("keepMapValues: true", "MergeObjects"),
        ("appendSlice: true", "ForceMergeObjectsAppendArrays"),
        ("keepMapValues: true, appendSlice: true", "MergeObjectsAppendArrays"),
        ("", "ForceMergeObjects"),
    ],
)
def test_merge_options_in_a_pipeline_are_told_with_the_policy_that_does_the_same(odd, options, policy):
    patch = "{type: FromCompositeFieldPath, fromFieldPath: spec.text, toFieldPath: data.text, policy: {%s}}"
    (line,) = errors(odd(patch % f"mergeOptions: {{{options}}}"))
    assert f"{policy} for " in line
    assert "Mend: write policy.toFieldPath" in line
    assert odd(patch % f"toFieldPath: {policy}").exit_code == 0, "the mend must work"


@pytest.mark.parametrize(
    "wrong, right", [("CombineFromEnvironment", "CombineToComposite"), ("CombineToEnvironment", "CombineFromComposite")]
)
def test_a_patch_that_the_environment_does_not_take_is_told_with_the_one_that_goes_the_same_way(odd, wrong, right):
    patch = (
        '{type: %s, combine: {strategy: string, string: {fmt: "%%s"}, variables: [{fromFieldPath: a}]}, toFieldPath: b}'
    )
    (line,) = errors(odd(environment=patch % wrong))
    assert f"Mend: use {right}," in line
    assert odd(environment=patch % right).exit_code == 0, "the mend must work"


def test_a_path_that_cannot_be_parsed_is_told_once(odd):
    said = odd("{type: FromCompositeFieldPath, fromFieldPath: spec.none, toFieldPath: 'data[.text'}").stderr
    assert said.count("data[.text") == 1, said


def test_what_a_pipeline_writes_beside_its_composites_status_is_explained_as_without_effect(odd, tmp_path):
    observed = write(
        tmp_path / "observed",
        map="{apiVersion: v1, kind: ConfigMap, metadata: {name: m, namespace: default, annotations: "
        "{crossplane.io/composition-resource-name: map}}, data: {text: x}}",
    )
    back = "{type: ToCompositeFieldPath, fromFieldPath: data.text, toFieldPath: %s}"
    for path in ("'metadata.labels[a]'", "spec.other"):
        said = odd(back % path, "-o", str(observed), "--explain").stdout
        assert "#     skipped it has no effect: of a composite, a pipeline changes only the status" in said
        assert "#     output" not in said
    assert "#     output  status.a = " in odd(back % "status.a", "-o", str(observed), "--explain").stdout


def test_the_patches_of_a_step_are_checked_against_schemas(piped):
    xrd = write(piped.parent / "xrd", definition=platform.DEFINITION)
    write(piped, composition=PIPELINE.replace("fromFieldPath: spec.text", "fromFieldPath: spec.txt"))
    result = groundplane(*arguments(piped, "--xrd", xrd))
    assert result.stderr.startswith(
        "Warning: Composition piped › step resources › patch set common › patches[0] › fromFieldPath: "
        'spec.txt: spec has no field "txt". Mend: did you mean text?\n'
    )


@pytest.mark.parametrize("is_pipeline", [False, True])
def test_a_connection_detail_without_its_secret_is_told(folder, is_pipeline):
    composition = yaml.safe_load(TWO)
    spec = composition["spec"]
    bucket = spec["resources"][1]
    bucket["connectionDetails"] = [
        {"name": "pass", "type": "FromConnectionSecretKey", "fromConnectionSecretKey": "password"},
        {"name": "fixed", "type": "FromValue", "value": "x"},
    ]
    place = "resource a › connectionDetails[0]: pass is missing"
    if is_pipeline:
        given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": [bucket]}
        for patch in bucket["patches"]:
            patch.setdefault("type", "FromCompositeFieldPath")
        del spec["resources"]
        function = {"name": "function-patch-and-transform"}
        spec |= {"mode": "Pipeline", "pipeline": [{"step": "pt", "functionRef": function, "input": given}]}
    observed = """
apiVersion: example.org/v1
kind: Bucket
metadata: {name: a, annotations: {crossplane.io/composition-resource-name: a}}
spec: {writeConnectionSecretToRef: {name: keys, namespace: team}}
"""
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: team}\ndata: {password: aHVudGVyMg==}\n"
    write(folder, composition=yaml.safe_dump(composition), observed=observed)
    asked = ["render", folder / "xr.yaml", folder / "composition.yaml"]
    assert "pass is missing" not in groundplane(*asked).stderr  # nothing exists
    told = groundplane(*asked, "-o", folder / "observed.yaml")
    assert told.exit_code == 0
    assert f"Warning: {place}: no connection Secret of the resource with the key password was given." in told.stderr
    assert "Mend: give that Secret among the observed resources, too." in told.stderr
    assert "missing" not in groundplane(*asked, "-o", folder / "observed.yaml", "--strict-upstream").stderr
    write(folder, observed=f"{observed}---\n{secret}")
    assert "missing" not in groundplane(*asked, "-o", folder / "observed.yaml").stderr


def test_flags_that_only_upstream_needs_are_accepted(piped):
    more = ["--timeout", "1m", "-a", "render.crossplane.io/runtime=Docker", "--crossplane-version", "v2"]
    assert groundplane(*arguments(piped, *more)).exit_code == 0


# --- explaining -----------------------------------------------------------------------------------------------


def test_explanations_are_comments_before_the_documents(folder):
    mapped = TWO.replace(
        "toFieldPath: data.text}", "toFieldPath: data.text, transforms: [{type: map, map: {hello: hi}}]}", 1
    )
    write(folder, composition=mapped)
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "--explain")
    assert len(documents(result)) == 3
    comments = result.stdout[: result.stdout.index("---")].splitlines()
    assert comments[:5] == [
        "# resource b",
        "#   patches[0] (FromCompositeFieldPath)  spec.text → data.text",
        '#     input   spec.text = "hello"',
        '#     transforms[0] (map) → "hi"',
        '#     output  data.text = "hi"',
    ]
    assert "#     skipped spec.absent: no such field; it is optional" in comments


def test_a_failure_is_explained_before_it_is_told(folder):
    broken = TWO.replace(
        "status.arn, toFieldPath: status.arn", "status.arn, toFieldPath: status.arn, policy: {fromFieldPath: Required}"
    )
    write(folder, composition=broken)
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "--explain")
    assert len(errors(result)) == 1
    assert "#     failed  status: no such field" in result.stdout
    assert "---" not in result.stdout


def test_values_of_secrets_are_not_explained(folder):
    secret = TWO.replace("{apiVersion: v1, kind: ConfigMap}", "{apiVersion: v1, kind: Secret}")
    write(folder, composition=secret)
    result = groundplane("render", folder / "xr.yaml", folder / "composition.yaml", "--explain")
    assert '#     output  data.text = "********"' in result.stdout
    assert "hello" not in result.stdout[: result.stdout.index("---")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_is_for_terminals(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    told = Told(
        ("resource a", "patches[0]"), "FromCompositeFieldPath", ("spec.x",), "spec.y", skipped="no [bold] reason"
    )
    terminal, file = Terminal(), io.StringIO()
    explanation.write([told], terminal)
    explanation.write([told], file)
    assert "\x1b[" in terminal.getvalue()
    assert "no [bold] reason" in terminal.getvalue()
    assert file.getvalue() == "# resource a\n#   patches[0]  spec.x → spec.y\n#     skipped no [bold] reason\n"


# --- cost -----------------------------------------------------------------------------------------------------


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from groundplane.cli.main import main; "
        f"main(['render', {str(DATABASE / 'examples' / 'claim.yaml')!r}, {str(DATABASE)!r}], standalone_mode=False); "
        "print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = set(said.splitlines()[-1].split())
    assert "groundplane.core.preview" in modules
    assert not HEAVY & modules


# --- templates ----------------------------------------------------------------------------------------------

FROM_FILES = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  mode: Pipeline
  pipeline:
  - step: make
    functionRef: {name: function-go-templating}
    input:
      apiVersion: gotemplating.fn.crossplane.io/v1beta1
      kind: GoTemplate
      source: FileSystem
      fileSystem: {dirPath: /notes}
"""
NOTE = """
apiVersion: v1
kind: ConfigMap
metadata: {annotations: {gotemplating.fn.crossplane.io/composition-resource-name: a}}
data: {text: "{{ .observed.composite.resource.spec.text }}", zone: "{{ .context.zone }}"}
"""


def test_templates_may_come_from_a_folder(tmp_path):
    folder = write(tmp_path / "it", composition=FROM_FILES, xr=COMPOSITE)
    (tmp_path / "templates" / "notes").mkdir(parents=True)
    (tmp_path / "templates" / "notes" / "a.yaml").write_text(NOTE)
    asked = ("render", folder / "xr.yaml", folder / "composition.yaml")
    assert "have the operator run with --function-templates-dir" in errors(groundplane(*asked))[0]
    result = groundplane(*asked, "--function-templates-dir", tmp_path / "templates")
    assert composed(result)["a"]["data"]["text"] == "hello"
    [warning] = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert 'step "make": "<no value>" stands in data.zone of ConfigMap' in warning
    strict = groundplane(*asked, "--function-templates-dir", tmp_path / "templates", "--strict-upstream")
    assert strict.stderr == ""
    result = groundplane(*asked, "--function-templates-dir", tmp_path / "nope")
    assert "is no folder" in errors(result)[0]


def test_all_that_is_wrong_with_a_definition_is_told_where_it_is_written(folder):
    wrong = platform.DEFINITION.replace("name: xnotes.", "name: notes.").replace(
        "text: {type: string", "text: {type: strin"
    )
    write(folder, definition=wrong)
    asked = ("render", folder / "xr.yaml", folder / "composition.yaml", "--xrd", folder / "definition.yaml")
    at = [number for number, text in enumerate(wrong.splitlines(), 1) if "name: notes." in text or "strin," in text]
    assert [int(line.rpartition("definition.yaml:")[2].partition(":")[0]) for line in errors(groundplane(*asked))] == at
