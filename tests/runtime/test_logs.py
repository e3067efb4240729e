"""Log lines: what they look like, what is in them and what never is."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import re
from pathlib import Path

import pytest

import groundplane
from groundplane.runtime import logs

log = logs.get_logger("groundplane.test")


@pytest.fixture
def stream():
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield io.StringIO()
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def test_a_json_line_has_time_level_message_and_facts(stream):
    logs.configure("json", "info", stream=stream)
    with logs.bound(controller="claim", key="Database team/db"):
        log.info("claim bound", composite="db-x1", attempts=2)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "groundplane.test",
        "message": "claim bound",
        "controller": "claim",
        "key": "Database team/db",
        "composite": "db-x1",
        "attempts": 2,
    }


def test_a_text_line_quotes_what_could_be_mistaken(stream):
    logs.configure("text", "info", stream=stream)
    log.warning("look here", plain="a-b", spaced="a b", quoted='say "x"', empty="")
    assert stream.getvalue().rstrip().endswith(r'WARNING look here plain=a-b spaced="a b" quoted="say \"x\"" empty=""')


def test_a_fact_that_is_called_like_a_part_of_the_line_replaces_nothing(stream):
    logs.configure("json", "info", stream=stream)
    log.info("a message", time="noon", level="deep")
    line = json.loads(stream.getvalue())
    assert (line["level"], line["fact_level"], line["fact_time"]) == ("info", "deep", "noon")


def test_a_line_stays_one_line_whatever_is_in_it(stream):
    logs.configure("text", "info", stream=stream)
    log.info("a message", error="first\nsecond")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_has_an_end_whatever_a_function_or_a_webhook_says(stream, form):
    logs.configure(form, "info", stream=stream)
    log.info("a message", error="first " + "x" * 2_000_000, attempts=3)
    assert len(stream.getvalue()) < 9000
    assert "(cut: 2000006 characters in all)" in stream.getvalue()


def test_an_error_nobody_meant_is_told_with_its_place_and_without_its_text(stream):
    def break_down():
        raise ValueError("password=hunter2")

    logs.configure("json", "info", stream=stream)
    try:
        break_down()
    except ValueError as error:
        log.exception("internal error", error=error)
    line = json.loads(stream.getvalue())
    assert line["error"] == "ValueError"
    assert line["where"].split(" < ")[0].endswith(" break_down")
    assert "hunter2" not in stream.getvalue()


def test_what_is_less_than_the_level_is_not_logged(stream):
    logs.configure("text", "warning", stream=stream)
    log.info("not this")
    log.error("but this")
    assert "not this" not in stream.getvalue()
    assert "but this" in stream.getvalue()


def test_what_is_bound_belongs_to_one_task(stream):
    logs.configure("json", "info", stream=stream)

    async def work(name):
        with logs.bound(key=name):
            await asyncio.sleep(0)
            log.info("done", by=name)

    async def main():
        await asyncio.gather(work("a"), work("b"))
        log.info("end")

    asyncio.run(main())
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line.get("key"), line.get("by")) for line in lines] == [("a", "a"), ("b", "b"), (None, None)]


def test_lines_of_libraries_come_in_the_same_form_and_only_if_they_warn(stream):
    logs.configure("json", "info", stream=stream)
    logging.getLogger("kopf.objects").info("chatter")
    logging.getLogger("botocore.retry").warning("slow: %s", 3)
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (line["logger"], line["message"]) == ("botocore.retry", "slow: 3")


def keys_of(source):
    """The names of the facts that a module logs."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(function := node.func, ast.Attribute):
            methods = {"debug", "info", "warning", "error", "exception", "bound"}
            if ast.unparse(function.value) in ("log", "logs") and function.attr in methods:
                yield from (keyword.arg for keyword in node.keywords)


def test_the_keys_of_all_log_lines_are_those_that_the_docs_name():
    package = Path(groundplane.__file__).parent
    used = {key for path in package.rglob("*.py") for key in keys_of(path.read_text())}
    page = (package.parents[1] / "docs" / "logs.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", page, flags=re.M)
    told = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert used | {"where", "cause"} == told  # these two are put there by `Logger.exception`
