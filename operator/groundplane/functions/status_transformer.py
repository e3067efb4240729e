"""function-status-transformer: conditions of what is composed → conditions and events of the composite, with words that people understand.

It never stops the pipeline: what goes wrong is told by the condition StatusTransformationSuccess, the rest goes on.
Source: function-status-transformer v0.5 (`fn.go`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pydantic import Field

from groundplane.core import conditions, goformat, gotemplate
from groundplane.core.conditions import Condition
from groundplane.core.fieldpath import utf8
from groundplane.core.gotemplate.mistakes import ParseError
from groundplane.core.objects import Json, Object, group_of
from groundplane.core.pipeline import Request, Response, Result, RunFunction, Severity, Told
from groundplane.core.spec import FUNCTION, Problem, Spec, load
from groundplane.core.transforms import regexp
from groundplane.errors import InvalidInput, did_you_mean, shown
from groundplane.functions import extra_resources
from groundplane.functions.selecting import metadata

SUCCESS = "StatusTransformationSuccess"
_PLACE, _LINE = re.compile(r"^template: :(\d+):\d+: "), r"template: :\1: "  # Go tells no column of what it can't parse
COMPOSITE = "function-status-transformer.reserved-keys.composite-resource"  # the composite's name among the resources

TYPES = (
    "AllResourcesMatchAllConditions",
    "AllResourcesMatchAnyCondition",
    "AnyResourceMatchesAllConditions",
    "AnyResourceMatchesAnyCondition",
)
TARGETS = ("Composite", "CompositeAndClaim")
STATUSES = ("True", "False", "Unknown")

Groups = dict[str, str]  # what the groups of a pattern found, by name; those without one are ""


# --- the YAML -------------------------------------------------------------------------------------------------


class Named(Spec):
    """Observed resources, by a pattern that is found anywhere in the name."""

    name: str = ""


class Wanted(Spec):
    """A condition as it must be; `message` is a pattern."""

    type: str = ""
    status: str | None = None
    reason: str | None = None
    message: str | None = None


class Matcher(Spec):
    """Which resources must have which conditions."""

    type: str = "AllResourcesMatchAllConditions"
    resources: list[Named] = Field(default_factory=list)
    conditions: list[Wanted] = Field(default_factory=list)
    includeCompositeAsResource: bool = False
    includeExtraResources: bool = False


class Given(Spec):
    """A condition that is set; `message` is a template."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class SetCondition(Spec):
    """A condition that is set on the composite, and on its claim where the target says so."""

    target: str = "Composite"
    force: bool = False
    condition: Given = Field(default_factory=Given)


class Event(Spec):
    """An event; `message` is a template."""

    type: str = "Normal"
    reason: str = ""
    message: str = ""


class CreateEvent(Spec):
    """An event on the composite, and on its claim where the target says so."""

    target: str = "Composite"
    event: Event = Field(default_factory=Event)


class Hook(Spec):
    """What is told when all matchers match."""

    matchers: list[Matcher] = Field(default_factory=list)
    setConditions: list[SetCondition] = Field(default_factory=list)
    createEvents: list[CreateEvent] = Field(default_factory=list)


class Input(Spec):
    """`StatusTransformation` of `function-status-transformer.fn.crossplane.io/v1beta1`."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    statusConditionHooks: list[Hook] = Field(default_factory=list)


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Nothing is refused: the original tells what is wrong on the composite, and the pipeline goes on."""
    return []


# --- running ----------------------------------------------------------------------------------------------------


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function with this input, ready to run."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    if found is None:
        wrong = f"cannot get Function input: {'; '.join(map(str, problems))}"
        return lambda request: Response(request.desired, request.context, conditions=[_failure("InputFailure", wrong)])
    hints = list(_hints(found.statusConditionHooks))
    return lambda request: replace(_Run(found.statusConditionHooks, request).answer(), hints=hints)


def _hints(hooks: Sequence[Hook]) -> Iterator[str]:
    """What the original takes for something else, or for nothing, without a word."""
    for index, hook in enumerate(hooks):
        place = f"statusConditionHooks[{index}]"
        if not hook.matchers:
            yield f"{place} has no matchers, so it never holds. Mend: give it some"
        for number, matcher in enumerate(hook.matchers):
            where = f"{place}.matchers[{number}]"
            yield from _odd(f"{where}.type", matcher.type, TYPES, TYPES[0])
            if not matcher.conditions or not (matcher.resources or matcher.includeCompositeAsResource):
                yield f"{where} names no resources or no conditions, so it never holds. Mend: give it both"
            for at, wanted in enumerate(matcher.conditions):
                if wanted.status is not None and wanted.status not in STATUSES:
                    yield from _odd(
                        f"{where}.conditions[{at}].status", wanted.status, STATUSES, "one that is never met"
                    )
        for number, setter in enumerate(hook.setConditions):
            where = f"{place}.setConditions[{number}]"
            yield from _odd(f"{where}.target", setter.target, TARGETS, TARGETS[0])
            yield from _odd(f"{where}.condition.status", setter.condition.status, STATUSES, "Unknown")
            if setter.condition.type in conditions.SYSTEM_TYPES:
                yield f"{where}.condition.type: {setter.condition.type} is Crossplane's own, and dropped. Mend: call it something else"
        for number, event in enumerate(hook.createEvents):
            yield from _odd(f"{place}.createEvents[{number}].target", event.target, TARGETS, TARGETS[0])


def _odd(place: str, value: str, known: Sequence[str], counts_as: str) -> Iterator[str]:
    if value not in known:
        yield f"{place}: {shown(value)} counts as {counts_as}. Mend: {did_you_mean(value, known)}"


def _failure(reason: str, message: str) -> Told:
    return Told(Condition(SUCCESS, "False", reason, message))


class _Unloadable(InvalidInput):
    """What stands in the context for extra resources is something else."""


@dataclass
class _Run:
    """One call: what is told."""

    hooks: Sequence[Hook]
    request: Request
    conditions: list[Told] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    is_well: bool = True

    def answer(self) -> Response:
        try:
            for index, hook in enumerate(self.hooks):
                groups = self._matched(index, hook)
                if groups is not None:
                    self._set(index, hook, groups)
                    self._tell(index, hook, groups)
        except _Unloadable as error:
            self._fail("InputFailure", f"cannot load extra-resources: {error.what}")
        if self.is_well:
            self.conditions.append(Told(Condition(SUCCESS, "True", "Available")))
        return Response(self.request.desired, self.request.context, self.results, self.conditions)

    def _fail(self, reason: str, message: str) -> None:
        self.is_well = False
        self.conditions.append(_failure(reason, message))

    def _matched(self, index: int, hook: Hook) -> Groups | None:
        """What the groups of all patterns found; None if one of the matchers does not match, or there is none."""
        found: Groups = {}
        for number, matcher in enumerate(hook.matchers):
            try:
                groups = _match(matcher, self._resources(matcher))
            except _Unloadable:
                raise
            except InvalidInput as error:
                place = f"statusConditionHookIndex: {index}, matchConditionIndex: {number}"
                self._fail("MatchFailure", f"cannot match resources, {place}: {error.what}")
                return None
            if groups is None:
                return None
            found |= groups
        return found if hook.matchers else None

    def _resources(self, matcher: Matcher) -> dict[str, Object]:
        """Those that a matcher looks at, by name."""
        extra = dict(_extra(self.request.context)) if matcher.includeExtraResources else {}
        observed = {name: resource.object for name, resource in self.request.observed.resources.items()}
        found: dict[str, Object] = {}
        for number, named in enumerate(matcher.resources):
            pattern = _pattern(named.name, f"cannot compile resource key regex, resourcesIndex: {number}")
            found |= {name: obj for name, obj in {**observed, **extra}.items() if pattern.search(utf8(name))}
        if matcher.includeCompositeAsResource:
            found[COMPOSITE] = self.request.observed.composite.object
        return dict(sorted(found.items()))

    def _set(self, index: int, hook: Hook, groups: Groups) -> None:
        known = {told.condition.type for told in self.conditions if told.condition.type != SUCCESS}
        for number, setter in enumerate(hook.setConditions):
            given = setter.condition
            if given.type in known and not setter.force:
                continue
            place = f"cannot set condition, statusConditionHookIndex: {index}, setConditionIndex: {number}"
            if (message := self._rendered(given.message, groups, place)) is None:
                continue
            status = given.status if given.status in ("True", "False") else "Unknown"
            made = Condition(given.type, status, given.reason, message)
            self.conditions.append(Told(made, to_claim=setter.target == "CompositeAndClaim"))
            known.add(given.type)

    def _tell(self, index: int, hook: Hook, groups: Groups) -> None:
        for number, each in enumerate(hook.createEvents):
            place = f"cannot create event, statusConditionHookIndex: {index}, createEventIndex: {number}"
            event = each.event
            if event.type not in ("Normal", "Warning"):
                wrong = f"invalid type {event.type}, must be one of [Normal, Warning]"
                self._fail("SetConditionFailure", f"{place}: {wrong}")
                continue
            if (message := self._rendered(event.message, groups, place)) is None:
                continue
            severity: Severity = "Warning" if event.type == "Warning" else "Normal"
            self.results.append(Result(severity, message, event.reason, to_claim=each.target == "CompositeAndClaim"))

    def _rendered(self, text: str, groups: Groups, place: str) -> str | None:
        """A message with what the groups found; as it is written, if there are none.  None if it can't be rendered."""
        if not groups:
            return text
        try:
            return _compiled(text).render(dict(groups))
        except ParseError as error:
            wrong = f"cannot parse template: {_PLACE.sub(_LINE, error.what)}"
        except InvalidInput as error:
            wrong = f"cannot execute template: {error.what}"
        self._fail("SetConditionFailure", f"{place}: {wrong}")
        return None


@lru_cache(maxsize=256)
def _compiled(text: str) -> gotemplate.Template:
    return gotemplate.compile(text, name="")


def _extra(context: Mapping[str, Json]) -> Iterator[tuple[str, Object]]:
    """What function-extra-resources has put into the context, by the names that patterns are looked for in."""
    given = context.get(extra_resources.KEY, {})
    if not isinstance(given, dict):
        raise _Unloadable(f"unexpected extra-resources type: {_type(given)}")
    for into, objects in given.items():
        if not isinstance(objects, list):
            raise _Unloadable(f"unexpected extra-resources value type for {into}: {_type(objects)}")
        for index, obj in enumerate(objects):
            if not isinstance(obj, dict):
                raise _Unloadable(f"unexpected extra-resources value type for {into} [{index}]: {_type(obj)}")
            group = group_of(str(obj.get("apiVersion") or ""))
            place = (group, obj.get("kind"), metadata(obj).get("namespace"), metadata(obj).get("name"))
            yield ".".join(("extra-resource", into, *(str(part or "") for part in place))), obj


def _type(value: Json) -> str:
    return goformat.type_name(float(value) if type(value) is int else value)


def _match(matcher: Matcher, resources: Mapping[str, Object]) -> Groups | None:
    """What the groups found if the matcher matches; no pattern is looked at that does not matter any more."""
    if not resources or not matcher.conditions:
        return None
    any_resource = matcher.type in ("AnyResourceMatchesAllConditions", "AnyResourceMatchesAnyCondition")
    any_condition = matcher.type in ("AllResourcesMatchAnyCondition", "AnyResourceMatchesAnyCondition")
    found: Groups = {}
    for obj in resources.values():
        hits = 0
        for wanted in matcher.conditions:
            groups = _met(wanted, obj)
            if groups is not None:
                hits += 1
                found |= groups
                if any_resource and any_condition:
                    return groups
            elif not any_condition:
                break
        is_met = hits > 0 if any_condition else hits == len(matcher.conditions)
        if is_met is any_resource:
            return found if is_met else None
    return None if any_resource else found


def _met(wanted: Wanted, obj: Object) -> Groups | None:
    """What the groups found if an object has the condition; one that it lacks is Unknown, without reason and message."""
    there = conditions.find(obj, wanted.type) or {"status": "Unknown"}
    if wanted.reason is not None and wanted.reason != there.get("reason", ""):
        return None
    if wanted.status is not None and wanted.status != there.get("status", ""):
        return None
    if wanted.message is None:
        return {}
    pattern = _pattern(wanted.message, "cannot compile message regex")
    hit = pattern.search(utf8(str(there.get("message") or "")))
    if hit is None:
        return None
    names = {index: name for name, index in pattern.groupindex.items()}
    texts = enumerate(hit.groups(b""), 1)
    return {_text(names.get(index, "")): text.decode("utf-8", "surrogateescape") for index, text in texts}


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _pattern(text: str, what: str) -> Any:
    try:
        return regexp.compiled(text)
    except regexp.BadPattern as error:
        raise InvalidInput(f"{what}: {error.go}", mend=error.mend) from None
