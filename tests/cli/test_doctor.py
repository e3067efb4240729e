"""`groundplane doctor` on a real API server and on a store: each check with a planted fault, and without."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from groundplane.cli import store
from groundplane.core.crds.marks import MARK
from groundplane.core.managed_definition import definition_of
from groundplane.runtime import crds, guard
from groundplane.runtime.webhook_configurations import CROSSPLANE, NO_USAGES
from tests.cli.platform import CLAIM, COMPOSITION, DEFINITION, groundplane, write

SOME = "*.sqs.*"  # of the managed kinds: each one costs the API server as much as the next
NAMESPACE = "doctor-home"
LEASE = "crossplane-leader-election-core"
CONFIG = {
    "apiVersion": "aws.upbound.io/v1beta1",
    "kind": "ProviderConfig",
    "metadata": {"name": "doctor-works"},
    "spec": {"credentials": {"source": "InjectedIdentity"}},
}
BROKEN = {
    **CONFIG,
    "metadata": {"name": "doctor-lacks-a-secret"},
    "spec": {
        "credentials": {"source": "Secret", "secretRef": {"namespace": NAMESPACE, "name": "gone", "key": "credentials"}}
    },
}


@pytest.fixture
def kinds(control_plane):
    """Ours, as far as tests need them: served, and current."""
    wanted = crds.brought([SOME])
    files = [word for each in wanted for word in ("-f", each.file)]
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", *files)
    control_plane.wait_for_kinds(*(each.name for each in wanted))
    return wanted


@pytest.fixture
def examined(control_plane, standin, monkeypatch):
    """Run it; the exit code and the findings by check."""
    control_plane.kubectl("create", "namespace", NAMESPACE, check=False)
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in {"AWS_ENDPOINT_URL": standin.url, **keys}.items():
        monkeypatch.setenv(name, value)

    def run(*args, kubeconfig=control_plane.kubeconfig):
        options = ("--kubeconfig", kubeconfig, "--namespace", NAMESPACE, "--activations", SOME, "--output", "json")
        result = groundplane("doctor", *options, *args)
        found = {}
        for check in json.loads(result.output)["checks"]:
            found.setdefault(check["id"], []).append(check)
        return result.exit_code, found

    return run


def states(found, name):
    return [check["state"] for check in found[name]]


def test_kinds_that_are_missing_or_older_are_named(control_plane, kinds, examined):
    assert examined("--checks", "kinds") == (
        0,
        {
            "kinds": [
                {
                    "id": "kinds",
                    "state": "ok",
                    "message": f"{len(kinds)} definitions are served and current",
                    "mend": "",
                    "objects": [],
                }
            ]
        },
    )
    name = "providerconfigusages.aws.upbound.io"
    for mark, said in (
        ("0.0.1-000000000000", "not those of this version"),
        ("99.0.0-000000000000", "of a later version"),
    ):
        control_plane.kubectl("annotate", "crd", name, "--overwrite", f"{MARK}={mark}")
        code, found = examined("--checks", "kinds")
        (told,) = found["kinds"]
        assert (code, told["state"], told["objects"]) == (0, "warning", [name])
        assert said in told["message"]
    control_plane.kubectl("annotate", "crd", name, f"{MARK}-")
    assert "somebody else's" in examined("--checks", "kinds")[1]["kinds"][0]["message"]
    control_plane.kubectl("delete", "crd", name)
    code, found = examined("--checks", "kinds")
    assert (code, found["kinds"][0]["state"], found["kinds"][0]["objects"]) == (1, "failed", [name])
    assert groundplane("crds", "--apply", "--only", name, "--kubeconfig", control_plane.kubeconfig).exit_code == 0
    assert examined("--checks", "kinds")[0] == 0


@pytest.mark.usefixtures("kinds")
def test_a_kind_that_was_activated_in_the_cluster_is_looked_at_as_those_of_the_setting(control_plane, examined):
    name = "vpcs.ec2.aws.upbound.io"
    control_plane.kubectl("delete", "crd", name, "--ignore-not-found")
    assert examined("--checks", "kinds")[0] == 0
    (ours,) = [each for each in crds.brought() if each.name == name]
    definition = definition_of(ours.read(), [], mark="1.0.0-a", state="Active")
    control_plane.apply(definition)
    code, found = examined("--checks", "kinds")
    assert (code, found["kinds"][0]["state"], found["kinds"][0]["objects"]) == (1, "failed", [name])
    control_plane.kubectl("delete", "mrd", name)


def test_each_right_that_is_missing_is_named_with_the_rule_to_add(control_plane, examined):
    code, found = examined("--checks", "rights")
    assert (code, states(found, "rights")) == (0, ["ok"])  # a person who may do everything
    account = "doctor-weak"
    control_plane.kubectl("create", "serviceaccount", account, "-n", NAMESPACE, check=False)
    control_plane.kubectl("create", "clusterrole", account, "--verb=get,list,watch", "--resource=secrets", check=False)
    subject = f"--serviceaccount={NAMESPACE}:{account}"
    control_plane.kubectl("create", "clusterrolebinding", account, f"--clusterrole={account}", subject, check=False)
    code, found = examined("--checks", "rights", "--account", account)
    (told,) = found["rights"]
    assert (code, told["state"]) == (1, "failed")
    assert "create, update, patch, delete: secrets" in told["objects"]
    assert "list, create, get, watch, update: leases.coordination.k8s.io" in told["objects"]
    assert told["message"].count("system:serviceaccount:doctor-home:doctor-weak lacks rights")
    assert "apply a ClusterRole labelled" in told["mend"]
    own = control_plane.kubeconfig_of_account(NAMESPACE, account)
    assert examined("--checks", "rights", kubeconfig=own)[1]["rights"][0]["objects"] == told["objects"]
    control_plane.kubectl("create", "role", account, "--verb=*", "--resource=secrets", "-n", NAMESPACE, check=False)
    control_plane.kubectl("create", "rolebinding", account, f"--role={account}", subject, "-n", NAMESPACE, check=False)
    own = ("--checks", "rights", "--account", account, "--secret-namespaces")
    assert not [each for each in examined(*own, NAMESPACE)[1]["rights"][0]["objects"] if each.endswith(": secrets")]
    elsewhere = examined(*own, f"{NAMESPACE},default")[1]["rights"][0]["objects"]
    assert "create, update, patch, delete: secrets" in elsewhere


def lease(holder, duration=1):
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": NAMESPACE},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": duration},
    }


def test_a_lease_that_nobody_holds_renews_or_that_a_crossplane_holds_is_told(control_plane, examined):
    def told():
        code, found = examined("--checks", "lease")
        return code, found["lease"][0]["message"].partition(":")[0]

    assert told() == (0, f"there is no Lease {NAMESPACE}/{LEASE}")
    for holder, said in (
        ("", f"nobody holds the Lease {NAMESPACE}/{LEASE}"),
        ("crossplane-0_1", f"a Crossplane holds the Lease {NAMESPACE}/{LEASE}"),
        ("groundplane_a_1", f"groundplane_a_1 holds the Lease {NAMESPACE}/{LEASE} and has not renewed it for 1 s"),
    ):
        control_plane.apply(lease(holder))
        assert told() == (1, said)
    control_plane.kubectl("delete", "lease", LEASE, "-n", NAMESPACE)


@pytest.fixture
def unprotected(control_plane):
    """Without what an operator of another test has left, which was killed."""
    control_plane.kubectl("delete", guard.POLICIES, guard.NAME, "--ignore-not-found")
    control_plane.kubectl("delete", guard.BINDINGS, guard.NAME, "--ignore-not-found")
    control_plane.kubectl("delete", "validatingwebhookconfigurations", CROSSPLANE, NO_USAGES, "--ignore-not-found")


@pytest.mark.usefixtures("kinds", "unprotected")
def test_credentials_that_aws_takes_are_told_by_their_arn_and_those_that_are_not_there_by_their_mend(
    control_plane, examined
):
    control_plane.apply(CONFIG, BROKEN)
    try:
        code, found = examined("--checks", "credentials,webhooks")
    finally:
        control_plane.kubectl("delete", "providerconfigs.aws.upbound.io", "doctor-works", "doctor-lacks-a-secret")
    told = {check["objects"][0]: check for check in found["credentials"]}
    assert code == 1
    assert told["doctor-works"]["state"] == "ok"
    assert "arn:aws:" in told["doctor-works"]["message"]
    assert told["doctor-lacks-a-secret"]["state"] == "failed"
    assert "Secret doctor-home/gone not found" in told["doctor-lacks-a-secret"]["message"]
    assert told["doctor-lacks-a-secret"]["mend"].startswith("create it")
    assert states(found, "webhooks") == ["warning"]
    assert "usages protect nothing" in found["webhooks"][0]["message"]
    control_plane.apply(*guard.objects())
    try:
        assert states(examined("--checks", "webhooks")[1], "webhooks") == ["ok"]
    finally:
        for plural in (guard.POLICIES, guard.BINDINGS):
            control_plane.kubectl("delete", plural, guard.NAME)


@pytest.mark.usefixtures("kinds")
def test_what_is_left_in_aws_of_a_cluster_is_found_and_adopted(control_plane, examined, standin):
    owner = {
        "crossplane-kind": "queue.sqs.aws.upbound.io",
        "crossplane-name": "doctor-left",
        "crossplane-providerconfig": "doctor-works",
        "crossplane-uid": "gone",
    }
    standin.client("sqs").create_queue(QueueName="doctor-left", tags=owner)
    control_plane.apply(CONFIG)
    run = ("doctor", "orphans", "--kubeconfig", control_plane.kubeconfig, "--region", "eu-west-1")
    try:
        code, found = examined("orphans", "--region", "eu-west-1", "--checks", "leaked,missing")
        assert (code, states(found, "leaked"), states(found, "missing")) == (0, ["warning"], ["ok"])
        assert "doctor-left in eu-west-1, made for Queue doctor-left" in found["leaked"][0]["objects"][0]
        adopted = groundplane(*run, "--adopt", "--yes")
        assert (adopted.exit_code, adopted.output.count("made again")) == (0, 1), adopted.output
        queue = control_plane.get("queues.sqs.aws.upbound.io", "doctor-left")
        assert queue["spec"]["providerConfigRef"]["name"] == "doctor-works"
        assert queue["metadata"]["annotations"]["crossplane.io/external-name"].endswith("/doctor-left")
        assert groundplane(*run, "--delete", "--alone", "--yes").output == "Nothing was left behind.\n"
    finally:
        control_plane.kubectl("delete", "queues.sqs.aws.upbound.io", "--all")
        control_plane.kubectl("delete", "providerconfigs.aws.upbound.io", "doctor-works")


def test_a_check_that_there_is_not_is_refused_with_those_that_there_are():
    result = groundplane("doctor", "--checks", "right")
    assert result.exit_code == 1
    assert "did you mean rights?" in result.output


def content(db):
    with closing(sqlite3.connect(db)) as connection:
        return list(connection.iterdump())


def test_of_a_store_it_is_told_what_makes_sense_without_a_cluster(tmp_path):
    db = tmp_path / "x.db"
    manifests = write(tmp_path / "m", a=DEFINITION, b=COMPOSITION, c=CLAIM)
    assert groundplane("up", manifests, "--db", db, "--once", "--timeout", 60).exit_code == 0
    with store.opened(str(db)) as cluster:
        asyncio.run(cluster.create(BROKEN))
    before = content(db)
    result = groundplane("doctor", "--db", db, "--output", "json")
    told = {check["id"]: check for check in json.loads(result.output)["checks"]}
    assert result.exit_code == 1
    assert set(told) == {"definitions", "credentials"}
    assert told["definitions"]["message"] == "1 are established"
    assert "Secret doctor-home/gone not found" in told["credentials"]["message"]
    assert content(db) == before
    assert groundplane("doctor", "--db", db, "--checks", "definitions").exit_code == 0
    assert "there is no store at" in groundplane("doctor", "--db", tmp_path / "none.db").output
