"""The part of `groundplane import` that is about PostgreSQL: what a server has, as manifests that change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from groundplane.core.importing import How, name_like
from groundplane.core.objects import Object, meta, spec_of
from groundplane.errors import GroundplaneError, InvalidInput, NotLeader, did_you_mean, shown
from groundplane.ports import Account, ManagedKind

if TYPE_CHECKING:
    from groundplane.sql.cloud import SqlCloud
    from groundplane.sql.listing import Found

WORD = "postgresql"  # all of its kinds


@dataclass(frozen=True)
class Look:
    """What became of a thing."""

    kind: ManagedKind
    name: str
    called: frozenset[str] = frozenset()  # what it may be named by
    manifest: Object | None = None
    problem: str = ""
    skipped: str = ""


def kinds(words: Iterable[str], *, namespaced: bool) -> list[ManagedKind]:
    """The kinds of PostgreSQL that are meant; none where AWS is.  Raises InvalidInput for both, and for what is none."""
    from groundplane.sql.kinds import DOMAIN, KINDS, NAMESPACED_DOMAIN

    known = [each for each in KINDS.values() if each.namespaced == namespaced]
    found: dict[str, ManagedKind] = {}
    others = []
    for word in filter(None, ",".join(words).split(",")):
        group, _, name = word.lower().rpartition("/")
        if not group and "." in name:
            name, _, group = name.partition(".")
        if name != WORD and group not in (WORD, DOMAIN, NAMESPACED_DOMAIN):
            others.append(word)
            continue
        chosen = [each for each in known if name in (WORD, each.kind.lower(), each.plural)]
        if not chosen:
            mend = did_you_mean(name, [each.kind.lower() for each in known])
            raise InvalidInput(f"PostgreSQL has no kind {shown(name)} here", mend=mend)
        found |= {each.kind: each for each in chosen}
    if found and others:
        raise InvalidInput(
            f"{shown(others[0])} is not of PostgreSQL", mend="import what is in AWS and what is in a server one by one"
        )
    return list(found.values())


async def looks(
    wanted: Sequence[ManagedKind], how: How, names: Sequence[str], account: Account, *, foreign: bool
) -> list[Look]:
    """What became of each thing of these kinds in the server of the account.

    What the server made for itself is passed over, unless a name is given that is its own.
    Raises Denied, Unavailable, InvalidInput.
    """
    from groundplane.sql.cloud import SqlCloud

    def refuse() -> None:
        raise NotLeader("an import changes nothing")

    cloud, found = SqlCloud(may_write=refuse), []
    try:
        for each in await cloud.listed(account, [kind.kind for kind in wanted]):
            called = {each.external_name, each.called, str(each.asked.get("extension") or "")} - {""}
            if (names and not any(is_called(called, name) for name in names)) or (
                each.is_own and not called & {*names}
            ):
                continue
            kind = next(
                kind for kind in cloud.kinds() if kind.kind == each.kind and kind.namespaced == bool(how.namespace)
            )
            look = await _look(cloud, kind, each, how, account, foreign=foreign)
            found.append(replace(look, called=frozenset(called)))
    finally:
        await cloud.close()
    return found


async def _look(cloud: SqlCloud, kind: ManagedKind, thing: Found, how: How, account: Account, *, foreign: bool) -> Look:
    from groundplane.sql.kinds import ADOPT

    name = thing.external_name or thing.called
    if thing.problem:
        return Look(kind, name, problem=thing.problem)
    if how.adopt and thing.only_looks:
        return Look(kind, name, problem=f"{thing.only_looks}: import it without --adopt")
    manifest = how.manifest(kind.api_versions[0], kind.kind, name_like(thing.called), thing.external_name, thing.asked)
    if how.adopt:
        meta(manifest)["annotations"][ADOPT] = "true"
    problem, owner = await _proof(cloud, manifest, account)
    if owner and not foreign:
        whose = "/".join(filter(None, (owner.get("crossplane-namespace"), owner.get("crossplane-name"))))
        return Look(kind, name, skipped=f"belongs to {whose} of a control plane; skipped (--adopt-foreign)")
    return Look(kind, name, manifest=None if problem else manifest, problem=problem)


async def _proof(cloud: SqlCloud, manifest: Object, account: Account) -> tuple[str, Mapping[str, str]]:
    """What the operator would change for a manifest beside its mark, and whose the thing is."""
    try:
        cloud.check(manifest)
        seen = await cloud.observe(manifest, account, {})
    except GroundplaneError as error:
        return str(error), {}
    changed = sorted({each.field for each in (*seen.drift, *seen.immutable)} - {"tags"})
    if not seen.exists:
        return "is not seen as it is written", {}
    return f"{', '.join(changed)} would be changed" if changed else "", seen.owner


def is_called(names: Iterable[str], pattern: str) -> bool:
    """
    >>> is_called(["orders"], "ord*"), is_called(["orders"], "shop")
    (True, False)
    """
    return any(fnmatchcase(name, pattern) for name in names)


def refer(found: Sequence[tuple[ManagedKind, str, Object]]) -> None:
    """Name what is imported beside by its object: `database` becomes `databaseRef`, in place."""

    def place(kind: str, fields: Mapping[str, Any], name: str) -> tuple[str, str, str]:
        return kind, str(fields["database"]) if kind == "Schema" else "", name

    names = {
        place(kind.kind, spec_of(manifest)["forProvider"], name): meta(manifest)["name"]
        for kind, name, manifest in found
    }
    for kind, _, manifest in found:
        fields = spec_of(manifest)["forProvider"]
        asked = dict(fields)
        for each in kind.references:
            if each.field in asked and (other := names.get(place(each.kind, asked, asked[each.field]))):
                fields[each.ref] = {"name": other}
                del fields[each.field]
