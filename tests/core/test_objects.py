"""What is read of plain objects."""

from __future__ import annotations

import pytest

from groundplane.core import objects


def thing(**metadata):
    return {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": metadata, "spec": {}}


def owned(manager, fields, operation="Apply", **more):
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def test_what_a_manager_applied_is_read_with_its_present_values():
    fields = {"f:spec": {"f:forProvider": {".": {}, "f:username": {}, "f:passwordSecretRef": {"f:name": {}}}}}
    obj = thing(managedFields=[owned("person", {"f:spec": {"f:forProvider": {"f:engine": {}}}}), owned("us", fields)])
    obj["spec"]["forProvider"] = {
        "engine": "postgres",
        "username": "root",
        "passwordSecretRef": {"name": "pw", "namespace": "a"},
    }
    assert objects.applied_by(obj, "us") == {"forProvider": {"username": "root", "passwordSecretRef": {"name": "pw"}}}


def test_a_list_is_taken_whole_and_what_is_gone_is_left_out():
    fields = {"f:spec": {"f:forProvider": {"f:ids": {'v:"a"': {}}, "f:gone": {}, "f:refs": {'k:{"name":"x"}': {}}}}}
    obj = thing(managedFields=[owned("us", fields)])
    obj["spec"]["forProvider"] = {"ids": ["a", "b"], "refs": [{"name": "x"}]}
    assert objects.applied_by(obj, "us") == {"forProvider": {"ids": ["a", "b"], "refs": [{"name": "x"}]}}


@pytest.mark.parametrize("more", [{"operation": "Update"}, {"subresource": "status"}])
def test_updates_and_the_status_are_no_applies_of_the_spec(more):
    fields = {"f:spec": {"f:forProvider": {"f:engine": {}}}}
    obj = thing(managedFields=[owned("us", fields, **more)])
    obj["spec"]["forProvider"] = {"engine": "postgres"}
    assert objects.applied_by(obj, "us") == {}
