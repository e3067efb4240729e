"""A connection to one function: gRPC's channel, with what a control plane needs of it.  The only module that sees gRPC.

It is imported at the first call: whoever has no function elsewhere neither needs it nor pays for it.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its lines are nobody's log; what goes wrong, each call says

import grpc
import grpc.aio

from groundplane.errors import GroundplaneError, InvalidInput, Unavailable
from groundplane.ports import Certificates
from groundplane.remote.messages import METHODS
from groundplane.remote.turns import Failed

RECEIVED = 16 * 1024 * 1024  # bytes of an answer, at most; upstream takes 4 MiB
CONNECT = 5.0  # seconds for an attempt to connect, and between two of them at most
IDLE = 600.0  # seconds without a call after which a connection is closed
HEALTH = "/grpc.health.v1.Health/Check"  # that it answers at all is enough: upstream's functions do not serve it
PROBE = 6.0  # seconds
SHOWN = 400  # characters of what gRPC, or the function, says of an error

_OPTIONS = (
    ("grpc.max_receive_message_length", RECEIVED),
    ("grpc.max_send_message_length", -1),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT * 1000)),  # gRPC's time for an attempt, too
    ("grpc.max_reconnect_backoff_ms", int(CONNECT * 1000)),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.client_idle_timeout_ms", int(IDLE * 1000)),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
)


_MENDS = {  # by words of gRPC's
    "Hostname Verification": "its certificate is for another name: say which in groundplane.io/endpoint-server-name",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not signed by ca.crt of the Secret that it is called with",
    "WRONG_VERSION_NUMBER": "it serves without TLS: have it serve with TLS, or take the Secret's name off the Function",
    "security handshaker": "the certificates that it is called with are none: look at ca.crt, tls.crt and tls.key of their Secret",
}


class Channel:
    """One function at one address."""

    def __init__(self, target: str, certificates: Certificates | None, server_name: str) -> None:
        self.target = target
        options = [*_OPTIONS, *([("grpc.ssl_target_name_override", server_name)] if server_name else [])]
        if certificates is None:
            self._channel = grpc.aio.insecure_channel(target, options)
        else:
            credentials = grpc.ssl_channel_credentials(
                certificates.ca, certificates.key or None, certificates.certificate or None
            )
            self._channel = grpc.aio.secure_channel(target, credentials, options)
        self._is_secure = certificates is not None
        self._methods = [self._channel.unary_unary(method) for method in METHODS]
        self._version = 0  # of METHODS: the first that it serves
        self.answered = time.monotonic()  # when it last answered, or was made

    async def call(self, request: bytes, timeout: float) -> bytes:
        """The answer's bytes.  Raises Failed."""
        deadline = time.monotonic() + timeout
        for attempt in (0, 1):
            try:
                return await self._call(request, max(0.001, deadline - time.monotonic()))
            except grpc.aio.AioRpcError as error:
                if attempt or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise self._failed(error) from None
            except grpc.aio.UsageError:  # closed between two attempts
                raise Failed(
                    Unavailable("its connection was replaced"), "Unavailable", is_of_connection=False
                ) from None
        raise AssertionError("unreachable")

    async def _call(self, request: bytes, timeout: float) -> bytes:
        while True:
            version = self._version
            try:
                answer: bytes = await self._methods[version](request, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED or version + 1 == len(METHODS):
                    self._version = 0 if error.code() is grpc.StatusCode.UNIMPLEMENTED else version
                    raise
                self._version = version + 1
                continue
            self.answered = time.monotonic()
            return answer

    async def problem(self) -> str:
        """Why nobody answers, in words; "": somebody does."""
        try:
            await self._channel.unary_unary(HEALTH)(b"", timeout=PROBE)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                cause = _cause(error)
                return f"{cause.rstrip('.')}. Mend: {self._mend(cause)}."
        return ""

    async def close(self, grace: float | None = None) -> None:
        """Take no more calls; those that are under way may go on for so many seconds."""
        await self._channel.close(grace)

    @property
    def method(self) -> str:
        """What is called, as upstream's metrics name it."""
        return METHODS[self._version].removeprefix("/")

    def _failed(self, error: grpc.aio.AioRpcError) -> Failed:
        code, cause = error.code(), _cause(error)
        name = "".join(word.capitalize() for word in code.name.split("_"))
        what = f"rpc error: code = {name} desc = {cause}"
        told: GroundplaneError
        match code:
            case grpc.StatusCode.UNAVAILABLE:
                told = Unavailable(what, mend=self._mend(cause))
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                told = Unavailable(
                    what, mend="see why it is slow, or give it more time: annotation groundplane.io/timeout"
                )
            case grpc.StatusCode.UNIMPLEMENTED:
                told = InvalidInput(what, mend=f"see that a composition function serves at {self.target}")
            case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in cause:
                mend = "have it take larger messages, or compose less at once"
                told = InvalidInput(what, mend=f"{mend}; answers may have {RECEIVED} bytes")
            case grpc.StatusCode.INVALID_ARGUMENT:
                told = InvalidInput(what, mend="correct the step's input")
            case _:
                told = Unavailable(what, mend="look into the function's log")
        return Failed(told, name, is_of_connection=code is grpc.StatusCode.UNAVAILABLE)

    def _mend(self, cause: str) -> str:
        """What to do about a connection that can't be made."""
        for words, mend in _MENDS.items():
            if words in cause:
                return mend
        how = "with TLS" if self._is_secure else "without TLS"
        return f"see that it runs and serves at {self.target}, {how}"


def _cause(error: grpc.aio.AioRpcError) -> str:
    text = " ".join(str(error.details() or "").split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
