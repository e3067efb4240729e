"""A store of `groundplane up` that stands for things in AWS's stand-in: a network, and two databases."""

from __future__ import annotations

import asyncio

from groundplane.core import conditions
from groundplane.errors import NoSuchKind
from groundplane.runtime.local import LocalControlPlane
from tests.cli.filled import VERSION, claim, read

NAMES = ("orders", "users")


async def fill(path):
    """With AWS_ENDPOINT_URL set, and credentials."""
    async with LocalControlPlane(path) as plane:

        async def apply(obj):
            while True:
                try:
                    return await plane.cluster.apply(obj, manager="person")
                except NoSuchKind:
                    await asyncio.sleep(0.05)

        for obj in [
            obj
            for name in ("definition.yaml", "composition.yaml", "provider.yaml", "network.yaml")
            for obj in read(name)
        ]:
            await apply(obj)
        for name in NAMES:
            await apply(claim(name))
        while True:
            await plane.idle()
            if all(conditions.is_true(obj, "Ready") for obj in await plane.cluster.list(VERSION, "Database")):
                return
            await asyncio.sleep(0.1)
