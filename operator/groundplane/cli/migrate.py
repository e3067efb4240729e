"""`groundplane migrate`: what stands between manifests and Crossplane v2, and the manifests of v2 themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundplane.cli import completing, completing_objects, function_flag, sources
from groundplane.cli.groups import Group
from groundplane.core.objects import group_of
from groundplane.errors import InvalidInput

if TYPE_CHECKING:
    from groundplane.cli.documents import Document
    from groundplane.core.conversion.generations import Migration
    from groundplane.core.objects import Object


@click.group(cls=Group, epilog="Example: groundplane migrate v2 platform/ -o platform-v2/")
def migrate() -> None:
    """Bring manifests of Crossplane's first generation to the second."""


@migrate.command(epilog="Example: groundplane migrate check platform/")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=completing.files)
def check(paths: tuple[str, ...]) -> None:
    """Tell what of the manifests Crossplane v2 has no more.  Exit code 1 if it has something no more."""
    from groundplane.cli import documents
    from groundplane.core.conversion import upgrade_check

    found, wrong = documents.read(documents.expanded(paths))
    found = documents.judged(found, documents.expanded(paths), with_tests=True)
    _check_shapes(found)
    categories = upgrade_check.categories([document.object for document in found])
    issues = sum(len(each.uses) for each in categories if not each.informational)
    told = sum(len(each.uses) for each in categories if each.informational)
    sign = "✗" if issues or wrong else "✓"
    click.echo(
        f"[{sign}] {issues} issue{'' if issues == 1 else 's'}, {told} informational, {len(wrong)} incomplete checks."
    )
    for each in categories:
        count = len(each.uses)
        sign = "✓" if not count else "i" if each.informational else "✗"
        click.echo(f"[{sign}] {each.title}" + (f" - {count} issue{'' if count == 1 else 's'}" if count else ""))
        for use in each.uses:
            click.echo(f"    {use}")
        if count:
            click.echo(f"    Fix: {each.fix}")
    for mistake in wrong:
        click.echo(f"[!] {mistake}")
    if issues or wrong:
        raise SystemExit(1)


@migrate.command(epilog="Example: groundplane migrate v2 platform/ -o platform-v2/ --group platform.example.org")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=completing.files)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR",
    shell_complete=completing.folders,
    help="The folder to write to, with the names of the files that were read.",
)
@click.option("--group", default="", help="The API group of the new composites.  [default: m.<group>]")
@click.option("--kind", default="", help="Their kind, where there is one definition.  [default: the claim's]")
def v2(paths: tuple[str, ...], output: str, group: str, kind: str) -> None:
    """Write manifests of v2 for definitions, Compositions and claims of v1.

    A definition with claims becomes one of composites in namespaces, of the claim's kind in a new group: the old one is served until the last
    claim is gone.  Claims become such composites; Compositions pipelines that compose managed resources in namespaces (*.m.upbound.io).  Tests
    are brought along with what they test, and run but for those on AWS's stand-in; their snapshots are written anew.
    Comments, order and style stay where what is written stays.  What has no equivalent is told, a line each, and is yours to decide; exit code 0.  Nothing is contacted.  Review what is written, and
    see it work for a new claim, before anything that exists is moved.
    """
    from groundplane.cli import built_in, documents
    from groundplane.core.conversion import generations

    found, wrong = documents.read(documents.expanded(paths))
    found = documents.judged(found, documents.expanded(paths), with_tests=True)
    if wrong:
        raise InvalidInput(f"{wrong[0].place}: {wrong[0].message}", mend=wrong[0].mend)
    _check_shapes(found)
    migration = generations.Migration(built_in.EveryKind().schema, group, kind)
    made = migration.run([document.object for document in found])
    made = [_test(document, new, migration) for document, new in zip(found, made, strict=True)]
    folder = Path(output)
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInput(f"{folder} is not empty", mend="name a new folder")
    texts: dict[str, list[Written]] = {}
    for source, pairs in groupby(zip(found, made, strict=True), key=lambda pair: pair[0].text.file):
        if parts := list(_written(list(pairs))):
            texts.setdefault(_relative(source, paths), []).extend(parts)
    for name, parts in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("---\n".join(part.text for part in parts), encoding="utf-8")
    count = sum(new is not None for new in made)
    click.echo(
        f"{folder}: {count} object{'' if count == 1 else 's'} written, {len(made) - count} left out, {len(migration.notes)} to see to"
    )
    for name, parts in texts.items():
        if any(part.lost for part in parts):
            click.echo(f"  {folder / name}: comments were lost")
    for note in migration.notes:
        click.echo(f"  {note}")
    for line in _tried(folder):
        click.echo(f"  {line}")


STOPPED = 4  # exit code


@migrate.command("take-over", epilog="Example: groundplane migrate take-over database/orders -n my-team --dry-run")
@click.argument("claim", metavar="KIND/NAME", shell_complete=completing_objects.objects)
@click.option(
    "-n",
    "--namespace",
    shell_complete=completing_objects.namespaces,
    default="",
    help="Where the claim is.  [default: the context's]",
)
@click.option(
    "-f",
    "--filename",
    "file",
    default="",
    shell_complete=completing.files,
    help="The new composite.  [default: as `migrate v2` writes it]",
)
@click.option("--dry-run", is_flag=True, help="Show what would go over, and do no more.")
@click.option("--back", is_flag=True, help="As if nothing had been begun; until the claim has been deleted.")
@click.option(
    "--allow-deletions",
    is_flag=True,
    help="Also if objects of Kubernetes go with the claim: its connection Secret, what is composed of Kubernetes' own kinds.",
)
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds to wait at most.")
@function_flag.option
@function_flag.templates
@sources.options
def take_over(
    claim: str,
    namespace: str,
    file: str,
    dry_run: bool,
    back: bool,
    allow_deletions: bool,
    timeout: float,
    function: tuple[str, ...],
    function_templates_dir: str,
    db: str,
    kubeconfig: str,
    context: str,
) -> None:
    """Hand what a claim of v1 has in AWS over to a composite of v2, and delete the claim; in AWS nothing is changed.

    The definition and the Composition that `migrate v2` has written are applied before.  First it is looked, on a copy in memory, whether the new
    composite would leave all as it is; then its resources are made so that they only look, with the external names of those of the claim, by the names
    of templates.  Once each sees what it gets, the claim's are told to leave it there, the claim is deleted, and the new ones take over.

    It can be repeated wherever it has stopped.  Exit code 4: it has stopped, and says how it goes on, and back.
    """
    import asyncio

    from groundplane.cli import take_over as taking

    kind, slash, name = claim.partition("/")
    if not slash or not name:
        raise click.UsageError("name the claim as KIND/NAME")
    if dry_run and back:
        raise click.UsageError("--dry-run and --back exclude each other")
    path = sources.store_file(db, kubeconfig, context)
    place = (path, "", "") if path else (db, kubeconfig, context)
    functions = (function_flag.addresses(function), function_flag.files(function_templates_dir))
    asked = taking.Asked(kind, name, namespace, file, place, functions, timeout, allow_deletions)
    try:
        asyncio.run(taking.show(asked) if dry_run else taking.back(asked) if back else taking.run(asked))
    except taking.Stopped as error:
        click.echo(f"Error: stopped: {error}", err=True)
        if not dry_run:
            click.echo(
                "It goes on when it is run again, and back, until the claim has been deleted, with --back.", err=True
            )
        raise click.exceptions.Exit(STOPPED) from error


@dataclass(frozen=True)
class Written:
    """What became of a document."""

    text: str
    lost: bool  # comments


def _written(pairs: Sequence[tuple[Document, Object | None]]) -> list[Written]:
    """The documents of one file, as they were written as far as they say the same; a List's items one by one."""
    from groundplane.cli import yaml_edit

    whole = "\n".join(pairs[0][0].text.lines)
    texts: list[Written] = []
    line, above, seen = 0, "", 0  # above: comments that a --- parts from what they are about
    for part in yaml_edit.documents(whole):
        inside = [pair for pair in pairs if line <= pair[0].first < line + len(part.splitlines())]
        line += part.count("\n")
        seen += len(inside)
        mark, body = yaml_edit.split_mark(part)
        above += yaml_edit.comments(mark if inside else part)
        for document, new in inside:
            if new is not None:
                texts.append(_document(above + body, document, new))
                above = ""
    if seen != len(pairs):  # YAML counts lines otherwise: there are line breaks of Unicode in it
        return [_document(whole, document, new, anew=True) for document, new in pairs if new is not None]
    if above and texts:
        texts[-1] = replace(texts[-1], text=texts[-1].text + above)
    return texts


def _document(text: str, document: Document, new: Object, *, anew: bool = False) -> Written:
    from groundplane.cli import yaml_edit
    from groundplane.core import goyaml

    kept = None if anew or document.prefix else _edited(text, document.object, new)
    if kept is None:
        return Written(goyaml.dumps(new), bool(yaml_edit.COMMENT.search(text)))
    return Written(kept if kept.endswith("\n") else f"{kept}\n", lost=False)


def _edited(text: str, before: Object, after: Object) -> str | None:
    """A document's text so that it says `after`, with its comments; None if that can't be done."""
    from groundplane.cli import pipeline_text, yaml_edit
    from groundplane.core.conversion import generations

    between = before
    if before.get("kind") == "Composition" and before != after:
        between = generations.as_pipeline(before)
        if between != before:
            moved = pipeline_text.converted(text, before, between)
            if moved is None:
                return None
            text = moved
    return yaml_edit.edited(text, between, after)


def _test(document: Document, new: Object | None, migration: Migration) -> Object | None:
    """A test for the new kinds; what is none, or can't be read, as it is: when tests are tried, that is told."""
    from groundplane.cli import documents
    from groundplane.core import composition_tests, testing
    from groundplane.core.conversion import cases

    if new is None or not testing.is_test(new) or group_of(new["apiVersion"]) != testing.GROUP:
        return new
    try:
        composition_tests.cases_of(new)
    except InvalidInput:
        return new

    def read(path: str) -> list[Object]:
        file = Path(document.text.file).parent / path
        return [each.object for each in documents.read([str(file)])[0]] if file.exists() else []

    return cases.migrated(new, migration, read)


def _tried(folder: Path) -> Iterator[str]:
    """How the tests go that were written, but for those on AWS's stand-in; their snapshots are written."""
    from groundplane.cli import cases

    found, mistakes = cases.find([str(folder)])
    runner = cases.Runner(update=True)
    try:
        results = [runner.run(each) for each in found if each.case.run != "aws"]
    finally:
        runner.close()
    for mistake in mistakes:
        yield str(mistake)
    for result in results:
        if not result.passed:
            yield f"{result.place}: test {result.label} fails: {'; '.join(result.problems)}"
    if found:
        passed, others = sum(each.passed for each in results), len(found) - len(results)
        more = f", {others} on AWS's stand-in not run: groundplane test {folder} runs them" if others else ""
        anew = any(each.snapshot for one in found for step in one.case.steps for each in step.assertions)
        yield f"Tests: {passed} passed, {len(results) - passed} failed{more}."
        if anew:
            yield "Snapshots were written anew: compare them with the old ones."


def _check_shapes(found: Sequence[Document]) -> None:
    """Raise InvalidInput, with its place, if something is written so that it can't be read."""
    from groundplane.cli import built_in
    from groundplane.core.validation.library import Library

    library = Library({}, built_in.EveryKind())
    for document in found:
        if fault := library.first_fault(document.object):
            raise InvalidInput(
                f"{document.place(fault.path)}: {fault}", mend="see all that is wrong with: groundplane validate"
            )


def _relative(file: str, paths: tuple[str, ...]) -> str:
    for path in paths:
        if Path(path).is_dir() and Path(file).is_relative_to(path):
            return str(Path(file).relative_to(path))
    return Path(file).name
