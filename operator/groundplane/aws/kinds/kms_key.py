"""KMS Key: what needs it enabled comes before it is disabled; and an interrupted create is found without a filter by tag.

Source: KMS API 2014-11-01; Terraform AWS provider 5.31, internal/service/kms/key.go, for the order of updates.
"""

from __future__ import annotations

from collections.abc import Sequence

from botocore.exceptions import ClientError

from groundplane.aws import faults, tags
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.errors import InvalidInput
from groundplane.ports import Difference

SYMMETRIC = "SYMMETRIC_DEFAULT"
USAGES = {  # what keys of a specification, by how its name begins, are for
    SYMMETRIC: ("ENCRYPT_DECRYPT",),
    "HMAC_": ("GENERATE_VERIFY_MAC",),
    "RSA_": ("ENCRYPT_DECRYPT", "SIGN_VERIFY"),
    "ECC_SECG_P256K1": ("SIGN_VERIFY",),
    "ECC_NIST_P": ("SIGN_VERIFY", "KEY_AGREEMENT"),
}


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        spec = resource.spec.get("customerMasterKeySpec") or SYMMETRIC
        if resource.spec.get("enableKeyRotation") and spec != SYMMETRIC:
            what = f"AWS rotates no key of customerMasterKeySpec {spec}"
            mend = f"remove it, or set customerMasterKeySpec: {SYMMETRIC}"
            raise InvalidInput(what, mend=mend, where=("spec.forProvider.enableKeyRotation",))
        usages = next((each for prefix, each in USAGES.items() if spec.startswith(prefix)), ())
        usage = resource.spec.get("keyUsage") or "ENCRYPT_DECRYPT"
        if usages and usage not in usages and any(usage in each for each in USAGES.values()):  # else it may be new
            what = f"a key of customerMasterKeySpec {spec} is not for {usage}"
            where = ("spec.forProvider.keyUsage",)
            raise InvalidInput(what, mend=f"set it: {' or '.join(usages)}", where=where)
        if resource.spec.get("customKeyStoreId"):
            for name in ("enableKeyRotation", "multiRegion"):
                if resource.spec.get(name):
                    what, mend = "AWS has no such key in a custom key store", "remove it, or customKeyStoreId"
                    raise InvalidInput(what, mend=mend, where=(f"spec.forProvider.{name}",))

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        """Where its material comes from follows from the key store, as upstream."""
        if resource.spec.get("xksKeyId"):
            return "", {"Origin": "EXTERNAL_KEY_STORE"}
        return "", {"Origin": "AWS_CLOUDHSM"} if resource.spec.get("customKeyStoreId") else {}

    def find(self, resource: Resource) -> str | None:
        """By the tagging API, which may not know it yet or not be allowed; then key by key, as only KMS itself is sure of it."""
        wanted = {"Key": tags.OWNER, "Values": [resource.uid]}
        try:
            answer = resource.ask(
                "resourcegroupstaggingapi:get_resources", TagFilters=[wanted], ResourceTypeFilters=["kms:key"]
            )
            found = [str(each["ResourceARN"]).rpartition("/")[2] for each in answer["ResourceTagMappingList"]]
        except ClientError as error:
            if not faults.is_refused(error):
                raise
            found = []
        if not found:
            listed = (key["KeyId"] for page in resource.pages("list_keys") for key in page["Keys"])
            found = [key for key in listed if self._is_ours(resource, key)]
        return next((key for key in found if self._is_there(resource, key)), "")

    def _is_ours(self, resource: Resource, key: str) -> bool:
        try:
            answer = resource.ask("list_resource_tags", KeyId=key)
        except ClientError as error:
            if not faults.is_refused(error):  # AWS's own keys, and those of others
                raise
            return False
        return {"TagKey": tags.OWNER, "TagValue": resource.uid} in answer["Tags"]

    def _is_there(self, resource: Resource, key: str) -> bool:
        return "Pending" not in resource.ask("describe_key", KeyId=key)["KeyMetadata"]["KeyState"]

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        """A key is disabled when all else is done; a period without rotation is none."""
        rotates = bool(resource.desired("enableKeyRotation", item))
        found = [each for each in found if each.field != "rotationPeriodInDays" or rotates]
        is_last = len(found) == 1
        return [each for each in found if each.field != "isEnabled" or each.desired or is_last]

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        key = resource.external_name
        if group == "state":
            resource.write("enable_key" if resource.desired("isEnabled", item) else "disable_key", KeyId=key)
        elif not resource.desired("enableKeyRotation", item):
            resource.write("disable_key_rotation", KeyId=key)
        else:
            days = resource.desired("rotationPeriodInDays", item)
            resource.write("enable_key_rotation", KeyId=key, **({"RotationPeriodInDays": days} if days else {}))
