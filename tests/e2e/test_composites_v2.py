"""Composites of Crossplane v2 on a real API server: both ways of composing, revisions, requests, and the end of their definition."""

from __future__ import annotations

import json

import pytest

from tests.definitions import definition
from tests.e2e import guide
from tests.e2e.test_claims import ARGO, ARGO_LABELS, FLUX, WAYS, marked

GROUP = "modern.example.org"
NAMESPACE = "team-v2"
MODES = ("pipeline", "resources")
XRD = definition(
    "Shop",
    GROUP,
    scope="Namespaced",
    spec={"size": {"type": "string"}},
    status={"seen": {"type": "string"}},
    defaultCompositionRevisionSelector={"matchLabels": {"channel": "stable"}},
)


def template(kind, size):
    base = {"apiVersion": "v1", "kind": kind}
    base["data" if kind == "ConfigMap" else "stringData"] = {"made": size}
    patches = [
        {"type": "FromCompositeFieldPath", "fromFieldPath": "spec.size", "toFieldPath": "metadata.labels[size]"},
        {"type": "ToCompositeFieldPath", "fromFieldPath": "metadata.labels[size]", "toFieldPath": "status.seen"},
    ]
    return {"name": "settings", "base": base, "patches": patches, "readinessChecks": [{"type": "None"}]}


def composition(name, channel, *, kind="ConfigMap", size="one"):
    templates = [template(kind, size)]
    given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": templates}
    step = {"step": "patch", "functionRef": {"name": "function-patch-and-transform"}, "input": given}
    return {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": f"shop-{name}", "labels": {"channel": channel}},
        "spec": {"compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "Shop"}}
        | ({"mode": "Pipeline", "pipeline": [step]} if name == "pipeline" else {"resources": templates}),
    }


TEMPLATE = """
{{ $shop := getCompositeResource . }}
apiVersion: meta.gotemplating.fn.crossplane.io/v1alpha1
kind: ExtraResources
requirements:
  site: {apiVersion: v1, kind: ConfigMap, matchName: site, namespace: {{ $shop.metadata.namespace }}}
---
{{ range $index, $resource := getExtraResources . "site" }}
apiVersion: v1
kind: ConfigMap
metadata:
  annotations:
    {{ setResourceNameAnnotation (printf "settings-%d" $index) }}
data:
  made: {{ $shop.spec.size | upper | quote }}
  region: {{ .resource.data.region }}
{{ end }}
---
apiVersion: {{ $shop.apiVersion }}
kind: {{ $shop.kind }}
status:
  seen: {{ dig "data" "region" "nowhere" (getComposedResource . "settings-0") }}
"""


def templated():
    """A composition that is a template, and asks for another object."""
    made = composition("pipeline", "stable")
    given = {
        "apiVersion": "gotemplating.fn.crossplane.io/v1beta1",
        "kind": "GoTemplate",
        "source": "Inline",
        "inline": {"template": TEMPLATE},
    }
    made["metadata"]["name"] = "shop-templated"
    made["spec"]["pipeline"] = [
        {"step": "render", "functionRef": {"name": "function-go-templating"}, "input": given},
        {"step": "ready", "functionRef": {"name": "function-auto-ready"}},
    ]
    return made


def composite(name):
    machinery = {"compositionUpdatePolicy": "Automatic", "compositionRef": {"name": f"shop-{name}"}}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Shop",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"size": "small", "crossplane": machinery},
    }


@pytest.fixture
def shops(plane, operator):
    plane.kubectl("create", "namespace", NAMESPACE, check=False)
    plane.apply(XRD)
    plane.wait("the kind", lambda: plane.get("shops", "-n", NAMESPACE) is not None)
    yield
    names = [f"composition/shop-{name}" for name in (*MODES, "templated", "astray")]
    plane.kubectl("delete", f"xrd/shops.{GROUP}", *names, "--wait=false", "--ignore-not-found")
    plane.wait("the definition goes, with its composites", lambda: plane.get("xrd", f"shops.{GROUP}") is None)
    assert plane.get("configmaps,secrets", "-n", NAMESPACE, "-l", "crossplane.io/composite")["items"] == []


def test_composites_in_a_namespace_from_their_compositions_to_the_end_of_their_definition(plane, operator, shops):
    def shop(name):
        return plane.get("shop", name, "-n", NAMESPACE)

    def composed(name, kind="configmaps"):
        return plane.get(kind, "-n", NAMESPACE, "-l", f"crossplane.io/composite={name}")["items"]

    def is_ready(name):
        found = (shop(name).get("status") or {}).get("conditions") or ()
        told = {entry["type"]: entry["status"] for entry in found}
        return told == {"Ready": "True", "Synced": "True", "Responsive": "True"}

    plane.apply(*(composition(name, "stable") for name in MODES), *(composite(name) for name in MODES))
    for name in MODES:
        plane.wait("it is ready", lambda name=name: is_ready(name))
        plane.wait("its status", lambda name=name: shop(name)["status"].get("seen") == "small")
        [settings] = composed(name)
        assert settings["metadata"]["labels"] == {"crossplane.io/composite": name, "size": "small"}
        selector = shop(name)["spec"]["crossplane"]["compositionRevisionSelector"]
        assert selector == {"matchLabels": {"channel": "stable"}}

    site = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "site", "namespace": NAMESPACE},
        "data": {"region": "eu"},
    }
    plane.apply(templated(), composite("templated"), site)
    plane.wait("what it asked for", lambda: (shop("templated").get("status") or {}).get("seen") == "eu")
    plane.wait("it is ready", lambda: is_ready("templated"))
    [settings] = composed("templated")
    assert settings["data"] == {"made": "SMALL", "region": "eu"}
    plane.apply(site | {"data": {"region": "us"}})
    plane.wait("a change of what it asked for", lambda: shop("templated")["status"].get("seen") == "us")

    plane.apply(composition("pipeline", "beta", size="two"))
    plane.wait("its revision", lambda: len(plane.get("compositionrevisions", "-l", "channel=beta")["items"]) == 1)
    plane.kubectl("annotate", "shop", "pipeline", "-n", NAMESPACE, "crossplane.io/reconcile-requested-at=now")
    plane.wait("the answer", lambda: shop("pipeline")["status"].get("lastHandledReconcileAt") == "now")
    [settings] = composed("pipeline")
    assert settings["data"] == {"made": "one"}, "the definition's selector keeps it at its channel"

    plane.apply(composition("pipeline", "stable", kind="Secret"))
    plane.wait("the other kind", lambda: composed("pipeline", "secrets"))
    plane.wait("it is ready", lambda: is_ready("pipeline"))
    assert composed("pipeline") == [settings], "what the template made before stays"

    astray = composition("resources", "beta")
    astray["metadata"]["name"] = "shop-astray"
    astray["spec"]["resources"][0] |= {"base": {"apiVersion": "v1", "kind": "Namespace"}, "patches": []}
    plane.apply(astray)

    def fit():
        found = (plane.get("composition", "shop-astray").get("status") or {}).get("conditions") or ()
        return next((entry["message"] for entry in found if entry["type"] == "FitsSchemas"), "")

    plane.wait(
        "what it can't own",
        lambda: "base.apiVersion: Namespace is cluster-scoped: a composite in a namespace can't own it" in fit(),
    )


@pytest.mark.soak
def test_a_composite_that_is_applied_again_a_thousand_times_in_each_tools_way_takes_no_write(plane, operator, shops):
    """`shops` is of one test, so each way is tried in turn."""

    def is_made():
        return plane.get("configmaps", "-n", NAMESPACE, "-l", "crossplane.io/composite=pipeline")["items"]

    for options, labels, notes in WAYS.values():
        made = (XRD, composition("pipeline", "stable"), composite("pipeline"))
        objects = [marked(each, {**each["metadata"].get("labels", {}), **labels}, notes) for each in made]
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        plane.kubectl("apply", *options, "-f", "-", input=manifest)
        plane.wait("it is made", is_made)
        guide.at_rest(plane, seconds=1)
        before = len(plane.requests())
        for _ in range(250):
            plane.kubectl("apply", *options, "-f", "-", input=manifest)
        guide.at_rest(plane, seconds=1)
        assert guide.writes(plane, before) == []
        marks = [
            mark for each in is_made() for part in ("labels", "annotations") for mark in each["metadata"].get(part, {})
        ]
        assert not {*marks} & {*ARGO, *ARGO_LABELS, *FLUX}
