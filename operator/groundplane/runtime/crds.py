"""The CustomResourceDefinitions that we bring: which are wanted, and how they come to a cluster without harm to what is stored there.

The leader applies them before its first reconcile, so one process writes them; a standby finds them.  What is current costs no request; what a
later Groundplane brought stays, and so does what somebody else did (core/crds/marks.py decides).  None is ever deleted.
Source of the rewriting of stored objects: Crossplane v2.3, internal/initializer/crds_migrator.go.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from groundplane.cluster.client import APPLY_PATCH, MERGE_PATCH, Api
from groundplane.cluster.informer import PARTIAL
from groundplane.core import providers
from groundplane.core.activation import is_matched
from groundplane.core.crds.marks import MARK, Step, step
from groundplane.core.crds.upstream import OF_V2_ONLY, as_upstream
from groundplane.core.objects import Object, annotations_of, meta
from groundplane.errors import Conflict, Denied, InvalidInput
from groundplane.nop import kinds as nop
from groundplane.runtime import logs
from groundplane.runtime.served import CRDS, Crd, read

MANAGER = "groundplane.io/crds"
STRICT = "s"  # at the end of the mark of a definition as upstream has it
NOP_V04 = "c"  # likewise, of a NopResource that lives in no namespace
PATH = f"/apis/{CRDS.api_version}/{CRDS.plural}"
AT_ONCE = 4  # applies: each costs the API server some 50 ms
TRIES = 5  # of one that somebody writes at the same time
PATIENCE = (
    60.0  # seconds until what was applied is served; then work begins all the same, and what is missing is waited for
)
GLANCE = 0.1  # seconds between two looks at that
PAGE = "500"  # objects of one answer to a list
RULE = (
    "grant apiGroups [apiextensions.k8s.io], resources [customresourcedefinitions], verbs [get, list, watch, create, patch],"
    " or start with --crds leave and apply what `groundplane crds` prints"
)

Known = Callable[[str], Crd | None]  # what matters of the definition of that name, if it is there

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class Brought:
    """A definition that we bring."""

    name: str  # "instances.rds.aws.upbound.io"
    mark: str
    file: Traversable
    strict_upstream: bool = False
    is_of_nop_v04: bool = False

    def read(self) -> Object:
        """The definition itself; some milliseconds of work for the largest."""
        if self.is_of_nop_v04:
            made = nop.crd(nop.NOP, namespaced=False)
            return {**made, "metadata": {**made["metadata"], "annotations": {MARK: self.mark}}}
        found: Object = yaml.load(self.file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        if self.strict_upstream:
            found = as_upstream(found)
            found["metadata"]["annotations"][MARK] = self.mark
        return found


def is_active(name: str, activations: Iterable[str]) -> bool:
    """Whether a definition of that name is wanted: all but managed kinds are, and those that a glob matches.

    >>> [is_active(f"{name}.aws.upbound.io", ["*.rds.*"]) for name in ("vpcs.ec2", "instances.rds", "providerconfigs")]
    [False, True, True]
    """
    return not providers.is_managed(name) or is_matched(name, activations)


def brought(
    activations: Iterable[str] = ("*",), *, strict_upstream: bool = False, nop_scope: str = "namespaced"
) -> list[Brought]:
    """What we bring of what is active, by name.  Raises InvalidInput if the package has lost its files."""
    globs, is_of_nop_v04 = tuple(activations), nop_scope == "cluster"
    found = [each for each in _every(strict_upstream=strict_upstream) if is_active(each.name, globs)]
    return [_cluster_scoped(each) if is_of_nop_v04 and each.name == nop.KINDS[nop.NOP].name else each for each in found]


def _cluster_scoped(each: Brought) -> Brought:
    return replace(each, mark=f"{each.mark}{NOP_V04}", is_of_nop_v04=True)


@cache
def _every(*, strict_upstream: bool) -> tuple[Brought, ...]:
    """All that there is to bring, by name; each file is read once, for its mark."""
    folder, found = resources.files("groundplane") / "crds", []
    for file in folder.iterdir() if folder.is_dir() else ():
        group, _, plural = file.name.removesuffix(".yaml").rpartition("_")
        name = f"{plural}.{group}"
        if group and not (strict_upstream and name in OF_V2_ONLY):
            mark = re.search(rf"^ *{re.escape(MARK)}: (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            if mark:
                is_other = strict_upstream and not providers.is_managed(
                    name
                )  # managed kinds are the same for both: a hundred writes less
                found.append(Brought(name, f"{mark[1]}{STRICT}" if is_other else mark[1], file, is_other))
    if not found:
        raise InvalidInput(f"there are no definitions in {folder}", mend="install the package anew, or run make crds")
    return tuple(sorted(found, key=lambda each: each.name))


async def bring(api: Api, wanted: Sequence[Brought], known: Known, *, adopt: bool = False) -> dict[str, str]:
    """Apply what is missing or older; of those that could not be, or do not serve what we need, by name, why.

    `adopt`: also what somebody else brought.  Raises Denied, with the rule to add; Unavailable; NotLeader.
    """
    problems: dict[str, str] = {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(each: Brought, theirs: Object | None) -> None:
        async with slots:
            try:
                if await _bring(api, each, theirs, adopt=adopt) in (Step.FOREIGN, Step.NEWER):
                    await _check_versions(each, known(each.name))
            except (InvalidInput, Conflict) as error:
                problems[each.name] = str(error)
                log.error("definition is not as we need it", definition=each.name, error=str(error))

    try:
        there = await _metadata(api)
        await _all(one(each, there.get(each.name)) for each in wanted)
    except Denied as error:
        raise Denied(f"can't bring the kinds to the cluster: {error.what}", mend=RULE) from error
    return problems


async def _all(works: Iterable[Any]) -> None:
    """Do them side by side; the first error, as itself, ends the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _check_versions(each: Brought, theirs: Crd | None) -> None:
    """Raise InvalidInput if a definition that is not ours serves no version that we know."""
    if theirs is None:
        return  # it has gone meanwhile
    ours = [version["name"] for version in (await asyncio.to_thread(each.read))["spec"]["versions"]]
    there = [name for name, _ in theirs.versions]
    if not set(ours) & set(there):
        raise InvalidInput(
            f"{each.name} is somebody else's and serves {', '.join(there) or 'nothing'}, not {' or '.join(ours)}",
            mend="update it, or let it be taken over with --crds adopt",
        )


async def _bring(api: Api, each: Brought, theirs: Object | None, *, adopt: bool) -> Step:
    for _ in range(TRIES):
        mark = None if theirs is None else annotations_of(theirs).get(MARK, "")
        todo = step(each.mark, mark, adopt=adopt)
        match todo:
            case Step.APPLY:
                crd = await asyncio.to_thread(each.read)
                # "1" is no object's version: it makes one, and takes none that has come meanwhile.
                crd["metadata"]["resourceVersion"] = meta(theirs)["resourceVersion"] if theirs else "1"
                query = {"fieldManager": MANAGER, "force": "true"}
                try:
                    await api.request("PATCH", f"{PATH}/{each.name}", query=query, body=crd, content_type=APPLY_PATCH)
                except Conflict:
                    _, theirs = await api.request("GET", f"{PATH}/{each.name}", accept=PARTIAL.format(""))
                    theirs = theirs if theirs and theirs.get("kind") != "Status" else None
                    continue
                log.info("definition applied", definition=each.name, mark=each.mark, before=mark or "")
            case Step.NEWER:
                log.warning("definition is a later version's: it stays", definition=each.name, mark=mark)
            case Step.FOREIGN:
                log.info("definition is somebody else's: it is used as it is", definition=each.name)
            case Step.CURRENT:
                pass
        return todo
    raise Conflict(f"{each.name} is written by somebody else again and again")


async def _metadata(api: Api) -> dict[str, Object]:
    """The definitions that there are, without what they declare."""
    _, page = await api.request("GET", PATH, accept=PARTIAL.format("List"))
    return {meta(item)["name"]: item for item in (page or {}).get("items") or ()}


async def listed(api: Api) -> dict[str, Crd]:
    """What matters of the definitions that there are, by name.  Some megabytes to read."""
    _, page = await api.request("GET", PATH)
    return {meta(item)["name"]: crd for item in (page or {}).get("items") or () if (crd := read(item))}


def missing(wanted: Iterable[Brought], known: Known) -> list[str]:
    """What is wanted and not served."""
    return [each.name for each in wanted if (crd := known(each.name)) is None or not (crd.established and crd.versions)]


def outdated(wanted: Iterable[Brought], known: Known) -> list[str]:
    """What is served as an older Groundplane brought it: we have not yet been able to apply ours."""
    there = ((each, known(each.name)) for each in wanted)
    return [
        each.name
        for each, crd in there
        if crd and crd.established and crd.versions and step(each.mark, crd.mark) is Step.APPLY
    ]


async def served(wanted: Sequence[Brought], known: Known) -> list[str]:
    """Wait until all are served, or PATIENCE ends: what is not."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while (lacking := missing(wanted, known)) and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(GLANCE)
    return lacking


# --- what is stored in a version that is no longer the one to be stored ----------------------------------------


async def migrate(api: Api, wanted: Iterable[Brought], known: Known) -> None:
    """Have every object that may be stored in another version rewritten, so that a later Groundplane may drop that version.

    Raises Denied, Unavailable, NotLeader; what is left is found again by whoever leads next.
    """
    for each in wanted:
        crd = known(each.name)
        if crd and crd.mark and crd.storage and set(crd.stored) - {crd.storage}:
            await _migrate(api, each.name, crd)


async def _migrate(api: Api, name: str, crd: Crd) -> None:
    root = f"/apis/{crd.group}/{crd.storage}"
    query, count = {"limit": PAGE}, 0
    while True:
        _, page = await api.request("GET", f"{root}/{crd.plural}", query=query, accept=PARTIAL.format("List"))
        for item in (page or {}).get("items") or ():
            metadata = meta(item)
            place = f"/namespaces/{metadata['namespace']}" if metadata.get("namespace") else ""
            path = f"{root}{place}/{crd.plural}/{metadata['name']}"
            await api.request("PATCH", path, body={}, content_type=MERGE_PATCH)  # 404: it has gone meanwhile
            count += 1
        if not (rest := (page or {}).get("metadata", {}).get("continue")):
            break
        query["continue"] = rest
    status, live = await api.request("GET", f"{PATH}/{name}")
    now = read(live) if status != 404 else None
    if now is None or now.storage != crd.storage:
        return  # changed meanwhile: whoever leads next begins anew
    body = {
        "metadata": {"resourceVersion": meta(live)["resourceVersion"]},
        "status": {"storedVersions": [crd.storage]},
    }
    await api.request("PATCH", f"{PATH}/{name}/status", body=body, content_type=MERGE_PATCH)
    log.info("stored objects were rewritten", definition=name, version=crd.storage, count=count)
