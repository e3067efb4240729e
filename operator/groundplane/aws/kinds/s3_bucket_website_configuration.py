"""S3 BucketWebsiteConfiguration: routing rules as one JSON text, and where the website is.

Source: Terraform AWS provider 5.31, internal/service/s3/bucket_website_configuration.go.
"""

from __future__ import annotations

import json
from typing import Any

from groundplane.aws.kinds.s3_bucket import website_domain
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Resource
from groundplane.core.objects import Json


class Hooks(Base):
    def outgoing(self, resource: Resource, name: str, value: Json) -> Json:
        return json.loads(value) if name == "routingRules" and isinstance(value, str) and value else value

    def incoming(self, resource: Resource, name: str, value: Any) -> Any:
        return json.dumps(value) if name == "routingRules" and value else value

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        domain = website_domain(resource)
        at_provider |= {"websiteDomain": domain, "websiteEndpoint": f"{resource.spec.get('bucket')}.{domain}"}
