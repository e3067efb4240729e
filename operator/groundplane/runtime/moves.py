"""What `groundplane doctor` looks at before the operator goes to work on what is not its own: a takeover, a restore.

A takeover: a Crossplane has made the objects, and must have ended; what is in use must be served here.  A restore: a backup tool has brought
the objects back, and what it left out would be made a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from groundplane.core import definition, function_sources, managed, packages
from groundplane.core.objects import Object, annotations_of, key_of, labels_of, meta, spec_of, status_of
from groundplane.errors import GroundplaneError, NoSuchKind, counted
from groundplane.ports import Cluster, ManagedKind
from groundplane.runtime import clouds, crds, preflight, rivals
from groundplane.runtime.doctor import check_credentials
from groundplane.runtime.findings import Finding, about, not_allowed
from groundplane.runtime.installation import AT_ONCE, Check, Installation, definitions_of

PACKAGES = "pkg.crossplane.io/v1"
MANAGED = "managed"  # the category of managed kinds
PROVIDER = "pkg.crossplane.io/provider"  # label on the Pods of a provider
OURS = "groundplane"  # app.kubernetes.io/name of our own
LOOK = 0.5  # seconds between two looks at the Lease


# --- taking over -----------------------------------------------------------------------------------------------


async def check_stopped(installation: Installation) -> list[Finding]:
    """Whether the other control plane and its providers have ended: two would write the same objects, and the same things in AWS."""
    rival, denied = await rivals.sought(installation.cluster, "")
    found = [not_allowed("stopped", error) for error in denied]
    if rival:
        mend = "scale its Deployments, the RBAC manager's too, to zero: its objects stay"
        found.append(Finding("stopped", "failed", f"a control plane is at work: {rival}", mend))
    running = [
        f"{meta(each)['namespace']}/{meta(each)['name']}"
        for each in await _listed(installation.cluster, "apps/v1", "Deployment")
        if status_of(each).get("readyReplicas") and _is_provider(each)
    ]
    if running:
        mend = "scale them to zero: kubectl scale deployment NAME -n NAMESPACE --replicas=0"
        found.append(about("stopped", "failed", "providers are at work", running, mend))
    return found or [Finding("stopped", "ok", "no other control plane and no provider is at work")]


def _is_provider(deployment: Object) -> bool:
    pods = (spec_of(deployment).get("template") or {}).get("metadata") or {}
    labels = pods.get("labels") or {}
    return PROVIDER in labels and labels.get("app.kubernetes.io/name") != OURS


async def check_in_use(installation: Installation) -> list[Finding]:
    """Whether each managed kind of which there are objects is served here, and at a version that its definition serves."""
    slots, lacking, other, converted = asyncio.Semaphore(AT_ONCE), [], [], []
    kinds = 0

    async def look(crd: Object) -> None:
        nonlocal kinds
        spec, name = spec_of(crd), meta(crd)["name"]
        served = [each["name"] for each in spec.get("versions") or () if each.get("served")]
        async with slots:
            if not served or not await _any(installation, spec, served[-1]):
                return
        kinds += 1
        known = _built_in(spec["group"], spec["names"]["kind"])
        if known is None or not crds.is_active(name, installation.activations):
            lacking.append(name)
        elif not set(served) & set(known.versions):
            other.append(f"{name} ({', '.join(served)})")
        elif (spec.get("conversion") or {}).get("strategy", "None") != "None":
            converted.append(name)

    _, page = await installation.api.request("GET", crds.PATH)
    definitions = [
        crd
        for crd in (page or {}).get("items") or ()
        if MANAGED in ((spec_of(crd).get("names") or {}).get("categories") or ())
    ]
    await asyncio.gather(*map(look, definitions))
    found = []
    if lacking:
        mend = "leave their provider at work, or make them some other way first: here nobody looks after them"
        found.append(about("in-use", "failed", "kinds are in use and not served here", lacking, mend))
    if other:
        mend = "update the provider first, or let the definitions be taken over: --crds adopt"
        found.append(about("in-use", "failed", "definitions serve no version that is known here", other, mend))
    if converted:
        mend = "let the definitions be taken over, when it has ended: --crds adopt"
        what = "definitions have a webhook of their provider convert versions, and can't be read without it"
        found.append(about("in-use", "warning", what, converted, mend))
    return found or [
        Finding("in-use", "ok", f"{counted(kinds, 'managed kind is', 'managed kinds are')} in use, and served here")
    ]


def _built_in(group: str, kind: str) -> ManagedKind | None:
    return next((each for each in clouds.kinds() if (each.group, each.kind) == (group, kind)), None)


async def _any(installation: Installation, spec: Mapping[str, Any], version: str) -> bool:
    """Whether there are objects of a kind.  Where nobody converts them any more they can't be listed: there may be."""
    path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
    try:
        status, page = await installation.api.request("GET", path, query={"limit": "1"})
    except GroundplaneError:
        return True
    return status != 404 and bool((page or {}).get("items"))


async def check_packages(installation: Installation) -> list[Finding]:
    """Whether what packages do goes on: functions are built in or served; nothing is installed or updated here."""
    cluster, found, unknown = installation.cluster, [], []
    revisions = await _listed(cluster, PACKAGES, "FunctionRevision")
    functions = await _listed(cluster, PACKAGES, "Function")
    for function in functions:
        name = meta(function)["name"]
        own = [each for each in revisions if labels_of(each).get(function_sources.PACKAGE_LABEL) == name]
        source = function_sources.source(name, function, own, installation.context.options.functions)
        image = str(spec_of(function).get("package") or "")
        is_served = packages.is_built_in("Function", image) or (source is not None and source.endpoint is not None)
        if not is_served:
            unknown.append(f"{name} ({image})")
    if unknown:
        mend = (
            "annotate each with groundplane.io/endpoint, or have the operator run them: --function-runtime Deployment"
        )
        found.append(about("packages", "failed", "functions are neither built in nor served by anybody", unknown, mend))
    configurations = [meta(each)["name"] for each in await _listed(cluster, PACKAGES, "Configuration")]
    if configurations:
        mend = "nothing now: what they have installed stays. Apply later versions of it from files; do not delete them"
        found.append(about("packages", "warning", "Configurations are no longer installed", configurations, mend))
    return found or [
        Finding("packages", "ok", f"{counted(len(functions), 'function is', 'functions are')} built in or served")
    ]


async def check_creates(installation: Installation) -> list[Finding]:
    """Whether a create was begun whose outcome nobody saved."""
    pending = [str(key_of(each)) for each in await _managed(installation) if managed.is_create_unfinished(each)]
    if not pending:
        return [Finding("creates", "ok", "no create was interrupted")]
    mend = f"look in AWS whether it exists; if so, set annotation {managed.EXTERNAL_NAME}; take {managed.CREATE_PENDING} off"
    return [about("creates", "warning", "creates were begun whose outcome is not known", pending, mend)]


# --- after a restore ------------------------------------------------------------------------------------------


async def check_nobody(installation: Installation) -> list[Finding]:
    """Whether nobody works meanwhile: the Lease is not seen to change."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{installation.namespace}/leases/{preflight.LEASE}"
    _, lease = await installation.api.request("GET", path)
    spec = spec_of(lease or {})
    holder, last = str(spec.get("holderIdentity") or ""), spec
    for _ in range(int(float(spec.get("leaseDurationSeconds") or 15) / LOOK) + 1 if holder else 0):
        await asyncio.sleep(LOOK)
        _, lease = await installation.api.request("GET", path)
        if spec_of(lease or {}) != last:
            mend = "scale it to zero until all is back: what it does not find it makes anew, after a minute"
            return [Finding("nobody", "warning", f"{holder} is at work", mend)]
    return [Finding("nobody", "ok", "no control plane is at work here")]


async def check_claims(installation: Installation) -> list[Finding]:
    """Whether the composite that each claim names is there: another one would be made in its place."""
    missing, count = [], 0
    for xrd in await definitions_of(installation.cluster):
        known = definition.read(xrd)
        if not known.claim_kind:
            continue
        there = {meta(each)["name"] for each in await _listed(installation.cluster, known.api_version, known.kind)}
        for claim in await _listed(installation.cluster, known.api_version, known.claim_kind):
            count += 1
            name = (spec_of(claim).get("resourceRef") or {}).get("name")
            if name and name not in there:
                missing.append(f"{key_of(claim)} → {known.kind} {name}")
    if not missing:
        return [
            Finding(
                "claims", "ok", f"{counted(count, 'claim has its', 'claims have their')} composite, or never had one"
            )
        ]
    return [about("claims", "failed", "claims name a composite that is not there", missing, "restore it")]


async def check_composites(installation: Installation) -> list[Finding]:
    """Whether what each composite refers to is there: it would be made anew, in AWS too."""
    missing, count, kinds = [], 0, dict[tuple[str, str], set[tuple[str, str]]]()
    for xrd in await definitions_of(installation.cluster):
        known = definition.read(xrd)
        for composite in await _listed(installation.cluster, known.api_version, known.kind):
            count += 1
            own = meta(composite).get("namespace") or ""
            for reference in known.machinery(composite).get("resourceRefs") or ():
                kind = str(reference.get("apiVersion") or ""), str(reference.get("kind") or "")
                if kind not in kinds:
                    kinds[kind] = {key_of(each)[2:] for each in await _listed(installation.cluster, *kind)}
                namespace, name = reference.get("namespace") or own, reference.get("name")
                if name and not kinds[kind] & {(namespace, name), ("", name)}:
                    missing.append(f"{key_of(composite)} → {kind[1]} {name}")
    if not missing:
        return [
            Finding(
                "composites",
                "ok",
                f"{counted(count, 'composite has what it refers', 'composites have what they refer')} to",
            )
        ]
    return [about("composites", "failed", "composed resources are not there", missing, "restore them")]


async def check_managed(installation: Installation) -> list[Finding]:
    """Whether each managed resource has its name in AWS where AWS has chosen it: without, another thing would be made."""
    nameless, count = [], 0
    for each in await _managed(installation):
        kind = clouds.lookup(each["apiVersion"], each["kind"])
        assert kind is not None, "only kinds that are built in are listed"
        if kind.cloud != "AWS":  # elsewhere nothing is named for us
            continue
        count += 1
        if kind.external_name == "assigned" and not annotations_of(each).get(managed.EXTERNAL_NAME):
            nameless.append(str(key_of(each)))
    found = await check_creates(installation)
    found = [Finding("managed", each.state, each.message, each.mend, each.objects) for each in found if each.mend]
    if nameless:
        mend = f"nothing, if they are new; else annotate each with {managed.EXTERNAL_NAME}, as AWS has it"
        what = "managed resources have no name in AWS: it would be made"
        found.append(about("managed", "warning", what, nameless, mend))
    return found or [
        Finding(
            "managed",
            "ok",
            f"{counted(count, 'managed resource has its name', 'managed resources have their names')} in AWS",
        )
    ]


async def check_secrets(installation: Installation) -> list[Finding]:
    """Whether the Secrets that managed resources read are there: a password that AWS has can't be read there."""
    there = {key_of(each)[2:] for each in await _listed(installation.cluster, "v1", "Secret")}
    missing, count = [], 0
    for each in await _managed(installation):
        kind = clouds.lookup(each["apiVersion"], each["kind"])
        spec = spec_of(each)
        asked = {**(spec.get("initProvider") or {}), **(spec.get("forProvider") or {})}
        for secret in kind.secrets if kind else ():
            reference = asked.get(secret.ref) or {}
            if not reference.get("name"):
                continue
            count += 1
            namespace = reference.get("namespace") or meta(each).get("namespace") or installation.namespace
            if (namespace, reference["name"]) not in there:
                missing.append(f"{key_of(each)} → Secret {namespace}/{reference['name']}")
    if not missing:
        return [
            Finding(
                "secrets",
                "ok",
                f"{counted(count, 'Secret that managed resources read is', 'Secrets that managed resources read are')} there",
            )
        ]
    mend = "restore them; where the password is lost, a new one is made and set, if autoGeneratePassword says so"
    return [about("secrets", "failed", "Secrets that managed resources read are not there", missing, mend)]


# --- what is there ------------------------------------------------------------------------------------------------


async def _managed(installation: Installation) -> Sequence[Object]:
    """All managed resources of the active kinds, at the first version that is served."""
    found: list[Object] = []
    for kind in clouds.kinds():
        if not crds.is_active(kind.name, installation.activations):
            continue
        for version in kind.versions:
            try:
                found += await installation.cluster.list(f"{kind.group}/{version}", kind.kind)
            except NoSuchKind:
                continue
            break
    return found


async def _listed(cluster: Cluster, api_version: str, kind: str) -> list[Object]:
    try:
        return list(await cluster.list(api_version, kind))
    except NoSuchKind:
        return []


TAKEOVER: Mapping[str, Check] = {
    "stopped": check_stopped,
    "in-use": check_in_use,
    "packages": check_packages,
    "creates": check_creates,
}
RESTORE: Mapping[str, Check] = {
    "nobody": check_nobody,
    "claims": check_claims,
    "composites": check_composites,
    "managed": check_managed,
    "secrets": check_secrets,
    "credentials": check_credentials,
}
