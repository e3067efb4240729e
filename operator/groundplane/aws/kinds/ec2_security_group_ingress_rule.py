"""EC2 SecurityGroupIngressRule: one rule, with an id and tags of its own; SecurityGroupEgressRule works alike.

AWS takes a rule in one form when it is made, and in another when it is changed: then all of it, with one source.
"""

from __future__ import annotations

from typing import Any

from groundplane.aws import convert
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, Required, shown

ALL = "-1"
WITH_PORTS = ("tcp", "udp")
PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "all": ALL}  # as AWS tells them
SOURCES = {  # field: where a new rule has it, and where a changed one
    "cidrIpv4": ("IpRanges", "CidrIp", "CidrIpv4"),
    "cidrIpv6": ("Ipv6Ranges", "CidrIpv6", "CidrIpv6"),
    "prefixListId": ("PrefixListIds", "PrefixListId", "PrefixListId"),
    "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId", "ReferencedGroupId"),
}


def protocol(given: Json) -> str:
    """A protocol as AWS spells it.

    >>> protocol("TCP"), protocol(6), protocol("all"), protocol("50")
    ('tcp', 'tcp', '-1', '50')
    """
    name = str(given).lower()
    return PROTOCOLS.get(name, name)


def pair(group: str) -> dict[str, str]:
    """A group as a rule names it; one of another account has that before its name.

    >>> pair("123456789012/sg-1")
    {'GroupId': 'sg-1', 'UserId': '123456789012'}
    """
    account, _, name = group.rpartition("/")
    return {"GroupId": name, **({"UserId": account} if account else {})}


def check_ports(resource: Resource, field: str) -> None:
    """Whether the protocol is one, and the ports are in their order.  Raises InvalidInput."""
    spec, given = resource.spec, resource.spec.get(field)
    name = ALL if given is None else protocol(given)
    if name not in PROTOCOLS.values() and not (name.isdecimal() and len(name) <= 3 and int(name) <= 255):
        mend = "use tcp, udp, icmp, icmpv6, a number, or -1 for all"
        raise InvalidInput(f"{shown(given)} is no protocol", mend=mend, where=(f"spec.forProvider.{field}",))
    first, last = spec.get("fromPort"), spec.get("toPort")
    if name in WITH_PORTS and first is not None and last is not None and first > last:
        what = f"{convert.text(first)} is more than toPort {convert.text(last)}"
        raise InvalidInput(what, mend="write at most as much as toPort", where=("spec.forProvider.fromPort",))


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        check_ports(resource, "ipProtocol")

    def check_create(self, resource: Resource) -> None:
        given = [name for name in SOURCES if resource.spec.get(name)]
        if len(given) != 1:
            mend, where = f"set one of {', '.join(SOURCES)}", ("spec.forProvider",)
            if not given:
                raise Required("has no source", mend=mend, where=where)
            raise InvalidInput(f"has more than one source: {', '.join(given)}", mend=mend, where=where)
        if protocol(resource.spec.get("ipProtocol")) in WITH_PORTS:
            for name in ("fromPort", "toPort"):
                if resource.spec.get(name) is None:
                    what = f"is required with {resource.spec['ipProtocol']}"
                    raise InvalidInput(what, mend="set it: 443", where=(f"spec.forProvider.{name}",))

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        spec = resource.spec
        name = next(name for name in SOURCES if spec.get(name))
        where, member, _ = SOURCES[name]
        entry: dict[str, Any] = pair(str(spec[name])) if where == "UserIdGroupPairs" else {member: spec[name]}
        if spec.get("description"):
            entry["Description"] = spec["description"]
        rule: dict[str, Any] = {"IpProtocol": protocol(spec["ipProtocol"]), where: [entry]}
        if rule["IpProtocol"] != ALL:
            ports = {"FromPort": spec.get("fromPort"), "ToPort": spec.get("toPort")}
            rule |= {name: port for name, port in ports.items() if port is not None}
        return "", {"IpPermissions": [rule]}

    def observed(self, resource: Resource, item: Item) -> Item:
        """Where the spec says the same in other words, in the spec's."""
        wanted = resource.spec.get("ipProtocol")
        if wanted is not None and protocol(wanted) == item["IpProtocol"]:
            item["IpProtocol"] = wanted
        if protocol(item["IpProtocol"]) == ALL:  # AWS tells -1, whatever was sent
            for name, field in (("FromPort", "fromPort"), ("ToPort", "toPort")):
                item[name] = resource.spec.get(field)
        if group := item.get("ReferencedGroupInfo"):
            account, owner = group.get("UserId"), item.get("GroupOwnerId")
            foreign = account if account and owner and account != owner else ""
            group["GroupId"] = f"{foreign}/{group['GroupId']}" if foreign else group["GroupId"]
        return item

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        """One source: if the spec has one, no other that AWS still has."""
        rule = parameters["SecurityGroupRules"][0]["SecurityGroupRule"]
        given = {SOURCES[name][2] for name in SOURCES if resource.spec.get(name)}
        for _, _, name in SOURCES.values():
            if given and name not in given:
                rule.pop(name, None)
        rule["IpProtocol"] = protocol(rule["IpProtocol"])
        if rule["IpProtocol"] == ALL:
            rule.pop("FromPort", None)
            rule.pop("ToPort", None)
        if "ReferencedGroupId" in rule:
            rule["ReferencedGroupId"] = rule["ReferencedGroupId"].rpartition("/")[2]
        return parameters
