"""EC2 Route: one destination, one target; it is known by its table and its destination, as AWS spells that.

Source: Terraform AWS provider 5.31, internal/service/ec2/vpc_route.go, for its id and what is refused.
"""

from __future__ import annotations

import ipaddress
import zlib

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, Required, shown

BLOCKS = ("destinationCidrBlock", "destinationIpv6CidrBlock")
DESTINATIONS = (*BLOCKS, "destinationPrefixListId")


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        for name in BLOCKS:
            if given := resource.spec.get(name):
                self._check_block(name, str(given))

    @staticmethod
    def _check_block(name: str, given: str) -> None:
        """AWS clears bits beyond the mask, and would show another block than the one that is looked for."""
        try:
            block = str(ipaddress.ip_network(given, strict=False))
        except ValueError:
            block = "10.1.0.0/16" if name == BLOCKS[0] else "2001:db8::/56"
        if block != given:
            where = (f"spec.forProvider.{name}",)
            raise InvalidInput(f"{shown(given)} is no block as AWS spells it", mend=f"write {block}", where=where)

    def check_create(self, resource: Resource) -> None:
        if not any(resource.spec.get(name) for name in DESTINATIONS):
            raise Required(
                "has no destination", mend=f"set one of {', '.join(DESTINATIONS)}", where=("spec.forProvider",)
            )
        targets = [name for name, field in resource.kind.fields.items() if field.group == "target"]
        given = [name for name in targets if resource.spec.get(name)]
        if len(given) != 1:
            where = ("spec.forProvider",)
            if not given:
                raise Required("has no target", mend=f"set one of {', '.join(targets)}", where=where)
            names = ", ".join(given)
            raise InvalidInput(f"has more than one target: {names}", mend=f"keep one of {names}", where=where)

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        """Its id is upstream's, not our external name."""
        destination = next(at_provider[name] for name in DESTINATIONS if at_provider.get(name))
        at_provider["id"] = f"r-{at_provider['routeTableId']}{zlib.crc32(destination.encode())}"
