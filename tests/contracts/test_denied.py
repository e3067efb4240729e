"""What a ServiceAccount without a right is told, verb by verb, by a real API server: what it may not, and the ClusterRole to apply."""

from __future__ import annotations

import pytest

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.core.objects import Key
from groundplane.errors import Denied

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
