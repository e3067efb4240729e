"""Kubernetes objects as plain dicts, the key that points at one, and the base of user-written models.

Live objects stay dicts: they are what the API server sent.  Source: Kubernetes API conventions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Json = Any  # None | bool | int | float | str | list[Json] | dict[str, Json]
Object = dict[str, Any]  # a Kubernetes object

PAUSED_ANNOTATION = "crossplane.io/paused"


class Key(NamedTuple):
    """The only way to point at an object.  `namespace` is "" for cluster-scoped kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def group(self) -> str:
        return group_of(self.api_version)

    @property
    def place(self) -> Key:
        """Which object it is, the same whatever version it is read in.

        >>> Key("example.org/v1", "App", "", "a").place == Key("example.org/v2", "App", "", "a").place.place
        True
        """
        return self._replace(api_version=f"{self.group}/")

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


class GroupKind(NamedTuple):
    group: str
    kind: str


def group_of(api_version: str) -> str:
    """The API group, "" for core.

    >>> group_of("apps/v1"), group_of("v1")
    ('apps', '')
    """
    group, slash, _ = api_version.rpartition("/")
    return group if slash else ""


def key_of(obj: Mapping[str, Any]) -> Key:
    metadata = obj.get("metadata") or {}
    return Key(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "", metadata.get("name") or "")


def meta(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object's metadata; an empty dict, not attached, if it has none."""
    found: dict[str, Any] = obj.get("metadata") or {}
    return found


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = meta(obj).get("labels") or {}
    return found


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = meta(obj).get("annotations") or {}
    return found


def mapping(value: Json) -> Mapping[str, Any]:
    """What a person has written where a mapping should be; an empty one if it is none."""
    return value if isinstance(value, Mapping) else {}


def spec_of(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object's spec; an empty dict, not attached, if it has none, or one that is no object."""
    found = obj.get("spec")
    return found if isinstance(found, dict) else {}


def status_of(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object's status; an empty dict, not attached, if it has none, or one that is no object."""
    found = obj.get("status")
    return found if isinstance(found, dict) else {}


def is_deleting(obj: Mapping[str, Any]) -> bool:
    return bool(meta(obj).get("deletionTimestamp"))


def has_finalizer(obj: Mapping[str, Any], finalizer: str) -> bool:
    return finalizer in (meta(obj).get("finalizers") or ())


def drop_finalizer(obj: Object, finalizer: str) -> None:
    """Take a finalizer off, in place; the others stay, in their order.

    >>> vpc = {"metadata": {"finalizers": ["ours", "theirs"]}}
    >>> drop_finalizer(vpc, "ours")
    >>> vpc
    {'metadata': {'finalizers': ['theirs']}}
    """
    obj["metadata"]["finalizers"] = [name for name in meta(obj).get("finalizers") or () if name != finalizer]


def owner_reference(owner: Mapping[str, Any], *, controller: bool = True) -> dict[str, Any]:
    """A reference to `owner` that garbage collection follows; a controller's blocks its deletion."""
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta(owner)["name"],
        "uid": meta(owner)["uid"],
    }
    if controller:
        reference |= {"controller": True, "blockOwnerDeletion": True}
    return reference


def controller_of(obj: Mapping[str, Any]) -> dict[str, Any] | None:
    """The owner reference with `controller: true`, if any."""
    for reference in meta(obj).get("ownerReferences") or ():
        if reference.get("controller"):
            found: dict[str, Any] = reference
            return found
    return None


def is_of_predecessor(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether it is controlled by an object of the owner's kind and name that is gone, as after a restore: garbage collection would take it."""
    controller = controller_of(obj) or {}
    named = (group_of(controller.get("apiVersion") or ""), controller.get("kind"), controller.get("name"))
    return (
        named == (group_of(owner["apiVersion"]), owner["kind"], meta(owner)["name"])
        and controller["uid"] != meta(owner)["uid"]
    )


def matches(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether labels satisfy a matchLabels selector.  An empty selector matches all."""
    return all(labels.get(name) == value for name, value in selector.items())


def is_paused(obj: Mapping[str, Any]) -> bool:
    """Only the exact text "true" pauses (control-plane behaviour of upstream)."""
    return annotations_of(obj).get(PAUSED_ANNOTATION) == "true"


def joined(names: Iterable[str]) -> str:
    """Upstream's list of names: sorted; exactly three get an "and"; more than three are counted.

    >>> joined(["b", "a"]), joined("abc"), joined("abcde")
    ('a, b', 'a, b, and c', 'a, b, c, and 2 more')
    """
    found = sorted(names)
    if len(found) > 3:
        return f"{', '.join(found[:3])}, and {len(found) - 3} more"
    if len(found) == 3:
        return f"{found[0]}, {found[1]}, and {found[2]}"
    return ", ".join(found)


def machinery_of(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a composite's machinery is (references, revision, policies): below spec.crossplane in v2, in spec before."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return {}
    nested = spec.get("crossplane")
    return nested if isinstance(nested, dict) else spec


def is_composite(obj: Object) -> bool:
    """Whether it is composed of others, by what its reconciler has written into it; a claim is not.

    >>> [is_composite({"spec": spec}) for spec in ({"claimRef": {}}, {"crossplane": {"resourceRefs": []}}, {"resourceRef": {}, "compositionRevisionRef": {}}, {})]
    [True, True, False, False]
    """
    machinery, spec = machinery_of(obj), obj.get("spec") or {}
    is_written = "claimRef" in spec or "resourceRefs" in machinery or "compositionRevisionRef" in machinery
    return is_written and "resourceRef" not in machinery


def applied_by(obj: Object, manager: str) -> dict[str, Any]:
    """The fields of spec that `manager` owns by server-side apply, with their values: `{"forProvider": {…}}`.

    An apply must repeat what stays its own, else it is removed.
    """
    spec: dict[str, Any] = all_applied_by(obj, manager).get("spec") or {}
    return spec


def all_applied_by(obj: Object, manager: str) -> dict[str, Any]:
    """As `applied_by`, of the whole object but for what says which one it is."""
    for entry in meta(obj).get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return _picked(obj, entry.get("fieldsV1") or {})
    return {}


def _picked(value: Mapping[str, Json], fields: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, below in fields.items():
        field = name[2:]
        if not name.startswith("f:") or field not in value:
            continue
        nested = value[field]
        is_map = isinstance(nested, dict) and any(key.startswith("f:") for key in below)
        result[field] = _picked(nested, below) if is_map else nested
    return result


def merge_patched(target: Any, patch: Any) -> Any:
    """The target with a JSON merge patch applied (RFC 7386); neither is changed.

    >>> merge_patched({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"d": 3}})
    {'b': {'c': 2, 'd': 3}}
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), value)
    return result
