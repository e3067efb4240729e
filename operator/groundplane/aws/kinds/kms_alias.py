"""KMS Alias: its external name is without `alias/`, and taken with it, too."""

from __future__ import annotations

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Resource

PREFIX = "alias/"


class Hooks(Base):
    def resolved(self, resource: Resource) -> str:
        return resource.external_name.removeprefix(PREFIX)

    def name(self, resource: Resource) -> str:
        return resource.external_name.removeprefix(PREFIX)
