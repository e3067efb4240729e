"""What a ProviderConfig says, credentials apart: where services are called, in which partition.

Source of the fields: provider-upjet-aws 75a4c57, apis/v1beta1 `ProviderConfigSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from botocore.exceptions import UnknownRegionError
from botocore.utils import is_valid_endpoint_url

from groundplane.aws import endpoints, sdk
from groundplane.core.objects import Json, Object, meta, spec_of
from groundplane.errors import Awaited, InvalidInput, shown


class AccountConfig:
    """A ProviderConfig, read; whatever is wrong with it is an InvalidInput that names the field."""

    def __init__(self, provider_config: Object) -> None:
        self.spec = spec_of(provider_config)
        self.name = str(meta(provider_config).get("name") or "")
        self.namespace = str(meta(provider_config).get("namespace") or "")  # "": it is for all of the cluster
        self.kind = str(provider_config.get("kind") or "ProviderConfig")
        self.group = str(provider_config.get("apiVersion") or "aws.upbound.io").partition("/")[0]

    @property
    def place(self) -> str:
        """As errors name it."""
        return f"{self.kind} {self.name}"

    @property
    def credentials(self) -> Mapping[str, Json]:
        found: Mapping[str, Json] = self.spec.get("credentials") or {}
        return found

    @property
    def source(self) -> str:
        """Of its credentials; "": the default chain."""
        return str(self.credentials.get("source") or "")

    @property
    def endpoint(self) -> Mapping[str, Json]:
        found: Mapping[str, Json] = self.spec.get("endpoint") or {}
        return found

    @property
    def signing_region(self) -> str:
        """The region that all requests are signed for, wherever they go; "": the one that is asked for."""
        return str(self.endpoint.get("signingRegion") or "")

    def check(self) -> None:
        """Raise InvalidInput: the endpoint can't be one."""
        self.url(next(iter(self._services()), "sts"), sdk.GLOBAL_REGIONS["aws"])

    def partition(self, region: str) -> str:
        """That of a region, "aws" for eu-west-1; the endpoint block's partitionId comes first."""
        given = str(self.endpoint.get("partitionId") or "")
        region = region or self.signing_region
        if given or not region:
            return given or "aws"
        try:
            return str(sdk.resolver().get_partition_for_region(region))
        except UnknownRegionError:  # one of the endpoint's own
            return "aws"

    def dns_suffix(self, region: str) -> str:
        """What the host names of the region's services end with: "amazonaws.com.cn" in China."""
        return str(sdk.resolver().get_partition_dns_suffix(self.partition(region)) or "amazonaws.com")

    def has_own_endpoint(self, service: str) -> bool:
        """Whether the ProviderConfig has the service called somewhere else than AWS is: whoever answers there can say anything."""
        return self.url(service, "") is not None

    def url(self, service: str, region: str) -> str | None:
        """Where a service is called; None: where AWS has it."""
        block = self.endpoint.get("url") or {}
        services = self._services()
        if services and service not in services:
            return None
        match block.get("type") or ("Static" if block.get("static") else "Auto"):
            case "Static":
                if not block.get("static"):
                    raise self.wrong("spec.endpoint.url.static", "is missing", "give a URL: http://host:port")
                return self._checked_url(str(block["static"]), "static")
            case "Dynamic":
                dynamic = block.get("dynamic") or {}
                if not dynamic.get("host"):
                    raise self.wrong("spec.endpoint.url.dynamic.host", "is missing", "give a host name")
                parts = [service, *([region] if region and service != "iam" else []), dynamic["host"]]
                return self._checked_url(f"{dynamic.get('protocol') or 'https'}://{'.'.join(parts)}", "dynamic")
            case "Auto":
                return None
            case other:
                raise self.wrong("spec.endpoint.url.type", f"unknown: {shown(other)}", "use Static, Dynamic or Auto")

    def _checked_url(self, url: str, field: str) -> str:
        try:
            parts = urlsplit(url)
            is_fit = parts.scheme in ("http", "https") and parts.port != 0 and is_valid_endpoint_url(url)
        except ValueError:  # brackets without end, a port beyond all ports
            is_fit = False
        if not is_fit:
            mend = (
                "give one: http://host:port" if field == "static" else "give a host's name, and protocol http or https"
            )
            raise self.wrong(f"spec.endpoint.url.{field}", f"{shown(url)} is no URL", mend)
        return url

    def _services(self) -> list[str]:
        """The services that the endpoint is for; none: all."""
        found, known = [], sdk.LOADER.list_available_services("service-2")
        for index, name in enumerate(self.endpoint.get("services") or ()):
            service = endpoints.service(str(name), known)
            if service is None:
                mend = endpoints.mend(str(name), known)
                raise self.wrong(f"spec.endpoint.services[{index}]", f"no service of AWS: {shown(name)}", mend)
            found.append(service)
        return found

    def wrong(self, field: str, what: str, mend: str) -> InvalidInput:
        """What to raise for a field; what waits for it is looked at again when the ProviderConfig or its Secret changes."""
        error = InvalidInput(what, mend=mend, where=(self.place, field))
        error.on = (Awaited(self.group, self.kind, self.namespace, self.name),)
        if secret := self.credentials.get("secretRef"):
            namespace = self.namespace or str(secret.get("namespace") or "")
            error.on += (Awaited("", "Secret", namespace, str(secret.get("name"))),)
        return error
