"""The steps of a test, each worked out as `render` does: what exists after one is observed by the next.

Names, UIDs and times are the same each time.  Nothing here does I/O.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from groundplane.core import choice, composition, conditions, fieldpath, mistakes, preview
from groundplane.core.assertions import Outcome
from groundplane.core.choice import Chosen
from groundplane.core.composition import Compiled
from groundplane.core.composition_tests import Patches, Step
from groundplane.core.explain import Trace
from groundplane.core.known_schemas import BuiltIn, schemas_in, scopes_in
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import Object, annotations_of, key_of, merge_patched, meta, spec_of, status_of
from groundplane.core.pipeline import Find
from groundplane.core.preview import Around, Preview
from groundplane.errors import GroundplaneError, InvalidInput, did_you_mean

SECRETS = "crossplane-system"


class Misuse(InvalidInput):
    """The test makes no sense; what it tests may."""


class Platform:
    """The Compositions, definitions and functions that tests are about; what is worked out of them is worked out once."""

    def __init__(
        self,
        sources: Sequence[Object],
        declared: Sequence[Object],
        kinds: Sequence[Object],
        find: Find | None,
        built_in: BuiltIn,
    ) -> None:
        """`declared` are definitions, `kinds` CustomResourceDefinitions; `find` tells the functions.

        Raises:
            InvalidInput: no CustomResourceDefinition can be made of a definition.
        """
        self.sources, self.declared, self.find, self.built_in = sources, declared, find, built_in
        self.schemas = schemas_in([*declared, *kinds, *sources])
        self.scopes = scopes_in([*declared, *kinds, *sources])
        self._compiled: dict[str, Compiled] = {}
        self._mistakes: dict[str, list[GroundplaneError]] = {}

    def mistakes(self, source: Object) -> list[GroundplaneError]:
        name = meta(source)["name"]
        if name not in self._mistakes:
            self._mistakes[name] = mistakes.every(source, self.find)
        return self._mistakes[name]

    def compiled(self, source: Object) -> Compiled:
        """Raises InvalidInput: it can't be compiled."""
        name = meta(source)["name"]
        if name not in self._compiled:
            self._compiled[name] = composition.compile(source, self.find)
        return self._compiled[name]


class Rehearsal:
    """One test, step by step."""

    def __init__(
        self,
        platform: Platform,
        subjects: Sequence[Object],
        observed: Sequence[Object],
        around: Around,
        *,
        validated: bool = True,
    ) -> None:
        """`subjects` are the claim or the composite, `observed` what exists in the beginning; with `validated`, what is rendered must fit."""
        self._platform, self._subjects, self._around, self._validated = platform, subjects, around, validated
        composed = {name: obj for obj in observed if (name := annotations_of(obj).get(TEMPLATE_ANNOTATION))}
        others = [obj for obj in observed if TEMPLATE_ANNOTATION not in annotations_of(obj)]
        self._state = _State(composed=composed, others=others)

    def play(self, step: Step, patches: Patches) -> Outcome:
        """What is there after this step; `patches` are the test's, which hold for all its steps.

        Raises:
            InvalidInput: the step makes no sense.  What is wrong with what is tested is in the outcome.
        """
        before = replace(self._state)
        try:
            return self._play(step, patches)
        finally:
            if step.variant:
                self._state = before

    def _play(self, step: Step, patches: Patches) -> Outcome:
        platform, trace, source = self._platform, Trace(), None
        subjects = [patched(patched(obj, patches), step.patches) for obj in self._subjects]
        try:
            chosen = choice.choose(subjects, platform.sources, platform.declared)
            source = chosen.source
            if wrong := [*chosen.mistakes, *platform.mistakes(source)]:
                return Outcome(errors=[str(each) for each in wrong], places=_places(wrong, source), source=source)
            composite = self._state.composite_of(chosen.composite)
            self._observe(step, chosen, composite)
            found = self._preview(chosen, composite, trace)
        except Misuse:
            raise
        except GroundplaneError as error:
            return Outcome(errors=[str(error)], places=_places([error], source), told=trace.told, source=source)
        return self._outcome(chosen, composite, found, trace)

    def _observe(self, step: Step, chosen: Chosen, composite: Object) -> None:
        """Have exist, and look so, what the step says; what is named and not made yet is made."""
        state = self._state
        state.composed = dict(state.composed)
        if unmade := (step.observe.keys() | step.connection.keys()) - state.composed.keys():
            made = {_template(obj): obj for obj in self._preview(chosen, composite, Trace()).composed}
            for name in sorted(unmade):
                if name not in made:
                    raise Misuse(f"observe: nothing composed is called {name}", mend=did_you_mean(name, made))
                state.composed[name] = made[name]
        for name, changes in step.observe.items():
            state.composed[name] = merge_patched(state.composed[name], dict(changes))
        secrets = [_secret(name, state.composed[name], data) for name, data in step.connection.items()]
        named = {_place(obj) for obj in secrets}
        state.others = [*(obj for obj in state.others if _place(obj) not in named), *secrets]

    def _preview(self, chosen: Chosen, composite: Object, trace: Trace) -> Preview:
        compiled, schemas = self._platform.compiled(chosen.source), self._platform.schemas
        observed = [*self._state.composed.values(), *self._state.others]
        secrets = SECRETS if chosen.asks_for_secret else ""
        if compiled.is_pipeline:
            around = replace(
                self._around,
                scope=chosen.scope,
                secrets=secrets,
                schema=lambda kind: schemas.get((kind.api_version, kind.kind)),
            )
            return preview.piped(composite, compiled, observed, around, trace=trace)
        return preview.native(composite, compiled, observed, secrets=secrets, scope=chosen.scope, trace=trace)

    def _outcome(self, chosen: Chosen, composite: Object, found: Preview, trace: Trace) -> Outcome:
        platform, before = self._platform, self._state.composed
        after = {
            name: merge_patched(before[name], obj) if name in before else obj
            for name, obj in ((_template(obj), obj) for obj in found.composed)
        }
        writes = sum(before.get(name) != obj for name, obj in after.items()) + len(before.keys() - after.keys())
        writes += not _same(self._state.composite or composite, found.composite)
        self._state.composed, self._state.composite = after, found.composite
        misfits: Sequence[GroundplaneError] = ()
        if self._validated:
            misfits = choice.rendered_fit(
                chosen.source, found.composed, platform.schemas, platform.built_in, (), platform.scopes
            )
        return Outcome(
            composite=found.composite,
            composed=after,
            ready=conditions.is_true(found.composite, "Ready"),
            writes=writes,
            keys=found.connection,
            errors=[str(error) for error in (*found.mistakes, *misfits)],
            places=_places([*found.mistakes, *misfits], chosen.source),
            results=[(told.severity, told.message) for told in found.results],
            told=trace.told,
            readiness=found.ready,
            source=chosen.source,
        )


def _places(errors: Iterable[GroundplaneError], source: Object | None) -> dict[str, tuple[str, str]]:
    """Which object's which field they are about, as far as that can be told."""
    from groundplane.core import coverage

    found = {}
    for each in errors:
        field = each.field if isinstance(each, InvalidInput) else ""
        field = field or (coverage.place_at(source, each.where[1:]) if source is not None else "")
        if field and each.where:
            found[str(each)] = (each.where[0], field)
    return found


@dataclass
class _State:
    """What the steps so far have left."""

    composite: Object | None = None
    composed: dict[str, Object] = field(default_factory=dict)  # by the name of the template
    others: list[Object] = field(default_factory=list, repr=False)  # connection Secrets

    def composite_of(self, given: Object) -> Object:
        """The composite as it exists: as it is given now, with the identity and status that it has."""
        uid = str(uuid.uuid5(preview.NAMESPACE, "/".join(key_of(given))))
        found = {**given, "metadata": {"uid": uid, **meta(given)}}
        if self.composite is not None and "status" in self.composite:
            found["status"] = merge_patched(status_of(given), status_of(self.composite))
        return found


def patched(obj: Object, patches: Patches | None) -> Object:
    """The object with fields added and taken out.

    Raises:
        Misuse: a path that is none, or leads nowhere.
    """
    if patches is None or not (patches.add or patches.remove):
        return obj
    result: Object = fieldpath.copied(obj)
    for name, change in (("addFields", patches.add), ("removeFields", dict.fromkeys(patches.remove))):
        for text, value in change.items():
            try:
                path = fieldpath.parse(text)
                if name == "addFields":
                    fieldpath.set(result, path, value)
                else:
                    fieldpath.delete(result, path)
            except GroundplaneError as error:
                raise Misuse(f"patches.{name} {text}: {error.what}", mend=error.mend) from None
    return result


def _template(obj: Object) -> str:
    return str(annotations_of(obj).get(TEMPLATE_ANNOTATION) or key_of(obj))


def _place(obj: Object) -> tuple[Any, Any]:
    return meta(obj).get("namespace"), meta(obj).get("name")


def _secret(template: str, obj: Object, data: Mapping[str, str]) -> Object:
    reference = spec_of(obj).get("writeConnectionSecretToRef")
    if not isinstance(reference, dict) or not reference.get("name"):
        raise Misuse(
            f"connection: {template} asks for no connection Secret", mend="give it a spec.writeConnectionSecretToRef"
        )
    namespace = meta(obj).get("namespace") or reference.get("namespace")
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    metadata = {"name": reference["name"], **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def _same(before: Object, after: Object) -> bool:
    return status_of(before) == status_of(after) and spec_of(before) == spec_of(after)
