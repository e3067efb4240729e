"""Where the tests' CPU time goes: `make test ARGS=--cpu` ends with seconds of CPU by file and by fixture.

Counted is the worker and all that it has started (API servers, operators, stand-ins), user and system time; not the clock on the wall, which a busy
machine makes long.  What a fixture takes counts for the file that asks first, and by its name once more.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

LINES = 40  # of each table
TICKS = os.sysconf("SC_CLK_TCK")


def used() -> float:
    """Seconds of CPU of this process, of its descendants that live, and of those that were waited for."""
    return _of(os.getpid())


def _of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile, and its parent has what it took
        return 0.0
    ticks = sum(map(int, fields[11:15]))  # its own, user and system, and of the children that it waited for
    return ticks / TICKS + sum(map(_of, _children(pid)))


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):  # a thread that has ended
                yield from map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())


class Cpu:
    """A plugin of pytest, in the process that tests and in the one that hands them out."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.fixtures: Counter[str] = Counter()

    def pytest_collection_finish(self) -> None:
        self.files["(start and collection)"] += used()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        before = used()
        try:
            return (yield)
        finally:
            self.files[item.nodeid.partition("::")[0]] += used() - before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Iterator[None]:
        before = used()
        try:
            return (yield)
        finally:
            self.fixtures[f"{fixturedef.baseid or 'tests'}: {fixturedef.argname}"] += used() - before

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["cpu"] = [dict(self.files), dict(self.fixtures)]

    def pytest_testnodedown(self, node: object) -> None:
        files, fixtures = getattr(node, "workeroutput", {}).get("cpu", ({}, {}))
        self.files.update(files)
        self.fixtures.update(fixtures)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name, table in (("file", self.files), ("fixture", self.fixtures)):
            terminalreporter.section(f"CPU seconds by {name}, {sum(table.values()):.0f} in all")
            for what, seconds in table.most_common(LINES):
                terminalreporter.write_line(f"{seconds:8.1f}  {what}")
