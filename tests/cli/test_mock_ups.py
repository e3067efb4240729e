"""What the specification shows of commands, typed: author-tools §1–3, §5, §9.  What it shows of plan, test, diff, import and convert is in their own files."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest
import yaml

from groundplane.runtime.local import LocalControlPlane
from tests.cli import platform
from tests.cli.filled import read
from tests.cli.platform import groundplane
from tests.cli.test_plan import KEYS

DATABASE = Path(__file__).resolve().parents[2] / "compositions" / "database-aws"
ORDERS = """apiVersion: rds.aws.upbound.io/v1beta1
kind: Instance
metadata: {name: orders}
spec:
  forProvider:
    region: eu-west-1
    allocatedStorage: 20
    instanceClass: db.t4g.micro
    engine: postgres
    username: admin
"""


@pytest.fixture
def database(tmp_path, monkeypatch):
    """The folder of a Composition, where an author is."""
    shutil.copytree(DATABASE, tmp_path / "db", ignore=shutil.ignore_patterns("tests", "expected"))
    monkeypatch.chdir(tmp_path / "db")
    return tmp_path / "db"


def test_validate_of_what_is_right(database):
    ran = groundplane("validate", "definition.yaml", "examples/claim.yaml")
    assert ran.exit_code == 0
    assert ran.stdout == (
        "[✓] platform.example.com/v1alpha1, Kind=Database, my-service-db validated successfully\n"
        "Total 1 resources: 0 missing schemas, 1 success cases, 0 failure cases\n"
    )


def test_validate_of_a_mistake(database):
    text = (database / "composition.yaml").read_text().replace("spec.parameters.version", "spec.parameters.verson")
    (database / "composition.yaml").write_text(text)
    line = text[: text.index("spec.parameters.verson")].count("\n") + 1
    ran = groundplane("validate", ".", "--skip-success-results")
    assert ran.exit_code == 1
    assert ran.stdout.splitlines()[0] == (
        "[x] patch error apiextensions.crossplane.io/v1, Kind=Composition, database-aws : resource instance › patches[2] › fromFieldPath:"
        f' spec.parameters.verson: spec.parameters has no field "verson". Mend: did you mean version? (composition.yaml:{line}:26)'
    )


def test_validate_of_a_refused_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, text in (("main", ORDERS), ("branch", ORDERS.replace("postgres", "mysql"))):
        Path(folder).mkdir()
        Path(folder, "orders.yaml").write_text(text)
    ran = groundplane("validate", "--old", "main/", "branch/")
    assert ran.exit_code == 1
    assert ran.stdout.splitlines()[0] == (
        '[x] immutable field rds.aws.upbound.io/v1beta1, Kind=Instance, orders : spec.forProvider.engine: "postgres" → "mysql" can\'t change in AWS.'
        " Mend: make a new Instance and move the data. (branch/orders.yaml:9:13)"
    )


def test_diff_of_a_composition(filled, database):
    """Three composites follow it, and change alike; one is pinned."""
    text = (database / "composition.yaml").read_text().replace("storageType: gp3", "storageType: gp2")
    (database / "composition.yaml").write_text(text)
    shutil.copy(filled, "groundplane.db")
    ran = groundplane("diff", "composition.yaml", "--compact", "--db", "groundplane.db")
    assert ran.exit_code == 3
    changes, _, rest = ran.stdout.partition("=== Affected Composite Resources ===\n")
    assert changes.startswith("=== Composition Changes ===\n\n~~~ Composition/database-aws\n")
    pinned = re.search(r"XDatabase/pinned-\w+", rest)
    assert pinned
    assert rest == (
        "\n"
        "  ⚠ 3 XDatabase (-v lists)\n"
        f"  ⊘ {pinned[0]} (cluster-scoped) — filtered: Manual update policy (use --include-manual to evaluate)\n"
        "\n=== Impact Analysis ===\n\n"
        "~~~ Instance  of 3 XDatabase, the same change in each\n"
        "-     storageType: gp3\n"
        "+     storageType: gp2\n"
        "---\n"
        "Summary: 3 modified\n"
    )


@pytest.fixture
def waiting(standin, tmp_path, monkeypatch):
    """A store of `groundplane up`, the current folder's, with a claim whose network nobody has made."""
    monkeypatch.chdir(tmp_path)
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": standin.url}).items():
        monkeypatch.setenv(name, value)

    async def fill():
        async with LocalControlPlane("groundplane.db") as plane:
            for name in ("definition.yaml", "composition.yaml", "provider.yaml"):
                for obj in read(name):
                    await plane.cluster.apply(obj, manager="person")
                await plane.idle()
            for obj in read("examples/claim.yaml"):
                await plane.cluster.apply(obj, manager="person")
            await plane.idle()

    asyncio.run(fill())


def test_explain_of_what_waits_for_others(waiting):
    ran = groundplane("explain", "database/my-service-db", "-n", "my-team")
    assert ran.exit_code == 3
    first, mend, by = ran.stdout.splitlines()
    assert re.fullmatch(
        r"Not ready for \d+s: Instance my-service-db-\S+ \(template instance, AWS: my-service-db-\S+\): cannot resolve references:"
        r" spec\.forProvider\.dbSubnetGroupName: no resources matched selector: no SubnetGroup\.rds\.aws\.upbound\.io has labels type=database\.",
        first,
    )
    assert mend == "Mend: create a SubnetGroup with these labels, or set spec.forProvider.dbSubnetGroupName."
    assert by == "spec.forProvider.dbSubnetGroupNameSelector is set by Composition database-aws › resource instance."


def test_trace_of_what_waits_for_others(waiting):
    ran = groundplane("trace", "database/my-service-db", "-n", "my-team")
    assert ran.exit_code == 0
    cause, mend, by = ran.stdout.splitlines()[-3:]
    assert cause.startswith("Cause  Instance my-service-db-")
    assert cause.endswith(": no SubnetGroup.rds.aws.upbound.io has labels type=database.")
    assert mend == "       Mend: create a SubnetGroup with these labels, or set spec.forProvider.dbSubnetGroupName."
    assert (
        by
        == "       spec.forProvider.dbSubnetGroupNameSelector is set by Composition database-aws › resource instance."
    )
    plain = groundplane("trace", "database/my-service-db", "-n", "my-team", "--plain").stdout
    assert "is set by" not in plain


def test_explain_of_a_name_that_a_patch_has_set(waiting):
    base = {
        "apiVersion": "s3.aws.upbound.io/v1beta1",
        "kind": "Bucket",
        "spec": {"forProvider": {"region": "eu-west-1"}},
    }
    patch = {"fromFieldPath": "spec.text", "toFieldPath": "metadata.annotations[crossplane.io/external-name]"}
    notes = yaml.safe_load(platform.COMPOSITION)
    notes["spec"]["resources"] = [{"name": "bucket", "base": base, "patches": [patch]}]
    claim = yaml.safe_load(platform.CLAIM)
    claim["spec"]["text"] = "No_Such_Name"

    async def fill():
        async with LocalControlPlane("groundplane.db") as plane:
            for obj in (yaml.safe_load(platform.DEFINITION), notes):
                await plane.cluster.apply(obj, manager="person")
            await plane.idle()
            await plane.cluster.apply(claim, manager="person")
            await plane.idle()

    asyncio.run(fill())
    ran = groundplane("explain", "note/first", "-n", "team")
    assert ran.exit_code == 3
    assert '"No_Such_Name" is no name for this kind in AWS.' in ran.stdout
    assert (
        "metadata.annotations[crossplane.io/external-name] is set by Composition notes › resource bucket › patches[0] (FromCompositeFieldPath).\n"
        in ran.stdout
    )


def test_doctor_of_the_store_that_lies_here(waiting):
    ran = groundplane("doctor")
    assert ran.exit_code == 0
    assert ran.stdout == (
        "✔ definitions  1 is established\n✔ credentials  ProviderConfig default: arn:aws:sts::123456789012:user/moto\n"
    )
