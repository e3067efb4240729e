"""EC2 SecurityGroup: no rule of ours may be there that nobody asked for.

AWS gives a new group a rule that lets everything out.  Upstream revokes it right after the create (Terraform AWS
provider 5.31, `resourceSecurityGroupCreate`); so do we.  The group is created with a tag that says that this is
still to be done, and the tag goes when it is done, so that a crash in between leaves no open door.
"""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import ClientError

from groundplane.aws import faults
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput
from groundplane.ports import Difference

SETUP = "crossplane-setup"
EVERYTHING = ({"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, {"Ipv6Ranges": [{"CidrIpv6": "::/0"}]})


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        name = str(resource.spec.get("name") or resource.name)
        if name.startswith("sg-"):
            mend = "choose another"
            raise InvalidInput("a security group's name can't begin with sg-", mend=mend, where=(_field("name"),))
        if resource.spec.get("description") == "":
            raise InvalidInput("a description can't be empty", mend="remove it", where=(_field("description"),))

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        tags = [*resource.tag_list(), {"Key": SETUP, "Value": "pending"}]
        return "", {"TagSpecifications": [{"ResourceType": "security-group", "Tags": tags}]}

    def created(self, resource: Resource, answer: Item) -> None:
        self._set_up(resource)

    def observed(self, resource: Resource, item: Item) -> Item:
        item["pending"] = [tag for tag in item.get("Tags") or () if tag["Key"] == SETUP]
        item["Tags"] = [tag for tag in item.get("Tags") or () if tag["Key"] != SETUP]
        item["egress"] = _rules(item.get("IpPermissionsEgress"), item)
        item["ingress"] = _rules(item.get("IpPermissions"), item)
        return item

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        return [*found, Difference("setup", "done", "pending")] if item["pending"] else found

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        self._set_up(resource)

    def _set_up(self, resource: Resource) -> None:
        for block in EVERYTHING:
            try:
                rule = {"IpProtocol": "-1", **block}
                resource.write("revoke_security_group_egress", GroupId=resource.external_name, IpPermissions=[rule])
            except ClientError as error:
                if faults.code_of(error) != "InvalidPermission.NotFound":
                    raise
        resource.write("delete_tags", Resources=[resource.external_name], Tags=[{"Key": SETUP}])

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        """Groups that name each other can't be deleted before their rules."""
        if not resource.spec.get("revokeRulesOnDelete"):
            return
        group = resource.external_name
        if item.get("IpPermissions"):
            resource.write("revoke_security_group_ingress", GroupId=group, IpPermissions=item["IpPermissions"])
        if item.get("IpPermissionsEgress"):
            resource.write("revoke_security_group_egress", GroupId=group, IpPermissions=item["IpPermissionsEgress"])

    def delete_refused(self, resource: Resource, code: str, text: str) -> bool:
        """Also rules of other groups that name this one, if we were asked to."""
        if code != "DependencyViolation" or not resource.spec.get("revokeRulesOnDelete"):
            return False
        group, revoked = resource.external_name, False
        for kind, member in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
            name = "ip-permission.group-id" if kind == "ingress" else "egress.ip-permission.group-id"
            others = resource.ask("describe_security_groups", Filters=[{"Name": name, "Values": [group]}])
            for other in others["SecurityGroups"]:
                rules = [rule for rule in (_naming(rule, group) for rule in other[member]) if rule]
                if rules and other["GroupId"] != group:
                    resource.write(f"revoke_security_group_{kind}", GroupId=other["GroupId"], IpPermissions=rules)
                    revoked = True
        return revoked


def _field(name: str) -> str:
    return f"spec.forProvider.{name}"


def _naming(rule: Item, group: str) -> Item | None:
    """The part of a rule that names the group."""
    pairs = [{"GroupId": group} for pair in rule.get("UserIdGroupPairs") or () if pair.get("GroupId") == group]
    if not pairs:
        return None
    same = ("IpProtocol", "FromPort", "ToPort")
    return {key: value for key, value in rule.items() if key in same} | {"UserIdGroupPairs": pairs}


def _rules(permissions: Sequence[Item] | None, item: Item) -> list[Json]:
    """Rules as upstream's status has them, in a stable order."""
    found = []
    for rule in permissions or ():
        groups = [pair.get("GroupId") for pair in rule.get("UserIdGroupPairs") or ()]
        descriptions = [
            entry.get("Description")
            for name in ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
            for entry in rule.get(name) or ()
        ]
        found.append(
            {
                "protocol": rule.get("IpProtocol"),
                "fromPort": rule.get("FromPort", 0),
                "toPort": rule.get("ToPort", 0),
                "cidrBlocks": sorted(entry["CidrIp"] for entry in rule.get("IpRanges") or ()),
                "ipv6CidrBlocks": sorted(entry["CidrIpv6"] for entry in rule.get("Ipv6Ranges") or ()),
                "prefixListIds": sorted(entry["PrefixListId"] for entry in rule.get("PrefixListIds") or ()),
                "securityGroups": sorted(name for name in groups if name and name != item.get("GroupId")),
                "self": item.get("GroupId") in groups,
                "description": next((text for text in descriptions if text), None),
            }
        )
    return sorted(found, key=str)
