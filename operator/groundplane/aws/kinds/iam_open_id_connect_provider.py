"""IAM OpenIDConnectProvider: its ARN is made of its URL, by which an interrupted create is found again.

AWS tells the URL without `https://`.  Source: IAM API 2010-05-08.
"""

from __future__ import annotations

from botocore.exceptions import ClientError

from groundplane.aws import faults, tags
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Resource
from groundplane.errors import InvalidInput, shown

SCHEME = "https://"


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        given = str(resource.spec.get("url") or "")
        if not given.startswith(SCHEME):
            mend = f"write it with {SCHEME}"
            raise InvalidInput(
                f"{shown(given)} does not begin with {SCHEME}", mend=mend, where=("spec.forProvider.url",)
            )

    def observed(self, resource: Resource, item: Item) -> Item:
        given = str(resource.spec.get("url") or "")
        if _bare(given) == item["Url"]:
            item["Url"] = given
        return item

    def find(self, resource: Resource) -> str | None:
        arn = resource.template("arn:${partition}:iam::${account}:oidc-provider/") + _bare(
            str(resource.spec.get("url") or "")
        )
        try:
            found = resource.ask("get_open_id_connect_provider", OpenIDConnectProviderArn=arn)
        except ClientError as error:
            if faults.code_of(error) != "NoSuchEntity":
                raise
            return ""
        ours = {"Key": tags.OWNER, "Value": resource.uid} in (found.get("Tags") or ())
        return arn if ours else ""


def _bare(url: str) -> str:
    """
    >>> _bare("https://oidc.example.com/id/A/")
    'oidc.example.com/id/A'
    """
    return url.removeprefix(SCHEME).rstrip("/")
