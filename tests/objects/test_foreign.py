"""Another cluster's API server may be nobody's friend: what it answers amiss is told, holds up nobody, and reads nothing of ours."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc

import pytest
import yaml
from aiohttp import web

from groundplane.cluster import client, credentials
from groundplane.core.objects import Key
from groundplane.errors import Denied, GroundplaneError, InvalidInput, NoSuchKind, Unavailable
from groundplane.runtime import targets
from groundplane.runtime.targets import ClusterTargets

KEY = Key("v1", "ConfigMap", "shop", "settings")
KINDS = {"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]}
META = {"name": "settings", "namespace": "shop", "uid": "1", "resourceVersion": "1"}
GOOD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": META}


def kubeconfig(server="https://a.example.org", cluster=None, **user):
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
            "clusters": [{"name": "it", "cluster": {"server": server, **(cluster or {})}}],
            "users": [{"name": "me", "user": user or {"token": "t0ken-of-mine"}}],
        }
    ).encode()


class Server:
    """Answers what it is told to, whatever it is asked."""

    def __init__(self):
        self.kinds, self.answer, self.status, self.asked = KINDS, GOOD, 200, []
        self.groups = {"kind": "APIGroupList", "groups": []}
        self.answers, self.answered = asyncio.Event(), ()  # methods that it answers in any case
        self.answers.set()
        self.tokens = None  # None: it takes any

    async def handle(self, request):
        self.asked.append((request.method, request.path, dict(request.query)))
        if request.method not in self.answered:
            await self.answers.wait()
        told = {"/api/v1": self.kinds, "/apis": self.groups}.get(request.path, self.answer)
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        status = 200 if told is not self.answer else self.status
        if self.tokens is not None and request.headers.get("Authorization") not in {f"Bearer {t}" for t in self.tokens}:
            return web.Response(body=b"{}", status=401, content_type="application/json")
        return web.Response(body=body, status=status, content_type="application/json")


@pytest.fixture
async def server():
    made, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def there(server):
    made = ClusterTargets(None)
    yield await made.there("uid", "1", kubeconfig(server.address))
    await made.close()


async def test_a_cluster_of_eks_is_logged_in_to_by_tokens_that_end(server):
    """Whatever program the kubeconfig names, as AWS's tool writes it."""
    asked, valid = [], {"first"}

    def token(access):
        asked.append((access.cluster, access.server))
        return "first" if len(asked) == 1 else "second"

    server.tokens = valid
    made = ClusterTargets(None, aws_token=token)
    eks = kubeconfig(server.address, exec={"command": "aws", "args": ["eks", "get-token"]})
    made.check(eks, by_aws=True)
    with pytest.raises(InvalidInput, match="logs in with a program"):
        await made.there("other", "1", eks)
    both = await asyncio.gather(*(made.there("uid", "1", eks, by_aws=True) for _ in range(2)))
    assert both[0] is both[1]
    assert await both[0].get(KEY) == GOOD
    valid.clear()
    valid.add("second")
    assert await both[0].get(KEY) == GOOD
    assert {*asked} == {("it", server.address)}
    await made.close()


async def test_credentials_that_aws_does_not_give_are_told(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/no/such")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = ClusterTargets(None)
    with pytest.raises(Denied) as raised:
        await made.there("uid", "1", kubeconfig(), by_aws=True)
    assert "give the operator an identity in AWS" in str(raised.value)
    await made.close()


async def test_what_an_api_server_answers_is_taken(server, there):
    assert await there.get(KEY) == GOOD
    assert await there.apply(GOOD, manager="me", dry_run=True) == GOOD
    assert server.asked[-1][2] == {"fieldManager": "me", "force": "true", "dryRun": "All", "timeout": "35000ms"}


@pytest.mark.parametrize(
    "answer",
    [
        b"no json",
        b"[]",
        {"metadata": 5},
        {"metadata": {"name": "settings"}},
        {**GOOD, "kind": "Secret"},
        {**GOOD, "metadata": {**META, "namespace": "kube-system"}},
        {**GOOD, "metadata": {**META, "labels": ["a"]}},
        {**GOOD, "metadata": {**META, "managedFields": {"a": 1}}},
        {**GOOD, "metadata": {**META, "uid": 7}},
        {**GOOD, "status": "fine"},
        b"[" * 100_000,
    ],
)
async def test_what_is_no_object_is_told_as_the_servers_fault(server, there, answer):
    server.answer = answer
    with pytest.raises(Unavailable):
        await there.get(KEY)
    with pytest.raises(GroundplaneError):
        await there.apply(GOOD, manager="me")


@pytest.mark.parametrize("kinds", [5, {}, {"resources": 5}, {"resources": [5]}, {"resources": [{"name": "a"}]}, b"?"])
async def test_what_says_no_kinds_is_told(server, there, kinds):
    server.kinds = kinds
    with pytest.raises(GroundplaneError) as raised:
        await there.get(KEY)
    assert not raised.value.on, "a kind that comes here is no news of that cluster"


@pytest.mark.parametrize("kind", ["ConfigMaps", "configmap", "configmaps", "ConfigMpa"])
async def test_of_a_kind_that_is_misspelt_the_one_that_is_meant_is_told(there, kind):
    with pytest.raises(NoSuchKind, match="did you mean ConfigMap"):
        await there.get(KEY._replace(kind=kind))
    with pytest.raises(NoSuchKind, match="install its CustomResourceDefinition"):
        await there.get(KEY._replace(kind="Gadget"))


GADGETS = "gadgets.example.org/v1"
GADGET = Key(GADGETS, "Gadget", "team", "one")
SERVED = {"kind": "APIGroupList", "groups": [{"name": "gadgets.example.org", "versions": [{"groupVersion": GADGETS}]}]}


@pytest.mark.parametrize("groups", [b"404 page not found", b"<html>sorry</html>", {"kind": "Status"}, SERVED])
async def test_a_proxy_of_a_dead_cluster_that_finds_nothing_is_no_cluster_without_that_kind(server, there, groups):
    server.status, server.answer, server.groups = 404, b"404 page not found", groups
    with pytest.raises(Unavailable):
        await there.get(GADGET)
    with pytest.raises(Unavailable):
        await there.list(GADGETS, "Gadget")
    with pytest.raises(Unavailable):
        await there.get(KEY)
    server.groups = {"kind": "APIGroupList", "groups": []}
    with pytest.raises(NoSuchKind):
        await there.get(GADGET)


async def test_kinds_of_the_core_are_always_there(server, there):
    server.kinds = b"<html>sorry</html>"
    with pytest.raises(Unavailable):
        await there.get(KEY)


async def test_an_answer_without_end_is_not_read(server, there, monkeypatch):
    monkeypatch.setattr(there._api, "_longest", 1000)
    server.answer = {**GOOD, "data": {"a": "x" * 5000}}
    with pytest.raises(InvalidInput, match="longer than"):
        await there.get(KEY)


@pytest.mark.parametrize("said", [b'"%s"' % (b"x" * 3_000_000), b'{"resources": "%s"}' % (b"x" * 1_500_000)])
async def test_of_what_is_refused_nothing_is_kept(server, there, said):
    server.kinds = said
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        errors = []
        for _ in range(5):
            with pytest.raises(GroundplaneError) as told:
                await there.get(KEY)
            errors.append(told.value)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
        gc.enable()


async def test_whoever_is_asked_for_something_has_few_seconds_for_it(server, there):
    assert there._api._open().timeout.total == targets.READ
    assert there._api._write_timeout == client.REQUEST_TIMEOUT, "for admission webhooks take their time"


async def test_an_answer_of_many_small_parts_is_not_read(server, there):
    server.answer = b'{"apiVersion":"v1","kind":"ConfigMap","data":{"a":[' + b"[]," * 200_000 + b"[]]}}"
    with pytest.raises(InvalidInput, match="lists and maps"):
        await there.get(KEY)


async def test_a_page_of_a_list_may_be_longer_than_an_object(server, there):
    item = {**GOOD, "data": {"a": "x" * 30_000}}
    server.answer = {"metadata": {}, "items": [{**item, "metadata": {**META, "name": f"{n}"}} for n in range(100)]}
    assert len(await there.list("v1", "ConfigMap", namespace="shop")) == 100


async def test_a_list_without_end_is_not_read(server, there):
    server.answer = {"metadata": {"continue": "more"}, "items": []}
    with pytest.raises(InvalidInput, match="more than 10000 configmaps"):
        await there.list("v1", "ConfigMap", namespace="shop")
    assert len([path for _, path, _ in server.asked if path.endswith("/configmaps")]) == 20


async def test_for_a_server_that_never_answers_one_waits_however_many_objects_are_in_it(server, there):
    """Else those of twenty such servers hold all the workers, and what is in a healthy one waits for minutes."""
    there._api._read_timeout = 0.3
    server.answers.clear()

    async def asked_by(many):
        """What they are told."""
        results = await asyncio.gather(*(there.get(KEY) for _ in range(many)), return_exceptions=True)
        assert {type(each) for each in results} == {Unavailable}
        return {str(each) for each in results}

    words = await asked_by(30)
    assert len(server.asked) == 1
    assert await asked_by(30) == words, "the condition changes"
    assert len(server.asked) == 1, "who comes later waits as well"
    there._outage._until = 0.0  # the pause is over
    assert await asked_by(30) == words
    assert len(server.asked) == 2, "nobody, or more than one, looks whether it answers again"
    server.answers.set()
    there._api._read_timeout = 60.0
    there._outage._until = 0.0
    assert await there.get(KEY) == GOOD
    assert await there.get(KEY) == GOOD


async def test_a_server_that_answers_reads_alone_is_asked_to_write_by_one(server, there):
    """An answer to a GET, which comes before each apply, says nothing of what never ends."""
    there._api._write_timeout = 0.3
    server.answered = ("GET",)
    server.answers.clear()

    async def change():
        assert await there.get(KEY) == GOOD
        await there.apply(GOOD, manager="me", dry_run=True)

    with pytest.raises(Unavailable):
        await change()
    results = await asyncio.gather(*(change() for _ in range(30)), return_exceptions=True)
    assert {type(each) for each in results} == {Unavailable}
    assert [method for method, *_ in server.asked].count("PATCH") == 1, "each waits as long"
    server.answers.set()
    there._api._write_outage._until = 0.0
    await change()


async def test_what_is_written_there_ends_there_before_another_replica_leads(server):
    made = ClusterTargets(None, write_timeout=5.0, identity="groundplane_one_12345678")
    there = await made.there("uid", "1", kubeconfig(server.address))
    await there.apply(GOOD, manager="me")
    await there.delete(KEY)
    await there.get(KEY)
    bounds = [(method, query.get("timeout")) for method, path, query in server.asked if path != "/api/v1"]
    assert bounds == [("PATCH", "5000ms"), ("DELETE", "5000ms"), ("GET", None)]
    await made.close()


async def test_a_kubeconfig_that_is_none_is_read_once(monkeypatch):
    read, parse = [], credentials.parse
    monkeypatch.setattr(credentials, "parse", lambda text, **how: read.append(text) or parse(text, **how))
    made = ClusterTargets(None)
    for _ in range(3):
        with pytest.raises(InvalidInput, match="not YAML"):
            await made.there("one", "1", b"a: [")
    assert len(read) == 1
    await made.there("one", "2", kubeconfig())
    assert len(read) == 2
    await made.close()


async def test_what_is_forbidden_there_is_granted_there(server, there):
    server.status = 403
    message = (
        'configmaps is forbidden: User "system:serviceaccount:a:b" cannot get resource "configmaps" in API group ""'
    )
    server.answer = {"kind": "Status", "message": message, "code": 403}
    with pytest.raises(Denied, match="let whom the kubeconfig logs in as work with configmaps in that cluster"):
        await there.get(KEY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "not text"),
        (b"just text", "not a kubeconfig"),
        (b"a: [", "not YAML"),
        (b"contexts: 5\ncurrent-context: a", "not a kubeconfig"),
        (kubeconfig(exec={"command": "sh"}), "logs in with a program, which is not run"),
        (kubeconfig(tokenFile="/var/run/secrets/kubernetes.io/serviceaccount/token"), "names a file in tokenFile"),
        (kubeconfig(**{"client-certificate": "/etc/passwd"}), "names a file in client-certificate"),
        (kubeconfig(cluster={"certificate-authority": "/etc/passwd"}), "names a file in certificate-authority"),
        (kubeconfig("ftp://t0ken-of-mine"), "cluster.server is no address"),
        (kubeconfig("https://a:b"), "cluster.server is no address"),
        (kubeconfig(token="two\nlines"), "the token of the kubeconfig is none"),
        (kubeconfig(cluster={"certificate-authority-data": "bm90IHBlbQ=="}), "not valid PEM"),
        (kubeconfig(cluster={"certificate-authority-data": "?"}), "not base64"),
        (b"a: [" + b"x," * 20_000 + b"]", "too many entries"),
        (b"a: [" + b"x," * 500_000 + b"]", "longer than 64 KiB"),
        (b"a: " + b"[" * 100 + b"]" * 100, "nested too deep"),
        (b"a: " + b"[" * 50_000, "not YAML"),
        (b"a: &a {b: 1}\nc: {<<: *a}", "has YAML aliases"),
    ],
)
def test_a_kubeconfig_that_can_not_be_used_is_told_without_what_it_holds(text, said):
    with pytest.raises(InvalidInput, match=said) as raised:
        ClusterTargets(None).check(text)
    assert "t0ken-of-mine" not in str(raised.value)


async def test_a_new_kubeconfig_makes_a_new_connection_and_few_are_kept(server, monkeypatch):
    monkeypatch.setattr(targets, "KEPT", 2)
    made = ClusterTargets(None)
    one = await made.there("one", "1", kubeconfig(server.address))
    assert await made.there("one", "1", kubeconfig(server.address)) is one
    await one.get(KEY)
    again = await made.there("one", "2", kubeconfig(server.address))
    assert again is not one
    assert one._api._session is None
    await again.get(KEY)
    for name in ("two", "three"):
        await made.there(name, "1", kubeconfig(server.address))
    assert again._api._session is None
    assert len(made._there) == 2
    await made.close()
