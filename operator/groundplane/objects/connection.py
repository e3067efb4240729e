"""Connection details: values of objects in the cluster that the Object acts in."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.connection import check_key
from groundplane.core.objects import Json, Object
from groundplane.errors import InvalidInput, at
from groundplane.objects.manifest import check_source, is_secret

_NEEDED = ("apiVersion", "kind", "name", "fieldPath", "toConnectionSecretKey")


def check(details: object) -> None:
    """Raise InvalidInput for entries that lack something."""
    for place, each in enumerate(details if isinstance(details, list) else ()):
        with at(f"spec.connectionDetails[{place}]"):
            missing = [name for name in _NEEDED if not each.get(name)]
            if missing:
                raise InvalidInput(
                    f"{' and '.join(missing)} not set", mend="set it: where the value is, and under which key it goes"
                )
            with at("toConnectionSecretKey"):
                check_key(str(each["toConnectionSecretKey"]))
            with at("fieldPath"):
                check_source(str(each["fieldPath"]))


def value(source: Object, detail: Mapping[str, Any]) -> bytes:
    """What one entry gives: text as it is, anything else as JSON, and of a Secret's data what it encodes.

    Raises:
        FieldNotFound: it is not there.
    """
    path = fieldpath.parse(str(detail["fieldPath"]))
    found: Json = fieldpath.get(source, path)
    if not isinstance(found, str):
        return json.dumps(found, sort_keys=True).encode()
    if is_secret(source) and path.segments[:1] == ("data",):
        try:
            return base64.b64decode(found, validate=True)
        except binascii.Error as error:
            raise InvalidInput("the Secret's value is not base64", mend="store it as the API server does") from error
    return found.encode()
