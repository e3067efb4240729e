"""How `groundplane test` tells what came of the tests: text, JSON, commands for GitHub's log, JUnit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from groundplane.cli import github
from groundplane.core.objects import Json
from groundplane.errors import counted

if TYPE_CHECKING:
    from groundplane.cli.cases import Result
    from groundplane.core.coverage import Point

UNMET = 40  # points that are told
NAMED = 3  # points of a kind that the last line names


@dataclass(frozen=True)
class Report:
    """All that was run."""

    results: Sequence[Result]
    found: int  # tests that there were to run
    seconds: float
    wants_coverage: bool = False
    survivors: Sequence[tuple[str, str]] | None = None  # (place, change) that no test noticed; None: nobody asked

    @property
    def failed(self) -> int:
        return sum(not each.passed for each in self.results)

    @property
    def _all(self) -> set[Point]:
        return set().union(*(each.all for each in self.results))

    @property
    def unmet(self) -> list[Point]:
        """What no test met, in the order of the manifests."""
        return sorted(self._all - set().union(*(each.met for each in self.results)), key=str)

    @property
    def percent(self) -> float:
        """How much of the Compositions the tests met; 0 if they render none."""
        every = len(self._all)
        return 100.0 * (every - len(self.unmet)) / every if every else 0.0

    @property
    def renders(self) -> bool:
        """Whether there is anything to meet."""
        return bool(self._all)

    def write(self, output: str, coverage: str | None) -> None:
        if output == "json":
            click.echo(json.dumps(self._record(), indent=2, ensure_ascii=False))
            return
        for line in self.github() if output == "github" else self._lines():
            click.echo(line)
        if coverage == "json":
            click.echo(json.dumps(self._coverage(), indent=2, ensure_ascii=False))
        elif coverage == "text":
            for point in self.unmet[:UNMET]:
                click.echo(f"  not met: {point}")
            if len(self.unmet) > UNMET:
                click.echo(f"  … and {len(self.unmet) - UNMET} more")

    def write_junit(self, path: str) -> None:
        """One suite for each file, one case for each test."""
        from xml.etree import ElementTree

        root = ElementTree.Element("testsuites", tests=str(len(self.results)), failures=str(self.failed))
        suites: dict[str, ElementTree.Element] = {}
        for each in self.results:
            file = each.place.file
            if file not in suites:
                of_file = [other for other in self.results if other.place.file == file]
                failures = sum(not other.passed for other in of_file)
                suites[file] = ElementTree.SubElement(
                    root, "testsuite", name=file, tests=str(len(of_file)), failures=str(failures)
                )
            case = ElementTree.SubElement(
                suites[file],
                "testcase",
                classname=each.suite,
                name=each.name,
                file=file,
                line=str(each.place.line),
                time=f"{each.seconds:.3f}",
            )
            if not each.passed:
                failure = ElementTree.SubElement(case, "failure", message=_xml(each.problems[0].splitlines()[0]))
                failure.text = _xml("\n".join(each.problems))
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)

    # --- text --------------------------------------------------------------------------------------------------

    def _lines(self) -> Iterator[str]:
        for each in self.results:
            if not each.passed:
                yield f"{_styled('✘', 'red')} {each.label} ({each.seconds * 1000:.0f} ms)   {_at(each)}"
                for problem in each.problems:
                    yield from (f"    {line}" for line in problem.splitlines())
        for place, what in self.survivors or ():
            yield f"{_styled('survived', 'yellow')} {place}: {what}"
        yield self.summary()

    def summary(self) -> str:
        passed = len(self.results) - self.failed
        text = f"{passed} passed, {self.failed} failed in {self.seconds:.1f} s."
        if not self.results and self.found:
            text = f"{self.found} {'test' if self.found == 1 else 'tests'} can be read."
        if self.wants_coverage and not self.renders:
            text += "   No coverage: no Composition was rendered"
        elif self.wants_coverage:
            text += f"   Coverage {self.percent:.0f} %"
            if self.unmet:
                text += f" ({self._untested()} untested)"
        if self.survivors is not None:
            text += (
                f"   {counted(len(self.survivors), 'change', 'changes')} survived"
                if self.survivors
                else "   No change survived"
            )
        return text

    def _untested(self) -> str:
        """What no test met: a few of a kind by their names, many by their number."""
        kinds: dict[str, list[str]] = {}
        for point in self.unmet:
            kinds.setdefault(point.kind, []).append(_short(point))
        told = []
        for kind, names in kinds.items():
            words = kind if len(names) == 1 else _PLURALS.get(kind, f"{kind}s")
            told.append(f"{words} {', '.join(names)}" if len(names) <= NAMED else f"{len(names)} {words}")
        return "; ".join(told)

    def github(self) -> Iterator[str]:
        told = set[str]()
        for each in self.results:
            own = [problem for problem in each.problems if problem not in each.places]
            if own:
                yield github.command("error", each.place, each.label, "\n".join(own))
            for problem, place in each.places.items():
                if problem not in told:  # every test of a Composition meets what is wrong with it
                    yield github.command("error", place, each.label, problem)
            told |= each.places.keys()
        yield self.summary()

    # --- JSON --------------------------------------------------------------------------------------------------

    def _record(self) -> dict[str, Json]:
        cases: list[Json] = [
            {
                "file": each.place.file,
                "line": each.place.line,
                "suite": each.suite,
                "name": each.name,
                "step": each.step,
                "outcome": "passed" if each.passed else "invalid" if each.is_misuse else "failed",
                "ms": round(each.seconds * 1000),
                "problems": list(each.problems),
            }
            for each in self.results
        ]
        summary: dict[str, Json] = {
            "total": len(self.results),
            "passed": len(self.results) - self.failed,
            "failed": self.failed,
            "ms": round(self.seconds * 1000),
        }
        found: dict[str, Json] = {"summary": summary, "cases": cases}
        if self.wants_coverage:
            found["coverage"] = self._coverage()
        if self.survivors is not None:
            found["survivors"] = [{"place": place, "change": what} for place, what in self.survivors]
        return found

    def _coverage(self) -> dict[str, Json]:
        unmet: list[Json] = [
            {
                "composition": each.composition,
                "step": each.step,
                "kind": each.kind,
                "resource": each.resource,
                "what": each.what,
            }
            for each in self.unmet
        ]
        return {"percent": round(self.percent, 1), "points": len(self._all), "unmet": unmet}


_PLURALS = {"map entry": "map entries", "patch": "patches", "readiness": "readiness"}


def _short(point: Point) -> str:
    """What a point is called where its kind is said: `large` of a map's entry, `instance patches[2]`, `instance not ready`."""
    if point.kind in ("map entry", "match pattern"):
        return point.what.rpartition(" › ")[2]
    return " ".join(part for part in (point.resource, point.what) if part)


def _at(result: Result) -> str:
    return str(result.place)


def _styled(text: str, colour: str) -> str:
    return click.style(text, fg=colour)


def _xml(text: str) -> str:
    """Without the characters that XML can't have."""
    return "".join(each for each in text if each in "\t\n\r" or each >= " ")
