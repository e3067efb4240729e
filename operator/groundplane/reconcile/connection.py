"""Connection Secrets: read what one level offers, publish what the next level gets.

Source: crossplane-runtime v1.20, pkg/resource `ConnectionSecretMustBeControllableBy` and the composite and
claim publishers of Crossplane v1.20.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from groundplane.core.connection import SECRET_TYPE
from groundplane.core.objects import Key, Object, annotations_of, controller_of, key_of, meta, owner_reference
from groundplane.errors import AlreadyExists, Conflict
from groundplane.ports import Context
from groundplane.reconcile.taken import taken

INHERITED = "groundplane.io/inherited-keys"  # annotation: what was in a Secret before its owner took it, and is not the owner's to tell


async def read(context: Context, namespace: str, name: str) -> dict[str, bytes]:
    """The decoded data of a Secret that an object refers to; empty if there is none.  Fetched once for each of its versions."""
    place = Key("v1", "Secret", namespace, name)
    await context.watches.ensure([(place.api_version, place.kind)])
    secret = await context.cluster.referenced(place)
    return data_of(secret) if secret else {}


async def read_own(context: Context, owner: Object, namespace: str, name: str) -> dict[str, bytes]:
    """The decoded data of the owner's connection Secret; empty if there is none.

    One that somebody else controls, or nobody, says nothing: its name may come from whoever asks for its contents.
    """
    secret = await context.cluster.referenced(Key("v1", "Secret", namespace, name))
    if secret is None or (controller_of(secret) or {}).get("uid") != meta(owner)["uid"]:
        return {}
    return own_data(secret)


def own_data(secret: Object) -> dict[str, bytes]:
    """What the owner of a connection Secret has published in it."""
    inherited = _inherited(secret)
    return {name: value for name, value in data_of(secret).items() if name not in inherited}


def _inherited(secret: Object) -> set[str]:
    return set(filter(None, annotations_of(secret).get(INHERITED, "").split(",")))


def data_of(secret: Object) -> dict[str, bytes]:
    """A Secret's data, decoded.  What is not base64 is left out: nobody can use it."""
    decoded = {}
    for name, text in (secret.get("data") or {}).items():
        try:
            decoded[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError):
            continue
    return decoded


def encoded(value: bytes) -> str:
    """A value as a Secret's data holds it."""
    return base64.b64encode(value).decode()


async def publish(
    context: Context,
    owner: Object,
    namespace: str,
    name: str,
    details: Mapping[str, bytes],
    *,
    exact: bool = False,
) -> bool:
    """Bring `details` into the owner's connection Secret; True if that took a write.

    Keys accumulate, unless `exact`: then the Secret holds these keys and no others.  A Secret that
    is somebody else's, or is no connection Secret, is never touched.  One that nobody controls is taken; what it held stays,
    and nobody reads it as the owner's, until the owner publishes a value of its own under that key.

    Raises:
        InvalidInput: the Secret exists and is not the owner's to write.
    """
    key = Key("v1", "Secret", namespace, name)
    current = await context.cluster.get(key)
    if current is None:
        try:
            await context.cluster.create(_secret(owner, key, details))
        except AlreadyExists as error:
            raise Conflict(f"{key} appeared meanwhile") from error
        return True
    _check_ownership(current, owner)
    kept = {} if exact else data_of(current)
    wanted = _secret(owner, key, {**kept, **details})
    inherited = (_inherited(current) if controller_of(current) else set(kept)) & set(kept) - set(details)
    if current.get("data", {}) == wanted["data"] and controller_of(current) and inherited == _inherited(current):
        return False
    current["data"] = wanted["data"]
    annotations = {name: text for name, text in annotations_of(current).items() if name != INHERITED}
    current["metadata"]["annotations"] = annotations | ({INHERITED: ",".join(sorted(inherited))} if inherited else {})
    if not controller_of(current):
        references = [*(meta(current).get("ownerReferences") or ()), owner_reference(owner)]
        current["metadata"]["ownerReferences"] = references
    await context.cluster.update(current)
    return True


def _secret(owner: Object, key: Key, details: Mapping[str, bytes]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "ownerReferences": [owner_reference(owner)],
        },
        "type": SECRET_TYPE,
        "data": {name: encoded(details[name]) for name in sorted(details)},
    }


def _check_ownership(secret: Object, owner: Object) -> None:
    key = key_of(secret)
    controller = controller_of(secret)
    if controller is not None:
        if controller.get("uid") != meta(owner)["uid"]:
            raise taken(
                secret,
                f'existing secret is not controlled by UID "{meta(owner)["uid"]}": '
                f"{key} belongs to {controller.get('kind')} {controller.get('name')}",
                mend="name another Secret in writeConnectionSecretToRef",
            )
    elif secret.get("type") != SECRET_TYPE:
        raise taken(
            secret,
            f'refusing to modify uncontrolled secret of type "{secret.get("type")}": {key}',
            mend="delete that Secret, or name another one in writeConnectionSecretToRef",
        )
