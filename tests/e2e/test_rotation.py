"""Credentials in a Secret: read once per change, and used at once when they are rotated."""

from __future__ import annotations

import json

from tests.e2e.guide import condition

SECRET, CONFIG, VPC = "rotated", "rotated", "vpc.ec2.aws.upbound.io/rotated"
FOREVER = 1_000_000


def keys(name):
    text = f"[default]\naws_access_key_id = {name}\naws_secret_access_key = hush-hush\n"
    metadata = {"name": SECRET, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"ini": text}}


ACCOUNT = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": CONFIG},
    "spec": {
        "credentials": {"source": "Secret", "secretRef": {"namespace": "default", "name": SECRET, "key": "ini"}},
    },
}
NETWORK = {
    "apiVersion": "ec2.aws.upbound.io/v1beta1",
    "kind": "VPC",
    "metadata": {"name": "rotated", "annotations": {"crossplane.io/poll-interval": "1s"}},
    "spec": {
        "forProvider": {"region": "eu-west-1", "cidrBlock": "10.9.0.0/16"},
        "providerConfigRef": {"name": CONFIG},
    },
}


def said(plane, type_):
    return condition(plane.get(VPC) or {}, type_).get("status")


def reads(plane):
    """How often the operator has read the Secret."""
    asked = [entry.get("objectRef") or {} for entry in plane.requests() if entry["verb"] == "get"]
    return sum(ref.get("resource") == "secrets" and ref.get("name") == SECRET for ref in asked)


def test_a_rotated_secret_is_used_at_once_and_read_at_no_poll(plane, aws, operator, clean):
    for manifest in (keys("AKIAFIRST"), ACCOUNT, NETWORK):
        plane.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    plane.wait("it is ready", lambda: said(plane, "Ready") == "True")
    fault = {"service": "*", "operation": "*", "code": "InvalidClientTokenId", "status": 403, "times": FOREVER}
    aws.request("POST", "/standin/faults", {**fault, "key": "AKIAFIRST"})
    plane.wait("it is refused", lambda: said(plane, "Synced") == "False")
    plane.kubectl("apply", "-f", "-", input=json.dumps(keys("AKIASECOND")))
    # Refused credentials are tried again after a minute at the earliest.
    plane.wait("it works again", lambda: said(plane, "Synced") == "True", seconds=45)
    calls, asked = aws.calls("DescribeVpcs"), reads(plane)
    plane.wait("it is polled", lambda: aws.calls("DescribeVpcs") >= calls + 5)
    assert reads(plane) - asked <= 1  # the watch may have told of it after the first look
    plane.kubectl("delete", VPC)
    plane.kubectl("delete", f"providerconfig.aws.upbound.io/{CONFIG}")  # it goes, for nobody uses it any more
