"""EC2 EIP: it is associated and disassociated by calls of their own, and its names are made from its numbers.

Source: Terraform AWS provider 5.31, internal/service/ec2/ec2_eip.go, for the names; EC2 API 2016-11-15.
"""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import ClientError

from groundplane.aws import faults
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource

FIRST = "us-east-1"  # the region whose names are older than regions


class Hooks(Base):
    def observed(self, resource: Resource, item: Item) -> Item:
        region, suffix = resource.region, resource.template("$suffix")
        inner, outer = f"{region}.compute.internal", f"{region}.compute.{suffix}"
        if region == FIRST:
            inner, outer = "ec2.internal", f"compute-1.{suffix}"
        if address := item.get("PrivateIpAddress"):
            item["privateDns"] = f"ip-{address.replace('.', '-')}.{inner}"
        if address := item.get("PublicIp"):
            item["publicDns"] = f"ec2-{address.replace('.', '-')}.{outer}"
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        wanted = {
            "InstanceId": resource.desired("instance", item),
            "NetworkInterfaceId": resource.desired("networkInterface", item),
        }
        if fields == ["associateWithPrivateIp"] and not any(wanted.values()):
            wanted["NetworkInterfaceId"] = item.get("NetworkInterfaceId")
        if wanted["InstanceId"] and wanted["NetworkInterfaceId"] == item.get("NetworkInterfaceId"):
            del wanted["NetworkInterfaceId"]  # late-initialised from the instance that it had
        wanted = {name: value for name, value in wanted.items() if value}
        self._disassociate(resource, item)
        if not wanted:
            return
        address = resource.desired("associateWithPrivateIp", item)
        resource.write(
            "associate_address",
            AllocationId=resource.external_name,
            **wanted,
            **({"PrivateIpAddress": address} if address else {}),
        )

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        self._disassociate(resource, item)

    def _disassociate(self, resource: Resource, item: Item) -> None:
        if not item.get("AssociationId"):
            return
        try:
            resource.write("disassociate_address", AssociationId=item["AssociationId"])
        except ClientError as error:
            if faults.code_of(error) != "InvalidAssociationID.NotFound":
                raise
