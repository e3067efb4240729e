"""The CRDs: upstream's surface, structural, deterministic, and taken by a real API server."""

import json
from collections import Counter

import pytest

from groundplane.aws import catalogue
from groundplane.aws.crds import crds
from groundplane.core.rules import Unchecked
from groundplane.core.schema import default, undeclared, validate
from groundplane.core.structural import compiled

ALL = {crd["metadata"]["name"]: crd for crd in crds()}
MANAGED = {f"{found.plural}.{found.group}": found for found in catalogue.every()}


def schema(name, version=0):
    return ALL[name]["spec"]["versions"][version]["schema"]["openAPIV3Schema"]


def for_provider(name, version=0):
    return schema(name, version)["properties"]["spec"]["properties"]["forProvider"]


def test_there_is_one_for_each_kind_and_for_provider_config():
    names = ("providerconfigs.{}", "providerconfigusages.{}")
    configs = {name.format(group) for name in names for group in ("aws.upbound.io", "aws.m.upbound.io")}
    assert set(ALL) == {*MANAGED, *configs, "clusterproviderconfigs.aws.m.upbound.io"}


def test_they_are_the_same_each_time():
    assert json.dumps(crds()) == json.dumps(crds())
    assert list(ALL) == sorted(ALL)


@pytest.mark.parametrize("name", MANAGED)
def test_people_see_a_managed_resource_as_upstream_shows_it(name):
    spec = ALL[name]["spec"]
    assert spec["scope"] == ("Namespaced" if ".aws.m." in name else "Cluster")
    assert spec["names"]["categories"] == ["crossplane", "managed", "aws"]
    assert [version["name"] for version in spec["versions"]] == list(MANAGED[name].versions)
    (stored,) = [version["name"] for version in spec["versions"] if version["storage"]]
    assert stored == ("v1beta1" if name.startswith("bucketlifecycle") else list(MANAGED[name].versions)[-1])
    for version in spec["versions"]:
        columns = [column["name"] for column in version["additionalPrinterColumns"]]
        first = ["READY", "SYNCED"] if version["name"] in MANAGED[name].ready_first else ["SYNCED", "READY"]
        assert columns == [*first, "EXTERNAL-NAME", "AGE"]


@pytest.mark.parametrize("name", MANAGED)
def test_every_field_and_its_siblings_are_there(name):
    found, properties = MANAGED[name], for_provider(name)["properties"]
    assert set(found.fields) <= set(properties)
    for reference in found.port.references:
        for path in (reference.ref, reference.selector):
            *parents, last = path.split("[].")
            inside = properties
            for parent in parents:
                schema_ = inside[parent]
                inside = schema_.get("items", schema_)["properties"]
            assert last in inside
    assert for_provider(name).get("required", []) == ([] if found.is_global else ["region"])


@pytest.mark.parametrize("name", MANAGED)
def test_the_example_is_valid(name):
    properties = for_provider(name)["properties"]
    assert set(MANAGED[name].example) <= set(properties)


@pytest.mark.parametrize(
    ("name", "field"),
    [("instances.rds.aws.upbound.io", "instanceClass"), ("roles.iam.aws.upbound.io", "assumeRolePolicy")],
)
def test_what_a_create_needs_is_asked_for_by_a_rule_in_the_embedded_store_too(name, field):
    admitting = compiled(schema(name))
    given = {"forProvider": {"region": "eu-west-1"}}

    def problems(spec):
        unchecked = Unchecked()
        found = validate(admitting, default(admitting, {"spec": spec}), unchecked=unchecked)
        assert [*unchecked.told()] == []
        return found

    assert problems(given) == [f'spec: Invalid value: "object": spec.forProvider.{field} is a required parameter']
    assert problems(given | {"managementPolicies": ["Observe"]}) == []
    assert problems(given | {"initProvider": {field: "x"}}) == []


def test_fields_are_described_in_a_sentence():
    words = for_provider("instances.rds.aws.upbound.io")["properties"]["instanceClass"]["description"]
    assert words == "The compute and memory capacity of the DB instance, for example db.m5.large."
    for name in MANAGED:
        for field in for_provider(name)["properties"].values():
            text = field.get("description", "")
            assert len(text) <= 201
            assert not set("<>") & set(text)


def test_without_docs_no_model_is_loaded():
    bare = {crd["metadata"]["name"]: crd for crd in crds(docs=False)}
    spec = bare["instances.rds.aws.upbound.io"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][
        "spec"
    ]
    assert "description" not in spec["properties"]["forProvider"]["properties"]["instanceClass"]


def test_a_connection_secret_needs_no_name_except_upstream():
    def required(**options):
        made = {crd["metadata"]["name"]: crd for crd in crds(docs=False, **options)}
        version = made["vpcs.ec2.aws.upbound.io"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        return version["properties"]["spec"]["properties"]["writeConnectionSecretToRef"]["required"]

    assert required() == ["namespace"]
    assert required(strict_upstream=True) == ["name", "namespace"]


def test_provider_config_takes_the_sources_of_both_worlds():
    spec = schema("providerconfigs.aws.upbound.io")["properties"]["spec"]
    sources = spec["properties"]["credentials"]["properties"]["source"]["enum"]
    assert {"Secret", "IRSA", "WebIdentity", "Upbound", "None", "InjectedIdentity"} <= set(sources)


INSTANCE = {"region": "eu-west-1", "engine": "postgres", "instanceClass": "db.t3.micro", "allocatedStorage": 20}


def test_no_two_have_a_name_in_common_or_the_api_server_would_accept_only_one():
    """Within a group: plural, singular, short names; kind and the kind of its lists."""
    taken = Counter()
    for crd in ALL.values():
        names = {"listKind": f"{crd['spec']['names']['kind']}List"} | crd["spec"]["names"]
        group, resources = crd["spec"]["group"], {names["plural"], names["singular"], *names.get("shortNames", ())}
        taken.update((group, "resource", name) for name in resources)
        taken.update((group, "kind", name) for name in {names["kind"], names["listKind"]})
    assert {name: times for name, times in taken.items() if times > 1} == {}


def test_a_real_api_server_takes_every_one(control_plane):
    """Asked without doing it: whoever serves a kind more takes seconds for it.  `make scenarios` has all of them served."""
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(ALL.values())})
    dry = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-")
    assert control_plane.kubectl(*dry, input=manifest).stdout.count("(server dry run)") == len(ALL)


@pytest.fixture(scope="module")
def served(control_plane):
    """Databases on a real API server."""
    control_plane.install(ALL["instances.rds.aws.upbound.io"], ALL["bucketversionings.s3.aws.upbound.io"])
    return control_plane


@pytest.mark.parametrize(
    "kind, field, mend",
    [
        ("instances.rds", "dbInstanceClass", "did you mean instanceClass?"),
        ("instances.rds", "masterPassword", "did you mean passwordSecretRef?"),
        ("clusters.rds", "masterPassword", "did you mean masterPasswordSecretRef?"),
        ("instances.rds", "vpcSecurityGroupIDSelector", "did you mean vpcSecurityGroupIdSelector?"),
        ("instances.rds", "securityGroupIdSelector", "did you mean vpcSecurityGroupIdSelector?"),
        ("instances.rds", "writeConnectionSecretToRef", "write it one level up, in spec, beside forProvider"),
        ("buckets.s3", "providerConfigRef", "write it one level up, in spec, beside forProvider"),
    ],
)
def test_mistakes_that_people_make_are_named_with_the_right_field(kind, field, mend):
    found = undeclared(schema(f"{kind}.aws.upbound.io"), {"spec": {"forProvider": {field: "x"}}})
    assert [(fault.path, fault.mend) for fault in found] == [(f".spec.forProvider.{field}", mend)]


@pytest.mark.parametrize(
    "version, spec, refusal",
    [
        ("v1beta1", {"forProvider": INSTANCE, "writeConnectionSecretToRef": {"namespace": "default"}}, ""),
        ("v1beta1", {"forProvider": {"region": "eu-west-1"}}, "spec.forProvider.instanceClass is a required parameter"),
        ("v1beta1", {"forProvider": {"region": "eu-west-1"}, "managementPolicies": ["Observe"]}, ""),
        ("v1beta1", {"forProvider": {"region": "eu-west-1"}, "initProvider": {"instanceClass": "x"}}, ""),
        ("v1beta1", {"forProvider": {"instanceClass": "x"}}, "spec.forProvider.region: Required value"),
        ("v1beta1", {"forProvider": {**INSTANCE, "dbInstanceClass": "x"}}, "unknown field"),
        ("v1beta3", {"forProvider": {**INSTANCE, "blueGreenUpdate": {"enabled": True}}}, ""),
        ("v1beta2", {"forProvider": {**INSTANCE, "blueGreenUpdate": [{"enabled": True}]}}, ""),
        ("v1beta3", {"forProvider": {**INSTANCE, "blueGreenUpdate": [{"enabled": True}]}}, ""),
        ("v1beta1", {"forProvider": {**INSTANCE, "blueGreenUpdate": {"enabled": True}}}, ""),
        ("v1beta1", {"forProvider": {**INSTANCE, "blueGreenUpdate": [{}, {}]}}, "must have at most 1 item"),
        ("v1beta1", {"forProvider": {**INSTANCE, "blueGreenUpdate": [{"enabled": "yes"}]}}, "must be of type boolean"),
        ("v1beta3", {"forProvider": {**INSTANCE, "blueGreenUpdate": {"enabled": "yes"}}}, "must be of type boolean"),
    ],
)
def test_a_real_api_server_judges_as_upstream_would(served, version, spec, refusal):
    instance = {"apiVersion": f"rds.aws.upbound.io/{version}", "kind": "Instance", "spec": spec}
    instance["metadata"] = {"generateName": "crds-"}
    stored, said = served.judge(instance)
    assert (stored is None) is bool(refusal), said
    assert refusal in said


VERSIONING = {"region": "eu-west-1", "bucket": "orders"}


def versioning(version, name="", /, **spec):
    metadata = {"name": name} if name else {"generateName": "crds-"}
    return {
        "apiVersion": f"s3.aws.upbound.io/{version}",
        "kind": "BucketVersioning",
        "metadata": metadata,
        "spec": spec,
    }


@pytest.mark.parametrize(
    "version, spec, refusal",
    [
        ("v1beta1", {}, "spec.forProvider.versioningConfiguration is a required parameter"),
        ("v1beta2", {"initProvider": {}}, "spec.forProvider.versioningConfiguration is a required parameter"),
        ("v1beta1", {"managementPolicies": ["Observe"]}, ""),
        ("v1beta2", {"forProvider": {"versioningConfiguration": {"status": "Enabled"}}}, ""),
        ("v1beta2", {"forProvider": {"versioningConfiguration": [{"status": "Enabled"}]}}, ""),
        ("v1beta1", {"initProvider": {"versioningConfiguration": [{"status": "Enabled"}]}}, ""),
        ("v1beta1", {"forProvider": {"versioningConfiguration": [{"status": 5}]}}, "must be of type string"),
    ],
)
def test_what_is_a_list_or_an_object_is_asked_for_where_upstream_asks_for_it(served, version, spec, refusal):
    spec = spec | {"forProvider": VERSIONING | spec.get("forProvider", {})}
    stored, said = served.judge(versioning(version, **spec))
    assert (stored is None) is bool(refusal), said
    assert refusal in said
    admitting, unchecked = compiled(schema("bucketversionings.s3.aws.upbound.io")), Unchecked()
    here = validate(admitting, default(admitting, {"spec": spec}), unchecked=unchecked)
    assert [*unchecked.told()] == []
    assert bool(here) is bool(refusal)


def test_of_such_an_object_several_managers_have_their_own_fields(served):
    for manager, field in (("one", {"status": "Enabled"}), ("two", {"mfaDelete": "Disabled"})):
        wanted = versioning("v1beta2", "shared", forProvider=VERSIONING | {"versioningConfiguration": field})
        apply = ("apply", "--server-side", f"--field-manager={manager}", "-f", "-")
        served.kubectl(*apply, input=json.dumps(wanted))
    kept = served.get("bucketversionings.s3.aws.upbound.io", "shared")
    assert kept["spec"]["forProvider"]["versioningConfiguration"] == {"status": "Enabled", "mfaDelete": "Disabled"}
