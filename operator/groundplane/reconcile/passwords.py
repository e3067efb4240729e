"""Write-only inputs of managed resources, such as passwords: read from Secrets, generated once where asked for.

Source: provider-upjet-aws 75a4c57, config/common `PasswordGenerator`.  The safety: a generated value is stored before it
is sent anywhere, and one that is there is never replaced.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from groundplane.core import managed as rules
from groundplane.core.objects import Json, Key, Object, is_deleting, key_of, meta, owner_reference, spec_of
from groundplane.errors import AlreadyExists, Conflict, Waiting, at
from groundplane.ports import Context, ManagedKind, SecretField
from groundplane.reconcile import connection


async def read(
    managed: Object, kind: ManagedKind, context: Context, *, published: Mapping[str, bytes]
) -> dict[str, str]:
    """The values of a managed resource's secret fields, by the fields' names in the kind.

    A value that is to be generated and is not there yet is: from what was `published` before, else anew.
    While the managed resource is being deleted nothing is required or generated.

    Raises:
        Waiting: a Secret, or its key, is not there and is not to be generated.
    """
    spec = (spec_of(managed).get("initProvider") or {}) | (spec_of(managed).get("forProvider") or {})
    values = {}
    for field in kind.secrets:
        reference = spec.get(field.ref)
        if not isinstance(reference, Mapping):
            continue
        key = Key("v1", "Secret", _namespace(managed, reference, context), str(reference.get("name") or ""))
        name = str(reference.get("key") or field.field)
        secret = await context.cluster.get(key)
        value = (connection.data_of(secret) if secret else {}).get(name)
        if not value and not is_deleting(managed):
            if not (field.generate and spec.get(field.generate)):
                with at(f"spec.forProvider.{field.ref}"):
                    raise _missing(key, name, secret, field)
            value = published.get(field.field) or rules.password(field.length, context.draw).encode()
            await _store(key, name, value, secret, managed, context)
        if value:
            values[field.field] = value.decode("utf-8", "replace")
    return values


def _namespace(managed: Object, reference: Mapping[str, Json], context: Context) -> str:
    own = key_of(managed).namespace
    return own or str(reference.get("namespace") or context.options.namespace)


def _missing(key: Key, name: str, secret: Object | None, field: SecretField) -> Waiting:
    what = f"{key} has no key {name}" if secret else f"{key} does not exist"
    mend = f"add it, or set {field.generate}: true" if field.generate else "add it"
    return Waiting(what, mend=mend, on=[("", "Secret")])


async def _store(key: Key, name: str, value: bytes, secret: Object | None, owner: Object, context: Context) -> None:
    """Save a generated value where there is none.  A Secret that we make goes with its managed resource."""
    text = base64.b64encode(value).decode()
    if secret is not None:
        secret["data"] = (secret.get("data") or {}) | {name: text}
        await context.cluster.update(secret)
        return
    metadata: dict[str, Any] = {
        "name": key.name,
        "namespace": key.namespace,
        "ownerReferences": [owner_reference(owner, controller=False)],
    }
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": {name: text}}
    try:
        await context.cluster.create(made)
    except AlreadyExists as error:
        raise Conflict(f"{key} appeared meanwhile") from error
