"""EC2 VPC: IPv6 blocks come and go by calls of their own."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from groundplane.aws import judging
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Resource
from groundplane.errors import InvalidInput, shown


def check_size(resource: Resource) -> None:
    """Whether AWS has VPCs and subnets that are as large as the block.  Raises InvalidInput."""
    block = str(resource.spec.get("cidrBlock") or "")
    if judging.is_block(block) and not 16 <= ip_network(block, strict=False).prefixlen <= 28:
        where = ("spec.forProvider.cidrBlock",)
        raise InvalidInput(f"AWS takes no {shown(block)}", mend="use a block between /16 and /28", where=where)


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        if not resource.spec.get("cidrBlock") and not resource.spec.get("ipv4IpamPoolId"):
            mend = "set it, such as 10.0.0.0/16, or ipv4IpamPoolId"
            raise InvalidInput("is required", mend=mend, where=("spec.forProvider.cidrBlock",))
        check_size(resource)

    def observed(self, resource: Resource, item: Item) -> Item:
        item["ipv6"] = block = associated(item)
        if block is not None and block.get("Ipv6Pool") in (None, "", "Amazon"):
            item["generatedIpv6"] = block
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        """Replace the block: one is enough for a VPC, and its association can't be changed."""
        if item["ipv6"] is not None:
            resource.write("disassociate_vpc_cidr_block", AssociationId=item["ipv6"]["AssociationId"])
        wanted: dict[str, Any] = {}
        if resource.desired("assignGeneratedIpv6CidrBlock"):
            wanted["AmazonProvidedIpv6CidrBlock"] = True
        elif block := resource.desired("ipv6CidrBlock"):
            wanted["Ipv6CidrBlock"] = block
            if pool := resource.desired("ipv6IpamPoolId"):
                wanted["Ipv6IpamPoolId"] = pool
        if wanted:
            if border := resource.desired("ipv6CidrBlockNetworkBorderGroup"):
                wanted["Ipv6CidrBlockNetworkBorderGroup"] = border
            resource.write("associate_vpc_cidr_block", VpcId=resource.external_name, **wanted)


def associated(item: Item) -> Item | None:
    """The IPv6 block that a VPC or a subnet has now."""
    for block in item.get("Ipv6CidrBlockAssociationSet") or ():
        if (block.get("Ipv6CidrBlockState") or {}).get("State") in ("associated", "associating"):
            found: Item = block
            return found
    return None
