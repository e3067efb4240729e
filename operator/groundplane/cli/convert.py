"""`groundplane convert`: from what Crossplane took away to what takes its place.  Commands and flags are those of `crossplane beta convert`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundplane.cli import completing
from groundplane.cli.groups import Group
from groundplane.errors import GroundplaneError, InvalidInput, at

if TYPE_CHECKING:
    from groundplane.core.objects import Object

Convert = Callable[["Object"], "Object | None"]


@click.group(cls=Group, epilog="Example: groundplane convert pipeline-composition composition.yaml -w --check")
def convert() -> None:
    """Convert manifests to what Crossplane v2 takes.

    Each command reads files, or standard input, and writes to standard output, to -o PATH, or with -w in place.  Of a file all documents
    are kept: others than those that are converted as they are.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=completing.files),
        click.option(
            "-o",
            "--output-file",
            default="",
            metavar="PATH",
            shell_complete=completing.files,
            help="Write to this file, or folder if there are several.",
        ),
        click.option("-w", "--write", is_flag=True, help="Write back to the files that were read."),
    ):
        command = option(command)
    return command


@convert.command(
    "pipeline-composition", epilog="Example: groundplane convert pipeline-composition composition.yaml -w --check"
)
@_options
@click.option(
    "--function-patch-and-transform-ref", default="function-patch-and-transform", show_default=True, metavar="NAME"
)
@click.option(
    "--function-environment-configs-ref", default="function-environment-configs", show_default=True, metavar="NAME"
)
@click.option(
    "--check", is_flag=True, help="Compose the examples beside each file before and after, and tell differences."
)
@click.option("--name-templates", is_flag=True, help="Give templates without a name one, resource-<number>.")
def pipeline_composition(
    paths: tuple[str, ...],
    output_file: str,
    write: bool,
    function_patch_and_transform_ref: str,
    function_environment_configs_ref: str,
    check: bool,
    name_templates: bool,
) -> None:
    """Compositions of mode Resources → mode Pipeline, with function-patch-and-transform.

    Templates are moved as they were written: comments and order stay.  Objects that templates without a name made are not found again in a
    pipeline, which makes new ones: name them first with --name-templates, and apply the mode later.

    --check composes the claims and composites beside each file before and after; exit code 1 if they differ.
    """
    from groundplane.core.conversion import pipelines

    def convert_one(source: Object) -> Object | None:
        made = pipelines.to_pipeline(source, function_patch_and_transform_ref, names=name_templates)
        if made is None:
            return None
        return pipelines.environment_to_step(made, function_environment_configs_ref) or made

    _run(paths, output_file, "Composition", convert_one, write=write, check=check)


@convert.command(
    "composition-environment", epilog="Example: groundplane convert composition-environment composition.yaml -w"
)
@_options
@click.option(
    "--function-environment-configs-ref", default="function-environment-configs", show_default=True, metavar="NAME"
)
def composition_environment(
    paths: tuple[str, ...], output_file: str, write: bool, function_environment_configs_ref: str
) -> None:
    """A native environment of Compositions of mode Pipeline → a step of function-environment-configs."""
    from groundplane.core.conversion import pipelines

    _run(
        paths,
        output_file,
        "Composition",
        lambda source: pipelines.environment_to_step(source, function_environment_configs_ref),
        write=write,
    )


@convert.command(
    "deployment-runtime", epilog="Example: groundplane convert deployment-runtime config.yaml -o runtime.yaml"
)
@_options
def deployment_runtime(paths: tuple[str, ...], output_file: str, write: bool) -> None:
    """ControllerConfigs → DeploymentRuntimeConfigs.

    Packages that name one in controllerConfigRef must name the new one in runtimeConfigRef.
    """
    from groundplane.core.conversion import runtimes

    _run(paths, output_file, "ControllerConfig", runtimes.to_runtime_config, write=write)


# --- files --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Converted:
    """What became of one file."""

    path: Path | None
    text: str
    pairs: Sequence[tuple[Object, Object]]  # before and after
    lost: bool  # comments


def _run(
    paths: tuple[str, ...], output: str, kind: str, convert_one: Convert, *, write: bool, check: bool = False
) -> None:
    from groundplane.cli import manifests

    if write and (output or not paths or manifests.STDIN in paths):
        raise click.UsageError("-w writes back to files: name them, and leave -o out")
    files = manifests.files(paths or (manifests.STDIN,), recursive=True)
    made = [_converted(file, manifests.text_of(file), kind, convert_one, is_alone=len(files) == 1) for file in files]
    changed = [each for each in made if each.pairs]
    if not changed:
        click.echo("No changes needed.", err=True)
        return
    to_stderr = not (write or output)
    differs = [each for each in changed if not _is_right(each, check=check, to_stderr=to_stderr)]
    if differs:
        raise click.ClickException("nothing was written, as it would not render the same")
    folder = Path(output) if output and (len(files) > 1 or Path(output).is_dir()) else None
    for each in changed:
        if write and each.path:
            each.path.write_text(each.text, encoding="utf-8")
        elif folder:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / (each.path.name if each.path else "converted.yaml")).write_text(each.text, encoding="utf-8")
        elif output:
            Path(output).write_text(each.text, encoding="utf-8")
        else:
            begins = re.match(r"(?:[ \t]*(?:#.*)?\n)*---", each.text)  # with a mark, maybe behind comments
            click.echo(each.text if begins else f"---\n{each.text}", nl=not each.text.endswith("\n"))


def _is_right(each: Converted, *, check: bool, to_stderr: bool) -> bool:
    """Tell in one line what became of a file; with `check` each difference in what it renders, and whether there is none."""
    name = str(each.path) if each.path else "standard input"
    told = f"{name}: converted, {'comments were lost' if each.lost else 'comments kept'}"
    if not check:
        if each.lost or not to_stderr:
            click.echo(f"{told}.", err=to_stderr)
        return True
    count, differences = _check(each)
    same = f"{count} example{'' if count == 1 else 's'} render{'s' if count == 1 else ''} the same"
    click.echo(f"{told}; {'it does not render the same' if differences else same}.", err=to_stderr)
    for line in differences:
        click.echo(f"  {line}", err=to_stderr)
    return not differences


def _converted(path: Path | None, text: str, kind: str, convert_one: Convert, *, is_alone: bool) -> Converted:
    """A file's text with the objects of a kind converted, and all else as it is."""
    from groundplane.cli import manifests, pipeline_text, yaml_edit
    from groundplane.core import goyaml

    name = manifests.name_of(path)
    parts: list[str] = []
    pairs: list[tuple[Object, Object]] = []
    lost = False
    line = 1
    for part in yaml_edit.documents(text):
        mark, body = yaml_edit.split_mark(part)
        found = manifests.parse(body, name) if _is_object(part, kind) or is_alone else []
        line += part.count("\n")
        if len(found) != 1 or found[0].object.get("kind") != kind:
            if is_alone and found and not pairs and len(yaml_edit.documents(text)) == 1:
                with at(name):
                    convert_one(found[0].object)  # says what is wrong with it
            parts.append(part)
            continue
        before = found[0].object
        with at(name):
            after = convert_one(before)
        if after is None:
            parts.append(part)
            continue
        pairs.append((before, after))
        kept = pipeline_text.converted(body, before, after) if "pipeline" in (after.get("spec") or {}) else None
        lost = lost or (kept is None and bool(yaml_edit.COMMENT.search(body)))
        parts.append(mark + (kept if kept is not None else goyaml.dumps(after)))
    return Converted(path, "".join(parts), pairs, lost)


def _is_object(part: str, kind: str) -> bool:
    return re.search(rf"\bkind['\"]?\s*:\s*['\"]?{kind}\b", part) is not None


# --- do examples render the same? -----------------------------------------------------------------------------


def _check(each: Converted) -> tuple[int, list[str]]:
    """How many claims and composites beside the file were composed, and how the results differ."""
    from groundplane.cli import documents
    from groundplane.core import known_schemas

    folder = each.path.parent if each.path else Path()
    beside, _ = documents.read([str(folder)])
    objects = [document.object for document in beside]
    definitions = [obj for obj in objects if known_schemas.is_definition(obj)]
    count, found = 0, []
    for before, after in each.pairs:
        for obj in objects:
            both = [_rendered(obj, source, definitions) for source in (before, after)]
            if both[0] is None or both[1] is None:
                continue
            count += 1
            name = f"{obj.get('kind')} {(obj.get('metadata') or {}).get('name', '')}"
            if "error" in both[1] and "error" not in both[0]:
                found.append(
                    f"{name}: a pipeline composes nothing at all of it, where mode Resources leaves out what fails: {both[1]['error']}"
                )
                continue
            found += [f"{name}: {line}" for line in _differences("", both[0], both[1])]
    return count, found


def _rendered(obj: Object, source: Object, definitions: Sequence[Object]) -> Any:
    """What an object becomes once all that it is composed of exists; None if the Composition is not for it."""
    from groundplane.cli.render import finder
    from groundplane.core import choice, composition, known_schemas, preview
    from groundplane.core.health import GENERATION
    from groundplane.core.naming import TEMPLATE_ANNOTATION
    from groundplane.core.objects import annotations_of, group_of, meta, status_of

    if group_of(str(obj.get("apiVersion"))) in choice.NOT_A_SUBJECT or known_schemas.is_definition(obj):
        return None
    try:
        chosen = choice.choose([obj], [source], definitions)
    except InvalidInput:
        return None
    seen: list[Object] = []
    for _ in range(2):  # first there is nothing; then what the first made is observed
        try:
            if chosen.is_pipeline:
                compiled = composition.compile(source, finder([]))
                found = preview.piped(chosen.composite, compiled, seen, preview.Around(scope=chosen.scope))
            else:
                found = preview.native(chosen.composite, composition.compile(source), seen, scope=chosen.scope)
        except GroundplaneError as error:
            return {"error": str(error)}
        seen = [
            {**each, "metadata": {"name": f"example-{index}", **meta(each)}}
            for index, each in enumerate(found.composed)
        ]
    composed = {
        annotations_of(each).get(TEMPLATE_ANNOTATION) or str(index): each for index, each in enumerate(found.composed)
    }
    status = {
        name: value for name, value in status_of(found.composite).items() if name not in ("conditions", GENERATION)
    }
    return {"composed": composed, "status": status}


def _differences(path: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            yield from _differences(f"{path}.{name}".lstrip("."), one.get(name), other.get(name))
    elif one != other:
        from groundplane.errors import shown

        yield f"{path}: {shown(one)} → {shown(other)}"
