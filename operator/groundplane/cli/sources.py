"""Where a command that only looks finds its objects: the store of `groundplane up`, or an API server.

Both answer the same four questions: which kinds there are, one object, all of a kind, and their names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from groundplane.cli import completing, store
from groundplane.cli.kubeconfig import namespace_of, paths
from groundplane.cli.store import Served
from groundplane.cluster.kinds import no_such_kind
from groundplane.core.objects import Key, Object, group_of, key_of, meta
from groundplane.errors import InvalidInput

if TYPE_CHECKING:
    from groundplane.cluster.client import Api
    from groundplane.cluster.sqlite import SqliteCluster
    from groundplane.ports import Cluster

F = TypeVar("F", bound=Callable[..., Any])

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
JSON = "application/json"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
PAGE = "500"  # objects of an answer


class Source(Protocol):
    """Objects that somebody else keeps."""

    namespace: str  # where to look if nobody says where
    kinds: Sequence[Served]  # each in the version that is preferred
    has_others: bool  # whether another process may be at work on it beside a control plane of ours

    @property
    def cluster(self) -> Cluster:
        """It as a Kubernetes API."""
        ...

    async def get(self, key: Key) -> Object | None:
        """The object, if it is there.  Raises NoSuchKind, Denied."""
        ...

    async def list(
        self, api_version: str, kind: str, *, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """All objects of a kind with these labels.  Raises NoSuchKind, Denied."""
        ...

    async def names(self, kind: Served, namespace: str = "") -> Sequence[tuple[str, str]]:
        """Namespace and name of all of a kind.  Raises Denied."""
        ...


def options(command: F) -> F:
    """The flags that say which source is meant."""
    db = click.option("--db", default="", type=click.Path(dir_okay=False), help="Look at the store in this file.")
    return _cluster(db(command), "Look at the cluster of this kubeconfig.", "The kubeconfig's context.", "-c")


def as_run(what: str = "") -> Callable[[F], F]:
    """The flags of a command that connects as `groundplane run` does; `what` is looked for there."""
    said = "As of `groundplane run`."
    return lambda command: _cluster(command, f"{what}; as of `groundplane run`." if what else said, said)


def _cluster(command: F, kubeconfig: str, context: str, *short: str) -> F:
    """The flags that name a cluster, with these helps."""
    command = click.option(
        *short,
        "--context",
        shell_complete=completing.contexts,
        default="",
        envvar="GROUNDPLANE_CONTEXT",
        help=context,
    )(command)
    return click.option(
        "--kubeconfig",
        shell_complete=completing.files,
        default="",
        envvar="GROUNDPLANE_KUBECONFIG",
        help=kubeconfig,
    )(command)


@asynccontextmanager
async def opened(db: str, kubeconfig: str, context: str) -> AsyncIterator[Source]:
    """The source that is meant: a store, if one is named or lies in the current folder and no cluster is named.

    Raises:
        InvalidInput: there is none.
    """
    if file := store_file(db, kubeconfig, context):
        with store.opened(file) as cluster:
            yield Stored(cluster, await store.served(cluster))
        return
    api = connected(kubeconfig, context)
    try:
        found = Server(api, namespace_of(kubeconfig, context))
        await found.discover()
        yield found
    finally:
        await api.close()


def connected(kubeconfig: str, context: str) -> Api:
    """The API server that is meant, where a store could have been.

    Raises:
        InvalidInput: there is none, or its kubeconfig is incomplete.
    """
    from groundplane.cluster.client import Api
    from groundplane.cluster.credentials import NoKubeconfig

    try:
        return Api.connect(kubeconfig or None, context or None)
    except NoKubeconfig as error:
        if not (kubeconfig or context):
            error.mend = f"name a store of `groundplane up` with --db (there is no ./{store.DEFAULT}), or a cluster: {error.mend}"
        raise


def store_file(db: str, kubeconfig: str, context: str) -> str:
    """The store that is meant; "" if a cluster is.  Says which, if both could be."""
    if db or kubeconfig or context or not Path(store.DEFAULT).exists():
        return db
    if any(path.exists() for path in paths("")):
        click.echo(f"Looking at the store {store.DEFAULT}; name a cluster with --context or --kubeconfig.", err=True)
    return store.DEFAULT


class Stored:
    """`Source` of the store in a file."""

    namespace = "default"
    has_others = False

    def __init__(self, cluster: SqliteCluster, kinds: Sequence[Served]) -> None:
        self.cluster = cluster
        self.kinds = kinds

    async def get(self, key: Key) -> Object | None:
        return await self.cluster.get(key)

    async def list(
        self, api_version: str, kind: str, *, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        return list(await self.cluster.list(api_version, kind, namespace=namespace, labels=labels))

    async def names(self, kind: Served, namespace: str = "") -> Sequence[tuple[str, str]]:
        return [
            _place(obj)
            for obj in await self.list(kind.api_version, kind.kind, namespace=namespace if kind.namespaced else "")
        ]


class Server:
    """`Source` of an API server: what it serves is asked once."""

    has_others = True

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        self.kinds: Sequence[Served] = ()
        self._known: dict[tuple[str, str], Served] = {}

    @property
    def cluster(self) -> Cluster:
        from groundplane.cluster.cache import Cache
        from groundplane.cluster.kubernetes import KubernetesCluster

        return KubernetesCluster(self._api, Cache())

    async def discover(self) -> None:
        """Raises Unavailable, Denied, InvalidInput."""
        answers = await asyncio.gather(
            *(self._api.request("GET", path, accept=DISCOVERY) for path in ("/api", "/apis"))
        )
        try:
            for _, found in answers:
                for group in (found or {}).get("items") or ():
                    self._learn(group)
        except (AttributeError, KeyError, TypeError) as error:
            what = "what is there answers otherwise than an API server does"
            raise InvalidInput(what, mend="correct the server in the kubeconfig") from error
        if not self._known:
            raise InvalidInput("this API server is older than Kubernetes 1.30", mend="use kubectl")

    def _learn(self, group: Mapping[str, Any]) -> None:
        name = str((group.get("metadata") or {}).get("name") or "")
        seen: set[str] = set()
        for version in group.get("versions") or ():
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for each in version.get("resources") or ():
                kind = (each.get("responseKind") or {}).get("kind", "")
                served = Served(
                    api_version,
                    kind,
                    each["resource"],
                    each.get("singularResource") or kind.lower(),
                    each.get("scope") == "Namespaced",
                    tuple(each.get("shortNames") or ()),
                    tuple(each.get("categories") or ()),
                )
                self._known[api_version, kind] = served
                # the first version is the preferred one; what can't be listed (reviews, bindings) is no object that is kept
                if kind not in seen and "list" in (each.get("verbs") or ()):
                    seen.add(kind)
                    self.kinds = [*self.kinds, served]

    def _path(self, api_version: str, kind: str, namespace: str) -> str:
        served = self._known.get((api_version, kind))
        if served is None:
            others = {each for each, name in self._known if name == kind and group_of(each) == group_of(api_version)}
            known = ((group_of(each), name) for each, name in self._known)
            raise no_such_kind(api_version, kind, others, known=known, keeps_all=True)
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        place = f"/namespaces/{namespace}" if served.namespaced and namespace else ""
        return f"{root}{place}/{served.plural}"

    async def get(self, key: Key) -> Object | None:
        status, found = await self._api.request(
            "GET", f"{self._path(key.api_version, key.kind, key.namespace)}/{key.name}"
        )
        return None if status == 404 or not isinstance(found, dict) else found

    async def tried(self, obj: Object, *, is_new: bool) -> Object | None:
        """What the API server would store, which it does not (dryRun); None if there is no such place.  Raises Rejected, Denied, NoSuchKind."""
        key = key_of(obj)
        path = self._path(key.api_version, key.kind, key.namespace)
        method, path = ("POST", path) if is_new else ("PUT", f"{path}/{key.name}")
        query = {"dryRun": "All", "fieldManager": "groundplane-diff"}
        status, found = await self._api.request(method, path, query=query, body=obj)
        return None if status == 404 or not isinstance(found, dict) else found

    async def list(
        self, api_version: str, kind: str, *, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        query = (
            {"labelSelector": ",".join(f"{name}={value}" for name, value in sorted(labels.items()))} if labels else {}
        )
        path = self._path(api_version, kind, namespace)
        return [{"apiVersion": api_version, "kind": kind} | item async for item in self._items(path, query)]

    async def names(self, kind: Served, namespace: str = "") -> Sequence[tuple[str, str]]:
        path = self._path(kind.api_version, kind.kind, namespace if kind.namespaced else "")
        return [_place(item) async for item in self._items(path, {}, METADATA)]

    async def _items(self, path: str, query: Mapping[str, str], accept: str = JSON) -> AsyncIterator[Object]:
        rest = ""
        while True:
            page_query = {"limit": PAGE, **query, **({"continue": rest} if rest else {})}
            _, page = await self._api.request("GET", path, query=page_query, accept=accept)
            for item in (page or {}).get("items") or ():
                yield item
            rest = ((page or {}).get("metadata") or {}).get("continue") or ""
            if not rest:
                return


def _place(obj: Object) -> tuple[str, str]:
    return str(meta(obj).get("namespace") or ""), meta(obj)["name"]
