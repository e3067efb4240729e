"""The informer against a server that fails in the ways that a test wants; test_kubernetes_only.py has the real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.credentials import Access
from groundplane.cluster.informer import Informer
from groundplane.ports import Resource
from tests.contracts.scripted import Answer, Server, cut, lines, serving, status

BOXES = Resource("example.org/v1", "Box", "boxes", namespaced=True)


def box(name: str, version: int) -> dict:
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": str(version)}}


def listed(version: int, *objects: dict) -> Answer:
    return lambda _: web.json_response({"metadata": {"resourceVersion": str(version)}, "items": list(objects)})


def event(type_: str, obj: dict) -> dict:
    return {"type": type_, "object": {"apiVersion": "example.org/v1", "kind": "Box", **obj}}


def error(code: int) -> dict:
    return {"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "no"}}


@asynccontextmanager
async def informed(*answers: Answer, **options: Any) -> AsyncIterator[tuple[Server, Cache, Informer, list]]:
    """Play the answers, then empty ones; hand out when all have been asked for."""
    told: list = []
    done = asyncio.Event()

    def last(_: web.Request) -> web.StreamResponse:
        done.set()
        return web.Response()

    async with serving() as server:
        server.answers = [*answers, last]
        api, cache = Api(Access(server.url)), Cache()
        informer = Informer(
            api,
            BOXES,
            cache,
            lambda c: told.append((c.key.name, c.old is not None, c.new is not None)),
            **options,
        )
        task = asyncio.create_task(informer.run())
        try:
            await asyncio.wait_for(done.wait(), 180)
            yield server, cache, informer, told
        finally:
            informer.stop()
            await task
            await api.close()


def versions(server: Server) -> list[str]:
    """Of each request: the version to watch from, or "list"."""
    return [
        path.split("resourceVersion=")[1].split("&")[0] if "watch" in path else "list" for _, path, _ in server.requests
    ]


async def test_after_410_all_is_listed_anew_and_what_is_missing_is_told_as_gone():
    answers = [listed(5, box("a", 3), box("b", 4)), lines(error(410)), listed(9, box("a", 3), box("c", 8))]
    async with informed(*answers) as (server, cache, _, told):
        assert told == [("a", False, True), ("b", False, True), ("c", False, True), ("b", True, False)]
        assert versions(server)[:4] == ["list", "5", "list", "9"]
        assert cache.synced("example.org/v1", "Box")


async def test_after_any_other_failure_the_watch_goes_on_where_it_was():
    answers = [
        listed(5, box("a", 3)),
        lines(event("MODIFIED", box("a", 6)), error(500)),
        cut,
        status(503),
        status(403),
        lines(event("BOOKMARK", box("", 20)), event("ADDED", box("b", 21))),
    ]
    async with informed(*answers) as (server, _, _, told):
        assert versions(server)[:7] == ["list", "5", "6", "6", "6", "6", "21"]
        assert told == [("a", False, True), ("a", True, True), ("b", False, True)]


async def test_a_page_that_has_expired_starts_the_list_again():
    first = {"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [box("a", 3)]}
    answers = [lambda _: web.json_response(first), status(410), listed(9, box("b", 8))]
    async with informed(*answers) as (server, cache, _, told):
        assert versions(server)[:3] == ["list"] * 3
        assert [obj["metadata"]["name"] for obj in cache.list("example.org/v1", "Box")] == ["b"]
        assert told == [("a", False, True), ("b", False, True), ("a", True, False)]


async def test_a_kind_that_is_not_served_for_a_while_keeps_its_objects_when_it_is_back():
    answers = [listed(5, box("a", 3)), status(404), status(404), listed(9, box("a", 3))]
    async with informed(*answers) as (_, cache, informer, told):
        assert told == [("a", False, True), ("a", True, False), ("a", False, True)]
        assert informer.synced.is_set()
        assert len(cache.list("example.org/v1", "Box")) == 1


async def test_an_old_event_of_a_resumed_watch_changes_nothing():
    late = [event("MODIFIED", box("a", 6)), event("DELETED", box("a", 7)), event("MODIFIED", box("a", 6))]
    async with informed(listed(5, box("a", 3)), lines(*late)) as (_, cache, _, told):
        assert told == [("a", False, True), ("a", True, True), ("a", True, False)]
        assert cache.list("example.org/v1", "Box") == []


async def test_it_tells_when_it_last_heard_from_the_server():
    before = time.monotonic()
    async with informed(listed(5), lines(event("BOOKMARK", box("", 6)))) as (_, _, informer, _):
        assert before < informer.last_seen <= time.monotonic()


async def test_a_watch_that_ends_at_once_each_time_is_not_asked_for_in_a_tight_loop():
    async with informed(listed(5), lines(), lines(), lines()) as (server, _, _, _):
        begun, count = time.monotonic(), len(server.requests)
        await asyncio.sleep(1)
        assert len(server.requests) - count < 10 * (time.monotonic() - begun)


async def test_of_one_namespace_alone_only_that_is_asked_for_and_known():
    answers = [listed(5, box("a", 3)), lines(event("ADDED", box("b", 6)), error(410)), listed(9, box("b", 6))]
    async with informed(*answers, namespace="ns") as (server, cache, _, told):
        assert {path.partition("?")[0] for _, path, _ in server.requests} == {
            "/apis/example.org/v1/namespaces/ns/boxes"
        }
        assert told == [("a", False, True), ("b", False, True), ("a", True, False)]
        assert not cache.synced("example.org/v1", "Box")


async def test_large_objects_come_a_few_at_a_time():
    first = {"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [box("a", 3)]}
    async with informed(lambda _: web.json_response(first), listed(5, box("b", 4)), large=True) as (server, cache, *_):
        assert [path.partition("?")[2].partition("&")[0] for _, path, _ in server.requests[:2]] == ["limit=10"] * 2
        assert len(cache.list("example.org/v1", "Box")) == 2


async def test_that_a_kind_may_not_be_listed_is_told_once_and_again_when_it_was_allowed_in_between():
    said: list = []
    refused = status(403, message='cannot list resource "boxes" in API group "example.org"')
    answers = [refused, refused, listed(5), lines(error(410)), refused, listed(6)]
    async with informed(*answers, on_denied=lambda *told: said.append(told)):
        assert [resource for resource, _ in said] == [BOXES, BOXES]
        assert "cannot list resource" in said[0][1]
