"""A ControllerConfig, which Crossplane v2 has no more, as the DeploymentRuntimeConfig that does the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.objects import Json, Object, annotations_of, group_of, labels_of, meta, spec_of
from groundplane.errors import InvalidInput

CONTAINER = "package-runtime"  # the container that a package's runtime has

_OF_POD = {  # field of the ControllerConfig → of the Pod's spec
    "nodeSelector": "nodeSelector",
    "serviceAccountName": "serviceAccountName",
    "nodeName": "nodeName",
    "imagePullSecrets": "imagePullSecrets",
    "affinity": "affinity",
    "podSecurityContext": "securityContext",
    "tolerations": "tolerations",
    "priorityClassName": "priorityClassName",
    "runtimeClassName": "runtimeClassName",
    "volumes": "volumes",
}
_OF_CONTAINER = {
    "image": "image",
    "imagePullPolicy": "imagePullPolicy",
    "ports": "ports",
    "securityContext": "securityContext",
    "args": "args",
    "envFrom": "envFrom",
    "env": "env",
    "volumeMounts": "volumeMounts",
    "resources": "resources",
}


def to_runtime_config(source: Object) -> Object:
    """The DeploymentRuntimeConfig of the same name.

    Raises:
        InvalidInput: it is no ControllerConfig.
    """
    if group_of(str(source.get("apiVersion") or "")) != "pkg.crossplane.io" or source.get("kind") != "ControllerConfig":
        what = f"{source.get('kind') or 'an object without a kind'} of {source.get('apiVersion') or 'no API version'}"
        raise InvalidInput(
            f"{what} is no ControllerConfig", mend="pass a ControllerConfig of pkg.crossplane.io/v1alpha1"
        )
    spec = spec_of(source)
    common = {
        name: value for name, value in (("annotations", annotations_of(source)), ("labels", labels_of(source))) if value
    }
    account = spec.get("serviceAccountName")
    made: dict[str, Json] = {}
    if deployment := _deployment(spec, common):
        made["deploymentTemplate"] = deployment
    if common or account is not None:
        named = {"name": account} if account is not None else {}
        made["serviceAccountTemplate"] = {"metadata": {**common, **named}}
    if common:
        made["serviceTemplate"] = {"metadata": common}
    found: Object = {
        "apiVersion": "pkg.crossplane.io/v1beta1",
        "kind": "DeploymentRuntimeConfig",
        "metadata": {"name": meta(source).get("name", "")},
        "spec": made,
    }
    result: Object = fieldpath.copied(found)
    return result


def _deployment(spec: Mapping[str, Json], common: Mapping[str, Json]) -> dict[str, Json]:
    pod = {theirs: spec[ours] for ours, theirs in _OF_POD.items() if spec.get(ours) not in (None, [], {})}
    container = {theirs: spec[ours] for ours, theirs in _OF_CONTAINER.items() if spec.get(ours) not in (None, [], {})}
    of_pods: Any = spec.get("metadata")
    if not (pod or container or common or of_pods is not None or spec.get("replicas") is not None):
        return {}
    metadata = {
        name: of_pods[name] for name in ("annotations", "labels") if isinstance(of_pods, dict) and of_pods.get(name)
    }
    if container:
        pod = {**pod, "containers": [{"name": CONTAINER, **container}]}
    template: dict[str, Json] = {
        **({"metadata": metadata} if metadata else {}),
        "spec": {**pod, "containers": pod.get("containers")},
    }
    deployment: dict[str, Json] = {"selector": {}, "strategy": {}, "template": template}
    if spec.get("replicas") is not None:
        deployment["replicas"] = spec["replicas"]
    return {**({"metadata": common} if common else {}), "spec": deployment}
