"""What upstream's Go code answered, asked of ours: `python -m tests.conformance FILE…`.

The format is that of the vectors' README: one JSON object per line, single operations (`op`), whole renders, calls of composition
functions (`request`), Go templates (`template`), or conversions of Compositions to pipelines (`input`).
Prints a line for each case that fails and in the end `N passed, M failed`; exits 1 if any failed.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from groundplane.core import (
    composition,
    conditions,
    environment,
    fieldpath,
    goformat,
    naming,
    pipeline,
    quantity,
    render,
)
from groundplane.core.conditions import Condition
from groundplane.core.conversion import pipelines
from groundplane.core.fieldpath import MergeOptions
from groundplane.core.objects import joined, key_of, merge_patched
from groundplane.errors import GroundplaneError, InvalidInput
from groundplane.functions import patch_and_transform
from tests import function_vectors, template_vectors
from tests.differences import differences

Case = dict[str, Any]

POLICIES = {
    "R": None,
    "MO": MergeOptions(keep=True),
    "MOAA": MergeOptions(keep=True, append=True),
    "FMO": MergeOptions(),
    "FMOAA": MergeOptions(append=True),
}


# --- single operations --------------------------------------------------------------------------------------


def _operation(case: Case) -> list[str]:
    outputs = ("class", "segments", "text", "result") if case["op"] == "parse" else ("class", "result")
    wanted = {name: case[name] for name in outputs if name in case}
    try:
        got = OPERATIONS[case["op"]](case)
    except fieldpath.FieldNotFound:
        got = {"class": "nf"}
    except InvalidInput as error:
        got = {"class": "err"}
        if case.get("error", "") not in str(error):
            return [f"wanted the error {case['error']!r}, got {str(error)!r}"]
    if "class" not in wanted:
        got.pop("class")
    return [] if fieldpath.same(wanted, got) else [f"wanted {wanted}, got {got}"]


def _parse(case: Case) -> Case:
    path = fieldpath.parse(case["path"])
    return {"class": "ok", "segments": list(path.segments), "text": str(path)}


def _get(case: Case) -> Case:
    return {"class": "ok", "result": fieldpath.get(case["object"], fieldpath.parse(case["path"]))}


def _set(case: Case) -> Case:
    obj = fieldpath.copied(case["object"])
    fieldpath.set(obj, fieldpath.parse(case["path"]), case["value"])
    return {"class": "ok", "result": obj}


def _expand(case: Case) -> Case:
    return {"class": "ok", "result": sorted(fieldpath.expand(case["object"], fieldpath.parse(case["path"])))}


def _merge(case: Case) -> Case:
    obj = fieldpath.copied(case["object"])
    fieldpath.merge_value(obj, fieldpath.parse(case["path"]), case["value"], POLICIES[case["policy"]])
    return {"class": "ok", "result": obj}


OPERATIONS: dict[str, Callable[[Case], Case]] = {
    "parse": _parse,
    "get": _get,
    "set": _set,
    "expand": _expand,
    "merge": _merge,
    "format": lambda case: {"class": "ok", "result": goformat.sprintf(case["fmt"], *case["args"])},
    "quantity": lambda case: {"class": "ok", "result": quantity.parse(case["text"])},
    "json": lambda case: {"class": "ok", "result": goformat.dumps(case["value"])},
}


# --- native renders -------------------------------------------------------------------------------------------


def _native(case: Case) -> list[str]:
    """One reconcile of one composite, as upstream's composer runs it, over what was observed."""
    wanted = case["expect"]
    found = composition.review(case["composition"]["spec"])
    problems = list(differences("pruned", sorted(wanted.get("pruned", [])), sorted(found.pruned)))
    refused = [("schema", problem) for problem in found.shape] + [("validate", problem) for problem in found.sense]
    if refused:
        got = [
            {"class": "fatal", "phase": phase, "type": f"FieldValue{problem.type}", "field": problem.field}
            for phase, problem in refused
        ]
        return problems + list(differences("errors", _errors(wanted["errors"]), got))
    return problems + _Run(case).compare()


def _errors(errors: Iterable[Case]) -> list[Case]:
    return [{name: error[name] for name in ("class", "phase", "type", "field") if name in error} for error in errors]


class _Run:
    """One case: what comes in, and what upstream's reconciler would do with our core's answers."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.wanted = case["expect"]
        self.before = fieldpath.normalised(case["xr"])
        self.compiled = composition.compile(case["composition"])
        self.composite = fieldpath.copied(self.before)
        if self.compiled.secrets_namespace:
            reference = {"name": self.before["metadata"]["uid"], "namespace": self.compiled.secrets_namespace}
            if not isinstance(self.composite["spec"].get("writeConnectionSecretToRef"), dict):
                self.composite["spec"]["writeConnectionSecretToRef"] = reference
        self.observed = [fieldpath.normalised(item["object"]) for item in case["observed"]]
        self.secrets = {key_of(item["object"]): item["connection"] for item in case["observed"]}
        self.names: dict[str, str] = {}  # generated name → the placeholder that the vectors have for it
        self.rendered: list[render.Rendered] = []
        self.errors: list[Case] = []
        self.resources: dict[str, Case] = {t.name: {"object": None} for t in self.compiled.templates}
        self.composite_got: Case = {"status": self.composite.get("status") or {}}
        self.connection: dict[str, str] = {}
        self.deleted: list[str] = []

    def compare(self) -> list[str]:
        try:
            self.compose()
        except GroundplaneError as error:
            self.fatal(error)
        wanted = self.wanted
        for departure in DEPARTURES:
            departure.adapt(self)
        wanted.pop("pruned", None)
        for name, resource in self.resources.items():
            if "live" not in wanted["resources"].get(name, {}):
                resource.pop("live", None)  # most cases were recorded without
        wanted["errors"] = _errors(wanted["errors"])
        for condition in wanted["composite"]["conditions"]:
            if condition["reason"] == "ReconcileError" and "cannot compose" in condition["message"]:
                condition.pop("message")
        got = {
            "resources": self.resources,
            "composite": self.composite_got,
            "connection": self.connection,
            "errors": self.errors,
        }
        if "order" in wanted:
            got["order"] = [template.name for template in self.compiled.templates]
        if self.deleted:
            got["deleted"] = self.deleted
        return list(differences("", wanted, self.placeholders(got)))

    def placeholders(self, value: Any) -> Any:
        if isinstance(value, str):
            for name, placeholder in self.names.items():
                value = value.replace(name, placeholder)
            return value
        if isinstance(value, dict):
            return {name: self.placeholders(item) for name, item in value.items()}
        return [self.placeholders(item) for item in value] if isinstance(value, list) else value

    def fatal(self, error: GroundplaneError) -> None:
        self.errors = [{"class": "fatal", "phase": "compose"}]  # upstream forgets the warnings before it
        self.composite_got["conditions"] = [{"type": "Synced", "status": "False", "reason": "ReconcileError"}]
        for resource in self.resources.values():
            resource.pop("ready", None)
            resource.pop("synced", None)
        self.compare_composite(error.composite if isinstance(error, render.Broken) else self.composite)

    def compose(self) -> None:
        references = self.composite["spec"].get("resourceRefs", [])
        self.composite_got["resourceRefs"] = references
        association = render.associate(self.composite, self.compiled, references, self.observed)
        self.deleted = [f"{obj['kind']}/{obj['metadata']['name']}" for obj in association.garbage]
        rendered = self.rendered = render.render(self.composite, self.compiled, association.observed, helpful=False)
        self.composite_got["resourceRefs"] = [self.reference(item, association) for item in rendered]
        applied = {}
        for item in rendered:
            resource = self.resources[item.template]
            if item.object is None:
                self.errors.append({"class": "warning", "phase": "render"})
                resource |= {"synced": False, "ready": "False"}
                continue
            live = self.live(item.object)
            resource |= {"object": fieldpath.copied(item.object), "op": "patch" if live else "create", "synced": True}
            if item.template not in association.observed and item.object["metadata"]["name"] in self.names:
                resource["generated"] = True
                del resource["object"]["metadata"]["name"]
            result = merge_patched(live, item.object) if live else item.object
            if live and result != item.object:
                resource["live"] = result
            applied[item.template] = render.Composed(result, self.secret(result))
        collected = render.collect(self.composite, self.compiled, applied, helpful=False)
        for name, ready in collected.ready.items():
            self.resources[name]["ready"] = str(ready)
        self.connection = {name: value.decode() for name, value in collected.connection.items()}
        self.composite_got["conditions"] = _conditions(self.resources)
        self.compare_composite(collected.composite)

    def reference(self, item: render.Rendered, association: render.Association) -> Case:
        reference: Case = dict(item.reference)
        metadata = self.composite["metadata"]
        prefix = metadata.get("labels", {}).get("crossplane.io/composite") or metadata["name"]
        generated = naming.composed_name(f"{prefix}-", metadata["uid"], item.template)
        if item.template not in association.observed and reference["name"] == generated:
            self.names[reference["name"]] = f"${{generated-name:{item.template}}}"
            reference |= {"name": None, "generated": True}
        return reference

    def live(self, obj: Case) -> Case | None:
        return next((item for item in self.observed if key_of(item) == key_of(obj)), None)

    def secret(self, obj: Case) -> dict[str, bytes]:
        reference = (
            (obj.get("spec") or {}).get("writeConnectionSecretToRef") if isinstance(obj.get("spec"), dict) else None
        )
        if not reference:
            return {}
        return {name: value.encode() for name, value in self.secrets.get(key_of(obj), {}).items()}

    def compare_composite(self, after: Case) -> None:
        """What of the composite changed."""
        changed: Case = {}
        removed: list[str] = []
        for part in ("metadata", "spec"):
            old, new = self.before.get(part) or {}, after.get(part) or {}
            if fresh := {name: value for name, value in new.items() if not fieldpath.same(value, old.get(name))}:
                changed[part] = fresh
            removed += [f"{part}.{name}" for name in old if name not in new]
        got = self.composite_got
        got["status"] = after.get("status") or {}
        if changed:
            got["changed"] = changed
        if removed:
            got["removed"] = sorted(removed)


# --- where we answer differently, on purpose ------------------------------------------------------------------


class Departure(NamedTuple):
    """One promise broken: why, and what is wanted instead of upstream's answer where it applies."""

    reason: str
    adapt: Callable[[_Run], None]


def _panics(run: _Run) -> None:
    if run.errors and any(error.get("phase") == "panic" for error in run.wanted["errors"]):
        answer = {"resources": run.resources, "composite": run.composite_got, "connection": run.connection}
        answer |= {"errors": run.errors} | ({"deleted": run.deleted} if run.deleted else {})
        run.wanted.clear()
        run.wanted.update(run.placeholders(fieldpath.copied(answer)))


def _odd_texts(run: _Run) -> None:
    for item in run.rendered:
        theirs = run.wanted["resources"][item.template].get("object")
        if theirs and item.error and re.match(r"metadata\.(labels|annotations)\[.*not a string", item.error.what):
            member = item.error.what.removeprefix("metadata.").partition("[")[0]
            if all(name.startswith("crossplane.io/") for name in theirs["metadata"][member]):
                _withhold(run, item)


def _odd_objects(run: _Run) -> None:
    for item in run.rendered:
        theirs = run.wanted["resources"][item.template].get("object")
        if theirs and not (isinstance(theirs["apiVersion"], str) and isinstance(theirs["metadata"], dict)):
            _withhold(run, item)


def _renamed(run: _Run) -> None:
    for index, item in enumerate(run.rendered):
        theirs = run.wanted["resources"][item.template]
        observed = next((o for o in run.case["observed"] if o["template"] == item.template), None)
        if observed and theirs.get("op") == "create":
            name = observed["object"]["metadata"]["name"]
            theirs["op"] = "patch"
            theirs["object"]["metadata"]["name"] = name
            run.wanted["composite"]["resourceRefs"][index]["name"] = name


def _large_integers(run: _Run) -> None:
    exact = {int(float(number)): number for number in _integers(run.case["composition"]["spec"])}
    run.wanted["resources"] = _replaced(run.wanted["resources"], exact)


DEPARTURES = (
    Departure("where upstream panics there is an error, and what else there is, is for us to say", _panics),
    Departure("a label or annotation that is no string is an error; upstream drops all others there", _odd_texts),
    Departure("an object without apiVersion or metadata is an error; upstream sends it", _odd_objects),
    Departure("an object that exists keeps its name; upstream makes a second one and forgets the first", _renamed),
    Departure("integers in maps and matches stay exact; upstream makes them floats", _large_integers),
)


def _integers(value: Any) -> Iterator[int]:
    """The integers in a value that no float holds exactly."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _integers(item)
    elif type(value) is int and int(float(value)) != value:
        yield value


def _replaced(value: Any, numbers: dict[int, int]) -> Any:
    if isinstance(value, dict):
        return {name: _replaced(item, numbers) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, numbers) for item in value]
    return numbers.get(value, value) if type(value) is int else value


def _withhold(run: _Run, item: render.Rendered) -> None:
    """Want the template's resource not to be applied, and everything that follows from it."""
    wanted = run.wanted
    wanted["resources"][item.template] = {"object": None, "synced": False, "ready": "False"}
    wanted["errors"].insert(0, {"class": "warning", "phase": "render"})
    index = [rendered.template for rendered in run.rendered].index(item.template)
    reference = wanted["composite"]["resourceRefs"][index]
    reference["apiVersion"] = item.reference["apiVersion"]
    if "name" not in reference:
        reference |= {"name": None, "generated": True}
    wanted["composite"]["conditions"] = _conditions(wanted["resources"])


def _conditions(resources: Case) -> list[Case]:
    """What upstream's reconciler says of resources that are as they are."""
    unsynced = [name for name, resource in resources.items() if not resource["synced"]]
    unready = [name for name, resource in resources.items() if resource["ready"] != "True"]
    ready, synced = conditions.available(), conditions.reconcile_success()
    if unready:
        ready = conditions.creating(f"Unready resources: {joined(unready)}")
    if unsynced:
        synced = conditions.reconcile_error(f"Unsynced resources: {joined(unsynced)}")
    return [_condition(ready), _condition(synced)]


def _condition(condition: Condition) -> Case:
    text = {"message": condition.message} if condition.message else {}
    return {"type": condition.type, "status": condition.status, "reason": condition.reason} | text


# --- renders by the function -----------------------------------------------------------------------------------

Places = dict[str, str]  # where an answer differs, and how


def _function(case: Case) -> list[str]:
    """One run of the pipeline's patch-and-transform steps; numbers are compared as floats, as the format says.

    Where the answer differs it is asked again with each departure undone, alone and all together: what is answered as
    upstream does then differs for that reason alone.
    """
    wrong = _compared(case, case)
    if not wrong:
        return []
    others = [undo(case) for _, undo in FUNCTION_DEPARTURES]
    together = case
    for _, undo in FUNCTION_DEPARTURES:
        together = undo(together)
    answers = [_compared(case, other) for other in (*others, together) if other != case]
    return [text for place, text in wrong.items() if not any(_agrees(place, answer) for answer in answers)]


def _agrees(place: str, answer: Places) -> bool:
    """Whether an answer is as wanted at a place: there, above and below."""
    return not any(_is_within(place, other) or _is_within(other, place) for other in answer)


def _is_within(place: str, other: str) -> bool:
    return place == other or place.startswith((f"{other}.", f"{other}["))


def _compared(case: Case, asked: Case) -> Places:
    """Where our answer to `asked` is not what upstream answered to `case`."""
    wanted = _floats(case["expect"])
    errors = wanted.pop("errors")
    wanted.pop("order", None)
    got = _floats(_answered(asked))
    told = got.pop("errors")
    places = {text.partition(": ")[0]: text for text in differences("", wanted, got)}
    if [error["class"] for error in errors] != [error["class"] for error in told]:
        places[".errors"] = f".errors: wanted {json.dumps(errors)}, got {json.dumps(told)}"
    for error, ours in zip(errors, told, strict=False):
        field = re.match(r"invalid Function input: (\S+): (Required|Invalid) value", error["message"])
        if field and not any(_same_field(field[1], name) for name in ours.get("fields", ())):
            places[".errors.field"] = f".errors: wanted {field[1]}, got {ours}"
    return places


def _same_field(theirs: str, ours: str) -> bool:
    """Upstream leaves the place of a patch set out, and has names of its own for the policies."""
    theirs = re.sub(r"FieldPathPolicy$", "FieldPath", theirs).replace("[type]", ".type")
    return ours.endswith(f"input.{theirs}") or re.search(rf"patchSets\[\d+\]\.{re.escape(theirs)}$", ours) is not None


def _answered(case: Case) -> Case:
    source = fieldpath.copied(case["composition"])
    source["spec"]["pipeline"] = [
        step | {"step": step.get("step", str(index))}  # the function never sees its step's name: some cases have none
        for index, step in enumerate(source["spec"]["pipeline"])
        if _is_ours(step)
    ]
    fatal: Case = {"resources": {}, "composite": {}, "connection": {}}
    try:
        steps = composition.compile(source, lambda name: patch_and_transform).steps
    except InvalidInput as error:
        fields = re.findall(r"spec\.pipeline\[\d+\]\.[\w.\[\]]+", str(error))
        return fatal | {"errors": [{"class": "fatal", "fields": fields}]}
    if case.get("floats"):
        steps = tuple(replace(step, run=_with_floats(step.run)) for step in steps)
    observed = {
        item["template"]: pipeline.Resource(
            item["object"], {name: value.encode() for name, value in (item.get("connection") or {}).items()}
        )
        for item in case["observed"]
    }
    context = {} if case["environment"] is None else {environment.KEY: case["environment"]}
    try:
        running = pipeline.calls(pipeline.Resource(case["xr"]), steps, observed, context=context)
        next(running)
    except StopIteration as end:
        return _outcome(end.value)
    except pipeline.Fatal as error:
        return fatal | {"errors": [*_warnings(error.outcome), {"class": "fatal", "message": str(error)}]}
    raise AssertionError("patch-and-transform wants to see something of the cluster")


def _is_ours(step: Case) -> bool:
    """Whether the function was asked: steps of others were left out."""
    version = (step.get("input") or {}).get("apiVersion", "")
    return step["functionRef"]["name"].endswith("patch-and-transform") or version.startswith("pt.fn.crossplane.io/")


def _warnings(outcome: pipeline.Outcome) -> list[Case]:
    return [{"class": result.severity.lower(), "message": result.message} for _, result in outcome.results]


READY = {True: "True", False: "False", None: "Unspecified"}


def _outcome(outcome: pipeline.Outcome) -> Case:
    desired = outcome.desired.composite
    changed = {name: value for name, value in desired.object.items() if name not in ("apiVersion", "kind", "status")}
    composite = {"status": desired.object.get("status") or {}, "ready": READY[desired.ready]}
    return {
        "resources": {
            name: {"object": resource.object, "ready": READY[resource.ready]}
            for name, resource in outcome.desired.resources.items()
        },
        "composite": composite | ({"changed": changed} if changed else {}),
        "connection": {name: value.decode("utf-8", "replace") for name, value in desired.connection.items()},
        "environment": outcome.context[environment.KEY],
        "errors": _warnings(outcome),
    }


def _floats(value: Any) -> Any:
    """Every number as the float that upstream's protocol makes of it."""
    if isinstance(value, dict):
        return {name: _floats(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if type(value) is int else value


def _with_floats(run: pipeline.Run) -> pipeline.Run:
    """A step that is asked with floats for integers."""

    def asked(resource: pipeline.Resource) -> pipeline.Resource:
        return replace(resource, object=_floats(resource.object))

    def state(given: pipeline.State) -> pipeline.State:
        return pipeline.State(
            asked(given.composite), {name: asked(resource) for name, resource in given.resources.items()}
        )

    return lambda request: run(
        replace(
            request,
            observed=state(request.observed),
            desired=state(request.desired),
            context=_floats(request.context),
        )
    )


def _undo_integers(case: Case) -> Case:
    """Integers of the input are read from floats, too: those beyond 2^53 are rounded."""
    return case | {"floats": True, "composition": _rounded(case["composition"])}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return fieldpath.normalised(float(value)) if type(value) is int else value


def _undo_join(case: Case) -> Case:
    """Upstream puts the separator behind every item and takes one byte off the end: do so by another transform."""
    return case | {"composition": _joined_badly(case["composition"])}


def _joined_badly(value: Any) -> Any:
    if isinstance(value, list):
        result = []
        for item in value:
            result.append(_joined_badly(item))
            join = isinstance(item, dict) and isinstance(item.get("string"), dict) and item["string"].get("join")
            if join and item["string"].get("type") == "Join" and (separator := join.get("separator", "")):
                rest = separator.encode()[:-1].decode("utf-8", "surrogateescape").replace("%", "%%")
                result.append({"type": "string", "string": {"type": "Format", "fmt": f"%s{rest}"}})
        return result
    return {name: _joined_badly(item) for name, item in value.items()} if isinstance(value, dict) else value


FUNCTION_DEPARTURES: tuple[tuple[str, Callable[[Case], Case]], ...] = (
    ("integers stay integers; upstream's protocol makes floats of them", _undo_integers),
    ("Join puts separators between items only; upstream leaves a part of one behind", _undo_join),
)


# --- running ----------------------------------------------------------------------------------------------------


def _conversion(case: Case) -> list[str]:
    got = pipelines.to_pipeline(case["input"])
    return list(differences("", _converted(case["output"]), _converted(got)))


def _converted(converted: Any) -> Any:
    """A converted Composition without what upstream's reading and writing of transforms does, and ours on purpose does not.

    Theirs adds a pattern's type "", and null as a result and as fallbackValue; leaves out empty `patterns`, and `string.replace`, which
    the function has and the native engine had not; and rounds integers beyond 64 bits.
    """
    if isinstance(converted, int) and not -(2**63) <= converted < 2**63:
        return float(converted)
    if isinstance(converted, list):
        return [_converted(each) for each in converted]
    if not isinstance(converted, dict):
        return converted
    found = {name: _converted(value) for name, value in converted.items()}
    if isinstance(match := found.get("match"), dict):
        match = {name: value for name, value in match.items() if value is not None and value != []}
        odd = [("type", ""), ("result", None)]
        if isinstance(match.get("patterns"), list):
            match["patterns"] = [{k: v for k, v in each.items() if (k, v) not in odd} for each in match["patterns"]]
        found["match"] = match
    if isinstance(string := found.get("string"), dict):
        found["string"] = {name: value for name, value in string.items() if name != "replace"}
    return found


def problems_of(case: Case) -> list[str]:
    """What is wrong with our answer to one case, as texts."""
    if "op" in case:
        return _operation(case)
    if "request" in case:
        return function_vectors.problems_of(case)
    if str(case.get("oracle", "")).startswith("crossplane beta convert"):
        return _conversion(case)
    if "template" in case:
        return template_vectors.problems_of(case)
    return _native(case) if case["mode"] == "Resources" else _function(case)


def cases(path: Path) -> Iterator[tuple[str, Case]]:
    """The cases of one file, each with a name.  Lines end at "\\n" only: some strings hold other separators."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                case = json.loads(line)
                yield case.get("id") or f"{path.name}:{number}", case


def main(paths: list[str]) -> int:
    counts: Counter[str] = Counter()
    for path in paths:
        for name, case in cases(Path(path)):
            found = problems_of(case)
            counts["failed" if found else "passed"] += 1
            if found:
                print(f"FAIL {name}: {'; '.join(found)}")
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
