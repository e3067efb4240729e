"""EC2 MainRouteTableAssociation: what was main before is main again when it goes.

AWS forgets what was main before, so that it is written down before the swap, in an annotation.
"""

from __future__ import annotations

from collections.abc import Mapping

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json, annotations_of, status_of
from groundplane.errors import InvalidInput, Waiting

ORIGINAL = "groundplane.io/original-route-table"  # annotation


class Hooks(Base):
    def prepared(self, resource: Resource) -> Mapping[str, str]:
        """Of a main table that is ours already, what was before it stands in the annotation."""
        main = self._main(resource)
        table = str(main.get("RouteTableId") or "")
        return {} if not main or table == resource.spec.get("routeTableId") else {ORIGINAL: table}

    def check_create(self, resource: Resource) -> None:
        if not resource.spec.get("vpcId"):
            where = ("spec.forProvider.vpcId",)
            raise InvalidInput("is required", mend="set it, or vpcIdRef or a selector", where=where)

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        main = self._main(resource)
        known = annotations_of(resource.managed).get(ORIGINAL)
        if not main:
            raise Waiting(
                "the VPC has no main route table yet", mend="name a VPC that exists", where=("spec.forProvider.vpcId",)
            )
        if known and main["RouteTableId"] not in (known, resource.spec.get("routeTableId")):
            raise Waiting(f"the VPC's main route table has become {main['RouteTableId']} just now")
        return "", {"AssociationId": main["RouteTableAssociationId"]}

    def find(self, resource: Resource) -> str | None:
        main = self._main(resource)
        ours = main.get("RouteTableId") == resource.spec.get("routeTableId")
        return str(main["RouteTableAssociationId"]) if main and ours else ""

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        at_provider["originalRouteTableId"] = _original(resource)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        original = _original(resource)
        if not original:
            raise InvalidInput(
                "nobody knows what the VPC's main route table was before",
                mend=f"set annotation {ORIGINAL} to the table that is to be main again, or spec.deletionPolicy: Orphan",
            )
        parameters["RouteTableId"] = original

    def _main(self, resource: Resource) -> Item:
        vpc, main = str(resource.spec.get("vpcId") or ""), {"Name": "association.main", "Values": ["true"]}
        answer = resource.ask("describe_route_tables", Filters=[{"Name": "vpc-id", "Values": [vpc]}, main])
        found = [each for table in answer["RouteTables"] for each in table["Associations"] if each.get("Main")]
        return dict(found[0]) if vpc and found else {}


def _original(resource: Resource) -> str:
    known = (status_of(resource.managed).get("atProvider") or {}).get("originalRouteTableId")
    return str(annotations_of(resource.managed).get(ORIGINAL) or known or "")
