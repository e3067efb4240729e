"""Every module of the operator with the sentence that says what it is for: `make map`, or `make map ARGS=webhook` for those that speak of it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

OPERATOR = Path(__file__).resolve().parents[1] / "operator" / "groundplane"
KINDS = OPERATOR / "aws" / "kinds"  # each module there belongs to the kind file of its name


def modules() -> Iterator[Path]:
    """The modules that are not a part of another file, in the order of their folders."""
    for path in sorted(OPERATOR.rglob("*.py"), key=lambda path: (path.parent, path.stem)):
        if path.stem != "__init__" and path.parent != KINDS:
            yield path


def purpose(path: Path) -> str:
    """The first line of a module's docstring; "" if it has none."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def main(words: list[str]) -> None:
    for path in modules():
        name, text = path.relative_to(OPERATOR).as_posix(), purpose(path)
        if all(word.lower() in f"{name} {text}".lower() for word in words):
            print(f"{name:<40} {text}")


if __name__ == "__main__":
    main(sys.argv[1:])
