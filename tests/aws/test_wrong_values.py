"""Values that nobody means, in every field of every kind: named with their place, never an internal error."""

import copy
import json
import re
from datetime import UTC, datetime
from functools import cache

import pytest

from groundplane import errors
from groundplane.aws import catalogue, compare, convert, crds, judging
from groundplane.aws.session import Sessions
from groundplane.core import misfits
from groundplane.ports import Account
from tests.aws.conftest import EC2, INI, RDS, S3, made, managed, provider_config
from tests.aws.test_at_provider import Answered, answer, given
from tests.aws.test_grammar import KINDS, operation

DEEP = "[" * 20_000
VALUES = {
    "nothing": "",
    "letter": "x",
    "no entry": [],
    "empty object": [{}],
    "long": "x" * 20_000,
    "unicode": "ümläut ☃ \0 \u202e",
    "deep JSON": DEEP,
    "long number": '{"a": ' + "1" * 5_000 + "}",
    "digits": "1" * 5_000,
    "negative": -1,
    "fraction": 1.5,
    "infinite": float("inf"),
    "true": True,
    "null in a list": [None],
    "lists": [[]],
    "two objects": [{}, {}],
    "mixed": ["a", 1, {"a": None}],
    "template": "$external_name ${spec.a",
}
BOTOCORE = re.compile(
    r"\b1 (characters|entries)\b|(for|required|Unknown) parameter|must be one of|valid (types|min)|<class"
)


@cache
def item(file):
    kind = KINDS[file]
    found = kind.observe.item.search(answer(operation(kind, kind.observe.call).output_shape))
    found = found[0] if isinstance(found, list) else found
    found = found if isinstance(found, dict) else {}  # what is shown is gone
    also = {name: read.item.search(answer(operation(kind, read.call).output_shape)) for name, read in kind.also.items()}
    return {**found, **also, "inline": [], "pending": [], "ipv6": None}


@pytest.fixture(scope="module")
def clients():
    """Of an account that is known without a call: nothing is called."""
    found = Sessions(attempts=1).clients(Account(provider_config("http://127.0.0.1:1"), {"creds": INI}, "1"))
    found.account_id = lambda region: "123456789012"
    return found


@pytest.mark.parametrize("file", KINDS)
def test_no_value_of_any_field_is_an_internal_error(clients, file):
    kind, hooks = KINDS[file], catalogue.hooks(file)
    needed = {name: given(field) for name, field in kind.fields.items() if field.required} | {"region": "eu-west-1"}
    needed |= {"assumeRolePolicy": '{"Statement": []}'} if kind.kind == "Role" else {}
    for name in [*kind.fields, "tags", "region"]:
        for what, value in VALUES.items():
            wrong = managed(f"{kind.group}/v1beta1", kind.kind, "orders", **needed | {name: value})
            engine = Answered(kind, hooks, wrong, clients, {"password": "correct-horse"}, now=datetime.now(UTC))
            thing = copy.deepcopy(item(file))
            thing = thing if kind.kind == "Resource" else hooks.observed(engine, thing)
            drift = engine.drift(thing, {})  # also of what is faulty: it may be on its way out
            assert engine._thawed(drift) is not None
            assert isinstance(engine._immutable(thing), list)
            assert what != "nothing" or engine._at_provider(thing, {})
            if error := refused(engine):
                assert error.where, f"{name}: {what}: {error}"
                assert error.mend, f"{name}: {what}: {error}"
                assert len(str(error)) < 1000
                told = str(error).replace(str(value), "")
                assert not BOTOCORE.search(told), f"{name}: {what}: {error}"
                assert not re.search(r"(› |[.])[A-Z]", " › ".join(error.where)), f"{name}: {what}: {error}"
                assert not engine.faulty or error.where[0] == f"spec.forProvider.{name}"


def refused(engine):
    """Why it can't be created, if it can't; every other error gets out."""
    try:
        engine.check()
        engine.hooks.defaults(engine)
        engine.hooks.check_create(engine)
        assert engine.create_call()
    except errors.InvalidInput as error:
        return error
    return None


@pytest.mark.parametrize(
    "kind, field, value, message",
    [
        ((EC2, "VPC"), "enableDnsSupport", "yes", 'wants true or false, got "yes"'),
        ((EC2, "VPC"), "ipv4NetmaskLength", [16], r"wants a number, got \[16\]. Mend: write a number: 20"),
        ((EC2, "VPC"), "cidrBlock", {"a": "b"}, "wants a text, got"),
        ((EC2, "VPC"), "tags", ["a"], "spec.forProvider.tags: wants a map of texts"),
        ((EC2, "VPC"), "tags", {"a": {"b": "c"}}, "spec.forProvider.tags › a: wants a text"),
        ((RDS, "Instance"), "restoreToPointInTime", "now", "wants an object"),
        ((RDS, "Instance"), "restoreToPointInTime", [{}, {}], "takes at most one element, got 2"),
        (
            (RDS, "Instance"),
            "restoreToPointInTime",
            {"useLatestRestorableTime": "yes"},
            "useLatestRestorableTime: wants",
        ),
        ((RDS, "Instance"), "passwordSecretRef", "hunter2", "wants an object, got something else"),
        ((S3, "Bucket"), "region", 7.5, "region"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place_and_what_to_write(cloud, kind, field, value, message):
    facts = {"engine": "postgres", "instanceClass": "db.t4g.micro", "allocatedStorage": 20}
    thing = managed(*kind, "orders", **(facts if kind[1] == "Instance" else {}))
    thing["spec"]["forProvider"][field] = value
    if (field, value) == ("region", 7.5):
        cloud.check(thing)  # a text like any other here; whether it is a region is seen when it is called
        return
    with pytest.raises(errors.InvalidInput, match=message):
        cloud.check(thing)


async def test_what_aws_would_refuse_by_its_model_is_refused_with_the_field(cloud, account, standin):
    role = managed("iam.aws.upbound.io/v1beta1", "Role", "orders", assumeRolePolicy="{}", maxSessionDuration=-1)
    with pytest.raises(errors.InvalidInput, match=r"maxSessionDuration: AWS takes no -1. Mend: write 3600 to 43200"):
        await cloud.create(role, account, {})
    assert standin.operations() == []


async def test_what_a_block_lacks_is_named_as_the_spec_has_it(cloud, account, standin):
    encrypted = {"applyServerSideEncryptionByDefault": [{"kmsMasterKeyId": "alias/orders"}]}
    kind = ("s3.aws.upbound.io/v1beta1", "BucketServerSideEncryptionConfiguration")
    thing = managed(*kind, "orders", bucket="orders", rule=[encrypted])
    with pytest.raises(errors.Required, match=r"applyServerSideEncryptionByDefault › sseAlgorithm: is required"):
        await cloud.create(thing, account, {})
    secret = managed("secretsmanager.aws.upbound.io/v1beta1", "Secret", "orders", replica=[{"region": "x" * 200}, {}])
    with pytest.raises(
        errors.InvalidInput, match=r"replica › \[0\] › region: has 200 characters. Mend: write 1 to 128 ch"
    ):
        await cloud.create(secret, account, {})
    assert not {"CreateSecret", "PUT ?encryption"} & {*standin.operations()}


@pytest.mark.parametrize(
    "words, place",
    [
        ("Value 'x' at 'roleName' failed to satisfy constraint", ()),
        (
            "Value '99999' at 'maxSessionDuration' failed to satisfy constraint",
            ("spec.forProvider.maxSessionDuration",),
        ),
        ("The parameter Description is too long", ("spec.forProvider.description",)),
        ("Invalid parameter: AssumeRolePolicyDocument", ("spec.forProvider.assumeRolePolicy",)),
        ("this is not right", ()),
    ],
)
async def test_what_aws_says_of_a_parameter_names_the_field(cloud, account, standin, words, place):
    role = managed("iam.aws.upbound.io/v1beta1", "Role", "orders", assumeRolePolicy='{"Statement": []}')
    role["spec"]["forProvider"] |= {"description": "orders", "maxSessionDuration": 7200}
    standin.fail("iam", "CreateRole", "ValidationError", status=400, message=words)
    with pytest.raises(errors.InvalidInput) as caught:
        await cloud.create(role, account, {})
    assert caught.value.where == place


async def test_a_fraction_is_refused_where_aws_takes_whole_numbers_as_texts(cloud, account, standin):
    queue = managed("sqs.aws.upbound.io/v1beta1", "Queue", "orders", delaySeconds=1.5)
    with pytest.raises(errors.InvalidInput, match="delaySeconds: wants a whole number, got 1.5. Mend: write one: 20"):
        await cloud.create(queue, account, {})
    assert "CreateQueue" not in standin.operations()


async def test_a_thing_whose_spec_became_faulty_is_still_seen_and_goes(cloud, account):
    vpc = managed(EC2, "VPC", "main", cidrBlock="10.0.0.0/16")
    await made(cloud, vpc, account)
    vpc["spec"]["forProvider"] |= {"enableDnsSupport": {"a": "b"}, "tags": "none", "cidrBlock": [[]]}
    observation = await cloud.observe(vpc, account, {})
    assert observation.exists
    await cloud.delete(vpc, account, observation)
    assert not (await cloud.observe(vpc, account, {})).exists


# --- one block over the other


async def test_init_provider_fills_members_of_blocks_and_is_not_held(cloud, account):
    database = managed(RDS, "Instance", "orders", instanceClass="db.t4g.micro")
    database["spec"]["forProvider"]["restoreToPointInTime"] = [{"sourceDbInstanceIdentifier": "billing"}]
    database["spec"]["initProvider"] = {
        "restoreToPointInTime": {"useLatestRestorableTime": True, "sourceDbInstanceIdentifier": "other"},
        "skipFinalSnapshot": True,
    }
    engine = cloud._offline(database)
    block = {"sourceDbInstanceIdentifier": "billing", "useLatestRestorableTime": True}
    assert engine.spec["restoreToPointInTime"] == [block]
    assert engine.spec["skipFinalSnapshot"] is True
    role = managed("iam.aws.upbound.io/v1beta1", "Role", "orders", inlinePolicy=[{"name": "read"}])
    role["spec"]["initProvider"] = {"inlinePolicy": [{"name": "other", "policy": "{}"}]}
    engine = cloud._offline(role)
    assert engine.spec["inlinePolicy"] == [{"name": "read", "policy": "{}"}]
    assert engine.desired("inlinePolicy") == [{"name": "read"}]  # once it is made


async def test_lists_of_texts_are_not_mixed(cloud):
    database = managed(RDS, "Instance", "orders", vpcSecurityGroupIds=["sg-1"])
    database["spec"]["initProvider"] = {"vpcSecurityGroupIds": ["sg-2", "sg-3"]}
    assert cloud._offline(database).spec["vpcSecurityGroupIds"] == ["sg-1"]


# --- tags of AWS itself


@pytest.mark.parametrize("kind, facts", [((EC2, "VPC"), {"cidrBlock": "10.0.0.0/16"}), ((S3, "Bucket"), {})])
async def test_tags_that_only_aws_may_set_are_left_out_and_it_is_said(cloud, account, kind, facts):
    thing = managed(*kind, "orders-one", **facts, tags={"team": "orders", "aws:cloudformation:stack-name": "old"})
    observation = await made(cloud, thing, account)
    assert observation.drift == ()
    assert "team" in observation.at_provider["tags"]
    assert "aws:cloudformation:stack-name" not in observation.at_provider["tags"]
    assert any("aws:cloudformation:stack-name" in note for note in observation.notes)


# --- texts that are JSON


@pytest.mark.parametrize("comparison", ["exact", "json", "policy", "set", "list"])
@pytest.mark.parametrize(
    "text", [DEEP, '{"a": ' * 5_000, '{"a": ' + "1" * 5_000 + "}", '{"a": ' * 400 + "1" + "}" * 400]
)
def test_a_text_that_only_looks_like_json_is_compared_as_a_text(comparison, text):
    values = ([text], [text + "]"]) if comparison == "set" else (text, text + "]")
    assert compare.equal(comparison, values[0], values[0])
    assert not compare.equal(comparison, *values)


ROOT = "arn:aws-cn:iam::123456789012:root"
STATEMENT = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": ["s3:Get*", "s3:List*"], "Resource": ["a", "b"]}


@pytest.mark.parametrize(
    "other",
    [
        {**STATEMENT, "Action": ["s3:List*", "s3:Get*"]},
        {**STATEMENT, "Action": ["S3:list*", "s3:Get*", "s3:get*"]},
        {**STATEMENT, "Resource": ["b", "a"]},
        {**STATEMENT, "Principal": {"AWS": ["123456789012"]}},
        {**STATEMENT, "Sid": ""},
    ],
)
def test_a_policy_in_other_words_is_the_same(other):
    whole = {"Version": "2012-10-17", "Statement": [STATEMENT]}
    assert compare.equal("policy", json.dumps(whole), json.dumps({"Statement": other, "Version": "2012-10-17"}))
    assert not compare.equal("policy", json.dumps(whole), json.dumps({"Statement": {**other, "Effect": "Deny"}}))


def blocks(fields, around=()):
    """The ways to the fields that are a list of one in one version and an object in another."""
    for name, field in fields.items():
        if field.single and field.fields:
            yield (*around, name)
        yield from blocks(field.fields, (*around, name))


def around(value, path, fields, *, is_list):
    """A value at a place, with lists where there may be several."""
    name, *rest = path
    field = fields[name]
    inside = around(value, rest, field.fields, is_list=is_list) if rest else value
    return {name: [inside] if is_list or (field.type.startswith("[]") and not field.single) else inside}


BLOCKS = [(file, path) for file, kind in KINDS.items() if kind.shape == "either" for path in blocks(kind.fields)]


@pytest.mark.parametrize("is_list", [True, False], ids=["list", "object"])
@pytest.mark.parametrize(("file", "path"), BLOCKS, ids=lambda each: each if isinstance(each, str) else ".".join(each))
def test_a_misspelt_member_of_what_has_no_type_in_the_schema_is_named_before_any_call(cloud, file, path, is_list):
    """No API server refuses or drops it; `validate` and `render` tell it as well."""
    kind = KINDS[file]
    inside = around({"misspelt": "x"}, path, kind.fields, is_list=is_list)
    wrong = managed(f"{kind.group}/{kind.versions[0]}", kind.kind, "orders", **inside)
    with pytest.raises(errors.InvalidInput, match=r'unknown field "?misspelt') as refused:
        cloud.check(wrong)
    assert refused.value.where[0] == f"spec.forProvider.{path[0]}"
    assert all(name in str(refused.value) for name in path)
    told = [found.detail for found in misfits.of(crds.schema_of(wrong["apiVersion"], kind.kind), wrong)]
    assert any(text.endswith('has no field "misspelt"') for text in told), told


@pytest.mark.parametrize(("file", "path"), BLOCKS, ids=lambda each: each if isinstance(each, str) else ".".join(each))
def test_something_single_instead_of_such_an_object_is_named_before_any_call(cloud, file, path):
    kind = KINDS[file]
    for value in ("enabled", 5, True):
        given = around(value, path, kind.fields, is_list=False)
        wrong = managed(f"{kind.group}/{kind.versions[0]}", kind.kind, "orders", **given)
        with pytest.raises(errors.InvalidInput, match="wants an object, got"):
            cloud.check(wrong)
        assert [*misfits.of(crds.schema_of(wrong["apiVersion"], kind.kind), wrong)]


REPEATED = [
    ("elasticache_cluster", "preferredAvailabilityZones", "eu-west-1a"),  # of each node its own
    ("elasticache_replication_group", "preferredCacheClusterAzs", "eu-west-1a"),
    ("elasticache_replication_group", "nodeGroupConfiguration", {"replicaCount": 1}),
    (
        "elasticache_replication_group",
        "nodeGroupConfiguration",
        {"replicaAvailabilityZones": ["eu-west-1a", "eu-west-1a"]},
    ),
    ("rds_instance", "domainDnsIps", "10.0.0.2"),  # where one server is all there is, it is named twice
]


@pytest.mark.parametrize(("file", "field", "entry"), REPEATED)
def test_what_stands_twice_where_each_entry_is_another_things_counts_twice(file, field, entry):
    assert convert.fitted([entry, entry], KINDS[file].fields[field]) == [entry, entry]


TWICE = [
    ("rds_parameter_group", "parameter", {"name": "max_connections", "value": "100"}, {"value": "200"}),
    ("elasticache_parameter_group", "parameter", {"name": "timeout", "value": "1"}, {"value": "2"}),
    ("iam_role", "inlinePolicy", {"name": "read", "policy": "{}"}, {"policy": '{"Statement": []}'}),
    ("secretsmanager_secret", "replica", {"region": "eu-west-2"}, {"kmsKeyId": "alias/orders"}),
    ("dynamodb_table", "attribute", {"name": "id", "type": "S"}, {"type": "N"}),
]


@pytest.mark.parametrize(("file", "field", "entry", "other"), TWICE)
def test_two_entries_for_the_same_are_refused_and_an_entry_twice_is_one(cloud, file, field, entry, other):
    kind = KINDS[file]
    thing = managed(f"{kind.group}/v1beta1", kind.kind, "orders", **kind.example | {field: [entry, entry | other]})
    with pytest.raises(errors.InvalidInput) as caught:
        cloud.check(thing)
    assert "is there twice. Mend: keep one of" in str(caught.value)
    assert f"spec.forProvider.{field}[1].{kind.fields[field].key[0]}" in str(caught.value)
    assert convert.fitted([entry, dict(entry)], kind.fields[field]) == convert.fitted([entry], kind.fields[field])


def documents(fields, path=()):
    """The fields that take JSON, at any depth, by their paths."""
    for name, field in fields.items():
        if field.comparison in judging.JSON:
            yield (*path, name), field
        yield from documents(field.fields, (*path, name))


DOCUMENTS = [(file, path) for file, kind in KINDS.items() for path, _ in documents(kind.fields)]


@pytest.mark.parametrize(("file", "path"), DOCUMENTS, ids=[f"{file}.{'.'.join(path)}" for file, path in DOCUMENTS])
@pytest.mark.parametrize("text", ['{"a": ', "{Version: 1}", "{'a': 1}", '{"a": 1}}', '"text"', "12"])
def test_a_text_that_is_no_document_is_refused_before_any_call_at_any_depth(cloud, file, path, text):
    kind = KINDS[file]
    top, value = kind.fields[path[0]], text
    for name in reversed(path[1:]):
        value = [{"name": "read", name: value}]
    beside = {name: given for name, given in kind.example.items() if name not in top.conflicts}
    with pytest.raises(errors.InvalidInput) as caught:
        cloud.check(managed(f"{kind.group}/{kind.versions[0]}", kind.kind, "orders", **beside | {path[0]: value}))
    assert caught.value.where[0] == "spec.forProvider." + "[0].".join(path)
    assert caught.value.mend


OF_ANOTHER_KIND = [  # a list where AWS takes an object, and an object, or a list of something else, where it takes a list of objects
    (file, path, text)
    for file, path in DOCUMENTS
    for text in (("{}", '["a"]', "[1]") if path == ("routingRules",) else ("[]", "[{}]", '["a"]'))
]


@pytest.mark.parametrize(("file", "path", "text"), OF_ANOTHER_KIND)
def test_a_list_where_a_document_is_an_object_is_refused_before_any_call_and_the_reverse(cloud, file, path, text):
    test_a_text_that_is_no_document_is_refused_before_any_call_at_any_depth(cloud, file, path, text)


@pytest.mark.parametrize("file", [file for file, path in DOCUMENTS if KINDS[file].fields[path[0]].required])
def test_a_document_that_is_required_may_not_be_empty(cloud, file):
    kind = KINDS[file]
    name = next(path[0] for other, path in DOCUMENTS if other == file and kind.fields[path[0]].required)
    with pytest.raises(errors.Required, match=f"spec.forProvider.{name}: is empty"):
        cloud.check(managed(f"{kind.group}/{kind.versions[0]}", kind.kind, "orders", **kind.example | {name: ""}))
