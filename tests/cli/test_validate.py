"""`groundplane validate`: what it finds, where, and how it tells it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from groundplane.cli.built_in import EveryKind
from groundplane.runtime import clouds
from tests.cli import platform
from tests.cli.platform import groundplane, write

REPOSITORY = Path(__file__).resolve().parents[2]
DATABASE = REPOSITORY / "compositions" / "database-aws"

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: dbs.example.org}
spec:
  group: example.org
  names: {kind: DB, plural: dbs}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - {rule: "self.size != 'xl' || has(self.big)", message: xl needs big}
            properties:
              size: {type: string, enum: [s, m, xl]}
              big: {type: boolean}
              replicas: {type: integer}
              defaulted: {type: string, default: x}
"""
GOOD = "apiVersion: example.org/v1\nkind: DB\nmetadata: {name: good}\nspec: {size: s}\n"
BAD = """\
apiVersion: example.org/v1
kind: DB
metadata: {name: bad}
spec:
  size: huge
  extra: 1
"""
RULE = "apiVersion: example.org/v1\nkind: DB\nmetadata: {name: cel}\nspec:\n  size: xl\n"
UNKNOWN = "apiVersion: foo.org/v1\nkind: Bar\nmetadata: {name: bar}\n"


@pytest.fixture
def crd(tmp_path):
    (tmp_path / "crd.yaml").write_text(CRD)
    return tmp_path / "crd.yaml"


def judged(crd: Path, *texts: str, flags: tuple[str, ...] = ()):
    file = crd.parent / "objects.yaml"
    file.write_text("---\n".join(texts))
    return groundplane("validate", crd, file, *flags)


def lines(result) -> list[str]:
    return [line for line in result.stdout.splitlines() if line.startswith("[")]


# --- as upstream ------------------------------------------------------------------------------------------


def test_the_lines_begin_as_upstreams_and_tell_mend_and_place(crd):
    result = judged(crd, GOOD, BAD, RULE, UNKNOWN)
    file = crd.parent / "objects.yaml"
    assert result.stdout.splitlines() == [
        "[✓] example.org/v1, Kind=DB, good validated successfully",
        '[x] schema validation error example.org/v1, Kind=DB, bad : spec.size: Unsupported value: "huge": supported values: '
        f'"s", "m", "xl" ({file}:10:9)',
        '[x] schema validation error example.org/v1, Kind=DB, bad : spec.extra: Invalid value: "extra": unknown field: '
        f'"extra". Mend: remove it: the API server drops it. ({file}:11:3)',
        f'[x] CEL validation error example.org/v1, Kind=DB, cel : spec: Invalid value: "object": xl needs big ({file}:16:1)',
        "[!] could not find CRD/XRD for: foo.org/v1, Kind=Bar",
        "Total 4 resources: 1 missing schemas, 1 success cases, 2 failure cases",
    ]
    assert result.exit_code == 1
    assert result.stderr == "Error: could not validate all resources\n"


DEFAULTS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: apps.example.org}
spec:
  group: example.org
  names: {kind: App, plural: apps}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [replicas, nested]
            x-kubernetes-validations:
            - {rule: "self.replicas == 3 && self.nested.deep.mode == 'auto'", message: not the defaults}
            properties:
              replicas: {type: integer, default: 3}
              nested:
                type: object
                default: {}
                properties:
                  deep: {type: object, default: {}, properties: {mode: {type: string, default: auto}}}
              ports:
                type: array
                maxItems: 3
                items:
                  type: object
                  required: [protocol]
                  properties: {port: {type: integer}, protocol: {type: string, default: TCP, enum: [TCP, UDP]}}
                x-kubernetes-validations: [{rule: "self.all(port, port.protocol == 'TCP')", message: only TCP}]
"""


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("{}", []),
        ("{replicas: 3}", []),
        ("{replicas: 4}", ["CEL validation error: spec: "]),
        ("{nested: {deep: {}}}", []),
        ("{nested: {deep: {mode: hand}}}", ["CEL validation error: spec: "]),
        ("{ports: [{port: 80}, {port: 443, protocol: TCP}]}", []),
        ("{ports: [{port: 80}, {port: 443, protocol: UDP}]}", ["CEL validation error: spec.ports: "]),
        ("{replicas: three}", ["schema validation error: spec.replicas: "]),
        ("{ports: [{port: 80, protocol: SCTP}]}", ["schema validation error: spec.ports[0].protocol: "]),
    ],
)
def test_defaults_come_before_what_is_required_and_asked_and_what_is_given_stays(tmp_path, spec, wrong):
    (tmp_path / "crd.yaml").write_text(DEFAULTS)
    app = f"apiVersion: example.org/v1\nkind: App\nmetadata: {{name: a}}\nspec: {spec}\n"
    result = judged(tmp_path / "crd.yaml", app)
    label = " example.org/v1, Kind=App, a : "
    told = [line.removeprefix("[x] ").replace(label, ": ") for line in lines(result) if line.startswith("[x]")]
    assert len(told) == len(wrong), result.stdout
    assert all(line.startswith(begin) for line, begin in zip(told, wrong, strict=True)), told
    assert result.exit_code == bool(wrong)


def test_objects_are_told_in_the_order_of_the_files(crd):
    names = ["zeta", "alpha", "mid", "beta"]
    texts = [GOOD.replace("good", name) for name in names]
    assert [line.split()[3] for line in lines(judged(crd, *texts))] == names
    document = json.loads(judged(crd, *texts, flags=("-o", "json")).stdout)
    assert [each["name"] for each in document["resources"]] == names


def test_what_is_right_is_right(crd):
    result = judged(crd, GOOD)
    assert result.exit_code == 0
    assert result.stdout.endswith("Total 1 resources: 0 missing schemas, 1 success cases, 0 failure cases\n")


def test_a_missing_schema_fails_only_if_that_is_asked_for(crd):
    assert judged(crd, UNKNOWN).exit_code == 0
    result = judged(crd, UNKNOWN, flags=("--error-on-missing-schemas",))
    assert result.exit_code == 1
    assert "could not validate all resources, schema(s) missing" in result.stderr


def test_successes_are_left_out_of_text_and_count_all_the_same(crd):
    flags = ("--skip-success-results", "--cache-dir", "/nowhere", "--clean-cache", "--crossplane-image", "x")
    result = judged(crd, GOOD, flags=flags)
    assert result.exit_code == 0
    assert result.stdout == "Total 1 resources: 0 missing schemas, 1 success cases, 0 failure cases\n"
    as_json = json.loads(judged(crd, GOOD, flags=("--skip-success-results", "-o", "json")).stdout)
    assert [each["status"] for each in as_json["resources"]] == ["valid"]


def test_json_has_upstreams_fields_and_the_place(crd):
    result = judged(crd, GOOD, BAD, UNKNOWN, flags=("-o", "json"))
    document = json.loads(result.stdout)
    assert document["summary"] == {
        "total": 3,
        "valid": 1,
        "invalid": 1,
        "missingSchemas": 1,
        "unchecked": 0,
        "warnings": 0,
    }
    assert [(each["name"], each["status"]) for each in document["resources"]] == [
        ("good", "valid"),
        ("bad", "invalid"),
        ("bar", "missingSchema"),
    ]
    size, extra = document["resources"][1]["errors"]
    assert (size["type"], size["field"], size["value"], size["line"], size["column"]) == (
        "schema",
        "spec.size",
        "huge",
        10,
        9,
    )
    assert (extra["type"], extra["line"], extra["column"]) == ("unknownField", 11, 3)
    assert yaml.safe_load(judged(crd, GOOD, BAD, UNKNOWN, flags=("-o", "yaml")).stdout) == document


def test_sarif_and_github_name_file_line_and_column(crd):
    file = str(crd.parent / "objects.yaml")
    sarif = json.loads(judged(crd, BAD, flags=("-o", "sarif")).stdout)
    results = sarif["runs"][0]["results"]
    assert [each["ruleId"] for each in results] == ["schema", "unknownField"]
    place = results[0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": file}, "region": {"startLine": 5, "startColumn": 9}}
    told = judged(crd, BAD, flags=("-o", "github")).stdout.splitlines()
    assert told[0].startswith(f"::error file={file},line=5,col=9,title=DB bad%3A schema validation error::spec.size: ")


def test_an_output_that_does_not_exist_is_wrong_usage(crd):
    assert judged(crd, GOOD, flags=("-o", "xml")).exit_code == 80


def test_standard_input_is_read_once(crd):
    code = subprocess.run(
        [sys.executable, "-m", "groundplane.cli.main", "validate", str(crd), "-"],
        input=GOOD,
        capture_output=True,
        text=True,
    )
    assert code.returncode == 0, code.stderr
    assert "good validated successfully" in code.stdout
    assert groundplane("validate", "-", "-").exit_code == 80


def test_a_list_with_commas_and_folders_with_folders_in_them(crd, tmp_path):
    inner = tmp_path / "in" / "ner"
    inner.mkdir(parents=True)
    (inner / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("good", "other"))
    result = groundplane("validate", crd, f"{tmp_path / 'in'},{tmp_path / 'b.yaml'}")
    assert [line.split(", ")[-1].split()[0] for line in lines(result)] == ["good", "other"]


def test_the_inputs_of_steps_come_before_their_composition_and_count(tmp_path):
    text = """
    apiVersion: apiextensions.crossplane.io/v1
    kind: Composition
    metadata: {name: c}
    spec:
      compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
      mode: Pipeline
      pipeline:
      - step: known
        functionRef: {name: function-patch-and-transform}
        input:
          apiVersion: pt.fn.crossplane.io/v1beta1
          kind: Resources
          resources:
          - {name: map, base: {apiVersion: v1, kind: ConfigMap}, patches: [{type: FromCompositeFieldPath, fromFieldPath: spec.test}]}
      - step: other
        functionRef: {name: function-of-ours}
        input: {apiVersion: ours.example.org/v1, kind: Input}
    """
    folder = write(tmp_path / "it", composition=text, definition=platform.DEFINITION)
    found = lines(groundplane("validate", folder / "definition.yaml", folder / "composition.yaml"))
    assert "pt.fn.crossplane.io/v1beta1, Kind=Resources,  : step known › resource map › patches[0]" in found[0]
    assert "did you mean text?" in found[0]
    assert found[1] == "[!] could not find CRD/XRD for: ours.example.org/v1, Kind=Input"
    assert "Kind=Composition, c : step other › functionRef.name: no function" in found[2]


# --- what is built in --------------------------------------------------------------------------------------


def test_the_library_of_this_repository_is_right_and_kinds_of_aws_need_no_file():
    result = groundplane("validate", "--strict", DATABASE)
    assert result.exit_code == 0, result.output
    assert "rds.aws.upbound.io/v1beta1, Kind=SubnetGroup, database validated successfully" in result.stdout


ARCHIVES = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: archives}
spec:
  compositeTypeRef: {apiVersion: example.org/v1, kind: XArchive}
  mode: Resources
  resources:
  - name: bucket
    base: {apiVersion: s3.aws.upbound.io/v1beta1, kind: Bucket, spec: {forProvider: {}}}
    patches: PATCHES
---
apiVersion: example.org/v1
kind: XArchive
metadata: {name: a}
spec: {}
"""
ARCHIVE = """
apiVersion: apiextensions.crossplane.io/v1
kind: CompositeResourceDefinition
metadata: {name: xarchives.example.org}
spec:
  group: example.org
  names: {kind: XArchive, plural: xarchives}
  versions:
  - {name: v1, served: true, referenceable: true, schema: {openAPIV3Schema: {type: object, properties: {
      spec: {type: object, properties: {where: {type: string}}}, status: {type: object, properties: {where: {type: string}}}}}}}
"""


@pytest.mark.parametrize(
    "patches, is_told",
    [
        ("[]", True),
        ("[{fromFieldPath: spec.where, toFieldPath: 'spec.forProvider.tags[where]'}]", True),
        ("[{fromFieldPath: spec.where, toFieldPath: spec.forProvider.region}]", False),
        (
            "[{fromFieldPath: status.where, toFieldPath: spec.forProvider.region, policy: {fromFieldPath: Optional}}]",
            False,
        ),
    ],
)
def test_a_required_field_that_nothing_writes_is_told_by_validate_and_render(tmp_path, patches, is_told):
    (tmp_path / "xrd.yaml").write_text(ARCHIVE)
    composition, composite = ARCHIVES.replace("PATCHES", patches).split("---")
    (tmp_path / "composition.yaml").write_text(composition)
    (tmp_path / "xr.yaml").write_text(composite)
    told = (
        "resource bucket › rendered: spec.forProvider.region: Required value. Mend: set it in the base, or by a patch."
    )
    validated = groundplane("validate", tmp_path)
    assert validated.exit_code == 0
    assert (told in validated.stdout) is is_told
    assert groundplane("validate", "--strict", tmp_path).exit_code == int(is_told)
    rendered = groundplane("render", tmp_path / "xr.yaml", tmp_path / "composition.yaml")
    assert (told in rendered.stderr) is is_told


@pytest.mark.parametrize("folder", ["bucket-v2", "function-python"])
def test_the_examples_are_right(folder):
    result = groundplane("validate", REPOSITORY / "examples" / folder)
    assert [
        line for line in lines(result) if "[x]" in line and "function-python" not in line and "functionRef" not in line
    ] == []


@pytest.mark.parametrize(
    "text, tells",
    [
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: 1}\n",
            "data.x in body must be of type string",
        ),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replica: 1}\n", "did you mean replicas?"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: three}\n",
            '[x] schema validation error apps/v1, Kind=Deployment, a : spec.replicas: Invalid value: "string"',
        ),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, targetPort: http}]}\n", "[✓]"),
        (
            "apiVersion: v1\nkind: ConfigMop\nmetadata: {name: a}\n",
            "[!] could not find CRD/XRD for: /v1, Kind=ConfigMop",
        ),
        (
            "apiVersion: s3.aws.upbound.io/v1beta1\nkind: Buket\nmetadata: {name: a}\n",
            "s3.aws.upbound.io/v1beta1, Kind=Buket (did you mean Bucket?)",
        ),
        (
            "apiVersion: pkg.crossplane.io/v1\nkind: Provider\nmetadata: {name: a}\nspec: {packge: x}\n",
            "did you mean package?",
        ),
        (
            "apiVersion: iam.aws.upbound.io/v1beta1\nkind: Policy\nmetadata: {name: a}\nspec: {forProvider: {policy: '{'}}\n",
            "[x] AWS error iam.aws.upbound.io/v1beta1, Kind=Policy, a : spec.forProvider.policy: is no JSON",
        ),
        (
            "apiVersion: postgresql.sql.crossplane.io/v1alpha1\nkind: Grant\nmetadata: {name: a}\n"
            "spec: {forProvider: {privileges: [SELEKT], role: r, database: d}}\n",
            "[x] PostgreSQL error postgresql.sql.crossplane.io/v1alpha1, Kind=Grant, a : spec.forProvider.privileges: SELEKT",
        ),
        (
            "apiVersion: s3.aws.upbound.io/v1beta1\nkind: Bucket\nmetadata: {name: a}\nspec: {forProvider: {region: eu-wst-1}}\n",
            "[!] AWS error s3.aws.upbound.io/v1beta1, Kind=Bucket, a : spec.forProvider.region: the SDK lists no region eu-wst-1."
            " Mend: did you mean eu-west-1?",
        ),
    ],
)
def test_kinds_of_kubernetes_of_core_and_of_aws_are_known(tmp_path, text, tells):
    (tmp_path / "a.yaml").write_text(text)
    assert tells in groundplane("validate", tmp_path).stdout


# --- what is meant ----------------------------------------------------------------------------------------------


def test_what_tests_compare_with_is_not_judged_unless_it_is_named(tmp_path):
    wrong = "apiVersion: example.org/v1\nkind: Nobody\nmetadata: {name: a}\n"
    test = (
        "apiVersion: test.crossplane.io/v1alpha1\nkind: CompositionTest\nmetadata: {name: t}\n"
        "spec: {tests: [{steps: [{assertions: [{snapshot: made.yaml}]}]}]}\n"
    )
    for name, text in {
        "expected/a.yaml": wrong,
        "tests/made.yaml": wrong,
        "tests/t.yaml": test,
        "b.yaml": wrong,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert "Total 1 resources: 1 missing schemas" in groundplane("validate", tmp_path).stdout
    assert "Total 1 resources: 1 missing schemas" in groundplane("validate", tmp_path / "expected").stdout
    assert "Total 1 resources: 1 missing schemas" in groundplane("validate", tmp_path / "tests" / "made.yaml").stdout


# --- places and mends -------------------------------------------------------------------------------------------


def edited(tmp_path: Path, file: str, old: str, new: str) -> Path:
    folder = tmp_path / "database-aws"
    shutil.copytree(DATABASE, folder, ignore=shutil.ignore_patterns("expected"))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    return folder


def test_a_patch_that_reads_a_misspelt_field_is_told_at_its_line(tmp_path):
    folder = edited(tmp_path, "composition.yaml", "spec.parameters.version", "spec.parameters.verson")
    result = groundplane("validate", folder)
    assert result.exit_code == 1
    (told,) = [line for line in lines(result) if "[x]" in line]
    assert (
        "[x] patch error apiextensions.crossplane.io/v1, Kind=Composition, database-aws : resource instance › patches[2]"
        in told
    )
    text = (folder / "composition.yaml").read_text().splitlines()
    number = next(n for n, line in enumerate(text, 1) if "verson" in line)
    assert told.endswith(
        f"Mend: did you mean version? ({folder / 'composition.yaml'}:{number}:{text[number - 1].index('spec') + 1})"
    )


MANY = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  patchSets:
  - name: set
    patches:
    - {type: Nonsense}
    - {fromFieldPath: spec.lengthh, toFieldPath: spec.forProvider.region}
  resources:
  - name: bucket
    base: {apiVersion: s3.aws.upbound.io/v1beta1, kind: Bucket, spec: {forProvider: {region: eu-west-1}}}
    connectionDetails:
    - {name: key, type: Nonsense}
    readinessChecks:
    - {type: MatchString, fieldPath: status.atProvider.arn}
    - {type: MatchString, fieldPath: status.atProvider.arnn, matchString: x}
    patches:
    - {type: PatchSet, patchSetName: set}
    - {fromFieldPath: spec.text, toFieldPath: spec.forProvider.regionn}
    - {type: Nonsense, fromFieldPath: spec.text, toFieldPath: spec.forProvider.region}
    - {fromFieldPath: spec.text, toFieldPath: spec.forProvider.region, transforms: [{type: map}]}
  - {name: empty}
  - name: third
    base: {apiVersion: s3.aws.upbound.io/v1beta1, kind: Bucket, spec: {forProvider: {regoin: a}}}
"""
FAULTS = (
    "patch set set › patches[0] › type: unsupported value",
    "patch set set › patches[1] › fromFieldPath: spec.lengthh",
    "resource bucket › connectionDetails[0] › type",
    "resource bucket › readinessChecks[0] › matchString: must be set",
    "resource bucket › readinessChecks[1] › fieldPath: status.atProvider.arnn",
    "resource bucket › patches[1] › toFieldPath: spec.forProvider.regionn",
    "resource bucket › patches[2] › type: unsupported value",
    "resource bucket › patches[3] › transforms[0].map: at least one pair",
    "resource empty › base: must be set",
    "resource third › base.spec.forProvider.regoin",
)


@pytest.mark.parametrize("is_pipeline", [False, True])
def test_no_mistake_hides_behind_another(tmp_path, is_pipeline):
    text = MANY
    if is_pipeline:
        composition = yaml.safe_load(MANY)
        spec = composition["spec"]
        parts = {name: spec.pop(name) for name in ("patchSets", "resources")}
        given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", **parts}
        function = {"name": "function-patch-and-transform"}
        spec |= {"mode": "Pipeline", "pipeline": [{"step": "pt", "functionRef": function, "input": given}]}
        text = yaml.safe_dump(composition, sort_keys=False)
    found = lines(groundplane("validate", write(tmp_path, definition=platform.DEFINITION, composition=text)))
    told = "\n".join(line for line in found if line.startswith("[x]"))
    expected = [
        fault for fault in FAULTS if not (is_pipeline and "base: must be set" in fault)
    ]  # a step before may make it
    assert [fault for fault in expected if fault not in told] == []
    assert len(told.splitlines()) == len(expected)


def test_of_two_templates_of_a_name_in_a_pipeline_the_second_is_told(tmp_path):
    base = {
        "apiVersion": "sqs.aws.upbound.io/v1beta1",
        "kind": "Queue",
        "spec": {"forProvider": {"region": "eu-west-1"}},
    }
    resources = [{"name": "queue", "base": base}, {"name": "other", "base": base}, {"name": "queue", "base": base}]
    given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": resources}
    step = {"step": "make", "functionRef": {"name": "function-patch-and-transform"}, "input": given}
    composition = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "queues"},
        "spec": {"compositeTypeRef": {"apiVersion": "a.b/v1", "kind": "X"}, "mode": "Pipeline", "pipeline": [step]},
    }
    result = groundplane("validate", write(tmp_path / "queues", c=yaml.safe_dump(composition)))
    assert result.exit_code == 1
    told = 'there is a template "queue" already, and only the last of a name is composed. Mend: rename one of them.'
    assert result.stdout.count(told) == 1


def test_what_aws_refuses_does_not_hide_behind_an_unknown_field(tmp_path):
    text = "apiVersion: iam.aws.upbound.io/v1beta1\nkind: Policy\nmetadata: {name: a}\nspec: {forProvider: {policy: '{', pathh: x}}\n"
    found = lines(groundplane("validate", write(tmp_path, policy=text)))
    assert [line.partition(" : ")[2].partition(":")[0] for line in found if line.startswith("[x]")] == [
        "spec.forProvider.pathh",
        "spec.forProvider.policy",
    ]


def test_what_a_claim_becomes_is_judged_unless_told_not_to(tmp_path):
    folder = edited(tmp_path, "composition.yaml", "                large: 200", "                large: wide")
    (folder / "examples/claim.yaml").write_text(
        (folder / "examples/claim.yaml").read_text().replace("size: medium", "size: large")
    )
    found = "\n".join(lines(groundplane("validate", folder)))
    assert "allocatedStorage is a number, and a string" in found or "[x] render error" in found
    quiet = groundplane("validate", folder, "--no-render")
    assert "[x] render error" not in quiet.stdout


def test_keys_that_are_declared_and_never_made_are_doubted(tmp_path):
    folder = edited(tmp_path, "definition.yaml", "[host, port, username, password]", "[host, port, username, passwort]")
    result = groundplane("validate", folder)
    assert result.exit_code == 0
    assert 'no template makes the connection detail "passwort"' in result.stdout
    assert 'makes the connection detail "password", which is not among connectionSecretKeys' in result.stdout
    assert "Beside that: 2 warnings, 0 rules not checked" in result.stdout
    assert groundplane("validate", folder, "--strict").exit_code == 1


@pytest.mark.parametrize(
    "old, new, tells",
    [
        ("text: {type: string", "text: {type: strin", 'Unsupported value: "strin"'),
        ("referenceable: true", "referenceable: false", "exactly one of spec.versions must be referenceable"),
        ("maxLength: 20", "maxLenght: 20", "did you mean maxLength?"),
        ("xnotes.tests.example.com}", "notes.tests.example.com}", "Mend: name it xnotes.tests.example.com"),
    ],
)
def test_a_definition_that_can_not_work_is_told_of_the_definition(tmp_path, old, new, tells):
    folder = write(tmp_path / "it", definition=platform.DEFINITION.replace(old, new), claim=platform.CLAIM)
    result = groundplane("validate", folder / "definition.yaml", folder / "claim.yaml")
    assert result.exit_code == 1, result.output
    (told,) = [line for line in lines(result) if "definition error" in line]
    assert tells in told
    assert "definition.yaml:" in told


# --- old against new ---------------------------------------------------------------------------------------------


def test_what_can_not_change_and_what_an_edit_breaks(tmp_path):
    instance = """
    apiVersion: rds.aws.upbound.io/v1beta1
    kind: Instance
    metadata: {name: orders}
    spec:
      forProvider:
        {region: eu-west-1, instanceClass: db.t4g.micro, username: u, autoGeneratePassword: true, allocatedStorage: 20,
         passwordSecretRef: {namespace: a, name: b, key: c},
         engine: postgres}
    """
    old = write(tmp_path / "old", instance=instance, definition=platform.DEFINITION)
    new = write(
        tmp_path / "new",
        instance=instance.replace("postgres", "mysql"),
        definition=platform.DEFINITION.replace("maxLength: 20", "maxLength: 10").replace(
            ", length: {type: integer}", ""
        ),
    )
    assert groundplane("validate", "--old", old, old).exit_code == 0
    found = "\n".join(lines(groundplane("validate", "--old", old, new)))
    assert (
        'immutable field rds.aws.upbound.io/v1beta1, Kind=Instance, orders : spec.forProvider.engine: "postgres" → "mysql"'
        in found
    )
    assert f"({new / 'instance.yaml'}:9:14)" in found
    assert "breaking change" in found
    assert "spec.text: maxLength is 10 now, it was 20" in found
    assert "spec.length is gone" in found


# --- broken input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, tells",
    [
        ("a: [\n", "YAML error"),
        ("kind: DB\nmetadata: {name: a}\n", "apiVersion missing. Mend: say what kind of object it is."),
        ("- a\n", "no Kubernetes object"),
        (GOOD + "spec: {}\n", '"spec" is given twice'),
        (
            "apiVersion: v1\nkind: DB\nmetadata: {name: a}\nspec: {n: 1}\n",
            "the name n is a boolean in YAML: put it in quotes",
        ),
        ("apiVersion: v1\nkind: List\nitems: [5]\n", "1 of its items are no objects"),
        ("apiVersion: v1\nkind: DB\nmetadata: 5\n", "metadata is no mapping"),
        (f"---\n{GOOD}---\n{GOOD.replace('size: s', 'size: m')}", "is given at"),
    ],
)
def test_broken_input_is_told_with_its_place_and_the_rest_is_judged(crd, text, tells):
    (crd.parent / "broken.yaml").write_text(text)
    (crd.parent / "right.yaml").write_text(GOOD.replace("good", "right"))
    result = groundplane("validate", crd, f"{crd.parent / 'broken.yaml'},{crd.parent / 'right.yaml'}")
    assert result.exit_code == 1
    assert tells in result.stdout
    assert f"{crd.parent / 'broken.yaml'}:" in result.stdout
    assert "right validated successfully" in result.stdout


def test_no_such_path_is_one_line():
    result = groundplane("validate", "/nowhere")
    assert result.exit_code == 1
    assert result.output == 'Error: there is no file or folder "/nowhere". Mend: correct the path.\n'


def test_what_is_nested_too_deep_is_refused(crd):
    deep = f"apiVersion: example.org/v1\nkind: DB\nmetadata: {{name: deep}}\nspec: {'{a: ' * 900}1{'}' * 900}\n"
    result = judged(crd, deep)
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_the_value_of_a_secret_is_never_told(tmp_path):
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {password: 12345678}\ntype: 5\n"
    (tmp_path / "a.yaml").write_text(text)
    for output in ("text", "json", "sarif", "github"):
        result = groundplane("validate", tmp_path, "-o", output)
        assert result.exit_code == 1
        assert "12345678" not in result.output


# --- cold start -----------------------------------------------------------------------------------------------------


def test_nothing_heavy_is_imported_where_nothing_of_aws_is_judged(crd):
    (crd.parent / "a.yaml").write_text(GOOD)
    code = (
        "import sys; from groundplane.cli.main import main; "
        f"main(['validate', '{crd}', '{crd.parent / 'a.yaml'}'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"aiohttp", "boto3", "botocore", "kopf", "kubernetes", "moto", "rich", "sqlite3", "grpc"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "old, new",
    [
        ("versions:", "versions: 5\n  others:"),
        ("names: {kind: XNote, plural: xnotes}", "names: [XNote]"),
        ("schema:\n", "schema: []\n    rest:\n"),
        ("required: [text]", "required: {text: true}"),
        ("metadata: {name: xnotes.tests.example.com}", "metadata: {name: [x], labels: [5]}"),
        ("claimNames: {kind: Note, plural: notes, shortNames: [nt]}", "connectionSecretKeys: [[x]]"),
    ],
)
def test_a_definition_of_another_shape_is_told_and_nothing_breaks(tmp_path, old, new):
    assert old in platform.DEFINITION
    files = {"composition": platform.COMPOSITION, "claim": platform.CLAIM, "first": platform.DEFINITION}
    folder = write(tmp_path / "it", definition=platform.DEFINITION.replace(old, new), **files)
    for words in ((folder,), (folder / "definition.yaml", folder), ("--old", folder, folder)):
        result = groundplane("validate", *words)
        assert result.exit_code == 1
        assert "definition.yaml:" in result.output
    migrated = groundplane("migrate", "v2", folder / "definition.yaml", "-o", tmp_path / "v2")
    assert migrated.exit_code in (0, 1)
    assert "Traceback" not in migrated.output


@pytest.mark.parametrize(
    "spec", ["5", "{compositeTypeRef: x}", "{compositeTypeRef: {}, resources: [5]}", "{pipeline: {a: 1}}"]
)
def test_a_composition_of_another_shape_is_told_and_nothing_breaks(tmp_path, spec):
    text = f"apiVersion: apiextensions.crossplane.io/v1\nkind: Composition\nmetadata: {{name: odd}}\nspec: {spec}\n"
    folder = write(tmp_path / "it", composition=text, definition=platform.DEFINITION, claim=platform.CLAIM)
    result = groundplane("validate", folder)
    assert result.exit_code == 1
    assert "Kind=Composition, odd : " in result.stdout


def test_of_every_kind_that_is_built_in_the_schema_is_known():
    every = EveryKind()
    names = [
        (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
        for crd in clouds.crds(docs=False)
        for version in crd["spec"]["versions"]
    ]
    assert len(names) > 120
    assert [name for name in names if every.schema(*name) is None] == []


# --- scopes --------------------------------------------------------------------------------------------------------

SCOPED = """
apiVersion: apiextensions.crossplane.io/v2
kind: CompositeResourceDefinition
metadata: {name: queues.tests.example.com}
spec:
  scope: Namespaced
  group: tests.example.com
  names: {kind: Queue, plural: queues}
  versions:
  - name: v1
    served: true
    referenceable: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {region: {type: string}}}}
---
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: queues}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: Queue}
  mode: Pipeline
  pipeline:
  - step: compose
    functionRef: {name: function-patch-and-transform}
    input:
      apiVersion: pt.fn.crossplane.io/v1beta1
      kind: Resources
      resources:
      - name: queue
        base: {apiVersion: sqs.aws.upbound.io/v1beta1, kind: Queue, spec: {forProvider: {region: eu-west-1}}}
"""
A_QUEUE = """
apiVersion: tests.example.com/v1
kind: Queue
metadata: {name: orders, namespace: team-a}
spec: {}
"""
CANNOT_OWN = "is cluster-scoped: a composite in a namespace can't own it. Mend: compose "
OWN = CRD.replace("dbs.", "things.").replace("kind: DB, plural: dbs", "kind: Thing, plural: things")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", CANNOT_OWN),
        ("name: queue\n", "name: queue\n        patches: [{fromFieldPat: spec.region}]\n", 'unknown field "fromFieldPat"'),
        ("scope: Namespaced", "scope: Namespaced\n  claimNames: {kind: A, plural: as}", "claimNames is only for scope LegacyCluster"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_extensions_is_told_of_what_they_are_for(tmp_path, old, new, told):
    (tmp_path / "platform.yaml").write_text(SCOPED.replace(old, new))
    (tmp_path / "xr.yaml").write_text(A_QUEUE)
    result = groundplane("validate", tmp_path / "platform.yaml", tmp_path / "xr.yaml")
    assert result.exit_code == 1
    (line,) = [line for line in lines(result) if line.startswith("[x]")]
    assert told in line


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{region: eu-west-1}", "{region: eu-west-1, messageRetentionSeconds: 5184000}", "AWS takes no 5184000. Mend: write 60 to 1209600."),
        ("kind: Queue, spec", "kind: QueuePolicy, spec", ""),  # its policy may come with a later patch
    ],
)  # fmt: skip
def test_what_aws_would_refuse_of_what_is_composed_is_told(tmp_path, old, new, told):
    text = SCOPED.replace("sqs.aws.upbound.io", "sqs.aws.m.upbound.io").replace(old, new)
    (tmp_path / "all.yaml").write_text(f"{text}---{A_QUEUE}")
    found = [line for line in lines(groundplane("validate", tmp_path)) if line.startswith("[x]")]
    assert len(found) == bool(told)
    place = "Composition queues › resource queue › rendered › spec.forProvider.messageRetentionSeconds: "
    assert all(f"Kind=Queue, orders : {place}{told}" in line for line in found)


def test_a_function_that_runs_elsewhere_is_no_mistake_of_who_uses_extensions(tmp_path):
    (tmp_path / "platform.yaml").write_text(SCOPED.replace("function-patch-and-transform", "function-of-ours"))
    (tmp_path / "xr.yaml").write_text(A_QUEUE)
    assert groundplane("validate", tmp_path / "platform.yaml", tmp_path / "xr.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("base", "mend"),
    [
        ("apiVersion: sqs.aws.upbound.io/v1beta1, kind: Queue", "Queue of sqs.aws.m.upbound.io, which lives in a namespace"),
        ("apiVersion: aws.upbound.io/v1beta1, kind: ProviderConfig", "ProviderConfig of aws.m.upbound.io, which lives in a namespace"),
        ("apiVersion: aws.m.upbound.io/v1beta1, kind: ClusterProviderConfig", "ProviderConfig of aws.m.upbound.io"),
        ("apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole", "a namespaced kind"),
        ("apiVersion: example.org/v1, kind: Thing", "a namespaced kind"),
    ],
)  # fmt: skip
def test_what_a_composite_in_a_namespace_can_not_own_is_told_with_what_to_compose(tmp_path, base, mend):
    text = SCOPED.replace("apiVersion: sqs.aws.upbound.io/v1beta1, kind: Queue", base).replace(
        "spec: {forProvider: {region: eu-west-1}}", "spec: {}"
    )
    folder = write(tmp_path / "it", platform=text, thing=OWN.replace("scope: Namespaced", "scope: Cluster"), xr=A_QUEUE)
    result = groundplane("validate", folder)
    found = [line for line in result.stdout.splitlines() if "cluster-scoped" in line]
    assert [f"resource queue › base.apiVersion: {base.rpartition(' ')[2]} of " in line for line in found] == [True]
    assert f"{CANNOT_OWN}{mend}, or declare the composite with scope: Cluster." in found[0]
    assert result.exit_code == 1
    rendered = groundplane("render", folder / "xr.yaml", folder, "--crds", folder / "thing.yaml")
    assert rendered.stderr.count(f"{CANNOT_OWN}{mend}, or") == 1


@pytest.mark.parametrize(
    "edit",
    [
        ("scope: Namespaced", "scope: Cluster"),
        ("scope: Namespaced", "scope: LegacyCluster"),
        ("sqs.aws.upbound.io", "sqs.aws.m.upbound.io"),
        ("apiVersion: sqs.aws.upbound.io/v1beta1, kind: Queue", "apiVersion: v1, kind: ConfigMap"),
        ("apiVersion: sqs.aws.upbound.io/v1beta1, kind: Queue", "apiVersion: example.org/v1, kind: Thing"),
        ("apiVersion: sqs.aws.upbound.io/v1beta1, kind: Queue", "apiVersion: unknown.org/v1, kind: Thing"),
    ],
)
def test_what_may_be_owned_is_not_doubted(tmp_path, edit):
    folder = write(tmp_path / "it", platform=SCOPED.replace(*edit), thing=OWN)
    assert "cluster-scoped" not in groundplane("validate", folder).stdout


def test_what_a_template_makes_is_told_too_if_its_composite_can_not_own_it(tmp_path):
    step = """
    input:
      apiVersion: gotemplating.fn.crossplane.io/v1beta1
      kind: GoTemplate
      source: Inline
      inline:
        template: |
          apiVersion: sqs.aws.upbound.io/v1beta1
          kind: Queue
          metadata: {annotations: {gotemplating.fn.crossplane.io/composition-resource-name: queue}}
          spec: {forProvider: {region: eu-west-1}}
"""
    text = SCOPED[: SCOPED.index("    input:")].rstrip() + step
    text = text.replace("function-patch-and-transform", "function-go-templating")
    folder = write(tmp_path / "it", platform=text, xr=A_QUEUE)
    for result in (groundplane("validate", folder), groundplane("render", folder / "xr.yaml", folder)):
        assert f"resource queue › rendered: Queue of sqs.aws.upbound.io {CANNOT_OWN}Queue of sqs.aws.m" in result.output


# --- connection keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_pipeline", [False, True])
@pytest.mark.parametrize(
    ("kind", "key", "tells"),
    [
        ("rds Instance", "prot", 'Instance of rds.aws.upbound.io has no connection key "prot". Mend: did you mean port?'),
        ("rds Instance", "endpont", 'Instance of rds.aws.upbound.io has no connection key "endpont". Mend: did you mean endpoint?'),
        ("rds Instance", "endpoint", ""),
        ("secretsmanager SecretVersion", "attribute.secret_binary", ""),
        ("ec2 VPC", "id", 'VPC of ec2.aws.upbound.io has no connection key "id". Mend: it has none: use fromFieldPath.'),
        ("unheard Of", "prot", ""),
    ],
)  # fmt: skip
def test_a_connection_detail_of_a_key_that_is_never_there_is_doubted(tmp_path, is_pipeline, kind, key, tells):
    service, kind = kind.split()
    base = f"apiVersion: {service}.aws.upbound.io/v1beta1, kind: {kind}"
    template = f"""
      - name: it
        base: {{{base}, spec: {{forProvider: {{region: eu-west-1}}}}}}
        connectionDetails:
        - {{name: a, type: FromConnectionSecretKey, fromConnectionSecretKey: {key}}}
        - {{name: b, type: FromValue, value: x, fromConnectionSecretKey: prot}}
"""
    head, _, _ = SCOPED.replace("scope: Namespaced", "scope: LegacyCluster").partition("      - name: queue")
    if not is_pipeline:
        head = head[: head.index("  mode:")] + "  resources:\n"
        template = template.replace("\n    ", "\n")
    folder = write(tmp_path / "it", platform=head.rstrip() + template)
    result = groundplane("validate", folder)
    told = [line for line in result.stdout.splitlines() if "connection key" in line]
    assert [f"connectionDetails[0] › fromConnectionSecretKey: {tells}" in line for line in told] == [True] * bool(tells)
    assert all(line.startswith("[!]") for line in told)


# --- definitions that are wrong, and what is missing in them --------------------------------------------------------

OURS = SCOPED.replace("sqs.aws.upbound.io", "sqs.aws.m.upbound.io")


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("scope: Namespaced", "scope: namespaced", "queues"),
        ("{name: queues.tests", "{name: queue.tests", "queue"),
        ("referenceable: true", "referenceable: false", "queues"),
        ("region: {type: string}", "region: {type: string, default: 5}", "queues"),
    ],
)
def test_a_definition_that_is_wrong_is_told_once_and_what_is_made_by_it_is_not_said_to_have_none(
    tmp_path, old, new, name
):
    assert old in OURS
    definition, composition = OURS.replace(old, new).split("---\n")
    folder = write(tmp_path / "it", definition=definition, composition=composition, xr=A_QUEUE)
    for words in ((folder,), (folder, folder / "xr.yaml")):
        result = groundplane("validate", *words)
        assert result.exit_code == 1
        wrong, follows = [line for line in lines(result) if not line.startswith("[✓]")]
        assert wrong.startswith("[x] ")
        assert f"Kind=CompositeResourceDefinition, {name}.tests.example.com : " in wrong
        assert follows == (
            f"[!] not judged, for its definition {name}.tests.example.com is wrong: tests.example.com/v1, Kind=Queue, orders"
        )
        assert "1 missing schemas" in result.stdout
    for output in ("github", "sarif"):
        told = groundplane("validate", folder, "-o", output).stdout
        assert "could not find" not in told
        assert f"not judged, for its definition {name}.tests.example.com is wrong" in told


@pytest.mark.parametrize(
    ("schema", "tells"),
    [
        ("required: [region, retension], properties: {region: {type: string}, retention: {type: string}}", 'spec.retension is required, and not among the properties: no object can have it. Mend: did you mean retention?'),
        ("properties: {a: {type: array, items: {type: object, required: [x], properties: {size: {type: string}}}}}", "spec.a[*].x is required, and not among the properties: no object can have it. Mend: declare it among properties, or take it out of required."),
        ("required: [crossplane], properties: {crossplane: {type: object}}", ""),
        ("required: [x], x-kubernetes-preserve-unknown-fields: true", ""),
        ("properties: {a: {type: object, required: [x], additionalProperties: {type: string}}}", ""),
        ("properties: {a: {type: object, required: [kind], x-kubernetes-embedded-resource: true, properties: {spec: {type: object}}}}", ""),
    ],
)  # fmt: skip
def test_what_is_required_and_no_property_is_doubted(tmp_path, schema, tells):
    text = OURS.replace("properties: {region: {type: string}}", schema)
    assert text != OURS
    result = groundplane("validate", write(tmp_path / "it", platform=text))
    found = [line for line in lines(result) if "is required, and" in line]
    assert [line.startswith("[!] definition error") and tells in line for line in found] == [True] * bool(tells)
    assert [line.endswith(f"{16}:{line.rpartition(':')[2]}") for line in found] == [True] * bool(tells)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("kind", "mend"),
    [
        ("v1, kind: Queues", "kind: no definition declares Queues of tests.example.com/v1. Mend: did you mean Queue?"),
        ("v1, kind: Topic", "kind: no definition declares Topic of tests.example.com/v1. Mend: use one of: Queue."),
        ("v1beta1, kind: Queue", "apiVersion: no definition declares Queue of tests.example.com/v1beta1. Mend: did you mean Queue of tests.example.com/v1?"),
    ],
)  # fmt: skip
def test_a_composition_for_what_the_definition_beside_it_lacks_is_wrong(tmp_path, kind, mend):
    text = OURS.replace("tests.example.com/v1, kind: Queue", f"tests.example.com/{kind}")
    folder = write(tmp_path / "it", platform=text)
    result = groundplane("validate", folder)
    assert result.exit_code == 1
    (told,) = [line for line in lines(result) if not line.startswith("[✓]")]
    assert told.startswith("[x] patch error")
    assert f"compositeTypeRef.{mend}" in told
    api_version, _, name = kind.partition(", kind: ")
    declared = (
        OWN.replace("example.org", "tests.example.com")
        .replace("Thing", name)
        .replace("name: v1", f"name: {api_version}")
    )
    if "beta" not in kind:  # declared by something else
        write(folder, other=declared)
        assert groundplane("validate", folder).exit_code == 0
    elsewhere = text.replace("apiVersion: tests.example.com/", "apiVersion: else.example.com/")
    assert groundplane("validate", write(tmp_path / "else", platform=elsewhere)).exit_code == 0


@pytest.mark.parametrize(
    ("kind", "tells"),
    [
        ("Note", "compositeTypeRef.kind: Note is the kind of claims. Mend: write XNote."),
        ("YNote", "no definition declares YNote of tests.example.com/v1. Mend: did you mean XNote?"),
        ("Notee", "no definition declares Notee of tests.example.com/v1. Mend: did you mean XNote?"),
    ],
)
def test_a_composition_is_for_composites_and_not_for_their_claims(tmp_path, kind, tells):
    text = ENGINE_OF_NOTES.replace("XNote", kind)
    result = groundplane("validate", write(tmp_path, definition=platform.DEFINITION, composition=text))
    assert result.exit_code == 1
    (told,) = [line for line in lines(result) if line.startswith("[x]")]
    assert tells in told


ENGINE_OF_NOTES = (
    platform.COMPOSITION.replace(
        "base: {apiVersion: v1, kind: ConfigMap", "base: {apiVersion: s3.aws.upbound.io/v1beta1, kind: Bucket"
    )
    .replace(", data: {by: groundplane}", ", spec: {forProvider: {region: eu-west-1}}")
    .partition("    patches:")[0]
)


def test_of_what_an_unreadable_definition_makes_there_is_no_more_to_tell(tmp_path):
    folder = write(
        tmp_path,
        definition=platform.DEFINITION.replace("claimNames: {", "claimNames: kind: {"),
        composition=platform.COMPOSITION,
        claim=platform.CLAIM,
    )
    ran = groundplane("validate", folder)
    assert ran.exit_code == 1
    error, claim, *rest = ran.stdout.splitlines()
    assert error.startswith("[x] YAML error ")
    name = "tests.example.com/v1, Kind=Note, first"
    assert claim == f"[!] not judged, for its definition in {folder / 'definition.yaml'} is wrong: {name}"
    assert not any("could not find" in line or "is not known" in line for line in rest)


def test_what_is_wrong_with_a_schema_is_told_beside_what_is_wrong_around_it(tmp_path):
    wrong = platform.DEFINITION.replace("text: {type: string", "text: {type: strin")
    for around in (("name: xnotes.", "name: notes."), ("served: true", "served: 'yes'")):
        (tmp_path / "definition.yaml").write_text(wrong.replace(*around))
        ran = groundplane("validate", tmp_path / "definition.yaml")
        assert 'Unsupported value: "strin"' in ran.stdout, ran.stdout
        assert len([line for line in ran.stdout.splitlines() if line.startswith("[x]")]) == 2, ran.stdout


def test_a_provider_config_that_is_nearly_one_of_those_at_hand_is_doubted(tmp_path):
    config = "{apiVersion: aws.upbound.io/v1beta1, kind: ProviderConfig, metadata: {name: team-a}, spec: {credentials: {source: InjectedIdentity}}}"
    bucket = "{apiVersion: s3.aws.upbound.io/v1beta1, kind: Bucket, metadata: {name: shop-letters}, spec: {providerConfigRef: {name: %s}, forProvider: {region: eu-west-1}}}"
    for name, told in (("tema-a", True), ("team-a", False), ("default", False), ("elsewhere", False)):
        write(tmp_path / "it", config=config, bucket=bucket % name)
        ran = groundplane("validate", tmp_path / "it")
        assert ran.exit_code == 0, ran.output
        assert ("did you mean team-a?" in ran.stdout) is told, ran.stdout
