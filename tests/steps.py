"""Steps in the life of managed resources in a `World`, and what is to be seen of them, whichever provider they are of."""

from __future__ import annotations

import base64
import json

from groundplane.core import conditions
from groundplane.core.objects import Key, key_of


async def applied(world, *manifests, seconds=0):
    await world.apply(*manifests)
    await world.settle(seconds=seconds)
    return await seen(world, manifests[-1])


async def seen(world, manifest):
    return await world.cluster.get(key_of(manifest))


async def deleted(world, *manifests, seconds=0):
    for manifest in manifests:
        await world.cluster.delete(key_of(manifest))
    await world.settle(seconds=seconds)
    return await seen(world, manifests[-1])


async def secret_of(world, name="conn", namespace="shop"):
    """What is in a Secret, decoded; empty if there is none."""
    found = await world.cluster.get(Key("v1", "Secret", namespace, name))
    return {key: base64.b64decode(text).decode() for key, text in (found or {}).get("data", {}).items()}


def is_ready(obj):
    return conditions.is_true(obj, "Ready") and conditions.is_true(obj, "Synced")


def message(obj, type_="Synced"):
    return (conditions.find(obj, type_) or {}).get("message", "")


def texts(world):
    """All that anybody may read."""
    objects = [json.dumps(each) for each in world.objects() if each["kind"] != "Secret"]
    return "\n".join([world.told.text(), *objects])
