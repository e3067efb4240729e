"""Functions that run in processes of their own, on a real API server: as people declare them, and as a Crossplane has left them."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys

import pytest

from tests.definitions import definition
from tests.e2e import guide
from tests.e2e.conftest import Operator
from tests.ports import free_port
from tests.remote.certificates import Authority, data_of

GROUP, PACKAGES = "functions.example.org", "pkg.crossplane.io/v1"
PACKAGE = "example.org/acme/function-acme:v1"
PASSWORD = "correct-horse-battery-staple"


def text():
    return {"type": "string"}


XRD = definition("XShop", GROUP, claim="Shop", spec={"size": text()}, status={"seen": text()})
CLAIM = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Shop",
    "metadata": {"name": "shop", "namespace": "team-f"},
    "spec": {"size": "small", "writeConnectionSecretToRef": {"name": "conn"}},
}


def settings(value):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team-f"}, "data": {"value": value}}


def composition(value):
    given = {"resources": {"settings": settings(value)}, "ready": True, "status": {"seen": value}, "ttl": 60}
    given |= {"apiVersion": "acme.fn.example.org/v1", "kind": "Input", "details": {"password": PASSWORD}}
    return {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "shop"},
        "spec": {
            "compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "XShop"},
            "mode": "Pipeline",
            "writeConnectionSecretsToNamespace": "crossplane-system",
            "pipeline": [{"step": "acme", "functionRef": {"name": "acme"}, "input": given}],
        },
    }


def declared(**annotations):
    notes = {f"groundplane.io/{name}": value for name, value in annotations.items()}
    metadata = {"name": "acme", "annotations": notes}
    return {"apiVersion": PACKAGES, "kind": "Function", "metadata": metadata, "spec": {"package": PACKAGE}}


@contextlib.contextmanager
def served(port, *how):
    command = [sys.executable, "-m", "tests.remote.server", "--address", f"127.0.0.1:{port}", *how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert "listening" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def shop(plane, operator):
    plane.kubectl("create", "namespace", "team-f", check=False)
    plane.apply(XRD)
    plane.wait("the claim's kind", lambda: plane.get(f"shops.{GROUP}", "-n", "team-f") is not None)
    yield
    plane.kubectl("delete", f"shops.{GROUP}", "--all", "-n", "team-f", "--wait=false", check=False)
    plane.wait("the shop is gone", lambda: not guide.any_of(plane, f"xshops.{GROUP}"))
    plane.kubectl("delete", f"xrd/xshops.{GROUP}", "composition/shop", f"function.{PACKAGES.split('/')[0]}/acme")
    plane.kubectl("delete", "secret", "conn", "-n", "team-f", "--ignore-not-found")


def conditions(obj):
    return {each["type"]: each for each in obj.get("status", {}).get("conditions", ())}


def claim(plane):
    return plane.get(f"shops.{GROUP}", "shop", "-n", "team-f")


def seen(plane):
    found = claim(plane)
    told = conditions(found)
    return found.get("status", {}).get("seen") if told.get("Ready", {}).get("status") == "True" else None


def composed(plane):
    found = plane.get("configmaps", "-n", "team-f", "-l", "crossplane.io/claim-name=shop")["items"]
    return {item["metadata"]["uid"]: item["data"]["value"] for item in found}


def events(plane):
    return [each["message"] for each in plane.get("events", "-n", "default")["items"]]


def is_healthy(plane):
    return conditions(plane.get("function.pkg.crossplane.io", "acme")).get("Healthy", {}).get("status")


def test_a_function_at_an_address_works_dies_and_comes_back(plane, operator, shop):
    port = free_port()
    with served(port, "--insecure"):
        plane.apply(declared(endpoint=f"localhost:{port}"), composition("one"), CLAIM)
        plane.wait("it is composed", lambda: seen(plane) == "one")
        plane.wait("the function is healthy", lambda: is_healthy(plane) == "True")
        secret = plane.wait("the Secret", lambda: plane.get("secret", "conn", "-n", "team-f"))
        assert base64.b64decode(secret["data"]["password"]).decode() == PASSWORD
        [(uid, value)] = composed(plane).items()
        assert value == "one"
    plane.apply(composition("two"))
    told = plane.wait("the cause", lambda: "\n".join(each for each in events(plane) if "cannot run Function" in each))
    assert "code = Unavailable" in told
    assert f"see that it runs and serves at dns:///localhost:{port}" in told
    assert composed(plane) == {uid: "one"}
    with served(port, "--insecure"):
        plane.wait("it goes on", lambda: seen(plane) == "two")
        assert composed(plane) == {uid: "two"}
    assert PASSWORD not in operator.text()
    assert base64.b64encode(PASSWORD.encode()).decode() not in operator.text()


def test_what_a_crossplane_has_left_running_is_called_with_its_certificates(plane, operator, shop, tmp_path):
    authority, port = Authority(tmp_path / "ca"), free_port()
    data = {name: base64.b64encode(value).decode() for name, value in data_of(authority.sign("crossplane")).items()}
    metadata = {"name": "crossplane-tls-client", "namespace": "crossplane-system"}
    with served(port, "--tls-certs-dir", str(authority.sign("acme", "localhost"))):
        plane.apply(declared(), {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
        uid = plane.get("function.pkg.crossplane.io", "acme")["metadata"]["uid"]
        owner = {"apiVersion": PACKAGES, "kind": "Function", "name": "acme", "uid": uid, "controller": True}
        metadata = {"name": "acme-1", "labels": {"pkg.crossplane.io/package": "acme"}, "ownerReferences": [owner]}
        spec = {"image": PACKAGE, "revision": 1, "desiredState": "Active"}
        plane.apply({"apiVersion": PACKAGES, "kind": "FunctionRevision", "metadata": metadata, "spec": spec})
        status = json.dumps({"status": {"endpoint": f"dns:///localhost:{port}"}})
        plane.kubectl("patch", "functionrevision/acme-1", "--subresource=status", "--type=merge", "-p", status)
        plane.apply(composition("one"), CLAIM)
        plane.wait("it is composed", lambda: seen(plane) == "one")
        plane.wait("the function is healthy", lambda: is_healthy(plane) == "True")
        names = [each["metadata"]["name"] for each in plane.get("functionrevisions")["items"]]
        assert "acme-1" in names
    plane.kubectl("delete", "secret", "crossplane-tls-client", "-n", "crossplane-system")


# --- packages that are run -------------------------------------------------------------------------------------------

NAMESPACE = "crossplane-system"


@pytest.fixture
def running(plane, aws, tmp_path):
    made = Operator(plane.kubeconfig_of("operator"), aws.url, tmp_path / "operator.log")
    made.options = (*made.options, "--function-runtime", "Deployment")
    made.start()
    yield made
    made.stop()


def become_available(plane, name):
    """Be the Deployment's controller."""
    generation = plane.get("deployment", name, "-n", NAMESPACE)["metadata"]["generation"]
    available = {"type": "Available", "status": "True", "reason": "Said", "message": "there"}
    status = {"observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "conditions": [available]}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    plane.kubectl("patch", "deployment", name, "-n", NAMESPACE, *patch)


def function(plane):
    return plane.get("function.pkg.crossplane.io", "acme")


def healthy(plane):
    return conditions(function(plane)).get("Healthy", {})


def written(plane, secret, folder):
    """A Secret's data as the files of a folder, as a Pod has them mounted."""
    folder.mkdir()
    for name, value in plane.get("secret", secret, "-n", NAMESPACE)["data"].items():
        (folder / name).write_bytes(base64.b64decode(value))
    return folder


def test_a_package_is_run_with_certificates_and_another_one_takes_over_without_a_gap(plane, running, tmp_path):
    plane.apply(declared())
    first = plane.wait("its revision", lambda: function(plane).get("status", {}).get("currentRevision"))
    plane.wait("it says what is missing", lambda: f"Deployment {first}" in healthy(plane).get("message", ""))
    assert conditions(function(plane))["Installed"]["status"] == "True"
    made = plane.get("deployment", first, "-n", NAMESPACE)
    [container] = made["spec"]["template"]["spec"]["containers"]
    assert (container["name"], container["image"]) == ("package-runtime", PACKAGE)
    assert made["metadata"]["ownerReferences"][0]["kind"] == "FunctionRevision"
    assert plane.get("serviceaccount", first, "-n", NAMESPACE)
    become_available(plane, first)
    endpoint = plane.wait(
        "it is served", lambda: plane.get("functionrevision", first).get("status", {}).get("endpoint")
    )
    assert endpoint == f"dns:///acme.{NAMESPACE}:9443"
    service = plane.get("service", "acme", "-n", NAMESPACE)
    assert service["spec"]["selector"]["pkg.crossplane.io/revision"] == first
    assert service["spec"]["clusterIP"] == "None"

    other = declared()
    other["spec"] |= {"package": PACKAGE.replace(":v1", ":v2"), "revisionActivationPolicy": "Manual"}
    plane.apply(other)
    second = plane.wait(
        "another revision",
        lambda: (name := function(plane).get("status", {}).get("currentRevision")) != first and name,
    )
    assert "is inactive" in conditions(function(plane))["Installed"]["message"]
    assert not plane.get("deployment", second, "-n", NAMESPACE)
    active = json.dumps({"spec": {"desiredState": "Active"}})
    plane.kubectl("patch", "functionrevision", second, "--type=merge", "-p", active)
    plane.wait("its Deployment", lambda: plane.get("deployment", second, "-n", NAMESPACE))
    plane.wait("it is waited for", lambda: f"Deployment {second}" in healthy(plane).get("message", ""))
    service = plane.get("service", "acme", "-n", NAMESPACE)
    assert service["spec"]["selector"]["pkg.crossplane.io/revision"] == first
    assert plane.get("functionrevision", first)
    become_available(plane, second)
    plane.wait("the first goes", lambda: not plane.get("functionrevision", first))
    service = plane.get("service", "acme", "-n", NAMESPACE)
    assert service["spec"]["selector"]["pkg.crossplane.io/revision"] == second

    port = free_port()
    with served(port, "--tls-certs-dir", str(written(plane, "acme-tls-server", tmp_path / "server"))):
        placed = declared(
            **{
                "endpoint": f"localhost:{port}",
                "endpoint-server-name": f"acme.{NAMESPACE}.svc",
                "endpoint-tls-secret": "crossplane-tls-client",
            }
        )
        placed["spec"]["package"] = other["spec"]["package"]
        plane.apply(placed)
        plane.wait("its certificates are good for a call", lambda: healthy(plane).get("status") == "True")
    plane.kubectl("delete", "function.pkg.crossplane.io/acme")
    gone = ("service", "acme", "-n", NAMESPACE)
    plane.wait("what was made for it goes with it", lambda: not plane.get(*gone))
    plane.wait("its Secret, too", lambda: not plane.get("secret", "acme-tls-server", "-n", NAMESPACE))
