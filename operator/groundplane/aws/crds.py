"""The CustomResourceDefinitions of the AWS kinds and of ProviderConfig: upstream's names and types, our prose.

Names, types, versions and rules follow provider-upjet-aws 75a4c57; descriptions come from botocore's models,
which is why `docs=True` loads them.  One departure: `writeConnectionSecretToRef.name` may be left out (the
operator then derives one); `strict_upstream` requires it.  For `schema_of`, nothing of boto3 is imported.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
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
from groundplane.core import misfits, requests, value_types
from groundplane.core.crds import bricks
from groundplane.core.crds.bricks import BOOLEAN, CLUSTER, KEEP_ALL, MANAGED_COLUMNS, PLAIN, STRING
from groundplane.core.objects import Object
from groundplane.core.openapi import handled_request, unseen
from groundplane.errors import with_article
from groundplane.ports import ManagedKind

Schema = dict[str, Any]
LONGEST = 200  # characters of a description
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


def crds(*, docs: bool = True, strict_upstream: bool = False) -> list[Object]:
    """All CRDs of the AWS side, sorted by name."""
    made = [of_kind(found, docs=docs, strict_upstream=strict_upstream) for found in catalogue.every()]
    return sorted([*made, *configs()], key=_name)


def configs() -> list[Object]:
    """The CRDs of ProviderConfigs and their usages."""
    plain = [_provider_config(DOMAIN), *(_provider_config(NAMESPACED_DOMAIN, kind) for kind in (PLAIN, CLUSTER))]
    usages = [
        bricks.usage(domain, "v1beta1", is_namespaced=domain == NAMESPACED_DOMAIN, category="aws")
        for domain in (DOMAIN, NAMESPACED_DOMAIN)
    ]
    return [*plain, *usages]


def _name(crd: Object) -> str:
    return str(crd["metadata"]["name"])


def connection_details(kind: ManagedKind) -> list[dict[str, str]]:
    """The keys of a kind's connection Secrets, sorted, and what they hold."""
    return [{"name": key, "description": DETAILS.get(key) or f"{key} of the {kind.kind}."} for key in kind.connection]


def schema_of(api_version: str, kind: str) -> Schema | None:
    """The schema of one managed kind, without prose; None if that is not built in.  Loads this kind alone."""
    found = catalogue.lookup(api_version, kind)
    if found is None:
        return None
    schema = _managed_schema(found, None, api_version.partition("/")[2], strict_upstream=False)
    for block in ("forProvider", "initProvider"):
        _tell_more(schema["properties"]["spec"]["properties"].get(block) or {}, found.fields)
    return schema


def _tell_more(schema: Schema, fields: Mapping[str, SchemaField]) -> None:
    """Add what no API server is told: the values that AWS's model knows, for it would refuse new ones; what has one of two types."""
    for name, field in fields.items():
        there = (schema.get("properties") or {}).get(name) or {}
        if there.get(KEEP_ALL) and "items" in there:
            there[value_types.TYPES] = ["array", "object" if field.fields else "string"]
        for below in (there, there.get("items") or {}):
            if field.values and below.get("type") == "string":
                below[misfits.KNOWN_VALUES] = list(field.values)
            _tell_more(below, field.fields)


# --- managed kinds --------------------------------------------------------------------------------


def of_kind(found: Kind, *, docs: bool, strict_upstream: bool) -> Object:
    """The CustomResourceDefinition of one kind, in the generation that it is given in."""
    prose = _Prose(found) if docs else None
    versions = []
    for version in found.versions:
        schema = _managed_schema(found, prose, version, strict_upstream=strict_upstream)
        synced, ready, *others = MANAGED_COLUMNS
        columns = [ready, synced, *others] if version in found.ready_first else MANAGED_COLUMNS
        versions.append(
            bricks.version(version, schema, columns, storage=version == (found.stored or found.versions[-1]))
        )
    scope = "Namespaced" if found.is_namespaced else "Cluster"
    categories = ["crossplane", "managed", "aws"]
    return bricks.crd(found.group, found.kind, found.plural, versions, categories=categories, scope=scope)


def _managed_schema(found: Kind, prose: _Prose | None, version: str, *, strict_upstream: bool) -> Schema:
    inputs = _inputs(found, prose)
    for_provider = bricks.obj(inputs, required=[] if found.is_global else ["region"])
    initial = {name: schema for name, schema in _inputs(found, None).items() if name != "region"}
    generation = (
        bricks.namespaced_fields() if found.is_namespaced else bricks.cluster_fields(strict_upstream=strict_upstream)
    )
    spec = bricks.obj(
        {
            **generation,
            "forProvider": for_provider,
            "initProvider": {
                **bricks.obj(initial),
                "description": "Fields that only the creation uses, where forProvider has none; not enforced later.",
            },
            **bricks.policies(),
        },
        required=["forProvider"],
    )
    rules = [
        _rule(name, is_typed=not (field.single and found.shape == "either"))
        for name, field in sorted(found.fields.items())
        if found.demands(field, version) and name != "region"
    ]
    if rules:
        spec["x-kubernetes-validations"] = rules
    description = prose.kind() if prose else found.doc
    return {**bricks.root(spec, _status(found)), **({"description": description} if description else {})}


def _rule(name: str, *, is_typed: bool) -> Schema:
    """That a field must be there when something is to be made or changed.

    What has no type is seen by a rule that looks beyond types alone.
    """
    block = "self.{0}" if is_typed else "dyn(self.{0})"
    given, initial = (f"has({block.format(each)}.{name})" for each in ("forProvider", "initProvider"))
    return {
        "rule": f"!({ACTS}) || {given} || (has(self.initProvider) && {initial})",
        "message": f"spec.forProvider.{name} is a required parameter",
    }


def _inputs(found: Kind, prose: _Prose | None) -> dict[str, Schema]:
    """The properties of forProvider."""
    result: dict[str, Schema] = {}
    if not found.is_global:
        result["region"] = {"type": "string", "description": "The AWS region that the resource is in."}
    if found.tags is not None:
        result["tags"] = {**bricks.strings(), "description": "Tags of the resource, beside those that say whose it is."}
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
    one = {**bricks.reference(), "description": f"Reference to {target}."}
    own: dict[str, Schema] = {
        "matchControllerRef": {"type": "boolean"},
        "matchLabels": bricks.strings(),
        "policy": bricks.policy(),
    }
    if found.is_namespaced:
        one["properties"] = {**one["properties"], "namespace": STRING}
        own["namespace"] = STRING
    item = {key: value for key, value in one.items() if key != "description"}
    many = {"type": "array", "items": item, "description": f"References to {target}."}
    chosen = {**bricks.obj(dict(sorted(own.items()))), "description": f"Selector for {target}."}
    return {ref: many if field.type.startswith(LIST) else one, selector: chosen}


def _field(field: KindField, found: Kind) -> Schema:
    if field.formerly is not None and not found.is_namespaced:
        return _of_two(field.formerly, found)
    if not field.secret:
        return _typed(field, found, found.shape)
    names = ["key", "name"] if found.is_namespaced else ["key", "name", "namespace"]
    return bricks.obj(dict.fromkeys(names, STRING), required=names)


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
            schema = bricks.obj(dict(sorted(properties.items())), required=required)
        case "object":
            schema = {"type": "object", KEEP_ALL: True}
        case "map[string]":
            schema = bricks.strings()
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
    inside = _typed(field, found, "object")
    return {
        KEEP_ALL: True,
        "maxItems": 1,
        "items": _typed(field, found, "list")["items"],
        "properties": inside.get("properties", {}),
        **({"required": inside["required"]} if "required" in inside else {}),
    }


def _of_two(formerly: SchemaField, found: Kind) -> Schema:
    """A text, or the list of one that it formerly was: what has no type holds either."""
    return {KEEP_ALL: True, "maxItems": 1, "items": _typed(formerly, found, "list")["items"]}


def _status(found: Kind) -> Schema:
    values: dict[str, Schema] = {}
    shown: dict[str, SchemaField] = {name: field for name, field in found.fields.items() if not field.secret}
    for name, field in {**shown, **found.at_provider}.items():
        formerly = field.formerly if isinstance(field, KindField) and not found.is_namespaced else None
        values[name] = _of_two(_read(formerly), found) if formerly else _typed(_read(field), found, found.shape)
    if not found.is_global:
        values["region"] = dict(STRING)
    if found.tags is not None:
        values |= {"tags": bricks.strings(), "tagsAll": bricks.strings()}
    for secret in found.port.secrets:
        values[digest_field(secret.field)] = {
            "type": "string",
            "description": "Tells whether the value that was applied last is still the one that is wanted.",
        }
    status = bricks.obj(
        {
            "atProvider": bricks.obj(dict(sorted(values.items()))),
            "conditions": bricks.conditions(),
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

        from groundplane.aws import sdk

        self._kind = found
        self._model = ServiceModel(sdk.LOADER.load_service_model(found.service, "service-2"), found.service)
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


def _provider_config(group: str, kind: str = PLAIN) -> Object:
    from groundplane.aws.credentials import SOURCES

    secret = bricks.obj({"key": STRING, "name": STRING, "namespace": STRING}, required=["key", "name", "namespace"])
    file = bricks.obj({"path": STRING}, required=["path"])
    token = bricks.obj(
        {"fs": file, "secretRef": secret, "source": {"type": "string", "enum": ["Secret", "Filesystem"]}},
        required=["source"],
    )
    identity = bricks.obj({"roleARN": STRING, "roleSessionName": STRING, "tokenConfig": token})
    role = bricks.obj(
        {
            "externalID": STRING,
            "roleARN": STRING,
            "roleSessionName": STRING,
            "tags": bricks.array(bricks.obj({"key": STRING, "value": STRING}, required=["key", "value"])),
            "transitiveTagKeys": bricks.array(STRING),
        }
    )
    credentials = bricks.obj(
        {
            "env": bricks.obj({"name": STRING}, required=["name"]),
            "fs": file,
            "secretRef": secret,
            "source": {"type": "string", "enum": sorted(SOURCES), "description": "Where the credentials come from."},
            "upbound": bricks.obj({"webIdentity": identity}),
            "webIdentity": identity,
        },
        required=["source"],
    )
    url = bricks.obj(
        {
            "dynamic": bricks.obj({"host": STRING, "protocol": {"type": "string", "enum": ["http", "https"]}}),
            "static": STRING,
            "type": {"type": "string", "enum": ["Static", "Dynamic", "Auto"]},
        },
        required=["type"],
    )
    endpoint = bricks.obj(
        {
            "hostnameImmutable": BOOLEAN,
            "partitionId": STRING,
            "services": {**bricks.array(STRING), "description": "The services that the URL is for; none means all."},
            "signingMethod": STRING,
            "signingName": STRING,
            "signingRegion": STRING,
            "source": {"type": "string", "enum": ["ServiceMetadata", "Custom"]},
            "url": url,
        },
        required=["url"],
    )
    limiter = bricks.obj({"baseDelay": STRING, "maxDelay": STRING})
    spec = bricks.obj(
        {
            "assumeRoleChain": {**bricks.array(role), "description": "Roles to assume, one from the other."},
            "credentials": credentials,
            "endpoint": endpoint,
            "reconciliationPolicy": bricks.obj({"exponentialFailureRateLimiter": limiter}),
            "s3_use_path_style": BOOLEAN,
            "skip_credentials_validation": BOOLEAN,
            "skip_metadata_api_check": BOOLEAN,
            "skip_region_validation": BOOLEAN,
            "skip_requesting_account_id": BOOLEAN,
        },
        required=["credentials"],
    )
    status = bricks.obj({"conditions": bricks.conditions(), "users": {"type": "integer", "format": "int64"}})
    status = unseen(status)
    columns: list[Schema] = [
        {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "SOURCE", "type": "string", "jsonPath": ".spec.credentials.source", "priority": 1},
    ]
    version = bricks.version("v1beta1", bricks.root(spec, status), columns)
    scope = "Namespaced" if group == NAMESPACED_DOMAIN and kind == PLAIN else "Cluster"
    categories = ["crossplane", "providerconfig", "aws"]
    return bricks.crd(group, kind, f"{kind.lower()}s", [version], categories=categories, scope=scope)
