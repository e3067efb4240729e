"""`groundplane test`: what test files may say, and how what came of them is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from tests.cli.platform import CLAIM, COMPOSITION, DEFINITION, groundplane

DATABASE = Path(__file__).resolve().parents[2] / "compositions" / "database-aws"
INPUTS = {
    "xrd": {"path": f"{DATABASE}/definition.yaml"},
    "composition": {"path": f"{DATABASE}/composition.yaml"},
    "claim": {"path": f"{DATABASE}/examples/claim.yaml"},
}
OBSERVED = {
    "status": {
        "atProvider": {"endpoint": "db.x:5432", "address": "db.x", "port": 5432},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Available"}],
    }
}


def document(*tests, name="database", **defaults):
    return {
        "apiVersion": "test.crossplane.io/v1alpha1",
        "kind": "CompositionTest",
        "metadata": {"name": name},
        "spec": {"defaults": {"inputs": INPUTS | defaults}, "tests": list(tests)},
    }


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Write documents to database.yaml, and run the command there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)

    def run(*documents, flags=()):
        (tmp_path / "database.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
        return groundplane("test", *flags)

    return run


def problems(play, *assertions, **test):
    """What is told of one test with these assertions."""
    ran = play(document({"name": "one", **test, "assertions": list(assertions)}), flags=("-o", "json"))
    (case,) = json.loads(ran.stdout)["cases"]
    assert ran.exit_code == (1 if case["problems"] else 0), ran.output
    return case["problems"]


def small():
    return {"addFields": {"spec.parameters.size": "small"}}


def test_what_is_so(play):
    told = problems(
        play,
        {"resources": {"instance": {"spec": {"forProvider": {"instanceClass": "db.t4g.micro"}}}}},
        {"resources": {"replica": {"$absent": True}}, "count": 1, "ready": False, "writes": {"$gte": 1}},
        {"that": ["resources.instance.spec.forProvider.storageEncrypted", "!ready"]},
        {"composite": {"kind": "XDatabase"}, "type": "chainsaw"},
        {"chainsaw": {"resources": [{"apiVersion": "rds.aws.upbound.io/v1beta1", "kind": "Instance"}]}},
        patches=small(),
    )
    assert told == []


@pytest.mark.parametrize(
    ("assertion", "text"),
    [
        ({"resources": {"instance": {"kind": "Table"}}}, 'instance kind: want "Table", got "Instance"'),
        (
            {"resources": {"instanc": {"kind": "Instance"}}},
            "instanc: want it composed, got nothing (did you mean instance?)",
        ),
        ({"resources": {"instance": {"$absent": True}}}, "instance: want nothing"),
        ({"count": 2}, "count of composed resources: want 2, got 1"),
        ({"ready": True}, "ready: want true, got false: Unready resources: instance"),
        (
            {"composite": {"status": {"endpoint": "x"}}},
            'composite status.endpoint: want "x", got nothing; resource instance › patches[6] (ToCompositeFieldPath) skipped',
        ),
        ({"secret": {"keys": ["host"]}}, 'connection Secret: want key "host"'),
        ({"error": {"contains": "oracle"}}, 'want an error with "oracle", got none'),
        ({"result": {"contains": "nobody says that"}}, 'want a result with "nobody says that", got none'),
        ({"that": ["ready"]}, "that ready: want true, got false"),
        ({"that": ["composite.nothing == 1"]}, "that composite.nothing == 1: "),
        ({"chainsaw": {"resources": [{"apiVersion": "v1", "kind": "Pod"}]}}, "want Pod of v1, got none"),
    ],
    ids=str,
)
def test_what_is_not_so_is_told_with_what_is_there(play, assertion, text):
    (told,) = problems(play, assertion)
    assert text in told


def test_the_specifications_example(play, tmp_path):
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"path": "notes.yaml"}}
    text = yaml.safe_load(COMPOSITION)
    text["spec"]["resources"][0]["patches"] += [
        {"type": "ToCompositeFieldPath", "fromFieldPath": "data.endpont", "toFieldPath": "status.endpoint"},
        {
            "fromFieldPath": "spec.text",
            "toFieldPath": "data.size",
            "transforms": [{"type": "map", "map": {"small": "s", "large": "l", "hello": "m"}}],
        },
    ]
    (tmp_path / "notes.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    tests = document(
        {"name": "medium", "assertions": [{"resources": {"map": {"data": {"size": "m"}}}, "count": 1}]},
        {
            "name": "endpoint flows back",
            "steps": [
                {
                    "observe": {"map": {"data": {"endpoint": "db.x"}}},
                    "assertions": [{"composite": {"status": {"endpoint": "db.x"}}, "ready": True}],
                },
                {"assertions": [{"writes": 0}]},
            ],
        },
        **given,
        claim={"raw": yaml.safe_load(CLAIM)},
    )
    ran = play(tests, flags=("database.yaml", "--coverage"))
    assert ran.exit_code == 1
    first, second, last, *_ = re.sub(r"\d+ ms|\d\.\d s", "…", ran.stdout).splitlines()
    assert first == "✘ database › endpoint flows back › step 1 (…)   database.yaml:72:5"
    assert second == (
        '    composite status.endpoint: want "db.x", got nothing; resource map › patches[2] (ToCompositeFieldPath) skipped:'
        " data.endpont: no such field; it is optional (notes.yaml:23:7)"
    )
    assert last == (
        "1 passed, 1 failed in ….   Coverage 60 % (map entries large, small; patch map patches[2]; readiness map not ready untested)"
    )


def test_an_error_that_nobody_asserts_is_a_failure_and_one_that_is_asserted_is_none(play):
    oracle = {"addFields": {"spec.parameters.engine": "oracle"}}
    (told,) = problems(play, {"count": {"$gte": 0}}, patches=oracle)
    assert 'Unsupported value: "oracle"' in told
    assert problems(play, {"error": {"contains": "supported values"}}, patches=oracle) == []


def test_steps_carry_on_what_there_is_and_variants_do_not(play):
    ready, settled = {"ready": True, "composite": {"status": {"endpoint": "db.x:5432"}}}, {"writes": 0}
    steps = [
        {"observe": {"instance": OBSERVED}, "variant": True, "assertions": [ready]},
        {"assertions": [{"ready": False}]},
        {
            "observe": {"instance": OBSERVED},
            "connection": {"instance": {"password": "made-up"}},
            "assertions": [ready, {"secret": {"keys": ["host", "port", "username", "password"]}}],
        },
        {"assertions": [settled, ready]},
    ]
    ran = play(document({"name": "flows", "steps": steps}))
    assert ran.exit_code == 0, ran.output
    steps[3]["assertions"] = [{"ready": False}]
    ran = play(document({"name": "flows", "steps": steps}))
    assert "database › flows › step 4" in ran.stdout
    assert "made-up" not in ran.output


def test_coverage_tells_what_no_test_met_and_fails_below_a_limit(play):
    tests = document({"name": "small", "patches": small(), "assertions": [{"count": 1}]})
    ran = play(tests, flags=("--coverage=json", "--fail-under", "90"))
    assert ran.exit_code == 1
    found = json.loads(ran.stdout.split("\n", 1)[1])
    unmet = {(each["kind"], each["what"]) for each in found["unmet"]}
    assert ("readiness", "ready") in unmet
    assert ("connection detail", "host") in unmet
    assert ("map entry", "patches[0] › patch set size › patches[0] › transforms[0] › large") in unmet
    assert not any("› small" in what for _, what in unmet)
    assert ran.stderr.startswith("Error: the tests meet ")
    assert play(tests, flags=("--coverage", "--fail-under", "10")).exit_code == 0


def test_a_path_after_coverage_is_a_path(play, tmp_path):
    assert play(document({"name": "small", "patches": small(), "assertions": [{"count": 1}]})).exit_code == 0
    ran = groundplane("test", "--coverage", tmp_path)
    assert "1 passed, 0 failed" in ran.stdout
    assert "Coverage " in ran.stdout
    ran = groundplane("test", "--coverage", tmp_path / "none")
    assert ran.exit_code == 1
    assert "none" in ran.stderr


def test_points_of_two_steps_are_told_apart(play):
    composition = yaml.safe_load(COMPOSITION)
    steps = [
        {
            "step": step,
            "functionRef": {"name": "function-patch-and-transform"},
            "input": {
                "apiVersion": "pt.fn.crossplane.io/v1beta1",
                "kind": "Resources",
                "resources": composition["spec"]["resources"],
            },
        }
        for step in ("one", "other")
    ]
    composition["spec"] = {
        "compositeTypeRef": composition["spec"]["compositeTypeRef"],
        "mode": "Pipeline",
        "pipeline": steps,
    }
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"raw": composition}}
    made = {"name": "made", "inputs": {"claim": {"raw": yaml.safe_load(CLAIM)}}, "assertions": [{"count": 1}]}
    ran = play(document(made, **given), flags=("--coverage=json",))
    unmet = json.loads(ran.stdout.split("\n", 1)[1])["unmet"]
    assert [(each["step"], each["what"]) for each in unmet if each["kind"] == "readiness"] == [
        ("one", "ready"),
        ("other", "ready"),
    ]
    ran = play(document(made, **given), flags=("--coverage",))
    assert "not met: notes: step other › readiness map ready" in ran.stdout


def test_tests_that_render_nothing_fail_below_any_limit_but_not_as_an_empty_part_nor_where_they_are_only_read(play):
    tests = document({"name": "made", "run": "engine", "timeout": 1, "assertions": [{"ready": False}]})
    ran = play(tests, flags=("--fail-under", "1"))
    assert (ran.exit_code, ran.stderr) == (1, "Error: the tests render nothing\n")
    assert play(tests, flags=("--fail-under", "1", "--shard", "2/2")).exit_code == 0
    assert play(tests, flags=("--fail-under", "1", "--lint")).exit_code == 0


def test_steps_count_and_a_few_points_are_named_in_the_last_line(play, tmp_path):
    composition = yaml.safe_load(COMPOSITION)
    composition["spec"] = {
        "compositeTypeRef": composition["spec"]["compositeTypeRef"],
        "mode": "Pipeline",
        "pipeline": [
            {
                "step": "make",
                "functionRef": {"name": "function-patch-and-transform"},
                "input": {
                    "apiVersion": "pt.fn.crossplane.io/v1beta1",
                    "kind": "Resources",
                    "resources": composition["spec"]["resources"],
                },
            }
        ],
    }
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"raw": composition}}
    claim = yaml.safe_load(CLAIM)
    refused = {"name": "refused", "inputs": {"claim": {"raw": claim | {"spec": {"text": 5}}}}}
    refused["assertions"] = [{"error": {}}]
    tests = document(refused, **given)
    ran = play(tests, flags=("--coverage",))
    assert "not met: notes: step make" in ran.stdout, ran.output  # a Composition that only fails is not met
    made = {"name": "made", "inputs": {"claim": {"raw": claim}}, "assertions": [{"count": 1}]}
    ran = play(document(made, **given), flags=("--coverage",))
    assert "step make" not in ran.stdout
    assert ran.stdout.splitlines()[0].endswith("(readiness map ready untested)")


def test_a_patch_that_did_not_write_is_told_with_its_place(play, tmp_path):
    (tmp_path / "notes.yaml").write_text(
        COMPOSITION.replace("spec.text, toFieldPath: data.text", "spec.txt, toFieldPath: data.text")
    )
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"path": "notes.yaml"}}
    test = {"name": "copied", "assertions": [{"resources": {"map": {"data": {"text": "hello"}}}}]}
    ran = play(document(test, **given, claim={"raw": yaml.safe_load(CLAIM)}), flags=("database.yaml",))
    assert (
        'map data.text: want "hello", got nothing; resource map › patches[1] (FromCompositeFieldPath) skipped'
        in ran.stdout
    )
    assert "(notes.yaml:13:7)" in ran.stdout


def test_of_two_steps_that_make_one_resource_each_has_its_own_patches(play, tmp_path):
    def step(name, path, field, **base):
        patch = {"type": "FromCompositeFieldPath", "fromFieldPath": path, "toFieldPath": f"data.{field}"}
        resources = [{"name": "map", **base, "patches": [patch]}]
        given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": resources}
        return {"step": name, "functionRef": {"name": "function-patch-and-transform"}, "input": given}

    composition = yaml.safe_load(COMPOSITION)
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default"}}
    steps = [step("one", "spec.text", "one", base=base), step("two", "spec.txt", "two")]
    composition["spec"] = {
        "compositeTypeRef": composition["spec"]["compositeTypeRef"],
        "mode": "Pipeline",
        "pipeline": steps,
    }
    text = yaml.safe_dump(composition, sort_keys=False)
    (tmp_path / "notes.yaml").write_text(text)
    line = text[: text.index("spec.txt")].count("\n")  # the patch begins with its type
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"path": "notes.yaml"}}
    test = {"name": "two", "assertions": [{"resources": {"map": {"data": {"one": "hello", "two": "hello"}}}}]}
    claim = {"raw": yaml.safe_load(CLAIM)}
    ran = play(document(test, **given, claim=claim), flags=("database.yaml", "--coverage"))
    assert f"step two › resource map › patches[0] (FromCompositeFieldPath) skipped: spec.txt: no such field; it is optional (notes.yaml:{line}:" in ran.stdout  # fmt: skip
    assert ran.stdout.count("not met: notes: step two › patch") == 1
    assert "not met: notes: step one › patch" not in ran.stdout


def test_what_crossplanes_format_says_is_read(play):
    composite = yaml.safe_load((DATABASE / "examples" / "composite.yaml").read_text())
    test = {
        "name": "first",
        "patches": {"xrd": INPUTS["xrd"], "addFields": {"spec.parameters.size": "small"}},
        "inputs": {
            "xr": {"raw": composite},
            "composition": INPUTS["composition"],
            "observedResources": {"raw": []},
            "timeoutSeconds": 120,
            "validate": False,
            "functionCredentialsPath": "credentials.yaml",
        },
        "assertions": [
            {
                "type": "chainsaw",
                "chainsaw": {"resources": [{"kind": "Instance", "apiVersion": "rds.aws.upbound.io/v1beta1"}]},
            }
        ],
    }
    theirs = document(test)
    del theirs["spec"]["defaults"]
    Path("credentials.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n")
    ran = play(theirs, flags=("database.yaml",))
    assert ran.exit_code == 0, ran.output
    del test["patches"]["addFields"]
    composite["spec"]["parameters"]["size"] = "huge"  # the definition refuses it: so it was read
    assert 'Unsupported value: "huge"' in play(theirs, flags=("database.yaml",)).stdout


def test_what_is_rendered_fits_its_schema_unless_that_is_not_asked_for(play):
    composition = yaml.safe_load(COMPOSITION)
    queue = {"apiVersion": "sqs.aws.upbound.io/v1beta1", "kind": "Queue", "spec": {"forProvider": {"region": 5}}}
    composition["spec"]["resources"] = [{"name": "queue", "base": queue}]
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"raw": composition}}
    test = {"name": "one", "assertions": [{"count": 1}]}
    given["claim"] = {"raw": yaml.safe_load(CLAIM)}
    assert "spec.forProvider.region" in play(document(test, **given)).stdout
    test["inputs"] = {"validate": False}
    assert play(document(test, **given)).exit_code == 0


@pytest.mark.parametrize(
    "field, value, told",
    [
        (
            "kind",
            "CompositionTst",
            'database.yaml:20:1: kind: unsupported value "CompositionTst". Mend: did you mean CompositionTest?',
        ),
        ("apiVersion", "tests.crossplane.io/v1", "Mend: write test.crossplane.io/v1alpha1."),
    ],
)
def test_a_document_that_is_nearly_a_test_is_not_passed_over(play, field, value, told):
    good = document({"name": "one", "assertions": [{"count": 1}]})
    ran = play(good, good | {field: value})
    assert ran.exit_code == 80
    assert told in ran.stderr


@pytest.mark.parametrize("version", ["test.crossplane.io/v1alpha1", "meta.dev.upbound.io/v1alpha1"])
def test_other_kinds_of_tests_are_left_alone(play, version):
    good = document({"name": "one", "assertions": [{"count": 1}]})
    ran = play(
        good,
        {"apiVersion": version, "kind": "OperationTest", "metadata": {"name": "b"}},
        {"kind": "CompositionTest", "apiVersion": "acme.org/v1"},
    )
    assert (ran.exit_code, ran.stdout[:8]) == (0, "1 passed")


def test_a_name_that_no_object_may_have_fits_nothing(play):
    composition = yaml.safe_load(COMPOSITION)
    named = {"type": "FromCompositeFieldPath", "fromFieldPath": "spec.text", "toFieldPath": "metadata.name"}
    named["transforms"] = [{"type": "string", "string": {"type": "Format", "fmt": "Big_%s"}}]
    composition["spec"]["resources"][0]["patches"].append(named)
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"raw": composition}}
    test = {"name": "named", "assertions": [{"count": 1}]}
    ran = play(document(test, **given, claim={"raw": yaml.safe_load(CLAIM)}), flags=("database.yaml",))
    assert ran.exit_code == 1, ran.output
    assert 'resource map › rendered › metadata.name: "Big_hello" is no name of a ConfigMap' in ran.stdout


def test_all_inputs_that_are_missing_are_told_at_once(play):
    test = {"name": "one", "inputs": {"claim": {"path": "a.yaml"}, "extra": [{"path": "b.yaml"}, {"raw": ["text"]}]}}
    (told,) = problems(play, {"count": 1}, **test)
    for what in ('no file or folder "a.yaml"', 'no file or folder "b.yaml"', "no Kubernetes object"):
        assert what in told


@pytest.mark.parametrize("raw", ["text", [5], {"kind": "A"}, {"apiVersion": "a/v1", "kind": "A", "metadata": "x"}])
@pytest.mark.parametrize("name", ["claim", "composition", "xrd", "crds", "observed", "functions"])
def test_an_input_that_is_no_object_is_told(play, name, raw):
    (told,) = problems(play, {"count": 1}, inputs={name: {"raw": raw}})
    assert told.startswith("an input that is written here: ")


def test_a_composition_without_a_name_is_told(play):
    nameless = yaml.safe_load(COMPOSITION)
    del nameless["metadata"]
    (told,) = problems(play, {"count": 1}, inputs={"composition": {"raw": nameless}})
    assert told == "Composition has no metadata.name. Mend: name it."


def test_a_change_that_no_test_notices_survives(play):
    sizes = [
        {
            "name": size,
            "patches": {"addFields": {"spec.parameters.size": size}},
            "assertions": [{"resources": {"instance": {"spec": {"forProvider": {"instanceClass": class_}}}}}],
        }
        for size, class_ in (("small", "db.t4g.micro"), ("medium", "db.t4g.medium"))
    ]
    ran = play(document(*sizes), flags=("--mutate",))
    assert ran.exit_code == 0, ran.output
    survived = [line for line in ran.stdout.splitlines() if line.startswith("survived")]
    assert any("storageType: another value" in line and "composition.yaml:46" in line for line in survived)
    assert not any("patchSets[0].patches[0].transforms[0].map" in line for line in survived)  # that one is noticed
    assert any("patchSets[0].patches[1].transforms[0].map" in line for line in survived)


@pytest.mark.soak
def test_no_change_of_the_library_goes_unnoticed():
    ran = groundplane("test", DATABASE.parent, "--mutate")
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.endswith("   No change survived\n"), ran.output


def test_snapshots_are_written_on_demand_alone_and_never_hold_secrets(play, tmp_path, monkeypatch):
    tests = document({"name": "all of it", "assertions": [{"snapshot": "snapshots/all.yaml"}]})
    assert "there is no snapshot snapshots/all.yaml. Mend: write it with --update" in play(tests).stdout
    assert play(tests, flags=("--update",)).exit_code == 0
    assert play(tests).exit_code == 0
    file = tmp_path / "snapshots" / "all.yaml"
    file.write_text(file.read_text().replace("db.t4g.medium", "db.t4g.large"))
    ran = play(tests)
    assert ran.exit_code == 1
    assert "-    instanceClass: db.t4g.large" in ran.stdout
    assert "+    instanceClass: db.t4g.medium" in ran.stdout
    monkeypatch.setenv("CI", "true")
    assert groundplane("test", "--update").exit_code == 80


def test_formats_for_machines(play, tmp_path):
    tests = document({"name": "good", "assertions": [{"count": 1}]}, {"name": "bad", "assertions": [{"count": 2}]})
    ran = play(tests, flags=("-o", "github", "--junit", "junit.xml"))
    assert ran.exit_code == 1
    assert ran.stdout.startswith("::error file=database.yaml,line=")
    assert "database › bad::count of composed resources: want 2, got 1" in ran.stdout
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [(case.get("name"), len(case)) for case in root.iter("testcase")] == [("good", 0), ("bad", 1)]
    assert root.get("failures") == "1"
    ran = play(tests, flags=("-o", "json", "-k", "good", "-j", "3"))
    assert json.loads(ran.stdout)["summary"] == {"total": 1, "passed": 1, "failed": 0} | {
        "ms": json.loads(ran.stdout)["summary"]["ms"]
    }


def test_processes_and_shards_run_each_test_once_in_order(play):
    tests = document(*({"name": f"n{number}", "assertions": [{"count": 1}]} for number in range(5)))
    names = [case["name"] for case in json.loads(play(tests, flags=("-o", "json", "-j", "2")).stdout)["cases"]]
    assert names == ["n0", "n1", "n2", "n3", "n4"]
    shards = [
        [case["name"] for case in json.loads(play(tests, flags=("-o", "json", "--shard", part)).stdout)["cases"]]
        for part in ("1/2", "2/2")
    ]
    assert shards == [["n0", "n2", "n4"], ["n1", "n3"]]
    assert play(tests, flags=("--shard", "3/2")).exit_code == 80
    ran = play(tests, flags=("--shard", "9/9"))  # there are tests, though none for this machine
    assert (ran.exit_code, ran.stdout.partition(" in ")[0]) == (0, "0 passed, 0 failed")


def test_watching_sees_what_tests_are_given_wherever_it_is(tmp_path, monkeypatch):
    """A Composition outside of the tests' folder changes: the tests run again; an error ends nothing."""
    folder, composition = tmp_path / "tests", tmp_path / "notes.yaml"
    folder.mkdir()
    composition.write_text(COMPOSITION)
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"path": "../notes.yaml"}}
    test = {"name": "one", "assertions": [{"resources": {"map": {"data": {"by": "groundplane"}}}}]}
    given["claim"] = {"raw": yaml.safe_load(CLAIM)}
    (folder / "one.yaml").write_text(yaml.safe_dump(document(test, **given)))
    changes = [
        lambda: composition.write_text(COMPOSITION.replace("groundplane", "somebody else")),
        lambda: composition.unlink(),
        lambda: composition.write_text(COMPOSITION + "\n"),
    ]

    def sleep(seconds):
        if not changes:
            raise KeyboardInterrupt
        changes.pop(0)()

    monkeypatch.setattr("groundplane.cli.test.time.sleep", sleep)
    ran = groundplane("test", folder, "--watch", "--junit", tmp_path / "junit.xml")
    assert ran.exit_code == 0
    lines = [line.partition(" in ")[0] for line in ran.stdout.splitlines() if " passed, " in line]
    assert lines == ["1 passed, 0 failed", "0 passed, 1 failed", "0 passed, 1 failed", "1 passed, 0 failed"]
    assert "there is no file or folder" in ran.stdout
    assert (tmp_path / "junit.xml").exists()


def test_the_first_failure_may_end_it(play):
    tests = document({"name": "a", "assertions": [{"count": 2}]}, {"name": "b", "assertions": [{"count": 2}]})
    assert "0 passed, 1 failed" in play(tests, flags=("-x",)).stdout


WRONG = [
    (
        document({"name": "a", "asertions": []}),
        "spec.tests[0].asertions: unknown field. Mend: did you mean assertions?",
    ),
    (
        document({"name": "a", "inputs": {"timeout": 5}, "assertions": [{"count": 1}]}),
        "spec.tests[0].inputs.timeout: unknown field. Mend: did you mean timeoutSeconds?",
    ),
    (
        document({"name": "a", "patches": {"addField": {}}, "assertions": [{"count": 1}]}),
        "spec.tests[0].patches.addField: unknown field. Mend: did you mean addFields?",
    ),
    (
        document({"name": "a", "inputs": {"xr": {}, "composite": {}}, "assertions": [{"count": 1}]}),
        "spec.tests[0].inputs: xr and composite are the same input: give one of them",
    ),
    (document({"name": "a"}), "spec.tests[0]: nothing is asserted"),
    (document({"name": "a", "assertions": [{}]}), "spec.tests[0]: nothing is asserted"),
    (document(), "spec.tests: has no test"),
    (
        document({"name": "a", "assertions": [{"count": 1}]}, {"name": "a", "assertions": [{"count": 1}]}),
        'spec.tests[1]: the name "a" is another test\'s',
    ),
    (document({"name": "a", "run": "gcp", "assertions": [{"count": 1}]}), 'spec.tests[0].run: unsupported value "gcp"'),
    (document({"name": "a", "run": "engine", "assertions": [{"snapshot": "x.yaml"}]}), "a snapshot is for run: render"),
    (document({"name": "a", "aws": {}, "assertions": [{"count": 1}]}), "spec.tests[0].aws: this test does not run"),
]


@pytest.mark.parametrize(("wrong", "text"), WRONG, ids=[text for _, text in WRONG])
def test_a_file_that_is_no_test_file_is_wrong_usage_with_its_place(play, wrong, text):
    ran = play(wrong)
    assert ran.exit_code == 80
    assert ran.stderr.startswith("database.yaml:")
    assert text in ran.stderr


@pytest.mark.parametrize(
    ("test", "text"),
    [
        (
            {"steps": [{"observe": {"bucket": {}}, "assertions": [{"count": 1}]}]},
            "observe: nothing composed is called bucket",
        ),
        ({"patches": {"addFields": {"spec[": 1}}, "assertions": [{"count": 1}]}, "patches.addFields spec["),
        (
            {"assertions": [{"resources": {"instance": {"kind": {"$like": "x"}}}}]},
            "assertions[0]: kind: there is no operator $like",
        ),
        (
            {"assertions": [{"snapshot": "../elsewhere.yaml"}]},
            "snapshot ../elsewhere.yaml is outside of its test's folder",
        ),
        ({"assertions": [{"snapshot": "/etc/passwd"}]}, "snapshot /etc/passwd is outside of its test's folder"),
        (
            {"run": "aws", "aws": {"fail": {"sqs.CreateQueu": "AccessDenied"}}, "assertions": [{"ready": True}]},
            'sqs has no call "CreateQueu". Mend: did you mean CreateQueue?',
        ),
        ({"assertions": [{"that": ["ready &&"]}]}, 'that: "ready &&"'),
        (
            {"inputs": {"composition": {"path": "nowhere.yaml"}}, "assertions": [{"count": 1}]},
            'there is no file or folder "nowhere.yaml"',
        ),
        ({"inputs": {"composition": {}}, "assertions": [{"count": 1}]}, "an input needs a path or raw"),
        (
            {"assertions": [{"chainsaw": {"resources": [{"(length(x))": 1}]}}]},
            "chainsaw's expressions are not evaluated",
        ),
    ],
    ids=str,
)
def test_a_test_that_makes_no_sense_fails_and_says_why(play, test, text):
    ran = play(document({"name": "a", **test}), flags=("-o", "json"))
    (case,) = json.loads(ran.stdout)["cases"]
    assert ran.exit_code == 1
    assert case["outcome"] == "invalid"
    assert text in case["problems"][0]


def test_nothing_found_is_an_exit_code_of_its_own(play, tmp_path):
    assert play({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}).exit_code == 5
    assert play(document({"name": "a", "assertions": [{"count": 1}]}), flags=("-k", "nobody")).exit_code == 5
    assert groundplane("test", "nowhere").exit_code == 1


def test_documents_of_up_are_read(play):
    theirs = {
        "apiVersion": "meta.dev.upbound.io/v1alpha1",
        "kind": "CompositionTest",
        "metadata": {"name": "theirs"},
        "spec": {
            "xrdPath": INPUTS["xrd"]["path"],
            "compositionPath": INPUTS["composition"]["path"],
            "xr": yaml.safe_load((DATABASE / "examples" / "composite.yaml").read_text()),
            "timeoutSeconds": 60,
            "validate": False,
            "assertResources": [
                {
                    "apiVersion": "rds.aws.upbound.io/v1beta1",
                    "kind": "Instance",
                    "spec": {"forProvider": {"storageType": "gp2"}},
                }
            ],
        },
    }
    ran = play(theirs)
    assert 'Instance of rds.aws.upbound.io/v1beta1 spec.forProvider.storageType: want "gp2", got "gp3"' in ran.stdout
    theirs["spec"]["assertResource"] = []
    assert "spec.assertResource: there is no such field. Mend: did you mean assertResources" in play(theirs).stderr


def test_against_a_control_plane(play):
    network = {"path": f"{DATABASE}/network.yaml"}
    tests = document(
        {
            "name": "ready",
            "assertions": [{"ready": True, "count": 1, "claim": {"spec": {"resourceRef": {"$type": "object"}}}}],
        },
        {
            "name": "not yet",
            "steps": [
                {
                    "observe": {"instance": {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}},
                    "assertions": [
                        {"ready": False, "resources": {"instance": {"status": {"atProvider": {"$type": "object"}}}}}
                    ],
                }
            ],
        },
        extra=network,
    )
    tests["spec"]["defaults"]["run"] = "engine"
    ran = play(tests)
    assert ran.exit_code == 0, ran.output


def test_not_ready_counts_when_it_stays_so_and_a_fault_that_nobody_meets_fails(play, tmp_path):
    given = {"xrd": {"raw": yaml.safe_load(DEFINITION)}, "composition": {"raw": yaml.safe_load(COMPOSITION)}}
    hasty = {"name": "hasty", "run": "engine", "timeout": 8, "assertions": [{"ready": False}]}
    idle = {
        "name": "idle",
        "run": "aws",
        "assertions": [{"ready": True}],
        "aws": {"fail": {"rds.CreateDBInstance": "Throttling"}},
    }
    ran = play(document(hasty, idle, **given, claim={"raw": yaml.safe_load(CLAIM)}))
    assert ran.exit_code == 1
    assert "database › hasty" in ran.stdout
    assert "ready" in ran.stdout.partition("hasty")[2].splitlines()[1]
    assert "aws.fail: rds.CreateDBInstance was never called." in ran.stdout


def test_what_is_wrong_with_the_composition_is_told_where_it_is_written(play, tmp_path):
    wrong = COMPOSITION.replace("toFieldPath: data.text", "toFieldPath: 'data.[text'")
    for name, text in (("definition", DEFINITION), ("composition", wrong), ("claim", CLAIM)):
        (tmp_path / f"{name}.yaml").write_text(text)
    given = {key: {"path": f"{name}.yaml"} for key, name in (("xrd", "definition"), ("claim", "claim"))}
    tests = [{"name": name, "assertions": [{"count": 1}]} for name in ("one", "two")]
    documents = document(*tests, **given, composition={"path": "composition.yaml"})
    line = next(number for number, text in enumerate(wrong.splitlines(), 1) if "data.[text" in text)
    ran = play(documents)
    assert ran.stdout.count(f"(composition.yaml:{line}:") == 2, ran.output
    ran = play(documents, flags=("-o", "github"))
    assert ran.stdout.count(f"::error file=composition.yaml,line={line},") == 1  # both tests meet it
