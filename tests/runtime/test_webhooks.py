"""The server that the API server asks: whatever comes, it gives a well-formed answer, and says nothing in the log that was sent."""

from __future__ import annotations

import asyncio
import io
import json
import random
import ssl
import threading
import urllib.request
from dataclasses import replace
from types import SimpleNamespace

import aiohttp
import pytest

from groundplane.core.admission import Verdict
from groundplane.errors import Denied, InvalidInput, Unavailable
from groundplane.runtime import certificates, issuing, logs, metrics, webhook_server, webhooks
from groundplane.runtime.webhook_configurations import Configurations, Place, Target
from groundplane.runtime.webhook_registry import Webhook, all_webhooks, configured
from groundplane.runtime.webhook_server import Server
from groundplane.runtime.webhooks import hosts
from tests.core.test_admission import ASKED, COMPOSITION, XRD
from tests.runtime.test_certificates import Secrets
from tests.world import World

NOW = certificates.now()
SECRET = "hunter2-swordfish"


@pytest.fixture(scope="module")
def pair():
    authority = issuing.new_authority(NOW)
    made = issuing.signed(authority, hosts("home", "https://127.0.0.1:1"), NOW)
    return replace(made, bundle=authority.certificate)


@pytest.fixture
def log():
    stream = io.StringIO()
    logs.configure("json", "debug", stream=stream)
    yield stream
    logs.configure("text", "info")


async def taken(crd):
    """An API server that takes every CRD."""


class Asker:
    """Asks as the API server does."""

    def __init__(self, server, session):
        self.server, self.session = server, session

    def url(self, path):
        return f"https://127.0.0.1:{self.server.port}{path}"

    async def send(self, path, body, method="POST", **more):
        data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self.session.request(method, self.url(path), data=data, **more) as response:
            return response.status, json.loads(await response.read())

    async def ask(self, path, obj, old=None, operation="CREATE"):
        request = {"uid": "7", "operation": operation, "kind": {"kind": obj["kind"]}, "object": obj, "oldObject": old}
        status, answer = await self.send(path, ASKED | {"request": request})
        assert status == 200, answer
        assert answer["response"]["uid"] == "7"
        return answer["response"]


@pytest.fixture
async def begin(pair):
    """Starts a server with these webhooks; what asks it."""
    begun = []

    async def start(asked=None, context=None):
        found = all_webhooks() if asked is None else asked
        server = Server(found, context or World().context, taken, host="127.0.0.1", port=0)
        await server.serve(pair)
        trusting = ssl.create_default_context(cadata=pair.bundle.decode())
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting))
        begun.append((server, session))
        return Asker(server, session)

    yield start
    for server, session in begun:
        await session.close()
        await server.stop()


PATHS = [each.path for each in all_webhooks()]
DEFINITIONS, COMPOSITIONS, COMPOSITES, USAGES = PATHS


async def test_definitions_and_compositions_are_judged(begin):
    asker = await begin()
    assert await asker.ask(DEFINITIONS, XRD) == {"uid": "7", "allowed": True}
    changed = XRD | {"spec": XRD["spec"] | {"group": "other.org"}}
    answer = await asker.ask(DEFINITIONS, changed, XRD, "UPDATE")
    assert answer["allowed"] is False
    assert "spec.group" in answer["status"]["message"]
    assert answer["status"]["code"] == 422
    answer = await asker.ask(COMPOSITIONS, COMPOSITION)
    assert "spec.resources: Required value" in answer["status"]["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"null", 400),
        (b"[" * 5000 + b"]" * 5000, 400),
        (b'{"kind":' + b"[" * 2000 + b"]" * 2000 + b"}", 400),
        ({"kind": "AdmissionReview"}, 400),
        (ASKED | {"request": {"uid": "1", "operation": "CREATE", "object": "text"}}, 400),
        (ASKED | {"request": {"uid": "1", "operation": "DELETE", "oldObject": COMPOSITION}}, 200),
        (ASKED | {"request": {"uid": "1", "operation": "CONNECT"}}, 200),
        (b"x" * (webhook_server.LONGEST_BODY + 1), 413),
    ],
    ids=["empty", "half", "no text", "null", "deep", "deep inside", "bare", "no object", "delete", "connect", "huge"],
)
async def test_what_is_no_question_gets_a_well_formed_answer(begin, log, path, body, status):
    asker = await begin()
    code, answer = await asker.send(path, body)
    assert code == status
    assert answer["kind"] == "AdmissionReview"
    is_asked_wrongly = path == USAGES and b"CONNECT" in json.dumps(body, default=str).encode()
    assert answer["response"]["allowed"] is (status == 200 and not is_asked_wrongly)
    assert "Traceback" not in json.dumps(answer) + log.getvalue()


async def test_other_methods_and_other_paths_are_told_so(begin):
    asker = await begin()
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert (await asker.send(DEFINITIONS, {}, method))[0] == 405
    for path in ("/", "/nothing", f"{DEFINITIONS}/", "/../etc/passwd"):
        assert (await asker.send(path, ASKED))[0] == 404


async def test_a_body_without_a_length_is_bounded_too(begin):
    asker = await begin()

    async def endless():
        for _ in range(webhook_server.LONGEST_BODY // 65536 + 2):
            yield b"x" * 65536

    async with asker.session.post(asker.url(DEFINITIONS), data=endless()) as response:
        assert response.status == 413
    assert asker.server._bytes == 0


async def test_bodies_are_bounded_together(begin, monkeypatch):
    monkeypatch.setattr(webhook_server, "MOST_BYTES", 1000)
    asker = await begin()
    status, answer = await asker.send(DEFINITIONS, b"x" * 2000)
    assert (status, answer["response"]["status"]["message"]) == (503, "too many requests at once")
    assert (await asker.send(DEFINITIONS, b"x"))[0] == 400


async def test_a_body_that_does_not_come_is_not_waited_for(begin, monkeypatch):
    monkeypatch.setattr(webhook_server, "BODY_PATIENCE", 0.05)
    asker = await begin()
    never = asyncio.Event()

    async def slow():
        yield b"{"
        await never.wait()

    async with asker.session.post(asker.url(DEFINITIONS), data=slow()) as response:
        assert response.status == 408
        never.set()


def odd(draw, depth=0):
    """Any JSON."""
    kind = draw.randrange(9 if depth < 3 else 6)
    if kind == 6:
        return [odd(draw, depth + 1) for _ in range(draw.randrange(3))]
    if kind > 6:
        names = ("spec", "name", "metadata", "versions", "schema", "kind", "resources", "pipeline", "patches", "x")
        return {draw.choice(names): odd(draw, depth + 1) for _ in range(draw.randrange(4))}
    return [None, True, -1, 1.5, "", "text"][kind]


def spoilt(obj, draw):
    """The object with one value somewhere replaced by any JSON, or taken away."""
    places = []

    def walk(value):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    found = json.loads(json.dumps(obj))
    walk(found)
    holder, key = draw.choice(places)
    if draw.random() < 0.2:
        del holder[key]
    else:
        holder[key] = odd(draw)
    return found


RICH = COMPOSITION | {
    "spec": COMPOSITION["spec"]
    | {
        "patchSets": [{"name": "a", "patches": [{"fromFieldPath": "spec.size"}]}],
        "resources": [
            {
                "name": "one",
                "base": {"apiVersion": "example.org/v1", "kind": "XDatabase", "spec": {"size": SECRET}},
                "patches": [
                    {"type": "PatchSet", "patchSetName": "a"},
                    {"fromFieldPath": "spec.size", "transforms": [{"type": "map", "map": {"a": "b"}}]},
                ],
                "readinessChecks": [{"type": "MatchString", "fieldPath": "spec.size", "matchString": "x"}],
                "connectionDetails": [{"fromFieldPath": "spec.size", "name": "x", "type": "FromFieldPath"}],
            }
        ],
        "pipeline": [
            {
                "step": "a",
                "functionRef": {"name": "function-patch-and-transform"},
                "input": {"resources": [{"name": "one", "base": {"apiVersion": "v1", "kind": "ConfigMap"}}]},
            }
        ],
    }
}


@pytest.mark.parametrize("seed", range(6))
async def test_no_object_however_odd_gets_anything_but_a_well_formed_answer_nor_its_contents_into_the_log(
    begin, log, seed
):
    asker, draw = await begin(), random.Random(seed)
    for _ in range(120):
        path, obj = draw.choice(
            [(DEFINITIONS, XRD), (COMPOSITIONS, RICH), (COMPOSITES, COMPOSITION), (DEFINITIONS, RICH)]
        )
        asked = ASKED | {
            "request": {
                "uid": "7",
                "operation": draw.choice(["CREATE", "UPDATE"]),
                "kind": {"kind": obj["kind"]},
                "object": spoilt(obj, draw),
                "oldObject": draw.choice([None, obj, spoilt(obj, draw)]),
            }
        }
        status, answer = await asker.send(path, asked)
        assert status in (200, 400, 500), (asked, answer)
        assert isinstance(answer["response"]["allowed"], bool)
        assert "Traceback" not in json.dumps(answer)
    assert SECRET not in log.getvalue()


async def test_an_error_leaves_it_to_the_failure_policy_and_a_fault_tells_no_contents(begin, log):
    async def unavailable(request, context, try_out):
        raise Unavailable("the API server can't be reached")

    async def broken(request, context, try_out):
        raise ValueError(SECRET)

    async def refusing(request, context, try_out):
        return Verdict(False, "in use", code=409, reason="Conflict")

    asked = [
        Webhook(name, f"{name}.example.org", f"/{name}", answer, lambda context: [])
        for name, answer in (("unavailable", unavailable), ("broken", broken), ("refusing", refusing))
    ]
    asker = await begin(asked)
    before = metrics.admissions.labels("broken", "failed")._value.get()
    status, answer = await asker.send("/unavailable", ASKED)
    assert (status, answer["response"]["uid"]) == (500, "7")
    assert "the API server can't be reached" in answer["response"]["status"]["message"]
    status, answer = await asker.send("/broken", ASKED)
    assert status == 500
    assert SECRET not in json.dumps(answer) + log.getvalue()
    assert "ValueError" in log.getvalue()
    assert metrics.admissions.labels("broken", "failed")._value.get() == before + 1
    status, answer = await asker.send("/refusing", ASKED)
    assert status == 200
    assert answer["response"]["status"] == {"status": "Failure", "message": "in use", "reason": "Conflict", "code": 409}


async def test_another_certificate_is_served_at_once(begin, pair):
    asker = await begin()
    assert (await asker.ask(DEFINITIONS, XRD))["allowed"]
    authority = issuing.new_authority(NOW)
    made = issuing.signed(authority, hosts("home", "https://127.0.0.1:1"), NOW)
    await asker.server.serve(replace(made, bundle=authority.certificate))
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        async with session.get(asker.url(DEFINITIONS)) as response:
            assert response.status == 405
    assert (await asker.ask(DEFINITIONS, XRD))["allowed"], "the connection that was open stays"


async def test_a_port_in_use_is_told_with_its_mend(begin, pair):
    asker = await begin()
    other = Server((), World().context, taken, host="127.0.0.1", port=asker.server.port)
    with pytest.raises(InvalidInput, match="can't listen on .* for webhooks: .*--webhook-port"):
        await other.serve(pair)


# --- on a thread of its own


class Closing:
    """Stands for the connection of the thread."""

    closed = False

    async def close(self):
        self.closed = True


async def test_the_server_answers_while_the_event_loop_of_the_operator_is_busy(pair):
    api, context = Closing(), World().context
    apart = webhook_server.Apart(lambda: (Server(all_webhooks(), context, taken, host="127.0.0.1", port=0), api))
    assert apart.problem() == ""
    await apart.serve(pair)
    await apart.serve(pair)
    asked = ASKED | {"request": ASKED["request"] | {"object": XRD}}
    trusting = ssl.create_default_context(cadata=pair.bundle.decode())
    request = urllib.request.Request(f"https://127.0.0.1:{apart.port}{DEFINITIONS}", json.dumps(asked).encode())
    with urllib.request.urlopen(request, context=trusting, timeout=30) as answer:  # noqa: ASYNC210 - as a busy loop would
        assert json.loads(answer.read())["response"] == {"uid": "7", "allowed": True}
    await apart.stop()
    assert api.closed
    assert apart.problem() == "", "it was told to"


async def test_a_thread_that_can_not_begin_is_dead_and_says_why(pair):
    def begin():
        raise InvalidInput("no kubeconfig")

    apart = webhook_server.Apart(begin)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await apart.serve(pair)
    apart._thread.join()
    assert apart.problem() == "no kubeconfig"


async def test_what_another_thread_asks_of_the_watches_is_done_on_their_event_loop():
    told, done = [], asyncio.Event()

    class Watches:
        async def ensure(self, kinds, *, whole):
            told.append(("ensure", kinds, whole, threading.current_thread() is threading.main_thread()))

        def enqueue(self, key):
            told.append(("enqueue", key, threading.current_thread() is threading.main_thread()))
            done.set()

    hopping = webhook_server.Hopping(Watches(), asyncio.get_running_loop())

    async def there():
        await hopping.ensure([("v1", "Secret")], whole=True)
        hopping.enqueue("key")

    await asyncio.to_thread(lambda: asyncio.run(there()))
    await done.wait()
    assert told == [("ensure", [("v1", "Secret")], True, True), ("enqueue", "key", True)]


# --- what the API server is told


class Stored:
    """An API server with configurations and ClusterRoles; it fills in what a real one does."""

    def __init__(self):
        self.there, self.roles, self.writes = {}, {}, 0

    async def request(self, method, path, *, body=None, **_):
        name = path.rpartition("/")[2]
        if "/clusterroles/" in path:
            return (200, self.roles[name]) if name in self.roles else (404, {})
        if method == "GET":
            return (200, json.loads(json.dumps(self.there[name]))) if name in self.there else (404, {})
        self.writes += 1
        before = self.there.get(name, {"webhooks": []})
        mine = {each["name"]: each for each in body["webhooks"]}
        theirs = [each for each in before["webhooks"] if each["name"] not in mine]
        is_whole = "apiVersion" not in body
        metadata = {**before.get("metadata", {}), **body["metadata"], "resourceVersion": str(self.writes)}
        self.there[name] = {"metadata": metadata, "webhooks": [*mine.values(), *([] if is_whole else theirs)]}
        return 200, json.loads(json.dumps(self.there[name]))


def wanted(url=""):
    target = Target("home", 9443, b"PEM", url)
    return configured(all_webhooks(), target, World().context)


async def test_configurations_are_applied_once_and_put_back_whatever_is_edited():
    api = Stored()
    configurations = Configurations(api)
    await configurations.ensure(wanted())
    await configurations.ensure(wanted())
    assert api.writes == 2  # of two configurations
    first = json.loads(json.dumps(api.there["crossplane"]["webhooks"]))
    assert first[0]["clientConfig"]["service"] == {
        "name": "crossplane-webhooks",
        "namespace": "home",
        "path": DEFINITIONS,
        "port": 9443,
    }
    api.there["crossplane"]["webhooks"][0]["clientConfig"]["caBundle"] = "AAAA"
    await configurations.ensure(wanted())
    assert api.there["crossplane"]["webhooks"] == first
    api.there["crossplane"]["webhooks"].append(first[0] | {"name": "a.example.org"})
    await configurations.ensure(wanted())
    assert api.there["crossplane"]["webhooks"] == first
    await configurations.ensure(wanted("https://10.0.0.1:9443/"))
    assert api.there["crossplane"]["webhooks"][0]["clientConfig"]["url"] == f"https://10.0.0.1:9443{DEFINITIONS}"


async def test_what_the_server_changes_is_not_written_for_ever():
    api = Stored()
    plain = Stored.request

    async def dropping(method, path, **more):
        status, found = await plain(api, method, path, **more)
        for each in found.get("webhooks", ()):
            each.pop("matchConditions", None)
        return status, found

    api.request = dropping
    configurations = Configurations(api)
    for _ in range(4):
        await configurations.ensure(wanted())
    assert api.writes == 3  # of two configurations, one of which was written in full once more


async def test_they_belong_to_their_owner_and_are_not_made_without_it():
    api = Stored()
    configurations = Configurations(api, "crossplane:system:webhooks")
    await configurations.ensure(wanted())
    assert not api.there
    api.roles["crossplane:system:webhooks"] = {"metadata": {"uid": "5"}}
    await configurations.ensure(wanted())
    (owner,) = api.there["crossplane"]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ClusterRole", "5")
    api.roles["crossplane:system:webhooks"]["metadata"]["uid"] = "6"
    await configurations.ensure(wanted())
    assert api.there["crossplane"]["metadata"]["ownerReferences"][0]["uid"] == "6"


# --- all of it


class Told:
    """What serves, and what is configured, as far as it is remembered."""

    def __init__(self):
        self.served, self.configured, self.error = [], 0, None

    port = 1

    def problem(self):
        return ""

    async def serve(self, pair):
        if self.error:
            raise self.error
        self.served.append(pair)

    async def stop(self):
        self.served.append("stopped")

    async def ensure(self, wanted):
        self.configured += 1
        if self.error:
            raise self.error


def looked_after(server, configurations, *, leads=lambda: True):
    world = World()
    return webhooks.Webhooks(
        server,
        all_webhooks(),
        Secrets(),
        configurations,
        world.context,
        Place("127.0.0.1", 1),
        leads=leads,
        namespace="home",
    )


async def test_a_standby_serves_and_tells_the_api_server_nothing(log):
    server, configurations, leads = Told(), Told(), []
    found = looked_after(server, configurations, leads=lambda: bool(leads))
    assert found.problem() == "no certificate yet"
    await found._look()
    await found._look()
    assert found.problem() == ""
    assert (len(server.served), configurations.configured) == (1, 0)
    leads.append(True)
    await found._look()
    assert configurations.configured == 1
    assert "PRIVATE" not in log.getvalue()


async def test_what_keeps_it_from_serving_is_in_readyz_and_once_in_the_log(log):
    server = Told()
    server.error = InvalidInput("can't listen", mend="name another port")
    found = looked_after(server, Told())
    for _ in range(3):
        await found._look()
    assert found.problem() == "can't listen. Mend: name another port."
    assert log.getvalue().count("webhooks can't be set up") == 1
    server.error = None
    await found._look()
    assert found.problem() == ""


async def test_who_may_not_tell_the_api_server_serves_all_the_same_and_says_so_once(log):
    configurations = Told()
    configurations.error = Denied("no right", mend="grant it")
    found = looked_after(Told(), configurations)
    for _ in range(3):
        await found._look()
    assert found.problem() == ""
    assert log.getvalue().count("no right") == 1


async def test_the_server_ends_with_it():
    server = Told()
    running = asyncio.create_task(looked_after(server, Told()).run())
    while not server.served:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert server.served[-1] == "stopped"


async def test_what_is_given_up_while_the_api_server_is_away_is_given_up_later_and_breaks_nothing(monkeypatch):
    world, brought = World(), []

    async def bring(cluster):
        brought.append(len(brought))
        if len(brought) == 1:
            raise Unavailable("the API server is away")

    async def withdraw():
        return None

    monkeypatch.setattr(webhooks.guard, "bring", bring)
    looked_after = webhooks.Webhooks(
        SimpleNamespace(problem=lambda: ""),
        all_webhooks(),
        None,
        SimpleNamespace(withdraw=withdraw),
        world.context,
        Place("127.0.0.1", 0, is_tentative=True),
        leads=lambda: True,
        namespace="home",
    )
    await looked_after._give_up("nobody reaches them")
    assert not looked_after.have_ended, "nothing protects what is in use yet"
    await looked_after._give_up("nobody reaches them")
    assert looked_after.have_ended
    assert len(brought) == 2


async def test_whoever_ends_while_they_are_set_up_leaves_nothing_that_only_it_can_answer(monkeypatch):
    done, begun, goes_on = [], asyncio.Event(), asyncio.Event()

    def does(what):
        async def do(*_):
            done.append(what)
            return True

        return do

    async def ensure(wanted):
        begun.set()
        await goes_on.wait()
        done.append("applied")

    monkeypatch.setattr(webhooks.guard, "bring", does("policy"))
    monkeypatch.setattr(webhooks.guard, "take_away", does("no policy"))
    found = webhooks.Webhooks(
        SimpleNamespace(problem=lambda: "", port=1, serve=does("served")),
        all_webhooks(),
        None,
        SimpleNamespace(ensure=ensure, withdraw=does("withdrawn"), answered=does("asked")),
        World().context,
        Place("127.0.0.1", 0, "https://127.0.0.1", is_tentative=True, is_alone=True),
        leads=lambda: True,
        namespace="home",
    )
    looking = asyncio.create_task(found._look())
    await begun.wait()
    ending = asyncio.create_task(found.withdraw())
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(looking, ending)
    assert done == ["served", "applied", "asked", "no policy", "policy", "withdrawn"]
    await found._look()
    assert done.count("applied") == 1
