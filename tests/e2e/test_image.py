"""The image without a container runtime: the folder that it consists of, made by the Containerfile's own step, and run as a Pod does.

`make image-check` and a part of `make soak` run this.  What a Pod gives is given here: the chart's arguments and environment, a
token of its ServiceAccount, another user, no capabilities, a tree that cannot be written.  The base image is not here;
Python is the one that runs the tests, without its packages.  `make kind-up` is run with the real kubectl and helm; for
docker and kind stand programs that do nothing, and for the kubelet this test.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from groundplane.aws import catalogue
from tests.cluster import build
from tests.cluster.rig import ControlPlane
from tests.e2e import guide
from tests.e2e.conftest import Operator, asked_at
from tests.image import recipe
from tests.ports import free_port

NAMESPACE = "crossplane-system"
PYTHON = Path(sys.executable).resolve()  # the one below the virtual environment
LIMIT = 200_000_000  # bytes, of the whole image; grpcio, for functions, cryptography, for webhooks, and CEL have 56 MB
BASE = 56_000_000  # of that, what the base image takes: an unpacked Debian with Python alone was measured
AS_A_POD = (
    "setpriv",
    "--reuid=65532",
    "--regid=65532",
    "--clear-groups",
    "--no-new-privs",
    "--bounding-set=-all",
)
POD = AS_A_POD if os.getuid() == 0 else ()

pytestmark = pytest.mark.soak


def assemble(app):
    """The Containerfile's step for the operator, with this machine's Python and paths."""
    here = {"/app": str(app), "python3": str(PYTHON)}
    words = shlex.split(recipe.said("operator-files", "RUN"))
    command = [here.get(word, word.replace("/src/", f"{guide.REPOSITORY}/")) for word in words]
    subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": "0"})
    return app


def digest(app):
    """Of names, modes, times and contents."""
    whole = hashlib.sha256()
    for path in sorted(app.rglob("*")):
        state = path.lstat()
        whole.update(f"{path.relative_to(app)} {state.st_mode:o} {int(state.st_mtime)}\n".encode())
        if path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()


@pytest.fixture(scope="module")
def root():
    """A folder that other users can read, with `app` in it, and a Python where others may look."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    assemble(folder / "app")
    interpreter = folder / "base" / "bin" / PYTHON.name
    interpreter.parent.mkdir(parents=True)
    shutil.copy(PYTHON, interpreter)
    library = Path(sysconfig.get_path("stdlib"))
    left_out = shutil.ignore_patterns(
        "site-packages", "dist-packages", "test", "tests", "idlelib", "config-*", "__pycache__"
    )
    shutil.copytree(library, folder / "base" / "lib" / library.name, ignore=left_out)
    for shared in Path(sysconfig.get_config_var("LIBDIR")).glob(f"{sysconfig.get_config_var('LDLIBRARY')}*"):
        shutil.copy(shared, folder / "base" / "lib")
    yield folder
    shutil.rmtree(folder)


def python(root, *arguments):
    """The image's Python; without `site`, so that only the folder's packages are there."""
    environment = {"PYTHONPATH": f"{root}{recipe.packages('operator')}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(root / "base" / "bin" / PYTHON.name), "-S", *arguments]
    return subprocess.run(command, env=environment, cwd="/", check=True, capture_output=True, text=True).stdout


def test_what_the_image_consists_of_is_small_the_same_bytes_each_time_and_told_by_its_bill_of_materials(root):
    size = sum(path.lstat().st_size for path in (root / "app").rglob("*"))
    print(f"{size / 1e6:.0f} MB without the base")
    assert size + BASE <= LIMIT
    assert digest(assemble(root / "again")) == digest(root / "app")
    named = {each["purl"] for each in json.loads((root / "app" / "sbom.cdx.json").read_text())["components"]}
    lock = (guide.REPOSITORY / "requirements.lock").read_text()
    locked = {
        f"pkg:pypi/{name}@{version}" for name, version in re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", lock, re.MULTILINE)
    }
    absent = {url.removeprefix("pkg:pypi/").partition("@")[0] for url in locked - named}
    assert named <= locked
    assert "kubernetes" in absent
    assert absent & {"botocore", "kopf", "pydantic", "aiohttp"} == set()


def test_the_image_knows_the_names_of_all_services_and_the_models_of_those_that_have_kinds(root):
    listed = "from botocore.loaders import Loader as L; print(*L(include_default_search_paths=True).list_available_services('service-2'))"
    here = subprocess.run([sys.executable, "-c", listed], check=True, capture_output=True, text=True).stdout
    assert python(root, "-c", listed) == here
    loaded = (
        "import sys, botocore.session as b; s = b.get_session(); [s.get_service_model(each) for each in sys.argv[1:]]"
    )
    python(root, "-c", loaded, *{kind.service for kind in catalogue.every()}, "sts", "sso", "sso-oidc", "signin")


# --- make kind-up ---------------------------------------------------------------------------------

NOTHING = """#!/bin/sh
case "$*" in
"get clusters") [ -e "$0.made" ] && echo groundplane ;;
"create cluster"*) : >"$0.made" ;;
"image inspect"*) echo sha256:0123456789abcdef ;;
esac
exit 0
"""


@pytest.fixture(scope="module")
def plane():
    """A control plane with nothing in it: the operator brings its kinds."""
    with ControlPlane() as running:
        yield running


@pytest.fixture
def kind_up(plane, tmp_path):
    """Runs `image/kind.sh up` against that control plane; as a process, for somebody has to play the kubelet."""
    config = json.loads(plane.kubeconfig.read_text())
    config["contexts"][0]["name"] = config["current-context"] = "kind-groundplane"
    kubeconfig = tmp_path / "kind.kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    kubeconfig.chmod(0o600)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "kind"):
        (programs / name).write_text(NOTHING)
        (programs / name).chmod(0o700)
    path = f"{programs}:{plane.bin}:{build.helm().parent}:{os.environ['PATH']}"
    running = []

    def start():
        log = tmp_path / "kind-up.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["make", "kind-up"],
                cwd=guide.REPOSITORY,
                env=os.environ | {"PATH": path, "KUBECONFIG": str(kubeconfig)},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        running.append(process)
        return process, log

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def available(plane, name):
    """What the deployment controller writes once each Pod is ready."""
    found = plane.get("deployment", name, "-n", NAMESPACE)
    count = found["spec"]["replicas"]
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
    status = json.dumps({"status": {"observedGeneration": found["metadata"]["generation"], **counts}})
    plane.kubectl("patch", "deployment", name, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", status)


@dataclass
class Pod(Operator):
    """The operator from the folder, as the kubelet would start it from the image."""

    root: Path = Path()
    spec: dict = field(default_factory=dict)
    port: int = 0
    place: Path = Path()  # its emptyDir

    def prepare(self):
        """What of the Pod cannot be had here: the address of the stand-in, a free port, the token's mount, and /tmp."""
        self.port = free_port()
        (volume,) = self.spec["volumes"]
        assert "emptyDir" in volume
        (container,) = self.spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        context = container["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == recipe.said("operator", "USER")
        given = {each["name"]: each.get("value", NAMESPACE) for each in container["env"]}
        assert given["AWS_ENDPOINT_URL"] == "http://aws-standin:5000"
        given |= {"AWS_ENDPOINT_URL": self.endpoint, "GROUNDPLANE_HEALTH_PORT": str(self.port)}
        given |= {"PYTHONPATH": f"{self.root}{recipe.packages('operator')}", "HOME": "/", "TMPDIR": str(self.place)}
        given |= {"LD_LIBRARY_PATH": str(self.root / "base" / "lib")}
        given |= {f"GROUNDPLANE_{name.upper()}": value for name, value in asked_at(free_port()).items()}
        self.environment = given | {"KUBECONFIG": str(self.kubeconfig)}
        self.options = tuple(container["args"])

    def command(self, word):
        first, *rest = recipe.command("operator", word)
        assert first == "python3"
        return [*POD, str(self.root / "base" / "bin" / PYTHON.name), "-S", *rest]

    def start(self):
        with self.log.open("ab") as out:
            self.begun = out.tell()
            self.process = subprocess.Popen(
                [*self.command("ENTRYPOINT"), *self.options],
                env=self.environment,
                cwd=recipe.said("operator", "WORKDIR"),
                stdout=out,
                stderr=out,
            )

    def answers(self, probe):
        """Whether the kubelet would be content."""
        assert self.process
        assert self.process.poll() is None, self.text()[-3000:]
        (container,) = self.spec["containers"]
        path = container[probe]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def is_healthy(self):
        """The image's own check."""
        command = self.command("HEALTHCHECK")
        return subprocess.run(command, env=self.environment, cwd="/", capture_output=True).returncode == 0


@pytest.fixture
def pod(plane, aws, root, tmp_path):
    """Not started: its Deployment is not there yet."""
    place = root / "tmp"
    place.mkdir()
    place.chmod(0o777)
    running = Pod(root / "kubeconfig", aws.url, tmp_path / "operator.log", root=root, place=place)
    yield running
    if running.process:
        running.stop()


def log_in(plane, pod):
    """A kubeconfig with the ServiceAccount's token and the certificate in it, which another user may read."""
    config = json.loads(plane.kubeconfig_of_account(NAMESPACE, pod.spec["serviceAccountName"]).read_text())
    for each in config["clusters"]:
        authority = Path(each["cluster"].pop("certificate-authority")).read_bytes()
        each["cluster"]["certificate-authority-data"] = base64.b64encode(authority).decode()
    pod.kubeconfig.write_text(json.dumps(config))
    pod.kubeconfig.chmod(0o644)


def written_elsewhere():
    """What our user has in folders that anybody may write to."""
    return {path for folder in ("/tmp", "/var/tmp", "/dev/shm") for path in Path(folder).glob("*") if is_its(path)}


def is_its(path):
    try:
        return path.lstat().st_uid == 65532
    except OSError:  # gone meanwhile
        return False


def test_make_kind_up_comes_to_a_ready_database_with_the_operator_from_the_image_s_folder_and_may_be_repeated(
    plane, aws, pod, kind_up
):
    elsewhere = written_elsewhere()
    process, log = kind_up()

    def deployment(name):
        assert process.poll() is None, log.read_text()
        return plane.get("deployment", name, "-n", NAMESPACE)

    plane.wait("the stand-in is applied", lambda: deployment("aws-standin"))
    available(plane, "aws-standin")
    pod.spec = plane.wait("the chart is installed", lambda: deployment("groundplane"))["spec"]["template"]["spec"]
    assert pod.spec["containers"][0]["image"] == "groundplane:0123456789ab"
    log_in(plane, pod)
    pod.prepare()
    pod.start()
    plane.wait("it is alive", lambda: pod.answers("livenessProbe"))
    plane.wait("it is ready", lambda: pod.answers("readinessProbe"))
    assert pod.is_healthy()
    available(plane, "groundplane")
    try:
        plane.wait("make kind-up ends", lambda: process.poll() is not None)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text()}\n{pod.text()[-3000:]}") from error
    assert process.returncode == 0, log.read_text()
    assert "The database of the claim is ready.  Next:" in log.read_text()
    assert guide.condition(guide.claim(plane), "Ready")["status"] == "True"
    assert guide.secret(plane)["password"]
    assert len(aws.databases()) == 1

    generation = plane.get("deployment", "groundplane", "-n", NAMESPACE)["metadata"]["generation"]
    process, log = kind_up()
    assert process.wait(300) == 0, log.read_text()
    assert plane.get("deployment", "groundplane", "-n", NAMESPACE)["metadata"]["generation"] == generation
    assert len(aws.databases()) == 1

    plane.kubectl("delete", "databases.platform.example.com", guide.NAME, "-n", guide.TEAM, "--wait=false")
    plane.wait("the database is gone", lambda: aws.databases() == [])
    assert pod.stop() == 0
    assert not pod.is_healthy()
    assert written_elsewhere() == elsewhere
