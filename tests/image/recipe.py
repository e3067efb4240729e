"""The Containerfile as data: what tests need of it to do the same without a container runtime."""

from __future__ import annotations

import json
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each named stage, in order, as (word, rest)."""
    found: dict[str, list[tuple[str, str]]] = {}
    text = (REPOSITORY / "Containerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        word, rest = line.split(" ", 1)
        if word == "FROM":
            found[rest.rpartition(" AS ")[2]] = here = [(word, rest)]
        elif found:
            here.append((word, rest))
    return found


def said(stage: str, word: str) -> str:
    """The rest of a stage's only instruction that begins with a word."""
    (found,) = (rest for each, rest in stages()[stage] if each == word)
    return found


def command(stage: str, word: str) -> list[str]:
    """An instruction's exec form."""
    found: list[str] = json.loads(said(stage, word).removeprefix("CMD "))
    return found


def packages(stage: str) -> str:
    """Where Python looks for packages."""
    (found,) = re.findall(r"PYTHONPATH=(\S+)", said(stage, "ENV"))
    return str(found)
