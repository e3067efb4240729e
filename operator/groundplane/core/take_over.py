"""A claim's resources in the hands of a composite of the second generation: who gets which external name, and what stands in the way.

Handed over is by the names of templates, from the top down.  The new resource looks only until the old one is gone, and nothing is changed
outside: so what is planned for the new ones has to be nothing, but for the tags that say whose a thing is.
Source: author-tools specification, §7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from groundplane.core import managed as core
from groundplane.core.managed import EXTERNAL_NAME, Action
from groundplane.core.objects import PAUSED_ANNOTATION, Object, annotations_of, is_paused, key_of, spec_of
from groundplane.core.plan import Peek, Step, belonging

MANAGER = "groundplane-take-over"  # field manager of the external names that are handed over
LOOKS = {"managementPolicies": ["Observe"]}  # of a spec
STAYS = {"deletionPolicy": "Orphan"}
_TAG = "spec.forProvider.tags[crossplane-"

Place = tuple[str, str]  # the names of templates from the top down, and the kind


def by_place(managed: Iterable[Object], peek: Peek) -> dict[Place, Object]:
    """Managed resources by what they are called in both generations."""
    return {(belonging(obj, peek).template, str(obj["kind"])): obj for obj in managed}


def external_name(managed: Object) -> str:
    return annotations_of(managed).get(EXTERNAL_NAME) or ""


def hindrances(old: Mapping[Place, Object], new: Mapping[Place, Object]) -> Iterator[str]:
    """Why what is there can't be handed over, a sentence each."""
    for place, obj in old.items():
        template, kind = place
        where = f"{template} ({key_of(obj)})"
        if is_paused(obj):
            yield f"{where} is paused, and would not let go. Mend: remove annotation {PAUSED_ANNOTATION}."
        if not external_name(obj) or core.is_create_unfinished(obj):
            yield f"{where} is not made yet. Mend: wait until the claim is ready."
        if Action.DELETE in core.allowed({**obj, "spec": {**spec_of(obj), **STAYS}}):
            yield f"{where} has Delete in its managementPolicies, which counts more than Orphan. Mend: take it out of its Composition first."
        if place not in new:
            yield f"{where}: no template of that name makes such a {kind}. Mend: name one so in the new Composition."
        elif (name := external_name(new[place])) != external_name(obj):
            yield (
                f"{where} stands for {external_name(obj)}, the new one for {name or 'nothing yet'}. Mend: let the new Composition set no"
                f" annotation {EXTERNAL_NAME}."
            )


def without_tags(steps: Iterable[Step]) -> list[Step]:
    """Steps of which nothing is left to do but to write whose a thing is are none: it is the operator's, once all is handed over."""
    found = []
    for step in steps:
        changes = tuple(each for each in step.changes if not each.path.startswith(_TAG))
        is_none = step.action == "change" and not changes
        found.append(replace(step, changes=changes, action="same" if is_none else step.action))
    return found
