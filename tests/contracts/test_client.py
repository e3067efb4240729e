"""The HTTP client against a server that says what the test wants: what is repeated, what is not, what errors become."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from groundplane.cluster.client import JSON_PATCH, Api, Expired
from groundplane.cluster.credentials import Access
from groundplane.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    Misshapen,
    NoSuchKind,
    NotFound,
    Rejected,
    Throttled,
    Unavailable,
    Waiting,
)
from tests.contracts.scripted import Server, busy, cut, fine, lines, serving, status

BOXES = "/apis/example.org/v1/boxes"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as script:
        yield script


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    client = Api(Access(server.url, "Bearer one"), reload=lambda: Access(server.url, "Bearer two"))
    yield client
    await client.close()


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "POST"])
async def test_a_busy_server_is_asked_again_after_the_time_it_names(api, server, method):
    server.answers = [busy("1"), fine]
    begun = asyncio.get_running_loop().time()
    assert (await api.request(method, BOXES))[0] == 200
    assert asyncio.get_running_loop().time() - begun >= 1


async def test_a_server_that_stays_busy_throttles_us(api, server):
    server.answers = [busy("30")]  # longer than it is worth to wait for here
    with pytest.raises(Throttled) as raised:
        await api.request("GET", BOXES)
    assert raised.value.after == 30


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("trouble", [status(500), status(503), cut], ids=["500", "503", "cut"])
async def test_what_can_be_repeated_is_repeated_after_trouble(api, server, method, trouble):
    server.answers = [trouble, trouble, fine]
    assert (await api.request(method, BOXES))[0] == 200
    assert len(server.requests) >= 3


@pytest.mark.parametrize("trouble", [status(500), cut], ids=["500", "cut"])
async def test_a_create_whose_outcome_nobody_knows_is_not_repeated(api, server, trouble):
    server.answers = [trouble, fine]
    with pytest.raises(Unavailable):
        await api.request("POST", BOXES, body={})
    assert len(server.requests) == 1


async def test_a_server_that_is_slow_is_not_asked_the_same_again_and_again_which_would_make_it_slower():
    asked, over = [], asyncio.Event()

    async def keep_silent(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.read()
        writer.close()
        await writer.wait_closed()
        over.set()

    silent = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    client = Api(Access(f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"), write_timeout=0.2)
    with pytest.raises(Unavailable, match="^the API server does not answer in time$"):
        await client.request("PUT", BOXES, body={})
    await client.close()
    await over.wait()
    silent.close()
    await silent.wait_closed()
    assert len(asked) == 1


async def test_a_patch_that_may_not_be_repeated_is_not(api, server):
    server.answers = [status(500), fine]
    with pytest.raises(Unavailable):
        await api.request("PATCH", BOXES, body=[], content_type=JSON_PATCH, idempotent=False)
    assert len(server.requests) == 1


async def test_trouble_that_stays_is_unavailable_in_bounded_time(api, server):
    server.answers = [status(500, message="etcd is\n away")]
    with pytest.raises(Unavailable, match="etcd is away"):
        await api.request("GET", BOXES)
    assert len(server.requests) == 5


async def test_a_server_that_is_not_there_is_unavailable_and_says_so_without_an_address():
    client = Api(Access("http://127.0.0.1:1"))
    with pytest.raises(Unavailable) as raised:
        await client.request("GET", BOXES)
    assert str(raised.value) == "the API server can't be reached"
    await client.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(400, "BadRequest"), Rejected),
        (status(401, "Unauthorized"), Denied),
        (status(403, "Forbidden"), Denied),
        (status(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}]), Waiting),
        (status(403, "Forbidden", "cannot set blockOwnerDeletion: cannot find RESTMapping for Kind XNote"), Waiting),
        (status(403, "Forbidden", "create not allowed while custom resource definition is terminating"), NoSuchKind),
        (status(405, "MethodNotAllowed"), Rejected),
        (status(409, "AlreadyExists"), AlreadyExists),
        (status(409, "Conflict"), Conflict),
        (status(410, "Expired"), Expired),
        (status(413, "RequestEntityTooLarge"), Rejected),
        (status(422, "Invalid"), Rejected),
        (status(500, "", "etcdserver: request is too large"), Rejected),
        (
            status(500, "", "rpc error: code = ResourceExhausted desc = trying to send message larger than max"),
            Rejected,
        ),
        (status(500, "", "failed to create typed patch object (/x; v1, Kind=Box): .spec.size: expected"), Misshapen),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_each_refusal_has_its_error_and_is_final(api, server, answer, error):
    server.answers = [answer]
    with pytest.raises(error):
        await api.request("PATCH", BOXES)
    assert len(server.requests) <= 2  # the second with fresh credentials


@pytest.mark.parametrize(
    ("refusal", "mend"),
    [
        ('boxes is forbidden: User "eve" cannot list resource "boxes" in API group ""', "grant it with a Role"),
        (
            'boxes is forbidden: User "system:serviceaccount:a:b" cannot list resource "boxes" in API group "x"',
            "apply a ClusterRole",
        ),
        ("is forbidden: exceeded quota: s, requested: secrets=1, used: secrets=0", "raise the ResourceQuota"),
        ('"p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true', ""),
        ('admission webhook "x.example.org" denied the request: no', ""),
    ],
)
async def test_a_right_is_to_be_given_only_where_one_is_missing(api, server, refusal, mend):
    server.answers = [status(403, "Forbidden", refusal)]
    with pytest.raises(Denied) as raised:
        await api.request("POST", BOXES)
    assert raised.value.mend.startswith(mend)
    assert bool(raised.value.mend) == bool(mend)


async def test_what_is_not_there_is_an_answer_and_no_error(api, server):
    server.answers = [status(404, "NotFound")]
    assert (await api.request("GET", BOXES))[0] == 404


async def test_fresh_credentials_are_tried_once_when_the_old_ones_have_expired(api, server):
    server.answers = [status(401), fine]
    assert (await api.request("GET", BOXES))[0] == 200
    assert [authorization for *_, authorization in server.requests] == ["Bearer one", "Bearer two"]
    assert api.headers()["Authorization"] == "Bearer two"


async def test_a_token_file_is_read_again_when_it_no_longer_serves(server, tmp_path):
    token = tmp_path / "token"
    token.write_text("one\n")
    client = Api(Access(server.url, token_file=token))
    server.answers = [fine, status(401), fine]
    await client.request("GET", BOXES)
    token.write_text("two\n")
    await client.request("GET", BOXES)
    await client.close()
    assert [authorization for *_, authorization in server.requests] == ["Bearer one", "Bearer one", "Bearer two"]


async def test_an_error_never_repeats_the_values_of_a_secret(api, server):
    causes = [{"field": "data[key]", "message": 'Invalid value: "hunter2"'}]
    server.answers = [
        status(422, "Invalid", 'Secret "s" is invalid: "hunter2"', kind="Secret", name="s", causes=causes)
    ]
    with pytest.raises(Rejected) as raised:
        await api.request("PUT", "/api/v1/namespaces/a/secrets/s")
    assert str(raised.value) == 'Secret "s" is invalid: data[key]'


async def test_a_long_text_of_the_server_is_shortened(api, server):
    server.answers = [status(422, "Invalid", "x" * 5000)]
    with pytest.raises(Rejected) as raised:
        await api.request("PUT", BOXES)
    assert len(str(raised.value)) < 700


async def test_requests_beyond_the_burst_wait_for_their_turn(server):
    client = Api(Access(server.url), qps=50, burst=5)
    begun = asyncio.get_running_loop().time()
    await asyncio.gather(*(client.request("GET", BOXES) for _ in range(25)))
    await client.close()
    assert asyncio.get_running_loop().time() - begun >= 0.35  # (25 - 5) / 50, less what the clock may err


async def test_each_attempt_is_told_with_verb_resource_and_status(server):
    told = []
    client = Api(
        Access(server.url), on_request=lambda verb, resource, code, seconds: told.append((verb, resource, code))
    )
    server.answers = [cut, status(503), fine]
    await client.request("PATCH", f"{BOXES}/name")
    await client.close()
    assert told == [("patch", "boxes.example.org", code) for code in (0, 503, 200)]


async def test_a_watch_gives_events_until_the_server_ends_it(api, server):
    obj = {"metadata": {"name": "a", "resourceVersion": "5"}}
    server.answers = [lines({"type": "ADDED", "object": obj}, {"type": "BOOKMARK", "object": obj})]
    assert [type_ async for type_, _ in api.stream_watch(BOXES, {"resourceVersion": "4"})] == ["ADDED", "BOOKMARK"]
    assert server.requests[0][1] == f"{BOXES}?resourceVersion=4&watch=true"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(404), NotFound),
        (status(410), Expired),
        (status(403), Denied),
        (busy("3"), Throttled),
        (cut, Unavailable),
        (lines({"type": "ERROR", "object": {"kind": "Status", "code": 410}}), Expired),
        (lines({"type": "ERROR", "object": {"kind": "Status", "code": 500}}), Unavailable),
        (lambda _: web.Response(text="not JSON\n"), Unavailable),
    ],
    ids=["404", "410", "403", "429", "cut", "ERROR 410", "ERROR 500", "nonsense"],
)
async def test_a_watch_that_fails_says_how(api, server, answer, error):
    server.answers = [answer]
    with pytest.raises(error):
        _ = [event async for event in api.stream_watch(BOXES, {})]
