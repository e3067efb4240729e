"""Resources that stand for nothing, on a real API server: in a namespace, and in none."""

from __future__ import annotations

import json

from tests.e2e.guide import condition

TEAM = "team-nop"
PROVIDER = {
    "apiVersion": "pkg.crossplane.io/v1",
    "kind": "Provider",
    "metadata": {"name": "provider-nop"},
    "spec": {"package": "xpkg.crossplane.io/crossplane-contrib/provider-nop:v0.5.0"},
}


def nop(kind, secret, **place):
    soon = {"time": "0s", "conditionType": "Ready", "conditionStatus": "True", "conditionReason": "Here"}
    asked = {"conditionAfter": [soon], "connectionDetails": [{"name": "user", "value": "boss"}], "deleteAfter": "1s"}
    return {
        "apiVersion": "nop.crossplane.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "some", **place},
        "spec": {"forProvider": asked, "writeConnectionSecretToRef": secret},
    }


MANIFESTS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}},
    PROVIDER,
    nop("NopResource", {"name": "own"}, namespace=TEAM),
    nop("ClusterNopResource", {"name": "other", "namespace": TEAM}),
]
KINDS = ("nopresources.nop.crossplane.io", "clusternopresources.nop.crossplane.io")


def test_what_stands_for_nothing_becomes_ready_tells_its_details_and_goes(plane, aws, operator, clean):
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": MANIFESTS}))

    def there():
        return [each for kind in KINDS for each in plane.get(kind, "-A")["items"]]

    def data(secret):
        return (plane.get("secret", secret, "-n", TEAM) or {}).get("data")

    def is_done():
        ready = [condition(each, "Ready") for each in there()]
        provider = plane.get("providers.pkg.crossplane.io", "provider-nop") or {}
        return (
            [(each.get("status"), each.get("reason")) for each in ready] == [("True", "Here")] * 2
            and data("own") == data("other") == {"user": "Ym9zcw=="}
            and all(condition(provider, type_).get("status") == "True" for type_ in ("Installed", "Healthy"))
        )

    try:
        plane.wait("both are ready", is_done)
    except AssertionError as error:
        raise AssertionError(f"{json.dumps(there(), indent=1)}\n{operator.text()[-3000:]}") from error
    plane.kubectl("delete", "secret", "own", "-n", TEAM)
    plane.wait("the Secret is there again", lambda: data("own") == {"user": "Ym9zcw=="})
    for kind in KINDS:
        plane.kubectl("delete", kind, "--all", "-A", "--wait=false")
    plane.wait("all is gone", lambda: not there())
