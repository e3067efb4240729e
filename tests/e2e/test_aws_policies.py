"""What a managed resource may do is what its policies say, for AWS kinds of every sort on a real API server, in either generation.

Nothing is changed that must not be, everything once it may; what is orphaned stays, and is taken over again by its external name alone.
"""

from __future__ import annotations

import copy
import json

import pytest

from groundplane.aws import catalogue
from tests import aws_examples
from tests.e2e.conftest import QUICK, Operator
from tests.e2e.guide import at_rest, condition
from tests.e2e.test_aws_examples import inside

pytestmark = pytest.mark.soak
KINDS = [
    "ec2/VPC",
    "ec2/Subnet",
    "ec2/SecurityGroup",
    "ec2/SecurityGroupRule",
    "ec2/SecurityGroupIngressRule",
    "ec2/InternetGateway",
    "ec2/RouteTable",
    "ec2/Route",
    "ec2/RouteTableAssociation",
    "iam/Role",
    "iam/Policy",
    "iam/RolePolicyAttachment",
    "iam/User",
    "s3/Bucket",
    "s3/BucketVersioning",
    "s3/BucketPublicAccessBlock",
    "s3/BucketLifecycleConfiguration",
    "sqs/Queue",
    "sns/Topic",
    "sns/TopicSubscription",
    "dynamodb/Table",
    "kms/Key",
    "kms/Alias",
    "secretsmanager/Secret",
    "secretsmanager/SecretVersion",
    "rds/SubnetGroup",
    "rds/ParameterGroup",
    "rds/Instance",
    "elasticache/ParameterGroup",
]
READING = ("Describe", "Get", "List", "HEAD", "GET", "Head", "AssumeRole")
PAUSED, EXTERNAL_NAME = "crossplane.io/paused", "crossplane.io/external-name"
ASKED = "crossplane.io/reconcile-requested-at"


class Things:
    """The managed resources that are tried."""

    def __init__(self, plane, aws, operator, generation):
        self.plane, self.aws, self.operator = plane, aws, operator
        self.namespace = aws_examples.NAMESPACE if generation == 2 else ""
        self.kinds = {aws_examples.name_of(kind): kind for kind in aws_examples.kinds(generation)}
        self.objects = [each for each in aws_examples.managed(generation) if self.kind(each) in KINDS]
        self.looks = 0

    def kind(self, obj):
        return f"{obj['apiVersion'].partition('.')[0]}/{obj['kind']}"

    def path(self, obj):
        kind = self.kinds[self.kind(obj)]
        where = ("-n", self.namespace) if self.namespace else ()
        return (f"{kind.plural}.{kind.group}", obj["metadata"]["name"], *where)

    def there(self):
        return [found for each in self.objects if (found := self.plane.get(*self.path(each)))]

    def apply(self, *objects):
        """As they are in `objects` now; all of them, if none is named."""
        self.plane.apply(*copy.deepcopy(objects or self.objects))

    def say(self, *, annotations=None, **spec):
        """Edit each manifest: annotations, and fields of the spec; None takes one out."""
        for each in self.objects:
            noted, given = each["metadata"].setdefault("annotations", {}), each["spec"]
            for block, changes in ((noted, annotations or {}), (given, spec)):
                block |= changes
                for name in [name for name, value in block.items() if value is None]:
                    del block[name]

    def edit(self, value):
        """Edit what AWS takes at any time, where there are tags."""
        for each in self.objects:
            if self.kinds[self.kind(each)].tags:
                each["spec"]["forProvider"]["tags"] = {"edited": value}

    def delete(self, objects):
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.plane.kubectl("delete", "--wait=false", "-f", "-", input=json.dumps(listed))

    def looked_at(self):
        """Have each looked at, and wait for it."""
        self.looks += 1
        mark = f"look-{self.looks}"
        self.say(annotations={ASKED: mark})
        self.apply()
        self.until(
            "all were looked at",
            lambda: [each for each in self.there() if each.get("status", {}).get("lastHandledReconcileAt") != mark],
        )

    def until(self, what, missing):
        try:
            self.plane.wait(what, lambda: not missing(), seconds=300)
        except AssertionError as error:
            left = [f"{self.kind(each)}: {each.get('status', {}).get('conditions')}" for each in missing()]
            raise AssertionError(f"{what}: {left}\n{self.operator.text()[-2000:]}") from error

    def ready(self):
        def missing():
            found = self.there()
            lacking = [each for each in found if not _is_good(each)]
            return lacking or self.objects[: len(self.objects) - len(found)]

        self.until("all are ready", missing)
        at_rest(self.plane)

    def written(self):
        """The calls since the last time that change anything."""
        calls = [each["operation"] for each in self.aws.request("GET", "/standin/calls")]
        self.aws.request("DELETE", "/standin/calls")
        return [each for each in calls if not each.startswith(READING)]

    def shows(self, value):
        """The things with tags of which AWS does not show this one."""

        def tags(each):
            return each.get("status", {}).get("atProvider", {}).get("tags", {})

        return [each for each in self.tagged() if tags(each).get("edited") != value]

    def tagged(self):
        return [each for each in self.there() if self.kinds[self.kind(each)].tags]


def _is_good(each):
    return all(condition(each, type_).get("status") == "True" for type_ in ("Synced", "Ready"))


@pytest.fixture
def things(plane, aws, tmp_path, request):
    generation = request.param
    kinds = [catalogue.lookup(each["apiVersion"], each["kind"]) for each in aws_examples.managed(generation)]
    chosen = {f"{kind.plural}.{kind.group}" for kind in kinds if aws_examples.name_of(kind) in KINDS}
    operator = Operator(
        plane.kubeconfig_of("operator"),
        aws.url,
        tmp_path / "operator.log",
        (*QUICK, "--activations", ",".join(sorted(chosen))),
    )
    operator.start()
    plane.wait("all kinds are served", lambda: chosen <= _served(plane))
    plane.wait_for_kinds()
    plane.kubectl("create", "namespace", "crossplane-system", check=False)
    made = Things(plane, aws, operator, generation)
    plane.apply(*aws_examples.accounts(generation))
    yield made
    operator.stop()


def _served(plane):
    return {name.partition("/")[2] for name in plane.kubectl("get", "crd", "-o", "name").stdout.split()}


@pytest.mark.parametrize("things", [1, 2], ids=["cluster-scoped", "namespaced"], indirect=True)
def test_policies_bound_what_is_done(things, plane, aws):
    before = inside(aws)
    things.apply()
    things.ready()
    made = inside(aws)
    things.written()

    # without Update, nothing is changed
    things.say(managementPolicies=["Observe", "Create", "Delete", "LateInitialize"])
    things.edit("one")
    things.looked_at()
    assert things.written() == []
    things.say(managementPolicies=["*"])
    things.apply()
    things.until("the edit is in AWS", lambda: things.shows("one"))

    # what is paused is left alone, also when it is to be deleted
    things.say(annotations={PAUSED: "true"})
    things.apply()
    things.until("all are paused", lambda: [each for each in things.there() if not _is_paused(each)])
    at_rest(plane)
    things.written()
    things.edit("two")
    things.apply()
    victims = [each for each in things.objects if things.kind(each) in ("sqs/Queue", "s3/BucketVersioning")]
    things.delete(victims)
    at_rest(plane)
    assert aws.request("GET", "/standin/calls") == []
    assert len(things.there()) == len(things.objects)
    things.say(annotations={PAUSED: None})
    things.apply()
    things.until("what is deleted goes", lambda: [each for each in things.there() if _is_deleted(each)])
    things.apply()
    things.until("the edit is in AWS", lambda: things.shows("two"))
    things.ready()

    # what is orphaned stays
    known = {things.path(each): each for each in things.there()}
    kept = inside(aws)
    may = ["Observe", "Create", "Update", "LateInitialize"]
    things.say(**{"managementPolicies": may} if things.namespace else {"deletionPolicy": "Orphan"})
    things.looked_at()
    things.written()
    things.delete(things.objects)
    things.until("all is gone", things.there)
    assert things.written() == []
    assert inside(aws) == kept

    # it is found by its name alone, and only looked at
    whole = copy.deepcopy(things.objects)
    for each in things.objects:
        noted, given = each["metadata"]["annotations"], each["spec"]["forProvider"]
        noted[EXTERNAL_NAME] = known[things.path(each)]["metadata"]["annotations"][EXTERNAL_NAME]
        if things.kind(each) not in UNNAMED:
            each["spec"]["forProvider"] = {name: given[name] for name in ("region",) if name in given}
    things.say(managementPolicies=["Observe"])
    things.apply()
    things.ready()
    things.looked_at()
    assert things.written() == []
    for each in things.there():
        was, now = known[things.path(each)]["status"]["atProvider"], each["status"]["atProvider"]
        asked = {name for name, field in things.kinds[things.kind(each)].fields.items() if field.observe is None}
        names = {*was, *now} - asked  # of which AWS tells nothing
        differs = {name: (was.get(name), now.get(name)) for name in names if was.get(name) != now.get(name)}
        assert not differs.keys() - HELD, (things.path(each), differs)
    things.delete(things.objects[:3])
    things.until("they are gone", lambda: [each for each in things.there() if _is_deleted(each)])
    assert things.written() == []
    assert inside(aws) == kept

    # once it may be changed, it is; nothing is made a second time
    for each, asked in zip(things.objects, whole, strict=True):
        each["spec"]["forProvider"] = asked["spec"]["forProvider"]
    things.say(managementPolicies=["*"], deletionPolicy=None)
    things.edit("three")
    things.apply()
    things.until("the edit is in AWS", lambda: things.shows("three"))
    things.ready()
    made = [each for each in things.written() if each.startswith(("Create", "Delete", "Run", "Allocate"))]
    assert [each for each in made if each not in ("CreateTags", "DeleteTags")] == []
    assert inside(aws) == kept
    things.delete(things.objects)
    things.until("all is gone", things.there)
    assert inside(aws) == before
    for kind in ("clusterproviderconfigs.aws.m.upbound.io", "providerconfigs.aws.m.upbound.io"):
        plane.kubectl("delete", kind, "default", "-n", aws_examples.NAMESPACE, "--ignore-not-found", "--timeout=180s")
    plane.kubectl("delete", "providerconfigs.aws.upbound.io", "default", "--ignore-not-found", "--timeout=180s")


UNNAMED = {"ec2/Route", "ec2/SecurityGroupRule"}  # their fields say which they are, as upstream
HELD = {"passwordDigest", "secretStringDigest", "latestRestorableTime"}  # what only who made it knows; a time


def _is_deleted(each):
    return bool(each["metadata"].get("deletionTimestamp"))


def _is_paused(each):
    return condition(each, "Synced").get("reason") == "ReconcilePaused"
