"""EC2 NATGateway: its further addresses come and go by calls of their own, public ones by allocation, private ones by number."""

from __future__ import annotations

from collections.abc import Sequence

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput
from groundplane.ports import Difference

ALLOCATIONS, ADDRESSES = "secondaryAllocationIds", "secondaryPrivateIpAddresses"


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        spec = resource.spec
        if spec.get("availabilityMode") == "regional":
            return
        is_public = spec.get("connectivityType", "public") == "public"
        for name, needed in (("subnetId", True), ("allocationId", is_public)):
            if needed and not spec.get(name):
                mend = f"set it, or {name}Ref or a selector"
                raise InvalidInput("is required", mend=mend, where=(f"spec.forProvider.{name}",))
        if not is_public and spec.get("allocationId"):
            what, where = "a private NAT gateway has no public address", ("spec.forProvider.allocationId",)
            raise InvalidInput(what, mend="remove it, or set connectivityType: public", where=where)

    def observed(self, resource: Resource, item: Item) -> Item:
        addresses = item.get("NatGatewayAddresses") or []
        item["secondaryCount"] = len([each for each in addresses if each.get("IsPrimary") is False])
        if item.get("AvailabilityMode") == "regional":
            item["regional"] = addresses
        return item

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        """A public gateway's further private addresses are those of its allocations."""
        return [each for each in found if each.field != ADDRESSES or not _is_public(item)]

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        gateway = resource.external_name
        further = [each for each in item.get("NatGatewayAddresses") or () if each.get("IsPrimary") is False]
        if _is_public(item):
            wanted = resource.desired(ALLOCATIONS, item)
            gone = [each["AssociationId"] for each in further if each.get("AllocationId") not in wanted]
            if new := _new(wanted, further, "AllocationId"):
                resource.write("associate_nat_gateway_address", NatGatewayId=gateway, AllocationIds=new)
            if gone:
                resource.write("disassociate_nat_gateway_address", NatGatewayId=gateway, AssociationIds=gone)
            return
        wanted = resource.desired(ADDRESSES, item)
        gone = [each["PrivateIp"] for each in further if each.get("PrivateIp") not in wanted]
        if new := _new(wanted, further, "PrivateIp"):
            resource.write("assign_private_nat_gateway_address", NatGatewayId=gateway, PrivateIpAddresses=new)
        if gone:
            resource.write("unassign_private_nat_gateway_address", NatGatewayId=gateway, PrivateIpAddresses=gone)


def _is_public(item: Item) -> bool:
    return bool(item.get("ConnectivityType", "public") == "public")


def _new(wanted: Json, found: Sequence[Item], member: str) -> list[str]:
    known = {each.get(member) for each in found}
    return [str(value) for value in wanted if value not in known]
