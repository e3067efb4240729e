"""Running a pipeline's functions: what they are handed and want to see, and calls of those that run elsewhere, with their certificates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from groundplane.core import fieldpath, function_sources, known_schemas, pipeline
from groundplane.core.objects import Key, Object, group_of
from groundplane.core.pipeline import Call, Calls, Endpoint, Found, Outcome, Response, Selector, Step, Wanted
from groundplane.core.structural import OpenAPI
from groundplane.errors import Awaited, GroundplaneError, InvalidInput, NoSuchKind, Waiting, at
from groundplane.ports import Certificates, Context
from groundplane.reconcile import connection as secrets

CRD_VERSION = "apiextensions.k8s.io/v1"


async def run(context: Context, running: Calls, see: Callable[[Wanted], Awaitable[Found]]) -> Outcome:
    """Run a pipeline to its end; `see` finds what functions want to see.  Raises what `pipeline.calls` does."""
    try:
        asked = next(running)
        while True:
            if isinstance(asked, Wanted):
                asked = running.send(await see(asked))
                continue
            try:
                if isinstance(asked, pipeline.Run):
                    response = await context.work.run(asked.function, asked.request)
                else:
                    response = await call(context, asked)
            except GroundplaneError as error:
                asked = running.throw(error)
            else:
                asked = running.send(response)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


async def found(context: Context, wanted: Wanted) -> Found:
    """What functions want to see of the cluster; its kinds are followed from now on."""
    await context.watches.ensure(sorted({(what.api_version, what.kind) for what in wanted.selectors}), whole=True)
    return Found(
        {name: await _fetched(context, name, what) for name, what in wanted.resources.items()},
        {name: await _fetched(context, name, what) for name, what in wanted.extra.items()},
        {name: await schema(context, what.api_version, what.kind) for name, what in wanted.schemas.items()},
    )


async def _fetched(context: Context, name: str, wanted: Selector) -> list[Object]:
    cluster = context.cluster
    with at(f"fetching resources for {name}"):
        if wanted.name:
            obj = await cluster.get(Key(wanted.api_version, wanted.kind, wanted.namespace, wanted.name))
            return [] if obj is None else [fieldpath.normalised(obj)]
        objects = await cluster.list(wanted.api_version, wanted.kind, namespace=wanted.namespace, labels=wanted.labels)
        return [fieldpath.normalised(obj) for obj in objects]


async def credentials(context: Context, steps: Sequence[Step]) -> dict[str, dict[str, dict[str, bytes]]]:
    """The data of the Secrets that steps are handed, by the names of step and credentials.  Raises Waiting for one that is not there."""
    found: dict[str, dict[str, dict[str, bytes]]] = {}
    for step in steps:
        for wanted in step.credentials:
            secret = await context.cluster.get(Key("v1", "Secret", wanted.namespace, wanted.secret))
            if secret is None:
                raise Waiting(
                    f'cannot get Composition pipeline step "{step.name}" credential "{wanted.name}" from Secret: '
                    f"there is no Secret {wanted.namespace}/{wanted.secret}",
                    mend="create it",
                    on=[Awaited("", "Secret", wanted.namespace, wanted.secret)],
                )
            found.setdefault(step.name, {})[wanted.name] = secrets.data_of(secret)
    return found


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
    return known_schemas.version_schema(crd, api_version) if crd else None
