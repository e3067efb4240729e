"""`groundplane render`: what a composite would become, without a cluster and without Docker.

Arguments, flags and output are those of `crossplane render`; compositions of mode Resources and claims work as well.
Here are only files and words: the work is `core/preview.py`'s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundplane.cli import completing, function_flag
from groundplane.cli.built_in import BuiltIn
from groundplane.errors import GroundplaneError, InvalidInput, at

if TYPE_CHECKING:
    from groundplane.core.choice import Chosen
    from groundplane.core.composition import CompositionSpec
    from groundplane.core.objects import Object
    from groundplane.core.pipeline import Find
    from groundplane.core.preview import Around, Preview
    from groundplane.core.typecheck import Part


SECRETS = "crossplane-system"  # the operator's own namespace, unless it is told another: Secrets without a better place


class Mistakes(click.ClickException):
    """Several errors, a line each."""

    def __init__(self, errors: Iterable[object]) -> None:
        super().__init__("\n".join(str(error) for error in errors))

    def show(self, file: Any = None) -> None:
        for line in self.message.splitlines():
            click.echo(f"Error: {line}", err=True)


@click.command(
    epilog="Example: groundplane render compositions/database-aws/examples/claim.yaml compositions/database-aws --explain"
)
@click.argument("xr", metavar="XR", shell_complete=completing.files)
@click.argument("composition", metavar="COMPOSITION", shell_complete=completing.files)
@click.argument("functions", metavar="[FUNCTIONS]", shell_complete=completing.files, required=False)
@click.option(
    "-o",
    "--observed-resources",
    multiple=True,
    metavar="PATH",
    shell_complete=completing.files,
    help="Composed resources that exist.",
)
@click.option(
    "-e",
    "--extra-resources",
    "--required-resources",
    multiple=True,
    metavar="PATH",
    shell_complete=completing.files,
    help="Other objects that functions may ask for.",
)
@click.option("-r", "--include-function-results", is_flag=True, help="Print what would become events.")
@click.option("-x", "--include-full-xr", is_flag=True, help="Print all of the composite, not its status alone.")
@click.option("-c", "--include-context", is_flag=True, help="Print the pipeline's context as it is in the end.")
@click.option("--context-files", multiple=True, metavar="KEY=PATH", help="A context value, from a file.")
@click.option("--context-values", multiple=True, metavar="KEY=JSON", help="A context value; wins over a file's.")
@click.option(
    "--function-credentials",
    multiple=True,
    metavar="PATH",
    shell_complete=completing.files,
    help="Secrets for functions.",
)
@click.option(
    "--xrd",
    multiple=True,
    metavar="PATH",
    shell_complete=completing.files,
    help="The definition: defaults, checks, the claim's kind.",
)
@click.option(
    "--crds",
    multiple=True,
    metavar="PATH",
    shell_complete=completing.files,
    help="Definitions of composed kinds, to check bases, patches and what is rendered against.",
)
@click.option(
    "-s", "--required-schemas", multiple=True, metavar="PATH", shell_complete=completing.files, help="As --crds."
)
@click.option("--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.option("--explain", is_flag=True, help="Print what each patch read, did and wrote, or why it did nothing.")
@click.option("--strict-upstream", is_flag=True, help="Exactly upstream's behaviour, without helpful defaults.")
@function_flag.option
@function_flag.templates
@click.option("-a", "--function-annotations", multiple=True, metavar="KEY=VALUE", help="Accepted; there is no runtime.")
@click.option(
    "--timeout", default="1m", show_default=True, help="For functions that do not run in this process, all in all."
)
@click.option("--max-concurrency", hidden=True)
@click.option("--cache-dir", hidden=True)
@click.option("--crossplane-version", hidden=True)
@click.option("--crossplane-image", hidden=True)
@click.option("--crossplane-binary", hidden=True)
@click.option("--crossplane-docker-network", hidden=True)
def render(
    xr: str,
    composition: str,
    functions: str | None,
    observed_resources: tuple[str, ...],
    extra_resources: tuple[str, ...],
    include_function_results: bool,
    include_full_xr: bool,
    include_context: bool,
    context_files: tuple[str, ...],
    context_values: tuple[str, ...],
    function_credentials: tuple[str, ...],
    xrd: tuple[str, ...],
    crds: tuple[str, ...],
    required_schemas: tuple[str, ...],
    output: str,
    explain: bool,
    strict_upstream: bool,
    function: tuple[str, ...],
    function_templates_dir: str,
    timeout: str,
    **_accepted: object,
) -> None:
    """Show what a composite becomes: itself with its status, and its composed resources.

    XR is a file with a composite, or with a claim.  COMPOSITION has its Composition, of mode Resources or Pipeline.
    Each path may be a folder, or - for standard input; definitions and CustomResourceDefinitions that are
    found there are used.  FUNCTIONS may be left out for functions that are built in.  Where others run, --function says, or an
    annotation of FUNCTIONS: render.crossplane.io/runtime: Development.

    Nothing else is contacted.  Mistakes are told a line each, with where they are and what to write instead; then
    the exit code is 1.
    """
    from groundplane.cli.remote_calls import RemoteCalls
    from groundplane.core import choice, known_schemas, mistakes, preview, typecheck
    from groundplane.core.composition import review
    from groundplane.core.objects import spec_of

    files = Files()
    subjects, sources = files.read([xr]), files.read([composition])
    declared, kinds = files.read(xrd), files.read([*crds, *required_schemas])
    if xrd and not any(map(known_schemas.is_definition, declared)):
        choice.check_group(declared, "CompositeResourceDefinition")
        raise InvalidInput(f"--xrd {' '.join(xrd)}: no CompositeResourceDefinition", mend="name the file that has it")
    others = files.read([functions] if functions else [])
    given = [xr, composition, *xrd]
    chosen = _choose(subjects, sources, declared, given)
    addresses = function_flag.addresses(function)
    templates = function_flag.files(function_templates_dir)
    find = finder([*subjects, *sources, *others], addresses, templates) if chosen.is_pipeline else None
    wrong = [*chosen.mistakes, *mistakes.every(chosen.source, find)]
    if wrong:
        raise Mistakes(_with_places(wrong, given))
    schemas = known_schemas.schemas_in([*declared, *kinds, *subjects, *sources])
    scopes = known_schemas.scopes_in([*declared, *kinds, *subjects, *sources])
    fit = choice.fit(
        chosen.source,
        schemas,
        lambda spec: parts_of(spec, find),
        BuiltIn(),
        scopes=scopes,
        tell_missing=bool(kinds),
        strict_upstream=strict_upstream,
    )
    if fit.mistakes:
        raise Mistakes(_with_places(fit.mistakes, given))
    observed, credentials = files.read(observed_resources), files.read(function_credentials)
    calls = RemoteCalls(credentials, seconds_of(timeout))
    around = preview.Around(
        extra=_each_once([*files.read(extra_resources), *sources, *subjects]),
        context=context_of(context_files, context_values),
        credentials=credentials,
        scope=chosen.scope,
        secrets=SECRETS if chosen.asks_for_secret and not strict_upstream else "",
        call=calls,
        schema=lambda kind: schemas.get((kind.api_version, kind.kind)),
    )
    with calls:
        found = _preview(chosen, find, observed, around, helpful=not strict_upstream, explain=explain, output=output)
    misfits: list[GroundplaneError] = []
    if not strict_upstream:
        misfits = choice.rendered_fit(chosen.source, found.composed, schemas, BuiltIn(), fit.warnings, scopes)
        misfits += choice.lacking(chosen.source, found.composed, schemas, BuiltIn())
        if observed and (spec := review(spec_of(chosen.source)).spec):
            misfits += preview.missing_keys([typecheck.native(spec), *parts_of(spec, find)], observed, found)
    documents = list(
        preview.documents(found, full=include_full_xr, results=include_function_results, context=include_context)
    )
    click.echo(written(documents, output), nl=False)
    warnings: list[object] = [*chosen.warnings, *mistakes.strays(chosen.source), *fit.warnings, *misfits]
    warnings += [] if strict_upstream else found.hints
    warnings += [] if include_function_results else _warnings_of_steps(found)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    if found.mistakes:
        raise Mistakes(found.mistakes)


def _with_places(errors: Iterable[GroundplaneError], paths: Iterable[str]) -> Iterator[str]:
    """The errors, and of what is wrong with a field in these files where that is written, as `validate` tells it.

    What can be read only once (standard input, a pipe) is not read again.
    """
    from groundplane.cli import documents, manifests
    from groundplane.core.objects import meta

    lasting = (path for path in paths if path != manifests.STDIN and (Path(path).is_file() or Path(path).is_dir()))
    found, _ = documents.read(lasting, recursive=False)
    by_name = {f"{each.object['kind']} {meta(each.object).get('name', '')}": each for each in found}
    for error in errors:
        field = error.field if isinstance(error, InvalidInput) else ""
        document = by_name.get(error.where[0]) if field and error.where else None
        yield f"{error} ({document.place(field)})" if document else str(error)


def _warnings_of_steps(found: Preview) -> list[str]:
    """What steps warn of, but what ends the run."""
    ends = {str(error) for error in found.mistakes}
    return [told.message for told in found.results if told.severity == "WARNING" and told.message not in ends]


def _choose(
    subjects: Sequence[Object], sources: Sequence[Object], declared: Sequence[Object], paths: Sequence[str]
) -> Chosen:
    """What is rendered, and by which Composition; they are in files at these paths."""
    from groundplane.core import choice, known_schemas, mistakes
    from groundplane.core.validation import definitions

    try:
        return choice.choose(subjects, sources, declared)
    except InvalidInput as error:
        every = [obj for obj in (*declared, *subjects, *sources) if known_schemas.is_definition(obj)]
        is_of_one = any(word.startswith("CompositeResourceDefinition ") for word in error.where)
        if is_of_one and (wrong := [each for xrd in every for each in definitions.errors(xrd)]):
            raise Mistakes(_with_places(wrong, paths)) from error
        compositions = choice.compositions_in(sources)
        if len(compositions) == 1 and (found := mistakes.every(compositions[0])):
            raise Mistakes(_with_places(found, paths)) from error  # what it is for may be misspelt in it
        raise


def _preview(
    chosen: Chosen,
    find: Find | None,
    observed: Sequence[Object],
    around: Around,
    *,
    helpful: bool,
    explain: bool,
    output: str,
) -> Preview:
    """Work it out; with `explain`, what each patch did is printed, also when that fails."""
    from groundplane.core import preview
    from groundplane.core.composition import compile
    from groundplane.core.explain import Trace

    compiled = compile(chosen.source, find)
    trace = Trace() if explain else None
    try:
        if compiled.is_pipeline:
            return preview.piped(chosen.composite, compiled, observed, around, trace=trace)
        return preview.native(
            chosen.composite,
            compiled,
            observed,
            helpful=helpful,
            secrets=around.secrets,
            scope=chosen.scope,
            trace=trace,
        )
    finally:
        if trace is not None:
            from groundplane.cli import explanation

            explanation.write(trace.told, None if output == "yaml" else sys.stderr)


# --- files --------------------------------------------------------------------------------------------------


class Files:
    """Reads files and folders, and standard input once."""

    def __init__(self) -> None:
        self._took_stdin = False

    def read(self, paths: Sequence[str]) -> list[Object]:
        """The objects in these files, in order; in folders, what is no Kubernetes object is left out.

        Raises:
            InvalidInput: a path that is not there, no YAML, or standard input for the second time.
        """
        from groundplane.cli import manifests

        if manifests.STDIN in paths:
            if self._took_stdin:
                raise InvalidInput("standard input (-) can be read only once", mend="write one of them to a file")
            self._took_stdin = True
        found = []
        for path in paths:
            is_folder = Path(path).is_dir()
            for file in manifests.files([path]):
                found += [manifest.object for manifest in manifests.read(file, skip_others=is_folder)]
        return found


def _each_once(objects: Iterable[Object]) -> list[Object]:
    """Without what is given again: a folder may have what a flag names."""
    from groundplane.core.objects import Key, key_of

    found: dict[Key, Object] = {}
    for obj in objects:
        found.setdefault(key_of(obj), obj)
    return list(found.values())


def finder(
    objects: Iterable[Object],
    addresses: Mapping[str, str] | None = None,
    templates: Mapping[str, str] | None = None,
) -> Find:
    """Find functions; Function objects say which package a name means, and where it is served, if `addresses` does not.

    `templates` are those that the source FileSystem reads, by path.
    """
    from groundplane.core.function_sources import Rules, source
    from groundplane.core.objects import meta
    from groundplane.functions import HOW_HERE
    from groundplane.functions import finder as known

    declared: dict[str, Object | None] = dict.fromkeys(addresses or {})
    for obj in objects:
        if obj.get("kind") == "Function" and obj["apiVersion"].startswith("pkg.") and meta(obj).get("name"):
            declared[str(meta(obj)["name"])] = obj
    rules = Rules(given=addresses or {}, develops=True)
    found = {name: source(name, obj, (), rules) for name, obj in declared.items()}
    return known({name: each for name, each in found.items() if each is not None}, how=HOW_HERE, templates=templates)


def seconds_of(text: str) -> float:
    """A duration as Go writes it, or seconds."""
    from groundplane.cli.upstream_flags import SECONDS

    return SECONDS.convert(text, None, click.get_current_context(silent=True))


def parts_of(spec: CompositionSpec, find: Find | None) -> list[Part]:
    """What the steps of a pipeline are told of patches."""
    if find is None:
        return []
    from groundplane.functions import parts

    return parts(spec, find)


def context_of(files: Sequence[str], values: Sequence[str]) -> dict[str, Any]:
    """The pipeline's first context, from `KEY=PATH` and `KEY=JSON`; YAML is read as well."""
    from groundplane.cli import manifests

    found: dict[str, Any] = {}
    for option, pairs in (("--context-files", files), ("--context-values", values)):
        for pair in pairs:
            key, equals, text = pair.partition("=")
            if not equals or not key:
                raise InvalidInput(f'{option} "{pair}" is no KEY=…', mend=f"write {option} key={text or 'value'}")
            if option == "--context-files":
                with at(option):
                    text = manifests.text_of(Path(text))
            found[key] = _value(text, f"{option} {key}")
    return found


def _value(text: str, where: str) -> Any:
    import yaml

    from groundplane.cli import manifests

    try:
        return yaml.load(text, Loader=manifests.Loader)
    except yaml.YAMLError as error:
        raise InvalidInput(f"{where} is neither JSON nor YAML: {' '.join(str(error).split())}") from error


def written(documents: Sequence[Object], output: str) -> str:
    """The documents as a stream of YAML, or as a List in JSON."""
    if output == "json":
        listed = {"apiVersion": "v1", "kind": "List", "items": documents}
        return json.dumps(listed, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    from groundplane.core import goyaml

    return "".join(f"---\n{goyaml.dumps(document)}" for document in documents)
