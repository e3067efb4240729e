"""`groundplane plan` and `apply` on the real API server, beside an operator at work, against AWS's stand-in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml

from tests.cli.platform import groundplane
from tests.e2e import guide

GROUP = "plans.example.org"
READING = ("Describe", "Get", "List", "Head", "GET", "HEAD")
DEFINITION = f"""
apiVersion: apiextensions.crossplane.io/v1
kind: CompositeResourceDefinition
metadata: {{name: xshelves.{GROUP}}}
spec:
  group: {GROUP}
  names: {{kind: XShelf, plural: xshelves}}
  versions:
  - name: v1
    served: true
    referenceable: true
    schema:
      openAPIV3Schema: {{type: object, properties: {{spec: {{type: object, properties: {{team: {{type: string}}}}}}}}}}
"""
COMPOSITION = f"""
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {{name: shelves}}
spec:
  compositeTypeRef: {{apiVersion: {GROUP}/v1, kind: XShelf}}
  resources:
  - name: bucket
    base:
      apiVersion: s3.aws.upbound.io/v1beta1
      kind: Bucket
      spec: {{forProvider: {{region: eu-west-1, tags: {{floor: "1"}}}}}}
    patches:
    - {{fromFieldPath: spec.team, toFieldPath: spec.forProvider.tags.team}}
"""
CONFIG = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": "default"},
    "spec": {"credentials": {"source": "InjectedIdentity"}, "s3_use_path_style": True},
}


KILLED = """
import os, signal, sys
from groundplane.cli.main import main
from groundplane.cluster.client import Api

left, ask = [int(sys.argv.pop(1))], Api.request

async def request(api, method, path, **asked):
    answer = await ask(api, method, path, **asked)
    if method != "GET" and "dryRun" not in (asked.get("query") or {}):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return answer

Api.request = request
main()
"""
"""The command line, killed after its nth write to the API server."""


def shelf(team, name="plans-one"):
    return {"apiVersion": f"{GROUP}/v1", "kind": "XShelf", "metadata": {"name": name}, "spec": {"team": team}}


def mutating(aws):
    return [
        call["operation"] for call in aws.request("GET", "/standin/calls") if not call["operation"].startswith(READING)
    ]


def is_ready(obj):
    """Whether it is there as it is asked for now, and nothing is still to come."""
    status = (obj or {}).get("status") or {}
    found = {each["type"]: each["status"] for each in status.get("conditions", ())}
    is_seen = status.get("observedGeneration") == ((obj or {}).get("metadata") or {}).get("generation")
    return is_seen and found.get("Ready") == "True" and found.get("Reconciling") != "True"


@pytest.fixture
def shelves(plane, aws, operator, clean, tmp_path, monkeypatch):
    """An author's folder, beside an operator that has made one shelf."""
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in (keys | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    plane.apply(yaml.safe_load(DEFINITION), yaml.safe_load(COMPOSITION), CONFIG)
    plane.wait("the kind is served", lambda: plane.get(f"xshelves.{GROUP}") is not None)
    plane.apply(shelf("red"))
    plane.wait("the shelf is ready", lambda: is_ready(plane.get(f"xshelves.{GROUP}", "plans-one")))
    guide.at_rest(plane)
    yield ("--kubeconfig", plane.kubeconfig)
    plane.kubectl("delete", f"xshelves.{GROUP}", "--all", "--timeout=60s")


@pytest.mark.soak
@pytest.mark.parametrize("writes", [1, 2, 3, 4])
def test_a_killed_apply_is_finished_by_the_next_or_refused_with_a_reason(plane, aws, shelves, writes):
    """What was written before stays, and the operator acts on it; a plan of what is left brings the rest, and nothing is paused or made twice."""
    with open("change.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump_all(
            [shelf("blue"), *(shelf("green", f"plans-{name}") for name in ("two", "three", "four"))], file
        )
    made = groundplane("plan", "change.yaml", *shelves, "--out", "p.json")
    assert "3 to add, 1 to change" in made.stdout, made.output
    command = [sys.executable, "-c", KILLED, str(writes), "apply", "p.json", *map(str, shelves)]
    killed = subprocess.run(command, env=dict(os.environ), capture_output=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    again = groundplane("apply", "p.json", *shelves)
    assert again.exit_code == 4, again.output
    assert "Error: the plan is stale: " in again.stderr
    assert again.stderr.rstrip().endswith("Mend: plan again.")
    guide.at_rest(plane)  # the operator is at what was written
    made = groundplane("plan", "change.yaml", *shelves, "--out", "p.json")
    assert made.exit_code == 0, made.output
    done = groundplane("apply", "p.json", *shelves)
    assert done.exit_code == 0, done.output
    assert groundplane("plan", "change.yaml", *shelves).stdout == "No changes. 4 resources match AWS.\n"
    buckets = plane.get("buckets.s3.aws.upbound.io")["items"]
    assert len(buckets) == 4
    assert not any("crossplane.io/paused" in (each["metadata"].get("annotations") or {}) for each in buckets)


def test_a_plan_only_reads_and_is_what_the_operator_does(plane, aws, shelves):
    here = shelves
    with open("change.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump_all([shelf("blue"), shelf("green", "plans-two")], file)
    aws.request("DELETE", "/standin/calls")
    before = plane.get(f"xshelves.{GROUP}")
    made = groundplane("plan", "change.yaml", *here, "--out", "p.json")
    assert made.exit_code == 0, made.output
    assert mutating(aws) == []
    assert plane.get(f"xshelves.{GROUP}")["items"] == before["items"]
    assert 'spec.forProvider.tags[team]: "red" → "blue"' in made.stdout
    assert "1 to add, 1 to change, 0 to destroy, 0 blocked, 0 to forget, 0 unknown." in made.stdout

    told = groundplane("diff", "change.yaml", *here)
    tried = groundplane("diff", "change.yaml", *here, "--server")
    assert (told.exit_code, tried.exit_code) == (3, 3), tried.output
    assert tried.stdout.splitlines()[-1] == told.stdout.splitlines()[-1]
    assert "(local)" not in tried.stdout
    assert plane.get(f"xshelves.{GROUP}")["items"] == before["items"]

    done = groundplane("apply", "p.json", *here)
    assert done.exit_code == 0, done.output
    assert done.stdout == "Applied: 1 added, 1 changed, 0 destroyed.\n"
    assert groundplane("plan", "change.yaml", *here).stdout == "No changes. 2 resources match AWS.\n"
    assert groundplane("apply", "p.json", *here).exit_code == 4
    every = groundplane("plan", *here, "-o", "json", "--resource", "plans-two")
    assert json.loads(every.stdout)["summary"]["same"] == 1

    taken = shelf("red", "plans-one")
    plane.kubectl("apply", "-f", "-", input=json.dumps(taken))
    plane.wait("the shelf is red again", lambda: is_ready(plane.get(f"xshelves.{GROUP}", "plans-one")))
    guide.at_rest(plane)
    del taken["spec"]["team"]
    with open("change.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(taken, file)
    assert "\n-   team: red\n" in groundplane("diff", "change.yaml", *here, "--compact").stdout
    assert groundplane("plan", "change.yaml", *here, "--out", "p.json").exit_code == 0
    done = groundplane("apply", "p.json", *here)
    assert done.exit_code == 0, done.output
    assert "team" not in plane.get(f"xshelves.{GROUP}", "plans-one")["spec"]
    misspelt = {**taken, "apiVersion": "plan.example.org/v1"}
    with open("change.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(misspelt, file)
    assert f"Mend: did you mean XShelf of {GROUP}? (change.yaml:" in groundplane("diff", "change.yaml", *here).stderr
