"""EC2's NAT gateways, subnets and rules of security groups as AWS has them, in the stand-in.

What moto 5.2 lacks and this adds: a gateway is made once for a token, is found by its tags, has the private address that it is told to
have, and addresses beside the first, which go with it; a changed rule needs no ports where its protocol has none, and takes another IPv6 block or group; a subnet keeps all its
attributes, and tells the state of its IPv6 block.
"""

from __future__ import annotations

import importlib
from typing import Any


def mend() -> None:
    """Replace the methods of moto's EC2 that behave otherwise than AWS."""
    _mend_gateways()
    _mend_rules()
    _mend_subnets()


def _mend_rules() -> None:
    groups: Any = importlib.import_module("moto.ec2.models.security_groups").SecurityGroupBackend
    modify = groups.modify_security_group_rules

    def modify_security_group_rules(self: Any, group_id: str, rules: dict[str, dict[str, Any]]) -> None:
        for new in rules.values():
            if new.get("IpProtocol") not in ("tcp", "udp", "6", "17"):
                new.setdefault("FromPort", -1)
                new.setdefault("ToPort", -1)
        modify(self, group_id, rules)
        for name, new in rules.items():
            rule = self.get_security_group_by_name_or_id(group_id).get_rule(name)
            if new.get("CidrIpv6"):
                rule.ip_range["CidrIpv6"] = new["CidrIpv6"]
            if new.get("ReferencedGroupId"):
                rule.source_group["GroupId"] = new["ReferencedGroupId"]

    groups.modify_security_group_rules = modify_security_group_rules


def _mend_gateways() -> None:
    """Replace the methods of moto's NAT gateways that behave otherwise than AWS."""
    gateways: Any = importlib.import_module("moto.ec2.responses.nat_gateways").NatGateways
    backend: Any = importlib.import_module("moto.ec2.models.nat_gateways").NatGatewayBackend
    responses: Any = importlib.import_module("moto.core.responses")
    utils: Any = importlib.import_module("moto.ec2.utils")
    describe, delete = backend.describe_nat_gateways, backend.delete_nat_gateway

    def create_nat_gateway(self: Any) -> Any:
        token = self._get_param("ClientToken")
        for known in self.ec2_backend.nat_gateways.values():
            if token and getattr(known, "token", "") == token:
                return responses.ActionResult({"NatGateway": known})
        made = self.ec2_backend.create_nat_gateway(
            subnet_id=self._get_param("SubnetId"),
            allocation_id=self._get_param("AllocationId"),
            tags=utils.add_tag_specification(self._get_param("TagSpecifications", [])),
            connectivity_type=self._get_param("ConnectivityType") or "public",
        )
        made.token = token
        first = made.address_set[0]
        first |= {"isPrimary": True, "privateIp": self._get_param("PrivateIpAddress") or first["privateIp"]}
        for allocation in self._get_param("SecondaryAllocationIds", []):
            _add_address(self.ec2_backend, made, {"allocationId": allocation})
        for address in (
            self._get_param("SecondaryPrivateIpAddresses", []) if made.connectivity_type == "private" else []
        ):
            _add_address(self.ec2_backend, made, {"privateIp": address})
        for _ in range(int(self._get_param("SecondaryPrivateIpAddressCount") or 0)):
            _add_address(self.ec2_backend, made, {})
        return responses.ActionResult({"NatGateway": made})

    def describe_nat_gateways(self: Any, filters: Any, nat_gateway_ids: Any) -> Any:
        found = describe(self, filters, nat_gateway_ids)
        wanted = {name: values for name, values in (filters or {}).items() if name.startswith("tag:")}
        return [each for each in found if all(each.get_filter_value(name) in wanted[name] for name in wanted)]

    def delete_nat_gateway(self: Any, nat_gateway_id: str) -> Any:
        gone = delete(self, nat_gateway_id)
        for each in gone.address_set:
            if allocation := each.get("allocationId"):
                for address in self.address_by_allocation([allocation]):
                    if address.association_id:
                        self.disassociate_address(association_id=address.association_id)
        return gone

    def addresses(name: str, member: str, *, gone: bool) -> Any:
        def change(self: Any) -> Any:
            gateway = self.ec2_backend.nat_gateways[self._get_param("NatGatewayId")]
            for value in self._get_param(name, []):
                if gone:
                    gateway.address_set = [each for each in gateway.address_set if each.get(member) != value]
                else:
                    _add_address(self.ec2_backend, gateway, {member: value})
            return responses.ActionResult({"NatGatewayId": gateway.id, "NatGatewayAddresses": gateway.address_set})

        return change

    gateways.create_nat_gateway = create_nat_gateway
    gateways.associate_nat_gateway_address = addresses("AllocationIds", "allocationId", gone=False)
    gateways.disassociate_nat_gateway_address = addresses("AssociationIds", "associationId", gone=True)
    gateways.assign_private_nat_gateway_address = addresses("PrivateIpAddresses", "privateIp", gone=False)
    gateways.unassign_private_nat_gateway_address = addresses("PrivateIpAddresses", "privateIp", gone=True)
    backend.describe_nat_gateways = describe_nat_gateways
    backend.delete_nat_gateway = delete_nat_gateway


def _add_address(backend: Any, gateway: Any, given: dict[str, str]) -> None:
    """One beside the first."""
    utils: Any = importlib.import_module("moto.ec2.utils")
    made = {
        "isPrimary": False,
        "status": "succeeded",
        "networkInterfaceId": gateway._eni.id,
        "privateIp": utils.random_private_ip(),
    }
    if allocation := given.get("allocationId"):
        address = backend.address_by_allocation([allocation])[0]
        made |= {"publicIp": address.public_ip, "associationId": utils.random_eip_association_id()}
    gateway.address_set.append(made | given)


def _mend_subnets() -> None:
    """Let subnets keep the attributes that moto doesn't know, and tell the state of their IPv6 block."""
    subnets: Any = importlib.import_module("moto.ec2.responses.subnets").Subnets
    modify = subnets.modify_subnet_attribute

    def modify_subnet_attribute(self: Any) -> Any:
        subnet = self.ec2_backend.get_subnet(self._get_param("SubnetId"))
        for attribute, name in (
            ("EnableDns64", "enable_dns64"),
            ("MapCustomerOwnedIpOnLaunch", "map_customer_owned_ip_on_launch"),
        ):
            if (value := self._get_param(f"{attribute}.Value")) is not None:
                setattr(subnet, name, value)
        if (value := self._get_param("EnableResourceNameDnsAAAARecordOnLaunch.Value")) is not None:
            subnet.private_dns_name_options_on_launch["EnableResourceNameDnsAAAARecord"] = value
        if (value := self._get_param("CustomerOwnedIpv4Pool")) is not None:
            subnet.customer_owned_ipv4_pool = value
        if (value := self._get_param("EnableLniAtDeviceIndex")) is not None:
            subnet.enable_lni_at_device_index = value
        if self._get_param("DisableLniAtDeviceIndex"):
            subnet.enable_lni_at_device_index = None
        return modify(self)

    def blocks(self: Any) -> list[dict[str, Any]]:
        kept = [
            entry
            for entry in self.ipv6_cidr_block_associations.values()
            if entry["ipv6CidrBlockState"]["State"] == "associated"
        ]
        return [entry | {"ipv6CidrBlockState": {"state": "associated"}} for entry in kept]

    subnets.modify_subnet_attribute = modify_subnet_attribute
    importlib.import_module("moto.ec2.models.subnets").Subnet.ipv6_cidr_block_association_set = property(blocks)
