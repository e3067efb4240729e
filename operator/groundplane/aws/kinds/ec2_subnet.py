"""EC2 Subnet: its IPv6 block comes and goes by calls of its own, between what needs it; an outpost's addresses need two
parameters at once."""

from __future__ import annotations

from collections.abc import Sequence

from groundplane.aws.kinds.ec2_vpc import associated, check_size
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource

NEED_IPV6 = {
    "assignIpv6AddressOnCreation": "AssignIpv6AddressOnCreation",
    "enableDns64": "EnableDns64",
    "enableResourceNameDnsAaaaRecordOnLaunch": "EnableResourceNameDnsAAAARecordOnLaunch",
}


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        check_size(resource)

    def observed(self, resource: Resource, item: Item) -> Item:
        item["ipv6"] = associated(item)
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        """What needs the block is switched off before it goes; what is switched on comes after it, as an update of its own."""
        subnet = resource.external_name
        if item["ipv6"] is not None:
            for name, parameter in NEED_IPV6.items():
                if resource.observed(name, item) and not resource.desired(name):
                    off: Parameters = {"SubnetId": subnet, parameter: {"Value": False}}
                    resource.write("modify_subnet_attribute", **off)
            resource.write("disassociate_subnet_cidr_block", AssociationId=item["ipv6"]["AssociationId"])
        if block := resource.desired("ipv6CidrBlock"):
            resource.write("associate_subnet_cidr_block", SubnetId=subnet, Ipv6CidrBlock=block)

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        """AWS takes the pool and the mapping only together."""
        if {"CustomerOwnedIpv4Pool", "MapCustomerOwnedIpOnLaunch"} & parameters.keys():
            parameters["CustomerOwnedIpv4Pool"] = resource.desired("customerOwnedIpv4Pool")
            parameters["MapCustomerOwnedIpOnLaunch"] = {"Value": bool(resource.desired("mapCustomerOwnedIpOnLaunch"))}
        return {name: value for name, value in parameters.items() if value is not None}
