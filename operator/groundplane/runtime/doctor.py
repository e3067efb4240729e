"""Is an installation sound?  Each check asks the cluster, or the store, what is so, and says what to do; nothing is changed.

The kinds, the rights (`doctor_rights.py`), who leads, who else does, what definitions say of themselves, whether credentials work, whether
webhooks are answered (`doctor_webhooks.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from groundplane.aws.cloud import AwsCloud
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import activation, conditions, managed_definition, providers
from groundplane.core.crds.marks import Step, step
from groundplane.core.objects import Object, meta, spec_of
from groundplane.errors import Denied, GroundplaneError, NoSuchKind, counted
from groundplane.reconcile import definition, provider_config
from groundplane.runtime import crds, preflight, rivals
from groundplane.runtime.clouds import Clouds
from groundplane.runtime.doctor_rights import check_rights
from groundplane.runtime.doctor_webhooks import check_webhooks
from groundplane.runtime.election import PREFIX
from groundplane.runtime.findings import Finding, about, guarded, not_allowed
from groundplane.runtime.installation import AT_ONCE, Check, Installation, definitions_of, installed, of_store
from groundplane.runtime.settings import Settings

LOOK = 0.5  # seconds between two looks at the Lease
LOGS = "the Pods' logs say why nobody leads"


async def check_kinds(installation: Installation) -> list[Finding]:
    """Whether what is wanted is served and current."""
    wanted, there = crds.brought(installation.activations), await crds.listed(installation.api)
    lacking = crds.missing(wanted, there.get)
    steps = {each.name: step(each.mark, there[each.name].mark) for each in wanted if each.name in there}
    found = []
    if lacking:
        mend = "start the operator, which brings them, or run `groundplane crds --apply`"
        found.append(about("kinds", "failed", f"{len(lacking)} not served", lacking, mend))
    if older := [name for name, todo in steps.items() if todo is Step.APPLY]:
        mend = "the next replica that leads upgrades them; `groundplane crds --apply` does it now"
        found.append(about("kinds", "warning", f"{len(older)} not those of this version", older, mend))
    if newer := [name for name, todo in steps.items() if todo is Step.NEWER]:
        found.append(about("kinds", "warning", f"{len(newer)} of a later version", newer, "upgrade the operator again"))
    if foreign := [name for name, todo in steps.items() if todo is Step.FOREIGN]:
        mend = "nothing, or take them over with `--crds adopt`"
        found.append(about("kinds", "warning", f"{len(foreign)} somebody else's, and used as they are", foreign, mend))
    return found or [
        Finding("kinds", "ok", f"{counted(len(wanted), 'definition is', 'definitions are')} served and current")
    ]


async def check_lease(installation: Installation) -> list[Finding]:
    """Whether somebody leads: the Lease is seen to change, since no clock of another machine is to be trusted."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{installation.namespace}/leases/{preflight.LEASE}"
    place = f"{installation.namespace}/{preflight.LEASE}"
    status, lease = await installation.api.request("GET", path)
    if status == 404:
        mend = f"start the operator, or name its namespace: --namespace; {LOGS}. One with --no-leader-election has none"
        return [Finding("lease", "failed", f"there is no Lease {place}: no replica has led", mend)]
    spec = spec_of(lease)
    if not (holder := str(spec.get("holderIdentity") or "")):
        return [Finding("lease", "failed", f"nobody holds the Lease {place}", f"start the operator; {LOGS}")]
    duration = float(spec.get("leaseDurationSeconds") or 15)
    for _ in range(int(duration / LOOK) + 1):
        await asyncio.sleep(LOOK)
        _, now = await installation.api.request("GET", path)
        if now and spec_of(now) != spec:
            holder = str(spec_of(now).get("holderIdentity") or "")
            if holder.startswith(PREFIX):
                return [Finding("lease", "ok", f"{holder} leads")]
            if holder:
                mend = "scale it to zero first, or remove one of the two"
                return [Finding("lease", "failed", f"a Crossplane holds the Lease {place}: {holder}", mend)]
    text = f"{holder} holds the Lease {place} and has not renewed it for {duration:.0f} s"
    return [Finding("lease", "failed", text, f"start the operator, which takes it over; {LOGS}")]


async def check_rivals(installation: Installation) -> list[Finding]:
    """Whether another control plane is at work in the cluster."""
    rival, denied = await rivals.sought(installation.cluster, installation.namespace)
    found = [not_allowed("rivals", error) for error in denied]
    if rival:
        mend = "scale it to zero: its objects stay"
        found.append(Finding("rivals", "failed", f"a Crossplane is at work in this cluster: {rival}", mend))
    return found or [Finding("rivals", "ok", "no other Crossplane is at work")]


async def check_definitions(installation: Installation) -> list[Finding]:
    """Whether what definitions declare is served and followed."""
    found, all_of_them = [], await definitions_of(installation.cluster)
    count = len(all_of_them)
    for xrd in all_of_them:
        sides = [definition.COMPOSITE, *([definition.CLAIM] if spec_of(xrd).get("claimNames") else [])]
        for side in sides:
            type_ = side.established.type
            if not conditions.is_true(xrd, type_):
                said = (conditions.find(xrd, type_) or {}).get(
                    "message"
                ) or "nothing is told yet: is the operator running?"
                name = meta(xrd)["name"]
                found.append(Finding("definitions", "failed", f"{name} is not {type_}: {said}", objects=(name,)))
    return found or [Finding("definitions", "ok", f"{count} {'is' if count == 1 else 'are'} established")]


async def check_credentials(installation: Installation) -> list[Finding]:
    """Whether each ProviderConfig has what it takes to log in, and whether AWS accepts its credentials."""
    context, slots = installation.context, asyncio.Semaphore(AT_ONCE)
    assert isinstance(context.cloud, Clouds)
    clouds_, aws = context.cloud, context.cloud.of(providers.FAMILIES[0].api_version)
    assert isinstance(aws, AwsCloud)

    async def one(config: Object, family: providers.Family) -> list[Finding]:
        account = await provider_config.account_of(config, context)
        await clouds_.check_account(account)
        if family.provider != "aws":
            return [Finding("credentials", "ok", "what it says is complete; it is tried by who uses it")]
        async with slots:
            return [Finding("credentials", "ok", await aws.identify(account))]

    found = []
    for family in providers.FAMILIES:
        for kind in family.config_kinds:
            try:
                each = await installation.cluster.list(family.api_version, kind)
            except NoSuchKind:
                continue
            except Denied as error:
                found.append(not_allowed("credentials", error))
                continue
            told = await asyncio.gather(*(guarded("credentials", one(config, family)) for config in each))
            found += [_named(line, config, family) for config, lines in zip(each, told, strict=True) for line in lines]
    if not found:
        return [Finding("credentials", "warning", "there is no ProviderConfig", "make one, called default")]
    return found


def _named(finding: Finding, config: Object, family: providers.Family) -> Finding:
    """A finding with the ProviderConfig that it is about, which an error may have named."""
    kind, name, namespace = config["kind"], meta(config)["name"], meta(config).get("namespace")
    place = f"{namespace}/{name}" if namespace else name
    text = finding.message
    for said in (f'{kind} "{name}": ', f"{kind} {name} › ", f"{kind} {name}: "):
        text = text.removeprefix(said)
    state = finding.state if finding.state == "ok" else "failed"
    of = "" if family.provider == "aws" else f" of {family.title}"
    return Finding(finding.id, state, f"{kind} {place}{of}: {text}", finding.mend, (place,))


CHECKS: Mapping[str, Check] = {
    "kinds": check_kinds,
    "rights": check_rights,
    "lease": check_lease,
    "rivals": check_rivals,
    "definitions": check_definitions,
    "credentials": check_credentials,
    "webhooks": check_webhooks,
}
IN_A_STORE = ("definitions", "credentials", "leaks", "missing", "finalizers")  # what a store has, too


async def examine(installation: Installation, checks: Mapping[str, Check]) -> list[Finding]:
    """What these checks find, in their order."""
    found = []
    installation = replace(installation, activations=await _activations(installation))
    for name, check in checks.items():
        found += await guarded(name, check(installation))
    return found


async def _activations(installation: Installation) -> tuple[str, ...]:
    """The managed kinds that are meant to be served, as globs; what can't be seen of it in the cluster, the checks tell."""
    try:
        heads = await installation.cluster.heads(activation.VERSION, activation.DEFINITION, activation.head)
    except GroundplaneError:
        heads = []
    states = {meta(head)["name"]: activation.is_active(head) for head in heads if managed_definition.is_built_in(head)}
    if installation.activations:
        return (*installation.activations, *(name for name, active in states.items() if active))
    return tuple(each.name for each in crds.brought() if states.get(each.name, True))


async def examine_cluster(settings: Settings, checks: Mapping[str, Check], *, mode: str, account: str) -> list[Finding]:
    """What the checks find in a cluster.  Raises Unavailable if there is no way to it; Denied: its credentials are not accepted."""
    async with installed(settings, mode=mode, account=account) as installation:
        return await examine(installation, checks)


async def examine_store(cluster: SqliteCluster, checks: Mapping[str, Check]) -> list[Finding]:
    """What those of the checks find that make sense in the store of `groundplane up`: there are no rights and no others."""
    return await examine(of_store(cluster), {name: check for name, check in checks.items() if name in IN_A_STORE})
