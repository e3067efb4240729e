"""docs/tutorial.md, typed as it is printed: its files are written, its commands run, and they say what the page says they do."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.e2e.documented import REPOSITORY
from tests.standin import REGION

PAGE = REPOSITORY / "docs" / "tutorial.md"
FILE = re.compile(r"^`([\w./]+\.yaml)`:\n\n```yaml\n(.*?)^```", re.M | re.S)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
CODE = re.compile(r"\s+# exit code (\d+)$")
LONG = 120  # seconds for one command
ANY = "…"  # what differs each time; alone in a line, any lines


def parts():
    """What a reader does, in the page's order: (file, its text) or (command, what it says)."""
    text = PAGE.read_text()
    found = [(match.start(), "file", match[1], match[2]) for match in FILE.finditer(text)]
    for match in CONSOLE.finditer(text):
        for command in re.split(r"^\$ ", match[1], flags=re.M)[1:]:
            line, _, said = command.partition("\n")
            found.append((match.start(), "command", line, said))
    return [part[1:] for part in sorted(found, key=lambda part: part[0])]


def pattern(said):
    """A regular expression for what a command prints."""
    lines = [
        r"(?:.*\n)*?" if line == ANY else re.sub(r"\\?…", ".*", re.escape(line)).replace(r"\ .*", r"\s.*") + r"\s*\n"
        for line in said.splitlines()
    ]
    return "".join(lines)


@pytest.mark.soak
def test_the_day_goes_as_the_page_says(standin, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("groundplane", "-m groundplane.cli.main "), ("python3", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module}"$@"\n')
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KUBE"))} | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": standin.url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": REGION,
    }
    folder = tmp_path / "work"
    folder.mkdir()
    done = parts()
    assert len([each for each in done if each[0] == "command"]) > 12
    for what, first, second in done:
        if what == "file":
            path = folder / first
            path.parent.mkdir(exist_ok=True)
            path.write_text(second)
            continue
        code = int(found[1]) if (found := CODE.search(first)) else 0
        ran = subprocess.run(
            ["sh", "-c", CODE.sub("", first)], cwd=folder, env=environment, capture_output=True, text=True, timeout=LONG, check=False,
        )  # fmt: skip
        told = f"$ {first}\n{ran.stdout}{ran.stderr}"
        assert ran.returncode == code, told
        assert re.fullmatch(pattern(second), ran.stdout), f"docs/tutorial.md has\n{second}\nand it says\n{told}"


def test_what_the_page_does_not_say_does_not_fit():
    said = "NAME … READY\n…\nall ready: 3 objects\n"
    assert re.fullmatch(pattern(said), "NAME   SYNCED   READY\nx\ny\nall ready: 3 objects\n")
    for other in (
        "NAME   SYNCED   READY\nall ready: 4 objects\n",
        "NAME   SYNCED   READY\nall ready: 3 objects\nmore\n",
    ):
        assert not re.fullmatch(pattern(said), other)
