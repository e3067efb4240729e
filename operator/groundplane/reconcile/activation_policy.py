"""ManagedResourceActivationPolicy → managed definitions that fit become Active.  Nothing is ever made Inactive.

Source: Crossplane v2.3, internal/controller/apiextensions/activationpolicy/reconciler.go.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from groundplane.core import activation, conditions, health
from groundplane.core.activation import ACTIVE, DEFINITION, VERSION
from groundplane.core.conditions import Condition
from groundplane.core.objects import Key, Object, is_deleting, is_paused, key_of, meta
from groundplane.errors import Denied, NotFound, Rejected
from groundplane.ports import Context, Result

SOURCE = "mrap/managedresourceactivationpolicy"
ACTIVATE = "ActivateManagedResourceDefinition"
HEALTHY = Condition("Healthy", "True", "Running")
TERMINATING = Condition("Established", "False", "TerminatingManagedResourceActivationPolicy")


def failure(policy: Object, text: str) -> Iterable[Condition]:
    """What to say of a policy of which something could not be activated."""
    yield Condition("Healthy", "Unknown", "EncounteredErrors", text)
    yield conditions.reconcile_error(text)


async def reconcile(key: Key, context: Context) -> Result:
    """Activate what one policy names, and say what that is."""
    if context.options.strict_upstream:
        return Result()  # v1.20 has no such kind
    policy = await context.cluster.get(key)
    if policy is None or is_deleting(policy):
        context.policies.set(key, ())
        if policy is not None:
            await _tell(policy, context, TERMINATING, conditions.deleting())
        return Result()
    if is_paused(policy):
        context.policies.set(key, ())
        text = "Reconciliation is paused via the pause annotation"
        context.events.event(policy, "Normal", "ReconciliationPaused", text, source=SOURCE)
        return Result()
    globs = activation.globs_of(policy)
    context.policies.set(key, globs)  # before the list: what appears after it calls for another run
    heads = await context.cluster.heads(VERSION, DEFINITION, activation.head)
    activated, refused = [], []
    for head in sorted(heads, key=lambda each: str(meta(each)["name"])):
        if not activation.is_matched(meta(head)["name"], globs):
            continue
        try:
            if not activation.is_active(head):
                await context.cluster.patch(key_of(head), {"spec": {"state": ACTIVE}})
                text = "Successfully activated ManagedResourceDefinition"
                context.events.event(policy, "Normal", ACTIVATE, text, source=SOURCE)
        except NotFound:
            continue
        except (Rejected, Denied) as error:
            refused.append(error)
        else:
            activated.append(meta(head)["name"])
    wanted = copy.deepcopy(policy)
    status = wanted.setdefault("status", {})
    status["activated"] = activated
    if not activated:
        del status["activated"]
    if refused:
        await context.cluster.update(wanted, subresource="status")
        first = refused[0]
        first.what = f"failed to activate {len(refused)} of {len(activated) + len(refused)} ManagedResourceDefinitions: {first.what}"
        first.reason = ACTIVATE
        raise first
    await _tell(wanted, context, HEALTHY, conditions.available())
    return Result()


async def _tell(wanted: Object, context: Context, *told: Condition) -> None:
    said = list(told)
    if conditions.find(wanted, "Synced") is not None:
        said.append(conditions.reconcile_success())
    context.tell(wanted, *said, outlook=health.reconciling("Deleting") if told[0] is TERMINATING else None)
    await context.cluster.update(wanted, subresource="status")
