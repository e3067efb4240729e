"""S3 BucketNotification: a prefix and a suffix are filter rules in AWS.

Source: Terraform AWS provider 5.31, internal/service/s3/bucket_notification.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Resource
from groundplane.core.objects import Json

TARGETS = ("lambdaFunction", "queue", "topic")
FILTERS = {"filterPrefix": "prefix", "filterSuffix": "suffix"}


class Hooks(Base):
    def outgoing(self, resource: Resource, name: str, value: Json) -> Json:
        return [_filtered(entry) for entry in value] if name in TARGETS else value

    def incoming(self, resource: Resource, name: str, value: Any) -> Any:
        return [_plain(entry) for entry in value or ()] if name in TARGETS else value


def _filtered(entry: Json) -> Json:
    if not isinstance(entry, Mapping):
        return entry
    rules = [{"name": rule, "value": entry[name]} for name, rule in FILTERS.items() if entry.get(name)]
    made = {name: value for name, value in entry.items() if name not in FILTERS}
    return {**made, "filter": {"key": {"filterRules": rules}}} if rules else made


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    rules = ((entry.get("Filter") or {}).get("Key") or {}).get("FilterRules") or ()
    found = {str(rule.get("Name")).lower(): rule.get("Value") for rule in rules}
    return {**entry, **{name: found[rule] for name, rule in FILTERS.items() if rule in found}}
