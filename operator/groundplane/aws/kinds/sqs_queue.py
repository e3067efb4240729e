"""SQS Queue: the name of a FIFO queue.

Source: SQS API 2012-11-05, CreateQueue: a FIFO queue's name ends in `.fifo`, which counts towards its 80 characters.
"""

from __future__ import annotations

import json
import re
from typing import Any

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Parameters, Resource
from groundplane.errors import InvalidInput, shown

FIFO = ".fifo"
REDRIVE = ("deadLetterTargetArn", "maxReceiveCount")  # what a redrive policy says
NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
RULE = "a queue's name has 1 to 80 letters, digits, hyphens and underscores, and ends in .fifo if fifoQueue is true"


class Hooks(Base):
    def check(self, resource: Resource) -> None:
        text = resource.spec.get("redrivePolicy")
        given = json.loads(str(text)) if text else None
        if given and (missing := [name for name in REDRIVE if not isinstance(given, dict) or not given.get(name)]):
            raise InvalidInput(
                f"has no {missing[0]}",
                mend=f"write both {' and '.join(REDRIVE)}",
                where=("spec.forProvider.redrivePolicy",),
            )

    def check_create(self, resource: Resource) -> None:
        name = _name(resource)
        if len(name) > 80 or not NAME.fullmatch(name.removesuffix(FIFO) if resource.spec.get("fifoQueue") else name):
            where = "spec.forProvider.name" if resource.spec.get("name") else "metadata.name"
            raise InvalidInput(
                f"{shown(name)} is no name for a queue", mend=f"set forProvider.name: {RULE}", where=(where,)
            )
        if resource.spec.get("fifoQueue") and not name.endswith(FIFO):
            raise InvalidInput(
                f"{shown(name)} is no name for a FIFO queue",
                mend=f"let it end in {FIFO}",
                where=("spec.forProvider.name",),
            )
        per_group = resource.spec.get("fifoThroughputLimit") == "perMessageGroupId"
        if per_group and resource.spec.get("deduplicationScope") != "messageGroup":
            raise InvalidInput(
                "AWS takes perMessageGroupId only with deduplicationScope: messageGroup",
                mend="set deduplicationScope: messageGroup, or fifoThroughputLimit: perQueue",
                where=("spec.forProvider.fifoThroughputLimit",),
            )

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        return "", {"QueueName": _name(resource)}

    def incoming(self, resource: Resource, name: str, value: Any) -> Any:
        return str(value).rpartition(":")[2] if name == "name" and value else value


def _name(resource: Resource) -> str:
    """The spec's, or the object's: that is completed, as upstream completes the one that it draws."""
    if given := resource.spec.get("name"):
        return str(given)
    is_fifo = resource.spec.get("fifoQueue") and not resource.name.endswith(FIFO)
    return resource.name + (FIFO if is_fifo else "")
