"""What the API server asks us before it stores an object: the webhooks, what each is asked about, who answers, and what happens if nobody does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from groundplane.core import typecheck, usages
from groundplane.core.admission import Verdict
from groundplane.ports import Context
from groundplane.reconcile import admission, protection
from groundplane.reconcile.admission import Request, TryOut
from groundplane.runtime.webhook_configurations import CROSSPLANE, NO_USAGES, Target, entry, rule

CORE = "apiextensions.crossplane.io"

Handler = Callable[[Request, Context, TryOut], Awaitable[Verdict]]
Rules = Callable[[Context], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Webhook:
    """One thing that the API server asks."""

    name: str  # in metrics and logs
    full_name: str  # in the configuration, and in what kubectl shows
    path: str
    answer: Handler
    rules: Rules
    configuration: str = CROSSPLANE
    failure_policy: Literal["Ignore", "Fail"] = "Ignore"
    timeout: int = (
        3  # seconds; well below the five that a write of our own may take, or it would fail where nobody answers
    )
    object_selector: Mapping[str, Any] = field(default_factory=dict)
    match_conditions: tuple[Mapping[str, str], ...] = ()


_NAMES_ANOTHER = """has(object.spec) && (
(has(object.spec.compositionRef) && (oldObject == null || !has(oldObject.spec) || !has(oldObject.spec.compositionRef)
|| oldObject.spec.compositionRef != object.spec.compositionRef))
|| (has(object.spec.crossplane) && has(object.spec.crossplane.compositionRef) && (oldObject == null || !has(oldObject.spec)
|| !has(oldObject.spec.crossplane) || !has(oldObject.spec.crossplane.compositionRef)
|| oldObject.spec.crossplane.compositionRef != object.spec.crossplane.compositionRef)))"""
_IS_ANOTHER = (
    "oldObject == null || oldObject.metadata.generation != object.metadata.generation"  # not only its metadata
)
_ASKS_FOR_IT = (
    f'has(object.metadata.annotations) && "{typecheck.MODE_ANNOTATION}" in object.metadata.annotations'
    f' && object.metadata.annotations["{typecheck.MODE_ANNOTATION}"] in ["strict", "loose"]'
)
_HAS_NO_CLAIM = '!has(object.metadata.labels) || !("crossplane.io/claim-name" in object.metadata.labels)'


def _static(plural: str) -> Rules:
    found = (
        rule(CORE, ["v1", "v2"] if plural.startswith("compositeresource") else ["v1"], [plural], ["CREATE", "UPDATE"]),
    )
    return lambda context: found


def _declared(context: Context) -> list[Mapping[str, Any]]:
    """Composites and claims, by group."""
    plurals: dict[str, set[str]] = {}
    for role, known in context.definitions.every():
        plurals.setdefault(known.group, set()).add(known.plural if role == "composite" else known.claim_plural or "")
    return [rule(group, ["*"], sorted(names), ["CREATE", "UPDATE"]) for group, names in sorted(plurals.items())]


def tentative_webhooks(*, strict_upstream: bool) -> tuple[Webhook, ...]:
    """Those that are tried where nobody has asked for webhooks.

    With strict upstream behaviour nothing is refused that a Crossplane without webhooks takes, unless it says itself that it wants to be judged.
    """
    webhooks = all_webhooks()
    if not strict_upstream:
        return webhooks
    by_name = {each.name: each for each in webhooks}
    wanted = {"name": "asks-for-it", "expression": _ASKS_FOR_IT}
    return replace(by_name["compositions"], match_conditions=(wanted,)), by_name["usages"]


def all_webhooks() -> tuple[Webhook, ...]:
    """What is asked, whose answer counts, and what happens when nobody answers.

    What is wrong with a definition or a Composition is told on its condition, too: so nothing is refused just because no replica answers, but for the
    deletion of what is in use.
    """
    return (
        Webhook(
            "definitions",
            f"compositeresourcedefinitions.{CORE}",
            "/validate-apiextensions-crossplane-io-v1-compositeresourcedefinition",
            admission.definitions,
            _static("compositeresourcedefinitions"),
            match_conditions=({"name": "is-another", "expression": _IS_ANOTHER},),
        ),
        Webhook(
            "compositions",
            f"compositions.{CORE}",
            "/validate-apiextensions-crossplane-io-v1-composition",
            admission.compositions,
            _static("compositions"),
        ),
        Webhook(
            "composites",
            "composites.groundplane.io",
            "/validate-composites",
            admission.composites,
            _declared,
            timeout=1,  # for a warning
            match_conditions=(
                {"name": "names-another-composition", "expression": " ".join(_NAMES_ANOTHER.split())},
                {"name": "is-no-claims", "expression": _HAS_NO_CLAIM},
            ),
        ),
        Webhook(
            "usages",
            f"nousages.{usages.PROTECTION}",
            "/validate-no-usages",
            protection.deletion,
            lambda context: (rule("*", ["*"], ["*"], ["DELETE"]),),
            configuration=NO_USAGES,
            failure_policy="Fail",  # of what is labelled alone: while nobody answers, nothing that is in use is deleted
            object_selector={"matchLabels": {usages.IN_USE: "true"}},
        ),
    )


def configured(webhooks: Sequence[Webhook], target: Target, context: Context) -> dict[str, list[dict[str, Any]]]:
    """The webhooks of each configuration, as they must be now: those that have something to be asked about."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in webhooks:
        configuration = found.setdefault(each.configuration, [])
        if rules := each.rules(context):
            configuration.append(
                entry(
                    each.full_name,
                    target.client(each.path),
                    rules,
                    failure_policy=each.failure_policy,
                    timeout=each.timeout,
                    object_selector=each.object_selector,
                    match_conditions=each.match_conditions,
                )
            )
    return found
