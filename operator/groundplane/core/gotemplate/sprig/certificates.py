"""Keys, certificates and AES for `crypto.py`, by the library cryptography, which takes 8 MiB: imported when a template first asks for one.

Source: Masterminds/sprig v3.3.0 `crypto.go`.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from groundplane.core import goformat
from groundplane.core.fieldpath import utf8
from groundplane.core.gotemplate.mistakes import Failure
from groundplane.core.gotemplate.run import Run
from groundplane.core.gotemplate.values import Value

Issuer = tuple[x509.Certificate, Any]


def aes(password: str, vector: bytes) -> Any:
    return Cipher(algorithms.AES(utf8(password)[:32].ljust(32, b"\0")), modes.CBC(vector))


def rsa_key(bits: int) -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pem(key: Any) -> str:
    is_modern = isinstance(key, ed25519.Ed25519PrivateKey)
    form = serialization.PrivateFormat.PKCS8 if is_modern else serialization.PrivateFormat.TraditionalOpenSSL
    data: bytes = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return data.decode()


def ecdsa_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


def ed25519_key() -> Any:
    return ed25519.Ed25519PrivateKey.generate()


def key_of(text: str) -> Any:
    try:
        key = serialization.load_pem_private_key(utf8(text), None)
    except (ValueError, TypeError):
        raise Failure("error parsing private key", "give it one in PEM, without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise Failure("error parsing private key: its kind is not supported", "use ed25519, ecdsa or rsa")
    return key


def _subject(common: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    except ValueError as error:
        raise Failure(f"the common name can't be used: {error}", "it has 1 to 64 characters") from None


def alternatives(addresses: list[Value], names: list[Value]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        if not isinstance(name, str):
            raise Failure(f"error parsing alternate dns: {goformat.type_name(name)} is not a string")
        try:
            found.append(x509.DNSName(name))
        except ValueError:
            raise Failure(f"alternate dns {goformat.sprintf('%q', name)} is no name") from None
    for address in addresses:
        if not isinstance(address, str):
            raise Failure(f"error parsing ip: {goformat.type_name(address)} is not a string")
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            raise Failure(f"error parsing ip: {goformat.sprintf('%q', address)}") from None
    return found


def certificate(
    run: Run,
    common: str,
    days: int,
    key: Any,
    others: list[x509.GeneralName],
    issuer: Issuer | None,
    *,
    is_authority: bool = False,
) -> tuple[str, str]:
    """A certificate and its key, in PEM."""
    now = run.now().replace(microsecond=0)
    name = _subject(common)
    try:
        end = now + timedelta(days=days)
        builder = x509.CertificateBuilder(
            issuer_name=issuer[0].subject if issuer else name,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=int.from_bytes(run.random(16)) >> 1 or 1,
            not_valid_before=now,
            not_valid_after=end,
        )
    except (ValueError, OverflowError):
        raise Failure(f"{days} days can't be the time that a certificate is valid") from None
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, key_cert_sign=is_authority, content_commitment=False, data_encipherment=False,
        key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = builder.add_extension(usage, critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    if is_authority:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if others:
        builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    signer = issuer[1] if issuer else key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = builder.sign(signer, algorithm)
    return made.public_bytes(serialization.Encoding.PEM).decode(), pem(key)


def authority(certificate: str, key: str) -> Issuer:
    try:
        found = x509.load_pem_x509_certificate(utf8(certificate))
    except ValueError:
        raise Failure("unable to parse certificate", "give it what genCA or buildCustomCert gives") from None
    return found, key_of(key)
