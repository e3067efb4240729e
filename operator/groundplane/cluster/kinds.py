"""The kinds that the embedded store serves, and what it demands of their objects.

A few kinds are built in, every other comes with its CustomResourceDefinition.  Pure: what the API server makes of a
definition when it is written (defaults, accepted names, Established), of metadata and of Secrets, in its words.

Source: Kubernetes 1.34, apiextensions-apiserver (apis/apiextensions/v1/defaults.go, validation,
controller/{status,establish}), apimachinery api/validation, kubernetes pkg/apis/core/validation.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import orjson

from groundplane.cluster import kubernetes_schemas
from groundplane.core import known_schemas, schema_defects
from groundplane.core.objects import Json, Object, group_of, is_deleting, key_of, meta, spec_of, status_of
from groundplane.core.structural import Structural, compiled
from groundplane.errors import Awaited, NoSuchKind, Rejected, shown
from groundplane.ports import Resource

CRD_VERSION = "apiextensions.k8s.io/v1"
CRD_KIND = "CustomResourceDefinition"
CRD_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"  # finalizer of a definition that waits for its objects

BUILT_IN = {
    ("v1", "Namespace"): Resource("v1", "Namespace", "namespaces", namespaced=False),
    ("v1", "Secret"): Resource("v1", "Secret", "secrets", namespaced=True, has_status=False),
    ("v1", "ConfigMap"): Resource("v1", "ConfigMap", "configmaps", namespaced=True, has_status=False),
    ("v1", "Event"): Resource("v1", "Event", "events", namespaced=True, has_status=False),
    (CRD_VERSION, CRD_KIND): Resource(CRD_VERSION, CRD_KIND, "customresourcedefinitions", namespaced=False),
}
_RBAC, _NETWORK = "rbac.authorization.k8s.io/v1", "networking.k8s.io/v1"
PLAIN = {
    (found.api_version, found.kind): found
    for found in (
        Resource("v1", "ServiceAccount", "serviceaccounts", namespaced=True, has_status=False),
        Resource("v1", "ResourceQuota", "resourcequotas", namespaced=True),
        Resource("v1", "LimitRange", "limitranges", namespaced=True, has_status=False),
        Resource(_NETWORK, "NetworkPolicy", "networkpolicies", namespaced=True, has_status=False),
        Resource(_RBAC, "Role", "roles", namespaced=True, has_status=False),
        Resource(_RBAC, "RoleBinding", "rolebindings", namespaced=True, has_status=False),
        Resource(_RBAC, "ClusterRole", "clusterroles", namespaced=False, has_status=False),
        Resource(_RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False, has_status=False),
    )
}
"""Kinds of Kubernetes that Compositions compose, and that only say something: they are kept, and nobody here heeds them."""
# How the built-in kinds merge: all their fields are declared, and `data` is a map.
BUILT_IN_SCHEMA: dict[str, Any] = {
    "properties": {
        "data": {"additionalProperties": {"type": "string"}},
        "binaryData": {"additionalProperties": {"type": "string"}},
        "type": {"type": "string"},
        "immutable": {"type": "boolean"},
        "spec": {},
        "status": {
            "properties": {
                "conditions": {
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                    "items": {"properties": {"type": {}}},
                }
            }
        },
    }
}
MOST_DATA = 2**20  # bytes of a Secret's or ConfigMap's values
_TOO_LONG = f"Too long: may not be more than {MOST_DATA} bytes"
_DATA_KEY = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_SECRET_FIELDS = ("apiVersion", "kind", "metadata", "type", "data", "immutable")

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_WORD = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_is_subdomain = re.compile(_SUBDOMAIN).fullmatch
_is_label = re.compile(_LABEL).fullmatch
_is_word = re.compile(_WORD).fullmatch
_is_data_key = re.compile(r"[-._a-zA-Z0-9]+").fullmatch


@dataclass
class Kind:
    """One version of a custom kind, as its definition declares it."""

    resource: Resource
    openapi: Mapping[str, Any]
    deleting: bool  # the definition is going: nothing new

    @cached_property
    def compiled(self) -> Structural:
        return compiled(self.openapi)


def versions(definition: Object) -> dict[str, Kind]:
    """The served versions of an accepted definition, by API version."""
    spec = spec_of(definition)
    found = {}
    for version in spec["versions"]:
        if version.get("served"):
            api_version = f"{spec['group']}/{version['name']}".removeprefix("/")
            resource = Resource(
                api_version,
                spec["names"]["kind"],
                spec["names"]["plural"],
                namespaced=spec["scope"] == "Namespaced",
                has_status="status" in (version.get("subresources") or {}),
            )
            found[api_version] = Kind(resource, version["schema"]["openAPIV3Schema"], is_deleting(definition))
    return found


@cache
def plain(api_version: str, kind: str) -> Kind | None:
    """One of those of Kubernetes that are kept as they are written."""
    resource = PLAIN.get((api_version, kind))
    if resource is None:
        return None
    return Kind(resource, kubernetes_schemas.schema(api_version, kind) or {}, deleting=False)


def no_such_kind(
    api_version: str,
    kind: str,
    served: Iterable[str] = (),
    *,
    known: Iterable[tuple[str, str]] = (),
    keeps_all: bool = False,
) -> NoSuchKind:
    """`served` are the versions in which the kind is there, `known` the groups and kinds that there are; `keeps_all`: this is a cluster.

    >>> no_such_kind("apps/v1", "Deployment").mend
    'use a cluster: a store keeps no Deployment of Kubernetes, for nobody there would do anything with it'
    >>> no_such_kind("example.org/v1", "Databse", known=[("example.org", "Database")]).mend
    'did you mean Database?'
    """
    if others := ", ".join(sorted(served)):
        mend = f"it is served as {others}"
    elif not keeps_all and kubernetes_schemas.schema(api_version, kind):
        mend = f"use a cluster: a store keeps no {kind} of Kubernetes, for nobody there would do anything with it"
    elif near := known_schemas.nearly(api_version, kind, known):
        mend = f"did you mean {near}?"
    else:
        mend = "apply the definition or CustomResourceDefinition that declares it, or correct apiVersion and kind"
    error = NoSuchKind(f'no matches for kind "{kind}" in version "{api_version}"', mend=mend)
    error.on = (Awaited(group_of(api_version), kind, served=True),)
    return error


# --- definitions ----------------------------------------------------------------------------------


def accepted(definition: Object, old: Object | None, *, kind_is_taken: bool, now: str) -> Object:
    """The definition as the API server keeps it: defaulted, its names accepted, Established.

    `kind_is_taken`: another definition of the group has the kind.

    Raises:
        Rejected: a wrong name, versions or schema, or a change of what may not change.
    """
    is_new = old is None or spec_of(old) != spec_of(definition)
    problems = (_definition_problems(definition) if is_new else []) or _forbidden_changes(definition, old)
    if problems:
        raise invalid(definition, problems)
    spec = dict(definition["spec"])
    names = dict(spec["names"])
    names["singular"] = names.get("singular") or names["kind"].lower()
    names["listKind"] = names.get("listKind") or names["kind"] + "List"
    spec["names"] = names
    spec["conversion"] = spec.get("conversion") or {"strategy": "None"}
    status = dict(status_of(definition))
    told = [
        ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
        ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    if kind_is_taken:
        told = [
            ("NamesAccepted", "False", "KindConflict", f"{shown(names['kind'])} is already in use"),
            ("Established", "False", "NotAccepted", "not all names are accepted"),
        ]
    for type_, state, reason, message in told:
        status = _with_condition(status, type_, state, reason, message, now)
    status["acceptedNames"] = {} if kind_is_taken else names
    stored = list(status.get("storedVersions") or ())
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    status["storedVersions"] = stored if storage in stored else [*stored, storage]
    return {**definition, "spec": spec, "status": status}


def is_definition(obj: Object) -> bool:
    return bool(obj["kind"] == CRD_KIND and obj["apiVersion"] == CRD_VERSION)


def is_namespace(obj: Object) -> bool:
    return bool(obj["kind"] == "Namespace" and obj["apiVersion"] == "v1")


def is_established(definition: Object) -> bool:
    conditions = status_of(definition).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def terminating(definition: Object, now: str) -> Object:
    """The definition once its deletion was asked for."""
    status = _with_condition(
        status_of(definition),
        "Terminating",
        "True",
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        now,
    )
    return {**definition, "status": status}


def _with_condition(
    status: Mapping[str, Any], type_: str, state: str, reason: str, message: str, now: str
) -> dict[str, Any]:
    conditions = list(status.get("conditions") or ())
    told = {"lastTransitionTime": now, "message": message, "reason": reason, "status": state, "type": type_}
    for index, before in enumerate(conditions):
        if before.get("type") == type_:
            if before.get("status") == state:
                told["lastTransitionTime"] = before.get("lastTransitionTime") or now
            conditions[index] = told
            break
    else:
        conditions.append(told)
    return {**status, "conditions": conditions}


def _definition_problems(definition: Object) -> list[str]:
    spec = spec_of(definition)
    names = spec.get("names") or {}
    required = {
        "group": spec.get("group"),
        "names.kind": names.get("kind"),
        "names.plural": names.get("plural"),
        "scope": spec.get("scope"),
        "versions": spec.get("versions"),
    }
    problems = [f"spec.{path}: Required value" for path, value in required.items() if not value]
    if problems:
        return problems
    if meta(definition).get("name") != f"{names['plural']}.{spec['group']}":
        problems.append(_bad("metadata.name", meta(definition).get("name"), 'must be spec.names.plural+"."+spec.group'))
    if spec["scope"] not in ("Cluster", "Namespaced"):
        problems.append(
            f'spec.scope: Unsupported value: {shown(spec["scope"])}: supported values: "Cluster", "Namespaced"'
        )
    if sum(bool(version.get("storage")) for version in spec["versions"]) != 1:
        problems.append(_bad("spec.versions", None, "must have exactly one version marked as storage version"))
    for index, version in enumerate(spec["versions"]):
        path = f"spec.versions[{index}]"
        if not _is_label(version.get("name") or ""):
            problems.append(_bad(f"{path}.name", version.get("name"), "a DNS-1035 label must be given"))
        if any(other.get("name") == version.get("name") for other in spec["versions"][:index]):
            problems.append(_bad("spec.versions", None, "must contain unique version names"))
        openapi = (version.get("schema") or {}).get("openAPIV3Schema")
        if openapi is None:
            problems.append(f"{path}.schema.openAPIV3Schema: Required value: schemas are required")
        else:
            problems += _defects(openapi, f"{path}.schema.openAPIV3Schema")
    return problems


_SOUND = 1024  # schemas
_sound: set[bytes] = (
    set()
)  # digests of those without defects: each store of a process is given the same hundred and sixty kinds


def _defects(openapi: Json, path: str) -> list[str]:
    digest = hashlib.sha256(orjson.dumps(openapi)).digest()
    if digest in _sound:
        return []
    found = schema_defects.of(openapi, path)
    if not found and len(_sound) < _SOUND:
        _sound.add(digest)
    return found


def _forbidden_changes(definition: Object, old: Object | None) -> list[str]:
    if old is None:
        return []
    spec, before = spec_of(definition), spec_of(old)
    problems = []
    for path in ("group", "scope", "names.kind", "names.plural"):
        one, _, below = path.partition(".")
        new, was = (spec[one][below], before[one][below]) if below else (spec[one], before[one])
        if new != was:
            problems.append(_bad(f"spec.{path}", new, "field is immutable"))
    names = {version["name"] for version in spec["versions"]}
    for index, stored in enumerate(status_of(definition).get("storedVersions") or ()):
        if stored not in names:
            problems.append(
                _bad(
                    f"status.storedVersions[{index}]",
                    stored,
                    f"missing from spec.versions; {stored} was previously a storage version, and must remain in "
                    "spec.versions until a storage migration ensures no data remains persisted in "
                    f"{stored} and removes {stored} from status.storedVersions",
                )
            )
    return problems


# --- metadata and Secrets -------------------------------------------------------------------------


def check_metadata(obj: Object, *, plain_label: bool = False) -> None:
    """Raise Rejected unless name, labels, annotations, finalizers and owner references are sound.

    `plain_label`: the name may have no dots (namespaces).
    """
    metadata = meta(obj)
    name = metadata.get("name")
    is_of_roles = group_of(obj["apiVersion"]) == group_of(_RBAC)
    problems = _segment_problems(name) if name and is_of_roles else _name_problems(name, plain_label)
    for key, value in _mapping(metadata, "labels", problems):
        problems += _label_problems(key, value) if isinstance(value, str) else [_not_text("labels", key, value)]
    for key, value in _mapping(metadata, "annotations", problems):
        if not isinstance(value, str):
            problems.append(_not_text("annotations", key, value))
        elif not _is_qualified(key.lower()):
            problems.append(_bad("metadata.annotations", key, "name part must consist of alphanumeric characters"))
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        if not isinstance(finalizer, str) or not _is_qualified(finalizer):
            problems.append(_bad(f"metadata.finalizers[{index}]", finalizer, "name part must be non-empty"))
    problems += _owner_problems(metadata.get("ownerReferences") or ())
    if problems:
        raise invalid(obj, problems)


def _name_problems(name: Json, plain_label: bool) -> list[str]:
    if not name:
        return ["metadata.name: Required value: name or generateName is required"]
    if plain_label and (not isinstance(name, str) or len(name) > 63 or not _is_label(name)):
        rule = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        )
        return [_bad("metadata.name", name, f"{rule}'{_LABEL}')")]
    if not isinstance(name, str) or len(name) > 253 or not _is_subdomain(name):
        rule = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        )
        return [_bad("metadata.name", name, f"{rule}'{_SUBDOMAIN}')")]
    return []


def _segment_problems(name: Json) -> list[str]:
    """Of roles and their bindings, whose names may have colons and capitals: what can stand in a path will do."""
    if not isinstance(name, str):
        return [_bad("metadata.name", name, "must be a string")]
    if name in (".", ".."):
        return [_bad("metadata.name", name, f"may not be '{name}'")]
    return [_bad("metadata.name", name, f"may not contain '{each}'") for each in "/%" if each in name]


def _mapping(metadata: Mapping[str, Any], name: str, problems: list[str]) -> Iterable[tuple[str, Json]]:
    found = metadata.get(name) or {}
    if isinstance(found, dict):
        return found.items()
    problems.append(_bad(f"metadata.{name}", found, "must be a map of strings"))
    return ()


def _not_text(where: str, key: str, value: Json) -> str:
    return _bad(f"metadata.{where}[{key}]", value, "must be a string: quote it")


@lru_cache(maxsize=4096)
def _label_problems(key: str, value: str) -> list[str]:
    problems = []
    if not _is_qualified(key):
        problems.append(
            _bad("metadata.labels", key, "name part must consist of alphanumeric characters, '-', '_', '.'")
        )
    if value and not _is_word(value):
        problems.append(
            _bad(
                "metadata.labels",
                value,
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
                f"regex used for validation is '({_WORD})?')",
            )
        )
    if len(value) > 63:
        problems.append(_bad("metadata.labels", value, "must be no more than 63 bytes"))
    return problems


@lru_cache(maxsize=4096)
def _is_qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _is_subdomain(prefix)):
        return False
    return len(name) <= 63 and bool(_is_word(name))


def _owner_problems(references: Iterable[Json]) -> list[str]:
    problems, controllers = [], []
    for index, reference in enumerate(references):
        problems += [
            f"metadata.ownerReferences[{index}].{name}: Required value: must not be empty"
            for name in ("apiVersion", "kind", "name", "uid")
            if not reference.get(name)
        ]
        if reference.get("controller"):
            controllers.append(str(reference.get("name")))
    if len(controllers) > 1:
        told = f'Only one reference can have Controller set to true. Found "true" in references for {" and ".join(controllers[:2])}'
        problems.append(_bad("metadata.ownerReferences", None, told))
    return problems


def folded(secret: Object) -> Object:
    """A Secret with its `stringData` written into `data`, in base64."""
    plain = secret.get("stringData")
    if "stringData" not in secret:
        return secret
    if not isinstance(plain or {}, dict) or not all(isinstance(text, str) for text in (plain or {}).values()):
        raise invalid(secret, ["stringData: Invalid value: must be a map of strings"])
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in (plain or {}).items()}
    rest = {name: value for name, value in secret.items() if name != "stringData"}
    data = {**(secret.get("data") or {}), **encoded}
    return {**rest, "data": data} if data else rest


def _is_base64(text: Json) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return False
    return True


def secret(obj: Object, old: Object | None) -> Object:
    """A Secret as the API server keeps it.  Raises Rejected; never quotes data."""
    obj = folded(obj)
    kept = {name: value for name, value in obj.items() if name in _SECRET_FIELDS}
    kept["type"] = obj.get("type") or "Opaque"
    data = obj.get("data")
    problems = [] if data is None or isinstance(data, dict) else ["data: Invalid value: must be a map"]
    if isinstance(data, dict):
        for name, text in data.items():
            if not _is_data_key(name):
                problems.append(_bad("data", name, _DATA_KEY))
            if text is not None and not _is_base64(text):
                problems.append(f"data[{name}]: Invalid value: must be base64")
        kept["data"] = {name: text if text is not None else "" for name, text in data.items()}
        if not problems and sum(_decoded_length(text) for text in kept["data"].values()) > MOST_DATA:
            problems.append(f"data: {_TOO_LONG}")
    if not kept.get("data"):
        kept.pop("data", None)
    if old is not None:
        if kept["type"] != old["type"]:
            problems.append(_bad("type", kept["type"], "field is immutable"))
        if old.get("immutable") and (not kept.get("immutable") or kept.get("data") != old.get("data")):
            problems.append("data: Forbidden: field is immutable when `immutable` is set")
    if problems:
        raise invalid(obj, problems)
    return kept


def _decoded_length(text: str) -> int:
    """Bytes of what stands there in base64."""
    return len(text) // 4 * 3 - text[-2:].count("=")


def check_config_map(obj: Object, old: Object | None) -> None:
    """Raise Rejected unless a ConfigMap is one that the API server takes."""
    problems, total = [], 0
    for field in ("data", "binaryData"):
        found = obj.get(field)
        if not isinstance(found or {}, dict):
            problems.append(_bad(field, found, "must be a map"))
            continue
        for name, text in (found or {}).items():
            if not _is_data_key(name):
                problems.append(_bad(field, name, _DATA_KEY))
            if not isinstance(text, str):
                problems.append(_bad(f"{field}[{name}]", text, "must be a string: quote it"))
            elif field == "data":
                total += len(text.encode())
            elif _is_base64(text):
                total += _decoded_length(text)
            else:
                problems.append(f"{field}[{name}]: Invalid value: must be base64")
            if field == "binaryData" and name in (obj.get("data") or {}):
                problems.append(_bad(f"{field}[{name}]", name, "duplicate of key present in data"))
    if total > MOST_DATA:
        problems.append(f"[]: {_TOO_LONG}")
    if (
        old is not None
        and old.get("immutable")
        and any((obj.get(each) or None) != (old.get(each) or None) for each in ("immutable", "data", "binaryData"))
    ):
        problems.append("data: Forbidden: field is immutable when `immutable` is set")
    if problems:
        raise invalid(obj, problems)


# --- words ----------------------------------------------------------------------------------------


def _bad(path: str, value: Json, why: str) -> str:
    return f"{path}: Invalid value: {shown(value)}: {why}"


def invalid(obj: Object, problems: Iterable[str], *, mend: str = "") -> Rejected:
    """The API server's refusal (422), with all problems, sorted."""
    found = sorted(problems)
    listed = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
    group = group_of(obj["apiVersion"])
    kind = f"{obj['kind']}.{group}" if group else obj["kind"]
    return Rejected(f'{kind} "{key_of(obj).name}" is invalid: {listed}', mend=mend, field=found[0].partition(":")[0])
