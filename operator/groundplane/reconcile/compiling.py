"""A revision, compiled; what its steps' functions are is said by the Function objects of their names, where there are any."""

from __future__ import annotations

from groundplane.core import composition
from groundplane.core.objects import Key, Object, key_of, meta, spec_of
from groundplane.errors import Awaited, Conflict, InvalidInput, NoSuchKind
from groundplane.ports import Context

PACKAGES = "pkg.crossplane.io"
FUNCTIONS = f"{PACKAGES}/v1"


async def compiled(context: Context, revision: Object) -> composition.Compiled:
    """The revision, of which its head is enough, ready to render; what it says is read once for each content.

    Raises:
        InvalidInput: with every problem in it; a Function that changes may end it.
        Conflict: it was replaced, or went, since its head was read.
    """
    images = await images_of(context, revision)
    if known := context.compiled_revisions.get(revision, images):
        return known
    whole = await context.cluster.get(key_of(revision))
    if whole is None or meta(whole).get("uid") != meta(revision).get("uid"):
        raise Conflict(f"{key_of(revision)} has changed meanwhile")
    try:
        form = context.compiled(whole, images)
    except InvalidInput as error:
        error.on = tuple(Awaited(PACKAGES, "Function", name=name) for name in composition.function_names(revision))
        raise
    context.compiled_revisions.put(whole, images, form)
    return form


async def images_of(context: Context, revision: Object) -> dict[str, str]:
    """The packages of the Functions that a revision's steps name, as far as they are declared."""
    images: dict[str, str] = {}
    for name in composition.function_names(revision):
        try:
            function = await context.cluster.get(Key(FUNCTIONS, "Function", "", name))
        except NoSuchKind:
            break
        if function is not None:
            images[name] = str(spec_of(function).get("package") or "")
    return images
