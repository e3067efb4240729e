"""Certificates made, read and judged: with cryptography, which takes as much memory as a tenth of the operator.

So where that matters, a process of its own does it (`python -m groundplane.runtime.issuing`: what `decide` is asked comes in, what it answers
goes out, as JSON), now and then, and ends.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from groundplane.core.objects import Object
from groundplane.runtime.pairs import AUTHORITY, BUNDLE, CERTIFICATE, KEY, Decision, Pair, is_due, is_ours

AUTHORITY_LIFE, SERVER_LIFE = timedelta(days=3650), timedelta(days=365)
SKEW = timedelta(hours=1)  # how far the API server's clock may be behind


def decide(name: str, found: Object | None, authority: Object | None, hosts: Sequence[str], now: datetime) -> Decision:
    """What to serve with, by the Secret `name` and the one of the authority: what is there, or what is to be put there."""
    there = pair_in(found)
    if found is not None and not is_ours(found) and there is not None:
        if why := unusable(there, hosts, now):
            return Decision(refused=name, why=why)
        return Decision(there)
    if there is not None and not unusable(there, hosts, now) and not is_due(there, now):
        return Decision(there)
    signer = pair_in(authority, bundle_key=CERTIFICATE)
    if signer is not None and not is_ours(authority or {}):
        if signer.until <= now:
            return Decision(refused=AUTHORITY, why="it has expired")
        return Decision(_made(signer, there, hosts, now), is_new=True)
    if signer is not None and not is_due(signer, now):
        return Decision(_made(signer, there, hosts, now), is_new=True)
    fresh = new_authority(now)
    # One that still counts signs once more, with the new one in the bundle only: so that is trusted before anything is signed by it.
    signer = replace(signer, bundle=fresh.certificate) if signer is not None and signer.until > now else fresh
    return Decision(_made(signer, there, hosts, now), is_new=True, authority=fresh)


def transient(hosts: Sequence[str], now: datetime) -> Pair:
    """A certificate of one process alone, whose authority is forgotten at once."""
    authority = new_authority(now)
    return replace(signed(authority, hosts, now), bundle=authority.certificate)


def _made(signer: Pair, there: Pair | None, hosts: Sequence[str], now: datetime) -> Pair:
    bundle = bundled([signer.certificate, signer.bundle, there.bundle if there else b""], now)
    return replace(signed(signer, hosts, now), bundle=bundle)


def pair_in(secret: Object | None, bundle_key: str = BUNDLE) -> Pair | None:
    """What a Secret holds; None if one of the keys is missing, empty, or no certificate or key at all, or they do not belong together."""
    data = (secret or {}).get("data") or {}
    try:
        certificate, key, bundle = (base64.b64decode(data.get(name) or "") for name in (CERTIFICATE, KEY, bundle_key))
        parsed = x509.load_pem_x509_certificate(certificate)
        if bundle and _public(_key(key).public_key()) == _public(parsed.public_key()):
            x509.load_pem_x509_certificates(bundle)
            return _dated(parsed, Pair(certificate, key, bundle))
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm, binascii.Error):
        return None
    return None


def unusable(pair: Pair, hosts: Iterable[str], now: datetime) -> str:
    """Why a certificate can't serve under these names and addresses; "" if it can."""
    certificate = x509.load_pem_x509_certificate(pair.certificate)
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
    key, signer, issuer = (
        ec.generate_private_key(ec.SECP256R1()),
        _key(authority.key),
        x509.load_pem_x509_certificate(authority.certificate),
    )
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
    return _dated(certificate, Pair(certificate.public_bytes(serialization.Encoding.PEM), secret))


def _dated(certificate: x509.Certificate, pair: Pair) -> Pair:
    return replace(pair, begin=certificate.not_valid_before_utc, until=certificate.not_valid_after_utc)


def answer(asked: bytes) -> bytes:
    """What `decide` says, or `transient`, to a request of `certificates.py`."""
    request: dict[str, Any] = orjson.loads(asked)
    now = datetime.fromisoformat(request.pop("now"))
    decision = decide(**request, now=now) if "name" in request else Decision(transient(**request, now=now))
    return decision.dumped()


if __name__ == "__main__":
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))
