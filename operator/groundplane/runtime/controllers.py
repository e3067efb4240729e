"""Every controller there is: its reconciler, its queue's bounds, and how its errors are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from groundplane.core import claim as flow
from groundplane.core.objects import Key, Object, key_of, spec_of
from groundplane.ports import Context
from groundplane.reconcile import (
    activation_policy,
    claim,
    collection,
    composite,
    cron_operation,
    definition,
    managed,
    managed_definition,
    managing,
    operation,
    package_revisions,
    predecessor,
    provider,
    provider_config,
    revision,
    usage,
    watch_operation,
)
from groundplane.runtime.engine import Controller

COMPOSITE_POLL_RATE = (
    15.0  # a second: rendering all of a composite's resources takes some ten milliseconds of the event loop
)
COMPOSITE_MAX_BACKOFF = 30.0  # seconds: upstream's composite controllers come back sooner than the others


def all_controllers() -> list[Controller]:
    """The controllers of the operator, by the names that `routes.Routes` enqueues for."""
    return [*_of_definitions(), *_of_what_is_claimed(), *_of_operations(), *_of_packages()]


def _of_definitions() -> list[Controller]:
    """Of what platform teams write: definitions and compositions."""
    return [
        Controller(
            name="defined",
            reconcile=definition.define,
            source=_says(definition.COMPOSITE.source),
            reason="EstablishComposite",
            failure=definition.COMPOSITE.failure,
            tells_hiccups=False,
            has_synced=False,
            has_ready=False,
        ),
        Controller(
            name="offered",
            reconcile=definition.offer,
            source=_says(definition.CLAIM.source),
            reason="OfferClaim",
            failure=definition.CLAIM.failure,
            is_second=definition.COMPOSITE.is_in_trouble,
            tells_hiccups=False,
            has_synced=False,
            has_ready=False,
        ),
        Controller(
            name="revisions",
            reconcile=revision.reconcile,
            source=_says(revision.SOURCE),
            reason="CreateRevision",
            has_synced=False,
            has_ready=False,
            ours_ready=True,
        ),
        Controller(
            name="announce",
            reconcile=revision.announce,
            source=_says(revision.SOURCE),
            reason="AnnounceRevision",
            tells=False,
            has_synced=False,
            has_ready=False,
        ),
        Controller(
            name="managed-definition",
            reconcile=managed_definition.reconcile,
            source=_says(managed_definition.SOURCE),
            reason="Reconcile",
            failure=managed_definition.failure,
            has_synced=False,
            has_ready=False,
            ours_ready=True,
        ),
        Controller(
            name="activation-policy",
            reconcile=activation_policy.reconcile,
            source=_says(activation_policy.SOURCE),
            reason=activation_policy.ACTIVATE,
            failure=activation_policy.failure,
            has_synced=False,
            has_ready=False,
            ours_ready=True,
        ),
    ]


def _of_what_is_claimed() -> list[Controller]:
    """Of claims and all that comes of them: many objects of many tenants, none of whom may hold up another."""
    return [
        Controller(
            name="claim",
            reconcile=claim.reconcile,
            source=_says(claim.SOURCE),
            reason="BindCompositeResource",
            annotations=_claim_annotations,
            workers=40,
            share=flow.tenant,
        ),
        Controller(
            name="composite",
            reconcile=composite.reconcile,
            source=_says(composite.SOURCE),
            reason="ComposeResources",
            annotations=_composite_annotations,
            workers=40,
            share=lambda composite: flow.tenant(composite) or composite["kind"],
            max_backoff=COMPOSITE_MAX_BACKOFF,
            poll_rate=COMPOSITE_POLL_RATE,
        ),
        Controller(
            name="managed",
            reconcile=managed.reconcile,
            source=managing.source,
            reason="CannotObserveExternalResource",
            workers=64,
            share=lambda managed: str((spec_of(managed).get("providerConfigRef") or {}).get("name") or "default"),
            tenant=flow.tenant,
        ),
        Controller(
            name="collection",
            reconcile=collection.reconcile,
            source=collection.source,
            reason="CannotObserveExternalResource",
        ),
        Controller(
            name="usage",
            reconcile=usage.reconcile,
            source=usage.source,
            reason="UsageConfigured",
            has_synced=False,
            share=lambda usage: key_of(usage).namespace,
        ),
    ]


def _of_operations() -> list[Controller]:
    """Of what is run once, and of what makes that."""
    return [
        Controller(
            name="operation",
            reconcile=operation.reconcile,
            source=_says(operation.SOURCE),
            reason="RunPipelineStep",
            has_ready=False,
            ours_ready=True,
        ),
        Controller(
            name="cronoperation",
            reconcile=cron_operation.reconcile,
            source=_says(cron_operation.SOURCE),
            reason="CreateOperation",
            has_ready=False,
            ours_ready=True,
        ),
        Controller(
            name="watchoperation",
            reconcile=watch_operation.reconcile,
            source=_says(watch_operation.SOURCE),
            reason="CreateOperation",
            has_ready=False,
            ours_ready=True,
        ),
    ]


def _of_packages() -> list[Controller]:
    """Of what is installed: packages, and the accounts of a provider."""
    return [
        Controller(
            name="providerconfig",
            reconcile=provider_config.reconcile,
            source=provider_config.source,
            reason="UsageAccounting",
            has_synced=False,
            has_ready=False,
            ours_ready=True,
        ),
        Controller(
            name="packages",
            reconcile=provider.reconcile,
            source=lambda key, context: package_revisions.source(key.kind),
            reason="InstallPackageRevision",
            has_synced=False,
            has_ready=False,
        ),
        Controller(
            name="predecessor",
            reconcile=predecessor.reconcile,
            source=_says(predecessor.SOURCE),
            reason="RemoveFinalizer",
            tells=False,
            has_synced=False,
            has_ready=False,
        ),
    ]


def _says(source: str) -> Callable[[Key, Context], str]:
    return lambda key, context: source


def _claim_annotations(obj: Object, context: Context) -> Mapping[str, str]:
    key = key_of(obj)
    known = context.definitions.claim(key.group, key.kind)
    return claim.event_annotations(obj, known) if known else {}


def _composite_annotations(obj: Object, context: Context) -> Mapping[str, str]:
    key = key_of(obj)
    known = context.definitions.composite(key.group, key.kind)
    return {"controller": f"composite/{known.name}"} if known else {}
