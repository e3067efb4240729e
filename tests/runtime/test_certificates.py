"""The webhooks' certificate: made once for all replicas, renewed in time, and somebody else's left alone."""

from __future__ import annotations

import asyncio
import base64
import copy
import ssl
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from groundplane.errors import AlreadyExists, Conflict, InvalidInput
from groundplane.runtime import certificates, issuing, pairs
from groundplane.runtime.issuing import AUTHORITY_LIFE, SERVER_LIFE
from groundplane.runtime.pairs import AUTHORITY, SERVER, Pair
from groundplane.runtime.webhooks import hosts

NAMESPACE = "home"
HOSTS = hosts(NAMESPACE, "https://127.0.0.1:9443")
NOW = certificates.now()


class Secrets:
    """An API server that has Secrets, each with its version, and a namespace that may be missing."""

    def __init__(self, *, has_namespace=True):
        self.there, self.version, self.has_namespace = {}, 0, has_namespace
        self.writes = []

    async def request(self, method, path, *, body=None, **_):
        await asyncio.sleep(0)
        if path == "/api/v1":
            return 200, {"resources": [{"name": "namespaces", "kind": "Namespace", "namespaced": False}]}
        if "/secrets" not in path:
            if method == "GET":
                return (200, {"kind": "Namespace"}) if self.has_namespace else (404, {"details": {"name": NAMESPACE}})
            self.has_namespace = True
            return 201, body
        name = path.rpartition("/")[2] if method != "POST" else body["metadata"]["name"]
        if method == "GET":
            return (200, copy.deepcopy(self.there[name])) if name in self.there else (404, {"kind": "Status"})
        if not self.has_namespace:
            return 404, {"kind": "Status"}
        if method == "POST" and name in self.there:
            raise AlreadyExists(name)
        if method == "PUT" and self.there[name]["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(name)
        self.version += 1
        self.writes.append(name)
        kept = copy.deepcopy(body)
        kept["metadata"]["resourceVersion"] = str(self.version)
        self.there[name] = kept
        return 200, copy.deepcopy(kept)

    def put(self, name, pair, *, ours=False):
        """As somebody else does."""
        data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.bundle}
        self.version += 1
        self.there[name] = {
            "metadata": {
                "name": name,
                "resourceVersion": str(self.version),
                "annotations": {pairs.MADE: "true"} if ours else {},
            },
            "type": "kubernetes.io/tls",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }


async def ensure(secrets, now=NOW, names=HOSTS):
    return await certificates.ensure(secrets, NAMESPACE, names, now, decide=certificates.here)


def parsed(pair):
    return issuing.x509.load_pem_x509_certificate(pair.certificate)


def handshake(pair, name, *, bundle=None):
    """A client that trusts the bundle, and a server with the pair, in memory; raises ssl.SSLCertVerificationError."""
    server, client = certificates.server_context(), ssl.create_default_context(cadata=(bundle or pair.bundle).decode())
    certificates.load(server, pair)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(back, there, server_hostname=name)
    other = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert one.version()


async def test_a_certificate_is_made_once_and_is_good_for_all_names():
    secrets = Secrets()
    made = await ensure(secrets)
    assert secrets.writes == [AUTHORITY, SERVER]
    assert await ensure(secrets) == made
    assert secrets.writes == [AUTHORITY, SERVER]
    for name in HOSTS:
        handshake(made, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, "example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made, HOSTS[0], bundle=issuing.new_authority(NOW).certificate)


async def test_of_many_replicas_that_begin_at_once_all_have_the_same():
    secrets = Secrets(has_namespace=False)
    found = await asyncio.gather(*(ensure(secrets) for _ in range(5)))
    assert len(set(found)) == 1
    assert sorted(secrets.writes) == [AUTHORITY, SERVER]


async def test_it_is_renewed_in_its_last_third_and_the_authority_stays():
    secrets = Secrets()
    first = await ensure(secrets)
    assert await ensure(secrets, NOW + SERVER_LIFE * 0.6) == first
    later = NOW + SERVER_LIFE * 0.7
    second = await ensure(secrets, later)
    assert second != first
    assert second.until > first.until
    assert second.bundle == first.bundle
    assert issuing.unusable(second, HOSTS, later) == ""


async def test_what_a_clock_that_was_ahead_has_made_is_made_anew_once_it_is_right():
    """It has yet to begin: the API server would refuse it until then."""
    secrets = Secrets()
    await ensure(secrets, NOW + timedelta(days=1))
    made = await ensure(secrets, NOW)
    for each in issuing.x509.load_pem_x509_certificates(made.certificate):
        assert each.not_valid_before_utc <= NOW
    trusted = issuing.x509.load_pem_x509_certificates(made.bundle)
    assert any(each.not_valid_before_utc <= NOW and each.subject == parsed(made).issuer for each in trusted)
    assert await ensure(secrets, NOW) == made


async def test_an_authority_in_its_last_third_signs_once_more_and_the_next_is_trusted_already():
    secrets = Secrets()
    first = await ensure(secrets)
    later = NOW + AUTHORITY_LIFE * 0.7
    second = await ensure(secrets, later)
    assert parsed(second).issuer == parsed(first).issuer
    old, new = issuing.x509.load_pem_x509_certificates(second.bundle)
    parsed(second).verify_directly_issued_by(old)
    third = await ensure(secrets, later + SERVER_LIFE * 0.7)
    parsed(third).verify_directly_issued_by(new)
    assert third.bundle == new.public_bytes(issuing.serialization.Encoding.PEM) + old.public_bytes(
        issuing.serialization.Encoding.PEM
    )
    last = await ensure(secrets, NOW + AUTHORITY_LIFE + timedelta(days=1))
    assert issuing.x509.load_pem_x509_certificates(last.bundle) == [new]


async def test_other_names_take_another_certificate():
    secrets = Secrets()
    first = await ensure(secrets)
    other = hosts(NAMESPACE, "https://OPERATOR.example.org:9443")
    second = await ensure(secrets, names=other)
    assert second != first
    handshake(second, "operator.example.org")


async def test_what_somebody_else_has_put_there_is_used_and_never_changed():
    secrets, authority = Secrets(), issuing.new_authority(NOW)
    theirs = issuing.signed(authority, HOSTS, NOW, timedelta(days=1))
    secrets.put(SERVER, Pair(theirs.certificate, theirs.key, authority.certificate))
    found = await ensure(secrets, NOW + timedelta(hours=23))
    assert (found.certificate, found.bundle) == (theirs.certificate, authority.certificate)
    assert secrets.writes == []
    with pytest.raises(InvalidInput, match=f"Secret home/{SERVER} can't be used: it expired at .*delete it"):
        await ensure(secrets, NOW + timedelta(days=2))
    with pytest.raises(InvalidInput, match=r"it is not for 10\.0\.0\.1"):
        await ensure(secrets, names=[*HOSTS, "10.0.0.1"])
    assert secrets.writes == []


async def test_somebody_elses_authority_signs_and_is_never_renewed():
    secrets, theirs = Secrets(), issuing.new_authority(NOW, timedelta(days=30))
    secrets.put(AUTHORITY, theirs)
    made = await ensure(secrets, NOW + timedelta(days=25))
    parsed(made).verify_directly_issued_by(parsed(theirs))
    assert made.until == theirs.until
    assert secrets.writes == [SERVER]
    with pytest.raises(InvalidInput, match=f"Secret home/{AUTHORITY} can't be used: it has expired"):
        await ensure(secrets, NOW + timedelta(days=31))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.clear(),
        lambda data: data.update({"tls.key": ""}),
        lambda data: data.update({"tls.crt": base64.b64encode(b"no certificate").decode()}),
        lambda data: data.update({"ca.crt": base64.b64encode(b"no certificate").decode()}),
        lambda data: data.update({"tls.key": base64.b64encode(issuing.new_authority(NOW).key).decode()}),
        lambda data: data.update({"tls.crt": "!"}),
    ],
    ids=["empty", "no key", "no certificate", "no bundle", "another's key", "no base64"],
)
@pytest.mark.parametrize("name", [SERVER, AUTHORITY])
async def test_what_is_incomplete_or_broken_is_made_anew(spoil, name):
    secrets = Secrets()
    first = await ensure(secrets)
    spoil(secrets.there[name]["data"])
    if name == AUTHORITY:
        del secrets.there[SERVER]
    second = await ensure(secrets)
    assert second.certificate != first.certificate
    handshake(second, HOSTS[0])
    assert issuing.pair_in(secrets.there[SERVER])


async def test_who_never_gets_to_write_gives_up_with_a_reason():
    secrets = Secrets()

    async def lost(method, path, **more):
        if method != "GET":
            raise Conflict("lost")
        return await Secrets.request(secrets, method, path, **more)

    secrets.request = lost
    with pytest.raises(Conflict, match="written by somebody else again and again"):
        await ensure(secrets)


def test_a_key_is_in_no_text_of_a_pair():
    assert b"PRIVATE" in (pair := issuing.new_authority(NOW)).key
    assert "PRIVATE" not in repr(pair)


async def test_another_process_decides_the_same_and_none_is_started_for_what_is_known():
    secrets, asked = Secrets(), []

    async def counted(*args):
        asked.append(args)
        return await certificates.apart(*args)

    made = await certificates.ensure(secrets, NAMESPACE, HOSTS, NOW, decide=counted)
    for name in HOSTS:
        handshake(made, name)
    assert secrets.writes == [AUTHORITY, SERVER]
    assert await certificates.ensure(secrets, NAMESPACE, HOSTS, NOW, decide=counted) == made
    assert await certificates.ensure(secrets, NAMESPACE, HOSTS, NOW, decide=counted, known=made) == made
    assert len(asked) == 2
    theirs = issuing.transient(HOSTS, NOW - SERVER_LIFE)
    secrets.put(SERVER, theirs)
    with pytest.raises(InvalidInput, match="can't be used: it expired at"):
        await certificates.ensure(secrets, NAMESPACE, HOSTS, NOW, decide=counted, known=made)
    alone = await certificates.transient(HOSTS, NOW)
    handshake(alone, HOSTS[0])


async def test_what_is_no_utf_8_beside_a_certificate_goes_to_another_process_and_back():
    theirs = issuing.transient(HOSTS, NOW)
    theirs = replace(theirs, certificate="subject=Société\n".encode("latin-1") + theirs.certificate)
    secrets = Secrets()
    secrets.put(SERVER, theirs)
    made = await certificates.ensure(secrets, NAMESPACE, HOSTS, NOW)
    assert made == theirs
    handshake(made, HOSTS[0])


async def test_another_process_imports_nothing_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "orjson.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert await certificates.transient(HOSTS, NOW)


async def test_who_has_webhooks_does_not_hold_the_library_for_certificates_in_memory():
    command = "import sys, groundplane.runtime.webhooks; sys.exit('cryptography' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", command)
    assert await process.wait() == 0
