"""`make kind-up` and `make kind-down` with programs that only write down what they are asked; nothing is built or started.

What the steps do to a cluster, tests/e2e/test_image.py tries with the real kubectl and helm.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
import yaml

from tests.image import recipe

TOOLS = ("docker", "kind", "kubectl", "helm")
CONTEXT = "kind-groundplane"
SHELL = ("sh", "sed", "dirname", "make", "git", "cut", "date", "sleep", "cat", "grep")
FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >>{log}
case "$(basename "$0") $*" in
"kind get clusters") cat {clusters} ;;
"kind create cluster"*) echo groundplane >{clusters} ;;
"docker image inspect"*) echo sha256:0123456789abcdef ;;
"docker info") exit {daemon} ;;
"kubectl --context {context} apply -f {once}") [ -e {tried} ] || {{ : >{tried}; echo "no matches for kind" >&2; exit 1; }} ;;
"kubectl --context {context} rollout status deployment/{stuck}"*) exit 1 ;;
esac
"""


class Machine:
    """A PATH with some of the tools, and what they were asked."""

    def __init__(self, folder, *, tools=TOOLS, daemon=True, once="", stuck="nothing"):
        self.bin, self.log, clusters = folder / "bin", folder / "log", folder / "clusters"
        self.bin.mkdir()
        clusters.touch()
        for name in (*SHELL, "basename"):
            found = shutil.which(name)
            assert found
            (self.bin / name).symlink_to(found)
        fake = FAKE.format(
            log=self.log,
            clusters=clusters,
            daemon=0 if daemon else 1,
            context=CONTEXT,
            once=once,
            tried=folder / "tried",
            stuck=stuck,
        )
        for name in tools:
            (self.bin / name).write_text(fake)
            (self.bin / name).chmod(0o700)

    def make(self, target):
        """What was asked, and how it ended."""
        self.log.write_text("")
        done = subprocess.run(
            [str(self.bin / "make"), target],
            cwd=recipe.REPOSITORY,
            env={"PATH": str(self.bin), "HOME": os.environ["HOME"]},
            capture_output=True,
            text=True,
        )
        return self.log.read_text().splitlines(), done


@pytest.mark.parametrize("target", ["kind-up", "kind-down"])
def test_what_is_missing_is_named_at_once_with_its_mend_and_the_way_without_docker(tmp_path, target):
    needed = TOOLS if target == "kind-up" else TOOLS[:2]
    asked, done = Machine(tmp_path, tools=()).make(target)
    assert (asked, done.returncode != 0, done.stdout) == ([], True, "")
    first, *each, way, _ = done.stderr.splitlines()
    assert first == "This needs what is not here:"
    assert [line.split(":")[0].strip() for line in each] == list(needed)
    assert all("https://" in line for line in each)
    assert "make cluster" in way


def test_a_docker_whose_daemon_does_not_answer_is_missing_too_and_nothing_is_begun(tmp_path):
    asked, done = Machine(tmp_path, daemon=False).make("kind-up")
    assert asked == ["docker info"]
    assert "docker: its daemon does not answer" in done.stderr
    assert "kind:" not in done.stderr


def test_up_makes_the_cluster_loads_both_images_and_ends_with_what_to_type(tmp_path):
    asked, done = Machine(tmp_path).make("kind-up")
    assert done.returncode == 0, done.stderr
    steps = (
        "kind create cluster --config kind-config.yaml",
        "docker build -f Containerfile --target operator -t groundplane:dev",
        "docker build -f Containerfile --target standin -t groundplane-standin:dev",
        "docker tag groundplane:dev groundplane:0123456789ab",
        "kind load docker-image groundplane:0123456789ab groundplane-standin:dev --name groundplane",
        f"kubectl --context {CONTEXT} apply -f image/standin.yaml",
        f"kubectl --context {CONTEXT} rollout status deployment/aws-standin",
        f"helm upgrade groundplane charts/groundplane --install --kube-context {CONTEXT}",
        f"kubectl --context {CONTEXT} rollout status deployment/groundplane",
        f"kubectl --context {CONTEXT} apply -f compositions/database-aws",
        f"kubectl --context {CONTEXT} apply -f compositions/database-aws/examples/claim.yaml",
        f"kubectl --context {CONTEXT} wait database/my-service-db",
    )
    places = [next(index for index, line in enumerate(asked) if line.startswith(step)) for step in steps]
    assert places == sorted(places)
    (installed,) = (line for line in asked if line.startswith("helm"))
    assert "--set-string image.tag=0123456789ab" in installed
    assert all(f"--context {CONTEXT}" in line for line in asked if line.startswith("kubectl"))
    assert f"kubectl config use-context {CONTEXT}" in done.stdout


def test_up_again_keeps_the_cluster_and_down_deletes_it(tmp_path):
    machine = Machine(tmp_path)
    machine.make("kind-up")
    asked, done = machine.make("kind-up")
    assert done.returncode == 0, done.stderr
    assert "kind export kubeconfig --name groundplane" in asked
    assert not [line for line in asked if line.startswith("kind create")]
    asked, done = machine.make("kind-down")
    assert (asked[-1], done.returncode) == ("kind delete cluster --name groundplane", 0)


def test_what_the_api_server_does_not_know_yet_is_applied_again(tmp_path):
    asked, done = Machine(tmp_path, once="compositions/database-aws").make("kind-up")
    assert done.returncode == 0, done.stderr
    assert asked.count(f"kubectl --context {CONTEXT} apply -f compositions/database-aws") == 2


@pytest.mark.parametrize("stuck", ["aws-standin", "groundplane"])
def test_a_deployment_that_is_not_available_ends_it_with_the_pods_and_where_to_look(tmp_path, stuck):
    asked, done = Machine(tmp_path, stuck=stuck).make("kind-up")
    assert done.returncode != 0
    assert asked[-1].startswith(f"kubectl --context {CONTEXT} get pods")
    assert f"deployment {stuck} is not available" in done.stderr


def test_the_cluster_has_a_worker_and_one_node_image():
    config = yaml.safe_load((recipe.REPOSITORY / "kind-config.yaml").read_text())
    assert f"kind-{config['name']}" == CONTEXT
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker"]
    assert len({node["image"] for node in config["nodes"]}) == 1


def test_the_api_server_takes_the_stand_in_where_pods_are_restricted_and_the_values_name_its_service(control_plane):
    place = "standin-dry-run"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place, "labels": labels}})
    service, deployment = objects = list(yaml.safe_load_all((recipe.REPOSITORY / "image" / "standin.yaml").read_text()))
    values = yaml.safe_load((recipe.REPOSITORY / "charts" / "groundplane" / "ci" / "kind-values.yaml").read_text())
    (port,) = service["spec"]["ports"]
    assert values["aws"]["endpointUrl"] == f"http://{service['metadata']['name']}:{port['port']}"
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"] == template["metadata"]["labels"]
    (container,) = template["spec"]["containers"]
    assert container["args"][: len(recipe.command("standin", "CMD"))] == recipe.command("standin", "CMD")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": template["spec"]}
    for each in (*objects, pod):
        each["metadata"]["namespace"] = place
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, pod]})
    done = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=manifest)
    assert "arning" not in done.stderr
    assert done.stdout.count("(server dry run)") == 3
