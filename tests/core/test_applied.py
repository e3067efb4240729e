"""What goes when a manifest is applied again from which something was taken out."""

from __future__ import annotations

import json

from groundplane.core.applied import applier, taken_out, with_tools
from groundplane.core.explain import LAST_APPLIED


def applied(last, **now):
    """An object as `kubectl apply` has left it, and others have changed it since."""
    metadata = {"name": "x", **now.pop("metadata", {})}
    metadata["annotations"] = {**metadata.get("annotations", {}), LAST_APPLIED: json.dumps(last)}
    return {"apiVersion": "a.example.org/v1", "kind": "X", "metadata": metadata, **now}


def test_what_others_have_set_stays():
    live = applied(
        {"spec": {"a": 1, "b": {"c": 1}}}, spec={"a": 1, "b": {"c": 1, "d": 2}, "resourceRef": {"name": "r"}}
    )
    assert taken_out(live, {"metadata": {"name": "x"}, "spec": {"b": {}}}) == {"spec": {"a": None, "b": {"c": None}}}
    assert taken_out(live, {"spec": {"a": 2, "b": {"c": 3}}}) == {}


def test_what_is_gone_already_is_not_taken_out_again():
    assert taken_out(applied({"spec": {"a": 1}}, spec={}), {"spec": {}}) == {}


def test_of_a_list_nothing_stays_that_the_manifest_does_not_have():
    steps = [{"step": "a"}, {"step": "b"}]
    live = applied({"spec": {"pipeline": steps}}, spec={"pipeline": steps})
    assert taken_out(live, {"spec": {"pipeline": steps[1:]}}) == {"spec": {"pipeline": steps[1:]}}
    assert taken_out(live, {"spec": {"pipeline": steps}}) == {}


def test_annotations_and_labels_of_others_and_of_tools_stay():
    notes = {"argocd.argoproj.io/tracking-id": "x", "other": "1", "mine": "2"}
    last = {
        "metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x", "mine": "2"}, "labels": {"tier": "gold"}}
    }
    live = applied(last, metadata={"annotations": notes, "labels": {"tier": "gold"}})
    manifest = {"metadata": {"name": "x", "labels": {"tier": "silver"}}}
    assert taken_out(live, manifest) == {"metadata": {"annotations": {"mine": None}}}
    assert with_tools(manifest, live)["metadata"]["annotations"] == {"argocd.argoproj.io/tracking-id": "x"}


def test_who_applied_last_is_no_part_of_a_control_plane():
    def entry(manager, time, operation="Apply", **more):
        return {"manager": manager, "operation": operation, "time": time, **more}

    entries = [
        entry("kubectl", "2026-01-01T00:00:00Z"),
        entry("kustomize-controller", "2026-01-02T00:00:00Z"),
        entry("joe", "2026-01-03T00:00:00Z", "Update"),
        entry("crossplane", "2026-01-04T00:00:00Z"),
        entry("someone", "2026-01-05T00:00:00Z", subresource="status"),
    ]
    assert applier({"metadata": {"managedFields": entries}}) == "kustomize-controller"
    assert applier({"metadata": {"managedFields": entries[2:]}}) == ""


def test_what_nobody_applied_with_kubectl_is_left_to_its_field_managers():
    assert taken_out({"metadata": {}, "spec": {"a": 1}}, {"spec": {}}) == {}
    broken = {"metadata": {"annotations": {LAST_APPLIED: "{"}}, "spec": {"a": 1}}
    assert taken_out(broken, {"spec": {}}) == {}
