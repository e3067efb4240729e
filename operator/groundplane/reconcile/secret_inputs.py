"""The Secrets of a managed resource: its write-only inputs, read or generated, and its own connection Secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core.objects import Key, key_of, meta, owner_reference, spec_of
from groundplane.core.pipeline import Selector
from groundplane.errors import AlreadyExists, Awaited, Conflict, InvalidInput, NotFound, Waiting, stage
from groundplane.ports import SecretField
from groundplane.reconcile import connection
from groundplane.reconcile.managing import ManagedRun, asked

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


async def read_all(run: ManagedRun, *, generate: bool) -> dict[str, str]:
    """The write-only inputs, by field; with `generate`, what is to be generated is, and stored first.

    Without `generate`, what is not there yet is left out: nothing needs it before the create.  The resource is looked at again when one
    of its Secrets changes, or comes: what exists without its password, as after a restore, publishes it then.
    """
    found: dict[str, str] = {}
    spec = asked(run)
    references = [spec[secret.ref] for secret in run.kind.secrets if (spec.get(secret.ref) or {}).get("name")]
    if run.kind.secrets:  # before looking: what changes meanwhile counts
        named = [Selector("v1", "Secret", name=each["name"], namespace=_namespace(run, each)) for each in references]
        run.context.interests.set(key_of(run.managed), tuple(named))
    for secret in run.kind.secrets:
        reference = spec.get(secret.ref)
        if not reference or not reference.get("name"):
            if secret.in_connection and (own := await _own_secret(run, secret, generate=generate)):
                found[secret.field] = own
            continue
        with stage("CannotObserveExternalResource", f"cannot read spec.forProvider.{secret.ref}"):
            value = await _read_secret(run, reference)
            if value is None and generate:
                value = await _generated(
                    run, secret, reference, wanted=bool(secret.generate and spec.get(secret.generate))
                )
        if value is not None:
            found[secret.field] = value
    return found


async def _own_secret(run: ManagedRun, secret: SecretField, *, generate: bool) -> str:
    """A value that lives in the object's own connection Secret; "" if there is none, and none to make."""
    namespace, name = _connection_place(run)
    if not name or not namespace:
        return ""
    known = await connection.read_own(run.context, run.managed, namespace, name)
    if value := known.get(secret.in_connection):
        return value.decode(errors="replace")
    return await renew(run, secret) if generate else ""


async def renew(run: ManagedRun, secret: SecretField) -> str:
    """A new value, in the connection Secret before anything else knows it."""
    value = _drawn(run, secret)
    await publish(run, {secret.in_connection: value.encode()})
    return value


def _drawn(run: ManagedRun, secret: SecretField) -> str:
    return "".join(ALPHABET[run.context.draw(len(ALPHABET))] for _ in range(secret.length))


async def _read_secret(run: ManagedRun, reference: Mapping[str, Any]) -> str | None:
    data = await connection.read(run.context, _namespace(run, reference), reference["name"])
    value = data.get(reference.get("key") or "")
    try:
        return value.decode() if value else None
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"key {reference.get('key')} of Secret {reference['name']} is not UTF-8 text", mend="store it as text"
        ) from error


async def _generated(run: ManagedRun, secret: SecretField, reference: Mapping[str, Any], *, wanted: bool) -> str:
    """Generate a value and store it; what somebody stored meanwhile wins.  Never overwrites."""
    namespace, name, key = _namespace(run, reference), reference["name"], reference.get("key") or ""
    if not wanted:
        there = await run.context.cluster.referenced(Key("v1", "Secret", namespace, name))
        other = f", or set spec.forProvider.{secret.generate}: true" if secret.generate else ""
        raise Waiting(
            f"Secret {namespace}/{name} has no key {key}" if there else f"there is no Secret {namespace}/{name}",
            mend=f"add it{other}" if there else f"create it, with key {key}{other}",
            on=[Awaited("", "Secret", namespace, name)],
        )
    found = await run.context.cluster.get(Key("v1", "Secret", namespace, name), live=True)
    if found and connection.data_of(found).get(key):
        raise Conflict(f"Secret {namespace}/{name} got its key {key} meanwhile")
    value = _drawn(run, secret)
    data = {key: connection.encoded(value.encode())}
    try:
        if found is None:
            metadata = {"name": name, "namespace": namespace, "ownerReferences": [owner_reference(run.managed)]}
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
            await run.context.cluster.create(body)
        else:
            found["data"] = {**(found.get("data") or {}), **data}
            await run.context.cluster.update(found)
    except AlreadyExists as error:
        raise Conflict(f"Secret {namespace}/{name} appeared meanwhile") from error
    except NotFound as error:
        raise Waiting(
            f"namespace {namespace} not found", mend="create it", on=[Awaited("", "Namespace", name=namespace)]
        ) from error
    return value


def _namespace(run: ManagedRun, reference: Mapping[str, Any]) -> str:
    """Of a Secret: that of who refers to it, if it lives in one, for it may read no other's."""
    return meta(run.managed).get("namespace") or reference.get("namespace") or run.context.options.namespace


async def publish(run: ManagedRun, details: Mapping[str, bytes]) -> None:
    """Bring connection details into the resource's own Secret, if it asks for one."""
    if not spec_of(run.managed).get("writeConnectionSecretToRef"):
        return
    namespace, name = _connection_place(run)
    with stage("CannotPublishConnectionDetails", "cannot publish connection details"):
        if not name or not namespace:
            raise InvalidInput(
                "spec.writeConnectionSecretToRef needs a name and a namespace", mend="set both, or remove it"
            )
        await connection.publish(run.context, run.managed, namespace, name, details)


def _connection_place(run: ManagedRun) -> tuple[str, str]:
    """Namespace and name of the object's connection Secret; "" where it says none."""
    reference = spec_of(run.managed).get("writeConnectionSecretToRef")
    if not reference:
        return "", ""
    strict = run.context.options.strict_upstream
    name = reference.get("name") or ("" if strict else f"{meta(run.managed)['name']}-connection")
    namespace = meta(run.managed).get("namespace") or reference.get("namespace")
    return namespace or ("" if strict else run.context.options.namespace), name


async def leave(run: ManagedRun) -> None:
    """What was generated for a thing that stays there stays with it: a password that nobody else knows."""
    spec = asked(run)
    for reference in [spec[secret.ref] for secret in run.kind.secrets if spec.get(secret.ref)]:
        secret = await run.context.cluster.get(Key("v1", "Secret", _namespace(run, reference), reference["name"]))
        owners = meta(secret or {}).get("ownerReferences") or []
        kept = [owner for owner in owners if owner.get("uid") != meta(run.managed)["uid"]]
        if secret is not None and kept != owners:
            secret["metadata"]["ownerReferences"] = kept
            await run.context.cluster.update(secret)
