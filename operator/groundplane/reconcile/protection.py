"""May this object be deleted?  The answer to an admission request for what has the label of usages.

Source: Crossplane v2, internal/webhook/protection/usage/handler.go; v1.20, internal/webhook/usage.
"""

from __future__ import annotations

from groundplane.core import usages
from groundplane.core.admission import ALLOWED, Verdict
from groundplane.core.objects import Object, annotations_of, key_of, meta
from groundplane.errors import GroundplaneError
from groundplane.ports import Cluster, Context
from groundplane.reconcile.admission import Request, TryOut


async def deletion(request: Request, context: Context, try_out: TryOut) -> Verdict:
    """Refuse what a usage protects, and note on it that somebody tried.

    Any replica answers: `context.cluster` must let one that stands by write, too.  Of two that note it, each writes the same.
    """
    if request.get("operation") != "DELETE":
        text = f'unexpected operation "{request.get("operation")}", expected "DELETE"'
        return Verdict(False, text, code=400, reason="BadRequest")
    used, options = request.get("oldObject"), request.get("options")
    if used is None or not isinstance(meta(used).get("name"), str):
        return Verdict(False, "oldObject is missing, or has no name", code=400, reason="BadRequest")
    tried = options.get("propagationPolicy") if isinstance(options, dict) else None
    found = await context.cluster.usages_of(usages.referent_of(used))
    if not found:
        return ALLOWED
    warnings: tuple[str, ...] = ()
    if request.get("dryRun") is not True:
        try:
            await _note(used, tried if tried in usages.POLICIES else "Background", context.cluster)
        except GroundplaneError as error:
            warnings = (f"it is not noted that this was tried, so replayDeletion will not do it: {error}",)
    # upstream has the text where others have the reason, and no message; kubectl shows either
    text = usages.denial(found, strict_upstream=context.options.strict_upstream)
    return Verdict(False, "", code=409, reason=text, warnings=warnings)


async def _note(used: Object, policy: str, cluster: Cluster) -> None:
    """Write on the object how it was to be deleted."""
    if annotations_of(used).get(usages.ATTEMPT) != policy:
        metadata = {"uid": meta(used).get("uid"), "annotations": {usages.ATTEMPT: policy}}
        await cluster.patch(key_of(used), {"metadata": metadata})
