"""A Composition of mode Resources as a pipeline with one step of function-patch-and-transform, and a native environment as a step before it.

What the function demands and the native engine inferred is written out.  Otherwise than upstream's converter, a transform `map`,
`match` or `convert` gets its type as `math` and `string` do, patterns and fallbacks stay as they were written, a template without a name
gets one that no other has, and a connection Secret that only says where it is to be the name that mode Resources gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from groundplane.core import fieldpath, naming
from groundplane.core.objects import Json, Object, group_of, meta, spec_of
from groundplane.errors import InvalidInput, at

GROUP = "apiextensions.crossplane.io"
PATCH_AND_TRANSFORM = "function-patch-and-transform"
ENVIRONMENT_CONFIGS = "function-environment-configs"
RESOURCES = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources"}
INPUT = {"apiVersion": "environmentconfigs.fn.crossplane.io/v1beta1", "kind": "Input"}

_POLICIES = {  # of mergeOptions, by keepMapValues and appendSlice
    (True, False): "MergeObjects",
    (True, True): "MergeObjectsAppendArrays",
    (False, True): "ForceMergeObjectsAppendArrays",
    (False, False): "ForceMergeObjects",
}
SECRET = "spec.writeConnectionSecretToRef"
_TRANSFORMS = ("math", "string", "map", "match", "convert")
_MATH = {"clampMin": "ClampMin", "clampMax": "ClampMax", "multiply": "Multiply"}
_STRING = {"fmt": "Format", "convert": "Convert", "regexp": "Regexp"}
_DETAILS = {  # the field that a type of connection detail reads, in the order of upstream's choice
    "value": "FromValue",
    "fromFieldPath": "FromFieldPath",
    "fromConnectionSecretKey": "FromConnectionSecretKey",
}


def to_pipeline(
    source: Object, function: str = PATCH_AND_TRANSFORM, *, names: bool = True, secrets: bool = True
) -> Object | None:
    """The same Composition in mode Pipeline; None if it is one already.

    `function` is the Function's name.  With `names` templates without one are named, with `secrets` the connection Secrets that mode
    Resources names by itself.

    Raises:
        InvalidInput: it is no Composition, or has templates without a name.
    """
    _check(source)
    spec: dict[str, Json] = fieldpath.copied(spec_of(source))
    mode = spec.get("mode")
    if mode == "Pipeline" or (mode is None and spec.get("pipeline") and not spec.get("resources")):
        return None
    if mode not in (None, "Resources"):
        with at(f"Composition {meta(source).get('name', '')}", "spec.mode"):
            raise InvalidInput(f"there is no mode {mode}", mend="use one of: Pipeline, Resources")
    given: dict[str, Json] = dict(RESOURCES)
    environment = spec.get("environment")
    if isinstance(environment, dict) and isinstance(environment.get("patches"), list):
        given["environment"] = {"patches": [_patch(patch) for patch in environment.pop("patches")]}
        if not environment:
            del spec["environment"]
    if "patchSets" in spec:
        sets = spec.pop("patchSets")
        given["patchSets"] = [_patched(each) for each in sets] if isinstance(sets, list) else sets
    if "resources" in spec:
        given["resources"] = _templates(spec.pop("resources"), str(meta(source).get("name", "")), names=names)
    for template in _in(given.get("resources")) if secrets else ():
        if spec_of(_base(template)).get("writeConnectionSecretToRef", {}).get("namespace"):
            name_secret(template, _in(given.get("patchSets")), "metadata.uid")
    spec["mode"] = "Pipeline"
    spec["pipeline"] = [{"step": "patch-and-transform", "functionRef": {"name": function}, "input": given}]
    return {**fieldpath.copied(source), "spec": spec}


def name_secret(template: dict[str, Any], sets: Sequence[Mapping[str, Any]], path: str) -> str:
    """Have a patch name the connection Secret of a template that says no more than that there is one.

    `path` is what the composite has to begin the name with.  Returns the name as a format, "" if there was nothing to do.
    """
    wanted = spec_of(_base(template)).get("writeConnectionSecretToRef")
    if not isinstance(wanted, dict) or wanted.get("name"):
        return ""
    own = _in(template.get("patches"))
    named = {patch.get("patchSetName") for patch in own if patch.get("type") == "PatchSet"}
    of_sets = [patch for each in sets if each.get("name") in named for patch in _in(each.get("patches"))]
    written = {patch.get("toFieldPath") or patch.get("fromFieldPath") for patch in [*own, *of_sets]}
    if written & {SECRET, f"{SECRET}.name"}:
        return ""
    name = naming.secret_name("%s", str(template.get("name")))
    template["patches"] = [
        *(template.get("patches") or ()),
        {
            "type": "FromCompositeFieldPath",
            "fromFieldPath": path,
            "toFieldPath": f"{SECRET}.name",
            "transforms": [{"type": "string", "string": {"type": "Format", "fmt": name}}],
        },
    ]
    return name


def _in(given: Any) -> list[dict[str, Any]]:
    """The mappings of what should be a list of them."""
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def _base(template: Mapping[str, Any]) -> Mapping[str, Any]:
    base = template.get("base")
    spec = base.get("spec") if isinstance(base, dict) else None
    wanted = spec.get("writeConnectionSecretToRef") if isinstance(spec, dict) else None
    return base if isinstance(base, dict) and isinstance(wanted, dict) else {}


def environment_to_step(source: Object, function: str = ENVIRONMENT_CONFIGS) -> Object | None:
    """What is left of `spec.environment` as the first step of a pipeline; None if nothing is.

    Raises:
        InvalidInput: it is no Composition of mode Pipeline.
    """
    _check(source)
    spec: dict[str, Json] = fieldpath.copied(spec_of(source))
    if spec.get("mode", "Pipeline" if spec.get("pipeline") else "Resources") != "Pipeline":
        raise InvalidInput(
            f"Composition {meta(source).get('name', '')} is of mode Resources",
            mend="run `convert pipeline-composition` first",
        )
    environment = spec.get("environment")
    kept: dict[str, Json] = {}
    if isinstance(environment, dict):
        kept = {name: environment[name] for name in ("defaultData", "environmentConfigs") if name in environment}
        policy = environment.get("policy")
        if isinstance(policy, dict) and isinstance(policy.get("resolution"), str):
            kept["policy"] = {"resolution": policy["resolution"]}
    if not kept:
        return None
    del spec["environment"]
    step = {"step": "environment-configs", "functionRef": {"name": function}, "input": {**INPUT, "spec": kept}}
    spec["pipeline"] = [step, *(spec.get("pipeline") or ())]
    return {**fieldpath.copied(source), "spec": spec}


def _check(source: Object) -> None:
    if group_of(str(source.get("apiVersion") or "")) != GROUP or source.get("kind") != "Composition":
        what = f"{source.get('kind') or 'an object without a kind'} of {source.get('apiVersion') or 'no API version'}"
        raise InvalidInput(f"{what} is no Composition", mend=f"pass a Composition of {GROUP}/v1")
    if not isinstance(source.get("spec"), dict):
        raise InvalidInput(f"Composition {meta(source).get('name', '')} has no spec", mend="write one")


def _templates(templates: Json, composition: str, *, names: bool) -> Json:
    if not isinstance(templates, list):
        return templates
    taken = {each.get("name") for each in templates if isinstance(each, dict)}
    if not names and None in taken:
        indexes = [
            str(index) for index, each in enumerate(templates) if isinstance(each, dict) and each.get("name") is None
        ]
        raise InvalidInput(
            f"Composition {composition}: the templates {', '.join(indexes)} have no name, and what they made is not found again in a pipeline",
            mend="pass --name-templates, apply the names first, wait until every composite is reconciled, then change the mode",
        )
    return [_template(each, index, taken) for index, each in enumerate(templates)]


def _template(template: Json, index: int, taken: set[Json]) -> Json:
    if not isinstance(template, dict):
        return template
    found = _patched(template)
    if found.get("name") is None:
        found["name"] = next(name for name in _names(index) if name not in taken)
        taken.add(found["name"])
    if "connectionDetails" in found:
        found["connectionDetails"] = _details(found["connectionDetails"])
    return found


def _names(index: int) -> Iterator[str]:
    yield f"resource-{index}"
    number = 1
    while True:
        number += 1
        yield f"resource-{index}-{number}"


def _patched(holder: Json) -> Any:
    if not isinstance(holder, dict) or not isinstance(holder.get("patches"), list):
        return holder
    return {**holder, "patches": [_patch(patch) for patch in holder["patches"]]}


def _patch(patch: Json) -> Json:
    if not isinstance(patch, dict):
        return patch
    found = dict(patch)
    if found.get("type") is None:
        found["type"] = "FromCompositeFieldPath"
    policy = found.get("policy")
    if isinstance(policy, dict) and "mergeOptions" in policy:
        options = policy["mergeOptions"]
        found["policy"] = {name: value for name, value in policy.items() if name != "mergeOptions"}
        if isinstance(options, dict):
            chosen = bool(options.get("keepMapValues")), bool(options.get("appendSlice"))
            found["policy"]["toFieldPath"] = _POLICIES[chosen]
    if isinstance(found.get("transforms"), list) and _are_readable(found["transforms"]):
        found["transforms"] = [_transform(each) for each in found["transforms"]]
    return found


def _are_readable(transforms: list[Json]) -> bool:
    """Whether upstream could read them all; else it leaves all of them alone."""
    return all(
        isinstance(each, dict)
        and isinstance(each.get("type"), str | None)
        and all(isinstance(each.get(word), dict | None) for word in _TRANSFORMS)
        for each in transforms
    )


def _transform(transform: Mapping[str, Json]) -> Json:
    found = dict(transform)
    if not found.get("type"):
        given = [word for word in _TRANSFORMS if found.get(word) is not None]
        if given:
            found["type"] = "string" if "string" in given else given[0]  # as upstream, where it chooses
    kind = found.get("type")
    for word, types in (("math", _MATH), ("string", _STRING)):
        settings = found.get(word)
        if kind == word and isinstance(settings, dict) and not settings.get("type"):
            chosen = next((type_ for name, type_ in types.items() if settings.get(name) is not None), "")
            if chosen:
                found[word] = {**settings, "type": chosen}
    return found


def _details(details: Json) -> Json:
    if not isinstance(details, list) or not all(_is_detail(each) for each in details):
        return details
    return [_detail(each) for each in details]


def _is_detail(detail: Json) -> bool:
    return isinstance(detail, dict) and all(
        isinstance(detail.get(name), str | None) for name in ("name", "type", *_DETAILS)
    )


def _detail(detail: Mapping[str, Json]) -> Json:
    """With its type, which is what its fields say whatever `type` did, and with its name."""
    found = {name: detail[name] for name in ("name", *_DETAILS) if detail.get(name) is not None}
    chosen = next((type_ for name, type_ in _DETAILS.items() if name in found), None)
    if chosen:
        found["type"] = chosen
    if "name" not in found and chosen == "FromConnectionSecretKey":
        found["name"] = found["fromConnectionSecretKey"]
    return found
