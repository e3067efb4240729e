"""A Function whose package is not built in, and that is served nowhere, is run here: its certificate, Deployment and Service.

Another package is another revision with a Deployment of its own.  The Service goes over to it once it is available; only then the
old revision goes, and its Deployment with it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from groundplane.core import function_runtime as runtime
from groundplane.core.function_sources import CLIENT_SECRET
from groundplane.core.objects import Key, Object, meta, owner_reference, spec_of, status_of
from groundplane.errors import Awaited, InvalidInput, NoSuchKind, Waiting
from groundplane.ports import Certifier, Context

MANAGER = "pkg.crossplane.io/functionrevision"
CONFIG_VERSION = "pkg.crossplane.io/v1beta1"


@dataclass(frozen=True)
class Running:
    """How it stands."""

    problem: str = ""  # why its Pods do not serve; "": they do
    is_served: bool = False  # the Service leads to this revision


async def run(package: Object, revision: Object, certifier: Certifier, context: Context) -> Running:
    """Bring what runs in line with a Function; `revision` is that of its package as it is."""
    namespace = context.options.namespace
    try:
        images = await _image_configs(context)
        config = await _config(runtime.config_name(package, images), context)
        pulled = runtime.image(str(spec_of(package)["package"]), images)
        runtime.check_image(pulled.reference, context.options.function_bounds)
        service = runtime.service_name(package, config)
        owner = owner_reference(package)
        await certifier.ensure(CLIENT_SECRET, ["crossplane"], None)
        certificate = await certifier.ensure(runtime.server_secret(package), runtime.hosts(service, namespace), owner)
        bounds = context.options.function_bounds
        wanted = runtime.deployment(package, revision, namespace, config, certificate, pulled, bounds)
        runtime.check_pod(wanted, bounds)
    except (InvalidInput, Waiting) as error:
        return Running(str(error))
    await context.cluster.apply(runtime.service_account(revision, namespace, config), manager=MANAGER)
    made = await context.cluster.apply(wanted, manager=MANAGER)
    problem = runtime.problem(made)
    if problem and not status_of(revision).get("endpoint") and await _has_predecessor(package, revision, context):
        return Running(problem)
    await context.cluster.apply(runtime.service(package, revision, namespace, config), manager=MANAGER)
    served = copy.deepcopy(revision)
    served.setdefault("status", {})["endpoint"] = runtime.endpoint(service, namespace)
    await context.cluster.update(served, subresource="status")
    return Running(problem, is_served=True)


async def _has_predecessor(package: Object, revision: Object, context: Context) -> bool:
    """Whether another revision of ours serves."""
    kind = f"{package['kind']}Revision"
    label = {"pkg.crossplane.io/package": meta(package)["name"]}
    found = await context.cluster.list(package["apiVersion"], kind, labels=label)
    return any(meta(each)["uid"] != meta(revision)["uid"] and status_of(each).get("endpoint") for each in found)


async def _image_configs(context: Context) -> list[Object]:
    try:
        return await context.cluster.list(CONFIG_VERSION, "ImageConfig")
    except NoSuchKind:
        return []


async def _config(name: str, context: Context) -> Object:
    """The DeploymentRuntimeConfig of that name; the one that is named default may be absent."""
    try:
        found = await context.cluster.get(Key(CONFIG_VERSION, "DeploymentRuntimeConfig", "", name))
    except NoSuchKind:
        found = None
    if found is None and name != "default":
        raise Waiting(
            f'DeploymentRuntimeConfig "{name}" not found',
            mend="apply it, or correct spec.runtimeConfigRef, or the ImageConfig that names it",
            on=[Awaited("pkg.crossplane.io", "DeploymentRuntimeConfig", name=name)],
        )
    return found or {}
