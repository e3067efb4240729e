"""The Cluster port on a Kubernetes API server: paths, verbs, the cache in front, and no write that changes nothing.

Followed kinds are read from the cache, and each answer to a write goes into it, so a reconcile never sees less than an
earlier one wrote.  What a status code means on its own is `client`'s business; what it means for a verb is said here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import orjson

from groundplane.cluster import apply as rules
from groundplane.cluster import depth, own_writes
from groundplane.cluster.cache import Cache
from groundplane.cluster.client import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, Api, error_of
from groundplane.cluster.ownership import same
from groundplane.cluster.referenced import Referenced
from groundplane.core import known_schemas, providers, roles, usages
from groundplane.core.objects import (
    Json,
    Key,
    Object,
    controller_of,
    group_of,
    is_deleting,
    key_of,
    merge_patched,
    meta,
    spec_of,
)
from groundplane.errors import (
    Awaited,
    Conflict,
    Denied,
    InUse,
    NoSuchKind,
    Rejected,
    Unavailable,
    shown,
)
from groundplane.ports import MANAGER, Propagation, Resource

PAGE = "500"  # objects of one answer to a list
REWRITTEN = 20_000  # applies remembered whose outcome the server changed
SERVERS_OWN = ("resourceVersion", "generation", "managedFields")  # metadata that says nothing of what is wanted
BLOCKING = "blockOwnerDeletion"  # of an owner reference: to set it needs a right to the owner, where the API server asks for that

NULLED = 'must be of type object: "null"'  # said of a map that an apply leaves with nothing in it
SECRET = ("v1", "Secret")

_is_api_version = re.compile(r"(?:[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?/)?[a-z0-9](?:[-a-z0-9]*[a-z0-9])?").fullmatch

Subresource = Literal["", "status"]


class KubernetesCluster:
    """`ports.Cluster` on a real API server.  Belongs to the event loop of its `Api`."""

    most_pages: int | None = None  # of one list that are read; None: all that there are

    def __init__(self, api: Api, cache: Cache, secret_namespaces: Collection[str] = ()) -> None:
        """`secret_namespaces`: the only ones whose Secrets may be looked at; none: all of them may."""
        self._api = api
        self._cache = cache
        self._secret_namespaces = tuple(secret_namespaces)
        self.metadata = Cache()  # what a watch tells of objects whose contents nobody follows
        self._referenced = Referenced()
        self._served: dict[str, dict[str, Resource]] = {}  # by api version and kind
        self._discovering = asyncio.Lock()
        self._rewritten: dict[tuple[Key, str, str], tuple[int, int]] = {}

    # --- kinds ----------------------------------------------------------------------------------------

    async def resource(self, api_version: str, kind: str) -> Resource:
        """How the kind is served, as discovery last said.  Raises NoSuchKind."""
        if found := self._served.get(api_version, {}).get(kind):
            return found
        if not _is_api_version(api_version):  # it may be a tenant's, and becomes part of a path
            raise _no_such_kind(api_version, kind)
        async with self._discovering:
            if kind not in self._served.get(api_version, {}):
                self._served[api_version] = await self._discover(api_version)
        if found := self._served[api_version].get(kind):
            return found
        known = [(group_of(api_version), each) for each in self._served.pop(api_version)]
        raise _no_such_kind(api_version, kind, known or await self._nearly(api_version))

    def forget(self, group: str) -> None:
        """Ask discovery anew for all of a group: one of its CustomResourceDefinitions has changed."""
        for api_version in [each for each in self._served if group_of(each) == group]:
            del self._served[api_version]

    async def _discover(self, api_version: str) -> dict[str, Resource]:
        status, found = await self._api.request("GET", _root(api_version))
        if status == 404 or found is None:
            return {}
        names = {item["name"] for item in found["resources"]}
        return {
            item["kind"]: Resource(
                api_version, item["kind"], item["name"], item["namespaced"], f"{item['name']}/status" in names
            )
            for item in found["resources"]
            if "/" not in item["name"]
        }

    async def _nearly(self, api_version: str) -> list[tuple[str, str]]:
        """Group and kinds of the API group that one is most like which is not served."""
        _, found = await self._api.request("GET", "/apis")
        groups = {each["name"]: each["preferredVersion"]["groupVersion"] for each in (found or {}).get("groups") or ()}
        near = known_schemas.group_meant(group_of(api_version), groups)
        return [(near, each) for each in await self._discover(groups[near])] if near else []

    # --- reads ----------------------------------------------------------------------------------------

    async def get(self, key: Key, *, live: bool = False) -> Object | None:
        if not live and ((known := self._cache.get(key)) or self._cache.synced(key.api_version, key.kind)):
            # Of a kind that is only partly followed, what is found is certain, what is not may be there.
            return known and depth.checked(known)
        resource = await self.resource(key.api_version, key.kind)
        if resource.namespaced != bool(key.namespace) or not _is_nameable(key):
            return None  # nothing can be there
        self._check_allowed(key)
        status, found = await self._api.request("GET", _path(resource, key))
        if status == 404:
            self._check_served(resource, found)
            return None
        obj = _object(found)
        self._cache_answer(obj, ours=False)
        return depth.checked(depth.packed(obj)[0])

    async def referenced(self, key: Key) -> Object | None:
        if known := self._cache.get(key):
            return known
        version = self.metadata.version(key)
        if version and (kept := self._referenced.get(key, version)):
            return kept
        if not version and self._is_told_of(key) and self._referenced.is_absent(key):
            return None
        found = await self.get(key, live=True)
        if found and self.metadata.version(key):  # else nobody would tell of a change
            self._referenced.put(found)
        elif found is None and self._is_told_of(key):
            self._referenced.put_absent(key)
        return found

    def _is_told_of(self, key: Key) -> bool:
        """Whether watches would tell if there were such an object: that of what is kept whole, and that of all others' metadata."""
        return all(each.hears(key) for each in (self._cache, self.metadata))

    def changed(self, key: Key) -> None:
        """A watch tells of a change of an object of which it tells no more."""
        self._referenced.forget(key)

    async def count(self, api_version: str, kind: str, label: tuple[str, str]) -> int:
        if self._cache.synced(api_version, kind):
            return self._cache.labelled(api_version, kind, label)
        return len(await self.list(api_version, kind, labels=dict([label])))

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        controller: str = "",
    ) -> list[Object]:
        if self._cache.knows_all(api_version, kind, labels or {}):
            return self._cache.list(api_version, kind, namespace=namespace, labels=labels, controller=controller)
        resource = await self.resource(api_version, kind)
        query = {"limit": PAGE}
        if labels:
            query["labelSelector"] = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        places = [namespace if resource.namespaced else ""]
        if (api_version, kind) == SECRET and self._secret_namespaces:
            self._check_allowed(Key(api_version, kind, namespace, ""))
            places = [namespace] if namespace else [*self._secret_namespaces]
        objects: list[Object] = []
        for place in places:
            objects += await self._pages(resource, place, query)
        if controller:
            objects = [obj for obj in objects if (controller_of(obj) or {}).get("uid") == controller]
        return sorted(objects, key=lambda obj: (meta(obj).get("namespace") or "", meta(obj)["name"]))

    async def _pages(self, resource: Resource, namespace: str, query: Mapping[str, str]) -> Sequence[Object]:
        path, query = _collection(resource, namespace), dict(query)
        objects, pages = [], 0
        while True:
            if pages == self.most_pages:
                raise Rejected(f"there are more than {pages * int(PAGE)} {resource.plural}", mend="select fewer")
            pages += 1
            status, page = await self._api.request("GET", path, query=query)
            if status == 404:
                self._check_served(resource, page)
            for item in _object(page).get("items") or ():  # built-in kinds do not say what they are
                objects.append({"apiVersion": resource.api_version, "kind": resource.kind} | item)
            if not (rest := page["metadata"].get("continue")):
                return objects
            query["continue"] = rest

    async def heads(
        self, api_version: str, kind: str, cut: Callable[[Object], Object], *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        if self._cache.synced(api_version, kind):
            return self._cache.heads(api_version, kind, cut, labels=labels)
        return [cut(obj) for obj in await self.list(api_version, kind, labels=labels)]

    async def dependents(self, group: str, kind: str) -> Sequence[Object]:
        return self._cache.dependents(group, kind)

    async def usages_of(self, used: usages.Referent) -> Sequence[Key]:
        found = list(self._cache.speaking_of("of", used))
        for api_version, kind in usages.KINDS:
            if self._cache.synced(api_version, kind):
                continue
            try:
                listed = await self.list(api_version, kind)
            except NoSuchKind:
                continue
            found = [key for key in found if key[:2] != (api_version, kind)]
            found += [key_of(usage) for usage in listed if usages.is_of(usage, used)]
        return found

    # --- writes ----------------------------------------------------------------------------------------

    async def create(self, obj: Object) -> Object:
        resource, key = await self._writable(obj)
        _check_place(resource, key)
        path = _collection(resource, key.namespace)
        return await self._write(key, "POST", path, resource, obj, query={"fieldManager": MANAGER})

    async def update(self, obj: Object, *, subresource: Subresource = "") -> Object:
        resource, key = await self._writable(obj)
        if known := self._cache.get(key) or await self._unfollowed(key):
            wanted = _relevant(obj, resource, subresource)
            if same(_relevant(known, resource, subresource), wanted):
                return known
        # Without managedFields the server keeps its own; ours may be trimmed, and it would believe them.
        metadata = {name: value for name, value in meta(obj).items() if name != "managedFields"}
        path, body = _path(resource, key, subresource), {**obj, "metadata": metadata}
        read = (
            known
            if subresource and known and meta(known)["resourceVersion"] == metadata.get("resourceVersion")
            else None
        )
        return await self._write(key, "PUT", path, resource, body, query={"fieldManager": MANAGER}, read=read)

    async def apply(self, obj: Object, *, manager: str, subresource: Subresource = "", dry_run: bool = False) -> Object:
        resource, key = await self._writable(obj)
        path = _path(resource, key, subresource)
        desired = rules.taken_by(rules.without_nulls(obj), subresource, has_status=resource.has_status)
        desired["metadata"].pop("managedFields", None)
        query = {"fieldManager": manager, "force": "true"}
        if dry_run:
            query["dryRun"] = "All"
            return await self._send("PATCH", path, resource, desired, query=query, content_type=APPLY_PATCH)
        known = self._known(key)
        memo = (key, manager, subresource)
        said = {name: value for name, value in meta(desired).items() if name != "resourceVersion"}
        said = {**desired, "metadata": said}
        wanted = 0
        if known is not None:
            if rules.unchanged(known, desired, manager, subresource):
                return known
            wanted = _digest(said)
            if self._rewritten.get(memo) == (wanted, _digest(_outcome(known, manager, resource, subresource))):
                return known
        try:
            result = await self._write(key, "PATCH", path, resource, desired, query=query, content_type=APPLY_PATCH)
        except Rejected as error:
            version = await self._emptied(resource, desired, manager, subresource) if NULLED in error.what else ""
            if not version:
                raise
            if "resourceVersion" in meta(desired):
                desired["metadata"]["resourceVersion"] = version
            result = await self._write(key, "PATCH", path, resource, desired, query=query, content_type=APPLY_PATCH)
        self._rewritten.pop(memo, None)
        if self._cache.keeps(result) and not rules.unchanged(result, desired, manager, subresource):
            # The server pruned or rewrote a field: asking again would change nothing.
            outcome = _digest(_outcome(result, manager, resource, subresource))
            self._rewritten[memo] = (wanted or _digest(said), outcome)
            if len(self._rewritten) > REWRITTEN:
                del self._rewritten[next(iter(self._rewritten))]
        return result

    async def _emptied(self, resource: Resource, desired: Object, manager: str, subresource: Subresource) -> str:
        """Take away what is left in maps that are about to be applied empty; the object's version then, "" if that is nothing."""
        key = key_of(desired)
        live = await self.get(key, live=True)
        patch = rules.emptying(live, desired, manager, subresource) if live else {}
        expected = meta(desired).get("resourceVersion")
        if live is None or not patch or expected not in (None, meta(live)["resourceVersion"]):
            return ""
        patch["metadata"] = {"resourceVersion": meta(live)["resourceVersion"]}
        path, query = _path(resource, key, subresource), {"fieldManager": manager}
        made = await self._write(key, "PATCH", path, resource, patch, query=query, content_type=MERGE_PATCH)
        return str(meta(made)["resourceVersion"])

    async def patch(
        self,
        key: Key,
        patch: Sequence[Mapping[str, Json]] | Mapping[str, Json],
        *,
        subresource: Subresource = "",
    ) -> Object:
        self._check_allowed(key)
        resource = await self.resource(key.api_version, key.kind)
        path, query = _path(resource, key, subresource), {"fieldManager": MANAGER}
        if isinstance(patch, Mapping):
            if not subresource and (whole := self._made_of(key, resource, patch)):
                return await self._write(key, "PUT", path, resource, whole, query=query)
            return await self._write(key, "PATCH", path, resource, patch, query=query, content_type=MERGE_PATCH)
        tested = any(operation.get("op") == "test" for operation in patch)
        try:
            return await self._write(
                key,
                "PATCH",
                path,
                resource,
                list(patch),
                query=query,
                content_type=JSON_PATCH,
                idempotent=tested,  # an untested one might add the same item twice
            )
        except Rejected as error:
            if "rejected our request due to an error in our request" not in error.what:
                raise
            # All that the server says of a patch that does not fit the object as it is now.
            if tested:
                raise Conflict(f"{key} is not as the patch expects it") from error
            raise Rejected(f"the JSON patch does not fit {key}") from error

    def _made_of(self, key: Key, resource: Resource, patch: Mapping[str, Json]) -> Object | None:
        """What a merge patch makes of a managed resource, if that is known here as the patch expects it.

        To write that is the same, conflicts included, and costs the API server two thirds: it reads, merges and checks nothing twice.
        """
        metadata, known = patch.get("metadata"), self._cache.get(key)
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if not version or known is None or meta(known)["resourceVersion"] != version or depth.is_stub(known):
            return None
        if not providers.is_managed(f"{resource.plural}.{key.group}"):
            return None  # there may be a right to patch it, and none to update it
        made: Object = merge_patched(known, patch)
        made["metadata"].pop("managedFields", None)  # it is another one than the cache's, which may be trimmed
        return made

    async def delete(self, key: Key, *, uid: str = "", propagation: Propagation | None = None) -> bool:
        self._check_allowed(key)
        resource = await self.resource(key.api_version, key.kind)
        if not _is_nameable(key):
            return False
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if propagation:
            options["propagationPolicy"] = propagation
        try:
            status, said = await self._api.request("DELETE", _path(resource, key), body=options)
        except (Conflict, Denied) as refused:
            if usages.DENIED not in refused.what:
                raise
            on = [Awaited(key.group, key.kind, key.namespace, key.name)]
            raise InUse(refused.what, mend=usages.MEND, on=on) from refused
        if status == 404:
            self._check_served(resource, said)
            return False
        if _object(said).get("kind") == "Status":  # gone at once
            self._cache.remove(key, uid=(said.get("details") or {}).get("uid") or uid)
        else:
            self._cache_answer(said, ours=True)
        return True

    # --- inside ---------------------------------------------------------------------------------------------

    async def _writable(self, obj: Object) -> tuple[Resource, Key]:
        key = key_of(obj)
        self._check_allowed(key)
        return await self.resource(key.api_version, key.kind), key

    def _check_allowed(self, key: Key) -> None:
        """Raise Denied for a Secret in a namespace whose Secrets are none of ours: no request is made, and the mend is known."""
        if key[:2] != SECRET or not self._secret_namespaces or key.namespace in ("", *self._secret_namespaces):
            return
        raise Denied(
            f"the operator may not work with Secrets in namespace {key.namespace}",
            mend=f"add {key.namespace} to rbac.secretNamespaces of the chart; without the chart, to --secret-namespaces, and {roles.grant_in(key.namespace, '', 'secrets')}",
        )

    async def _unfollowed(self, key: Key) -> Object | None:
        """An object of a kind that is not in the cache (yet): one read more, so that nothing is written for nothing."""
        return None if self._cache.synced(key.api_version, key.kind) else await self.get(key, live=True)

    def _known(self, key: Key) -> Object | None:
        return self._cache.certain(key)

    async def _write(
        self,
        key: Key,
        method: str,
        path: str,
        resource: Resource,
        body: Any,
        *,
        query: Mapping[str, str],
        content_type: str = JSON,
        idempotent: bool | None = None,
        read: Object | None = None,
    ) -> Object:
        """`read`: what the object was like when all but its status was left as it is."""
        with self._cache.writing(key) as answers:
            obj = await self._send(
                method, path, resource, body, query=query, content_type=content_type, idempotent=idempotent
            )
            is_news = read is not None and not same(spec_of(read), spec_of(obj))
            if not is_news:
                self._cache_answer(obj, ours=True)
            answers.append(obj)
        if is_news:  # a watch from before its kind gained a field has told of it without that field
            with own_writes.running():
                self._cache_answer(obj, ours=False)
        return obj

    async def _send(
        self,
        method: str,
        path: str,
        resource: Resource,
        body: Any,
        *,
        query: Mapping[str, str],
        content_type: str = JSON,
        idempotent: bool | None = None,
    ) -> Object:
        try:
            status, said = await self._api.request(
                method, path, query=query, body=body, content_type=content_type, idempotent=idempotent
            )
        except Denied as refused:
            if BLOCKING not in refused.what or not isinstance(body, Mapping):
                raise
            raise await self._lacks_ownership(refused, body) from refused
        if status == 404:
            self._check_served(resource, said)
            raise error_of(status, said)
        return _object(said)

    async def _lacks_ownership(self, refused: Denied, body: Mapping[str, Any]) -> Denied:
        """The API server does not say of which owner it wants us to have the right."""
        for owner in meta(body).get("ownerReferences") or ():
            if owner.get(BLOCKING):
                served = await self.resource(owner["apiVersion"], owner["kind"])
                name = f"{served.plural}/finalizers"
                what = f"{refused.what.partition(': , <nil>')[0]}: {name}.{group_of(served.api_version)}"
                return Denied(what, mend=roles.grant(group_of(served.api_version), name))
        return refused

    def _check_served(self, resource: Resource, said: Any) -> None:
        """A 404 that names an object speaks of that object; any other says that nobody knows the path."""
        if isinstance(said, dict) and (said.get("details") or {}).get("name"):
            return
        self._served.pop(resource.api_version, None)
        raise _no_such_kind(resource.api_version, resource.kind)

    def _cache_answer(self, obj: Object, *, ours: bool) -> None:
        """What the API server has answered is known at once; `ours`: to a write."""
        if ours:
            self._referenced.forget(key_of(obj))
        if not self._cache.keeps(obj):
            return
        if is_deleting(obj) and not meta(obj).get("finalizers") and not meta(obj).get("deletionGracePeriodSeconds"):
            self._cache.remove(
                key_of(obj), uid=meta(obj)["uid"]
            )  # its last finalizer went with this write, so it is gone
        else:
            self._cache.put(obj, ours=ours)


def _no_such_kind(api_version: str, kind: str, known: Iterable[tuple[str, str]] = ()) -> NoSuchKind:
    """`known`: groups and kinds that the API server has."""
    meant = known_schemas.nearly(api_version, kind, known)
    error = NoSuchKind(
        f"the cluster serves no {kind} of {api_version}",
        mend=f"did you mean {meant}?" if meant else "install its CustomResourceDefinition, or mend apiVersion and kind",
    )
    error.on = (Awaited(group_of(api_version), kind, served=True),)
    return error


def _object(said: Any) -> Object:
    if not isinstance(said, dict) or "metadata" not in said:
        raise Unavailable("the API server's answer is not an object")
    return said


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _collection(resource: Resource, namespace: str) -> str:
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{_root(resource.api_version)}{place}/{resource.plural}"


def _check_place(resource: Resource, key: Key) -> None:
    if resource.namespaced and not key.namespace:
        raise Rejected(f"{key} has no namespace", mend=providers.mend_of_no_namespace(key.group, key.kind))
    if key.namespace and not resource.namespaced:
        raise Rejected(f"{key} is cluster-scoped", mend="leave metadata.namespace out")
    if not _is_nameable(key):
        field, value = (
            ("name", key.name) if not _is_nameable(key._replace(namespace="")) else ("namespace", key.namespace)
        )
        raise Rejected(
            f"{key.kind} {shown(key.name)} is invalid: metadata.{field}: Invalid value: {shown(value)}: no object has such a {field}",
            mend="use lower case letters, digits, '-' and '.' alone",
        )


def _path(resource: Resource, key: Key, subresource: str = "") -> str:
    _check_place(resource, key)
    if not key.name:
        raise Rejected(f"{key.kind} has no name", mend="set metadata.name")
    path = f"{_collection(resource, key.namespace)}/{quote(key.name, safe='')}"
    return f"{path}/{subresource}" if subresource else path


def _is_nameable(key: Key) -> bool:
    """Whether an object may be called so: the API server takes what is behind an escaped slash for a subresource, too."""
    return not any(name in (".", "..") or "/" in name or "%" in name for name in (key.namespace, key.name))


def _relevant(obj: Object, resource: Resource, subresource: str) -> Object:
    """What a PUT to the subresource looks at."""
    if subresource:
        return {subresource: obj.get(subresource)}
    taken = rules.taken_by(obj, "", has_status=resource.has_status)
    return {**taken, "metadata": {name: value for name, value in meta(taken).items() if name not in SERVERS_OWN}}


def _outcome(obj: Object, manager: str, resource: Resource, subresource: str) -> Json:
    """What an apply by the manager looks at: the object's part, and what of it the manager owns."""
    owned = [
        entry.get("fieldsV1")
        for entry in meta(obj).get("managedFields") or ()
        if entry.get("manager") == manager and entry.get("subresource", "") == subresource
    ]
    return [_relevant(obj, resource, subresource), owned]


def _digest(value: Json) -> int:
    return hash(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
