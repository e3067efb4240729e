"""A composition function that does as its input says, served by gRPC as Crossplane's SDKs serve theirs.

In a process of its own: `python -m tests.remote.server --insecure --address 127.0.0.1:9443`.  What `input.do` may say: see `DOES`; nothing:
`input.resources` are desired beside what is, ready if `input.ready`.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from google.protobuf import json_format

from tests.remote import upstream

METHOD = "RunFunction"
V1, V1BETA1 = (f"apiextensions.fn.proto.{version}.FunctionRunnerService" for version in ("v1", "v1beta1"))


class Function:
    """Answers, and remembers what it was asked."""

    def __init__(self):
        self.asked = []
        self.calling, self.most = 0, 0  # calls at once
        self.go_on = asyncio.Event()  # ends the calls that wait for it

    async def run(self, data: bytes, context) -> bytes:
        request = upstream.Request.FromString(data)
        self.asked.append(request)
        given = json_format.MessageToDict(request.input) if request.HasField("input") else {}
        self.calling += 1
        self.most = max(self.most, self.calling)
        try:
            return await DOES[given.get("do", "")](self, request, given, context)
        finally:
            self.calling -= 1


def answer(request, ttl=None):
    """An answer that passes all on, as SDKs begin theirs."""
    response = upstream.Response()
    response.meta.tag = request.meta.tag
    if ttl is not None:
        response.meta.ttl.FromTimedelta(datetime.timedelta(seconds=ttl))
    response.desired.CopyFrom(request.desired)
    if request.HasField("context"):
        response.context.CopyFrom(request.context)
    return response


async def _compose(function, request, given, context):
    response = answer(request, given.get("ttl"))
    for name, obj in (given.get("resources") or {}).items():
        made = response.desired.resources[name]
        made.resource.update(obj)
        made.ready = 1 if given.get("ready") else 0
    if given.get("status"):
        response.desired.composite.resource.update({"status": given["status"]})
    for name, value in (given.get("details") or {}).items():
        response.desired.composite.connection_details[name] = value.encode()
    json_format.ParseDict(given.get("more") or {}, response)
    return response.SerializeToString()


async def _wait(function, request, given, context):
    await function.go_on.wait()
    return answer(request).SerializeToString()


async def _sleep(function, request, given, context):
    await asyncio.sleep(given["seconds"])
    return answer(request).SerializeToString()


async def _exit(function, request, given, context):
    os._exit(3)


async def _huge(function, request, given, context):
    response = answer(request)
    response.desired.resources["huge"].resource.update(
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "x" * int(given["bytes"])}}
    )
    return response.SerializeToString()


async def _bytes(function, request, given, context):
    return bytes.fromhex(given["hex"])


async def _abort(function, request, given, context):
    text = given["text"]
    if given.get("leak"):  # as an SDK tells of an exception whose text has what it was given
        text += "".join(data.decode() for data in request.observed.composite.connection_details.values())
        text += "".join(
            data.decode() for each in request.credentials.values() for data in each.credential_data.data.values()
        )
    await context.abort(grpc.StatusCode[given["code"]], text)


async def _require(function, request, given, context):
    """Requirements: those of the input until they are there, or others each time."""
    response = answer(request)
    if given.get("for_ever"):
        response.requirements.resources[f"n{len(function.asked)}"].CopyFrom(
            upstream.message("ResourceSelector")(api_version="v1", kind="ConfigMap", match_name="x")
        )
        return response.SerializeToString()
    json_format.ParseDict(given["requirements"], response.requirements)
    seen = {
        name: [json_format.MessageToDict(item.resource) for item in found.items]
        for field in (request.required_resources, request.extra_resources)
        for name, found in field.items()
    }
    schemas = {
        name: json_format.MessageToDict(each.openapi_v3) if each.HasField("openapi_v3") else None
        for name, each in request.required_schemas.items()
    }
    response.desired.composite.resource.update(
        {"status": {"seen": sorted(f"{name}:{len(found)}" for name, found in seen.items())}}
    )
    if schemas:
        response.desired.composite.resource["status"]["schemas"] = sorted(
            f"{name}:{'known' if schema else 'unknown'}" for name, schema in schemas.items()
        )
    return response.SerializeToString()


DOES = {
    "": _compose,
    "wait": _wait,
    "sleep": _sleep,
    "exit": _exit,
    "huge": _huge,
    "bytes": _bytes,
    "abort": _abort,
    "require": _require,
}


def build(function, *, services=(V1, V1BETA1), limit=64 * 1024 * 1024):
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", limit), ("grpc.so_reuseport", 0)])
    for service in services:
        handler = grpc.unary_unary_rpc_method_handler(function.run)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {METHOD: handler})])
    return server


def secured(folder: Path):
    """Of upstream's TLS_SERVER_CERTS_DIR: clients must show a certificate of the same authority."""
    read = {name: (folder / name).read_bytes() for name in ("tls.key", "tls.crt", "ca.crt")}
    return grpc.ssl_server_credentials(
        [(read["tls.key"], read["tls.crt"])], root_certificates=read["ca.crt"], require_client_auth=True
    )


@asynccontextmanager
async def serving(*, services=(V1, V1BETA1), certificates: Path | None = None, address="127.0.0.1:0", **how):
    """A function in this process, and where it listens."""
    function = Function()
    server = build(function, services=services, **how)
    if certificates is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, secured(certificates))
    await server.start()
    function.server, function.port = server, port
    try:
        yield function
    finally:
        function.go_on.set()
        await server.stop(None)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--address", default="127.0.0.1:9443")
    parser.add_argument("--tls-certs-dir", type=Path)
    given = parser.parse_args()
    async with serving(certificates=None if given.insecure else given.tls_certs_dir, address=given.address) as function:
        print(f"listening at {given.address}", flush=True)
        await function.server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
