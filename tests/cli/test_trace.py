"""`groundplane trace`: upstream's pictures of the same trees, and ours of a store."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from groundplane.cli import trace_report
from groundplane.cli.trace_report import Look, written
from groundplane.core import lineage
from groundplane.core.lineage import Member
from groundplane.core.objects import Key, key_of
from tests.cli import platform
from tests.cli.platform import groundplane, write

# --- upstream's trees: crossplane v1.20, cmd/crank/beta/trace/internal/printer, `GetComplexResource` ---------------


def member(
    kind: str, name: str, *children: Member, namespace: str = "", template: str = "", **conditions: tuple[str, ...]
) -> Member:
    told = [
        dict(zip(("type", "status", "reason", "message"), (type_.capitalize(), *values), strict=False))
        for type_, values in conditions.items()
    ]
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    if template:
        metadata["annotations"] = {"crossplane.io/composition-resource-name": template}
    obj = {
        "apiVersion": "test.cloud/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": {},
        "status": {"conditions": told},
    }
    return Member(key_of(obj), obj, "", children)


LONG = (
    "Error with bucket child 1: Sint eu mollit tempor ad minim do commodo irure. Magna labore irure magna. "
    "Non cillum id nulla. Anim culpa do duis consectetur."
)
TRUE = ("True",)
GOOD = {"synced": TRUE, "ready": TRUE}
FAILED = {"synced": TRUE, "ready": ("False", "SomethingWrongHappened", "Error with bucket child 2")}
TREE = member(
    "ObjectStorage",
    "test-resource",
    member(
        "XObjectStorage",
        "test-resource-hash",
        member(
            "Bucket",
            "test-resource-bucket-hash",
            member(
                "User",
                "test-resource-child-1-bucket-hash",
                template="two",
                synced=TRUE,
                ready=("False", "SomethingWrongHappened", LONG),
            ),
            member(
                "User",
                "test-resource-child-mid-bucket-hash",
                template="three",
                synced=("False", "CantSync", "Sync error with bucket child mid"),
                ready=("True", "AllGood"),
            ),
            member(
                "User",
                "test-resource-child-2-bucket-hash",
                member("User", "test-resource-child-2-1-bucket-hash", synced=TRUE),
                template="four",
                **FAILED,
            ),
            template="one",
            **GOOD,
        ),
        member("User", "test-resource-user-hash", ready=TRUE, synced=("Unknown",)),
        **GOOD,
    ),
    namespace="default",
    **GOOD,
)
DEFAULT = """\
NAME                                                   SYNCED    READY   STATUS
ObjectStorage/test-resource (default)                  True      True    
└─ XObjectStorage/test-resource-hash                   True      True    
   ├─ Bucket/test-resource-bucket-hash                 True      True    
   │  ├─ User/test-resource-child-1-bucket-hash        True      False   SomethingWrongHappened: ...rure magna. Non cillum id nulla. Anim culpa do duis consectetur.
   │  ├─ User/test-resource-child-mid-bucket-hash      False     True    CantSync: Sync error with bucket child mid
   │  └─ User/test-resource-child-2-bucket-hash        True      False   SomethingWrongHappened: Error with bucket child 2
   │     └─ User/test-resource-child-2-1-bucket-hash   True      -       
   └─ User/test-resource-user-hash                     Unknown   True    
"""  # noqa: W291
DOT = """\
graph  {
\t
\tn1[label="Name: ObjectStorage/test-resource\\nApiVersion: test.cloud/v1alpha1\\nNamespace: default\\nReady: True\\nSynced: True\\n",penwidth="2"];
\tn2[label="Name: XObjectStorage/test-resource-hash\\nApiVersion: test.cloud/v1alpha1\\nReady: True\\nSynced: True\\n",penwidth="2"];
\tn3[label="Name: Bucket/test-resource-bucket-hash\\nApiVersion: test.cloud/v1alpha1\\nReady: True\\nSynced: True\\n",penwidth="2"];
\tn4[label="Name: User/test-resource-user-hash\\nApiVersion: test.cloud/v1alpha1\\nReady: True\\nSynced: Unknown\\n",penwidth="2"];
\tn5[label="Name: User/test-resource-child-1-bucket-hash\\nApiVersion: test.cloud/v1alpha1\\nReady: False\\nSynced: True\\n",penwidth="2"];
\tn6[label="Name: User/test-resource-child-mid-bucket-hash\\nApiVersion: test.cloud/v1alpha1\\nReady: True\\nSynced: False\\n",penwidth="2"];
\tn7[label="Name: User/test-resource-child-2-bucket-hash\\nApiVersion: test.cloud/v1alpha1\\nReady: False\\nSynced: True\\n",penwidth="2"];
\tn8[label="Name: User/test-resource-child-2-1-bucket-hash\\nApiVersion: test.cloud/v1alpha1\\nReady: \\nSynced: True\\n",penwidth="2"];
\tn1--n2;
\tn2--n3;
\tn2--n4;
\tn3--n5;
\tn3--n6;
\tn3--n7;
\tn7--n8;
\t
}
"""
PLAIN = Look(plain=True)


def test_the_table_is_upstreams():
    assert written([TREE], PLAIN) == DEFAULT


def test_the_wide_table_has_the_templates_and_whole_messages():
    lines = written([TREE], Look(output="wide", plain=True)).splitlines()
    assert lines[0] == "NAME                                                   RESOURCE   SYNCED    READY   STATUS"
    assert lines[3] == "   ├─ Bucket/test-resource-bucket-hash                 one        True      True    "
    assert lines[4].endswith(f"two        True      False   SomethingWrongHappened: {LONG}")


def test_the_graph_is_upstreams():
    assert written([TREE], Look(output="dot", plain=True)) == DOT


def test_json_nests_objects_and_yaml_says_the_same():
    found = json.loads(written([TREE], Look(output="json", plain=True)))
    assert set(found) == {"object", "children"}
    assert found["children"][0]["children"][1]["object"]["metadata"]["name"] == "test-resource-user-hash"
    assert yaml.safe_load(written([TREE], Look(output="yaml", plain=True))) == found
    assert json.loads(written([TREE], Look(output="json", plain=True), is_list=True)) == {"items": [found]}


def package(
    kind: str, name: str, image: str, *children: Member, state: str = "", **conditions: tuple[str, ...]
) -> Member:
    made = member(kind, name, *children, **conditions)
    spec = {"image": image, "desiredState": state} if kind.endswith("Revision") else {"package": image}
    obj = {**made.object, "apiVersion": "pkg.crossplane.io/v1", "spec": spec}
    return Member(key_of(obj), obj, "", children)


def test_a_package_whose_revision_says_nothing_of_its_health():
    image = "xpkg.crossplane.io/crossplane/provider-x:v1.0.0"
    revision = package("ProviderRevision", "provider-x-1", image, state="Active", healthy=("Unknown", "UnknownHealth"))
    root = package(
        "Provider", "provider-x", image, revision, installed=TRUE, healthy=("Unknown", "UnknownPackageRevisionHealth")
    )
    table = [" ".join(line.split()) for line in written([root], PLAIN).splitlines()]
    assert table[1:] == [
        "Provider/provider-x v1.0.0 True Unknown - UnknownPackageRevisionHealth",
        "└─ ProviderRevision/provider-x-1 v1.0.0 - Unknown Active UnknownHealth",
    ]
    assert written([root], Look(output="dot", plain=True)).splitlines()[2:5] == [
        '\tn1[label="Name: Provider/provider-x\\nApiVersion: pkg.crossplane.io/v1\\nInstalled: True\\nHealthy: Unknown\\n",penwidth="2"];',
        '\tn2[label="Name: ProviderRevision/provider-x-1\\nApiVersion: pkg.crossplane.io/v1\\nInstalled: \\nHealthy: Unknown\\n",penwidth="2"];',
        "\tn1--n2;",
    ]


def test_packages_have_upstreams_columns():
    image = "xpkg.crossplane.io/crossplane/platform-ref-aws:v0.9.0"
    healthy = ("True", "HealthyPackageRevision")
    root = package(
        "Configuration",
        "platform-ref-aws",
        image,
        package(
            "ConfigurationRevision",
            "platform-ref-aws-9ad7b5db2899",
            image,
            state="Active",
            installed=TRUE,
            healthy=healthy,
        ),
        installed=TRUE,
        healthy=healthy,
    )
    assert written([root], PLAIN).splitlines() == [
        "NAME                                                     VERSION   INSTALLED   HEALTHY   STATE    STATUS                   ",
        "Configuration/platform-ref-aws                           v0.9.0    True        True      -        HealthyPackageRevision   ",
        "└─ ConfigurationRevision/platform-ref-aws-9ad7b5db2899   v0.9.0    True        True      Active   HealthyPackageRevision   ",
    ]
    assert "xpkg.crossplane.io/crossplane/platform-ref-aws   v0.9.0" in written([root], Look(output="wide", plain=True))


# --- what an object leads to: crossplane v1.20, cmd/crank/beta/trace/internal/resource/xrm, `loader_test.go` ---------

COMPOSED = [
    {"apiVersion": "b.org/v1", "kind": kind, "name": name} for kind, name in (("B", "z"), ("B", "a"), ("A", "m"))
]
CLAIM = {
    "resourceRef": {"apiVersion": "a.org/v1", "kind": "XR", "name": "xr"},
    "writeConnectionSecretToRef": {"name": "keys"},
    "resourceRefs": COMPOSED,
}
COMPOSITE = {"writeConnectionSecretToRef": {"name": "keys", "namespace": "system"}, "resourceRefs": COMPOSED}
IN_ORDER = [Key("b.org/v1", "A", "", "m"), Key("b.org/v1", "B", "", "a"), Key("b.org/v1", "B", "", "z")]


@pytest.mark.parametrize(
    ("namespace", "spec", "secrets", "edges"),
    [
        ("", {}, True, []),
        ("", {"resourceRefs": [], "crossplane": {}}, True, []),
        ("team", CLAIM, False, [Key("a.org/v1", "XR", "", "xr")]),
        ("team", CLAIM, True, [Key("a.org/v1", "XR", "", "xr"), Key("v1", "Secret", "team", "keys")]),
        ("", COMPOSITE, False, IN_ORDER),
        ("", COMPOSITE, True, [*IN_ORDER, Key("v1", "Secret", "system", "keys")]),
        (
            "team",
            {"crossplane": {"resourceRefs": COMPOSED}},
            True,
            [key._replace(namespace="team") for key in IN_ORDER],
        ),
    ],
)
def test_what_an_object_leads_to(namespace, spec, secrets, edges):
    obj = {"apiVersion": "a.org/v1", "kind": "X", "metadata": {"name": "x", "namespace": namespace}, "spec": spec}
    assert lineage.edges(obj, secrets=secrets) == edges


def test_no_requests_at_once_are_wrong_usage():
    assert groundplane("trace", "note", "first", "--concurrency", "0").exit_code == 80


@pytest.mark.parametrize(
    ("api_version", "config", "leads_to"),
    [
        ("rds.aws.upbound.io/v1beta1", {}, Key("aws.upbound.io/v1beta1", "ProviderConfig", "", "main")),
        ("rds.aws.m.upbound.io/v1beta1", {}, Key("aws.m.upbound.io/v1beta1", "ProviderConfig", "team", "main")),
        (
            "rds.aws.m.upbound.io/v1beta1",
            {"kind": "ClusterProviderConfig"},
            Key("aws.m.upbound.io/v1beta1", "ClusterProviderConfig", "", "main"),
        ),
        (
            "postgresql.sql.crossplane.io/v1alpha1",
            {},
            Key("postgresql.sql.crossplane.io/v1alpha1", "ProviderConfig", "", "main"),
        ),
        (
            "postgresql.sql.m.crossplane.io/v1alpha1",
            {},
            Key("postgresql.sql.m.crossplane.io/v1alpha1", "ProviderConfig", "team", "main"),
        ),
        (
            "kubernetes.crossplane.io/v1alpha2",
            {},
            Key("kubernetes.crossplane.io/v1alpha1", "ProviderConfig", "", "main"),
        ),
        ("storage.gcp.upbound.io/v1beta1", {}, Key("gcp.upbound.io/v1beta1", "ProviderConfig", "", "main")),
    ],
)
def test_the_provider_config_is_of_the_providers_group_and_version(api_version, config, leads_to):
    spec = {"forProvider": {}, "providerConfigRef": {"name": "main", **config}}
    obj = {"apiVersion": api_version, "kind": "X", "metadata": {"name": "x", "namespace": "team"}, "spec": spec}
    assert lineage.edges(obj, providers=True) == [leads_to]


# --- what we add ---------------------------------------------------------------------------------------------------


def test_a_mend_that_asks_ends_with_its_question_mark():
    refused = ("False", "ReconcileError", 'no entry for "large". Mend: add it, or did you mean larg?')
    root = member("XDatabase", "a", synced=refused, ready=("False", "Creating"))
    assert trace_report.cause_of(root).splitlines()[-1].endswith("did you mean larg?")


def test_the_cause_is_the_lowest_failure_with_its_mend():
    refused = ("False", "ReconcileError", "AWS refuses db.t3.medium. Mend: use a class that this engine has.")
    root = member(
        "XDatabase",
        "a",
        member("Instance", "db", synced=refused, ready=("False", "Creating")),
        member("Instance", "other", synced=TRUE, ready=("False", "Creating")),
        synced=TRUE,
        ready=("False", "Creating", "Unready resources: db"),
    )
    assert trace_report.cause_of(root).splitlines() == [
        "Cause  Instance db: AWS refuses db.t3.medium.",
        "       Mend: use a class that this engine has.",
    ]
    assert written([root], Look()).endswith(
        "\n\nCause  Instance db: AWS refuses db.t3.medium.\n       Mend: use a class that this engine has.\n"
    )
    assert json.loads(written([root], Look(output="json")))["cause"].startswith("Instance db: AWS refuses")


def test_a_cut_status_ends_with_the_cause_and_not_with_its_mend():
    cause = 'annotation crossplane.io/external-name: "Shop_Receipts" is no name for this kind in AWS'
    message = f"cannot initialize the managed resource: {cause}. Mend: a bucket's name has 3 to 63 lower-case letters."
    root = member("Bucket", "a", synced=("False", "ReconcileError", message), ready=("False", "Creating"))
    assert f"ReconcileError: ...{cause[-64:]}\n" in written([root], Look())
    assert f"ReconcileError: {message}\n" in written([root], Look(output="wide"))
    assert f"ReconcileError: ...{message[-64:]}\n" in written([root], PLAIN), "as upstream has it"


def test_the_cause_names_the_template_that_made_it():
    below = member("Instance", "db-x7k2p", **FAILED)
    below.object["metadata"]["annotations"] = {"crossplane.io/composition-resource-name": "instance"}
    root = member("XDatabase", "a", below, **GOOD)
    assert trace_report.cause_of(root).startswith("Cause  Instance db-x7k2p (template instance): ")


@pytest.mark.parametrize(
    ("api_version", "where"),
    [
        ("rds.aws.upbound.io/v1beta1", "AWS"),
        ("postgresql.sql.m.crossplane.io/v1alpha1", "PostgreSQL"),
        ("kubernetes.crossplane.io/v1alpha2", "Kubernetes"),
    ],
)
def test_the_cause_says_where_the_thing_has_its_name(api_version, where):
    failing = member("Instance", "db", **FAILED).object
    failing |= {"apiVersion": api_version, "spec": {"forProvider": {}}}
    failing["metadata"]["annotations"] = {"crossplane.io/external-name": "orders"}
    told = trace_report.cause_of(Member(key_of(failing), failing, "", ()))
    assert told.startswith(f"Cause  Instance db ({where}: orders): ")


def test_without_a_failure_the_cause_is_what_the_others_wait_for():
    below = member("Instance", "db", synced=TRUE, ready=("False", "Creating", "AWS makes it"))
    root = member("XDatabase", "a", below, synced=TRUE, ready=("False", "Creating", "Unready resources: db"))
    assert trace_report.cause_of(root) == "Cause  Instance db: Synced, not Ready: Creating: AWS makes it."
    gone = Member(Key("a.org/v1", "Instance", "", "db"), None, 'Instance "db" not found')
    assert (
        trace_report.cause_of(member("XDatabase", "a", gone, synced=TRUE))
        == 'Cause  Instance db: Instance "db" not found'
    )
    assert trace_report.cause_of(member("XDatabase", "a", **GOOD)) == ""


def test_siblings_that_are_ready_fold_and_others_never():
    subnets = [member("Subnet", f"s{n:03}", **GOOD) for n in range(30)]
    root = member("XNetwork", "a", *subnets, member("Subnet", "z-odd", **FAILED), **GOOD)
    shown = written([lineage.folded(root, 20)], Look())
    assert shown.count("Subnet/") == 21
    assert "… and 10 more Subnet, ready (--all)" in shown
    assert "Subnet/z-odd" in shown
    assert written([lineage.unready(root)], Look()).count("Subnet/") == 1
    assert written([lineage.pruned(root, 0)], PLAIN).count("\n") == 2


def test_a_message_is_cut_between_letters():
    root = member("A", "a", synced=("False", "E", "ä" * 60))
    assert f"E: ...{'ä' * 32}" in written([root], PLAIN)


def test_what_is_above_is_not_followed_again():
    one, other = (member("A", name, **GOOD).object for name in ("a", "b"))
    keys = [key_of(one), key_of(other)]
    tree = lineage.grown(keys[0], {keys[0]: one, keys[1]: other}, {keys[0]: [keys[1]], keys[1]: [keys[0]]})
    assert [each.error for each in lineage.every(tree)] == ["", "", "it is above already"]


# --- a store ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def db(tmp_path_factory) -> Path:
    """A store in which a claim is ready, and another one's Composition is broken."""
    folder = tmp_path_factory.mktemp("trace")
    broken = platform.CLAIM.replace("first", "second").replace("text: hello", "text: 'no'")
    composition = platform.BROKEN.replace("{hi: there}", "{hello: there}")
    manifests = write(folder / "m", a=platform.DEFINITION, b=composition, c=platform.CLAIM, d=broken)
    path = folder / "x.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("groundplane.cli.up.GRACE", 0.5)  # one of them is never ready
        done = groundplane("up", manifests, "--db", path, "--once")
    assert "first" in done.output
    return path


def traced(db: Path, *words: object):
    return groundplane("trace", *words, "--db", db)


def test_a_claim_in_a_store_down_to_what_it_is_made_of(db):
    result = traced(db, "note", "first", "-n", "team")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["NAME", "SYNCED", "READY", "STATUS"]
    assert [line.split()[0] for line in lines[1:4] if line[0] != " "][:1] == ["Note/first"]
    assert "└─ XNote/first-" in lines[2]
    assert "   └─ ConfigMap/" in lines[3]
    assert "Cause" not in result.stdout
    assert traced(db, "note/first", "-n", "team", "--exit-code").exit_code == 0
    wide = traced(db, "nt/first", "-n", "team", "-o", "wide").stdout.splitlines()
    assert "map" in wide[3]


def test_what_is_not_ready_tells_its_cause_and_a_code_if_asked(db):
    result = traced(db, "note", "second", "-n", "team")
    assert result.exit_code == 0
    assert "Cause  " in result.stdout
    assert 'no entry for "no" in the map' in result.stdout
    assert traced(db, "note", "second", "-n", "team", "--exit-code").exit_code == 3
    assert "Cause" not in traced(db, "note", "second", "-n", "team", "--plain").stdout


def test_all_of_a_kind_without_a_name(db):
    found = json.loads(traced(db, "notes", "-n", "team", "-o", "json").stdout)
    assert [each["object"]["metadata"]["name"] for each in found["items"]] == ["first", "second"]
    assert traced(db, "xnotes").stdout.count("XNote/") == 2
    assert traced(db, "notes", "-A").stdout.count("Note/") == traced(db, "notes", "-n", "team").stdout.count("Note/")


def test_of_a_kind_that_has_no_objects_people_are_told_and_programs_get_an_empty_list(db):
    """As upstream's command line of v2 ends."""
    for output in ("default", "wide", "dot"):
        ran = traced(db, "notes", "-n", "nowhere", "-o", output)
        assert (ran.exit_code, ran.stdout) == (1, "")
        assert "Error: there are no notes.tests.example.com in namespace nowhere. Mend: look in all" in ran.stderr
    assert "Error: there are no usages." in traced(db, "usages.apiextensions.crossplane.io").stderr
    ran = traced(db, "notes", "-n", "nowhere", "-o", "json")
    assert (ran.exit_code, json.loads(ran.stdout)) == (0, {"items": []})


def test_what_is_in_another_namespace_is_named_and_found(db):
    assert "Mend: there is one in team: add -n team." in traced(db, "note", "first").stderr
    assert traced(db, "note", "first", "-A").stdout == traced(db, "note", "first", "-n", "team").stdout
    assert "see what is there: groundplane trace note -A" in traced(db, "note", "third", "-A").stderr


@pytest.mark.parametrize(
    "words, code, tells",
    [
        (("notee", "first"), 1, 'there is no kind "notee". Mend: did you mean note?'),
        (("note", "frist", "-n", "team"), 1, "Mend: did you mean first?"),
        (("notes.tests.exmple.com", "first"), 1, "Mend: did you mean notes.tests.example.com?"),
        (("note.test.example.com", "first"), 1, "Mend: did you mean note.tests.example.com?"),
        (("note", "third", "-n", "team"), 1, 'notes.tests.example.com "third" not found in namespace team'),
        (("note/first", "first"), 80, "name the object once"),
        (("note/a/b",), 80, "name the object once"),
        (("note", "-w"), 80, "name the object that is to be watched"),
    ],
)
def test_what_is_not_there_or_said_twice(db, words, code, tells):
    result = traced(db, *words)
    assert result.exit_code == code
    assert tells in result.stderr


def test_watching_until_it_is_ready_ends_at_once_where_it_is(db):
    result = traced(db, "note", "first", "-n", "team", "--until", "ready")
    assert result.exit_code == 0
    assert result.stdout.count("Note/first ") == 1
    assert traced(db, "note", "third", "-n", "team", "--until", "gone").exit_code == 0


def test_a_hint_of_another_command_names_the_store(db):
    ran = groundplane("trace", "note", "nobody", "-n", "team", "--db", db)
    assert f"groundplane trace note -A --db {db}." in ran.stderr
    assert (
        f"groundplane get notes -A --db {db}." in groundplane("get", "notes", "nobody", "-n", "team", "--db", db).stderr
    )
    assert f"groundplane get crds --db {db}." in groundplane("get", "qqqqqq", "--db", db).stderr
    assert "--db" not in groundplane("get", "notes", "--db", db, "-n", "nowhere").stderr


def test_a_store_that_is_not_there_is_one_line(tmp_path):
    result = traced(tmp_path / "none.db", "note", "first")
    assert result.exit_code == 1
    assert "there is no store at" in result.stderr


def test_secrets_are_shown_without_what_is_in_them(tmp_path, monkeypatch):
    monkeypatch.setattr("groundplane.cli.up.GRACE", 0.5)  # a Secret is never ready
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: team}\nstringData: {password: hunter2}\n"
    claim = platform.CLAIM.replace("spec: {text", "spec: {writeConnectionSecretToRef: {name: keys}, text")
    manifests = write(tmp_path / "m", a=platform.DEFINITION, b=platform.COMPOSITION, c=claim, d=secret)
    db = tmp_path / "x.db"
    groundplane("up", manifests, "--db", db, "--once")
    with closing(sqlite3.connect(db)) as there:
        assert there.execute("select count(*) from sqlite_master").fetchone()[0]
    for output in ("default", "json", "yaml", "dot"):
        result = traced(db, "note", "first", "-n", "team", "-s", "-o", output)
        assert "keys" in result.stdout
        assert "hunter2" not in result.stdout
        assert "aHVudGVyMg" not in result.stdout
