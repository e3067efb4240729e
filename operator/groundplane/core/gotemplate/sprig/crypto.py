"""sprig's functions for passwords, keys and certificates.

Source: Masterminds/sprig v3.3.0 `crypto.go`.  Each makes something new, but for `derivePassword` and `decryptAES`.  They take long, so a template
can call few of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import struct
from types import ModuleType
from typing import Any

from groundplane.core.fieldpath import utf8
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import Run, check_length
from groundplane.core.gotemplate.sprig.encodings import base64_decoded
from groundplane.core.gotemplate.sprig.library import Library, function
from groundplane.core.gotemplate.values import Struct, Value

SECRETS: Library = {}

# Steps, of a million, since each of these takes some tenth of a second, or more.
_HASHING = 30_000
_DERIVING = 100_000
_RSA_2048 = 150_000
_RSA_4096 = 900_000
_SMALL_KEY = 2_000
_MOST_RANDOM = 65_536  # characters or bytes

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
_PRINTABLE = "".join(map(chr, range(32, 127)))


def _chosen(run: Run, count: int, among: str) -> str:
    if count < 0 or count > _MOST_RANDOM:
        raise Failure(f"{count} random characters", f"ask for 0 to {_MOST_RANDOM}")
    limit = 256 - 256 % len(among)  # so that each is as likely as the others
    found: list[str] = []
    while len(found) < count:
        found += [among[byte % len(among)] for byte in run.random(count + 16) if byte < limit]
    return "".join(found[:count])


for _name, _among in (
    ("randAlphaNum", _LETTERS + _DIGITS),
    ("randAlpha", _LETTERS),
    ("randNumeric", _DIGITS),
    ("randAscii", _PRINTABLE),
):
    function(SECRETS, _name, "int", wants_run=True, is_random=True)(
        lambda run, count, among=_among: _chosen(run, count, among)
    )


@function(SECRETS, "randBytes", "int", wants_run=True, is_random=True)
def rand_bytes(run: Run, count: int) -> str:
    if not 0 <= count <= _MOST_RANDOM:
        raise Failure(f"{count} random bytes", f"ask for 0 to {_MOST_RANDOM}")
    return base64.b64encode(run.random(count)).decode()


# --- passwords ------------------------------------------------------------------------------------------------------------


@function(SECRETS, "bcrypt", "string", wants_run=True, is_random=True)
def bcrypt(run: Run, password: str) -> str:
    run.charge(_HASHING)
    data = utf8(password)
    if len(data) > 72:
        return "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"
    try:
        library: Any = importlib.import_module("bcrypt")
    except ImportError:
        raise Failure("bcrypt is not installed here", "install groundplane[templates]") from None
    salt = b"$2a$10$" + _bcrypt_base64(run.random(16))
    hashed: bytes = library.hashpw(data, salt)
    return hashed.decode()


_BCRYPT_ALPHABET = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)


def _bcrypt_base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=").translate(_BCRYPT_ALPHABET)


@function(SECRETS, "htpasswd", "string string", wants_run=True, is_random=True)
def htpasswd(run: Run, name: str, password: str) -> str:
    if ":" in name:
        return f"invalid username: {name}"
    return f"{name}:{bcrypt(run, password)}"


_SEED = b"com.lyndir.masterpassword"
_TEMPLATES = {
    "maximum": "anoxxxxxxxxxxxxxxxxx axxxxxxxxxxxxxxxxxno",
    "long": "CvcvnoCvcvCvcv CvcvCvcvnoCvcv CvcvCvcvCvcvno CvccnoCvcvCvcv CvccCvcvnoCvcv CvccCvcvCvcvno CvcvnoCvccCvcv "
    "CvcvCvccnoCvcv CvcvCvccCvcvno CvcvnoCvcvCvcc CvcvCvcvnoCvcc CvcvCvcvCvccno CvccnoCvccCvcv CvccCvccnoCvcv CvccCvccCvcvno "
    "CvcvnoCvccCvcc CvcvCvccnoCvcc CvcvCvccCvccno CvccnoCvcvCvcc CvccCvcvnoCvcc CvccCvcvCvccno",
    "medium": "CvcnoCvc CvcCvcno",
    "short": "Cvcn",
    "basic": "aaanaaan aannaaan aaannaaa",
    "pin": "nnnn",
}
_CLASSES = {
    "V": "AEIOU",
    "C": "BCDFGHJKLMNPQRSTVWXYZ",
    "v": "aeiou",
    "c": "bcdfghjklmnpqrstvwxyz",
    "A": "AEIOUBCDFGHJKLMNPQRSTVWXYZ",
    "a": "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
    "n": "0123456789",
    "o": "@&%?,=[]_:-+*$#!'^~;()/.",
    "x": "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
}


@function(SECRETS, "derivePassword", "uint32 string string string string", wants_run=True)
def derive_password(run: Run, counter: int, form: str, password: str, user: str, site: str) -> str:
    """The same for the same arguments: the algorithm of Master Password."""
    templates = _TEMPLATES.get(form, "").split()
    if not templates:
        return f"cannot find password template {form}"
    run.charge(_DERIVING)
    name, place = utf8(user), utf8(site)
    salt = _SEED + struct.pack(">I", len(name)) + name
    key = hashlib.scrypt(utf8(password), salt=salt, n=32768, r=8, p=2, dklen=64, maxmem=64 << 20)
    message = _SEED + struct.pack(">I", len(place)) + place + struct.pack(">I", counter)
    seed = hmac.new(key, message, hashlib.sha256).digest()
    template = templates[seed[0] % len(templates)]
    return "".join(_CLASSES[each][seed[at] % len(_CLASSES[each])] for at, each in enumerate(template, 1))


# --- encryption ------------------------------------------------------------------------------------------------------------


@function(SECRETS, "encryptAES", "string string", wants_run=True, is_random=True)
def encrypt_aes(run: Run, password: str, text: str) -> str:
    if not text:
        return ""
    data = utf8(text)
    check_length(len(data) * 4 // 3 + 64)
    padding = 16 - len(data) % 16
    vector = run.random(16)
    encryptor = _library().aes(password, vector).encryptor()
    encrypted = encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize()
    return base64.b64encode(vector + encrypted).decode()


@function(SECRETS, "decryptAES", "string string")
def decrypt_aes(password: str, text: str) -> str:
    if not text:
        return ""
    data = base64_decoded(text)
    if isinstance(data, int):
        raise Failure(f"illegal base64 data at input byte {data}")
    if len(data) < 32 or len(data) % 16:
        raise Failure("crypto/cipher: input not full blocks")
    decryptor = _library().aes(password, data[:16]).decryptor()
    plain: bytes = decryptor.update(data[16:]) + decryptor.finalize()
    if plain[-1] > len(plain):
        raise Failure("runtime error: slice bounds out of range", "is it the right password?")
    return plain[: len(plain) - plain[-1]].decode("utf-8", "surrogateescape")


# --- keys and certificates -------------------------------------------------------------------------------------------------


class Certificate(Struct):
    """A certificate and its key, in PEM."""

    __slots__ = ()
    go_type = "sprig.certificate"

    def __init__(self, certificate: str, key: str) -> None:
        super().__init__(Cert=certificate, Key=key)


def _library() -> ModuleType:
    """What does the work, imported when it is first needed."""
    from groundplane.core.gotemplate.sprig import certificates

    return certificates


def _rsa(run: Run, bits: int) -> Any:
    run.charge(_RSA_4096 if bits > 2048 else _RSA_2048)
    return _library().rsa_key(bits)


def _given(run: Run, key: str) -> Any:
    run.charge(_SMALL_KEY)
    return _library().key_of(key)


@function(SECRETS, "genPrivateKey", "string", wants_run=True, is_random=True)
def gen_private_key(run: Run, form: str) -> str:
    match form:
        case "" | "rsa":
            made = _rsa(run, 4096)
        case "ecdsa":
            run.charge(_SMALL_KEY)
            made = _library().ecdsa_key()
        case "ed25519":
            run.charge(_SMALL_KEY)
            made = _library().ed25519_key()
        case "dsa":
            raise Failure("DSA keys are not made here", "use ed25519, ecdsa or rsa")
        case _:
            return f"Unknown type {form}"
    return str(_library().pem(made))


def _certificate(
    run: Run,
    common: str,
    days: int,
    key: Any,
    others: tuple[list[Value], list[Value]] = ([], []),
    authority: Certificate | None = None,
    *,
    is_authority: bool = False,
) -> Certificate:
    """`others`: addresses and names."""
    library = _library()
    alternatives = library.alternatives(*others)
    issuer = _issuer(authority) if authority else None
    return Certificate(*library.certificate(run, common, days, key, alternatives, issuer, is_authority=is_authority))


def _issuer(given: Certificate) -> Any:
    return _library().authority(given.fields["Cert"], given.fields["Key"])


@function(SECRETS, "genCA", "string int", wants_run=True, is_random=True)
def gen_ca(run: Run, common: str, days: int) -> Certificate:
    return _certificate(run, common, days, _rsa(run, 2048), is_authority=True)


@function(SECRETS, "genCAWithKey", "string int string", wants_run=True, is_random=True)
def gen_ca_with_key(run: Run, common: str, days: int, key: str) -> Certificate:
    return _certificate(run, common, days, _given(run, key), is_authority=True)


@function(SECRETS, "genSelfSignedCert", "string list list int", wants_run=True, is_random=True)
def gen_self_signed(run: Run, common: str, addresses: list[Value], names: list[Value], days: int) -> Certificate:
    return _certificate(run, common, days, _rsa(run, 2048), (addresses, names))


@function(SECRETS, "genSelfSignedCertWithKey", "string list list int string", wants_run=True, is_random=True)
def gen_self_signed_with_key(
    run: Run, common: str, addresses: list[Value], names: list[Value], days: int, key: str
) -> Certificate:
    return _certificate(run, common, days, _given(run, key), (addresses, names))


@function(SECRETS, "genSignedCert", "string list list int certificate", wants_run=True, is_random=True)
def gen_signed(
    run: Run, common: str, addresses: list[Value], names: list[Value], days: int, authority: Certificate
) -> Certificate:
    return _certificate(run, common, days, _rsa(run, 2048), (addresses, names), authority)


@function(SECRETS, "genSignedCertWithKey", "string list list int certificate string", wants_run=True, is_random=True)
def gen_signed_with_key(
    run: Run, common: str, addresses: list[Value], names: list[Value], days: int, authority: Certificate, key: str
) -> Certificate:
    return _certificate(run, common, days, _given(run, key), (addresses, names), authority)


@function(SECRETS, "buildCustomCert", "string string")
def build_custom(certificate: str, key: str) -> Certificate:
    found = []
    for what, text in (("base64 certificate", certificate), ("base64 private key", key)):
        data = base64_decoded(text)
        if isinstance(data, int):
            raise Failure(f"unable to decode {what}")
        found.append(data.decode("utf-8", "replace"))
    made = Certificate(found[0], found[1])
    _issuer(made)
    return made
