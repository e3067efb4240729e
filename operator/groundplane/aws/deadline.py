"""An end to what a thread asks of AWS, whoever it asks and however slowly, or at length, it is answered.

botocore's timeouts are of silence: a server that sends a byte now and then holds a call for ever, and so does a chain of calls
(STS, then the service, each repeated).  Within `within`, sockets give up at one moment for all of them: no connection is begun
after it, and no answer read.  So that this holds for the clients, too, that botocore makes for itself (STS, SSO, instance
metadata), its classes of connections are exchanged for those below when this module is imported.  They read no answer of more than
`LONGEST` bytes: botocore takes each into memory as a whole, and whoever writes a ProviderConfig names the server.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import awsrequest
from botocore.exceptions import HTTPClientError
from urllib3.exceptions import ConnectTimeoutError

LONGEST = 64 * 2**20  # bytes of one answer: some calls list all that there is in one

_thread = threading.local()  # `end`: by the monotonic clock; `doing`: what is asked for just now


class Overdue(HTTPClientError):  # type: ignore[misc] # botocore is untyped
    """The time for all calls of one operation is over; counts as silence."""

    fmt = "no answer in time, {what} is not even begun"


class Overlong(HTTPClientError):  # type: ignore[misc] # botocore is untyped
    """Nobody but AWS's double answers so much; counts as silence."""

    fmt = "the answer is longer than {longest} MiB"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What this thread asks over the network in here ends within so many seconds."""
    _thread.end, _thread.doing = time.monotonic() + seconds, ""
    try:
        yield
    finally:
        _thread.end = None


def begin(what: str) -> None:
    """Something is to be asked now: "sts AssumeRole".  Raises Overdue if the time is over."""
    if _left() <= 0:
        raise Overdue(what=what)
    _thread.doing = what


def doing() -> str:
    """What this thread has begun last."""
    return str(getattr(_thread, "doing", ""))


def _left() -> float:
    end = getattr(_thread, "end", None)
    return float("inf") if end is None else end - time.monotonic()


def _shorten(connection: socket.socket) -> None:
    """Wait no longer than there is time."""
    left, patience = _left(), connection.gettimeout()
    if left <= 0:
        raise TimeoutError("the time for this operation is over")
    if left < (float("inf") if patience is None else patience):
        connection.settimeout(left)


class _Bounded(socket.socket):
    _taken = 0  # bytes of the answer to what was sent last

    def sendall(self, *arguments: Any, **how: Any) -> None:
        self._taken = 0
        super().sendall(*arguments, **how)

    def recv_into(self, *arguments: Any, **how: Any) -> int:
        _shorten(self)
        count = super().recv_into(*arguments, **how)
        self._taken += count
        if self._taken > LONGEST:
            raise Overlong(longest=LONGEST // 2**20)
        return count


class _SecureSocket(_Bounded, ssl.SSLSocket):
    pass


class _Connection(awsrequest.AWSHTTPConnection):  # type: ignore[misc] # botocore is untyped
    def _new_conn(self) -> socket.socket:
        made = _made_in_time(self, super()._new_conn)
        patience = made.gettimeout()
        ours = _Bounded(made.family, made.type, made.proto, fileno=made.detach())
        ours.settimeout(patience)
        return ours


class _SecureConnection(awsrequest.AWSHTTPSConnection):  # type: ignore[misc] # botocore is untyped
    def _new_conn(self) -> socket.socket:
        return _made_in_time(self, super()._new_conn)

    def connect(self) -> None:
        if self.ssl_context is not None:
            self.ssl_context.sslsocket_class = _SecureSocket
        super().connect()


def _made_in_time(connection: Any, make: Any) -> socket.socket:
    if (left := _left()) <= 0:
        raise ConnectTimeoutError(connection, f"no time is left to connect to {connection.host}")
    if isinstance(connection.timeout, int | float):
        connection.timeout = min(connection.timeout, left)
    made: socket.socket = make()
    return made


awsrequest.AWSHTTPConnectionPool.ConnectionCls = _Connection
awsrequest.AWSHTTPSConnectionPool.ConnectionCls = _SecureConnection
