"""What this process knows of a managed resource beyond its object: what was sent in vain, and which secrets AWS took."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from secrets import token_bytes
from typing import NamedTuple

from groundplane.ports import Difference

DIGEST_ROUNDS = 50_000  # makes guessing a weak password from its digest slow: 22 ms each
DIGESTS = 32_768  # remembered, of 150 bytes each


class Sent(NamedTuple):
    """The difference of a field that was sent last."""

    key: str  # of the difference, as `key_of` gives it
    in_vain: int = 0  # successful updates after which AWS still showed the old value, as far as anybody looked
    overwritten: int = 0  # those after which AWS showed what was desired, and the old value again later
    is_settled: bool = False  # a look has shown what is desired since

    @property
    def is_repeated(self) -> bool:
        return self.in_vain + self.overwritten > 1


@dataclass
class Memory:
    """What this process knows of a managed resource beyond its object.  Losing it costs a call, never a wrong one."""

    sent: dict[str, Sent] = field(default_factory=dict)  # by field
    digests: dict[str, str] = field(default_factory=dict)  # secret: of the value that AWS took, not yet in status
    external_name: str = ""  # an update gave it a new one
    own: dict[str, str] = field(default_factory=dict)  # what the kind's hooks remember
    informed: float = 0.0  # when what is read seldom was read, in Unix seconds
    is_fresh: bool = False  # made by this process, and never seen as desired: what is sent is the rest of its create
    complete: float = 0.0  # when all that is read hourly was read

    def __bool__(self) -> bool:
        known = self.sent or self.digests or self.external_name or self.own
        return bool(known or self.informed or self.is_fresh or self.complete)

    def copy(self) -> Memory:
        return replace(self, sent=dict(self.sent), digests=dict(self.digests), own=dict(self.own))


def key_of(difference: Difference) -> str:
    """A digest of what is desired, and what was observed."""
    text = json.dumps([difference.desired, difference.observed], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Digests:
    """Salted digests of write-only values, by which a change of one is noticed.  Safe to use from many threads.

    They are slow to make, for they stand in status.atProvider, where a weak password must not be guessed from them;
    so each is made once in a process.  What is remembered for that tells nothing: a hash with a key of this process.
    """

    def __init__(self, size: int = DIGESTS) -> None:
        self._size = size
        self._key = token_bytes(32)
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, uid: str, name: str, value: str) -> str:
        """16 hex digits; of what is seen again, in microseconds."""
        salt = f"{uid}/{name}".encode()
        key = hashlib.blake2b(salt + b"\0" + value.encode(), key=self._key, digest_size=16).digest()
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = hashlib.pbkdf2_hmac("sha256", value.encode(), salt, DIGEST_ROUNDS, 8).hex()
        with self._lock:
            self._known[key] = made
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return made


digest = Digests().of
