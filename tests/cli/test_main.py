"""The command as a whole: what it lists exists, help is cheap, errors are lines."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from groundplane.cli.main import COMMANDS, main

HEAVY = {"aiohttp", "boto3", "botocore", "kopf", "kubernetes", "pydantic", "rich", "sqlite3", "yaml"}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert re.search(r"Examples?: +\S+ \S+", result.output)


def test_help_lists_every_command_with_what_it_does():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, does in COMMANDS.items():
        assert f"{name} " in result.output
        assert does in result.output


def test_help_imports_nothing_heavy():
    code = "import sys; from groundplane.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "groundplane.errors" in said.splitlines()[-1].split()
    assert not HEAVY & set(said.splitlines()[-1].split())


def test_an_unknown_command_is_an_error():
    result = CliRunner().invoke(main, ["uninstall"])
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_a_deliberate_error_is_one_line_and_exit_code_1(tmp_path):
    result = CliRunner().invoke(main, ["run", "--kubeconfig", str(tmp_path / "absent")])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: no kubeconfig at ")
    assert "Mend: " in result.output
    assert "Traceback" not in result.output


def said(*arguments: object) -> tuple[int, str]:
    """As a person runs it: a process of its own; the exit code, and what it says as errors."""
    command = [sys.executable, "-m", "groundplane.cli.main", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: x}}]
current-context: a
"""


@pytest.mark.parametrize(
    "old, new, tells",
    [
        ('"https://127.0.0.1:1"', "nonsense", "is no address of an API server"),
        ("server:", 'certificate-authority-data: "%%%", server:', "certificate-authority-data is not base64"),
        ("server:", "certificate-authority: /nowhere/ca.crt, server:", "can't read certificate-authority"),
        ("current-context: a", "current-context: b", "use one of: a"),
    ],
)
def test_a_kubeconfig_that_cannot_work_is_one_line_with_its_mend(tmp_path, old, new, tells):
    file = tmp_path / "config"
    file.write_text(KUBECONFIG.replace(old, new))
    code, error = said("run", "--kubeconfig", file, "--health-host", "127.0.0.1", "--health-port", 0)
    assert (code, len(error.splitlines())) == (1, 1), error
    assert tells in error
    assert "Mend:" in error


def test_a_port_in_use_is_one_line_with_its_mend(tmp_path):
    (tmp_path / "config").write_text(KUBECONFIG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, error = said(
            "run", "--kubeconfig", tmp_path / "config", "--health-host", "127.0.0.1", "--health-port", port
        )
    assert (code, len(error.splitlines())) == (1, 1), error
    assert f"can't listen on 127.0.0.1:{port}" in error
    assert "Mend: name a free port with --health-port" in error


def test_what_the_machine_refuses_is_one_line_with_its_mend(tmp_path):
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    for command in (
        ("up", tmp_path / "a.yaml", "--once", "--db", tmp_path / "nowhere" / "x.db"),
        ("crds", "--output", tmp_path / "a.yaml" / "crds"),
    ):
        code, error = said(*command)
        assert (code, len(error.splitlines())) == (1, 1), error
        assert "Mend:" in error
        assert "-lock" not in error, "not the file that was named"
