"""The health port, asked over real HTTP on loopback."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
import pytest

from groundplane.runtime import health, metrics
from groundplane.runtime.health import Health


class Probe:
    """Answers what a test sets, and asks."""

    def __init__(self):
        self.live = self.ready = ""
        self.refreshed = 0

    def refresh(self):
        self.refreshed += 1

    async def ask(self, path):
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{self.port}{path}") as response:
                return response.status, await response.text()


@pytest.fixture
async def probe():
    found = Probe()
    server = Health(
        live={"watches": lambda: found.live},
        ready={"kinds": lambda: found.ready, "engine": lambda: ""},
        host="127.0.0.1",
        port=0,
        before_metrics=found.refresh,
    )
    async with server:
        found.port = server.port
        yield found


async def test_all_well_is_200_with_a_line_a_check(probe):
    assert await probe.ask("/livez") == (200, "[+]event-loop ok\n[+]watches ok\n")
    assert await probe.ask("/healthz") == (200, "[+]event-loop ok\n[+]watches ok\n")
    assert await probe.ask("/readyz") == (200, "[+]kinds ok\n[+]engine ok\n")


async def test_what_is_wrong_is_503_and_said(probe):
    probe.ready = "compositions.apiextensions.crossplane.io"
    probe.live = "kopf's thread has ended"
    assert await probe.ask("/readyz") == (503, "[-]kinds compositions.apiextensions.crossplane.io\n[+]engine ok\n")
    assert await probe.ask("/livez") == (503, "[+]event-loop ok\n[-]watches kopf's thread has ended\n")


async def test_metrics_are_brought_up_to_date_and_shown(probe):
    status, text = await probe.ask("/metrics")
    assert status == 200
    assert "groundplane_build_info" in text
    assert probe.refreshed == 1


async def test_an_event_loop_that_is_held_up_is_not_live(probe, monkeypatch):
    monkeypatch.setattr(health, "PULSE", 0.005)
    monkeypatch.setattr(health, "LONGEST_LAG", 0.0)  # the least delay is too long
    async with Health(live={}, ready={}, host="127.0.0.1", port=0) as server:
        probe.port = server.port
        before = metrics.registry.get_sample_value("groundplane_loop_lag_seconds_count")
        await asyncio.sleep(0.02)
        assert metrics.registry.get_sample_value("groundplane_loop_lag_seconds_count") > before
        status, text = await probe.ask("/livez")
        assert status == 503
        assert text.startswith("[-]event-loop 0.")


async def test_the_debug_page_is_there_only_if_it_is_asked_for(probe):
    assert (await probe.ask("/debug"))[0] == 404
    async with Health(live={}, ready={}, host="127.0.0.1", port=0, debug=lambda: {"queues": {"claim": 1}}) as server:
        probe.port = server.port
        status, text = await probe.ask("/debug")
        assert (status, orjson.loads(text)) == (200, {"queues": {"claim": 1}})
