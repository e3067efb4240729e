"""`groundplane review`: validate, test and diff for a pull request, told as one page of Markdown."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundplane.cli import completing
from groundplane.errors import InvalidInput, shown

if TYPE_CHECKING:
    from groundplane.cli import diff_report, test_report, validation_report
    from groundplane.cli.documents import Document
    from groundplane.runtime.overlay import Change

MARK = "<!-- groundplane review -->"  # by which a comment is found again
LONGEST = 60_000  # characters of the page: GitHub takes 65,536 in a comment
TOLD = 100  # findings in the table
PARTS = {"validate": 20_000, "test": 15_000, "errors": 5_000}  # bytes of each at most; the diff has the rest
CELL = 2_000  # characters of a text
AND_MORE = "… and more: groundplane review shows it all where it is not for a comment"


@click.command(epilog="Example: groundplane review platform/ --base origin/main --summary review.md")
@click.argument("paths", metavar="[PATH]...", shell_complete=completing.files, nargs=-1)
@click.option(
    "--base", default="", metavar="REF", help="The commit, branch or tag to compare with; none: nothing is compared."
)
@click.option(
    "--summary", "summaries", multiple=True, type=click.Path(dir_okay=False), help="Append the page to this file."
)
@click.option(
    "-o", "--output", type=click.Choice(["markdown", "github", "none"]), default="markdown", show_default=True,
    help="What to print: the page, or commands that GitHub shows beside the lines.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Warnings of validate fail, too.")
@click.option("--fail-on-change", is_flag=True, help="Exit with 3 if something would change.")
def review(
    paths: tuple[str, ...],
    base: str,
    summaries: tuple[str, ...],
    output: str,
    strict: bool,
    fail_on_change: bool,
) -> None:
    """Validate and test what is in PATHs (without any: the current folder), and show what it changes since another commit.

    The change is that of what is in the files: all that was in them at --base is applied in memory, and reconciled; then what is in
    them now, and what is gone is deleted.  Claims in the files, as examples, show what becomes of claims.  No cluster and no cloud is asked, but
    git, for the commit where the branch began.

    Exit code 1 if something is wrong or a test fails.
    """
    from groundplane.cli import documents

    places = documents.expanded(paths) or ["."]
    now, wrong = documents.read(places)
    now = documents.judged(now, places)
    before: list[Document] = []
    with tempfile.TemporaryDirectory() as folder:
        if base:
            commit = _begun(base)
            then = _at(commit, places, Path(folder))
            before, _ = documents.read(then)
            before = documents.judged(before, then)
        page = Page(
            _validated(now, before, wrong, strict=strict),
            _tested(places),
            base,
            _changed(before, now) if base else None,
        )
    text = page.markdown()
    for file in summaries:
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(text)
    if output == "markdown":
        click.echo(text, nl=False)
    elif output == "github":
        click.echo(page.validation.written("github"), nl=False)
        for line in page.tests.github() if page.tests else ():
            click.echo(line)
    if page.is_wrong:
        raise SystemExit(1)
    if fail_on_change and page.change and page.change.changes:
        raise SystemExit(3)


# --- what was there before ---------------------------------------------------------------------------------------


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise InvalidInput("there is no git here", mend="install it, or leave --base out") from error
    if done.returncode:
        raise InvalidInput(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _begun(base: str) -> str:
    """The commit from which the work began: the last that it has in common with the base."""
    try:
        _git("rev-parse", "--git-dir")
    except InvalidInput as error:
        raise InvalidInput(error.what, mend="run it in a clone, or leave --base out") from error
    try:
        _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    except InvalidInput as error:
        mend = "fetch it: git fetch origin; with actions/checkout, fetch-depth: 0"
        raise InvalidInput(f"there is no commit {shown(base)} here", mend=mend, where=("--base",)) from error
    try:
        return _git("merge-base", base, "HEAD").decode().strip()
    except InvalidInput:  # a shallow clone knows no more
        return base


def _at(commit: str, places: Sequence[str], folder: Path) -> list[str]:
    """The same places as they were at a commit, below the folder; those that were there."""
    found = []
    for number, place in enumerate(places):
        names = [
            name
            for name in _git("ls-tree", "-r", "--name-only", "-z", commit, "--", place).decode().split("\0")
            if name
        ]
        if not names:
            continue
        into = folder / str(number)
        into.mkdir()
        with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit, "--", place))) as archive:
            archive.extractall(into, filter=_kept)
        found.append(str(into))
    return found


def _kept(member: tarfile.TarInfo, into: str) -> tarfile.TarInfo | None:
    """What is unpacked: nothing that leads out of the folder."""
    try:
        return tarfile.data_filter(member, into)
    except tarfile.FilterError:
        link = f", a link to {shown(member.linkname)}," if member.linkname else ""
        click.echo(f"left out of --base: {shown(member.name)}{link} leads out of the folder", err=True)
        return None


# --- the three looks ---------------------------------------------------------------------------------------------


def _validated(
    now: Sequence[Document], before: Sequence[Document], wrong: Sequence[object], *, strict: bool
) -> validation_report.Report:
    from groundplane.cli import validate
    from groundplane.cli.documents import Mistake

    mistakes = [each for each in wrong if isinstance(each, Mistake)]
    return validate.examined(now, now, before, mistakes, strict=strict)


def _tested(places: Sequence[str]) -> test_report.Report | None:
    """What came of the tests; None: there are none."""
    from groundplane.cli import cases, test, test_report

    begun = time.perf_counter()
    found, mistakes = cases.find(places)
    if mistakes:
        raise InvalidInput(f"{mistakes[0].place}: {mistakes[0].message}", mend=mistakes[0].mend)
    if not found:
        return None
    return test_report.Report(test.run_all(found, 1), len(found), time.perf_counter() - begun, wants_coverage=True)


def _changed(before: Sequence[Document], now: Sequence[Document]) -> diff_report.Report:
    """What comes of one set of objects in place of another."""
    return asyncio.run(_compared(before, now))


async def _compared(before: Sequence[Document], now: Sequence[Document]) -> diff_report.Report:
    from groundplane.cli import in_memory
    from groundplane.cli.diff_report import Report
    from groundplane.core.objects import key_of

    overlay = await in_memory.made((*before, *now))
    earlier: dict[str, str] = {}
    refused: dict[str, str] = {}
    old = await in_memory.applied(overlay, before, earlier)
    await overlay.begin([], [])
    new = await in_memory.applied(overlay, now, refused)
    for key in sorted(old - new, key=lambda key: key.kind != "Composition", reverse=True):
        await overlay.remove(key)
        await overlay.settle()
    applied = [key_of(each.object) for each in now if each.object.get("kind") == "Composition"]
    errors = [text for what, text in refused.items() if what not in earlier]
    told = [*errors, *chain.from_iterable(overlay.warnings.values())]
    changes = [each for change in overlay.changes() if (each := _asked_for(change))]
    return Report(changes, applied, overlay.objects(), (), told, is_refused=bool(errors))


def _asked_for(change: Change) -> Change | None:
    """The change without what is only thought up: the status of managed resources.  None: there is no other."""
    from groundplane.runtime import clouds
    from groundplane.runtime.overlay import comparable

    if not clouds.lookup(change.key.api_version, change.key.kind):
        return change
    old, new = ({**each, "status": {}} if each else None for each in (change.old, change.new))
    if old and new and comparable(old) == comparable(new):
        return None
    return replace(change, old=old, new=new)


# --- the page ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    validation: validation_report.Report
    tests: test_report.Report | None
    base: str
    change: diff_report.Report | None

    @property
    def is_wrong(self) -> bool:
        errors = bool(self.change and self.change.errors and self.change.is_refused)
        return self.validation.is_wrong or bool(self.tests and self.tests.failed) or errors

    def markdown(self) -> str:
        """A page for a summary, or a comment: no longer than GitHub takes."""
        parts = [MARK, "", f"## {'✘' if self.is_wrong else '✔'} Groundplane", ""]
        parts += [*_within(self._validate(), PARTS["validate"]), "", *_within(self._test(), PARTS["test"]), ""]
        parts += _within(self._differences(), PARTS["errors"])
        parts += [*self._diff(LONGEST - _size(parts)), ""]
        text = "\n".join(parts)
        return text + "\n" if text[-1] != "\n" else text

    def _validate(self) -> Iterator[str]:
        found = list(self.validation.findings())
        errors = sum(level == "error" for level, _, _ in found)
        sign = "✘" if errors else "!" if found else "✔"
        words = f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}" if found else "nothing is wrong"
        yield f"### {sign} validate: {words}"
        if found:
            yield ""
            yield "| | where | what |"
            yield "|---|---|---|"
            for level, place, text in found[:TOLD]:
                yield f"| {level} | `{_code(str(place))}` | {_cell(text)} |"
            if len(found) > TOLD:
                yield f"| | | … and {len(found) - TOLD} more |"

    def _test(self) -> Iterator[str]:
        if self.tests is None:
            yield "### – test: there are no tests"
            return
        yield f"### {'✘' if self.tests.failed else '✔'} test: {self.tests.summary()}"
        for each in self.tests.results:
            if not each.passed:
                yield ""
                yield f"✘ {_cell(each.label)} (`{_code(str(each.place))}`)"
                yield ""
                yield "\n".join(_fenced(_cut("\n".join(each.problems))))

    def _differences(self) -> Iterator[str]:
        if self.change is None:
            return
        counts = self.change.summary
        words = [f"{counts[kind]} {kind}" for kind in ("added", "modified", "removed") if counts[kind]]
        others = sum(each.key.kind == "Composition" for each in self.change.changes)
        if others:
            words.append(_count(others, "Composition"))
        yield f"### diff since {_cell(self.base)}: {', '.join(words) or 'nothing changes'}"
        for error in self.change.errors:
            yield f"- {_cell(error)}"

    def _diff(self, most: int) -> Iterator[str]:
        """In that many bytes."""
        if not self.change or not self.change.changes:
            return
        lines = [re.sub(r"^~~~", "!!!", line) for line in self.change.text(compact=True, verbose=False)]
        kept = _within(lines, most - 1_000)
        yield ""
        yield "<details><summary>what changes</summary>"
        yield ""
        yield from _fenced("\n".join(kept), "diff")
        yield ""
        yield "</details>"


def _within(lines: Iterable[str], most: int) -> list[str]:
    """As many of them as there is room for."""
    kept: list[str] = []
    size = 0
    for line in lines:
        size += _size([line])
        if size > most:
            return [*kept, "", AND_MORE] if kept and kept[-1].startswith("|") else [*kept, AND_MORE]
        kept.append(line)
    return kept


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode(errors="replace")) + 1 for line in lines)


def _cut(text: str) -> str:
    return text if len(text) <= CELL else f"{text[:CELL]}…"


def _cell(text: str) -> str:
    """A text that can't end a table's cell, begin HTML, a link or an image, or call somebody.

    >>> _cell("a | <b>\\n@team ![x](https://example.org)")
    'a \\\\| &lt;b> @\u200bteam !\\\\[x\\\\](https:\u200b//example.org)'
    """
    text = _cut(" ".join(text.split())).replace("`", "'").replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(r"([\\|\[\]])", r"\\\1", text)
    return re.sub(r"(@|#(?=\d)|:(?=//)|www(?=\.))", "\\1\u200b", text, flags=re.IGNORECASE)


def _code(text: str) -> str:
    """The same between backticks, where nothing else means anything."""
    return _cut(" ".join(text.split())).replace("`", "'").replace("|", "\\|")


def _fenced(text: str, language: str = "") -> list[str]:
    """A block that its text can't end; no row of backticks in it is longer than twenty.

    >>> _fenced("```")
    ['````', '```', '````']
    """
    text = re.sub(r"`{21,}", "`" * 20, text)
    longest = max((len(each) for each in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", text, fence]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
