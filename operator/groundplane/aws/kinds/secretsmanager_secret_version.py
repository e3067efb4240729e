"""Secrets Manager SecretVersion: its token, a binary value, and the labels, of which a version can't give up every one.

Source: Terraform AWS provider 5.31, internal/service/secretsmanager/secret_version.go; API 2017-10-17, UpdateSecretVersionStage.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from groundplane.aws.grammar import Read
from groundplane.aws.memory import digest
from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Parameters, Resource
from groundplane.core.objects import Json, spec_of
from groundplane.errors import InvalidInput
from groundplane.ports import Difference

CURRENT = "AWSCURRENT"
ITS_OWN = {CURRENT, "AWSPREVIOUS"}  # labels that Secrets Manager moves by itself
TEXT, BINARY = "secretStringSecretRef", "secretBinarySecretRef"
WANTED = {"writeConnectionSecretToRef", "publishConnectionDetailsTo"}  # what of a spec asks for the value


class Hooks(Base):
    def check_create(self, resource: Resource) -> None:
        if not any(resource.spec.get(name) for name in (TEXT, BINARY)):
            mend = f"refer to a Secret's key by it, or by {BINARY}"
            raise InvalidInput("is required", mend=mend, where=(f"spec.forProvider.{TEXT}",))

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        return "", {"ClientRequestToken": _token(resource)}

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        stages = resource.desired("versionStages")
        return parameters | {"ClientRequestToken": _token(resource)} | ({"VersionStages": stages} if stages else {})

    def outgoing(self, resource: Resource, name: str, value: Json) -> Json:
        if name != BINARY:
            return value
        try:
            return base64.b64decode(str(value), validate=True)
        except binascii.Error as error:
            where = (f"spec.forProvider.{BINARY}",)
            raise InvalidInput(
                "refers to a text that is no base64", mend="encode it: base64 FILE", where=where
            ) from error

    def search(self, resource: Resource, rule: Read) -> Any:
        """Who only looks, and publishes nothing, need not read what is secret."""
        if (
            set(spec_of(resource.managed).get("managementPolicies") or ["*"]) != {"Observe"}
            or WANTED & spec_of(resource.managed).keys()
        ):
            return resource.search(rule)
        secret, _, version = resource.external_name.partition("|")
        on: Parameters = {"SecretId": secret, "IncludeDeprecated": True}
        while True:
            answer = resource.ask("list_secret_version_ids", **on)
            for each in answer.get("Versions") or ():
                if each["VersionId"] == version:
                    return {"ARN": answer["ARN"], **each}
            if not answer.get("NextToken"):
                return None
            on["NextToken"] = answer["NextToken"]

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        found = [each for each in found if not self._is_there(resource, item, each.field)]
        left = set(item.get("VersionStages") or ()) - ITS_OWN
        return [
            difference
            for difference in found
            if difference.field != "versionStages"
            or set(difference.desired) - set(difference.observed or ())
            or left - set(difference.desired)
        ]

    def _is_there(self, resource: Resource, item: Item, name: str) -> bool:
        """Whether the version has the value of a Secret: AWS tells, so that one that is imported is not made anew."""
        field = resource.kind.fields.get(name)
        value = resource.secrets.get(field.secret) if field is not None and field.secret else None
        if field is None or value is None or self.outgoing(resource, name, value) != item.get(field.create):
            return False
        resource.memory.digests[field.secret] = digest(resource.uid, field.secret, value)
        return True

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        wanted, found = set(resource.desired("versionStages") or ()), set(item.get("VersionStages") or ())
        on: Parameters = {"SecretId": item["ARN"]}
        holders = resource.ask("describe_secret", **on).get("VersionIdsToStages") or {}
        for stage in sorted(wanted - found):
            holder = next((version for version, stages in holders.items() if stage in stages), None)
            moved = {"MoveToVersionId": item["VersionId"]} | ({"RemoveFromVersionId": holder} if holder else {})
            resource.write("update_secret_version_stage", VersionStage=stage, **on, **moved)
        _remove(resource, item, found - wanted - ITS_OWN)

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        _remove(resource, item, set(item.get("VersionStages") or ()) - {CURRENT})

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        at_provider["hasSecretStringWo"] = bool(resource.spec.get("secretStringWoSecretRef"))

    def connection(self, resource: Resource, item: Item) -> Mapping[str, str]:
        value: Any = item.get("SecretBinary")
        return {"attribute.secret_binary": base64.b64encode(value).decode()} if value else {}


def _remove(resource: Resource, item: Item, stages: set[str]) -> None:
    for stage in sorted(stages):
        version = item["VersionId"]
        resource.write(
            "update_secret_version_stage", SecretId=item["ARN"], VersionStage=stage, RemoveFromVersionId=version
        )


def _token(resource: Resource) -> str:
    """The version's id: the same for the same value, and telling no more of it than the digest in the status does."""
    value = next((resource.secrets[name] for name in sorted(resource.secrets)), "")
    return f"{hashlib.sha256(resource.uid.encode()).hexdigest()[:32]}-{digest(resource.uid, 'token', value)}"
