"""IAM Role: its policies, where the spec has them, are exactly those; and a role is deleted bare.

Source: Terraform AWS provider 5.31, internal/service/iam/role.go.  `managedPolicyArns` and `inlinePolicy` are exclusive
only when set; unset, other kinds (RolePolicyAttachment, RolePolicy) may attach what they want.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from groundplane.aws import compare
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.errors import Required


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        """An entry with neither is upstream's way to say that there is to be none."""
        for place, entry in enumerate(resource.spec.get("inlinePolicy") or ()):
            missing = [name for name in ("name", "policy") if not entry.get(name)]
            if len(missing) == 1:
                where = f"spec.forProvider.inlinePolicy[{place}].{missing[0]}"
                raise Required("is required", mend="set it", where=(where,))

    def observed(self, resource: Resource, item: Item) -> Item:
        if resource.spec.get("inlinePolicy") is not None:
            names = _listed(resource, "list_role_policies", "PolicyNames")
            item["inline"] = [_inline(resource, name) for name in names]
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        if group == "attached":
            self._attach(resource, set(item["attached"] or ()))
        else:
            self._put(resource, item["inline"])

    def _attach(self, resource: Resource, found: set[str]) -> None:
        wanted = set(resource.desired("managedPolicyArns") or ())
        for arn in sorted(wanted - found):
            resource.write("attach_role_policy", RoleName=resource.external_name, PolicyArn=arn)
        for arn in sorted(found - wanted):
            resource.write("detach_role_policy", RoleName=resource.external_name, PolicyArn=arn)

    def _put(self, resource: Resource, found: Sequence[Item]) -> None:
        wanted = {
            entry["name"]: entry["policy"] for entry in resource.desired("inlinePolicy") or () if entry.get("name")
        }
        for name, policy in sorted(wanted.items()):
            known = next((entry["policy"] for entry in found if entry["name"] == name), None)
            if not compare.equal("policy", policy, known):
                resource.write(
                    "put_role_policy", RoleName=resource.external_name, PolicyName=name, PolicyDocument=policy
                )
        for name in sorted({entry["name"] for entry in found} - set(wanted)):
            resource.write("delete_role_policy", RoleName=resource.external_name, PolicyName=name)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        role, spec = resource.external_name, resource.spec
        for profile in _listed(resource, "list_instance_profiles_for_role", "InstanceProfiles"):
            resource.write(
                "remove_role_from_instance_profile", RoleName=role, InstanceProfileName=profile["InstanceProfileName"]
            )
        if spec.get("forceDetachPolicies") or spec.get("managedPolicyArns"):
            for policy in _listed(resource, "list_attached_role_policies", "AttachedPolicies"):
                resource.write("detach_role_policy", RoleName=role, PolicyArn=policy["PolicyArn"])
        if spec.get("forceDetachPolicies") or spec.get("inlinePolicy"):
            for name in _listed(resource, "list_role_policies", "PolicyNames"):
                resource.write("delete_role_policy", RoleName=role, PolicyName=name)


def _listed(resource: Resource, call: str, member: str) -> list[Any]:
    return [entry for page in resource.pages(call, RoleName=resource.external_name) for entry in page.get(member) or ()]


def _inline(resource: Resource, name: str) -> Item:
    answer = resource.ask("get_role_policy", RoleName=resource.external_name, PolicyName=name)
    document = answer["PolicyDocument"]
    policy = document if isinstance(document, str) else json.dumps(document, sort_keys=True, separators=(",", ":"))
    return {"name": name, "policy": policy}
