"""IAM Policy: its document is that of its default version, of which AWS keeps five.

Source: IAM API 2010-05-08; Terraform AWS provider 5.31, internal/service/iam/policy.go, for which version goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import ClientError

from groundplane.aws import faults
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource

MOST_VERSIONS = 5


class Hooks(Base):
    def observed(self, resource: Resource, item: Item) -> Item:
        if "PolicyVersionList" in item:  # among those that were listed
            version = next(each for each in item["PolicyVersionList"] if each["IsDefaultVersion"])
        else:
            answer = resource.ask("get_policy_version", PolicyArn=item["Arn"], VersionId=item["DefaultVersionId"])
            version = answer["PolicyVersion"]
        item["document"] = version["Document"]
        return item

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        arn, versions = item["Arn"], self._others(resource, item["Arn"])
        if len(versions) >= MOST_VERSIONS - 1:
            self._drop(resource, arn, versions[0])
        document = resource.desired("policy", item)
        resource.write("create_policy_version", PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        for version in self._others(resource, parameters["PolicyArn"]):
            self._drop(resource, parameters["PolicyArn"], version)

    def _others(self, resource: Resource, arn: str) -> list[str]:
        """The versions that are not the default, the oldest first."""
        found = [each for page in resource.pages("list_policy_versions", PolicyArn=arn) for each in page["Versions"]]
        others = [each for each in found if not each["IsDefaultVersion"]]
        return [each["VersionId"] for each in sorted(others, key=lambda each: int(each["VersionId"][1:]))]

    def _drop(self, resource: Resource, arn: str, version: str) -> None:
        try:
            resource.write("delete_policy_version", PolicyArn=arn, VersionId=version)
        except ClientError as error:
            if faults.code_of(error) != "NoSuchEntity":
                raise
