"""`ports.Targets`: this cluster as Objects act in it, and those that kubeconfigs lead to."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Literal

from groundplane.cluster import credentials
from groundplane.cluster.cache import Cache
from groundplane.cluster.client import REQUEST_TIMEOUT, Api
from groundplane.cluster.credentials import Access
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.objects import Json, Key, Object, key_of
from groundplane.core.outage import Outage
from groundplane.errors import GroundplaneError, InvalidInput, NoSuchKind, Unavailable
from groundplane.ports import Cluster, Propagation, Resource
from groundplane.runtime import logs

KEPT = 256  # clusters that one goes on being connected to; of more, the longest unused are left
LONGEST = 2 * 2**20  # bytes of an answer of another cluster: it is somebody's who may wish us ill
READ = 10.0  # seconds for another cluster's answer to a GET: of many that never answer each takes that long
PAGES = 20  # of a list of another cluster: whoever wishes us ill says of each that there is a further one
_ODD = (
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)  # what an answer causes that is none of an API server

log = logs.get_logger(__name__)


class ClusterTargets:
    """On an API server, and on a file."""

    def __init__(
        self,
        here: Cluster,
        acting: Callable[[], Api] | None = None,
        *,
        may_write: Callable[[], None] = lambda: None,
        write_timeout: float = REQUEST_TIMEOUT,
        identity: str = "",
        warns: bool = False,
        aws_token: Callable[[Access], str] | None = None,
    ) -> None:
        """`here` is this cluster as the operator acts in it; `acting` gives the way into it for Objects: None: the same, which is told if it `warns`.

        What `may_write` let pass to another cluster has ended there within `write_timeout` seconds; `identity` is in that cluster's audit log.
        `aws_token` gives what logs in to a cluster of EKS as who we are in AWS, and may block; None: what AWS's tools would take.
        """
        self._warns, self._aws_token = warns, aws_token or _aws_token()
        self._cluster, self._acting = here, acting
        self._may_write, self._write_timeout, self._identity = may_write, write_timeout, identity
        self._api: Api | None = None
        self._here: Cluster | None = None
        self._refused: OrderedDict[str, tuple[str, str, str]] = OrderedDict()  # versions, and what is wrong with them
        self._there: OrderedDict[str, tuple[str, Api, Cluster]] = OrderedDict()  # by the ProviderConfig's UID

    async def here(self) -> Cluster:
        if self._here is None:
            if self._acting is None:
                if self._warns:
                    mend = "name a ServiceAccount that may do less with --objects-identity"
                    log.warning("Objects act with the operator's own rights", mend=mend)
                self._here = self._cluster
            else:
                self._api = self._acting()
                self._here = KubernetesCluster(self._api, Cache())
        return self._here

    async def there(self, config: str, version: str, kubeconfig: bytes, *, by_aws: bool = False) -> Cluster:
        known = self._there.get(config)
        if known and known[0] == version:
            self._there.move_to_end(config)
            return known[2]
        refused = self._refused.get(config)
        if refused and refused[0] == version:
            raise InvalidInput(refused[1], mend=refused[2])
        try:
            access = _parsed(kubeconfig, by_aws=by_aws)
        except InvalidInput as error:
            self._refused[config] = version, error.what, error.mend
            while len(self._refused) > KEPT:
                self._refused.popitem(last=False)
            raise
        self._refused.pop(config, None)
        outage, writes = Outage(time.monotonic), Outage(time.monotonic)

        def login() -> Access:
            return replace(access, authorization=f"Bearer {self._aws_token(access)}")

        if by_aws:
            access = await asyncio.to_thread(login)
            known = self._there.get(config)
            if known and known[0] == version:  # others came, too, while credentials were looked for
                return known[2]
        api = Api(
            access,
            reload=login if by_aws else None,  # after a 401: a token of EKS is taken for a quarter of an hour
            may_write=self._may_write,
            write_timeout=self._write_timeout,
            identity=self._identity,
            longest=LONGEST,
            grant=_grant,
            outage=outage,
            write_outage=writes,
            read_timeout=READ,
        )
        made = ForeignCluster(api, outage)
        self._there[config] = version, api, made
        self._there.move_to_end(config)
        if known:
            await known[1].close()
        while len(self._there) > KEPT:
            _, (_, unused, _) = self._there.popitem(last=False)
            await unused.close()
        return made

    def check(self, kubeconfig: bytes, *, by_aws: bool = False) -> None:
        credentials.ssl_context(_parsed(kubeconfig, by_aws=by_aws))

    async def close(self) -> None:
        """Close all connections."""
        open_, self._there = [api for _, api, _ in self._there.values()], OrderedDict()
        for api in [*open_, *([self._api] if self._api else [])]:
            await api.close()


class _UnknownPath(NoSuchKind):
    """404, and no word of an object: the kind has gone, or what answers is no API server."""


class ForeignCluster(KubernetesCluster):
    """An API server that nobody vouches for: what it answers amiss is its own fault, and its kinds are no news of ours."""

    most_pages = PAGES

    def __init__(self, api: Api, outage: Outage) -> None:
        super().__init__(api, Cache())
        self._outage = outage

    async def resource(self, api_version: str, kind: str) -> Resource:
        self._outage.check()  # or it waits for those who ask already
        with _wary():
            return await super().resource(api_version, kind)

    async def _discover(self, api_version: str) -> dict[str, Resource]:
        """A tunnel or load balancer before a dead cluster answers 404 as well: that a kind is not there, the list of all groups must say."""
        found = await super()._discover(api_version)
        if not found:
            _, listed = await self._api.request("GET", "/apis")
            if not isinstance(listed, dict) or listed.get("kind") != "APIGroupList":
                raise ValueError("no API server")
            versions = {each["groupVersion"] for group in listed["groups"] for each in group["versions"]}
            if api_version in versions or "/" not in api_version:
                raise ValueError("kinds are kept back")
        return found

    def _check_served(self, resource: Resource, said: Any) -> None:
        try:
            super()._check_served(resource, said)
        except NoSuchKind as error:
            raise _UnknownPath(error.what, mend=error.mend) from error

    @asynccontextmanager
    async def _looking(self, api_version: str, kind: str) -> AsyncIterator[None]:
        """Look at something of a kind inside: that its path is not known is told once discovery says so, too."""
        with _wary():
            try:
                yield
            except _UnknownPath as error:
                await self.resource(api_version, kind)
                raise ValueError("what is served is not found") from error

    async def get(self, key: Key, *, live: bool = False) -> Object | None:
        async with self._looking(key.api_version, key.kind):
            found = await super().get(key, live=live)
            return None if found is None else _sane(found, key)

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        controller: str = "",
    ) -> list[Object]:
        async with self._looking(api_version, kind):
            found = await super().list(api_version, kind, namespace=namespace, labels=labels, controller=controller)
            return [_sane(obj) for obj in found]

    async def apply(
        self, obj: Object, *, manager: str, subresource: Literal["", "status"] = "", dry_run: bool = False
    ) -> Object:
        with _wary():
            found = await super().apply(obj, manager=manager, subresource=subresource, dry_run=dry_run)
            return _sane(found, key_of(obj))

    async def patch(
        self,
        key: Key,
        patch: Sequence[Mapping[str, Json]] | Mapping[str, Json],
        *,
        subresource: Literal["", "status"] = "",
    ) -> Object:
        with _wary():
            return _sane(await super().patch(key, patch, subresource=subresource), key)

    async def delete(self, key: Key, *, uid: str = "", propagation: Propagation | None = None) -> bool:
        with _wary():
            return await super().delete(key, uid=uid, propagation=propagation)


def _parsed(kubeconfig: bytes, *, by_aws: bool) -> Access:
    access = credentials.parse(kubeconfig, logs_in=not by_aws)
    if by_aws and not access.cluster:
        raise InvalidInput(
            "the kubeconfig's context names no cluster", mend="write the name or ARN of the EKS cluster as cluster"
        )
    return access


def _aws_token() -> Callable[[Access], str]:
    """AWS is loaded when it is first needed."""
    sessions: list[Any] = []

    def token(access: Access) -> str:
        from groundplane.aws import eks
        from groundplane.aws.session import Sessions

        if not sessions:
            sessions.append(Sessions())
        return eks.token(sessions[0], access.cluster, access.server)

    return token


def _grant(group: str, resource: str) -> str:
    return f"let whom the kubeconfig logs in as work with {resource}{f'.{group}' if group else ''} in that cluster"


@contextmanager
def _wary() -> Iterator[None]:
    try:
        yield
    except (GroundplaneError, *_ODD) as error:
        # In the frames is what the server has sent: that would stay until garbage is collected.
        traceback.clear_frames(error.__traceback__)
        if isinstance(error, NoSuchKind):
            error.on = ()
        if isinstance(error, GroundplaneError):
            raise
        raise Unavailable(
            "what the other cluster answers is not what an API server does", mend="correct the server in its kubeconfig"
        ) from error


def _sane(obj: Object, key: Key | None = None) -> Object:
    """The object, if it is shaped like one, and is the one that was asked for.  Raises ValueError."""
    metadata = obj["metadata"]
    entries = metadata.get("managedFields") or []
    is_sane = (
        all(isinstance(metadata[name], str) and metadata[name] for name in ("name", "uid", "resourceVersion"))
        and all(isinstance(metadata.get(name) or {}, dict) for name in ("labels", "annotations"))
        and isinstance(entries, list)
        and all(isinstance(entry, dict) for entry in entries)
        and isinstance(obj.get("status") or {}, dict)
        and (key is None or key_of(obj) == key)
    )
    if not is_sane:
        raise ValueError("no object of Kubernetes")
    return obj
