"""`groundplane doctor` on a real API server and on a store: each check with a planted fault, and without."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import ssl
import tempfile
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from groundplane.cli import store
from groundplane.core import providers
from groundplane.core.crds.marks import MARK
from groundplane.core.managed_definition import definition_of
from groundplane.runtime import crds, doctor, guard, issuing, webhook_configurations
from groundplane.runtime.webhook_configurations import CROSSPLANE, NO_USAGES
from tests.cli.platform import CLAIM, COMPOSITION, DEFINITION, groundplane, write

SOME = "*.sqs.*"  # of the managed kinds: each one costs the API server as much as the next
NAMESPACE = "doctor-home"
LEASE = "crossplane-leader-election-core"
CONFIG = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": "doctor-works"},
    "spec": {"credentials": {"source": "InjectedIdentity"}},
}
BROKEN = {
    **CONFIG,
    "metadata": {"name": "doctor-lacks-a-secret"},
    "spec": {
        "credentials": {"source": "Secret", "secretRef": {"namespace": NAMESPACE, "name": "gone", "key": "credentials"}}
    },
}


@pytest.fixture
def kinds(control_plane):
    """Ours, as far as tests need them: served, and current."""
    wanted = crds.brought([SOME])
    files = [word for each in wanted for word in ("-f", each.file)]
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", *files)
    control_plane.wait_for_kinds(*(each.name for each in wanted))
    return wanted


@pytest.fixture
def examined(control_plane, standin, monkeypatch):
    """Run it; the exit code and the findings by check."""
    control_plane.kubectl("create", "namespace", NAMESPACE, check=False)
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in {"AWS_ENDPOINT_URL": standin.url, **keys}.items():
        monkeypatch.setenv(name, value)

    def run(*args, kubeconfig=control_plane.kubeconfig):
        options = ("--kubeconfig", kubeconfig, "--namespace", NAMESPACE, "--activations", SOME, "--output", "json")
        result = groundplane("doctor", *options, *args)
        found = {}
        for check in json.loads(result.output)["checks"]:
            found.setdefault(check["id"], []).append(check)
        return result.exit_code, found

    return run


def states(found, name):
    return [check["state"] for check in found[name]]


def test_kinds_that_are_missing_or_older_are_named(control_plane, kinds, examined):
    assert examined("--checks", "kinds") == (
        0,
        {
            "kinds": [
                {
                    "id": "kinds",
                    "state": "ok",
                    "message": f"{len(kinds)} definitions are served and current",
                    "mend": "",
                    "objects": [],
                }
            ]
        },
    )
    name = "providerconfigusages.aws.upbound.io"
    for mark, said in (
        ("0.0.1-000000000000", "not those of this version"),
        ("99.0.0-000000000000", "of a later version"),
    ):
        control_plane.kubectl("annotate", "crd", name, "--overwrite", f"{MARK}={mark}")
        code, found = examined("--checks", "kinds")
        (told,) = found["kinds"]
        assert (code, told["state"], told["objects"]) == (0, "warning", [name])
        assert said in told["message"]
    control_plane.kubectl("annotate", "crd", name, f"{MARK}-")
    assert "somebody else's" in examined("--checks", "kinds")[1]["kinds"][0]["message"]
    control_plane.kubectl("delete", "crd", name)
    code, found = examined("--checks", "kinds")
    assert (code, found["kinds"][0]["state"], found["kinds"][0]["objects"]) == (1, "failed", [name])
    assert groundplane("crds", "--apply", "--only", name, "--kubeconfig", control_plane.kubeconfig).exit_code == 0
    assert examined("--checks", "kinds")[0] == 0


@pytest.mark.usefixtures("kinds")
def test_a_kind_that_was_activated_in_the_cluster_is_looked_at_as_those_of_the_setting(control_plane, examined):
    name = "vpcs.ec2.aws.upbound.io"
    control_plane.kubectl("delete", "crd", name, "--ignore-not-found")
    assert examined("--checks", "kinds")[0] == 0
    (ours,) = [each for each in crds.brought() if each.name == name]
    definition = definition_of(ours.read(), [], mark="1.0.0-a", state="Active")
    control_plane.apply(definition)
    code, found = examined("--checks", "kinds")
    assert (code, found["kinds"][0]["state"], found["kinds"][0]["objects"]) == (1, "failed", [name])
    control_plane.kubectl("delete", "mrd", name)


@pytest.mark.usefixtures("kinds")
def test_kinds_that_are_inactive_in_the_cluster_are_not_missed(control_plane, examined):
    lacking, inactive = [each for each in crds.brought() if each.name.endswith(".ec2.aws.m.upbound.io")][:2]
    control_plane.apply(definition_of(inactive.read(), [], mark="1.0.0-a", state="Inactive"))
    _, found = examined("--activations", "", "--checks", "kinds")
    (told,) = [each for each in found["kinds"] if each["state"] == "failed"]
    assert lacking.name in told["objects"]
    assert inactive.name not in told["objects"]
    control_plane.kubectl("delete", "mrd", inactive.name)


def test_each_right_that_is_missing_is_named_with_the_rule_to_add(control_plane, examined):
    code, found = examined("--checks", "rights")
    assert (code, states(found, "rights")) == (0, ["ok"])  # a person who may do everything
    account = "doctor-weak"
    control_plane.kubectl("create", "serviceaccount", account, "-n", NAMESPACE, check=False)
    control_plane.kubectl("create", "clusterrole", account, "--verb=get,list,watch", "--resource=secrets", check=False)
    subject = f"--serviceaccount={NAMESPACE}:{account}"
    control_plane.kubectl("create", "clusterrolebinding", account, f"--clusterrole={account}", subject, check=False)
    code, found = examined("--checks", "rights", "--account", account)
    (told,) = found["rights"]
    assert (code, told["state"]) == (1, "failed")
    assert "create, update, patch, delete: secrets" in told["objects"]
    assert "list, create, get, watch, update: leases.coordination.k8s.io" in told["objects"]
    assert told["message"].count("system:serviceaccount:doctor-home:doctor-weak lacks rights")
    assert "apply a ClusterRole labelled" in told["mend"]
    own = control_plane.kubeconfig_of_account(NAMESPACE, account)
    assert examined("--checks", "rights", kubeconfig=own)[1]["rights"][0]["objects"] == told["objects"]
    control_plane.kubectl("create", "role", account, "--verb=*", "--resource=secrets", "-n", NAMESPACE, check=False)
    control_plane.kubectl("create", "rolebinding", account, f"--role={account}", subject, "-n", NAMESPACE, check=False)
    own = ("--checks", "rights", "--account", account, "--secret-namespaces")
    assert not [each for each in examined(*own, NAMESPACE)[1]["rights"][0]["objects"] if each.endswith(": secrets")]
    elsewhere = examined(*own, f"{NAMESPACE},default")[1]["rights"][0]["objects"]
    assert "create, update, patch, delete: secrets" in elsewhere
    (told,) = examined("--checks", "rights", "--account", "mistyped")[1]["rights"]
    assert (told["state"], told["message"]) == ("failed", f"there is no ServiceAccount {NAMESPACE}/mistyped")


def lease(holder, duration=1):
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": NAMESPACE},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": duration},
    }


def test_a_lease_that_nobody_holds_or_renews_is_told(control_plane, examined):
    def told():
        code, found = examined("--checks", "lease")
        return code, found["lease"][0]["message"].partition(":")[0]

    assert told() == (1, f"there is no Lease {NAMESPACE}/{LEASE}")
    for holder, said in (
        ("", f"nobody holds the Lease {NAMESPACE}/{LEASE}"),
        ("crossplane-0_1", f"crossplane-0_1 holds the Lease {NAMESPACE}/{LEASE} and has not renewed it for 1 s"),
        ("groundplane_a_1", f"groundplane_a_1 holds the Lease {NAMESPACE}/{LEASE} and has not renewed it for 1 s"),
    ):
        control_plane.apply(lease(holder))
        assert told() == (1, said)
    control_plane.kubectl("delete", "lease", LEASE, "-n", NAMESPACE)


@contextmanager
def renewed(control_plane, held):
    """Somebody renews the Lease."""
    over = threading.Event()

    def renew():
        number = 0
        while not over.wait(0.1):
            number += 1
            control_plane.apply({**held, "spec": {**held["spec"], "leaseTransitions": number}})

    control_plane.apply(held)
    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        place = held["metadata"]["namespace"]
        control_plane.kubectl("delete", "lease", LEASE, "-n", place)


def test_who_renews_the_lease_leads_unless_it_is_a_crossplane(control_plane, examined):
    with renewed(control_plane, lease("groundplane_a_1", 60)):
        assert examined("--checks", "lease")[1]["lease"][0]["message"] == "groundplane_a_1 leads"
    with renewed(control_plane, lease("crossplane-0_1", 60)):
        code, found = examined("--checks", "lease,rivals")
    assert (code, states(found, "rivals")) == (1, ["ok"])
    assert found["lease"][0]["message"] == f"a Crossplane holds the Lease {NAMESPACE}/{LEASE}: crossplane-0_1"
    assert found["lease"][0]["mend"].startswith("scale it to zero")
    elsewhere = lease("crossplane-0_1", 60)
    elsewhere["metadata"]["namespace"] = "default"
    with renewed(control_plane, elsewhere):
        code, found = examined("--checks", "rivals")
    assert (code, states(found, "rivals")) == (1, ["failed"])
    assert f"Lease default/{LEASE} is renewed by crossplane-0_1" in found["rivals"][0]["message"]


def test_what_may_not_be_looked_at_is_told_of_each_check_and_hides_no_other(control_plane, kinds, examined):
    """Least of all as if there were nothing."""
    control_plane.kubectl("create", "serviceaccount", "doctor-nobody", "-n", NAMESPACE, check=False)
    code, found = examined(kubeconfig=control_plane.kubeconfig_of_account(NAMESPACE, "doctor-nobody"))
    assert code == 1
    assert {name: set(states(found, name)) for name in found} == {
        name: {"failed" if name == "rights" else "not allowed"} for name in doctor.CHECKS
    }
    assert all(check["mend"] for each in found.values() for check in each)
    assert len(found["rivals"]) == 2
    assert len(found["credentials"]) == len(list(providers.configs()))


@pytest.fixture
def unprotected(control_plane):
    """Without what an operator of another test has left, which was killed."""
    control_plane.kubectl("delete", guard.POLICIES, guard.NAME, "--ignore-not-found")
    control_plane.kubectl("delete", guard.BINDINGS, guard.NAME, "--ignore-not-found")
    control_plane.kubectl("delete", "validatingwebhookconfigurations", CROSSPLANE, NO_USAGES, "--ignore-not-found")


KEYS = "[default]\naws_access_key_id = {0}\naws_secret_access_key = {0}\n"
ACCOUNTS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "accounts", "namespace": NAMESPACE},
    "stringData": {
        "good": KEYS.format("good"),
        "old": KEYS.format("old"),
        "wrong": KEYS.format("wrong"),
        "junk": "junk",
    },
}
ROLES = {"assumeRoleChain": [{"roleARN": "admin"}]}
BAD = {  # what is wrong with a ProviderConfig: the key of its Secret, what else it says, what is told, and the mend
    "doctor-expired": ("old", {}, "ExpiredToken: ", f"store valid ones under key old of Secret {NAMESPACE}/accounts"),
    "doctor-refused": ("wrong", {}, "InvalidClientTokenId: ", "store valid ones under key wrong of Secret"),
    "doctor-no-key": ("gone", {}, f'Secret {NAMESPACE}/accounts has no key "gone"', "store the credentials under it"),
    "doctor-no-keys": ("junk", {}, "spec.credentials.secretRef: is no INI text", "write [default]"),
    "doctor-no-role": ("good", ROLES, 'spec.assumeRoleChain[0].roleARN: "admin" is no ARN', "write arn:aws:iam::"),
}


def from_secret(name, key, **more):
    reference = {"namespace": NAMESPACE, "name": "accounts", "key": key}
    spec = {"credentials": {"source": "Secret", "secretRef": reference}, **more}
    return {**CONFIG, "metadata": {"name": name}, "spec": spec}


@pytest.mark.usefixtures("kinds")
def test_each_providerconfig_tells_whether_its_credentials_work_and_the_mend(control_plane, examined, standin):
    standin.fail("sts", "*", "ExpiredToken", status=403, times=9, key="old")
    standin.fail("sts", "*", "InvalidClientTokenId", status=403, times=9, key="wrong")
    kubernetes = from_secret("doctor-works", "junk") | {"apiVersion": "kubernetes.crossplane.io/v1alpha1"}
    configs = [CONFIG, BROKEN, *(from_secret(name, key, **more) for name, (key, more, *_) in BAD.items())]
    control_plane.apply(ACCOUNTS, *configs, kubernetes)
    try:
        code, found = examined("--checks", "credentials")
    finally:
        control_plane.kubectl(
            "delete", "providerconfigs.aws.upbound.io", *(each["metadata"]["name"] for each in configs)
        )
        control_plane.kubectl("delete", "providerconfigs.kubernetes.crossplane.io", "doctor-works")
        standin.mend()
    told = {check["objects"][0]: check for check in found["credentials"] if "Kubernetes" not in check["message"]}
    assert code == 1
    assert (told["doctor-works"]["state"], told["doctor-works"]["message"][:36]) == (
        "ok",
        "ProviderConfig doctor-works: arn:aws",
    )
    wanted = {name: (says, mend) for name, (_, _, says, mend) in BAD.items()}
    wanted["doctor-lacks-a-secret"] = (f"cannot get credentials: Secret {NAMESPACE}/gone not found", "create it")
    for name, (says, mend) in wanted.items():
        assert told[name]["state"] == "failed"
        assert told[name]["message"].startswith(f"ProviderConfig {name}: {says}")
        assert told[name]["mend"].startswith(mend)
    (other,) = [check for check in found["credentials"] if "Kubernetes" in check["message"]]
    assert other["message"] == "ProviderConfig doctor-works of Kubernetes: the kubeconfig is not a kubeconfig"


@pytest.mark.usefixtures("kinds", "unprotected")
def test_without_webhooks_a_policy_keeps_what_is_in_use(control_plane, examined):
    code, found = examined("--checks", "webhooks")
    assert (code, states(found, "webhooks")) == (0, ["warning"])
    assert "usages protect nothing" in found["webhooks"][0]["message"]
    assert examined("--checks", "webhooks", "--webhooks", "on")[0] == 1
    control_plane.apply(*guard.objects())
    try:
        assert states(examined("--checks", "webhooks")[1], "webhooks") == ["ok"]
    finally:
        for plural in (guard.POLICIES, guard.BINDINGS):
            control_plane.kubectl("delete", plural, guard.NAME)


@contextmanager
def pointed(control_plane, client):
    """The API server is told of webhooks there, in both configurations."""
    rule = webhook_configurations.rule("apiextensions.crossplane.io", ["v1"], ["compositions"], ["CREATE"])
    where = "object.metadata.name.startsWith('groundplane-')"
    matching = [{"name": "ours", "expression": where}]
    one = webhook_configurations.entry(
        "compositions.example.org",
        client,
        [rule],
        failure_policy="Fail",
        timeout=2,
        object_selector={},
        match_conditions=matching,
    )
    names = (CROSSPLANE, NO_USAGES)
    kind = {"apiVersion": webhook_configurations.API_VERSION, "kind": "ValidatingWebhookConfiguration"}
    other = {**one, "rules": [{**rule, "resources": ["nothing"]}]}
    for name, webhook in zip(names, (one, other), strict=True):
        control_plane.apply({**kind, "metadata": {"name": name}, "webhooks": [webhook]})
    try:
        yield
    finally:
        control_plane.kubectl("delete", "validatingwebhookconfigurations", *names)


@pytest.mark.usefixtures("kinds", "unprotected")
def test_of_webhooks_that_do_not_answer_the_reason_is_told(control_plane, examined):
    now = datetime.now(UTC)
    served, other = (issuing.transient(["127.0.0.1"], now) for _ in range(2))
    service = {"service": {"name": "doctor-gone", "namespace": NAMESPACE, "path": "/x", "port": 9443}}
    bundle = {"caBundle": base64.b64encode(other.bundle).decode()}
    with answering(served) as url:
        for client, said in (
            ({"url": "https://127.0.0.1:9/x"}, "connection refused"),
            (service, 'service "doctor-gone" not found'),
            ({"url": url}, "certificate signed by unknown authority"),
        ):
            with pointed(control_plane, client | bundle):
                found = control_plane.wait("it is told", lambda said=said: _of_webhooks(examined, said))
            assert [check["objects"] for check in found] == [[CROSSPLANE], [NO_USAGES]]
            assert all(check["mend"].startswith("is the operator running") for check in found)
        with pointed(control_plane, {"url": url, "caBundle": base64.b64encode(served.bundle).decode()}):
            control_plane.wait("they are answered", lambda: examined("--checks", "webhooks")[0] == 0)


def _of_webhooks(examined, said):
    """What is found, if it says that of both configurations."""
    code, found = examined("--checks", "webhooks")
    return found["webhooks"] if code == 1 and all(said in each["message"] for each in found["webhooks"]) else None


@contextmanager
def answering(pair):
    """A webhook that refuses all that it is asked about: its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            refused = {"uid": asked["request"]["uid"], "allowed": False, "status": {"message": "no"}}
            body = json.dumps(
                {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": refused}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        context.load_cert_chain(file.name)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"https://127.0.0.1:{server.server_port}/x"
        server.shutdown()
        serving.join()


@pytest.mark.usefixtures("kinds")
def test_what_is_left_in_aws_of_a_cluster_is_found_and_adopted(control_plane, examined, standin):
    owner = {
        "crossplane-kind": "queue.sqs.aws.upbound.io",
        "crossplane-name": "doctor-left",
        "crossplane-providerconfig": "doctor-works",
        "crossplane-uid": "gone",
    }
    standin.client("sqs").create_queue(QueueName="doctor-left", tags=owner)
    control_plane.apply(CONFIG)
    run = ("doctor", "orphans", "--kubeconfig", control_plane.kubeconfig, "--region", "eu-west-1")
    try:
        code, found = examined("orphans", "--region", "eu-west-1", "--checks", "leaks,missing")
        assert (code, states(found, "leaks"), states(found, "missing")) == (3, ["warning"], ["ok"])
        assert "doctor-left in eu-west-1, made for Queue doctor-left" in found["leaks"][0]["objects"][0]
        adopted = groundplane(*run, "--adopt", "--alone", "--yes")
        assert (adopted.exit_code, adopted.output.count("made again")) == (0, 1), adopted.output
        queue = control_plane.get("queues.sqs.aws.upbound.io", "doctor-left")
        assert queue["spec"]["providerConfigRef"]["name"] == "doctor-works"
        assert queue["metadata"]["annotations"]["crossplane.io/external-name"].endswith("/doctor-left")
        assert groundplane(*run, "--delete", "--alone", "--yes").output == "Nothing was left behind.\n"
    finally:
        control_plane.kubectl("delete", "queues.sqs.aws.upbound.io", "--all")
        control_plane.kubectl("delete", "providerconfigs.aws.upbound.io", "doctor-works")


def test_a_check_that_there_is_not_is_refused_with_those_that_there_are():
    result = groundplane("doctor", "--checks", "right")
    assert result.exit_code == 80
    assert "did you mean rights?" in result.output


def content(db):
    with closing(sqlite3.connect(db)) as connection:
        return list(connection.iterdump())


def test_of_a_store_it_is_told_what_makes_sense_without_a_cluster(tmp_path):
    db = tmp_path / "x.db"
    manifests = write(tmp_path / "m", a=DEFINITION, b=COMPOSITION, c=CLAIM)
    assert groundplane("up", manifests, "--db", db, "--once", "--timeout", 60).exit_code == 0
    with store.opened(str(db)) as cluster:
        asyncio.run(cluster.create(BROKEN))
    before = content(db)
    result = groundplane("doctor", "--db", db, "--output", "json")
    told = {check["id"]: check for check in json.loads(result.output)["checks"]}
    assert result.exit_code == 1
    assert set(told) == {"definitions", "credentials"}
    assert told["definitions"]["message"] == "1 is established"
    assert "Secret doctor-home/gone not found" in told["credentials"]["message"]
    assert content(db) == before
    assert groundplane("doctor", "--db", db, "--checks", "definitions").exit_code == 0
    assert "there is no store at" in groundplane("doctor", "--db", tmp_path / "none.db").output
