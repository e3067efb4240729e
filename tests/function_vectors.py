"""What real composition functions were asked and answered, asked of those that are built in: a part of `tests.conformance`.

`request` and `response` are protobuf's JSON of RunFunctionRequest and RunFunctionResponse.  The format is that of the vectors' README: numbers
count as floats, a fatal answer's results up to the fatal one and its conditions, and messages only where users see them on success.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from groundplane.core import fieldpath
from groundplane.core.conditions import Condition
from groundplane.core.pipeline import Function, Remote, Request, Resource, Response, Result, Selector, State, Told
from groundplane.core.spec import refusal
from groundplane.errors import GroundplaneError, InvalidInput
from groundplane.functions import BUILT_IN
from tests.differences import differences

Case = dict[str, Any]

READY = {"READY_TRUE": True, "READY_FALSE": False}
STATUSES = {"STATUS_CONDITION_TRUE": "True", "STATUS_CONDITION_FALSE": "False"}
DEFAULT_TTL = "60s"  # of every SDK


def name_of(case: Case) -> str:
    """Which function a case is about: its id begins with the name; what public compositions asked is all of one."""
    name = case["id"].rpartition("-")[0]
    return "function-go-templating" if name == "pub" else f"function-{name}"


def problems_of(case: Case) -> list[str]:
    """Where our answer is not what the function's was, as texts."""
    wanted = _wanted(case)
    got = _answered(BUILT_IN[name_of(case)], case["request"])
    for departure in DEPARTURES:
        departure.adapt(case, wanted, got)
    return list(differences("", wanted, got))


# --- JSON → what a function is asked ---------------------------------------------------------------------------


def request_of(given: Case) -> Request:
    """A request from protobuf's JSON; numbers are as our reconcilers hand them over: whole ones are integers."""
    return Request(
        observed=state_of(given.get("observed", {})),
        desired=state_of(given.get("desired", {})),
        context=fieldpath.normalised(given.get("context", {})),
        required=_objects(given.get("requiredResources", {})),
        extra=_objects(given.get("extraResources", {})),
        schemas={name: each.get("openapiV3") for name, each in given.get("requiredSchemas", {}).items()},
        credentials={
            name: _bytes(each.get("credentialData", {}).get("data", {}))
            for name, each in given.get("credentials", {}).items()
        },
        tag=given.get("meta", {}).get("tag", ""),
    )


def state_of(given: Case) -> State:
    """A state from protobuf's JSON."""
    resources = {name: _resource(each) for name, each in given.get("resources", {}).items()}
    return State(_resource(given.get("composite", {})), resources)


def _resource(given: Case) -> Resource:
    details = _bytes(given.get("connectionDetails", {}))
    return Resource(fieldpath.normalised(given.get("resource", {})), details, READY.get(given.get("ready", "")))


def _objects(given: Case) -> dict[str, list[Case]]:
    return {
        name: [fieldpath.normalised(item.get("resource", {})) for item in each.get("items", ())]
        for name, each in given.items()
    }


def _bytes(given: Mapping[str, str]) -> dict[str, bytes]:
    return {name: base64.b64decode(value) for name, value in given.items()}


# --- what a function answers → JSON ----------------------------------------------------------------------------


def _answered(function: Function, given: Case) -> Case:
    """Our function's answer; one that it can't give is an `error`."""
    try:
        if problems := function.check(given.get("input") or {}):
            raise refusal(problems)
        run = function.compile(given.get("input") or {})
        assert not isinstance(run, Remote), "it runs elsewhere"
        return _plain(run(request_of(given)))
    except InvalidInput as error:  # upstream's functions say fatally what ours throw
        return _plain(Response(state_of({}), results=[Result("Fatal", str(error))]))
    except GroundplaneError as error:
        return {"error": str(error)}


def _plain(response: Response) -> Case:
    results = list(response.results)
    severities = [result.severity for result in results]
    told = {"conditions": [_condition(each) for each in response.conditions]}
    if "Fatal" in severities:
        return told | {"results": [_result(result) for result in results[: severities.index("Fatal") + 1]]}
    answer = told | {
        "results": [_result(result) for result in results],
        "desired": _state(response.desired),
        "context": response.context,
        "requirements": {
            "resources": _selectors(response.requirements),
            "extraResources": _selectors(response.extra_requirements),
            "schemas": {
                name: {"apiVersion": each.api_version, "kind": each.kind}
                for name, each in response.schema_requirements.items()
            },
        },
        "ttl": f"{response.ttl:g}s",
    }
    return _floats(answer)


def _state(state: State) -> Case:
    return {
        "composite": _shown(state.composite),
        "resources": {name: _shown(resource) for name, resource in state.resources.items()},
    }


def _shown(resource: Resource) -> Case:
    details = {name: base64.b64encode(value).decode() for name, value in resource.connection.items()}
    return {"resource": resource.object, "connectionDetails": details, "ready": resource.ready}


def _result(result: Result) -> Case:
    shown: Case = {"severity": result.severity, "reason": result.reason, "toClaim": result.to_claim}
    return shown | ({"message": result.message} if result.severity == "Normal" else {})


def _condition(told: Told) -> Case:
    condition = told.condition
    shown = {"type": condition.type, "status": condition.status, "reason": condition.reason}
    return shown | {"message": condition.message, "toClaim": told.to_claim}


def _selectors(selectors: Mapping[str, Selector]) -> Case:
    return {
        name: {
            "apiVersion": each.api_version,
            "kind": each.kind,
            "name": each.name,
            "labels": dict(each.labels),
            "namespace": each.namespace,
        }
        for name, each in selectors.items()
    }


# --- what is wanted, in the same form ----------------------------------------------------------------------------


def _wanted(case: Case) -> Case:
    if "error" in case:
        return {"error": case["error"]["message"]}
    given = case["response"]
    results = [
        Result(
            each.get("severity", "SEVERITY_UNSPECIFIED").removeprefix("SEVERITY_").capitalize(),
            each.get("message", ""),
            each.get("reason", ""),
            to_claim=each.get("target") == "TARGET_COMPOSITE_AND_CLAIM",
        )
        for each in given.get("results", ())
    ]
    conditions = [
        Told(
            Condition(
                each["type"],
                STATUSES.get(each.get("status", ""), "Unknown"),
                each.get("reason", ""),
                each.get("message", ""),
            ),
            to_claim=each.get("target") == "TARGET_COMPOSITE_AND_CLAIM",
        )
        for each in given.get("conditions", ())
    ]
    requirements = given.get("requirements", {})
    wanted = _plain(
        Response(
            state_of(given.get("desired", {})),
            given.get("context", {}),
            results,
            conditions,
            _wanted_selectors(requirements.get("resources", {})),
            _wanted_selectors(requirements.get("extraResources", {})),
        )
    )
    if "ttl" in wanted:
        wanted["ttl"] = given.get("meta", {}).get("ttl", "0s")
    return wanted


def _wanted_selectors(given: Case) -> dict[str, Selector]:
    return {
        name: Selector(
            each.get("apiVersion", ""),
            each.get("kind", ""),
            each.get("matchName", ""),
            each.get("matchLabels", {}).get("labels", {}),
            each.get("namespace", ""),
        )
        for name, each in given.items()
    }


def _floats(value: Any) -> Any:
    """Every number as the float that upstream's protocol makes of it."""
    if isinstance(value, dict):
        return {name: _floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if type(value) is int else value


# --- where we answer differently, on purpose ---------------------------------------------------------------------


class Departure(NamedTuple):
    """One promise broken: why, and what makes both answers the same where it applies."""

    reason: str
    adapt: Callable[[Case, Case, Case], None]


def _no_default_ttl(case: Case, wanted: Case, got: Case) -> None:
    if wanted.get("ttl") == DEFAULT_TTL and got.get("ttl") == "0s":
        wanted["ttl"] = "0s"


def _panics(case: Case, wanted: Case, got: Case) -> None:
    severities = [result["severity"] for result in got.get("results", ())]
    if "error" in wanted and "Fatal" in severities:
        wanted.clear()
        wanted.update(got)


def _reset_readiness(case: Case, wanted: Case, got: Case) -> None:
    if "error" in wanted and (case["request"].get("input") or {}).get("resetCompositeReadiness"):
        assert got["desired"]["composite"]["ready"] is False
        wanted.clear()
        wanted.update(got)


def _no_usage_of_itself(case: Case, wanted: Case, got: Case) -> None:
    resources = wanted.get("desired", {}).get("resources", {})
    for name in case["request"].get("observed", {}).get("resources", {}):
        if name_of(case) == "function-sequencer" and f"{name}-{name}-usage" in resources:
            del resources[f"{name}-{name}-usage"]


def _no_null_tags(case: Case, wanted: Case, got: Case) -> None:
    if name_of(case) != "function-tag-manager":
        return
    for name, each in wanted.get("desired", {}).get("resources", {}).items():
        given = case["request"]["desired"]["resources"][name]["resource"]
        if (each["resource"].get("spec") or {}).get("forProvider") == {**_provider(given), "tags": None}:
            each["resource"] = _floats(given)


def _provider(obj: Case) -> Case:
    found: Case = obj.get("spec", {}).get("forProvider") or {}
    return found


def _own_words_of_input(case: Case, wanted: Case, got: Case) -> None:
    for theirs, ours in zip(wanted.get("conditions", ()), got.get("conditions", ()), strict=False):
        if theirs["reason"] == ours["reason"] == "InputFailure":
            theirs["message"] = ours["message"]


DEPARTURES = (
    Departure(
        "an answer asks for another run only where the input does; watches tell when there is need", _no_default_ttl
    ),
    Departure("where upstream's function panics ours gives a fatal result", _panics),
    Departure(
        "the sequencer can call a composite unready of which nothing is desired; upstream's panics", _reset_readiness
    ),
    Departure("what is wrong in an input is told in our words, with its place", _own_words_of_input),
    Departure("the sequencer composes no usage of a resource by itself", _no_usage_of_itself),
    Departure("tags that nobody adds stay away; upstream's tag-manager writes null", _no_null_tags),
)
