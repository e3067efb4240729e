"""What a function's package becomes in a cluster, and what a DeploymentRuntimeConfig may change of it."""

from __future__ import annotations

import pytest

from groundplane.core import function_runtime as runtime
from groundplane.errors import InvalidInput

IMAGE = "xpkg.example.org/acme/function-acme:v1"
FUNCTION = {
    "apiVersion": "pkg.crossplane.io/v1",
    "kind": "Function",
    "metadata": {"name": "acme", "uid": "u-function"},
    "spec": {"package": IMAGE, "packagePullSecrets": [{"name": "pull"}], "packagePullPolicy": "Always"},
}
REVISION = {
    "apiVersion": "pkg.crossplane.io/v1",
    "kind": "FunctionRevision",
    "metadata": {"name": "acme-1234", "uid": "u-revision"},
    "spec": {},
}
SELECTOR = {"pkg.crossplane.io/revision": "acme-1234", "pkg.crossplane.io/function": "acme"}


def deployment(**templates):
    config = {"spec": templates} if templates else {}
    return runtime.deployment(FUNCTION, REVISION, "ns", config, "digest")


def pod(made):
    return made["spec"]["template"]["spec"]


def test_the_packages_image_serves_with_a_certificate_as_nobody_in_particular():
    made = deployment()
    assert made["metadata"]["name"] == "acme-1234"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u-revision"
    assert made["spec"]["selector"] == {"matchLabels": SELECTOR}
    template = made["spec"]["template"]
    assert template["metadata"] == {"labels": SELECTOR, "annotations": {"groundplane.io/certificate": "digest"}}
    spec = pod(made)
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("acme-1234", False)
    assert spec["imagePullSecrets"] == [{"name": "pull"}]
    assert spec["volumes"] == [{"name": "tls-server-certs", "secret": {"secretName": "acme-tls-server"}}]
    [container] = spec["containers"]
    assert (container["name"], container["image"], container["imagePullPolicy"]) == ("package-runtime", IMAGE, "Always")
    assert {each["name"]: each["value"] for each in container["env"]} == {
        "FUNCTION_NAME": "acme",
        "REVISION_NAME": "acme-1234",
        "REVISION_UID": "u-revision",
        "TLS_SERVER_CERTS_DIR": "/tls/server",
    }
    assert container["securityContext"]["runAsNonRoot"] is True
    assert [(each["name"], each["containerPort"]) for each in container["ports"]] == [("grpc", 9443), ("metrics", 8080)]


def test_the_service_leads_to_the_revision_and_outlives_it():
    made = runtime.service(FUNCTION, REVISION, "ns", {})
    assert made["metadata"]["name"] == "acme"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u-function"
    assert made["spec"]["selector"] == SELECTOR
    assert made["spec"]["clusterIP"] == "None"
    assert runtime.endpoint("acme", "ns") == "dns:///acme.ns:9443"
    assert runtime.hosts("acme", "ns") == ["acme", "acme.ns", "acme.ns.svc"]


def test_a_config_adds_and_overrides_but_not_what_finds_the_pods():
    container = {
        "name": "package-runtime",
        "args": ["--debug"],
        "image": "mirror.example.org/acme:v1",
        "env": [{"name": "LOG", "value": "1"}, {"name": "FUNCTION_NAME", "value": "other"}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    template = {
        "metadata": {"labels": {"team": "a", **dict.fromkeys(SELECTOR, "stolen")}, "annotations": {"a": "b"}},
        "spec": {"containers": [container, {"name": "sidecar"}], "nodeSelector": {"pool": "fns"}},
    }
    spec = {"replicas": 3, "selector": {"matchLabels": {"x": "y"}}, "template": template}
    made = deployment(
        deploymentTemplate={"metadata": {"labels": {"l": "1"}, "name": "ignored"}, "spec": spec},
        serviceAccountTemplate={"metadata": {"name": "given"}},
    )
    assert (made["metadata"]["name"], made["metadata"]["labels"]) == ("acme-1234", {"l": "1"})
    assert made["spec"]["replicas"] == 3
    assert made["spec"]["selector"] == {"matchLabels": SELECTOR}
    metadata = made["spec"]["template"]["metadata"]
    assert metadata["labels"] == {"team": "a", **SELECTOR}
    assert metadata["annotations"] == {"groundplane.io/certificate": "digest", "a": "b"}
    spec = pod(made)
    assert spec["nodeSelector"] == {"pool": "fns"}
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("given", True)
    assert [each["name"] for each in spec["containers"]] == ["package-runtime", "sidecar"]
    first = spec["containers"][0]
    assert (first["image"], first["args"], first["resources"]) == (
        container["image"],
        ["--debug"],
        container["resources"],
    )
    environment = {each["name"]: each["value"] for each in first["env"]}
    assert (environment["LOG"], environment["FUNCTION_NAME"], environment["REVISION_NAME"]) == (
        "1",
        "other",
        "acme-1234",
    )
    assert first["volumeMounts"]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"spec": {}},
        {"spec": {"deploymentTemplate": None}},
        {"spec": {"deploymentTemplate": "x"}},
        {"spec": {"deploymentTemplate": {"spec": 3}}},
    ],
)
def test_a_config_that_says_nothing_changes_nothing(config):
    assert runtime.deployment(FUNCTION, REVISION, "ns", config, "digest") == deployment()


def test_a_config_may_name_the_service():
    config = {"spec": {"serviceTemplate": {"metadata": {"name": "other", "labels": {"a": "b"}}}}}
    assert runtime.service_name(FUNCTION, config) == "other"
    assert runtime.service(FUNCTION, REVISION, "ns", config)["metadata"]["labels"] == {"a": "b"}


def status(*conditions, updated=1, generation=1):
    found = [{"type": type_, "status": state, "message": text} for type_, state, text in conditions]
    return {
        "metadata": {"name": "acme-1234", "generation": 1},
        "status": {"observedGeneration": generation, "updatedReplicas": updated, "conditions": found},
    }


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (status(("Available", "True", "")), ""),
        (status(("Available", "True", ""), generation=0), "has not been looked at yet"),
        (status(("Available", "True", ""), updated=0), "is not available yet"),
        (status(), "is not available yet"),
        (status(("Available", "False", "minimum availability"), ("Progressing", "True", "")), "minimum availability"),
        (status(("Available", "False", "min"), ("Progressing", "False", "deadline exceeded")), "deadline exceeded"),
        (status(("ReplicaFailure", "True", "quota"), ("Progressing", "False", "deadline")), "quota"),
        ({"metadata": {"name": "acme-1234", "generation": 1}}, "has not been looked at yet"),
    ],
)
def test_what_a_deployment_says_of_itself(found, says):
    problem = runtime.problem(found)
    assert says in problem
    assert bool(problem) == bool(says)


def config(name, *prefixes, **spec):
    images = [{"type": "Prefix", "prefix": prefix} for prefix in prefixes]
    return {"metadata": {"name": name}, "spec": {"matchImages": images, **spec}}


def rewrite(prefix):
    return {"rewriteImage": {"prefix": prefix}}


def login(secret):
    return {"registry": {"authentication": {"pullSecretRef": {"name": secret}}}}


def test_an_image_is_pulled_as_configs_say_that_fit_best():
    mirror = config("a", "xpkg.example.org/", **rewrite("mirror.example.org/x/"))
    closer = config("b", "other.example.org/", "xpkg.example.org/acme/", **rewrite("near.example.org/"))
    assert runtime.image(IMAGE, []) == runtime.Image(IMAGE)
    assert runtime.image(IMAGE, [mirror]).reference == "mirror.example.org/x/acme/function-acme:v1"
    assert runtime.image(IMAGE, [closer, mirror]).reference == "near.example.org/function-acme:v1"


def test_the_secret_is_that_of_where_the_image_is_pulled_from():
    mirror = config("a", "xpkg.example.org/", **rewrite("mirror.example.org/"), **login("there"))
    here = config("b", "mirror.example.org/", **login("here"))
    assert runtime.image(IMAGE, [mirror, here]).pull_secrets == ("here",)
    assert runtime.image(IMAGE, [mirror]).pull_secrets == ()
    pulled = runtime.image(IMAGE, [mirror, here])
    spec = pod(runtime.deployment(FUNCTION, REVISION, "ns", {}, "digest", pulled))
    assert spec["imagePullSecrets"] == [{"name": "pull"}, {"name": "here"}]
    assert spec["containers"][0]["image"] == "mirror.example.org/acme/function-acme:v1"
    assert FUNCTION["spec"]["packagePullSecrets"] == [{"name": "pull"}]


def test_what_is_to_be_verified_is_not_run():
    wanted = config("signed", "xpkg.example.org/", verification={"provider": "Cosign"})
    with pytest.raises(InvalidInput, match='ImageConfig signed wants the signature of "xpkg.example.org/acme'):
        runtime.image(IMAGE, [wanted])
    assert runtime.image("elsewhere.example.org/f:v1", [wanted]).reference == "elsewhere.example.org/f:v1"


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"metadata": {"name": "x"}},
        {"metadata": {"name": "x"}, "spec": {"matchImages": [None, {"prefix": 3}], **rewrite("y/")}},
        config("x", "", rewriteImage="text", registry={"authentication": []}),
    ],
)
def test_a_config_that_says_nothing_of_an_image_leaves_it_as_it_is(odd):
    assert runtime.image(IMAGE, [odd]) == runtime.Image(IMAGE)


def test_bounds_hold_unless_a_config_says_otherwise():
    bounds = runtime.Bounds({"memory": "512Mi"}, {"cpu": "100m"}, {"pool": "functions"})
    made = pod(runtime.deployment(FUNCTION, REVISION, "ns", {}, "digest", bounds=bounds))
    assert made["containers"][0]["resources"] == {"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m"}}
    assert made["nodeSelector"] == {"pool": "functions"}
    container = {"name": "package-runtime", "resources": {"limits": {"memory": "1Gi"}}}
    given = {"spec": {"template": {"spec": {"containers": [container]}}}}
    over = {"spec": {"deploymentTemplate": given}}
    made = pod(runtime.deployment(FUNCTION, REVISION, "ns", over, "digest", bounds=bounds))
    assert made["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}
    assert "resources" not in pod(deployment())["containers"][0]


@pytest.mark.parametrize(
    ("globs", "may_run"),
    [
        ((), True),
        (("example.org/*/function-*",), True),
        (("other.example.org/*", "example.org/acme/function-a:v1"), True),
        (("example.org/*",), False),  # a * ends at a slash
        (("example.org/acme*",), False),
        (("*/acme/function-a:v2",), False),
        (("acme/*",), False),
    ],
)
def test_images_that_may_be_run_are_listed_by_globs(globs, may_run):
    bounds = runtime.Bounds(images=globs)
    if may_run:
        runtime.check_image("example.org/acme/function-a:v1", bounds)
        return
    with pytest.raises(InvalidInput, match="is not one of those that may be run") as told:
        runtime.check_image("example.org/acme/function-a:v1", bounds)
    assert "--function-allowed-images" in told.value.mend


@pytest.mark.parametrize("part", ["containers", "initContainers"])
def test_an_image_that_a_runtime_config_names_counts_as_well(part):
    bounds = runtime.Bounds(images=("xpkg.example.org/acme/*",))
    sidecar = {"name": "other", "image": "evil.example/x:v1"}
    made = deployment(deploymentTemplate={"spec": {"template": {"spec": {part: [sidecar]}}}})
    with pytest.raises(InvalidInput, match=r"evil\.example/x:v1"):
        runtime.check_pod(made, bounds)
    runtime.check_pod(deployment(), bounds)
