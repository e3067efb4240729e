"""Field paths of the first generation as those of the second: where what a patch reads and writes is now."""

from __future__ import annotations

import re

SELECTION = (
    "compositionRef",
    "compositionSelector",
    "compositionRevisionRef",
    "compositionRevisionSelector",
    "compositionUpdatePolicy",
)

_READS = (  # paths of the composite that mean something else, or are elsewhere
    (re.compile(r"spec\.claimRef\.namespace"), "metadata.namespace"),
    (re.compile(r"spec\.claimRef\.name"), "metadata.name"),
    (re.compile(r"metadata\.labels\[['\"]?crossplane\.io/claim-name['\"]?\]"), "metadata.name"),
    (re.compile(r"metadata\.labels\[['\"]?crossplane\.io/claim-namespace['\"]?\]"), "metadata.namespace"),
    (re.compile(r"spec\.writeConnectionSecretToRef\.namespace"), "metadata.namespace"),
    (re.compile(r"spec\.writeConnectionSecretToRef\.name"), "metadata.uid"),  # as a claim's composite had it
    (re.compile(rf"spec\.({'|'.join((*SELECTION, 'resourceRefs'))})(?=$|[.\[])"), r"spec.crossplane.\1"),
)


def composite_path(path: str) -> str:
    """A path of the composite.

    >>> composite_path("spec.claimRef.namespace"), composite_path("spec.compositionRef.name"), composite_path("spec.size")
    ('metadata.namespace', 'spec.crossplane.compositionRef.name', 'spec.size')
    """
    for pattern, instead in _READS:
        path = pattern.sub(instead, path)
    return path


def composed_path(path: str, lists: set[str]) -> str:
    """A path of a managed resource; `lists`: the paths of what is an object now, and may have been a list of one.

    >>> composed_path("spec.forProvider.a[0].b[0].c", {"spec.forProvider.a", "spec.forProvider.a.b"})
    'spec.forProvider.a.b.c'
    """
    for name in sorted(lists, key=len):  # from the outside to the inside
        for prefix in (name, name.replace("spec.forProvider", "status.atProvider", 1)):
            if path.startswith(f"{prefix}[0]"):
                path = prefix + path[len(prefix) + 3 :]
    return path


def is_gone(path: str) -> bool:
    """Whether a field of a managed resource is in the first generation alone."""
    return bool(re.search(r"(writeConnectionSecretToRef|SecretRef)\.namespace$", path)) or path == "spec.deletionPolicy"
