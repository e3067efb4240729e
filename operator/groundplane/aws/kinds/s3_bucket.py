"""S3 Bucket: where it is put, and how it is emptied."""

from __future__ import annotations

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.errors import InvalidInput

NO_CONSTRAINT = "us-east-1"  # the one region that must not be named
BATCH = 1000  # objects that one call may delete


class Hooks(Base):
    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        if resource.region == NO_CONSTRAINT:
            return "", {}
        return "", {"CreateBucketConfiguration": {"LocationConstraint": resource.region}}

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
