"""AWS's stand-in as a process of its own, for tests that talk to it over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import boto3

REGION = "eu-west-1"


@contextmanager
def serving(*, slow: float = 0.0) -> Iterator[str]:
    """The URL of a fresh stand-in; databases take `slow` seconds to come and to go."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # of no use here, and two seconds for each reset
    environment |= {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false", "MOTO_IAM_LOAD_MANAGED_POLICIES": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "groundplane.aws.standin", "--slow", str(slow)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), "the stand-in did not start"
        yield url
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


class Standin:
    """The controls of a stand-in that runs at `url`."""

    def __init__(self, url):
        self.url = url
        self._clients = {}

    def client(self, service):
        """A boto3 client, to look at what is there and to change it behind our back."""
        if service not in self._clients:
            keys = {"aws_access_key_id": "person", "aws_secret_access_key": "person"}
            self._clients[service] = boto3.client(service, region_name=REGION, endpoint_url=self.url, **keys)
        return self._clients[service]

    def request(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else b"" if method == "POST" else None
        asked = urllib.request.Request(self.url + path, data=data, method=method)
        with urllib.request.urlopen(asked, timeout=180) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else None

    def reset(self):
        self.request("POST", "/moto-api/reset")
        self.mend()
        self.forget_calls()
        self.slow(0)

    def slow(self, seconds):
        self.request("POST", "/standin/slow", {"seconds": seconds})

    def advance(self, seconds):
        self.request("POST", "/standin/clock", {"advance": seconds})

    def maintain(self):
        self.request("POST", "/standin/maintenance")

    def fail(self, service, operation, code, **more):
        self.request("POST", "/standin/faults", {"service": service, "operation": operation, "code": code, **more})

    def mend(self):
        self.request("DELETE", "/standin/faults")

    def operations(self):
        return [call["operation"] for call in self.request("GET", "/standin/calls")]

    def forget_calls(self):
        self.request("DELETE", "/standin/calls")

    def passwords(self):
        return self.request("GET", "/standin/passwords")
