"""The chart is installed by helm, and the operator runs beside the cluster with its Pod's arguments, environment and ServiceAccount.

So it has the rights of `runtime/rights.py` and no other (tests/chart holds that the chart's are the table's), and the API server
enforces them: what definitions bring is right at once, what it lacks is told with its mend, and no more can be made of it.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.chart.generate import CHART
from tests.e2e import guide
from tests.e2e.release import NAMESPACE, USER, Release, may

VALUES = {"args": ["--poll-interval", "300"], "function": {"runtime": "Deployment"}}
GROUP = "web.example.org"

# A ClusterRole, and one that gathers it: the controller that does so looks at it last.
LABEL = {"example.org/after": "true"}
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
RULE = {"apiGroups": ["example.org"], "resources": ["things"], "verbs": ["get"]}
AFTER = (
    ROLE | {"metadata": {"name": "after", "labels": LABEL}, "rules": [RULE]},
    ROLE
    | {"metadata": {"name": "gathers-after"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": LABEL}]}},
)


@pytest.fixture(scope="module")
def installed(plane, tmp_path_factory):
    """The release, of which the operator has the rights."""
    release = Release(plane, tmp_path_factory.mktemp("release"), VALUES)
    release.install()
    yield release
    with plane.slow_controllers():
        release.uninstall()
    assert not may(plane, "list", "secrets")
    plane.apply(*AFTER)
    plane.wait("what happened before was seen", lambda: plane.get("clusterrole", "gathers-after").get("rules"))
    left = {each["metadata"]["name"] for each in plane.get("clusterroles")["items"]}
    assert not {each for each in left if each.startswith("crossplane") and ":composite:" not in each}
    told = ("validatingwebhookconfigurations", "crossplane")
    plane.wait("the webhooks' configuration goes with the role that owns it", lambda: not plane.get(*told))
    assert plane.get("crd", guide.DECLARED[0])


@pytest.fixture
def operator(installed, aws):
    running = installed.pod(aws)
    yield running
    running.stop()


def refused(plane, since=0):
    """What of our account's requests was refused, from its first on.

    But for what is made of a kind whose role is being gathered in this moment: to own it is asked for again.
    """
    ours = [entry for entry in plane.requests()[since:] if entry["user"]["username"] == USER]
    assert ours
    return {
        f"{entry['verb']} {json.dumps(entry.get('objectRef'))}"
        for entry in ours
        if entry["responseStatus"]["code"] == 403
        and "impersonatedUser" not in entry
        and "blockOwnerDeletion" not in entry["responseStatus"].get("message", "")
    }


@pytest.mark.usefixtures("clean")
def test_with_the_rights_that_the_chart_gives_the_guide_goes_there_and_back_and_nothing_is_refused(plane, aws):
    """Its definition's kinds come after the installation, and no value names their group."""
    guide.apply(plane, *guide.GUIDE, guide.NETWORK)
    guide.wait_ready(plane)
    plane.wait("the Secret", lambda: guide.secret(plane))
    roles = plane.get("clusterroles", "-l", "rbac.crossplane.io/xrd=xdatabases.platform.example.com")["items"]
    assert len(roles) == 3
    told = plane.get("validatingwebhookconfigurations", "crossplane")
    assert told["metadata"]["ownerReferences"][0]["name"] == "crossplane:system:webhooks"
    wrong = {"compositeTypeRef": {"apiVersion": "a.example.org/v1", "kind": "A"}, "resources": []}
    metadata = {"name": "wrong"}
    body = {"apiVersion": "apiextensions.crossplane.io/v1", "kind": "Composition", "metadata": metadata, "spec": wrong}
    done = plane.kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(body), check=False)
    assert "spec.resources: Required value" in done.stderr
    tenant = "system:serviceaccount:my-team:tenant"
    plane.kubectl(
        "create", "rolebinding", "tenant", "-n", guide.TEAM, "--clusterrole=crossplane-edit", f"--user={tenant}"
    )
    assert may(plane, "create", "databases.platform.example.com", "-n", guide.TEAM, who=tenant)
    assert not may(plane, "get", "databases.platform.example.com", "-n", "default", who=tenant)
    assert not may(plane, "get", "xdatabases.platform.example.com", who=tenant)
    assert not may(plane, "get", "secrets", "-n", NAMESPACE, who=tenant)
    files = [word for path in (*guide.GUIDE, guide.NETWORK) for word in ("-f", path)]
    plane.kubectl("delete", *files, "--wait=false")
    plane.wait("all is gone", lambda: not guide.left(plane))
    plane.wait("the roles, too", lambda: not plane.get("clusterroles", roles[0]["metadata"]["name"]))
    assert aws.databases() == []
    # kopf may look at a kind in the moment before its role is gathered, and looks again.
    assert {each for each in refused(plane) if "platform.example.com" not in each} == set()


@pytest.mark.soak
def test_with_the_charts_rights_a_package_of_a_function_is_run(plane, operator):
    began = len(plane.requests())
    spec = {"package": "example.org/acme/function-acme:v1"}
    plane.apply({"apiVersion": "pkg.crossplane.io/v1", "kind": "Function", "metadata": {"name": "acme"}, "spec": spec})

    def images():
        found = plane.get("deployments", "-n", NAMESPACE)["items"]
        return [each["spec"]["template"]["spec"]["containers"][0]["image"] for each in found]

    plane.wait("its Deployment", lambda: spec["package"] in images())
    plane.wait("its Service", lambda: plane.get("service", "acme", "-n", NAMESPACE))
    plane.wait("its revision's endpoint", lambda: plane.get("functionrevisions")["items"][0]["status"].get("endpoint"))
    plane.kubectl("delete", "function.pkg.crossplane.io/acme")
    plane.wait("it is gone", lambda: spec["package"] not in images())
    assert refused(plane, began) == set()


XRD = {
    "apiVersion": "apiextensions.crossplane.io/v2",
    "kind": "CompositeResourceDefinition",
    "metadata": {"name": f"sites.{GROUP}"},
    "spec": {
        "scope": "Namespaced",
        "group": GROUP,
        "names": {"kind": "Site", "plural": "sites"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "referenceable": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"image": {"type": "string"}}},
                        },
                    }
                },
            }
        ],
    },
}
LABELS = {"app.kubernetes.io/name": "site"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "site", "image": "unset"}]}},
    },
}
COMPOSITION = {
    "apiVersion": "apiextensions.crossplane.io/v1",
    "kind": "Composition",
    "metadata": {"name": "site"},
    "spec": {
        "compositeTypeRef": {"apiVersion": f"{GROUP}/v1", "kind": "Site"},
        "mode": "Pipeline",
        "pipeline": [
            {
                "step": "compose",
                "functionRef": {"name": "function-patch-and-transform"},
                "input": {
                    "apiVersion": "pt.fn.crossplane.io/v1beta1",
                    "kind": "Resources",
                    "resources": [
                        {
                            "name": "web",
                            "base": DEPLOYMENT,
                            "patches": [
                                {
                                    "type": "FromCompositeFieldPath",
                                    "fromFieldPath": "spec.image",
                                    "toFieldPath": "spec.template.spec.containers[0].image",
                                }
                            ],
                        }
                    ],
                },
            }
        ],
    },
}
SITE = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Site",
    "metadata": {"name": "home", "namespace": guide.TEAM},
    "spec": {"image": "web:1"},
}


@pytest.fixture
def site(plane, operator):
    plane.apply(XRD, COMPOSITION)
    plane.wait("its kind is served", lambda: plane.get("sites", "-n", guide.TEAM) is not None)
    plane.apply(SITE)
    yield SITE
    plane.kubectl("delete", "sites", "--all", "-n", guide.TEAM, "--wait=false")
    plane.wait("it is gone", lambda: not plane.get("sites", "-n", guide.TEAM)["items"])
    plane.kubectl("delete", "xrd/" + XRD["metadata"]["name"], "composition/site")
    plane.kubectl("delete", "clusterrole", "compose-deployments", "--ignore-not-found")


def synced(plane):
    found = plane.get("sites", "home", "-n", guide.TEAM) or {}
    return guide.condition(found, "Synced")


@pytest.mark.soak
@pytest.mark.usefixtures("clean")
def test_a_deployment_is_composed_once_a_person_has_given_the_right_that_the_condition_names(plane, site):
    told = plane.wait("it is refused", lambda: synced(plane).get("status") == "False" and synced(plane)["message"])
    label, value, rule = re.search(r'ClusterRole labelled (\S+): "(true)" with the rule (\{.*\})', told).groups()
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "compose-deployments", "labels": {label: value}},
        "rules": [yaml.safe_load(rule)],
    }
    plane.apply(role)
    plane.wait("it is in force", lambda: may(plane, "watch", "deployments.apps"))
    plane.kubectl("label", "sites", "home", "-n", guide.TEAM, "again=now")  # else it is tried again within a minute
    plane.wait("it is composed", lambda: plane.get("deployments", "-n", guide.TEAM)["items"])
    plane.wait("it is synced", lambda: synced(plane).get("status") == "True")
    (made,) = plane.get("deployments", "-n", guide.TEAM)["items"]
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"


@pytest.mark.soak
@pytest.mark.usefixtures("clean")
def test_the_roles_of_a_definition_are_mended_and_one_of_somebody_elses_is_not_touched(plane, operator):
    def role(to):
        return plane.get("clusterrole", f"crossplane:composite:{XRD['metadata']['name']}:aggregate-to-{to}")

    theirs = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": f"crossplane:composite:{XRD['metadata']['name']}:aggregate-to-view",
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "name": "default",
                    "uid": plane.get("namespace", "default")["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "rules": [],
    }
    plane.apply(theirs)
    plane.apply(XRD)

    def told():
        return guide.condition(plane.get("xrd", XRD["metadata"]["name"]), "Established").get("message", "")

    plane.wait("it is told", lambda: "belongs to Namespace default. Mend: delete it" in told())
    assert not role("view").get("rules")
    plane.kubectl("delete", "clusterrole", role("view")["metadata"]["name"])
    plane.wait("it is the definition's", lambda: role("view") and role("view").get("rules"))
    before = role("view")["metadata"]["uid"]
    plane.kubectl("patch", "clusterrole", role("edit")["metadata"]["name"], "--type=merge", "-p", '{"rules": []}')
    plane.wait("what is edited is put back", lambda: role("edit").get("rules"))
    plane.kubectl("delete", "clusterrole", role("view")["metadata"]["name"])
    plane.wait("what is deleted, too", lambda: role("view") and role("view")["metadata"]["uid"] != before)
    plane.kubectl("delete", "xrd", XRD["metadata"]["name"])


def lawful(name="crossplane:composite:x:aggregate-to-crossplane", group="a.example.com", resources=("things",), **more):
    rule = {"apiGroups": [group], "resources": list(resources), "verbs": ["*"]}
    metadata = {"name": name, "labels": {"rbac.crossplane.io/aggregate-to-crossplane": "true"}}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": [rule],
    } | more


OTHERS = "kinds of your own groups only"
NAMES = "makes and deletes no ClusterRole but those of definitions"


def test_the_right_to_escalate_gives_no_more_than_kinds_of_definitions(plane, installed):
    def answer(verb, role, *account):
        told = json.dumps(role)
        done = plane.kubectl(verb, "--dry-run=server", "-f", "-", *account, input=told, check=False)
        return done.returncode, done.stderr

    for role, said in (
        (lawful(name="mine"), NAMES),
        (lawful(group="*"), OTHERS),
        (lawful(group=""), OTHERS),
        (lawful(group="apps"), OTHERS),
        (lawful(group="rbac.authorization.k8s.io"), OTHERS),
        (lawful(group="apiextensions.crossplane.io"), OTHERS),
        (lawful(group="rds.aws.upbound.io"), OTHERS),
        (lawful(resources=["*"]), OTHERS),
        (lawful(resources=["*/status"]), OTHERS),
        (lawful(rules=[{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]), OTHERS),
        (lawful(rules=[], aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}), "gathers others"),
    ):
        code, told = answer("create", role, "--as", USER)
        assert (code, said in told) == (1, True), (role, told)
    code, told = answer("replace", lawful(name="crossplane:system:secrets"), "--as", USER)
    assert (code, NAMES in told) == (1, True), told
    done = plane.kubectl("delete", "clusterrole", "view", "--dry-run=server", "--as", USER, check=False)
    assert NAMES in done.stderr
    assert answer("create", lawful(), "--as", USER) == (0, "")
    assert answer("replace", lawful(name="view", group="")) == (0, "")  # a person is not kept to anything


def test_the_operator_can_delete_no_definition_that_is_not_a_definitions(plane, installed):
    done = plane.kubectl("delete", "crd", guide.DECLARED[0], "--dry-run=server", "--as", USER, check=False)
    assert "deletes no CustomResourceDefinition but those of its definitions" in done.stderr


NOTES = "notes.keep.example.org"
KEPT, OTHER = guide.TEAM, "other-team"


def note(namespace):
    metadata = {"name": "n", "namespace": namespace}
    return {"apiVersion": "keep.example.org/v1", "kind": "Note", "metadata": metadata, "spec": {}}


def keeping():
    """A definition of v2, and a Composition that makes a Secret for each of its objects."""
    names, group = {"kind": "Note", "plural": "notes"}, "keep.example.org"
    xrd = {**XRD, "metadata": {"name": NOTES}, "spec": {**XRD["spec"], "group": group, "names": names}}
    (step,) = COMPOSITION["spec"]["pipeline"]
    secret = {"name": "secret", "base": {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "b"}}}
    step = {**step, "input": {**step["input"], "resources": [{**secret, "readinessChecks": [{"type": "None"}]}]}}
    spec = {"compositeTypeRef": {"apiVersion": f"{group}/v1", "kind": "Note"}, "mode": "Pipeline", "pipeline": [step]}
    return xrd, {**COMPOSITION, "metadata": {"name": "note"}, "spec": spec}


@pytest.mark.soak
def test_with_rights_to_secrets_in_some_namespaces_one_elsewhere_is_told_which_value_to_add(plane, aws, installed):
    """Nothing is asked for that is refused, what is followed there is mended, and the mend is enough."""

    def confined(*namespaces):
        installed.helm("upgrade", CHART, values={**VALUES, "rbac": {"secretNamespaces": namespaces}})
        plane.wait("the role is gone", lambda: not may(plane, "list", "secrets"))
        plane.wait(
            "the others are in force", lambda: all(may(plane, "patch", "secrets", "-n", each) for each in namespaces)
        )
        return installed.pod(aws)

    def secrets(namespace):
        return [each["metadata"] for each in plane.get("secrets", "-n", namespace)["items"]]

    def told():
        return guide.condition(plane.get("notes", "n", "-n", OTHER) or {}, "Synced")

    for namespace in (KEPT, OTHER):
        plane.kubectl("create", "namespace", namespace, check=False)
    began = len(plane.requests())
    operator = confined(KEPT)
    plane.apply(*keeping())
    plane.wait("its kind is served", lambda: plane.get("notes", "-n", KEPT) is not None)
    plane.apply(note(KEPT), note(OTHER))
    (first,) = plane.wait("the Secret", lambda: secrets(KEPT))
    text = plane.wait("the other is told", lambda: told().get("status") == "False" and told()["message"])
    assert f"may not work with Secrets in namespace {OTHER}. Mend: add {OTHER} to rbac.secretNamespaces" in text
    assert not secrets(OTHER)
    assert not may(plane, "get", "secrets", "-n", OTHER)
    plane.kubectl("delete", "secret", first["name"], "-n", KEPT)
    plane.wait("it is made again", lambda: secrets(KEPT) and secrets(KEPT)[0]["uid"] != first["uid"])
    assert operator.stop() == 0
    confined(KEPT, OTHER)
    plane.wait("it has its Secret", lambda: secrets(OTHER))
    plane.wait("and is synced", lambda: told()["status"] == "True")
    assert {each for each in refused(plane, began) if "keep.example.org" not in each} == set()
    plane.kubectl("delete", "notes", "--all", "-A", "--wait=false")
    plane.wait("all is gone", lambda: not plane.get("notes", "-A")["items"])
    plane.kubectl("delete", "xrd/" + NOTES, "composition/note")
    installed.close()
    installed.helm("upgrade", CHART, values=VALUES)
    installed.wait_for_rights()
