"""IAM Role: its policies, where the spec has them, are exactly those; and a role is deleted bare.

Source: Terraform AWS provider 5.31, internal/service/iam/role.go.  `managedPolicyArns` and `inlinePolicy` are exclusive
only when set; unset, other kinds (RolePolicyAttachment, RolePolicy) may attach what they want.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from groundplane.aws.hooks import Hooks as Base
from groundplane.aws.hooks import Item, Parameters

if TYPE_CHECKING:
    from groundplane.aws.resource import Resource


class Hooks(Base):
    def observed(self, resource: Resource, item: Item) -> Item:
        if resource.spec.get("inlinePolicy") is not None:
            item["inline"] = [_inline(resource, name) for name in _pages(resource, "list_role_policies", "PolicyNames")]
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        if group == "attached":
            self._attach(resource, set(item["attached"] or ()))
        else:
            self._put(resource, item["inline"])

    def _attach(self, resource: Resource, found: set[str]) -> None:
        wanted = set(resource.spec.get("managedPolicyArns") or ())
        for arn in sorted(wanted - found):
            resource.call("attach_role_policy", RoleName=resource.external_name, PolicyArn=arn)
        for arn in sorted(found - wanted):
            resource.call("detach_role_policy", RoleName=resource.external_name, PolicyArn=arn)

    def _put(self, resource: Resource, found: Sequence[Item]) -> None:
        wanted = {
            entry["name"]: entry["policy"] for entry in resource.spec.get("inlinePolicy") or () if entry.get("name")
        }
        for name, policy in sorted(wanted.items()):
            if {"name": name, "policy": policy} not in found:
                resource.call(
                    "put_role_policy", RoleName=resource.external_name, PolicyName=name, PolicyDocument=policy
                )
        for name in sorted({entry["name"] for entry in found} - set(wanted)):
            resource.call("delete_role_policy", RoleName=resource.external_name, PolicyName=name)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        role, spec = resource.external_name, resource.spec
        for profile in _pages(resource, "list_instance_profiles_for_role", "InstanceProfiles"):
            resource.call(
                "remove_role_from_instance_profile", RoleName=role, InstanceProfileName=profile["InstanceProfileName"]
            )
        if spec.get("forceDetachPolicies") or spec.get("managedPolicyArns"):
            for policy in _pages(resource, "list_attached_role_policies", "AttachedPolicies"):
                resource.call("detach_role_policy", RoleName=role, PolicyArn=policy["PolicyArn"])
        if spec.get("forceDetachPolicies") or spec.get("inlinePolicy"):
            for name in _pages(resource, "list_role_policies", "PolicyNames"):
                resource.call("delete_role_policy", RoleName=role, PolicyName=name)


def _pages(resource: Resource, call: str, member: str) -> Iterator[Any]:
    for page in list(resource.client().get_paginator(call).paginate(RoleName=resource.external_name)):
        yield from page.get(member) or ()


def _inline(resource: Resource, name: str) -> Item:
    answer = resource.call("get_role_policy", RoleName=resource.external_name, PolicyName=name)
    document = answer["PolicyDocument"]
    policy = document if isinstance(document, str) else json.dumps(document, sort_keys=True, separators=(",", ":"))
    return {"name": name, "policy": policy}
