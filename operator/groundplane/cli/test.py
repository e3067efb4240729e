"""`groundplane test`: does a Composition do what its author means?

Here are options and the order of things: tests are found and run by `cases.py`, told by `test_report.py`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from groundplane.cli import completing
from groundplane.errors import GroundplaneError, InvalidInput

if TYPE_CHECKING:
    from groundplane.cli.cases import Found, Result
    from groundplane.cli.test_report import Report

NOTHING_FOUND = 5  # exit code
LOOK = 0.1  # seconds between two looks at files, with --watch


@click.command(epilog="Example: groundplane test compositions --coverage")
@click.argument("paths", metavar="[PATH]...", shell_complete=completing.files, nargs=-1)
@click.option("-k", "words", metavar="TEXT", help="Only tests with this in their name.")
@click.option("-j", "jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes to run them in.")
@click.option("-x", "stops", is_flag=True, help="End with the first that fails.")
@click.option("--update", is_flag=True, help="Write snapshots anew.  Refused where CI is set.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
@click.option("--junit", metavar="FILE", shell_complete=completing.files, help="Write the results as JUnit has them.")
@click.option(
    "--coverage",
    metavar="[json]",
    is_flag=False,
    flag_value="text",
    default=None,
    help="Tell what of the Compositions no test met.  A word after it that is neither json nor text is a PATH.",
)
@click.option("--fail-under", type=click.FloatRange(0, 100), metavar="PCT", help="Fail if the tests meet less of them.")
@click.option(
    "--mutate", is_flag=True, help="Change the Compositions, one thing at a time, and tell what no test notices."
)
@click.option("--watch", is_flag=True, help="Run them again whenever a file changes.")
@click.option("--lint", is_flag=True, help="Only read the test files, and tell what is wrong with them.")
@click.option("--pass-with-no-tests", "may_be_none", is_flag=True, help="Exit code 0 where there is none.")
@click.option("--shard", metavar="I/N", help="Only every Nth test, from the Ith on: for several machines.")
def test(
    paths: tuple[str, ...],
    words: str | None,
    jobs: int,
    stops: bool,
    update: bool,
    output: str,
    junit: str | None,
    coverage: str | None,
    fail_under: float | None,
    mutate: bool,
    watch: bool,
    lint: bool,
    may_be_none: bool,
    shard: str | None,
) -> None:
    """Run the tests in PATHs: files and folders, with all that is below them; without any, in the current folder.

    A test file is a CompositionTest of test.crossplane.io/v1alpha1 (docs/testing.md); those of `up test` are read, too.  Nothing but AWS's
    stand-in is contacted, and only by tests with `run: aws`.

    Exit code 1 if a test fails, 5 if there is none (0 with --pass-with-no-tests), 80 if a test file can't be read as one.
    """
    from groundplane.cli import cases, test_report

    if coverage not in (None, "text", "json"):
        paths, coverage = (coverage, *paths), "text"
    if update and os.environ.get("CI"):
        raise click.UsageError("--update writes what is tested against: not where CI is set")
    part = _part(shard)

    read: set[str] = set()  # what the tests were given

    def once() -> Report:
        begun = time.perf_counter()
        tests = _tests(paths, words, part, may_be_none=may_be_none)
        read.update(cases.read_by(tests))
        results = [] if lint else run_all(tests, jobs, update=update, stops=stops)
        changes = _survivors(tests) if mutate and not lint else None
        return test_report.Report(
            results,
            len(tests),
            time.perf_counter() - begun,
            wants_coverage=bool(coverage or fail_under),
            survivors=changes,
        )

    def told(report: Report) -> None:
        report.write(output, coverage)
        if junit:
            report.write_junit(junit)

    if watch:
        _watch(paths, read, lambda: told(once()))
    report = once()
    told(report)
    is_low = False
    if fail_under is not None and not lint and not (shard and not report.results):  # a part of the tests may be empty
        is_low = report.percent < fail_under
        if is_low:
            meets = f"meet {report.percent:.0f} %, less than {fail_under:g} %" if report.renders else "render nothing"
            click.echo(f"Error: the tests {meets}", err=True)
    if report.failed or is_low:
        click.get_current_context().exit(1)


def _part(shard: str | None) -> tuple[int, int]:
    """Which tests are run: the first of them, from 0, and the distance to the next."""
    if shard is None:
        return 0, 1
    first, _, count = shard.partition("/")
    if not (first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise click.UsageError(f"--shard {shard} is no I/N: write --shard 2/5 for the second of five")
    return int(first) - 1, int(count)


def _tests(paths: Sequence[str], words: str | None, part: tuple[int, int], *, may_be_none: bool = False) -> list[Found]:
    """The tests that are asked for.

    Raises:
        UsageError: a file can't be read as tests; each mistake is told.
    """
    from groundplane.cli import cases

    found, mistakes = cases.find(paths or ["."])
    if mistakes:
        for mistake in mistakes:
            click.echo(str(mistake), err=True)
        raise click.UsageError("not all test files can be read")
    chosen = [each for each in found if words is None or words.lower() in f"{each.case.suite} {each.case.name}".lower()]
    if not chosen:
        where = ", ".join("the current folder" if path in (".", "./") else path for path in paths or ["."])
        raise_for = f"there is no test in {where}" + (f" with {words} in its name" if words else "")
        if may_be_none:
            click.echo(f"{raise_for}: see docs/testing.md for how to write one", err=True)
            click.get_current_context().exit(0)
        click.echo(f"Error: {raise_for}. Mend: see docs/testing.md for how to write one.", err=True)
        click.get_current_context().exit(NOTHING_FOUND)
    return chosen[part[0] :: part[1]]


def run_all(tests: Sequence[Found], jobs: int, *, update: bool = False, stops: bool = False) -> list[Result]:
    """What came of the tests, in their order."""
    from groundplane.cli import cases

    if jobs == 1 or len(tests) < 2:
        runner = cases.Runner(update=update)
        results: list[Result] = []
        try:
            for each in tests:
                results.append(runner.run(each))
                if stops and not results[-1].passed:
                    break
        finally:
            runner.close()
        return results
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    parts = [tests[start::jobs] for start in range(min(jobs, len(tests)))]
    with ProcessPoolExecutor(len(parts), mp_context=get_context("spawn")) as pool:
        done = list(pool.map(_run_part, parts, [update] * len(parts), [stops] * len(parts)))
    order = {each.place: number for number, each in enumerate(tests)}
    return sorted((result for results in done for result in results), key=lambda result: order[result.place])


def _run_part(tests: Sequence[Found], update: bool, stops: bool) -> list[Result]:
    results = run_all(tests, 1, update=update, stops=stops)
    for result in results:
        result.outcomes = []
    return results


def _survivors(tests: Sequence[Found]) -> list[tuple[str, str]]:
    """What no test notices, as (place, change): one process, for each change concerns a few tests only."""
    from groundplane.cli import cases

    rendered = [each for each in tests if each.case.run == "render"]
    runner = cases.Runner()
    try:
        results = [runner.run(each) for each in rendered]
        if failing := [result.label for result in results if not result.passed]:
            raise InvalidInput(
                f"{failing[0]} fails without any change", mend="mend it first: --mutate needs tests that pass"
            )
        return [(str(place), what) for place, what in cases.survivors(runner, rendered, results)]
    finally:
        runner.close()


def _watch(paths: Sequence[str], read: set[str], run: Callable[[], None]) -> None:
    """Run until Ctrl-C, whenever something below the paths changes, or what was `read` for the tests."""
    from pathlib import Path

    from groundplane.cli import manifests

    def stamps() -> dict[Path, int]:
        folders = [str(Path(path) if Path(path).is_dir() else Path(path).parent) for path in paths or ["."]]
        there = [path for path in dict.fromkeys([*folders, *sorted(read)]) if Path(path).exists()]
        found = {}
        for file in manifests.files(there, recursive=True):
            with contextlib.suppress(FileNotFoundError):  # an editor that writes it anew
                found[file or Path()] = (file or Path()).stat().st_mtime_ns
        return found

    before: dict[Path, int] | None = None
    try:
        while True:
            if (now := stamps()) != before:
                try:
                    run()
                except click.exceptions.Exit:
                    pass  # it is told
                except click.UsageError as error:
                    click.echo(f"Error: {error.message}", err=True)
                except GroundplaneError as error:
                    click.echo(f"Error: {error}", err=True)
                # A change in the meantime counts; what was read for the first time counts from now on.
                before = {**stamps(), **now}
                click.echo("waiting for a change; Ctrl-C ends", err=True)
            time.sleep(LOOK)
    except KeyboardInterrupt:
        click.get_current_context().exit(0)
