"""What AWS would refuse in a managed resource, known without any call: for who judges manifests."""

from __future__ import annotations

from datetime import UTC, datetime

from groundplane.aws import catalogue
from groundplane.aws.engine import Engine
from groundplane.core.objects import Object, spec_of
from groundplane.errors import InvalidInput, nearest


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


def doubt(managed: Object) -> InvalidInput | None:
    """A region that botocore does not list, and that may be newer than botocore."""
    from groundplane.aws import sdk

    region = (spec_of(managed).get("forProvider") or {}).get("region")
    meant = sdk.unlisted(region) if isinstance(region, str) else ""
    what, _, mend = meant.partition(": ")
    return InvalidInput(what, mend=mend, where=("spec.forProvider.region",)) if meant else None


def check_call(service: str, operation: str) -> None:
    """Whether AWS has such a call, by boto3's name of its service.

    Raises:
        InvalidInput: it has not.
    """
    from botocore.exceptions import UnknownServiceError
    from botocore.model import ServiceModel

    from groundplane.aws import sdk

    mend = "write it as AWS does: rds.CreateDBInstance"
    try:
        known = ServiceModel(sdk.LOADER.load_service_model(service, "service-2"), service).operation_names
    except UnknownServiceError:
        raise InvalidInput(f'AWS has no service "{service}"', mend=mend) from None
    if operation not in known:
        meant = nearest(operation, known)
        raise InvalidInput(f'{service} has no call "{operation}"', mend=f"did you mean {meant}?" if meant else mend)
