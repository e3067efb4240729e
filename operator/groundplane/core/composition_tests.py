"""Test files of authors: what is given, what is done, and what must be so then.

The format is Crossplane's accepted one (`test.crossplane.io/v1alpha1`, kind CompositionTest) with additions: defaults, claims, steps, ways to run, and
assertions by the names of templates.  Documents of the `up` command line (`meta.dev.upbound.io/v1alpha1`) are read as well.
Source: author-tools specification, §6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from groundplane.core.objects import Object, group_of, meta, spec_of
from groundplane.core.spec import FUNCTION, Spec, load, required
from groundplane.core.spec import refusal as refused
from groundplane.core.testing import OF_UP
from groundplane.errors import InvalidInput, did_you_mean

Run = Literal["render", "engine", "aws"]
TIMEOUT = 30.0  # seconds, as in Crossplane's format


class Given(Spec):
    """Objects: in a file or folder, or written here."""

    path: str = ""
    raw: Any = None


def _list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


Several = Annotated[Sequence[Given], BeforeValidator(_list)]


class Inputs(Spec):
    """What there is before the first reconcile."""

    claim: Given | None = None
    composite: Given | None = None
    composition: Given | None = None
    xrd: Several = ()
    functions: Several = ()
    observed: Several = ()
    extra: Several = ()
    crds: Several = ()
    credentials: Several = ()
    context: Mapping[str, Any] = {}
    timeout: float | None = Field(default=None, gt=0, alias="timeoutSeconds")  # seconds; the test's own counts before
    validated: bool = Field(default=True, alias="validate")  # whether what is rendered must fit its kinds' schemas


ALIASES = {"xr": "composite", "observedResources": "observed", "extraResources": "extra"}  # the formats' own names
CREDENTIALS = "functionCredentialsPath"


def _renamed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    for name in ALIASES.keys() & value.keys():
        if ALIASES[name] in value:
            raise ValueError(f"{name} and {ALIASES[name]} are the same input: give one of them")
    given = {ALIASES.get(name, name): inner for name, inner in value.items() if name != CREDENTIALS}
    if CREDENTIALS in value:
        if "credentials" in given:
            raise ValueError(f"{CREDENTIALS} and credentials are the same input: give one of them")
        given["credentials"] = {"path": value[CREDENTIALS]}
    return given


class Patches(Spec):
    """Changes of the claim or composite."""

    xrd: Given | None = None
    add: Mapping[str, Any] = Field(default={}, alias="addFields")  # path → value
    remove: Sequence[str] = Field(default=(), alias="removeFields")


class Told(Spec):
    """An event, or an error: part of its text."""

    severity: str = ""
    contains: str = ""


class Secret(Spec):
    keys: Sequence[str] = ()


class Chainsaw(Spec):
    resources: Sequence[Mapping[str, Any]] = ()


class Assertion(Spec):
    """Everything in it must be so."""

    resources: Mapping[str, Any] | None = None  # by the name of the template; in part
    composite: Mapping[str, Any] | None = None
    claim: Mapping[str, Any] | None = None  # engine and aws
    count: Any = None  # of the composed resources
    ready: bool | None = None
    writes: Any = None  # objects that the step made, changed or deleted
    secret: Secret | None = None
    error: Told | None = None
    result: Told | None = None
    that: Sequence[str] = ()  # CEL
    snapshot: str = ""
    type: Literal["", "chainsaw"] = ""
    chainsaw: Chainsaw | None = None


class Step(Spec):
    """One reconcile, with what is observed before it."""

    name: str = ""
    observe: Mapping[str, Mapping[str, Any]] = {}  # by the name of the template: what changes in it
    connection: Mapping[str, Mapping[str, str]] = {}  # by the name of the template: what its connection Secret has
    patches: Patches | None = None
    variant: bool = False  # the steps after it do not see what it did
    assertions: Sequence[Assertion] = ()


class Aws(Spec):
    """The stand-in for AWS."""

    fail: Mapping[str, str] = {}  # "rds.CreateDBInstance" → the error code that it answers


class _Test(Spec):
    name: str = ""
    id: str = ""
    inputs: Annotated[Inputs, BeforeValidator(_renamed)] = Inputs()
    patches: Patches | None = None
    run: Run = "render"
    timeout: float | None = Field(default=None, gt=0)
    aws: Aws | None = None
    steps: Sequence[Step] = ()
    assertions: Sequence[Assertion] = ()


class _Defaults(Spec):
    inputs: Annotated[Inputs, BeforeValidator(_renamed)] = Inputs()
    run: Run | None = None


class _Document(Spec):
    defaults: _Defaults = _Defaults()
    tests: Sequence[_Test] = ()


@dataclass(frozen=True)
class Case:
    """One test of a file."""

    suite: str
    name: str
    index: int  # among the tests of its document
    inputs: Inputs
    patches: Patches
    run: Run
    timeout: float  # seconds until what must come has come; engine and aws
    aws: Aws
    steps: Sequence[Step]


def cases_of(document: Object) -> list[Case]:
    """The tests of one document, in order.

    Raises:
        InvalidInput: a field that there is not, a value that makes no sense, a name twice, a test that asserts nothing.
    """
    group = group_of(document["apiVersion"])
    spec = _from_up(spec_of(document), meta(document).get("name", "")) if group == OF_UP else spec_of(document)
    found, problems, _ = load(_Document, spec, "spec", FUNCTION)
    if found is None:
        raise refused(problems)
    if not found.tests:
        raise refused([required("spec.tests", "has no test")])
    cases = [
        _case(test, found.defaults, meta(document).get("name", ""), index) for index, test in enumerate(found.tests)
    ]
    names: set[str] = set()
    for case in cases:
        if case.name in names:
            raise InvalidInput(f'spec.tests[{case.index}]: the name "{case.name}" is another test\'s', mend="rename it")
        names.add(case.name)
    return cases


def _case(test: _Test, defaults: _Defaults, suite: str, index: int) -> Case:
    place = f"spec.tests[{index}]"
    given = {name: getattr(test.inputs, name) for name in test.inputs.model_fields_set}
    if "claim" in given or "composite" in given:  # one subject: the default's gives way
        given = {"claim": None, "composite": None, **given}
    steps = test.steps or [Step(assertions=test.assertions)]
    if test.steps and test.assertions:  # what must be so in the end
        last = steps[-1]
        steps = [*steps[:-1], last.model_copy(update={"assertions": [*last.assertions, *test.assertions]})]
    if not any(each.model_fields_set for step in steps for each in step.assertions):
        raise InvalidInput(
            f"{place}: nothing is asserted", mend="say what must be so, under assertions: of the test or of its steps"
        )
    run = test.run if "run" in test.model_fields_set else defaults.run or "render"
    for number, step in enumerate(steps):
        if run != "render" and any(each.snapshot for each in step.assertions):
            raise InvalidInput(
                f"{place}.steps[{number}]: a snapshot is for run: render, where names and times are the same each time",
                mend="assert what counts under resources, composite and claim",
            )
        if run != "render" and step.connection:
            raise InvalidInput(
                f"{place}.steps[{number}]: connection is for run: render", mend="leave it out: they are made"
            )
    if test.aws is not None and run != "aws":
        raise InvalidInput(f"{place}.aws: this test does not run against AWS's stand-in", mend="set run: aws")
    inputs = defaults.inputs.model_copy(update=given)
    return Case(
        suite,
        test.name or test.id or f"test {index + 1}",
        index,
        inputs,
        test.patches or Patches(),
        run,
        test.timeout or inputs.timeout or TIMEOUT,
        test.aws or Aws(),
        steps,
    )


_INPUTS_OF_UP = {  # field of theirs → input of ours
    "xr": "composite",
    "xrd": "xrd",
    "composition": "composition",
    "observedResources": "observed",
    "extraResources": "extra",
    "functionCredentials": "credentials",
}
_ACCEPTED_OF_UP = frozenset({"timeoutSeconds", "validate", "context", "assertResources"})
_KEPT_OF_UP = ("timeoutSeconds", "validate")


def _from_up(spec: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A document of `up test` as one of ours: what is asserted are resources in part, by kind and name."""
    inputs: dict[str, Any] = {}
    for field, value in spec.items():
        ours = _INPUTS_OF_UP.get(field.removesuffix("Path"))
        if ours and field.endswith("Path"):
            inputs[ours] = {"path": value}
        elif ours:
            inputs[ours] = [{"raw": each} for each in value] if isinstance(value, list) else {"raw": value}
        elif field not in _ACCEPTED_OF_UP:
            known = [*_ACCEPTED_OF_UP, *_INPUTS_OF_UP, *(f"{each}Path" for each in _INPUTS_OF_UP)]
            raise InvalidInput(f"spec.{field}: there is no such field", mend=did_you_mean(field, known))
    inputs |= {field: spec[field] for field in _KEPT_OF_UP if field in spec}
    if spec.get("context"):
        inputs["context"] = _context_of_up(spec["context"])
    asserted = spec.get("assertResources") or []
    return {"tests": [{"name": name, "inputs": inputs, "assertions": [{"chainsaw": {"resources": asserted}}]}]}


def _context_of_up(context: Any) -> Any:
    """A list of keys with values, or a map already."""
    if not isinstance(context, Sequence) or isinstance(context, str):
        return context
    return {str(each.get("key")): each.get("value") for each in context if isinstance(each, Mapping)}
