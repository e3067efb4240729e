"""What real functions were asked and answered, as recorded from the Go engines (`tests/vectors/functions`): read as they mean it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from groundplane.core.pipeline import Request
from groundplane.remote import messages, wire
from tests.function_vectors import STATUSES
from tests.function_vectors import state_of as state
from tests.remote import upstream

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "functions"
CASES = [
    (path.stem.removeprefix("function-"), json.loads(line))
    for path in sorted(FOLDER.glob("function-*.jsonl"))
    for line in path.read_text().split("\n")
    if line
]


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
