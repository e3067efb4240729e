"""examples/bucket-v2: it renders what its README says, in kinds that are built in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from groundplane.aws import crds
from groundplane.core import schema
from tests.cli.platform import groundplane

FOLDER = Path(__file__).parents[2] / "examples" / "bucket-v2"
NAME = "crossplane.io/composition-resource-name"
BUCKET = "s3.aws.m.upbound.io/v1beta1", "Bucket", "my-team", "my-team-pictures"


def rendered(composite, *more):
    files = [composite, FOLDER / "composition.yaml", "--xrd", FOLDER / "definition.yaml"]
    done = groundplane("render", *files, *more)
    assert done.exit_code == 0, done.output
    assert "Warning" not in done.output
    return list(yaml.safe_load_all(done.stdout))


def identity(obj):
    return obj["apiVersion"], obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]


def test_a_store_becomes_a_bucket_with_versions_in_its_namespace():
    store, *made = rendered(FOLDER / "store.yaml")
    assert store["kind"] == "Store"
    assert [identity(each) for each in made] == [BUCKET, (BUCKET[0], "BucketVersioning", *BUCKET[2:])]
    for each in made:
        whole = crds.schema_of(each["apiVersion"], each["kind"])
        assert schema.validate(whole, each) == []
        assert schema.undeclared(whole, each) == []


@pytest.mark.parametrize("spec", [{"region": "eu-west-1"}, {"region": "eu-west-1", "versioned": False}])
def test_a_store_without_versions_is_a_bucket_alone(spec, tmp_path):
    composite = tmp_path / "store.yaml"
    composite.write_text(yaml.safe_dump(yaml.safe_load((FOLDER / "store.yaml").read_text()) | {"spec": spec}))
    assert [identity(each) for each in rendered(composite)[1:]] == [BUCKET]


def test_what_the_bucket_says_reaches_the_store(tmp_path):
    condition = {"type": "Ready", "status": "True", "reason": "Available"}
    observed = tmp_path / "observed.yaml"
    store, *made = rendered(FOLDER / "store.yaml")
    arn = "arn:aws:s3:::my-team-pictures"
    seen = [each | {"status": {"conditions": [condition], "atProvider": {"arn": arn}}} for each in made]
    observed.write_text(yaml.safe_dump_all(seen))
    store = rendered(FOLDER / "store.yaml", "--observed-resources", observed)[0]
    assert store["status"]["arn"] == arn
    assert [each["status"] for each in store["status"]["conditions"] if each["type"] == "Ready"] == ["True"]


def test_its_readme_names_files_that_are_there():
    text = (FOLDER / "README.md").read_text()
    names = set(re.findall(r"\b[a-z]+\.yaml\b", text))
    assert names == {path.name for path in FOLDER.glob("*.yaml")}
