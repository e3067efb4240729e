"""function-cel-filter as it is, built from Go's module proxy, and ours: asked the same, they say the same.

Of the original functions it is the one that the module proxy can build; what the others answer, vectors hold.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path

import pytest

from groundplane.core.pipeline import Endpoint, Remote, Request, Resource, State
from groundplane.core.spec import refusal
from groundplane.errors import InvalidInput
from groundplane.functions import cel_filter
from groundplane.remote.runner import Runner
from tests import conformance, function_vectors
from tests.cluster import build
from tests.ports import free_port

pytestmark = pytest.mark.soak
VECTORS = Path(__file__).parents[1] / "vectors" / "functions" / "function-cel-filter.jsonl"
OBJECT = "observed.composite.resource"
COMPOSITE = {
    "apiVersion": "example.org/v1",
    "kind": "XApp",
    "metadata": {"name": "shop", "labels": {"team": "a", "x/y": "z"}},
    "spec": {
        "n": 3,
        "f": 2.5,
        "big": 2**53 + 1,
        "neg": -1,
        "zero": 0,
        "text": "prod-eu",
        "empty": "",
        "yes": True,
        "no": False,
        "nul": None,
        "list": [1, "a", True, None, {"k": "v"}],
        "numbers": [3, 1, 2],
        "map": {"a": 1, "b": {"c": []}},
        "when": "2026-01-02T03:04:05Z",
        "long": "90s",
    },
}
EXPRESSIONS = [
    f"{OBJECT}.spec.n == 3",
    f"{OBJECT}.spec.n == 3.0",
    f"{OBJECT}.spec.n == 3u",
    f"{OBJECT}.spec.n > 2",
    f"{OBJECT}.spec.n < 3.5",
    f"{OBJECT}.spec.n + 1 == 4",
    f"{OBJECT}.spec.n + 1.0 == 4.0",
    f"{OBJECT}.spec.n * 2.0 == 6.0",
    f"{OBJECT}.spec.n % 2.0 == 1.0",
    f"-{OBJECT}.spec.neg == 1.0",
    f"int({OBJECT}.spec.n) + 1 == 4",
    f"{OBJECT}.spec.big == 9007199254740992",
    f"{OBJECT}.spec.big == 9007199254740993",
    f"string({OBJECT}.spec.n) == '3'",
    f"string({OBJECT}.spec.f) == '2.5'",
    f"{OBJECT}.spec.f / 0.0 > 1.0",
    f"{OBJECT}.spec.zero / {OBJECT}.spec.zero == 1.0",
    "1 / 0 == 1",
    "1 / 0 == 1 || true",
    "true || 1 / 0 == 1",
    "false && 1 / 0 == 1",
    f"{OBJECT}.spec.nope || true",
    f"{OBJECT}.spec.nope == 1 || true",
    f"{OBJECT}.spec.nope == 1 && false",
    f"!{OBJECT}.spec.no",
    f"{OBJECT}.spec.yes",
    f"{OBJECT}.spec.yes == true",
    f"{OBJECT}.spec.yes && true",
    f"{OBJECT}.spec.text && true",
    f"{OBJECT}.spec.nul == null",
    f"{OBJECT}.spec.nul == 0",
    f"has({OBJECT}.spec.nul)",
    f"has({OBJECT}.spec.nope)",
    f"has({OBJECT}.spec.nope.nope)",
    f"has({OBJECT}.nope)",
    f"has({OBJECT}.spec.n.x)",
    f"{OBJECT}.spec.text.x == 1",
    "has(observed.nope)",
    "has(observed.composite)",
    "has(desired.composite)",
    "has(observed.composite.ready)",
    "observed.composite.ready == 0",
    "observed.composite.ready == apiextensions.fn.proto.v1.Ready.READY_UNSPECIFIED",
    "desired.resources['b'].ready == apiextensions.fn.proto.v1.Ready.READY_FALSE",
    "desired.resources.b.ready == 2",
    "desired.resources['a'].ready < 1",
    "'a' in desired.resources",
    "'c' in desired.resources",
    "desired.resources['c'].ready == 1",
    "size(desired.resources) == 2",
    "desired.resources.exists(k, k == 'b')",
    "desired.resources.all(k, desired.resources[k].resource.kind == 'Bucket')",
    "desired.resources.all(k, has(desired.resources[k].resource.spec))",
    "observed.resources.map(k, k) == ['c']",
    "observed.resources['c'].connection_details['user'] == b'admin'",
    "string(observed.resources['c'].connection_details['user']) == 'admin'",
    "observed.resources['c'].connection_details.user == 'admin'",
    "observed.resources['c'].connectionDetails == {}",
    "observed == observed",
    "observed == desired",
    "observed.composite == desired.composite",
    "type(observed) == apiextensions.fn.proto.v1.State",
    "type(context) == map",
    "size(context) == 1",
    "context.env.stage == 'prod'",
    "context['env']['stage'].startsWith('pr')",
    "has(context.env)",
    "has(context.nope)",
    "context.nope == 1",
    "context == {'env': {'stage': 'prod'}}",
    f"{OBJECT}.spec.list[0] == 1",
    f"{OBJECT}.spec.list[0] == 1.0",
    f"{OBJECT}.spec.list[9] == 1",
    f"{OBJECT}.spec.list[-1] == 1",
    f"{OBJECT}.spec.list['a'] == 1",
    f"1 in {OBJECT}.spec.list",
    f"1.0 in {OBJECT}.spec.list",
    f"'a' in {OBJECT}.spec.list",
    f"null in {OBJECT}.spec.list",
    f"{{'k': 'v'}} in {OBJECT}.spec.list",
    f"size({OBJECT}.spec.list) == 5",
    f"size({OBJECT}.spec.text) == 7",
    f"size({OBJECT}.spec.n) == 1",
    f"{OBJECT}.spec.list + [2] == [1, 'a', true, null, {{'k': 'v'}}, 2]",
    f"{OBJECT}.spec.numbers.filter(x, x > 1.0) == [3.0, 2.0]",
    f"{OBJECT}.spec.numbers.map(x, x * 2.0) == [6.0, 2.0, 4.0]",
    f"{OBJECT}.spec.numbers.exists_one(x, x == 2.0)",
    f"{OBJECT}.spec.numbers.all(x, x < 4.0)",
    f"{OBJECT}.spec.numbers.map(x, x > 1.0, x) == [3.0, 2.0]",
    f"{OBJECT}.spec.map.a == 1",
    f"{OBJECT}.spec.map == {{'a': 1, 'b': {{'c': []}}}}",
    f"{OBJECT}.spec.map.b.c == []",
    f"'a' in {OBJECT}.spec.map",
    f"{OBJECT}.spec.map.exists(k, k == 'a')",
    f"{OBJECT}.metadata.labels['x/y'] == 'z'",
    f"{OBJECT}.spec.text.contains('d-e')",
    f"{OBJECT}.spec.text.endsWith('eu')",
    f"{OBJECT}.spec.text.matches('^prod')",
    f"{OBJECT}.spec.text.matches('(')",
    f"{OBJECT}.spec.text < 'q'",
    f"{OBJECT}.spec.text + 'x' == 'prod-eux'",
    f"{OBJECT}.spec.text.size() == 7",
    f"{OBJECT}.spec.text.split('-')[0] == 'prod'",
    f"{OBJECT}.spec.text.replace('-', '') == 'prodeu'",
    f"{OBJECT}.spec.text.lowerAscii() == 'prod-eu'",
    f"{OBJECT}.spec.text.charAt(0) == 'p'",
    f"timestamp({OBJECT}.spec.when).getFullYear() == 2026",
    f"timestamp({OBJECT}.spec.when) > timestamp('2025-01-01T00:00:00Z')",
    f"duration({OBJECT}.spec.long) == duration('1m30s')",
    f"duration({OBJECT}.spec.long).getMinutes() == 1",
    f"timestamp({OBJECT}.spec.text).getFullYear() == 2026",
    f"int({OBJECT}.spec.text) == 1",
    f"double('2.5') == {OBJECT}.spec.f",
    f"bool('true') == {OBJECT}.spec.yes",
    "bytes('a') == b'a'",
    f"dyn({OBJECT}.spec.n) == 3",
    f"type({OBJECT}.spec.n) == double",
    f"type({OBJECT}.spec.list) == list",
    f"type({OBJECT}) == map",
    f"type({OBJECT}.spec.nul) == null_type",
    "type(1) == int",
    f"{OBJECT}.spec.n > 2 ? true : false",
    f"{OBJECT}.spec.yes ? 1 == 1 : 1 / 0 == 1",
    f"{OBJECT}.spec.text ? true : false",
    f"{OBJECT}.spec.n in [1, 3]",
    f"{OBJECT}.spec.text in ['prod-eu']",
    f"{OBJECT}.spec.n == '3'",
    f"{OBJECT}.spec.text == 3",
    f"{OBJECT}.spec.n > 'a'",
    f"{OBJECT}.spec.n != {OBJECT}.spec.f",
    "true",
    "false",
    "1",
    "'x'",
    "null",
    "[]",
    "",
    "1 +",
    "nope",
    "observed.nope == 1",
    "1 == 1.0",
    "1 == 'a'",
    "1u == 1u",
    "0x10 == 16",
    "1e3 == 1000.0",
    r"'\u00e9' == 'é'",
    "r'\\d' == '\\\\d'",
    "'''a''' == 'a'",
    "b'\\xff' == b'\\377'",
    "{'a': 1}.a == 1",
    "{1: true}[1]",
    "[1, 2][0] == 1",
    "google.protobuf.Struct{} == {}",
    "apiextensions.fn.proto.v1.Resource{ready: 1}.ready == 1",
    "optional.of(1).hasValue()",
    "quantity('1') == quantity('1')",
    "cel.bind(x, 1, x == 1)",
    "math.greatest(1, 2) == 2",
    "observed.composite.resource.metadata.name == 'shop' // a comment",
    "9223372036854775807 + 1 == 0",
    "-9223372036854775808 < 0",
    "1 - 2 == -1",
    "5 / 2 == 2",
    "-5 % 3 == -2",
    "'a' * 2 == 'aa'",
]


# Google's engine for C++, which is ours, refuses a member of a number also in has(); the one for Go says that it is not there.
DIFFER = {f"has({OBJECT}.spec.n.x)"}


def request():
    bucket = {"apiVersion": "s3.aws.upbound.io/v1beta1", "kind": "Bucket", "spec": {}}
    observed = State(Resource(COMPOSITE), {"c": Resource(bucket, {"user": b"admin"})})
    desired = State(Resource({}), {"a": Resource(bucket), "b": Resource(bucket, ready=False)})
    return Request(observed, desired, {"env": {"stage": "prod"}})


@pytest.fixture(scope="module")
def original():
    """Where the real function listens."""
    port = free_port()
    command = [
        build.program(Path(__file__).parent / "original", "github.com/crossplane-contrib/function-cel-filter"),
        "--insecure",
        "--address",
        f"127.0.0.1:{port}",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def said(response):
    """What an answer means: nothing more than that it is fatal, or what is left and all that is passed on."""
    if any(result.severity == "Fatal" for result in response.results):
        return "fatal"
    left = {name: (each.object, each.ready) for name, each in response.desired.resources.items()}
    return left, response.context


def ours(given, asked):
    try:
        if problems := cel_filter.check(given):
            raise refusal(problems)
        return said(cel_filter.compile(given)(asked))
    except InvalidInput:
        return "fatal"


async def theirs(runner, port, given, asked):
    typed = {"apiVersion": "cel.fn.crossplane.io/v1beta1", "kind": "Filters", **given}
    remote = Remote("function-cel-filter", Endpoint(f"dns:///127.0.0.1:{port}"), "", typed)
    return said(await runner.run(remote, asked, None))


async def test_the_original_and_ours_leave_the_same(original):
    runner, differ = Runner(), {}
    try:
        for expression in EXPRESSIONS:
            given = {"filters": [{"name": "a", "expression": expression}]}
            here, there = ours(given, request()), await theirs(runner, original, given, request())
            if here != there:
                differ[expression] = (here, there)
        for name, case in conformance.cases(VECTORS):
            asked, given = function_vectors.request_of(case["request"]), case["request"]["input"]
            here, there = ours(given, asked), await theirs(runner, original, given, asked)
            if here != there:
                differ[name] = (here, there)
    finally:
        await runner.close()
    assert differ.keys() == DIFFER
