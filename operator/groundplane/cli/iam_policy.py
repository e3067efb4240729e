"""`groundplane iam-policy`: the least that the operator's identity must be allowed in AWS for chosen kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

import click

from groundplane.aws import actions, catalogue
from groundplane.aws.grammar import DOMAIN, NAMESPACED_DOMAIN, Kind, file_of
from groundplane.cli import completing
from groundplane.core.objects import Json, Object
from groundplane.errors import InvalidInput, did_you_mean, nearest, shown

ROLE = re.compile(r"arn:[\w-]+:iam::\d{12}:role/[\w+=,.@/-]+")
_SAID = r"""["']?{}["']?:\s*["']?({})["']?"""  # in YAML and in JSON
API_VERSION = re.compile(_SAID.format("apiVersion", r"[\w.-]+\.aws\.(?:m\.)?upbound\.io/\w+"))
KIND = re.compile(_SAID.format("kind", r"[A-Z]\w*"))
NEAR = 200  # characters between an object's apiVersion and its kind in a template


@click.command(epilog="Example: groundplane iam-policy rds/Instance rds/SubnetGroup > policy.json")
@click.argument("kinds", nargs=-1, metavar="[KIND]...", shell_complete=completing.aws_kinds)
@click.option(
    "-c",
    "--composition",
    "paths",
    multiple=True,
    metavar="PATH",
    shell_complete=completing.files,
    help="The kinds that the manifests of this file or folder use: Compositions and their templates, managed resources.",
)
@click.option(
    "--assume-role",
    "roles",
    multiple=True,
    metavar="ARN",
    help="Of an identity that is to assume this role, as of assumeRoleChain.",
)
def iam_policy(kinds: tuple[str, ...], paths: tuple[str, ...], roles: tuple[str, ...]) -> None:
    """Print the least IAM policy that these kinds need: rds/Instance, VPC, buckets.s3.aws.upbound.io; all of a service: ec2."""
    if not kinds and not paths and not roles:
        raise click.UsageError("name kinds, or a file with --composition, or a role with --assume-role")
    for role in roles:
        if not ROLE.fullmatch(role):
            raise InvalidInput(
                f"{shown(role)} is no role's ARN",
                mend="write it as arn:aws:iam::123456789012:role/orders",
                where=("--assume-role",),
            )
    chosen = {kind.file: kind for name in kinds for kind in named(name)}
    for path in paths:
        found = used(path)
        if not found:
            raise InvalidInput(f"{path}: uses no kind of AWS", mend="name the kinds, if templates make them")
        chosen |= found
    document = actions.policy([kind for _, kind in sorted(chosen.items())], roles)
    click.echo(json.dumps(document, indent=2))
    length = len(json.dumps(document, separators=(",", ":")))
    if length > actions.LONGEST:
        click.echo(
            f"It has {length:,} characters, more than the {actions.LONGEST:,} of a managed policy: print one for each service.",
            err=True,
        )


def named(name: str) -> list[Kind]:
    """The kinds that somebody means by a name.  Raises InvalidInput if there is none, or if it may mean several."""
    group, _, word = name.rpartition("/")
    if not group and "." in name:
        word, _, group = name.partition(".")
    service = group.partition("/")[0].removesuffix(f".{NAMESPACED_DOMAIN}").removesuffix(f".{DOMAIN}")
    files = [file for file in catalogue.names() if not service or file.startswith(f"{service}_")]
    if not service and (every := [file for file in files if file.startswith(f"{word.lower()}_")]):
        return _loaded(every)
    spelt = file_of("", word).removeprefix("_")
    kinds = [kind for kind in _loaded(file for file in files if file.partition("_")[2] == spelt) if kind.kind == word]
    if not kinds:
        kinds = [kind for kind in _loaded(files) if word.lower() in (kind.kind.lower(), kind.plural)]
    if len(kinds) == 1:
        return kinds
    spellings = [f"{kind.group.partition('.')[0]}/{kind.kind}" for kind in kinds or _loaded(files or catalogue.names())]
    if kinds:
        raise InvalidInput(f"{shown(name)} may mean {' or '.join(spellings)}", mend="write one of these")
    by_word = {spelling.partition("/")[2].lower(): spelling for spelling in spellings}
    near = by_word.get(nearest(word.lower(), by_word), "")
    mend = f"did you mean {near}?" if near else did_you_mean(name, spellings)
    raise InvalidInput(f"there is no kind {shown(name)} of AWS", mend=mend)


def _loaded(files: Iterable[str]) -> list[Kind]:
    return [kind for file in files if (kind := catalogue.load(file))]


def used(path: str) -> dict[str, Kind]:
    """The kinds that manifests use, by file."""
    from groundplane.cli import manifests

    found: dict[str, Kind] = {}
    for file in manifests.files([path], recursive=True):
        for manifest in manifests.read(file, skip_others=True):
            for api_version, kind in mentioned(manifest.object):
                if known := catalogue.lookup(api_version, kind):
                    found[known.file] = known
    return found


def mentioned(value: Json | Object) -> Iterator[tuple[str, str]]:
    """Every apiVersion with its kind inside of a manifest, also in the texts of its templates."""
    if isinstance(value, Mapping):
        if isinstance(value.get("apiVersion"), str) and isinstance(value.get("kind"), str):
            yield str(value["apiVersion"]), str(value["kind"])
        for inner in value.values():
            yield from mentioned(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mentioned(inner)
    elif isinstance(value, str) and "upbound.io/" in value:
        yield from _in_text(value)


def _in_text(text: str) -> Iterator[tuple[str, str]]:
    """Pairs that stand near each other, in either order."""
    kinds = [(match.start(), match.group(1)) for match in KIND.finditer(text)]
    for match in API_VERSION.finditer(text):
        for place, kind in kinds:
            if abs(place - match.start()) < NEAR:
                yield match.group(1), kind
