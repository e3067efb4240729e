"""SQL as text: identifiers, literals, and what a password becomes before it is sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata

from groundplane.errors import InvalidInput, shown

LONGEST = 63  # bytes of a name: what is longer is cut in silence
ITERATIONS = 4096  # of a verifier, as the server's own
MOST_ITERATIONS = 1_000_000  # that are worked out: a role may have set a verifier of its own, with as many as it likes
EVERYBODY = ("public", "none")  # what PostgreSQL takes for no role, even in quotes


def name(text: str) -> str:
    """An identifier.

    >>> print(name('my "own" db'))
    "my ""own"" db"
    """
    return '"' + _clean(text).replace('"', '""') + '"'


def literal(text: str) -> str:
    r"""A string constant.

    >>> print(literal("it's"), literal("a\\b"))
    'it''s' E'a\\b'
    """
    doubled = _clean(text).replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in doubled else f"'{doubled}'"


def _clean(text: str) -> str:
    if "\0" in text:
        raise InvalidInput(f"{shown(text)} has a NUL, which PostgreSQL does not take", mend="take it out")
    return text


def check_name(text: str, what: str) -> None:
    """Raise InvalidInput for a name that the server would cut, or has for itself."""
    size = len(text.encode())
    if size > LONGEST:
        raise InvalidInput(
            f"the name {shown(text)} has {size} bytes: PostgreSQL cuts what is longer than {LONGEST}",
            mend="annotate the object with a shorter crossplane.io/external-name",
            where=(what,),
        )
    _clean(text)


def check_role(text: str, what: str) -> None:
    """Raise InvalidInput for a name that no role can have."""
    check_name(text, what)
    if text in EVERYBODY:
        raise InvalidInput(
            f"{shown(text)} is no role", mend="name a role; what everybody may is not granted here", where=(what,)
        )


def verifier(password: str, user: str, encryption: str) -> str:
    """What is sent in place of a password, so that no log of the server has it; itself where the server wants that."""
    if encryption == "md5":
        return "md5" + hashlib.md5(f"{password}{user}".encode(), usedforsecurity=False).hexdigest()
    if encryption != "scram-sha-256":
        return password
    return _scram(password, os.urandom(16), ITERATIONS)


def is_verified(password: str, user: str, stored: str) -> bool:
    """Whether what the server has stored is of this password."""
    if stored.startswith("md5"):
        return hmac.compare_digest(verifier(password, user, "md5"), stored)
    try:
        _, parameters, _ = stored.split("$")
        iterations, salt = parameters.split(":")
        if not 0 < int(iterations) <= MOST_ITERATIONS:
            return False
        return hmac.compare_digest(_scram(password, base64.b64decode(salt), int(iterations)), stored)
    except ValueError:
        return False


def _scram(password: str, salt: bytes, iterations: int) -> str:
    """RFC 5803, as PostgreSQL stores it."""
    prepared = password if password.isascii() else unicodedata.normalize("NFKC", password)
    salted = hashlib.pbkdf2_hmac("sha256", prepared.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_, stored_, server_ = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt_}${stored_}:{server_}"


def digest(uid: str, value: str) -> str:
    """Tells two passwords apart, and nothing else: salted with the object's UID, and slow."""
    return hashlib.pbkdf2_hmac("sha256", value.encode(), uid.encode(), ITERATIONS, 16).hex()
