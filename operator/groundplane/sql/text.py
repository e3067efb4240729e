"""SQL as text: identifiers, literals, and what a password becomes before it is sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stringprep
import unicodedata
from collections.abc import Mapping
from typing import Any

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
            mend="write a shorter one"
            if what.startswith("spec.")
            else "annotate the object with a shorter crossplane.io/external-name",
            where=(what,),
        )
    _clean(text)


def check_names(asked: Mapping[str, Any], *fields: str) -> None:
    """Raise InvalidInput for a field, or a part of one, whose name the server would cut."""
    for field in fields:
        value = asked.get(field)
        for place, each in enumerate(value if isinstance(value, list) else [value]):
            path = f"spec.forProvider.{field}" + (f"[{place}]" if isinstance(value, list) else "")
            if isinstance(each, Mapping):
                check_name(str(each.get("name") or ""), f"{path}.name")
            elif each:
                check_name(str(each), path)


def check_roles(asked: Mapping[str, Any], *fields: str) -> None:
    """Raise InvalidInput for a field that names what can be no role."""
    for field in fields:
        if asked.get(field):
            check_role(str(asked[field]), f"spec.forProvider.{field}")


def check_role(text: str, what: str) -> None:
    """Raise InvalidInput for a name that no role can have."""
    check_name(text, what)
    if text in EVERYBODY:
        raise InvalidInput(
            f"{shown(text)} is no role",
            mend="name a role; what everybody may is not granted here"
            if what.startswith("spec.")
            else "annotate the object with another crossplane.io/external-name",
            where=(what,),
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


def prepared(password: str) -> str:
    r"""A password as both ends of a login hash it: by SASLprep (RFC 4013); as it is where that forbids it, as PostgreSQL takes it.

    >>> prepared("so\u00adft\u00a0\u2168"), prepared("\u2168\u0221")  # the last letter is none of Unicode 3.2
    ('soft IX', 'Ⅸȡ')
    """
    if password.isascii():
        return password
    # a zero width space is in both tables; PostgreSQL asks for spaces first
    mapped = (" " if stringprep.in_table_c12(each) else each for each in password)
    normal = unicodedata.normalize("NFKC", "".join(each for each in mapped if not stringprep.in_table_b1(each)))
    if not normal or any(forbids(each) for each in normal for forbids in _FORBIDDEN):
        return password
    if any(map(stringprep.in_table_d1, normal)):  # right to left: all of it, and both ends
        is_mixed = any(map(stringprep.in_table_d2, normal))
        if is_mixed or not (stringprep.in_table_d1(normal[0]) and stringprep.in_table_d1(normal[-1])):
            return password
    return normal


_FORBIDDEN = (
    stringprep.in_table_a1,  # unassigned
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def _scram(password: str, salt: bytes, iterations: int) -> str:
    """RFC 5803, as PostgreSQL stores it."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password).encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_, stored_, server_ = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt_}${stored_}:{server_}"


def digest(key: str, uid: str, value: str) -> str:
    """Tells two passwords apart, and nothing else: nobody can try passwords on it who does not know the key, and then slowly."""
    salt = hmac.digest(key.encode(), uid.encode(), "sha256")
    return hashlib.pbkdf2_hmac("sha256", value.encode(), salt, ITERATIONS, 16).hex()
