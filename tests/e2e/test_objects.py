"""provider-kubernetes' Objects on real API servers: one control plane has objects in itself and in another, in all versions."""

from __future__ import annotations

import base64
import copy
import http.server
import json
import ssl
import threading
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.cli.platform import groundplane
from tests.cluster.rig import ControlPlane
from tests.e2e.conftest import QUICK, Operator
from tests.e2e.guide import condition

TEAM = "team-objects"
GROUP, NAMESPACED = "kubernetes.crossplane.io", "kubernetes.m.crossplane.io"
PROVIDERS = ("provider-kubernetes", "provider-helm")
PROBE = base64.b64encode(b"s3cret-word").decode()


@pytest.fixture(scope="module", params=["here", pytest.param("elsewhere", marks=pytest.mark.soak)])
def other(request, plane):
    """The cluster that a Secret's kubeconfig names: this one, in a namespace where nobody here may do anything, or another one."""
    if request.param == "here":
        yield plane
        return
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="module")
def objects(plane, tmp_path_factory):
    """An operator for all tests of this file, as whose ServiceAccount Objects act."""
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
    plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "acting", "namespace": TEAM}})
    log = tmp_path_factory.mktemp("objects") / "operator.log"
    options = (*QUICK, "--objects-identity", f"{TEAM}/acting")
    running = Operator(plane.kubeconfig_of("operator"), "http://127.0.0.1:9", log, options)
    running.start()
    yield running
    running.stop()


def portable(plane):
    """The admin's kubeconfig with all that it names inside."""
    config = json.loads(plane.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    with open(cluster.pop("certificate-authority"), "rb") as file:
        cluster["certificate-authority-data"] = base64.b64encode(file.read()).decode()
    return json.dumps(config)


def config(name, namespace="", secret=""):
    reference = {"name": secret, "namespace": TEAM, "key": "kubeconfig"}
    credentials = {"source": "Secret", "secretRef": reference} if secret else {"source": "InjectedIdentity"}
    return {
        "apiVersion": f"{NAMESPACED if namespace else GROUP}/v1alpha1",
        "kind": "ProviderConfig",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "spec": {"credentials": credentials},
    }


def thing(name, manifest, version, config_, **spec):
    place = {"namespace": TEAM} if version.startswith(NAMESPACED) else {}
    kind = {"kind": "ProviderConfig"} if place else {}
    return {
        "apiVersion": version,
        "kind": "Object",
        "metadata": {"name": name, **place},
        "spec": {"forProvider": {"manifest": manifest}, "providerConfigRef": {"name": config_, **kind}, **spec},
    }


def configmap(name, namespace=TEAM):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"colour": "blue"}}


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "login", "namespace": TEAM},
    "data": {"word": PROBE},
}
CONTAINER = {
    "name": "web",
    "image": "web:1",
    "resources": {"requests": {"cpu": "1000m"}},
    "ports": [{"containerPort": 80}],
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [CONTAINER]}},
    },
}


def manifests(other):
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "there", "namespace": TEAM}} | {
        "stringData": {"kubeconfig": portable(other)}
    }
    yield SECRET
    yield config("here")
    yield config("there", secret="there")
    yield config("own", TEAM)
    for name in PROVIDERS:
        package = f"xpkg.upbound.io/crossplane-contrib/{name}:v1"
        yield {
            "apiVersion": "pkg.crossplane.io/v1",
            "kind": "Provider",
            "metadata": {"name": name},
            "spec": {"package": package},
        }
    yield thing("old", configmap("old"), f"{GROUP}/v1alpha1", "here", watch=True, managementPolicy="Default")
    yield thing("written", configmap("written"), f"{GROUP}/v1alpha2", "here", managementPolicies=["Observe"])
    yield thing("own", DEPLOYMENT, f"{NAMESPACED}/v1alpha1", "own")
    for name, other_name in RING.items():
        references = [{"dependsOn": {"name": other_name}}]
        yield thing(name, configmap(name), f"{NAMESPACED}/v1alpha1", "own", references=references)
    word = {"apiVersion": "v1", "kind": "Secret", "namespace": TEAM, "name": "login", "fieldPath": "data.word"}
    copied = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "copy", "namespace": "default"}}
    detail = {**word, "namespace": "default", "name": "copy", "toConnectionSecretKey": "word"}
    yield thing(
        "away",
        copied,
        f"{GROUP}/v1alpha2",
        "there",
        references=[{"patchesFrom": word}],
        connectionDetails=[detail],
        writeConnectionSecretToRef={"name": "conn", "namespace": TEAM},
        readiness={"policy": "DeriveFromCelQuery", "celQuery": "has(object.data.word)"},
    )
    yield {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "ObservedObjectCollection",
        "metadata": {"name": "spaces"},
        "spec": {
            "providerConfigRef": {"name": "there"},
            "observeObjects": {
                "apiVersion": "v1",
                "kind": "Namespace",
                "selector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            },
        },
    }


RING = {"left": "right", "right": "left"}  # Objects that depend on each other


def planned(plane, *paths):
    """What a plan tells of Objects, by name: the action, and the reason or the fields."""
    ran = groundplane("plan", *paths, "--kubeconfig", plane.kubeconfig, "-o", "json")
    assert ran.exit_code == 0, ran.output
    assert PROBE not in ran.output
    found = [each for each in json.loads(ran.stdout)["resources"] if each["key"]["kind"] == "Object"]
    return {
        each["key"]["name"]: (each["action"], each["reason"] or [change["path"] for change in each["changes"]])
        for each in found
    }


def every(plane):
    """The Objects, by name."""
    found = []
    for group in (GROUP, NAMESPACED):
        found += (plane.get(f"objects.{group}", "-A") or {}).get("items") or []
    return {each["metadata"]["name"]: each for each in found}


def message(obj):
    return condition(obj or {}, "Synced").get("message", "")


def test_objects_are_made_mended_and_deleted_here_and_in_another_cluster(plane, other, objects, tmp_path):
    written = configmap("written") | {"data": {"colour": "blue", "old": "x"}}
    as_before = "--field-manager=crossplane-kubernetes-provider"  # of a provider-kubernetes that does not apply
    plane.kubectl("create", as_before, "-f", "-", input=json.dumps(written))
    plane.apply(*manifests(other))

    def are_ready():
        there = every(plane)
        names = {"old", "own", "away", "written", *RING, *(name for name in there if name.startswith("spaces-"))}
        ready = {name for name, each in there.items() if condition(each, "Ready").get("status") == "True"}
        return len(names) == 7 and names <= ready

    # What Objects may do here is their ServiceAccount's: at first nothing, and what to add is told.
    lacking = {"old": "configmaps", "own": "deployments", "away": "secrets"}
    plane.wait(
        "it is told which rules lack",
        lambda: all(f"resources: [{what}]" in message(every(plane).get(name)) for name, what in lacking.items()),
    )
    assert f"to ServiceAccount {TEAM}/acting" in message(every(plane)["old"])
    verbs = "--verb=get,list,watch,create,update,patch,delete"
    plane.kubectl(
        "create",
        "role",
        "acting",
        "-n",
        TEAM,
        verbs,
        f"--resource=configmaps,secrets,deployments.apps,objects.{NAMESPACED}",
    )
    plane.kubectl("create", "rolebinding", "acting", "-n", TEAM, "--role=acting", f"--serviceaccount={TEAM}:acting")
    try:
        plane.wait("all are ready", are_ready)
    except AssertionError as error:
        raise AssertionError(f"{json.dumps(every(plane), indent=1)}\n{objects.text()[-3000:]}") from error

    there = every(plane)
    assert plane.get("configmap", "old", "-n", TEAM)["data"] == {"colour": "blue"}
    assert there["old"]["apiVersion"].startswith(GROUP)
    assert plane.get("objects.v1alpha1.kubernetes.crossplane.io", "old")["spec"]["managementPolicy"] == "Default"
    assert plane.get("deployment", "web", "-n", TEAM)["spec"]["replicas"] == 0
    assert other.get("secret", "copy", "-n", "default")["data"] == {"word": PROBE}
    assert plane.get("secret", "conn", "-n", TEAM)["data"] == {"word": PROBE}
    assert there["away"]["status"]["atProvider"]["manifest"]["data"] == {"redacted": ""}
    assert PROBE not in json.dumps(there)
    assert plane.get("secret", "login", "-n", TEAM)["metadata"]["finalizers"] == [
        f"kubernetes.crossplane.io/referred-by-object-{there['away']['metadata']['uid']}"
    ]
    [member] = [each for name, each in there.items() if name.startswith("spaces-")]
    assert member["status"]["atProvider"]["manifest"]["metadata"]["name"] == "kube-system"
    assert condition(plane.get("observedobjectcollections", "spaces"), "Ready")["status"] == "True"
    kubernetes, helm = (plane.get("providers.pkg.crossplane.io", name) for name in PROVIDERS)
    assert all(condition(kubernetes, type_)["status"] == "True" for type_ in ("Installed", "Healthy"))
    assert "HelmRelease" in condition(helm, "Installed")["message"]

    assert "it is adopted" not in json.dumps(plane.get("events", "-A")), "all of it is new"

    # What was applied is not applied again, though the server writes it otherwise than the manifest.
    writes = len(applied(plane))
    for kind, name, *place in (
        ("objects.kubernetes.m.crossplane.io", "own", "-n", TEAM),
        ("objects.kubernetes.crossplane.io", "old"),
    ):
        plane.kubectl("annotate", kind, name, *place, "crossplane.io/reconcile-requested-at=now")
        plane.wait(
            "it was looked at",
            lambda k=kind, n=name, p=place: plane.get(k, n, *p)["status"].get("lastHandledReconcileAt") == "now",
        )
    assert len(applied(plane)) == writes

    # What provider-kubernetes wrote before it applied, and nobody wants any more, goes.
    plane.kubectl(
        "patch", f"objects.{GROUP}", "written", "--type=merge", "-p", '{"spec": {"managementPolicies": ["*"]}}'
    )
    plane.wait("it is gone", lambda: plane.get("configmap", "written", "-n", TEAM)["data"] == {"colour": "blue"})
    plane.wait("it is ready", lambda: condition(every(plane)["written"], "Synced").get("status") == "True")
    writes = len(applied(plane))

    # A plan sees what there is in both clusters, has servers judge what would be applied, and changes nothing.
    assert planned(plane) == {}
    deployment = copy.deepcopy(DEPLOYMENT)
    deployment["spec"]["selector"]["matchLabels"] = {"app": "another"}
    deployment["spec"]["template"]["metadata"]["labels"] = {"app": "another"}
    (tmp_path / "change.yaml").write_text(
        yaml.safe_dump_all(
            [
                thing("own", deployment, f"{NAMESPACED}/v1alpha1", "own"),
                thing("more", configmap("more", "default"), f"{GROUP}/v1alpha2", "there"),
                thing("left", configmap("left") | {"data": {"colour": "red"}}, f"{NAMESPACED}/v1alpha1", "own"),
            ]
        )
    )
    told = planned(plane, str(tmp_path / "change.yaml"))
    assert told.pop("more")[0] == "add"
    assert told.pop("left") == ("change", ["spec.forProvider.manifest.data.colour"])
    action, reason = told.pop("own")
    assert (action, "field is immutable" in reason, told) == ("blocked", True, {})
    assert len(applied(plane)) == writes
    assert other.get("configmap", "more", "-n", "default") is None

    # What is watched is mended at once, the rest at the next look.
    plane.kubectl("patch", "configmap", "old", "-n", TEAM, "--type=merge", "-p", '{"data": {"colour": "red"}}')
    plane.wait("it is mended", lambda: plane.get("configmap", "old", "-n", TEAM)["data"] == {"colour": "blue"})
    other.kubectl("delete", "secret", "copy", "-n", "default")
    plane.kubectl("annotate", "objects.kubernetes.crossplane.io", "away", "crossplane.io/reconcile-requested-at=now")
    plane.wait("it is made anew", lambda: other.get("secret", "copy", "-n", "default"))

    for kind in (f"objects.{GROUP}", f"objects.{NAMESPACED}", f"observedobjectcollections.{GROUP}"):
        plane.kubectl("delete", kind, "--all", "-A", "--wait=false")
    try:
        plane.wait("all is gone", lambda: not every(plane))
    except AssertionError as error:
        raise AssertionError(f"{json.dumps(every(plane), indent=1)}\n{objects.text()[-3000:]}") from error
    assert not plane.get("configmap", "old", "-n", TEAM)
    assert not other.get("secret", "copy", "-n", "default")
    assert not plane.get("secret", "login", "-n", TEAM)["metadata"].get("finalizers")
    assert "internal error" not in objects.text()


def applied(plane):
    """The applies of Objects, dry runs not among them."""
    return [
        entry
        for entry in plane.requests()
        if "fieldManager=provider-kubernetes" in entry["requestURI"] and "dryRun" not in entry["requestURI"]
    ]


class Way:
    """A proxy before the API server, as a tunnel is: it hands requests on, or it finds nothing, as if nobody were behind it."""

    def __init__(self, plane):
        self.is_dead, self.refused = False, 0
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        way = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if way.is_dead:
                    way.refused += 1
                    self.tell(404, b"404 page not found\n", "text/plain")
                    return
                names = ("Content-Type", "Accept", "Authorization")
                headers = {name: self.headers[name] for name in names if name in self.headers}
                asked = urllib.request.Request(plane.server + self.path, body or None, headers, method=self.command)
                try:
                    with urllib.request.urlopen(asked, timeout=60, context=trusting) as answer:
                        self.tell(answer.status, answer.read(), answer.headers["Content-Type"])
                except urllib.error.HTTPError as error:
                    with error:
                        self.tell(error.code, error.read(), error.headers["Content-Type"])

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

            def tell(self, status, body, type_):
                self.send_response(status)
                self.send_header("Content-Type", type_)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def kubeconfig(self):
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return json.dumps(
            {
                "kind": "Config",
                "current-context": "there",
                "contexts": [{"name": "there", "context": {"cluster": "there", "user": "me"}}],
                "clusters": [{"name": "there", "cluster": {"server": url}}],
                "users": [{"name": "me", "user": {"token": "admin-token"}}],
            }
        )

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.soak
@pytest.mark.usefixtures("objects")
def test_a_cluster_that_dies_behind_a_proxy_that_finds_nothing_keeps_all_and_goes_on_when_it_is_back(plane):
    way, names = Way(plane), [f"tunnel-{number}" for number in range(6)]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tunnel", "namespace": TEAM}}

    def paint(colour, some):
        plane.apply(
            *(
                thing(name, configmap(name, "default") | {"data": {"colour": colour}}, f"{GROUP}/v1alpha2", "tunnel")
                for name in some
            )
        )

    def states():
        return {name: condition(every(plane).get(name) or {}, "Synced").get("status") for name in names}

    def colours():
        found = (plane.get("configmap", name, "-n", "default") for name in names)
        return [each and each["data"]["colour"] for each in found]

    plane.apply(secret | {"stringData": {"kubeconfig": way.kubeconfig}}, config("tunnel", secret="tunnel"))
    paint("red", names)
    plane.wait("all are made", lambda: set(states().values()) == {"True"})
    way.is_dead = True
    plane.kubectl("delete", f"objects.{GROUP}", *names[:3], "--wait=false")
    paint("blue", names[3:])
    plane.wait("all are told of it", lambda: set(states().values()) == {"False"})
    assert "is not what an API server does" in message(every(plane)[names[0]])
    assert colours() == ["red"] * 6
    way.is_dead = False
    plane.wait("three are gone, and three go on", lambda: colours() == [None] * 3 + ["blue"] * 3)
    plane.wait("their Objects are, too", lambda: not {*names[:3]} & {*every(plane)})
    plane.kubectl("delete", f"objects.{GROUP}", *names[3:], "--timeout=180s")
    assert way.refused
    assert colours() == [None] * 6
    plane.kubectl("delete", f"providerconfigs.{GROUP}", "tunnel", "--timeout=180s")
    way.close()


def account_kubeconfig(plane, name):
    """A kubeconfig with a token of a ServiceAccount that may do anything; it ends with that."""
    plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}})
    binding = f"default-{name}"
    plane.kubectl(
        "create", "clusterrolebinding", binding, "--clusterrole=cluster-admin", f"--serviceaccount=default:{name}"
    )
    token = plane.kubectl("create", "token", name, "-n", "default").stdout.strip()
    found = json.loads(portable(plane))
    return json.dumps(found | {"users": [{"name": "test", "user": {"token": token}}]})


def open_files(operator):
    return len(list(Path(f"/proc/{operator.process.pid}/fd").iterdir()))


@pytest.mark.soak
def test_a_cluster_that_is_killed_and_one_whose_credentials_are_rotated_are_watched_again_and_hold_up_nobody(
    plane, tmp_path
):
    """Drift there is mended after each; objects elsewhere are mended meanwhile; no connection is left behind."""
    names = [f"far-{number}" for number in range(12)]
    system = {"kind": "Namespace", "metadata": {"name": TEAM}}, {"kind": "Namespace", "metadata": {"name": "near"}}
    plane.apply(*({"apiVersion": "v1"} | each for each in system))
    log = tmp_path / "operator.log"
    running = Operator(plane.kubeconfig_of("operator"), "http://127.0.0.1:9", log, (*QUICK, "--poll-interval", "5"))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "far", "namespace": TEAM}}
    collection = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "ObservedObjectCollection",
        "metadata": {"name": "fars", "annotations": {"crossplane.io/poll-interval": "5s"}},
        "spec": {
            "observeObjects": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "namespace": "default",
                "selector": {"matchLabels": {"far": "yes"}},
            },
            "providerConfigRef": {"name": "far"},
        },
    }

    def painted(name, namespace):
        labels = {"far": "yes"} if namespace == "default" else {}
        found = configmap(name, namespace) | {"data": {"colour": "red"}}
        return found | {"metadata": {**found["metadata"], "labels": labels}}

    def spoil(where, name, namespace):
        patch = '{"data": {"colour": "blue"}}'
        where.kubectl("patch", "configmap", name, "-n", namespace, "--type=merge", "-p", patch)

    def mended(where, name, namespace):
        found = where.get("configmap", name, "-n", namespace)
        return found is not None and found["data"]["colour"] == "red"

    def near_is_mended():
        spoil(plane, "near", "near")
        plane.wait("what is here is mended", lambda: mended(plane, "near", "near"))

    def synced(of):
        return {condition(every(plane).get(name) or {}, "Synced").get("status") for name in of}

    def members():
        return [name for name in every(plane) if name.startswith("fars-")]

    with ControlPlane() as far:
        first = account_kubeconfig(far, "first")
        running.start()
        try:
            plane.wait("it leads", running.leads)
            plane.apply(secret | {"stringData": {"kubeconfig": first}}, config("far", secret="far"), config("near"))
            plane.apply(thing("near", painted("near", "near"), f"{GROUP}/v1alpha2", "near", watch=True))
            plane.apply(
                *(thing(name, painted(name, "default"), f"{GROUP}/v1alpha2", "far", watch=True) for name in names)
            )
            plane.apply(collection)
            plane.wait("all are made", lambda: synced([*names, "near"]) == {"True"})
            plane.wait("all are found", lambda: len(members()) == len(names))
            before = open_files(running)
            far.kill_api_server()
            plane.wait("it is told", lambda: synced(names) == {"False"})
            near_is_mended()
            far.start_api_server()
            for name in names:
                spoil(far, name, "default")
            plane.wait("all are mended", lambda: all(mended(far, name, "default") for name in names))
            plane.wait("all say so", lambda: synced(names) == {"True"})
            second = account_kubeconfig(far, "second")
            far.kubectl("delete", "serviceaccount", "first", "-n", "default")
            plane.wait("what is not let in is told", lambda: synced(names) == {"False"})
            near_is_mended()
            plane.apply(secret | {"stringData": {"kubeconfig": second}})
            far.kubectl("delete", "configmap", names[0], "-n", "default")
            for name in names[1:]:
                spoil(far, name, "default")
            plane.wait("all are mended", lambda: all(mended(far, name, "default") for name in names))
            plane.wait("all say so", lambda: synced(names) == {"True"})
            plane.wait("all are found", lambda: len(members()) == len(names))
            plane.wait("the old connections are closed", lambda: open_files(running) <= before + 2)
            plane.kubectl("delete", f"observedobjectcollections.{GROUP}", "fars", "--timeout=180s")
            plane.kubectl("delete", f"objects.{GROUP}", "near", *names, "--timeout=180s")
            assert not any(mended(far, name, "default") for name in names)
        finally:
            running.stop()
