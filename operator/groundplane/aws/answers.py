"""Whether an answer is AWS's: what somebody else says in its name (a proxy's login page, half a text) tells nothing of what exists.

botocore reads such a text as an answer in which nothing is listed, as long as its status is 200: a thing that is there would count as
gone, be made once more, or be released undeleted.  Source: botocore 1.44, parsers.py; the protocols' texts, Smithy's specification.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from botocore.parsers import ResponseParserError

READING = ("Describe", "Get", "List", "Head")  # how the names of operations begin that change nothing
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)")  # of XML: the first element, comments and such being none


def check(operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
    """botocore's hook before it reads an answer.  Raises ResponseParserError for one that is not AWS's."""
    if response_dict["status_code"] >= 300 or operation_model.has_streaming_output:
        return
    if (problem := _problem(operation_model, response_dict["body"].strip())) is not None:
        raise ResponseParserError(f"{operation_model.name}: the answer {problem}")


def _problem(operation: Any, text: bytes) -> str | None:
    protocol = operation.service_model.resolved_protocol
    if protocol in ("query", "ec2"):
        root = _ROOT.search(text)
        return None if root and root[1].endswith(b"Response") else "is no answer of AWS"
    if protocol not in ("json", "rest-json", "rest-xml"):
        return None
    fields = _fields(operation.output_shape)
    if not text:
        return "is empty" if fields and operation.name.startswith(READING) else None
    if not fields:
        return None
    if protocol == "rest-xml":
        root = _ROOT.search(text)
        return "is a web page" if root and root[1].lower() == b"html" else None
    try:
        return None if isinstance(json.loads(text), dict) else "is no JSON object"
    except (ValueError, RecursionError):
        return "is no JSON, or only half of it"


def _fields(shape: Any) -> set[str]:
    """What of an answer stands in its text, piece by piece; nothing where the text as a whole is somebody's own, as a policy is."""
    if shape is None:
        return set()
    whole = shape.serialization.get("payload")
    if whole and shape.members[whole].type_name != "structure":
        return set()
    return {name for name, member in shape.members.items() if not member.serialization.get("location")}
