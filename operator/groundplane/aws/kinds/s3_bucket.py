"""S3 Bucket: where it is put, how it is emptied, and what is told of settings that other kinds have charge of.

Source of the latter's shapes: Terraform AWS provider 5.31, internal/service/s3/bucket.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json
from groundplane.errors import InvalidInput

NO_CONSTRAINT = "us-east-1"  # the one region that must not be named
BATCH = 1000  # objects that one call may delete
# The Route 53 zone of a region's website endpoint, for alias records.  Source: AWS General Reference, Amazon S3 endpoints.
WEBSITE_ZONES = {
    "us-east-1": "Z3AQBSTGFYJSTF",
    "us-east-2": "Z2O1EMRO9K5GLX",
    "us-west-1": "Z2F56UZL2M1ACD",
    "us-west-2": "Z3BJ6K6RIION7M",
    "af-south-1": "Z83WF9RJE8B12",
    "ap-east-1": "ZNB98KWMFR0R6",
    "ap-south-1": "Z11RGJOFQNVJUP",
    "ap-south-2": "Z02976202B4EZMXIPMXF7",
    "ap-northeast-1": "Z2M4EHUR26P7ZW",
    "ap-northeast-2": "Z3W03O7B5YMIYP",
    "ap-northeast-3": "Z2YQB5RD63NC85",
    "ap-southeast-1": "Z3O0J2DXBE1FTB",
    "ap-southeast-2": "Z1WCIGYICN2BYD",
    "ap-southeast-3": "Z01846753K324LI26A3VV",
    "ap-southeast-4": "Z0312387243XT5FE14WFO",
    "ca-central-1": "Z1QDHH18159H29",
    "ca-west-1": "Z03565811Z33SLEZTHOUL",
    "cn-north-1": "Z5CN8UMXT92WN",
    "cn-northwest-1": "Z282HJ1KT0DH03",
    "eu-central-1": "Z21DNDUVLTQW6Q",
    "eu-central-2": "Z030506016YDQGETNASS",
    "eu-north-1": "Z3BAZG2TWCNX0D",
    "eu-south-1": "Z30OZKI7KPW7MI",
    "eu-south-2": "Z0081959F7139GRJC19J",
    "eu-west-1": "Z1BKCTXD74EZPE",
    "eu-west-2": "Z3GKZC51ZF0DB4",
    "eu-west-3": "Z3R1K369G5AVDG",
    "il-central-1": "Z09640613K4A3MN55U7GU",
    "me-central-1": "Z06143092I8HRXZRUZROF",
    "me-south-1": "Z1MPMWCPA7YB62",
    "sa-east-1": "Z7KQH4QJS55SO",
    "us-gov-east-1": "Z2NIFVYYW2VKV1",
    "us-gov-west-1": "Z31GFT0UA1I2HV",
}
# Where the website's host name has the region behind a dash.  Source: the same.
DASHED = frozenset(
    [
        "us-east-1",
        "us-west-1",
        "us-west-2",
        "ap-northeast-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "eu-west-1",
        "sa-east-1",
        "us-gov-west-1",
    ]
)


class Hooks(Base):
    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        if resource.region == NO_CONSTRAINT:
            return "", {}
        return "", {"CreateBucketConfiguration": {"LocationConstraint": resource.region}}

    def observed(self, resource: Resource, item: Item) -> Item:
        if "grant" in item:
            item["grant"] = _grants(item["grant"] or ())
        for rule in item.get("lifecycleRule") or ():
            rule["tags"] = _tags(rule["tags"])
        for rule in (item.get("replicationConfiguration") or {}).get("rules") or ():
            if rule["filter"]:
                rule["filter"]["tags"] = _tags(rule["filter"]["tags"])
        return item

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        if zone := WEBSITE_ZONES.get(resource.region):
            at_provider["hostedZoneId"] = zone
        if at_provider.get("website"):
            domain = website_domain(resource)
            at_provider |= {"websiteDomain": domain, "websiteEndpoint": f"{resource.external_name}.{domain}"}

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        if not resource.spec.get("forceDestroy"):
            return
        size = {"PageSize": BATCH}
        for page in resource.pages("list_object_versions", Bucket=resource.external_name, PaginationConfig=size):
            found = [*(page.get("Versions") or ()), *(page.get("DeleteMarkers") or ())]
            objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in found]
            for start in range(0, len(objects), BATCH):
                batch = {"Objects": objects[start : start + BATCH], "Quiet": True}
                answer = resource.write("delete_objects", Bucket=resource.external_name, Delete=batch)
                for error in answer.get("Errors") or ():
                    raise InvalidInput(
                        f"object {error.get('Key')} can't be deleted: {error.get('Code')}: {error.get('Message')}",
                        mend="delete it by hand, or wait until its lock ends",
                    )


def website_domain(resource: Resource) -> str:
    """The host name below which a region's buckets are websites."""
    return str(resource.template(f"s3-website{'-' if resource.region in DASHED else '.'}${{region}}.${{suffix}}"))


def _tags(found: list[Item] | None) -> Json:
    return {tag["Key"]: tag["Value"] for tag in found or ()}


def _grants(found: Sequence[Item]) -> list[Json]:
    """One entry for each grantee, its permissions together."""
    grantees: dict[tuple[str, str, str], set[str]] = {}
    for grant in found:
        who = grant.get("Grantee") or {}
        name = (str(who.get("Type") or ""), str(who.get("ID") or ""), str(who.get("URI") or ""))
        grantees.setdefault(name, set()).add(str(grant.get("Permission") or ""))
    return [
        {"type": kind, "permissions": sorted(permissions)}
        | ({"id": id_} if id_ else {})
        | ({"uri": uri} if uri else {})
        for (kind, id_, uri), permissions in sorted(grantees.items())
    ]
