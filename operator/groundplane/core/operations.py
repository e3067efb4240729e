"""Operations: pipelines that run once; when one is due, what becomes of those that run, and which are kept.

Pure: time comes as a value.  Source: Crossplane v2.3, apis/ops/v1alpha1 and internal/controller/ops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from cronsim import CronSim, CronSimError
from pydantic import Field

from groundplane.core import composition, conditions, pipeline
from groundplane.core.composition import Step
from groundplane.core.conditions import Condition
from groundplane.core.objects import Object, key_of, labels_of, meta, owner_reference, spec_of, status_of
from groundplane.core.spec import FUNCTION, Spec, load, refusal
from groundplane.errors import InvalidInput, at, shown

GROUP = "ops.crossplane.io"
API_VERSION = f"{GROUP}/v1alpha1"
OPERATION, CRON, WATCH = "Operation", "CronOperation", "WatchOperation"
KINDS = tuple((API_VERSION, kind) for kind in (OPERATION, CRON, WATCH))
MANAGER = f"{GROUP}/operation"  # of what an operation applies; its UID follows
WATCHED = f"{GROUP}/watched-resource"  # the requirement by which functions see the object that changed
MADE_BY = {CRON: f"{GROUP}/cronoperation", WATCH: f"{GROUP}/watchoperation"}  # labels
SUCCEEDED = "Succeeded"
RETRIES = 5  # unless it says otherwise
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
# How far back one looks for times that were missed: of the others only the last would count anyway.
LONGEST = timedelta(days=1)

S = TypeVar("S", bound=Spec)
Policy = Literal["Allow", "Forbid", "Replace"]


class OperationSpec(Spec):
    """What is run."""

    mode: Literal["Pipeline"] = "Pipeline"
    pipeline: list[Step] = Field(default_factory=list)
    retryLimit: int = RETRIES


class Template(Spec):
    """What operations are like that are made."""

    metadata: dict[str, Any] = Field(default_factory=dict)
    spec: dict[str, Any]


class Making(Spec):
    """What makes operations."""

    concurrencyPolicy: Policy = "Allow"
    successfulHistoryLimit: int = 3
    failedHistoryLimit: int = 1
    operationTemplate: Template


class CronSpec(Making):
    schedule: str
    startingDeadlineSeconds: int | None = None


class Watched(Spec):
    apiVersion: str
    kind: str
    matchLabels: dict[str, str] = Field(default_factory=dict)
    namespace: str | None = None


class WatchSpec(Making):
    watch: Watched

    @property
    def selector(self) -> pipeline.Selector:
        watch = self.watch
        return pipeline.Selector(watch.apiVersion, watch.kind, "", watch.matchLabels, watch.namespace or "")


# --- reading -------------------------------------------------------------------------------------------------


def read(obj: Object, model: type[S]) -> S:
    """The spec as a model.  Raises InvalidInput with every problem in it."""
    with at(str(key_of(obj))):
        spec, problems, _ = load(model, spec_of(obj), "spec", FUNCTION)
        if spec is None or problems:
            raise refusal(problems)
        return spec


def compiled(operation: Object, spec: OperationSpec, find: pipeline.Find) -> tuple[pipeline.Step, ...]:
    """The steps, ready to run.  Raises InvalidInput with every problem in them."""
    with at(str(key_of(operation))):
        return composition.compiled_steps(spec.pipeline, find)


# --- one operation --------------------------------------------------------------------------------------------


def state(operation: Object) -> Literal["runs", "succeeded", "failed"]:
    """Whether it has come to its end, and to which."""
    found = (conditions.find(operation, SUCCEEDED) or {}).get("status")
    return "succeeded" if found == "True" else "failed" if found == "False" else "runs"


def running() -> Condition:
    return Condition(SUCCEEDED, "Unknown", "PipelineRunning")


def succeeded() -> Condition:
    return Condition(SUCCEEDED, "True", "PipelineSuccess")


def failed(message: str) -> Condition:
    return Condition(SUCCEEDED, "False", "PipelineError", message)


def failures(operation: Object) -> int:
    return int(status_of(operation).get("failures") or 0)


def applied(desired: Object, name: str) -> Object:
    """What is applied of what a function desires.  Raises InvalidInput if it can't be: it needs to say all of its name."""
    metadata = desired.get("metadata") or {}
    if not (desired.get("apiVersion") and desired.get("kind") and isinstance(metadata, dict) and metadata.get("name")):
        raise InvalidInput(
            f'desired resource "{name}" lacks apiVersion, kind or metadata.name',
            mend="let the function say which object it means: an Operation makes up no names",
        )
    kept = {key: value for key, value in metadata.items() if key not in ("managedFields", "resourceVersion", "uid")}
    return {**desired, "metadata": kept}


# --- what makes operations --------------------------------------------------------------------------------------


def made(maker: Object, template: Template, name: str, *, watched: Object | None = None) -> Object:
    """An operation of a maker; of a WatchOperation, with the object that has changed as a requirement of each step."""
    kind = key_of(maker).kind
    metadata = {field: dict(template.metadata.get(field) or {}) for field in ("labels", "annotations")}
    metadata["labels"][MADE_BY[kind]] = meta(maker)["name"]
    spec = dict(template.spec)
    if watched is not None:
        steps = [_seeing(step, watched) for step in spec.get("pipeline") or ()]
        spec["pipeline"] = steps
    return {
        "apiVersion": API_VERSION,
        "kind": OPERATION,
        "metadata": {"name": name, "ownerReferences": [owner_reference(maker)]}
        | {field: values for field, values in metadata.items() if values},
        "spec": spec,
    }


def _seeing(step: Mapping[str, Any], watched: Object) -> dict[str, Any]:
    key = key_of(watched)
    need = {"requirementName": WATCHED, "apiVersion": key.api_version, "kind": key.kind, "name": key.name}
    need |= {"namespace": key.namespace} if key.namespace else {}
    requirements = dict(step.get("requirements") or {})
    others = [each for each in requirements.get("requiredResources") or () if each.get("requirementName") != WATCHED]
    return {**step, "requirements": {**requirements, "requiredResources": [*others, need]}}


def watch_name(maker: Object, watched: Object) -> str:
    """The same for the same version of an object."""
    metadata = meta(watched)
    digest = hashlib.sha256(f"{metadata.get('uid')}{metadata.get('resourceVersion')}".encode()).hexdigest()
    return f"{meta(maker)['name']}-{digest[:7]}"


def cron_name(maker: Object, due: datetime) -> str:
    return f"{meta(maker)['name']}-{int(due.timestamp())}"


@dataclass(frozen=True)
class History:
    """The operations of a maker, by how they stand; the oldest first."""

    running: tuple[Object, ...]
    succeeded: tuple[Object, ...]
    failed: tuple[Object, ...]

    def has(self, name: str) -> bool:
        """Whether one of that name is among them."""
        return any(meta(each)["name"] == name for each in (*self.running, *self.succeeded, *self.failed))

    def surplus(self, making: Making) -> list[Object]:
        """Those that need not be kept."""
        found: list[Object] = []
        for ended, limit in (
            (self.succeeded, making.successfulHistoryLimit),
            (self.failed, making.failedHistoryLimit),
        ):
            found += ended[: max(0, len(ended) - max(0, limit))]
        return found


def history(maker: Object, operations: Sequence[Object]) -> History:
    """Of all the operations with the maker's label those that are its."""
    label, name = MADE_BY[key_of(maker).kind], meta(maker)["name"]
    own = [each for each in operations if labels_of(each).get(label) == name]
    own.sort(key=lambda each: (str(meta(each).get("creationTimestamp") or ""), meta(each)["name"]))
    by_state = {
        wanted: tuple(each for each in own if state(each) == wanted) for wanted in ("runs", "succeeded", "failed")
    }
    return History(by_state["runs"], by_state["succeeded"], by_state["failed"])


def last_success(known: History, before: str) -> str:
    """When one succeeded last, as a status says it; `before` is what it has said so far."""
    times = [str((conditions.find(each, SUCCEEDED) or {}).get("lastTransitionTime") or "") for each in known.succeeded]
    return max([*times, before])


# --- schedules -----------------------------------------------------------------------------------------------


def schedule(text: str, after: datetime) -> Iterator[datetime]:
    """The times of a schedule after a moment, in UTC.  Raises InvalidInput if it is none."""
    fields = DESCRIPTORS.get(text.strip().lower(), text)
    try:
        return CronSim(fields, after)
    except CronSimError as error:
        raise InvalidInput(
            f"spec.schedule {shown(text)} is no cron schedule: {error}",
            mend='give five fields: minute, hour, day of the month, month, day of the week, such as "0 2 * * *"',
        ) from error


@dataclass(frozen=True)
class Due:
    """The latest time that has come, if one has, and the next one, if there is one."""

    now: datetime | None
    next: datetime | None


def due(spec: CronSpec, since: datetime, now: datetime) -> Due:
    """What of a schedule is due: of all that was missed since, the latest, if it is not too late for it."""
    recent = max(since, now - LONGEST)
    latest, following = _around(spec.schedule, recent, now)
    if latest is None and recent > since:  # it comes less than once a day
        latest, following = _around(spec.schedule, since, now)
    late = spec.startingDeadlineSeconds
    if latest is not None and late is not None and now - latest > timedelta(seconds=late):
        latest = None
    return Due(latest, following)


def _around(text: str, since: datetime, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The last time that has come since, and the next one."""
    latest = None
    for moment in schedule(text, since):
        if moment > now:
            return latest, moment
        latest = moment
    return latest, None
