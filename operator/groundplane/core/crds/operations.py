"""`ops.crossplane.io`: Operations, which run functions once, and what makes them on a schedule or at changes.

Source: the CRDs of Crossplane v2.3; v1.20 has none of these kinds.
"""

from __future__ import annotations

from groundplane.core.crds.build import crd, version
from groundplane.core.crds.composition import pipeline
from groundplane.core.objects import Object
from groundplane.core.openapi import (
    AGE,
    Schema,
    array,
    column,
    condition_column,
    conditions,
    enum,
    free,
    integer,
    named,
    obj,
    root,
    string,
    strings,
    time,
    unseen,
)

GROUP = "ops.crossplane.io"
VERSION = "v1alpha1"
SYNCED = condition_column("SYNCED", "Synced")
RUNS = (
    column("LAST SCHEDULE", ".status.lastScheduleTime", "date"),
    column("LAST SUCCESS", ".status.lastSuccessfulTime", "date"),
    AGE,
)


def crds() -> list[Object]:
    """Operation, CronOperation and WatchOperation."""
    succeeded = condition_column("SUCCEEDED", "Succeeded")
    scheduled = (column("SCHEDULE", ".spec.schedule"), SYNCED, condition_column("SCHEDULING", "Scheduling"), *RUNS)
    watching = condition_column("WATCHING", "Watching")
    count = column("COUNT", ".status.watchingResources", "integer")
    return [
        crd(GROUP, "Operation", [version(VERSION, _operation(), (SYNCED, succeeded, AGE))], short=["ops"]),
        crd(GROUP, "CronOperation", [version(VERSION, _cron(), scheduled)], short=["cronops"]),
        crd(
            GROUP,
            "WatchOperation",
            [version(VERSION, _watch(), (column("KIND", ".spec.watch.kind"), count, SYNCED, watching, *RUNS))],
            short=["watchops"],
        ),
    ]


def _spec() -> Schema:
    return obj(
        {
            "mode": enum(["Pipeline"], "There is one: functions.", default="Pipeline"),
            "pipeline": pipeline(minItems=1, maxItems=99),
            "retryLimit": integer("How often it may fail; after that it is not tried again. 5 if it is left out."),
        },
        "What is run.",
        required=["mode", "pipeline"],
    )


def _operation() -> Schema:
    output = obj({"step": string("The step's name."), "output": free("What its function gave.")}, required=["step"])
    reference = obj(
        {name: string() for name in ("apiVersion", "kind", "namespace", "name")},
        required=["apiVersion", "kind", "name"],
    )
    status = obj(
        {
            "conditions": conditions(),
            "failures": integer("How often it has failed."),
            "pipeline": array(output, "What each step gave, if it gave something.", keys=["step"]),
            "appliedResourceRefs": array(reference, "What was applied."),
        },
        "How it went.",
    )
    return root("An Operation runs a pipeline of functions, once, to its end.", spec=_spec(), status=unseen(status))


def _made(description: str, **own: Schema) -> Schema:
    """The spec of what makes operations."""
    template = obj(
        {"metadata": obj(description="Labels and annotations of the operations.", preserve=True), "spec": _spec()},
        "What the operations are like.",
        required=["spec"],
    )
    policy = "What becomes of one that is due while another one runs: Allow: both run, Forbid: it does not, Replace: the other one ends."
    history = "How many that {} are kept."
    return obj(
        own
        | {
            "concurrencyPolicy": enum(["Allow", "Forbid", "Replace"], policy, default="Allow"),
            "successfulHistoryLimit": integer(history.format("succeeded"), format="int32", default=3),
            "failedHistoryLimit": integer(history.format("failed"), format="int32", default=1),
            "operationTemplate": template,
        },
        description,
        required=["operationTemplate", *(name for name in own if name in ("schedule", "watch"))],
    )


def _status(**own: Schema) -> Schema:
    reference = named("An operation that runs.", of="The Operation")
    status = obj(
        {
            "conditions": conditions(),
            "runningOperationRefs": array(reference, "The operations that run."),
            "lastScheduleTime": time("When the last operation was made."),
            "lastSuccessfulTime": time("When one succeeded last."),
            **own,
        },
        "How it stands.",
    )
    return unseen(status)


def _cron() -> Schema:
    spec = _made(
        "When operations are made, and what they are like.",
        schedule=string("When: minute, hour, day of the month, month and day of the week, in UTC, as of cron."),
        startingDeadlineSeconds=integer("How late one may begin; one that is later is left out."),
    )
    return root("A CronOperation makes an Operation whenever it is time.", spec=spec, status=_status())


def _watch() -> Schema:
    same = [("self == oldSelf", "is immutable")]
    what = obj(
        {
            "apiVersion": string("The API version of what is watched.") | _rules("apiVersion", same),
            "kind": string("Its kind.") | _rules("kind", same),
            "matchLabels": strings("Labels that it must have; none: all of the kind."),
            "namespace": string("The namespace that it must be in; none: all."),
        },
        "What is watched.",
        required=["apiVersion", "kind"],
    )
    spec = _made("What is watched, and what the operations are like.", watch=what)
    status = _status(
        watchingResources=integer("How many objects are watched."),
        watchedVersion=string("Up to which version of an object one was made. Not of upstream."),
    )
    return root("A WatchOperation makes an Operation whenever an object changes.", spec=spec, status=status)


def _rules(name: str, rules: list[tuple[str, str]]) -> Schema:
    return {"x-kubernetes-validations": [{"rule": rule, "message": f"{name} {message}"} for rule, message in rules]}
