"""The managed kind, Object, in both generations, as the reconciler must know it; and the names that others know its work by.

Source: crossplane-contrib/provider-kubernetes 350ef9a, apis/{cluster,namespaced}/object, internal/controller/*/object.
"""

from __future__ import annotations

import hashlib

from groundplane.core.objects import Key, Object, meta
from groundplane.ports import ManagedKind

DOMAIN, NAMESPACED_DOMAIN = "kubernetes.crossplane.io", "kubernetes.m.crossplane.io"
VERSION = "v1alpha1"  # of all kinds
OBJECT, OBJECT_VERSIONS = "Object", {DOMAIN: ("v1alpha2", VERSION), NAMESPACED_DOMAIN: (VERSION,)}
MANAGER = "provider-kubernetes/"  # and the Object's name, as upstream's; in a namespace that, too: one name in two is two owners
LONGEST_MANAGER = 128  # characters that the API server takes
FINALIZER = "kubernetes.crossplane.io/referred-by-object-"  # and the Object's UID: on what an Object refers to
STANDS_FOR = "groundplane.io/stands-for"  # annotation: what it was about to make


def _kind(domain: str) -> ManagedKind:
    return ManagedKind(
        api_versions=tuple(f"{domain}/{version}" for version in OBJECT_VERSIONS[domain]),
        kind=OBJECT,
        plural="objects",
        external_name="name",
        regional=False,
        repeatable=True,
        namespaced=domain == NAMESPACED_DOMAIN,
        cloud="Kubernetes",
        consistent=True,
        refers=True,
        tells_maker=True,
    )


_KINDS = (_kind(DOMAIN), _kind(NAMESPACED_DOMAIN))
KINDS = {(version, kind.kind): kind for kind in _KINDS for version in kind.api_versions}


def every() -> tuple[ManagedKind, ...]:
    return _KINDS


def manager(managed: Object) -> str:
    """The field manager of what an Object applies.

    >>> manager({"metadata": {"name": "quota"}}), manager({"metadata": {"name": "quota", "namespace": "shop"}})
    ('provider-kubernetes/quota', 'provider-kubernetes/shop/quota')
    >>> len(manager({"metadata": {"name": "q" * 253}}))
    128
    """
    namespace = str(meta(managed).get("namespace") or "")
    return _manager(f"{namespace}/{meta(managed)['name']}" if namespace else meta(managed)["name"])


def applying(manager_: str) -> Key | None:
    """The Object that applies as a field manager; None if none does, or its name was cut.

    >>> applying("provider-kubernetes/shop/quota")
    Key(api_version='kubernetes.m.crossplane.io/v1alpha1', kind='Object', namespace='shop', name='quota')
    >>> applying("kubectl")
    """
    if not manager_.startswith(MANAGER) or len(manager_) == LONGEST_MANAGER:
        return None
    namespace, _, name = manager_.removeprefix(MANAGER).rpartition("/")
    return Key(f"{NAMESPACED_DOMAIN if namespace else DOMAIN}/{VERSION}", OBJECT, namespace, name)


def is_object(obj: Object) -> bool:
    return (obj["apiVersion"], obj["kind"]) in KINDS


def upstreams_manager(managed: Object) -> str:
    """The one that upstream has for it, which Objects of the same name in other namespaces share."""
    return _manager(meta(managed)["name"])


def _manager(owner: str) -> str:
    name = f"{MANAGER}{owner}"
    if len(name) <= LONGEST_MANAGER:
        return name
    return f"{name[: LONGEST_MANAGER - 13]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def finalizer(managed: Object) -> str:
    """What an Object leaves on what it refers to."""
    return f"{FINALIZER}{meta(managed)['uid']}"
