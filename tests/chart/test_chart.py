"""The chart as `helm template` renders it, and as a real API server takes it: values, schema, security, rights."""

from __future__ import annotations

import dataclasses
import json

import pytest
import yaml

from groundplane.cli import doctor as commands
from groundplane.core import function_runtime
from groundplane.runtime import rights
from groundplane.runtime.settings import Settings
from tests.chart import generate
from tests.chart.helm import helm
from tests.cluster import build

NAMESPACE = "crossplane-system"
EVERYTHING = {
    "replicas": 3,
    "customLabels": {"team": "platform"},
    "customAnnotations": {"note": "yes"},
    "podLabels": {"colour": "blue"},
    "image": {"repository": "registry.example/groundplane", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": ["pull"],
    "args": ["--log-level", "debug"],
    "settings": {"pollInterval": 300, "burst": 1000000, "strictUpstream": True, "staticBinding": "marked"},
    "provider": {"packages": ["registry.example/upbound/provider-aws-rds:v1"], "defaultActivations": ["*.rds.*"]},
    "function": {"packages": ["registry.example/function-patch-and-transform:v0.9.0"]},
    "aws": {"endpointUrl": "http://aws.example:5000", "podIdentity": True},
    "serviceAccount": {"name": "mine", "customAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}},
    "rbac": {
        "compositeGroups": ["platform.example.com"],
        "extraRules": [
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch", "create"]}
        ],
    },
    "metrics": {"enabled": True, "port": 9090},
    "serviceMonitor": {"enabled": True, "renderMode": "alwaysRender", "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True, "extraEgress": [{"ports": [{"port": 5000, "protocol": "TCP"}]}]},
    "extraEnvVarsCrossplane": {"SAMPLE.KEY": "{{ .Release.Name }}", "NUMBER": 5},
    "extraVolumesCrossplane": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMountsCrossplane": [{"name": "more", "mountPath": "/more"}],
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}, "data": {"a": "b"}}
    ],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "priorityClassName": "system-cluster-critical",
}
# As Crossplane's own chart has them: an old values file goes on being taken.
UPSTREAM = {
    "replicas": 1,
    "revisionHistoryLimit": None,
    "crds": {"adopt": True},
    "configuration": {"packages": []},
    "registryCaBundleConfig": {"name": "", "key": ""},
    "service": {"customAnnotations": {}},
    "webhooks": {"enabled": True, "port": ""},
    "rbacManager": {"deploy": True, "skipAggregatedClusterRoles": False, "replicas": 1, "args": []},
    "packageCache": {"medium": "", "sizeLimit": "20Mi"},
    "metrics": {"enabled": True, "port": ""},
    "readiness": {"port": ""},
    "extraVolumesCrossplane": {},
    "extraVolumeMountsCrossplane": {},
    "resourcesCrossplane": {"limits": {"cpu": "500m", "memory": "1024Mi"}},
}
ALONE = {
    "replicas": 1,
    "crds": {"install": False},
    "rbac": {"mode": "static"},
    "leaderElection": False,
    "deploymentStrategy": "Recreate",
    "podMonitor": {"enabled": True, "renderMode": "alwaysRender"},
    "prometheusRule": {"enabled": True, "renderMode": "alwaysRender"},
    "grafanaDashboard": {"enabled": True},
    "serviceAccount": {"create": False, "name": "given"},
    "rbacManager": {"skipAggregatedClusterRoles": True},
    "provider": {"defaultActivations": []},
}
KIND = yaml.safe_load((generate.CHART / "ci" / "kind-values.yaml").read_text())
MATRIX = {"defaults": {}, "everything": EVERYTHING, "upstream": UPSTREAM, "alone": ALONE, "kind": KIND}


def template(values):
    """Without a cluster, so for the version of ours."""
    version = build.kubernetes_version()
    kinds = "pkg.crossplane.io/v1/Provider,pkg.crossplane.io/v1/Function,admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"
    where = ("-n", NAMESPACE, "--kube-version", version, "--api-versions", kinds)
    return helm("template", "groundplane", generate.CHART, *where, values=values)


def render(values):
    """The objects of these values."""
    done = template(values)
    assert done.returncode == 0, done.stderr
    found = [obj for obj in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if obj]
    return [each for obj in found for each in (obj["items"] if obj["kind"] == "List" else [obj])]


def one(objects, kind, name="groundplane"):
    (found,) = [obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name]
    return found


def pod(objects):
    return one(objects, "Deployment")["spec"]["template"]["spec"]


def environment(objects):
    return {each["name"]: each.get("value") for each in pod(objects)["containers"][0]["env"]}


def names(objects, kind):
    return {obj["metadata"]["name"] for obj in objects if obj["kind"] == kind}


def test_helm_finds_nothing_to_complain_of():
    done = helm("lint", "--strict", generate.CHART)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_made_from_the_code_is_fresh():
    for path, text in generate.files().items():
        assert path.read_text() == text, f"{path.name} is stale: run make chart"


def test_each_value_has_a_place_in_the_schema_and_a_sentence_in_the_readme():
    schema = json.loads((generate.CHART / "values.schema.json").read_text())
    text = (generate.CHART / "values.yaml").read_text()
    told = {path for path, _, _ in generate.documented(text)}

    def walk(values, schema, path):
        for name, value in values.items():
            here = f"{path}{name}"
            assert name in schema["properties"], here
            if here not in told:
                assert isinstance(value, dict), f"{here} is not documented"
                walk(value, schema["properties"][name], f"{here}.")

    walk(yaml.safe_load(text), schema, "")


def test_without_values_there_are_two_replicas_that_pass_the_profile_restricted():
    objects = render({})
    deployment = one(objects, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert one(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["pkg.crossplane.io/provider"] == "provider-aws"
    assert "app" not in labels  # by `app: crossplane` a rival is known
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    spec = pod(objects)
    assert {each["topologyKey"] for each in spec["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    assert spec["terminationGracePeriodSeconds"] > Settings().shutdown_grace
    (container,) = spec["containers"]
    assert container["args"] == ["run"]
    assert "cpu" not in container["resources"]["limits"]
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/livez")):
        assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}
    assert not names(objects, "NetworkPolicy")
    assert names(objects, "Service") == {"crossplane-webhooks"}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_every_pod_is_restricted_and_can_write_to_its_tmp_alone(values):
    objects = render(values)
    spec, doctor = pod(objects), one(objects, "Pod", "groundplane-doctor")["spec"]
    for each in (spec, doctor):
        assert each["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in (*spec["containers"], *doctor["containers"]):
        assert container["securityContext"] == {
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not spec.get("hostNetwork")
    assert all("hostPath" not in volume for volume in spec["volumes"])


@pytest.mark.parametrize("name", MATRIX)
def test_what_the_pod_is_told_is_what_the_operator_reads(name):
    """Its environment makes Settings, of the type that each field has."""
    values = MATRIX[name]
    told = environment(render(values))
    fields = {f"GROUNDPLANE_{field.name.upper()}": field for field in dataclasses.fields(Settings)}
    ours = {name: value for name, value in told.items() if name.startswith("GROUNDPLANE_")}
    assert ours.keys() <= fields.keys()

    def read(default, value):
        return value if isinstance(default, str) else type(default)(yaml.safe_load(value))

    kept = {fields[each].name: read(fields[each].default, value) for each, value in ours.items() if value}
    settings = Settings(**kept)
    assert settings.log_format == "json"
    assert settings.crds == {"upstream": "adopt", "alone": "leave"}.get(name, "install")
    active = {"everything": ("*.rds.*",), "alone": ()}
    assert settings.rbac == {"alone": "static"}.get(name, "aggregated")
    assert settings.active == active.get(name, ("*",))
    assert settings.no_leader_election is (values is ALONE)
    if values is EVERYTHING:
        assert (settings.poll_interval, settings.burst, settings.strict_upstream) == (300, 1_000_000, True)
        assert settings.health_port == 9090
        assert (told["SAMPLE_KEY"], told["NUMBER"]) == ("groundplane", "5")
        assert told["AWS_ENDPOINT_URL"] == "http://aws.example:5000"


def test_the_test_of_helm_is_the_doctor_with_the_operators_account_image_and_settings():
    objects = render(EVERYTHING)
    doctor = one(objects, "Pod", "groundplane-doctor")
    assert doctor["metadata"]["annotations"]["helm.sh/hook"] == "test"
    selected = one(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    assert not selected.items() <= doctor["metadata"]["labels"].items()
    (container,), (operators,) = doctor["spec"]["containers"], pod(objects)["containers"]
    assert (doctor["spec"]["serviceAccountName"], container["image"]) == ("mine", operators["image"])
    told = {each["name"]: each for each in operators["env"]}
    assert all(told[each["name"]] == each for each in container["env"])
    options = {parameter.envvar for parameter in commands.doctor.params if parameter.envvar}
    ours = {each["name"] for each in container["env"] if each["name"].startswith("GROUNDPLANE_")}
    assert ours <= options


def test_each_value_arrives_where_it_belongs():
    objects = render(EVERYTHING)
    deployment, spec = one(objects, "Deployment"), pod(objects)
    assert all(obj["metadata"]["labels"]["team"] == "platform" for obj in objects if obj["kind"] != "ConfigMap")
    assert spec["containers"][0]["image"] == f"registry.example/groundplane@sha256:{'0' * 64}"
    assert spec["containers"][0]["args"] == ["run", "--log-level", "debug"]
    assert spec["serviceAccountName"] == "mine"
    assert one(objects, "ServiceAccount", "mine")["imagePullSecrets"] == [{"name": "pull"}]
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "9090"
    assert names(objects, "Provider") == {"provider-aws-rds"}
    assert names(objects, "Function") == {"function-patch-and-transform"}
    monitor = one(objects, "ServiceMonitor")
    service = one(objects, "Service", "groundplane-metrics")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    egress = one(objects, "NetworkPolicy")["spec"]["egress"]
    assert egress[1] == {
        "to": [{"namespaceSelector": {}}],
        "ports": [{"port": 9443, "protocol": "TCP"}],
    }  # of functions
    assert egress[2]["to"][0]["ipBlock"]["cidr"] == "169.254.170.23/32"
    assert egress[-1]["ports"][0]["port"] == 5000
    assert one(objects, "ConfigMap", "groundplane-extra")
    alone = render(ALONE)
    assert names(alone, "ServiceAccount") | names(alone, "PodDisruptionBudget") == {"crossplane-objects"}
    told = environment(objects)["GROUNDPLANE_OBJECTS_IDENTITY"]
    assert told == f"{NAMESPACE}/{rights.OBJECTS_ACCOUNT}"
    own_rights = render({"objects": {"impersonate": False}})
    assert "GROUNDPLANE_OBJECTS_IDENTITY" not in environment(own_rights)
    assert rights.OBJECTS_ACCOUNT not in names(own_rights, "ServiceAccount")
    assert names(alone, "PodMonitor")


def test_webhooks_bring_a_service_a_port_and_a_role_and_all_go_together():
    objects = render(
        {"networkPolicy": {"enabled": True}, "webhooks": {"port": 10250}, "service": {"customAnnotations": {"a": "b"}}}
    )
    service = one(objects, "Service", "crossplane-webhooks")
    assert service["metadata"]["annotations"] == {"a": "b"}
    (port,) = service["spec"]["ports"]
    assert port["port"] == 10250
    container = pod(objects)["containers"][0]
    assert {"name": port["targetPort"], "containerPort": 10250} in container["ports"]
    assert environment(objects)["GROUNDPLANE_WEBHOOKS"] == "on"
    assert environment(objects)["GROUNDPLANE_WEBHOOK_PORT"] == "10250"
    owner = environment(objects)["GROUNDPLANE_WEBHOOK_OWNER"]
    assert one(objects, "ClusterRole", owner)["rules"][-1]["resourceNames"] == [owner]
    (ingress,) = one(objects, "NetworkPolicy")["spec"]["ingress"]
    assert {each["port"] for each in ingress["ports"]} == {"metrics", "webhooks"}
    off = render({"networkPolicy": {"enabled": True}, "webhooks": {"enabled": False}})
    assert "crossplane-webhooks" not in names(off, "Service")
    assert owner not in names(off, "ClusterRole")
    assert not [name for name in environment(off) if "WEBHOOK" in name]
    assert "webhooks" not in json.dumps(off)
    assert "10250" not in json.dumps(off)


def test_nobody_but_the_operator_reaches_the_pods_of_functions_that_it_runs():
    runs = {"networkPolicy": {"enabled": True}, "function": {"runtime": "Deployment"}}
    objects = render(runs)
    found = one(objects, "NetworkPolicy", "groundplane-functions")
    (rule,) = found["spec"]["ingress"]
    (label,) = found["spec"]["podSelector"]["matchExpressions"]
    assert (label["key"], label["operator"]) == (function_runtime.FUNCTION_LABEL, "Exists")
    assert rule["ports"] == [{"port": function_runtime.PORT, "protocol": "TCP"}]
    (source,) = rule["from"]
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert source["podSelector"]["matchLabels"].items() <= labels.items()
    more = [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    runs["networkPolicy"]["extraFunctionIngress"] = more
    assert one(render(runs), "NetworkPolicy", "groundplane-functions")["spec"]["ingress"] == [rule, *more]
    assert names(render({"networkPolicy": {"enabled": True}}), "NetworkPolicy") == {"groundplane"}
    assert not names(render({"function": {"runtime": "Deployment"}}), "NetworkPolicy")


def test_the_guard_goes_with_the_right_to_escalate():
    assert "groundplane-guard" in names(render({}), "ValidatingAdmissionPolicyBinding")
    for values in ({"rbac": {"guard": False}}, {"rbac": {"mode": "static"}}, ALONE):
        assert "groundplane-guard" not in names(render(values), "ValidatingAdmissionPolicy"), values


def test_the_operator_gets_the_rights_of_the_table_and_not_one_more():
    def granted(values):
        rules = [
            rule
            for obj in render(values)
            if obj["kind"] == "Role"
            or obj["metadata"].get("labels", {}).get("rbac.crossplane.io/aggregate-to-crossplane")
            for rule in obj["rules"]
        ]
        return flat(rules)

    def flat(rules):
        return {
            (group, resource, verb, tuple(rule.get("resourceNames") or ()))
            for rule in rules
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    def table(*rules):
        return flat([rule.policy for rule in rules])

    def concerns(*modes):
        there = [concern for concern in rights.CONCERNS if concern.mode in modes and concern.part != "functions"]
        return [rule for concern in there for rule in concern.rules]

    assert granted({}) == table(*concerns("", "aggregated"), *rights.managed())
    always = concerns("")
    assert granted({"rbacManager": {"deploy": False}}) == table(*always, *rights.managed())
    groups = {"mode": "static", "compositeGroups": ["a.example.com"]}
    some = {"provider": {"defaultActivations": ["*.rds.*"]}, "rbac": groups}
    databases = rights.managed(["rds.aws.upbound.io", "rds.aws.m.upbound.io"])
    assert granted(some) == table(*always, *databases, *rights.declared(["a.example.com"]))
    assert granted(ALONE) == table(*always)
    without = [rule for concern in rights.CONCERNS for rule in concern.rules if not concern.mode and not concern.part]
    assert granted(ALONE | {"webhooks": {"enabled": False}, "objects": {"impersonate": False}}) == table(*without)
    runs = [rule for concern in rights.CONCERNS for rule in concern.rules if concern.part == "functions"]
    assert granted(ALONE | {"function": {"runtime": "Deployment"}}) == table(*always, *runs)
    told = environment(render({"function": {"runtime": "Deployment"}}))
    assert told["GROUNDPLANE_FUNCTION_RUNTIME"] == "Deployment"
    assert not any("*" in group or resource == "*" for group, resource, _, _ in granted({}))


def test_rights_to_secrets_are_given_in_the_namespaces_that_are_named_and_in_its_own_alone():
    (secrets,) = [concern for concern in rights.CONCERNS if concern.confined_by]
    name = f"crossplane:system:{secrets.name}"

    def places(objects, kind):
        return {
            obj["metadata"].get("namespace")
            for obj in objects
            if (obj["kind"], obj["metadata"]["name"]) == (kind, name)
        }

    everywhere = render({})
    assert places(everywhere, "ClusterRole") == {None}
    assert not places(everywhere, "Role")
    assert "GROUNDPLANE_SECRET_NAMESPACES" not in environment(everywhere)
    confined = render({"rbac": {secrets.confined_by: ["team-a", NAMESPACE, "team-b"]}})
    assert not places(confined, "ClusterRole")
    there = {NAMESPACE, "team-a", "team-b"}
    assert places(confined, "Role") == places(confined, "RoleBinding") == there
    for obj in confined:
        if obj["metadata"]["name"] == name and obj["kind"] == "Role":
            assert obj["rules"] == [rule.policy for rule in secrets.rules]
        gathered = obj["metadata"].get("labels", {}).get("rbac.crossplane.io/aggregate-to-crossplane")
        assert not (gathered and "secrets" in json.dumps([rule for rule in obj["rules"] if rule["apiGroups"] == [""]]))
    told = environment(confined)["GROUNDPLANE_SECRET_NAMESPACES"]
    assert set(Settings(secret_namespaces=told).secret_places) == there


def test_what_gathers_roles_is_deleted_before_what_it_gathers():
    """By helm's order of kinds, in which there is no List; tests/e2e/test_rights.py does it."""
    documents = [obj for obj in yaml.safe_load_all(template(EVERYTHING).stdout) if obj]
    (gathered,) = [obj["items"] for obj in documents if obj["kind"] == "List"]
    assert {obj["kind"] for obj in gathered} == {"ClusterRole"}
    assert all(is_gathered(obj) for obj in gathered)
    assert not any(is_gathered(obj) for obj in documents)
    every = [(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace")) for obj in render(EVERYTHING)]
    assert len(set(every)) == len(every), "Argo CD takes the last of two objects of one name, a hook or not"


def is_gathered(obj):
    return any("/aggregate-to-" in label for label in obj["metadata"].get("labels", ()))


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"replicaCount": 2}, "replicaCount"),
        ({"replicas": "two"}, "/replicas"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"settings": {"pollIntervall": 5}}, "pollIntervall"),
        ({"settings": {"pollInterval": "5m"}}, "/settings/pollInterval"),
        ({"settings": {"namespace": "x"}}, "namespace"),
        ({"rbac": {"compositeGroups": ["*"]}}, "/rbac/compositeGroups"),
        ({"rbac": {"compositeGroups": ["rbac.authorization.k8s.io"]}}, "/rbac/compositeGroups"),
        ({"rbac": {"compositeGroups": ["apps"]}}, "/rbac/compositeGroups"),
        ({"rbac": {"secretNamespaces": ["*"]}}, "/rbac/secretNamespaces"),
        ({"rbac": {"secretNamespaces": ["a", "a"]}}, "/rbac/secretNamespaces"),
        ({"settings": {"secretNamespaces": "a"}}, "secretNamespaces"),
        ({"configuration": {"packages": ["x"]}}, "/configuration/packages"),
        ({"serviceMonitor": {"renderMode": "maybe"}}, "/serviceMonitor/renderMode"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        (
            {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
            "podMonitor.enabled and serviceMonitor",
        ),
        ({"podMonitor": {"enabled": True, "renderMode": "failIfMissing"}}, "podMonitor.renderMode: the cluster has no"),
        ({"leaderElection": False}, "leaderElection: false needs replicas: 1"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name: name the service account"),
        ({"crds": {"install": False, "adopt": True}}, "crds.adopt: needs crds.install"),
        ({"settings": {"shutdownGrace": 60}}, "terminationGracePeriodSeconds: must be above"),
        ({"settings": {"leaseDuration": 5}}, "settings.leaseDuration: must be above settings.renewDeadline"),
        ({"settings": {"retryPeriod": 9}}, "settings.leaseDuration: must be above settings.renewDeadline"),
        ({"settings": {"pollInterval": 0}}, "/settings/pollInterval"),
        ({"metrics": {"port": 9443}}, "webhooks.port: must differ from metrics.port"),
        ({"customLabels": {"app": "crossplane"}}, "customLabels.app: "),
        ({"podLabels": {"app.kubernetes.io/name": "mine"}}, "podLabels.app.kubernetes.io/name: "),
        ({"serviceAccount": {"name": "Not_A_Name"}}, "/serviceAccount/name"),
        ({"extraObjects": [{"kind": "ConfigMap"}, "{{ .Release.Name }}"]}, "extraObjects[1]: is no object"),
        ({"rbac": {"extraRules": [{"apiGroup": "apps", "verbs": ["get"]}]}}, "/rbac/extraRules/0"),
        (
            {"extraEnvVarsCrossplane": {"GROUNDPLANE_POLL_INTERVAL": "5"}},
            "extraEnvVarsCrossplane.GROUNDPLANE_POLL_INTERVAL: is a setting",
        ),
    ],
    ids=str,
)
def test_values_that_can_not_work_are_refused_with_their_path(values, path):
    done = template(values)
    assert done.returncode
    assert path in done.stderr.replace("'", "").replace(".replicas", "/replicas") or path in done.stderr


def test_the_notes_say_what_is_still_to_do_and_which_values_have_no_meaning(control_plane):
    def notes(values):
        where = ("-n", NAMESPACE, "--kubeconfig", control_plane.kubeconfig)
        done = helm("install", "groundplane", generate.CHART, *where, "--dry-run=server", values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("NOTES:")[2]

    told = notes({})
    assert "applied and upgraded by the operator" in told
    assert "groundplane crds --apply" in notes({"crds": {"install": False}})
    assert "NO RIGHT" not in told
    assert "rbac.compositeGroups={platform.example.com}" in notes({"rbac": {"mode": "static"}})
    assert "without a meaning" not in told
    assert "NO GUARD" not in told
    assert "rbac.guard is false" in notes({"rbac": {"guard": False}})
    assert "NO RIGHT" not in notes({"rbac": EVERYTHING["rbac"] | {"mode": "static"}})
    assert "readiness, rbacManager.args, rbacManager.replicas" in notes(UPSTREAM)
    assert "webhooks" not in notes(UPSTREAM).partition("without a meaning")[2]


def stub(kind, plural):
    """A CustomResourceDefinition that takes anything, for a kind of the Prometheus operator."""
    group, anything = "monitoring.coreos.com", {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [version],
        },
    }


def test_the_api_server_takes_every_object_of_every_set_of_values(control_plane):
    """Field by field, and by the admission of pod security's profile `restricted`."""
    plane, place = control_plane, "chart-dry-run"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place, "labels": labels}},
    )
    crds = generate.CHART.parents[1] / "crds"
    for plural in ("providers", "functions"):
        plane.kubectl("apply", "--server-side", "-f", crds / f"pkg.crossplane.io_{plural}.yaml")
    plane.wait_for_kinds("providers.pkg.crossplane.io", "functions.pkg.crossplane.io")
    kinds = {"ServiceMonitor": "servicemonitors", "PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules"}
    plane.install(*(stub(kind, plural) for kind, plural in kinds.items()))
    for values in MATRIX.values():
        objects = render(values)
        for obj in objects:
            if obj["metadata"].get("namespace") == NAMESPACE:
                obj["metadata"]["namespace"] = place
        deployment = one(objects, "Deployment")["spec"]["template"]
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "one", "namespace": place},
                "spec": deployment["spec"],
            }
        )
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        done = plane.kubectl(
            "apply", "--dry-run=server", "--validate=strict", "-n", place, "-f", "-", input=manifest, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "arning" not in done.stderr
        assert done.stdout.count("(server dry run)") == len(objects)
