"""What PostgreSQL and its driver say, as errors of ours.  Never a statement: it may hold what nobody is to read."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from groundplane.errors import (
    Conflict,
    Denied,
    GroundplaneError,
    InvalidInput,
    Throttled,
    Unavailable,
    Waiting,
    clipped,
)

MISSING = {
    "3D000": "Database",
    "3F000": "Schema",
    "42704": "Role",
    "42P01": "",
    "42883": "",
    "42703": "",
}
"""SQLSTATEs of what is not there, and which kind makes it, if one of ours does."""
_CONFLICTS = ("40001", "40P01")
_WAITING = {
    "55006": "have the sessions that use it ended; it is tried again by and by",
    "2BP01": "delete first what depends on it",
    "55000": "bring it into the state that this takes; it is tried again by and by",
}
_CLOSED = "let the database accept connections again (allowConnections), or drop it"
_INVALID = (
    "0A000",
    "22023",
    "42601",
    "42809",
    "42939",
    "42602",
    "22P02",
    "0LP01",
    "3D000",
    "3F000",
    "42704",
    "42P01",
    "42883",
    "42703",
)
_SYSTEMS = ("08", "57", "58", "XX")
OWNERSHIP = "grant the ProviderConfig's user what it lacks: CREATEROLE and CREATEDB, or membership in the role that owns the thing"


MOST = 1000  # characters of what a server says: whoever names a server may have it say anything


class Lacking(InvalidInput):
    """Something that a statement names is not there; `state` is PostgreSQL's word for what."""

    def __init__(self, what: str, state: str) -> None:
        super().__init__(what)
        self.state = state


class Closed(Waiting):
    """A database lets nobody in; `database` is its name."""

    database = ""


class Exists(Conflict):
    """What was to be created is there already."""


@contextmanager
def told(host: str) -> Iterator[None]:
    """Translate what the driver raises."""
    import asyncpg

    try:
        yield
    except asyncpg.PostgresError as error:
        words = _words(error.as_dict()) or str(error).partition("\n")[0]  # the driver's own, which no server has said
        raise of_state(error.sqlstate or "", words) from error
    except (ssl.SSLCertVerificationError, ssl.CertificateError) as error:
        words = getattr(error, "verify_message", "") or str(error)
        raise InvalidInput(
            f"the certificate of {host} is not trusted: {words}",
            mend="store the authority's certificate under ca.crt in the connection Secret, or choose another sslMode",
        ) from error
    except (TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError) as error:
        words = str(error).partition("\n")[0] or "no answer in time"
        if isinstance(error, ConnectionError) and "SSL" in words:
            raise InvalidInput(
                f"{host} has no TLS: {words}", mend="set spec.sslMode: disable of the ProviderConfig, if that is meant"
            ) from error
        raise Unavailable(
            f"{host} does not answer: {words}", mend="look whether it runs, and can be reached"
        ) from error


def late(host: str, seconds: float) -> Unavailable:
    """A statement took too long, and the server answers others."""
    return Unavailable(
        f"{host} took more than {seconds:g} s for a statement: it was given up",
        mend="look in pg_stat_activity what it waits for, most often a lock that a transaction holds",
    )


def locked(holders: Sequence[str]) -> Waiting:
    """A lock was not to be had in time; `holders` have it."""
    who = "; ".join(holders) or "nobody who can be seen any more"
    return Waiting(
        f"another transaction holds a lock that is needed: {clipped(who, MOST)} (55P03)",
        mend="have it ended, or end its session by pg_terminate_backend; it is tried again by and by",
    )


def _words(told_: Mapping[str, str]) -> str:
    parts = [told_.get("message", ""), told_.get("detail", ""), told_.get("hint", "")]
    words = " ".join(part if part.endswith(".") else f"{part}." for part in parts if part).rstrip(".")
    return words if len(words) <= MOST else f"{words[:MOST]}…"


def of_state(state: str, words: str) -> GroundplaneError:
    """By SQLSTATE."""
    text = f"{words} ({state})"
    if state in ("28P01", "28000"):
        return Denied(text, mend="correct the user and the password in the ProviderConfig's Secret")
    if state == "42501":
        return Denied(text, mend=OWNERSHIP)
    if state.startswith("53"):
        return Throttled(text, after=5.0)
    if state in ("42710", "42P04", "42P06"):
        return Exists(text)
    if state == "55P03":
        return locked(())
    if state in _CONFLICTS or "tuple concurrently" in words:
        return Conflict(text)
    if state == "55000" and "accepting connections" in words:
        return Closed(text, mend=_CLOSED)
    if state in _WAITING:
        return Waiting(text, mend=_WAITING[state])
    if state in MISSING:
        return Lacking(text, state)
    if state in _INVALID:
        return InvalidInput(text)
    if state[:2] in _SYSTEMS or state == "25006":
        return Unavailable(text)
    return InvalidInput(text)
