"""Structured logs: a constant message, facts as keys, and what the engine has bound (controller, key).

    log = logs.get_logger(__name__)
    log.info("composed resource applied", resource="subnet-a")

Facts are scalars, on purpose: an object or its data can't be logged by mistake, and secrets never are.  Of an error nobody
meant, its type and where it came from are logged, not its text, which might hold anything.
Lines of other libraries come out in the same form.
"""

from __future__ import annotations

import datetime
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TextIO

import orjson

from groundplane.errors import clipped

LONGEST = 8192  # characters of a fact: what others say, a function or a webhook, may have any length

Fact = str | int | float | bool | None
Format = Literal["text", "json"]

QUIET = ("kopf", "aiohttp", "asyncio", "botocore", "boto3", "urllib3")  # of these, only warnings
HARMLESS = {  # and of these parts of them, only what is worse
    "kopf._core.reactor.running": logging.ERROR,  # warns at each start that signals are not its business
    "kopf._cogs.clients.watching": logging.CRITICAL,  # takes each attempt that it repeats for an error
    "urllib3.connectionpool": logging.ERROR,  # warns of each connection that it does not keep, when many calls go at a time
}

_bound: ContextVar[Mapping[str, Fact]] = ContextVar("bound", default={})  # noqa: B039 - never changed in place


class Logger:
    """What `get_logger` returns."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, **facts: Fact) -> None:
        self._log(logging.DEBUG, message, facts)

    def info(self, message: str, **facts: Fact) -> None:
        self._log(logging.INFO, message, facts)

    def warning(self, message: str, **facts: Fact) -> None:
        self._log(logging.WARNING, message, facts)

    def error(self, message: str, **facts: Fact) -> None:
        self._log(logging.ERROR, message, facts)

    def exception(self, message: str, *, error: BaseException, **facts: Fact) -> None:
        """An error nobody meant: its type, and the frames that it came through, the innermost first."""
        frames = reversed(traceback.extract_tb(error.__traceback__))
        where = " < ".join(f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)
        told: dict[str, Fact] = {"error": type(error).__name__, "where": where}
        if cause := error.__cause__ or error.__context__:
            told["cause"] = type(cause).__name__
        self._log(logging.ERROR, message, facts | told)

    def _log(self, level: int, message: str, facts: Mapping[str, Fact]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", message, extra={"facts": {**_bound.get(), **facts}})


def get_logger(name: str) -> Logger:
    return Logger(name)


@contextmanager
def bound(**facts: Fact) -> Iterator[None]:
    """Facts that every line of this task gets until the block ends."""
    token = _bound.set({**_bound.get(), **facts})
    try:
        yield
    finally:
        _bound.reset(token)


def configure(format: Format = "text", level: str = "info", *, stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (stderr) in one form.  A second call replaces the first."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name, more in HARMLESS.items():
        logging.getLogger(name).setLevel(more)


class _Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Fact] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in _facts(record).items():
            line[f"fact_{name}" if name in line else name] = value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class _Text(logging.Formatter):
    """For people: time, level, message, then name=value."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {name}={_quoted(value)}" for name, value in _facts(record).items())
        line = f"{_time(record)} {record.levelname:<7} {record.getMessage()}{facts}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line


def _facts(record: logging.LogRecord) -> Mapping[str, Fact]:
    found: Mapping[str, Fact] = getattr(record, "facts", {})
    return {name: clipped(value, LONGEST) if isinstance(value, str) else value for name, value in found.items()}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _quoted(value: Fact) -> str:
    """Bare where nothing can be mistaken.

    >>> _quoted("subnet-a"), _quoted("Database a/b"), _quoted(3)
    ('subnet-a', '"Database a/b"', '3')
    """
    text = str(value)
    if text and not any(char.isspace() or char in "\"='" for char in text):
        return text
    return orjson.dumps(text).decode()


def _short(path: str) -> str:
    """A file's path from its package on."""
    return path.rpartition("/site-packages/")[2].rpartition("/operator/")[2]
