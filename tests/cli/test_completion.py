"""Completion in shells, and the page of all commands."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from groundplane.cli.main import COMMANDS, main
from tests.chart import command_pages

VARIABLE = "_GROUNDPLANE_COMPLETE"


def completed(words: list[str], begun: str) -> list[str]:
    return [each.value for each in BashComplete(main, {}, "groundplane", VARIABLE).get_completions(words, begun)]


@pytest.mark.parametrize("shell", [BashComplete, ZshComplete, FishComplete])
def test_each_shell_has_a_script_that_the_page_names(shell):
    assert f"{VARIABLE}={shell.name}_complete" in shell(main, {}, "groundplane", VARIABLE).source()
    assert f"{VARIABLE}={shell.name}_source groundplane" in command_pages.HEAD


def test_commands_options_and_choices_are_completed():
    assert completed([], "") == list(COMMANDS)
    assert completed([], "va") == ["validate"]
    assert completed(["convert"], "pi") == ["pipeline-composition"]
    assert "--skip-success-results" in completed(["validate"], "--s")
    assert completed(["trace", "-o"], "w") == ["wide"]


def test_completing_a_command_imports_no_command():
    code = (
        "import sys; from click.shell_completion import BashComplete; from groundplane.cli.main import main; "
        f"BashComplete(main, {{}}, 'groundplane', '{VARIABLE}').get_completions([], 'va'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"pydantic", "yaml", "boto3", "aiohttp"} & loaded


def test_the_page_of_commands_is_fresh():
    for page, text in command_pages.pages().items():
        assert page.read_text() == text, "run `make chart`"
