"""A ProviderConfig's account: where the server is, who logs in, and how far it must prove itself."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field

from groundplane.core.objects import Object, key_of, meta, spec_of
from groundplane.errors import InvalidInput
from groundplane.ports import Account

KEYS = ("endpoint", "port", "username", "password")
CA = "ca.crt"  # key of the Secret: whom to trust, in place of the system's roots
PORT = 5432


@dataclass(frozen=True)
class Login:
    """How to reach one server.  Never printed: it holds a password."""

    config: str  # the ProviderConfig's UID
    version: str  # changes when any of this does
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str = "postgres"  # the default one
    ssl_mode: str = "verify-full"
    ca: str = field(default="", repr=False)
    adoption: str = ""  # what of that which was there before an object may take

    @property
    def place(self) -> tuple[str, int]:
        return self.host, self.port

    def tls(self) -> ssl.SSLContext | bool:
        """What the driver is given: never its own defaults, which look into files and the environment.

        Raises:
            InvalidInput: the Secret's ca.crt is no certificate.
        """
        if self.ssl_mode == "disable":
            return False
        try:
            context = ssl.create_default_context(cadata=self.ca or None)
        except ssl.SSLError as error:
            raise InvalidInput(
                f"key {CA} of the connection Secret is no certificate in PEM: {error.reason}",
                mend="store the authority's certificate as it is, from BEGIN CERTIFICATE on",
            ) from error
        context.check_hostname = self.ssl_mode == "verify-full"
        if self.ssl_mode == "require":
            context.verify_mode = ssl.CERT_NONE
        return context


def login_of(account: Account, *, strict_upstream: bool) -> Login:
    """The login that a ProviderConfig and its Secret describe.  Raises InvalidInput where something is missing."""
    config = account.provider_config
    spec = spec_of(config)
    credentials = spec.get("credentials") or {}
    mapping = credentials.get("secretKeyMapping") or {}
    names = {key: str(mapping.get(key) or key) for key in KEYS}
    given = {key: _text(account, name) for key, name in names.items()}
    if not strict_upstream and not given["endpoint"]:
        given["endpoint"] = _text(account, "host") or _text(account, "address")
    host, port = given["endpoint"], given["port"]
    if (
        not strict_upstream
        and (found := re.fullmatch(r"(.+):(\d+)", host))
        and (":" not in found[1] or "]" in found[1])
    ):
        host, port = found[1], port or found[2]
    if not strict_upstream:
        port = port or str(PORT)
    missing = [names[key] for key, value in {**given, "endpoint": host, "port": port}.items() if not value]
    if missing:
        secret = _secret(config)
        raise InvalidInput(
            f"{secret} has no key {' and no key '.join(missing)}",
            mend="add it, or name another key in spec.credentials.secretKeyMapping",
            where=(f'{config["kind"]} "{meta(config)["name"]}"',),
        )
    if not _can_be_a_host(host):
        raise InvalidInput(
            f"key {names['endpoint']} of {_secret(config)} is no host name", mend="store one, such as db.example.org"
        )
    if not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        raise InvalidInput(f"key {names['port']} of {_secret(config)} is no port", mend="store a number, such as 5432")
    return Login(
        config=str(meta(config).get("uid") or ""),
        version=account.version,
        host=host.strip("[]"),
        port=int(port),
        user=given["username"],
        password=given["password"],
        database=str(spec.get("defaultDatabase") or "postgres"),
        ssl_mode=str(spec.get("sslMode") or "verify-full"),
        ca="" if strict_upstream else _text(account, CA),
        adoption="" if strict_upstream else str(spec.get("adoption") or ""),
    )


def _can_be_a_host(text: str) -> bool:
    """Whether its address can be asked for.  What begins with a slash is a folder with a socket to the driver: one of this machine.

    >>> [_can_be_a_host(host) for host in ("db.example.org", "::1", "a..b", "a" * 64, "/tmp")]
    [True, True, False, False, False]
    """
    if any(sign in text for sign in "/\\@\0") or any(map(str.isspace, text)):
        return False
    try:
        return bool(text.encode("idna"))
    except UnicodeError:  # a part that is empty, or longer than 63 characters
        return False


def _text(account: Account, name: str) -> str:
    try:
        return (
            account.credentials.get(name, b"").decode().strip()
            if name != "password"
            else account.credentials.get(name, b"").decode()
        )
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"key {name} of {_secret(account.provider_config)} is not UTF-8 text", mend="store it as UTF-8"
        ) from error


def _secret(config: Object) -> str:
    reference = (spec_of(config).get("credentials") or {}).get("connectionSecretRef") or {}
    namespace = key_of(config).namespace or reference.get("namespace") or ""
    return f"Secret {namespace}/{reference.get('name')}" if namespace else f"Secret {reference.get('name')}"
