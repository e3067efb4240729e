"""Managed resources of a provider's first generation in the shape of its second: groups, objects instead of lists of one, references.

Source: provider-upjet-aws v2, provider-sql and provider-kubernetes with their namespaced kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from groundplane.core import providers
from groundplane.core.objects import Json, group_of
from groundplane.core.structural import OpenAPI

AWS, NAMESPACED_AWS = ".aws.upbound.io", ".aws.m.upbound.io"


def second(group: str) -> str:
    """The API version of a provider's kinds of the second generation, for a group of the first; "" if there is none.

    >>> second("rds.aws.upbound.io"), second("postgresql.sql.crossplane.io"), second("rds.aws.m.upbound.io")
    ('rds.aws.m.upbound.io/v1beta1', 'postgresql.sql.m.crossplane.io/v1alpha1', '')
    """
    family = providers.of(group)
    if family is None or family.is_namespaced or family.is_mixed:
        return ""
    other = next(each for each in providers.FAMILIES if each.provider == family.provider and each.is_namespaced)
    return f"{group.removesuffix(family.domain)}{other.domain}/{other.version}"


def is_second(base: Mapping[str, Any]) -> bool:
    """Whether a base is a managed resource of the second generation."""
    family = providers.of(group_of(str(base.get("apiVersion") or "")))
    return family is not None and family.is_namespaced


def replaced(value: Any) -> Any:
    """A value with the second generation's groups in all its texts.

    >>> replaced({"a": ["apiVersion: ec2.aws.upbound.io/v1beta1"]})
    {'a': ['apiVersion: ec2.aws.m.upbound.io/v1beta1']}
    """
    if isinstance(value, str):
        return value.replace(f"{AWS}/", f"{NAMESPACED_AWS}/")
    if isinstance(value, dict):
        return {name: replaced(each) for name, each in value.items()}
    return [replaced(each) for each in value] if isinstance(value, list) else value


def at(schema: OpenAPI, name: str) -> OpenAPI:
    """The schema of a property; {} if there is none."""
    found: OpenAPI = (schema.get("properties") or {}).get(name) or {}
    return found


def objects(schema: OpenAPI, path: str) -> Iterator[str]:
    """The paths of all objects below one; of lists the first element stands for all.

    >>> list(objects({"properties": {"a": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "object"}}}}}}, "x"))
    ['x.a[0].b']
    """
    for name, each in (schema.get("properties") or {}).items():
        place = f"{path}.{name}"
        if each.get("type") == "array":
            yield from objects(each.get("items") or {}, f"{place}[0]")
        elif each.get("type") == "object":
            yield place
            yield from objects(each, place)


def fitted(value: Json, schema: OpenAPI, path: str) -> Json:
    """A value in the shape of the second generation: lists of one as objects, references to Secrets without a namespace."""
    if isinstance(value, list) and schema.get("type") == "object" and len(value) <= 1:
        return fitted(value[0], schema, path) if value else {}
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [fitted(each, items, f"{path}[{index}]") for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties") or {}
    is_local = path.endswith("SecretRef") or path.endswith("SecretToRef")
    return {
        name: fitted(each, properties.get(name) or {}, f"{path}.{name}")
        for name, each in value.items()
        if not (is_local and name == "namespace" and "namespace" not in properties)
    }


def refers_outside(value: Json, path: str) -> Iterator[str]:
    """The references and selectors of a base that mean what another object makes.

    >>> spec = {"forProvider": {"vpcIdSelector": {"matchControllerRef": True}, "subnetIdRefs": [{"name": "a"}], "passwordSecretRef": {"name": "p"}}}
    >>> list(refers_outside(spec, "spec"))
    ['spec.forProvider.subnetIdRefs']
    """
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from refers_outside(each, f"{path}[{index}]")
    for name, each in value.items() if isinstance(value, dict) else ():
        place = f"{path}.{name}"
        if name in ("providerConfigRef", "writeConnectionSecretToRef") or name.endswith("SecretRef"):
            continue
        if re.search("Ref$|Refs$|Selector$", name) and isinstance(each, dict | list):
            if not (isinstance(each, dict) and each.get("matchControllerRef")):
                yield place
        else:
            yield from refers_outside(each, place)
