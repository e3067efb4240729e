"""`groundplane convert`: files in, files out, and what is said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli import platform
from tests.cli.platform import groundplane, write

DATABASE = Path(__file__).resolve().parents[2] / "compositions" / "database-aws"

COMMENTED = """\
# The platform's notes.
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata:
  name: notes  # by name
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  # What notes are made of.
  resources:
  # The one map.
  - name: map
    base: {apiVersion: v1, kind: ConfigMap}
    readinessChecks: [{type: None}]
    patches:
    - fromFieldPath: spec.text   # what the user wrote
      toFieldPath: data.text
      policy:
        mergeOptions:
          keepMapValues: true
      transforms:
      - string: {fmt: "%s!"}
    - {fromFieldPath: spec.length, toFieldPath: data.length, transforms: [{convert: {toType: string}}]}
    connectionDetails:
    - fromConnectionSecretKey: password
  # Its Secrets.
  writeConnectionSecretsToNamespace: crossplane-system
"""
CONVERTED = """\
---
# The platform's notes.
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata:
  name: notes  # by name
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  # Its Secrets.
  writeConnectionSecretsToNamespace: crossplane-system
  mode: Pipeline
  pipeline:
  - step: patch-and-transform
    functionRef:
      name: function-patch-and-transform
    input:
      apiVersion: pt.fn.crossplane.io/v1beta1
      kind: Resources
      # What notes are made of.
      resources:
      # The one map.
      - name: map
        base: {apiVersion: v1, kind: ConfigMap}
        readinessChecks: [{type: None}]
        patches:
        - type: FromCompositeFieldPath
          fromFieldPath: spec.text   # what the user wrote
          toFieldPath: data.text
          policy:
            toFieldPath: MergeObjects
          transforms:
          - type: string
            string: {type: Format, fmt: "%s!"}
        - {type: FromCompositeFieldPath, fromFieldPath: spec.length, toFieldPath: data.length, transforms: [{type: convert, convert: {toType: string}}]}
        connectionDetails:
        - type: FromConnectionSecretKey
          name: password
          fromConnectionSecretKey: password
"""


def converted(tmp_path: Path, text: str, *flags: object, command: str = "pipeline-composition"):
    file = tmp_path / "given.yaml"
    file.write_text(text)
    return groundplane("convert", command, file, *flags)


def test_blocks_are_moved_as_they_were_written(tmp_path):
    result = converted(tmp_path, COMMENTED)
    assert result.exit_code == 0, result.output
    assert result.stdout == CONVERTED


def test_standard_input_to_standard_output_and_upstreams_group_in_front():
    command = [sys.executable, "-m", "groundplane.cli.main", "beta", "convert", "pipeline-composition"]
    done = subprocess.run(command, input=COMMENTED, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == CONVERTED


def test_what_is_a_pipeline_already_needs_no_change(tmp_path):
    result = converted(tmp_path, CONVERTED)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No changes needed.\n")


def test_a_longer_file_is_written_over_as_a_whole(tmp_path):
    out = tmp_path / "out.yaml"
    out.write_text("# old\n" * 1000)
    assert converted(tmp_path, COMMENTED, "-o", out).exit_code == 0
    assert "---\n" + out.read_text() == CONVERTED


def test_all_documents_of_a_file_stay(tmp_path):
    result = converted(tmp_path, f"{platform.DEFINITION}---\n{COMMENTED}--- # last\n{platform.CLAIM}")
    assert result.exit_code == 0, result.output
    kinds = [document["kind"] for document in yaml.safe_load_all(result.stdout)]
    assert kinds == ["CompositeResourceDefinition", "Composition", "Note"]
    assert "# What notes are made of." in result.stdout


def test_functions_are_called_by_the_names_that_are_given(tmp_path):
    environment = "  environment: {defaultData: {a: b}, patches: [{fromFieldPath: a, toFieldPath: b}]}\n"
    flags = ("--function-patch-and-transform-ref", "pt", "--function-environment-configs-ref", "ec")
    result = converted(tmp_path, COMMENTED + environment, *flags)
    spec = yaml.safe_load(result.stdout)["spec"]
    assert [(step["step"], step["functionRef"]["name"]) for step in spec["pipeline"]] == [
        ("environment-configs", "ec"),
        ("patch-and-transform", "pt"),
    ]
    assert spec["pipeline"][0]["input"]["spec"] == {"defaultData": {"a": "b"}}
    assert spec["pipeline"][1]["input"]["environment"]["patches"][0]["type"] == "FromCompositeFieldPath"
    assert "environment" not in spec
    assert "comments were lost" in result.stderr


def test_templates_without_names_are_refused_unless_they_may_be_named(tmp_path):
    text = COMMENTED.replace("  - name: map\n    base", "  - base")
    result = converted(tmp_path, text)
    assert result.exit_code == 1
    assert "the templates 0 have no name" in result.stderr
    assert "--name-templates" in result.stderr
    named = yaml.safe_load(converted(tmp_path, text, "--name-templates").stdout)
    assert named["spec"]["pipeline"][0]["input"]["resources"][0]["name"] == "resource-0"


@pytest.mark.parametrize(
    "text, tells",
    [
        ("", "No changes needed."),
        ("null\n", "No changes needed."),
        ("{}\n", "apiVersion and kind missing"),
        (
            COMMENTED.replace("kind: Composition\n", "kind: CompositionRevision\n"),
            "CompositionRevision of apiextensions",
        ),
        ("a: [", "Mend: correct the YAML"),
        ("a: {b: c[d]}", "Mend: correct the YAML: close the bracket, and quote a text within {}"),
        (platform.CLAIM, "Note of tests.example.com/v1 is no Composition"),
        (
            COMMENTED.replace("apiextensions.crossplane.io", "example.org"),
            "Composition of example.org/v1 is no Composition",
        ),
        (COMMENTED.replace("spec:", "spec: 5\nrest:"), "Composition notes has no spec"),
        (COMMENTED.replace("  # What", "  mode: Piepline\n  # What"), "there is no mode Piepline"),
    ],
)
def test_what_can_not_be_converted_is_one_line(tmp_path, text, tells):
    result = converted(tmp_path, text)
    assert tells in result.stderr
    assert result.stdout == ""
    assert result.exit_code == (0 if text in ("", "null\n") else 1)


def test_in_place_with_the_examples_composed_before_and_after(tmp_path):
    folder = tmp_path / "database-aws"
    shutil.copytree(DATABASE, folder)
    result = groundplane("convert", "pipeline-composition", folder / "composition.yaml", "-w", "--check")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{folder / 'composition.yaml'}: converted, comments kept; 2 examples render the same.\n"
    assert "# `address` is the host alone; `endpoint` would be host:port." in (folder / "composition.yaml").read_text()
    assert groundplane("validate", folder).exit_code == 0


NAMELESS = """\
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  patchSets:
  - name: secret
    patches:
    - {fromFieldPath: spec.text, toFieldPath: spec.writeConnectionSecretToRef.name}
  resources:
  - name: first
    base: &base
      apiVersion: s3.aws.upbound.io/v1beta1
      kind: Bucket
      spec: {forProvider: {region: eu-west-1}, writeConnectionSecretToRef: {namespace: crossplane-system}}
    # the patches
    patches:
    - fromFieldPath: spec.text  # tagged
      toFieldPath: spec.forProvider.tags.text
  - {name: 2nd One, base: *base}
  - {name: third, base: *base, patches: [{type: PatchSet, patchSetName: secret}]}
"""


def test_a_connection_secret_that_mode_resources_names_by_itself_is_named(tmp_path):
    write(tmp_path, definition=platform.DEFINITION, composition=NAMELESS, claim=platform.CLAIM)
    result = groundplane("convert", "pipeline-composition", tmp_path / "composition.yaml", "-w", "--check")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "composition.yaml").read_text()
    made = yaml.safe_load(text)["spec"]["pipeline"][0]["input"]["resources"]
    named = [each["patches"][-1] for each in made]
    assert [each.get("transforms", [{"string": {}}])[0]["string"].get("fmt") for each in named] == [
        "%s-first",
        "%s-2nd-one",
        None,
    ]
    assert {each.get("fromFieldPath") for each in named[:2]} == {"metadata.uid"}
    assert "renders the same" in result.output


def test_what_would_not_render_the_same_is_told_and_not_written(tmp_path):
    """Natively a transform must have a type: this Composition is refused, the converted one is not."""
    folder = write(tmp_path / "it", composition=COMMENTED, definition=platform.DEFINITION, claim=platform.CLAIM)
    result = groundplane("convert", "pipeline-composition", folder / "composition.yaml", "-w", "--check")
    assert result.exit_code == 1
    assert "it does not render the same" in result.stdout
    assert "transforms[0].type: must be set" in result.stdout
    assert "nothing was written" in result.stderr
    assert (folder / "composition.yaml").read_text() == COMMENTED


def test_an_example_of_which_a_pipeline_composes_nothing_is_told_with_what_fails(tmp_path):
    composition = yaml.safe_load(COMMENTED)
    (template,) = composition["spec"]["resources"]
    template["patches"] = [
        {
            "fromFieldPath": "metadata.name",
            "toFieldPath": "metadata.labels[size]",
            "transforms": [{"type": "map", "map": {"nobody": "small"}}],
        }
    ]
    folder = write(
        tmp_path / "it", composition=yaml.safe_dump(composition), definition=platform.DEFINITION, claim=platform.CLAIM
    )
    result = groundplane("convert", "pipeline-composition", folder / "composition.yaml", "-w", "--check")
    assert result.exit_code == 1
    assert "a pipeline composes nothing at all of it, where mode Resources leaves out what fails: " in result.stdout
    assert "(map): no entry for" in result.stdout


def test_a_controller_config_becomes_a_runtime_config(tmp_path):
    text = """
    apiVersion: pkg.crossplane.io/v1alpha1
    kind: ControllerConfig
    metadata: {name: debug, labels: {a: b}}
    spec: {args: [--debug], replicas: 2, serviceAccountName: aws, metadata: {annotations: {c: d}}, podSecurityContext: {fsGroup: 2000}}
    """
    result = converted(tmp_path, text, command="deployment-runtime")
    assert yaml.safe_load(result.stdout) == {
        "apiVersion": "pkg.crossplane.io/v1beta1",
        "kind": "DeploymentRuntimeConfig",
        "metadata": {"name": "debug"},
        "spec": {
            "deploymentTemplate": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "replicas": 2,
                    "selector": {},
                    "strategy": {},
                    "template": {
                        "metadata": {"annotations": {"c": "d"}},
                        "spec": {
                            "containers": [{"name": "package-runtime", "args": ["--debug"]}],
                            "securityContext": {"fsGroup": 2000},
                            "serviceAccountName": "aws",
                        },
                    },
                },
            },
            "serviceAccountTemplate": {"metadata": {"labels": {"a": "b"}, "name": "aws"}},
            "serviceTemplate": {"metadata": {"labels": {"a": "b"}}},
        },
    }
    (tmp_path / "runtime.yaml").write_text(result.stdout)
    assert groundplane("validate", tmp_path / "runtime.yaml").exit_code == 0


def test_an_environment_of_a_pipeline_becomes_a_step(tmp_path):
    text = (
        CONVERTED
        + "  environment: {environmentConfigs: [{type: Reference, ref: {name: x}}], policy: {resolution: Optional}}\n"
    )
    spec = yaml.safe_load(converted(tmp_path, text, command="composition-environment").stdout)["spec"]
    assert [step["step"] for step in spec["pipeline"]] == ["environment-configs", "patch-and-transform"]
    assert spec["pipeline"][0]["input"]["spec"]["policy"] == {"resolution": "Optional"}
    native = converted(tmp_path, COMMENTED, command="composition-environment")
    assert native.exit_code == 1
    assert "run `convert pipeline-composition` first" in native.stderr


def test_in_place_and_elsewhere_are_not_both(tmp_path):
    assert converted(tmp_path, COMMENTED, "-w", "-o", "x").exit_code == 80
    assert groundplane("convert", "pipeline-composition", "-w").exit_code == 80


def test_a_comment_before_the_first_mark_stays_in_its_document(tmp_path):
    (tmp_path / "x.yaml").write_text(f"# Ours.\n\n---\n{COMMENTED}")
    done = groundplane("convert", "pipeline-composition", tmp_path / "x.yaml")
    assert done.stdout.startswith("# Ours.\n\n---\n")
