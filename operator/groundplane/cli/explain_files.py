"""`groundplane explain FILE… --resource TEMPLATE`: where values come from in what files come to, without any cluster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from groundplane.errors import InvalidInput, NotFound, did_you_mean

if TYPE_CHECKING:
    from groundplane.cli.documents import Document
    from groundplane.cli.sources import Source
    from groundplane.core.lineage import Member


_MADE = re.compile(r"Composition (\S+) › (?:step (.+) › )?resource (.+?)(?: › (patches\[\d+\].*))?")  # a hop's place


async def rendered(paths: Sequence[str], template: str) -> tuple[Source, Member, dict[str, Document]]:
    """What files come to, what the template of that name makes in it, and where each object of the files is written.

    Raises:
        InvalidInput: a file is wrong, or several composites make such a resource.
        NotFound: none does.
    """
    from groundplane.cli import documents, in_memory, sources, store
    from groundplane.core import lineage, origin
    from groundplane.core.naming import TEMPLATE_ANNOTATION
    from groundplane.core.objects import annotations_of

    files = documents.expanded(paths)
    found, wrong = documents.read(files)
    found = documents.judged(found, files)
    if wrong:
        raise InvalidInput(f"{wrong[0].place}: {wrong[0].message}", mend=wrong[0].mend)
    overlay = await in_memory.made(found)
    refused: dict[str, str] = {}
    await in_memory.applied(overlay, found, refused)
    if refused:
        raise InvalidInput(next(iter(refused.values())))
    composed = {key: obj for key, obj in overlay.objects().items() if TEMPLATE_ANNOTATION in annotations_of(obj)}
    made = [key for key, obj in composed.items() if annotations_of(obj)[TEMPLATE_ANNOTATION] == template]
    if len(made) > 1:
        names = ", ".join(map(str, made))
        raise InvalidInput(
            f"several are made of {template}: {names}",
            mend="name the file of one claim or composite, its Composition and its definition, in place of a folder that has more",
        )
    if not made:
        told = [text for texts in overlay.warnings.values() for text in texts]
        known = {annotations_of(obj)[TEMPLATE_ANNOTATION] for obj in composed.values()}
        mend = (
            did_you_mean(template, known) if known else "give a composite or claim, its Composition and its definition"
        )
        raise NotFound(f"nothing is made of {template}" + (f": {told[0]}" if told else ""), mend=mend)
    source = sources.Stored(overlay.cluster, await store.served(overlay.cluster))
    return (
        source,
        lineage.Member(made[0], composed[made[0]]),
        {origin.name_of(each.object): each for each in found if "kind" in each.object},
    )


def with_places(found: dict[str, Any], written: dict[str, Document]) -> dict[str, Any]:
    """The chain, with file, line and column of what somebody set and of the patches, by what the objects are called."""
    from groundplane.core import coverage

    paths = [found["path"]]  # where the value is in the object of the hop
    for hop in found["chain"]:
        document = written.get(hop["object"])
        if hop["by"] == "person" and document:
            hop["place"] = f"set in {document.place(paths[0] if len(paths) == 1 else '')}"
        made = _MADE.fullmatch(hop["place"]) if hop["by"] in ("patch", "base") else None
        composition = written.get(f"Composition {made[1]}") if made else None
        if made and composition:
            step, template, patch = made[2] or "", made[3], made[4]
            if patch:
                path = coverage.patch_at(composition.object, step, template, patch)
            else:
                path = f"{coverage.base_at(composition.object, step, template)}.{paths[0]}"
            hop["place"] += f", {composition.place(path)}"
        paths = [each["path"] for each in hop.get("input", ())] or paths
    return found
