"""Whether somebody answers where the API server asks webhooks: a check of `groundplane doctor`."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from groundplane.runtime import guard, webhook_configurations
from groundplane.runtime.findings import Finding
from groundplane.runtime.installation import Installation

CONNECT = 5.0  # seconds for a connection to a webhook


async def check_webhooks(installation: Installation) -> list[Finding]:
    """Whether somebody answers where the API server asks: one that nobody answers refuses, or delays, what it is asked about.

    The API server itself is asked, by a dry run of a Composition that every webhook refuses; who may not do that connects to the server.
    """
    api, live = installation.api, {}
    for name in webhook_configurations.NAMES:
        status, found = await api.request("GET", f"{webhook_configurations.PATH}/{name}")
        if status != 404 and (found or {}).get("webhooks"):
            live[name] = (found or {})["webhooks"][0].get("clientConfig") or {}
    if live:
        of_compositions = live.get(webhook_configurations.CROSSPLANE)
        said = await webhook_configurations.unanswered(api) if of_compositions else None
        return [
            await _asked(name, client, said if of_compositions and _same(client, of_compositions) else None)
            for name, client in live.items()
        ]
    if installation.webhooks:
        mend = "look at the operator's log: the replica that leads applies them"
        return [Finding("webhooks", "failed", "the API server is not told of the webhooks", mend)]
    return [await _without(installation)]


async def _without(installation: Installation) -> Finding:
    """Where no webhooks are installed, a policy keeps what is in use."""
    for plural in (guard.POLICIES, guard.BINDINGS):
        status, _ = await installation.api.request("GET", f"/apis/{guard.API_VERSION}/{plural}/{guard.NAME}")
        if status == 404:
            mend = "start the operator, whose log says what is in the way; it takes Kubernetes 1.30. Or switch --webhooks on"
            text = f"none are installed, and usages protect nothing: there is no {plural}/{guard.NAME}"
            return Finding("webhooks", "warning", text, mend)
    return Finding("webhooks", "ok", f"none are installed; the policy {guard.NAME} keeps what is in use")


async def _asked(name: str, client: Mapping[str, Any], said: str | None) -> Finding:
    """Whether the webhooks of a configuration are answered, by what the API server `said`; None: nothing."""
    if said == "":
        return Finding("webhooks", "ok", f"the API server gets answers from those of {name}")
    mend = (
        "is the operator running, with --webhooks on? Its log says what is wrong; a firewall may keep the API server from the"
        f" Pods' port. Without an operator: kubectl delete validatingwebhookconfigurations {name}"
    )
    if said:
        text = f"the API server gets no answer from those of {name}: {said}"
        return Finding("webhooks", "failed", text, mend, (name,))
    try:
        problem = await unreachable(client)
    except socket.gaierror:
        text = f"those of {name} are reached by a name that is not known here"
        return Finding("webhooks", "warning", text, "look from within the cluster: helm test", (name,))
    if problem:
        return Finding("webhooks", "failed", f"nobody answers those of {name}: {problem}", mend, (name,))
    return Finding("webhooks", "ok", f"those of {name} are answered")


def _same(client: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two `clientConfig`s lead to one server, and trust the same."""

    def place(each: Mapping[str, Any]) -> tuple[Any, ...]:
        service = each.get("service") or {}
        url = urlsplit(each.get("url") or "")
        return each.get("caBundle"), url.netloc, service.get("namespace"), service.get("name"), service.get("port")

    return place(client) == place(other)


async def unreachable(client: Mapping[str, Any]) -> str:
    """Why nobody can be reached where a webhook's `clientConfig` says; "" if somebody is, and is who he should be.

    Raises:
        socket.gaierror: the name is not known here.
    """
    service = client.get("service") or {}
    host = f"{service.get('name')}.{service.get('namespace')}.svc"
    address = urlsplit(client.get("url") or f"https://{host}:{service.get('port') or 443}")
    trusted = base64.b64decode(client.get("caBundle") or "")
    try:
        context = ssl.create_default_context(cadata=trusted.decode() or None)
        async with asyncio.timeout(CONNECT):
            _, writer = await asyncio.open_connection(address.hostname, address.port or 443, ssl=context)
        writer.transport.abort()
    except socket.gaierror:
        raise
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message}"
    except TimeoutError:
        return "no answer in time"
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or 0
        return os.strerror(number) if number > 0 else type(error).__name__
    return ""
