"""examples/function-python: made with Crossplane's SDK, in an environment of its own, since that pins other versions than ours."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from tests.cli.platform import groundplane
from tests.cluster import build

FOLDER = Path(__file__).parents[2] / "examples" / "function-python"


@pytest.fixture(scope="module")
def python():
    return build.environment(FOLDER / "requirements.txt")


def rendered(python, *more):
    """What `render` makes of the example, by the command of its README."""
    files = [FOLDER / name for name in ("store.yaml", "composition.yaml")]
    command = f"exec:{python} {shlex.quote(str(FOLDER / 'main.py'))}"
    done = groundplane(
        "render", *files, "--xrd", FOLDER / "definition.yaml", "--function", f"function-regions={command}", *more
    )
    return {
        obj["metadata"].get("annotations", {}).get("crossplane.io/composition-resource-name", ""): obj
        for obj in yaml.safe_load_all(done.stdout)
    }


def test_the_example_does_in_a_pipeline_what_its_text_says(python, tmp_path):
    bucket = {
        "apiVersion": "s3.aws.upbound.io/v1beta1",
        "kind": "Bucket",
        "metadata": {"name": "x", "annotations": {"crossplane.io/composition-resource-name": "bucket-us-east-1"}},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Available"}]},
    }
    observed = tmp_path / "observed.yaml"
    observed.write_text(yaml.safe_dump(bucket))
    made = rendered(python, "--observed-resources", observed)
    assert made[""]["status"]["ready"] == "1 of 2"
    assert made["bucket-eu-central-1"]["spec"]["forProvider"] == {"region": "eu-central-1", "tags": {"team": "storage"}}
    assert made["bucket-us-east-1"]["metadata"]["name"] == "x"


def test_its_readme_names_what_is_there():
    text = (FOLDER / "README.md").read_text()
    for name in (
        "requirements.txt",
        "main.py",
        "store.yaml",
        "provider.yaml",
        "composition.yaml",
        "definition.yaml",
        "function.yaml",
        "Containerfile",
    ):
        assert name in text
        assert (FOLDER / name).is_file()
