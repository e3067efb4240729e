"""Labels and annotations by which GitOps tools know their objects: what is made from such an object must not carry them.

Else the tool takes what we make for its own, which is in no repository: it shows it as foreign, or prunes it.  Upstream lets
them travel, but for keys of Kubernetes; so does strict upstream behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIXES = frozenset({"argocd.argoproj.io", "notified.notifications.argoproj.io", "helm.sh", "meta.helm.sh"})
SUFFIX = "fluxcd.io"  # kustomize.toolkit.fluxcd.io, helm.toolkit.fluxcd.io, reconcile.fluxcd.io
LABELS = frozenset({"app.kubernetes.io/instance", "app.kubernetes.io/managed-by"})  # Argo CD's tracking label, helm's


def is_tools(key: str) -> bool:
    """Whether a label or an annotation says which tool an object belongs to.

    >>> [is_tools(key) for key in ("argocd.argoproj.io/tracking-id", "kustomize.toolkit.fluxcd.io/name", "team")]
    [True, True, False]
    """
    prefix = key.partition("/")[0]
    return prefix in PREFIXES or prefix.endswith(SUFFIX) or key in LABELS


def without_tools(entries: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations without those of tools."""
    return {key: text for key, text in entries.items() if not is_tools(key)}
