"""The definitions of Object, ObservedObjectCollection and their accounts: upstream's names and types, our prose.

v1alpha1 and v1alpha2 of Object have one schema, which knows the fields of both: so they are converted by their name alone, without a webhook.
"""

from __future__ import annotations

from groundplane.core.crds import bricks
from groundplane.core.objects import Object
from groundplane.core.openapi import (
    Schema,
    array,
    boolean,
    column,
    embedded,
    enum,
    handled_request,
    obj,
    ruled,
    string,
    strings,
    unseen,
)
from groundplane.core.providers import COLLECTION
from groundplane.objects.kinds import DOMAIN, NAMESPACED_DOMAIN, OBJECT, OBJECT_VERSIONS, VERSION
from groundplane.ports import ManagedKind

POLICIES = ["SuccessfulCreate", "DeriveFromObject", "AllTrue", "DeriveFromCelQuery"]
SOURCES = ["None", "Secret", "InjectedIdentity", "Environment", "Filesystem"]
IDENTITIES = [
    "GoogleApplicationCredentials",
    "AzureServicePrincipalCredentials",
    "AzureWorkloadIdentityCredentials",
    "UpboundTokens",
    "AWSWebIdentityCredentials",
    "NebiusServiceAccountCredentials",
]
CEL_SET = (
    "self.policy != 'DeriveFromCelQuery' || (has(self.celQuery) && size(self.celQuery) > 0)",
    "celQuery must be set if policy is DeriveFromCelQuery",
)
SHORT_NAME = ("size(self.metadata.name) < 64", "metadata.name max length is 63")


def crds() -> list[Object]:
    """All of them, of both generations."""
    return [
        *(_object(domain) for domain in OBJECT_VERSIONS),
        *(_collection(domain) for domain in OBJECT_VERSIONS),
        *configs(),
    ]


def configs() -> list[Object]:
    """Those of ProviderConfigs and their usages."""
    made = []
    for domain in (DOMAIN, NAMESPACED_DOMAIN):
        is_namespaced = domain == NAMESPACED_DOMAIN
        made += [_config(domain, kind) for kind in (bricks.PLAIN, bricks.CLUSTER)[: 1 + is_namespaced]]
        made.append(bricks.usage(domain, VERSION, is_namespaced=is_namespaced, category="kubernetes"))
    return made


def schema_of(kind: ManagedKind) -> Schema:
    """Of an Object."""
    namespaced = kind.namespaced
    generation = bricks.namespaced_fields() if namespaced else bricks.cluster_fields(strict_upstream=False)
    if not namespaced:
        text = "As managementPolicies, in the words of v1alpha1; counts where those say *."
        generation["managementPolicy"] = enum(["Default", "ObserveCreateUpdate", "ObserveDelete", "Observe"], text)
    text = "How what an object has made goes with it."
    propagation = enum(["Orphan", "Background", "Foreground"], text, default="Background")
    asked = obj(
        {
            "manifest": embedded("The object; without a name it has this one's."),
            "deletionPropagationPolicy": propagation,
        },
        required=["manifest"],
    )
    spec = bricks.obj(
        {
            **generation,
            **bricks.policies(),
            "connectionDetails": array(_detail(), "What the connection Secret gets."),
            "forProvider": asked,
            "readiness": _readiness(namespaced),
            "references": array(_reference(kind.group), "What it takes values from, and what it waits for."),
            "watch": boolean("Look again at each change of the object, and of what it refers to.", default=False),
        },
        required=["forProvider"],
    )
    held = obj({name: string() for name in ("apiVersion", "kind", "namespace", "name")})
    status = bricks.obj(
        {
            "atProvider": obj(
                {
                    "object": {
                        **obj({name: string() for name in ("apiVersion", "kind", "namespace", "name", "uid")}),
                        "description": "Which object was seen last: the one that goes with this Object.",
                    },
                    "manifest": embedded("The object as it was seen last; of a Secret without its data."),
                    "references": array(held, "What it keeps from being deleted."),
                }
            ),
            "conditions": bricks.conditions(),
            "lastHandledReconcileAt": handled_request(),
        }
    )
    return {**bricks.root(spec, unseen(status)), "description": "An object in a Kubernetes cluster."}


def _object(domain: str) -> Object:
    columns = [
        column("KIND", ".spec.forProvider.manifest.kind"),
        column("APIVERSION", ".spec.forProvider.manifest.apiVersion", wide=True),
        column("METANAME", ".spec.forProvider.manifest.metadata.name", wide=True),
        column("METANAMESPACE", ".spec.forProvider.manifest.metadata.namespace", wide=True),
        *_last_columns(),
    ]
    from groundplane.objects.kinds import KINDS

    preferred, *older = OBJECT_VERSIONS[domain]
    schema = schema_of(KINDS[f"{domain}/{preferred}", OBJECT])
    versions = [{**bricks.version(name, schema, columns, storage=False), "deprecated": True} for name in older]
    versions.append(bricks.version(preferred, schema, columns))
    return bricks.crd(domain, OBJECT, "objects", versions, categories=_categories("managed"), scope=_scope(domain))


def _last_columns() -> list[Schema]:
    synced, ready, age = (bricks.MANAGED_COLUMNS[place] for place in (0, 1, 3))
    return [column("PROVIDERCONFIG", ".spec.providerConfigRef.name"), synced, ready, age]


def _categories(what: str) -> list[str]:
    return ["crossplane", what, "kubernetes"]


def _scope(domain: str) -> str:
    return "Namespaced" if domain == NAMESPACED_DOMAIN else "Cluster"


def _readiness(namespaced: bool) -> Schema:
    fields = {
        "celQuery": string("An expression in CEL over the object, which is called `object`: true if it is ready."),
        "policy": enum(POLICIES, "What says whether it is ready.", default="SuccessfulCreate"),
    }
    if namespaced:
        fields["noRequeue"] = boolean("Don't look again by and by once it is ready: only at changes.", default=False)
    return ruled(obj(fields, "When it is ready; as soon as it is as it should be unless set."), CEL_SET)


def _reference(domain: str) -> Schema:
    target = {
        "apiVersion": string("Of the object.", default=f"{domain}/{VERSION}"),
        "kind": string("Of the object.", default=OBJECT),
        "name": string("Of the object."),
        "namespace": string("Of the object."),
    }
    source = {**target, "fieldPath": string("The field of the object whose value is taken.")}
    return obj(
        {
            "dependsOn": obj(target, "An object that has to be there.", required=["name"]),
            "patchesFrom": obj(source, "An object that a value is taken from.", required=["fieldPath", "name"]),
            "toFieldPath": string("The field of the manifest that gets the value; of the same path unless set."),
        }
    )


def _detail() -> Schema:
    fields = {
        "apiVersion": string("Of the object."),
        "fieldPath": string("The field of the object."),
        "kind": string("Of the object."),
        "name": string("Of the object."),
        "namespace": string("Of the object."),
        "resourceVersion": string("Not looked at."),
        "toConnectionSecretKey": string("Under which key the value is stored."),
        "uid": string("Not looked at."),
    }
    return {**obj(fields), "x-kubernetes-map-type": "atomic"}


# --- collections ------------------------------------------------------------------------------------------------


def _collection(domain: str) -> Object:
    namespaced = domain == NAMESPACED_DOMAIN
    requirement = obj(
        {
            "key": string("The label."),
            "operator": string("In, NotIn, Exists or DoesNotExist."),
            "values": {**array(string(), "For In and NotIn."), "x-kubernetes-list-type": "atomic"},
        },
        required=["key", "operator"],
    )
    selector = obj(
        {
            "matchExpressions": {**array(requirement, "All must hold."), "x-kubernetes-list-type": "atomic"},
            "matchLabels": strings("Labels that the objects have."),
        },
        "Which objects.",
    )
    criteria = obj(
        {
            "apiVersion": string("Of the objects.", minLength=1),
            "kind": string("Of the objects.", minLength=1),
            "namespace": string("Where the objects are; everywhere unless set."),
            "selector": {**selector, "x-kubernetes-map-type": "atomic"},
        },
        "Which objects are observed.",
        required=["apiVersion", "kind", "selector"],
    )
    metadata = obj({"annotations": strings("Of each Object."), "labels": strings("Of each Object.")})
    fields = bricks.namespaced_fields() if namespaced else bricks.cluster_fields(strict_upstream=False)
    spec = obj(
        {
            "objectTemplate": obj({"metadata": metadata}, "What the Objects have beyond what they observe."),
            "observeObjects": criteria,
            "providerConfigRef": fields["providerConfigRef"],
        },
        required=["observeObjects"],
    )
    status = obj(
        {
            "conditions": bricks.conditions(),
            "membershipLabel": strings("The label that all Objects of the collection have."),
        }
    )
    columns = [
        column("KIND", ".spec.observeObjects.kind"),
        column("APIVERSION", ".spec.observeObjects.apiVersion", wide=True),
        *_last_columns(),
    ]
    text = "Objects of a kind, each observed by an Object of its own."
    schema = ruled({**bricks.root(spec, unseen(status)), "description": text}, SHORT_NAME)
    made = bricks.version(VERSION, schema, columns)
    plural = f"{COLLECTION.lower()}s"
    return bricks.crd(domain, COLLECTION, plural, [made], categories=_categories("managed"), scope=_scope(domain))


# --- accounts ---------------------------------------------------------------------------------------------------


def _config(domain: str, kind: str) -> Object:
    lives_in_namespace = domain == NAMESPACED_DOMAIN and kind == bricks.PLAIN

    def source(text: str, **fields: Schema) -> Schema:
        secret = {"key": string("Under which it stands."), "name": string("The Secret's name.")}
        required = ["key", "name"] if lives_in_namespace else ["key", "name", "namespace"]
        place = string(
            "The Secret's namespace." if not lives_in_namespace else "Not looked at: it is the object's own."
        )
        return obj(
            {
                **fields,
                "env": obj({"name": string("The variable's name.")}, "An environment variable.", required=["name"]),
                "fs": obj({"path": string("The file's path.")}, "A file.", required=["path"]),
                "secretRef": obj({**secret, "namespace": place}, "The Secret that holds it.", required=required),
                "source": enum(SOURCES, "Where it comes from."),
            },
            text,
            required=["source", *fields],
        )

    impersonated = obj({"name": string(), "delegates": array(string())}, "Of Google.", required=["name"])
    identity = source(
        "A further way to log in. AWSWebIdentityCredentials with source InjectedIdentity logs in to a cluster of EKS as the operator; no other one is understood.",
        type=enum(IDENTITIES),
    )
    identity["properties"]["impersonateServiceAccount"] = impersonated
    spec = obj(
        {
            "credentials": source("The cluster: InjectedIdentity is this one, Secret a kubeconfig."),
            "identity": identity,
        },
        required=["credentials"],
    )
    scope = "Namespaced" if lives_in_namespace else "Cluster"
    return bricks.config(domain, kind, VERSION, spec, secret="secretRef", scope=scope, category="kubernetes")
