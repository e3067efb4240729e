"""What was left behind: things in AWS whose object is gone, objects whose thing is gone, and deletions that nobody ends.

Looking changes nothing.  A thing counts as left behind if it carries our tags, AWS showed it before and after the cluster was asked for
every object that could be its own, and none is.  Which control plane made it the tags do not say beyond its ProviderConfig's name: where
several share an account, what is left behind here may be the other's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from groundplane.aws import catalogue, faults, tags
from groundplane.aws.adopting import Account, Candidate
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.grammar import Kind
from groundplane.aws.session import AccountClients, Sessions
from groundplane.core import claim, definition, managed, providers, usages
from groundplane.core.importing import How
from groundplane.core.objects import Key, Object, annotations_of, is_deleting, key_of, meta, spec_of, status_of
from groundplane.errors import AlreadyExists, GroundplaneError, NoSuchKind, NotLeader, Waiting, counted
from groundplane.ports import Account as Credentials
from groundplane.ports import Cluster
from groundplane.reconcile import composite, provider_config
from groundplane.reconcile import definition as definitions
from groundplane.runtime import clouds, crds
from groundplane.runtime.findings import Finding, about
from groundplane.runtime.installation import AT_ONCE, Check, Installation, aws_configs, definitions_of

LEAKS = "leaks"  # the check of things in AWS
THREADS = 8  # things that are looked at at a time
ROUNDS = 5  # of deletions, for what others are in the way of
PAUSE = 2.0  # seconds between two of these
KUBERNETES = ("foregroundDeletion", "orphan", "kubernetes.io/", "customresourcecleanup.apiextensions.k8s.io")
OURS = {
    managed.FINALIZER,
    claim.FINALIZER,
    composite.FINALIZER,
    usages.FINALIZER,
    provider_config.FINALIZER,
    *(side.finalizer for side in (definitions.COMPOSITE, definitions.CLAIM)),
}


@dataclass(frozen=True)
class Orphan:
    """A thing in AWS that nobody here has any more."""

    kind: Kind
    candidate: Candidate
    region: str
    config: Object
    account: Credentials
    clients: AccountClients  # which only look
    tags: Mapping[str, str]

    @property
    def uid(self) -> str:
        return self.tags.get(tags.OWNER) or ""

    @property
    def key(self) -> Key:
        """The object that it was made for."""
        version = f"{self.kind.group}/{self.kind.versions[0]}"
        return Key(
            version, self.kind.kind, self.tags.get("crossplane-namespace") or "", self.tags.get("crossplane-name") or ""
        )

    @property
    def how(self) -> How:
        return How(self.region, self.key.namespace, meta(self.config)["name"], adopt=True)

    def __str__(self) -> str:
        place = f" in {self.region}" if self.region else ""
        return f"{self.kind.kind} {self.candidate.external_name}{place}, made for {self.key}"


class Living(NamedTuple):
    """The objects that may have things in AWS."""

    uids: set[str]
    names: set[tuple[str, str, str]]  # service, kind and external name

    @staticmethod
    async def of(cluster: Cluster) -> Living:
        objects = await managed_by_aws(cluster)
        names = {
            (_service(key_of(each).group), each["kind"], annotations_of(each).get(managed.EXTERNAL_NAME) or "")
            for each in objects
        }
        return Living({str(meta(each).get("uid")) for each in objects}, names)

    def has(self, orphan: Orphan) -> bool:
        service = _service(orphan.kind.group)
        return orphan.uid in self.uids or (service, orphan.kind.kind, orphan.candidate.external_name) in self.names


def _service(group: str) -> str:
    return group.partition(".")[0]


async def managed_by_aws(cluster: Cluster) -> list[Object]:
    """All managed resources of AWS's kinds, active or not.  Raises Denied and the like: a list that lacks some is none."""
    found: dict[str, Object] = {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def look(kind: Kind) -> None:
        for version in kind.versions:
            try:
                async with slots:
                    objects = await cluster.list(f"{kind.group}/{version}", kind.kind)
            except NoSuchKind:
                continue
            found.update({str(meta(each).get("uid")): each for each in objects})
            break

    await asyncio.gather(*map(look, catalogue.every()))
    return list(found.values())


# --- things without an object ----------------------------------------------------------------------------------


async def orphans(installation: Installation, regions: Sequence[str] = ()) -> tuple[list[Orphan], list[str]]:
    """What is left behind, and what could not be looked at.  Looked for where objects are, and in these regions."""
    used = {_region(each) for each in await managed_by_aws(installation.cluster)} - {""}
    suspects: list[Orphan] = []
    problems: list[str] = []
    for config in await aws_configs(installation):
        try:
            account = await provider_config.account_of(config, installation.context)
        except GroundplaneError as error:
            problems.append(str(error))
            continue
        clients = Sessions(may_write=_refuse).clients(account)
        if not {*used, *regions}:
            problems.append("no object names a region, so none was looked in: name each with --region")
        for number, region in enumerate(sorted({*used, *regions}) or [""]):
            found, wrong = await asyncio.to_thread(_scan, config, account, clients, region, is_first=not number)
            suspects += found
            problems += wrong
    living = await Living.of(installation.cluster)  # after AWS was asked: what came meanwhile has its object
    left = [each for each in suspects if not living.has(each)]
    return [each for each in left if await asyncio.to_thread(_is_there, each)], sorted(set(problems))


def _region(obj: Object) -> str:
    spec = spec_of(obj)
    return str((spec.get("forProvider") or {}).get("region") or (spec.get("initProvider") or {}).get("region") or "")


def _scan(
    config: Object, account: Credentials, clients: AccountClients, region: str, *, is_first: bool
) -> tuple[list[Orphan], list[str]]:
    """What carries our tags; of kinds without regions only the first time."""
    there_is = Account(clients, How(region))
    kinds = [
        kind
        for kind in catalogue.first_generation()
        if kind.tags and kind.list_ and (is_first if kind.is_global else bool(region))
    ]
    problems: list[str] = []

    def listed(kind: Kind) -> list[tuple[Kind, Candidate]]:
        try:
            return [(kind, each) for each in there_is.candidates(kind)]
        except (*faults.BOTO, GroundplaneError) as error:
            problems.append(f"{kind.kind}s can't be listed in {region}: {_told(kind, error)}")
            return []

    def looked(what: tuple[Kind, Candidate]) -> Iterator[Orphan]:
        kind, candidate = what
        try:
            sight = there_is.glance(kind, candidate)
        except (*faults.BOTO, GroundplaneError) as error:
            problems.append(f"{kind.kind} {candidate.external_name} can't be looked at: {_told(kind, error)}")
            return
        if sight is None or sight.is_own or not _is_of(config, sight.owner, kind):
            return
        is_namespaced = bool(sight.owner.get("crossplane-namespace"))
        yield Orphan(
            kind.namespaced if is_namespaced else kind,
            candidate,
            "" if kind.is_global else region,
            config,
            account,
            clients,
            sight.tags,
        )

    with ThreadPoolExecutor(THREADS) as pool:
        candidates = [each for some in pool.map(listed, kinds) for each in some]
        return [each for some in pool.map(lambda what: list(looked(what)), candidates) for each in some], problems


def _is_of(config: Object, owner: Mapping[str, str], kind: Kind) -> bool:
    """Whether tags say that a thing was made for an object of that kind by way of that ProviderConfig."""
    namespace = owner.get("crossplane-namespace") or ""
    group = kind.namespaced.group if namespace else kind.group
    if not owner.get(tags.OWNER) or owner.get("crossplane-kind") != f"{kind.kind}.{group}".lower():
        return False
    key = key_of(config)
    family = providers.of(key.group)
    assert family is not None
    if family.is_namespaced != bool(namespace) or owner.get("crossplane-providerconfig") != key.name:
        return False
    by = owner.get("crossplane-providerconfig-kind") or providers.CLUSTER_CONFIG
    return not namespace or (by == key.kind and key.namespace in ("", namespace))


def _is_there(orphan: Orphan) -> bool:
    """Whether AWS shows it still, with the same tags of ownership."""
    there_is = Account(orphan.clients, How(orphan.region))
    try:
        sight = there_is.glance(orphan.kind, orphan.candidate)
    except faults.BOTO as error:
        raise faults.translate(error, orphan.kind.errors) from error
    return sight is not None and sight.tags.get(tags.OWNER) == orphan.uid


def _refuse() -> None:
    raise NotLeader("a look changes nothing")


def _told(kind: Kind, error: Exception) -> str:
    return str(error if isinstance(error, GroundplaneError) else faults.translate(error, kind.errors))


def told(found: Sequence[Orphan], problems: Sequence[str]) -> list[Finding]:
    """The findings about them."""
    result = []
    if found:
        mend = (
            "look at each; then groundplane doctor orphans --adopt --alone makes their objects again, --delete --alone ends them."
            " Where another control plane uses the account, they may be its own"
        )
        result.append(about(LEAKS, "warning", f"{len(found)} leaked", map(str, found), mend))
    if problems:
        mend = "allow it, or correct or add what is named"
        result.append(about(LEAKS, "not allowed", "looks were not possible", problems, mend))
    return result or [Finding(LEAKS, "ok", "everything in AWS that carries our tags has its object")]


# --- what is done about them -------------------------------------------------------------------------------------


async def adopt(installation: Installation, found: Iterable[Orphan]) -> list[str]:
    """Make the objects again, with the external names; a line for each."""
    lines = []
    for orphan in found:
        try:
            lines.append(await _adopt(installation.cluster, orphan))
        except AlreadyExists:
            lines.append(f"✘ {orphan}: an object of that name exists, of another thing")
        except GroundplaneError as error:
            lines.append(f"✘ {orphan}: {error}")
    return lines


async def _adopt(cluster: Cluster, orphan: Orphan) -> str:
    there_is = Account(orphan.clients, orphan.how)

    def look() -> Object | None:
        try:
            sight = there_is.look(orphan.kind, orphan.candidate)
        except faults.BOTO as error:
            raise faults.translate(error, orphan.kind.errors) from error
        if sight is None or sight.tags.get(tags.OWNER) != orphan.uid:
            return None
        return there_is.manifest(orphan.kind, orphan.candidate.external_name, sight.for_provider, sight.tags)

    manifest = await asyncio.to_thread(look)
    if manifest is None:
        return f"– {orphan}: is gone, or another's now"
    manifest["metadata"]["name"] = orphan.key.name
    if orphan.key.namespace:
        manifest["spec"]["providerConfigRef"]["kind"] = orphan.config["kind"]
    await cluster.create(manifest)
    return f"✔ {orphan}: made again"


async def delete(installation: Installation, found: Sequence[Orphan], pause: float = PAUSE) -> list[str]:
    """Delete the things, those that others are in the way of after them; a line for each.

    Each is looked at once more right before, in AWS and in the cluster.
    """
    cloud, lines, left = AwsCloud(namespace=installation.namespace), [], list(found)
    try:
        for number in range(ROUNDS):
            later, before = [], len(left)
            for orphan in left:
                try:
                    lines.append(await _delete(installation.cluster, cloud, orphan))
                except Waiting as error:
                    if number + 1 == ROUNDS:
                        lines.append(f"✘ {orphan}: {error}")
                    later.append(orphan)
                except GroundplaneError as error:
                    lines.append(f"✘ {orphan}: {error}")
            left = later
            if not left:
                break
            if len(left) == before:
                await asyncio.sleep(pause)
    finally:
        cloud.close()
    return lines


async def _delete(cluster: Cluster, cloud: AwsCloud, orphan: Orphan) -> str:
    if not orphan.uid or (await Living.of(cluster)).has(orphan):
        return f"– {orphan}: has an object now; left alone"
    there_is = Account(orphan.clients, orphan.how)
    thing = there_is.manifest(orphan.kind, orphan.candidate.external_name, orphan.candidate.fields, orphan.tags)
    thing["metadata"] |= {"uid": orphan.uid, "name": orphan.key.name}
    observation = await cloud.observe(thing, orphan.account, {})
    if not observation.exists or observation.deleting:
        return f"– {orphan}: is gone, or on its way out"
    if ((observation.item or {}).get("tags") or {}).get(tags.OWNER) != orphan.uid:
        return f"– {orphan}: is another's now; left alone"
    await cloud.delete(thing, orphan.account, observation)
    return f"✔ {orphan}: deleted"


# --- objects without a thing -----------------------------------------------------------------------------------


async def check_missing(installation: Installation) -> list[Finding]:
    """Objects that had a thing in AWS which is not there any more."""
    cloud = installation.context.cloud
    slots = asyncio.Semaphore(AT_ONCE)
    accounts: dict[Key, Credentials] = {}
    missing: list[str] = []
    problems: list[str] = []

    async def look(obj: Object) -> None:
        try:
            async with slots:
                key = provider_config.referenced(obj)
                if key not in accounts:
                    config = await provider_config.find(obj, installation.context)
                    accounts[key] = await provider_config.account_of(config, installation.context)
                if not (await cloud.observe(obj, accounts[key], {})).exists:
                    missing.append(f"{key_of(obj)} → {annotations_of(obj)[managed.EXTERNAL_NAME]}")
        except GroundplaneError as error:
            problems.append(f"{key_of(obj)}: {error}")

    objects = [each for each in await managed_by_aws(installation.cluster) if _had_one(each)]
    await asyncio.gather(*map(look, objects))
    found = []
    if missing:
        mend = (
            "nothing, where it is to be made anew: the operator does at its next look, unless it is paused or its"
            f" managementPolicies are against it. Else delete the object, or correct its {managed.EXTERNAL_NAME}"
        )
        found.append(about("missing", "warning", "objects stand for what AWS has no more", missing, mend))
    if problems:
        found.append(
            about("missing", "not allowed", "objects could not be looked at", problems, "see their conditions")
        )
    return found or [
        Finding("missing", "ok", f"{counted(len(objects), 'object has its thing', 'objects have their things')} in AWS")
    ]


def _had_one(obj: Object) -> bool:
    notes = annotations_of(obj)
    was_seen = managed.CREATE_SUCCEEDED in notes or bool((status_of(obj).get("atProvider") or {}).get("id"))
    return bool(notes.get(managed.EXTERNAL_NAME)) and was_seen and not is_deleting(obj)


# --- deletions that nobody ends ----------------------------------------------------------------------------------


async def check_finalizers(installation: Installation) -> list[Finding]:
    """Objects that are being deleted and wait for somebody who is not there."""
    foreign: list[str] = []
    idle: list[str] = []
    for obj in await _all(installation.cluster):
        if not is_deleting(obj):
            continue
        names = meta(obj).get("finalizers") or ()
        others = [name for name in names if name not in OURS and not name.startswith(KUBERNETES)]
        foreign += [f"{key_of(obj)} ({name})" for name in others]
        kind = clouds.lookup(obj["apiVersion"], obj["kind"])
        if kind is not None and managed.FINALIZER in names and not crds.is_active(kind.name, installation.activations):
            idle.append(str(key_of(obj)))
    found = []
    if foreign:
        mend = "start whoever sets that finalizer, or take it off the object, if what it stands for is done otherwise"
        found.append(about("finalizers", "warning", "deletions wait for somebody else", foreign, mend))
    if idle:
        mend = "activate the kind: --activations, or a ManagedResourceActivationPolicy"
        found.append(about("finalizers", "warning", "deletions wait for a kind that nobody looks after", idle, mend))
    return found or [Finding("finalizers", "ok", "no deletion waits for somebody who is not there")]


async def _all(cluster: Cluster) -> list[Object]:
    """What people and compositions make: definitions, claims, composites, managed resources, ProviderConfigs."""
    kinds = [(definitions.API_VERSION, definitions.KIND), *providers.configs()]
    for xrd in await definitions_of(cluster):
        known = definition.read(xrd)
        kinds += [(known.api_version, each) for each in (known.kind, known.claim_kind) if each]
    found = await managed_by_aws(cluster)
    kinds += [
        (kind.api_versions[0], kind.kind)
        for kind in clouds.kinds()
        if catalogue.lookup(kind.api_versions[0], kind.kind) is None
    ]
    for api_version, kind in kinds:
        try:
            found += await cluster.list(api_version, kind)
        except NoSuchKind:
            continue
    return found


async def check_leaked(installation: Installation, regions: Sequence[str] = ()) -> list[Finding]:
    """Things in AWS that carry our tags and have no object any more."""
    return told(*await orphans(installation, regions))


ORPHANS: Mapping[str, Check] = {
    LEAKS: check_leaked,
    "missing": check_missing,
    "finalizers": check_finalizers,
}
