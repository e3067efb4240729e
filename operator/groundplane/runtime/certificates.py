"""The certificate of the webhook server: made by an authority of our own, kept in Secrets that all replicas share, renewed before it expires.

The Secrets have Crossplane's names and keys, so what a Crossplane or a person has put there is used, and never changed.  Ours carry
`groundplane.io/made`.  Any replica makes what is missing, a standby too, for it must serve before anybody leads; each write carries the
version that it was made from, so of two that do so at once one wins, and the other uses that.

An authority is replaced long before it ends, and the old one stays in the bundle that the API server trusts until it has ended: what either has
signed goes on being taken.  Source of names and keys: Crossplane v1.20, internal/initializer/tls.go.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import ssl
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.function_sources import MADE
from groundplane.core.objects import Object, annotations_of, meta
from groundplane.errors import AlreadyExists, Conflict, InvalidInput, Unavailable
from groundplane.runtime import logs, preflight

AUTHORITY, SERVER = "crossplane-root-ca", "crossplane-tls-server"  # the Secrets
BUNDLE, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"  # their keys
AUTHORITY_LIFE, SERVER_LIFE = timedelta(days=3650), timedelta(days=365)
LEFT = 3  # what has less than this part of its life left is renewed; an authority's third is longer than a certificate's life
SKEW = timedelta(hours=1)  # how far the API server's clock may be behind
TRIES = 8  # of several replicas that write at once

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class Pair:
    """A certificate with its key, and the authorities by which it is known; all PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    bundle: bytes = b""

    @property
    def parsed(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)

    @property
    def until(self) -> datetime:
        return self.parsed.not_valid_after_utc


async def ensure(
    api: Api,
    namespace: str,
    hosts: Sequence[str],
    now: datetime,
    *,
    secret: str = SERVER,
    owner: Object | None = None,
) -> Pair:
    """The certificate for these names and addresses: the one that is there, or a new one, in a Secret that `owner` owns.

    `api` must let a standby write.

    Raises:
        InvalidInput: somebody else's Secret can't be used.
        Denied, Unavailable, Conflict: as the requests say.
    """
    for _ in range(TRIES):
        try:
            return await _ensure(_Secrets(api, namespace, owner), secret, hosts, now)
        except (AlreadyExists, Conflict):  # another replica was first: what it has made is used
            continue
    raise Conflict(f"the Secrets {AUTHORITY} and {secret} in {namespace} are written by somebody else again and again")


def transient(hosts: Sequence[str], now: datetime) -> Pair:
    """A certificate of this process alone, whose authority is forgotten at once."""
    authority = new_authority(now)
    made = signed(authority, hosts, now)
    return Pair(made.certificate, made.key, authority.certificate)


async def _ensure(secrets: _Secrets, name: str, hosts: Sequence[str], now: datetime) -> Pair:
    found = await secrets.get(name)
    there = pair_in(found)
    if found is not None and not _is_ours(found) and there is not None:
        if why := unusable(there, hosts, now):
            raise InvalidInput(
                f"Secret {secrets.namespace}/{name} can't be used: {why}",
                mend="delete it, so that a new one is made, or correct it",
            )
        return there
    if there is not None and not unusable(there, hosts, now) and not is_due(there.parsed, now):
        return there
    authority = await _authority(secrets, now)
    made = signed(authority, hosts, now)
    bundle = bundled([authority.certificate, authority.bundle, there.bundle if there else b""], now)
    made = Pair(made.certificate, made.key, bundle)
    await secrets.put(name, found, made)
    log.info("certificate made", secret=f"{secrets.namespace}/{name}", until=f"{made.until:%Y-%m-%dT%H:%M:%SZ}")
    return made


async def _authority(secrets: _Secrets, now: datetime) -> Pair:
    """The authority that signs: somebody else's as long as it is valid, or ours, renewed in time.

    The one that is replaced signs once more, and the new one is in the bundle only: so it is trusted before anything is signed by it.
    """
    found = await secrets.get(AUTHORITY)
    there = pair_in(found, bundle_key=CERTIFICATE)
    if there is not None and not _is_ours(found or {}):
        if there.until <= now:
            raise InvalidInput(
                f"Secret {secrets.namespace}/{AUTHORITY} can't be used: it has expired",
                mend="delete it, so that a new one is made, or renew it",
            )
        return there
    if there is not None and not is_due(there.parsed, now):
        return there
    made = new_authority(now)
    await secrets.put(AUTHORITY, found, made)
    log.info("certificate made", secret=f"{secrets.namespace}/{AUTHORITY}", until=f"{made.until:%Y-%m-%dT%H:%M:%SZ}")
    if there is not None and there.until > now:
        return Pair(there.certificate, there.key, made.certificate)
    return made


def _is_ours(secret: Object) -> bool:
    return annotations_of(secret).get(MADE) == "true"


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it is time to make another one."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return end - now < (end - begin) / LEFT


class Certifier:
    """Certificates of functions that are run here; fits `ports.Certifier`."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace

    async def ensure(self, secret: str, hosts: Sequence[str], owner: Object | None) -> str:
        made = await ensure(self._api, self._namespace, hosts, now(), secret=secret, owner=owner)
        return hashlib.sha256(made.certificate + made.bundle).hexdigest()[:16]


# --- Secrets ---------------------------------------------------------------------------------------------


class _Secrets:
    """The Secrets of one namespace, read and written past every cache."""

    def __init__(self, api: Api, namespace: str, owner: Object | None = None) -> None:
        self._api, self.namespace, self._owner = api, namespace, owner
        self._path = f"/api/v1/namespaces/{namespace}/secrets"

    async def get(self, name: str) -> Object | None:
        status, found = await self._api.request("GET", f"{self._path}/{name}")
        if status == 404:
            return None
        if not isinstance(found, dict):
            raise Unavailable(f"the API server gave no object for Secret {name}")
        return found

    async def put(self, name: str, before: Object | None, pair: Pair) -> None:
        """Write a Secret in place of the one that was read; raises Conflict or AlreadyExists if it is another by now."""
        data = {CERTIFICATE: pair.certificate, KEY: pair.key, BUNDLE: pair.bundle or pair.certificate}
        obj: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": self.namespace, "annotations": {MADE: "true"}},
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        if self._owner and name != AUTHORITY:
            obj["metadata"]["ownerReferences"] = [self._owner]
        if before is not None:
            labels, annotations = meta(before).get("labels") or {}, annotations_of(before)
            obj["metadata"] |= {"labels": labels, "annotations": {**annotations, MADE: "true"}}
            obj["metadata"]["resourceVersion"] = meta(before)["resourceVersion"]
            obj["type"] = before.get("type") or "Opaque"  # it can't be changed
            await self._api.request("PUT", f"{self._path}/{name}", body=obj)
            return
        status, _ = await self._api.request("POST", self._path, body=obj)
        if status == 404:
            await preflight.ensure_namespace(KubernetesCluster(self._api, Cache()), self.namespace)
            raise Conflict(f"the namespace {self.namespace} was not there")


def pair_in(secret: Object | None, bundle_key: str = BUNDLE) -> Pair | None:
    """What a Secret holds; None if one of the keys is missing, empty, or no certificate or key at all, or they do not belong together."""
    data = (secret or {}).get("data") or {}
    try:
        certificate, key, bundle = (base64.b64decode(data.get(name) or "") for name in (CERTIFICATE, KEY, bundle_key))
        pair = Pair(certificate, key, bundle)
        if bundle and _public(_key(key).public_key()) == _public(pair.parsed.public_key()):
            x509.load_pem_x509_certificates(bundle)
            return pair
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm, binascii.Error):
        return None
    return None


# --- certificates ------------------------------------------------------------------------------------------


def unusable(pair: Pair, hosts: Iterable[str], now: datetime) -> str:
    """Why a certificate can't serve under these names and addresses; "" if it can."""
    certificate = pair.parsed
    if certificate.not_valid_after_utc <= now:
        return f"it expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "it is for no host name"
    covered = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    missing = [host for host in hosts if host not in covered]
    return f"it is not for {', '.join(missing)}" if missing else ""


def new_authority(now: datetime, life: timedelta = AUTHORITY_LIFE) -> Pair:
    """A new authority, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "groundplane-root-ca")])
    builder = _builder(name, name, key.public_key(), now, life)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def signed(authority: Pair, hosts: Sequence[str], now: datetime, life: timedelta = SERVER_LIFE) -> Pair:
    """A certificate for these names and addresses; it ends no later than its authority."""
    key, signer, issuer = ec.generate_private_key(ec.SECP256R1()), _key(authority.key), authority.parsed
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    life = min(life, issuer.not_valid_after_utc - now)
    builder = _builder(name, issuer.subject, key.public_key(), now, life)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
    )
    signer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(signer_id, critical=False)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return _pair(builder.sign(signer, algorithm), key)


_PURPOSES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]  # we are a function's client


def bundled(bundles: Iterable[bytes], now: datetime) -> bytes:
    """The certificates in these, each once, in their order, but for those that have expired."""
    found: dict[bytes, None] = {}
    for bundle in bundles:
        for each in x509.load_pem_x509_certificates(bundle) if bundle.strip() else ():
            if each.not_valid_after_utc > now:
                found[each.public_bytes(serialization.Encoding.PEM)] = None
    return b"".join(found)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - SKEW).not_valid_after(now + life)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


_SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


def _key(pem: bytes) -> _SigningKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, _SigningKey):
        raise ValueError("not a key that signs certificates")
    return key


def _public(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), secret)


# --- TLS -----------------------------------------------------------------------------------------------------


def server_context() -> ssl.SSLContext:
    """For the server; a certificate is still to be loaded, and may be replaced while it serves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def load(context: ssl.SSLContext, pair: Pair) -> None:
    """Have new connections served with this certificate.  Python reads it from a file only: one of our own, for that moment."""
    with tempfile.TemporaryDirectory(prefix="groundplane-") as folder:  # nobody else may look into it
        path = Path(folder) / "tls.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.key + b"\n" + pair.certificate)
        context.load_cert_chain(path)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
