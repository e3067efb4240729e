"""The CustomResourceDefinitions of the AWS kinds and of ProviderConfig: upstream's names and types, our prose.

Names, types, versions and rules follow provider-upjet-aws 75a4c57; descriptions come from botocore's models,
which is why `docs=True` loads them.  One departure: `writeConnectionSecretToRef.name` may be left out (the
operator then derives one); `strict_upstream` requires it.  For `schema_of`, nothing of boto3 is imported.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from groundplane.aws import catalogue
from groundplane.aws.grammar import (
    DOMAIN,
    LIST,
    NAMESPACED_DOMAIN,
    Kind,
    KindField,
    SchemaField,
    Shape,
    digest_field,
    siblings,
)
from groundplane.core import requests, typecheck
from groundplane.core.objects import Json, Object
from groundplane.core.openapi import handled_request, unseen
from groundplane.errors import with_article

Schema = dict[str, Any]
LONGEST = 200  # characters of a description
POLICIES = ["Observe", "Create", "Update", "Delete", "LateInitialize", "*"]
ACTS = " || ".join(f"'{policy}' in self.managementPolicies" for policy in ("*", "Create", "Update"))
DETAILS = {
    "address": "The host name to connect to.",
    "arn": "The Amazon Resource Name.",
    "attribute.password": "The password, as upstream's provider calls it.",
    "endpoint": "Where to connect to: host name, and port where there is one.",
    "host": "The host name to connect to.",
    "id": "The identifier in AWS.",
    "password": "The password of the user.",
    "port": "The port to connect to.",
    "region": "The AWS region.",
    "username": "The user to log in as.",
}
KEEP_ALL = "x-kubernetes-preserve-unknown-fields"


def crds(*, docs: bool = True, strict_upstream: bool = False) -> list[Object]:
    """All CRDs of the AWS side, sorted by name."""
    made = [of_kind(found, docs=docs, strict_upstream=strict_upstream) for found in catalogue.every()]
    return sorted([*made, *configs()], key=_name)


def configs() -> list[Object]:
    """The CRDs of ProviderConfigs and their usages."""
    plain = [_provider_config(DOMAIN), *(_provider_config(NAMESPACED_DOMAIN, kind) for kind in (PLAIN, CLUSTER))]
    return [*plain, _usage(DOMAIN), _usage(NAMESPACED_DOMAIN)]


def _name(crd: Object) -> str:
    return str(crd["metadata"]["name"])


def connection_details(found: Kind) -> list[dict[str, str]]:
    """The keys of a kind's connection Secrets, sorted, and what they hold."""
    keys = sorted({*found.connection, *found.create.connection})
    return [{"name": key, "description": DETAILS.get(key) or f"{key} of the {found.kind}."} for key in keys]


def schema_of(api_version: str, kind: str) -> Schema | None:
    """The schema of one managed kind, without prose; None if that is not built in.  Loads this kind alone."""
    found = catalogue.lookup(api_version, kind)
    if found is None:
        return None
    schema = _managed_schema(found, None, api_version.partition("/")[2], strict_upstream=False)
    for block in ("forProvider", "initProvider"):
        _tell_values(schema["properties"]["spec"]["properties"].get(block) or {}, found.fields)
    return schema


def _tell_values(schema: Schema, fields: Mapping[str, SchemaField]) -> None:
    """Add the values that AWS's model knows, which no API server is told: it would refuse new ones."""
    for name, field in fields.items():
        there = (schema.get("properties") or {}).get(name) or {}
        for below in (there, there.get("items") or {}):
            if field.values and below.get("type") == "string":
                below[typecheck.KNOWN_VALUES] = list(field.values)
            _tell_values(below, field.fields)


# --- managed kinds --------------------------------------------------------------------------------


def of_kind(found: Kind, *, docs: bool, strict_upstream: bool) -> Object:
    """The CustomResourceDefinition of one kind, in the generation that it is given in."""
    prose = _Prose(found) if docs else None
    versions = []
    for index, version in enumerate(found.versions):
        schema = _managed_schema(found, prose, version, strict_upstream=strict_upstream)
        synced, ready, *others = MANAGED_COLUMNS
        columns = [ready, synced, *others] if version in found.ready_first else MANAGED_COLUMNS
        versions.append(_version(version, schema, columns, storage=index == 0))
    scope = "Namespaced" if found.is_namespaced else "Cluster"
    categories = ["crossplane", "managed", "aws"]
    return _crd(found.group, found.kind, found.plural, versions, categories=categories, scope=scope)


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


def _managed_schema(found: Kind, prose: _Prose | None, version: str, *, strict_upstream: bool) -> Schema:
    inputs = _inputs(found, prose)
    for_provider = _object(inputs, required=[] if found.is_global else ["region"])
    initial = {name: schema for name, schema in _inputs(found, None).items() if name != "region"}
    generation = _namespaced_fields() if found.is_namespaced else _cluster_fields(strict_upstream=strict_upstream)
    spec = _object(
        {
            **generation,
            "forProvider": for_provider,
            "initProvider": {
                **_object(initial),
                "description": "Fields that only the creation uses, where forProvider has none; not enforced later.",
            },
            "managementPolicies": {
                "type": "array",
                "items": {"type": "string", "enum": POLICIES},
                "default": ["*"],
                "description": "What may be done to the external resource.",
            },
        },
        required=["forProvider"],
    )
    rules = [
        {
            "rule": f"!({ACTS}) || has(self.forProvider.{name})"
            f" || (has(self.initProvider) && has(self.initProvider.{name}))",
            "message": f"spec.forProvider.{name} is a required parameter",
        }
        for name, field in sorted(found.fields.items())
        if found.demands(field, version)
        and name != "region"
        and not (
            field.single and found.shape == "either"
        )  # rules see no field without a type: the reconciler refuses it
    ]
    if rules:
        spec["x-kubernetes-validations"] = rules
    description = prose.kind() if prose else found.doc
    return {**_root(spec, _status(found)), **({"description": description} if description else {})}


def _cluster_fields(*, strict_upstream: bool) -> dict[str, Schema]:
    """What only kinds of the first generation have in their spec, or have otherwise."""
    return {
        "deletionPolicy": {
            "type": "string",
            "enum": ["Orphan", "Delete"],
            "default": "Delete",
            "description": "What happens to the external resource when this object is deleted.",
        },
        "providerConfigRef": {**_reference(), "default": {"name": "default"}},
        "publishConnectionDetailsTo": _publish(),
        "writeConnectionSecretToRef": {
            **_object(
                {"name": STRING, "namespace": STRING},
                required=["name", "namespace"] if strict_upstream else ["namespace"],
            ),
            "description": CONNECTION_SECRET,
        },
    }


def _namespaced_fields() -> dict[str, Schema]:
    """Likewise of the namespaced generation: Secrets are in the object's own namespace."""
    config = _object({"kind": STRING, "name": STRING}, required=["kind", "name"])
    return {
        "providerConfigRef": {**config, "default": {"kind": "ClusterProviderConfig", "name": "default"}},
        "writeConnectionSecretToRef": {
            **_object({"name": STRING}, required=["name"]),
            "description": CONNECTION_SECRET,
        },
    }


CONNECTION_SECRET = "The Secret that gets the connection details."


def _inputs(found: Kind, prose: _Prose | None) -> dict[str, Schema]:
    """The properties of forProvider."""
    result: dict[str, Schema] = {}
    if not found.is_global:
        result["region"] = {"type": "string", "description": "The AWS region that the resource is in."}
    if found.tags is not None:
        result["tags"] = {**_map(), "description": "Tags of the resource, beside those that say whose it is."}
    for name, field in found.fields.items():
        if name == "region":
            continue
        result[name] = _field(field, found)
        words = prose.field(field) if prose else ""
        if words:
            result[name]["description"] = words
        result |= _siblings(name, field, found)
    return dict(sorted(result.items()))


def _siblings(name: str, field: SchemaField, found: Kind) -> dict[str, Schema]:
    """The fields beside one that say what it is taken from."""
    if field.reference is None:
        return {}
    service, _, kind = field.reference.to.partition("/")
    target = f"{with_article(kind)} in {service} to fill {name}"
    ref, selector = siblings(name, field)
    one = {**_reference(), "description": f"Reference to {target}."}
    own: dict[str, Schema] = {"matchControllerRef": {"type": "boolean"}, "matchLabels": _map(), "policy": _policy()}
    if found.is_namespaced:
        one["properties"] = {**one["properties"], "namespace": STRING}
        own["namespace"] = STRING
    item = {key: value for key, value in one.items() if key != "description"}
    many = {"type": "array", "items": item, "description": f"References to {target}."}
    chosen = {**_object(dict(sorted(own.items()))), "description": f"Selector for {target}."}
    return {ref: many if field.type.startswith(LIST) else one, selector: chosen}


def _field(field: KindField, found: Kind) -> Schema:
    if field.formerly is not None and not found.is_namespaced:
        return {KEEP_ALL: True}  # of two types: what has none holds either
    if not field.secret:
        return _typed(field, found, found.shape)
    names = ["key", "name"] if found.is_namespaced else ["key", "name", "namespace"]
    return _object(dict.fromkeys(names, STRING), required=names)


def _typed(field: SchemaField, found: Kind, shape: Shape) -> Schema:
    if field.single and shape == "either":
        return _either(field, found)
    inner = field.type.removeprefix(LIST)
    match inner:
        case "object" if field.fields:
            required = sorted(name for name, entry in field.fields.items() if entry.required)
            properties = {name: _typed(entry, found, shape) for name, entry in field.fields.items()}
            for name, entry in field.fields.items():
                properties |= _siblings(name, entry, found)
            schema = _object(dict(sorted(properties.items())), required=required)
        case "object":
            schema = {"type": "object", KEEP_ALL: True}
        case "map[string]":
            schema = _map()
        case _:
            schema = {"type": inner}
    is_list = field.type.startswith(LIST) and not (field.single and shape == "object")
    return {"type": "array", "items": schema} if is_list else schema


def _either(field: SchemaField, found: Kind) -> Schema:
    """An object, or a list of one; what is inside of it is of the same generation.

    Nothing converts between API versions, and the API server prunes by the schema of the version that is written, then by
    that of the stored one, then by that of the version that is read: so each takes both.  Without a type, `properties` hold
    for an object and `items` for a list; members that nobody knows are kept, and named by the reconciler.
    """
    return {
        KEEP_ALL: True,
        "maxItems": 1,
        "items": _typed(field, found, "list")["items"],
        "properties": _typed(field, found, "object").get("properties", {}),
    }


def _status(found: Kind) -> Schema:
    values: dict[str, Schema] = {}
    shown: dict[str, SchemaField] = {name: field for name, field in found.fields.items() if not field.secret}
    for name, field in {**shown, **found.at_provider}.items():
        of_two = isinstance(field, KindField) and field.formerly is not None and not found.is_namespaced
        values[name] = {KEEP_ALL: True} if of_two else _typed(_read(field), found, found.shape)
    if not found.is_global:
        values["region"] = dict(STRING)
    if found.tags is not None:
        values |= {"tags": _map(), "tagsAll": _map()}
    for secret in found.port.secrets:
        values[digest_field(secret.field)] = {
            "type": "string",
            "description": "Tells whether the value that was applied last is still the one that is wanted.",
        }
    status = _object(
        {
            "atProvider": _object(dict(sorted(values.items()))),
            "conditions": _conditions(),
            requests.HANDLED: handled_request(),
            "observedGeneration": {"type": "integer", "format": "int64"},
        }
    )
    return unseen(status)


def _read(field: SchemaField) -> SchemaField:
    """What is read may lack what must be written, and is taken from nowhere."""
    fields = {name: _read(entry) for name, entry in field.fields.items()}
    return SchemaField(type=field.type, fields=fields, single=field.single)


# --- prose ----------------------------------------------------------------------------------------


class _Prose:
    """Descriptions for a kind's fields, from the documentation of the parameters that they become."""

    def __init__(self, found: Kind) -> None:
        from botocore.model import ServiceModel

        from groundplane.aws import session

        self._kind = found
        self._model = ServiceModel(session.LOADER.load_service_model(found.service, "service-2"), found.service)
        self._calls = {name.lower(): name for name in self._model.operation_names}

    def kind(self) -> str:
        return self._kind.doc or self._short(self._operation(self._kind.create.call).documentation)

    def field(self, field: KindField) -> str:
        """From the create call's parameter, else from the update's; "" where neither has words."""
        from groundplane.aws import convert

        update = self._kind.update[field.group].call if field.group else ""
        for call, path in ((self._kind.create.call, field.create), (update, field.parameter)):
            if call and path:
                shape = self._operation(call).input_shape
                for name in path.split("."):
                    shape = convert.member(shape, name)
                words = self._short(shape.documentation) if shape is not None else ""
                if words:
                    return words
        return ""

    def _operation(self, call: str) -> Any:
        return self._model.operation_model(self._calls[call.replace("_", "")])

    @staticmethod
    def _short(text: str) -> str:
        """The first sentence without its markup.  Lists of exceptions and notes follow later in AWS's texts."""
        plain = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
        plain = re.sub(r"\s+([.,;:)])", r"\1", plain).replace("( ", "(")
        first = re.split(r"(?<=[a-z0-9)])\. ", plain, maxsplit=1)[0].rstrip(".")
        if len(first) > LONGEST:
            first = first[: LONGEST - 1].rsplit(" ", 1)[0] + "…"
        return f"{first}." if first and not first.endswith("…") else first


# --- ProviderConfig -------------------------------------------------------------------------------


PLAIN, CLUSTER = "ProviderConfig", "ClusterProviderConfig"


def _provider_config(group: str, kind: str = PLAIN) -> Object:
    from groundplane.aws.session import SOURCES

    secret = _object({"key": STRING, "name": STRING, "namespace": STRING}, required=["key", "name", "namespace"])
    file = _object({"path": STRING}, required=["path"])
    token = _object(
        {"fs": file, "secretRef": secret, "source": {"type": "string", "enum": ["Secret", "Filesystem"]}},
        required=["source"],
    )
    identity = _object({"roleARN": STRING, "roleSessionName": STRING, "tokenConfig": token})
    role = _object(
        {
            "externalID": STRING,
            "roleARN": STRING,
            "roleSessionName": STRING,
            "tags": _list(_object({"key": STRING, "value": STRING}, required=["key", "value"])),
            "transitiveTagKeys": _list(STRING),
        }
    )
    credentials = _object(
        {
            "env": _object({"name": STRING}, required=["name"]),
            "fs": file,
            "secretRef": secret,
            "source": {"type": "string", "enum": sorted(SOURCES), "description": "Where the credentials come from."},
            "upbound": _object({"webIdentity": identity}),
            "webIdentity": identity,
        },
        required=["source"],
    )
    url = _object(
        {
            "dynamic": _object({"host": STRING, "protocol": {"type": "string", "enum": ["http", "https"]}}),
            "static": STRING,
            "type": {"type": "string", "enum": ["Static", "Dynamic", "Auto"]},
        },
        required=["type"],
    )
    endpoint = _object(
        {
            "hostnameImmutable": BOOLEAN,
            "partitionId": STRING,
            "services": {**_list(STRING), "description": "The services that the URL is for; none means all."},
            "signingMethod": STRING,
            "signingName": STRING,
            "signingRegion": STRING,
            "source": {"type": "string", "enum": ["ServiceMetadata", "Custom"]},
            "url": url,
        },
        required=["url"],
    )
    limiter = _object({"baseDelay": STRING, "maxDelay": STRING})
    spec = _object(
        {
            "assumeRoleChain": {**_list(role), "description": "Roles to assume, one from the other."},
            "credentials": credentials,
            "endpoint": endpoint,
            "reconciliationPolicy": _object({"exponentialFailureRateLimiter": limiter}),
            "s3_use_path_style": BOOLEAN,
            "skip_credentials_validation": BOOLEAN,
            "skip_metadata_api_check": BOOLEAN,
            "skip_region_validation": BOOLEAN,
            "skip_requesting_account_id": BOOLEAN,
        },
        required=["credentials"],
    )
    status = _object({"conditions": _conditions(), "users": {"type": "integer", "format": "int64"}})
    status = unseen(status)
    columns: list[Schema] = [
        {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "SOURCE", "type": "string", "jsonPath": ".spec.credentials.source", "priority": 1},
    ]
    version = _version("v1beta1", _root(spec, status), columns)
    scope = "Namespaced" if group == NAMESPACED_DOMAIN and kind == PLAIN else "Cluster"
    categories = ["crossplane", "providerconfig", "aws"]
    return _crd(group, kind, f"{kind.lower()}s", [version], categories=categories, scope=scope)


def _usage(group: str) -> Object:
    resource = _object(
        {"apiVersion": STRING, "kind": STRING, "name": STRING, "uid": STRING}, required=["apiVersion", "kind", "name"]
    )
    is_namespaced = group == NAMESPACED_DOMAIN
    reference = _object({"kind": STRING, "name": STRING}, required=["kind", "name"]) if is_namespaced else _reference()
    schema = {
        "type": "object",
        "properties": {**META, "providerConfigRef": reference, "resourceRef": resource},
        "required": ["providerConfigRef", "resourceRef"],
    }
    columns: list[Schema] = [
        {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "CONFIG-NAME", "type": "string", "jsonPath": ".providerConfigRef.name"},
        {"name": "RESOURCE-KIND", "type": "string", "jsonPath": ".resourceRef.kind"},
        {"name": "RESOURCE-NAME", "type": "string", "jsonPath": ".resourceRef.name"},
    ]
    version = _version("v1beta1", schema, columns)
    del version["subresources"]
    scope = "Namespaced" if is_namespaced else "Cluster"
    categories = ["crossplane", "providerconfig", "aws"]
    return _crd(group, "ProviderConfigUsage", "providerconfigusages", [version], categories=categories, scope=scope)


# --- bricks ---------------------------------------------------------------------------------------

STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
META: dict[str, Schema] = {"apiVersion": STRING, "kind": STRING, "metadata": {"type": "object"}}


def _crd(
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


def _version(name: str, schema: Schema, columns: Iterable[Mapping[str, Json]], *, storage: bool = True) -> Schema:
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "additionalPrinterColumns": [dict(column) for column in columns],
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }


def _root(spec: Schema, status: Schema) -> Schema:
    return {"type": "object", "properties": {**META, "spec": spec, "status": status}, "required": ["spec"]}


def _object(properties: Mapping[str, Schema], *, required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": dict(properties)}
    return {**made, "required": required} if required else made


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _map() -> Schema:
    return {"type": "object", "additionalProperties": {"type": "string"}}


def _policy() -> Schema:
    return _object(
        {
            "resolution": {"type": "string", "enum": ["Required", "Optional"], "default": "Required"},
            "resolve": {"type": "string", "enum": ["Always", "IfNotPresent"]},
        }
    )


def _reference() -> Schema:
    return _object({"name": STRING, "policy": _policy()}, required=["name"])


def _publish() -> Schema:
    metadata = _object({"annotations": _map(), "labels": _map(), "type": STRING})
    config = {**_reference(), "default": {"name": "default"}}
    return {
        **_object({"configRef": config, "metadata": metadata, "name": STRING}, required=["name"]),
        "description": "Accepted, and not acted upon: use writeConnectionSecretToRef.",
    }


def _conditions() -> Schema:
    condition = _object(
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
