"""`groundplane argocd-health`: what Argo CD needs to know of user-defined kinds, and Flux where it can do with more.

Argo CD has health checks for `*.crossplane.io` and `*.upbound.io` and none for anybody's own group: it takes a claim for healthy
before anything is made.  Flux reads what our objects carry (`core/health.py`) by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click
import yaml

from groundplane.cli import completing, manifests
from groundplane.core import definition
from groundplane.core.objects import Object
from groundplane.errors import InvalidInput, NotFound

HEALTH = "resource.customizations.health"
SCRIPT = """\
local hs = {status = "Progressing", message = "Waiting for the first reconcile"}
if obj.status == nil or obj.status.conditions == nil then return hs end
local seen = obj.status.observedGeneration
if type(seen) == "number" and seen ~= obj.metadata.generation then
  hs.message = "Waiting for the latest change to be seen"
  return hs
end
local c = {}
for _, each in ipairs(obj.status.conditions) do c[each.type] = each end
local function is(name, status) return c[name] ~= nil and c[name].status == status end
local function says(name) return c[name].message or c[name].reason end
if is("Synced", "False") and c.Synced.reason == "ReconcilePaused" then
  return {status = "Suspended", message = says("Synced")}
end
if is("Stalled", "True") then return {status = "Degraded", message = says("Stalled")} end
local waits = is("Reconciling", "True") and c.Reconciling.reason == "Waiting"
if is("Synced", "False") and not waits then
  return {status = "Degraded", message = says("Synced")}
end
if is("Reconciling", "True") then
  hs.message = says("Reconciling")
  return hs
end
for _, name in ipairs({"Ready", "Healthy"}) do
  if is(name, "True") then return {status = "Healthy", message = says(name)} end
end
for _, name in ipairs({"Ready", "Healthy"}) do
  if c[name] ~= nil then hs.message = says(name) end
end
return hs
"""
# Kinds of ours that have a state have a status from the beginning, by a default of their schema.
STATELESS = 'if obj.status == nil then return {status = "Healthy", message = "Has no state"} end\n'
OURS = ("*.crossplane.io/*", "*.upbound.io/*")
SETTINGS = {
    "resource.exclusions": '- apiGroups: ["*"]\n  kinds: [ProviderConfigUsage]\n',
    "resource.compareoptions": "ignoreAggregatedRoles: true\n",
}
_ANY = "has(status.conditions) && status.conditions.exists(c, "
EXPRESSIONS = {  # CEL; Flux asks them in this order, after observedGeneration
    "inProgress": _ANY + "c.type == 'Reconciling' && c.status == 'True')",
    "failed": _ANY + "c.type == 'Stalled' && c.status == 'True' || "
    "c.type == 'Synced' && c.status == 'False' && c.reason != 'ReconcilePaused')",
    "current": _ANY + "c.type == 'Ready' && c.status == 'True')",
}


class Declared(NamedTuple):
    """A kind of claims or composites."""

    group: str
    kind: str
    versions: tuple[str, ...]  # that are served, with the group


@click.command(epilog="Example: groundplane argocd-health apis/ | kubectl apply --server-side -f -")
@click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=completing.files)
@click.option("--flux", is_flag=True, help="Flux's healthCheckExprs instead, to paste into a Kustomization.")
@click.option("--wildcard", is_flag=True, help="One pattern for each group, instead of each kind by name.")
@click.option(
    "--all", "every", is_flag=True, help="Also for *.crossplane.io and *.upbound.io, which have bundled checks."
)
@click.option(
    "--settings", is_flag=True, help="Also what else of argocd-cm helps: exclusions, aggregated ClusterRoles."
)
@click.option("-n", "--namespace", default="argocd", show_default=True, help="Where Argo CD is.")
@click.option("--context", shell_complete=completing.contexts, help="The kubeconfig's context, where no PATH is given.")
def argocd_health(
    paths: tuple[str, ...],
    flux: bool,
    wildcard: bool,
    every: bool,
    settings: bool,
    namespace: str,
    context: str | None,
) -> None:
    """Print health checks for the kinds that CompositeResourceDefinitions declare.

    They are looked for in the files or folders PATH (- is standard input), or without any in the cluster.  The output is a part
    of Argo CD's ConfigMap argocd-cm, to be applied server-side.
    """
    kinds = declared(of_files(paths) if paths else asyncio.run(of_cluster(context)))
    if not kinds and not every:
        raise InvalidInput(
            "no CompositeResourceDefinition found",
            mend="name the folder with your XRDs, or pass --all for our own kinds",
        )
    if flux:
        click.echo(_yaml(expressions(kinds)), nl=False)
    else:
        data = checks(kinds, wildcard=wildcard, every=every) | (SETTINGS if settings else {})
        click.echo(_yaml(config_map(namespace, data)), nl=False)


def of_files(paths: Sequence[str]) -> list[Object]:
    """All objects in files; what is no object is no concern of ours."""
    found = [manifests.read(path, skip_others=True) for path in manifests.files(paths, recursive=True)]
    return [manifest.object for file in found for manifest in file]


async def of_cluster(context: str | None) -> list[Object]:
    """The definitions that the API server has."""
    from groundplane.cluster.client import Api

    api = Api.connect(context=context)
    try:
        _, answer = await api.request("GET", f"/apis/{definition.API_VERSION}/compositeresourcedefinitions")
    except NotFound as error:
        raise InvalidInput(
            "the cluster has no CompositeResourceDefinitions", mend="install Groundplane's CRDs, or name files"
        ) from error
    finally:
        await api.close()
    group = {"apiVersion": definition.API_VERSION, "kind": "CompositeResourceDefinition"}
    return [group | item for item in answer.get("items") or ()]


def declared(objects: Iterable[Object]) -> list[Declared]:
    """The kinds of claims and composites that definitions among these objects declare, sorted."""
    found = set()
    for obj in objects:
        if obj["kind"] != "CompositeResourceDefinition" or not obj["apiVersion"].startswith(f"{definition.GROUP}/"):
            continue
        known = definition.read(obj)
        found |= {Declared(known.group, kind, known.served) for kind in (known.kind, known.claim_kind) if kind}
    return sorted(found)


def checks(kinds: Sequence[Declared], *, wildcard: bool = False, every: bool = False) -> dict[str, str]:
    """The data of argocd-cm: Lua by kind; patterns, which some managed Argo CDs refuse, only where asked for."""
    exact = {} if wildcard else {f"{HEALTH}.{each.group}_{each.kind}": SCRIPT for each in kinds}
    patterns = {f"{each.group}/*": SCRIPT for each in kinds} if wildcard else {}
    if every:
        patterns |= dict.fromkeys(OURS, STATELESS + SCRIPT)
    if not patterns:
        return exact
    return exact | {"resource.customizations": _yaml({name: {"health.lua": lua} for name, lua in patterns.items()})}


def expressions(kinds: Sequence[Declared]) -> Object:
    """`healthCheckExprs` of Flux's Kustomization, by version and kind."""
    return {
        "healthCheckExprs": [
            {"apiVersion": version, "kind": each.kind, **EXPRESSIONS} for each in kinds for version in each.versions
        ]
    }


def config_map(namespace: str, data: Mapping[str, str]) -> Object:
    """The part of argocd-cm that is ours; the rest of it stays as it is where this is applied server-side."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "argocd-cm",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"},
        },
        "data": dict(sorted(data.items())),
    }


class _Dumper(yaml.SafeDumper):
    """Lua as a block of lines."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
