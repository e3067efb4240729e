"""What AWS would refuse in a managed resource, known without any call: for who judges manifests."""

from __future__ import annotations

from datetime import UTC, datetime

from groundplane.aws import catalogue
from groundplane.aws.engine import Engine
from groundplane.core.objects import Object
from groundplane.errors import InvalidInput


def refusal(managed: Object) -> InvalidInput | None:
    """The first thing; None if there is none, or the kind is not built in."""
    kind = catalogue.lookup(str(managed.get("apiVersion")), str(managed.get("kind")))
    if kind is None:
        return None
    try:
        Engine(kind, catalogue.hooks(kind.file), managed, now=datetime.now(UTC)).check()
    except InvalidInput as error:
        return error
    return None
