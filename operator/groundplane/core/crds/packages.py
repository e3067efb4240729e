"""`pkg.crossplane.io`: packages, as accepted declarations; and `secrets.crossplane.io` StoreConfig.

What packages bring is built in, so most fields are taken for the manifests' sake.  Where nothing of ours reads a field,
it may have any shape: a manifest that upstream takes is never refused here.
"""

from __future__ import annotations

from collections.abc import Iterable

from groundplane.core.crds.build import crd, version
from groundplane.core.objects import Object
from groundplane.core.openapi import (
    AGE,
    Schema,
    array,
    boolean,
    column,
    condition_column,
    conditions,
    enum,
    free,
    integer,
    named,
    obj,
    root,
    string,
    strings,
    unseen,
)

GROUP = "pkg.crossplane.io"
ACCEPTED = "Accepted for compatibility; has no effect."
RUN = "Counts for Functions that are run here; nothing else is pulled or run."
RUNTIME_KINDS = ("Provider", "Function")
PACKAGES = ("Provider", "Function", "Configuration")

_PACKAGE_COLUMNS = (
    condition_column("INSTALLED", "Installed"),
    condition_column("HEALTHY", "Healthy"),
    column("PACKAGE", ".spec.package"),
    AGE,
)
_RUNTIME_COLUMNS = (
    condition_column("RUNTIME-HEALTHY", "RuntimeHealthy"),
    condition_column("RUNTIME-ACTIVE", "RuntimeActive"),
)
COLUMNS_OF_V2 = tuple(str(each["name"]) for each in _RUNTIME_COLUMNS)
"""Printer columns that v1.20 does not have."""


def crds() -> list[Object]:
    """Packages and their revisions, runtime and image settings, the lock; StoreConfig."""
    found = []
    for kind in PACKAGES:
        versions = ("v1", "v1beta1") if kind == "Function" else ("v1",)  # Functions became v1 with Crossplane v1.17
        package = [version(name, _package(kind), _PACKAGE_COLUMNS) for name in versions]
        revision = [version(name, _revision(kind), _revision_columns(kind)) for name in versions]
        found.append(crd(GROUP, kind, package, categories=["crossplane", "pkg"]))
        found.append(crd(GROUP, f"{kind}Revision", revision, categories=["crossplane", "pkgrev"]))
    found += [
        _setting("DeploymentRuntimeConfig", "v1beta1", _runtime_config()),
        _setting("ImageConfig", "v1beta1", _image_config()),
        crd(GROUP, "Lock", [version("v1beta1", _lock())]),
        crd(GROUP, "ControllerConfig", [_ignored("v1alpha1", "ControllerConfig")]),
        _store_config(),
    ]
    return found


def _setting(kind: str, name: str, schema: Schema) -> Object:
    return crd(GROUP, kind, [version(name, schema, has_status=False)])


def _revision_columns(kind: str) -> list[Schema]:
    return [
        condition_column("HEALTHY", "Healthy"),
        *(_RUNTIME_COLUMNS if kind in RUNTIME_KINDS else ()),
        column("REVISION", ".spec.revision", wide=True),
        column("IMAGE", ".spec.image"),
        column("STATE", ".spec.desiredState"),
        column("DEP-FOUND", ".status.foundDependencies", wide=True),
        column("DEP-INSTALLED", ".status.installedDependencies", wide=True),
        AGE,
    ]


def _store_config() -> Object:
    columns = [AGE, column("TYPE", ".spec.type"), column("DEFAULT-SCOPE", ".spec.defaultScope")]
    ignored = _ignored("v1alpha1", "StoreConfig", columns)
    return crd("secrets.crossplane.io", "StoreConfig", [ignored], categories=["crossplane", "store"])


def _ignored(name: str, kind: str, columns: Iterable[Schema] = (AGE,)) -> Schema:
    """A kind that v2 removed: its manifests are taken, with a warning."""
    schema = root(
        f"A {kind} is accepted and ignored: upstream removed the kind.",
        spec=free(ACCEPTED),
        status=_status(),
    )
    return version(
        name, schema, columns, deprecated=f"{kind} was removed from Crossplane v2; it is accepted and ignored"
    )


def _status(description: str = "What was found out about it.") -> Schema:
    return obj({"conditions": conditions()}, description, preserve=True)


def _pulling() -> Schema:
    """The fields that a package and its revisions share."""
    return {
        "packagePullPolicy": string(f"When the image is pulled. {RUN}", default="IfNotPresent"),
        "packagePullSecrets": array(free(), f"Secrets for the registry. {RUN}"),
        "ignoreCrossplaneConstraints": boolean(f"Install whatever version is demanded. {ACCEPTED}", default=False),
        "skipDependencyResolution": boolean(f"Don't install dependencies. {ACCEPTED}", default=False),
        "commonLabels": strings(f"Labels of everything in the package. {ACCEPTED}"),
        "commonAnnotations": strings(f"Annotations of everything in the package. {ACCEPTED}"),
    }


def _running(kind: str) -> Schema:
    if kind not in RUNTIME_KINDS:
        return {}
    runtime = obj(
        {
            "apiVersion": string("Its API version.", default="pkg.crossplane.io/v1beta1"),
            "kind": string("Its kind.", default="DeploymentRuntimeConfig"),
            "name": string("Its name."),
        },
        f"The DeploymentRuntimeConfig. {RUN}",
        required=["name"],
        default={"name": "default"},
    )
    return {
        "runtimeConfigRef": runtime,
        "controllerConfigRef": named(f"The ControllerConfig. {ACCEPTED}", of="The ControllerConfig"),
    }


def _package(kind: str) -> Schema:
    spec = obj(
        {
            "package": string("The package's image, such as xpkg.upbound.io/upbound/provider-aws-rds:v1.21.0."),
            "revisionActivationPolicy": string(
                "Automatic or Manual: whether a new revision becomes active by itself.  What is built in works in either case.",
                default="Automatic",
            ),
            "revisionHistoryLimit": integer(
                "How many old revisions are kept; 0: all.  Of Functions that are run here, none is.", default=1
            ),
            **_pulling(),
            **_running(kind),
        },
        "What is to be installed.",
        required=["package"],
    )
    return root(
        f"A {kind} declares a package. Those whose content is built in are healthy at once.",
        spec=spec,
        status=unseen(_status("Whether the package's content is there.")),
    )


def _revision(kind: str) -> Schema:
    spec = obj(
        {
            "desiredState": enum(["Inactive", "Active"], "Whether this revision is the one in use."),
            "image": string("The package's image."),
            "revision": integer("Counts the revisions of one package."),
            **_pulling(),
            **_running(kind),
        },
        "The package as it was.",
        required=["desiredState", "image", "revision"],
        preserve=True,
    )
    return root(f"A {kind}Revision is made for a {kind}; not to be edited.", spec=spec, status=_status())


def _runtime_config() -> Schema:
    spec = obj(
        {
            "deploymentTemplate": free("The Deployment of the package."),
            "serviceTemplate": free("The Service of the package."),
            "serviceAccountTemplate": free("The ServiceAccount of the package."),
        },
        "What is laid over what a function's package runs as.",
    )
    return root("A DeploymentRuntimeConfig says how packages of functions run.", spec=spec)


def _image_config() -> Schema:
    match = obj(
        {
            "type": enum(["Prefix"], "How to compare.", default="Prefix"),
            "prefix": string("What the image's name starts with."),
        },
        required=["prefix", "type"],
    )
    spec = obj(
        {
            "matchImages": array(match, "The images it is for.", minItems=1),
            "registry": free("How to log in to the registry."),
            "verification": free("How to verify signatures. It is not done: such a function is not run."),
            "rewriteImage": free("Where to pull from instead."),
            "runtime": free("Which DeploymentRuntimeConfig they run with that name none themselves."),
        },
        "How the images of functions that are run are pulled.",
        required=["matchImages"],
    )
    return root("An ImageConfig says how images of packages are pulled.", spec=spec)


def _lock() -> Schema:
    return root(
        "The Lock lists the packages that are installed, with what they depend on.",
        packages=array(free("One package."), "The packages."),
        status=_status(),
    )
