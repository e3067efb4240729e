"""Deletion in order on a real API server: what is composed goes first, the composite last, also when the operator dies in between."""

from __future__ import annotations

import collections
import signal
from dataclasses import replace

import pytest

from tests.e2e.conftest import without_aws

GROUP = "deletions.example.org"
HELD = "example.org/held"
NAMESPACE = "team-d"
ORDER = ("app", "settings", "base")  # each refers to the next one


def definition(kind, scope, **more):
    version = {"name": "v1", "served": True, "referenceable": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    names = {"kind": kind, "plural": f"{kind.lower()}s"}
    return {
        "apiVersion": f"apiextensions.crossplane.io/{'v1' if scope == 'LegacyCluster' else 'v2'}",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "versions": [version], "scope": scope} | more,
    }


def composition(kind, *, namespace=True):
    """Composes three ConfigMaps that somebody holds, each of which names the next one."""

    def resource(name, used):
        refs = {"metadata": {"finalizers": [HELD]}, "data": {"name": name}}
        patches = [
            {
                "fromFieldPath": "metadata.name",
                "toFieldPath": "metadata.name",
                "transforms": [{"type": "string", "string": {"type": "Format", "fmt": f"%s-{name}"}}],
            }
        ]
        if namespace:
            patches.append({"fromFieldPath": "spec.claimRef.namespace", "toFieldPath": "metadata.namespace"})
        if used:
            refs["spec"] = {"usedRef": {"kind": "Thing"}}
            patches.append(
                {
                    "fromFieldPath": "metadata.name",
                    "toFieldPath": "spec.usedRef.name",
                    "transforms": [{"type": "string", "string": {"type": "Format", "fmt": f"%s-{used}"}}],
                }
            )
        base = {"apiVersion": f"{GROUP}/v1", "kind": "Thing", **refs}
        return {"name": name, "base": base, "patches": patches, "readinessChecks": [{"type": "None"}]}

    resources = [resource(name, used) for name, used in zip(ORDER, (*ORDER[1:], ""), strict=True)]
    given = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": resources}
    return {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": f"{kind.lower()}-deletions"},
        "spec": {
            "compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": kind},
            "mode": "Pipeline",
            "pipeline": [
                {"step": "compose", "functionRef": {"name": "function-patch-and-transform"}, "input": given},
            ],
        },
    }


THINGS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"things.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def operator(plane, tmp_path_factory):
    with without_aws(plane, tmp_path_factory.mktemp("deletions")) as running:
        yield running


FOREGROUND = {"Shop": {"compositeDeletePolicy": "Foreground"}, "Stall": {}}  # a composite without a claim waits anyway


@pytest.fixture
def shops(plane, operator):
    """The claim kind Shop and the namespaced composite Stall, each composed of three Things."""
    plane.kubectl("create", "namespace", NAMESPACE, check=False)
    names = {"claimNames": {"kind": "Shop", "plural": "shops"}}
    kinds = [definition("XShop", "LegacyCluster", **names), definition("Stall", "Namespaced")]
    plane.apply(THINGS, *kinds, composition("XShop"), composition("Stall", namespace=False))
    for plural in ("shops", "stalls", "things"):
        kind = f"{plural}.{GROUP}"  # others have kinds of these names, too
        plane.wait(kind, lambda kind=kind: plane.get(kind, "-A") is not None)
    yield
    for name in things(plane):
        let_go(plane, name)
    plane.kubectl("delete", "xrd", f"xshops.{GROUP}", f"stalls.{GROUP}")
    plane.kubectl("delete", "composition", "xshop-deletions", "stall-deletions")
    plane.kubectl("delete", "crd", f"things.{GROUP}")


def things(plane):
    """The Things that there are, by name: whether each is being deleted."""
    found = plane.get(f"things.{GROUP}", "-n", NAMESPACE)["items"]
    return {each["metadata"]["name"]: "deletionTimestamp" in each["metadata"] for each in found}


def let_go(plane, name):
    patch = '{"metadata": {"finalizers": null}}'
    plane.kubectl("patch", f"things.{GROUP}", name, "-n", NAMESPACE, "--type=merge", "-p", patch, check=False)


def gone(plane, kind, name):
    return plane.get(f"{kind}s.{GROUP}", name, "-n", NAMESPACE) is None


def message(plane, kind, name):
    found = plane.get(f"{kind}s.{GROUP}", name, "-n", NAMESPACE).get("status", {}).get("conditions", ())
    return next((c.get("message", "") for c in found if c["type"] == "Ready" and c["reason"] == "Deleting"), "")


def create(plane, kind, **spec):
    plane.apply(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": kind,
            "metadata": {"name": "one", "namespace": NAMESPACE},
            "spec": spec,
        }
    )
    plane.wait("three things", lambda: len(things(plane)) == 3)


def suffixes(plane):
    return {name.rpartition("-")[2]: going for name, going in things(plane).items()}


@pytest.mark.parametrize("kind", ["Shop", "Stall"])
def test_deletion_goes_in_order_says_what_it_waits_for_and_survives_the_operator(plane, operator, shops, kind):
    create(plane, kind, **FOREGROUND[kind])
    plane.kubectl("delete", f"{kind}s.{GROUP}", "one", "-n", NAMESPACE, "--wait=false")
    for index, suffix in enumerate(ORDER):
        expected = {each: each == suffix for each in ORDER[index:]}
        plane.wait(f"{suffix} is being deleted", lambda e=expected: suffixes(plane) == e)
        plane.wait("the word for it", lambda s=suffix: f"-{s} to be gone" in message(plane, kind, "one"))
        assert HELD in message(plane, kind, "one")
        if index == 0:
            operator.kill()
            operator.start()
        let_go(plane, next(name for name in things(plane) if name.endswith(suffix)))
    plane.wait("it is gone", lambda: gone(plane, kind, "one"))
    assert things(plane) == {}


def test_a_namespace_with_claims_and_composites_in_it_ends(plane, operator, shops):
    create(plane, "Stall")
    plane.apply(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Shop",
            "metadata": {"name": "two", "namespace": NAMESPACE},
            "spec": {"compositeDeletePolicy": "Foreground", "writeConnectionSecretToRef": {"name": "conn"}},
        }
    )
    plane.wait("six things", lambda: len(things(plane)) == 6)
    plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    plane.wait(
        "those of the claim are being deleted", lambda: suffixes(plane) == {"app": True, "settings": True, "base": True}
    )
    for name in things(plane):
        let_go(plane, name)
    plane.wait("the namespace is gone", lambda: plane.get("namespace", NAMESPACE) is None)
    assert plane.get(f"xshops.{GROUP}")["items"] == []


def deletions(plane):
    """How often each Thing's deletion was taken: the API server's audit log."""
    found = collections.Counter()
    for entry in plane.requests():
        about = entry.get("objectRef", {})
        is_taken = entry.get("responseStatus", {}).get("code") == 200
        if (
            entry["verb"] == "delete"
            and about.get("apiGroup") == GROUP
            and about.get("resource") == "things"
            and is_taken
        ):
            found[about["name"].rpartition("-")[2]] += 1
    return found


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["Shop", "Stall"])
def test_the_order_is_kept_though_the_lease_is_handed_over_in_the_middle(plane, operator, shops, tmp_path, kind):
    create(plane, kind, **FOREGROUND[kind])
    before = deletions(plane)
    other = replace(operator, log=tmp_path / "other.log", process=None, begun=0)
    other.start()
    try:
        plane.wait("the standby waits", lambda: "standing by" in other.text())
        plane.kubectl("delete", f"{kind}s.{GROUP}", "one", "-n", NAMESPACE, "--wait=false")
        plane.wait("app is being deleted", lambda: suffixes(plane) == {"app": True, "settings": False, "base": False})
        operator.process.send_signal(signal.SIGSTOP)  # a Node that hangs, and comes back
        plane.wait("the standby leads", other.leads)
        let_go(plane, next(name for name in things(plane) if name.endswith("app")))
        plane.wait("settings is being deleted", lambda: suffixes(plane) == {"settings": True, "base": False})
        operator.process.send_signal(signal.SIGCONT)
        assert operator.process.wait(60) == 1
        operator.start()
        plane.wait("the standby's standby waits", lambda: b"standing by" in operator.log.read_bytes()[operator.begun :])
        other.kill()
        let_go(plane, next(name for name in things(plane) if name.endswith("settings")))
        plane.wait("base is being deleted", lambda: suffixes(plane) == {"base": True})
        let_go(plane, next(iter(things(plane))))
        plane.wait("it is gone", lambda: gone(plane, kind, "one"))
    finally:
        operator.process.send_signal(signal.SIGCONT)
        if other.process.poll() is None:
            other.kill()
    assert things(plane) == {}
    assert deletions(plane) - before == {"app": 1, "settings": 1, "base": 1}
