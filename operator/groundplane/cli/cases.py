"""Test files: which there are, what their tests are given, and how one is run.

A path in a test file begins at that file's folder.  Each input is read once.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundplane.cli import documents, manifests
from groundplane.cli.documents import Document, Mistake, Place
from groundplane.core import assertions, choice, composition_tests, known_schemas, rehearsal, testing
from groundplane.core.assertions import Outcome
from groundplane.core.composition_tests import Case, Given, Inputs
from groundplane.core.explain import is_secret, masked_secret
from groundplane.core.objects import group_of, meta
from groundplane.errors import GroundplaneError, InvalidInput

if TYPE_CHECKING:
    from groundplane.core.coverage import Point
    from groundplane.core.explain import Told
    from groundplane.core.objects import Object
    from groundplane.core.rehearsal import Platform

DIFFERING = 12  # lines of a snapshot's difference that are told

NAMED = (
    "apiextensions.crossplane.io",
    "apiextensions.k8s.io",
    "pkg.crossplane.io",
)  # groups whose objects are told by name
OFTEN = 1_000_000  # times that a call fails: for as long as a test takes


@dataclass(frozen=True)
class Found:
    """A test, and where it is written."""

    case: Case
    document: Document

    @property
    def place(self) -> Place:
        return self.document.place(f"spec.tests[{self.case.index}]")

    @property
    def folder(self) -> Path:
        return Path(self.document.text.file).parent


@dataclass
class Result:
    """How a test went."""

    suite: str
    name: str
    place: Place
    step: str = ""  # in which it failed
    problems: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(
        default_factory=dict
    )  # where what a problem is about is written, if not in the test
    is_misuse: bool = False  # the test itself makes no sense
    seconds: float = 0.0
    met: set[Point] = field(default_factory=set)
    all: set[Point] = field(default_factory=set)  # that there are to meet
    outcomes: list[Outcome] = field(default_factory=list, repr=False)

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def label(self) -> str:
        return " › ".join(part for part in (self.suite, self.name, self.step) if part)


def find(paths: Sequence[str]) -> tuple[list[Found], list[Mistake]]:
    """The tests in files and folders, in order; and what can't be read as one.

    Raises:
        InvalidInput: a path does not exist.
    """
    read, wrong = documents.read(paths)
    found: list[Found] = []
    mistakes = [each for each in wrong if each.message.startswith("it is given") or _may_hold_tests(each.place.file)]
    for document in read:
        try:
            if testing.is_test(document.object):
                found += [Found(case, document) for case in composition_tests.cases_of(document.object)]
            else:
                testing.check_kind(document.object)
        except InvalidInput as error:
            path = error.what.partition(":")[0]
            mistakes.append(Mistake(document.place(path, of_name=True), error.what, error.mend))
    return found, mistakes


def _may_hold_tests(file: str) -> bool:
    """Other files that are no YAML (templates of charts) are not our business."""
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as text:
            return testing.KIND in text.read(manifests.LARGEST)
    except OSError:
        return False


class Runner:
    """Runs tests, and remembers what they have in common."""

    def __init__(self, *, update: bool = False) -> None:
        """With `update`, snapshots are written and not compared."""
        self._update = update
        self._read: dict[Path, list[Document]] = {}
        self._platforms: dict[Any, Platform] = {}
        self._resources = ExitStack()
        self._standin = ""

    def close(self) -> None:
        self._resources.close()

    def run(self, found: Found, *, replaced: Object | None = None) -> Result:
        """Run one test; with `replaced`, with that Composition in the place of the one of its name."""
        begun = time.perf_counter()
        result = Result(found.case.suite, found.case.name, found.place)
        try:
            if found.case.run == "render":
                self._rehearse(found, result, replaced)
            else:
                asyncio.run(self._try(found, result))
        except InvalidInput as error:
            result.problems.append(str(error))
            result.is_misuse = True
        result.seconds = time.perf_counter() - begun
        return result

    # --- run: render ---------------------------------------------------------------------------------------------

    def _rehearse(self, found: Found, result: Result, replaced: Object | None) -> None:
        from groundplane.core import coverage, preview

        inputs, folder = found.case.inputs, found.folder
        self._read_all(found)
        platform = self._platform(found.case, folder, replaced)
        around = preview.Around(
            extra=[*self._objects(inputs.extra, folder), *platform.sources],
            context=inputs.context,
            credentials=self._objects(inputs.credentials, folder),
        )
        play = rehearsal.Rehearsal(
            platform,
            self._subjects(inputs, folder),
            self._objects(inputs.observed, folder),
            around,
            validated=inputs.validated,
        )
        for index, step in enumerate(found.case.steps):
            outcome = play.play(step, found.case.patches)
            result.outcomes.append(outcome)
            if outcome.source is not None:
                result.met |= coverage.met(outcome.source, outcome)
                result.all |= set(coverage.points(outcome.source))
            if problems := assertions.problems(step.assertions, outcome, self._snapshot(found), self._place):
                places = {text: place for text in problems if (place := self._place_of(text, outcome))}
                result.problems = [f"{text} ({places[text]})" if text in places else text for text in problems]
                result.places = {f"{text} ({place})": place for text, place in places.items()}
                result.step = _step_name(found.case, index)
                return

    def _platform(self, case: Case, folder: Path, replaced: Object | None) -> Platform:
        inputs = case.inputs
        sources = self._objects([inputs.composition] if inputs.composition else [], folder)
        if replaced is not None:
            names = replaced["metadata"]["name"]
            sources = [replaced if each["metadata"].get("name") == names else each for each in sources]
        declared, kinds = self._objects(_definitions(case), folder), self._objects(inputs.crds, folder)
        if not any(map(known_schemas.is_definition, declared)):
            choice.check_group(declared, "CompositeResourceDefinition")
        functions = self._objects(inputs.functions, folder)
        key = tuple(tuple(map(id, objects)) for objects in (sources, declared, kinds, functions))
        if replaced is not None or key not in self._platforms:
            from groundplane.cli.built_in import BuiltIn
            from groundplane.cli.render import finder

            made = rehearsal.Platform(sources, [*declared, *sources], kinds, finder([*sources, *functions]), BuiltIn())
            if replaced is not None:
                return made
            self._platforms[key] = made
        return self._platforms[key]

    # --- run: engine, aws ----------------------------------------------------------------------------------------

    async def _try(self, found: Found, result: Result) -> None:
        from groundplane.runtime import logs
        from groundplane.runtime.trial import trial

        logs.configure("text", "critical")
        case, inputs, folder = found.case, found.case.inputs, found.folder
        self._read_all(found)
        if case.run == "aws":
            self._use_standin(case.aws.fail)
        given = (
            inputs.composition,
            *_definitions(case),
            *inputs.crds,
            *inputs.functions,
            *inputs.credentials,
            *inputs.extra,
        )
        platform = self._objects([each for each in given if each is not None], folder)
        async with trial(obeys=case.run == "engine", patience=case.timeout) as running:
            await running.prepare(platform)
            for index, step in enumerate(case.steps):
                wanted = step.assertions

                def lacking(outcome: Outcome, wanted: Sequence[composition_tests.Assertion] = wanted) -> list[str]:
                    return assertions.problems(wanted, outcome, self._snapshot(found))

                outcome = await running.play(self._subjects(inputs, folder), step, case.patches, lacking)
                if problems := lacking(outcome):
                    result.problems = problems
                    result.step = _step_name(case, index)
                    return
        if case.run == "aws" and (unused := self._unused()):
            result.problems = [
                f"aws.fail: {call} was never called. Mend: correct the call, or take it out" for call in unused
            ]

    def _unused(self) -> list[str]:
        """The calls that were to fail and that nobody made."""
        left = self._ask("GET", "/standin/faults")
        return [f"{each['service']}.{each['operation']}" for each in left if each["times"] == OFTEN]

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """A control of the stand-in."""
        import json
        import urllib.request

        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(self._standin + path, data=data, method=method)
        with urllib.request.urlopen(asked) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else None

    def _use_standin(self, faults: Any) -> None:
        """AWS's stand-in as this process's AWS, as new, with these faults."""
        import importlib.util

        from groundplane.aws import offline
        from groundplane.cli import demo

        if importlib.util.find_spec("moto") is None:
            raise InvalidInput("the stand-in for AWS is not installed", mend="pip install 'groundplane[demo]'")
        if not self._standin:
            self._standin = self._resources.enter_context(demo.standin(slow=0.0))
            self._resources.enter_context(demo.aws_environment(self._standin))

        self._ask("POST", "/moto-api/reset")
        self._ask("DELETE", "/standin/faults")
        for call, code in faults.items():
            service, _, operation = call.partition(".")
            offline.check_call(service, operation)
            fault = {"service": service, "operation": operation, "code": code, "times": OFTEN}
            self._ask("POST", "/standin/faults", fault)

    # --- inputs -----------------------------------------------------------------------------------------------------

    def _subjects(self, inputs: Inputs, folder: Path) -> list[Object]:
        if inputs.claim and inputs.composite:
            raise rehearsal.Misuse("inputs have a claim and a composite", mend="give one of them")
        given = inputs.claim or inputs.composite
        if given is None:
            raise rehearsal.Misuse("inputs have neither a claim nor a composite", mend="give one of them")
        return self._objects([given], folder)

    def _objects(self, given: Iterable[Given], folder: Path) -> list[Object]:
        return [obj for each in given for obj in self._given(each, folder)]

    def _given(self, given: Given, folder: Path) -> Iterator[Object]:
        if bool(given.path) == (given.raw is not None):
            raise rehearsal.Misuse("an input needs a path or raw", mend="give one of them")
        if given.raw is not None:
            for value in given.raw if isinstance(given.raw, list) else [given.raw]:
                inside, mistake = documents.objects_in(value, documents.Text("raw", []))
                if mistake:
                    raise rehearsal.Misuse(f"an input that is written here: {mistake.message}", mend=mistake.mend)
                yield from (document.object for document in inside)
            return
        path = Path(os.path.normpath(folder / given.path))
        if path not in self._read:
            read, wrong = documents.read([str(path)])
            if wrong:
                raise rehearsal.Misuse(f"{wrong[0].place}: {wrong[0].message}", mend=wrong[0].mend)
            if not read:
                raise rehearsal.Misuse(f"there is no object in {path}", mend="correct the path")
            self._read[path] = read
        yield from (document.object for document in self._read[path])

    def _read_all(self, found: Found) -> None:
        """Raises Misuse: with all that can't be read, not with the first alone."""
        missing: list[InvalidInput] = []
        for given in given_to(found.case):
            try:
                for obj in self._objects([given], found.folder):
                    if group_of(obj["apiVersion"]) in NAMED and not isinstance(meta(obj).get("name"), str):
                        raise rehearsal.Misuse(f"{obj['kind']} has no metadata.name", mend="name it")
            except InvalidInput as error:
                missing.append(error)
        if len(missing) > 1:
            raise rehearsal.Misuse("; ".join(dict.fromkeys(error.what for error in missing)), mend=missing[0].mend)
        if missing:
            raise missing[0]

    def _place(self, outcome: Outcome, told: Told) -> str:
        """Where a patch is written: file, line and column; nothing if no file has it."""
        from groundplane.core import coverage

        if outcome.source is None:
            return ""
        document, path = self.written(outcome.source["metadata"]["name"]), coverage.written_at(outcome.source, told)
        return str(document.place(path)) if document and path else ""

    def _place_of(self, error: str, outcome: Outcome) -> Place | None:
        """Where the field is written that an error is about; None if no file has it."""
        name, path = outcome.places.get(error, ("", ""))
        document = self._written(name)
        return document.place(path) if document else None

    def written(self, composition: str) -> Document | None:
        """Where a Composition is written that a test was given."""
        return self._written(f"Composition {composition}")

    def _written(self, name: str) -> Document | None:
        """Where an object is written that a test was given, by its kind and name."""
        for read in self._read.values():
            for document in read:
                if f"{document.object.get('kind')} {meta(document.object).get('name')}" == name:
                    return document
        return None

    # --- snapshots --------------------------------------------------------------------------------------------------

    def _snapshot(self, found: Found) -> assertions.Snapshot:
        def compare(name: str, outcome: Outcome) -> list[str]:
            path, text = found.folder / name, _normal(outcome)
            if not path.resolve().is_relative_to(found.folder.resolve()):
                raise rehearsal.Misuse(
                    f"snapshot {name} is outside of its test's folder", mend="keep it beside the test"
                )
            if self._update:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                return []
            if not path.exists():
                raise rehearsal.Misuse(f"there is no snapshot {path}", mend="write it with --update")
            before = path.read_text(encoding="utf-8")
            if before == text:
                return []
            lines = list(
                difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), "now", n=1, lineterm="")
            )
            rest = f"\n… {len(lines) - DIFFERING} more lines" if len(lines) > DIFFERING else ""
            return [f"snapshot {path} differs (--update writes it anew):\n" + "\n".join(lines[:DIFFERING]) + rest]

        return compare


def _definitions(case: Case) -> list[Given]:
    """The definitions that a test names among its inputs, and under `patches`, as Crossplane's format does."""
    return [*case.inputs.xrd, *([case.patches.xrd] if case.patches.xrd else [])]


def given_to(case: Case) -> list[Given]:
    """All that a test is given in files, or written in it."""
    inputs = case.inputs
    lists = (inputs.functions, inputs.observed, inputs.extra, inputs.crds, inputs.credentials)
    single = (inputs.claim, inputs.composite, inputs.composition)
    return [*(each for each in single if each), *_definitions(case), *(each for several in lists for each in several)]


def read_by(tests: Iterable[Found]) -> set[str]:
    """The files and folders that tests are given."""
    paths = ((each.folder, given.path) for each in tests for given in given_to(each.case))
    return {os.path.normpath(folder / path) for folder, path in paths if path}


def _normal(outcome: Outcome) -> str:
    """What is there, as text: the composite's identity and status, then what is composed, by its templates' names."""
    from groundplane.core import goyaml, preview

    shown = [preview.identity(outcome.composite)] if outcome.composite else []
    for _, obj in sorted(outcome.composed.items()):
        shown.append(masked_secret(obj) if is_secret(obj) else obj)
    return "".join(f"---\n{goyaml.dumps(each)}" for each in shown)


def _step_name(case: Case, index: int) -> str:
    return "" if len(case.steps) == 1 else case.steps[index].name or f"step {index + 1}"


def survivors(runner: Runner, tests: Sequence[Found], results: Sequence[Result]) -> Iterator[tuple[Place, str]]:
    """Changes of the Compositions that no test notices, each with its place."""
    from groundplane.core import fieldpath, mutants

    sources = {id(outcome.source): outcome.source for each in results for outcome in each.outcomes if outcome.source}
    for source in sources.values():
        users = [
            test
            for test, result in zip(tests, results, strict=True)
            if any(outcome.source is source for outcome in result.outcomes)
        ]
        document = runner.written(source["metadata"]["name"])
        for mutant in mutants.mutants(source):
            try:
                noticed = any(not runner.run(test, replaced=mutant.source).passed for test in users)
            except GroundplaneError:
                noticed = True
            if not noticed:
                path = fieldpath.render(mutant.path)
                place = document.place(path) if document else Place(source["metadata"]["name"])
                yield place, f"{path}: {mutant.what}"
