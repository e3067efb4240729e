"""The chart's rights without each rule in turn: who needs it says so, with the rule to add; nothing crashes, hangs or is silent.

Rules that have nothing to do with each other are taken away together, so that a few starts of the operator are enough.  A rule that is
new in `runtime/rights.py` goes with those of its shape; who has no object for it in `wishes` makes one, or says in SELDOM why not.
"""

from __future__ import annotations

import json
import time

import pytest

from groundplane.runtime import rights
from tests.e2e.conftest import with_kinds
from tests.e2e.release import NAMESPACE, USER, Release

GROUP, TEAM = "lacking.example.org", "lacking-team"
PATIENCE = 180  # seconds until something is said, on a busy machine: a denied right is told on the object after thirty

CORE, PACKAGES, OPS = "apiextensions.crossplane.io", "pkg.crossplane.io", "ops.crossplane.io"
PROTECTION, SQL, AWS = "protection.crossplane.io", "postgresql.sql.crossplane.io", "aws.upbound.io"
KUBERNETES = "kubernetes.crossplane.io"
MANAGED = "ec2.aws.upbound.io"  # of the managed groups; what holds for one holds for all


def rules():
    """Each rule of the chart's roles and its concern, by the concern's name and the first resource."""
    each = [
        (concern.name, rule, concern)
        for concern in rights.CONCERNS
        if concern.mode in ("", "aggregated")
        for rule in concern.rules
    ]
    each += [("managed", rule, None) for rule in rights.managed([MANAGED])]
    return {
        f"{name}: {rule.resources[0]}{f'.{rule.group}' if name in ('accounts', 'collections', 'usages') else ''}"
        f"{' by name' if rule.names else ''}": (rule, concern)
        for name, rule, concern in each
    }


# Each ends the start, with one line that has the rule.
ENDS = (
    "definitions: compositeresourcedefinitions",
    "definitions: compositions",
    "definitions: compositionrevisions",
    "kinds: customresourcedefinitions",
)
# Of what follows kinds whose objects are then not seen, so that none of them can say it: the log does.
FOLLOWED = (
    "packages: providers",
    "packages: locks",
    "usages: usages",
    "operations: cron",
    "operations: watch",
    "activation: managedresourceact",
    "collections: observedobjectcollections.",
)
# One of the others would hide these, which are asked for later by the same object.
APART = (
    "secrets: ",
    "managed: eips",
    "events: ",
    "operations: operations",
    "activation: managedresourcedefinitions",
    "packages: deploymentruntimeconfigs",
    "objects: serviceaccounts",
)
ALONE = {
    "packages: imageconfigs": "pulled",
    "functions: services": "run",
    "functions: deployments": "deployed",
    "lease: leases by name": "lease",
}
# What nothing here has a need of, and when somebody has.
SELDOM = {
    "kinds: customresourcedefinitions/status": "a definition's stored versions change",
    "lease: leases": "there is no Lease yet",
    "usages: validatingadmissionpolicies.admissionregistration.k8s.io": "webhooks are off",
    "usages: validatingadmissionpolicies.admissionregistration.k8s.io by name": "webhooks are off",
    "activation: managedresourcedefinitions/finalizers": "a managed definition of one's own makes its kind",
    "webhooks: clusterroles by name": "rbac.mode is static",
    "usages: usages/finalizers.apiextensions.crossplane.io": "a usage is what uses something",
    "usages: usages/finalizers.protection.crossplane.io": "a usage is what uses something",
}


def group_of(key):
    """Which rules are taken away together, for they have nothing to do with each other."""
    if key in SELDOM or key in ENDS:
        return ""
    if key in ALONE:
        return ALONE[key]
    if "/status" in key:
        return "status"
    if "/finalizers" in key:
        return "finalizers"
    if key.startswith(FOLLOWED) or "providerconfigs." in key:
        return "followed"
    return "apart" if key.startswith(APART) else "made"


GROUPS = {
    group: [key for key in rules() if group_of(key) == group]
    for group in ("status", "finalizers", "followed", "made", "apart", "run", "pulled", "deployed", "lease")
}
# Where it must be told, at the object; of what follows whole kinds, and of the operator's own affairs, the log will do.
NEAREST = {"status": {"condition", "event"}, "finalizers": {"condition", "event"}}


@pytest.fixture(scope="module")
def plane():
    """One of its own: what is made where rights are missing is left there."""
    with with_kinds() as running:
        yield running


@pytest.fixture(scope="module")
def release(plane, tmp_path_factory):
    values = {"args": ["--poll-interval", "300"], "function": {"runtime": "Deployment"}}
    found = Release(plane, tmp_path_factory.mktemp("release"), values)
    found.install()
    plane.kubectl("create", "namespace", TEAM, check=False)
    account = f"--serviceaccount={NAMESPACE}:{rights.OBJECTS_ACCOUNT}"
    plane.kubectl("create", "clusterrolebinding", TEAM, "--clusterrole=cluster-admin", account)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "account", "namespace": TEAM}}
    text = "[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
    plane.apply(
        secret
        | {"stringData": {"credentials": text, "username": "u", "password": "p", "endpoint": "127.0.0.1", "port": "1"}}
    )
    yield found
    found.close()
    found.uninstall()


class Without:
    """A context manager: the release's roles lack these rules."""

    def __init__(self, release, keys):
        self.release, self.plane, self.before = release, release.plane, []
        self.gone = [rules()[key] for key in keys]
        self.names = {key.partition(": ")[0] for key in keys}

    def __enter__(self):
        try:
            self._take_away()
        except AssertionError:
            self.__exit__()  # for those that come after
            raise
        return self

    def _take_away(self):
        for name in sorted(self.names):
            concern = next((each for each in rights.CONCERNS if each.name == name), None)
            kind, place = ("role", ("-n", NAMESPACE)) if concern and concern.in_namespace else ("clusterrole", ())
            role = self.plane.get(kind, f"crossplane:system:{name}", *place)
            self.before.append((kind, place, role))
            left = [rule for rule in map(self._without, role["rules"]) if rule["resources"]]
            self._set(kind, place, role, left)
        self.plane.wait("they are no longer in force", lambda: not any(self._allowed()))

    def __exit__(self, *_):
        for kind, place, role in self.before:
            self._set(kind, place, role, role["rules"])
        self.plane.wait("they are again", lambda: all(self._allowed()))

    def _without(self, rule):
        named = tuple(rule.get("resourceNames") or ())
        gone = {
            resource
            for each, _ in self.gone
            if each.group in rule["apiGroups"] and set(each.verbs) == set(rule["verbs"]) and each.names == named
            for resource in each.resources
        }
        return rule | {"resources": [each for each in rule["resources"] if each not in gone]}

    def _set(self, kind, place, role, wanted):
        patch = json.dumps([{"op": "replace", "path": "/rules", "value": wanted}])
        self.plane.kubectl("patch", kind, role["metadata"]["name"], *place, "--type=json", "-p", patch)

    def _allowed(self):
        """Of each rule, whether its last verb is allowed on its first resource."""
        reviews = []
        for rule, concern in self.gone:
            resource, _, part = rule.resources[0].partition("/")
            asked = {"group": rule.group, "resource": resource, "subresource": part, "verb": rule.verbs[-1]}
            asked |= {"name": rule.names[0]} if rule.names else {}
            asked |= {"namespace": NAMESPACE} if concern and concern.in_namespace else {}
            spec = {"user": USER, "groups": ["system:authenticated"], "resourceAttributes": asked}
            reviews.append({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
        asked = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
        path = '-o=jsonpath={.status.allowed}{"\\n"}'
        return [each == "true" for each in self.plane.kubectl("create", "-f", "-", path, input=asked).stdout.split()]


def thing(api_version, kind, name, spec, namespace="", **metadata):
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, **place, **metadata},
        "spec": spec,
    }


def pipeline(*resources):
    function = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources", "resources": list(resources)}
    return {
        "mode": "Pipeline",
        "pipeline": [{"step": "a", "functionRef": {"name": "function-patch-and-transform"}, "input": function}],
    }


def declared(name):
    """A definition of v1, and what composes its objects: a Secret."""
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "string"}}}}}
    version = {"name": "v1", "served": True, "referenceable": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": f"X{name.title()}", "plural": f"x{name}s"}
    claims = {"kind": name.title(), "plural": f"{name}s"}
    spec = {"group": GROUP, "names": names, "claimNames": claims, "versions": [version]}
    yield thing(f"{CORE}/v1", "CompositeResourceDefinition", f"{names['plural']}.{GROUP}", spec)
    base = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": TEAM}, "stringData": {"a": "b"}}
    composed = pipeline({"name": "secret", "base": base, "readinessChecks": [{"type": "None"}]})
    of = {"compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": names["kind"]}}
    yield thing(f"{CORE}/v1", "Composition", name, of | composed)


def wishes(name):
    """What people apply, one of each kind that needs rights of its own."""
    credentials = {"source": "Secret", "secretRef": {"namespace": TEAM, "name": "account", "key": "credentials"}}
    login = {"source": "PostgreSQLConnectionSecret", "connectionSecretRef": {"namespace": TEAM, "name": "account"}}
    network = {"forProvider": {"region": "eu-west-1", "cidrBlock": "10.0.0.0/16"}}
    config = {"providerConfigRef": {"name": name}}
    local = {"providerConfigRef": {"kind": "ProviderConfig", "name": name}}
    vpc = {"apiVersion": f"{MANAGED}/v1beta1", "kind": "VPC", "resourceRef": {"name": name}}
    base = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"op-{name}", "namespace": TEAM}}
    once = pipeline({"name": "secret", "base": base})
    watch = {"apiVersion": f"{MANAGED}/v1beta1", "kind": "VPC"}
    run, built_in = f"example.org/acme/function-{name}:v1", "example.org/contrib/function-auto-ready:v0.5.0"
    yield from declared(name)
    yield thing(f"{PACKAGES}/v1", "Provider", name, {"package": "example.org/upbound/provider-aws-s3:v1"})
    yield thing(f"{PACKAGES}/v1", "Function", f"built-in-{name}", {"package": built_in})
    yield thing(f"{PACKAGES}/v1", "Function", name, {"package": run})
    yield thing("aws.upbound.io/v1beta1", "ProviderConfig", name, {"credentials": credentials})
    yield thing("aws.m.upbound.io/v1beta1", "ProviderConfig", name, {"credentials": credentials}, TEAM)
    yield thing(f"{SQL}/v1alpha1", "ProviderConfig", name, {"credentials": login})
    local_login = {"source": "PostgreSQLConnectionSecret", "connectionSecretRef": {"name": "account"}}
    yield thing("postgresql.sql.m.crossplane.io/v1alpha1", "ProviderConfig", name, {"credentials": local_login}, TEAM)
    yield from of_kubernetes(name)
    yield thing(f"{MANAGED}/v1beta1", "VPC", name, network | config)
    yield thing("ec2.aws.m.upbound.io/v1beta1", "VPC", name, network | local, TEAM)
    yield thing(f"{SQL}/v1alpha1", "Database", name, {"forProvider": {}} | config)
    yield thing("postgresql.sql.m.crossplane.io/v1alpha1", "Database", name, {"forProvider": {}} | local, TEAM)
    yield thing(
        f"{CORE}/v1beta1",
        "Usage",
        name,
        {"of": vpc, "reason": "needed", "by": vpc | {"resourceRef": {"name": f"{name}-user"}}},
    )
    yield thing(f"{MANAGED}/v1beta1", "VPC", f"{name}-user", network | config)
    yield thing(
        f"{PROTECTION}/v1beta1",
        "ClusterUsage",
        name,
        {"of": vpc, "by": vpc | {"resourceRef": {"name": f"{name}-user"}}},
    )
    yield thing(f"{OPS}/v1alpha1", "Operation", name, once)
    yield thing(
        f"{OPS}/v1alpha1", "CronOperation", name, {"schedule": "* * * * *", "operationTemplate": {"spec": once}}
    )
    yield thing(f"{OPS}/v1alpha1", "WatchOperation", name, {"watch": watch, "operationTemplate": {"spec": once}})
    yield thing(f"{CORE}/v1alpha1", "ManagedResourceActivationPolicy", name, {"activate": [f"vpcs.{MANAGED}"]})
    yield thing(f"{GROUP}/v1", name.title(), name, {"size": "small", "compositionRef": {"name": name}}, TEAM)


def of_kubernetes(name):
    """Objects and collections of both generations, and a ConfigMap that the collections find."""
    labels = {"for": name}
    observed = {"observeObjects": {"apiVersion": "v1", "kind": "ConfigMap", "selector": {"matchLabels": labels}}}
    metadata = {"name": name, "namespace": TEAM}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"labels": labels}}
    for group, versions, namespace, reference in (
        (KUBERNETES, ("v1alpha1", "v1alpha2"), "", {"name": name}),
        ("kubernetes.m.crossplane.io", ("v1alpha1", "v1alpha1"), TEAM, {"kind": "ProviderConfig", "name": name}),
    ):
        version, of_objects = (f"{group}/{each}" for each in versions)
        config = {"providerConfigRef": reference}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata | {"name": f"of-{group}-{name}"}}
        yield thing(version, "ProviderConfig", name, {"credentials": {"source": "InjectedIdentity"}}, namespace)
        yield thing(of_objects, "Object", name, {"forProvider": {"manifest": manifest}} | config, namespace)
        yield thing(version, "ObservedObjectCollection", name, observed | config, namespace)


class Told:
    """What is told, of these objects and by this Pod."""

    def __init__(self, plane, pod, objects):
        self.plane, self.pod, self.objects = plane, pod, objects

    def place(self, rule):
        """Where a rule is told that is missing: the nearest to who needs it; "" nowhere."""
        names = [f'resource "{each}" in API group "{rule.group}"' for each in rule.resources]
        names += [f"{each}.{rule.group}" for each in rule.resources]
        for place, text in (("condition", self.conditions), ("event", self.events), ("log", self.log)):
            if any(name in line for name in names for line in text if "may not" in line or "cannot" in line):
                return place
        return ""

    def look(self):
        plane, self.conditions = self.plane, []
        for kind in (
            *{f"{obj['kind']}.{obj['apiVersion'].split('/')[0]}".lower() for obj in self.objects},
            "mrd",
            "mrap",
            "compositionrevisions",
            "functionrevisions",
        ):
            for obj in (plane.get(kind, "-A") or {"items": []})["items"]:
                told = obj.get("status", {}).get("conditions", ())
                self.conditions += [f"{obj['kind']} {each['type']}: {each.get('message', '')}" for each in told]
        found = plane.get("events", "-A")["items"]
        self.events = [f"{each['involvedObject']['kind']}: {each['message']}" for each in found]
        said = [
            line
            for line in self.pod.text()[self.pod.begun :].splitlines()
            if '"level": "info"' not in line and '"level":"info"' not in line
        ]
        self.log = [line.replace('\\"', '"') for line in said if "debug" not in line[:120]]
        return self


@pytest.mark.soak
@pytest.mark.parametrize("group", GROUPS)
def test_a_rule_that_is_missing_is_told_by_whoever_needs_it(plane, release, aws, group):
    name = f"app{'abcdefghi'[list(GROUPS).index(group)]}"
    plane.kubectl("delete", "events", "--all", "-A")
    with Without(release, GROUPS[group]):
        pod = release.pod(aws)
        try:
            objects = list(wishes(name))
            for obj in objects:
                end = time.monotonic() + 20
                while (
                    plane.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(obj), check=False).returncode
                    and time.monotonic() < end
                ):
                    time.sleep(0.2)
            told = Told(plane, pod, objects)
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                found = {key: told.look().place(rules()[key][0]) for key in GROUPS[group]}
                if all(found.values()):
                    break
                time.sleep(2)
            assert pod.process.poll() is None, pod.text()[-3000:]
            assert all(found.values()), [key for key, place in found.items() if not place]
            assert set(found.values()) <= NEAREST.get(group, set(found.values()))
        finally:
            pod.stop()


@pytest.mark.soak
@pytest.mark.parametrize("key", ENDS)
def test_a_rule_without_which_nothing_works_ends_the_start_with_what_to_add(plane, release, aws, key):
    with Without(release, [key]):
        pod = release.pod(aws)
        try:
            plane.wait("it ends", lambda: pod.process.poll() is not None)
            assert pod.process.returncode == 1
            last = pod.text().strip().splitlines()[-1]
            rule = rules()[key][0]
            assert f'cannot list resource "{rule.resources[0]}" in API group "{rule.group}"' in last
            assert f"the rule {{apiGroups: [{rule.group}], resources: [{rule.resources[0]}]" in last
        finally:
            pod.stop()
