"""The kinds that are known without any file: core's, those of providers, and Kubernetes' own.

Nothing of them is imported, and no file read, before one is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from groundplane.core import providers
from groundplane.core.objects import group_of, meta
from groundplane.errors import InvalidInput

if TYPE_CHECKING:
    from groundplane.core.objects import Object
    from groundplane.core.structural import OpenAPI

CORE = (".crossplane.io",)


class BuiltIn:
    """The managed kinds: for what composes them."""

    def __init__(self) -> None:
        self._managed: dict[tuple[str, str], OpenAPI | None] = {}  # a Composition of ten buckets asks for theirs often

    def schema(self, api_version: str, kind: str) -> OpenAPI | None:
        """The schema of a kind's version; None if it is not built in."""
        if not providers.name_of(api_version):
            return None
        pair = (api_version, kind)
        if pair not in self._managed:
            from groundplane.runtime import clouds

            self._managed[pair] = clouds.schema_of(api_version, kind)
        return self._managed[pair]

    def namespaced(self, api_version: str, kind: str) -> bool | None:
        """Whether a kind's objects live in namespaces; None if it is not built in."""
        from groundplane.core import known_schemas

        if providers.name_of(api_version):
            from groundplane.runtime import clouds

            if found := clouds.lookup(api_version, kind):
                return found.namespaced
            return known_schemas.scopes_in([*clouds.configs(), *clouds.collections()]).get((api_version, kind))
        if group_of(api_version).endswith(CORE):
            from groundplane.core.crds import crds

            return known_schemas.scopes_in(crds()).get((api_version, kind))
        if "." not in group_of(api_version) or group_of(api_version).endswith(".k8s.io"):
            from groundplane.cluster import kinds

            found_here = {**kinds.BUILT_IN, **kinds.PLAIN}.get((api_version, kind))
            return found_here.namespaced if found_here else None
        return None

    def meant(self, api_version: str, kind: str) -> str:
        """The kind that is nearly spelt so, or served in another version."""
        if not providers.name_of(api_version):
            return ""
        from groundplane.runtime import clouds

        return clouds.meant(api_version, kind)


class EveryKind(BuiltIn):
    """Core's kinds and Kubernetes' own as well, and what is known of managed kinds beyond schemas: for what judges whole objects."""

    def schema(self, api_version: str, kind: str) -> OpenAPI | None:
        group = group_of(api_version)
        if kind in (providers.CONFIG, providers.CLUSTER_CONFIG, providers.USAGE) and providers.name_of(api_version):
            return self._configs.get((api_version, kind))
        if kind == providers.COLLECTION and providers.name_of(api_version):
            from groundplane.core import known_schemas
            from groundplane.runtime import clouds

            return known_schemas.schemas_in(clouds.collections()).get((api_version, kind))
        if group.endswith(CORE) and not providers.name_of(api_version):
            return self._core.get((api_version, kind))
        if "." not in group or group.endswith(".k8s.io"):
            from groundplane.cluster import kubernetes_schemas

            return kubernetes_schemas.schema(api_version, kind)
        return super().schema(api_version, kind)

    def meant(self, api_version: str, kind: str) -> str:
        from groundplane.core import known_schemas

        if not providers.name_of(api_version) and group_of(api_version).endswith((*CORE, ".k8s.io")):
            return known_schemas.kind_meant((api_version, kind), self._core, None)
        return super().meant(api_version, kind)

    def immutable(self, api_version: str, kind: str) -> Sequence[str]:
        """The fields of forProvider that can't be changed in AWS."""
        if providers.name_of(api_version) != "aws":
            return ()
        from groundplane.aws import catalogue

        found = catalogue.lookup(api_version, kind)
        return sorted(name for name, field in found.fields.items() if field.immutable) if found else ()

    def connection_keys(self, api_version: str, kind: str) -> Sequence[str] | None:
        """The keys that a kind's connection Secrets can have; None if it has other ones, or each object its own."""
        if providers.name_of(api_version) not in ("aws", "sql"):
            return None
        from groundplane.runtime import clouds

        found = clouds.lookup(api_version, kind)
        return [each["name"] for each in clouds.connection_details(found)] if found else None

    def check(self, obj: Object) -> InvalidInput | None:
        """What its cloud would refuse in a managed resource, whatever is there.  No call is made."""
        if not meta(obj).get("name"):  # the API server makes one of generateName
            obj = {**obj, "metadata": {**meta(obj), "name": f"{meta(obj).get('generateName') or ''}x"}}
        provider = providers.name_of(str(obj.get("apiVersion")))
        if provider == "aws":
            from groundplane.aws import offline

            return offline.refusal(obj)
        if not provider:
            return None
        from groundplane.runtime import clouds

        cloud = clouds.beside_aws()[provider]()
        try:
            if cloud.kind(obj["apiVersion"], obj["kind"]):
                cloud.check(obj)
        except InvalidInput as error:
            return error
        return None

    def doubt(self, obj: Object) -> InvalidInput | None:
        """A region that botocore does not list."""
        if providers.name_of(str(obj.get("apiVersion"))) != "aws":
            return None
        from groundplane.aws import offline

        return offline.doubt(obj)

    @cached_property
    def _core(self) -> Mapping[tuple[str, str], OpenAPI]:
        from groundplane.core import known_schemas
        from groundplane.core.crds import crds

        return known_schemas.schemas_in(crds())

    @cached_property
    def _configs(self) -> Mapping[tuple[str, str], OpenAPI]:
        from groundplane.core import known_schemas
        from groundplane.runtime import clouds

        return known_schemas.schemas_in(clouds.configs())
