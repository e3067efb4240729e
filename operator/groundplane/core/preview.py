"""What a control plane would make of one composite, worked out without one: for `groundplane render`.

Here is what the reconcilers and the API server add around a render: the composite of a claim, defaults, identity,
what is observed, conditions.  Output as `crossplane render` v1.20 has it (control-plane spec, §8.2), for
compositions of mode Resources as well.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from groundplane.core import claim as flow
from groundplane.core import composition, conditions, connection, fieldpath, health, naming, pipeline, render
from groundplane.core import schema as schemas
from groundplane.core.composition import Compiled
from groundplane.core.conditions import Condition
from groundplane.core.explain import Trace, is_secret
from groundplane.core.objects import (
    Object,
    annotations_of,
    controller_of,
    group_of,
    joined,
    key_of,
    labels_of,
    matches,
    merge_patched,
    meta,
    spec_of,
    status_of,
)
from groundplane.core.rules import Unchecked
from groundplane.core.structural import Structural
from groundplane.errors import GroundplaneError, InvalidInput, at, shown

if TYPE_CHECKING:
    from groundplane.core.typecheck import Part

NOW = datetime(2024, 1, 1, tzinfo=UTC)  # the time of everything: the same input gives the same output
NAMESPACE = uuid.UUID("5f7f4d3a-3f0c-4a8e-9a52-6f6c6d0e8a11")  # of the UIDs that stand in for missing ones
EMPTY_IS_NONE = (naming.CLAIM_NAME_LABEL, naming.CLAIM_NAMESPACE_LABEL)

Severity = Literal["FATAL", "WARNING", "NORMAL", "UNSPECIFIED"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What would become an event on the composite."""

    severity: Severity
    message: str
    step: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What would be there after one reconcile, and what was said on the way."""

    composite: Object  # all of it, with its new status
    composed: list[Object]  # sorted by the name of their template
    results: list[Told]
    mistakes: list[GroundplaneError] = field(default_factory=list)  # each withholds something
    context: Mapping[str, Any] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)  # what upstream would not say
    connection: frozenset[str] = frozenset()  # the keys of its connection details
    ready: Mapping[str, bool] = field(default_factory=dict)  # by the name of the template


# --- the composite ------------------------------------------------------------------------------------------


def composite_of(claim: Object, *, api_version: str, kind: str, enforced: bool = False) -> Object:
    """The composite that a claim's reconciler would make: always the same one for the same claim.

    Its name ends in five characters as in a cluster, where they are random.
    """
    seed = hashlib.sha256(f"{meta(claim).get('namespace', '')}/{meta(claim).get('name', '')}".encode()).digest()
    digits = iter(seed)
    reference = spec_of(claim).get("resourceRef")
    name = reference.get("name") if isinstance(reference, dict) else None
    return flow.composite_from(
        claim,
        None,
        api_version=api_version,
        kind=kind,
        name=name or naming.composite_name(meta(claim)["name"], lambda below: next(digits) % below),
        enforced=enforced,
    )


class Refused(InvalidInput):
    """What the API server would refuse in a `field` of an object that was given."""

    def __init__(self, fault: schemas.Fault, where: str) -> None:
        super().__init__(str(fault), mend=fault.mend, where=(where,))
        self.field = fault.path.lstrip(".")


def admitted(
    obj: Object, schema: Structural, unchecked: Unchecked | None = None
) -> tuple[Object, list[GroundplaneError]]:
    """The object as the API server would store it, and what it, or a strict client, would refuse in it.

    `unchecked` takes the rules that could not be asked.
    """
    where = f"{obj.get('kind')} {meta(obj).get('name', '')}"
    stored = schemas.prune(schema, schemas.default(schema, obj))
    found = [*schemas.undeclared(schema, obj), *schemas.faults(schema, stored, unchecked=unchecked)]
    return stored, [Refused(fault, where) for fault in found]


def check_fit(composite: Object, source: Object) -> None:
    """Raise InvalidInput if the composite can't use the Composition."""
    reference = spec_of(source).get("compositeTypeRef")
    wanted = reference if isinstance(reference, dict) else {}
    name = meta(source).get("name", "")
    if not composition.compatible(source, composite.get("apiVersion", ""), composite.get("kind", "")):
        raise InvalidInput(
            f"Composition {name} is for {wanted.get('kind')} of {wanted.get('apiVersion')}, "
            f"this is {composite.get('kind')} of {composite.get('apiVersion')}",
            mend="correct its spec.compositeTypeRef, or take another composite or Composition",
        )
    spec = spec_of(composite)
    for machinery in (spec, spec.get("crossplane")):
        selector = machinery.get("compositionSelector") if isinstance(machinery, dict) else None
        labels = selector.get("matchLabels") if isinstance(selector, dict) else None
        if isinstance(labels, dict) and not matches(labels_of(source), labels):
            asked = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
            raise InvalidInput(
                f"{composite.get('kind')} {meta(composite).get('name', '')} selects a Composition with the labels "
                f"{asked}, which {name} has not",
                mend="add them to the Composition, or correct the selector",
            )


def _identified(composite: Object, secrets: str) -> Object:
    """A copy with what every composite has in a cluster: labels, and a UID (a stand-in if it has none).

    `secrets` is the namespace of the connection Secret that it gets if it names none; "": it gets none.
    """
    result: Object = fieldpath.normalised(composite)
    metadata = result.setdefault("metadata", {})
    labels = metadata["labels"] = dict(metadata.get("labels") or {})
    labels.setdefault(naming.COMPOSITE_LABEL, metadata.get("name", ""))
    reference = spec_of(result).get("claimRef")
    if isinstance(reference, dict):
        labels.setdefault(naming.CLAIM_NAME_LABEL, reference.get("name", ""))
        labels.setdefault(naming.CLAIM_NAMESPACE_LABEL, reference.get("namespace", ""))
    key = key_of(result)
    metadata.setdefault("uid", str(uuid.uuid5(NAMESPACE, "/".join(key))))
    if secrets and _scope(result) == "LegacyCluster" and not spec_of(result).get("writeConnectionSecretToRef"):
        result["spec"] = {
            **spec_of(result),
            "writeConnectionSecretToRef": {"name": metadata["uid"], "namespace": secrets},
        }
    return result


# --- what is observed ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Observed:
    """The composed resources that are said to exist, by the name of their template."""

    resources: Mapping[str, Object]
    secrets: Mapping[tuple[str, str], Mapping[str, bytes]] = field(repr=False)  # by namespace and name

    def connection(self, obj: Object) -> Mapping[str, bytes]:
        """The data of the object's own connection Secret; nothing if that was not given."""
        reference = spec_of(obj).get("writeConnectionSecretToRef")
        if not isinstance(reference, dict):
            return {}
        namespace = meta(obj).get("namespace") or reference.get("namespace") or ""
        return self.secrets.get((str(namespace), str(reference.get("name") or "")), {})


def observe(composite: Object, objects: Iterable[Object], *, places: Sequence[str] = ()) -> Observed:
    """Sort out what exists: by the annotation that names the template, or by place in `places` without one.

    Secrets without the annotation are connection Secrets.

    Raises:
        InvalidInput: an object says neither which template it is of, nor has a place; or it is given twice.
    """
    found: dict[str, Object] = {}
    secrets: dict[tuple[str, str], Mapping[str, bytes]] = {}
    uid = meta(composite).get("uid")
    free = iter(places)
    for given in objects:
        obj = fieldpath.normalised(given)
        name = annotations_of(obj).get(naming.TEMPLATE_ANNOTATION)
        if not name and is_secret(obj):
            secrets[meta(obj).get("namespace") or "", meta(obj).get("name", "")] = data_of(obj)
            continue
        name = name or next(free, "")
        if not name:
            raise InvalidInput(
                f"observed {key_of(obj)} has no annotation {naming.TEMPLATE_ANNOTATION}",
                mend="add it, with the name of the resource in the Composition",
            )
        if name in found:
            raise InvalidInput(f"two observed objects are resource {shown(name)}", mend="remove one of them")
        controller = controller_of(obj)
        if controller and uid and controller.get("uid") not in (uid, "", None):
            raise InvalidInput(
                f"observed {key_of(obj)} is controlled by {controller.get('kind')} {controller.get('name')}",
                mend="remove it from the observed resources: a composite leaves what is not its own alone",
            )
        found[name] = obj
    return Observed(found, secrets)


def data_of(secret: Object) -> dict[str, bytes]:
    """The data of a Secret as a person writes it.  Raises InvalidInput if it is no base64."""
    import base64
    import binascii

    data: dict[str, bytes] = {}
    for name, value in (secret.get("data") or {}).items():
        try:
            data[name] = base64.b64decode(str(value), validate=True)
        except binascii.Error as error:
            raise InvalidInput(
                f"{key_of(secret)}: data.{name} is no base64", mend="write plain text under stringData"
            ) from error
    data |= {name: fieldpath.utf8(str(value)) for name, value in (secret.get("stringData") or {}).items()}
    return data


def missing_keys(parts: Iterable[Part], observed: Iterable[Object], found: Preview) -> list[GroundplaneError]:
    """The connection details of resources that exist for which no Secret with their key was given."""
    there = {annotations_of(obj).get(naming.TEMPLATE_ANNOTATION) for obj in observed}
    return [
        InvalidInput(
            f"{detail.name} is missing: no connection Secret of the resource with the key {detail.parameter} was given",
            mend="give that Secret among the observed resources, too",
            where=(f"resource {template.name}", f"connectionDetails[{index}]"),
        )
        for part in parts
        for template in part.templates
        if template.name in there
        for index, detail in enumerate(connection.compile(template.connectionDetails))
        if detail.kind == "FromConnectionSecretKey" and not detail.error and detail.name not in found.connection
    ]


# --- mode Resources -----------------------------------------------------------------------------------------


def native(
    composite: Object,
    compiled: Compiled,
    observed: Sequence[Object],
    *,
    helpful: bool = True,
    secrets: str = "",
    scope: pipeline.Scope | None = None,
    trace: Trace | None = None,
) -> Preview:
    """One reconcile of a composite with a composition of mode Resources.

    `secrets` is the namespace of its connection Secret where neither it nor the composition says one, `scope` the composite's,
    if its definition is known.

    Raises:
        InvalidInput: nothing could be composed.
    """
    ours = _identified(composite, compiled.secrets_namespace or secrets)
    names = [template.name for template in compiled.templates]
    found = observe(composite, observed, places=names if compiled.is_anonymous else ())
    there = {name: obj for name, obj in found.resources.items() if name in names}
    legacy = (scope or _scope(composite)) == "LegacyCluster"
    rendered = render.render(ours, compiled, there, helpful=helpful, legacy=legacy, trace=trace)
    results: list[Told] = []
    mistakes: list[GroundplaneError] = []
    for name in sorted(found.resources.keys() - there.keys()):
        text = f"{key_of(found.resources[name])} is of no template any more: it would be deleted"
        results.append(Told(severity="NORMAL", message=text, reason="ComposeResources"))
    applied: dict[str, render.Composed] = {}
    for item in rendered:
        if item.error is not None:
            item.error.where = (f"Composition {compiled.name}", *item.error.where)
            results.append(Told(severity="WARNING", message=str(item.error), reason="ComposeResources"))
            if not isinstance(item.error, fieldpath.FieldNotFound):  # a required value may come with time
                mistakes.append(item.error)
            continue
        results += [Told(severity="NORMAL", message=note, reason="ComposeResources") for note in item.notes]
        assert item.object is not None
        after = merge_patched(there[item.template], item.object) if item.template in there else item.object
        applied[item.template] = render.Composed(after, found.connection(after))
    try:
        collected = render.collect(ours, compiled, applied, helpful=helpful, trace=trace)
    except render.Broken as error:
        error.where = (f"Composition {compiled.name}", *error.where)
        raise
    results += [Told(severity="NORMAL", message=note, reason="PublishConnectionSecret") for note in collected.notes]
    objects = [(item.template, item.object) for item in rendered if item.object is not None]
    if not compiled.is_anonymous:
        objects.sort(key=lambda item: item[0])
    return Preview(
        composite=_reported(composite, collected.composite, collected.ready),
        composed=[_shown_composed(composite, ours, name, obj, name in there) for name, obj in objects],
        results=results,
        mistakes=mistakes,
        connection=frozenset(collected.connection),
        ready=collected.ready,
    )


# --- mode Pipeline ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Around:
    """What functions may see beside the composite and its composed resources."""

    extra: Sequence[Object] = ()  # what they may ask for
    context: Mapping[str, Any] = field(default_factory=dict)  # that the first step gets
    credentials: Sequence[Object] = field(default=(), repr=False)  # Secrets
    scope: pipeline.Scope | None = None  # of the composite, if its definition is known
    secrets: str = ""  # the namespace of its connection Secret where neither it nor the composition says one
    call: Callable[[pipeline.Call], pipeline.Response] | None = None  # calls functions that run elsewhere
    schema: Callable[[pipeline.Kind], Mapping[str, Any] | None] = lambda kind: None  # that functions may ask for


def piped(
    composite: Object,
    compiled: Compiled,
    observed: Sequence[Object],
    around: Around,
    *,
    trace: Trace | None = None,
) -> Preview:
    """One reconcile of a composite with a composition of mode Pipeline.

    Raises:
        InvalidInput: a function stopped the pipeline, or what it desires can't be applied.
    """
    ours = _identified(composite, compiled.secrets_namespace or around.secrets)
    found = observe(composite, observed)
    there = {name: pipeline.Resource(obj, found.connection(obj)) for name, obj in found.resources.items()}
    with at(f"Composition {compiled.name}"):
        outcome, rendered = pipeline.run(
            pipeline.Resource(ours),
            compiled.steps,
            there,
            fetch=lambda selector: fetched(selector, around.extra),
            call=around.call,
            schema=around.schema,
            context=around.context,
            credentials=_credentials(compiled.steps, around.credentials),
            scope=around.scope or _scope(composite),
            trace=trace,
        )
    results = [
        Told(severity=_SEVERITIES[result.severity], message=result.message, step=step, reason=result.reason)
        for step, result in outcome.results
    ]
    results += [
        Told(severity="NORMAL", message=note, reason="ComposeResources") for item in rendered for note in item.notes
    ]
    desired = outcome.desired
    for name in sorted(there.keys() - desired.resources.keys()):
        text = f"{key_of(there[name].object)} is desired by no function any more: it would be deleted"
        results.append(Told(severity="NORMAL", message=text, reason="ComposeResources"))
    after = {**ours, "status": desired.composite.object.get("status") or {}}
    ready = {name: bool(resource.ready) for name, resource in desired.resources.items()}
    told = [told.condition for told in outcome.conditions if told.condition.type not in conditions.SYSTEM_TYPES]
    objects = sorted(((item.template, item.object) for item in rendered if item.object), key=lambda item: item[0])
    return Preview(
        composite=_reported(composite, after, ready, told, override=desired.composite.ready),
        composed=[_shown_composed(composite, ours, name, obj, name in there) for name, obj in objects],
        results=results,
        context=outcome.context,
        hints=[f'step "{step}": {hint}' for step, hint in outcome.hints],
        connection=frozenset(desired.composite.connection),
        ready=ready,
    )


_SEVERITIES: Mapping[str, Severity] = {
    "Fatal": "FATAL",
    "Warning": "WARNING",
    "Normal": "NORMAL",
    "Unknown": "UNSPECIFIED",
}


def _scope(composite: Object) -> pipeline.Scope:
    """A composite in a namespace, or with machinery of its own place, is one of v2."""
    if meta(composite).get("namespace"):
        return "Namespaced"
    return "Cluster" if "crossplane" in spec_of(composite) else "LegacyCluster"


def fetched(selector: pipeline.Selector, objects: Iterable[Object]) -> list[Object]:
    """What a function finds among the objects that are there, by namespace and name.

    Versions of one kind count as the same: an API server converts them.
    """
    found = []
    for obj in objects:
        version = obj["apiVersion"]
        if group_of(version) == group_of(selector.api_version) and replace(selector, api_version=version).selects(obj):
            found.append(fieldpath.normalised(obj))
    return sorted(found, key=lambda obj: key_of(obj)[2:])


def _credentials(
    steps: Sequence[pipeline.Step], secrets: Sequence[Object]
) -> dict[str, dict[str, Mapping[str, bytes]]]:
    """The data of the Secrets that steps ask for, by names of step and credentials."""
    known = {(meta(obj).get("namespace") or "", meta(obj).get("name")): obj for obj in secrets if is_secret(obj)}
    found: dict[str, dict[str, Mapping[str, bytes]]] = {}
    for step in steps:
        for wanted in step.credentials:
            secret = known.get((wanted.namespace, wanted.secret))
            if secret is None:
                raise InvalidInput(
                    f'cannot get Composition pipeline step "{step.name}" credential "{wanted.name}" from Secret',
                    mend=f"pass Secret {wanted.secret} of namespace {wanted.namespace} with --function-credentials",
                )
            found.setdefault(step.name, {})[wanted.name] = data_of(secret)
    return found


# --- what is shown ------------------------------------------------------------------------------------------


def _reported(
    given: Object,
    after: Object,
    ready: Mapping[str, bool],
    told: Sequence[Condition] = (),
    *,
    override: bool | None = None,
) -> Object:
    """The composite with its conditions, without what only stood in for a cluster's doing.

    `override` is what functions say of its readiness, whatever that of its resources.
    """
    result: Object = fieldpath.copied(after)
    result["metadata"] = _metadata(given, result)
    if not meta(given).get("uid") and "writeConnectionSecretToRef" not in spec_of(given):
        spec = {name: value for name, value in spec_of(result).items() if name != "writeConnectionSecretToRef"}
        result |= {"spec": spec} if "spec" in result else {}
    unready = [name for name, is_ready in ready.items() if not is_ready]
    condition = conditions.creating(f"Unready resources: {joined(unready)}") if unready else conditions.available()
    if override is not None:
        condition = conditions.available() if override else conditions.creating()
    conditions.set_on(result, *told, condition, now=NOW)
    for each in status_of(result)["conditions"]:
        if isinstance(each, dict) and "lastTransitionTime" in each:
            each["lastTransitionTime"] = conditions.timestamp(NOW)
    return result


def _metadata(given: Object, after: Object) -> dict[str, Any]:
    """The metadata after a render, without UID and labels that were made up for it."""
    metadata = dict(meta(after))
    before = meta(given)
    if not before.get("uid"):
        metadata.pop("uid", None)
    made_up = {naming.COMPOSITE_LABEL, *EMPTY_IS_NONE} - labels_of(given).keys()
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name not in made_up}
    if labels or "labels" in before:
        metadata["labels"] = labels
    else:
        metadata.pop("labels", None)
    return metadata


def _shown_composed(given: Object, ours: Object, template: str, obj: Object, is_observed: bool) -> Object:
    """A composed resource as `render` shows it.

    The names that we generate depend on the composite's UID: without one, the name is left to generateName and
    the owner's UID to the cluster, as upstream does.
    """
    result: Object = fieldpath.copied(obj)
    metadata = result["metadata"]
    labels = metadata.get("labels") or {}
    metadata["labels"] = {name: value for name, value in labels.items() if value or name not in EMPTY_IS_NONE}
    if meta(given).get("uid"):
        return result
    uid, prefix = meta(ours)["uid"], labels_of(ours)[naming.COMPOSITE_LABEL]
    if not is_observed and metadata.get("name") == naming.composed_name(f"{prefix}-", uid, template):
        del metadata["name"]
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("uid") == uid:
            reference["uid"] = ""
    return result


def identity(composite: Object) -> Object:
    """A composite's identity and status, and nothing else."""
    metadata = {name: meta(composite)[name] for name in ("name", "namespace") if meta(composite).get(name)}
    shown_part: Object = {"apiVersion": composite["apiVersion"], "kind": composite["kind"], "metadata": metadata}
    status = {name: value for name, value in status_of(composite).items() if name != health.GENERATION}
    if status:
        shown_part["status"] = status
    return shown_part


def documents(
    preview: Preview, *, full: bool = False, results: bool = False, context: bool = False
) -> Iterator[Object]:
    """What is printed, in upstream's order: composite, composed resources, results, context."""
    yield preview.composite if full else identity(preview.composite)
    yield from preview.composed
    for told in preview.results if results else ():
        yield {
            "apiVersion": "render.crossplane.io/v1beta1",
            "kind": "Result",
            "severity": f"SEVERITY_{told.severity}",
            "message": told.message,
            **({"step": told.step} if told.step else {}),
        }
    if context:
        yield {"apiVersion": "render.crossplane.io/v1beta1", "kind": "Context", "fields": dict(preview.context)}
