"""ManagedResourceDefinition → the CustomResourceDefinition of a managed kind, once it is Active.

One that is built in is brought as our other definitions are, and nobody's: it stays whatever becomes of the managed definition.
So does one that somebody else controls.
Source: Crossplane v2.3, internal/controller/apiextensions/managed/reconciler.go.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace

from groundplane.core import activation, conditions, health, managed_definition
from groundplane.core.conditions import Condition
from groundplane.core.crds.marks import MARK
from groundplane.core.managed_definition import CRD_KIND, CRD_VERSION, MANAGER
from groundplane.core.objects import (
    Key,
    Object,
    annotations_of,
    controller_of,
    is_deleting,
    is_of_predecessor,
    is_paused,
    meta,
    spec_of,
    status_of,
)
from groundplane.errors import Awaited, Denied, Waiting, stage
from groundplane.ports import Context, Result
from groundplane.reconcile import roles
from groundplane.reconcile.taken import take_over

SOURCE = "mrd/managedresourcedefinition"
APPLY = "ApplyCustomResourceDefinition"
ESTABLISHED = Condition("Established", "True", "EstablishedManagedResource")
INACTIVE = Condition("Established", "False", "InactiveManagedResource")
PENDING = Condition("Established", "Unknown", "PendingManagedResource")
TERMINATING = Condition("Established", "False", "TerminatingManagedResource")


def failure(definition: Object, text: str) -> Iterable[Condition]:
    """What to say of a definition whose CustomResourceDefinition could not be made."""
    yield Condition("Established", "False", PENDING.reason, text)
    yield conditions.reconcile_error(text)


async def reconcile(key: Key, context: Context) -> Result:
    """Make, or bring in line, what an Active definition declares."""
    if context.options.strict_upstream:
        return Result()  # v1.20 has no such kind
    definition = await context.cluster.get(key)
    if definition is None:
        await context.built_in.declare(key.name)  # one of ours is made again
        definition = await context.cluster.get(key)
    if definition is None:
        return Result()
    if is_deleting(definition):
        return await _tell(definition, context, TERMINATING, conditions.deleting())
    if is_paused(definition):
        text = "Reconciliation is paused via the pause annotation"
        context.events.event(definition, "Normal", "ReconciliationPaused", text, source=SOURCE)
        return Result()
    if not activation.is_active(definition):
        return await _tell(definition, context, INACTIVE, conditions.available())
    with stage(APPLY, "cannot apply CustomResourceDefinition"):
        crd = await _crd(definition, context)
    if not conditions.is_true(crd, "Established"):
        refused = conditions.find(crd, "NamesAccepted") or {}
        if refused.get("status") == "False":
            raise Waiting(
                f"CustomResourceDefinition {key.name} is not established: {refused.get('message')}",
                mend="give the kind other names",
                on=[_awaited(key.name)],
            )
        return await _tell(definition, context, PENDING, conditions.creating())
    with stage("Reconcile"):
        await _check_rights(definition, context)
    told = ESTABLISHED
    if MARK in annotations_of(crd) and not managed_definition.is_built_in(definition):
        told = replace(told, message="the CustomResourceDefinition is Groundplane's own: it stays as it is")
    return await _tell(definition, context, told, conditions.available())


async def _crd(definition: Object, context: Context) -> Object:
    """The CustomResourceDefinition as it is now; made, or brought in line, if it is the definition's."""
    name = meta(definition)["name"]
    key = Key(CRD_VERSION, CRD_KIND, "", name)
    live = await context.cluster.get(key)
    if live is not None and is_deleting(live):
        raise Waiting(f"CustomResourceDefinition {name} is being deleted", on=[_awaited(name)])
    if live is not None and _is_as_it_is(live, definition, context):
        return live
    if live is None and managed_definition.is_built_in(definition):
        if not context.built_in.has(name):
            raise Waiting(
                f"CustomResourceDefinition {name} is not there, and this operator does not bring it",
                mend=f"groundplane crds --only {name} | kubectl apply --server-side -f -",
                on=[_awaited(name)],
            )
        await context.built_in.bring(name)
        crd = await context.cluster.get(key, live=True)
        if crd is None:
            raise Waiting(f"CustomResourceDefinition {name} is not there yet", on=[_awaited(name)])
    else:
        if live is not None and is_of_predecessor(live, definition):
            live = await take_over(live, definition, context)
        crd = await context.cluster.apply(managed_definition.crd_of(definition, live), manager=MANAGER)
    is_new = live is None or meta(crd)["resourceVersion"] != meta(live)["resourceVersion"]
    if is_new or not conditions.is_true(definition, "Established"):
        text = "Successfully applied CustomResourceDefinition"
        context.events.event(definition, "Normal", APPLY, text, source=SOURCE)
    return crd


def _is_as_it_is(live: Object, definition: Object, context: Context) -> bool:
    """Whether it is left alone: one that Groundplane brought, or would have, or that is of a kind that it serves and nobody's."""
    if MARK in annotations_of(live) or managed_definition.is_built_in(definition):
        return True
    return controller_of(live) is None and _is_served(definition, context)


def _is_served(definition: Object, context: Context) -> bool:
    """Whether the kind is built in, and reconciled here."""
    spec = spec_of(definition)
    group, kind = spec.get("group"), (spec.get("names") or {}).get("kind") or ""
    versions = [f"{group}/{each.get('name')}" for each in spec.get("versions") or ()]
    return any(context.cloud.kind(version, kind) is not None for version in versions)


async def _check_rights(definition: Object, context: Context) -> None:
    """Raise Denied if the operator may not follow a kind that it is to serve; asked when the kind becomes so."""
    if conditions.is_true(definition, "Established") or not _is_served(definition, context):
        return
    spec = spec_of(definition)
    group, plural = spec["group"], spec["names"]["plural"]
    if lacking := await roles.refused(group, plural, context):
        raise Denied(
            f"the operator may not {lacking} {plural}.{group}",
            mend="name it in the chart's rbac.activatable, or give the operator the rights that it has to other managed kinds",
        )


def _awaited(name: str) -> Awaited:
    return Awaited("apiextensions.k8s.io", CRD_KIND, name=name)


async def _tell(definition: Object, context: Context, *told: Condition) -> Result:
    wanted = {**definition, "status": copy.deepcopy(status_of(definition))}  # the spec is large, and stays
    outlook = None
    if told[0] is PENDING:
        outlook = health.reconciling("Creating", "the kind is not served yet")
    elif told[0] is TERMINATING:
        outlook = health.reconciling("Deleting")
    said = list(told)
    if conditions.find(definition, "Synced") is not None:
        said.append(conditions.reconcile_success())
    context.tell(wanted, *said, outlook=outlook)
    await context.cluster.update(wanted, subresource="status")
    return Result()
