"""Functions that run elsewhere: calling them with the certificates that belong to them, and whether they can be reached."""

from __future__ import annotations

from groundplane.core import choice, function_sources
from groundplane.core.objects import Key, group_of
from groundplane.core.pipeline import Call, Endpoint, Response
from groundplane.core.structural import OpenAPI
from groundplane.errors import Awaited, GroundplaneError, InvalidInput, NoSuchKind, Waiting
from groundplane.ports import Certificates, Context
from groundplane.reconcile import connection as secrets

CRD_VERSION = "apiextensions.k8s.io/v1"


async def call(context: Context, call: Call) -> Response:
    """Call a function as a pipeline wants it; raises what `ports.Functions.run` does, and Waiting for its certificates."""
    certificates = await _certificates(context, call.remote.endpoint)
    return await context.functions.run(call.remote, call.request, certificates)


async def problem(context: Context, name: str, endpoint: Endpoint) -> str:
    """Why a function can't be reached, in words; "" if it can."""
    try:
        certificates = await _certificates(context, endpoint)
    except GroundplaneError as error:
        return str(error)
    return await context.functions.problem(name, endpoint, certificates)


async def _certificates(context: Context, endpoint: Endpoint) -> Certificates | None:
    """From the Secret that belongs to a function; None where it is called in plaintext, or the process has its own."""
    name, namespace = endpoint.tls_secret, context.options.namespace
    if not name or (name == function_sources.CLIENT_SECRET and context.options.has_certificates):
        return None
    await context.watches.ensure([("v1", "Secret")])
    secret = await context.cluster.referenced(Key("v1", "Secret", namespace, name))
    if secret is None:
        raise Waiting(
            f"there is no Secret {namespace}/{name} with the certificates to call it with",
            mend=f"make it, with ca.crt, tls.crt and tls.key, or name another: {function_sources.TLS_SECRET}",
            on=[Awaited("", "Secret", namespace, name)],
        )
    data = secrets.data_of(secret)
    found = Certificates(data.get("ca.crt", b""), data.get("tls.crt", b""), data.get("tls.key", b""))
    if not found.ca or bool(found.certificate) != bool(found.key):
        error = InvalidInput(
            f"Secret {namespace}/{name} has no ca.crt, or only one of tls.crt and tls.key",
            mend="ca.crt says whom to trust; the others, who we are",
        )
        error.on = (Awaited("", "Secret", namespace, name),)
        raise error
    return found


async def schema(context: Context, api_version: str, kind: str) -> OpenAPI | None:
    """The schema of a kind that a CustomResourceDefinition declares; None if none does."""
    try:
        plural = (await context.cluster.resource(api_version, kind)).plural
    except NoSuchKind:
        return None
    crd = await context.cluster.get(
        Key(CRD_VERSION, "CustomResourceDefinition", "", f"{plural}.{group_of(api_version)}")
    )
    return choice.version_schema(crd, api_version) if crd else None
