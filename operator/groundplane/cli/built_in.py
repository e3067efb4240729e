"""The kinds that are known without any file: core's, those of AWS, and Kubernetes' own.

Nothing of them is imported, and no file read, before one is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from groundplane.core.objects import group_of
from groundplane.errors import InvalidInput

if TYPE_CHECKING:
    from groundplane.core.objects import Object
    from groundplane.core.structural import OpenAPI

AWS = (".aws.upbound.io", ".aws.m.upbound.io")  # how the API groups of AWS's managed kinds end
AWS_CONFIGS = ("aws.upbound.io", "aws.m.upbound.io")  # the groups of ProviderConfigs
CORE = (".crossplane.io",)


def is_aws(api_version: str) -> bool:
    return group_of(api_version).endswith(AWS)


class BuiltIn:
    """The kinds of AWS: for what composes them."""

    def schema(self, api_version: str, kind: str) -> OpenAPI | None:
        """The schema of a kind's version; None if it is not built in."""
        if not is_aws(api_version):
            return None
        from groundplane.aws import crds

        return crds.schema_of(api_version, kind)

    def meant(self, api_version: str, kind: str) -> str:
        """The kind that is nearly spelt so, or served in another version."""
        if not is_aws(api_version):
            return ""
        from groundplane.aws import catalogue

        return catalogue.meant(api_version, kind)


class EveryKind(BuiltIn):
    """Core's kinds and Kubernetes' own as well, and what is known of AWS's beyond schemas: for what judges whole objects."""

    def schema(self, api_version: str, kind: str) -> OpenAPI | None:
        group = group_of(api_version)
        if group in AWS_CONFIGS:
            return self._configs.get((api_version, kind))
        if group.endswith(CORE):
            return self._core.get((api_version, kind))
        if "." not in group or group.endswith(".k8s.io"):
            from groundplane.cluster import kubernetes_schemas

            return kubernetes_schemas.schema(api_version, kind)
        return super().schema(api_version, kind)

    def meant(self, api_version: str, kind: str) -> str:
        from groundplane.core import known_schemas

        if group_of(api_version).endswith(CORE):
            return known_schemas.kind_meant((api_version, kind), self._core, None)
        return super().meant(api_version, kind)

    def immutable(self, api_version: str, kind: str) -> Sequence[str]:
        """The fields of forProvider that can't be changed in AWS."""
        if not is_aws(api_version):
            return ()
        from groundplane.aws import catalogue

        found = catalogue.lookup(api_version, kind)
        return sorted(name for name, field in found.fields.items() if field.immutable) if found else ()

    def check(self, obj: Object) -> InvalidInput | None:
        """What AWS would refuse in a managed resource, whatever is there.  No call is made."""
        if not is_aws(str(obj.get("apiVersion"))):
            return None
        from groundplane.aws import offline

        return offline.refusal(obj)

    @cached_property
    def _core(self) -> Mapping[tuple[str, str], OpenAPI]:
        from groundplane.core import known_schemas
        from groundplane.core.crds import crds

        return known_schemas.schemas_in(crds())

    @cached_property
    def _configs(self) -> Mapping[tuple[str, str], OpenAPI]:
        from groundplane.aws import crds
        from groundplane.core import known_schemas

        return known_schemas.schemas_in(crds.configs())
