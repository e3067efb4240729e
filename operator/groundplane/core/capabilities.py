"""What the functions of a pipeline say that they can do: `ValidPipeline` of a CompositionRevision, and of an Operation.

Source: Crossplane v2.3, internal/controller/apiextensions/revision, and its fuzzy match of capabilities.  Upstream refuses a function
whose package was not looked into yet, too; nobody looks into those of functions that are built in, or run by us, so saying nothing is no fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from groundplane.core.conditions import Condition
from groundplane.core.objects import Object, meta, spec_of, status_of

VALID = "ValidPipeline"
COMPOSITION, OPERATION = "composition", "operation"


def head(function_revision: Object) -> Object:
    """Of a FunctionRevision, what is asked here."""
    metadata: dict[str, Any] = {
        name: value for name, value in meta(function_revision).items() if name not in ("annotations", "managedFields")
    }
    return {
        "apiVersion": function_revision["apiVersion"],
        "kind": function_revision["kind"],
        "metadata": metadata,
        "spec": {"desiredState": spec_of(function_revision).get("desiredState")},
        "status": {"capabilities": status_of(function_revision).get("capabilities")},
    }


def lacks(function_revision: Object, capability: str) -> bool:
    """Whether an active revision of a function says what it can do, and that is not among it."""
    told = status_of(function_revision).get("capabilities")
    if spec_of(function_revision).get("desiredState") != "Active" or not isinstance(told, list) or not told:
        return False
    return _plain(capability) not in {_plain(each) for each in told if isinstance(each, str)}


def _plain(text: str) -> str:
    """Case and punctuation do not count."""
    return re.sub("[^a-z0-9]", "", text.lower())


def verdict(revisions: Mapping[str, Iterable[Object]], capability: str) -> Condition:
    """`revisions`: those of each function, by the function's name; `capability`: what all of them must have."""
    missing = sorted(name for name, found in revisions.items() if any(lacks(each, capability) for each in found))
    if not missing:
        return Condition(VALID, "True", VALID)
    text = f"functions without the capability {capability}: {', '.join(missing)}"
    return Condition(VALID, "False", "MissingCapabilities", text)
