"""The whole product as a user runs it: a real API server, AWS's stand-in, and `groundplane run` as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from groundplane.core import providers
from tests.cluster.rig import ControlPlane
from tests.e2e import guide
from tests.standin import Standin

# A Lease that lasts for three seconds: who was killed is succeeded soon.
QUICK = ("--lease-duration", "3", "--renew-deadline", "2", "--retry-period", "0.5", "--create-wait", "15")
QUICK += ("--webhooks", "off")  # they have tests of their own
# The managed kinds that tests use, of both generations: the API server takes a while for each definition.
ACTIVE = (
    "instances.rds",
    "subnetgroups.rds",
    "vpcs.ec2",
    "subnets.ec2",
    "securitygroups.ec2",
    "buckets.s3",
    "bucketlifecycleconfigurations.s3",
    "queues.sqs",
    "nopresources.nop",
    "clusternopresources.nop",
    "objects.kubernetes",
    "observedobjectcollections.kubernetes",
    "databases.postgresql",
    "roles.postgresql",
    "grants.postgresql",
)
KINDS = ("--activations", ",".join(f"{each}.*" for each in ACTIVE))


def is_used(crd: Path) -> bool:
    """Whether tests have to do with the kind that a file of crds/ defines: all kinds but most managed ones."""
    group, plural = crd.stem.split("_")
    return not providers.is_managed(f"{plural}.{group}") or f"{plural}.{group.partition('.')[0]}" in ACTIVE


def asked_at(port: int) -> dict[str, str]:
    """The settings of an operator that the API server asks at this port of the loopback interface."""
    return {"webhook_host": "127.0.0.1", "webhook_port": str(port), "webhook_url": f"https://127.0.0.1:{port}"}


@dataclass
class Operator:
    """`groundplane run` as a process of its own; its log goes to a file."""

    kubeconfig: Path
    endpoint: str
    log: Path
    options: tuple[str, ...] = QUICK
    process: subprocess.Popen[bytes] | None = None
    begun: int = 0  # where its log begins that it writes now
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> None:
        environment = (
            os.environ
            | self.environment
            | {
                "KUBECONFIG": str(self.kubeconfig),
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        )
        command = [
            sys.executable,
            "-m",
            "groundplane.cli.main",
            "run",
            "--log-level",
            "debug",
            "--health-port",
            "0",
            *KINDS,
        ]
        with self.log.open("ab") as out:
            self.begun = out.tell()
            self.process = subprocess.Popen([*command, *self.options], env=environment, stdout=out, stderr=out)

    def kill(self) -> None:
        """As the kernel would, at the worst moment."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Orderly; the exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(120)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def leads(self) -> bool:
        """Whether its log says so, as text or as JSON."""
        return re.search(rb'[ "]leading\b', self.log.read_bytes()[self.begun :]) is not None

    def text(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass
class Aws:
    """The stand-in, and what it says."""

    url: str

    def request(self, method: str, path: str, body: object = None) -> object:
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(self.url + path, data=data, method=method)
        with urllib.request.urlopen(asked, timeout=180) as answer:
            text = answer.read()
        return json.loads(text) if text[:1] in (b"{", b"[") else None

    def calls(self, operation: str) -> int:
        """How often an operation was called."""
        return len(self._answers(operation))

    def since_accepted(self, operation: str) -> list[int | None]:
        """The HTTP statuses of an operation's calls from the first that was accepted; [200]: once, and not tried again.

        A create that comes before what it needs (a database before its subnet group) is refused and tried again: those
        before do not count.  One after would be a second create, even if refused.
        """
        answers = self._answers(operation)
        return answers[answers.index(200) :] if 200 in answers else []

    def _answers(self, operation: str) -> list[int | None]:
        """The HTTP status of each call of an operation; None: not answered yet."""
        found = self.request("GET", "/standin/calls")
        assert isinstance(found, list)
        return [call.get("status") for call in found if call["operation"] == operation]

    def databases(self) -> list[dict[str, object]]:
        import boto3

        client = boto3.client(
            "rds",
            region_name="eu-west-1",
            endpoint_url=self.url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        try:
            found: list[dict[str, object]] = client.describe_db_instances()["DBInstances"]
            return found
        finally:
            client.close()


@pytest.fixture(scope="package")
def plane() -> Iterator[ControlPlane]:
    """A control plane for this folder alone, with an audit log, and with Groundplane's kinds as `kubectl apply -f crds/` makes them.

    It ends with the folder's last test: one that idles still takes a twentieth of a core.
    """
    with with_kinds() as running:
        yield running


@contextmanager
def with_kinds() -> Iterator[ControlPlane]:
    """A control plane with Groundplane's kinds."""
    with ControlPlane(audit=True) as running:
        used = sorted(filter(is_used, (guide.REPOSITORY / "crds").iterdir()))
        running.kubectl("apply", "--server-side", *(word for crd in used for word in ("-f", crd)))
        running.wait_for_kinds()
        yield running


@pytest.fixture
def aws(standin_process: Standin) -> Aws:
    """AWS with nothing in it, where databases take a second to come and to go."""
    standin_process.reset()
    standin_process.slow(1.0)
    return Aws(standin_process.url)


@contextmanager
def without_aws(plane: ControlPlane, folder: Path) -> Iterator[Operator]:
    """An operator for all tests of a file that need no AWS: each start takes seconds of a core."""
    running = Operator(plane.kubeconfig_of("operator"), "http://127.0.0.1:9", folder / "operator.log")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def operator(plane: ControlPlane, aws: Aws, tmp_path: Path) -> Iterator[Operator]:
    running = Operator(plane.kubeconfig_of("operator"), aws.url, tmp_path / "operator.log")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def clean(plane: ControlPlane, aws: Aws, operator: Operator) -> Iterator[None]:
    """The team's namespace before; after, everything is deleted as a person would, and nothing may be left."""
    plane.kubectl("create", "namespace", guide.TEAM, check=False)
    yield
    aws.request("DELETE", "/standin/faults")
    if operator.process and operator.process.poll() is not None:
        operator.start()
    plane.forget_kinds()
    for kinds in ("claim", "composite", "managed", *guide.DECLARED):
        plane.kubectl("delete", kinds, "--all", "-A", "--wait=false", check=False)  # an empty category is an error
    try:
        plane.wait("all is gone", lambda: not guide.left(plane))
    except AssertionError as error:
        left = guide.left(plane)
        guide.let_go(plane)  # so that the next test does not wait for it as well
        raise AssertionError(f"left: {left}\n{operator.text()[-3000:]}") from error
