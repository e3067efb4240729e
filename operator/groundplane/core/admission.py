"""What the API server is told when it asks whether an object may be written: refused with everything that is wrong, or let in with warnings.

Pure decisions; `reconcile/admission.py` gathers the facts.  An object whose spec an update leaves alone is let in whatever it says, and so is
one that is being deleted: finalizers, labels and status of what has become invalid must stay writable.
Source: Crossplane v1.20, internal/webhooks (definition and composition handlers) and `CompositeResourceDefinition.ValidateUpdate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from groundplane.core import definition_crds, definition_mistakes, typecheck
from groundplane.core.composition import CompositionSpec
from groundplane.core.definition import Definition
from groundplane.core.objects import Json, Object, group_of, is_deleting, meta, spec_of
from groundplane.core.spec import GONE_ENVIRONMENT, Problem
from groundplane.errors import InvalidInput, shown

LISTED = 20  # warnings of one answer: the API server passes on 4 KiB
LONGEST = 240  # characters of one: it cuts those above 256
LONGEST_MESSAGE = 8000  # characters of a refusal

_WORDS = {  # as Kubernetes begins what is wrong with a field
    "Required": "Required value",
    "Invalid": "Invalid value",
    "TypeInvalid": "Invalid value",
    "Duplicate": "Duplicate value",
    "Forbidden": "Forbidden",
    "NotSupported": "Unsupported value",
}


@dataclass(frozen=True)
class Verdict:
    """The answer to one request; `code` and `reason` are those of a refusal's `Status`."""

    allowed: bool = True
    message: str = ""
    code: int = 422
    reason: str = "Invalid"
    warnings: tuple[str, ...] = ()

    def response(self, uid: str) -> dict[str, Any]:
        """As the `response` of an AdmissionReview."""
        answer: dict[str, Any] = {"uid": uid, "allowed": self.allowed}
        if not self.allowed:
            answer["status"] = {
                "status": "Failure",
                "message": self.message,
                "reason": self.reason,
                "code": self.code,
            }
        if self.warnings:
            answer["warnings"] = list(self.warnings)
        return answer


ALLOWED = Verdict()


def allowed(warnings: Iterable[str]) -> Verdict:
    """Let in, with warnings: some, and how many more there are."""
    found = [_cut(each, LONGEST) for each in dict.fromkeys(warnings)]
    rest = [f"and {len(found) - LISTED} more"] if len(found) > LISTED else []
    return Verdict(warnings=(*found[:LISTED], *rest))


def refused(obj: Object, problems: Iterable[str], warnings: Iterable[str] = ()) -> Verdict:
    """Not let in, with everything that is wrong, in the words of Kubernetes' own refusals."""
    found = list(dict.fromkeys(problems))
    told = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
    kind = f"{obj.get('kind')}.{group_of(str(obj.get('apiVersion') or ''))}"
    name = meta(obj).get("name") or meta(obj).get("generateName") or ""
    text = f'{kind} "{name}" is invalid: {told}'
    return Verdict(False, _cut(text, LONGEST_MESSAGE), warnings=allowed(warnings).warnings)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def is_settled(obj: Object, old: Object | None) -> bool:
    """Whether there is nothing to judge: it is being deleted, or its spec stays as it is."""
    return is_deleting(obj) or (old is not None and spec_of(old) == spec_of(obj))


def told(problem: Problem) -> str:
    """One problem as Kubernetes tells it, with its mend.

    >>> told(Problem("Required", "spec.resources", "mode Resources needs at least one template"))
    'spec.resources: Required value: mode Resources needs at least one template'
    """
    mend = f" ({problem.mend})" if problem.mend else ""
    return f"{problem.field}: {_WORDS[problem.type]}: {problem.detail}{mend}"


def _error(error: InvalidInput) -> str:
    """An error without the name of the object, which the refusal begins with."""
    place = " › ".join(each for each in error.where if not each.startswith("CompositeResourceDefinition "))
    text = ": ".join(part for part in (error.prefix, place, error.what) if part)
    return f"{text} ({error.mend})" if error.mend else text


# --- definitions -------------------------------------------------------------------------------------------

_IMMUTABLE = (("group",), ("names", "plural"), ("names", "kind"), ("claimNames", "plural"), ("claimNames", "kind"))


def definition_problems(xrd: Object, old: Object | None, *, strict_upstream: bool = False) -> list[str]:
    """All that is wrong with a definition by itself: whether the API server takes what follows from it is found out afterwards."""
    found = [] if old is None else list(_changed(spec_of(xrd), spec_of(old)))
    conversion = spec_of(xrd).get("conversion") or {}
    if conversion.get("strategy") == "Webhook" and not (conversion.get("webhook") or {}).get("clientConfig"):
        text = "must be set where the strategy is Webhook"
        found.append(told(Problem("Required", "spec.conversion.webhook.clientConfig", text)))
    errors = [] if strict_upstream else definition_mistakes.all_of(xrd)
    if not errors:
        for make in (definition_crds.composite_crd, definition_crds.claim_crd):
            try:
                make(xrd, strict_upstream=strict_upstream)
            except InvalidInput as error:
                errors.append(error)
    return [*found, *map(_error, errors)]


def _changed(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterable[str]:
    for path in _IMMUTABLE:
        if path[0] == "claimNames" and not (new.get("claimNames") and old.get("claimNames")):
            continue
        before, after = _at(old, path), _at(new, path)
        if before != after:
            field = ".".join(("spec", *path))
            yield f"{field}: Invalid value: {shown(after)}: field is immutable (it was {shown(before)}; make a new definition)"


def _at(spec: Mapping[str, Any], path: Iterable[str]) -> Json:
    value: Json = spec
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def definition_warnings(xrd: Object, old: Object | None) -> list[str]:
    """What is taken and does not do what it seems to."""
    spec = spec_of(xrd)
    found = [
        f"{path} has no effect: of a definition's schema only spec, status and metadata.name's maxLength count"
        for path in definition_mistakes.dropped(xrd)
    ]
    found += [
        f"{path} is not used: every composite or claim has a field of that name, for Crossplane; give yours another name"
        for path in definition_mistakes.replaced(xrd)
    ]
    if (spec.get("defaultCompositionRevisionSelector") or {}).get("matchExpressions"):
        found.append("spec.defaultCompositionRevisionSelector.matchExpressions has no effect: use matchLabels")
    if old is not None and spec_of(old).get("claimNames") and not spec.get("claimNames"):
        found.append("spec.claimNames is taken away: the claims' kind and all claims stay, and nobody looks after them")
    return found


# --- compositions --------------------------------------------------------------------------------------------


def composition(
    obj: Object,
    mode: typecheck.Mode,
    outcome: typecheck.Outcome,
    steps: Iterable[Problem] = (),
    warnings: Iterable[str] = (),
) -> Verdict:
    """The verdict on a Composition that is valid by itself.

    `outcome` says how its patches fit, `steps` what is wrong with its steps: functions are opaque to upstream, so they are only warned of, but
    where the author asks for more.
    """
    unknown = [problem for problem in steps if problem.field.endswith(".functionRef.name")]
    wrong = [problem for problem in steps if problem not in unknown]
    problems = [*wrong, *outcome.problems]
    warned = [*problems, *outcome.bases]
    refusals: list[str] = []
    if outcome.refuses(mode) or (mode == "strict" and unknown) or (mode != "warn" and wrong):
        refusals = [*map(told, [*unknown, *warned] if mode == "strict" else problems)]
        refusals += outcome.unknown() if mode == "strict" else []
    if refusals:
        return refused(obj, refusals, warnings)
    later = [
        f"{kind} of {version} is not there yet: its fields are checked once it is, in the condition FitsSchemas"
        for version, kind in outcome.missing
    ]
    return allowed([*warnings, *map(str, [*unknown, *warned]), *later])


def gone_warnings(spec: Mapping[str, Any]) -> list[str]:
    """What of a Composition's spec meant something once, and is kept only to say so."""
    return [f"spec.environment is not read, {GONE_ENVIRONMENT}"] if spec.get("environment") is not None else []


def composition_warnings(spec: CompositionSpec, of_kind: Definition | None, of_claim: Definition | None) -> list[str]:
    """What newcomers meet, where the definition is known: of its composite's kind, or, mistakenly, of its claim's."""
    reference = spec.compositeTypeRef
    if of_kind is None and of_claim is not None:
        return [
            f"spec.compositeTypeRef.kind: {reference.kind} is a claim; a Composition is for its composite: {of_claim.kind}"
        ]
    if of_kind is None:
        return []
    found = []
    if reference.apiVersion != of_kind.api_version:
        kept = "what has it is refused" if of_kind.has_conversion else "though what has it keeps it"
        found.append(
            f"spec.compositeTypeRef.apiVersion: {reference.kind} is composed at {of_kind.api_version}, its referenceable"
            f" version: nothing chooses a Composition for {reference.apiVersion}, {kept}"
        )
    if of_kind.is_legacy:
        return found
    if not spec.is_pipeline:
        details = any(template.connectionDetails for template in spec.resources)
        lost = "; its connectionDetails go nowhere" if details else ""
        found.append(
            f"spec.mode: {reference.kind} is of scope {of_kind.scope}, of Crossplane v2, which has no mode Resources: this works"
            f" here only{lost}; for both, use mode Pipeline with function-patch-and-transform"
        )
    if spec.writeConnectionSecretsToNamespace:
        found.append(
            f"spec.writeConnectionSecretsToNamespace has no effect: {reference.kind} is of scope {of_kind.scope}, and composites of"
            " Crossplane v2 have no connection Secret; function-patch-and-transform composes one: writeConnectionSecretToRef in its input"
        )
    return found


# --- composites and claims -----------------------------------------------------------------------------------


def reference_of(obj: Object, known: Definition, *, is_claim: bool) -> str:
    """The Composition that a composite or claim names; "" if it names none."""
    holder = spec_of(obj) if known.is_legacy or is_claim else spec_of(obj).get("crossplane")
    reference = holder.get("compositionRef") if isinstance(holder, Mapping) else None
    name = reference.get("name") if isinstance(reference, Mapping) else None
    return name if isinstance(name, str) else ""


def reference_warning(name: str, named: Object | None, known: Definition, meant: str) -> str:
    """What is wrong with the Composition that a composite or claim names; "" if nothing is.  `meant`: what to write instead."""
    if known.enforced_composition and known.enforced_composition != name:
        return f"compositionRef: {name} is not used: the definition enforces Composition {known.enforced_composition}"
    if named is None:
        return f"compositionRef: there is no Composition {shown(name)}{f' ({meant})' if meant else ''}"
    reference = spec_of(named).get("compositeTypeRef") or {}
    if (reference.get("apiVersion"), reference.get("kind")) != (known.api_version, known.kind):
        other = f"{reference.get('kind')} of {reference.get('apiVersion')}"
        return f"compositionRef: Composition {name} is for {other}, not for {known.kind} of {known.api_version}"
    return ""


# --- a request -------------------------------------------------------------------------------------------------


class Malformed(InvalidInput):
    """What was sent is no question that an API server asks."""


def request_in(review: Json) -> dict[str, Any]:
    """The `request` of an AdmissionReview; what its fields are is certain then.

    Raises:
        Malformed: it is none.
    """
    if not isinstance(review, dict) or review.get("kind") != "AdmissionReview":
        raise Malformed("the body is no AdmissionReview")
    if review.get("apiVersion") != "admission.k8s.io/v1":
        raise Malformed("apiVersion is not admission.k8s.io/v1")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not request["uid"]:
        raise Malformed("request has no uid")
    if not isinstance(request.get("operation"), str):
        raise Malformed("request has no operation")
    for name in ("kind", "object", "oldObject", "options"):
        if request.get(name) is not None and not isinstance(request[name], dict):
            raise Malformed(f"request.{name} is no object")
    for name in ("object", "oldObject"):
        if (found := request.get(name)) is not None:
            _check_object(found, name)
    return request


def _check_object(obj: Mapping[str, Json], name: str) -> None:
    texts = (obj.get("apiVersion"), obj.get("kind"))
    metadata = obj.get("metadata")
    if not all(isinstance(text, str) and text for text in texts):
        raise Malformed(f"request.{name} has no apiVersion or no kind")
    if not isinstance(metadata, dict):
        raise Malformed(f"request.{name} has no metadata")
    for part in ("labels", "annotations"):
        if not isinstance(metadata.get(part), dict | None):
            raise Malformed(f"request.{name}.metadata.{part} is no object")
    if not all(isinstance(metadata.get(part), str | None) for part in ("name", "namespace", "uid", "generateName")):
        raise Malformed(f"request.{name}.metadata: name, namespace and uid are texts")
