"""Managed definitions and policies for tests: the kind Vault, whose objects nobody reconciles."""

from __future__ import annotations

from groundplane.core.objects import Key

VERSION = "apiextensions.crossplane.io/v1alpha1"
GROUP = "vaults.example.org"


def definition(plural="vaults", group=GROUP, state=None, fields=("size",), **spec):
    kind = plural[:-1].capitalize()
    properties = {name: {"type": "string"} for name in fields}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": properties},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "SIZE", "type": "string", "jsonPath": ".spec.size"}],
    }
    made = {
        "group": group,
        "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "categories": ["managed"]},
        "scope": "Cluster",
        "versions": [version],
        "connectionDetails": [{"name": "host", "description": "Where it is."}],
        **spec,
    }
    return {
        "apiVersion": VERSION,
        "kind": "ManagedResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": made | ({"state": state} if state else {}),
    }


def policy(*globs, name="mine"):
    return {
        "apiVersion": VERSION,
        "kind": "ManagedResourceActivationPolicy",
        "metadata": {"name": name},
        "spec": {"activate": list(globs)},
    }


def key(name=f"vaults.{GROUP}"):
    return Key(VERSION, "ManagedResourceDefinition", "", name)


def policy_key(name="mine"):
    return Key(VERSION, "ManagedResourceActivationPolicy", "", name)


def crd_key(name=f"vaults.{GROUP}"):
    return Key("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name)
