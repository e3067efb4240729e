"""Functions that are processes of ours, on a laptop: started at the first call, started again when they end, ended with us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import socket
from collections.abc import Callable

from groundplane.errors import InvalidInput, Unavailable

READY = 10.0  # seconds in which it must listen
LOOK = 0.05  # seconds between two looks whether it does
GRACE = 5.0  # seconds that it has to end
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds until one that ended is started again
LINE = 500  # characters of a line of its output that are told
HIDDEN = ("AWS_", "KUBECONFIG", "GROUNDPLANE_")  # beginnings of variables that it does not get

Tell = Callable[[str, str], None]  # the function's name, a line of its output


class Process:
    """One command that serves one function, on a free port of this machine."""

    def __init__(self, name: str, command: str, tell: Tell) -> None:
        self._name, self._tell = name, tell
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise InvalidInput(
                f"the command of Function {name} can't be read: {error}", mend="look at its quotes"
            ) from None
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._failures, self._not_before, self._last = 0, 0.0, ""
        self._returncode: int | None = None
        self._target = ""

    async def target(self) -> str:
        """Where it listens; it is started if it does not run.

        Raises:
            Unavailable: it ended, or does not listen.
            InvalidInput: there is no such program.
        """
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return self._target
            await self._start()
            return self._target

    async def end(self) -> None:
        """Have it end, in the end by force, and whatever it started with it."""
        async with self._starting:
            await self._end()

    async def _start(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._process is not None:  # it ended by itself
            await self._end()
            self._failed(f"it ended with exit code {self._returncode}")
        if now < self._not_before:
            raise Unavailable(self._why(), mend="look at its output")
        port = _free_port()
        address = f"127.0.0.1:{port}"
        words = [word.replace("{address}", address) for word in self._words]
        if words == self._words:
            words += ["--insecure", "--address", address]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)},
                start_new_session=True,
            )
        except OSError as error:
            raise InvalidInput(
                f"the command of Function {self._name} can't be started: {error.strerror}: {words[0]}",
                mend="correct --function, or install it",
            ) from error
        self._output = asyncio.create_task(self._read(self._process))
        self._target = f"dns:///{address}"
        try:
            async with asyncio.timeout(READY):
                while not await _listens(port):
                    if self._process.returncode is not None:
                        break
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            await self._end()
            self._failed(f"it did not listen at {address} within {READY:g} seconds")
            raise Unavailable(self._why(), mend="have it serve at --address, or say {address} in the command") from None
        if self._process.returncode is not None:
            await self._end()
            self._failed(f"it ended with exit code {self._returncode}")
            raise Unavailable(self._why(), mend="look at its output")
        self._failures = 0

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._last = why
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        self._not_before = asyncio.get_running_loop().time() + pause

    def _why(self) -> str:
        return f"the process of Function {self._name} does not run: {self._last}"

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than the reader's limit: the rest comes as the next line
                continue
            if not line:
                return
            self._tell(self._name, line.decode(errors="replace").rstrip()[:LINE])

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)  # its group: also what it started
            if number is signal.SIGTERM:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GRACE):
                        await process.wait()
        self._returncode = await process.wait()
        if self._output is not None:
            self._output.cancel()
            await asyncio.gather(self._output, return_exceptions=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
