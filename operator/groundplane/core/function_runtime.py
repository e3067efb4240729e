"""What a function's package becomes in a cluster: ServiceAccount, Deployment and Service, as Crossplane's package runtime makes them.

The package's image is the program.  A DeploymentRuntimeConfig changes what it likes of that; selectors and the labels behind them stay.
ImageConfigs say where images are pulled from instead, and with which Secret; signatures are not looked at here, so what is to be verified
is not run.
Source: Crossplane v1.20, internal/controller/pkg/runtime (`runtime.go`, `runtime_function.go`, `runtime_override_options.go`) and
internal/xpkg (`config.go`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from groundplane.core.objects import Object, meta, owner_reference, spec_of, status_of
from groundplane.errors import InvalidInput, shown

PORT, METRICS = 9443, 8080
USER = 2000
CONTAINER = "package-runtime"
CERTIFICATES = "/tls/server"
VOLUME = "tls-server-certs"
CERTIFICATE = "groundplane.io/certificate"  # annotation of the Pods: another certificate, other Pods, since functions read it once
REVISION_LABEL, FUNCTION_LABEL = "pkg.crossplane.io/revision", "pkg.crossplane.io/function"


@dataclass(frozen=True)
class Bounds:
    """What every function's Pods may take, and on which nodes they run, unless a DeploymentRuntimeConfig says otherwise."""

    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()  # globs of those that may be run; none: all


@dataclass(frozen=True)
class Image:
    """What is pulled for a package."""

    reference: str
    pull_secrets: tuple[str, ...] = ()


def image(package: str, configs: Sequence[Object]) -> Image:
    """What is pulled for a package, as ImageConfigs say; of several the one counts whose prefix is the longest.

    Raises:
        InvalidInput: its signature is to be verified.
    """
    if (rewrite := _chosen(package, configs, "rewriteImage")) is not None:
        prefix, config = rewrite
        package = f"{_member(config, 'rewriteImage', 'prefix')}{package[len(prefix) :]}"
    if (verified := _chosen(package, configs, "verification")) is not None:
        raise InvalidInput(
            f'ImageConfig {meta(verified[1])["name"]} wants the signature of "{package}" verified, which is not done here: it is not run',
            mend="verify it otherwise, as by an admission policy for images, and leave verification out for this image",
        )
    login = _chosen(package, configs, "registry")
    secret = _member(login[1], "registry", "authentication", "pullSecretRef", "name") if login is not None else ""
    return Image(package, (secret,) if secret else ())


def config_name(function: Object, configs: Sequence[Object]) -> str:
    """The DeploymentRuntimeConfig of a Function: its own, else that of the ImageConfig for its package.

    >>> configs = [{"metadata": {"name": "a"}, "spec": {"matchImages": [{"prefix": "acme/"}], "runtime": {"configRef": {"name": "big"}}}}]
    >>> config_name({"spec": {"package": "acme/x:v1", "runtimeConfigRef": {"name": "default"}}}, configs)
    'big'
    """
    reference = spec_of(function).get("runtimeConfigRef") or {}
    name = str(reference.get("name") or "default")
    if name == "default" and (chosen := _chosen(str(spec_of(function)["package"]), configs, "runtime")):
        return _member(chosen[1], "runtime", "configRef", "name") or name
    return name


def check_image(reference: str, bounds: Bounds) -> None:
    """Whether an image may be run: a `*` of a glob stands for any text between two slashes.

    >>> check_image("xpkg.crossplane.io/acme/function-x:v1", Bounds(images=("xpkg.crossplane.io/acme/*",)))

    Raises:
        InvalidInput: it may not.
    """
    parts = reference.split("/")
    for glob in bounds.images:
        globs = glob.split("/")
        if len(globs) == len(parts) and all(fnmatchcase(*pair) for pair in zip(parts, globs, strict=True)):
            return
    if bounds.images:
        raise InvalidInput(
            f"image {shown(reference)} is not one of those that may be run: {', '.join(bounds.images)}",
            mend="use one of these, or have the operator's --function-allowed-images list it",
        )


def check_pod(deployment: Object, bounds: Bounds) -> None:
    """Raise InvalidInput if a container of a Deployment is of an image that may not be run: a DeploymentRuntimeConfig can name any."""
    pod = deployment["spec"]["template"]["spec"]
    for part in ("containers", "initContainers", "ephemeralContainers"):
        for container in pod.get(part) or ():
            check_image(str(container.get("image") or ""), bounds)
    for volume in pod.get("volumes") or ():
        if isinstance(volume.get("image"), dict):
            check_image(str(volume["image"].get("reference") or ""), bounds)


def _chosen(package: str, configs: Sequence[Object], part: str) -> tuple[str, Object] | None:
    """The config that says something of a kind about an image, with the prefix by which it does."""
    found = [
        (prefix, config)
        for config in configs
        if isinstance(spec_of(config).get(part), dict)
        for each in spec_of(config).get("matchImages") or ()
        if isinstance(each, dict) and isinstance(prefix := each.get("prefix"), str) and package.startswith(prefix)
    ]
    return max(found, key=lambda pair: (len(pair[0]), str(meta(pair[1])["name"])), default=None)


def _member(config: Object, *names: str) -> str:
    value: Any = spec_of(config)
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


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


def deployment(
    function: Object,
    revision: Object,
    namespace: str,
    config: Object,
    certificate: str,
    pulled: Image | None = None,
    bounds: Bounds | None = None,
) -> Object:
    """Its Pods; `certificate` changes with what they serve with, `pulled` is their image if that is not the package's own."""
    wanted = spec_of(function)
    pulled = pulled or Image(wanted["package"])
    pod = _pod(function, revision, config)
    container = pod["containers"][0]
    container |= {"image": pulled.reference, "imagePullPolicy": wanted.get("packagePullPolicy") or "IfNotPresent"}
    if bounds is not None:
        resources = {"limits": dict(bounds.limits), "requests": dict(bounds.requests)}
        if given := {name: value for name, value in resources.items() if value}:
            container["resources"] = given
        if bounds.node_selector:
            pod["nodeSelector"] = dict(bounds.node_selector)
    secrets = [
        *copy.deepcopy(wanted.get("packagePullSecrets") or []),
        *({"name": name} for name in pulled.pull_secrets),
    ]
    if secrets:
        pod["imagePullSecrets"] = secrets
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
