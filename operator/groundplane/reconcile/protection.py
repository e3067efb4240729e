"""May this object be deleted?  The answer to an admission request for what has the label of usages.

Source: Crossplane v2, internal/webhook/protection/usage/handler.go; v1.20, internal/webhook/usage.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundplane.core import usages
from groundplane.core.admission import ALLOWED, Verdict
from groundplane.core.objects import Key, Object, annotations_of, key_of, meta
from groundplane.errors import GroundplaneError
from groundplane.ports import Cluster, Context
from groundplane.reconcile import leaving
from groundplane.reconcile.admission import Request, TryOut


async def deletion(request: Request, context: Context, try_out: TryOut) -> Verdict:
    """Refuse what a usage protects, and note on it that somebody tried.

    Any replica answers: `context.cluster` must let one that stands by write, too.  Of two that note it, each writes the same.
    Whoever reaches the port may ask.  Only who knows the object's UID is told what uses it, and gets anything noted.
    """
    if request.get("operation") != "DELETE":
        text = f'unexpected operation "{request.get("operation")}", expected "DELETE"'
        return Verdict(False, text, code=400, reason="BadRequest")
    used, options = request.get("oldObject"), request.get("options")
    if used is None or not isinstance(meta(used).get("name"), str):
        return Verdict(False, "oldObject is missing, or has no name", code=400, reason="BadRequest")
    found = await context.cluster.usages_of(usages.referent_of(used))
    first = await _first(found, context)
    if first is None:
        return ALLOWED
    tried = options.get("propagationPolicy") if isinstance(options, dict) else None
    warnings: tuple[str, ...] = ()
    try:
        live = await leaving.seen(key_of(used), context, anyhow=True, live=True)
        if live is None or meta(live)["uid"] != meta(used).get("uid"):
            return Verdict(False, "", code=409, reason=f"{usages.DENIED}.")  # nor is more told to who does not know it
        if request.get("dryRun") is not True:
            await _note(live, tried if tried in usages.POLICIES else "Background", context.cluster)
    except GroundplaneError as error:
        warnings = (f"it is not noted that this was tried, so replayDeletion will not do it: {error}",)
    # upstream has the text where others have the reason, and no message; kubectl shows either
    text = usages.denial(first, len(found), strict_upstream=context.options.strict_upstream)
    return Verdict(False, "", code=409, reason=text, warnings=warnings)


async def _first(keys: Sequence[Key], context: Context) -> Object | None:
    for key in keys:
        if usage := await context.cluster.get(key):
            return usage
    return None


async def _note(used: Object, policy: str, cluster: Cluster) -> None:
    """Write on the object how it was to be deleted."""
    if annotations_of(used).get(usages.ATTEMPT) != policy:
        metadata = {"uid": meta(used)["uid"], "annotations": {usages.ATTEMPT: policy}}
        await cluster.patch(key_of(used), {"metadata": metadata})
