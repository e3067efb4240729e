"""Who has applied an object, and what goes when a manifest of it is applied again from which something was taken out.

By server-side apply a field goes whose only owner no longer names it, so one has to apply as who has applied before.  `kubectl apply`
(and Argo CD, unless it is told otherwise) keeps what it has applied in an annotation, and takes out what is in that one alone.
Source: kubectl v0.34, pkg/util/apply.go; apimachinery, util/jsonmergepatch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from groundplane.core import gitops, origin
from groundplane.core.explain import LAST_APPLIED
from groundplane.core.objects import Json, Object, annotations_of, meta


def applier(live: Object) -> str:
    """The field manager that has applied an object last, by server-side apply; "" if none has but a control plane's."""
    entries = [each for each in meta(live).get("managedFields") or () if isinstance(each, Mapping)]
    found = [
        (str(each.get("time") or ""), str(each.get("manager") or ""))
        for each in entries
        if each.get("operation") == "Apply" and not each.get("subresource")
    ]
    people = [(time, name) for time, name in found if not origin.machinery(origin.Writer(name, time))]
    return max(people)[1] if people else ""


def with_tools(manifest: Object, live: Object) -> Object:
    """The manifest with the labels and annotations by which a GitOps tool knows the object that is there: it writes them itself."""
    metadata = dict(meta(manifest))
    for word in ("labels", "annotations"):
        kept = {key: text for key, text in (meta(live).get(word) or {}).items() if gitops.is_tools(key)}
        if kept:
            metadata[word] = {**kept, **(metadata.get(word) or {})}
    return {**manifest, "metadata": metadata}


def taken_out(live: Object, manifest: Object) -> dict[str, Any]:
    """The JSON merge patch that takes out what `kubectl apply` has applied, and the manifest no longer has; {} if that is nothing.

    >>> last = '{"spec": {"days": 7, "steps": [{"step": "a"}, {"step": "b"}], "kept": 1}}'
    >>> live = {"metadata": {"annotations": {LAST_APPLIED: last}}, "spec": {"days": 7, "other": 2, "steps": [{"step": "a"}, {"step": "b"}]}}
    >>> taken_out(live, {"spec": {"kept": 1, "steps": [{"step": "a"}]}})
    {'spec': {'days': None, 'steps': [{'step': 'a'}]}}
    """
    said = annotations_of(live).get(LAST_APPLIED)
    try:
        last = json.loads(said) if said else None
    except ValueError:
        return {}
    if not isinstance(last, dict):
        return {}
    now = with_tools(manifest, live)
    now["metadata"] = {"annotations": {}, **now["metadata"]}  # kubectl adds one of its own
    found = _gone(last, now, live)
    return {name: found[name] for name in found.keys() - {"apiVersion", "kind", "status"}}


def _gone(last: Mapping[str, Json], manifest: Mapping[str, Json], live: Mapping[str, Json]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in last.items():
        new, there = manifest.get(name), live.get(name)
        if there is None or name == LAST_APPLIED:
            continue
        if new is None:
            found[name] = None
        elif isinstance(value, dict) and isinstance(new, dict) and isinstance(there, dict):
            if inside := _gone(value, new, there):
                found[name] = inside
        elif isinstance(value, list) and isinstance(new, list) and value != new:
            found[name] = new
    return found
