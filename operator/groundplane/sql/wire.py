"""What a server may send: messages and answers of a sane size, and passwords that are worked out in reasonable time.

Whoever may make a ProviderConfig names the server, and everything runs in one process.  The driver believes what it is told: a message of no
length keeps it busy for ever, one of two gigabytes is waited for in memory, so is an answer of any number of rows, and a login may demand any
number of rounds of hashing.
Source of the format: PostgreSQL's documentation, Frontend/Backend Protocol, Message Formats.
"""

from __future__ import annotations

import re
import struct
import types
from functools import cache
from typing import Any

LOGIN = 2**20  # bytes of all that comes until one is logged in
ANSWER = 8 * 2**20  # bytes of an answer to a statement: they ask for single things
LISTING = 256 * 2**20  # bytes of one to a person who asks for all that there is
LEAST = 128  # bytes that a message counts for at least: in memory, and in time, the shortest one is not free
LONGEST_LOGIN = 2**16  # bytes of a message about the login, and of a setting that the server tells
MOST_ROUNDS = 1_000_000  # of hashing a password; PostgreSQL's own default is 4096
_HEADER = struct.Struct("!cI")  # the message's type, and its length with that of the length itself
_AUTHENTICATION, _SETTING, _READY = b"R", b"S", b"Z"
_ROUNDS = re.compile(rb"(?:^|,)i=(\d{1,20})(?:,|$)")


class Frames:
    """The messages in what a server sends, as far as they are judged here."""

    def __init__(self) -> None:
        self._header = b""
        self._left = 0  # bytes of the message that is under way
        self._allowed: float = LOGIN  # bytes that may come
        self._is_in = False
        self._settings = LOGIN  # bytes of settings that may be told, in all: the driver keeps them
        self._login: bytes | None = None  # what has come of one about the login

    def allow(self, most: int) -> None:
        """So many bytes may come from now on, however many came before."""
        self._allowed = most

    def are_sane(self, data: bytes | memoryview) -> bool:
        """Whether these bytes, which come after those before, may be handed on.

        >>> Frames().are_sane(b"Z\\0\\0\\0\\5I"), Frames().are_sane(bytes(5)), Frames().are_sane(b"D\\x7f\\xff\\xff\\xf0")
        (True, False, False)
        """
        rest = bytes(data)
        while rest:
            if self._left:
                part, rest = rest[: self._left], rest[self._left :]
                self._left -= len(part)
                if self._login is not None:
                    self._login += part
                    if not self._left and not _is_quick(self._login):
                        return False
                continue
            missing = _HEADER.size - len(self._header)
            self._header, rest = self._header + rest[:missing], rest[missing:]
            if len(self._header) < _HEADER.size:
                return True
            type_, length = _HEADER.unpack(self._header)
            is_login = type_ == _AUTHENTICATION
            self._allowed -= max(LEAST, length + 1)
            if type_ == b"\0" or length < 4 or self._allowed < 0:
                return False
            if type_ == _SETTING:
                self._settings -= length
            if self._settings < 0 or (type_ in (_AUTHENTICATION, _SETTING) and length > LONGEST_LOGIN):
                return False
            if type_ == _READY and not self._is_in:  # from here on whoever asks says how much that may be
                self._is_in, self._allowed = True, float("inf")
            self._header, self._left, self._login = b"", length - 4, b"" if is_login else None
        return True


def _is_quick(login: bytes) -> bool:
    """Whether what a server demands of a login can be worked out in reasonable time."""
    found = _ROUNDS.search(login[4:])
    return found is None or int(found[1]) <= MOST_ROUNDS


@cache
def guard() -> None:
    """Have the driver's connections end as soon as a server sends what is not sane.  The driver has no place for that but its own class."""
    from asyncpg import connect_utils, protocol

    class Guarded(protocol.Protocol):  # type: ignore[misc] # the driver's is untyped
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self._frames = Frames()

        def data_received(self, data: bytes) -> None:
            if self._frames.are_sane(data):
                super().data_received(data)
            else:
                self.abort()

        def allow(self, most: int) -> None:
            self._frames.allow(most)

    connect_utils.protocol = types.SimpleNamespace(**vars(protocol) | {"Protocol": Guarded})


def allow(connection: Any, most: int) -> None:
    """What a guarded connection's server may answer to the next statement, in bytes; with more the connection ends."""
    connection._protocol.allow(most)
