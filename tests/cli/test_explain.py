"""`groundplane explain`: why something is not ready, and where a value comes from."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
import yaml

from groundplane.cli.chain import Chain
from groundplane.cli.render import finder, parts_of
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import composition, conditions, origin, preview
from groundplane.core.fieldpath import parse
from groundplane.core.objects import meta
from groundplane.core.origin import default_of, writers
from tests.cli.platform import groundplane

NAMESPACE = ("-n", "my-team")


@pytest.fixture
def db(filled):
    return ("--db", str(filled))


def names(db, kind):
    found = json.loads(groundplane("get", kind, "-A", "-o", "json", *db).stdout)
    return [meta(obj)["name"] for obj in found.get("items", [found])]


def instance(db):
    return next(name for name in names(db, "instances.rds.aws.upbound.io") if name.startswith("orders-"))


def chain(db, path, what=None):
    ran = groundplane("explain", what or f"instance/{instance(db)}", path, "-o", "json", *db, *NAMESPACE)
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def test_a_patched_value_is_followed_to_who_asked_for_it(db):
    found = chain(db, "spec.forProvider.instanceClass")
    assert found["value"] == "db.t4g.medium"
    patch, claim, person = found["chain"]
    assert patch["by"] == "patch"
    assert patch["place"].startswith("Composition database-aws › resource instance › patches[0] › patch set size")
    assert patch["input"] == [{"path": "spec.parameters.size", "value": "medium"}]
    assert patch["steps"] == [{"what": "transforms[0] (map)", "value": "db.t4g.medium"}]
    assert (claim["by"], claim["place"]) == ("claim", "from Database my-team/orders")
    assert (person["object"], person["by"]) == ("Database my-team/orders", "person")
    assert person["place"].startswith("set by person ")


@pytest.mark.parametrize(
    ("path", "by", "place"),
    [
        ("spec.forProvider.storageType", "base", "Composition database-aws › resource instance"),
        ("spec.forProvider.dbSubnetGroupName", "reference", "spec.forProvider.dbSubnetGroupNameRef: database"),
        ("metadata.labels[crossplane.io/composite]", "control plane", "Composition database-aws › resource instance"),
        ("spec.deletionPolicy", "default", "default of its definition's schema"),
    ],
)
def test_what_else_sets_values(db, path, by, place):
    (hop,) = chain(db, path)["chain"]
    assert (hop["by"], hop["place"]) == (by, place)


def test_pipelines_and_composites_of_the_second_generation(db):
    (settings,) = [name for name in names(db, "configmaps") if name.startswith("web-")]
    found = chain(db, "data.word", f"configmap/{settings}")
    assert [hop["by"] for hop in found["chain"]] == ["patch", "person"]
    assert found["chain"][1]["object"] == "App my-team/web"
    (hop,) = chain(db, "data.kept", f"configmap/{settings}")["chain"]
    assert hop == {
        "object": f"ConfigMap my-team/{settings}",
        "by": "base",
        "place": "Composition app › step pt › resource settings",
    }


def test_a_claims_status_is_followed_to_what_is_composed(db):
    found = chain(db, "status.connectionSecret", "database/orders")
    assert [hop["by"] for hop in found["chain"]] == ["composite", "patch", "patch", "control plane"]
    composite, back, forth, _ = found["chain"]
    assert composite["place"].startswith("from XDatabase orders-")
    assert back["object"] == composite["place"].removeprefix("from ")
    assert back["place"].startswith("Composition database-aws › resource instance › patches[5] (ToCompositeFieldPath)")
    assert back["input"] == [{"path": "spec.writeConnectionSecretToRef.name", "value": found["value"]}]
    assert forth["object"] == f"Instance {instance(db)}"
    # what a control plane counts itself
    assert chain(db, "status.composed.total", "database/orders")["chain"][-1]["by"] == "control plane"


def test_what_a_provider_has_seen_is_its_own(db):
    (hop,) = chain(db, "status.atProvider.engine")["chain"]
    assert (hop["by"], hop["place"]) == ("observed", f"what Instance {instance(db)} stands for, {instance(db)}")


def test_keys_of_connection_secrets_are_followed_to_the_detail_and_what_it_reads(db):
    for path in ("username", "data.username", "data[username]"):
        found = chain(db, path, "secret/orders")
        copied, detail, base = found["chain"]
        assert copied["by"] == "composite"
        assert copied["place"].startswith("from Secret crossplane-system/")
        assert detail["by"] == "connection detail"
        assert detail["place"] == "Composition database-aws › resource instance › connectionDetails[2]"
        assert detail["input"] == [{"path": "spec.forProvider.username", "value": "********"}]
        assert (base["object"], base["by"]) == (f"Instance {instance(db)}", "base")
        assert found["value"] == "********"
    *_, detail, provider = chain(db, "password", "secret/orders")["chain"]
    assert detail["place"] == "Composition database-aws › resource instance › connectionDetails[3]"
    assert (provider["by"], provider["place"]) == ("provider", f"written for Instance {instance(db)}")
    ran = groundplane("explain", "secret/orders", "usrname", *db, *NAMESPACE)
    assert "Secret my-team/orders has no key usrname. Mend: did you mean username?" in ran.stderr


def test_what_a_claims_field_comes_to(db):
    ran = groundplane("explain", "database/orders", "spec.parameters.size", "--forward", "-o", "json", *db, *NAMESPACE)
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["value"] == "medium"
    assert [(each["object"], each["path"], each["value"]) for each in found["reaches"]] == [
        (f"Instance {instance(db)}", "spec.forProvider.instanceClass", "db.t4g.medium"),
        (f"Instance {instance(db)}", "spec.forProvider.allocatedStorage", 50),
    ]
    assert found["reaches"][0]["place"].startswith(
        "Composition database-aws › resource instance › patches[0] › patch set size"
    )
    whole = groundplane("explain", "database/orders", "spec.parameters", "--forward", *db, *NAMESPACE)
    assert "spec.forProvider.engine = " in whole.stdout  # from what is in it
    (settings,) = [name for name in names(db, "configmaps") if name.startswith("web-")]
    app = groundplane("explain", "app/web", "spec.word", "--forward", *db, *NAMESPACE)
    assert f'  ConfigMap my-team/{settings} data.word = "hello"  (Composition app › ' in app.stdout
    unread = groundplane(
        "explain", "database/orders", "spec.writeConnectionSecretToRef.name", "--forward", *db, *NAMESPACE
    )
    assert unread.exit_code == 0
    assert "no patch reads it" in unread.stdout  # of the composite's own field of that name, which is another
    none = groundplane("explain", f"instance/{instance(db)}", "spec.forProvider.engine", "--forward", *db)
    assert "is not composed. Mend: name a claim or a composite." in none.stderr
    assert groundplane("explain", "database/orders", "spec.nothing", "--forward", *db, *NAMESPACE).exit_code == 1
    assert groundplane("explain", "database/orders", "--forward", *db, *NAMESPACE).exit_code == 80


STATUS = """\
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: app}
spec:
  compositeTypeRef: {apiVersion: example.org/v1, kind: App}
  mode: Pipeline
  pipeline:
  - step: pt
    functionRef: {name: function-patch-and-transform}
    input:
      apiVersion: pt.fn.crossplane.io/v1beta1
      kind: Resources
      resources:
      - name: map
        base: {apiVersion: v1, kind: ConfigMap, data: {a: x}}
        patches:
        - {type: ToCompositeFieldPath, fromFieldPath: data.a, toFieldPath: status.a}
        connectionDetails:
        - {name: fixed, type: FromValue, value: hunter2}
        - {name: read, type: FromFieldPath, fromFieldPath: data.a}
  - step: status
    functionRef: {name: function-go-templating}
    input:
      apiVersion: gotemplating.fn.crossplane.io/v1beta1
      kind: GoTemplate
      source: Inline
      inline:
        template: |
          apiVersion: example.org/v1
          kind: App
          status: {b: y}
"""


def test_the_status_of_pipelines_is_a_patchs_or_a_steps():
    source = yaml.safe_load(STATUS)
    compiled = composition.compile(source, finder([]))
    app = {"apiVersion": "example.org/v1", "kind": "App", "metadata": {"name": "web", "namespace": "team"}, "spec": {}}
    app["status"] = {"a": "x", "b": "y", "c": "z"}
    observed = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "m",
            "namespace": "team",
            "annotations": {"crossplane.io/composition-resource-name": "map"},
        },
        "data": {"a": "x"},
    }

    def hops(path):
        return origin.onto_composite(app, app, [observed], compiled, preview.Around(), parse(path))

    (patch,) = hops("status.a")
    assert (patch.by, patch.template, patch.inputs) == ("patch", "map", (("data.a", "x"),))
    (step,) = hops("status.b")
    assert (step.by, step.place) == ("function", 'Composition app › step "status" (function-go-templating)')
    assert hops("status.c") == []
    spec = composition.review(source["spec"]).spec

    def details(key):
        return origin.details(spec, parts_of(spec, finder([])), "Composition app", key)

    (fixed,) = details("fixed")
    assert "hunter2" not in str(fixed)
    place = 'Composition app › step "pt" › resource map › connectionDetails[0]: the value that is written there'
    assert (fixed.by, fixed.place) == ("connection detail", place)
    (read,) = details("read")
    assert (read.template, read.inputs) == ("map", (("data.a", "********"),))
    assert details("none") == []


def test_what_is_not_there_is_told_with_what_is_near(db):
    ran = groundplane("explain", f"instance/{instance(db)}", "spec.forProvider.instanceClas", *db)
    assert ran.exit_code == 1
    assert "Mend: did you mean instanceClass?" in ran.stderr
    unset = groundplane("explain", f"instance/{instance(db)}", "spec.forProvider.multiAz", *db)
    assert unset.exit_code == 1
    assert "spec.forProvider.multiAz is not set, and nothing that is known writes it." in unset.stderr
    assert groundplane("explain", "instance/nobody", *db).exit_code == 1
    elsewhere = groundplane("explain", "databases.platform.example.com/orders", *db)
    assert "Mend: there is one in my-team: add -n my-team." in elsewhere.stderr
    assert groundplane("explain", "instance", *db).exit_code == 80


def test_what_is_ready_is_said_to_be_and_what_is_not_with_its_cause(db, filled, tmp_path):
    ran = groundplane("explain", "database/orders", *db, *NAMESPACE)
    assert ran.exit_code == 0
    assert ran.stdout == "Database my-team/orders is ready, and so is all that it is made of.\n"

    async def spoil():
        cluster = SqliteCluster(broken)
        (obj,) = [
            obj
            for obj in await cluster.list("rds.aws.upbound.io/v1beta1", "Instance")
            if meta(obj)["name"].startswith("orders-")
        ]
        failed = conditions.reconcile_error("observe failed: not authorized. Mend: grant rds:DescribeDBInstances")
        conditions.set_on(obj, failed, now=cluster._now())
        await cluster.update(obj, subresource="status")
        cluster.close()

    broken = tmp_path / "broken.db"
    broken.write_bytes(filled.read_bytes())
    asyncio.run(spoil())
    ran = groundplane("explain", "database/orders", "--db", str(broken), *NAMESPACE)
    assert ran.exit_code == 3
    assert ran.stdout.startswith("Ready, but not all that it is made of is as wanted: ")  # the database goes on
    assert "observe failed: not authorized" in ran.stdout.splitlines()[0]
    assert "Mend: grant rds:DescribeDBInstances." in ran.stdout


def test_values_of_secrets_are_never_told(db):
    found = json.loads(groundplane("get", "secrets", "-A", "-o", "json", *db).stdout)["items"]
    secret = next(obj for obj in found if obj.get("data"))
    key, metadata = next(iter(secret["data"])), meta(secret)
    ran = groundplane("explain", f"secret/{metadata['name']}", f"data.{key}", "-n", metadata["namespace"], *db)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.startswith('= "********"')


def test_owners_of_elements_of_lists_and_of_whole_maps():
    def owner(manager, fields):
        return {"manager": manager, "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields}

    obj = {
        "metadata": {
            "managedFields": [
                owner("one", {"f:spec": {"f:list": {'k:{"name":"b"}': {".": {}, "f:value": {}}}}}),
                owner("two", {"f:spec": {"f:map": {}}}),
                owner("three", {"f:spec": {"f:set": {'v:"x"': {}}}}),
            ]
        },
        "spec": {"list": [{"name": "a"}, {"name": "b", "value": 1}], "map": {"x": {"y": 1}}, "set": ["w", "x"]},
    }

    def of(path):
        return [writer.manager for writer in writers(obj, parse(path))]

    assert of("spec.list[1].value") == ["one"]
    assert of("spec.list[0].name") == []
    assert of("spec.map.x.y") == ["two"]
    assert of("spec.set[1]") == ["three"]
    assert of("spec.nothing") == []


def test_what_was_filled_in_for_who_made_an_object_is_a_default_and_not_theirs():
    def of(said, operation="Update", **spec):
        notes = (
            {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": said})} if said is not None else {}
        )
        owner = {"manager": "kubectl", "operation": operation, "fieldsV1": {"f:spec": {"f:days": {}}}}
        thing = {"apiVersion": "a.example.org/v1", "kind": "Thing", "spec": {"days": 30}}
        thing["metadata"] = {"name": "t", "annotations": notes, "managedFields": [owner]}
        schema = {"properties": {"spec": {"properties": {"days": {"type": "integer", "default": 30}}}}}
        chain = Chain(None, ({}, None))

        async def known(_):
            return schema

        chain._schema = known
        return asyncio.run(chain._is_defaulted(thing, parse("spec.days"), writers(thing, parse("spec.days"))))

    assert of({"other": 1})
    assert not of({"days": 30})
    assert not of(None)  # nobody can tell
    assert not of({"other": 1}, operation="Apply")


def test_defaults_are_found_in_lists_and_maps():
    leaf = {"type": "string", "default": "x"}
    schema = {"properties": {"a": {"items": {"properties": {"b": {"additionalProperties": leaf}}}}}}
    assert default_of(schema, parse("a[3].b.c")) == "x"


def test_of_what_has_no_value_the_patches_that_would_give_it_one_are_told(db):
    (settings,) = [name for name in names(db, "configmaps") if name.startswith("web-")]
    unset = groundplane("explain", f"configmap/{settings}", "data.note", *db, *NAMESPACE)
    assert unset.exit_code == 1
    why = "Composition app › step pt › resource settings › patches[1] (FromCompositeFieldPath): spec.note: no such field; it is optional"
    assert f"data.note is not set. {why}. Mend: give the patch its value." in unset.stderr


def placed(told, file):
    """What stands at the place in a file with which a line ends."""
    line, column = map(int, re.search(rf"{re.escape(str(file))}:(\d+):(\d+)$", told).groups())
    return Path(file).read_text().splitlines()[line - 1][column - 1 :]


QUEUE = Path(__file__).resolve().parents[2] / "compositions" / "queue-aws" / "v2"


def test_what_files_come_to_is_explained_without_any_cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = (QUEUE / "definition.yaml", QUEUE / "composition.yaml", QUEUE / "examples" / "composite.yaml")
    every = groundplane("explain", *files, "--resource", "queue", "-o", "json")
    assert every.exit_code == 0, every.output
    found = {each["path"]: each for each in json.loads(every.stdout)["fields"]}
    seconds = found["spec.forProvider.messageRetentionSeconds"]["chain"]
    assert [hop["by"] for hop in seconds] == ["patch", "default"]
    assert seconds[0]["steps"] == [{"what": "transforms[0] (math)", "value": 345600}]
    assert found["spec.managementPolicies[0]"]["chain"][0]["by"] == "default"
    assert not any(hop["by"] == "unknown" for each in found.values() for hop in each["chain"])
    one = groundplane("explain", *files, "spec.forProvider.region", "--resource", "queue").stdout.splitlines()
    assert one[0] == '= "eu-west-1"'
    assert placed(one[-1], files[-1]) == "eu-west-1"
    assert placed(one[1].partition(": ")[0], files[1]) == "type: FromCompositeFieldPath"
    lines = groundplane("explain", *files, "--resource", "queue").stdout.splitlines()
    assert 'spec.forProvider.region = "eu-west-1"' in lines
    for words, told in {
        ("--resource", "quuue"): "nothing is made of quuue. Mend: did you mean queue?",
        ("spec.forProvider.regoin", "--resource", "queue"): "Mend: did you mean region?",
        ("--all",): "name the object as KIND/NAME, or files with --resource TEMPLATE",
    }.items():
        ran = groundplane("explain", *files, *words)
        assert ran.exit_code in (1, 80)
        assert told in ran.stderr


def test_a_folder_with_more_than_one_composite_is_told_with_what_to_name_instead():
    ran = groundplane("explain", QUEUE.parents[1] / "database-aws", "--resource", "instance")
    assert ran.exit_code == 1
    assert "Mend: name the file of one claim or composite, its Composition and its definition" in ran.stderr


def test_a_composite_as_a_cluster_has_it_is_explained_in_files(tmp_path):
    text = (QUEUE / "examples" / "composite.yaml").read_text()
    assert text.count("metadata:\n") == 1
    (tmp_path / "composite.yaml").write_text(text.replace("metadata:\n", "metadata:\n  uid: 6e1b0f4c\n"))
    files = (QUEUE / "definition.yaml", QUEUE / "composition.yaml", tmp_path / "composite.yaml")
    ran = groundplane("explain", *files, "spec.forProvider.region", "--resource", "queue")
    assert ran.stdout.startswith('= "eu-west-1"\n'), ran.output


def test_a_base_of_a_step_is_told_with_its_line():
    files = [QUEUE / name for name in ("definition.yaml", "composition.yaml", "examples/composite.yaml")]
    [line] = [n for n, text in enumerate(files[1].read_text().splitlines(), 1) if "receiveWaitTimeSeconds: 20" in text]
    ran = groundplane("explain", *files, "spec.forProvider.receiveWaitTimeSeconds", "--resource", "queue")
    assert f"  base  Composition queue-aws-v2 › step resources › resource queue, {files[1]}:{line}:" in ran.stdout


def test_each_field_of_a_live_object_is_explained(db):
    ran = groundplane("explain", f"instance/{instance(db)}", "--all", *db, *NAMESPACE)
    assert 'spec.forProvider.storageType = "gp3"\n  base  Composition database-aws › resource instance\n' in ran.stdout
    assert "unknown" not in ran.stdout
