"""A control plane in memory that has what is in files, and nothing else: what `review` compares, and `explain` looks at without any cluster.

Nothing is called: managed resources count as made as soon as they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from groundplane.errors import GroundplaneError, NoSuchKind, Rejected

if TYPE_CHECKING:
    from groundplane.cli.documents import Document
    from groundplane.core.objects import Key, Object
    from groundplane.runtime.overlay import Overlay

MANAGER = "groundplane-files"
CLUSTER_SCOPED = {  # of Kubernetes' own kinds
    *(
        "ClusterRole",
        "ClusterRoleBinding",
        "CSIDriver",
        "FlowSchema",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Node",
    ),
    *("PersistentVolume", "PriorityClass", "PriorityLevelConfiguration", "RuntimeClass", "StorageClass"),
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration"),
}


async def made(documents: Sequence[Document]) -> Overlay:
    """With the kinds that the objects in files need, and what they log in with; none of the objects is applied yet."""
    from groundplane.core.function_sources import Rules
    from groundplane.ports import Options
    from groundplane.runtime import clouds, logs
    from groundplane.runtime.overlay import Copy, Overlay
    from groundplane.runtime.planning import Looking
    from groundplane.runtime.trial import lacking

    logs.configure("text", "critical")
    cluster = Copy()
    objects = [each.object for each in documents]
    for crd in _kinds(objects):
        await cluster.apply(crd, manager=MANAGER)
    looking = Looking(clouds.looking(lambda: None), refresh=False)  # nothing is called: what is asked for is there
    looking.is_on = True
    overlay = Overlay(cluster, options=Options(functions=Rules(develops=True)), cloud=looking)
    for config in lacking(objects):
        await cluster.apply(config, manager=MANAGER)
    return overlay


async def applied(overlay: Overlay, documents: Sequence[Document], refused: dict[str, str]) -> set[Key]:
    """Apply what is of a kind that is known here; which objects these are.  What is refused: with its place, by what is said."""
    from groundplane.cli.overlaid import rank
    from groundplane.core.objects import key_of, meta
    from groundplane.core.testing import is_test

    found: set[Key] = set()
    for document in sorted(documents, key=lambda each: rank(each.object)):
        obj = document.object
        if meta(obj).get("uid"):  # of an object that was somewhere else: what is made here gets its own
            obj = {**obj, "metadata": {name: value for name, value in meta(obj).items() if name != "uid"}}
        if is_test(obj) or not meta(obj).get("name") or "apiVersion" not in obj:
            continue
        try:
            resource = await overlay.cluster.resource(obj["apiVersion"], obj["kind"])
            if resource.namespaced and not meta(obj).get("namespace"):
                obj = {**obj, "metadata": {**meta(obj), "namespace": "default"}}
            await overlay.apply(obj)
            found.add(key_of(obj))
        except NoSuchKind:
            continue  # what else lies there: a chart's values, a pipeline of CI
        except GroundplaneError as error:
            text = f"{obj['kind']}/{meta(obj)['name']}: {error}"
            refused[text] = f"{text} ({document.place(error.field if isinstance(error, Rejected) else '')})"
            if overlay.cluster.peek(key_of(obj)) is not None:
                found.add(key_of(obj))  # it stays as it was
        await overlay.settle()
    return found


def _kinds(objects: Iterable[Object]) -> Iterator[Object]:
    """The definitions of what the control plane brings along, as far as the objects, or templates in them, speak of it."""
    from groundplane.aws import catalogue
    from groundplane.aws import crds as aws
    from groundplane.cli.iam_policy import mentioned
    from groundplane.cli.overlaid import definition_of
    from groundplane.cli.store import Served
    from groundplane.cluster import kubernetes_schemas
    from groundplane.cluster.kinds import BUILT_IN, PLAIN
    from groundplane.core.crds import crds
    from groundplane.runtime import clouds

    yield from crds()
    yield from aws.configs()
    named = {pair for each in objects for pair in mentioned(each)}
    files = {}
    for api_version, kind in sorted(named):
        if (known := catalogue.lookup(api_version, kind)) is not None:
            files[known.group, known.kind] = known
        elif (api_version, kind) not in BUILT_IN | PLAIN and (schema := kubernetes_schemas.schema(api_version, kind)):
            served = Served(api_version, kind, f"{kind.lower()}s", kind.lower(), kind not in CLUSTER_SCOPED)
            yield definition_of(served, schema)
    for known in files.values():
        yield aws.of_kind(known, docs=False, strict_upstream=False)
    if any("sql." in api_version or "nop." in api_version for api_version, _ in named):
        yield from (each for each in clouds.crds(docs=False) if "aws" not in each["spec"]["group"])
