"""Words to write OpenAPI v3 schemas with: `obj(name=string("…"))`.

For the CustomResourceDefinitions that we make ourselves: `definition.py` and `crds/`.  A name is required where it
is listed in `required`; everything else about a field goes into keyword arguments of the constructor, as in YAML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from groundplane.core.objects import Json

Schema = dict[str, Any]
Rule = tuple[str, str]  # a CEL expression, and the message if it is false


def string(description: str = "", **rules: Json) -> Schema:
    return _schema("string", description, rules)


def enum(values: Sequence[str], description: str = "", **rules: Json) -> Schema:
    """One of some words.  Their order is that of the API server's message, so it is kept."""
    return _schema("string", description, {"enum": list(values), **rules})


def time(description: str = "") -> Schema:
    return _schema("string", description, {"format": "date-time"})


def integer(description: str = "", **rules: Json) -> Schema:
    return _schema("integer", description, {"format": "int64", **rules})


def boolean(description: str = "", **rules: Json) -> Schema:
    return _schema("boolean", description, rules)


def obj(
    properties: Mapping[str, Schema] | None = None,
    description: str = "",
    *,
    required: Iterable[str] = (),
    rules: Iterable[Rule] = (),
    preserve: bool = False,
    **more: Json,
) -> Schema:
    """An object with these properties; with `preserve`, and any others."""
    schema = _schema("object", description, more)
    if properties:
        schema["properties"] = dict(properties)
    if required:
        schema["required"] = list(required)
    if preserve:
        schema["x-kubernetes-preserve-unknown-fields"] = True
    return ruled(schema, *rules)


def ruled(schema: Schema, *rules: Rule) -> Schema:
    """The schema with CEL rules; `rules.RULES` must know the text of core's own."""
    found = [{"rule": rule, "message": message} for rule, message in rules]
    return {**schema, "x-kubernetes-validations": found} if found else schema


def array(items: Schema, description: str = "", *, keys: Sequence[str] = (), **rules: Json) -> Schema:
    """A list; with `keys`, one whose entries are told apart by those fields."""
    if keys:
        rules |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    return _schema("array", description, {"items": items, **rules})


def strings(description: str = "", **rules: Json) -> Schema:
    """A map from text to text: labels, annotations."""
    return _schema("object", description, {"additionalProperties": {"type": "string"}, **rules})


def anything(description: str = "") -> Schema:
    """Any JSON value, kept as it is."""
    return _described({"x-kubernetes-preserve-unknown-fields": True}, description)


def free(description: str = "") -> Schema:
    """An object that may have any field."""
    return obj(description=description, preserve=True)


def embedded(description: str = "") -> Schema:
    """A whole Kubernetes object of any kind; apiVersion and kind are required of it."""
    rules = {"x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    return _schema("object", description, rules)


def named(description: str = "", *, of: str = "The object", **rules: Json) -> Schema:
    """A reference that consists of a name."""
    return obj({"name": string(f"{of}'s name.")}, description, required=["name"], **rules)


def conditions(*, observed_generation: bool = True) -> Schema:
    """The list of conditions under a status, keyed by type."""
    item = {
        "type": string("What the condition is about: Ready, Synced …"),
        "status": string("True, False or Unknown."),
        "reason": string("Why, in one word."),
        "message": string("Why, in a sentence; where something is to be done, what."),
        "lastTransitionTime": time("When the condition last changed."),
    }
    if observed_generation:
        item["observedGeneration"] = integer("The metadata.generation that the condition was found for.")
    required = ["lastTransitionTime", "reason", "status", "type"]
    return array(obj(item, required=required), "Conditions of the resource.", keys=["type"])


def seen_generation() -> Schema:
    """`observedGeneration` of a status, which is written at each reconcile."""
    return integer("The newest metadata.generation that a reconcile has seen, went it well or not; -1: none yet.")


def handled_request() -> Schema:
    """`lastHandledReconcileAt` of a status."""
    return string("The crossplane.io/reconcile-requested-at that was answered last.")


def unseen(status: Schema) -> Schema:
    """The schema of a status that says from the beginning that nobody has looked yet: as ours are, and Flux's own.

    Without, an object that was just applied counts as done for whoever waits for it.
    """
    properties = {**status["properties"], "observedGeneration": seen_generation()}
    return {**status, "properties": properties, "default": {"observedGeneration": -1}}


def root(description: str, **properties: Schema) -> Schema:
    """A whole object: apiVersion, kind and metadata, and these."""
    meta = {
        "apiVersion": string("The version of the API that the manifest is written for."),
        "kind": string("The object's kind."),
        "metadata": obj(),
    }
    return obj({**meta, **properties}, description)


def column(name: str, path: str, type_: str = "string", *, wide: bool = False) -> Schema:
    """A printer column; a `wide` one is shown with `-o wide` only."""
    found: Schema = {"name": name, "type": type_, "jsonPath": path}
    return found | {"priority": 1} if wide else found


def condition_column(name: str, type_: str) -> Schema:
    return column(name, f".status.conditions[?(@.type=='{type_}')].status")


AGE = column("AGE", ".metadata.creationTimestamp", "date")


def fresh(value: Any) -> Any:
    """A deep copy in which nothing appears twice, so that YAML has no need for anchors."""
    if isinstance(value, dict):
        return {name: fresh(item) for name, item in value.items()}
    return [fresh(item) for item in value] if isinstance(value, list) else value


def _schema(type_: str, description: str, rules: Mapping[str, Json]) -> Schema:
    return _described({"type": type_, **rules}, description)


def _described(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema} if description else schema
