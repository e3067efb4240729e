"""A small platform for reconciler tests: the claim kind Thing, composed of three resources that nobody reconciles."""

from __future__ import annotations

import copy

from groundplane.core.objects import Key
from tests.definitions import definition
from tests.world import World

GROUP = "example.org"
VERSION = f"{GROUP}/v1alpha1"
COMPOSED = "nop.example.org/v1alpha1"
KINDS = ("Alpha", "Beta", "Gamma")
CLAIM = Key(VERSION, "Thing", "team-a", "db")
APP = Key(VERSION, "App", "team-a", "app")


def text():
    return {"type": "string"}


XRD = definition(
    "XThing",
    GROUP,
    claim="Thing",
    version="v1alpha1",
    spec={
        "size": {"type": "string", "enum": ["small", "large", "huge"]},
        "region": text(),
    },
    status={"address": text()},
)

COMPOSITION = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "Composition",
    "metadata": {"name": "thing"},
    "spec": {
        "compositeTypeRef": {"apiVersion": VERSION, "kind": "XThing"},
        "writeConnectionSecretsToNamespace": "crossplane-system",
        "resources": [
            {
                "name": "alpha",
                "base": {"apiVersion": COMPOSED, "kind": "Alpha", "spec": {"forProvider": {"fixed": 1}}},
                "patches": [
                    {
                        "type": "FromCompositeFieldPath",
                        "fromFieldPath": "spec.size",
                        "toFieldPath": "spec.forProvider.class",
                        "transforms": [{"type": "map", "map": {"small": "t1", "large": "t9"}}],
                    },
                    {
                        "type": "ToCompositeFieldPath",
                        "fromFieldPath": "status.atProvider.address",
                        "toFieldPath": "status.address",
                    },
                ],
                "connectionDetails": [
                    {"name": "port", "type": "FromValue", "value": "5432"},
                    {"name": "host", "type": "FromFieldPath", "fromFieldPath": "status.atProvider.address"},
                ],
            },
            {"name": "beta", "base": {"apiVersion": COMPOSED, "kind": "Beta", "spec": {"forProvider": {}}}},
            {"name": "gamma", "base": {"apiVersion": COMPOSED, "kind": "Gamma", "spec": {"forProvider": {}}}},
        ],
    },
}

READY_STEP = {"step": "ready", "functionRef": {"name": "function-auto-ready"}}


def patch_step(*resources, **more):
    """A pipeline's step of patch-and-transform."""
    given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": list(resources)} | more
    return {"step": "patch", "functionRef": {"name": "function-patch-and-transform"}, "input": given}


PIPELINE = {
    **COMPOSITION,
    "spec": {
        "compositeTypeRef": {"apiVersion": VERSION, "kind": "XThing"},
        "mode": "Pipeline",
        "writeConnectionSecretsToNamespace": "crossplane-system",
        "pipeline": [patch_step(*COMPOSITION["spec"]["resources"]), READY_STEP],
    },
}

THING = {
    "apiVersion": VERSION,
    "kind": "Thing",
    "metadata": {"name": "db", "namespace": "team-a"},
    "spec": {"size": "small", "writeConnectionSecretToRef": {"name": "conn"}},
}


def changed(obj, **spec):
    """A copy with fields of spec set; None removes one."""
    obj = copy.deepcopy(obj)
    obj["spec"] |= spec
    obj["spec"] = {name: value for name, value in obj["spec"].items() if value is not None}
    return obj


def composed_crds():
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{kind.lower()}s.nop.example.org"},
            "spec": {
                "group": "nop.example.org",
                "scope": "Cluster",
                "names": {"kind": kind, "plural": f"{kind.lower()}s"},
                "versions": [
                    {
                        "name": "v1alpha1",
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}},
                    }
                ],
            },
        }
        for kind in KINDS
    ]


def v2_definition(scope="Namespaced"):
    """The kind App, of Crossplane v2: no claim, and machinery in a place of its own."""
    return {
        "apiVersion": "apiextensions.crossplane.io/v2",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": "apps.example.org"},
        "spec": {
            "scope": scope,
            "group": GROUP,
            "names": {"kind": "App", "plural": "apps"},
            "versions": XRD["spec"]["versions"],
        },
    }


def v2_composite(**annotations):
    return {
        "apiVersion": VERSION,
        "kind": "App",
        "metadata": {"name": APP.name, "namespace": APP.namespace, "annotations": annotations},
        "spec": {"size": "small"},
    }


async def a_world(**how):
    """A world that has the kinds that Thing is composed of, and nothing else yet."""
    world = await World(**how).install()
    await world.apply(*composed_crds())
    return world


async def running(world, *, composition=COMPOSITION, claim=THING):
    """The world with the definition, a composition and a claim, as far as they come by themselves."""
    await world.apply(XRD)
    await world.settle()
    await world.apply(composition, claim)
    return await world.settle()


async def report(world, kind, *, ready=True, address="a.example.org"):
    """Be the provider: say that the one composed object of a kind is ready, or not."""
    found = await world.one(COMPOSED, kind)
    status = {
        "atProvider": {"address": address},
        "conditions": [
            {"type": type_, "status": str(ready), "reason": "Said", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            for type_ in ("Synced", "Ready")
        ],
    }
    await world.patch(Key(COMPOSED, kind, "", found["metadata"]["name"]), {"status": status}, subresource="status")


async def all_ready(world):
    for kind in KINDS:
        await report(world, kind)
    await world.settle()
