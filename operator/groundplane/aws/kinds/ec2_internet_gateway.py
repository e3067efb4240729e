"""EC2 InternetGateway: it is attached and detached by calls of their own, and only usable in the VPC that it is for."""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import ClientError

from groundplane.aws import faults
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource


class Hooks(Base):
    def observed(self, resource: Resource, item: Item) -> Item:
        found: Item = next(iter(item.get("Attachments") or ()), {})
        wanted = resource.desired("vpcId")
        if wanted is None and not found:
            item["attachment"] = "none"
        elif found.get("VpcId") != (wanted or found.get("VpcId")):
            item["attachment"] = "detached"
        else:  # AWS calls it available, its documentation attached
            item["attachment"] = "attaching" if found.get("State") in ("attaching", "detaching") else "available"
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        self._detach(resource, item)
        resource.write(
            "attach_internet_gateway", InternetGatewayId=resource.external_name, VpcId=resource.desired("vpcId")
        )

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        self._detach(resource, item)

    def _detach(self, resource: Resource, item: Item) -> None:
        for found in item.get("Attachments") or ():
            try:
                resource.write(
                    "detach_internet_gateway", InternetGatewayId=resource.external_name, VpcId=found["VpcId"]
                )
            except ClientError as error:
                if faults.code_of(error) != "Gateway.NotAttached":
                    raise
