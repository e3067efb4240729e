"""`groundplane validate`: are manifests right, before anybody applies them?

Arguments, flags, lines and exit codes are those of `crossplane beta validate` (v1.20) and `crossplane resource validate` (v2); nothing is
downloaded.  Here are files and words: what is wrong is found by `core/validation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from groundplane.cli import completing
from groundplane.errors import InvalidInput

if TYPE_CHECKING:
    from groundplane.cli.documents import Document, Mistake
    from groundplane.cli.validation_report import Judged, Report
    from groundplane.core.objects import GroupKind, Key, Object
    from groundplane.core.pipeline import Find
    from groundplane.core.validation.objects import Options


@click.command(epilog="Example: groundplane validate compositions/database-aws")
@click.argument("extensions", metavar="[EXTENSIONS]", shell_complete=completing.files, required=False)
@click.argument("resources", metavar="RESOURCES", shell_complete=completing.files, required=False)
@click.option(
    "--old",
    multiple=True,
    metavar="PATH",
    shell_complete=completing.files,
    help="What was there before: what can't change, and what an edit breaks.",
)
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml", "sarif", "github"]), default="text", show_default=True
)
@click.option("--skip-success-results", is_flag=True, help="Print nothing of what is right.")
@click.option("--error-on-missing-schemas", is_flag=True, help="A kind whose schema is not known is a failure.")
@click.option("--strict", is_flag=True, help="So are warnings, and rules that could not be checked.")
@click.option("--no-render", is_flag=True, help="Don't compose claims and composites to look at the result.")
@click.option(
    "--kubernetes-version",
    default="",
    metavar="1.N",
    help="The API server that is meant: rules in CEL may ask for what it knows.  [default: the newest that is known]",
)
@click.option("--cache-dir", hidden=True)
@click.option("--clean-cache", is_flag=True, hidden=True)
@click.option("--update-cache", is_flag=True, hidden=True)
@click.option("--crossplane-image", hidden=True)
def validate(
    extensions: str | None,
    resources: str | None,
    old: tuple[str, ...],
    output: str,
    skip_success_results: bool,
    error_on_missing_schemas: bool,
    strict: bool,
    no_render: bool,
    kubernetes_version: str,
    **_accepted: object,
) -> None:
    """Look whether RESOURCES are right, by the schemas in EXTENSIONS and those that are built in.

    Both are files, folders with all that is below them, lists with commas, or - for standard input (one of them).  EXTENSIONS
    are definitions, CustomResourceDefinitions and Compositions; with one argument, what is there is judged by itself.

    Of every object: schema, unknown fields, rules in CEL, names; of definitions, whether CustomResourceDefinitions can be made of them; of
    Compositions, their functions' inputs and whether each patch fits the schemas at both ends; claims and composites are
    composed, and the result is judged.  Nothing is contacted, and nothing written.

    Exit code 1 if something is wrong; a missing schema, a warning and a rule that could not be checked are not wrong.
    """
    from groundplane.cli import documents
    from groundplane.core.validation import kubernetes_versions

    kubernetes = kubernetes_versions.minor_of(kubernetes_version) if kubernetes_version else None
    if kubernetes_version and kubernetes is None:
        raise click.UsageError(
            f"--kubernetes-version: {kubernetes_version} is no version with rules in CEL. Mend: write 1.{kubernetes_versions.OLDEST}, or a later one."
        )
    if extensions is None:
        raise click.UsageError("Missing argument 'RESOURCES'.")
    both = [extensions] if resources is None else [extensions, resources]
    if sum(documents.expanded([argument]).count("-") for argument in both) > 1:
        raise click.UsageError("standard input (-) can be read only once: write one of them to a file")
    subjects, wrong = documents.read(documents.expanded(both[-1:]))
    subjects = documents.judged(subjects, documents.expanded(both[-1:]))
    known = subjects
    if resources is not None:
        known, more = documents.read(documents.expanded(both[:1]))
        known = documents.judged(known, documents.expanded(both[:1]))
        wrong = [*more, *wrong]
    before, lost = documents.read(documents.expanded(old))
    for mistake in lost:  # a branch may mend what is broken where it comes from
        click.echo(f"--old: {mistake.place}: {mistake.message}: nothing in it is compared with", err=True)
    report = examined(subjects, known, before, wrong, strict=strict, renders=not no_render, kubernetes=kubernetes)
    click.echo(report.written(output, skip_success=skip_success_results), nl=False)
    if report.is_wrong:
        raise click.ClickException("could not validate all resources")
    if error_on_missing_schemas and report.missing:
        raise click.ClickException("could not validate all resources, schema(s) missing")


def examined(
    subjects: Sequence[Document],
    known: Sequence[Document],
    before: Sequence[Document],
    wrong: Sequence[Mistake],
    *,
    strict: bool = False,
    renders: bool = True,
    kubernetes: int | None = None,
) -> Report:
    """What is found in objects, by what is known beside them and was there before; and what was `wrong` in files."""
    from groundplane.cli import validation_report
    from groundplane.core.validation.objects import Options

    options = Options(strict=strict, renders=renders, kubernetes=kubernetes)
    judged = _judge(subjects, known, before, _unreadable(wrong), options)
    return validation_report.Report(judged, [*wrong, *_twice(subjects, known)], strict=strict)


def _unreadable(wrong: Sequence[Mistake]) -> dict[GroupKind, str]:
    """What definitions declare in files that are no YAML, with the files: of what is made by them there is no more to tell."""
    from groundplane.cli import manifests
    from groundplane.core.validation import definitions

    found: dict[GroupKind, str] = {}
    for file in {mistake.place.file for mistake in wrong}:
        try:
            text = manifests.text_of(Path(file))
        except (InvalidInput, OSError):
            continue  # standard input, or what can't be read at all
        found |= dict.fromkeys(definitions.declared_in(text), f"in {file}")
    return found


def _judge(
    subjects: Sequence[Document],
    known: Sequence[Document],
    before: Sequence[Document],
    unreadable: Mapping[GroupKind, str],
    options: Options,
) -> list[Judged]:
    from groundplane.cli import built_in, render
    from groundplane.cli.validation_report import Judged
    from groundplane.core.validation import kubernetes_versions
    from groundplane.core.validation import objects as judging

    extensions, given = [each.object for each in known], [each.object for each in subjects]
    finds: list[Find] = []

    def find() -> Find:
        if not finds:
            finds.append(render.finder([*extensions, *given]))
        return finds[0]

    around, of_extensions = judging.known_of(
        extensions, given, built_in.EveryKind(), find, lambda spec, found: render.parts_of(spec, found), unreadable
    )
    earlier = {_key(each.object): each.object for each in before}
    judged: list[Judged] = []
    own = {id(each) for each in given}
    for document in known:
        found = [finding for obj, finding in of_extensions if obj is document.object]
        if options.kubernetes is not None:
            found += kubernetes_versions.too_new(document.object, options.kubernetes)
        if found and id(document.object) not in own:
            judged.append(Judged(document, judging.of_extension(document.object, found), is_extension=True))
    for document in subjects:
        for verdict in judging.judge(document.object, around, earlier.get(_key(document.object)), options):
            judged.append(Judged(document, verdict))
    return judged


def _twice(subjects: Sequence[Document], known: Sequence[Document]) -> list[Mistake]:
    """Schemas that are given twice and differ, and objects that one file gives twice."""
    from groundplane.cli.documents import Mistake

    found: list[Mistake] = []
    first: dict[Key, Document] = {}
    for document in {id(each): each for each in (*known, *subjects)}.values():
        key = _key(document.object)
        if not key.name:
            continue
        earlier = first.setdefault(key, document)
        is_schema = key.kind in ("CompositeResourceDefinition", "CustomResourceDefinition")
        differs = earlier.object != document.object
        if earlier is not document and differs and (is_schema or earlier.text.file == document.text.file):
            found.append(
                Mistake(document.place(), f"{key} is given at {earlier.place()} already", "remove one of them")
            )
    return found


def _key(obj: Object) -> Key:
    """Of an object that may be written wrong."""
    from groundplane.core.objects import Key, meta

    namespace, name = (str(meta(obj).get(word) or "") for word in ("namespace", "name"))
    return Key(str(obj.get("apiVersion")), str(obj.get("kind")), namespace, name)
