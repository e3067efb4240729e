"""`groundplane explain FILE… --resource TEMPLATE`: where values come from in what files come to, without any cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from groundplane.errors import InvalidInput, NotFound, did_you_mean

if TYPE_CHECKING:
    from groundplane.cli.documents import Document
    from groundplane.cli.sources import Source
    from groundplane.core.lineage import Member


async def rendered(paths: Sequence[str], template: str) -> tuple[Source, Member, dict[str, str]]:
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
        raise InvalidInput(f"several are made of {template}: {names}", mend="give the files of one composite")
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
        {origin.name_of(each.object): _place(each) for each in found if "kind" in each.object},
    )


def _place(document: Document) -> str:
    return f"set in {document.text.file}:{document.first + 1}"


def with_places(found: dict[str, Any], places: dict[str, str]) -> dict[str, Any]:
    """The chain, with the file in which somebody set what."""
    for hop in found["chain"]:
        if hop["by"] == "person":
            hop["place"] = places.get(hop["object"], hop["place"])
    return found
