"""`groundplane plan` and `apply` of provider-kubernetes' Objects on a store: told field by field, no Secret among them, nothing written."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path

import pytest
import yaml

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core.objects import key_of
from groundplane.runtime.local import LocalControlPlane
from tests.cli.filled import version
from tests.cli.platform import groundplane
from tests.objects.conftest import config, configmap, secret, thing

SECRETS = ("hunter2hunter2", "aHVudGVyMmh1bnRlcjI", "s3cret-word", "czNjcmV0")
SHOP = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


def reference(kind, name, path, to):
    source = {"apiVersion": "v1", "kind": kind, "name": name, "namespace": "shop", "fieldPath": path}
    return {"patchesFrom": source, "toFieldPath": to}


def some(**data):
    taken = reference("ConfigMap", "source", "data.colour", "data.taken")
    return thing(configmap("made", **data), "some", references=[taken])


LOGIN = thing(secret("login-of-shop", password="hunter2hunter2"), "login")
FILLED = thing(
    configmap("filled", a="b"), "filled", references=[reference("Secret", "login", "data.password", "data.taken")]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store that has nothing of these yet."""
    found = tmp_path_factory.mktemp("objects")

    async def fill():
        async with LocalControlPlane(found / "groundplane.db") as plane:
            for obj in (config(), SHOP, configmap("source", colour="green"), secret()):
                await plane.cluster.apply(obj, manager="person")
            await plane.idle()

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(found)
        asyncio.run(fill())
        yield found


def planned(*objects, flags=()):
    """What is told of these; no Secret is, and nothing is written."""
    with open("change.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump_all(objects, file)
    before = version("groundplane.db")
    ran = groundplane("plan", *(["change.yaml"] if objects else []), "--db", "groundplane.db", *flags)
    assert ran.exit_code == 0, ran.output
    assert version("groundplane.db") == before
    saved = Path("p.json").read_text(encoding="utf-8") if "--out" in flags else ""
    assert not [each for each in SECRETS if each in ran.output + saved]
    return ran.stdout


def applied():
    ran = groundplane("apply", "p.json", "--db", "groundplane.db")
    assert ran.exit_code == 0, ran.output
    return ran.stdout.splitlines()[-1]


def edit_outside(obj, **data):
    cluster = SqliteCluster("groundplane.db")
    asyncio.run(cluster.patch(key_of(obj), {"data": data}))
    cluster.close()


def test_objects_are_told_field_by_field_and_done_so(folder):
    objects = [some(colour="blue", size="1"), LOGIN, FILLED, thing(config(name="other"), "config")]
    told = planned(*objects, flags=("--out", "p.json"))
    assert '+ Object some\n    spec.forProvider.deletionPropagationPolicy: "Background"\n' in told
    assert 'spec.forProvider.manifest.data.colour: "blue"\n' in told
    assert "spec.forProvider.manifest.data.password: (sensitive value)\n" in told
    assert "Plan: 4 to add, 0 to change, 0 to destroy, 0 blocked, 0 to forget, 0 unknown." in told
    assert applied() == "Applied: 4 added, 0 changed, 0 destroyed."
    assert planned(*objects) == "No changes. 4 resources match Kubernetes.\n"

    edit_outside(configmap("made"), size="7")
    changed = copy.deepcopy(objects)
    changed[0]["spec"]["forProvider"]["manifest"]["data"]["colour"] = "red"
    changed[1]["spec"]["forProvider"]["manifest"]["data"]["password"] = "eHh4"
    changed[2]["spec"]["forProvider"]["manifest"]["metadata"]["name"] = "another"
    changed[3]["spec"]["forProvider"]["manifest"]["spec"]["credentials"]["source"] = "Nowhere"
    odd = thing({"apiVersion": "example.org/v1", "kind": "Nosuch", "metadata": {"name": "odd"}}, "odd")
    told = planned(*changed, odd, configmap("source", colour="yellow"))
    assert 'manifest.data.taken: "green" → "yellow"\n' in told
    assert "! Object config\n    " in told
    assert (
        '? Object odd\n    spec.forProvider.manifest: no matches for kind "Nosuch" in version "example.org/v1".' in told
    )
    assert '~ Object some\n    spec.forProvider.manifest.data.colour: "blue" → "red"\n' in told
    assert "~ Object login\n    spec.forProvider.manifest.data.password: (sensitive value)\n" in told
    assert 'Changed outside: Object some manifest.data.size "7" (would be set to "1")\n' in told
    assert 'metadata.name: "filled" → "another"   immutable in Kubernetes. Mend: make a second one and' in told
    assert told.startswith("Kubernetes\n")
    told = planned(*changed, flags=("--refresh=false", "-v"))
    assert "~ Object login\n    spec.forProvider.manifest: (sensitive value)\n" in told
    assert '~ Object some\n    spec.forProvider.manifest.data.colour: "blue" → "red"\n' in told
    assert '"from": "file"' in planned(*changed[:2], flags=("--out", "p.json", "-o", "json"))
    assert applied() == "Applied: 0 added, 2 changed, 0 destroyed."
    assert planned(*changed[:2]) == "No changes. 2 resources match Kubernetes.\n"
