"""Pipelines: what a function is asked and answers, and one run of a revision's steps.

Everything is synchronous and pure.  `calls` is a generator: it yields what a function wants to see of the cluster and is sent
what was found, so that a reconciler can await it and a command look into a file; `run` does all at once.  Source: Crossplane
v1.20 `internal/controller/apiextensions/composite/composition_functions.go` and `internal/xfn` (requirements).

A function is a module with `check` and `compile` (see `Function`).  What it is handed belongs to others: it copies what it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from groundplane.core import fieldpath, render
from groundplane.core.conditions import Condition
from groundplane.core.explain import Trace
from groundplane.core.objects import Json, Object, key_of, labels_of, matches, meta
from groundplane.core.render import Rendered
from groundplane.core.spec import Problem
from groundplane.errors import GroundplaneError, InvalidInput, at

MAX_ITERATIONS = 5  # of one step: how often its requirements may change before they must be the same twice

Severity = Literal["Fatal", "Warning", "Normal"]
Scope = Literal["LegacyCluster", "Namespaced", "Cluster"]  # of the composite, as its definition says


# --- what is asked and answered -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Resource:
    """An object, the data of its connection Secret, and what is known of its readiness (None: nothing)."""

    object: Object
    connection: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    ready: bool | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A composite and its composed resources, by name."""

    composite: Resource
    resources: Mapping[str, Resource] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Selector:
    """Objects that a function wants to see: the one of a name, or all with these labels."""

    api_version: str
    kind: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""  # of a list: "" means all

    def selects(self, obj: Object) -> bool:
        """Whether it is, or may have been, this object that is meant."""
        key = key_of(obj)
        if (key.api_version, key.kind) != (self.api_version, self.kind):
            return False
        if self.name:
            return (key.namespace, key.name) == (self.namespace, self.name)
        return self.namespace in ("", key.namespace) and matches(labels_of(obj), self.labels)


@dataclass(frozen=True, slots=True)
class Request:
    """What a function is asked.

    `required` has an entry for each requirement that was looked for, an empty one if nothing was found.
    """

    observed: State
    desired: State
    context: Mapping[str, Json] = field(default_factory=dict)
    required: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    credentials: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    trace: Trace | None = None  # where a function may tell what it does, for people


@dataclass(frozen=True, slots=True)
class Result:
    """Something that a function tells; becomes an event, and a fatal one stops the pipeline."""

    severity: Severity
    message: str
    reason: str = ""  # of the event; "" is ComposeResources
    to_claim: bool = False  # told on the claim, too


@dataclass(frozen=True, slots=True)
class Told:
    """A condition that a function sets on the composite."""

    condition: Condition
    to_claim: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """What a function answers.  `desired` and `context` replace those of the request."""

    desired: State
    context: Mapping[str, Json] = field(default_factory=dict)
    results: Sequence[Result] = ()
    conditions: Sequence[Told] = ()
    requirements: Mapping[str, Selector] = field(default_factory=dict)
    ttl: float = 0.0  # seconds until the answer should be asked for again; 0: no need to


def passed_on(request: Request, *results: Result) -> Response:
    """The answer that changes nothing."""
    return Response(request.desired, request.context, results)


RunFunction = Callable[[Request], Response]  # upstream's RPC of that name, as a call


class Function(Protocol):
    """A composition function; modules fit."""

    def check(self, given: Mapping[str, Json]) -> list[Problem]:
        """Everything that is wrong with an input, before there is any composite."""

    def compile(self, given: Mapping[str, Json]) -> RunFunction:
        """The function with this input, ready to run any number of times.  The input has passed `check`."""


Find = Callable[[str], Function]  # by the name in functionRef; raises InvalidInput, saying what there is


@dataclass(frozen=True, slots=True)
class Credentials:
    """A Secret that a step is handed, under a name."""

    name: str
    namespace: str
    secret: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a pipeline, its input validated and compiled."""

    name: str
    function: str  # as the composition calls it
    run: RunFunction
    credentials: tuple[Credentials, ...] = ()
    requirements: Mapping[str, Selector] = field(default_factory=dict)  # what the composition itself has it see


# --- one run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the functions said: the last desired state, and what was told on the way."""

    desired: State
    context: Mapping[str, Json] = field(default_factory=dict)
    results: tuple[tuple[str, Result], ...] = ()  # each with the name of its step
    conditions: tuple[Told, ...] = ()
    required: tuple[Selector, ...] = ()  # what functions wanted to see: a change of it calls for another run
    ttl: float = 0.0  # seconds: the shortest that a function asks for; 0: none does


class Fatal(InvalidInput):
    """A step stopped the pipeline: nothing may be applied.  `outcome` has what was told until then."""

    def __init__(self, what: str, outcome: Outcome, *, mend: str = "") -> None:
        super().__init__(what, mend=mend)
        self.outcome = outcome


Found = Mapping[str, Sequence[Object]]  # by the requirement's name; nothing found is an empty entry
Calls = Generator[Mapping[str, Selector], Found, Outcome]


def calls(
    composite: Resource,
    steps: Sequence[Step],
    observed: Mapping[str, Resource],
    *,
    context: Mapping[str, Json] | None = None,
    credentials: Mapping[str, Mapping[str, Mapping[str, bytes]]] | None = None,
    trace: Trace | None = None,
) -> Calls:
    """Run the steps in order; yields requirements, wants what was found for them, returns the outcome.

    `credentials` are the data of Secrets, by the names of step and credentials.  `trace`, if there is one, is told
    what functions do.

    Raises:
        Fatal: a function gave a fatal result, or failed.
    """
    seen = State(composite, observed)
    identity: Object = {name: composite.object[name] for name in ("apiVersion", "kind") if name in composite.object}
    outcome = Outcome(State(Resource(identity)), dict(context or {}))
    for step in steps:
        request = Request(
            observed=seen,
            desired=outcome.desired,
            context=outcome.context,
            credentials=(credentials or {}).get(step.name, {}),
            trace=trace.within(f"step {step.name}") if trace is not None else None,
        )
        outcome = yield from _step(step, request, outcome)
    return outcome


def _step(step: Step, request: Request, outcome: Outcome) -> Calls:
    """One step, called again until its requirements are the same twice."""
    asked: Mapping[str, Selector] = {}
    if step.requirements:
        request = replace(request, required=(yield step.requirements))
    for _ in range(MAX_ITERATIONS + 1):
        response = _called(step, request, outcome)
        fatal = [result for result in response.results if result.severity == "Fatal"]
        if not fatal and response.requirements != asked:
            wanted = {**step.requirements, **response.requirements}
            found = yield wanted
            if asked or found != request.required:
                asked = response.requirements
                request = replace(request, required=found, context=response.context)
                outcome = replace(outcome, required=_known(outcome.required, wanted))
                continue
        outcome = replace(
            outcome,
            desired=response.desired,
            context=response.context,
            conditions=(*outcome.conditions, *response.conditions),
            required=_known(outcome.required, step.requirements),
            ttl=min(filter(None, (outcome.ttl, response.ttl)), default=0.0),
        )
        for result in response.results:
            if result.severity == "Fatal":
                raise Fatal(f'pipeline step "{step.name}" returned a fatal result: {result.message}', outcome)
            outcome = replace(outcome, results=(*outcome.results, (step.name, result)))
        return outcome
    raise Fatal(
        f'cannot run Composition pipeline step "{step.name}": its requirements did not stabilise within '
        f"{MAX_ITERATIONS} iterations",
        outcome,
        mend="let what it asks for not depend on what it was given",
    )


def _called(step: Step, request: Request, outcome: Outcome) -> Response:
    try:
        return step.run(request)
    except GroundplaneError as error:
        place = " › ".join(error.where)
        raise Fatal(
            f'cannot run Composition pipeline step "{step.name}": cannot run Function "{step.function}": '
            + ": ".join(part for part in (place, error.what) if part),
            outcome,
            mend=error.mend,
        ) from error


def _known(known: tuple[Selector, ...], more: Mapping[str, Selector]) -> tuple[Selector, ...]:
    return (*known, *(selector for selector in more.values() if selector not in known))


# --- what is desired → what is applied ------------------------------------------------------------------------


def compose(
    composite: Object, desired: State, observed: Mapping[str, Resource], *, scope: Scope = "LegacyCluster"
) -> list[Rendered]:
    """The composed resources that functions desire, with the metadata that makes them this composite's.

    An observed one keeps name and namespace.  Where the composite is in a namespace, what it is composed of is there too.

    Raises:
        InvalidInput: one can't be marked as this composite's; nothing may be applied.
    """
    rendered = []
    for name, resource in desired.resources.items():
        with at(f"resource {name}"):
            there = observed[name].object if name in observed else None
            rendered.append(_composed(composite, name, resource.object, there, scope))
    return rendered


def _composed(composite: Object, name: str, desired: Object, there: Object | None, scope: Scope) -> Rendered:
    if not desired.get("kind") or not isinstance(desired["kind"], str):
        raise InvalidInput("the desired object has no kind", mend="give it one in its base")
    wanted: dict[str, Any] = fieldpath.copied(desired)
    wanted["metadata"] = {} if wanted.get("metadata") is None else wanted["metadata"]
    notes: list[str] = []
    observed_name = meta(there)["name"] if there is not None else ""
    render.identify(composite, name, wanted, observed_name, notes, legacy=scope == "LegacyCluster")
    namespace = meta(there).get("namespace") if there is not None else None
    if scope == "Namespaced":
        namespace = meta(composite).get("namespace")
    if namespace:
        wanted["metadata"]["namespace"] = namespace
    elif there is not None:
        wanted["metadata"].pop("namespace", None)
    return Rendered(name, render.reference(wanted), wanted, notes=tuple(notes))


def run(
    composite: Resource,
    steps: Sequence[Step],
    observed: Mapping[str, Resource],
    *,
    fetch: Callable[[Selector], Sequence[Object]],
    context: Mapping[str, Json] | None = None,
    credentials: Mapping[str, Mapping[str, Mapping[str, bytes]]] | None = None,
    scope: Scope = "LegacyCluster",
    trace: Trace | None = None,
) -> tuple[Outcome, list[Rendered]]:
    """`calls` and `compose` at once, where what functions want to see is at hand.

    Raises:
        Fatal: a function gave a fatal result, or failed.
        InvalidInput: a desired object can't be marked as this composite's.
    """
    running = calls(composite, steps, observed, context=context, credentials=credentials, trace=trace)
    try:
        wanted = next(running)
        while True:
            wanted = running.send({name: list(fetch(selector)) for name, selector in wanted.items()})
    except StopIteration as end:
        outcome: Outcome = end.value
    return outcome, compose(composite.object, outcome.desired, observed, scope=scope)
