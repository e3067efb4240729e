"""The ValidatingWebhookConfigurations that point the API server at our webhooks: applied by the leader, and kept as they must be.

They have Crossplane's names, so one that a Crossplane left behind, and that refuses every definition since nobody answers it any more, is
taken over.  What somebody edits is put back.  A ClusterRole of the chart owns them: garbage collection takes them away with the release, so that
nothing is left behind that asks a server which is gone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from groundplane.cluster.client import APPLY_PATCH, MERGE_PATCH, Api
from groundplane.core import typecheck
from groundplane.core.function_sources import MADE
from groundplane.core.objects import Json, Object, annotations_of, meta
from groundplane.errors import Denied, GroundplaneError, Rejected, Unavailable
from groundplane.ports import Resource
from groundplane.runtime import logs
from groundplane.runtime.settings import Settings

MANAGER = "groundplane.io/webhooks"
SERVICE = "crossplane-webhooks"  # the chart's
API_VERSION = "admissionregistration.k8s.io/v1"
CONFIGURATIONS = Resource(
    API_VERSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", namespaced=False, has_status=False
)
PATH = f"/apis/{API_VERSION}/{CONFIGURATIONS.plural}"
CORE = "apiextensions.crossplane.io"
CROSSPLANE, NO_USAGES = "crossplane", "crossplane-no-usages"  # Crossplane's
NAMES = (CROSSPLANE, NO_USAGES)
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"

log = logs.get_logger(__name__)


@dataclass(frozen=True)
class Place:
    """Where webhooks are served, and under which address, if that is not the Service's."""

    host: str
    port: int  # 0: any that is free
    url: str = ""
    is_tentative: bool = False  # nobody has asked for them: it is tried
    is_alone: bool = False  # the address is this process's, without the port


def place(settings: Settings, server: str) -> Place | None:
    """Where to serve webhooks with these settings beside the API server at that URL; None: nowhere."""
    asked = Place(settings.webhook_host, settings.webhook_port, settings.webhook_url)
    if settings.webhooks == "on":
        return asked
    if settings.webhooks == "off":
        return None
    if settings.webhook_url:
        return replace(asked, is_tentative=True)
    host = urlsplit(server).hostname or ""
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        return None
    shown = f"[{host}]" if ":" in host else host
    return Place(host, 0, f"https://{shown}", is_tentative=True, is_alone=True)


@dataclass(frozen=True)
class Target:
    """Where the API server finds the webhooks, and how it knows them."""

    namespace: str
    port: int
    bundle: bytes  # PEM
    url: str = ""  # "https://host:port" of an operator outside of the cluster; "": by the Service

    def client(self, path: str) -> dict[str, Any]:
        """As a `clientConfig`."""
        bundle = base64.b64encode(self.bundle).decode()
        if self.url:
            return {"caBundle": bundle, "url": f"{self.url.rstrip('/')}{path}"}
        service = {"name": SERVICE, "namespace": self.namespace, "path": path, "port": self.port}
        return {"caBundle": bundle, "service": service}


def rule(group: str, versions: Iterable[str], plurals: Iterable[str], operations: Iterable[str]) -> dict[str, Any]:
    """As an item of `rules`, with what the API server would fill in."""
    return {
        "apiGroups": [group],
        "apiVersions": list(versions),
        "operations": list(operations),
        "resources": list(plurals),
        "scope": "*",
    }


def entry(
    name: str,
    client: Mapping[str, Any],
    rules: Sequence[Mapping[str, Any]],
    *,
    failure_policy: str,
    timeout: int,
    object_selector: Mapping[str, Any],
    match_conditions: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """As an item of `webhooks`, with what the API server would fill in, so that the two can be compared."""
    found: dict[str, Any] = {
        "name": name,
        "admissionReviewVersions": ["v1"],
        "clientConfig": dict(client),
        "failurePolicy": failure_policy,
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": dict(object_selector),
        "rules": [dict(each) for each in rules],
        "sideEffects": "None",
        "timeoutSeconds": timeout,
    }
    if match_conditions:
        found["matchConditions"] = [dict(each) for each in match_conditions]
    return found


class Configurations:
    """Keeps the configurations as they must be; one process at a time does, the leader."""

    def __init__(self, api: Api, owner: str = "") -> None:
        """`api` refuses what is not the leader's to write.  `owner`: the ClusterRole with which they go; "": they stay."""
        self._api, self._owner = api, owner
        self._settled: dict[str, tuple[Json, Json]] = {}  # by name: what was wanted, and what the server made of it

    async def ensure(self, wanted: Mapping[str, Sequence[dict[str, Any]]]) -> None:
        """Have the webhooks of each configuration be exactly these.  Raises Denied, Unavailable, NotLeader, Rejected."""
        owners = await self._owners()
        if owners is None:
            return  # the release is being uninstalled
        for name, webhooks in wanted.items():
            await self._ensure(name, list(webhooks), owners)

    async def answered(self) -> bool:
        """Whether the API server asks, and is answered."""
        return not await unanswered(self._api)

    async def withdraw(self) -> None:
        """As `withdraw`."""
        self._settled.clear()
        await withdraw(self._api)

    async def _owners(self) -> list[dict[str, str]] | None:
        """The owner references that they have; None if their owner is gone."""
        if not self._owner:
            return []
        status, role = await self._api.request("GET", f"{ROLES}/{self._owner}")
        if status == 404 or meta(role).get("deletionTimestamp"):
            return None
        kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
        return [{**kind, "name": self._owner, "uid": meta(role)["uid"]}]

    async def _ensure(self, name: str, webhooks: list[dict[str, Any]], owners: list[dict[str, str]]) -> None:
        status, live = await self._api.request("GET", f"{PATH}/{name}")
        there = _content(live) if status != 404 else None
        content = {"webhooks": webhooks, "owners": owners, MADE: "true"}
        if there == content or (there is not None and self._settled.get(name) == (content, there)):
            return
        body: Object = {
            "apiVersion": API_VERSION,
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name, "annotations": {MADE: "true"}, "ownerReferences": owners},
            "webhooks": webhooks,
        }
        query = {"fieldManager": MANAGER, "force": "true"}
        _, live = await self._api.request("PATCH", f"{PATH}/{name}", query=query, body=body, content_type=APPLY_PATCH)
        if _content(live) != content:  # entries and owners of somebody else are in it
            metadata = {"resourceVersion": meta(live)["resourceVersion"], "ownerReferences": owners}
            replaced = {"metadata": metadata, "webhooks": webhooks}
            query = {"fieldManager": MANAGER}
            _, live = await self._api.request(
                "PATCH", f"{PATH}/{name}", query=query, body=replaced, content_type=MERGE_PATCH
            )
        self._settled[name] = (content, _content(live))
        log.info("webhook configuration applied", configuration=name, count=len(webhooks))


async def unanswered(api: Api) -> str | None:
    """What the API server says is wrong when it asks, by a dry run of a Composition that the webhooks refuse.

    "" if it is answered; None if we may not try.
    """
    reference = {"apiVersion": "example.org/v1", "kind": "Nothing"}
    spec = {"compositeTypeRef": reference, "mode": "Resources", "resources": []}
    metadata = {"name": "groundplane-doctor", "annotations": {typecheck.MODE_ANNOTATION: "strict"}}
    body = {"apiVersion": f"{CORE}/v1", "kind": "Composition", "metadata": metadata, "spec": spec}
    try:
        await api.request("POST", f"/apis/{CORE}/v1/compositions", query={"dryRun": "All"}, body=body)
    except Denied:
        return None
    except Unavailable as error:  # of a webhook that must be answered
        if "webhook" not in error.what:
            raise
        return error.what
    except Rejected as error:
        if "webhook" in error.what:
            return ""
    return "it lets in a Composition that they refuse"


async def withdraw(api: Api) -> None:
    """Take away what of ours an operator with webhooks has left here: nobody would answer."""
    for name in NAMES:
        try:
            status, live = await api.request("GET", f"{PATH}/{name}")
            if status != 404 and annotations_of(live).get(MADE) == "true":
                options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": meta(live)["uid"]}}
                await api.request("DELETE", f"{PATH}/{name}", body=options)
                log.info("webhook configuration withdrawn", configuration=name)
        except Denied:
            log.debug("webhook configuration can't be looked at", configuration=name)
        except GroundplaneError as error:
            log.warning("webhook configuration could not be withdrawn", configuration=name, error=str(error))


def _content(live: Object | None) -> Json:
    """What of a configuration is compared."""
    found = live or {}
    return {
        "webhooks": found.get("webhooks") or [],
        "owners": [
            {name: each.get(name) for name in ("apiVersion", "kind", "name", "uid")}
            for each in meta(found).get("ownerReferences") or ()
        ],
        MADE: annotations_of(found).get(MADE),
    }
