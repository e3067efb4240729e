"""function-sequencer: what comes later in a sequence is not desired until all before it is ready; and usages, so that it is deleted first.

Source: function-sequencer v0.6 (`fn.go`, `name.go`).  A pattern that matches its own neighbour would have a resource use itself
there; here it does not.  Composites delete in the order of the sequences without usages, too: `core/deletion.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pydantic import Field

from groundplane.core import cel_requests, durations, goformat, usages
from groundplane.core.fieldpath import utf8
from groundplane.core.objects import Json, Object, group_of
from groundplane.core.pipeline import (
    Request,
    Resource,
    Response,
    Result,
    RunFunction,
    State,
    bounded_ttl,
)
from groundplane.core.spec import FUNCTION, Problem, Spec, load
from groundplane.core.transforms import regexp
from groundplane.errors import GroundplaneError, InvalidInput, did_you_mean, shown
from groundplane.functions.selecting import metadata

MAX_NAME = 63  # characters of a usage's name
GROUP = "sequencer.fn.crossplane.io"  # of the input
REASON = "dependency"  # of a usage
USAGE_VERSIONS = ("v1", "v2")
MOST_USAGES = 10_000  # that one step may compose


# --- the YAML -------------------------------------------------------------------------------------------------


class Rule(Spec):
    """Resources, by patterns of their names, in the order in which they are created."""

    sequence: list[str] = Field(default_factory=list)
    condition: str = ""
    createOnly: bool = False
    deleteOnly: bool = False


class Input(Spec):
    """`Input` of `sequencer.fn.crossplane.io/v1beta1`."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    rules: list[Rule] = Field(default_factory=list)
    resetCompositeReadiness: bool = False
    cacheTTL: str = ""
    enableDeletionSequencing: bool = False
    replayDeletion: bool = False
    usageVersion: str = "v2"  # whatever is not v1 counts as v2


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Everything that is wrong with an input.  Patterns are not: the function looks only at those that it comes to."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    return problems if found is None else list(_problems(found))


def _problems(found: Input) -> Iterator[Problem]:
    try:
        durations.seconds(found.cacheTTL or "0")
    except InvalidInput as error:
        yield Problem("Invalid", "cacheTTL", error.what, error.mend)
    for index, rule in enumerate(found.rules):
        if rule.createOnly and rule.deleteOnly:
            yield Problem("Invalid", f"rules[{index}]", "both createOnly and deleteOnly", "leave one of them out")
        if rule.condition:
            try:
                cel_requests.Question(rule.condition, is_dynamic=True)
            except InvalidInput as error:
                yield Problem("Invalid", f"rules[{index}].condition", error.what, error.mend)


# --- running ----------------------------------------------------------------------------------------------------

Matches = Callable[[str], bool]


@lru_cache(maxsize=128)
def matcher(pattern: str, memory: int = regexp.PATTERN_MEMORY) -> Matches:
    """Whether a name matches an element of a sequence: all of it, unless the pattern says where it begins or ends.

    >>> matcher("sub-.*")("a-sub-1"), matcher("^sub")("sub-1")
    (False, True)

    Raises:
        BadPattern: Go would not compile it, or it takes more memory, in bytes, than it may.
    """
    if not pattern.startswith("^") and not pattern.endswith("$"):
        pattern = f"^{pattern}$"
    compiled = regexp.compiled(pattern, memory=memory)
    return lambda name: compiled.search(utf8(name)) is not None


def sequences(pipeline: Any) -> list[list[str]]:
    """The sequences of a pipeline's steps that hold for deletion, whoever runs the function: all but those for creation only.

    A condition decides what waits to be made; what exists was made in that order, or might have been.
    """
    found: list[list[str]] = []
    for step in pipeline if isinstance(pipeline, list) else ():
        given = step.get("input") if isinstance(step, dict) else None
        if not isinstance(given, dict) or group_of(str(given.get("apiVersion") or "")) != GROUP:
            continue
        rules, _, _ = load(Input, given, "", FUNCTION)
        found += [list(rule.sequence) for rule in (rules.rules if rules is not None else ()) if not rule.createOnly]
    return found


def matchers(found: Sequence[Sequence[str]], *, memory: int = regexp.PATTERN_MEMORY) -> list[list[Matches]]:
    """What each element of these sequences means; those that Go would not compile are left out, or that take more memory each, in bytes."""
    compiled: list[list[Matches]] = []
    for sequence in found:
        with suppress(regexp.BadPattern):
            compiled.append([matcher(pattern, memory) for pattern in sequence])
    return compiled


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function with this input, ready to run.  The input has passed `check`."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    assert found is not None, problems
    conditions = {
        rule.condition: cel_requests.Question(rule.condition, is_dynamic=True) for rule in found.rules if rule.condition
    }
    hints = list(_hints(found))
    return lambda request: replace(_Run(found, conditions, request).answer(), hints=hints)


def _hints(given: Input) -> Iterator[str]:
    """What the original takes for something else, or for nothing, without a word; and what waits for itself for ever."""
    if given.usageVersion not in USAGE_VERSIONS:
        yield f"usageVersion {shown(given.usageVersion)} counts as v2. Mend: {did_you_mean(given.usageVersion, USAGE_VERSIONS)}"
    after: dict[str, set[str]] = {}
    for index, rule in enumerate(given.rules):
        if len(rule.sequence) < 2:
            yield f"rules[{index}].sequence orders nothing. Mend: name at least two"
        if not rule.deleteOnly and not rule.condition:
            for at, name in enumerate(rule.sequence):
                after.setdefault(name, set()).update(rule.sequence[:at])
    for name in after:
        if name in _before(name, after):
            yield f"{shown(name)} waits for itself: sequences have it both before and after others. Mend: take it out of one"


def _before(name: str, after: Mapping[str, set[str]]) -> set[str]:
    """All that a name waits for, at any remove."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        more = after.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return found


@dataclass
class _Run:
    """One call: what is left of what is desired."""

    given: Input
    conditions: Mapping[str, cel_requests.Question]
    request: Request

    def __post_init__(self) -> None:
        self.observed = self.request.observed.resources
        self.resources = dict(self.request.desired.resources)
        self.usages: dict[str, Resource] = {}
        self.results: list[Result] = []
        self.composite = self.request.desired.composite

    def answer(self) -> Response:
        try:
            asked = cel_requests.Asked(self.request) if self.conditions else None
            for rule in self.given.rules:
                goes = not rule.condition or asked is None or self._holds(rule, asked)
                if self.given.enableDeletionSequencing and not rule.createOnly:
                    self._use(rule.sequence)
                if goes and not rule.deleteOnly:
                    self._delay(rule.sequence)
        except GroundplaneError as error:
            told = (*self.results, Result("Fatal", str(error)))
            return Response(self.request.desired, self.request.context, told, ttl=self._ttl())
        desired = State(self.composite, {**self.resources, **self.usages})
        return Response(desired, self.request.context, self.results, ttl=self._ttl())

    def _ttl(self) -> float:
        return bounded_ttl(durations.seconds(self.given.cacheTTL or "0"))

    def _holds(self, rule: Rule, asked: cel_requests.Asked) -> bool:
        names = f"[{' '.join(rule.sequence)}]"
        try:
            holds = self.conditions[rule.condition].ask(asked)
        except InvalidInput as error:
            what = goformat.sprintf("cannot evaluate condition %q for sequence %s", rule.condition, names)
            raise InvalidInput(f"{what}: {error.what}", mend=error.mend) from None
        if not holds:
            self._tell("Skipping sequence %s: condition %q evaluated to false", names, rule.condition)
        return holds

    def _tell(self, text: str, *values: Json) -> None:
        self.results.append(Result("Normal", goformat.sprintf(text, *values)))

    def _delay(self, sequence: Sequence[str]) -> None:
        for index, name in enumerate(sequence):
            if index and name not in self.observed:
                for before in sequence[:index]:
                    if self._is_delayed(name, before):
                        break

    def _is_delayed(self, name: str, before: str) -> bool:
        """Whether what matches one element waits for what matches another; then it is not desired, unless it exists."""
        comes_first, matches = _matcher(before), _matcher(name)
        ready = [resource.ready is True for key, resource in self.resources.items() if comes_first(key)]
        if ready and all(ready):
            return False
        told, last = "Delaying creation of resource(s) matching %q because %q ", "does not exist yet"
        if ready:
            last = f"is not fully ready ({sum(ready)} of {len(ready)})"
        self._tell(f"{told}{last}", name, before)
        for key in [key for key in self.resources if key not in self.observed and matches(key)]:
            del self.resources[key]
            if self.given.resetCompositeReadiness:
                self.composite = replace(self.composite, ready=False)
        return True

    def _use(self, sequence: Sequence[str]) -> None:
        """A usage for each that exists and each before it that exists and is desired."""
        for before, name in pairwise(sequence):
            matches, comes_first = _matcher(name), _matcher(before)
            used = [key for key in self.resources if key in self.observed and comes_first(key)]
            for user, there in self.observed.items():
                if matches(user) and not self._is_usage(there.object):
                    for key in used:
                        if key != user:
                            made = self._usage(self.observed[key].object, there.object)
                            self.usages[f"{user}-{key}-usage"] = Resource(made, ready=True)
            if len(self.usages) > MOST_USAGES:
                raise InvalidInput(f"more than {MOST_USAGES} usages", mend="name fewer resources in a sequence")

    def _is_usage(self, obj: Object) -> bool:
        version, kind = obj.get("apiVersion"), obj.get("kind")
        if self.given.usageVersion == "v1":
            return (version, kind) == (usages.LEGACY_VERSION, "Usage")
        return version == usages.PROTECTION_VERSION and kind in ("Usage", "ClusterUsage")

    def _usage(self, of: Object, by: Object) -> Object:
        words = [by.get("kind"), metadata(by).get("name"), of.get("kind"), metadata(of).get("name")]
        made: dict[str, Any] = {"name": usage_name("-".join(str(word or "") for word in words).lower())}
        version, kind = usages.LEGACY_VERSION, "Usage"
        if self.given.usageVersion != "v1":
            version, kind = usages.PROTECTION_VERSION, "ClusterUsage"
            if namespace := metadata(of).get("namespace"):
                kind, made["namespace"] = "Usage", namespace
        spec = {"of": _party(of), "by": _party(by), "reason": REASON, "replayDeletion": self.given.replayDeletion}
        return {"apiVersion": version, "kind": kind, "metadata": made, "spec": spec}


def _matcher(pattern: str) -> Matches:
    try:
        return matcher(pattern)
    except regexp.BadPattern as error:
        raise InvalidInput(f"cannot compile regex {pattern}: {error.go}", mend=error.mend) from None


def _party(obj: Object) -> Object:
    name = str(metadata(obj).get("name") or "")
    return {
        "apiVersion": str(obj.get("apiVersion") or ""),
        "kind": str(obj.get("kind") or ""),
        "resourceRef": {"name": name},
    }


def usage_name(words: str) -> str:
    """The name of a usage, a DNS label.

    >>> usage_name("bucket-b-bucket-a")
    'bucket-b-bucket-a-ada1df-dependency'
    """
    suffix = f"{hashlib.sha256(utf8(words)).hexdigest()[:6]}-{REASON}"
    whole = f"{words}-{suffix}"
    if len(whole) <= MAX_NAME:
        return whole
    return f"{words[: MAX_NAME - len(suffix) - 1].removesuffix('-')}-{suffix}"
