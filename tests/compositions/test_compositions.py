"""Every folder in compositions/ renders its example to expected/, and all its manifests fit the kinds they are of.

`python -m tests.compositions.test_compositions` writes expected/ anew; read the difference before you commit it.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from groundplane.cli import manifests
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import composition, conditions, definition, goyaml, render
from groundplane.core.crds import crds as core_crds
from groundplane.core.objects import meta, spec_of
from groundplane.runtime import clouds
from tests.cli.platform import groundplane

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (REPOSITORY / "compositions").glob("*/composition.yaml"))
EXAMPLE_SECRET = {
    "endpoint": b"db.example.org",
    "password": b"made-by-the-operator",
    "port": b"5432",
    "username": b"my-app-db-x7k2p",
}


def one(path: Path) -> dict:
    (found,) = manifests.read(path)
    return found.object


def rendered(folder: Path) -> dict[str, str]:
    """File name in expected/ → text."""
    compiled = composition.compile(one(folder / "composition.yaml"))
    composite = one(folder / "examples" / "composite.yaml")
    observed = {
        meta(m.object)["annotations"][render.TEMPLATE_ANNOTATION]: m.object
        for m in manifests.read(folder / "examples" / "observed.yaml")
    }
    new = render.render(composite, compiled, {}, helpful=True)
    assert not [item.error for item in new if item.error]
    again = render.render(composite, compiled, observed, helpful=True)
    composed = {
        item.template: render.Composed(item.object | {"status": observed[item.template]["status"]}, EXAMPLE_SECRET)
        for item in again
    }
    collected = render.collect(composite, compiled, composed, helpful=True)
    after = {
        "status": collected.composite.get("status"),
        "connection": {name: value.decode() for name, value in collected.connection.items()},
        "ready": collected.ready,
    }
    return {
        "new.yaml": "---\n".join(goyaml.dumps(item.object) for item in new),
        "ready.yaml": goyaml.dumps(after),
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_example_renders_to_what_is_expected(folder):
    for name, text in rendered(folder).items():
        assert text == (folder / "expected" / name).read_text(), f"{folder.name}/expected/{name}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_observed_example_is_what_the_composite_would_have_made(folder):
    compiled = composition.compile(one(folder / "composition.yaml"))
    new = render.render(one(folder / "examples" / "composite.yaml"), compiled, {}, helpful=True)
    names = {meta(item.object)["name"] for item in new}
    assert {meta(m.object)["name"] for m in manifests.read(folder / "examples" / "observed.yaml")} == names


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_claim_that_is_ready_has_every_connection_key_that_the_definition_promises(folder):
    promised = set(spec_of(one(folder / "definition.yaml"))["connectionSecretKeys"])
    ready = yaml.safe_load(rendered(folder)["ready.yaml"])
    assert set(ready["connection"]) == promised
    assert all(ready["ready"].values())


def lost(wanted, found, path=""):
    """Paths of what was written and is not there afterwards."""
    if isinstance(wanted, dict):
        return [
            text
            for name, value in wanted.items()
            for text in (lost(value, found[name], f"{path}.{name}") if name in found else [f"{path}.{name}"])
        ]
    if isinstance(wanted, list):
        if len(wanted) != len(found):
            return [path]
        return [text for i, (w, f) in enumerate(zip(wanted, found, strict=True)) for text in lost(w, f, f"{path}[{i}]")]
    return [] if wanted == found else [path]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
async def test_every_manifest_fits_its_kind_and_loses_no_field(folder):
    cluster = SqliteCluster(":memory:")
    defined = definition.read(one(folder / "definition.yaml"))
    xrd = one(folder / "definition.yaml") | {"metadata": {"name": defined.name, "uid": "not-in-the-store"}}
    for crd in [*core_crds(), *clouds.crds(docs=False), definition.composite_crd(xrd), definition.claim_crd(xrd)]:
        unowned = crd | {"metadata": {k: v for k, v in meta(crd).items() if k != "ownerReferences"}}
        await cluster.apply(unowned, manager="test")
    written = [
        m.object for file in manifests.files([str(folder), str(folder / "examples")]) for m in manifests.read(file)
    ]
    written += [m.object for m in manifests.parse(rendered(folder)["new.yaml"], "new.yaml")]
    assert defined.kind in {obj["kind"] for obj in written}
    for obj in written:
        obj = {name: value for name, value in obj.items() if name != "status"}
        wanted = copy.deepcopy(obj)
        wanted["metadata"] = {k: v for k, v in meta(obj).items() if k in ("name", "namespace", "labels", "annotations")}
        stored = await cluster.apply(wanted, manager="test")
        assert lost(wanted, stored) == [], f"{obj['kind']} {meta(obj)['name']}"
    cluster.close()


def test_the_folders_of_one_api_have_the_same_definition():
    one_, other = (
        (REPOSITORY / "compositions" / name / "definition.yaml").read_bytes()
        for name in ("database-aws", "database-postgresql")
    )
    assert one_ == other


def test_conditions_of_the_observed_example_say_ready():
    for folder in FOLDERS:
        for manifest in manifests.read(folder / "examples" / "observed.yaml"):
            assert conditions.is_true(manifest.object, "Ready")


if __name__ == "__main__":
    for each in FOLDERS:
        (each / "expected").mkdir(exist_ok=True)
        for file, content in rendered(each).items():
            (each / "expected" / file).write_text(content)


TESTS = sorted((REPOSITORY / "compositions").glob("*/tests/*.yaml"))


@pytest.mark.parametrize("file", TESTS, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_the_folders_own_tests_pass(file):
    ran = groundplane("test", file)
    assert ran.exit_code == 0, ran.output
