"""Pipelines: what a function is asked and answers, and one run of a revision's steps.

Everything is synchronous and pure.  `calls` is a generator: it yields what a function wants to see of the cluster and is sent
what was found, and yields each call of a function that runs elsewhere and is sent the answer; so a reconciler can await both,
and a command look into a file; `run` does all at once.  Whoever has others waiting gets the calls of functions in this process, too.  Source: Crossplane v1.20
`internal/controller/apiextensions/composite/composition_functions.go` and `internal/xfn` (requirements).

A function is a module with `check` and `compile` (see `Function`).  What it is handed belongs to others: it copies what it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from groundplane.core import fieldpath, render
from groundplane.core.conditions import Condition
from groundplane.core.explain import Trace
from groundplane.core.objects import Json, Object, group_of, key_of, labels_of, matches, meta
from groundplane.core.render import Rendered
from groundplane.core.spec import Problem
from groundplane.errors import Awaited, Busy, GroundplaneError, InvalidInput, Unavailable, at

MAX_ITERATIONS = 5  # of one step: how often its requirements may change before they must be the same twice
CALL_TIMEOUT = 20.0  # seconds for one call of a function that runs elsewhere
SHORTEST_TTL = 1.0  # seconds: whoever asks to be called again sooner gets no more than that
LONGEST_TTL = 30 * 86_400.0  # and later than that is nobody's plan
AFTER_FATAL = 30.0  # seconds until a function that runs elsewhere, and may look at more than we know, is asked again
FUNCTION = ("pkg.crossplane.io", "Function")

Severity = Literal["Fatal", "Warning", "Normal", "Unknown"]  # Unknown: none of the others; counts as a warning
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
class Kind:
    """A kind whose schema a function wants to see."""

    api_version: str
    kind: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a step wants to see, by the names of its requirements."""

    resources: Mapping[str, Selector] = field(default_factory=dict)
    extra: Mapping[str, Selector] = field(default_factory=dict)  # v1's field for the same: it has names of its own
    schemas: Mapping[str, Kind] = field(default_factory=dict)

    def beside(self, more: Wanted) -> Wanted:
        """This and more; of one name, the latter."""
        return Wanted(
            {**self.resources, **more.resources}, {**self.extra, **more.extra}, {**self.schemas, **more.schemas}
        )

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """Of objects, without the names."""
        return (*self.resources.values(), *self.extra.values())


NOTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, under the same names: each has an entry, an empty one if there is nothing, None for an unknown kind."""

    resources: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    extra: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    schemas: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """What a function is asked.

    `required`, `extra` and `schemas` have an entry for each requirement that was looked for, an empty one if nothing was found.
    """

    observed: State
    desired: State
    context: Mapping[str, Json] = field(default_factory=dict)
    required: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    extra: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    schemas: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    credentials: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    tag: str = ""  # the same for all calls of one step; "": it is the first
    trace: Trace | None = None  # where a function may tell what it does, for people
    is_brief: bool = False  # others wait: what takes long raises Long, and is asked again where nobody does
    pause: Callable[[], None] | None = field(default=None, repr=False)  # lets others work; None: nobody waits


class Long(Exception):
    """A function would take long, and was asked to be brief: it has done nothing yet."""


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
    extra_requirements: Mapping[str, Selector] = field(default_factory=dict)
    schema_requirements: Mapping[str, Kind] = field(default_factory=dict)
    ttl: float = 0.0  # seconds until the answer should be asked for again; 0: no need to
    tag: str = ""  # of the request, where it had none
    output: Mapping[str, Json] | None = None  # of an operation's step
    hints: Sequence[str] = ()  # what upstream's function would not say: told once, and not to who wants exactly that

    @property
    def wanted(self) -> Wanted:
        """All its requirements."""
        return Wanted(self.requirements, self.extra_requirements, self.schema_requirements)


def bounded_ttl(seconds: float) -> float:
    """A time to live as it is honoured: 0 is none."""
    return min(LONGEST_TTL, max(SHORTEST_TTL, seconds)) if seconds > 0 else 0.0


def passed_on(request: Request, *results: Result) -> Response:
    """The answer that changes nothing."""
    return Response(request.desired, request.context, results)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a function that runs elsewhere is reached, and how; or the command that serves it."""

    target: str = ""  # as gRPC takes it: "dns:///name.namespace:9443", "unix:///run/function.sock"
    tls_secret: str = ""  # in the operator's namespace; "": plaintext
    server_name: str = ""  # that its certificate must have, if not the host's
    timeout: float = CALL_TIMEOUT  # seconds for a call
    command: str = ""  # of a process that is started at the first call; then there is no target


@dataclass(frozen=True, slots=True)
class Remote:
    """A function that runs elsewhere, with an input."""

    name: str  # of the Function
    endpoint: Endpoint
    package: str = ""
    input: Mapping[str, Json] | None = None


RunFunction = Callable[[Request], Response]  # upstream's RPC of that name, as a call


class Function(Protocol):
    """A composition function; modules fit."""

    def check(self, given: Mapping[str, Json]) -> list[Problem]:
        """Everything that is wrong with an input, before there is any composite."""

    def compile(self, given: Mapping[str, Json]) -> RunFunction | Remote:
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
    run: RunFunction | Remote
    credentials: tuple[Credentials, ...] = ()
    requirements: Mapping[str, Selector] = field(default_factory=dict)  # what the composition itself has it see
    schemas: Mapping[str, Kind] = field(default_factory=dict)


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
    outputs: tuple[tuple[str, Mapping[str, Json]], ...] = ()  # of an operation, each with the name of its step
    hints: tuple[tuple[str, str], ...] = ()  # each with the name of its step


class Stopped(GroundplaneError):
    """A step stopped the pipeline: nothing may be applied.  `outcome` has what was told until then."""

    def __init__(self, what: str, outcome: Outcome, *, mend: str = "") -> None:
        super().__init__(what, mend=mend)
        self.outcome = outcome


class Fatal(Stopped, InvalidInput):
    """A function gave a fatal result, or can't work with what it was asked."""


class Unanswered(Stopped, Unavailable):
    """A function that runs elsewhere did not answer; it may the next time."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function that runs elsewhere: whoever runs the pipeline makes it, and sends the response or throws the error."""

    step: str
    remote: Remote
    request: Request


@dataclass(frozen=True, slots=True)
class Run:
    """A call of a function in this process, for whoever wants to choose where and when."""

    function: RunFunction
    request: Request


# Yields what it wants to know, and is sent `Found` for `Wanted` and `Response` for `Call` and `Run`.
Calls = Generator[Wanted | Call | Run, Any, Outcome]


def calls(
    composite: Resource,
    steps: Sequence[Step],
    observed: Mapping[str, Resource],
    *,
    context: Mapping[str, Json] | None = None,
    credentials: Mapping[str, Mapping[str, Mapping[str, bytes]]] | None = None,
    trace: Trace | None = None,
    hands_over: bool = False,
) -> Calls:
    """Run the steps in order; yields requirements and calls, wants what was found and answered, returns the outcome.

    Calls of functions in this process are yielded, too, if it `hands_over`.

    `credentials` are the data of Secrets, by the names of step and credentials.  `trace`, if there is one, is told
    what functions do.

    Raises:
        Fatal: a function gave a fatal result, or can't work.
        Unanswered: one that runs elsewhere did not answer.
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
        outcome = yield from _step(step, request, outcome, hands_over)
    return outcome


def _step(step: Step, request: Request, outcome: Outcome, hands_over: bool) -> Calls:
    """One step, called again until its requirements are the same twice."""
    own, asked = Wanted(step.requirements, schemas=step.schemas), NOTHING
    found = Found()
    if own != NOTHING:
        found = yield own
    for _ in range(MAX_ITERATIONS + 1):
        request = replace(request, required=found.resources, extra=found.extra, schemas=found.schemas)
        response = yield from _called(step, request, outcome, hands_over)
        is_fatal = any(result.severity == "Fatal" for result in response.results)
        if not is_fatal and response.wanted != asked:
            wanted = own.beside(response.wanted)
            before, found = found, (yield wanted)
            if asked != NOTHING or found != before:
                asked = response.wanted
                request = replace(request, context=response.context, tag=request.tag or response.tag)
                outcome = replace(outcome, required=_known(outcome.required, wanted))
                continue
        outcome = replace(
            outcome,
            desired=response.desired,
            context=response.context,
            conditions=(*outcome.conditions, *response.conditions),
            required=_known(outcome.required, own),
            ttl=min(filter(None, (outcome.ttl, response.ttl)), default=0.0),
            hints=(*outcome.hints, *((step.name, hint) for hint in response.hints)),
            outputs=(*outcome.outputs, *([(step.name, response.output)] if response.output is not None else [])),
        )
        for result in response.results:
            if result.severity == "Fatal":
                what = f'pipeline step "{step.name}" returned a fatal result: {result.message}'
                fatal = Fatal(what, outcome)
                if isinstance(step.run, Remote):
                    fatal.on, fatal.after = (Awaited(*FUNCTION, name=step.function),), AFTER_FATAL
                raise fatal
            outcome = replace(outcome, results=(*outcome.results, (step.name, result)))
        return outcome
    raise Fatal(
        f'cannot run Composition pipeline step "{step.name}": its requirements did not stabilise within '
        f"{MAX_ITERATIONS} iterations",
        outcome,
        mend="let what it asks for not depend on what it was given",
    )


def _called(step: Step, request: Request, outcome: Outcome, hands_over: bool) -> Generator[Call | Run, Any, Response]:
    try:
        if not isinstance(step.run, Remote) and not hands_over:
            return step.run(request)
        given = Call(step.name, step.run, request) if isinstance(step.run, Remote) else Run(step.run, request)
        response: Response = yield given
        return response
    except Busy:
        raise
    except GroundplaneError as error:
        place = " › ".join(error.where)
        what = (
            f'cannot run Composition pipeline step "{step.name}": cannot run Function "{step.function}": '
            + ": ".join(part for part in (place, error.what) if part)
        )
        kind = Unanswered if isinstance(error, Unavailable) else Fatal
        stopped = kind(what, outcome, mend=error.mend)
        stopped.on, stopped.after = error.on, error.after
        if isinstance(step.run, Remote):
            stopped.on = (*error.on, Awaited(*FUNCTION, name=step.function))
        raise stopped from error


def _known(known: tuple[Selector, ...], more: Wanted) -> tuple[Selector, ...]:
    return (*known, *(selector for selector in more.selectors if selector not in known))


# --- what is desired → what is applied ------------------------------------------------------------------------


def compose(
    composite: Object,
    desired: State,
    observed: Mapping[str, Resource],
    *,
    scope: Scope = "LegacyCluster",
    v1: bool = False,
) -> list[Rendered]:
    """The composed resources that functions desire, with the metadata that makes them this composite's.

    An observed one keeps name and namespace.  Where the composite is in a namespace, what it is composed of is there too.
    `v1`: labels tell the claim also where there is none, and each has a generateName.

    Raises:
        InvalidInput: one can't be marked as this composite's; nothing may be applied.
    """
    rendered = []
    for name, resource in desired.resources.items():
        with at(f"resource {name}"):
            there = observed[name].object if name in observed else None
            rendered.append(_composed(composite, name, resource.object, there, scope, v1))
    return rendered


def _composed(composite: Object, name: str, desired: Object, there: Object | None, scope: Scope, v1: bool) -> Rendered:
    if not desired.get("kind") or not isinstance(desired["kind"], str):
        raise InvalidInput("the desired object has no kind", mend="give it one in its base")
    wanted: dict[str, Any] = fieldpath.copied(desired)
    wanted["metadata"] = {} if wanted.get("metadata") is None else wanted["metadata"]
    notes: list[str] = []
    observed_name = meta(there)["name"] if there is not None else ""
    render.identify(composite, name, wanted, observed_name, notes, legacy=v1)
    if there is not None and not v1 and is_of_kind(there, wanted):
        wanted["metadata"].pop("generateName", None)
        if prefix := meta(there).get("generateName"):
            wanted["metadata"]["generateName"] = prefix
    elsewhere = ""
    if scope == "Namespaced":
        elsewhere = render.place(composite, wanted)
    elif there is not None and is_of_kind(there, wanted):
        wanted["metadata"].pop("namespace", None)
        if namespace := meta(there).get("namespace"):
            wanted["metadata"]["namespace"] = namespace
    return Rendered(name, render.reference(wanted), wanted, notes=tuple(notes), elsewhere=elsewhere)


def is_of_kind(there: Mapping[str, Any], desired: Mapping[str, Any]) -> bool:
    """Whether what is there, in whatever version, is what is desired now: a template may come to make another kind."""
    kinds = [(group_of(str(obj.get("apiVersion") or "")), obj.get("kind")) for obj in (there, desired)]
    return kinds[0] == kinds[1]


def run(
    composite: Resource,
    steps: Sequence[Step],
    observed: Mapping[str, Resource],
    *,
    fetch: Callable[[Selector], Sequence[Object]],
    call: Callable[[Call], Response] | None = None,
    schema: Callable[[Kind], Mapping[str, Any] | None] = lambda kind: None,
    context: Mapping[str, Json] | None = None,
    credentials: Mapping[str, Mapping[str, Mapping[str, bytes]]] | None = None,
    scope: Scope = "LegacyCluster",
    trace: Trace | None = None,
) -> tuple[Outcome, list[Rendered]]:
    """`calls` and `compose` at once, where what functions want to see is at hand; `call` calls those that run elsewhere.

    Raises:
        Fatal: a function gave a fatal result, or can't work.
        Unanswered: one that runs elsewhere did not answer.
        InvalidInput: a desired object can't be marked as this composite's.
    """
    running = calls(composite, steps, observed, context=context, credentials=credentials, trace=trace)
    try:
        asked = next(running)
        while True:
            if isinstance(asked, Wanted):
                asked = running.send(_found(asked, fetch, schema))
                continue
            assert isinstance(asked, Call), "nothing is handed over"
            try:
                response = (call or _nobody)(asked)
            except GroundplaneError as error:
                asked = running.throw(error)
            else:
                asked = running.send(response)
    except StopIteration as end:
        outcome: Outcome = end.value
    return outcome, compose(composite.object, outcome.desired, observed, scope=scope)


def _found(
    wanted: Wanted, fetch: Callable[[Selector], Sequence[Object]], schema: Callable[[Kind], Mapping[str, Any] | None]
) -> Found:
    return Found(
        {name: list(fetch(selector)) for name, selector in wanted.resources.items()},
        {name: list(fetch(selector)) for name, selector in wanted.extra.items()},
        {name: schema(kind) for name, kind in wanted.schemas.items()},
    )


def _nobody(call: Call) -> Response:
    raise InvalidInput(f"Function {call.remote.name} does not run in this process, and nothing here can call it")
