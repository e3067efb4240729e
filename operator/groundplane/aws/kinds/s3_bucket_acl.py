"""S3 BucketACL: the canned list that was put last is the last part of the external name, for AWS tells only what it grants.

Source: Terraform AWS provider 5.31, internal/service/s3/bucket_acl.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import annotations_of

CANNED = frozenset(
    [
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-full-control",
        "bucket-owner-read",
        "log-delivery-write",
    ]
)


class Hooks(Base):
    def observed(self, resource: Resource, item: Item) -> Item:
        name = resource.memory.external_name or str(annotations_of(resource.managed).get(EXTERNAL_NAME) or "")
        last = name.rpartition(",")[2]
        item["acl"] = last if last in CANNED else None
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        parameters: Parameters = {}
        shape = resource.shape("put_bucket_acl")
        for name, rule in resource.kind.fields.items():
            value = resource.spec.get(name)
            if rule.create and value is not None:
                resource.place(parameters, name, rule.create, value, shape)
        resource.write("put_bucket_acl", **parameters)
        resource.memory.external_name = resource.default_name()
