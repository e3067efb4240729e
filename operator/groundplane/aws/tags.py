"""Tags: the ownership tags that every external resource carries, and the services' ways to write tags.

Upstream's three are `crossplane-kind`, `crossplane-name` and `crossplane-providerconfig`
(crossplane-runtime v1.20, pkg/resource `GetExternalTags`); ours beside them is `crossplane-uid`, the managed
resource's metadata.uid, by which an interrupted create is found again.  Tags are authoritative: what the
spec and these don't name is removed; keys of AWS itself (`aws:`) are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from groundplane.core.objects import Json, Object, group_of, meta, spec_of

TOGETHER = "resourcegroupstaggingapi:get_resources"  # the call that tells the tags of many things
OWNER = "crossplane-uid"
AWS = "aws:"
OWNERSHIP = frozenset(
    {
        OWNER,
        "crossplane-kind",
        "crossplane-name",
        "crossplane-namespace",
        "crossplane-providerconfig",
        "crossplane-providerconfig-kind",
    }
)


@dataclass(frozen=True)
class Style:
    """How a service reads and writes tags.  Calls are client methods; `target` is their parameter for the thing."""

    add: str
    remove: str
    target: str
    read: str = ""  # "": the observed item has them
    result: str = ""  # where the read's answer has them
    create: str = "Tags"  # the create call's parameter
    parameter: str = ""  # the add call's, where it is another
    names: tuple[str, str] | Literal["map"] = ("Key", "Value")
    keys: str = "TagKeys"  # the remove call's parameter
    absent: tuple[str, ...] = ()  # codes of the read that mean "none"
    replaces: bool = False  # adding replaces the whole set, removing drops the whole set
    listed_target: bool = False  # the calls take a list of targets


STYLES: dict[str, Style] = {
    "rds": Style(
        add="add_tags_to_resource",
        remove="remove_tags_from_resource",
        target="ResourceName",
        read="list_tags_for_resource",
        result="TagList",
    ),
    "ec2": Style(add="create_tags", remove="delete_tags", target="Resources", keys="Tags", listed_target=True),
    "iam": Style(add="tag_{resource}", remove="untag_{resource}", target=""),  # target: {Resource}Name
    "s3": Style(
        add="put_bucket_tagging",
        remove="delete_bucket_tagging",
        target="Bucket",
        read="get_bucket_tagging",
        result="TagSet",
        create="",
        absent=("NoSuchTagSet",),
        replaces=True,
    ),
    "sqs": Style(
        add="tag_queue",
        remove="untag_queue",
        target="QueueUrl",
        read="list_queue_tags",
        result="Tags",
        create="tags",
        parameter="Tags",
        names="map",
    ),
    "sns": Style(
        add="tag_resource",
        remove="untag_resource",
        target="ResourceArn",
        read="list_tags_for_resource",
        result="Tags",
    ),
    "dynamodb": Style(
        add="tag_resource",
        remove="untag_resource",
        target="ResourceArn",
        read="list_tags_of_resource",
        result="Tags",
    ),
    "secretsmanager": Style(add="tag_resource", remove="untag_resource", target="SecretId"),
    "kms": Style(
        add="tag_resource",
        remove="untag_resource",
        target="KeyId",
        read="list_resource_tags",
        result="Tags",
        names=("TagKey", "TagValue"),
    ),
    "eks": Style(
        add="tag_resource", remove="untag_resource", target="resourceArn", create="tags", names="map", keys="tagKeys"
    ),
}


def ownership(managed: Object) -> dict[str, str]:
    """The tags that say whose an external resource is."""
    name = (spec_of(managed).get("providerConfigRef") or {}).get("name") or "default"
    found = {
        "crossplane-kind": f"{managed['kind']}.{group_of(managed['apiVersion'])}".lower(),
        "crossplane-name": meta(managed).get("name", ""),
        "crossplane-providerconfig": name,
    }
    if namespace := meta(managed).get("namespace"):
        found["crossplane-namespace"] = namespace
        kind = (spec_of(managed).get("providerConfigRef") or {}).get("kind") or "ClusterProviderConfig"
        found["crossplane-providerconfig-kind"] = kind
    if uid := meta(managed).get("uid"):
        found[OWNER] = uid
    return found


def desired(managed: Object) -> dict[str, str]:
    """The spec's tags and the ownership tags, the latter winning."""
    return given(spec_of(managed).get("forProvider")) | ownership(managed)


def given(block: Json) -> dict[str, str]:
    """The tags that a block of the spec asks for.  Those of AWS itself are left out, as upstream does: nobody else may set them."""
    values = block.get("tags") if isinstance(block, Mapping) else None
    found = values.items() if isinstance(values, Mapping) else ()
    return {str(key): str(value) for key, value in found if value is not None and not str(key).startswith(AWS)}


def dumped(values: Mapping[str, str], style: Style) -> Any:
    """Tags as the service's calls take them, sorted."""
    if style.names == "map":
        return dict(sorted(values.items()))
    key, value = style.names
    return [{key: name, value: entry} for name, entry in sorted(values.items())]


def parsed(values: Any, style: Style) -> dict[str, str]:
    """Tags as the service's answers have them, also those of AWS itself."""
    if style.names == "map":
        return dict(values or {})
    key, value = style.names
    return {entry[key]: entry.get(value) or "" for entry in values or ()}


def ours(found: Mapping[str, str]) -> dict[str, str]:
    """Tags without those of AWS itself, which nobody else may set."""
    return {name: value for name, value in found.items() if not name.startswith(AWS)}


def at_create(values: Mapping[str, str], style: Style, style_name: str, resource: str) -> dict[str, Any]:
    """The create call's parameters that carry the tags."""
    if not style.create or not values:
        return {}
    if style_name == "ec2":
        return {"TagSpecifications": [{"ResourceType": resource, "Tags": dumped(values, style)}]}
    return {style.create: dumped(values, style)}


def changes(
    wanted: Mapping[str, str], found: Mapping[str, str], style: Style, on: str, *, resource: str = "", target: str = ""
) -> list[tuple[str, dict[str, Any]]]:
    """The calls, as (method, parameters), that make the tags as wanted; additions first.

    `found` has AWS's own tags too: they are carried along where a call replaces the whole set.
    """
    theirs = {name: value for name, value in found.items() if name.startswith(AWS)}
    found = ours(found)
    names = {"resource": resource.replace("-", "_")}
    target = target or style.target or f"{''.join(part.capitalize() for part in resource.split('-'))}Name"
    at: dict[str, Any] = {target: [on] if style.listed_target else on}
    if style.replaces:
        if wanted or theirs:
            return [(style.add, {**at, "Tagging": {style.result: dumped({**theirs, **wanted}, style)}})]
        return [(style.remove, at)]
    result = []
    added = {key: value for key, value in wanted.items() if found.get(key) != value}
    removed = sorted(set(found) - set(wanted))
    if added:
        parameter = style.parameter or style.create or "Tags"
        result.append((style.add.format(**names), {**at, parameter: dumped(added, style)}))
    if removed:
        keys: Any = [{"Key": key} for key in removed] if style.keys == "Tags" else removed
        result.append((style.remove.format(**names), {**at, style.keys: keys}))
    return result
