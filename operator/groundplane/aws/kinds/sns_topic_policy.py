"""SNS TopicPolicy: a topic always has a policy; what is deleted gives way to the one that AWS makes.

Source: Terraform AWS provider 5.31, internal/service/sns/topic_policy.go: the owner may do all.
"""

from __future__ import annotations

import json

from groundplane.aws import compare
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Resource

ACTIONS = (
    "SNS:GetTopicAttributes",
    "SNS:SetTopicAttributes",
    "SNS:AddPermission",
    "SNS:RemovePermission",
    "SNS:DeleteTopic",
    "SNS:Subscribe",
    "SNS:ListSubscriptionsByTopic",
    "SNS:Publish",
)


class Hooks(Base):
    def observed(self, resource: Resource, item: Item) -> Item:
        item["default"] = _default(str(item.get("TopicArn") or ""), str(item.get("Owner") or ""))
        item["isDefault"] = compare.equal("policy", item["default"], item.get("Policy"))
        return item


def _default(arn: str, owner: str) -> str:
    statement = {
        "Sid": "__default_statement_ID",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ACTIONS,
        "Resource": arn,
        "Condition": {"StringEquals": {"AWS:SourceOwner": owner}},
    }
    return json.dumps({"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]})
