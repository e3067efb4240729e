"""Functions over real gRPC: what they are asked, what goes wrong, who waits, and what nobody may read."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest
from google.protobuf import json_format

from groundplane.core.pipeline import Endpoint, Kind, Remote, Request, Resource, Selector, State
from groundplane.errors import Busy, GroundplaneError, InvalidInput, Unavailable
from groundplane.ports import Certificates
from groundplane.remote import runner as remote
from groundplane.remote.runner import Runner
from groundplane.remote.turns import Breaker, Turns
from tests.ports import free_port
from tests.remote.certificates import Authority, data_of
from tests.remote.server import V1, V1BETA1, serving

SECRET = "correct-horse-battery"
COMPOSITE = {
    "apiVersion": "example.org/v1",
    "kind": "XThing",
    "metadata": {"name": "shop", "uid": "u-1", "labels": {"crossplane.io/claim-namespace": "team-a"}},
    "spec": {"size": 3},
}
IDENTITY = {"apiVersion": "example.org/v1", "kind": "XThing"}
BUCKET = {"apiVersion": "s3.example.org/v1", "kind": "Bucket"}


def request(*, tenant="team-a", observed=(), desired=(), **more):
    composite = {**COMPOSITE, "metadata": {"name": "shop", "labels": {"crossplane.io/claim-namespace": tenant}}}
    return Request(
        observed=State(Resource(composite, {"password": SECRET.encode()}), dict(observed)),
        desired=State(Resource(dict(IDENTITY)), dict(desired)),
        **more,
    )


def at(function, name="function-x", **given):
    """The function of a server, with an input."""
    how = {each: given.pop(each) for each in ("timeout", "tls_secret", "server_name") if each in given}
    if "tls_secret" in how:
        how = {"server_name": "localhost"} | how
    return Remote(name, Endpoint(f"dns:///127.0.0.1:{function.port}", **how), "example.org/fn:v1", given or None)


@pytest.fixture
async def runner():
    made = Runner()
    yield made
    await made.close()


@pytest.fixture
async def function():
    async with serving() as running:
        yield running


# --- asked and answered -----------------------------------------------------------------------------------------


async def test_a_function_gets_all_of_the_request_and_its_answer_replaces_what_was_desired(runner, function):
    asked = request(
        observed={"a": Resource(BUCKET, {"k": b"v"})},
        desired={"b": Resource(BUCKET, ready=True)},
        context={"c": 1},
        required={"r": [BUCKET], "none": []},
        extra={"e": [BUCKET]},
        schemas={"known": {"type": "object"}, "unknown": None},
        credentials={"cred": {"token": b"t"}},
    )
    more = {"conditions": [{"type": "Fine", "status": "STATUS_CONDITION_TRUE", "reason": "R", "target": 2}]}
    answer = await runner.run(
        at(
            function, resources={"new": {**BUCKET, "n": 3}}, status={"n": 7}, details={"url": "http"}, ttl=30, more=more
        ),
        asked,
        None,
    )
    [seen] = function.asked
    assert len(seen.meta.tag) == 64
    assert list(seen.meta.capabilities) == [1, 2, 3, 4, 5]
    told = json_format.MessageToDict(seen)
    assert told["observed"]["composite"]["resource"]["spec"] == {"size": 3.0}
    assert told["observed"]["resources"]["a"] == {"resource": BUCKET, "connectionDetails": {"k": "dg=="}}
    assert told["desired"] == {"resources": {"b": {"resource": BUCKET, "ready": "READY_TRUE"}}}
    assert not seen.desired.HasField("composite")
    assert told["context"] == {"c": 1.0}
    assert told["requiredResources"] == {"r": {"items": [{"resource": BUCKET}]}, "none": {}}
    assert told["extraResources"] == {"e": {"items": [{"resource": BUCKET}]}}
    assert told["requiredSchemas"] == {"known": {"openapiV3": {"type": "object"}}, "unknown": {}}
    assert told["credentials"] == {"cred": {"credentialData": {"data": {"token": "dA=="}}}}
    assert set(answer.desired.resources) == {"b", "new"}
    assert answer.desired.resources["b"].ready is True
    assert answer.desired.resources["new"].object == {**BUCKET, "n": 3}
    assert type(answer.desired.resources["new"].object["n"]) is int
    assert answer.desired.composite.object == {**IDENTITY, "status": {"n": 7}}
    assert answer.desired.composite.connection == {"url": b"http"}
    assert (answer.context, answer.ttl, answer.tag) == ({"c": 1}, 30.0, seen.meta.tag)
    [fine] = answer.conditions
    assert (fine.condition.type, fine.condition.status, fine.to_claim) == ("Fine", "True", True)


async def test_the_same_request_has_the_same_tag_and_a_step_called_again_keeps_its_first(runner, function):
    first = await runner.run(at(function), request(), None)
    await runner.run(at(function), request(), None)
    await runner.run(at(function), request(context={"more": 1}), None)
    await runner.run(at(function), request(context={"more": 1}, tag=first.tag), None)
    tags = [each.meta.tag for each in function.asked]
    assert tags[0] == tags[1] == tags[3] != tags[2]


async def test_requirements_of_all_three_sorts_are_understood(runner, function):
    wanted = {
        "resources": {"r": {"apiVersion": "v1", "kind": "A", "matchLabels": {"labels": {"l": "v"}}, "namespace": "n"}},
        "extraResources": {"e": {"apiVersion": "v1", "kind": "A", "matchName": "x"}},
        "schemas": {"s": {"apiVersion": "v1", "kind": "A"}},
    }
    answer = await runner.run(at(function, do="require", requirements=wanted), request(), None)
    assert answer.requirements == {"r": Selector("v1", "A", "", {"l": "v"}, "n")}
    assert answer.extra_requirements == {"e": Selector("v1", "A", "x")}
    assert answer.schema_requirements == {"s": Kind("v1", "A")}


@pytest.mark.parametrize("selector", [{"apiVersion": "v1", "kind": "Secret", "matchName": ""}, {"matchName": "x"}])
async def test_a_requirement_that_names_nothing_is_no_wish_for_everything(runner, function, selector):
    with pytest.raises(InvalidInput, match="its requirement r"):
        await runner.run(at(function, do="require", requirements={"resources": {"r": selector}}), request(), None)


async def test_results_of_unknown_severity_and_conditions_without_a_status_come_through(runner, function):
    more = {
        "results": [{"message": "odd"}, {"severity": "SEVERITY_WARNING", "message": "late"}],
        "conditions": [{"type": "T"}],
    }
    answer = await runner.run(at(function, more=more), request(), None)
    assert [(each.severity, each.message) for each in answer.results] == [("Unknown", "odd"), ("Warning", "late")]
    assert answer.conditions[0].condition.status == "Unknown"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"results": [{"message": "x"}] * 1001}, "its answer has 1001 results"),
        ({"conditions": [{"type": f"T{number}"} for number in range(1001)]}, "its answer has 1001 conditions"),
        ({"conditions": [{"status": "STATUS_CONDITION_TRUE"}]}, "a condition in its answer has no type"),
    ],
)
async def test_a_function_that_tells_more_than_anybody_reads_is_told_so(runner, function, more, says):
    with pytest.raises(InvalidInput, match=says):
        await runner.run(at(function, more=more), request(), None)


async def test_what_it_tells_is_cut_to_what_a_status_holds(runner, function):
    more = {"results": [{"message": "x" * 100_000}], "conditions": [{"type": "T", "message": "y" * 100_000}]}
    answer = await runner.run(at(function, more=more), request(), None)
    assert [len(answer.results[0].message), len(answer.conditions[0].condition.message)] == [8192, 8192]


async def test_an_operation_is_told_of_no_composite(runner, function):
    nothing = Request(observed=State(Resource({})), desired=State(Resource({})))
    answer = await runner.run(at(function, resources={"a": BUCKET}, more={"output": {"n": 3}}), nothing, None)
    assert not function.asked[0].HasField("observed")
    assert answer.desired.composite.object == {}
    assert answer.output == {"n": 3}


# --- versions ---------------------------------------------------------------------------------------------------


async def test_a_function_of_v1beta1_alone_is_called_there_and_that_is_remembered(runner):
    async with serving(services=(V1BETA1,)) as old:
        for _ in range(3):
            await runner.run(at(old), request(), None)
        assert len(old.asked) == 3
        assert runner._served["function-x"].channel.method == f"{V1BETA1}/RunFunction"


async def test_what_serves_neither_is_no_function(runner):
    async with serving(services=("grpc.health.v1.Health",)) as other:
        with pytest.raises(InvalidInput, match="code = Unimplemented") as caught:
            await runner.run(at(other), request(), None)
        assert "see that a composition function serves at" in caught.value.mend


async def test_a_function_that_comes_to_serve_v1_is_called_there(runner):
    async with serving(services=(V1BETA1,)) as old:
        await runner.run(at(old), request(), None)
        port = old.port
    async with serving(services=(V1,), address=f"127.0.0.1:{port}") as new:
        for _ in range(100):
            try:
                await runner.run(at(new), request(), None)
                break
            except GroundplaneError:  # the old connection, then v1beta1, which is no more
                await asyncio.sleep(0.1)
        assert new.asked


# --- what goes wrong --------------------------------------------------------------------------------------------


async def test_nobody_there_is_told_at_once_with_the_cause_and_the_place(runner):
    port = free_port()
    remote_ = Remote("function-x", Endpoint(f"dns:///127.0.0.1:{port}"))
    with pytest.raises(Unavailable, match="code = Unavailable desc = .*Connection refused") as caught:
        await runner.run(remote_, request(), None)
    assert caught.value.mend == f"see that it runs and serves at dns:///127.0.0.1:{port}, without TLS"
    assert "Connection refused" in await runner.problem("function-x", remote_.endpoint, None)


async def test_after_five_failures_calls_fail_without_being_tried_until_one_may_and_gets_through():
    seconds = [1000.0]
    runner = Runner(now=lambda: seconds[0])
    port = free_port()
    remote_ = Remote("function-x", Endpoint(f"dns:///127.0.0.1:{port}"))
    told = []
    runner._on_call = lambda *call: told.append(call[3])
    for _ in range(8):
        with pytest.raises(Unavailable, match="Connection refused"):
            await runner.run(remote_, request(), None)
    assert told == ["Unavailable"] * 5
    async with serving(address=f"127.0.0.1:{port}") as function:
        for _ in range(100):  # until gRPC has connected anew, which takes it moments
            seconds[0] += 31.0
            try:
                await runner.run(remote_, request(), None)
                break
            except Unavailable:
                await asyncio.sleep(0.1)
        assert function.asked
        await runner.run(remote_, request(), None)
    await runner.close()


async def test_a_slow_function_is_given_up_after_its_time_and_connected_to_anew(runner, function):
    with pytest.raises(Unavailable, match="code = DeadlineExceeded") as caught:
        await runner.run(at(function, do="wait", timeout=0.1), request(), None)
    assert "groundplane.io/timeout" in caught.value.mend
    assert runner._served["function-x"].channel is None
    await runner.run(at(function), request(), None)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("INVALID_ARGUMENT", InvalidInput),
        ("UNKNOWN", Unavailable),
        ("CANCELLED", Unavailable),
        ("INTERNAL", Unavailable),
        ("RESOURCE_EXHAUSTED", Unavailable),
        ("PERMISSION_DENIED", Unavailable),
    ],
)
async def test_what_an_edit_must_mend_waits_for_it_and_the_rest_is_tried_again(runner, function, code, error):
    with pytest.raises(error, match="rpc error: code = .* desc = it says so"):
        await runner.run(at(function, do="abort", code=code, text="it says so"), request(), None)
    assert len(function.asked) == 1


async def test_only_a_connection_that_fails_is_tried_once_more(runner, function):
    with pytest.raises(Unavailable):
        await runner.run(at(function, do="abort", code="UNAVAILABLE", text="not now"), request(), None)
    assert len(function.asked) == 2


async def test_an_answer_that_is_too_large_is_refused_and_says_so(runner, function):
    with pytest.raises(InvalidInput, match="code = ResourceExhausted .*larger than max") as caught:
        await runner.run(at(function, do="huge", bytes=17 * 1024 * 1024), request(), None)
    assert "compose less" in caught.value.mend
    answer = await runner.run(at(function, do="huge", bytes=5 * 1024 * 1024), request(), None)
    assert len(answer.desired.resources["huge"].object["data"]["x"]) == 5 * 1024 * 1024


async def test_a_request_that_is_too_large_says_what_is_large_in_it(runner):
    async with serving(limit=4 * 1024 * 1024) as small:
        observed = {
            name: Resource({**BUCKET, "data": "x" * size})
            for name, size in (("small", 10), ("vast", 5_000_000), ("big", 1_000))
        }
        with pytest.raises(InvalidInput, match="code = ResourceExhausted .*larger than max") as caught:
            await runner.run(at(small), request(observed=observed), None)
    assert "bytes, most of them in observed vast (50000" in caught.value.mend
    assert "observed big (1" in caught.value.mend


@pytest.mark.parametrize("wrong", ["ffff", "12ff", "2208011a", "0a"])
async def test_an_answer_that_is_no_message_is_told_as_such(runner, function, wrong):
    with pytest.raises(InvalidInput, match="its answer is no RunFunctionResponse"):
        await runner.run(at(function, do="bytes", hex=wrong), request(), None)


async def test_an_empty_answer_does_not_delete_everything(function):
    something = request(observed={"a": Resource(BUCKET)})
    for is_strict in (False, True):
        runner = Runner(strict_upstream=is_strict)
        if is_strict:
            assert (await runner.run(at(function, do="bytes", hex=""), something, None)).desired.resources == {}
        else:
            with pytest.raises(InvalidInput, match="everything that is composed would be deleted"):
                await runner.run(at(function, do="bytes", hex=""), something, None)
            await runner.run(at(function, do="bytes", hex=""), request(), None)  # there is nothing to be deleted
        await runner.close()


async def test_secrets_that_a_function_puts_into_its_error_are_in_no_error_log_or_metric(function, caplog):
    told = []
    runner = Runner(on_call=lambda *call: told.append(call[1:]))
    caplog.set_level(logging.DEBUG)
    asked = request(credentials={"c": {"token": b"hunter2-token"}})
    with pytest.raises(Unavailable) as caught:
        await runner.run(at(function, do="abort", code="UNKNOWN", text="bad: ", leak=True), asked, None)
    for text in (str(caught.value), repr(caught.value), caplog.text, repr(told), repr(asked)):
        assert SECRET not in text
        assert "hunter2" not in text
    assert "bad: ……" in str(caught.value)
    await runner.close()


async def test_a_function_that_ends_between_request_and_answer_is_unavailable(runner):
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tests.remote.server", "--insecure", "--address", address]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert b"listening" in await process.stdout.readline()
    where = Remote("function-x", Endpoint(f"dns:///{address}"), "", {"do": "exit"})
    with pytest.raises(Unavailable, match="code = Unavailable"):
        await runner.run(where, request(), None)
    assert await process.wait() == 3


async def test_a_cancelled_call_is_cancelled_over_there_and_gives_its_turn_back(runner, function):
    calling = asyncio.create_task(runner.run(at(function, do="wait"), request(), None))
    while not function.calling:
        await asyncio.sleep(0.01)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    while function.calling:
        await asyncio.sleep(0.01)
    assert runner._served["function-x"].turns.running == 0


IMPORTS = """
import sys
from groundplane.runtime import operator, local
from groundplane.remote.runner import Runner
Runner()
print(sorted({"grpc", "google"} & {name.partition(".")[0] for name in sys.modules}))
"""
MISSING = """
import asyncio, sys
sys.modules["grpc"] = None
from groundplane.core.pipeline import Endpoint, Remote, Request, Resource, State
from groundplane.remote.runner import Runner
nothing = State(Resource({}))
try:
    asyncio.run(Runner().run(Remote("f", Endpoint("dns:///localhost:1")), Request(nothing, nothing), None))
except Exception as error:
    print(type(error).__name__, error)
"""


def said(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_without_a_function_elsewhere_nothing_of_grpc_is_loaded():
    assert said(IMPORTS) == "[]"


def test_without_grpc_the_error_names_the_extra():
    assert said(MISSING) == (
        "InvalidInput Function f does not run in this process, and grpcio is not installed. "
        "Mend: pip install 'groundplane[functions]'."
    )


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def server_folder(authority):
    return authority.sign("function-x", "function-x", "localhost")


@pytest.fixture(scope="module")
def client_folder(authority):
    return authority.sign("crossplane")


def certificates(folder):
    data = data_of(folder)
    return Certificates(data["ca.crt"], data["tls.crt"], data["tls.key"])


async def test_mutual_tls_as_crossplane_has_it(runner, server_folder, client_folder):
    async with serving(certificates=server_folder) as function:
        await runner.run(at(function, tls_secret="s"), request(), certificates(client_folder))
        assert len(function.asked) == 1
        assert (
            await runner.problem("function-x", at(function, tls_secret="s").endpoint, certificates(client_folder)) == ""
        )


async def test_certificates_from_a_folder_are_read_again_when_they_change(server_folder, client_folder, tmp_path):
    runner = Runner(certificates=str(tmp_path))
    async with serving(certificates=server_folder) as function:
        with pytest.raises(Unavailable, match="certificates can't be read"):
            await runner.run(at(function, tls_secret="s"), request(), None)
        for name, data in data_of(client_folder).items():
            (tmp_path / name).write_bytes(data)
        await runner.run(at(function, tls_secret="s"), request(), None)
    await runner.close()


async def test_a_wrong_name_no_certificate_a_strange_authority_and_plaintext_are_refused(
    runner, authority, server_folder, client_folder, tmp_path
):
    ours = certificates(client_folder)
    stranger = certificates(Authority(tmp_path / "other").sign("crossplane"))
    async with serving(certificates=server_folder) as function:
        wrong = {
            "is for another name": (at(function, "a", tls_secret="s", server_name="another"), ours),
            "see that it runs and serves at": (at(function, "b", tls_secret="s"), Certificates(ours.ca)),
            "is not signed by ca.crt": (at(function, "c", tls_secret="s"), stranger),
            ", without TLS": (at(function, "d"), None),
            "are none": (at(function, "f", tls_secret="s"), Certificates(b"junk")),
        }
        for says, (where, who) in wrong.items():
            with pytest.raises(Unavailable, match="code = Unavailable") as caught:
                await runner.run(where, request(), who)
            assert says in caught.value.mend
            assert says in await runner.problem(where.name, where.endpoint, who)
        assert function.asked == []
        await runner.run(at(function, "e", tls_secret="s", server_name="function-x"), request(), ours)


async def test_a_rotated_certificate_makes_a_new_connection_and_calls_under_way_go_on(runner, authority, server_folder):
    first, second = (certificates(authority.sign(name)) for name in ("client-1", "client-2"))
    async with serving(certificates=server_folder) as function:
        waiting = asyncio.create_task(runner.run(at(function, tls_secret="s", do="wait"), request(), first))
        while not function.calling:
            await asyncio.sleep(0.01)
        await runner.run(at(function, tls_secret="s"), request(), second)
        function.go_on.set()
        await waiting
        assert len(runner._served) == 1


# --- whose turn it is -----------------------------------------------------------------------------------------------


async def test_no_more_calls_at_once_than_allowed_and_none_is_lost(function):
    runner = Runner(calls=4)
    tenants = [f"team-{number % 7}" for number in range(100)]
    calls = [
        asyncio.create_task(runner.run(at(function, do="sleep", seconds=0.005), request(tenant=tenant), None))
        for tenant in tenants
    ]
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert function.most <= 4
    assert {type(each) for each in done} <= {Busy, *[type(each) for each in done if not isinstance(each, Exception)]}
    assert runner._served["function-x"].turns.running == 0
    await runner.close()


async def test_a_hung_function_holds_up_no_other_and_its_own_are_held_back(function):
    runner = Runner(calls=2)
    async with serving() as healthy:
        hung = [
            asyncio.create_task(runner.run(at(function, "hung", do="wait"), request(tenant=f"t{number}"), None))
            for number in range(2)
        ]
        while function.calling < 2:
            await asyncio.sleep(0.01)
        runner._served["hung"].turns._average = 20.0
        with pytest.raises(Busy) as caught:
            await runner.run(at(function, "hung"), request(), None)
        assert caught.value.after >= 1.0
        for _ in range(20):
            await runner.run(at(healthy, "healthy"), request(), None)
        function.go_on.set()
        await asyncio.gather(*hung)
    await runner.close()


async def test_one_tenant_never_has_all_the_turns():
    turns = Turns(4, lambda: 0.0, held="f is called as often as it may be", line="its turn")
    async with turns.turn("a"), turns.turn("a"), turns.turn("a"):
        turns._average = 20.0
        with pytest.raises(Busy):
            async with turns.turn("a"):
                pass
        async with turns.turn("b"):
            assert turns.running == 4
        assert turns.running == 3
    assert turns.running == 0


async def test_a_tenant_that_waits_does_not_keep_another_from_a_free_place():
    turns = Turns(4, lambda: 0.0, held="f is called as often as it may be", line="its turn")
    async with turns.turn("a"), turns.turn("a"), turns.turn("a"):
        entered = asyncio.Event()

        async def waits():
            async with turns.turn("a"):
                entered.set()

        waiting = asyncio.create_task(waits())
        await asyncio.sleep(0)
        async with turns.turn("b"):
            assert not entered.is_set()
    await waiting
    assert turns.running == 0


async def test_calls_that_have_not_ended_yet_count_as_long_as_they_have_taken():
    seconds = [0.0]
    turns = Turns(2, lambda: seconds[0], held="f is called as often as it may be", line="its turn")
    async with turns.turn("a"), turns.turn("b"):
        seconds[0] = 4.0
        with pytest.raises(Busy):
            async with turns.turn("c"):
                pass


async def test_those_that_wait_get_their_turns_in_order_and_who_goes_away_gives_it_back():
    turns, told = Turns(1, lambda: 0.0, held="f is called as often as it may be", line="its turn"), []

    async def wants(name):
        async with turns.turn(name):
            told.append(name)

    async with turns.turn("first"):
        waiting = [asyncio.create_task(wants(str(number))) for number in range(5)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert told == ["0", "2", "3", "4"]
    assert turns.running == 0


async def test_who_is_held_back_comes_later_the_more_there_are():
    turns = Turns(2, lambda: 100.0, held="f is called as often as it may be", line="its turn")
    held = []
    async with turns.turn("a"), turns.turn("b"):
        turns._average = 10.0
        for _ in range(10):
            with pytest.raises(Busy) as caught:
                async with turns.turn("c"):
                    pass
            held.append(caught.value.after)
    assert held == sorted(held)
    assert (held[0], held[-1]) == (5.0, 30.0)


def test_a_breaker_pauses_longer_each_time_and_lets_one_call_through():
    seconds = [0.0]
    breaker = Breaker(lambda: seconds[0])
    for _ in range(5):
        breaker.check()
        breaker.failed("down")
    pauses = []
    for _ in range(7):
        begun = seconds[0]
        while True:
            try:
                breaker.check()
                break
            except Unavailable:
                seconds[0] += 0.5
        with pytest.raises(Unavailable, match="down"):
            breaker.check()  # one alone
        pauses.append(seconds[0] - begun)
        breaker.failed("down")
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    breaker.answered()
    breaker.check()


# --- what is kept -----------------------------------------------------------------------------------------------


async def test_an_answer_is_given_again_as_long_as_it_may_be_kept(function):
    seconds = [0.0]
    runner = Runner(keep=60.0, now=lambda: seconds[0])
    for moment in (0.0, 29.0, 31.0, 32.0):
        seconds[0] = moment
        answer = await runner.run(at(function, ttl=30), request(), None)
        assert answer.ttl == 30.0
    assert len(function.asked) == 2
    await runner.run(at(function, ttl=30), request(context={"new": 1}), None)
    await runner.run(at(function, ttl=31), request(), None)
    assert len(function.asked) == 4  # another request, another input
    seconds[0] = 1000.0
    for moment in (1000.0, 1059.0, 1061.0):
        seconds[0] = moment
        await runner.run(at(function, ttl=86400), request(), None)
    assert len(function.asked) == 6
    await runner.close()


@pytest.mark.parametrize(("keep", "ttl", "fatal"), [(0.0, 60, False), (60.0, 0, False), (60.0, 60, True)])
async def test_nothing_is_kept_by_default_without_a_ttl_or_of_a_failure(function, keep, ttl, fatal):
    runner = Runner(keep=keep)
    more = {"results": [{"severity": "SEVERITY_FATAL", "message": "no"}]} if fatal else {}
    for _ in range(2):
        await runner.run(at(function, ttl=ttl, more=more), request(), None)
    assert len(function.asked) == 2
    await runner.close()


def test_what_is_kept_has_a_bound_and_the_longest_unused_goes_first(monkeypatch):
    monkeypatch.setattr(remote, "KEPT_BYTES", 100)
    kept = remote._Kept(60.0)
    for number in range(20):
        kept.put(bytes([number]), b"x" * 10, 60.0, 0.0)
        kept.get(b"\x00", 1.0)
    assert kept.size == 100
    assert kept.get(b"\x00", 1.0)
    assert kept.get(b"\x01", 1.0) is None
    kept.put(b"l", b"x" * (remote.KEPT_ANSWER + 1), 60.0, 0.0)
    assert kept.get(b"l", 1.0) is None


async def test_connections_that_nobody_uses_are_closed_and_forgotten(function):
    seconds = [0.0]
    runner = Runner(now=lambda: seconds[0])
    for number in range(5):
        await runner.run(at(function, f"f{number}"), request(), None)
    seconds[0] = 601.0
    await runner.run(at(function, "f0"), request(), None)
    assert set(runner._served) == {"f0"}
    await runner.close()
