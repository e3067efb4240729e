"""Hostile input for the pure core: `make fuzz`, or `python -m tests.fuzz --seconds 120 --seed 1`.

Each check makes up input with a random generator and holds a law: an answer or a deliberate error, never another
exception; nothing that is handed in is changed; the same input gives the same answer.  What breaks a law is printed
with the seed that repeats it.  `tests/core/test_properties.py` runs the same checks under hypothesis, which shrinks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from groundplane.cli import documents, manifests
from groundplane.core import (
    admission,
    composition,
    fieldpath,
    goformat,
    gotemplate,
    goyaml,
    mistakes,
    patches,
    pipeline,
    preview,
    quantity,
    readiness,
    schema,
    structural,
    typecheck,
    usages,
)
from groundplane.core.explain import Trace
from groundplane.core.fieldpath import MergeOptions, PathSyntax
from groundplane.core.gotemplate.requests import FUNCTIONS as TEMPLATE_FUNCTIONS
from groundplane.core.patches import FunctionPatch, Patch
from groundplane.core.pipeline import State
from groundplane.core.readiness import ReadinessCheck
from groundplane.core.spec import FUNCTION, NATIVE, Spec, load
from groundplane.core.transforms import Transform
from groundplane.errors import GroundplaneError
from groundplane.functions import BUILT_IN, finder, go_templating
from tests import function_vectors

SLOW = 2.0  # seconds of one check that are worth a look
VECTORS = Path(__file__).parent / "vectors" / "render" / "synthetic.jsonl"
CALLS = Path(__file__).parent / "vectors" / "functions"

WORDS = (
    *(
        "a",
        "b",
        "spec",
        "status",
        "metadata",
        "name",
        "labels",
        "kind",
        "apiVersion",
        "x.y/z",
        "*",
        "0",
        "",
        "é",
        "日本",
    ),
    *("uid", "items", "crossplane.io/composite", "conditions", "ownerReferences", "'q'", "[", "]", "\ud800", "\x00"),
)
TEXTS = (
    "",
    "small",
    "%s",
    "%d-%v",
    "%[2]s%!",
    "100%",
    "^a.*$",
    "(a|b)*",
    "[0-9]+",
    "1Gi",
    "1e400",
    "true",
    "{}",
    "[1]",
    "Zm9v",
)
NUMBERS = (0, 1, -1, 3, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 10**30, 0.5, 1.0, 1e21, 1e-7, -0.0)
ODD = (math.nan, math.inf, 10**400)


# --- making things up -----------------------------------------------------------------------------------------


def word(rng: random.Random) -> str:
    if rng.random() < 0.8:
        return rng.choice(WORDS)
    return "".join(rng.choice("ab.[]*'\"01 %é\\{}\n") for _ in range(rng.randrange(8)))


def scalar(rng: random.Random) -> Any:
    kind = rng.randrange(8)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind in (2, 3):
        return rng.choice(ODD) if rng.random() < 0.02 else rng.choice(NUMBERS)
    return rng.choice(TEXTS) if rng.random() < 0.7 else word(rng)


def value(rng: random.Random, depth: int = 4) -> Any:
    if depth <= 0 or rng.random() < 0.4:
        return scalar(rng)
    if rng.random() < 0.6:
        return {word(rng): value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return [value(rng, depth - 1) for _ in range(rng.randrange(4))]


def obj(rng: random.Random) -> dict[str, Any]:
    made = {word(rng): value(rng) for _ in range(rng.randrange(5))}
    return {"apiVersion": "example.org/v1", "kind": "Thing", **made} if rng.random() < 0.8 else made


def path(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return word(rng)
    parts = []
    for _ in range(rng.randrange(1, 5)):
        kind = rng.randrange(5)
        if kind == 0:
            parts.append(f"[{rng.choice((0, 1, 2, 5, 1024, 1025, 2**32))}]")
        elif kind == 1:
            parts.append(f"[{word(rng)}]" if rng.random() < 0.5 else "[*]")
        else:
            parts.append(f".{word(rng)}")
    return "".join(parts).removeprefix(".")


def transform(rng: random.Random) -> dict[str, Any]:
    kind = rng.choice(("map", "match", "math", "string", "convert", "odd"))
    number = rng.choice(NUMBERS) if rng.random() < 0.9 else value(rng, 1)
    made: dict[str, Any] = {"type": kind}
    if kind == "map":
        made["map"] = {word(rng): value(rng, 2) for _ in range(rng.randrange(3))} | {"small": 1}
    elif kind == "match":
        made["match"] = {
            "patterns": [
                rng.choice(
                    (
                        {"type": "literal", "literal": rng.choice(TEXTS), "result": value(rng, 2)},
                        {"type": "regexp", "regexp": rng.choice(TEXTS), "result": value(rng, 2)},
                        {"type": word(rng), "result": 1},
                    )
                )
                for _ in range(rng.randrange(3))
            ],
            "fallbackTo": rng.choice(("Value", "Input", "X")),
            "fallbackValue": value(rng, 1),
        }
    elif kind == "math":
        made["math"] = {
            "type": rng.choice(("Multiply", "ClampMin", "ClampMax", "X")),
            **dict.fromkeys(("multiply", "clampMin", "clampMax"), number),
        }
    elif kind == "string":
        made["string"] = {
            "type": rng.choice(("Format", "Convert", "TrimPrefix", "TrimSuffix", "Regexp", "Join", "Replace", "X")),
            "fmt": "".join(
                rng.choice(("%", "s", "d", "v", "[1]", "*", "5", ".", "-", "#", "x", "q", " ")) for _ in range(5)
            ),
            "convert": rng.choice(
                ("ToUpper", "ToLower", "ToBase64", "FromBase64", "ToJson", "ToSha1", "ToAdler32", "X")
            ),
            "trim": rng.choice(TEXTS),
            "regexp": {"match": rng.choice(TEXTS), "group": rng.choice((0, 1, 2, -1))},
            "join": {"separator": rng.choice(TEXTS)},
        }
        if rng.random() < 0.3:
            made["string"]["replace"] = {"search": rng.choice(TEXTS), "replace": rng.choice(TEXTS)}
    elif kind == "convert":
        made["convert"] = {
            "toType": rng.choice(("string", "int", "int64", "bool", "float64", "object", "array", "X")),
            "format": rng.choice((None, "none", "quantity", "json", "X")),
        }
    return mutated(rng, made) if rng.random() < 0.1 else made


def policy(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"fromFieldPath": rng.choice((None, "Optional", "Required"))}
    if rng.random() < 0.5:
        made["mergeOptions"] = {
            "keepMapValues": rng.choice((None, True, False)),
            "appendSlice": rng.choice((None, True)),
        }
    else:
        made["toFieldPath"] = rng.choice(
            ("Replace", "MergeObjects", "ForceMergeObjectsAppendArrays", "AppendArray", "X")
        )
    return made


PATCHES = (
    *("FromCompositeFieldPath", "ToCompositeFieldPath", "CombineFromComposite", "CombineToComposite", "PatchSet"),
    *("FromEnvironmentFieldPath", "ToEnvironmentFieldPath", "CombineFromEnvironment", "CombineToEnvironment"),
)


def patch(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"type": rng.choice(PATCHES), "fromFieldPath": path(rng)}
    if rng.random() < 0.8:
        made["toFieldPath"] = path(rng)
    if rng.random() < 0.5:
        made["transforms"] = [transform(rng) for _ in range(rng.randrange(3))]
    if rng.random() < 0.5:
        made["policy"] = policy(rng)
    if rng.random() < 0.5:
        variables = [{"fromFieldPath": path(rng)} for _ in range(rng.randrange(3))]
        made["combine"] = {"strategy": "string", "string": {"fmt": rng.choice(TEXTS)}, "variables": variables}
    if rng.random() < 0.3:
        made["patchSetName"] = rng.choice(("common", "x"))
    return mutated(rng, made) if rng.random() < 0.1 else made


def mutated(rng: random.Random, given: Any, depth: int = 0) -> Any:
    """A copy with one thing changed, somewhere."""
    if isinstance(given, dict) and given and rng.random() < 0.85:
        name = rng.choice(list(given))
        result = dict(given)
        kind = rng.randrange(10)
        if kind == 0:
            del result[name]
        elif kind == 1:
            result[word(rng)] = result.pop(name)
        elif kind == 2:
            result[word(rng)] = value(rng, 2)
        else:
            result[name] = mutated(rng, given[name], depth + 1)
        return result
    if isinstance(given, list) and given and rng.random() < 0.85:
        index = rng.randrange(len(given))
        kind = rng.randrange(6)
        if kind == 0:
            return [item for number, item in enumerate(given) if number != index]
        if kind == 1:
            return [*given, given[index]]
        return [mutated(rng, item, depth + 1) if number == index else item for number, item in enumerate(given)]
    return value(rng, 2)


@cache
def corpus() -> list[dict[str, Any]]:
    with VECTORS.open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


# --- the laws -------------------------------------------------------------------------------------------------


class Broken(AssertionError):
    """A law does not hold."""


def frozen(given: Any) -> str:
    """Something to compare with later; tells 1 from 1.0 and from true."""
    return repr(given)


def unchanged(before: str, given: Any, what: str) -> None:
    if repr(given) != before:
        raise Broken(f"{what} was changed")


class Holder(Spec):
    transform: Transform | None = None
    native: Patch | None = None
    function: FunctionPatch | None = None
    check: ReadinessCheck | None = None


def paths_parse_or_say_why_not(rng: random.Random) -> None:
    text = path(rng)
    try:
        parsed = fieldpath.parse(text)
    except PathSyntax:
        return
    if not all(isinstance(segment, str | int) for segment in parsed.segments):
        raise Broken(f"{text!r} has odd segments: {parsed.segments}")


def what_is_set_can_be_got(rng: random.Random) -> None:
    target, text, new = obj(rng), path(rng), value(rng)
    before, value_before = frozen(target), frozen(new)
    try:
        parsed = fieldpath.parse(text)
        fieldpath.set(target, parsed, new)
    except GroundplaneError:
        unchanged(before, target, "the object of a set that failed")
        return
    unchanged(value_before, new, "the value that was set")
    if parsed.segments and not fieldpath.same(fieldpath.get(target, parsed), fieldpath.normalised(new)):
        raise Broken(f"{text!r}: {new!r} was set, {fieldpath.get(target, parsed)!r} is there")


def reading_changes_nothing(rng: random.Random) -> None:
    target, text = obj(rng), path(rng)
    before = frozen(target)
    for call in (fieldpath.get, fieldpath.find, fieldpath.expand, fieldpath.check_set):
        try:
            call(target, fieldpath.parse(text))
        except GroundplaneError:
            continue
    unchanged(before, target, "an object that was read")


def merging_changes_neither_side(rng: random.Random) -> None:
    there, coming = value(rng), value(rng)
    options = MergeOptions(rng.random() < 0.5, rng.random() < 0.5)
    sides = frozen((there, coming))
    try:
        once = fieldpath.merged(there, coming, options)
        if not options.append and frozen(fieldpath.merged(once, coming, options)) != frozen(once):
            raise Broken("merging the same twice is not merging it once")
    except GroundplaneError:
        pass
    unchanged(sides, (there, coming), "one side of a merge")


def transforms_answer_or_say_why_not(rng: random.Random) -> None:
    raw, given = transform(rng), value(rng, 3)
    before = frozen((raw, given))
    for dialect in (NATIVE, FUNCTION):
        holder, problems, _ = load(Holder, {"transform": raw}, "", dialect)
        if holder is None:
            if not problems:
                raise Broken("refused without a problem")
            continue
        if holder.transform is None:
            continue
        try:
            apply = holder.transform.prepared(dialect)
            answers = [apply(given), apply(given)]
        except GroundplaneError as error:
            str(error)
            continue
        if frozen(answers[0]) != frozen(answers[1]):
            raise Broken("the same value was transformed differently")
    unchanged(before, (raw, given), "the input of a transform")


def patches_copy_or_say_why_not(rng: random.Random) -> None:
    raw, source, target = patch(rng), obj(rng), obj(rng)
    before = frozen((raw, source))
    for dialect, member in ((NATIVE, "native"), (FUNCTION, "function")):
        holder, _, _ = load(Holder, {member: raw}, "", dialect)
        found = getattr(holder, member, None)
        if found is None or isinstance(found, patches.PatchSetReference) or list(found.problems(dialect)):
            continue
        try:
            compiled = found.compile(dialect)
        except GroundplaneError:  # an integer of 400 digits in a map
            continue
        results = []
        for trace in (None, Trace()):
            here = _copied(target)
            told = compiled.begin(trace, ("x",), source, here) if trace else None
            try:
                compiled.apply(source, here, told)
                results.append(frozen(here))
            except GroundplaneError as error:
                results.append(str(error))
        if results[0] != results[1]:
            raise Broken("an explained patch does something else")
        try:
            compiled.merge_with(source, _copied(target))
        except GroundplaneError:
            continue
    unchanged(before, (raw, source), "the source of a patch")


def _copied(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: _copied(item) for name, item in given.items()}
    return [_copied(item) for item in given] if isinstance(given, list) else given


def checks_judge_or_say_why_not(rng: random.Random) -> None:
    raw = {
        "type": rng.choice(
            ("MatchString", "MatchInteger", "NonEmpty", "MatchCondition", "MatchTrue", "MatchFalse", "None")
        ),
        "fieldPath": path(rng),
        "matchString": rng.choice(TEXTS),
        "matchInteger": rng.choice(NUMBERS),
        "matchCondition": {"type": "Ready", "status": rng.choice(("True", "Unknown"))},
    }
    given = {**obj(rng), "status": value(rng)}
    before = frozen(given)
    for dialect in (NATIVE, FUNCTION):
        holder, _, _ = load(Holder, {"check": mutated(rng, raw) if rng.random() < 0.2 else raw}, "", dialect)
        if holder is None or holder.check is None or list(holder.check.problems(dialect)):
            continue
        try:
            readiness.is_ready(given, readiness.compile([holder.check]))
        except GroundplaneError:
            continue
    unchanged(before, given, "an object that was judged")


def definitions_are_judged(rng: random.Random) -> None:
    """Whatever an author's schema says, which the API server keeps as it is: nobody may be kept from an answer."""
    schema_of_kind: Any = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "oneOf": [{"required": ["size"]}],
                "properties": {"size": {"type": "string", "enum": ["small"], "default": "small", "pattern": "a+"}},
                "x-kubernetes-validations": [{"rule": "self.size == 'small'"}],
            },
            "status": {"type": "object", "properties": {"observedGeneration": {"type": "integer"}}},
            "metadata": {"properties": {"name": {"maxLength": 10}}},
        },
    }
    for _ in range(rng.randint(1, 3)):
        schema_of_kind = mutated(rng, schema_of_kind)
    version = {"name": "v1", "served": True, "referenceable": True, "schema": {"openAPIV3Schema": schema_of_kind}}
    xrd = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": "xthings.example.org"},
        "spec": {"group": "example.org", "names": {"kind": "XThing", "plural": "xthings"}, "versions": [version]},
    }
    before = frozen(xrd)
    for strict in (False, True):
        problems = admission.definition_problems(xrd, None, strict_upstream=strict)
        admission.refused(xrd, problems) if problems else admission.allowed(admission.definition_warnings(xrd, None))
    unchanged(before, xrd, "a definition that was judged")


def usages_are_read_or_say_why_not(rng: random.Random) -> None:
    """The cache reads each as it comes, whoever brought the definition of the kind."""
    api_version, kind = rng.choice(usages.KINDS)
    party = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "resourceRef": {"name": "a", "namespace": "b"},
        "resourceSelector": {"matchLabels": {"a": "b"}, "matchControllerRef": True, "namespace": "b"},
    }
    spec: Any = {"of": party, "by": party, "reason": "r", "replayDeletion": True}
    for _ in range(rng.randint(1, 4)):
        spec = mutated(rng, spec)
    found = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "u", "namespace": rng.choice(("", "b"))}}
    found["spec"] = spec
    before = frozen(found)
    if not all(isinstance(hash(each), int) for each in usages.spoken_of(found)):
        raise Broken("an index can't have it")
    try:
        read = usages.read(found)
    except GroundplaneError as error:
        str(error)
    else:
        usages.denial(found, 1)
        for side in filter(None, (read.of, read.by)):
            usages.nothing_selected(side)
            usages.selected(side, found, [found])
        str(read.details)
    unchanged(before, found, "a usage that was read")


def texts_are_made_of_anything(rng: random.Random) -> None:
    fmt = "".join(
        rng.choice(("%", "s", "d", "v", "T", "[1]", "[9]", "*", "5", "99", ".", "-", "+", "#", "x", "é"))
        for _ in range(6)
    )
    values = [value(rng, 2) for _ in range(rng.randrange(3))]
    for call, given in (
        (lambda args: goformat.sprintf(fmt, *args), values),
        (quantity.parse, rng.choice(TEXTS) + rng.choice(("", "Ki", "E", "e3", "n", "e9999999999"))),
        (goformat.dumps, value(rng)),
        (goyaml.dumps, value(rng)),
        (fieldpath.normalised, value(rng)),
    ):
        try:
            call(given)
        except GroundplaneError:
            continue


def compositions_render_or_say_why_not(rng: random.Random) -> None:
    case = rng.choice(corpus())
    source, composite = case["composition"], case["xr"]
    observed = [item["object"] for item in case["observed"]]
    for _ in range(rng.randrange(3)):
        source = mutated(rng, source)
    if rng.random() < 0.3:
        composite = mutated(rng, composite)
    if rng.random() < 0.3:
        observed = mutated(rng, observed)
    if not _is_from_a_cluster(source, composite, *(observed if isinstance(observed, list) else [None])):
        return
    before = frozen((source, composite, observed))
    find = finder() if rng.random() < 0.5 else lambda name: BUILT_IN["function-patch-and-transform"]
    try:
        for error in (*mistakes.every(source, find), *mistakes.strays(source)):
            str(error)
        compiled = composition.compile(source, find)
        _check_types(source, find)
        texts = [_rendered(composite, compiled, observed, trace) for trace in (None, Trace())]
    except GroundplaneError as error:
        str(error)
    else:
        if texts[0] != texts[1]:
            raise Broken("the same was rendered differently")
    unchanged(before, (source, composite, observed), "the input of a render")


@cache
def calls() -> list[dict[str, Any]]:
    """What functions were asked."""
    return [
        json.loads(line)
        for file in sorted(CALLS.glob("function-*.jsonl"))
        for line in file.read_text().split("\n")
        if line
    ]


def functions_answer_or_say_why_not(rng: random.Random) -> None:
    """Whatever an input, the composite, what is desired by others and the context say; a bad answer would stop composing."""
    case = rng.choice(calls())
    function, given = BUILT_IN[function_vectors.name_of(case)], case["request"].get("input") or {}
    asked = function_vectors.request_of(case["request"])
    for _ in range(rng.randrange(3)):
        given = mutated(rng, given)

    def others(state: State) -> State:
        made = {
            name: replace(each, object=_object(mutated(rng, each.object))) for name, each in state.resources.items()
        }
        return State(replace(state.composite, object=_object(mutated(rng, state.composite.object))), made)

    asked = replace(asked, desired=others(asked.desired), context=_object(mutated(rng, dict(asked.context))))
    if not isinstance(given, dict):
        return
    before = frozen([given, asked.context, [each.object for each in asked.desired.resources.values()]])
    try:
        if not function.check(given):
            function.compile(given)(asked)
    except GroundplaneError as error:
        str(error)
    after = [given, asked.context, [each.object for each in asked.desired.resources.values()]]
    unchanged(before, after, "what a function was asked")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_from_a_cluster(*objects: Any) -> bool:
    """What every API server sees to: an object has its kind, and metadata of the right shape."""
    known = structural.compiled(structural.OBJECT_META)
    for each in objects:
        if not isinstance(each, dict):
            return False
        if not all(isinstance(each.get(name), str) and each[name] for name in ("apiVersion", "kind")):
            return False
        metadata = each.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name") or schema.validate(known, metadata):
            return False
    return True


def _check_types(source: Any, find: pipeline.Find) -> None:
    from groundplane.functions import parts

    spec = composition.review(source["spec"]).spec
    assert spec is not None
    everything = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}}
    known = dict.fromkeys(typecheck.kinds_in(spec), everything)
    for strict in (False, True):
        typecheck.check(spec, known, *parts(spec, find), strict_upstream=strict)


def _rendered(composite: Any, compiled: composition.Compiled, observed: Any, trace: Trace | None) -> str:
    if compiled.is_pipeline:
        found = preview.piped(composite, compiled, observed, preview.Around(), trace=trace)
    else:
        found = preview.native(composite, compiled, observed, trace=trace)
    documents = list(preview.documents(found, full=True, results=True, context=True))
    return "---\n".join(map(goyaml.dumps, documents))


# Pieces of templates: what authors write, what loops, what grows.
PIECES = (
    "{{ .a }}", "{{ .observed.b.c }}", "{{ $x := .l }}", "{{ $x }}", "{{ $x = list $x $x }}", '{{ $s = printf "%s%s" $s $s }}', '{{ $s := "x" }}',
    "{{ if .a }}", "{{ else }}", "{{ else if .l }}", "{{ end }}", "{{ range .l }}", "{{ range $k, $v := .m }}", "{{ range until 100 }}",
    "{{ range 5 }}", "{{ with .m }}", "{{ break }}", "{{ continue }}", '{{ define "t" }}', '{{ template "t" . }}', '{{ include "t" . | indent 2 }}',
    '{{ set .m "k" .m }}', '{{ merge .m (dict "a" .m) }}', "{{ toYaml . }}", "{{ toJson .m | fromJson }}", "{{ .s | fromYaml | toYaml }}",
    '{{ regexReplaceAll "(a*)*b" .s "${1}" }}', '{{ repeat 1000 .s }}', "{{ .s | trunc 3 | upper }}", '{{ dig "m" "k" 1 . }}',
    '{{ date .s (toDate .s .s) }}', "{{ semverCompare .s .s }}", "{{ urlParse .s }}", "{{ deepCopy . | deepEqual . }}", "text\n", "---\nkind: X\n",
    "{{", "}}", "{{-", "-}}", "{{/*", "*/}}", '"', "`", "|", "(", ")", "$", ":=", " ", ".", "{{ 1e1000 }}", "{{ 'a }}", "\udcff", "é", "\n\t- a: b",
)  # fmt: skip


def templates_render_or_say_why_not(rng: random.Random) -> None:
    names = list(TEMPLATE_FUNCTIONS)
    pieces = [rng.choice(PIECES) for _ in range(rng.randrange(1, 12))]
    if rng.random() < 0.7:
        arguments = [
            rng.choice((".a", ".l", ".m", ".s", ".", "1", '"x"', "2.5", "nil", "(list 1 2)", "-1", ".n"))
            for _ in range(rng.randrange(4))
        ]
        pieces.append(f"{{{{ {' '.join([rng.choice(names), *arguments])} | {rng.choice(names)} }}}}")
    text = "".join(pieces)
    if rng.random() < 0.5:
        text += "{{ end }}" * (
            text.count("{{ if") + text.count("{{ range") + text.count("{{ with") + text.count("{{ define")
        )
    data = {
        "a": value(rng),
        "l": [value(rng) for _ in range(3)],
        "m": obj(rng),
        "s": word(rng),
        "n": rng.randrange(-5, 5),
    }
    try:
        template = gotemplate.compile(text, functions=TEMPLATE_FUNCTIONS)
        for document in go_templating.documents(template.render(data)):
            str(document)
    except GroundplaneError as error:
        str(error)


TOKENS = (
    *(
        "&a ",
        "*a ",
        "&b ",
        "*b ",
        "!!int ",
        "!!float ",
        "!!bool ",
        "!!binary ",
        "!!set ",
        "!!omap ",
        "!!timestamp ",
        "!x ",
        "<<: ",
    ),
    *(
        "? ",
        "- ",
        ": ",
        ", ",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "\n  ",
        "\n---\n",
        "|\n",
        "'",
        '"',
        "#",
        "%",
        "@",
        "=",
        "\t",
        "\x85",
        "\ufeff",
    ),
    *(
        "22:22",
        "1:30.5",
        ".inf",
        ".nan",
        "1.0e+999",
        "0x",
        "0o7",
        "0777",
        "1_0",
        "9" * 30,
        "9" * 5000,
        "~",
        "yes",
        "2020-99-99",
    ),
    *(
        "apiVersion: v1",
        "kind: A",
        "kind: AList",
        "items: ",
        "metadata: ",
        "name: x",
        "labels: ",
        "spec: ",
        "a",
        "é",
        "[" * 300,
    ),
)


def files_are_read_or_say_why_not(rng: random.Random) -> None:
    """Whatever text a file has: objects that JSON can hold, or what is wrong with it."""
    begun = "apiVersion: v1\nkind: A\nmetadata: {name: x}\nspec: " if rng.random() < 0.7 else ""
    text = begun + "".join(rng.choice(TOKENS) for _ in range(rng.randrange(1, 12)))
    found = [document.object for document in documents.parse(text, "x.yaml")[0]]
    with contextlib.suppress(GroundplaneError):
        found += [manifest.object for manifest in manifests.parse(text, "x.yaml")]
    for each in found:
        if json.loads(json.dumps(each, allow_nan=False)) != each:
            raise Broken(f"{text!r} became {each!r}, which JSON has otherwise")


CHECKS: tuple[Callable[[random.Random], None], ...] = (
    files_are_read_or_say_why_not,
    paths_parse_or_say_why_not,
    what_is_set_can_be_got,
    reading_changes_nothing,
    merging_changes_neither_side,
    transforms_answer_or_say_why_not,
    patches_copy_or_say_why_not,
    checks_judge_or_say_why_not,
    definitions_are_judged,
    usages_are_read_or_say_why_not,
    texts_are_made_of_anything,
    compositions_render_or_say_why_not,
    functions_answer_or_say_why_not,
    templates_render_or_say_why_not,
)


# --- running --------------------------------------------------------------------------------------------------


def rounds(seed: int, seconds: float, names: list[str]) -> Iterator[tuple[str, int, str]]:
    """Run the checks in turn until the time is over; yields what broke a law: its name, its seed, the error."""
    chosen = [check for check in CHECKS if not names or check.__name__ in names]
    end, counts = time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        for check in chosen:
            begun = time.monotonic()
            try:
                check(random.Random(seed))
            except Exception as error:
                text = "".join(traceback.format_exception(error)[-3:])
                yield check.__name__, seed, text
            counts[check.__name__] += 1
            if time.monotonic() - begun > SLOW:
                yield check.__name__, seed, f"took {time.monotonic() - begun:.1f} s\n"
        seed += 1
    print("; ".join(f"{name}: {count}" for name, count in counts.items()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CHECK", help=", ".join(check.__name__ for check in CHECKS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="where to begin; each round takes the next one")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    found: Counter[str] = Counter()
    for name, at, text in rounds(seed, arguments.seconds, arguments.names):
        last = text.strip().splitlines()[-1]
        if not found[last]:
            print(f"FAIL {name}, seed {at}:\n{text}", flush=True)
        found[last] += 1
    for text, count in found.most_common():
        print(f"{count} × {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
