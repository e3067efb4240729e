"""Composite + composition + what is observed → what is desired, what flows back, what is ready.  Native mode.

Two phases with the cluster between them: `render` says what to apply; `collect` reads what came of it.  Source:
Crossplane v1.20 `internal/controller/apiextensions/composite/composition_pt.go`, `composition_render.go`.
Nothing that is handed in is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from groundplane.core import connection, fieldpath, naming, patches, readiness
from groundplane.core.naming import CLAIM_NAME_LABEL, CLAIM_NAMESPACE_LABEL, COMPOSITE_LABEL, TEMPLATE_ANNOTATION
from groundplane.core.objects import Object, annotations_of, controller_of, labels_of, meta, owner_reference, spec_of
from groundplane.core.template import CompiledTemplate, Templates
from groundplane.errors import GroundplaneError, InvalidInput, at, shown, stage

if TYPE_CHECKING:
    from groundplane.core.explain import Trace
    from groundplane.core.patches import Compiled as Patch


class Broken(InvalidInput):
    """Collecting stopped half-way; `composite` is as before but for the status patched until then."""

    def __init__(self, error: GroundplaneError, composite: Object) -> None:
        super().__init__(error.what, mend=error.mend, where=error.where)
        self.prefix = error.prefix
        self.composite = composite


@dataclass(frozen=True, slots=True)
class Association:
    """Which object belongs to which template, and what belongs to none any more."""

    observed: dict[str, Object]  # by template; with names but nothing else for one that is referred to and gone
    garbage: list[Object]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What became of one template: an object to apply, or the error that withholds it."""

    template: str
    reference: dict[str, str]  # to what is or would be applied; kept on the composite in either case
    object: Object | None = None
    error: GroundplaneError | None = None
    notes: tuple[str, ...] = ()  # what was assumed: tell the user
    elsewhere: str = ""  # the namespace that was asked for, where it is in its composite's all the same


@dataclass(frozen=True, slots=True)
class Composed:
    """One composed resource after it was applied, and the data of its connection Secret."""

    object: Object
    connection: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Collected:
    """What flows back from composed resources."""

    composite: Object  # a copy, with what they patched into it
    connection: dict[str, bytes] = field(repr=False)
    ready: dict[str, bool]  # by template
    notes: tuple[str, ...] = ()


# --- which object is whose ------------------------------------------------------------------------------------


def associate(
    composite: Object,
    compiled: Templates,
    references: Sequence[Mapping[str, str]],
    found: Iterable[Object],
) -> Association:
    """Match templates with the objects that the composite refers to.

    By the annotation that names the template.  By place in the list where a template is anonymous, or an
    object that was found has no such annotation.

    Raises:
        InvalidInput: an object that belongs to no template is controlled by somebody else.
    """
    objects = list(found)
    if compiled.is_anonymous or any(not annotations_of(obj).get(TEMPLATE_ANNOTATION) for obj in objects):
        return Association(_by_place(compiled, references, objects), [])
    names = {template.name for template in compiled.templates}
    observed: dict[str, Object] = {}
    garbage = []
    for obj in objects:
        name = annotations_of(obj)[TEMPLATE_ANNOTATION]
        if name in names:
            observed[name] = obj
            continue
        controller = controller_of(obj)
        if controller is not None and controller.get("uid") != meta(composite).get("uid"):
            with at("cannot associate composed resources with templates"):
                raise InvalidInput(
                    f"refusing to delete composed resource {shown(name)} that is controlled by "
                    f"{controller.get('kind')} {shown(controller.get('name'))}",
                    mend="take it out of the composite's spec.resourceRefs",
                )
        garbage.append(obj)
    return Association(observed, garbage)


def _by_place(compiled: Templates, references: Sequence[Mapping[str, str]], found: list[Object]) -> dict[str, Object]:
    known = {(obj["apiVersion"], obj["kind"], meta(obj).get("namespace", ""), meta(obj)["name"]): obj for obj in found}
    observed = {}
    for template, reference in zip(compiled.templates, references, strict=False):
        name, namespace = reference.get("name"), reference.get("namespace", "")
        if not name:
            continue
        gone: Object = {
            "apiVersion": reference["apiVersion"],
            "kind": reference["kind"],
            "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        }
        key = (reference["apiVersion"], reference["kind"], namespace, name)
        observed[template.name] = known.get(key, gone)
    return observed


# --- composite → composed resources ---------------------------------------------------------------------------


def render(
    composite: Object,
    compiled: Templates,
    observed: Mapping[str, Object],
    *,
    helpful: bool,
    legacy: bool = True,
    trace: Trace | None = None,
) -> list[Rendered]:
    """The desired composed resources, in the order of the templates.

    A template that fails is withheld, with its error; the others go on.  With `helpful`, a connection
    Secret that is asked for without a name gets one.  Without `legacy`, what a composite in a namespace is composed of is
    there, too.  What the patches do is told to `trace`, if there is one.

    Raises:
        InvalidInput: nothing can be composed: a template changed its kind, or what exists has another
            shape than a merge policy expects.
    """
    return [
        _render(composite, template, observed.get(template.name), helpful, legacy, trace)
        for template in compiled.templates
    ]


def _render(
    composite: Object,
    template: CompiledTemplate,
    observed: Object | None,
    helpful: bool,
    legacy: bool,
    trace: Trace | None,
) -> Rendered:
    name = ""
    desired: Object = fieldpath.copied(template.base)
    if observed is not None:
        name = meta(observed)["name"]
        _check_kind(template, observed)
        desired["metadata"]["name"] = name
        if namespace := meta(observed).get("namespace"):
            desired["metadata"]["namespace"] = namespace
    notes: list[str] = []
    try:
        _run(template, template.from_composite, composite, desired, trace)
        _lose_nulls(template, desired, notes)
        identify(composite, template.name, desired, name, notes, named=template.is_named, legacy=legacy)
    except GroundplaneError as error:
        error.where = (template.place, *error.where)
        name = name or _asked_name(desired) or _new_name(composite, template.name)
        return Rendered(template.name, _reference(desired, template, name), error=error)
    elsewhere = "" if legacy else place(composite, desired)
    if observed is not None:
        for where, patch in template.from_composite:
            with stage("ComposeResources", f'cannot apply composed resource "{template.name}"'), at(where):
                patch.merge_with(observed, desired)
    if helpful:
        name_secret(composite, template.name, desired, notes, observed)
    return Rendered(
        template.name,
        _reference(desired, template, desired["metadata"]["name"]),
        desired,
        notes=tuple(notes),
        elsewhere=elsewhere,
    )


def _run(
    template: CompiledTemplate,
    steps: Iterable[tuple[str, Patch]],
    source: Object,
    target: Object,
    trace: Trace | None,
) -> None:
    told = None
    for number, (where, patch) in enumerate(steps):
        if trace is not None:
            told = patch.begin(trace, (template.place, where), source, target)
        try:
            patch.apply(source, target, told)
            patches.check_size(number, target)
        except GroundplaneError as error:
            if told is not None:
                told.error = str(error)
            error.where = (where, *error.where)
            raise


def _check_kind(template: CompiledTemplate, observed: Object) -> None:
    if observed["kind"] != template.kind:
        with at(template.place):
            raise InvalidInput(
                "cannot change the kind of a composed resource from "
                f"{observed['kind']} ({observed['apiVersion']}) to {template.kind} ({template.api_version})",
                mend="give the template another name, so that the old resource is deleted and a new one made",
            )


def identify(
    composite: Object,
    template: str,
    desired: Object,
    observed_name: str,
    notes: list[str],
    *,
    named: bool = True,
    legacy: bool = True,
) -> None:
    """Mark the object as this template's and this composite's; what was written there before is overruled.

    A legacy composite passes its claim on even if it has none, and its name; others only what there is.

    Raises:
        InvalidInput: the object's metadata can't take it, or somebody else is its controller.
    """
    if not desired.get("apiVersion") or not isinstance(desired["apiVersion"], str):
        raise InvalidInput("the patched object has no apiVersion", mend="let no patch write to apiVersion")
    metadata = desired.get("metadata")
    if metadata is None:
        metadata = desired["metadata"] = {}
    if not isinstance(metadata, dict):
        raise InvalidInput("metadata is no object", mend="let no patch replace metadata")
    for member in ("generateName", "namespace"):
        if not isinstance(metadata.get(member) or "", str):
            raise InvalidInput(
                f"metadata.{member} is {fieldpath.kind_of(metadata[member])}, not a string: {shown(metadata[member])}",
                mend="write a name there",
            )
    theirs = labels_of(composite)
    root = theirs.get(COMPOSITE_LABEL)
    if not root:
        raise InvalidInput(f"the composite has no label {COMPOSITE_LABEL}", mend="give it one: its own name")
    labels = _texts(metadata, "labels")
    labels[COMPOSITE_LABEL] = root
    if legacy or (theirs.get(CLAIM_NAME_LABEL) and theirs.get(CLAIM_NAMESPACE_LABEL)):
        labels[CLAIM_NAME_LABEL] = theirs.get(CLAIM_NAME_LABEL, "")
        labels[CLAIM_NAMESPACE_LABEL] = theirs.get(CLAIM_NAMESPACE_LABEL, "")
    if named:
        _texts(metadata, "annotations")[TEMPLATE_ANNOTATION] = template
    name = _asked_name(desired)
    if legacy or not (name or metadata.get("generateName")):
        metadata["generateName"] = f"{root}-"
    _own(composite, metadata)
    if observed_name and metadata.get("name") and name != observed_name:
        notes.append(
            f"{template}: a patch asks for the name {shown(metadata.get('name'))}, but the resource exists "
            f"as {shown(observed_name)} and keeps its name"
        )
    metadata["name"] = observed_name or name or _new_name(composite, template, metadata["generateName"])


def place(composite: Object, desired: Object) -> str:
    """Put what a composite in a namespace is composed of there, in place; the namespace it asks for, if that is another one."""
    own = meta(composite).get("namespace")
    if not own:
        return ""
    asked = desired["metadata"].get("namespace")
    desired["metadata"]["namespace"] = own
    return str(asked) if asked and asked != own else ""


def _lose_nulls(template: CompiledTemplate, desired: Object, notes: list[str]) -> None:
    """In place: a null that no patch has filled takes all labels, or annotations, along where we write some, as upstream."""
    metadata = desired.get("metadata")
    for member in ("labels", "annotations") if template.is_named else ("labels",):
        entries = metadata.get(member) if isinstance(metadata, dict) else None
        empty = [name for name, value in entries.items() if value is None] if isinstance(entries, dict) else []
        if empty and isinstance(metadata, dict):
            notes.append(
                f"{template.name}: metadata.{member}[{empty[0]}] is null and no patch fills it: none of its {member} is taken"
            )
            metadata[member] = {}


def _texts(metadata: dict[str, Any], member: str) -> dict[str, Any]:
    """The labels or annotations, which must all be strings."""
    entries = metadata.get(member)
    if entries is None:
        entries = metadata[member] = {}
    if not isinstance(entries, dict):
        raise InvalidInput(f"metadata.{member} is {fieldpath.kind_of(entries)}, not an object")
    for key in [key for key, value in entries.items() if value is None]:
        del entries[key]  # a place for a patch that none has filled
    for key, value in entries.items():
        if not isinstance(value, str):
            raise InvalidInput(
                f"metadata.{member}[{key}] is {fieldpath.kind_of(value)}, not a string: {shown(value)}",
                mend="convert it with a transform: convert, toType: string",
            )
    return entries


def _own(composite: Object, metadata: dict[str, Any]) -> None:
    """Make the composite the controller."""
    ours = owner_reference(composite)
    references = metadata.get("ownerReferences")
    if not references:
        metadata["ownerReferences"] = [ours]
        return
    if not isinstance(references, list) or not all(isinstance(reference, dict) for reference in references):
        raise InvalidInput("metadata.ownerReferences is no list of objects")
    kept = []
    for reference in references:
        if reference.get("uid") == ours["uid"]:
            continue
        if reference.get("controller"):
            raise InvalidInput(
                f"{metadata.get('name', '')} is already controlled by {reference.get('kind')} {reference.get('name')}",
                mend="take controller out of the template's ownerReferences",
            )
        kept.append(reference)
    metadata["ownerReferences"] = [*kept, ours]


def _asked_name(desired: Object) -> str:
    """The name that patches gave, if it is a text."""
    metadata = desired.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _new_name(composite: Object, template: str, prefix: str = "") -> str:
    prefix = prefix or labels_of(composite).get(COMPOSITE_LABEL) or meta(composite).get("name", "")
    return naming.composed_name(prefix, meta(composite).get("uid", ""), template)


def reference(obj: Object) -> dict[str, str]:
    """How a composite refers to an object that it is composed of."""
    namespace = meta(obj).get("namespace")
    found: dict[str, str] = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta(obj)["name"]}
    return found | ({"namespace": namespace} if namespace else {})


def _reference(desired: Object, template: CompiledTemplate, name: str) -> dict[str, str]:
    reference = {"apiVersion": template.api_version, "kind": template.kind, "name": name}
    for member in ("apiVersion", "kind"):
        if isinstance(desired.get(member), str) and desired[member]:
            reference[member] = desired[member]
    metadata = desired.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    if namespace and isinstance(namespace, str):
        reference["namespace"] = namespace
    return reference


def references(rendered: Iterable[Rendered]) -> list[dict[str, str]]:
    """What the composite must refer to before anything is applied: one entry per template, in order."""
    return [dict(item.reference) for item in rendered]


def name_secret(
    composite: Object, template: str, desired: Object, notes: list[str], observed: Object | None = None
) -> None:
    """Name the connection Secret of a resource whose composition only says where it goes.

    One that is there keeps the name that it has: after a restore the composite's UID is another one, and the Secret's name is not.
    """
    spec = desired.get("spec")
    wanted = spec.get("writeConnectionSecretToRef") if isinstance(spec, dict) else None
    if not isinstance(wanted, dict) or not wanted.get("namespace") or wanted.get("name"):
        return
    there = (spec_of(observed).get("writeConnectionSecretToRef") or {}) if observed is not None else {}
    if isinstance(there, dict) and there.get("name") and there.get("namespace") == wanted["namespace"]:
        wanted["name"] = there["name"]
        return
    wanted["name"] = naming.secret_name(meta(composite).get("uid", ""), template)  # "resource 1" is an anonymous one
    notes.append(f"{template}: spec.writeConnectionSecretToRef has no name: assuming {shown(wanted['name'])}")


# --- composed resources → composite ---------------------------------------------------------------------------


def collect(
    composite: Object,
    compiled: Templates,
    composed: Mapping[str, Composed],
    *,
    helpful: bool,
    trace: Trace | None = None,
) -> Collected:
    """What the composed resources that were applied give back, in the order of the templates.

    A template without an entry in `composed` is not ready.  With `helpful`, a host that is published
    together with its port loses it, unless the composition asks to keep it.

    Raises:
        Broken: a patch, a connection detail or a readiness check can't work, or a required value is missing.
    """
    result = fieldpath.copied(composite)
    details: dict[str, bytes] = {}
    ready: dict[str, bool] = {}
    notes: list[str] = []
    where = ""
    try:
        for template in compiled.templates:
            found = composed.get(template.name)
            if found is None:
                ready[template.name] = False
                continue
            where = template.place
            _run(template, template.to_composite, found.object, result, trace)
            given = connection.extract(template.connection, found.object, found.connection)
            if helpful and not compiled.keep_host_port and connection.without_port(given):
                notes.append(
                    f"{template.name}: the connection detail host has the port in it: publishing it without "
                    '(annotate the Composition groundplane.io/keep-host-port: "true" to keep it)'
                )
            details |= given
            ready[template.name] = readiness.is_ready(found.object, template.readiness)
        where = ""
        _merge_back(compiled, composite, result)
    except GroundplaneError as error:
        if where:
            error.where = (where, *error.where)
        raise Broken(error, _with_status_of(composite, result)) from error
    return Collected(result, details, ready, tuple(notes))


def _merge_back(compiled: Templates, live: Object, desired: Object) -> None:
    """The composite is applied like any object: merge policies decide again, and a null removes its field.

    Its status is not part of that: it is written as it was patched.
    """
    status = desired.pop("status", fieldpath.MISSING)
    for template in compiled.templates:
        for where, patch in template.to_composite:
            with at(template.place, where):
                patch.merge_with(live, desired)
    for member in ("metadata", "spec"):
        if member in desired:
            desired[member] = _without_nulls(desired[member])
    if status is not fieldpath.MISSING:
        desired["status"] = status


def _without_nulls(value: Any) -> Any:
    """The value without members that are null, as a JSON merge patch leaves it; arrays are taken as they are."""
    if not isinstance(value, dict):
        return value
    return {name: _without_nulls(item) for name, item in value.items() if item is not None}


def _with_status_of(composite: Object, patched: Object) -> Object:
    result: Object = fieldpath.copied(composite)
    if "status" in patched:
        result["status"] = patched["status"]
    return result
