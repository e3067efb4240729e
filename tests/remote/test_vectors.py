"""What real functions were asked and answered, as recorded from the Go engines (`vectors/`): read as they mean it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from groundplane.core.pipeline import Request, Resource, State
from groundplane.functions import auto_ready
from groundplane.remote import messages, wire
from tests.remote import upstream

FOLDER = Path(__file__).resolve().parent / "vectors"
CASES = [
    (path.stem.removeprefix("function-"), json.loads(line))
    for path in sorted(FOLDER.glob("*.jsonl"))
    for line in path.read_text().split("\n")
    if line
]
READY = {"READY_TRUE": True, "READY_FALSE": False}
STATUSES = {"STATUS_CONDITION_TRUE": "True", "STATUS_CONDITION_FALSE": "False"}


def named(case):
    return f"{case[0]}-{case[1]['id']}" if isinstance(case, tuple) else None


def theirs(kind, given):
    return json_format.ParseDict(given, kind())


def shown(message):
    return json_format.MessageToDict(message)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_request_that_we_have_read_and_written_is_still_the_same(case):
    request = theirs(upstream.Request, case[1]["request"])
    ours = wire.encode(messages.REQUEST, wire.decode(messages.REQUEST, request.SerializeToString()))
    assert shown(upstream.Request.FromString(ours)) == shown(request)


def state(given):
    """A state, from their JSON."""

    def resource(each):
        details = {name: base64.b64decode(value) for name, value in each.get("connectionDetails", {}).items()}
        return Resource(each.get("resource", {}), details, READY.get(each.get("ready")))

    resources = {name: resource(each) for name, each in given.get("resources", {}).items()}
    return State(resource(given.get("composite", {})), resources)


@pytest.mark.parametrize("case", [case for case in CASES if "response" in case[1]], ids=named)
def test_an_answer_means_what_their_library_says(case):
    request, given = case[1]["request"], case[1]["response"]
    asked = Request(state(request.get("observed", {})), state(request.get("desired", {})))
    answer = messages.answered(theirs(upstream.Response, given).SerializeToString(), asked)
    desired = state(given.get("desired", {}))
    assert answer.desired.resources == desired.resources
    assert desired.composite.object.items() <= answer.desired.composite.object.items()
    assert (answer.desired.composite.connection, answer.desired.composite.ready) == (
        desired.composite.connection,
        desired.composite.ready,
    )
    assert answer.context == given.get("context", {})
    told = [(each.severity.upper(), each.message) for each in answer.results]
    assert told == [
        (each["severity"].removeprefix("SEVERITY_"), each.get("message", "")) for each in given.get("results", ())
    ]
    assert [(each.condition.type, each.condition.status) for each in answer.conditions] == [
        (each["type"], STATUSES.get(each.get("status"), "Unknown")) for each in given.get("conditions", ())
    ]
    assert set(answer.requirements) == set(given.get("requirements", {}).get("resources", {}))
    assert f"{answer.ttl:g}s" == given.get("meta", {}).get("ttl", "0s")


def is_ours(case):
    """Whether our auto-ready takes it: it refuses checks in CEL, and what real one finds fatal is none of its business."""
    results = case.get("response", {}).get("results", ())
    is_fatal = any(each["severity"] == "SEVERITY_FATAL" for each in results)
    return "response" in case and not is_fatal and not auto_ready.check(case["request"].get("input", {}))


@pytest.mark.parametrize("case", [case for case in CASES if case[0] == "auto-ready" and is_ours(case[1])], ids=named)
def test_our_auto_ready_answers_what_the_real_one_does(case):
    request, given = case[1]["request"], case[1]["response"]
    asked = Request(state(request.get("observed", {})), state(request.get("desired", {})), request.get("context", {}))
    ours = auto_ready.compile(request.get("input", {}))(asked)
    assert {name: each.ready for name, each in ours.desired.resources.items()} == {
        name: each.ready for name, each in state(given.get("desired", {})).resources.items()
    }
