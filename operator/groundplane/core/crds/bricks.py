"""The bricks of the CustomResourceDefinitions of managed kinds, whichever provider they are of: upstream's names and types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from groundplane.core import openapi
from groundplane.core.objects import Json, Object

Schema = dict[str, Any]
POLICIES = ["Observe", "Create", "Update", "Delete", "LateInitialize", "*"]
PLAIN, CLUSTER = "ProviderConfig", "ClusterProviderConfig"
KEEP_ALL = "x-kubernetes-preserve-unknown-fields"

MANAGED_COLUMNS = [
    {"name": "SYNCED", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Synced')].status"},
    {"name": "READY", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"},
    {
        "name": "EXTERNAL-NAME",
        "type": "string",
        "jsonPath": ".metadata.annotations.crossplane\\.io/external-name",
    },
    {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def cluster_fields(*, strict_upstream: bool) -> dict[str, Schema]:
    """What only kinds of the first generation have in their spec, or have otherwise."""
    return {
        "deletionPolicy": {
            "type": "string",
            "enum": ["Orphan", "Delete"],
            "default": "Delete",
            "description": "What happens to the external resource when this object is deleted.",
        },
        "providerConfigRef": {**reference(), "default": {"name": "default"}},
        "publishConnectionDetailsTo": publish(),
        "writeConnectionSecretToRef": {
            **obj(
                {"name": STRING, "namespace": STRING},
                required=["name", "namespace"] if strict_upstream else ["namespace"],
            ),
            "description": CONNECTION_SECRET,
        },
    }


def namespaced_fields() -> dict[str, Schema]:
    """Likewise of the namespaced generation: Secrets are in the object's own namespace."""
    config = obj({"kind": STRING, "name": STRING}, required=["kind", "name"])
    return {
        "providerConfigRef": {**config, "default": {"kind": "ClusterProviderConfig", "name": "default"}},
        "writeConnectionSecretToRef": {
            **obj({"name": STRING}, required=["name"]),
            "description": CONNECTION_SECRET,
        },
    }


def policies() -> dict[str, Schema]:
    """What both generations have alike."""
    return {
        "managementPolicies": {
            "type": "array",
            "items": {"type": "string", "enum": POLICIES},
            "default": ["*"],
            "description": "What may be done to the external resource.",
        }
    }


CONNECTION_SECRET = "The Secret that gets the connection details."


def usage(group: str, version_: str, *, is_namespaced: bool, category: str) -> Object:
    """The definition of a provider's ProviderConfigUsage."""
    resource = obj(
        {"apiVersion": STRING, "kind": STRING, "name": STRING, "uid": STRING}, required=["apiVersion", "kind", "name"]
    )
    config = obj({"kind": STRING, "name": STRING}, required=["kind", "name"]) if is_namespaced else reference()
    schema = {
        "type": "object",
        "properties": {**META, "providerConfigRef": config, "resourceRef": resource},
        "required": ["providerConfigRef", "resourceRef"],
    }
    columns: list[Schema] = [
        {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "CONFIG-NAME", "type": "string", "jsonPath": ".providerConfigRef.name"},
        {"name": "RESOURCE-KIND", "type": "string", "jsonPath": ".resourceRef.kind"},
        {"name": "RESOURCE-NAME", "type": "string", "jsonPath": ".resourceRef.name"},
    ]
    served = version(version_, schema, columns)
    del served["subresources"]
    scope = "Namespaced" if is_namespaced else "Cluster"
    categories = ["crossplane", "providerconfig", category]
    return crd(group, "ProviderConfigUsage", "providerconfigusages", [served], categories=categories, scope=scope)


def config(group: str, kind_: str, version_: str, spec: Schema, *, secret: str, scope: str, category: str) -> Object:
    """The definition of a provider's ProviderConfigs; `secret`: the field below `spec.credentials` that names its Secret."""
    status = openapi.unseen(
        openapi.obj({"conditions": conditions(), "users": openapi.integer("How many objects use it.")})
    )
    columns = [
        openapi.column("AGE", ".metadata.creationTimestamp", "date"),
        openapi.column("SECRET-NAME", f".spec.credentials.{secret}.name", wide=True),
    ]
    served = version(version_, root(spec, status), columns)
    categories = ["crossplane", "provider", category]
    return crd(group, kind_, f"{kind_.lower()}s", [served], categories=categories, scope=scope)


STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
META: dict[str, Schema] = {"apiVersion": STRING, "kind": STRING, "metadata": {"type": "object"}}


def crd(
    group: str, kind_: str, plural: str, versions: list[Schema], *, categories: list[str], scope: str = "Cluster"
) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {
                "categories": categories,
                "kind": kind_,
                "listKind": f"{kind_}List",
                "plural": plural,
                "singular": kind_.lower(),
            },
            "scope": scope,
            "versions": versions,
        },
    }


def version(name: str, schema: Schema, columns: Iterable[Mapping[str, Json]], *, storage: bool = True) -> Schema:
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "additionalPrinterColumns": [dict(column) for column in columns],
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }


def root(spec: Schema, status: Schema) -> Schema:
    return {"type": "object", "properties": {**META, "spec": spec, "status": status}, "required": ["spec"]}


def obj(properties: Mapping[str, Schema], *, required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": dict(properties)}
    return {**made, "required": required} if required else made


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def strings() -> Schema:
    return {"type": "object", "additionalProperties": {"type": "string"}}


def policy() -> Schema:
    return obj(
        {
            "resolution": {"type": "string", "enum": ["Required", "Optional"], "default": "Required"},
            "resolve": {"type": "string", "enum": ["Always", "IfNotPresent"]},
        }
    )


def reference() -> Schema:
    return obj({"name": STRING, "policy": policy()}, required=["name"])


def publish() -> Schema:
    metadata = obj({"annotations": strings(), "labels": strings(), "type": STRING})
    config = {**reference(), "default": {"name": "default"}}
    return {
        **obj({"configRef": config, "metadata": metadata, "name": STRING}, required=["name"]),
        "description": "Accepted, and not acted upon: use writeConnectionSecretToRef.",
    }


def conditions() -> Schema:
    condition = obj(
        {
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "message": STRING,
            "observedGeneration": {"type": "integer", "format": "int64"},
            "reason": STRING,
            "status": STRING,
            "type": STRING,
        },
        required=["lastTransitionTime", "reason", "status", "type"],
    )
    return {
        "type": "array",
        "items": condition,
        "x-kubernetes-list-map-keys": ["type"],
        "x-kubernetes-list-type": "map",
    }
