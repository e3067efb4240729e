"""What of manifests stands in the way of Crossplane v2, as `crossplane beta upgrade check` looks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from groundplane.core import known_schemas
from groundplane.core.definition import GROUP
from groundplane.core.objects import Object, group_of, key_of, meta, spec_of


@dataclass(frozen=True)
class Category:
    """One kind of what Crossplane v2 has no more, and where it is used."""

    id: str
    title: str
    fix: str
    uses: Sequence[str]
    informational: bool = False


def categories(objects: Sequence[Object]) -> list[Category]:
    """What `crossplane beta upgrade check` looks for, in manifests."""
    native, configs, stores, unqualified, details = [], [], [], [], []
    for obj in objects:
        group, kind, spec = group_of(str(obj.get("apiVersion") or "")), obj.get("kind"), spec_of(obj)
        name = str(key_of(obj)) if meta(obj).get("name") else str(kind)
        if group == GROUP and kind == "Composition":
            if spec.get("mode") != "Pipeline" and not (spec.get("pipeline") and not spec.get("resources")):
                native.append(name)
            if spec.get("publishConnectionDetailsWithStoreConfigRef"):
                stores.append(name)
        if kind == "ControllerConfig" or (group == "pkg.crossplane.io" and spec.get("controllerConfigRef")):
            configs.append(name)
        if kind == "StoreConfig" or spec.get("publishConnectionDetailsTo"):
            stores.append(name)
        package = spec.get("package")
        if group == "pkg.crossplane.io" and isinstance(package, str) and "." not in package.partition("/")[0]:
            unqualified.append(f"{name} ({package})")
        if known_schemas.is_definition(obj) and spec.get("connectionSecretKeys"):
            details.append(name)
    return [
        Category(
            "native-patch-and-transform",
            "Native patch and transform",
            "groundplane convert pipeline-composition",
            native,
        ),
        Category(
            "controller-config",
            "ControllerConfigs",
            "groundplane convert deployment-runtime; name the result in runtimeConfigRef",
            configs,
        ),
        Category("external-secret-stores", "External secret stores", "write connection details to Secrets", stores),
        Category(
            "unqualified-package-source",
            "Packages without a registry",
            "write the registry: xpkg.crossplane.io/…",
            unqualified,
        ),
        Category(
            "composite-connection-details",
            "Connection details of composites",
            "compose a Secret in a template, and let programs read that",
            details,
            informational=True,
        ),
    ]
