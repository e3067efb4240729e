"""Packages that are declared: Provider, Function, Configuration → Installed, Healthy, and a revision to look at.

Nothing is installed: what the known packages bring is built in.  Any other package is told what is.  Revisions that we
make carry the annotation `groundplane.io/made`; all others stay as they are.  Crossplane's own are controllers of what a package
installed, definitions with their claims included: with such a revision, the garbage collector takes all of that.
"""

from __future__ import annotations

import copy

from groundplane.core import conditions, function_sources, health, packages
from groundplane.core.conditions import Condition
from groundplane.core.function_sources import MADE, Source, is_ours
from groundplane.core.objects import (
    Key,
    Object,
    controller_of,
    is_deleting,
    is_paused,
    meta,
    owner_reference,
    spec_of,
)
from groundplane.errors import AlreadyExists, Conflict
from groundplane.ports import Context, Result
from groundplane.reconcile import compiling, function_runtime, functions

SOURCE = "packages/provider.pkg.crossplane.io"
INSTALLED = Condition("Installed", "True", "ActivePackageRevision")
HEALTHY = Condition("Healthy", "True", "HealthyPackageRevision")
RECHECK = 300.0  # seconds until a function that runs elsewhere is looked at again,
RETRY = 30.0  # one that can't be reached,
PROGRESS = 5.0  # and one that is being started


async def reconcile(key: Key, context: Context) -> Result:
    """Say of one declared package whether it is served."""
    package = await context.cluster.get(key)
    if package is None or is_deleting(package):
        return Result()
    if is_paused(package):
        return await _pause(package, context)
    image = str(spec_of(package).get("package") or "")
    if key.kind == "Function":
        source = await compiling.source_of(context, key.name, package)
        if await _is_to_run(package, context):
            return await _run(package, context)
        if source is not None and (source.endpoint is not None or source.problem):
            return await _report(package, source, context)
    wanted = copy.deepcopy(package)
    if packages.is_built_in(key.kind, image):
        revision = packages.revision_name(key.name, image)
        await _reveal(package, revision, image, context)
        status = wanted.setdefault("status", {})
        status["currentRevision"], status["currentIdentifier"] = revision, image
        told, outlook = [INSTALLED, HEALTHY], None
        if conditions.find(package, "Synced") is not None:
            told.append(conditions.reconcile_success())
    else:
        message = _unknown(key.kind, image)
        await _remove_revisions(package, context)
        for name in ("currentRevision", "currentIdentifier"):
            wanted.get("status", {}).pop(name, None)
        context.events.event(package, "Warning", "InstallPackageRevision", message, source=SOURCE)
        told = [
            Condition("Installed", "False", "InactivePackageRevision", message),
            Condition("Healthy", "False", "UnhealthyPackageRevision", message),
        ]
        if not context.options.strict_upstream:
            told.append(conditions.reconcile_error(message))  # else GitOps tools wait for Healthy for ever
        outlook = health.stalled("UnknownPackage", message)
    context.tell(wanted, *told, outlook=outlook, generation=meta(package).get("generation"))
    await context.cluster.update(wanted, subresource="status")
    return Result()


async def _pause(package: Object, context: Context) -> Result:
    message = "Reconciliation (including deletion) is paused via the pause annotation"
    context.events.event(package, "Normal", "ReconciliationPaused", message, source=SOURCE)
    wanted = copy.deepcopy(package)
    told = conditions.reconcile_paused(message)
    context.tell(wanted, told, outlook=None, generation=meta(package).get("generation"))
    await context.cluster.update(wanted, subresource="status")
    return Result()


async def _is_to_run(package: Object, context: Context) -> bool:
    """Whether the package of a Function is run by us: its content is not built in, and nobody else serves it."""
    if context.certifier is None or not context.options.functions.runs:
        return False
    is_open = function_sources.needs_revisions(meta(package)["name"], package, context.options.functions)
    return is_open and not await _active_of_others(package, context)


async def _run(package: Object, context: Context) -> Result:
    """Have a Function's package run, and say how that goes."""
    assert context.certifier is not None
    name, image = meta(package)["name"], str(spec_of(package).get("package") or "")
    is_manual = spec_of(package).get("revisionActivationPolicy") == "Manual"
    revision = await _made(package, packages.revision_name(name, image), image, context, is_active=not is_manual)
    if spec_of(revision).get("desiredState") != "Active":
        return await _wait(package, revision, context)
    running = await function_runtime.run(package, revision, context.certifier, context)
    source = await compiling.source_of(context, name, package) or Source(image)
    if not running.problem:
        return await _report(package, source, context)
    await _report(package, source, context, running.problem, alone=running.is_served)
    return Result(requeue_after=PROGRESS)


async def _wait(package: Object, revision: Object, context: Context) -> Result:
    """Say of a Function whose new revision somebody must activate that nothing has changed yet."""
    name, wanted = meta(revision)["name"], copy.deepcopy(package)
    source = await compiling.source_of(context, meta(package)["name"], package)
    problem = "it serves nothing yet"
    if source is not None and source.endpoint is not None:
        problem = await functions.problem(context, meta(package)["name"], source.endpoint)
    message = (
        f"FunctionRevision {name} is inactive, as revisionActivationPolicy Manual has it"
        f"{'' if problem else '; the one before it serves'}. Mend: set its spec.desiredState to Active."
    )
    healthy = Condition("Healthy", "False", "UnhealthyPackageRevision", problem) if problem else HEALTHY
    told = Condition("Installed", "False", "InactivePackageRevision", message)
    status = wanted.setdefault("status", {})
    status["currentRevision"], status["currentIdentifier"] = name, str(spec_of(package).get("package") or "")
    outlook = health.reconciling("Waiting", message)
    context.tell(wanted, told, healthy, outlook=outlook, generation=meta(package).get("generation"))
    await context.cluster.update(wanted, subresource="status")
    return Result(requeue_after=RETRY)


async def _report(
    package: Object, source: Source, context: Context, problem: str = "", *, alone: bool = True
) -> Result:
    """Say of a Function that runs elsewhere whether it can be reached; `alone`: its other revisions of ours go."""
    name, image, wanted = meta(package)["name"], source.package, copy.deepcopy(package)
    problem = problem or source.problem
    if source.endpoint is not None and not problem:
        problem = await functions.problem(context, name, source.endpoint)
    told = [INSTALLED, HEALTHY]
    outlook = None
    if problem:
        told[1] = Condition("Healthy", "False", "UnhealthyPackageRevision", problem)
        outlook = health.reconciling("Waiting", problem)
        context.events.event(package, "Warning", "InstallPackageRevision", problem, source=SOURCE)
    if source.problem:
        told[0] = Condition("Installed", "False", "InactivePackageRevision", f"{problem}. Mend: {source.mend}.")
        outlook = health.stalled("InvalidInput", told[0].message)
        await _remove_revisions(package, context)
    else:
        theirs = await _active_of_others(package, context)
        revision = theirs or packages.revision_name(name, image)
        if not theirs:
            await _reveal(package, revision, image, context, problem, alone=alone)
        status = wanted.setdefault("status", {})
        status["currentRevision"], status["currentIdentifier"] = revision, image
    if conditions.find(package, "Synced") is not None:
        told.append(conditions.reconcile_success())
    context.tell(wanted, *told, outlook=outlook, generation=meta(package).get("generation"))
    await context.cluster.update(wanted, subresource="status")
    return Result(requeue_after=RETRY if problem else RECHECK)


async def _active_of_others(package: Object, context: Context) -> str:
    """The package's active revision that another package manager made; "" if there is none."""
    kind = f"{package['kind']}Revision"
    found = await context.cluster.list(package["apiVersion"], kind, labels=_label(package))
    theirs = [each for each in found if not is_ours(each) and spec_of(each).get("desiredState") == "Active"]
    return str(meta(theirs[0])["name"]) if theirs else ""


def _unknown(kind: str, image: str) -> str:
    known = packages.NAMES.get(kind)
    built_in = f"built in are: {known}" if known else f"no {kind} is built in"
    instead = packages.INSTEAD.get(packages.path_of(image).rpartition("/")[2], "")
    mend = f". Mend: {instead}." if instead else ""
    return f'package "{image}" is not built in, and packages are not installed: {built_in}{mend}'


def _label(package: Object) -> dict[str, str]:
    return {"pkg.crossplane.io/package": meta(package)["name"]}


async def _remove_revisions(package: Object, context: Context, *, keep: str = "") -> None:
    """Take the package's revisions of ours away, but the one of that name."""
    kind = f"{package['kind']}Revision"
    for revision in await context.cluster.list(package["apiVersion"], kind, labels=_label(package)):
        name = meta(revision)["name"]
        if name != keep and is_ours(revision):
            await context.cluster.delete(Key(revision["apiVersion"], kind, "", name), uid=meta(revision)["uid"])


async def _made(package: Object, name: str, image: str, context: Context, *, is_active: bool = True) -> Object:
    """The revision of that name: the one that is there, or a new one."""
    kind = f"{package['kind']}Revision"
    if found := await context.cluster.get(Key(package["apiVersion"], kind, "", name)):
        if is_ours(found) and controller_of(found) is None and not is_deleting(found):  # restored from a backup
            found["metadata"]["ownerReferences"] = [owner_reference(package)]
            return await context.cluster.update(found)
        return found
    body = {
        "apiVersion": package["apiVersion"],
        "kind": kind,
        "metadata": {
            "name": name,
            "labels": _label(package),
            "annotations": {MADE: "true"},
            "ownerReferences": [owner_reference(package)],
        },
        "spec": {"image": image, "revision": 1, "desiredState": "Active" if is_active else "Inactive"},
    }
    try:
        return await context.cluster.create(body)
    except AlreadyExists as error:
        raise Conflict(f"{kind} {name} appeared meanwhile") from error


async def _reveal(
    package: Object, name: str, image: str, context: Context, problem: str = "", *, alone: bool = True
) -> None:
    """Make the revision that tools expect beside an installed package, and take its predecessors away."""
    if alone:
        await _remove_revisions(package, context, keep=name)
    found = await _made(package, name, image, context)
    if not is_ours(found):
        return
    wanted = copy.deepcopy(found)
    told = [
        Condition(type_, "False", "UnhealthyPackageRevision", problem)
        if problem and type_ != "RevisionHealthy"
        else Condition(type_, "True", "HealthyPackageRevision")
        for type_ in ("Healthy", "RevisionHealthy", "RuntimeHealthy")
    ]
    if not context.options.strict_upstream:
        told.append(Condition("RuntimeActive", "True", "ActiveRuntime"))
    conditions.set_on(wanted, *told, now=context.now(), generation=meta(found).get("generation"))
    await context.cluster.update(wanted, subresource="status")
