"""Every folder in compositions/ renders its example to expected/, and all its manifests fit the kinds they are of.

`python -m tests.compositions.test_compositions` writes expected/ anew; read the difference before you commit it.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml

from groundplane.cli import manifests
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import composition, conditions, definition, definition_crds, goyaml, preview, render
from groundplane.core.crds import crds as core_crds
from groundplane.core.objects import key_of, meta, spec_of
from groundplane.errors import Rejected
from groundplane.runtime import clouds
from tests.cli.platform import groundplane

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "compositions"
ALL = sorted(path.parent for path in LIBRARY.glob("*/composition.yaml"))
FOLDERS = sorted(path.parents[1] for path in LIBRARY.glob("*/examples/observed.yaml"))  # whose expected/ is made here


def one(path: Path) -> dict:
    (found,) = manifests.read(path)
    return found.object


def given(folder: Path) -> preview.Observed:
    """What exists, by its template, and the Secrets beside it."""
    found = [m.object for m in manifests.read(folder / "examples" / "observed.yaml")]
    return preview.observe(one(folder / "examples" / "composite.yaml"), found)


def rendered(folder: Path) -> dict[str, str]:
    """File name in expected/ → text."""
    compiled = composition.compile(one(folder / "composition.yaml"))
    composite = one(folder / "examples" / "composite.yaml")
    observed = given(folder)
    new = render.render(composite, compiled, {}, helpful=True)
    assert not [item.error for item in new if item.error]
    again = render.render(composite, compiled, observed.resources, helpful=True)
    composed = {
        item.template: render.Composed(
            item.object | {"status": observed.resources[item.template]["status"]},
            observed.connection(observed.resources[item.template]),
        )
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


@pytest.mark.parametrize("folder", ALL, ids=lambda folder: folder.name)
def test_the_picture_names_every_kind_that_is_made(folder):
    _, _, rest = (folder / "README.md").read_text().partition("```mermaid\n")
    picture, _, _ = rest.partition("```")
    made = {
        kind
        for path in (folder / "composition.yaml", folder / "v2" / "composition.yaml")
        if path.exists()
        for kind in re.findall(r"^ {8,}kind: (\w+)$", path.read_text(), re.MULTILINE)
    } - {"Resources", "GoTemplate", "Input"}  # of functions
    assert made
    assert {kind for kind in made if not re.search(rf"\b{kind}s?\b", picture)} == set()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_example_renders_to_what_is_expected(folder):
    for name, text in rendered(folder).items():
        assert text == (folder / "expected" / name).read_text(), f"{folder.name}/expected/{name}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_observed_example_is_what_the_composite_would_have_made(folder):
    compiled = composition.compile(one(folder / "composition.yaml"))
    new = render.render(one(folder / "examples" / "composite.yaml"), compiled, {}, helpful=True)
    names = {meta(item.object)["name"] for item in new}
    assert {meta(obj)["name"] for obj in given(folder).resources.values()} == names


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_examples_render_without_a_warning(folder):
    examples = folder / "examples"
    ran = groundplane(
        "render", examples / "composite.yaml", folder / "composition.yaml", "-o", examples / "observed.yaml"
    )
    assert (ran.exit_code, ran.stderr) == (0, "")


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
    for crd in [
        *core_crds(),
        *clouds.crds(docs=False),
        definition_crds.composite_crd(xrd),
        definition_crds.claim_crd(xrd),
    ]:
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


async def offered(folder):
    """A store with the kind that is asked for by a composition's users, the claim's if there are claims; and the first example."""
    cluster, xrd = SqliteCluster(":memory:"), one(folder / "definition.yaml")
    xrd["metadata"]["uid"] = "not-in-the-store"
    crd = definition_crds.claim_crd(xrd) or definition_crds.composite_crd(xrd)
    await cluster.apply(crd | {"metadata": {"name": meta(crd)["name"]}}, manager="test")
    (example,) = manifests.read(min((folder / "examples").glob("*.yaml")))
    return cluster, example.object


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("network-aws", {"zones": ["b", "a", "c"]}, "the zones keep their places"),
        ("network-aws", {"zones": ["a", "c"]}, "the zones keep their places"),
        ("network-aws", {"zones": ["a", "b"]}, ""),
        ("table-aws", {"key": {"name": "other"}}, "a table keeps its key"),
        ("table-aws", {"sortKey": {"name": "other"}}, "a table keeps its sort key"),
        ("table-aws", {"sortKey": None}, "a table keeps its sort key"),
        ("table-aws", {"expiresBy": "later"}, ""),
    ],
)
@pytest.mark.parametrize("generation", ["", "v2"])
async def test_what_aws_can_t_change_is_refused_at_once(name, generation, changes, message):
    cluster, example = await offered(LIBRARY / name / generation)
    await cluster.apply(example, manager="test")
    patch = {"spec": {"parameters": changes}}
    if message:
        with pytest.raises(Rejected, match=message):
            await cluster.patch(key_of(example), patch)
    else:
        await cluster.patch(key_of(example), patch)
    cluster.close()


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("network-aws", {"zones": ["a", "a"]}, "each zone is named once"),
        ("network-aws", {"zones": ["a", "b", "a"]}, "each zone is named once"),
        ("network-aws", {"zones": ["c", "a", "b"]}, ""),
        ("network-aws", {"cidrBlock": "10.256.0.0/16"}, "cidrBlock"),
        ("network-aws", {"cidrBlock": "10.030.0.0/16"}, "cidrBlock"),
        ("network-aws", {"cidrBlock": "10.255.0.0/16"}, ""),
        ("table-aws", {"key": {"name": ""}}, "key.name"),
        ("table-aws", {"key": {"name": "id"}, "sortKey": {"name": "id"}}, "the sort key is another attribute"),
        ("table-aws", {"key": {"name": "id"}, "sortKey": {"name": "x" * 256}}, "sortKey.name"),
        ("bucket-aws", {"keepVersionsDays": 36501}, "keepVersionsDays"),
    ],
)
@pytest.mark.parametrize("generation", ["", "v2"])
async def test_what_can_t_work_is_refused_with_its_field(name, generation, changes, message):
    cluster, example = await offered(LIBRARY / name / generation)
    wanted = copy.deepcopy(example)
    wanted["spec"]["parameters"] = spec_of(wanted).get("parameters", {}) | changes
    if message:
        with pytest.raises(Rejected, match=message):
            await cluster.apply(wanted, manager="test")
    else:
        await cluster.apply(wanted, manager="test")
    cluster.close()


@pytest.mark.parametrize(
    "folder, name, message",
    [
        ("namespace-kubernetes", "shop.v2", "a namespace's name has no dots"),
        ("namespace-kubernetes", "default", "the cluster's own namespaces are no team's"),
        ("namespace-kubernetes", "kube-system", "the cluster's own namespaces are no team's"),
        ("namespace-kubernetes", "crossplane-system", "the cluster's own namespaces are no team's"),
        ("namespace-kubernetes", "kubernetes", ""),
        ("service-account-aws", "default", "the service account default is every Pod's"),
        ("service-account-aws", "defaults", ""),
    ],
)
async def test_what_the_cluster_makes_itself_is_taken_over_by_nobody(folder, name, message):
    cluster, example = await offered(LIBRARY / folder)
    wanted = example | {"metadata": example["metadata"] | {"name": name}}
    if message:
        with pytest.raises(Rejected, match=message):
            await cluster.apply(wanted, manager="test")
    else:
        await cluster.apply(wanted, manager="test")
    cluster.close()


def test_the_folders_of_one_api_have_the_same_definition():
    one_, other = (
        (REPOSITORY / "compositions" / name / "definition.yaml").read_bytes()
        for name in ("database-aws", "database-postgresql")
    )
    assert one_ == other


def test_conditions_of_the_observed_example_say_ready():
    for folder in FOLDERS:
        for obj in given(folder).resources.values():
            assert conditions.is_true(obj, "Ready")


OWN_TESTS = sorted(LIBRARY.glob("*/tests/*.yaml"))


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(each, marks=pytest.mark.soak if "run: aws" in each.read_text() else (), id=each.stem)
        for each in OWN_TESTS
    ],
)
def test_a_folders_own_tests_pass(file):
    """Those of a folder whose expected/ is not made here meet all of its Compositions."""
    folder = file.parents[1]
    what = (file,) if folder in FOLDERS else (folder, "--coverage", "--fail-under", "100")
    ran = groundplane("test", *what)
    assert ran.exit_code == 0, ran.output


def test_each_folder_has_tests_of_its_own_or_is_rendered_here():
    assert set(ALL) == {*FOLDERS, *(each.parents[1] for each in OWN_TESTS)}


@pytest.mark.parametrize("folder", [each for each in ALL if each not in FOLDERS], ids=lambda folder: folder.name)
def test_nothing_is_wrong_with_what_a_folder_has(folder):
    judged = groundplane("validate", folder, "--error-on-missing-schemas")
    assert judged.exit_code == 0, judged.output


@pytest.mark.parametrize("folder", ALL, ids=lambda folder: folder.name)
def test_a_folder_says_what_it_makes_and_names_each_file(folder):
    page = (folder / "README.md").read_text()
    assert "```" in page
    names = {each.name for each in folder.glob("*.yaml")} | {
        f"examples/{each.name}" for each in folder.glob("examples/*")
    }
    assert [name for name in sorted(names) if name not in page] == []
    assert f"[{folder.name}]({folder.name}/README.md)" in (LIBRARY / "README.md").read_text()
    typed = [line for line in page.splitlines() if line.startswith("    kubectl ")]
    waits = [line for line in typed if "kubectl wait xrd/" in line]
    assert len(waits) == 1
    assert typed.index(waits[0]) < typed.index(next(each for each in typed if "/examples" in each)), (
        "the kind is there first"
    )
    assert ("v2/" in page) is (folder / "v2").is_dir() or folder.name == "application"


@pytest.mark.parametrize("page", ["README.md", "tests/cluster/person.py"])
def test_who_types_a_page_at_once_waits_for_the_kind_before_it_is_used(page):
    """A definition is applied sooner than its kind is served."""
    typed = re.findall(r"^ +(kubectl (?:apply|wait) .*)", (REPOSITORY / page).read_text(), re.MULTILINE)
    needed = [index for index, line in enumerate(typed) if "/examples" in line]
    assert needed
    assert all(typed[index - 1].startswith("kubectl wait xrd/") for index in needed), typed


def test_both_generations_of_a_folder_offer_the_same():
    """But for what the second has no more: the composite's connection Secret."""
    folders = [each.parent for each in LIBRARY.glob("*/v2")]
    assert len(folders) == 5
    for folder in folders:
        old, new = (one(each / "definition.yaml")["spec"] for each in (folder, folder / "v2"))
        assert old["versions"] == new["versions"]
        assert new["group"] == f"m.{old['group']}"
        assert new["names"]["kind"] == old["claimNames"]["kind"]


@pytest.mark.parametrize("name", ["bucket-aws", "queue-aws", "table-aws", "cache-aws"])
def test_the_second_generation_is_what_migrate_makes_of_the_first(name, tmp_path):
    folder = LIBRARY / name
    for file in ("definition.yaml", "composition.yaml"):
        (tmp_path / "v1").mkdir(exist_ok=True)
        (tmp_path / "v1" / file).write_bytes((folder / file).read_bytes())
    done = groundplane("migrate", "v2", tmp_path / "v1", "-o", tmp_path / "v2")
    assert done.exit_code == 0, done.output
    made = one(tmp_path / "v2" / "composition.yaml")
    step = made["spec"]["pipeline"][0]
    step["step"] = "resources"
    for template in step["input"]["resources"]:
        assert template["base"]["spec"].pop("providerConfigRef") == {"kind": "ClusterProviderConfig", "name": "default"}
    assert made == one(folder / "v2" / "composition.yaml")
    assert one(tmp_path / "v2" / "definition.yaml") == one(folder / "v2" / "definition.yaml")


if __name__ == "__main__":
    for each in FOLDERS:
        (each / "expected").mkdir(exist_ok=True)
        for file, content in rendered(each).items():
            (each / "expected" / file).write_text(content)
