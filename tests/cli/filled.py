"""A store of `groundplane up` as a morning's work leaves it: databases of the first generation, an app of the second."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path

from groundplane.cli import manifests, store
from groundplane.core import conditions
from groundplane.errors import NoSuchKind
from groundplane.runtime.local import LocalControlPlane
from groundplane.runtime.trial import Obedient
from tests.definitions import definition

DATABASE = Path(__file__).resolve().parents[2] / "compositions" / "database-aws"
VERSION = "platform.example.com/v1alpha1"
NAMES = ("orders", "users", "audit")


def read(name):
    return [manifest.object for manifest in manifests.read(DATABASE / name)]


def claim(name, **parameters):
    (found,) = read("examples/claim.yaml")
    found = copy.deepcopy(found)
    found["metadata"]["name"] = name
    found["spec"]["parameters"] |= parameters
    found["spec"]["writeConnectionSecretToRef"] = {"name": name}
    return found


def labelled():
    """A composite of plain kinds of Kubernetes, of the second generation."""
    xrd = definition("App", "example.org", scope="Namespaced", spec={"word": {"type": "string"}})
    base = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"kept": "yes"}}
    template = {
        "name": "settings",
        "base": base,
        "patches": [
            {"type": "FromCompositeFieldPath", "fromFieldPath": "spec.word", "toFieldPath": "data.word"},
            {"type": "FromCompositeFieldPath", "fromFieldPath": "spec.note", "toFieldPath": "data.note"},
        ],
        "readinessChecks": [{"type": "None"}],
    }
    given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": [template]}
    composition = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "app"},
        "spec": {
            "compositeTypeRef": {"apiVersion": "example.org/v1", "kind": "App"},
            "mode": "Pipeline",
            "pipeline": [{"step": "pt", "functionRef": {"name": "function-patch-and-transform"}, "input": given}],
        },
    }
    app = {
        "apiVersion": "example.org/v1",
        "kind": "App",
        "metadata": {"name": "web", "namespace": "my-team"},
        "spec": {"word": "hello"},
    }
    return xrd, composition, app


async def fill(path):
    async with LocalControlPlane(path, cloud=Obedient()) as plane:

        async def apply(obj):
            while True:
                try:
                    return await plane.cluster.apply(obj, manager="person")
                except NoSuchKind:
                    await asyncio.sleep(0.05)

        files = ("definition.yaml", "composition.yaml", "provider.yaml", "network.yaml")
        for obj in [obj for name in files for obj in read(name)]:
            await apply(obj)
        for name in NAMES:
            await apply(claim(name))
        pinned = claim("pinned")
        pinned["spec"]["compositionUpdatePolicy"] = "Manual"
        await apply(pinned)
        xrd, composition, app = labelled()
        for obj in (xrd, composition, app):
            await apply(obj)
        while True:
            await plane.idle()
            found = [*await plane.cluster.list(VERSION, "Database"), *await plane.cluster.list("example.org/v1", "App")]
            if all(conditions.is_true(obj, "Ready") for obj in found):
                return
            await asyncio.sleep(0.05)


def version(path):
    with store.opened(str(path)) as cluster:
        return cluster.version()
