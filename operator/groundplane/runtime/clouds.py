"""The providers together: one Cloud over all of them, and what kinds they have.

A provider's package knows nothing of another's; here alone they meet.  Nothing of a provider is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from groundplane.cluster import credentials
from groundplane.core import providers
from groundplane.core.objects import Json, Object, group_of, spec_of
from groundplane.errors import InvalidInput, nearest
from groundplane.ports import Account, Cloud, Cluster, Creation, Default, ManagedKind, Observation, Targets

Made = Callable[[], Cloud]  # makes a provider's


class Clouds:
    """`ports.Cloud`: each managed resource, and each account, is the business of one of them."""

    def __init__(self, clouds: Mapping[str, Made], is_active: Callable[[str], bool] = lambda definition: True) -> None:
        """`clouds` by the names of their providers, each made when something is first asked of it: what nobody uses takes no memory.

        Of kinds whose definition (`vpcs.ec2.aws.upbound.io`) is not active, nothing is known: they are somebody else's.
        """
        self._clouds, self._is_active = dict(clouds), is_active
        self._made: dict[str, Cloud] = {}

    def of(self, api_version: str) -> Cloud | None:
        """Whose kinds those of an API version are."""
        provider = providers.name_of(api_version)
        if provider not in self._clouds:
            return None
        if provider not in self._made:
            self._made[provider] = self._clouds[provider]()
        return self._made[provider]

    def kind(self, api_version: str, kind: str) -> ManagedKind | None:
        found = lookup(api_version, kind) if providers.name_of(api_version) in self._clouds else None
        return found if found and self._is_active(found.name) else None

    def kinds(self) -> Sequence[ManagedKind]:
        ours = (each for each in kinds() if providers.name_of(each.api_versions[0]) in self._clouds)
        return tuple(each for each in ours if self._is_active(each.name))

    def default_external_name(self, managed: Object) -> str:
        return self._its(managed).default_external_name(managed)

    def check(self, managed: Object) -> None:
        self._its(managed).check(managed)

    async def check_account(self, account: Account) -> None:
        await self._its(account.provider_config).check_account(account)

    def defaults(self, managed: Object) -> Sequence[Default]:
        return self._its(managed).defaults(managed)

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation:
        return await self._its(managed).observe(managed, account, secrets)

    async def find(self, managed: Object, account: Account) -> str | None:
        return await self._its(managed).find(managed, account)

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation:
        return await self._its(managed).create(managed, account, secrets)

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]:
        return await self._its(managed).update(managed, account, secrets, observation)

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None:
        await self._its(managed).delete(managed, account, observation)

    async def identify(self, account: Account) -> str:
        """Whose account with AWS it is, by its number; "" of another provider.  Raises Denied, InvalidInput, Unavailable."""
        from groundplane.aws.cloud import AwsCloud

        aws = self._its(account.provider_config)
        return (await aws.identify(account)).split(":")[4] if isinstance(aws, AwsCloud) else ""

    async def let_go(self, managed: Object) -> None:
        await self._its(managed).let_go(managed)

    async def collected(self, collection: Object, account: Account) -> Sequence[Object]:
        """`ports.Collected`."""
        from groundplane.objects.cloud import ObjectCloud

        objects = self._its(collection)
        assert isinstance(objects, ObjectCloud), "only the provider of Objects has collections"
        return await objects.collected(collection, account)

    async def close(self) -> None:
        """Close the connections that are kept to databases."""
        if (sql := self._made.get("sql")) is not None:
            from groundplane.sql.cloud import SqlCloud

            if isinstance(sql, SqlCloud):
                await sql.close()

    def _its(self, obj: Object) -> Cloud:
        found = self.of(obj["apiVersion"])
        if found is None:
            raise InvalidInput(f"{obj['kind']} of {obj['apiVersion']} is not built in", mend="see `groundplane crds`")
        return found


def every(*, strict_upstream: bool, namespace: str, targets: Targets, looks_first: bool = False) -> Clouds:
    """All of them, for a control plane on one machine.  `looks_first`: see `ObjectCloud`."""

    def aws() -> Cloud:
        from groundplane.aws.cloud import AwsCloud

        return AwsCloud(strict_upstream=strict_upstream, namespace=namespace)

    return Clouds({"aws": aws} | beside_aws(strict_upstream=strict_upstream, targets=targets, looks_first=looks_first))


def looking(on_call: Callable[[], None], targets: Targets | None = None) -> Clouds:
    """All of them, with no way to change anything.  `on_call` is told of each call to AWS, on whichever thread makes it.

    Without `targets`, Objects are not looked at.
    """

    def refuse() -> None:
        raise InvalidInput("nothing is changed here: this only looks")

    def aws() -> Cloud:
        from groundplane.aws.cloud import AwsCloud

        return AwsCloud(only_looks=True, may_write=refuse, on_call=lambda *told: on_call())

    return Clouds({"aws": aws} | beside_aws(may_write=refuse, looks_first=True, targets=targets))


def beside_aws(
    *,
    strict_upstream: bool = False,
    may_write: Callable[[], None] = lambda: None,
    looks_first: bool = False,
    targets: Targets | None = None,
) -> dict[str, Made]:
    """What makes the providers beside AWS, by name; without `targets`, Objects can be checked, and no more."""

    def nop() -> Cloud:
        from groundplane.nop.cloud import NopCloud

        return NopCloud()

    def objects() -> Cloud:
        from groundplane.objects.cloud import ObjectCloud

        there = targets or NoTargets()
        return ObjectCloud(there, strict_upstream=strict_upstream, may_write=may_write, looks_first=looks_first)

    def sql() -> Cloud:
        from groundplane.sql.cloud import SqlCloud

        return SqlCloud(strict_upstream=strict_upstream, may_write=may_write)

    return {"nop": nop, "objects": objects, "sql": sql}


# --- their kinds ------------------------------------------------------------------------------------------------


@cache
def kinds() -> tuple[ManagedKind, ...]:
    """All managed kinds that are built in."""
    from groundplane.aws import catalogue

    return (*catalogue.ports(), *dict.fromkeys(_beside_aws().values()))


def lookup(api_version: str, kind: str) -> ManagedKind | None:
    """The managed kind that is served under that API version and kind, if any."""
    if providers.name_of(api_version) == "aws":
        from groundplane.aws import catalogue

        return catalogue.port(api_version, kind)
    return _beside_aws().get((api_version, kind))


def as_far_as_desired(managed: Object, name: str, desired: Json, observed: Json) -> Json:
    """What is observed of a field of forProvider, without what counts as no difference since the desired leaves it out."""
    if providers.name_of(managed["apiVersion"]) != "aws":
        return observed
    from groundplane.aws import catalogue, compare

    kind = catalogue.lookup(managed["apiVersion"], managed["kind"])
    return compare.as_far_as(desired, observed, kind.fields[name]) if kind and name in kind.fields else observed


@cache
def _beside_aws() -> dict[tuple[str, str], ManagedKind]:
    from groundplane.nop.kinds import KINDS as NOP
    from groundplane.objects.kinds import every as every_object
    from groundplane.sql.kinds import KINDS as SQL

    found = (*NOP.values(), *every_object(), *SQL.values())
    return {(version, each.kind): each for each in found for version in each.api_versions}


def crds(*, docs: bool = True, nop_scope: str = "namespaced") -> list[Object]:
    """The definitions of all that providers have: managed kinds, and those of their accounts."""
    from groundplane.aws.crds import crds as aws_crds
    from groundplane.nop import kinds as nop
    from groundplane.objects.crds import crds as object_crds
    from groundplane.sql.crds import crds as sql_crds

    return [*aws_crds(docs=docs), *nop.crds(cluster_scoped=nop_scope == "cluster"), *object_crds(), *sql_crds()]


def configs() -> list[Object]:
    """The definitions of ProviderConfigs and their usages."""
    from groundplane.aws.crds import configs as aws_configs
    from groundplane.objects.crds import configs as object_configs
    from groundplane.sql.crds import configs as sql_configs

    return [*aws_configs(), *object_configs(), *sql_configs()]


def collections() -> list[Object]:
    """The definitions of what makes Objects of what it finds."""
    from groundplane.objects.crds import crds as object_crds

    return [each for each in object_crds() if each["spec"]["names"]["kind"] == providers.COLLECTION]


def connection_details(kind: ManagedKind) -> list[dict[str, str]]:
    """The keys of a kind's connection Secrets, sorted, and what they hold."""
    if providers.name_of(kind.api_versions[0]) == "sql":
        from groundplane.sql import crds as sql

        return sql.connection_details(kind)
    from groundplane.aws.crds import connection_details

    return connection_details(kind)


def immutable(api_version: str, kind: str) -> frozenset[str]:
    """The forProvider fields of an AWS kind that can't be changed."""
    if providers.name_of(api_version) != "aws":
        return frozenset()
    from groundplane.aws import catalogue

    found = catalogue.lookup(api_version, kind)
    return frozenset(name for name, each in found.fields.items() if each.immutable) if found else frozenset()


def named_so(api_version: str, kind: str) -> frozenset[str]:
    """The fields of an AWS kind's status.atProvider that are its external name."""
    if providers.name_of(api_version) != "aws":
        return frozenset()
    from groundplane.aws import catalogue

    found = catalogue.lookup(api_version, kind)
    outputs = found.at_provider.items() if found else ()
    return frozenset(name for name, output in outputs if output.from_ == "$external_name")


def schema_of(api_version: str, kind: str) -> dict[str, Any] | None:
    """The schema of one managed kind, without prose; None if that is not built in."""
    if found := lookup(api_version, kind):
        match providers.name_of(api_version):
            case "aws":
                from groundplane.aws.crds import schema_of

                return schema_of(api_version, kind)
            case "nop":
                from groundplane.nop import kinds as nop

                return nop.schema(namespaced=found.namespaced)
            case "objects":
                from groundplane.objects import crds as objects

                return objects.schema_of(found)
            case "sql":
                from groundplane.sql import crds as sql

                return sql.schema_of(found)
    return None


def unknown_region(managed: Object, account: Account) -> str:
    """What is wrong with the region that a managed resource asks for; "" if nothing is."""
    from groundplane.aws.sdk import check_region

    region = (spec_of(managed).get("forProvider") or {}).get("region")
    try:
        check_region(region if isinstance(region, str) else "", spec_of(account.provider_config))
    except InvalidInput as error:
        return str(error)
    return ""


def meant(api_version: str, kind: str) -> str:
    """The kind that is served under that API version, and is nearly spelt so; "" if there is none."""
    if providers.name_of(api_version) == "aws":
        from groundplane.aws import catalogue

        return catalogue.meant(api_version, kind)
    near = nearest(kind, [each.kind for each in kinds() if each.group == group_of(api_version)])
    return near if lookup(api_version, near) else ""


class NoTargets:
    """Where nothing is asked of any cluster."""

    async def here(self) -> Cluster:
        raise InvalidInput("what an Object stands for is not looked at here")

    async def there(self, config: str, version: str, kubeconfig: bytes, *, by_aws: bool = False) -> Cluster:
        return await self.here()

    def check(self, kubeconfig: bytes, *, by_aws: bool = False) -> None:
        credentials.parse(kubeconfig, logs_in=not by_aws)
