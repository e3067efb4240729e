"""S3 BucketLifecycleConfiguration: what AWS refuses although it says nothing is left out.

Source: Terraform AWS provider 5.31, internal/service/s3/bucket_lifecycle_configuration.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput, shown

ACTIONS = (
    "abortIncompleteMultipartUpload",
    "expiration",
    "noncurrentVersionExpiration",
    "noncurrentVersionTransition",
    "transition",
)


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        seen: set[Json] = set()
        for place, rule in enumerate(resource.spec.get("rule") or ()):
            where, name = (f"spec.forProvider.rule[{place}]",), rule.get("id")
            if not any(rule.get(action) for action in ACTIONS):
                raise InvalidInput("does nothing", mend=f"give it one of {', '.join(ACTIONS)}", where=where)
            if name and name in seen:
                what = f"{shown(name)} is the id of another rule"
                raise InvalidInput(what, mend="choose another", where=(f"{where[0]}.id",))
            seen.add(name)

    def outgoing(self, resource: Resource, name: str, value: Json) -> Json:
        return [_rule(rule) for rule in value] if name == "rule" else value


def _rule(rule: Json) -> Json:
    if not isinstance(rule, Mapping):
        return rule
    made: dict[str, Any] = dict(rule)
    if not _one(made.get("filter")):  # all objects: said by an empty prefix
        made.pop("filter", None)
        made = made if made.get("prefix") else {**made, "filter": {"prefix": ""}, "prefix": None}
    if expiration := _one(made.get("expiration")):
        given = {name: value for name, value in expiration.items() if value}
        made["expiration"] = given or {"expiredObjectDeleteMarker": False}
    return made


def _one(block: Json) -> Mapping[str, Any]:
    """What a block that may be a list of one has."""
    found = block[0] if isinstance(block, list) and block else block
    return {name: value for name, value in found.items() if value is not None} if isinstance(found, Mapping) else {}
