"""The certificate of the webhook server: made by an authority of our own, kept in Secrets that all replicas share, renewed before it expires.

The Secrets have Crossplane's names and keys, so what a Crossplane or a person has put there is used, and never changed.  Ours carry
`groundplane.io/made`.  Any replica makes what is missing, a standby too, for it must serve before anybody leads; each write carries the
version that it was made from, so of two that do so at once one wins, and the other uses that.

An authority is replaced long before it ends, and the old one stays in the bundle that the API server trusts until it has ended: what either has
signed goes on being taken.  Source of names and keys: Crossplane v1.20, internal/initializer/tls.go.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.function_sources import MADE
from groundplane.core.objects import Object, annotations_of, meta
from groundplane.errors import AlreadyExists, Conflict, InvalidInput, Unavailable
from groundplane.runtime import logs, preflight
from groundplane.runtime.pairs import AUTHORITY, BUNDLE, CERTIFICATE, KEY, SERVER, Decision, Pair, is_due, raw

TRIES = 8  # of several replicas that write at once
PATIENCE = 60.0  # seconds for a process that makes a certificate; it takes some tenths of one

Decide = Callable[[str, Object | None, Object | None, Sequence[str], datetime], Awaitable[Decision]]

log = logs.get_logger(__name__)


async def apart(
    name: str, found: Object | None, authority: Object | None, hosts: Sequence[str], now: datetime
) -> Decision:
    """`issuing.decide` in a process of its own."""
    secrets = {"found": found, "authority": authority}
    return await _asked({"name": name, "hosts": list(hosts), "now": now.isoformat(), **secrets})


async def here(
    name: str, found: Object | None, authority: Object | None, hosts: Sequence[str], now: datetime
) -> Decision:
    """`issuing.decide` in this process: for who decides often."""
    from groundplane.runtime import issuing  # and with it cryptography

    return issuing.decide(name, found, authority, hosts, now)


async def transient(hosts: Sequence[str], now: datetime) -> Pair:
    """A certificate of this process alone, whose authority is forgotten at once."""
    made = (await _asked({"hosts": list(hosts), "now": now.isoformat()})).pair
    assert made
    return made


async def _asked(request: dict[str, object]) -> Decision:
    command = [sys.executable, "-P", "-m", "groundplane.runtime.issuing"]  # nothing from the working directory

    def run() -> bytes:
        return subprocess.run(
            command, input=orjson.dumps(request), capture_output=True, check=True, timeout=PATIENCE
        ).stdout

    try:
        return Decision.loaded(await asyncio.to_thread(run))
    except (OSError, subprocess.SubprocessError) as error:
        cause = str(getattr(error, "stderr", None) or b"", "utf-8", "replace").strip().rpartition("\n")[2]
        raise Unavailable(
            f"no certificate could be made: {type(error).__name__} {cause}".rstrip(),
            mend="see that the operator may start a process of its own, and has memory for it",
        ) from error


async def ensure(
    api: Api,
    namespace: str,
    hosts: Sequence[str],
    now: datetime,
    *,
    secret: str = SERVER,
    owner: Object | None = None,
    known: Pair | None = None,
    decide: Decide = apart,
) -> Pair:
    """The certificate for these names and addresses: the one that is there, or a new one, in a Secret that `owner` owns.

    `api` must let a standby write.  `known` is what was given for them before: as long as it is what is there, there is nothing to decide.

    Raises:
        InvalidInput: somebody else's Secret can't be used.
        Denied, Unavailable, Conflict: as the requests say.
    """
    secrets = _Secrets(api, namespace, owner)
    for _ in range(TRIES):
        try:
            return await _ensure(secrets, secret, hosts, now, known, decide)
        except (AlreadyExists, Conflict):  # another replica was first: what it has made is used
            continue
    raise Conflict(f"the Secrets {AUTHORITY} and {secret} in {namespace} are written by somebody else again and again")


async def _ensure(
    secrets: _Secrets, name: str, hosts: Sequence[str], now: datetime, known: Pair | None, decide: Decide
) -> Pair:
    found = await secrets.get(name)
    if known and raw(found) == (known.certificate, known.key, known.bundle) and not is_due(known, now):
        return known
    authority = await secrets.get(AUTHORITY)
    decision = await decide(name, found, authority, hosts, now)
    if decision.pair is None:
        raise InvalidInput(
            f"Secret {secrets.namespace}/{decision.refused} can't be used: {decision.why}",
            mend="delete it, so that a new one is made, or correct it",
        )
    if decision.authority:
        await secrets.put(AUTHORITY, authority, decision.authority)
    if decision.is_new:
        await secrets.put(name, found, decision.pair)
    return decision.pair


class Certifier:
    """Certificates of functions that are run here; fits `ports.Certifier`."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace

    async def ensure(self, secret: str, hosts: Sequence[str], owner: Object | None) -> str:
        made = await ensure(self._api, self._namespace, hosts, now(), secret=secret, owner=owner, decide=here)
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
            self._tell(name, pair)
            return
        status, _ = await self._api.request("POST", self._path, body=obj)
        if status == 404:
            await preflight.ensure_namespace(KubernetesCluster(self._api, Cache()), self.namespace)
            raise Conflict(f"the namespace {self.namespace} was not there")
        self._tell(name, pair)

    def _tell(self, name: str, pair: Pair) -> None:
        log.info("certificate made", secret=f"{self.namespace}/{name}", until=f"{pair.until:%Y-%m-%dT%H:%M:%SZ}")


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
