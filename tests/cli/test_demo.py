"""`groundplane demo`, as a person starts it: a process of its own, with its stand-in for AWS."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from groundplane.cli import tree
from groundplane.cli.demo import aws_environment
from groundplane.core.objects import Key
from tests.cli.platform import groundplane

REPOSITORY = Path(__file__).resolve().parents[2]
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_claim_becomes_a_database_with_its_secret_and_goes_again(tmp_path):
    command = [sys.executable, "-m", "groundplane.cli.main", "demo", "--dir", str(tmp_path / "work")]
    environment = os.environ | {"AWS_PROFILE": "of-the-person", "AWS_ENDPOINT_URL_RDS": "http://127.0.0.1:9"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        "Secret my-team/my-service-db-credentials is there",
        "Secret my-team/my-app-db-credentials is there",
        "a program logs in with the Secret alone, makes a table and counts its rows",
        "another user of the server can't connect to it",
        "what somebody has changed by hand is mended",
        "the new one logs in, the old one does not",
        "its user can't log in any more",
        "its database is gone from the server",
        "the Secret's host and port are its endpoint",
        "the database is gone at AWS",
        "nothing of it is left in the store",
    ):
        assert f"✔ {told}" in done.stdout
    assert re.search(r"password: +\*{8}$", done.stdout, re.MULTILINE)
    assert "NOT SO" not in done.stdout
    assert done.stderr == ""
    told = [line.split(" s  ", 1)[1] for line in done.stdout.splitlines() if line.endswith(": Synced, Ready")]
    assert len(told) == len(set(told)), "what has not changed is told again"
    assert "✘" not in done.stdout, "what is still to come is told as a failure"


@pytest.mark.soak
def test_a_server_that_dies_in_the_middle_fails_the_demo(tmp_path):
    """With its name in what is told, and no traceback."""
    command = [sys.executable, "-m", "groundplane.cli.main", "demo", "--dir", str(tmp_path / "work")]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY, env=environment
    ) as demo:
        for line in demo.stdout:
            lines.append(line)
            if "psql" in line:
                for child in _children(demo.pid):
                    if b"postgres" in (Path("/proc") / child / "cmdline").read_bytes():
                        os.kill(int(child), signal.SIGQUIT)
    text = "".join(lines)
    assert demo.returncode == 1, text
    assert "✘ NOT SO: " in text
    assert "checks FAILED" in text
    assert "Traceback" not in text


def _children(parent):
    return (Path("/proc") / str(parent) / "task" / str(parent) / "children").read_text().split()


def test_what_waits_and_what_goes_is_told_in_words():
    waiting = [
        ("Synced", "False", "create failed: no database. Mend: create it."),
        ("Reconciling", "True", "no database"),
    ]
    given = [{"type": type_, "status": status, "reason": "Waiting", "message": text} for type_, status, text in waiting]
    key = Key("a/v1", "Grant", "", "g")
    obj = {"apiVersion": "a/v1", "kind": "Grant", "metadata": {"name": "g"}, "status": {"conditions": given}}
    assert tree.line(tree.grow(key, {key: obj}, NOW)) == "… Grant g: waits: create failed: no database."
    going = {**obj, "metadata": {"name": "g", "deletionTimestamp": "2030-01-01T00:00:00Z"}, "status": {}}
    assert tree.line(tree.grow(key, {key: going}, NOW)) == "− Grant g: being deleted"


def test_nothing_of_the_persons_own_aws_reaches_the_demo(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "of-the-person")
    monkeypatch.setenv("AWS_ENDPOINT_URL_RDS", "https://rds.example.com")
    with aws_environment("http://127.0.0.1:1"):
        assert {"AWS_PROFILE", "AWS_ENDPOINT_URL_RDS"}.isdisjoint(os.environ)
        assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert os.environ["AWS_PROFILE"] == "of-the-person"
    assert "AWS_ENDPOINT_URL" not in os.environ or os.environ["AWS_ENDPOINT_URL"] != "http://127.0.0.1:1"


@pytest.mark.parametrize("missing", ["moto", "flask"])
def test_a_missing_stand_in_is_told_with_the_mend(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    done = groundplane("demo", "--dir", tmp_path / "work")
    assert done.exit_code == 1
    assert "pip install 'groundplane[demo]'" in done.output


def test_compositions_that_are_not_there_are_told(tmp_path):
    done = groundplane("demo", "--compositions", tmp_path, "--dir", tmp_path / "work")
    assert done.exit_code == 1
    assert "--compositions" in done.output
