"""function-tag-manager: tags for everything desired that has some, from the input, the composite or the environment.

Source: function-tag-manager v0.9 (`fn.go`, `tags.go`).  Where there is nothing to add and nothing there, it writes `tags: null`;
here the object is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from groundplane.core import environment, fieldpath
from groundplane.core.fieldpath import MISSING, WrongType
from groundplane.core.objects import Json, Object, group_of
from groundplane.core.pipeline import Request, Resource, Response, Result, RunFunction, State
from groundplane.core.spec import FUNCTION, Problem, Spec, load, required
from groundplane.errors import InvalidInput
from groundplane.functions.selecting import metadata
from groundplane.functions.taggable import TAGGABLE

IGNORE = "tag-manager.fn.crossplane.io/ignore-resource"  # annotation or label on what is to be left alone
DONE = "Successfully Processed tags"
DESIRED = fieldpath.parse("spec.forProvider.tags")
OBSERVED = fieldpath.parse("status.atProvider.tags")

Tags = dict[str, str]


# --- the YAML -------------------------------------------------------------------------------------------------


class Source(Spec):
    """Where tags, or keys of some, come from."""

    type: Literal["FromValue", "FromCompositeFieldPath", "FromEnvironmentFieldPath", ""] = ""
    fromFieldPath: str | None = None

    def problems(self) -> Iterator[Problem]:
        if self.type not in ("", "FromValue") and self.fromFieldPath is None:
            yield required("fromFieldPath", f"must be set for type {self.type}")

    def hint(self, request: Request) -> str:
        """Why it gives nothing; "" if it does."""
        if self.type in ("", "FromValue"):
            return ""
        whose = "the environment" if self.type == "FromEnvironmentFieldPath" else "the composite"
        try:
            fieldpath.parse(self.fromFieldPath or "")
        except InvalidInput as error:
            return str(error)
        value = self.read(request)
        shape, wanted = (dict, "a map of tags") if isinstance(self, AddTag) else (list, "a list of keys")
        if value is not None and not isinstance(value, shape):
            return f"{self.fromFieldPath} of {whose} is {fieldpath.kind_of(value)}. Mend: let it be {wanted}"
        return ""

    def read(self, request: Request) -> Json:
        """What is there; None if it can't be read, whatever the reason."""
        try:
            source = request.observed.composite.object
            if self.type == "FromEnvironmentFieldPath":
                source = environment.of(request.context)
            value = fieldpath.find(source, fieldpath.parse(self.fromFieldPath or ""))
        except InvalidInput:
            return None
        return None if value is MISSING else value


class AddTag(Source):
    """Tags that are added."""

    tags: dict[str, str] = Field(default_factory=dict)
    policy: Literal["Replace", "Retain", ""] = ""

    def found(self, request: Request) -> Tags:
        return dict(self.tags) if self.type in ("", "FromValue") else _tags(self.read(request)) or {}


class RemoveTag(Source):
    """Keys of tags that are taken away."""

    keys: list[str] = Field(default_factory=list)

    def found(self, request: Request) -> list[str]:
        if self.type in ("", "FromValue"):
            return self.keys
        value = self.read(request)
        return [key if isinstance(key, str) else "" for key in value] if isinstance(value, list) else []


class IgnoreTag(RemoveTag):
    """Keys of tags that somebody else sets: they stay as they are observed."""

    policy: Literal["Replace", "Retain", ""] = ""


class Input(Spec):
    """`ManagedTags` of `tag-manager.fn.crossplane.io/v1beta1`."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: dict[str, Json] | None = None
    addTags: list[AddTag] = Field(default_factory=list)
    ignoreTags: list[IgnoreTag] = Field(default_factory=list)
    removeTags: list[RemoveTag] = Field(default_factory=list)


def check(given: Mapping[str, Json]) -> list[Problem]:
    """Everything that is wrong with an input."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    if found is None:
        return problems
    return [problem.under(place) for place, source in _sources(found) for problem in source.problems()]


def _sources(given: Input) -> Iterator[tuple[str, Source]]:
    lists: Mapping[str, Iterable[Source]] = {
        "addTags": given.addTags,
        "ignoreTags": given.ignoreTags,
        "removeTags": given.removeTags,
    }
    for name, sources in lists.items():
        for index, source in enumerate(sources):
            yield f"{name}[{index}]", source


# --- running ----------------------------------------------------------------------------------------------------


def compile(given: Mapping[str, Json]) -> RunFunction:
    """The function with this input, ready to run.  The input has passed `check`."""
    found, problems, _ = load(Input, given, "", FUNCTION)
    assert found is not None, problems
    return lambda request: _run(found, request)


def _run(given: Input, request: Request) -> Response:
    retained, replaced = _merged((each, each.found(request)) for each in given.addTags)
    ignored = [(each, each.found(request)) for each in given.ignoreTags]
    removed = [key for each in given.removeTags for key in each.found(request)]
    resources = dict(request.desired.resources)
    for name, resource in resources.items():
        if not has_tags(resource.object) or _is_ignored(resource.object):
            continue
        before = _tags(_found(resource.object, DESIRED))
        tags = _with(before or {}, retained, replaced)
        there = _tags(_observed(request.observed.resources.get(name)))
        if there is not None:
            kept = ((each, {key: there[key] for key in keys if key in there}) for each, keys in ignored)
            tags = _with(tags, *_merged(kept))
        for key in removed:
            tags.pop(key, None)
        if tags or before is not None:
            resources[name] = replace(resource, object=_tagged(resource.object, tags))
    hints = [f"{place}: {hint}" for place, source in _sources(given) if (hint := source.hint(request))]
    state = State(request.desired.composite, resources)
    return Response(state, request.context, [Result("Normal", DONE)], hints=hints)


def has_tags(obj: Object) -> bool:
    """Whether objects of this kind have `spec.forProvider.tags`.

    >>> has_tags({"apiVersion": "s3.aws.m.upbound.io/v1beta1", "kind": "Bucket"}), has_tags({"apiVersion": "v1", "kind": "Pod"})
    (True, False)
    """
    group = group_of(str(obj.get("apiVersion") or "")).replace(".m.upbound.io", ".upbound.io")
    return str(obj.get("kind")) in TAGGABLE.get(group, ())


def _is_ignored(obj: Object) -> bool:
    notes, labels = (metadata(obj).get(name) for name in ("annotations", "labels"))
    for found in (notes, labels):
        if isinstance(found, dict) and IGNORE in found:
            return str(found[IGNORE]).lower() == "true"
    return False


def _found(obj: Object, path: fieldpath.Path) -> Json:
    try:
        return fieldpath.find(obj, path)
    except InvalidInput:
        return MISSING


def _observed(there: Resource | None) -> Json:
    return MISSING if there is None else _found(there.object, OBSERVED)


def _tags(value: Any) -> Tags | None:
    """Tags as Go reads them: a value that is no text is empty; None if it is no object at all."""
    if not isinstance(value, dict):
        return None
    return {key: item if isinstance(item, str) else "" for key, item in value.items()}


def _merged(found: Iterable[tuple[AddTag | IgnoreTag, Tags]]) -> tuple[Tags, Tags]:
    """What only fills gaps, and what overwrites; of two with the same key the first.  A policy counts only beside a type."""
    retained: Tags = {}
    replaced: Tags = {}
    for source, tags in found:
        _fill(retained if source.type and source.policy == "Retain" else replaced, tags)
    return retained, replaced


def _with(tags: Tags, retained: Tags, replaced: Tags) -> Tags:
    tags = dict(tags)
    _fill(tags, retained)
    return {**tags, **replaced}


def _fill(tags: Tags, more: Tags) -> None:
    """Add what is not there; an empty text counts as a gap."""
    for key, value in more.items():
        if not tags.get(key):
            tags[key] = value


def _tagged(obj: Object, tags: Tags) -> Object:
    """The object with these tags; as it is, if it has no place for them."""
    made: dict[str, Any] = fieldpath.copied(obj)
    try:
        fieldpath.set(made, DESIRED, tags)
    except WrongType:
        return obj
    return made
