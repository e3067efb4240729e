"""What a backup tool keeps of a control plane, and how it brings it back.

As Velero (pkg/restore/restore.go, `resetMetadataAndStatus`): name, namespace, labels, annotations and finalizers stay of the metadata, no status;
definitions of kinds come first, and what is there already is left alone.
"""

from __future__ import annotations

import copy

from groundplane.core.objects import key_of

KEPT = ("name", "namespace", "labels", "annotations", "finalizers")
MANAGER = "velero-server"
NEVER = ("Event", "Lease")


def kept(obj):
    """An object as it comes back."""
    found = copy.deepcopy({name: value for name, value in obj.items() if name != "status"})
    found["metadata"] = {name: value for name, value in found["metadata"].items() if name in KEPT}
    return found


def dump(world):
    """All that a backup of a world has."""
    return [kept(obj) for obj in world.objects() if obj["kind"] not in NEVER]


def in_order(objects, random):
    """The definitions of kinds first, all else as it comes."""
    kinds = [obj for obj in objects if obj["kind"] == "CustomResourceDefinition"]
    others = [obj for obj in objects if obj["kind"] != "CustomResourceDefinition"]
    random.shuffle(others)
    return [*kinds, *others]


async def bring_back(world, obj):
    """Create it, unless it is there."""
    if world.cluster.peek(key_of(obj)) is None:
        await world.cluster.apply(obj, manager=MANAGER)
