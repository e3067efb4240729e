"""Every kind in bad weather: AWS does not show yet what it has made, forgets it again for a moment, and fails each call that changes or deletes it.

Nothing is made twice, nothing is left behind, and what was asked for comes about.  `make test` has one change of each kind, and one way to
fail for it and for the delete, in turn; `make soak` has all.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from botocore.exceptions import ReadTimeoutError

from groundplane.aws import catalogue
from groundplane.aws.client_factory import ClientFactory
from groundplane.core import conditions
from groundplane.core.managed import FINALIZER
from groundplane.core.objects import annotations_of, has_finalizer, key_of, spec_of
from groundplane.ports import Account
from tests.aws import test_life
from tests.aws.conftest import INI, provider_config
from tests.reconcile.managed import secret

KINDS = [found for found in catalogue.first_generation() if found.file != "cloudcontrol_resource"]
FAULTS = {  # AWS's code and status; none: it does as told, and its answer is lost
    "throttled": ("Throttling", 400),
    "denied": ("AccessDenied", 403),
    "failed": ("InternalFailure", 500),
    "lost": None,
}
WORDS = "the weather is bad"
LOOKS = 3  # that show nothing after a create
TOUCHED = "example.org/touched"
STEP, STEPS = 10.0, 100  # seconds, and how many of them to wait for something
PROTECTING = ("deletionProtection", "deletionProtectionEnabled")  # what is protected does not go


class Weather:
    """What becomes of the calls to AWS, by operation."""

    def __init__(self):
        self.sent = []  # what reached AWS to change something
        self.met = []  # what was failed
        self._fault, self._spared = "", set()
        self._observing, self._absent, self._hidden, self._to_hide = "", "", 0, 0

    def watch(self, client):
        client.meta.events.register("before-call", self._called)
        client.meta.events.register("after-call", self._answered)
        return client

    def hide(self, kind, looks, *, after_create=False):
        """That many looks at things of a kind show nothing, from now on or from the next call on that changes something."""
        self._observing, self._absent = kind.observe.call.rpartition(":")[2].replace("_", ""), kind.observe.absent
        self._hidden, self._to_hide = (0, looks) if after_create else (looks, 0)

    def strike(self, fault):
        """Each operation that changes something fails the next time, "" none."""
        self._fault, self._spared = fault, set()
        self.met, self.sent = [], []

    def _called(self, model, **_):
        operation = model.name
        if self._hidden and operation.lower() == self._observing:
            self._hidden -= 1
            return _answer(self._absent[0], 404) if self._absent else _answer("", 200)
        if _reads(model):
            return None
        if FAULTS.get(self._fault) and operation not in self._spared:
            self._spared.add(operation)
            self.met.append(operation)
            return _answer(*FAULTS[self._fault])
        self.sent.append(operation)
        self._hidden, self._to_hide = self._hidden or self._to_hide, 0
        return None

    def _answered(self, model, http_response, **_):
        is_done = http_response.status_code < 300 and not _reads(model)
        if self._fault == "lost" and is_done and model.name not in self._spared:
            self._spared.add(model.name)
            self.met.append(model.name)
            raise ReadTimeoutError(endpoint_url="https://aws.example")


def _reads(model):
    return model.service_model.service_name == "sts" or model.name.startswith(("Describe", "Get", "List", "Head"))


def _answer(code, status):
    error = {"Error": {"Code": code, "Message": WORDS}} if code else {}
    return SimpleNamespace(status_code=status), error | {"ResponseMetadata": {"HTTPStatusCode": status}}


class Scene:
    """A kind's object in a world, and the weather."""

    def __init__(self, aws, kind, weather):
        self.aws, self.kind, self.weather = aws, kind, weather
        self.clear = aws.cloud()  # other things are made and looked at with
        self.account = Account(provider_config(aws.standin.url), {"creds": INI}, "1")
        self.examples = test_life.World(self.clear, self.clear, self.account)

    async def begin(self):
        self.world = await self.aws.world()
        return self

    async def manifest(self, name):
        thing = await self.examples.thing(self.kind, name)
        return {**thing, "metadata": {"name": name}}

    async def apply(self, manifest):
        fields = manifest["spec"]["forProvider"]
        for reference in (fields[each.ref] for each in self.kind.port.secrets if fields.get(each.ref)):
            value = {reference["key"]: "correct-horse-battery"}
            await self.world.apply(secret(reference["name"], reference["namespace"], **value))
        await self.world.apply(manifest)
        self.key = key_of(manifest)

    async def object(self):
        return await self.world.cluster.get(self.key)

    async def change(self, name, value):
        filled = await self.examples.filled(self.kind, {**await self.object(), "spec": {"forProvider": {name: value}}})
        self.wanted = spec_of(filled)["forProvider"][name]
        await self.world.patch(self.key, {"spec": {"forProvider": {name: self.wanted}}})

    async def look(self):
        """Whether it is there, for somebody else."""
        return await self.clear.observe(self.last, self.account, test_life.secrets(self.kind))

    async def until(self, is_so, what):
        for _ in range(STEPS):
            await self.world.settle(seconds=STEP)
            if is_so(await self.object()):
                return
        raise AssertionError(f"never {what}: {(await self.object() or {}).get('status')}")

    async def until_gone(self, fault=""):
        await self.until(lambda obj: obj is None, f"gone, {fault}")
        self.last["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        assert not (await self.look()).exists, fault

    async def is_made(self):
        """It is hidden for some looks, shown, and once more hidden: made once, kept, and Ready."""
        self.weather.strike("")
        self.weather.hide(self.kind, LOOKS, after_create=True)
        await self.world.settle()
        first = await self.object()
        assert has_finalizer(first, FINALIZER)
        assert conditions.is_true(first, "Ready") == (not self.weather.sent)  # AWS had made it: it is as wanted
        await self.world.settle(seconds=2 * LOOKS + 4)
        shown = await self.object()
        assert shown["status"].get("atProvider"), "it is shown by now"
        made = self.weather.sent[:1]
        self.weather.hide(self.kind, 1)
        await self.world.patch(self.key, {"metadata": {"annotations": {TOUCHED: "once"}}})
        await self.world.settle()
        assert not self.weather._hidden, "it was looked at"
        await self.until(is_well, "Ready")
        assert all(self.weather.sent.count(name) == 1 for name in made), self.weather.sent
        name = "crossplane.io/external-name"
        assert annotations_of(await self.object())[name] == annotations_of(shown)[name] != ""

    def is_told(self, fault, reason):
        """Each failure, in AWS's words if there are any, as a warning."""
        told = [message for _, type_, why, message in self.world.told.events if (type_, why) == ("Warning", reason)]
        for operation in self.weather.met:
            wanted = f"{operation}: {FAULTS[fault][0]}: {WORDS}" if FAULTS[fault] else "Read timeout on endpoint URL"
            assert any(wanted in message for message in told), f"{operation}: {fault}: {told}"

    async def is_changed(self, name, value, fault):
        await self.change(name, value)
        self.weather.strike(fault)
        await self.world.settle()
        await self.until(lambda obj: is_well(obj) and self._is_shown(obj, name), f"{name} as wanted, {fault}")
        self.is_told(fault, "CannotUpdateExternalResource")
        assert has_finalizer(await self.object(), FINALIZER)
        self.weather.strike("")

    def _is_shown(self, obj, name):
        assert spec_of(obj)["forProvider"][name] == self.wanted
        seen = SimpleNamespace(at_provider=obj["status"]["atProvider"])
        return test_life.shows(self.kind, seen, name, self.wanted)

    async def goes(self, fault):
        self.weather.strike(fault)
        self.last = await self.object()
        await self.world.cluster.delete(self.key)
        await self.until_gone(fault)
        self.is_told(fault, "CannotDeleteExternalResource")
        self.weather.strike("")

    async def goes_unseen(self):
        """It is deleted while AWS does not show it yet."""
        self.weather.strike("")
        self.weather.hide(self.kind, LOOKS, after_create=True)
        await self.world.settle()
        self.last = await self.object()
        await self.world.cluster.delete(self.key)
        await self.until_gone()


@pytest.fixture
def weather(monkeypatch):
    found, inner = Weather(), ClientFactory.create
    monkeypatch.setattr(ClientFactory, "create", lambda *args, **more: found.watch(inner(*args, **more)))
    return found


@pytest.fixture(autouse=True)
def policies(standin):
    test_life.make_policies(standin)


def is_well(obj):
    return conditions.is_true(obj, "Synced") and conditions.is_true(obj, "Ready")


def changes_of(kind):
    return {
        name: value
        for name, value in kind.changes.items()
        if not kind.fields[name].immutable and name not in PROTECTING
    }


def turn(number, of):
    return list(of)[number % len(of)] if of else None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.file)
async def test_nothing_is_made_twice_or_left_behind_and_each_change_comes_about(aws, weather, kind):
    number = KINDS.index(kind)
    scene = await Scene(aws, kind, weather).begin()
    await scene.apply(await scene.manifest("orders-one"))
    await scene.is_made()
    changes = changes_of(kind)
    if name := turn(number, changes):
        await scene.is_changed(name, changes[name], turn(number, FAULTS))
    await scene.goes(turn(number + 1, FAULTS))
    await scene.apply(await scene.manifest("orders-two"))
    await scene.goes_unseen()


# What excludes another field, or has nothing else changed.
ALONE = {
    ("kms_key", "isEnabled"),
    ("kms_key", "enableKeyRotation"),
    ("s3_bucket_website_configuration", "routingRules"),
}


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.file)
async def test_each_change_and_the_delete_outlast_each_fault(aws, weather, kind, fault):
    scene = await Scene(aws, kind, weather).begin()
    await scene.apply(await scene.manifest("orders-one"))
    await scene.is_made()
    for name, value in changes_of(kind).items():
        if (kind.file, name) not in ALONE:
            await scene.is_changed(name, value, fault)
    await scene.goes(fault)
