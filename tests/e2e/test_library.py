"""compositions/ as people use it, in both worlds: on a real API server, and in a store; each with AWS's stand-in, and all folders at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from groundplane.core import providers
from groundplane.core.objects import meta
from tests.e2e.conftest import QUICK, Operator, is_used
from tests.e2e.guide import REPOSITORY, apply, condition

LIBRARY = REPOSITORY / "compositions"
TEAM = "my-team"
# One generation of each, so that both are met.
FOLDERS = [
    LIBRARY / name
    for name in (
        "database-aws", "network-aws", "queue-aws", "cache-aws", "bucket-aws/v2", "table-aws/v2",
        "service-account-aws", "namespace-kubernetes", "application",
    )
]  # fmt: skip
EVERY = [
    *FOLDERS,
    *(LIBRARY / f"{name}-aws/v2" for name in ("network", "queue", "cache")),
    LIBRARY / "bucket-aws",
    LIBRARY / "table-aws",
]
PATIENCE = 240  # seconds

pytestmark = pytest.mark.soak  # half a minute of a core each


def examples(folder):
    """What people of a folder's API write."""
    names = ("claim.yaml",) if (folder / "examples" / "claim.yaml").exists() else ("composite.yaml",)
    return [folder / "examples" / name for name in names]


def typed(folder):
    """The commands of a folder's README that are for a cluster, as somebody types them one after the other."""
    page = folder / "README.md"
    found = (
        [line.strip() for line in page.read_text().splitlines() if line.startswith("    kubectl ")]
        if page.exists()
        else []
    )
    return [line.partition(" #")[0].replace("compositions/", f"{LIBRARY}/") for line in found]


def kinds():
    """The managed kinds that the folders use, as `plural.group`."""
    named = set()
    for folder in FOLDERS:
        text = "\n".join(file.read_text() for file in folder.glob("*.yaml"))
        found = [
            line.split("apiVersion: ")[1].partition("/")[0] for line in text.splitlines() if "apiVersion: " in line
        ]
        for crd in (REPOSITORY / "crds").glob("*.yaml"):
            group, plural = crd.stem.split("_")
            if group in found and providers.is_managed(f"{plural}.{group}"):
                kind = yaml.load(crd.read_text(), yaml.CSafeLoader)["spec"]["names"]["kind"]
                if f"kind: {kind}\n" in text:
                    named.add((f"{plural}.{group}", crd))
    return sorted(named)


@pytest.fixture
def platform(plane, aws, tmp_path):
    """The kinds of the folders, and an operator for them."""
    used = kinds()
    new = [crd for name, crd in used if not is_used(crd)]
    plane.install(*(yaml.load(crd.read_text(), yaml.CSafeLoader) for crd in new))
    options = (*QUICK, "--activations", ",".join(name for name, _ in used))
    running = Operator(plane.kubeconfig_of("operator"), aws.url, tmp_path / "operator.log", options)
    running.start()
    plane.kubectl("create", "namespace", TEAM, check=False)
    yield running
    running.stop()
    plane.kubectl("delete", "crd", *(crd["metadata"]["name"] for crd in map(read, new)), "--wait=false")


def read(crd):
    return yaml.load(crd.read_text(), yaml.CSafeLoader)


def uids(plane, *categories):
    found = [plane.get(each, "-A") or {"items": []} for each in categories]  # none: nothing of the category is declared
    return {meta(obj)["uid"] for each in found for obj in each["items"]}


def test_all_of_it_on_a_real_api_server(plane, aws, platform):
    others = uids(plane, "composite", "claim", "managed")
    written = [obj for folder in FOLDERS for file in examples(folder) for obj in yaml.safe_load_all(file.read_text())]
    for folder in FOLDERS:
        if folder.name == "v2":
            apply(plane, *sorted(folder.glob("*.yaml")), *examples(folder))
        for command in typed(folder):
            is_there = "create namespace" in command and plane.get("namespace", TEAM)
            ran = plane.kubectl(*command.split()[1:], check=False)
            assert ran.returncode == 0 or is_there, f"{folder.name}: {command}\n{ran.stderr}"

    def state():
        found = {}
        for obj in written:
            place = ("-n", meta(obj)["namespace"]) if "namespace" in meta(obj) else ()
            group = obj["apiVersion"].partition("/")[0]
            there = plane.get(f"{obj['kind'].lower()}.{group}", meta(obj)["name"], *place) or {}
            found[f"{obj['kind']} {meta(obj)['name']}"] = condition(there, "Ready").get(
                "status"
            ) == "True" or condition(there, "Ready").get("message", "nothing is told yet")
        return found

    try:
        plane.wait("all are ready", lambda: set(state().values()) == {True}, seconds=PATIENCE)
    except AssertionError as error:
        raise AssertionError(f"{json.dumps(state(), indent=1)}\n{platform.text()[-2000:]}") from error
    account = plane.get("serviceaccount", "reports", "-n", TEAM)
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].startswith("arn:aws:iam::")
    assert {"url", "arn", "topicArn"} <= plane.get("secret", "orders-queue", "-n", TEAM)["data"].keys()
    assert plane.get("rolebinding", "team-edit", "-n", "shop-team")["subjects"][0]["name"] == "shop"
    assert plane.get("configmap", "shop-settings", "-n", TEAM)["data"]["BUCKET"]
    for folder in reversed(FOLDERS):
        plane.kubectl("delete", "--wait=false", *(word for file in examples(folder) for word in ("-f", file)))

    def left():
        found = [obj for each in ("composite", "claim") for obj in plane.get(each, "-A")["items"]]
        return [obj for obj in found if meta(obj)["uid"] not in others]

    try:
        plane.wait("composites are gone", lambda: not left(), seconds=PATIENCE)
    except AssertionError as error:
        states = {f"{each['kind']} {meta(each)['name']}": each["status"]["conditions"] for each in left()}
        raise AssertionError(f"{json.dumps(states, indent=1)}\n{platform.text()[-2000:]}") from error
    for folder in FOLDERS:
        files = sorted(folder.glob("*.yaml"))
        plane.kubectl(
            "delete", "--wait=false", "--ignore-not-found", *(word for file in files for word in ("-f", file))
        )
    plane.wait("all is gone", lambda: uids(plane, "managed") <= others, seconds=PATIENCE)


def test_all_of_it_in_a_store(aws, tmp_path):
    paths = [path for folder in EVERY for path in (folder, *examples(folder))]
    done = subprocess.run(
        [sys.executable, "-m", "groundplane.cli.main", "up", "--once", "--timeout", str(PATIENCE), "--db", tmp_path / "x.db", *paths],
        env=os.environ | {"AWS_ENDPOINT_URL": aws.url, "AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
