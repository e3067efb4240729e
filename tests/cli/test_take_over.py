"""`groundplane migrate take-over` on a store, against AWS's stand-in: who had what has it, under another object, and nothing was changed."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import click
import pytest
import yaml

from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import conditions
from groundplane.core.objects import annotations_of, key_of, meta, spec_of
from groundplane.core.take_over import STAYS
from groundplane.errors import NoSuchKind
from groundplane.runtime.local import LocalControlPlane
from tests.cli.platform import groundplane

QUEUE = Path(__file__).resolve().parents[2] / "compositions" / "queue-aws"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
READING = ("Describe", "Get", "List", "Head", "GET", "HEAD")
OLD, NEW = "platform.example.com/v1alpha1", "m.platform.example.com/v1alpha1"
KINDS = {"sqs": ("Queue", "QueuePolicy"), "sns": ("Topic", "TopicPolicy", "TopicSubscription")}


def read(*paths):
    return [obj for path in paths for obj in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader) if obj]


async def _apply(plane, objects):
    for obj in objects:
        while True:
            try:
                await plane.cluster.apply(obj, manager="person")
                break
            except NoSuchKind:
                await asyncio.sleep(0.05)


async def _ready(plane, version):
    while not (found := await plane.cluster.list(version, "Queue")) or not all(
        conditions.is_true(each, "Ready") for each in found
    ):
        await plane.idle()
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def filled(standin_process, tmp_path_factory):
    """A store with a queue of v1, and what `migrate v2` writes but for the claim."""
    standin_process.reset()
    folder = tmp_path_factory.mktemp("filled")
    ran = groundplane("migrate", "v2", QUEUE / "definition.yaml", QUEUE / "composition.yaml", "-o", folder / "v2")
    assert ran.exit_code == 0, ran.output
    (claim,) = read(QUEUE / "examples" / "claim.yaml")
    claim["metadata"] = {"name": "orders", "namespace": "my-team", "labels": {"team": "a"}}

    async def fill():
        async with LocalControlPlane(folder / "groundplane.db") as plane:
            old = [QUEUE / name for name in ("definition.yaml", "composition.yaml", "provider.yaml")]
            new = [folder / "v2" / name for name in ("definition.yaml", "composition.yaml")]
            await _apply(plane, [*read(*old), *read(*new, QUEUE / "v2" / "provider.yaml"), claim])
            await _ready(plane, OLD)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": standin_process.url}).items():
            patch.setenv(name, value)
        asyncio.run(asyncio.wait_for(fill(), 120))
        yield folder


@pytest.fixture
def take_over(filled, standin_process, tmp_path, monkeypatch):
    """Run it on a copy of the store; nothing may be changed in AWS."""
    shutil.copy(filled / "groundplane.db", tmp_path / "groundplane.db")
    monkeypatch.chdir(tmp_path)
    standin_process.forget_calls()

    def run(*flags, kind="queue.platform.example.com"):
        ran = groundplane("migrate", "take-over", f"{kind}/orders", "-n", "my-team", *flags)
        assert [call for call in standin_process.operations() if not call.startswith(READING)] == []
        return ran

    return run


def there(api_version, kind):
    with_db = SqliteCluster("groundplane.db")
    try:
        return asyncio.run(with_db.list(api_version, kind))
    finally:
        with_db.close()


def managed(domain):
    return {
        (annotations_of(obj)["crossplane.io/composition-resource-name"], kind): obj
        for service, kinds in KINDS.items()
        for kind in kinds
        for obj in there(f"{service}.{domain}/v1beta1", kind)
    }


def names(objects):
    return {place: annotations_of(obj).get("crossplane.io/external-name") for place, obj in objects.items()}


def has_gone_over(before):
    """Whether nothing is left of the claim, and its names are the new ones'."""
    assert there(OLD, "Queue") == there(OLD, "XQueue") == []
    assert managed("aws.upbound.io") == {}
    after = managed("aws.m.upbound.io")
    assert names(after) == before
    assert {tuple(spec_of(obj)["managementPolicies"]) for obj in after.values()} == {("*",)}
    (queue,) = there(NEW, "Queue")
    assert conditions.is_true(queue, "Ready")
    assert meta(queue)["labels"]["team"] == "a"
    assert "crossplane.io/paused" not in annotations_of(queue)
    return True


class Ended(BaseException):
    """The process was killed."""


@pytest.fixture
def ended_after(take_over, monkeypatch):
    """Run it, and kill it when it tells of a stage."""

    def run(stage):
        def echo(text="", **more):
            if str(text).startswith(f"{stage}/5"):
                raise Ended

        with monkeypatch.context() as patch:
            patch.setattr(click, "echo", echo)
            with pytest.raises(Ended):
                take_over("--allow-deletions")

    return run


def test_what_a_claim_has_goes_over_and_nothing_is_changed(take_over):
    before = names(managed("aws.upbound.io"))
    assert len(before) == 6
    ran = take_over("--allow-deletions")
    assert ran.exit_code == 0, ran.output
    assert [line[:3] for line in ran.stdout.splitlines()] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert has_gone_over(before)


@pytest.mark.soak
def test_it_goes_on_wherever_it_was_stopped_and_back_until_the_claim_is_deleted(take_over, ended_after):
    before = names(managed("aws.upbound.io"))
    ended_after(2)
    assert {tuple(spec_of(obj)["managementPolicies"]) for obj in managed("aws.m.upbound.io").values()} == {("Observe",)}
    ended_after(3)
    assert take_over("--back").exit_code == 0
    assert there(NEW, "Queue") == []
    assert managed("aws.m.upbound.io") == {}
    old = managed("aws.upbound.io")
    assert names(old) == before
    assert {spec_of(obj).get("deletionPolicy") for obj in old.values()} == {"Delete"}
    assert not any("crossplane.io/paused" in annotations_of(obj) for obj in there(OLD, "XQueue"))
    for stage in "1234":
        ended_after(stage)
    assert there(OLD, "Queue") == []
    assert take_over("--back").exit_code == 4
    assert take_over().exit_code == 0
    assert take_over().exit_code == 0, "it is done"
    assert has_gone_over(before)


def test_a_dry_run_says_who_gets_what_and_does_nothing(take_over):
    before = SqliteCluster("groundplane.db").version()
    ran = take_over("--dry-run", "--allow-deletions")
    assert ran.exit_code == 0, ran.output
    lines = ran.stdout.splitlines()
    assert lines[0] == "Queue my-team/orders → Queue my-team/orders (m.platform.example.com)"
    assert lines[1].startswith("  dead-letters: Queue orders-")
    assert lines[-1] == "No changes. 6 resources match AWS."
    lost = next(line for line in lines if line.startswith("! "))
    (secret,) = [obj for obj in there("v1", "Secret") if meta(obj)["name"] == "orders-queue"]
    assert lost.startswith("! no Secret of the new composite has what the claim's has in ")
    assert all(key in lost for key in secret["data"])
    assert (
        take_over("--dry-run", "--allow-deletions", kind="queue").stdout == ran.stdout
    )  # not AWS's, nor the composite of v2
    ran = take_over("--dry-run")
    assert ran.exit_code == 4
    assert "Error: stopped: Secret my-team/orders-queue would be deleted with the claim. Mend: " in ran.stderr
    assert SqliteCluster("groundplane.db").version() == before


def test_what_would_not_stay_as_it_is_is_not_begun(take_over):
    (source,) = [
        obj for obj in there("apiextensions.crossplane.io/v1", "Composition") if meta(obj)["name"].endswith("-v2")
    ]
    templates = source["spec"]["pipeline"][0]["input"]["resources"]
    next(each for each in templates if each["name"] == "queue")["base"]["spec"]["forProvider"][
        "receiveWaitTimeSeconds"
    ] = 5
    next(each for each in templates if each["name"] == "topic")["name"] = "news"
    asyncio.run(_with_plane(source))
    ran = take_over("--dry-run", "--allow-deletions")
    assert ran.exit_code == 4
    assert "✘ topic (Topic orders-" in ran.stdout
    assert "no template of that name makes such a Topic. Mend: name one so in the new Composition." in ran.stdout
    assert "spec.forProvider.receiveWaitTimeSeconds: 20 → 5" in ran.stdout


def test_of_two_of_one_template_none_is_passed_over(take_over):
    """What is passed over would be deleted with the claim."""
    old = managed("aws.upbound.io")
    one = key_of(old["dead-letters", "Queue"])
    cluster = SqliteCluster("groundplane.db")
    named = {"metadata": {"annotations": {"crossplane.io/composition-resource-name": "queue"}}}
    asyncio.run(cluster.patch(one, named))
    cluster.close()
    ran = take_over("--dry-run", "--allow-deletions")
    assert ran.exit_code == 4
    assert "has the template of another Queue, which would be handed over in its place." in ran.stdout


async def _with_plane(*objects):
    async with LocalControlPlane("groundplane.db") as plane:
        await _apply(plane, objects)
        await plane.idle()


def test_wrong_input_is_told(take_over, tmp_path):
    def told(*words):
        ran = groundplane("migrate", "take-over", *words)
        return ran.exit_code, ran.stderr

    assert told("queue")[0] == 80
    assert told("queue/a", "--dry-run", "--back")[0] == 80
    assert "not found" in told("queue.platform.example.com/nobody", "-n", "my-team")[1]
    assert "is no kind of claims. Mend: name a claim." in told("topic.sns.aws.upbound.io/a")[1]


@pytest.mark.soak
def test_what_would_be_deleted_with_a_claim_that_somebody_has_deleted_meanwhile_is_let_go_first(take_over, monkeypatch):
    before = names(managed("aws.upbound.io"))
    apply = SqliteCluster.apply

    async def ends(self, obj, **how):
        if obj.get("spec") == STAYS:
            raise Ended
        return await apply(self, obj, **how)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteCluster, "apply", ends)
        with pytest.raises(Ended):
            take_over("--allow-deletions")
    assert all("crossplane.io/paused" in annotations_of(obj) for obj in there(OLD, "XQueue"))
    asyncio.run(_without_claim())
    assert there(OLD, "Queue") == []
    assert {spec_of(obj).get("deletionPolicy") for obj in managed("aws.upbound.io").values()} == {"Delete"}
    ran = take_over("--allow-deletions")
    assert ran.exit_code == 0, ran.output
    assert has_gone_over(before)


async def _without_claim():
    async with LocalControlPlane("groundplane.db") as plane:
        (claim,) = await plane.cluster.list(OLD, "Queue")
        await plane.cluster.delete(key_of(claim))
        await plane.idle()
