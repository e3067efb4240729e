"""The command as a whole: what it lists exists, help is cheap, errors are lines."""

from __future__ import annotations

import re
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
