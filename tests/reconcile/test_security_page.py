"""`docs/security.md` names the tests that hold its statements: they are there."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "security.md"


def test_every_test_that_the_security_page_names_exists():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text())
    assert len(named) > 10
    missing = []
    for file, name in named:
        tree = ast.parse((TESTS / file).read_text())
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}:
            missing.append(f"{file}::{name}")
    assert missing == []
