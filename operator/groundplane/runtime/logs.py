"""Structured logs: a constant message, facts as keys; controller and key are bound by the engine.

    log = logs.get_logger(__name__)
    log.info("composed resource applied", resource="subnet-a")

Never hand a secret to a logger: nothing here takes it out again.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

_bound: ContextVar[dict[str, Any]] = ContextVar("_bound", default={})  # noqa: B039 - never changed in place


class Logger:
    """A named logger that takes facts as keywords."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, **facts: Any) -> None:
        self._log(logging.DEBUG, message, facts)

    def info(self, message: str, **facts: Any) -> None:
        self._log(logging.INFO, message, facts)

    def warning(self, message: str, **facts: Any) -> None:
        self._log(logging.WARNING, message, facts)

    def error(self, message: str, **facts: Any) -> None:
        self._log(logging.ERROR, message, facts)

    def exception(self, message: str, *, error: BaseException, **facts: Any) -> None:
        """Log where an unexpected error came from: its type and frames, not its text, which might hold anything."""
        frames = traceback.extract_tb(error.__traceback__)
        where = " < ".join(f"{f.filename.rpartition('/groundplane/')[2]}:{f.lineno} {f.name}" for f in reversed(frames))
        self._log(logging.ERROR, message, facts | {"error": type(error).__name__, "where": where})

    def _log(self, level: int, message: str, facts: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, extra={"facts": _bound.get() | facts})


def get_logger(name: str) -> Logger:
    return Logger(name)


@contextmanager
def bound(**facts: Any) -> Iterator[None]:
    """Add facts to every log line inside."""
    token = _bound.set(_bound.get() | facts)
    try:
        yield
    finally:
        _bound.reset(token)


class _Formatter(logging.Formatter):
    def __init__(self, form: Literal["text", "json"]) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", {})
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        message = record.getMessage()
        if self._form == "json":
            line = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": message} | facts
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        told = " ".join(f"{name}={value}" for name, value in facts.items())
        return f"{time} {record.levelname:7} {message}{'  ' + told if told else ''}"


def configure(form: Literal["text", "json"] = "text", level: str = "info") -> None:
    """Send all logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("groundplane").setLevel(level.upper())
