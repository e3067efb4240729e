"""Processes beside the benchmark of webhooks: a webhook that says yes to everything, and somebody who asks ours as the API server does.

python -m benchmarks.beside yes         # prints where it is reached, and by which authority, as JSON
python -m benchmarks.beside ask PORT    # asks until its input ends; prints how many milliseconds each answer took, as JSON
"""

from __future__ import annotations

import asyncio
import http.client
import json
import select
import ssl
import sys
import time

from aiohttp import web

from benchmarks import composites
from groundplane.runtime import certificates

HOST = "127.0.0.1"
PAUSE = 0.05  # seconds between two questions
PATH = "/validate-apiextensions-crossplane-io-v1-composition"


async def say_yes() -> None:
    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        response = {"uid": asked["request"]["uid"], "allowed": True}
        return web.json_response({"apiVersion": asked["apiVersion"], "kind": asked["kind"], "response": response})

    pair = await certificates.transient([HOST], certificates.now())
    tls = certificates.server_context()
    certificates.load(tls, pair)
    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
    print(json.dumps({"port": runner.addresses[0][1], "authority": pair.bundle.decode()}), flush=True)
    await asyncio.Event().wait()


def ask(port: int) -> list[float]:
    """One question after the other, over one connection."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(HOST, port, context=trusting, timeout=30)
    body, took = json.dumps(_review()), []
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        begun = time.perf_counter()
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        answer = json.load(connection.getresponse())
        took.append((time.perf_counter() - begun) * 1000)
        if not answer["response"]["allowed"]:
            raise RuntimeError(f"refused: {answer}")
    return took


def _review() -> dict[str, object]:
    kind = {"group": "apiextensions.crossplane.io", "version": "v1", "kind": "Composition"}
    tried = {**composites.composition("Stack"), "metadata": {"name": "tried"}}
    request = {"uid": "1", "kind": kind, "name": "tried", "operation": "CREATE", "object": tried, "dryRun": True}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


if __name__ == "__main__":
    if sys.argv[1] == "yes":
        asyncio.run(say_yes())
    else:
        print(json.dumps(ask(int(sys.argv[2]))))
