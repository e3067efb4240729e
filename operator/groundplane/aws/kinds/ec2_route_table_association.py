"""EC2 RouteTableAssociation: it has neither tags nor a token, but a subnet or a gateway has one at most: by that it is found again."""

from __future__ import annotations

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Resource
from groundplane.errors import Required


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        if not (resource.spec.get("subnetId") or resource.spec.get("gatewayId")):
            mend = "set spec.forProvider.subnetId, or gatewayId"
            raise Required("is of nothing", mend=mend, where=("spec.forProvider",))

    def find(self, resource: Resource) -> str | None:
        """That of our subnet or gateway with our table: AWS refuses a second one, so nobody else's is taken for it."""
        table = resource.spec.get("routeTableId")
        answer = resource.ask("describe_route_tables", Filters=[{"Name": "route-table-id", "Values": [table]}])
        found = [each for one in answer["RouteTables"] for each in one.get("Associations") or ()]
        for member, name in (("SubnetId", "subnetId"), ("GatewayId", "gatewayId")):
            wanted = resource.spec.get(name)
            for association in found if wanted else ():
                if association.get(member) == wanted:
                    return str(association["RouteTableAssociationId"])
        return ""
