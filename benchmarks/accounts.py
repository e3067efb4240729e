"""What a further AWS account costs in memory: its clients for ten services, in this process, without a call."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundplane.aws.session import Sessions
from groundplane.ports import Account

ACCOUNTS = 20
SERVICES = ("ec2", "rds", "s3", "iam", "sqs", "sns", "dynamodb", "elasticache", "secretsmanager", "kms")
GLOBAL = ("iam",)
INI = b"[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n"


def measure() -> Iterator[tuple[str, str]]:
    sessions = Sessions()
    for number in range(2):  # what all have in common is there then
        _use(sessions, number)
    before = _resident()
    for number in range(2, 2 + ACCOUNTS):
        _use(sessions, number)
    each = (_resident() - before) / ACCOUNTS
    yield f"a further account, clients of {len(SERVICES)} services", f"{each:.1f} MiB"


def _use(sessions: Sessions, number: int) -> None:
    clients = sessions.clients(Account(_config(f"account-{number}"), {"creds": INI}, "1"))
    for service in SERVICES:
        clients.client(service, "" if service in GLOBAL else "eu-west-1")


def _config(name: str) -> dict[str, Any]:
    reference = {"namespace": "default", "name": "aws", "key": "creds"}
    spec = {"credentials": {"source": "Secret", "secretRef": reference}}
    return {
        "apiVersion": "aws.upbound.io/v1beta1",
        "kind": "ProviderConfig",
        "metadata": {"name": name, "uid": name, "generation": 1},
        "spec": spec,
    }


def _resident() -> float:
    """MiB."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024
