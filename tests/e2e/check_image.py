"""The image without a container runtime: the folder that it consists of, made by the Containerfile's own step, and run as a Pod does.

`make image-check` runs this, `make test` does not: it installs the locked dependencies twice.  What a Pod gives is given here:
the chart's arguments and environment, another user, no capabilities, a tree that cannot be written.  The base image is not
here; Python is the one that runs the tests, without its packages.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.chart.generate import CHART
from tests.chart.helm import helm
from tests.e2e import guide
from tests.e2e.conftest import Operator

RECIPE = (guide.REPOSITORY / "Containerfile").read_text()
PYTHON = Path(sys.executable).resolve()  # the one below the virtual environment
LIMIT = 200_000_000  # bytes, of the whole image
BASE = 60_000_000  # of that, what the base image takes: 55 MB were measured
AS_A_POD = (
    "setpriv",
    "--reuid",
    "65532",
    "--regid",
    "65532",
    "--clear-groups",
    "--no-new-privs",
    "--bounding-set",
    "-all",
)
POD = AS_A_POD if os.getuid() == 0 else ()


def said(instruction):
    """The rest of the only line of the Containerfile that begins so."""
    (found,) = re.findall(rf"^{instruction} (.*)$", RECIPE, re.MULTILINE)
    return found


def assemble(app):
    """The Containerfile's only RUN, with this machine's Python and paths."""
    here = {"/app": str(app), "python3": str(PYTHON)}
    command = [here.get(word, word.replace("/src/", f"{guide.REPOSITORY}/")) for word in shlex.split(said("RUN"))]
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
    """A folder that other users can read, with `app` in it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    assemble(folder / "app")
    interpreter = folder / "base" / "bin" / PYTHON.name  # the base image: where it is here, only its owner may look
    interpreter.parent.mkdir(parents=True)
    shutil.copy(PYTHON, interpreter)
    library = Path(sysconfig.get_path("stdlib"))
    left_out = shutil.ignore_patterns(
        "site-packages", "dist-packages", "test", "tests", "idlelib", "config-*", "__pycache__"
    )
    shutil.copytree(library, folder / "base" / "lib" / library.name, ignore=left_out)
    yield folder
    shutil.rmtree(folder)


def readable(kubeconfig):
    """It with the certificate in it, whose file is the owner's alone."""
    config = json.loads(kubeconfig.read_text())
    for each in config["clusters"]:
        authority = Path(each["cluster"].pop("certificate-authority")).read_bytes()
        each["cluster"]["certificate-authority-data"] = base64.b64encode(authority).decode()
    return json.dumps(config)


class Pod(Operator):
    """The operator from the folder, as the kubelet would start it from the image."""

    interpreter: Path
    environment: dict[str, str]

    def command(self, instruction):
        """An exec form of the Containerfile; without `site`, so that only the folder's packages are there."""
        first, *rest = json.loads(said(instruction))
        assert first == "python3"
        return [*POD, str(self.interpreter), "-S", *rest]

    def start(self):
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*self.command("ENTRYPOINT"), *self.options],
                env=self.environment,
                cwd=said("WORKDIR"),
                stdout=out,
                stderr=out,
            )

    def is_healthy(self):
        done = subprocess.run(self.command("HEALTHCHECK CMD"), env=self.environment, cwd="/", capture_output=True)
        return done.returncode == 0


@pytest.fixture
def operator(plane, aws, root, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    values = {"aws": {"endpointUrl": aws.url}, "extraEnvVarsCrossplane": keys, "metrics": {"port": port}}
    rendered = helm("template", "groundplane", CHART, "-n", "crossplane-system", values=values)
    assert rendered.returncode == 0, rendered.stderr
    (deployment,) = (each for each in yaml.safe_load_all(rendered.stdout) if each and each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert f"{container['securityContext']['runAsUser']}:{container['securityContext']['runAsGroup']}" == said("USER")
    config = root / "kubeconfig"
    config.write_text(readable(plane.kubeconfig_of("operator")))
    config.chmod(0o644)
    pod = Pod(config, aws.url, tmp_path / "operator.log", options=tuple(container["args"]))
    (packages,) = re.findall(r"^ENV PYTHONPATH=(.*)$", RECIPE, re.MULTILINE)
    pod.interpreter = root / "base" / "bin" / PYTHON.name
    pod.environment = {"PYTHONPATH": f"{root}{packages}", "KUBECONFIG": str(config), "HOME": "/"}
    pod.environment |= {each["name"]: each.get("value", "crossplane-system") for each in container["env"]}
    pod.start()
    yield pod
    pod.stop()


def test_what_the_image_consists_of_is_small_and_the_same_bytes_each_time(root):
    size = sum(path.lstat().st_size for path in (root / "app").rglob("*"))
    print(f"{size / 1e6:.0f} MB without the base")
    assert size + BASE < LIMIT
    assert digest(assemble(root / "again")) == digest(root / "app")


def test_the_bill_of_materials_names_each_locked_package_that_is_in_the_image_and_no_other(root):
    named = {each["purl"] for each in json.loads((root / "app" / "sbom.cdx.json").read_text())["components"]}
    locked = re.findall(
        r"^([a-z0-9-]+)==([^ ;\\]+)", (guide.REPOSITORY / "requirements.lock").read_text(), re.MULTILINE
    )
    assert named <= {f"pkg:pypi/{name}@{version}" for name, version in locked}
    assert {"boto3", "kopf", "pydantic"} <= {url.removeprefix("pkg:pypi/").partition("@")[0] for url in named}
    assert not [url for url in named if url.startswith("pkg:pypi/kubernetes@")]


@pytest.mark.usefixtures("clean")
@pytest.mark.skipif(not guide.SEED.is_dir(), reason=f"the guide's manifests are not at {guide.SEED}")
def test_from_the_image_s_folder_as_another_user_with_the_chart_s_arguments_the_guide_s_database_comes_and_goes(
    plane, aws, operator
):
    plane.wait("the health check passes", operator.is_healthy)
    guide.apply(plane, *guide.GUIDE, guide.NETWORK)
    guide.wait_ready(plane)
    files = [word for path in (*guide.GUIDE, guide.NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false")
    plane.wait("all is gone", lambda: not guide.left(plane))
    assert aws.databases() == []
    assert operator.stop() == 0
    assert not operator.is_healthy()


def test_without_a_container_runtime_make_image_says_in_one_line_what_it_needs(tmp_path):
    make = shutil.which("make")
    assert make
    done = subprocess.run(
        [make, "image"], cwd=guide.REPOSITORY, env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode != 0
    said_first, *rest = done.stderr.splitlines()
    assert said_first.startswith("make image needs docker (with its daemon running), podman or buildah")
    assert len(rest) == 1  # make's own
