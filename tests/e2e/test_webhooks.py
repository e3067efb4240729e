"""The API server asks the operator, which runs beside the cluster: what is wrong is refused at once, with its mend, and nobody is in its way for good."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import socket
import ssl

import pytest

from groundplane.runtime import certificates, doctor, doctor_webhooks, guard, issuing, pairs
from groundplane.runtime.settings import Settings
from groundplane.runtime.webhook_configurations import CROSSPLANE, NO_USAGES
from tests.definitions import definition
from tests.e2e.conftest import QUICK, Operator, asked_at
from tests.ports import free_port

NAMESPACE = "crossplane-system"
GROUP = "webhooks.example.org"
XRD = definition("XThing", GROUP, claim="Thing", spec={"size": {"type": "integer"}, "colour": {"type": "string"}})
COMPOSITION = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "Composition",
    "metadata": {"name": "things"},
    "spec": {
        "compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "XThing"},
        "resources": [
            {
                "name": "inner",
                "base": {"apiVersion": f"{GROUP}/v1", "kind": "XThing"},
                "patches": [{"fromFieldPath": "spec.size", "toFieldPath": "spec.size"}],
            }
        ],
    },
}
MODE = "crossplane.io/composition-schema-aware-validation-mode"


def options(port):
    """Of an operator that is asked at this port."""
    settings = {"webhooks": "on"} | asked_at(port)
    return (*QUICK, *(word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)))


def configuration(plane, name=CROSSPLANE):
    return plane.get("validatingwebhookconfigurations", name)


def entries(plane):
    return {each["name"]: each for each in (configuration(plane) or {}).get("webhooks") or ()}


def apply(plane, *objects):
    """What kubectl says: its exit code, and all that it prints."""
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    done = plane.kubectl("apply", "-f", "-", input=manifest, check=False)
    return done.returncode, done.stdout + done.stderr


def is_asked(plane, annotations=None):
    """Whether the API server gets answers."""
    wrong = copy.deepcopy(COMPOSITION) | {"metadata": {"name": "wrong", "annotations": annotations or {}}}
    wrong["spec"]["resources"] = []
    return "denied the request" in plane.judge(wrong)[1]


def with_(obj, change):
    found = copy.deepcopy(obj)
    change(found)
    return found


@pytest.fixture(scope="module")
def operator(plane, tmp_path_factory):
    """One for all tests that ask it; they may kill it."""
    port = free_port()
    log = tmp_path_factory.mktemp("webhooks") / "operator.log"
    running = Operator(plane.kubeconfig_of("operator"), "http://127.0.0.1:9", log, options=options(port))
    running.port = port
    yield running
    withdraw(plane, running)


def withdraw(plane, operator):
    """End it, and take away what it leaves."""
    if operator.process:
        operator.stop()
    plane.kubectl("delete", "validatingwebhookconfigurations", CROSSPLANE, NO_USAGES, "--ignore-not-found")
    secrets = (pairs.AUTHORITY, pairs.SERVER)
    plane.kubectl("delete", "secret", "-n", NAMESPACE, *secrets, "--ignore-not-found")


@pytest.fixture
def asked(plane, operator):
    """An operator that the API server asks."""
    if operator.process is None or operator.process.poll() is not None:
        operator.start()
    plane.wait("the API server asks", lambda: is_asked(plane) or operator.process.poll() is not None)
    assert operator.process.poll() is None, operator.text()[-3000:]
    return operator


@pytest.fixture
def unasked(plane, operator):
    """No operator, and nothing of one."""
    withdraw(plane, operator)


@pytest.fixture
def declared(plane, asked):
    """A definition that the operator serves."""
    code, said = apply(plane, XRD)
    assert code == 0, said
    plane.kubectl("wait", "xrd", XRD["metadata"]["name"], "--for=condition=Offered", "--timeout=180s")
    yield
    plane.kubectl("delete", "compositions", "--all")
    plane.kubectl("delete", "things,xthings", "--all", "-A", "--wait=false", check=False)
    plane.kubectl("delete", "xrd", XRD["metadata"]["name"], "--timeout=120s")


@pytest.mark.usefixtures("asked")
def test_what_is_wrong_with_a_definition_is_refused_with_all_that_is(plane):
    def spoil(xrd):
        xrd["spec"]["versions"][0]["referenceable"] = False
        xrd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"] = {
            "type": "text"
        }

    code, said = apply(plane, with_(XRD, spoil))
    assert code == 1
    assert 'admission webhook "compositeresourcedefinitions.apiextensions.crossplane.io" denied the request' in said
    assert "exactly one of spec.versions must be referenceable" in said
    assert "type" in said
    assert not plane.get("xrd", XRD["metadata"]["name"])

    def rule(xrd):
        schema = xrd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        schema["x-kubernetes-validations"] = [{"rule": "self.siz > 1"}]

    code, said = apply(plane, with_(XRD, rule))
    assert code == 1, "only the API server can compile it"
    assert "invalid CRD generated for CompositeResourceDefinition: " in said
    assert "undefined field 'siz'" in said


@pytest.mark.usefixtures("declared")
def test_a_composition_is_judged_as_its_annotation_asks(plane):
    def empty(composition):
        composition["spec"]["resources"][0]["patches"] = [{"type": "PatchSet", "patchSetName": "none"}]

    code, said = apply(plane, with_(COMPOSITION, empty))
    assert code == 1
    assert 'Composition.apiextensions.crossplane.io "things" is invalid' in said
    assert "spec.resources[0].patches[0].patchSetName: Invalid value" in said

    def misfit(composition, mode=None):
        composition["spec"]["resources"][0]["patches"] = [{"fromFieldPath": "spec.colour", "toFieldPath": "spec.size"}]
        if mode:
            composition["metadata"]["annotations"] = {MODE: mode}

    code, said = apply(plane, with_(COMPOSITION, misfit))
    assert code == 0
    assert (
        "Warning: spec.resources[0].patches[0].transforms: spec.size is an integer, and a string would be written"
        in said
    )
    code, said = apply(plane, with_(COMPOSITION, lambda composition: misfit(composition, "strict")))
    assert code == 1
    assert "spec.resources[0].patches[0].transforms: Required value" in said
    code, said = apply(plane, with_(COMPOSITION, lambda composition: misfit(composition, "loud")))
    assert code == 1
    assert 'there is no mode "loud"' in said
    code, said = apply(plane, with_(COMPOSITION, lambda found: found["spec"].update(environment={"patches": []})))
    assert code == 0
    assert "Warning: spec.environment is not read, gone since Crossplane v1.18" in said

    def of_environment(composition):
        composition["spec"]["resources"][0]["patches"][0]["type"] = "FromEnvironmentFieldPath"

    code, said = apply(plane, with_(COMPOSITION, of_environment))
    assert code == 1
    assert "`groundplane convert pipeline-composition` makes a pipeline of it that means the same" in said
    code, said = apply(plane, COMPOSITION)
    assert (code, "arning" in said) == (0, False), said


@pytest.mark.usefixtures("declared")
def test_a_claim_that_names_no_composition_is_warned_of_and_taken(plane):
    apply(plane, COMPOSITION)
    name = "composites.groundplane.io"
    plane.wait("its kinds are asked about", lambda: GROUP in json.dumps(entries(plane).get(name)))
    claim = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Thing",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"compositionRef": {"name": "thing"}},
    }

    def answer():
        """Whether it is taken, and warned of."""
        done = plane.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(claim), check=False)
        warning = 'Warning: compositionRef: there is no Composition "thing" (did you mean things?)'
        return done.returncode == 0, warning in done.stderr

    plane.wait("the API server has taken the configuration in", lambda: answer() == (True, True))
    claim["spec"]["compositionRef"]["name"] = "things"
    assert answer() == (True, False)


MODERN = {
    "apiVersion": "apiextensions.crossplane.io/v2",
    "kind": "CompositeResourceDefinition",
    "metadata": {"name": f"stores.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"kind": "Store", "plural": "stores"},
        "versions": XRD["spec"]["versions"],
    },
}


@pytest.mark.usefixtures("declared")
def test_mistakes_of_newcomers_to_v2_are_told_by_the_api_server_or_by_us(plane):
    code, said = apply(plane, with_(MODERN, lambda xrd: xrd["spec"].update(claimNames=XRD["spec"]["claimNames"])))
    assert code == 1
    assert "claimNames is only for scope LegacyCluster" in said
    code, said = apply(plane, MODERN)
    assert (code, "arning" in said) == (0, False), said
    plane.kubectl("wait", "xrd", MODERN["metadata"]["name"], "--for=condition=Established", "--timeout=180s")
    try:
        native = with_(COMPOSITION, lambda composition: composition["spec"]["compositeTypeRef"].update(kind="Store"))
        plane.wait("its kind is known", lambda: "mode Resources: this works here only" in apply(plane, native)[1])
        store = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Store",
            "metadata": {"name": "one", "namespace": "default"},
            "spec": {"compositionRef": {"name": "things"}},
        }
        code, said = apply(plane, store)
        assert code == 1
        assert "unknown field" in said
        assert "compositionRef" in said
    finally:
        plane.kubectl("delete", "xrd", MODERN["metadata"]["name"], "--timeout=120s")
    edited = with_(
        XRD, lambda xrd: (xrd.update(apiVersion=MODERN["apiVersion"]), xrd["metadata"].update(labels={"a": "b"}))
    )
    code, said = apply(plane, with_(edited, lambda xrd: xrd["spec"].update(scope="LegacyCluster")))
    assert code == 0, said
    code, said = apply(plane, with_(edited, lambda xrd: xrd["spec"].update(scope="Cluster")))
    assert code == 1
    assert "scope is immutable" in said


def test_what_somebody_edits_is_put_back(plane, asked):
    ours = configuration(plane)["webhooks"][0]
    bundle = ours["clientConfig"]["caBundle"]
    foreign = "one.example.org"

    def is_as_it_must_be():
        """What composites are asked about may change beside: definitions of other tests come and go."""
        found = entries(plane)
        bundles = {each["clientConfig"]["caBundle"] for each in found.values()}
        return ours in found.values() and foreign not in found and bundles == {bundle}

    assert is_as_it_must_be()
    other = base64.b64encode(issuing.new_authority(certificates.now()).certificate).decode()
    patch = [
        {"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": other},
        {"op": "add", "path": "/webhooks/-", "value": ours | {"name": foreign}},
    ]
    plane.kubectl("patch", "validatingwebhookconfigurations", CROSSPLANE, "--type=json", "-p", json.dumps(patch))
    plane.wait("it is put back", is_as_it_must_be)
    plane.kubectl("delete", "validatingwebhookconfigurations", CROSSPLANE)
    plane.wait("it is there again", is_as_it_must_be)
    plane.wait("the API server asks", lambda: is_asked(plane))


def serial(port):
    """Of the certificate that is served there."""
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True)


def secret_pair(plane, name=pairs.SERVER):
    return issuing.pair_in(plane.get("secret", name, "-n", NAMESPACE))


def test_a_certificate_that_is_gone_or_about_to_expire_is_made_anew(plane, asked):
    before = serial(asked.port)
    plane.kubectl("delete", "secret", "-n", NAMESPACE, pairs.SERVER)
    plane.wait("another is served", lambda: serial(asked.port) != before)
    plane.wait("the API server asks", lambda: is_asked(plane))
    there = issuing.x509.load_pem_x509_certificate(secret_pair(plane).certificate)
    names = there.extensions.get_extension_for_class(issuing.x509.SubjectAlternativeName).value
    hosts = ["127.0.0.1", *names.get_values_for_type(issuing.x509.DNSName)]
    past = certificates.now() - 0.9 * issuing.SERVER_LIFE
    old = issuing.signed(secret_pair(plane, pairs.AUTHORITY), hosts, past)
    data = {
        name: base64.b64encode(value).decode() for name, value in (("tls.crt", old.certificate), ("tls.key", old.key))
    }
    plane.kubectl("patch", "secret", "-n", NAMESPACE, pairs.SERVER, "-p", json.dumps({"data": data}))
    plane.wait("it is renewed", lambda: secret_pair(plane).certificate != old.certificate)
    plane.wait("the API server asks", lambda: is_asked(plane))


@pytest.mark.soak
def test_two_replicas_share_what_they_serve_with_and_both_answer(plane, asked, aws, tmp_path):
    port = free_port()
    other = Operator(plane.kubeconfig_of("operator"), aws.url, tmp_path / "other.log", options=options(port))
    other.start()
    try:
        plane.wait("the standby serves", lambda: "webhooks are served" in other.text())
        assert serial(port) == serial(asked.port)
        asked.kill()
        plane.wait("the API server asks the other", lambda: is_asked(plane))
        assert entries(plane)["compositions.apiextensions.crossplane.io"]["clientConfig"]["url"].startswith(
            f"https://127.0.0.1:{port}/"
        )
    finally:
        other.stop()


def findings(plane, *, user="admin", webhooks="on"):
    """What doctor finds."""
    settings = Settings(kubeconfig=str(plane.kubeconfig_of(user)), webhooks=webhooks)
    checks = {"webhooks": doctor.CHECKS["webhooks"]}
    found = asyncio.run(doctor.examine_cluster(settings, checks, mode="static", account=""))
    return [(each.state, each.message) for each in found]


def test_doctor_has_the_api_server_try_them(plane, asked):
    names = (CROSSPLANE, NO_USAGES)
    assert findings(plane) == [("ok", f"the API server gets answers from those of {name}") for name in names]
    first = configuration(plane)["webhooks"][0]["clientConfig"]
    assert asyncio.run(doctor_webhooks.unreachable(first)) == "", "as who may not have it try connects itself"
    other = first | {"caBundle": base64.b64encode(issuing.new_authority(certificates.now()).certificate).decode()}
    assert "its certificate is not trusted" in asyncio.run(doctor_webhooks.unreachable(other))
    asked.kill()
    unanswered = "the API server gets no answer from those of {}: it lets in a Composition that they refuse"
    assert findings(plane) == [("failed", unanswered.format(name)) for name in names]
    assert asyncio.run(doctor_webhooks.unreachable(first)) == "Connection refused"
    assert findings(plane, user="nobody")[0][0] == "not allowed"
    plane.kubectl("delete", "validatingwebhookconfigurations", CROSSPLANE, NO_USAGES)
    [(state, said)] = findings(plane, webhooks="off")
    assert (state, said.partition(",")[0]) == ("warning", "none are installed"), "and no policy protects what is in use"
    assert findings(plane) == [("failed", "the API server is not told of the webhooks")]


@pytest.mark.soak
def test_without_an_operator_nothing_is_refused_and_one_without_webhooks_clears_up(plane, asked, aws, tmp_path):
    asked.kill()
    code, said = apply(plane, with_(COMPOSITION, lambda composition: composition["spec"].pop("resources")))
    assert code == 0, said
    plane.kubectl("delete", "composition", "things")
    plain = Operator(plane.kubeconfig_of("operator"), aws.url, tmp_path / "plain.log")
    plain.start()
    try:
        plane.wait("they are taken away", lambda: not configuration(plane) and not configuration(plane, NO_USAGES))
    finally:
        plain.stop()


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize(
    "more", [(), pytest.param(("--strict-upstream",), marks=pytest.mark.soak)], ids=["default", "strict"]
)
def test_beside_an_api_server_on_this_machine_they_are_on_and_an_orderly_end_withdraws_them(plane, aws, tmp_path, more):
    auto = (*QUICK, "--webhooks", "auto", *more)
    running = Operator(plane.kubeconfig_of("operator"), aws.url, tmp_path / "operator.log", options=auto)
    running.start()
    judged = {MODE: "strict"}  # by itself; with strict upstream behaviour nothing else is
    try:
        plane.wait("the API server asks", lambda: is_asked(plane, judged))
        assert is_asked(plane) is not bool(more)
        plane.wait("they alone protect", lambda: not plane.get("validatingadmissionpolicies", guard.NAME))
        found = plane.wait("usages are asked about, too", lambda: configuration(plane, NO_USAGES))
        assert found["webhooks"][0]["clientConfig"]["url"].startswith("https://127.0.0.1:")
    finally:
        running.stop()
    assert configuration(plane) is None
    assert configuration(plane, NO_USAGES) is None
    assert plane.get("validatingadmissionpolicies", guard.NAME)
    assert not plane.get("secret", "-n", NAMESPACE, pairs.SERVER), "the certificate was of that process alone"


@pytest.mark.soak
@pytest.mark.usefixtures("unasked")
def test_where_the_api_server_does_not_reach_them_they_end_and_a_policy_protects(plane, aws, tmp_path):
    unreachable = (*QUICK, "--webhooks", "auto", "--webhook-url", f"https://127.0.0.1:{free_port()}")
    options = (*unreachable, "--webhook-port", str(free_port()))
    running = Operator(plane.kubeconfig_of("operator"), aws.url, tmp_path / "operator.log", options=options)
    running.start()
    try:
        plane.wait("they end", lambda: "webhooks are off" in running.text())
        plane.wait("the policy", lambda: plane.get("validatingadmissionpolicies", guard.NAME))
        plane.wait("nothing is left", lambda: configuration(plane) is None and configuration(plane, NO_USAGES) is None)
        assert "the API server does not reach them" in running.text()
    finally:
        assert running.stop() == 0
