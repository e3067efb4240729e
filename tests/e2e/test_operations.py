"""Operations on a real API server: applied once by their own manager, made by a change and by time."""

from __future__ import annotations

import pytest

from tests.reconcile.things import patch_step

OPS = "ops.crossplane.io/v1alpha1"
NAMESPACE = "team-o"


def spec(name, **more):
    metadata = {"name": name, "namespace": NAMESPACE}
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": "1"}}
    return {"mode": "Pipeline", "pipeline": [patch_step({"name": "a", "base": base})]} | more


def made(kind, name, **spec):
    return {"apiVersion": OPS, "kind": kind, "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def namespace(plane, operator):
    plane.kubectl("create", "namespace", NAMESPACE, check=False)
    yield
    plane.kubectl("delete", "operations,cronoperations,watchoperations", "--all")
    plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def is_done(plane, selector):
    found = plane.get("operations", "-l", selector)["items"]
    true = [
        {c["type"] for c in each.get("status", {}).get("conditions", ()) if c["status"] == "True"} for each in found
    ]
    return found and all(types >= {"Synced", "ValidPipeline", "Succeeded", "Ready"} for types in true)


def test_operations_once_and_at_a_change(plane, operator, namespace):
    once = made("Operation", "once", **spec("by-hand"))
    once["metadata"]["labels"] = {"by": "hand"}
    watching = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": NAMESPACE, "matchLabels": {"watch": "me"}}
    plane.apply(once, made("WatchOperation", "eyes", watch=watching, operationTemplate={"spec": spec("by-change")}))
    plane.wait("it has succeeded", lambda: is_done(plane, "by=hand"))
    found = plane.get("configmap", "by-hand", "-n", NAMESPACE, "--show-managed-fields")["metadata"]
    assert "ownerReferences" not in found
    assert found["managedFields"][0]["manager"].startswith("ops.crossplane.io/operation/")
    metadata = {"name": "seen", "namespace": NAMESPACE, "labels": {"watch": "me"}}
    plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    plane.wait("one by the change", lambda: is_done(plane, "ops.crossplane.io/watchoperation=eyes"))
    plane.kubectl("label", "configmap", "seen", "-n", NAMESPACE, "more=labels")
    label = "ops.crossplane.io/watchoperation=eyes"
    plane.wait("one more", lambda: len(plane.get("operations", "-l", label)["items"]) == 2)
    shown = plane.kubectl("get", "cronoperations,watchoperations,operations").stdout
    assert "eyes" in shown


@pytest.mark.soak
def test_operations_in_time(plane, operator, namespace):
    plane.apply(made("CronOperation", "minute", schedule="* * * * *", operationTemplate={"spec": spec("by-time")}))
    plane.wait("one by time", lambda: is_done(plane, "ops.crossplane.io/cronoperation=minute"), seconds=90)
    assert "minute" in plane.kubectl("get", "cronoperations").stdout
