"""`groundplane migrate`: manifests of v1 in, manifests of v2 out, and what is left to a person."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from groundplane.cli import yaml_edit
from tests.cli import platform
from tests.cli.platform import groundplane, write

LIBRARY = Path(__file__).resolve().parents[2] / "compositions"
DATABASE = LIBRARY / "database-aws"

ENGINE = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  resources:
  - name: bucket
    base:
      apiVersion: s3.aws.upbound.io/v1beta1
      kind: BucketVersioning
      spec:
        deletionPolicy: Orphan
        providerConfigRef: {name: team}
        forProvider: {region: eu-west-1, versioningConfiguration: [{status: Enabled}]}
    patches:
    - {fromFieldPath: spec.claimRef.namespace, toFieldPath: metadata.namespace}
    - {fromFieldPath: spec.text, toFieldPath: "spec.forProvider.versioningConfiguration[0].status"}
    - {type: ToCompositeFieldPath, fromFieldPath: "status.atProvider.versioningConfiguration[0].status", toFieldPath: status.state}
    - {fromFieldPath: spec.writeConnectionSecretToRef.name, toFieldPath: spec.forProvider.bucket}
    - type: CombineFromComposite
      combine: {strategy: string, variables: [{fromFieldPath: spec.claimRef.name}, {fromFieldPath: spec.text}], string: {fmt: "%s-%s"}}
      toFieldPath: spec.forProvider.bucket
  - {name: role, base: {apiVersion: other.example.org/v1, kind: Role}}
"""
STATUS = "          status: {type: object, properties: {state: {type: string}}}"
NOTES = f"""{platform.DEFINITION}{STATUS}
---
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {{name: notes}}
spec:
  compositeTypeRef: {{apiVersion: tests.example.com/v1, kind: XNote}}
  resources:
  - name: bucket
    base:
      apiVersion: s3.aws.upbound.io/v1beta1
      kind: BucketVersioning
      spec: {{forProvider: {{region: eu-west-1, bucket: a, versioningConfiguration: [{{status: Enabled}}]}}}}
    patches:
    - {{fromFieldPath: spec.text, toFieldPath: "spec.forProvider.versioningConfiguration[0].status"}}
    - {{type: ToCompositeFieldPath, fromFieldPath: "status.atProvider.versioningConfiguration[0].status", toFieldPath: status.state}}
"""
NOTES_TEST = """
apiVersion: test.crossplane.io/v1alpha1
kind: CompositionTest
metadata: {name: notes}
spec:
  defaults:
    inputs:
      xrd: {path: notes.yaml}
      composition: {path: notes.yaml}
      claim: {raw: {apiVersion: tests.example.com/v1, kind: Note, metadata: {name: first, namespace: team}, spec: {text: Suspended}}}
  tests:
  # why it matters
  - name: text is written
    patches: {addFields: {spec.compositionRef.name: notes, spec.text: Enabled}}
    assertions:
    - claim: {spec: {text: Enabled}}
      secret: {keys: []}
      resources: {bucket: {spec: {forProvider: {versioningConfiguration: [{status: Enabled}]}}}}
  - name: state comes back
    steps:
    - observe: {bucket: {status: {atProvider: {versioningConfiguration: [{status: "On"}]}}}}
      assertions: [{composite: {status: {state: "On"}}}]
  - {name: a Secret alone, assertions: [{secret: {keys: [a]}}]}
  - name: a Secret by name
    patches: {addFields: {spec.writeConnectionSecretToRef: {name: kept, namespace: x}}}
    assertions: [{ready: false}]
"""
COMMENTED = """\
# Copyright somebody.
---
# The notes.
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}  # by name
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  # all that is made
  resources:
  # the bucket
  - name: bucket
    base:
      apiVersion: s3.aws.upbound.io/v1beta1   # the group
      kind: BucketVersioning
      spec:
        # kept when the claim goes
        deletionPolicy: Orphan
        providerConfigRef:
          name: team  # of the team
        forProvider:
          region: eu-west-1  # Ireland
          versioningConfiguration:
          # one
          - status: Enabled   # on
            mfaDelete: Disabled
    patches:
    # where
    - {fromFieldPath: spec.claimRef.namespace, toFieldPath: metadata.namespace}
    # what
    - fromFieldPath: spec.text
      # there
      toFieldPath: "spec.forProvider.versioningConfiguration[0].status"
    # goes
    - fromFieldPath: spec.writeConnectionSecretToRef
      toFieldPath: spec.forProvider.bucket
    # back
    - {type: ToCompositeFieldPath, fromFieldPath: "status.atProvider.versioningConfiguration[0].status", toFieldPath: status.state}
    connectionDetails:
    # goes, too
    - fromConnectionSecretKey: x
  # last
  - {name: role, base: {apiVersion: other.example.org/v1, kind: Role}}
---
# claim
apiVersion: tests.example.com/v1
kind: Note
metadata: {name: first, namespace: team}
spec:
  # which
  compositionRef: {name: notes}
  resourceRef: {name: x}
  # the text
  text: |
    many

    lines
  # the end
"""
MOVED = """\
# Copyright somebody.
# The notes.
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes-v2}  # by name
spec:
  compositeTypeRef: {apiVersion: m.tests.example.com/v1, kind: Note}
  mode: Pipeline
  pipeline:
  - step: patch-and-transform
    functionRef:
      name: function-patch-and-transform
    input:
      apiVersion: pt.fn.crossplane.io/v1beta1
      kind: Resources
      # all that is made
      resources:
      # the bucket
      - name: bucket
        base:
          apiVersion: s3.aws.m.upbound.io/v1beta1   # the group
          kind: BucketVersioning
          spec:
            # kept when the claim goes
            managementPolicies:
            - Observe
            - Create
            - Update
            - LateInitialize
            providerConfigRef:
              kind: ClusterProviderConfig
              name: team  # of the team
            forProvider:
              region: eu-west-1  # Ireland
              versioningConfiguration:
              # one
                status: Enabled   # on
                mfaDelete: Disabled
        patches:
        # where
        - {type: FromCompositeFieldPath, fromFieldPath: metadata.namespace, toFieldPath: metadata.namespace}
        # what
        - type: FromCompositeFieldPath
          fromFieldPath: spec.text
          # there
          toFieldPath: spec.forProvider.versioningConfiguration.status
        # back
        - {type: ToCompositeFieldPath, fromFieldPath: status.atProvider.versioningConfiguration.status, toFieldPath: status.state}
      # last
      - {name: role, base: {apiVersion: other.example.org/v1, kind: Role}}
---
# claim
apiVersion: m.tests.example.com/v1
kind: Note
metadata: {name: first, namespace: team}
spec:
  # which
  crossplane:
    compositionRef:
      name: notes-v2
  # the text
  text: |
    many

    lines
  # the end
"""
CLAIM = platform.CLAIM.replace(
    "spec: {text",
    "spec: {compositionRef: {name: notes}, resourceRef: {name: x}, writeConnectionSecretToRef: {name: s}, text",
)


def migrated(tmp_path: Path, **files: str) -> tuple[dict[str, dict], str]:
    source = write(tmp_path / "v1", **files)
    result = groundplane("migrate", "v2", source, "-o", tmp_path / "v2")
    assert result.exit_code == 0, result.output
    found = {file.stem: yaml.safe_load(file.read_text()) for file in (tmp_path / "v2").iterdir()}
    return found, result.stdout


def test_definition_composition_and_claim_become_those_of_composites_in_namespaces(tmp_path):
    made, told = migrated(tmp_path, definition=platform.DEFINITION, composition=ENGINE, claim=CLAIM)
    definition = made["definition"]
    assert (definition["apiVersion"], definition["metadata"]["name"]) == (
        "apiextensions.crossplane.io/v2",
        "notes.m.tests.example.com",
    )
    assert definition["spec"]["scope"] == "Namespaced"
    assert definition["spec"]["names"]["kind"] == "Note"
    assert "claimNames" not in definition["spec"]
    assert made["claim"] == {
        "apiVersion": "m.tests.example.com/v1",
        "kind": "Note",
        "metadata": {"name": "first", "namespace": "team", "labels": {"tier": "gold"}},
        "spec": {"text": "hello", "length": 5, "crossplane": {"compositionRef": {"name": "notes-v2"}}},
    }
    assert "Note team/first: writeConnectionSecretToRef: composites of v2 have no connection Secret" in told
    composition = made["composition"]
    assert composition["metadata"]["name"] == "notes-v2"
    assert composition["spec"]["compositeTypeRef"] == {"apiVersion": "m.tests.example.com/v1", "kind": "Note"}
    bucket, _ = composition["spec"]["pipeline"][0]["input"]["resources"]
    assert bucket["base"] == {
        "apiVersion": "s3.aws.m.upbound.io/v1beta1",
        "kind": "BucketVersioning",
        "spec": {
            "managementPolicies": ["Observe", "Create", "Update", "LateInitialize"],
            "providerConfigRef": {"kind": "ClusterProviderConfig", "name": "team"},
            "forProvider": {"region": "eu-west-1", "versioningConfiguration": {"status": "Enabled"}},
        },
    }
    first, second, third, secret, combined = bucket["patches"]
    assert (secret["fromFieldPath"], secret["toFieldPath"]) == ("metadata.uid", "spec.forProvider.bucket")
    assert (first["fromFieldPath"], first["toFieldPath"]) == ("metadata.namespace", "metadata.namespace")
    assert second["toFieldPath"] == "spec.forProvider.versioningConfiguration.status"
    assert third["fromFieldPath"] == "status.atProvider.versioningConfiguration.status"
    assert [each["fromFieldPath"] for each in combined["combine"]["variables"]] == ["metadata.name", "spec.text"]
    assert "patches[3]: reads metadata.uid now, where it read spec.writeConnectionSecretToRef.name" in told
    assert "resource role: Role of other.example.org/v1 may not be in a namespace" in told


BY_NAME = """\
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  mode: Pipeline
  pipeline:
  - step: patches
    functionRef: {name: function-patch-and-transform}
    input:
      apiVersion: pt.fn.crossplane.io/v1beta1
      kind: Resources
      resources:
      - name: bucket
        base: {apiVersion: s3.aws.upbound.io/v1beta1, kind: Bucket, spec: {forProvider: {region: eu-west-1}}}
        patches:
        - {fromFieldPath: metadata.name, toFieldPath: "metadata.annotations[crossplane.io/external-name]"}
        - {fromFieldPath: metadata.name, toFieldPath: "spec.forProvider.tags.note"}
        - {fromFieldPath: metadata.name, toFieldPath: "metadata.labels[note]"}
        - {fromFieldPath: spec.text, toFieldPath: metadata.name}
        - {fromFieldPath: metadata.name}
        - type: CombineFromComposite
          combine: {strategy: string, variables: [{fromFieldPath: metadata.name}, {fromFieldPath: spec.text}], string: {fmt: "%s-%s"}}
          toFieldPath: spec.forProvider.name
        - type: CombineFromComposite
          combine: {strategy: string, variables: [{fromFieldPath: metadata.name}, {fromFieldPath: metadata.uid}], string: {fmt: "%s-%s"}}
          toFieldPath: metadata.name
        - {type: ToCompositeFieldPath, fromFieldPath: metadata.name, toFieldPath: status.name}
  - step: alone
    functionRef: {name: function-go-templating}
    input:
      apiVersion: gotemplating.fn.crossplane.io/v1beta1
      kind: GoTemplate
      source: Inline
      inline: {template: "name: {{ .observed.composite.resource.metadata.name }}"}
  - step: apart
    functionRef: {name: function-go-templating}
    input:
      apiVersion: gotemplating.fn.crossplane.io/v1beta1
      kind: GoTemplate
      source: Inline
      inline: {template: "name: {{ .observed.composite.resource.metadata.namespace }}-{{ .observed.composite.resource.metadata.name }}"}
"""


NETWORKED = """\
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  patchSets:
  - name: secret
    patches:
    - {fromFieldPath: metadata.uid, toFieldPath: spec.writeConnectionSecretToRef.name}
  resources:
  - name: Data base
    base: &base
      apiVersion: rds.aws.upbound.io/v1beta1
      kind: Instance
      spec:
        forProvider:
          region: eu-west-1
          dbSubnetGroupNameSelector: {matchLabels: {type: database}}
          parameterGroupNameSelector: {matchControllerRef: true}
          passwordSecretRef: {name: p, namespace: x, key: password}
        writeConnectionSecretToRef: {namespace: crossplane-system}
  - name: named
    base: *base
    patches:
    - {type: PatchSet, patchSetName: secret}
"""


def test_a_connection_secret_without_a_name_gets_one_and_what_is_outside_of_the_composite_is_told(tmp_path):
    """In the first generation the operator derives a name; in a namespace the API server asks for it."""
    made, told = migrated(tmp_path, definition=platform.DEFINITION, notes=NETWORKED)
    nameless, named = made["notes"]["spec"]["pipeline"][0]["input"]["resources"]
    (patch,) = nameless["patches"]
    assert (patch["fromFieldPath"], patch["toFieldPath"]) == ("metadata.name", "spec.writeConnectionSecretToRef.name")
    assert patch["transforms"][0]["string"]["fmt"] == "%s-data-base"
    assert named["patches"] == [{"type": "PatchSet", "patchSetName": "secret"}]
    assert told.count("writeConnectionSecretToRef had no name") == 1
    assert "it is <composite>-data-base now" in told
    assert told.count("dbSubnetGroupNameSelector means objects of the second generation now") == 2
    assert "parameterGroupNameSelector means" not in told
    assert "SecretRef means" not in told


def test_names_that_two_namespaces_would_both_ask_aws_for_are_told(tmp_path):
    """The composite of v1 had a name that no other had; the claim's name may be in each namespace."""
    _, told = migrated(tmp_path, definition=platform.DEFINITION, notes=BY_NAME)
    lines = [line for line in told.splitlines() if "two of one name in two namespaces" in line]
    assert [re.search(r"patches\[\d\]: makes \S+|step \w+", line).group() for line in lines] == [
        "patches[0]: makes metadata.annotations[crossplane.io/external-name]",
        "patches[4]: makes metadata.name",
        "patches[5]: makes spec.forProvider.name",
        "step alone",
    ]
    assert all("Mend: put metadata.namespace into the name as well" in line for line in lines)


def test_two_definitions_of_one_kind_are_refused_and_no_composition_gets_anothers_name(tmp_path):
    other = platform.DEFINITION.replace("tests.example.com", "other.example.com")
    write(tmp_path / "v1", one=platform.DEFINITION, other=other)
    refused = groundplane("migrate", "v2", tmp_path / "v1", "-o", tmp_path / "v2", "--group", "new.example.com")
    assert refused.exit_code == 1
    assert (
        "definitions xnotes.tests.example.com and xnotes.other.example.com would both make Note of new"
        in refused.stderr
    )
    assert "Mend: leave --group out" in refused.stderr
    assert not (tmp_path / "v2").exists()
    taken = ENGINE.replace("metadata: {name: notes}", "metadata: {name: notes-v2}")
    made, _ = migrated(tmp_path, one=platform.DEFINITION, other=other, first=ENGINE, taken=taken, claim=CLAIM)
    assert made["first"]["metadata"]["name"] == "notes-v2-v2"
    assert made["taken"]["metadata"]["name"] == "notes-v2-v2-v2"
    assert made["claim"]["spec"]["crossplane"]["compositionRef"]["name"] == "notes-v2-v2"


def test_the_library_becomes_manifests_that_are_right(tmp_path):
    result = groundplane("migrate", "v2", DATABASE, "-o", tmp_path / "v2", "--group", "platform.example.org")
    assert result.exit_code == 0, result.output
    assert (
        yaml.safe_load((tmp_path / "v2/definition.yaml").read_text())["metadata"]["name"]
        == "databases.platform.example.org"
    )
    checked = groundplane("validate", tmp_path / "v2")
    assert checked.exit_code == 0, checked.output
    again = groundplane("migrate", "v2", DATABASE, "-o", tmp_path / "v2")
    assert again.exit_code == 1
    assert "is not empty" in again.stderr


def test_kinds_of_postgresql_and_their_provider_config_become_those_of_namespaces(tmp_path):
    result = groundplane("migrate", "v2", LIBRARY / "database-postgresql", "-o", tmp_path / "v2")
    assert result.exit_code == 0, result.output
    assert "may not be in a namespace" not in result.output
    source = yaml.safe_load((tmp_path / "v2/composition.yaml").read_text())
    bases = [each["base"] for each in source["spec"]["pipeline"][0]["input"]["resources"]]
    assert {each["apiVersion"] for each in bases} == {"postgresql.sql.m.crossplane.io/v1alpha1"}
    _, config = yaml.safe_load_all((tmp_path / "v2/provider.yaml").read_text())
    assert (config["apiVersion"], config["kind"]) == (
        "postgresql.sql.m.crossplane.io/v1alpha1",
        "ClusterProviderConfig",
    )
    checked = groundplane("validate", tmp_path / "v2")
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("name", "tests", "count"),
    [
        ("bucket-aws", "tests", 3),
        ("cache-aws", "tests", 4),
        ("database-aws", "tests/database.yaml", 6),  # one of seven sets the composite's connection Secret
        ("network-aws", "tests", 5),
        ("queue-aws", "tests", 2),
        ("table-aws", "tests", 4),
    ],
)
def test_the_librarys_tests_come_along_and_pass(tmp_path, name, tests, count):
    source = LIBRARY / name
    shutil.copytree(source, tmp_path / "v1", ignore=shutil.ignore_patterns("v2"))
    migrated = groundplane("migrate", "v2", tmp_path / "v1", "-o", tmp_path / "v2")
    assert migrated.exit_code == 0, migrated.output
    assert " 0 failed" in migrated.output
    assert ("on AWS's stand-in not run" in migrated.output) == (name == "database-aws")
    assert ("  Snapshots were written anew" in migrated.output) == (name != "database-aws")
    ran = groundplane("test", tmp_path / "v2" / tests)
    assert f"{count} passed, 0 failed" in ran.output, ran.output


def test_what_is_asserted_goes_with_what_it_is_about(tmp_path):
    write(tmp_path / "v1", notes=NOTES, test=NOTES_TEST)
    migrated = groundplane("migrate", "v2", tmp_path / "v1", "-o", tmp_path / "v2")
    test = yaml.safe_load((tmp_path / "v2/test.yaml").read_text())
    [first, second] = test["spec"]["tests"]
    assert test["spec"]["defaults"]["inputs"]["composite"]["raw"]["apiVersion"] == "m.tests.example.com/v1"
    assert first["patches"] == {
        "addFields": {"spec.crossplane.compositionRef.name": "notes-v2", "spec.text": "Enabled"}
    }
    versioning = {"forProvider": {"versioningConfiguration": {"status": "Enabled"}}}
    assert first["assertions"] == [
        {"composite": {"spec": {"text": "Enabled"}}, "resources": {"bucket": {"spec": versioning}}}
    ]
    assert second["steps"][0]["observe"]["bucket"]["status"]["atProvider"] == {
        "versioningConfiguration": {"status": "On"}
    }
    told = migrated.output
    assert '"a Secret alone" is left out: all that it asserts is of what v2 has not' in told
    assert '"a Secret by name" is left out, as it sets spec.writeConnectionSecretToRef' in told
    assert "secret is not asserted: composites of v2 have no connection Secret" in told
    assert told.endswith("  Tests: 2 passed, 0 failed.\n")  # and has no snapshots
    assert "# why it matters" in (tmp_path / "v2/test.yaml").read_text()


def test_what_is_tested_and_fails_is_told(tmp_path):
    write(tmp_path / "v1", notes=NOTES, test=NOTES_TEST.replace('status: "On"}', 'status: "Off"}', 1))
    told = groundplane("migrate", "v2", tmp_path / "v1", "-o", tmp_path / "v2").output
    assert "Tests: 1 passed, 1 failed" in told
    assert "test notes › state comes back fails: composite status.state" in told


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("tests",), True, "spec.tests"),
        (("defaults", "inputs"), [None], "spec.defaults.inputs"),
        (("tests", 1, "steps"), [None], "spec.tests[1].steps[0]"),
        (("tests", 0, "patches", "addFields"), 5, "spec.tests[0].patches.addFields"),
        (("tests", 0, "patches", "addFields", "spec.compositionRef.name"), {"a": 1}, "text is written fails"),
        (("defaults", "inputs", "claim", "raw", "metadata"), 5, "metadata"),
    ],
)
def test_a_test_that_is_none_stays_as_it_is_and_that_is_told(tmp_path, place, value, told):
    test = yaml.safe_load(NOTES_TEST)
    holder = test["spec"]
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    write(tmp_path / "v1", notes=NOTES, test=yaml.safe_dump(test))
    migrated = groundplane("migrate", "v2", tmp_path / "v1", "-o", tmp_path / "v2")
    assert migrated.exit_code == 0
    assert told in migrated.output


def test_what_stands_in_the_way_is_counted_by_upstreams_categories(tmp_path):
    provider = "apiVersion: pkg.crossplane.io/v1\nkind: Provider\nmetadata: {name: p}\nspec: {package: upbound/provider-aws:v1}\n"
    source = write(tmp_path / "v1", composition=ENGINE, provider=provider)
    result = groundplane("migrate", "check", source)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "[✗] 2 issues, 0 informational, 0 incomplete checks.",
        "[✗] Native patch and transform - 1 issue",
        "    Composition notes",
        "    Fix: groundplane convert pipeline-composition",
        "[✓] ControllerConfigs",
        "[✓] External secret stores",
        "[✗] Packages without a registry - 1 issue",
        "    Provider p (upbound/provider-aws:v1)",
        "    Fix: write the registry: xpkg.crossplane.io/…",
        "[✓] Connection details of composites",
    ]
    assert groundplane("migrate", "check", write(tmp_path / "v2", claim=platform.CLAIM)).exit_code == 0


@pytest.mark.parametrize("text", ["a: [", "- a"])
def test_what_can_not_be_read_is_not_taken_for_nothing(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert groundplane("migrate", "v2", tmp_path / "a.yaml", "-o", tmp_path / "v2").exit_code == 1
    assert "1 incomplete checks" in groundplane("migrate", "check", tmp_path / "a.yaml").stdout


def test_comments_stay_with_what_stays(tmp_path):
    source = write(tmp_path / "v1", definition=platform.DEFINITION, commented=COMMENTED)
    result = groundplane("migrate", "v2", source, "-o", tmp_path / "v2")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "v2/commented.yaml").read_text() == MOVED
    assert "lost" not in result.output


def test_the_librarys_comments_stay(tmp_path):
    for composition in ("database-aws", "bucket-aws", "network-aws"):
        result = groundplane("migrate", "v2", DATABASE.parent / composition, "-o", tmp_path / composition)
        assert "lost" not in result.output
        text = (tmp_path / composition / "definition.yaml").read_text()
        before = (DATABASE.parent / composition / "definition.yaml").read_text().splitlines()
        assert all(line in text for line in before if line.strip().startswith("#"))


@pytest.mark.parametrize(
    "text",
    [
        f"apiVersion: v1\nkind: List\nitems:\n# here\n- {json.dumps(yaml.safe_load(platform.CLAIM))}\n",
        ENGINE.replace("spec:\n  comp", "spec:  # here\n  environment: {environmentConfigs: []}\n  comp", 1),
    ],
)
def test_comments_that_can_not_stay_are_told_to_be_lost(tmp_path, text):
    source = write(tmp_path / "v1", definition=platform.DEFINITION, odd=text)
    result = groundplane("migrate", "v2", source, "-o", tmp_path / "v2")
    assert f"{tmp_path / 'v2' / 'odd.yaml'}: comments were lost" in result.output
    assert yaml.safe_load((tmp_path / "v2/odd.yaml").read_text())["apiVersion"]


def test_comments_between_documents_stay_and_no_document_is_lost(tmp_path):
    claims = [platform.CLAIM.strip().replace("first", name) for name in ("first", "second")]
    between = f"# above\n---\n{claims[0]}\n---\n# between\n---\n{claims[1]}\n---\n# below\n"
    breaks = "\u2028" * 30  # lines for YAML, and for nobody else
    odd = "\n---\n".join([claims[0].replace("hello", f'"{breaks}"'), claims[1]])
    groundplane(
        "migrate", "v2", write(tmp_path / "v1", d=platform.DEFINITION, between=between, odd=odd), "-o", tmp_path / "v2"
    )
    text = (tmp_path / "v2/between.yaml").read_text()
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# above", "# between", "# below"]
    for name in ("between", "odd"):
        made = list(yaml.safe_load_all((tmp_path / "v2" / f"{name}.yaml").read_text()))
        assert [each["metadata"]["name"] for each in made] == ["first", "second"]


@pytest.mark.parametrize(
    "above",
    [
        "--- # kept\n",
        "~ # kept\n---\n",
        "# kept\n%YAML 1.1\n---\n",
        "replicas: 3 # kept\n---\n",  # in a folder what is no object is left out
        "- # kept\n  1\n---\n",
    ],
)
def test_of_a_document_that_is_no_object_comments_stay_and_nothing_else(tmp_path, above):
    """Also above what stays as it is."""
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}  # here\n"
    source = write(tmp_path / "v1", a=f"{above}{other}", b=f"{other}...\n%YAML 1.1\n---\nnull\n")
    groundplane("migrate", "v2", source, "-o", tmp_path / "v2")
    text = (tmp_path / "v2/a.yaml").read_text()
    assert text == f"# kept\n{other}"
    assert yaml.safe_load((tmp_path / "v2/b.yaml").read_text()) == yaml.safe_load(other)


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a: [{b: 1}]  # x\n", {"a": {"b": 2}}),
        ("a:  # x\n- b: 1\n  c: 2  # y\n", {"a": {"b": 1, "c": 3}}),
        ("a:\n- 1\n# two\n- 2\n- 3  # three\n", {"a": [1, 3]}),
        ("# x\na:\n- b: {c: 1, d: 2}\n", {"a": [{"b": {"c": 1}}]}),
        ("# x\na:\n- 1\nb: 2\n", {"a": [], "b": 2}),
        ("a: |\n  text\nb: 1  # x\n", {"a": "other", "b": 1}),
        ("# x\na: 1\nb: 2\n", {"c": {"d": ["y", "1", ""]}}),
        ("a:\n  # x\n  b: 1\n", {"a": 1}),
        ("a: &x {b: 1}  # x\nc: *x\n", {"a": {"b": 2}, "c": {"b": 2}}),
        ("a:\n- b: 1  # x\nc: 2\n", {"a": [{"b": 3}, {"d": {"e": [1]}}, "f"], "c": 2}),
        ("# x\na:\n- 1\n- [2]", {"a": [1, [2], [3]]}),
    ],
)
def test_a_text_says_something_else_and_keeps_its_comments(text, new):
    made = yaml_edit.edited(text, yaml.safe_load(text), new)
    assert made is not None
    assert yaml.safe_load(made) == new
    assert "# x" in made or "# three" in made


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a:  # x\n  b: 1\n", {"a": {}}),
        ("a:\n- b: 1  # x\n  c: 2\n", {"a": [{"c": 2}]}),
        ("a: &x {b: 1}  # x\nc: *x\n", {"a": {"b": 2}, "c": {"b": 1}}),
        ("a: 1 # x\n---\nb: 2\n", {"a": 2}),
    ],
)
def test_a_text_that_would_lose_comments_is_not_changed(text, new):
    assert yaml_edit.edited(text, next(yaml.safe_load_all(text)), new) is None
