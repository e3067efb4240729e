"""`apiextensions.crossplane.io`: ManagedResourceDefinition and ManagedResourceActivationPolicy.

A managed definition is a CustomResourceDefinition that is not there before it is wanted: the same fields, and a state.
Source: the CRDs of Crossplane v2.3 (names, types, defaults, rules); the descriptions are ours.
"""

from __future__ import annotations

from groundplane.core.activation import ACTIVE, DEFINITION, INACTIVE, POLICY
from groundplane.core.crds.apiextensions import LOWER_CASE, conversion, printed, scale
from groundplane.core.crds.build import crd, version
from groundplane.core.crds.composition import GROUP, IMMUTABLE
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
    obj,
    root,
    ruled,
    string,
    unseen,
)

STAYS_ACTIVE = ("self == oldSelf || oldSelf != 'Active'", "state cannot be changed once it becomes Active")
ATOMIC = {"x-kubernetes-list-type": "atomic"}


def crds() -> list[Object]:
    """ManagedResourceDefinition and ManagedResourceActivationPolicy."""
    columns = [column("STATE", ".spec.state"), condition_column("ESTABLISHED", "Established"), AGE]
    return [
        crd(GROUP, DEFINITION, [version("v1alpha1", _definition(), columns)], short=["mrd", "mrds"]),
        crd(
            GROUP,
            POLICY,
            [version("v1alpha1", _policy())],
            plural="managedresourceactivationpolicies",
            short=["mrap"],
        ),
    ]


def _policy() -> Schema:
    globs = array(
        string(),
        "Names of managed definitions, as shell globs: *.rds.aws.upbound.io. Those that fit become Active, and stay so.",
        minItems=1,
    )
    status = obj(
        {
            "conditions": conditions(),
            "activated": array(string(), "The managed definitions that fit and are Active, sorted."),
        },
        "What has been activated.",
    )
    return root(
        "A ManagedResourceActivationPolicy says which managed definitions become Active, those to come included.",
        spec=obj({"activate": globs}, "What is to be activated.", required=["activate"]),
        status=unseen(status),
    )


def _definition() -> Schema:
    return root(
        "A ManagedResourceDefinition holds a managed kind's CustomResourceDefinition, which is made once it is Active.",
        spec=_spec(),
        status=unseen(obj({"conditions": conditions()}, "What has become of the definition.")),
    )


def _spec() -> Schema:
    detail = obj(
        {"name": string("The key."), "description": string("What it holds.")}, required=["name", "description"]
    )
    return obj(
        {
            "group": ruled(string("The API group, such as rds.aws.upbound.io."), IMMUTABLE),
            "names": _names(),
            "scope": ruled(
                enum(["Namespaced", "Cluster"], "Where objects of the kind live.", default="Namespaced"), IMMUTABLE
            ),
            "versions": array(_version(), "The versions of the API. Exactly one is stored.", **ATOMIC),
            "conversion": conversion(),
            "preserveUnknownFields": boolean("Keep fields that no schema has. Kubernetes no longer takes true."),
            "connectionDetails": array(detail, "The keys that the connection Secrets of such objects have."),
            "state": ruled(
                enum(
                    [ACTIVE, INACTIVE],
                    "Active: the CustomResourceDefinition is made. There is no way back.",
                    default=INACTIVE,
                ),
                STAYS_ACTIVE,
            ),
        },
        "The CustomResourceDefinition, and whether it is to be made.",
        required=["group", "names", "scope", "versions"],
    )


def _names() -> Schema:
    return obj(
        {
            "kind": string("In CamelCase, singular."),
            "plural": string("In lower case; part of the URL and, with the group, of the definition's name."),
            "singular": string("In lower case; the lower-case kind if absent."),
            "listKind": string("The kind of a list; <kind>List if absent."),
            "shortNames": array(string(), "Short names for kubectl.", **ATOMIC),
            "categories": array(string(), "Groups of kinds, for kubectl get <category>.", **ATOMIC),
        },
        "What the kind is called.",
        required=["kind", "plural"],
        rules=[IMMUTABLE, *LOWER_CASE],
    )


def _version() -> Schema:
    selectable = obj({"jsonPath": string("The field, such as .spec.region.")}, required=["jsonPath"])
    return obj(
        {
            "name": string("The version, such as v1beta1."),
            "served": boolean("Whether the API server serves it."),
            "storage": boolean("Whether objects are stored in it; true for exactly one version."),
            "deprecated": boolean("Whether its users are warned."),
            "deprecationWarning": string("The warning."),
            "schema": obj({"openAPIV3Schema": free("OpenAPI v3.")}, "The shape of objects."),
            "additionalPrinterColumns": array(printed(), "Columns of kubectl get.", **ATOMIC),
            "subresources": obj(
                {"scale": scale(), "status": obj(description="Makes status a subresource.")}, "Subresources."
            ),
            "selectableFields": array(selectable, "Fields that a field selector may name.", **ATOMIC),
        },
        required=["name", "served", "storage"],
    )
