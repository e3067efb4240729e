"""SNS TopicSubscription: what one to Firehose needs.  Source: SNS API 2010-03-31, Subscribe."""

from __future__ import annotations

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Resource
from groundplane.errors import Required


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        if resource.spec.get("protocol") == "firehose" and not resource.spec.get("subscriptionRoleArn"):
            mend = "name a role that SNS may assume, and that may put records into the delivery stream"
            where = ("spec.forProvider.subscriptionRoleArn",)
            raise Required("is required with protocol firehose", mend=mend, where=where)
