"""A thin HTTP client of one Kubernetes API server: requests, retries, limits, errors, watch streams.

It knows paths and status codes, nothing of kinds or caches.  Credentials come from `credentials`, errors leave as those
of `groundplane.errors`.  Source: Kubernetes API concepts and API conventions (`Status`).
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import nullcontext
from typing import Any

import aiohttp
import orjson
from yarl import URL

from groundplane import __version__
from groundplane.cluster import credentials, depth
from groundplane.cluster.credentials import Access
from groundplane.cluster.slots import Slots
from groundplane.core import roles
from groundplane.core.bucket import Bucket
from groundplane.core.objects import Object
from groundplane.core.outage import Outage
from groundplane.errors import (
    AlreadyExists,
    Awaited,
    Conflict,
    Denied,
    GroundplaneError,
    Misshapen,
    NoSuchKind,
    NotFound,
    Rejected,
    Throttled,
    Unavailable,
    Waiting,
)

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML

LISTS = 8  # times as much as an object is a page of a list of them
MOST_PARTS = 100_000  # lists and maps in an object of a server that nobody vouches for
ATTEMPTS = 5  # of one request
PATIENCE = 20.0  # seconds after which no further attempt begins
FIRST_PAUSE = 0.1  # seconds before the second attempt, doubled each time
REQUEST_TIMEOUT = 35.0  # seconds for one attempt
CONNECT_TIMEOUT = 5.0  # seconds
EARLIER = 0.95  # of the time that a write has: then we give it up, and the server a moment later
SILENCE = 75.0  # seconds without an event or bookmark (one a minute) after which a watch counts as dead
TLS_BUFFER = 4096  # bytes that asyncio keeps for each connection, instead of 256 KiB: there is a watch for each kind
LONGEST_TEXT = 600  # characters of what the API server says that we repeat

# What is answered with 500 though it is the object's fault: a field of another type, what is no base64.
_MISSHAPEN = ("failed to create typed patch object", "unable to convert unstructured object to")
# Of an object that etcd, or the way to it, does not take: a 500, and it stays one
_TOO_LARGE = ("request is too large", "trying to send message larger than max")

# As the API server says it: cannot list resource "deployments" in API group "apps" at the cluster scope
_REFUSED = re.compile(r'resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"')

OnRequest = Callable[[str, str, int, float], None]  # verb, resource, status (0: none came), seconds


class Untrusted(Unavailable):
    """No connection that can be trusted: a certificate has expired, or is not signed by whom we know.  Waiting won't help."""


class Expired(Unavailable):
    """The resource version is older than what the API server remembers (410): list anew."""


class Api:
    """One API server and one way to log in to it.  Belongs to one event loop; `close` it there."""

    def __init__(
        self,
        access: Access,
        *,
        reload: Callable[[], Access] | None = None,
        qps: float = 500.0,
        burst: int = 1000,
        on_request: OnRequest | None = None,
        may_write: Callable[[], None] = lambda: None,
        read_timeout: float = REQUEST_TIMEOUT,
        write_timeout: float = REQUEST_TIMEOUT,
        identity: str = "",
        impersonate: str = "",
        longest: int = 0,
        grant: Callable[[str, str], str] | None = None,
        outage: Outage | None = None,
        write_outage: Outage | None = None,
    ) -> None:
        """`qps` and `burst` bound our requests per second.  `reload` gets fresh credentials after a 401.

        `may_write` is asked right before each attempt of all that is no GET, and raises NotLeader; what it let pass ends
        within `write_timeout` seconds, in the server, too, whatever becomes of us; a GET is given up after `read_timeout`.  `identity` stands in the user agent, for audit logs.  `impersonate` is the user to act as.
        Of a server that nobody vouches for, no answer of more than `longest` bytes is read, of a list LISTS times that; 0: whatever comes.  `grant` says what
        gives a right to a resource of a group, where it is not the operator that lacks it.  `outage` keeps all but one from waiting for it
        while it does not answer a GET, `write_outage` while it does not answer what is none: an answer to the one says nothing of the other.
        """
        self._access = access
        self._reload = reload
        self._ssl = credentials.ssl_context(access)
        self._token_read = float("-inf")
        self._authorization = access.authorization
        self._bucket = Bucket(qps, burst, time.monotonic())
        self._on_request = on_request
        self._may_write, self._read_timeout, self._write_timeout = may_write, read_timeout, write_timeout
        self._agent = f"groundplane/{__version__}{f' ({identity})' if identity else ''}"
        self._impersonate, self._longest, self._grant = impersonate, longest, grant
        self._outage, self._write_outage = outage, write_outage
        self._slots = Slots()
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def connect(
        cls,
        kubeconfig: str | None = None,
        context: str | None = None,
        *,
        qps: float = 500.0,
        burst: int = 1000,
        on_request: OnRequest | None = None,
        may_write: Callable[[], None] = lambda: None,
        write_timeout: float = REQUEST_TIMEOUT,
        identity: str = "",
        impersonate: str = "",
        grant: Callable[[str, str], str] | None = None,
    ) -> Api:
        """As `credentials.load` finds the way.  No request is made yet, but a login program may run."""

        def load() -> Access:
            return credentials.load(kubeconfig, context)

        return cls(
            load(),
            reload=load,
            qps=qps,
            burst=burst,
            on_request=on_request,
            may_write=may_write,
            write_timeout=write_timeout,
            identity=identity,
            impersonate=impersonate,
            grant=grant,
        )

    @property
    def server(self) -> str:
        return self._access.server

    @property
    def host(self) -> str:
        """Its name or address with the port: "10.96.0.1:443"."""
        return f"{URL(self.server).host}:{URL(self.server).port}"

    @property
    def ssl(self) -> ssl.SSLContext:
        return self._ssl

    def headers(self) -> dict[str, str]:
        """Who we are.  A token file is read again once a minute.  May be called from any thread."""
        if self._access.token_file and time.monotonic() - self._token_read > credentials.TOKEN_FILE_AGE:
            try:
                self._authorization = f"Bearer {self._access.token_file.read_text().strip()}"
            except OSError as error:
                raise Denied(
                    f"can't read the token file {self._access.token_file}",
                    mend="see that it is there, and that this user may read it",
                ) from error
            self._token_read = time.monotonic()
        headers = {"Accept": JSON, "Accept-Encoding": "identity", "User-Agent": self._agent}
        if self._authorization:
            headers["Authorization"] = self._authorization
        if self._impersonate:  # of a service account the API server adds the groups
            headers["Impersonate-User"] = self._impersonate
        return headers

    def refresh(self) -> None:
        """Get fresh credentials.  Blocks while a login program runs; may be called from any thread."""
        self._token_read = float("-inf")
        if self._reload:
            self._access = self._reload()
            self._authorization = self._access.authorization

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        idempotent: bool | None = None,
        accept: str = JSON,
    ) -> tuple[int, Any]:
        """One request, retried where that can do no harm: the status (2xx or 404) and the parsed JSON, else None.

        `idempotent` says whether to repeat it when nobody knows if it was carried out (5xx, connection lost);
        by default all but POST.  A 429 and a refused connection were not carried out, and always are.

        Raises:
            Rejected (400, 422 and the like), Denied (401, 403), Waiting (the namespace is being deleted), NoSuchKind (the kind is),
            AlreadyExists, Conflict (409), Expired (410), Throttled (429), Unavailable (5xx, no answer), NotLeader.
        """
        repeatable = method != "POST" if idempotent is None else idempotent
        outage = self._outage if method == "GET" else self._write_outage
        with outage.asking() if outage else nullcontext():
            return await self._repeated(method, path, query, body, content_type, accept, repeatable=repeatable)

    async def _repeated(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        accept: str,
        *,
        repeatable: bool,
    ) -> tuple[int, Any]:
        data = depth.written(body) if body is not None else None
        if method != "GET":  # who is stopped gives nothing up, and a webhook may hold it for half a minute
            query = {**(query or {}), "timeout": f"{max(1, int(self._write_timeout * 1000))}ms"}
        url = self._url(path, query)
        deadline = time.monotonic() + PATIENCE
        fresh = False
        attempt = 0
        while True:
            problem: GroundplaneError
            pause = FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.5)
            try:
                status, parsed, after = await self._attempt(method, url, data, content_type, accept)
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = _unreachable(error)
                # silent for all the time it had, it is slow: more of the same would make it slower
                again = (repeatable and not _is_late(error)) or isinstance(error, aiohttp.ClientConnectorError)
                again = again and not isinstance(problem, Untrusted)
            else:
                if status < 400 or status == 404:
                    return status, parsed
                if status == 401 and not fresh:
                    fresh = True
                    await self._renew()
                    continue
                problem = error_of(status, parsed, after)
                if (
                    self._grant
                    and isinstance(problem, Denied)
                    and (refused := _REFUSED.search(problem.what))
                    and " cannot impersonate " not in problem.what
                ):
                    problem.mend = self._grant(refused["group"], refused["resource"])
                again = isinstance(problem, Throttled) or (repeatable and isinstance(problem, Unavailable))
                if isinstance(problem, Expired):
                    again = False
                if isinstance(problem, Throttled):
                    pause += after
            attempt += 1
            if not again or attempt == ATTEMPTS or time.monotonic() + pause > deadline:
                raise problem
            await asyncio.sleep(pause)

    async def stream_watch(
        self, path: str, query: Mapping[str, str], *, accept: str = JSON
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """A watch's events: ADDED, MODIFIED, DELETED or BOOKMARK, with the object.  Ends when the server ends it.

        Raises:
            NotFound: the kind is not served.  Expired: list anew.  Unavailable: broken, silent or refused.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=SILENCE)
        url = self._url(path, {**query, "watch": "true"})
        begun = time.monotonic()
        await self._wait_in_line()
        try:
            async with self._open().request(
                "GET", url, headers=self.headers() | {"Accept": accept}, timeout=timeout, **self._connection()
            ) as response:
                self._tell("GET", url, JSON, response.status, begun)
                if response.status != 200:
                    if response.status == 401:
                        await self._renew()
                    raise error_of(response.status, _parsed(await response.read()), _retry_after(response))
                try:
                    rest = b""
                    async for chunk in response.content.iter_any():
                        *lines, rest = (rest + chunk).split(b"\n")
                        for line in lines:
                            yield _event(line)
                finally:
                    # Left before its end: close the connection now, not after a TLS farewell that nobody waits for.
                    if response.connection and response.connection.transport:
                        response.connection.transport.abort()
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise _unreachable(error) from error

    async def _renew(self) -> None:
        """Log in again, on new connections if the old ones were opened with another certificate."""
        certificate = self._access.certificate
        await asyncio.to_thread(self.refresh)
        if self._access.certificate != certificate:
            self._ssl = credentials.ssl_context(self._access)
            await self.close()

    async def _attempt(
        self, method: str, url: URL, data: bytes | None, content_type: str, accept: str
    ) -> tuple[int, Any, float]:
        """Status, parsed body, seconds of Retry-After."""
        await self._wait_in_line()
        headers = self.headers() | {"Accept": accept}
        if data is not None:
            headers["Content-Type"] = content_type
        options = self._connection()
        what = " ".join(_verb_and_resource(method, url, content_type))
        place = self._slots if method == "GET" else self._slots.writing(what, self._write_timeout)
        async with place as write:
            if method != "GET":
                self._may_write()
                patience = EARLIER * self._write_timeout
                options["timeout"] = aiohttp.ClientTimeout(total=patience, sock_connect=CONNECT_TIMEOUT)
            status, begun = 0, time.monotonic()
            try:
                async with self._open().request(method, url, data=data, headers=headers, **options) as response:
                    raw = await self._read(response, LISTS if "limit" in url.query else 1)
                    status = response.status
                    return status, _parsed(raw), _retry_after(response)
            finally:
                self._tell(method, url, content_type, status, begun)
                went_well = 200 <= status < 300
                if write is not None and write.hangs:
                    self._slots.came_back(write, went_well=went_well)
                elif write is not None:  # a long list is no sign of a slow server
                    self._slots.answered(begun, time.monotonic(), self._write_timeout, what if went_well else "")

    async def _read(self, response: aiohttp.ClientResponse, times: int) -> bytes:
        """The answer, of a server that nobody vouches for only as far as it can be read at once, and kept: empty lists are thirty times their text."""
        if not self._longest:
            return await response.read()
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > self._longest * times:
                response.close()
                raise Rejected(
                    f"the API server's answer is longer than {self._longest * times // 2**20} MiB",
                    mend="select less of it",
                )
        if raw.count(b"[") + raw.count(b"{") > MOST_PARTS * times:
            raise Rejected(
                f"the API server's answer has more than {MOST_PARTS * times} lists and maps", mend="select less of it"
            )
        return bytes(raw)

    async def _wait_in_line(self) -> None:
        if pause := self._bucket.reserve(time.monotonic()):
            await asyncio.sleep(pause)

    def _url(self, path: str, query: Mapping[str, str] | None) -> URL:
        url = URL(self._access.server + path, encoded=True)
        return url.with_query(query) if query else url

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            SSLProtocol.max_size = TLS_BUFFER
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl),  # `_slots` bounds requests, nothing the watches
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._read_timeout, sock_connect=CONNECT_TIMEOUT),
            )
        return self._session

    def _connection(self) -> dict[str, Any]:
        options = {"proxy": self._access.proxy, "server_hostname": self._access.server_name}
        return {name: value for name, value in options.items() if value}

    def _tell(self, method: str, url: URL, content_type: str, status: int, begun: float) -> None:
        if self._on_request:
            verb, resource = _verb_and_resource(method, url, content_type)
            self._on_request(verb, resource, status, time.monotonic() - begun)


def error_of(code: int, status: Any, after: float = 0.0) -> GroundplaneError:
    """What an answer of 400 and above means.  `status` is the parsed `Status` object, or None."""
    said = status if isinstance(status, dict) else {}
    reason = said.get("reason") or ""
    text = _text(said) or f"the API server answered {code}"
    details: Mapping[str, Any] = said.get("details") or {}
    if code == 404:
        missing = NotFound(text, mend="create that namespace" if details.get("kind") == "namespaces" else "")
        if missing.mend and (name := details.get("name")):
            missing.on = (Awaited("", "Namespace", name=str(name)),)
        return missing
    if code == 409:
        return AlreadyExists(text) if reason == "AlreadyExists" else Conflict(text)
    if code == 410:
        return Expired(text)
    if code == 429:
        return Throttled(text, after=after or 1.0)
    if code == 401:
        return Denied("the API server does not accept our credentials", mend="log in anew, or mend the kubeconfig")
    if code == 403:
        if any(cause.get("reason") == "NamespaceTerminating" for cause in details.get("causes") or ()):
            return Waiting(text)
        if "custom resource definition is terminating" in text:
            return NoSuchKind(text, mend="wait for the CustomResourceDefinition to go, then apply it again")
        if "cannot find RESTMapping" in text:  # it asks who may set an owner of a kind that it will know by and by
            return Waiting(text, mend="wait, for the API server learns of a new kind within half a minute")
        return Denied(text, mend=_rule_for(text))
    if code == 413 or (code >= 500 and any(words in text for words in _TOO_LARGE)):
        return Rejected(text, mend="have the object hold less: an API server stores 1.5 MiB of each")
    if code >= 500:
        return Misshapen(text) if any(words in text for words in _MISSHAPEN) else Unavailable(text)
    first: Mapping[str, Any] = next(iter(details.get("causes") or ()), {})
    return Rejected(text, field=str(first.get("field") or ""))


def _rule_for(text: str) -> str:
    """What gives us a right that was refused; to a Pod of the chart, by the role that gathers others.

    "" of what is refused for another reason than rights, in words of its own.
    """
    refused = _REFUSED.search(text)
    if " exceeded quota: " in text:
        return "raise the ResourceQuota, or delete something that it counts"
    if " cannot impersonate " in text:
        return "allow it the verb impersonate on that ServiceAccount, as the chart does with objects.impersonate"
    if not refused or 'User "system:serviceaccount:' not in text:
        return "grant it with a Role or ClusterRole" if 'user "' in text.lower() else ""
    return roles.grant(refused["group"], refused["resource"])


def _text(said: Mapping[str, Any]) -> str:
    details = said.get("details") or {}
    if details.get("kind") in ("secrets", "Secret") and details.get("causes"):
        fields = sorted({_said_of_secret(each) for each in details["causes"]})
        return f'Secret "{details.get("name")}" is invalid: {", ".join(fields)}'  # its values must not be repeated
    text = " ".join(str(said.get("message") or "").split())
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _said_of_secret(cause: Mapping[str, Any]) -> str:
    """What is wrong with a field of a Secret; of what quotes its value, the field alone."""
    field = str(cause.get("field"))
    return f"{field}: {cause.get('message')}" if cause.get("reason") == "FieldValueTooLong" else field


def _unreachable(cause: Exception) -> Unavailable:
    """One text for all ways not to get through, another for no answer in time: it becomes a condition, which must not flap."""
    problem = Unavailable(
        "the API server does not answer in time" if _is_late(cause) else "the API server can't be reached"
    )
    if isinstance(cause, aiohttp.ClientConnectorCertificateError):
        problem = Untrusted(
            f"no trusted connection to the API server: {_cause(cause)}",
            mend="renew the certificate, or correct certificate-authority and server in the kubeconfig",
        )
    problem.__cause__ = cause
    return problem


def _is_late(cause: Exception) -> bool:
    """Whether it took the request, or may have, and no answer came in the time that there was."""
    return isinstance(cause, TimeoutError) and not isinstance(cause, aiohttp.ConnectionTimeoutError)


def why(error: Unavailable) -> str:
    """What kept us from the API server, for a person at the start: "Connection refused"; "" if nothing more is known."""
    return _cause(error.__cause__) if error.__cause__ else ""


def _cause(cause: BaseException) -> str:
    found = getattr(cause, "certificate_error", None) or getattr(cause, "os_error", None) or cause
    if isinstance(found, ssl.SSLCertVerificationError):
        return str(found.verify_message)
    if isinstance(found, ssl.SSLError) and found.reason:
        return f"TLS failed: {found.reason.lower().replace('_', ' ')}"
    if isinstance(found, TimeoutError):
        return "no answer in time"
    if isinstance(found, OSError) and found.errno:
        return os.strerror(found.errno) if found.errno > 0 else str(found.strerror)  # below 0: of the resolver
    return type(found).__name__


def _parsed(raw: bytes) -> Any:
    try:
        return depth.read(raw)
    except orjson.JSONDecodeError:
        return None


def _retry_after(response: aiohttp.ClientResponse) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _event(line: bytes) -> tuple[str, Object]:
    event = depth.read(line)
    if event["type"] == "ERROR":
        raise error_of(event["object"].get("code") or 500, event["object"])
    return event["type"], event["object"]


def _verb_and_resource(method: str, url: URL, content_type: str) -> tuple[str, str]:
    """As Kubernetes names them in its metrics; never an object's name.

    >>> _verb_and_resource("GET", URL("https://a/apis/apps/v1/namespaces/x/deployments/y/status"), JSON)
    ('get', 'deployments.apps/status')
    >>> _verb_and_resource("GET", URL("https://a/api/v1/secrets?watch=true"), JSON)
    ('watch', 'secrets')
    """
    parts = url.raw_path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1] if len(parts) > 1 else "", parts[3:])
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        rest = rest[2:]
    if not rest:
        return method.lower(), "discovery"
    resource = f"{rest[0]}.{group}" if group else rest[0]
    if len(rest) > 2:
        resource = f"{resource}/{rest[2]}"
    if method == "GET":
        return "watch" if "watch" in url.query else "get" if len(rest) > 1 else "list", resource
    if method == "PATCH":
        return "apply" if content_type == APPLY_PATCH else "patch", resource
    return {"POST": "create", "PUT": "update"}.get(method, method.lower()), resource
