"""The stand-in for AWS: moto's server as a process of its own, mended where AWS behaves otherwise.

    python -m groundplane.aws.standin --port 5000 --slow 5

It prints its URL when it listens, and ends on SIGTERM or with its parent, a shell that is closed, too; all is forgotten then.  The demo and the tests talk to it over
HTTP, through a ProviderConfig's endpoint block or AWS_ENDPOINT_URL.  What moto 5.2 lacks is in the modules of the services, `standin_*.py`; here are the process,
the controls, injected faults, and names that AWS keeps in lower case and takes in any.

Controls, JSON over HTTP:

    POST   /standin/faults  {"service": "rds", "operation": "CreateDBInstance", "code": "Throttling", "status": 400,
                             "message": "…", "times": 2, "skip": 0, "lost": false}
                              the next matching calls fail, but for the first `skip`; operation "*" is any;
                              with `lost` they take effect, and only their answer is this error;
                              with "delay": 4 they begin 4 s later, and without a code they go through then;
                              with "key": only those that are signed with this access key
    GET    /standin/faults                                    them, each with how many times it is still to come
    DELETE /standin/faults                                    no more
    GET    /standin/calls                                     [{"service": …, "operation": …, "status": 200}, …] in
                                                              order; no status yet: not answered
    DELETE /standin/calls
    GET    /standin/passwords                                 {"orders": "…"}: what RDS never tells
    POST   /standin/clock   {"advance": 60}                   let 60 s pass for whatever takes time
    POST   /standin/slow    {"seconds": 5}                    how long creations and the like take from now on
    POST   /standin/maintenance                               apply what waits for the maintenance window
    POST   /moto-api/reset                                    forget everything (moto's own)
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from groundplane.aws import (
    standin_cloudcontrol,
    standin_dynamodb,
    standin_elasticache,
    standin_identity,
    standin_messaging,
    standin_network,
    standin_rds,
    standin_secrets,
    standin_storage,
)

LOWERED = {  # parameters that AWS keeps in lower case and takes in any, by service
    "rds": (
        "DBClusterIdentifier",
        "DBClusterInstanceClass",
        "DBClusterParameterGroupName",
        "DBInstanceClass",
        "DBInstanceIdentifier",
        "DBParameterGroupName",
        "DBSubnetGroupName",
        "GlobalClusterIdentifier",
        "OptionGroupName",
        "SourceDBInstanceIdentifier",
    ),
    "elasticache": (
        "CacheClusterId",
        "CacheNodeType",
        "CacheParameterGroupName",
        "CacheSubnetGroupName",
        "ReplicationGroupId",
        "UserGroupIds",
        "UserGroupIdsToAdd",
        "UserGroupIdsToRemove",
    ),
}
XML_ERROR = (
    '<?xml version="1.0"?><ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>'
    "</Error><RequestId>{id}</RequestId></ErrorResponse>"
)
EC2_ERROR = (
    '<?xml version="1.0"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>'
    "<RequestID>{id}</RequestID></Response>"
)
S3_ERROR = (
    '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message><RequestId>{id}</RequestId></Error>'
)


@dataclass
class Fault:
    service: str
    operation: str
    code: str
    message: str
    status: int
    times: int
    skip: int
    lost: bool
    delay: float
    key: str  # "": whichever access key it is called with


@dataclass
class World:
    """What the controls change, and the clock of whatever takes time."""

    slow: float = 0.0  # seconds
    offset: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        return time.monotonic() + self.offset


WORLD = World()


# --- the controls ---------------------------------------------------------------------------------


class Application:
    """moto's WSGI application behind the controls, the log of calls and the injected faults."""

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self._inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO") or "")
        body = _body(environ)
        if path.startswith("/standin/"):
            return self._control(environ["REQUEST_METHOD"], path.removeprefix("/standin/"), body, start_response)
        if path.startswith("/moto-api"):
            if path.endswith("/reset"):
                standin_cloudcontrol.STORE.clear()
            return self._inner(environ, start_response)
        service, operation = _called(environ, body)
        _lower(environ, body, service)
        with WORLD.lock:
            call: dict[str, Any] = {"service": service, "operation": operation}
            WORLD.calls.append(call)
            fault = _fault(service, operation, _access_key(environ))

        def answer(status: str, *rest: Any) -> Any:
            call["status"] = int(status.split()[0])
            return start_response(status, *rest)

        if fault is not None:
            time.sleep(fault.delay)
        if fault is not None and fault.code:
            if fault.lost:
                list(self._inner(environ, lambda *_: None))
            return _failed(fault, environ, answer)
        if service == "cloudcontrolapi":
            with WORLD.lock:
                code, found = standin_cloudcontrol.answer(operation, body, WORLD.now(), WORLD.slow)
            answer(f"{code} {'OK' if code == 200 else 'Bad Request'}", [("Content-Type", "application/x-amz-json-1.0")])
            return [json.dumps(found).encode()]
        if service == "cloudformation" and operation == "DescribeType":
            code, text = standin_cloudcontrol.describe_type((parse_qs(body.decode()).get("TypeName") or [""])[0])
            answer(f"{code} {'OK' if code == 200 else 'Not Found'}", [("Content-Type", "text/xml")])
            return [text.encode()]
        return self._inner(environ, answer)

    def _control(self, method: str, name: str, body: bytes, start_response: Any) -> Iterable[bytes]:
        given = json.loads(body) if body else {}
        answer: Any = {}
        with WORLD.lock:
            match method, name:
                case "POST", "faults":
                    WORLD.faults.append(
                        Fault(
                            service=given.get("service", "*"),
                            operation=given.get("operation", "*"),
                            code=given.get("code", ""),
                            message=given.get("message", "injected"),
                            status=int(given.get("status", 400)),
                            times=int(given.get("times", 1)),
                            skip=int(given.get("skip", 0)),
                            lost=bool(given.get("lost")),
                            delay=float(given.get("delay", 0)),
                            key=given.get("key", ""),
                        )
                    )
                case "GET", "faults":
                    answer = [
                        {"service": each.service, "operation": each.operation, "times": each.times}
                        for each in WORLD.faults
                    ]
                case "DELETE", "faults":
                    WORLD.faults.clear()
                case "GET", "calls":
                    answer = list(WORLD.calls)
                case "DELETE", "calls":
                    WORLD.calls.clear()
                case "GET", "passwords":
                    answer = standin_rds.passwords()
                case "POST", "clock":
                    WORLD.offset += float(given["advance"])
                case "POST", "slow":
                    WORLD.slow = float(given["seconds"])
                case "POST", "maintenance":
                    standin_rds.maintain()
                case _:
                    start_response("404 Not Found", [("Content-Type", "application/json")])
                    return [b'{"error": "no such control"}']
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


def _body(environ: dict[str, Any]) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    if length:
        environ["wsgi.input"] = io.BytesIO(body)
    return body


def _lower(environ: dict[str, Any], body: bytes, service: str) -> None:
    """Put what AWS keeps in lower case, and finds in any, into it."""
    if names := LOWERED.get(service):
        pattern = rf"(?<![^&])({'|'.join(names)})(\.[A-Za-z.]+\d+)?=[^&]*"
        body = re.sub(pattern.encode(), _with_lower_value, body)
        environ["wsgi.input"] = io.BytesIO(body)


def _with_lower_value(parameter: re.Match[bytes]) -> bytes:
    name, _, value = parameter[0].partition(b"=")
    return name + b"=" + value.lower()


def _called(environ: dict[str, Any], body: bytes) -> tuple[str, str]:
    """The service and the operation of a request; for S3 its method and what it is about."""
    scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION") or "")
    service = scope.group(1) if scope else ""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return service, str(target).rpartition(".")[2]
    action = parse_qs(body.decode("utf-8", "replace")).get("Action") if b"Action=" in body else None
    if action:
        return service or "sts", action[0]
    query = str(environ.get("QUERY_STRING") or "").partition("&")[0].partition("=")[0]
    return service, f"{environ['REQUEST_METHOD']} {'?' + query if query else '/'}"


def _access_key(environ: dict[str, Any]) -> str:
    signed = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION") or "")
    return signed.group(1) if signed else ""


def _fault(service: str, operation: str, key: str) -> Fault | None:
    for fault in WORLD.faults:
        is_meant = fault.service in ("*", service) and fault.operation in ("*", operation) and fault.key in ("", key)
        if fault.times > 0 and is_meant:
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
    return None


def _failed(fault: Fault, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    service, _ = _called(environ, b"")
    facts = {"code": fault.code, "message": fault.message, "id": str(uuid.uuid4())}
    kind = "text/xml"
    if "json" in str(environ.get("CONTENT_TYPE") or ""):
        kind, text = "application/x-amz-json-1.1", json.dumps({"__type": fault.code, "message": fault.message})
    else:
        text = {"ec2": EC2_ERROR, "s3": S3_ERROR}.get(service, XML_ERROR).format(**facts)
    start_response(f"{fault.status} Injected", [("Content-Type", kind), ("x-amzn-RequestId", facts["id"])])
    return [text.encode()]


# --- the process ----------------------------------------------------------------------------------


def _end_with_parent(parent: int) -> None:
    """A test run or a demo that was killed leaves no server behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m groundplane.aws.standin",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that creations and the like take")
    options = parser.parse_args(argv)
    WORLD.slow = options.slow
    os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log(self, *args: Any, **kwargs: Any) -> None:
            """The log of calls is asked for at /standin/calls."""

    standin_rds.mend(WORLD)
    standin_dynamodb.mend()
    standin_elasticache.mend()
    standin_storage.mend()
    standin_messaging.mend()
    standin_secrets.mend()
    standin_network.mend()
    standin_identity.mend()
    server = make_server(
        options.host,
        options.port,
        Application(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=Quiet,
    )
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    os.environ["MOTO_PORT"] = str(server.port)
    sys.stdout.write(f"http://{options.host}:{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
