"""IAM User: with `forceDestroy`, what belongs to it goes with it, also what nobody here made.

Source: Terraform AWS provider 5.31, internal/service/iam/user.go, for what stands in the way of its deletion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from groundplane.aws import faults
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource

# what belongs to a user: how it is listed, where the answer has it, how it goes, by which of its members
BELONGINGS = (
    ("list_groups_for_user", "Groups", "remove_user_from_group", ("GroupName",)),
    ("list_access_keys", "AccessKeyMetadata", "delete_access_key", ("AccessKeyId",)),
    ("list_ssh_public_keys", "SSHPublicKeys", "delete_ssh_public_key", ("SSHPublicKeyId",)),
    ("list_mfa_devices", "MFADevices", "deactivate_mfa_device", ("SerialNumber",)),
    ("list_signing_certificates", "Certificates", "delete_signing_certificate", ("CertificateId",)),
    ("list_attached_user_policies", "AttachedPolicies", "detach_user_policy", ("PolicyArn",)),
)
GONE = "NoSuchEntity"


class Hooks(Base):
    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        if not resource.spec.get("forceDestroy"):
            return
        user = resource.external_name
        for listing, where, call, names in BELONGINGS:
            for entry in _listed(resource, listing, where):
                _gone(resource, call, UserName=user, **{name: entry[name] for name in names})
        for name in _listed(resource, "list_user_policies", "PolicyNames"):
            _gone(resource, "delete_user_policy", UserName=user, PolicyName=name)
        service = resource.ask("list_service_specific_credentials", UserName=user)
        for entry in service.get("ServiceSpecificCredentials") or ():
            name = entry["ServiceSpecificCredentialId"]
            _gone(resource, "delete_service_specific_credential", UserName=user, ServiceSpecificCredentialId=name)
        _gone(resource, "delete_login_profile", UserName=user)


def _listed(resource: Resource, call: str, member: str) -> Iterator[Any]:
    for page in resource.pages(call, UserName=resource.external_name):
        yield from page.get(member) or ()


def _gone(resource: Resource, call: str, **parameters: Any) -> None:
    try:
        resource.write(call, **parameters)
    except ClientError as error:
        if faults.code_of(error) != GONE:
            raise
