"""Manifests as people have them for upstream's provider: each file is applied at once, becomes ready, rests, and goes, in either generation.

What examples show: references and selectors, blocks as lists of one and as objects, old versions beside new ones, Secrets, `initProvider`.
Annotation `change` has the fields of forProvider that are changed once all is at rest, which it is again afterwards.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from groundplane.aws import catalogue
from groundplane.core.objects import annotations_of, key_of, meta, spec_of
from tests.reconcile import managed
from tests.reconcile.managed import condition

FILES = sorted((Path(__file__).parent / "manifests").iterdir())
NAMESPACE = "my-team"
RENAMED = {"numberCacheClusters": "numCacheClusters", "replicationGroupDescription": "description"}


def objects(path, generation):
    found = [each for each in yaml.safe_load_all(path.read_text()) if each]
    return found if generation == 1 else [in_namespace(each) for each in found]


def in_namespace(obj):
    """The same in the namespaced generation."""
    made = copy.deepcopy(obj)
    made["metadata"]["namespace"] = NAMESPACE
    if is_managed(obj):
        kind = catalogue.lookup(obj["apiVersion"], obj["kind"]).namespaced
        made["apiVersion"] = f"{kind.group}/{kind.versions[0]}"
        made["spec"].pop("deletionPolicy", None)
        made["spec"].get("writeConnectionSecretToRef", {}).pop("namespace", None)
        for block in ("forProvider", "initProvider"):
            if block in made["spec"]:
                made["spec"][block] = fields_of(made["spec"][block], kind.fields, as_objects=bool(kind.objects_since))
    return made


def fields_of(values, fields, *, as_objects):
    """With the latest names, lists of one as objects where the generation has these, and no namespace in references to Secrets."""
    made = {}
    for name, value in values.items():
        field = fields.get(name)
        if name == "clusterMode":
            made |= value[0]
            continue
        if name.endswith("SecretRef"):
            value = {key: each for key, each in value.items() if key != "namespace"}
        if field is not None and field.single and as_objects and isinstance(value, list):
            value = value[0] if value else {}
        if field is not None and field.fields and value is not None:
            entries = [
                fields_of(each, field.fields, as_objects=as_objects)
                for each in (value if isinstance(value, list) else [value])
            ]
            value = entries if isinstance(value, list) else entries[0]
        made[RENAMED.get(name, name)] = value
    return made


def changes(obj):
    """What annotation `change` asks for, as the object's generation has it."""
    wanted = json.loads(annotations_of(obj).get("change", "{}"))
    kind = catalogue.lookup(obj["apiVersion"], obj["kind"])
    if kind.is_namespaced:
        return fields_of(wanted, kind.fields, as_objects=bool(kind.objects_since))
    return wanted


def is_managed(obj):
    return "forProvider" in obj.get("spec", {})


def test_every_kind_is_among_them():
    shown = {(each["apiVersion"].partition("/")[0], each["kind"]) for path in FILES for each in objects(path, 1)}
    assert {(kind.group, kind.kind) for kind in catalogue.first_generation()} <= shown


async def are_well(world, found):
    for each in await found():
        for type_ in ("Synced", "Ready"):
            assert condition(each, type_)[0] == "True", f"{each['kind']} {meta(each)['name']}: {each['status']}"
    assert forgotten(world) == []


def forgotten(world):
    """What the stand-in was sent and does not show, but for what moto is known not to keep."""
    found = []
    for about, *_, message in world.told.events:
        if field := re.search(r"does not echo field (\w+)", message):
            kinds = [kind for kind in catalogue.every() if kind.kind == about.partition(" ")[0]]
            if not any(field[1] in names for kind in kinds for names in kind.untried.values()):
                found.append((about, message))
    return found


async def are_at_rest(aws, world, found):
    aws.standin.forget_calls()
    before = await found()
    await world.settle(seconds=800)
    assert aws.writes() == []
    assert [(spec_of(each), each["status"]) for each in await found()] == [
        (spec_of(each), each["status"]) for each in before
    ]


@pytest.mark.soak
@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_file_of_manifests_becomes_ready_rests_and_goes(aws, path, generation):
    world = await aws.world()
    config = managed.provider_config(aws.standin.url) | {"apiVersion": "aws.m.upbound.io/v1beta1"}
    await world.apply(config | {"kind": "ClusterProviderConfig"})
    manifests = objects(path, generation)
    await world.apply(*manifests)
    keys = [key_of(each) for each in manifests if is_managed(each)]

    async def found():
        return [each for key in keys if (each := await world.cluster.get(key))]

    await world.settle(seconds=300)
    await are_well(world, found)
    await are_at_rest(aws, world, found)
    changed = [each for each in manifests if is_managed(each) and changes(each)]
    for each in changed:
        await world.patch(key_of(each), {"spec": {"forProvider": changes(each)}})
    if changed:
        await world.settle(seconds=300)
        await are_well(world, found)
        await are_at_rest(aws, world, found)
    for key in keys:
        await world.cluster.delete(key)
    await world.settle(seconds=300)
    assert await found() == []
