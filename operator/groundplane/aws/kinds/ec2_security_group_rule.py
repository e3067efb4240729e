"""EC2 SecurityGroupRule: one object, and in AWS a rule for each of its sources, which are compared as a set.

Its rules are those of its group, direction, protocol and ports.  Of these it has charge of the ones that the spec names, and of
those that it made before: they carry our tag, or stand in the status.  What others have made beside them stays.
Source: Terraform AWS provider 5.31, internal/service/ec2/vpc_security_group_rule.go; EC2 API 2016-11-15.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from groundplane.aws import judging, tags
from groundplane.aws.kinds.ec2_security_group_ingress_rule import ALL, check_ports, pair, protocol
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json, status_of
from groundplane.errors import InvalidInput, Required, shown

TYPES = ("ingress", "egress")
LISTS = {  # field: where a new rule has the source, its member there, and where AWS shows it
    "cidrBlocks": ("IpRanges", "CidrIp", "CidrIpv4"),
    "ipv6CidrBlocks": ("Ipv6Ranges", "CidrIpv6", "CidrIpv6"),
    "prefixListIds": ("PrefixListIds", "PrefixListId", "PrefixListId"),
}
GROUPS = "groups"  # the one list for `self` and `sourceSecurityGroupId`


class Source(NamedTuple):
    """What a rule lets in or out: a field of `LISTS` or `GROUPS`, and the source as AWS spells it."""

    field: str
    name: str


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        given = resource.spec.get("type")
        if given is not None and given not in TYPES:
            raise InvalidInput(f"{shown(given)} is no type", mend="write ingress or egress", where=(_at("type"),))
        check_ports(resource, "protocol")
        for name in ("cidrBlocks", "ipv6CidrBlocks"):
            for index, block in enumerate(resource.spec.get(name) or ()):
                if not judging.is_block(str(block)):
                    mend, where = "write one in CIDR notation: 10.0.0.0/16", (_at(f"{name}[{index}]"),)
                    raise InvalidInput(f"{shown(block)} is no block of addresses", mend=mend, where=where)

    def check_create(self, resource: Resource) -> None:
        self._check_sources(resource)

    @staticmethod
    def _check_sources(resource: Resource) -> None:
        if not _wanted(resource):
            names = [*LISTS, "self", "sourceSecurityGroupId"]
            raise Required("has no source", mend=f"set one of {', '.join(names)}", where=("spec.forProvider",))

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        return _call("authorize", resource), _permission(resource, list(_wanted(resource))) | _tagged(resource)

    def observed(self, resource: Resource, item: Item) -> Item:
        """Of the group's rules those that are ours to judge, told as upstream's status has them."""
        wanted = _wanted(resource)
        fitting = {_source(rule): rule for rule in item["SecurityGroupRules"] if _fits(resource, rule)}
        known = _known(resource)
        ours = {
            source: rule
            for source, rule in fitting.items()
            if source in wanted or source in known or _is_tagged(resource, rule)
        }
        item["rules"] = ours
        item["missing"] = [source for source in wanted if source not in ours]
        item["state"] = "absent" if not ours else "incomplete" if item["missing"] else "present"
        told = {field: sorted(wanted.get(each, each.name) for each in ours if each.field == field) for field in LISTS}
        item["cidrBlocks"] = told["cidrBlocks"]
        item["ipv6CidrBlocks"] = told["ipv6CidrBlocks"]
        item["prefixListIds"] = told["prefixListIds"]
        own = str(resource.addressed.get("securityGroupId") or "")
        names = {source.name for source in ours if source.field == GROUPS}
        item["self"] = own in names and resource.spec.get("sourceSecurityGroupId") != own
        others = sorted(
            names - {own} if item["self"] else names, key=lambda name: (Source(GROUPS, name) in wanted, name)
        )
        item["sourceSecurityGroupId"] = others[0] if others else None
        given, words = resource.spec.get("description") or "", [rule.get("Description") or "" for rule in ours.values()]
        item["description"] = next((text for text in words if text != given), given)
        item["securityGroupRuleId"] = _rule_ids(item)[0] if len(ours) == 1 else None
        item["fromPort"] = resource.addressed.get("fromPort")
        item["toPort"] = resource.addressed.get("toPort")
        return item

    def owner(self, resource: Resource, item: Item) -> Mapping[str, str]:
        """Whose the rules are, where all that are wanted are another object's: its equal."""
        wanted = _wanted(resource)
        found = [
            tags.parsed(rule.get("Tags"), tags.STYLES["ec2"])
            for source, rule in item["rules"].items()
            if source in wanted
        ]
        owners = {each.get(tags.OWNER) for each in found}
        is_of_one = len(found) == len(wanted) and len(owners) == 1 and owners.isdisjoint({None, resource.uid})
        return found[0] if is_of_one else {}

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        self._check_sources(resource)
        wanted = _wanted(resource)
        if group == "description":
            named = [source for source in item["rules"] if source in wanted]
            described = _permission(resource, named, describing=True)
            resource.write(f"update_security_group_rule_descriptions_{_type(resource)}", **described)
            return
        if item["missing"]:
            resource.write(_call("authorize", resource), **_permission(resource, item["missing"]), **_tagged(resource))
        stale = [rule for source, rule in item["rules"].items() if source not in wanted]
        self._revoke(resource, stale)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        self._revoke(resource, list(item.get("rules", {}).values()))

    def _revoke(self, resource: Resource, rules: Sequence[Item]) -> None:
        if rules:
            ids = sorted(rule["SecurityGroupRuleId"] for rule in rules)
            group = resource.addressed["securityGroupId"]
            resource.write(_call("revoke", resource), GroupId=group, SecurityGroupRuleIds=ids)


def _at(name: str) -> str:
    return f"spec.forProvider.{name}"


def _type(resource: Resource) -> str:
    return str(resource.addressed.get("type") or TYPES[0])


def _call(what: str, resource: Resource) -> str:
    return f"{what}_security_group_{_type(resource)}"


def _block(given: str) -> str:
    """A block as AWS tells it, without bits beyond the mask."""
    try:
        return str(ipaddress.ip_network(given, strict=False))
    except ValueError:
        return given


def _of(values: dict[str, Json], own: Json) -> dict[Source, str]:
    """The sources that a spec or a status names, each with its spelling there."""
    found = {}
    for field in LISTS:
        for name in values.get(field) or ():
            found[Source(field, str(name) if field == "prefixListIds" else _block(str(name)))] = str(name)
    groups = [values.get("sourceSecurityGroupId"), own if values.get("self") else None]
    return found | {Source(GROUPS, str(name)): str(name) for name in groups if name}


def _wanted(resource: Resource) -> dict[Source, str]:
    return _of(resource.spec, resource.addressed.get("securityGroupId"))


def _known(resource: Resource) -> dict[Source, str]:
    """What the status says that it had: it was made by us, or adopted."""
    values = status_of(resource.managed).get("atProvider") or {}
    return _of(values, values.get("securityGroupId"))


def _fits(resource: Resource, rule: Item) -> bool:
    spec, kind = resource.addressed, protocol(resource.addressed.get("protocol"))
    if bool(rule.get("IsEgress")) != (_type(resource) == "egress") or rule.get("IpProtocol") != kind:
        return False
    ports = (rule.get("FromPort"), rule.get("ToPort"))
    return kind == ALL or ports == (spec.get("fromPort"), spec.get("toPort"))


def _source(rule: Item) -> Source:
    for field, (_, _, member) in LISTS.items():
        if rule.get(member):
            return Source(field, str(rule[member]) if field == "prefixListIds" else _block(str(rule[member])))
    group = rule.get("ReferencedGroupInfo") or {}
    account, owner = group.get("UserId"), rule.get("GroupOwnerId")
    foreign = f"{account}/" if account and owner and account != owner else ""
    return Source(GROUPS, f"{foreign}{group.get('GroupId')}")


def _is_tagged(resource: Resource, rule: Item) -> bool:
    return bool(resource.uid) and {"Key": tags.OWNER, "Value": resource.uid} in (rule.get("Tags") or ())


def _tagged(resource: Resource) -> Parameters:
    return {"TagSpecifications": [{"ResourceType": "security-group-rule", "Tags": resource.tag_list()}]}


def _permission(resource: Resource, sources: Sequence[Source], *, describing: bool = False) -> Parameters:
    """The rules of these sources as AWS takes them."""
    spec = resource.addressed
    permission: dict[str, Any] = {"IpProtocol": protocol(spec.get("protocol"))}
    if permission["IpProtocol"] != ALL:
        permission |= {"FromPort": spec.get("fromPort"), "ToPort": spec.get("toPort")}
    text = resource.spec.get("description") or ""
    for source in sources:
        where, member, _ = LISTS.get(source.field, ("UserIdGroupPairs", "", ""))
        entry: dict[str, Any] = {member: source.name} if member else pair(source.name)
        permission.setdefault(where, []).append(entry | ({"Description": text} if text or describing else {}))
    return {"GroupId": spec.get("securityGroupId"), "IpPermissions": [permission]}


def _rule_ids(item: Item) -> list[str]:
    return sorted(rule["SecurityGroupRuleId"] for rule in item["rules"].values())
