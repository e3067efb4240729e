"""IAM InstanceProfile: the one role in it is put in and taken out by calls of their own."""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import ClientError

from groundplane.aws import faults
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource


class Hooks(Base):
    def observed(self, resource: Resource, item: Item) -> Item:
        """It is of no use before its role is in it."""
        wanted = resource.desired("role")
        names = [role["RoleName"] for role in item.get("Roles") or ()]
        item["role"] = "in" if not wanted or wanted in names else "out"
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        self._empty(resource, item)
        if role := resource.desired("role"):
            resource.write("add_role_to_instance_profile", InstanceProfileName=resource.external_name, RoleName=role)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        self._empty(resource, item)

    def _empty(self, resource: Resource, item: Item) -> None:
        for role in item.get("Roles") or ():
            profile = {"InstanceProfileName": resource.external_name, "RoleName": role["RoleName"]}
            try:
                resource.write("remove_role_from_instance_profile", **profile)
            except ClientError as error:
                if faults.code_of(error) != "NoSuchEntity":
                    raise
