"""Each way to log in that a ProviderConfig's schema has is served, or refused with the field and what to write instead."""

from __future__ import annotations

import pytest

from groundplane.core import providers
from groundplane.core.conditions import find, is_true
from groundplane.core.objects import key_of
from groundplane.ports import Options
from groundplane.runtime import clouds
from tests.world import Clock, World

HERE = {"source": "InjectedIdentity"}
SOURCES = ("None", "Secret", "InjectedIdentity", "Environment", "Filesystem")
IDENTITIES = (
    "GoogleApplicationCredentials",
    "AzureServicePrincipalCredentials",
    "AzureWorkloadIdentityCredentials",
    "UpboundTokens",
    "AWSWebIdentityCredentials",
    "NebiusServiceAccountCredentials",
)
KUBERNETES = [each for each in providers.configs() if "kubernetes" in each[0]]
FROM_SECRETS = [(*each, "Secret") for each in providers.configs() if "sql" not in each[0]] + [
    (*each, "PostgreSQLConnectionSecret") for each in providers.configs() if "sql" in each[0]
]


@pytest.fixture
async def world():
    every = clouds.every(strict_upstream=False, namespace="crossplane-system", targets=clouds.NoTargets())
    return await World(every, clock=Clock(), options=Options(poll_interval=60.0)).install()


def config(api_version, kind, spec):
    place = {"namespace": "shop"} if kind == providers.CONFIG and ".m." in api_version else {}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "some", **place}, "spec": spec}


def from_secret(source, kind, api_version):
    place = {} if kind == providers.CONFIG and ".m." in api_version else {"namespace": "shop"}
    return {"source": source, "secretRef": {"name": "gone", "key": "k", **place}}


async def told(world, api_version, kind, spec):
    """Whether it is ready, and what its Synced says."""
    manifest = config(api_version, kind, spec)
    await world.apply(manifest)
    await world.settle()
    found = await world.cluster.get(key_of(manifest))
    return is_true(found, "Ready"), (find(found, "Synced") or {}).get("message", "")


def test_the_table_has_all_that_the_schemas_have():
    schemas = {
        (crd["spec"]["group"], crd["spec"]["names"]["kind"]): crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for crd in clouds.configs()
    }
    for api_version, kind in KUBERNETES:
        spec = schemas[api_version.partition("/")[0], kind]["properties"]["spec"]["properties"]
        assert set(spec["credentials"]["properties"]["source"]["enum"]) == set(SOURCES)
        assert set(spec["identity"]["properties"]["source"]["enum"]) == set(SOURCES)
        assert set(spec["identity"]["properties"]["type"]["enum"]) == set(IDENTITIES)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("api_version", "kind"), KUBERNETES)
async def test_a_source_of_a_kubeconfig_is_served_or_refused(world, api_version, kind, source):
    ready, words = await told(world, api_version, kind, {"credentials": from_secret(source, kind, api_version)})
    if source == "InjectedIdentity":
        assert ready
        return
    assert not ready
    if source == "Secret":
        assert "Secret shop/gone not found. Mend: create it, or correct spec.credentials.secretRef" in words
    elif "source Environment reads" not in words and "source Filesystem reads" not in words:
        assert f"spec.credentials.source: {source} names no cluster. Mend: use InjectedIdentity" in words
    else:
        assert (kind, ".m." in api_version) == (providers.CONFIG, True)
        assert "Mend: use source Secret, or a ClusterProviderConfig" in words


@pytest.mark.parametrize("type_", IDENTITIES)
@pytest.mark.parametrize(("api_version", "kind"), KUBERNETES)
async def test_an_identity_is_served_or_refused(world, api_version, kind, type_):
    for source in SOURCES:
        identity = {**from_secret(source, kind, api_version), "type": type_}
        ready, words = await told(world, api_version, kind, {"credentials": HERE, "identity": identity})
        assert not ready
        if type_ != "AWSWebIdentityCredentials":
            assert f"spec.identity.type: {type_} is not understood. Mend: leave spec.identity out" in words
        elif source != "InjectedIdentity":
            assert (
                f'spec.identity.source: {type_} is for source InjectedIdentity alone, and not for "{source}"' in words
            )
        elif kind == providers.CONFIG and ".m." in api_version:
            assert "spec.identity.type" in words
            assert "use a ClusterProviderConfig" in words
        else:
            assert "spec.credentials.source: InjectedIdentity is no cluster of EKS. Mend: use Secret" in words


@pytest.mark.parametrize(("api_version", "kind", "source"), FROM_SECRETS)
async def test_what_is_missing_of_a_reference_to_a_secret_is_what_the_schema_has(world, api_version, kind, source):
    ready, words = await told(world, api_version, kind, {"credentials": {"source": source}})
    assert not ready
    assert "Ref is not set. Mend: set its " in words
    is_in_namespace = kind == providers.CONFIG and ".m." in api_version
    assert ("namespace" in words.partition("Mend")[2]) is not is_in_namespace
    assert ("key" in words.partition("Mend")[2]) is (source == "Secret")
