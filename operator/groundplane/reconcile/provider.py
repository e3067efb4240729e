"""Packages that are declared: Provider, Function, Configuration → Installed, Healthy, and revisions to look at.

Nothing is installed: what the known packages bring is built in.  Any other package is told what is.  Revisions that Crossplane has
made stay as they are: they are controllers of what a package installed, definitions with their claims included, and with such a
revision the garbage collector takes all of that.
"""

from __future__ import annotations

import copy

from groundplane.core import conditions, function_sources, health, packages
from groundplane.core.conditions import Condition
from groundplane.core.function_sources import Source, is_ours
from groundplane.core.objects import Key, Object, group_of, is_deleting, is_paused, meta, spec_of, status_of
from groundplane.errors import Awaited
from groundplane.ports import Context, Result
from groundplane.reconcile import compiling, function_runtime, functions, package_revisions

INSTALLED = Condition("Installed", "True", "ActivePackageRevision")
HEALTHY = Condition("Healthy", "True", "HealthyPackageRevision")
BUILT_IN = (
    "What it brings is built in, and is the same whatever its version: nothing is pulled, verified or run, so ImageConfigs, "
    "pull Secrets and a runtime config have no effect"
)
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
    if packages.is_built_in(key.kind, image):
        return await _reveal(package, image, context)
    return await _refuse(package, image, context)


async def _reveal(package: Object, image: str, context: Context) -> Result:
    """Say of a package whose content is built in that it is there."""
    revision = await package_revisions.current(package, image, context)
    await package_revisions.retire(package, revision, context)
    await package_revisions.tell(revision, "", context)
    if not _is_active(revision):
        return await _wait(package, revision, context, "what it brings is built in, and works all the same")
    name = meta(revision)["name"]
    if status_of(package).get("currentRevision") != name and not context.options.strict_upstream:
        context.events.event(
            package, "Normal", "InstallPackageRevision", BUILT_IN, source=package_revisions.source(package["kind"])
        )
    await _write(package, _with_current(package, name, image), [INSTALLED, HEALTHY], None, context)
    return Result()


async def _refuse(package: Object, image: str, context: Context) -> Result:
    """Say of a package that nothing here brings what is built in."""
    message = _unknown(package["kind"], image)
    await package_revisions.remove(package, context)
    wanted = copy.deepcopy(package)
    for name in ("currentRevision", "currentIdentifier"):
        wanted.get("status", {}).pop(name, None)
    context.events.event(
        package, "Warning", "InstallPackageRevision", message, source=package_revisions.source(package["kind"])
    )
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
    context.events.event(
        package, "Normal", "ReconciliationPaused", message, source=package_revisions.source(package["kind"])
    )
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
    revision = await package_revisions.current(package, image, context)
    if not _is_active(revision):
        source = await compiling.source_of(context, name, package)
        problem = "it serves nothing yet"
        if source is not None and source.endpoint is not None:
            problem = await functions.problem(context, name, source.endpoint)
        return await _wait(
            package, revision, context, "" if problem else "the one before it serves", problem, again=RETRY
        )
    running = await function_runtime.run(package, revision, context.certifier, context)
    source = await compiling.source_of(context, name, package) or Source(image)
    if not running.problem:
        return await _report(package, source, context, runs=True)
    await _report(package, source, context, running.problem, runs=True, alone=running.is_served)
    return Result(requeue_after=PROGRESS)


async def _wait(
    package: Object,
    revision: Object,
    context: Context,
    meanwhile: str,
    problem: str = "",
    *,
    again: float | None = None,
) -> Result:
    """Say of a package whose new revision somebody must activate what goes on meanwhile."""
    kind, name = revision["kind"], meta(revision)["name"]
    message = (
        f"{kind} {name} is inactive, as revisionActivationPolicy Manual has it"
        f"{f'; {meanwhile}' if meanwhile else ''}. Mend: set its spec.desiredState to Active."
    )
    wanted = _with_current(package, name, str(spec_of(package).get("package") or ""))
    healthy = Condition("Healthy", "False", "UnhealthyPackageRevision", problem) if problem else HEALTHY
    told = Condition("Installed", "False", "InactivePackageRevision", message)
    await _write(package, wanted, [told, healthy], health.reconciling("Waiting", message), context)
    await context.watches.ensure([(revision["apiVersion"], kind)], whole=True)
    awaited = Awaited(group_of(revision["apiVersion"]), kind, name=name)
    return Result(requeue_after=again, on=(awaited,))


def _is_active(revision: Object) -> bool:
    return spec_of(revision).get("desiredState") == "Active"


def _with_current(package: Object, revision: str, image: str) -> Object:
    """The package with what its status says of its revision."""
    wanted = copy.deepcopy(package)
    wanted.setdefault("status", {}).update(currentRevision=revision, currentIdentifier=image)
    return wanted


async def _report(
    package: Object, source: Source, context: Context, problem: str = "", *, runs: bool = False, alone: bool = True
) -> Result:
    """Say of a Function that runs elsewhere whether it can be reached.

    Where we run it, its other revisions go, and their Deployments with them, as soon as this one is served: `alone`.
    """
    name, image, wanted = meta(package)["name"], source.package, copy.deepcopy(package)
    problem = problem or source.problem
    if source.endpoint is not None and not problem:
        problem = await functions.problem(context, name, source.endpoint)
    told = [INSTALLED, HEALTHY]
    outlook = None
    if problem:
        told[1] = Condition("Healthy", "False", "UnhealthyPackageRevision", problem)
        outlook = health.reconciling("Waiting", problem)
        context.events.event(
            package, "Warning", "InstallPackageRevision", problem, source=package_revisions.source(package["kind"])
        )
    if source.problem:
        told[0] = Condition("Installed", "False", "InactivePackageRevision", f"{problem}. Mend: {source.mend}.")
        outlook = health.stalled("InvalidInput", told[0].message)
        await package_revisions.remove(package, context)
    elif theirs := await _active_of_others(package, context):
        wanted = _with_current(package, theirs, image)
    else:
        revision = await package_revisions.current(package, image, context)
        if not runs:
            await package_revisions.retire(package, revision, context)
        elif alone:
            await package_revisions.remove(package, context, keep=revision)
        await package_revisions.tell(revision, problem, context)
        if not _is_active(revision):
            return await _wait(package, revision, context, "its endpoint is called all the same", problem, again=RETRY)
        wanted = _with_current(package, meta(revision)["name"], image)
    await _write(package, wanted, told, outlook, context)
    return Result(requeue_after=RETRY if problem else RECHECK)


async def _write(
    package: Object, wanted: Object, told: list[Condition], outlook: Condition | None, context: Context
) -> None:
    """Write the package's status; what was refused before is not any more."""
    if conditions.find(package, "Synced") is not None:
        told = [*told, conditions.reconcile_success()]
    context.tell(wanted, *told, outlook=outlook, generation=meta(package).get("generation"))
    await context.cluster.update(wanted, subresource="status")


async def _active_of_others(package: Object, context: Context) -> str:
    """The package's active revision that another package manager made; "" if there is none."""
    found = await package_revisions.all_of(package, context)
    theirs = [each for each in found if not is_ours(each) and _is_active(each)]
    return str(meta(theirs[0])["name"]) if theirs else ""


def _unknown(kind: str, image: str) -> str:
    known = packages.NAMES.get(kind)
    built_in = f"built in are: {known}" if known else f"no {kind} is built in"
    instead = packages.INSTEAD.get(packages.path_of(image).rpartition("/")[2], "")
    mend = f". Mend: {instead}." if instead else ""
    return f'package "{image}" is not built in, and packages are not installed: {built_in}{mend}'
