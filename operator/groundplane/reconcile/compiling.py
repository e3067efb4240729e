"""A revision, compiled; what its steps' functions are is said by the Function objects of their names, where there are any."""

from __future__ import annotations

from groundplane.core import composition
from groundplane.core.objects import Key, Object, spec_of
from groundplane.errors import Awaited, InvalidInput, NoSuchKind
from groundplane.ports import Context

PACKAGES = "pkg.crossplane.io"
FUNCTIONS = f"{PACKAGES}/v1"


async def compiled(context: Context, revision: Object) -> composition.Compiled:
    """The revision, ready to render.

    Raises:
        InvalidInput: with every problem in it; a Function that changes may end it.
    """
    images = await images_of(context, revision)
    try:
        return context.compiled(revision, images)
    except InvalidInput as error:
        error.on = tuple(Awaited(PACKAGES, "Function", name=name) for name in composition.function_names(revision))
        raise


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
