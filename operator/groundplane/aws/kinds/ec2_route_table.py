"""EC2 RouteTable: that of a default VPC is AWS's own."""

from __future__ import annotations

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Resource


class Hooks(Base):
    def is_own(self, resource: Resource, item: Item) -> bool:
        if not any(each.get("Main") for each in item.get("Associations") or ()):
            return False
        vpcs = resource.ask("describe_vpcs", VpcIds=[item["VpcId"]])["Vpcs"]
        return any(each.get("IsDefault") for each in vpcs)
