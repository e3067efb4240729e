"""The Functions port over gRPC: one connection for each function, turns, deadlines, and what answers may be kept.

What is sent and answered is in no log, no error and no metric: it holds the Secrets of composites.  An error that a function words itself
is told without the values of the Secrets that it was handed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from groundplane.core import claim
from groundplane.core.pipeline import Endpoint, Remote, Request, Response
from groundplane.errors import GroundplaneError, InvalidInput, Unavailable
from groundplane.ports import Certificates
from groundplane.remote import messages
from groundplane.remote.encoded import Encoded
from groundplane.remote.process import Process
from groundplane.remote.turns import Breaker, Failed, Slices, Turns

if TYPE_CHECKING:
    from groundplane.remote.channel import Channel

CALLS = 16  # of one function at once
IDLE = 600.0  # seconds without a call after which a function's connection is closed and forgotten
GRACE = 100.0  # seconds that calls of a replaced connection get
LARGE = 256 * 1024  # bytes of an answer that is read beside the event loop
KEPT_BYTES = 64 * 1024 * 1024  # of answers that are kept
KEPT_ANSWER = 4 * 1024 * 1024  # bytes of one that is
FILES = ("ca.crt", "tls.crt", "tls.key")  # upstream's names in its folder and its Secret
SHORTEST_SECRET = 4  # characters of a value that is looked for in a function's own words

OnCall = Callable[[Remote, str, str, str, str, float], None]  # target, method, code, worst severity, seconds


@dataclass
class _Served:
    """One function, by its name."""

    turns: Turns
    breaker: Breaker
    key: tuple[Endpoint, str, bytes] | None = None  # what the channel was made for
    channel: Channel | None = None
    process: Process | None = None
    reader: ThreadPoolExecutor | None = None  # of large answers, so that they hold up nobody
    used: float = 0.0


@dataclass
class _Kept:
    """Answers that may be given again, the longest unused first."""

    most: float  # seconds; 0: none is kept
    answers: OrderedDict[bytes, tuple[float, bytes]] = field(default_factory=OrderedDict)  # until when, and its bytes
    size: int = 0

    def get(self, key: bytes, now: float) -> bytes | None:
        found = self.answers.pop(key, None)
        if found is None:
            return None
        if found[0] <= now:
            self.size -= len(found[1])
            return None
        self.answers[key] = found
        return found[1]

    def put(self, key: bytes, answer: bytes, ttl: float, now: float) -> None:
        if not self.most or not ttl or len(answer) > KEPT_ANSWER:
            return
        self.drop(key)
        self.answers[key] = (now + min(ttl, self.most), answer)
        self.size += len(answer)
        while self.size > KEPT_BYTES:
            self.drop(next(iter(self.answers)))

    def drop(self, key: bytes) -> None:
        if found := self.answers.pop(key, None):
            self.size -= len(found[1])


class Runner:
    """Calls functions.  Belongs to the event loop that it is first used in."""

    def __init__(
        self,
        *,
        calls: int = CALLS,
        keep: float = 0.0,
        certificates: str = "",
        strict_upstream: bool = False,
        on_call: OnCall = lambda *told: None,
        on_output: Callable[[str, str], None] = lambda name, line: None,
        now: Callable[[], float] = time.monotonic,
        slices: Slices | None = None,
    ) -> None:
        """`calls` of one function at once; answers are kept for `keep` seconds at most.

        `certificates` is a folder as upstream's TLS_CLIENT_CERTS_DIR, for functions to which no Secret of their own belongs.
        """
        self._calls, self._strict, self._on_call, self._on_output = calls, strict_upstream, on_call, on_output
        self._folder = Path(certificates) if certificates else None
        self._read: tuple[tuple[int, ...], Certificates] | None = None  # the folder's files, as of their times
        self._now = now
        self._served: dict[str, _Served] = {}
        self._kept = _Kept(keep)
        self._encoded = Encoded()
        self._slices = slices or Slices()
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self, remote: Remote, request: Request, certificates: Certificates | None) -> Response:
        """Ask a function; see `ports.Functions`."""
        served = self._of(remote.name)
        served.breaker.check()
        async with served.turns.turn(claim.tenant(request.observed.composite.object)):
            async with self._slices.turn():
                body, own = messages.asked(request, remote.input, self._encoded)
            key = hashlib.sha256(f"{remote.name}\0{remote.endpoint}\0{own}".encode()).digest()
            if (kept := self._kept.get(key, self._now())) is not None:
                return replace(await self._understood(served, kept, request), tag=own)
            response, answer = await self._asked(
                served, remote, request, messages.with_tag(body, request.tag or own), certificates
            )
        if _worst(response) != "Fatal":
            self._kept.put(key, answer, response.ttl, self._now())
        return replace(response, tag=own)

    async def problem(self, name: str, endpoint: Endpoint, certificates: Certificates | None) -> str:
        """Why a function can't be reached; see `ports.Functions`."""
        if endpoint.command:
            return ""  # it is started when it is called
        try:
            channel = await self._channel(self._of(name), name, endpoint, certificates)
        except GroundplaneError as error:
            return error.what
        return await channel.problem()

    async def close(self) -> None:
        """End all connections and processes."""
        served, self._served = list(self._served.values()), {}
        for each in served:
            self._retire(each, 0.0)
        await asyncio.gather(
            *self._closing, *(each.process.end() for each in served if each.process is not None), return_exceptions=True
        )

    # --- calling --------------------------------------------------------------------------------------------------

    async def _asked(
        self, served: _Served, remote: Remote, request: Request, data: bytes, certificates: Certificates | None
    ) -> tuple[Response, bytes]:
        """What it answers, counted and measured; and the bytes of that."""
        channel = await self._channel(served, remote.name, remote.endpoint, certificates)
        begun, code, severity = self._now(), "Unknown", "Fatal"
        try:
            answer = await channel.call(data, remote.endpoint.timeout)
            served.breaker.answered()
            code = "OK"
            response = await self._understood(served, answer, request)
            severity = _worst(response)
            return response, answer
        except Failed as failed:
            code, error = failed.code, _without(failed.error, messages.secret_texts(request))
            if code == "ResourceExhausted" and isinstance(error, InvalidInput):
                error.mend += f"; the request has {len(data)} bytes, most of them in {messages.largest(request)}"
            if failed.is_of_connection:
                served.breaker.failed(error.what, error.mend)
            elif code == "DeadlineExceeded" and channel.answered < begun and served.channel is channel:
                self._retire(served, GRACE)  # its peer may be gone without a word: the next call connects anew
            raise error from None
        finally:
            self._on_call(remote, channel.target, channel.method, code, severity, self._now() - begun)

    async def _understood(self, served: _Served, answer: bytes, request: Request) -> Response:
        if len(answer) <= LARGE:
            async with self._slices.turn():
                return messages.answered(answer, request, strict_upstream=self._strict)
        if served.reader is None:
            served.reader = ThreadPoolExecutor(1, "function")
        return await asyncio.get_running_loop().run_in_executor(
            served.reader, lambda: messages.answered(answer, request, strict_upstream=self._strict)
        )

    # --- connections ----------------------------------------------------------------------------------------------

    def _of(self, name: str) -> _Served:
        now = self._now()
        for other in [each for each, served in self._served.items() if each != name and self._is_idle(served, now)]:
            self._retire(self._served.pop(other), 0.0)
        served = self._served.get(name)
        if served is None:
            turns = Turns(
                self._calls,
                self._now,
                held=f"Function {name} is called as often as it may be",
                line=f"its turn to call Function {name} has not come: it is slow, or others are before it",
            )
            served = self._served[name] = _Served(turns, Breaker(self._now))
        served.used = now
        return served

    def _is_idle(self, served: _Served, now: float) -> bool:
        return now - served.used > IDLE and not served.turns.running and served.process is None

    async def _channel(
        self, served: _Served, name: str, endpoint: Endpoint, certificates: Certificates | None
    ) -> Channel:
        target = endpoint.target
        if endpoint.command:
            if served.process is None:
                served.process = Process(name, endpoint.command, self._on_output)
            target = await served.process.target()
        if endpoint.tls_secret and certificates is None:
            certificates = self._from_folder()
        key = (endpoint, target, _digest(certificates))
        if served.channel is None or served.key != key:
            made = await asyncio.to_thread(_made, name)
            if served.channel is None or served.key != key:  # nobody has made it meanwhile
                self._retire(served, GRACE)
                served.breaker.answered()  # what it knew was of another address
                served.key, served.channel = key, made(target, certificates, endpoint.server_name)
        return served.channel

    def _retire(self, served: _Served, grace: float) -> None:
        channel, served.channel = served.channel, None
        if grace == 0.0 and served.reader is not None:
            served.reader.shutdown(wait=False)
        if channel is not None:
            task = asyncio.get_running_loop().create_task(channel.close(grace))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _from_folder(self) -> Certificates:
        """The certificates in upstream's folder, read again when a file changes."""
        if self._folder is None:
            raise Unavailable("there are no certificates to call it with", mend="make its Secret")
        try:
            times = tuple(os.stat(self._folder / file).st_mtime_ns for file in FILES)
            if self._read is None or self._read[0] != times:
                ca, certificate, key = ((self._folder / file).read_bytes() for file in FILES)
                self._read = times, Certificates(ca, certificate, key)
        except OSError as error:
            raise Unavailable(
                f"its certificates can't be read: {error.strerror}: {error.filename}",
                mend=f"put {', '.join(FILES)} there",
            ) from error
        return self._read[1]


def _made(name: str) -> type[Channel]:
    """What makes a channel; its library is loaded when the first is needed, which takes tenths of a second."""
    try:
        from groundplane.remote.channel import Channel
    except ImportError as error:
        raise InvalidInput(
            f"Function {name} does not run in this process, and grpcio is not installed",
            mend="pip install 'groundplane[functions]'",
        ) from error
    return Channel


def _worst(response: Response) -> str:
    told = {result.severity for result in response.results}
    return "Fatal" if "Fatal" in told else "Warning" if told - {"Normal"} else "Normal"


def _digest(certificates: Certificates | None) -> bytes:
    if certificates is None:
        return b""
    digest = hashlib.sha256()
    for part in (certificates.ca, certificates.certificate, certificates.key):
        digest.update(hashlib.sha256(part).digest())
    return digest.digest()


def _without(error: GroundplaneError, secrets: set[str]) -> GroundplaneError:
    """The error without values of Secrets, in case the function's own words have them."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            error.what = error.what.replace(secret, "…")
    error.args = (error.what,)
    return error
