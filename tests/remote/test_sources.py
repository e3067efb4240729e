"""Where a function is: what people write, and what is refused because Secrets would go there."""

from __future__ import annotations

import pytest

from groundplane.core import function_sources
from groundplane.core.function_sources import Rules, source
from groundplane.core.pipeline import Endpoint
from groundplane.errors import InvalidInput
from groundplane.functions import finder

PACKAGE = "example.org/acme/function-acme:v1"
AUTO_READY = "xpkg.upbound.io/crossplane-contrib/function-auto-ready:v0.5.0"


def function(package=PACKAGE, **annotations):
    notes = {f"groundplane.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return {"metadata": {"name": "acme", "annotations": notes}, "spec": {"package": package}}


def revision(name="acme-1", endpoint="dns:///acme.crossplane-system:9443", state="Active", **annotations):
    metadata = {"name": name, "annotations": {f"groundplane.io/{each}": text for each, text in annotations.items()}}
    return {"metadata": metadata, "spec": {"desiredState": state}, "status": {"endpoint": endpoint}}


def endpoint(address, rules=Rules(), **annotations):  # noqa: B008 - it is frozen
    found = source("acme", function(endpoint=address, **annotations), (), rules)
    assert not found.problem, found.problem
    return found.endpoint


def problem(address, rules=Rules(), **annotations):  # noqa: B008 - it is frozen
    found = source("acme", function(endpoint=address, **annotations), (), rules)
    assert found.endpoint is None
    return f"{found.problem} | {found.mend}"


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("localhost:9443", "dns:///localhost:9443"),
        ("dns:///127.0.0.1:1", "dns:///127.0.0.1:1"),
        ("[::1]:9443", "dns:///[::1]:9443"),
        ("unix:///run/function.sock", "unix:///run/function.sock"),
    ],
)
def test_on_this_machine_plaintext_will_do(address, target):
    assert endpoint(address) == Endpoint(target)
    assert endpoint(address, endpoint_tls_secret="mine").tls_secret == "mine"


@pytest.mark.parametrize("host", ["acme", "acme.fns", "acme.fns.svc", "acme.fns.svc.cluster.local"])
def test_a_service_is_called_with_crossplanes_certificates_or_those_that_the_function_names(host):
    assert endpoint(f"{host}:9443") == Endpoint(f"dns:///{host}:9443", "crossplane-tls-client")
    named = endpoint(f"{host}:9443", endpoint_tls_secret="mine", endpoint_server_name="other", timeout="90s")
    assert named == Endpoint(f"dns:///{host}:9443", "mine", "other", 90.0)


@pytest.mark.parametrize(
    "host", ["functions.example.org", "10.0.0.1", "acme.fns.svc.example.org", "[fd00::1]", "LOCALHOST.example"]
)
def test_a_host_outside_the_cluster_must_be_allowed(host):
    assert "is no Service of this cluster" in problem(f"{host}:443")
    assert "--function-hosts" in problem(f"{host}:443")
    assert endpoint(f"{host}:443", Rules(hosts=(host.replace("[", "[[]"),))).tls_secret == "crossplane-tls-client"


def test_plaintext_leaves_the_machine_only_where_a_setting_says_so():
    mesh = Rules(plaintext=("acme",))
    assert endpoint("acme.fns.svc:9443", mesh) == Endpoint("dns:///acme.fns.svc:9443")
    assert endpoint("acme:9443", mesh).tls_secret == ""
    assert endpoint("acme.fns:9443", Rules(plaintext=("other",))).tls_secret == "crossplane-tls-client"
    assert endpoint("acme.fns:9443", mesh, endpoint_tls_secret="mine").tls_secret == "mine"
    assert "may be a host outside the cluster" in problem("evil.com:9443", mesh)
    with pytest.raises(InvalidInput, match="plaintext does not leave it"):
        function_sources.given_endpoint("acme.fns.svc:9443")


@pytest.mark.parametrize(
    "address",
    [
        "acme",
        "acme:",
        ":9443",
        "acme:0",
        "acme:65536",
        "acme:9443x",
        "http://acme:1",
        "xds:///acme:1",
        "a b:1",
        "unix:",
        "unix:///",
        "user@acme:1",
        "acme:९४४३",
    ],
)
def test_what_is_no_address_is_told(address):
    assert "is no address of a function" in problem(address)


@pytest.mark.parametrize("timeout", ["0", "101", "-1", "1m", "x", "", "1e9"])
def test_a_time_that_can_not_be_meant_is_told(timeout):
    assert "annotation groundplane.io/timeout" in problem("localhost:1", timeout=timeout)


def test_the_order_in_which_places_count():
    given = Rules(given={"acme": "localhost:1"})
    assert source("acme", function(endpoint="localhost:2"), [revision()], given).endpoint.target == "dns:///localhost:1"
    assert source("acme", None, (), given).endpoint.target == "dns:///localhost:1"
    everywhere = function(AUTO_READY, endpoint="localhost:2")
    assert source("acme", everywhere, [revision()], Rules()).endpoint.target == "dns:///localhost:2"
    assert source("acme", function(AUTO_READY), [revision()], Rules()).endpoint is None
    assert not function_sources.needs_revisions("acme", function(AUTO_READY), Rules())
    assert function_sources.needs_revisions("acme", function(), Rules())
    assert source("acme", None, (), Rules()) is None


def test_where_packages_are_run_a_revision_of_ours_counts_as_well_and_one_that_does_not_serve_yet_says_so():
    runs = Rules(runs=True)
    ours = revision("b", "dns:///acme.ns:9443", made="true")
    assert source("acme", function(), [ours], runs).endpoint == Endpoint("dns:///acme.ns:9443", "crossplane-tls-client")
    for nothing in ([], [revision("b", "", made="true")]):
        starting = source("acme", function(), nothing, runs)
        assert (starting.endpoint, starting.is_starting) == (None, True)
        with pytest.raises(InvalidInput, match="does not serve yet"):
            finder({"acme": starting})("acme")
    assert not source("acme", function(), [], Rules()).is_starting
    assert not source("acme", function(AUTO_READY), [], runs).is_starting


def test_a_manifest_starts_no_program():
    develops = Rules(develops=True)
    for address in ("exec:touch /tmp/x", "exec:python main.py:9443"):
        notes = {
            "render.crossplane.io/runtime": "Development",
            "render.crossplane.io/runtime-development-target": address,
        }
        made = function()
        made["metadata"]["annotations"] = notes
        found = source("acme", made, (), develops)
        assert found.endpoint is None
        assert "is no address of a function" in found.problem
        assert "is no address of a function" in problem(address)
    assert function_sources.given_endpoint("exec:python main.py:9443").command == "python main.py:9443"


def test_of_revisions_the_active_one_counts_that_is_not_ours_and_is_served():
    crowd = [
        revision("a", state="Inactive"),
        revision("b", made="true"),
        revision("c", endpoint=""),
        revision("d", "dns:///d.ns:9443"),
    ]
    found = source("acme", function(), crowd, Rules())
    assert found.endpoint == Endpoint("dns:///d.ns:9443", "crossplane-tls-client")
    assert source("acme", function(), crowd[:3], Rules()).endpoint is None
    local = source("acme", function(endpoint_tls_secret="mine"), [revision(endpoint="localhost:1")], Rules())
    assert local.endpoint == Endpoint("dns:///localhost:1", "mine")
