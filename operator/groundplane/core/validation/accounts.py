"""Whether the ProviderConfig that a managed resource names is one of those that are at hand, nearly.

Only a name that is nearly that of another one is doubted: where ProviderConfigs are kept elsewhere, nothing can be told.
"""

from __future__ import annotations

from collections.abc import Iterable

from groundplane.core import providers
from groundplane.core.objects import Object, group_of, meta, spec_of
from groundplane.errors import InvalidInput, nearest, shown

PATH = "spec.providerConfigRef.name"


def doubt(managed: Object, there: Iterable[Object]) -> InvalidInput | None:
    """What is to be said of it; None if it is none, or names one that is there, or that may be anywhere."""
    family = providers.of(group_of(str(managed.get("apiVersion"))))
    reference = spec_of(managed).get("providerConfigRef")
    if family is None or not family.version or not isinstance(reference, dict):
        return None
    kind = str(reference.get("kind") or (providers.CLUSTER_CONFIG if family.is_namespaced else providers.CONFIG))
    name, names = reference.get("name"), set[str]()
    for obj in there:
        if group_of(str(obj.get("apiVersion"))) == family.domain and obj.get("kind") == kind:
            names.add(str(meta(obj).get("name")))
    if not isinstance(name, str) or name in names or name == "default" or not (meant := nearest(name, names)):
        return None
    return InvalidInput(f"there is no {kind} {shown(name)} here", mend=f"did you mean {meant}?", where=(PATH,))
