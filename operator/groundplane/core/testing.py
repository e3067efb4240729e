"""Which documents are tests of authors, and the files beside them: for who meets them among manifests.  `composition_tests` reads them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from groundplane.core.objects import group_of
from groundplane.errors import InvalidInput, nearest, shown

GROUP, KIND = "test.crossplane.io", "CompositionTest"
OF_UP = "meta.dev.upbound.io"


def is_test(document: Mapping[str, Any]) -> bool:
    """Whether an object is a test document of a known format."""
    return document.get("kind") == KIND and group_of(str(document.get("apiVersion"))) in (GROUP, OF_UP)


def check_kind(document: Mapping[str, Any]) -> None:
    """Raise InvalidInput for what is nearly called a test: it would be passed over in silence.

    >>> check_kind({"apiVersion": "test.crossplane.io/v1alpha1", "kind": "CompositionTst"})
    Traceback (most recent call last):
    groundplane.errors.InvalidInput: kind: unsupported value "CompositionTst". Mend: did you mean CompositionTest?
    """
    kind, version = str(document.get("kind")), str(document.get("apiVersion"))
    if kind == KIND and group_of(version) not in (GROUP, OF_UP):
        if nearest(group_of(version), (GROUP, OF_UP)):
            raise InvalidInput(f"apiVersion: unsupported value {shown(version)}", mend=f"write {GROUP}/v1alpha1")
    elif (
        kind != KIND
        and group_of(version) in (GROUP, OF_UP)
        and difflib.get_close_matches(kind, (KIND,), cutoff=0.85)  # others may have an OperationTest
    ):
        raise InvalidInput(f"kind: unsupported value {shown(kind)}", mend=f"did you mean {KIND}?")


def snapshots(document: Any) -> list[str]:
    """The files that a test document names as snapshots, beside it; it may be written wrong otherwise."""
    if isinstance(document, Mapping):
        named = document.get("snapshot")
        return [
            *([named] if isinstance(named, str) and named else []),
            *(name for value in document.values() for name in snapshots(value)),
        ]
    return [name for value in document for name in snapshots(value)] if isinstance(document, list) else []
