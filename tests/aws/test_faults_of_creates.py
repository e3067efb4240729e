"""Every kind's create and look, answered by each way in which AWS fails: what becomes of it, and that what could make a second thing is sent once.

Nothing is called: requests end where they would be sent, and reads find nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from groundplane import errors
from groundplane.aws import catalogue, faults
from groundplane.aws.engine import Engine
from groundplane.aws.grammar import READING, siblings
from groundplane.aws.session import ATTEMPTS, Sessions
from groundplane.ports import Account
from tests.aws.conftest import INI, managed, provider_config
from tests.aws.test_at_provider import given
from tests.aws.test_grammar import KINDS

FAULTS = {  # what AWS does: the error that it is for us, and whether the thing may be there all the same
    "throttled": (("Throttling", 400), errors.Throttled, False),
    "not allowed": (("AccessDenied", 403), errors.Denied, False),
    "failed inside": (("InternalFailure", 500), errors.Unavailable, True),
    "not there to answer": (("ServiceUnavailable", 503), errors.Unavailable, True),
    "no answer": (ReadTimeoutError, errors.Unavailable, True),
    "no connection": (ConnectTimeoutError, errors.Unavailable, True),
}
BODIES = {
    "ec2": "<Response><Errors><Error><Code>{0}</Code><Message>it failed</Message></Error></Errors></Response>",
    "query": "<ErrorResponse><Error><Code>{0}</Code><Message>it failed</Message></Error></ErrorResponse>",
    "rest-xml": "<Error><Code>{0}</Code><Message>it failed</Message></Error>",
    "json": '{{"__type": "{0}", "message": "it failed"}}',
}
SECRETS = {"password": "correct-horse-battery", "secretString": "correct-horse-battery", "masterPassword": "correct-horse-battery"}  # fmt: skip
# these need more than one call, or references inside of their fields: they have tests of their own
OTHERS = {"ec2_main_route_table_association", "cloudcontrol_resource", "s3_bucket_notification"}


class Wire:
    """Where requests end."""

    def __init__(self):
        self.fault, self.sent, self.absent, self.answers_reads = None, [], "", True

    def watch(self, client):
        client.meta.events.register("before-call", self.called)
        client.meta.events.register("before-send", self.send)
        return client

    def called(self, model, **_):
        self.operation, self.protocol = model.name, model.service_model.resolved_protocol
        if self.answers_reads and model.name.startswith(("Describe", "Get", "List", "Head")):
            status = 400 if self.absent else 200
            error = {"Error": {"Code": self.absent}} if self.absent else {}
            return SimpleNamespace(status_code=status), error | {"ResponseMetadata": {"HTTPStatusCode": status}}
        return None

    def send(self, request, **_):
        self.sent.append(self.operation)
        if isinstance(self.fault, type):
            raise self.fault(endpoint_url=request.url)
        code, status = self.fault
        body = BODIES[self.protocol].format(code).encode()
        headers = {"content-type": "text/xml", "x-amzn-errortype": code}
        return AWSResponse(request.url, status, headers, SimpleNamespace(stream=lambda **_: [body], read=lambda: body))


@pytest.fixture(scope="module")
def wire():
    return Wire()


@pytest.fixture(scope="module")
def clients(wire):
    found = Sessions().clients(Account(provider_config("http://127.0.0.1:1"), {"creds": INI}, "1"))
    found.account_id = lambda region: "123456789012"
    inner = found._factory.create
    found._factory.create = lambda *args, **more: wire.watch(inner(*args, **more))
    return found


def wanted(found):
    """The kind's example, with what its references would give."""
    fields = dict(found.example)
    for name, field in found.fields.items():
        if field.reference is not None:
            ref, selector = siblings(name, field)
            if fields.pop(ref, None) or fields.pop(selector, None):
                fields[name] = given(field)
    return managed(f"{found.group}/{found.versions[0]}", found.kind, "orders", **fields)


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("file", sorted(set(KINDS) - OTHERS))
def test_what_becomes_of_a_create_that_aws_fails(file, what, wire, clients, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # botocore's pauses
    found = catalogue.load(file)
    wire.fault, expected, may_be_there = FAULTS[what]
    wire.sent.clear()
    wire.answers_reads = True
    wire.absent = found.find.absent[0] if found.find is not None and found.find.absent else ""
    secrets = {each.field: SECRETS.get(each.field, "correct-horse-battery") for each in found.port.secrets}
    engine = Engine(found, catalogue.hooks(file), wanted(found), clients, secrets, now=datetime.now(UTC))
    with pytest.raises(faults.BOTO) as raised:
        engine.create()
    told = faults.translate(raised.value, found.errors, secrets=secrets.values())
    assert type(told) is expected
    assert "correct-horse" not in str(told)
    calls = set(wire.sent)
    assert len(calls) == 1, "one call makes it"
    if may_be_there and not found.port.repeatable:
        assert len(wire.sent) == 1, "sent again it may make a second thing"
    assert len(wire.sent) <= (ATTEMPTS if found.port.repeatable else 1)
    assert not calls.pop().lower().startswith(tuple(word.rstrip("_") for word in READING))


@pytest.mark.parametrize("what", [*FAULTS, "a code of nobody's"])
@pytest.mark.parametrize("file", sorted(KINDS))
def test_what_aws_fails_to_tell_is_never_taken_for_absent(file, what, wire, clients, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    found = catalogue.load(file)
    wire.fault, expected, _ = FAULTS.get(what, (("SomethingElse", 400), errors.InvalidInput, False))
    wire.answers_reads = False
    wire.sent.clear()
    looked_at = wanted(found)
    name = found.external_name
    parts = {
        "secretsmanager_secret_version": f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:a|{'b' * 36}",
        "iam_open_id_connect_provider": "arn:aws:iam::123456789012:oidc-provider/example.org",
    }
    if name.mode != "composite" or name.preset:
        looked_at["metadata"]["annotations"]["crossplane.io/external-name"] = parts.get(file, "orders")
    engine = Engine(found, catalogue.hooks(file), looked_at, clients, {}, now=datetime.now(UTC))
    with pytest.raises(faults.BOTO) as raised:
        engine.observe()
    told = faults.translate(raised.value, found.errors)
    assert isinstance(told, expected if what in FAULTS else errors.GroundplaneError)
    assert len(set(wire.sent)) == 1
