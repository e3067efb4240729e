"""What GitOps tools make of an object: the verdicts of kstatus, of Argo CD, and of `kubectl wait`, by rules in our own words.

The rules follow fluxcd/cli-utils v1.2.1 (pkg/kstatus/status), Argo CD v3.5 (gitops-engine/pkg/health, and the health checks
bundled for `*.crossplane.io` and `*.upbound.io`) and kubectl v1.34 (pkg/cmd/wait/condition.go), for the kinds that are ours.
`tests/vectors/gitops.yaml` holds them to what the tools' own code said, and says for which states.  Where a script is configured in argocd-cm, Argo CD
takes that; a Lua interpreter runs it here, too.
"""

from __future__ import annotations

import copy
from fnmatch import fnmatchcase
from typing import NamedTuple

import lupa.lua51
import yaml

BUNDLED = ("crossplane.io", "upbound.io")
CONFIGS = ("ProviderConfig", "ClusterProviderConfig")
DONE = {  # conditions of which one that is True makes an object healthy, by where its group ends
    "crossplane.io": ("Ready", "Healthy", "Offered", "Established", "ValidPipeline", "RevisionHealthy"),
    "upbound.io": ("Ready",),
}


class Verdict(NamedTuple):
    kstatus: str
    argo: str  # "-": no script; an Application takes that for healthy
    wait: str  # of `kubectl wait --for=condition=Ready`: met, waits


def verdict(obj, argocd_cm=None):
    """All three; `argocd_cm` is the data of Argo CD's ConfigMap."""
    return Verdict(kstatus(obj), argo(obj, argocd_cm or {}), "met" if wait(obj) else "waits")


def kstatus(obj):
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = obj.get("status") or {}
    if status.get("observedGeneration") not in (None, obj["metadata"].get("generation")):
        return "InProgress"
    found = status.get("conditions") or []
    for condition in found:
        if condition["status"] == "True" and condition["type"] in ("Reconciling", "Stalled"):
            return "InProgress" if condition["type"] == "Reconciling" else "Failed"
    ready = [condition["status"] for condition in found if condition["type"] == "Ready"]
    return "Current" if ready in ([], ["True"]) else "InProgress"


def wait(obj, type_="Ready"):
    status = obj.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == type_ and condition["status"] == "True":
            seen = condition.get("observedGeneration", status.get("observedGeneration"))
            return seen is None or seen >= obj["metadata"].get("generation", 0)
    return False


def argo(obj, argocd_cm):
    if obj["metadata"].get("deletionTimestamp"):
        return "Progressing"
    group = obj["apiVersion"].rpartition("/")[0]
    if script := _script(group, obj["kind"], argocd_cm):
        return run(script, obj)[0]
    domain = next((name for name in BUNDLED if group.endswith(f".{name}")), None)
    if (group, obj["kind"]) == ("pkg.crossplane.io", "Provider"):
        return _bundled_provider(obj)
    return _bundled(obj, domain) if domain else "-"


def _bundled(obj, domain):
    status = obj.get("status")
    if status is None:
        return "Healthy"
    found = status.get("conditions") or ()
    if not found:
        return "Healthy" if obj["kind"] in CONFIGS and status.get("users") is not None else "Progressing"
    said = "Progressing"
    for condition in found:
        if condition["type"] in ("LastAsyncOperation", "Synced") and condition["status"] == "False":
            return "Degraded"
        if condition["type"] in DONE[domain] and condition["status"] == "True":
            said = "Healthy"
            if domain == "crossplane.io":  # the other goes on: a later Synced=False still counts
                return said
    return said


def _bundled_provider(obj):
    found = {each["type"]: each["status"] for each in (obj.get("status") or {}).get("conditions") or ()}
    if not found:
        return "Progressing"
    if not {"Installed", "Healthy"} <= found.keys():
        return "Unknown"
    return "Healthy" if found["Installed"] == found["Healthy"] == "True" else "Degraded"


def _script(group, kind, argocd_cm):
    exact = argocd_cm.get(f"resource.customizations.health.{group}_{kind}")
    if exact:
        return exact
    patterns = yaml.safe_load(argocd_cm.get("resource.customizations") or "") or {}
    for name in sorted(patterns):
        if fnmatchcase(f"{group}/{kind}", name):
            return patterns[name].get("health.lua")
    return None


def run(script, obj):
    """What a health script says of an object: its status and its message.

    As Argo CD runs it: Lua 5.1 with nothing but the base and the table library.
    """
    runtime = lupa.lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    globals_ = runtime.globals()
    for name in ("io", "os", "string", "math", "debug", "package", "require", "python"):
        globals_[name] = None
    globals_["obj"] = runtime.table_from(copy.deepcopy(obj), recursive=True)
    said = runtime.execute(script)
    return said["status"], said["message"]
