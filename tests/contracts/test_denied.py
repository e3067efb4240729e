"""What a ServiceAccount without a right is told, verb by verb, by a real API server: what it may not, and the ClusterRole to apply."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.credentials import Access
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.objects import Key
from groundplane.errors import Denied
from tests.contracts.scripted import serving

NAMESPACE, WEAK, KNOWN = "denied-home", "weak", "known"
KEY = Key("apps/v1", "Deployment", NAMESPACE, KNOWN)
BODY = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": KNOWN, "namespace": NAMESPACE, "resourceVersion": "1", "uid": "u"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}
NEW = {**BODY, "metadata": {"name": KNOWN, "namespace": NAMESPACE}}
REQUESTS = {
    "get": lambda cluster: cluster.get(KEY, live=True),
    "list": lambda cluster: cluster.list(KEY.api_version, KEY.kind),
    "create": lambda cluster: cluster.create(NEW),
    "update": lambda cluster: cluster.update(BODY),
    "update of status": lambda cluster: cluster.update(BODY, subresource="status"),
    "patch": lambda cluster: cluster.patch(KEY, {"metadata": {"labels": {"x": "y"}}}),
    "apply": lambda cluster: cluster.apply(NEW, manager="test"),
    "delete": lambda cluster: cluster.delete(KEY),
}


@pytest.fixture(scope="module")
def kubeconfig(control_plane):
    control_plane.kubectl("create", "namespace", NAMESPACE, check=False)
    control_plane.kubectl("create", "serviceaccount", WEAK, "-n", NAMESPACE, check=False)
    return control_plane.kubeconfig_of_account(NAMESPACE, WEAK)


@pytest.mark.parametrize("verb", REQUESTS)
async def test_each_verb_that_is_denied_is_told_with_the_role_to_apply(kubeconfig, verb):
    api = Api.connect(str(kubeconfig))
    try:
        with pytest.raises(Denied) as error:
            await REQUESTS[verb](KubernetesCluster(api, Cache()))
    finally:
        await api.close()
    text = str(error.value)
    assert f'User "system:serviceaccount:{NAMESPACE}:{WEAK}" cannot ' in text
    assert (
        'a ClusterRole labelled rbac.crossplane.io/aggregate-to-crossplane: "true" with the rule {apiGroups: [apps]'
        in text
    )
    assert "resources: [deployments" in text


async def test_who_may_not_own_is_told_of_which_owner_the_right_is_wanted(control_plane, kubeconfig):
    control_plane.kubectl("create", "role", WEAK, "-n", NAMESPACE, "--verb=create,patch", "--resource=configmaps")
    account = f"--serviceaccount={NAMESPACE}:{WEAK}"
    control_plane.kubectl("create", "rolebinding", WEAK, "-n", NAMESPACE, "--role", WEAK, account)
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": KNOWN, "uid": "u", "blockOwnerDeletion": True}
    metadata = {"name": "owned", "namespace": NAMESPACE, "ownerReferences": [owner]}
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}

    async def refused(api):
        with pytest.raises(Denied) as error:
            await KubernetesCluster(api, Cache()).create(owned)
        return error.value

    api = Api.connect(str(kubeconfig))
    try:
        while "cannot create resource" in (error := await refused(api)).what:
            await asyncio.sleep(0.05)  # the role is in force a moment later
    finally:
        await api.close()
    assert error.what.endswith("a resource you can't set finalizers on: deployments/finalizers.apps")
    assert "with the rule {apiGroups: [apps], resources: [deployments/finalizers], verbs: [update]}" in error.mend


def secret(namespace, name="known"):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}


PLACE = Key("v1", "Secret", "other", "known")
SECRETS = {
    "get": lambda cluster: cluster.get(PLACE),
    "get as it is": lambda cluster: cluster.get(PLACE, live=True),
    "referenced": lambda cluster: cluster.referenced(PLACE),
    "list": lambda cluster: cluster.list("v1", "Secret", namespace="other"),
    "create": lambda cluster: cluster.create(secret("other")),
    "update": lambda cluster: cluster.update(secret("other")),
    "patch": lambda cluster: cluster.patch(PLACE, {"metadata": {"labels": {"x": "y"}}}),
    "apply": lambda cluster: cluster.apply(secret("other"), manager="test"),
    "delete": lambda cluster: cluster.delete(PLACE),
}


@pytest.mark.parametrize("verb", SECRETS)
async def test_a_secret_outside_of_the_namespaces_that_are_given_is_not_asked_for(verb):
    async with serving() as server:
        server.answers = [discovered]
        api = Api(Access(server.url))
        try:
            with pytest.raises(Denied) as error:
                await SECRETS[verb](KubernetesCluster(api, Cache(), ("home", "team")))
        finally:
            await api.close()
    assert {path for _, path, _ in server.requests} <= {"/api/v1"}
    assert error.value.what == "the operator may not work with Secrets in namespace other"
    assert error.value.mend.startswith("add other to rbac.secretNamespaces of the chart")
    assert 'bind a Role in other with the rule {apiGroups: [""], resources: [secrets], verbs: [' in error.value.mend


async def test_secrets_of_all_namespaces_are_listed_in_each_of_those_that_are_given():
    def listed(request):
        place = request.path.split("/")[4]
        return web.json_response({"metadata": {}, "items": [{"metadata": {"name": "a", "namespace": place}}]})

    async with serving() as server:
        server.answers = [discovered, listed]
        api = Api(Access(server.url))
        try:
            found = await KubernetesCluster(api, Cache(), ("home", "team")).list("v1", "Secret")
        finally:
            await api.close()
    assert [each["metadata"]["namespace"] for each in found] == ["home", "team"]
    paths = [path.partition("?")[0] for _, path, _ in server.requests]
    assert paths == ["/api/v1", "/api/v1/namespaces/home/secrets", "/api/v1/namespaces/team/secrets"]


def discovered(_):
    return web.json_response({"resources": [{"name": "secrets", "kind": "Secret", "namespaced": True}]})
