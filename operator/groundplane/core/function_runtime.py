"""What a function's package becomes in a cluster: ServiceAccount, Deployment and Service, as Crossplane's package runtime makes them.

The package's image is the program.  A DeploymentRuntimeConfig changes what it likes of that; selectors and the labels behind them stay.
Source: Crossplane v1.20, internal/controller/pkg/runtime (`runtime.go`, `runtime_function.go`, `runtime_override_options.go`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from groundplane.core.objects import Object, meta, owner_reference, spec_of, status_of

PORT, METRICS = 9443, 8080
USER = 2000
CONTAINER = "package-runtime"
CERTIFICATES = "/tls/server"
VOLUME = "tls-server-certs"
CERTIFICATE = "groundplane.io/certificate"  # annotation of the Pods: another certificate, other Pods, since functions read it once
REVISION_LABEL, FUNCTION_LABEL = "pkg.crossplane.io/revision", "pkg.crossplane.io/function"


def service_name(function: Object, config: Object) -> str:
    """The name under which a function is reached."""
    return str(_template(config, "service", "metadata").get("name") or meta(function)["name"])


def hosts(service: str, namespace: str) -> list[str]:
    """What its certificate is for."""
    return [service, f"{service}.{namespace}", f"{service}.{namespace}.svc"]


def endpoint(service: str, namespace: str) -> str:
    """Where it is reached, as Crossplane writes it into a revision's status."""
    return f"dns:///{service}.{namespace}:{PORT}"


def server_secret(function: Object) -> str:
    """The Secret with its certificate."""
    return f"{meta(function)['name']}-tls-server"


def service_account(revision: Object, namespace: str, config: Object) -> Object:
    """Who it runs as: nobody in particular, with no token, unless its config names another one."""
    metadata = _metadata(meta(revision)["name"], namespace, revision, _template(config, "serviceAccount", "metadata"))
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def service(function: Object, revision: Object, namespace: str, config: Object) -> Object:
    """What clients are told of its Pods: of those of this revision alone."""
    name = service_name(function, config)
    ports = [{"name": "grpc", "protocol": "TCP", "port": PORT, "targetPort": "grpc"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, namespace, function, _template(config, "service", "metadata")),
        "spec": {"clusterIP": "None", "selector": _selector(function, revision), "ports": ports},
    }


def deployment(function: Object, revision: Object, namespace: str, config: Object, certificate: str) -> Object:
    """Its Pods; `certificate` changes with what they serve with."""
    wanted = spec_of(function)
    pod = _pod(function, revision, config)
    pod["containers"][0] |= {"imagePullPolicy": wanted.get("packagePullPolicy") or "IfNotPresent"}
    if secrets := wanted.get("packagePullSecrets"):
        pod["imagePullSecrets"] = copy.deepcopy(secrets)
    selector = _selector(function, revision)
    base = {"replicas": 1, "template": {"metadata": {"annotations": {CERTIFICATE: certificate}}, "spec": pod}}
    spec = _merged(base, _template(config, "deployment", "spec"))
    spec["selector"] = {"matchLabels": selector}
    template = spec["template"]["metadata"]
    template["labels"] = {**(template.get("labels") or {}), **selector}
    metadata = _metadata(meta(revision)["name"], namespace, revision, _template(config, "deployment", "metadata"))
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def problem(deployment: Object) -> str:
    """Why a Deployment does not serve what it says, in its own words; "" if it does."""
    status = status_of(deployment)
    name = meta(deployment)["name"]
    if status.get("observedGeneration") != meta(deployment).get("generation"):
        return f"Deployment {name} has not been looked at yet"
    found = {each.get("type"): each for each in status.get("conditions") or () if isinstance(each, dict)}
    if found.get("Available", {}).get("status") == "True" and status.get("updatedReplicas"):
        return ""
    for type_, bad in (("ReplicaFailure", "True"), ("Progressing", "False"), ("Available", "False")):
        if found.get(type_, {}).get("status") == bad:
            return f"Deployment {name}: {found[type_].get('message') or found[type_].get('reason')}"
    return f"Deployment {name} is not available yet"


def _pod(function: Object, revision: Object, config: Object) -> dict[str, Any]:
    account = _template(config, "serviceAccount", "metadata").get("name")
    environment = {
        "FUNCTION_NAME": meta(function)["name"],
        "REVISION_NAME": meta(revision)["name"],
        "REVISION_UID": meta(revision)["uid"],
        "TLS_SERVER_CERTS_DIR": CERTIFICATES,
    }
    container = {
        "name": CONTAINER,
        "image": spec_of(function)["package"],
        "ports": [{"name": "grpc", "containerPort": PORT}, {"name": "metrics", "containerPort": METRICS}],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "volumeMounts": [{"name": VOLUME, "mountPath": CERTIFICATES, "readOnly": True}],
        "securityContext": {
            "runAsUser": USER,
            "runAsGroup": USER,
            "runAsNonRoot": True,
            "privileged": False,
            "allowPrivilegeEscalation": False,
        },
    }
    return {
        "serviceAccountName": account or meta(revision)["name"],
        "automountServiceAccountToken": bool(account),
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER},
        "containers": [container],
        "volumes": [{"name": VOLUME, "secret": {"secretName": server_secret(function)}}],
    }


def _selector(function: Object, revision: Object) -> dict[str, str]:
    return {REVISION_LABEL: meta(revision)["name"], FUNCTION_LABEL: meta(function)["name"]}


def _metadata(name: str, namespace: str, owner: Object, template: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "ownerReferences": [owner_reference(owner)]}
    for member in ("labels", "annotations"):
        if isinstance(given := template.get(member), dict):
            metadata[member] = dict(given)
    return metadata


def _template(config: Object, what: str, member: str) -> dict[str, Any]:
    """A part of a template in a DeploymentRuntimeConfig; {} if there is none."""
    template = spec_of(config).get(f"{what}Template") if config else None
    part = template.get(member) if isinstance(template, dict) else None
    return part if isinstance(part, dict) else {}


def _merged(base: Any, over: Any) -> Any:
    """`over` laid over `base`: objects member by member, lists of what has names by name, all else as it is."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {name: _merged(base.get(name), over[name]) if name in over else base[name] for name in {**base, **over}}
    if isinstance(base, list) and isinstance(over, list) and all(_is_named(each) for each in (*base, *over)):
        found = {each["name"]: each for each in base}
        for each in over:
            found[each["name"]] = _merged(found.get(each["name"]), each)
        return list(found.values())
    return copy.deepcopy(over)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)
