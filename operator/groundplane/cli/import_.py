"""`groundplane import`: manifests for what there is in AWS, or in a PostgreSQL server, already.  It only reads."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from groundplane.cli import completing, iam_policy, import_sql, sources, store
from groundplane.core.importing import How
from groundplane.core.objects import Object, meta
from groundplane.errors import Denied, GroundplaneError, InvalidInput, NotFound, NotLeader, shown
from groundplane.ports import Account as Credentials
from groundplane.ports import Cluster, ManagedKind, Options

if TYPE_CHECKING:
    from groundplane.aws.adopting import Account, Candidate, Sight
    from groundplane.aws.grammar import Kind
    from groundplane.aws.session import AccountClients

EVERY = "all"
FEW = 5  # kinds that a message names
THREADS = 8  # things that are looked at at a time
ACCOUNT = "import"  # how our messages call the account of one's own credentials
T = TypeVar("T")
STEP = 25  # things between two lines of progress


@dataclass
class Report:
    """What became of a thing."""

    kind: ManagedKind
    external_name: str
    manifest: Object | None = None
    sight: Sight | None = None
    file: str = ""
    problem: str = ""
    skipped: str = ""

    @property
    def sign(self) -> str:
        return "–" if self.skipped else "✘" if self.problem or self.left_out else "✔"

    @property
    def left_out(self) -> list[str]:
        return [f"{each.field} {shown(each.observed)}" for each in self.sight.left_out] if self.sight else []

    @property
    def line(self) -> str:
        """For people: what a name has that can't be printed, or moves the cursor, is written as an escape."""
        return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in self._line)

    @property
    def _line(self) -> str:
        head = f"{self.sign} {self.kind.kind} {self.external_name}".rstrip()
        if self.skipped or self.manifest is None:
            return f"{head}: {self.skipped or self.problem}"
        place = f" → {self.file}" if self.file else ""
        if self.problem:
            return f"{head}{place}: {self.problem}"
        if self.left_out:
            return f"{head}{place}: {', '.join(self.left_out)} can't be written; left out"
        return f"{head}{place}   plan empty"

    @property
    def json(self) -> dict[str, Any]:
        return {
            "kind": f"{self.kind.kind}.{self.kind.group}",
            "externalName": self.external_name,
            "file": self.file,
            "drift": [each.field for each in self.sight.left_out] if self.sight else [],
            "problem": self.problem,
            "skipped": self.skipped,
        }


@click.command(
    "import", epilog="Example: groundplane import bucket,rds/Instance --region eu-west-1 --tag team=orders -o imported/"
)
@click.argument("kinds", nargs=-1, required=True, metavar="KIND[,KIND]...|all", shell_complete=completing.importable)
@click.option(
    "--region",
    default=lambda: os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "",
    help="Where to look.  [default: $AWS_REGION]",
)
@click.option(
    "--name", "names", multiple=True, metavar="GLOB", help="Only what has this name, or id, in AWS: 'orders-*'."
)
@click.option("--tag", "tags", multiple=True, metavar="KEY[=VALUE]", help="Only what has this tag.")
@click.option(
    "--with",
    "given",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A field that a kind is listed by: typeName=AWS::Logs::LogGroup.",
)
@click.option("-n", "--namespace", default="", help="Write manifests of the namespaced generation, for this namespace.")
@click.option(
    "--provider-config",
    default="",
    metavar="NAME",
    help="The ProviderConfig that the manifests name, and whose credentials are used; without it, your own are.",
)
@click.option(
    "-o",
    "--output",
    default="",
    metavar="DIR",
    shell_complete=completing.folders,
    help="Write a file for each, instead of all to standard output.",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option("--refs", is_flag=True, help="Refer to what is imported beside, instead of by ids: vpcIdRef.")
@click.option("--adopt", is_flag=True, help="Write manifests that AWS is held to, not only looked at by.")
@click.option(
    "--adopt-foreign", is_flag=True, help="Write manifests of what another control plane has tagged as its own, too."
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@sources.as_run("Where the ProviderConfig is")
@click.option(
    "--db", default="", type=click.Path(dir_okay=False), help="The ProviderConfig is in this store of `groundplane up`."
)
def import_(
    kinds: tuple[str, ...],
    region: str,
    names: tuple[str, ...],
    tags: tuple[str, ...],
    given: tuple[str, ...],
    namespace: str,
    provider_config: str,
    output: str,
    force: bool,
    refs: bool,
    adopt: bool,
    adopt_foreign: bool,
    as_json: bool,
    kubeconfig: str,
    context: str,
    db: str,
) -> None:
    """Write manifests for what there is in AWS already, or in a PostgreSQL server, with their external names and the fields that matter.

    Each manifest was looked at as the operator would: to apply it changes nothing.  What it would change is left out, and told.  As they are
    written, the operator only looks (managementPolicies: [Observe]); with --adopt it holds AWS to them, and its first change is to tag
    things as its own.  Deleting such an object leaves the thing in AWS.

    Nothing is changed in AWS, nor in the cluster; no secret is written.  What a list shows that AWS made for itself, such as default VPCs, is
    imported where --name has its id.  Kinds of PostgreSQL are postgresql/role and its siblings, or postgresql for all of them, in the server of
    --provider-config.  Exit code 1 if something could not be written as it is.
    """
    place = (db, kubeconfig, context)
    if (db or kubeconfig or context) and not provider_config:
        raise InvalidInput(
            "no ProviderConfig is named", mend="write --provider-config default, or leave out where it is"
        )
    wanted = import_sql.kinds(kinds, namespaced=bool(namespace))
    if wanted:
        if tags or given:
            raise click.UsageError("--tag and --with are for AWS: nothing in PostgreSQL has tags")
        found = _of_postgresql(wanted, How("", namespace, provider_config, adopt), names, place, foreign=adopt_foreign)
    else:
        how = How(region, namespace, provider_config, adopt, _pairs(given, "--with"))
        found = _of_aws(kinds, how, names, _pairs(tags, "--tag", value=None), place, foreign=adopt_foreign)
    _leave_out(found)
    _name_apart(found)
    if refs and wanted:
        import_sql.refer([(each.kind, each.external_name, each.manifest) for each in found if each.manifest])
    elif refs:
        from groundplane.aws.adopting import refer

        refer([(each.kind, each.manifest, each.sight) for each in found if each.manifest and each.sight])
    _write(found, Path(output) if output else None, force=force)
    _tell(found, to_err=not output, as_json=as_json)
    if any(each.problem or each.left_out for each in found):
        raise SystemExit(1)


Place = tuple[str, str, str]  # a store's file, a kubeconfig, its context


def _of_aws(
    words: Sequence[str], how: How, names: Sequence[str], tags: Mapping[str, str | None], place: Place, *, foreign: bool
) -> list[Report]:
    """What became of each thing in AWS."""
    from groundplane.aws.adopting import Account, is_called

    chosen = _kinds(words, namespaced=bool(how.namespace))
    if not how.region and not all(kind.is_global for kind in chosen):
        raise InvalidInput("no region is named", mend="write --region eu-west-1, or set AWS_REGION")
    found = Search(Account(_clients(how, place), how), how, names, tags, foreign).reports(chosen)
    few = sorted({kind.kind for kind in chosen}) if len(chosen) < FEW else [EVERY]
    _check_named(names, few, lambda name: any(is_called(each.external_name, name) for each in found), tagged=bool(tags))
    return found


def _of_postgresql(
    wanted: Sequence[ManagedKind], how: How, names: Sequence[str], place: Place, *, foreign: bool
) -> list[Report]:
    """What became of each thing in a server."""
    if not how.provider_config:
        raise InvalidInput("no ProviderConfig is named", mend="write --provider-config default")
    looks = asyncio.run(import_sql.looks(wanted, how, names, _account_at("sql", how, place), foreign=foreign))
    few = sorted(kind.kind for kind in wanted) if len(wanted) < FEW else [EVERY]
    _check_named(names, few, lambda name: any(import_sql.is_called(each.called, name) for each in looks))
    return [Report(each.kind, each.name, each.manifest, problem=each.problem, skipped=each.skipped) for each in looks]


def _check_named(
    names: Iterable[str], kinds: Sequence[str], is_there: Callable[[str], bool], *, tagged: bool = False
) -> None:
    """Raise NotFound for a name, no pattern, that nothing has."""
    missing = [name for name in names if not _is_pattern(name) and not is_there(name)]
    if missing:
        also = ", or lacks the tags" if tagged else ""
        raise NotFound(
            f"{', '.join(kinds)} {missing[0]} is not there{also}", mend="list what there is: leave --name out"
        )


@dataclass
class Search:
    """What is looked for, and where."""

    account: Account
    how: How
    names: Sequence[str]
    tags: Mapping[str, str | None]
    foreign: bool
    _seen: int = field(default=0, init=False)

    def reports(self, kinds: Sequence[Kind]) -> list[Report]:
        """What became of each thing, in the order of the kinds."""
        found: list[Report] = []
        with ThreadPoolExecutor(THREADS) as pool:
            kinds = [kind for kind in kinds if kind.tags is not None or not self.tags]
            listed = list(pool.map(self._candidates, kinds))
            total = sum(len(candidates) for candidates, _ in listed)
            looks: list[tuple[Kind, Candidate]] = []
            for kind, (candidates, problem) in zip(kinds, listed, strict=True):
                if problem:
                    found.append(Report(kind.port, "", problem=problem))
                looks += [(kind, candidate) for candidate in candidates]
            for report in pool.map(lambda look: self._look(*look), looks):
                self._progress(total)
                if report is not None:
                    found.append(report)
        return found

    def _progress(self, total: int) -> None:
        self._seen += 1
        if not sys.stderr.isatty() or total <= STEP:
            return
        if self._seen == total:
            click.echo("\r\x1b[K", err=True, nl=False)  # what was found is told in its place
        elif self._seen % STEP == 0:
            click.echo(f"\r{self._seen} of {total} looked at", err=True, nl=False)

    def _candidates(self, kind: Kind) -> tuple[list[Candidate], str]:
        """The things of a kind, and why there are none."""
        from groundplane.aws import adopting

        if (named := adopting.direct(kind, self.names)) is not None:
            return named, ""
        try:
            return adopting.matching(_translated(kind, lambda: self.account.candidates(kind)), self.names), ""
        except Denied as error:
            return [], f"can't be listed: {error}"
        except GroundplaneError as error:
            return [], str(error)

    def _look(self, kind: Kind, candidate: Candidate) -> Report | None:
        """What became of a thing; None: it is not there, or not looked for."""
        report = Report(kind.port, candidate.external_name)
        try:
            sight = _translated(kind, lambda: self.account.look(kind, candidate))
        except GroundplaneError as error:
            report.problem = str(error)
            return report
        above = None
        try:
            above = _translated(kind, lambda: self.account.belonging(kind, candidate)) if sight else None
        except GroundplaneError as error:
            report.problem = f"whose it is can't be told: {error}"
            return report
        if sight is None or any(
            key not in sight.tags or value not in (None, sight.tags[key]) for key, value in self.tags.items()
        ):
            return None
        if sight.is_own or (above and above[1].is_own):
            report.skipped = "AWS's own, or on its way out; skipped"
            return report if candidate.external_name in self.names else None
        if sight.owner and not self.foreign:
            report.skipped = (
                "belongs to a control plane (tag crossplane-uid or crossplane-name); skipped (--adopt-foreign)"
            )
            return report
        if above and above[1].owner and not self.foreign:
            report.skipped = f"belongs to {above[0]}, which a control plane has; skipped (--adopt-foreign)"
            return report
        report.sight, report.problem = sight, sight.problem
        report.manifest = self.account.manifest(kind, sight.external_name, sight.for_provider, sight.tags)
        return report


def _translated(kind: Kind, ask: Callable[[], T]) -> T:
    """AWS's errors as ours."""
    from groundplane.aws import faults

    try:
        return ask()
    except faults.BOTO as error:
        raise faults.translate(error, kind.errors) from error


def _kinds(words: Iterable[str], *, namespaced: bool) -> list[Kind]:
    """The kinds that are meant, each once; in the order of their files."""
    from groundplane.aws import catalogue

    found: dict[str, Kind] = {}
    for word in filter(None, ",".join(words).split(",")):
        if word == EVERY:
            some = [kind for kind in catalogue.first_generation() if kind.list_ and not kind.list_.asked]
        else:
            some = iam_policy.named(word)
        found |= {kind.file: kind for kind in some}
    return [kind.namespaced if namespaced else kind for _, kind in sorted(found.items())]


def _is_pattern(name: str) -> bool:
    return bool(set(name) & set("*?["))


def _pairs(texts: Iterable[str], option: str, *, value: str | None = "") -> dict[str, Any]:
    """`key=value` texts; where `value` is None, a key alone stands for any value."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, rest = text.partition("=")
        if not key or not (equals or value is None):
            raise InvalidInput(f"{shown(text)} is no {option}", mend="write KEY=VALUE", where=(option,))
        found[key] = rest if equals else None
    return found


def _clients(how: How, place: Place) -> AccountClients:
    """The account's clients, which change nothing."""
    from groundplane.aws.session import Sessions

    def refuse() -> None:
        raise NotLeader("an import changes nothing")

    account = Credentials({"metadata": {"name": ACCOUNT}, "spec": {"credentials": {"source": "InjectedIdentity"}}})
    return Sessions(may_write=refuse).clients(_account_at("aws", how, place) if how.provider_config else account)


def _account_at(provider: str, how: How, place: Place) -> Credentials:
    """A ProviderConfig with its credentials, from a store or a cluster."""
    if file := sources.store_file(*place):
        with store.opened(file) as cluster:
            return asyncio.run(_account(cluster, provider, how))
    return asyncio.run(_account_in_cluster(provider, how, *place[1:]))


async def _account_in_cluster(provider: str, how: How, kubeconfig: str, context: str) -> Credentials:
    from groundplane.runtime import installation

    async with installation.reached(kubeconfig, context) as cluster:
        return await _account(cluster, provider, how)


async def _account(cluster: Cluster, provider: str, how: How) -> Credentials:
    from groundplane.core import providers
    from groundplane.core.objects import Key
    from groundplane.reconcile import provider_config
    from groundplane.runtime import installation

    is_namespaced, name = bool(how.namespace), how.provider_config
    [family] = [each for each in providers.FAMILIES if (each.provider, each.is_namespaced) == (provider, is_namespaced)]
    key = Key(family.api_version, providers.CLUSTER_CONFIG if is_namespaced else providers.CONFIG, "", name)
    config = await cluster.get(key)
    if config is None:
        raise NotFound(f'{key.kind}.{key.group} "{name}" not found', mend="apply it, or name another")
    return await provider_config.account_of(config, installation.looking(cluster, Options().namespace))


def _leave_out(found: Iterable[Report]) -> None:
    """What no object can say, such as a grant on a table whose name has a space: no API server would take its manifest."""
    from groundplane.core import schema
    from groundplane.runtime import clouds

    for report in found:
        manifest = report.manifest
        known = clouds.schema_of(manifest["apiVersion"], manifest["kind"]) if manifest else None
        if known and (faults := schema.validate(known, manifest)):
            report.manifest, report.problem = None, f"no {report.kind.kind} can be so: {faults[0]}"


def _name_apart(found: Iterable[Report]) -> None:
    """Give each object a name of its own among those of its kind."""
    taken: set[tuple[str, str]] = set()
    for report in found:
        if report.manifest is None:
            continue
        name = base = meta(report.manifest)["name"]
        number = 1
        while (report.kind.name, name) in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add((report.kind.name, name))
        report.manifest["metadata"]["name"] = name


def _write(found: Sequence[Report], folder: Path | None, *, force: bool) -> None:
    """Write the manifests; all or, where a file exists, none."""
    from groundplane.core import goyaml

    written = [(report, report.manifest) for report in found if report.manifest is not None]
    if folder is None:
        if written:
            click.echo("---\n".join(goyaml.dumps(manifest) for _, manifest in written), nl=False)
        return
    for report, name in zip([report for report, _ in written], _files(written), strict=True):
        report.file = str(folder / name)
    existing = sorted(report.file for report, _ in written if Path(report.file).exists())
    if existing and not force:
        some = f" and {len(existing) - 1} more exist" if existing[1:] else " exists"
        raise InvalidInput(f"{existing[0]}{some}", mend="name a new folder, or overwrite with --force")
    if written:
        folder.mkdir(parents=True, exist_ok=True)
    for report, manifest in written:
        Path(report.file).write_text(goyaml.dumps(manifest), encoding="utf-8")


def _files(written: Sequence[tuple[Report, Object]]) -> Iterator[str]:
    """A file's name for each: with the service, where kinds of two services are called the same."""
    services: dict[str, set[str]] = {}
    for report, _ in written:
        services.setdefault(report.kind.kind, set()).add(_service(report.kind))
    for report, manifest in written:
        kind = report.kind
        service = f"{_service(kind)}-" if len(services[kind.kind]) > 1 else ""
        yield f"{service}{kind.kind.lower()}-{meta(manifest)['name']}.yaml"


def _service(kind: ManagedKind) -> str:
    return kind.group.partition(".")[0]


def _tell(found: Sequence[Report], *, to_err: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([each.json for each in found], indent=2, ensure_ascii=False), err=to_err)
        return
    for each in found:
        click.echo(each.line, err=to_err)
    written = [each for each in found if each.manifest is not None]
    other = sum(bool(each.problem or each.left_out) for each in found)
    text = f"{len(written)} written, {other} with a difference, {sum(bool(each.skipped) for each in found)} skipped."
    hidden = {each.kind.kind: each.kind.secrets[0].ref for each in written if each.kind.secrets}
    if hidden:
        words = ", ".join(f"{name} of {kind}" for kind, name in sorted(hidden.items()))
        text += f" Secret values can't be read: set {words} before taking over."
    click.echo(text, err=to_err)
