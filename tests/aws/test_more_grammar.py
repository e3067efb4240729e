"""What a kind file may say beyond plain fields: other creates, lists entry by entry, ends that are none, refused fields, both generations."""

from datetime import UTC, datetime

import pytest

from groundplane.aws import catalogue, crds
from groundplane.aws.engine import Engine
from groundplane.aws.grammar import Kind
from groundplane.aws.resource import Hooks
from groundplane.aws.session import Sessions
from groundplane.errors import InvalidInput
from groundplane.ports import Account
from tests.aws.conftest import INI, provider_config

CLIENTS = Sessions(attempts=1).clients(Account(provider_config("http://127.0.0.1:1"), {"creds": INI}, "1"))
BASE = {
    "kind": "Thing",
    "group": "rds.aws.upbound.io",
    "plural": "things",
    "service": "rds",
    "externalName": {"mode": "name", "parameter": "DBParameterGroupName"},
    "create": {"call": "create_db_parameter_group"},
    "observe": {"call": "describe_db_parameter_groups", "item": "DBParameterGroups[0]"},
    "delete": {"call": "delete_db_parameter_group"},
    "fields": {},
    "atProvider": {},
    "example": {},
}


class Recorded(Engine):
    """An engine that makes no calls: it notes what it would write, and reads what it is given."""

    def __init__(self, document, spec, answers=None, **metadata):
        thing = {
            "apiVersion": "rds.aws.upbound.io/v1beta1",
            "kind": "Thing",
            "metadata": {"name": "orders", "uid": "u1", **metadata},
            "spec": {"forProvider": {"region": "eu-west-1", **spec}},
        }
        super().__init__(Kind.model_validate(BASE | document), Hooks(), thing, CLIENTS, now=datetime.now(UTC))
        self.writes, self.answers = [], answers or {}

    def _call(self, name, parameters, *, once=False, region=""):
        if name in self.answers:
            return self.answers[name]
        self.writes.append((name, parameters))
        return {}


def parameters_group(**update):
    return {
        "update": {
            "parameters": {
                "mode": "entries",
                "call": "modify_db_parameter_group",
                "with": {"DBParameterGroupName": "$external_name"},
                "list": "Parameters",
                "remove": {"call": "reset_db_parameter_group", "with": {"DBParameterGroupName": "$external_name"}},
                **update,
            }
        },
        "fields": {
            "parameter": {
                "type": "[]object",
                "unset": [],
                "key": "name",
                "observe": "Parameters",
                "update": "parameters.Parameters",
                "fields": {
                    "name": {"type": "string", "aws": "ParameterName"},
                    "value": {"type": "string", "aws": "ParameterValue"},
                },
            }
        },
    }


def test_a_list_is_brought_in_line_in_calls_of_so_many_entries():
    wanted = [{"name": f"p{number:02}", "value": "1"} for number in range(5)]
    found = {
        "Parameters": [{"ParameterName": "old", "ParameterValue": "1"}, {"ParameterName": "p00", "ParameterValue": "1"}]
    }
    engine = Recorded(
        parameters_group(most=3),
        {"parameter": wanted},
        {"describe_db_parameter_groups": {"DBParameterGroups": [found]}},
    )
    engine.update(engine.observe())
    sizes = [(name, [entry["ParameterName"] for entry in given["Parameters"]]) for name, given in engine.writes]
    assert sizes == [
        ("reset_db_parameter_group", ["old"]),
        ("modify_db_parameter_group", ["p01", "p02", "p03"]),
        ("modify_db_parameter_group", ["p04"]),
    ]


def test_a_list_is_brought_in_line_one_entry_a_call():
    document = {
        "group": "iam.aws.upbound.io",
        "service": "iam",
        "global": True,
        "create": {"call": "create_role"},
        "externalName": {"mode": "name", "parameter": "RoleName"},
        "observe": {"call": "get_role", "item": "Role"},
        "delete": {"call": "delete_role"},
        "update": {
            "attached": {
                "mode": "entries",
                "call": "attach_role_policy",
                "with": {"RoleName": "$external_name", "PolicyArn": "$entry"},
                "remove": {
                    "call": "detach_role_policy",
                    "with": {"RoleName": "$external_name", "PolicyArn": "${entry}"},
                },
            }
        },
        "fields": {"arns": {"type": "[]string", "unset": None, "observe": "Arns", "update": "attached"}},
    }
    engine = Recorded(document, {"arns": ["b", "c"]}, {"get_role": {"Role": {"Arns": ["a", "b"]}}})
    engine.update(engine.observe())
    assert engine.writes == [
        ("detach_role_policy", {"RoleName": "orders", "PolicyArn": "a"}),
        ("attach_role_policy", {"RoleName": "orders", "PolicyArn": "c"}),
    ]


def test_the_create_call_is_chosen_by_the_first_field_that_is_set():
    document = {
        "externalName": {"mode": "name", "parameter": "DBClusterIdentifier"},
        "create": {
            "call": "create_db_cluster",
            "with": {"NetworkType": "IPV4"},
            "instead": {
                "snapshotIdentifier": {
                    "call": "restore_db_cluster_from_snapshot",
                    "with": {"SnapshotIdentifier": "$spec.snapshotIdentifier"},
                },
                "copyOf": {
                    "call": "restore_db_cluster_to_point_in_time",
                    "with": {"SourceDBClusterIdentifier": "$spec.copyOf"},
                },
            },
        },
        "fields": {
            "snapshotIdentifier": {"type": "string"},
            "copyOf": {"type": "string"},
            "engine": {"type": "string", "create": "Engine"},
            "masterUsername": {"type": "string", "create": "MasterUsername"},
        },
    }
    spec = {"engine": "aurora-mysql", "masterUsername": "admin"}
    names = []
    for more in ({}, {"copyOf": "a"}, {"copyOf": "a", "snapshotIdentifier": "s"}):
        engine = Recorded(document, spec | more)
        engine.create()
        names += engine.writes
    assert names == [
        (
            "create_db_cluster",
            {
                "NetworkType": "IPV4",
                "Engine": "aurora-mysql",
                "MasterUsername": "admin",
                "DBClusterIdentifier": "orders",
            },
        ),
        ("restore_db_cluster_to_point_in_time", {"SourceDBClusterIdentifier": "a", "DBClusterIdentifier": "orders"}),
        (
            "restore_db_cluster_from_snapshot",
            {"SnapshotIdentifier": "s", "Engine": "aurora-mysql", "DBClusterIdentifier": "orders"},
        ),
    ]


def test_what_has_no_end_of_its_own_counts_as_gone_when_it_is_deleted():
    document = {"delete": {"done": "State != 'on'"}}
    answers = {"describe_db_parameter_groups": {"DBParameterGroups": [{"State": "on"}]}}
    engine = Recorded(document, {}, answers, deletionTimestamp="2030-01-01T00:00:00Z")
    found = engine.observe()
    assert found.exists
    engine.delete(found)
    assert engine.writes == []
    answers["describe_db_parameter_groups"]["DBParameterGroups"][0]["State"] = "off"
    assert not engine.observe().exists
    assert Recorded(document, {}, answers).observe().exists  # nobody deletes it


def test_a_field_that_cannot_be_supported_is_refused_at_any_depth():
    document = {
        "fields": {
            "old": {"type": "string", "unsupported": "EC2-Classic is gone"},
            "rule": {
                "type": "[]object",
                "fields": {"kept": {"type": "string"}, "lost": {"type": "string", "unsupported": "AWS has it no more"}},
            },
        }
    }
    Recorded(document, {"rule": [{"kept": "a"}]}).check()
    with pytest.raises(InvalidInput, match=r"spec.forProvider.old.*EC2-Classic is gone.*remove it"):
        Recorded(document, {"old": "a"}).check()
    with pytest.raises(InvalidInput, match=r"spec.forProvider.rule\[1\].lost.*AWS has it no more"):
        Recorded(document, {"rule": [{"kept": "a"}, {"lost": "b"}]}).check()


def test_a_further_read_may_come_in_pages_and_choose_an_entry():
    document = {
        "also": {"mine": {"call": "describe_db_parameters", "item": "Parameters", "where": {"ParameterName": "$name"}}},
        "fields": {"value": {"type": "string", "observe": "mine.ParameterValue"}},
    }
    answers = {
        "describe_db_parameter_groups": {"DBParameterGroups": [{"a": 1}]},
        "describe_db_parameters": {
            "Parameters": [
                {"ParameterName": "other", "ParameterValue": "1"},
                {"ParameterName": "orders", "ParameterValue": "2"},
            ]
        },
    }
    assert Recorded(document, {}, answers).observe().at_provider["value"] == "2"


def test_an_empty_alternative_empties_its_place_alone():
    engine = Recorded({}, {"a": "1"})
    assert engine.template("x/${spec.a|}/${spec.b|}") == "x/1/"
    assert engine.template("x/${spec.a}/${spec.b}") is None


def test_a_hook_replaces_one_conversion():
    class Shout(Hooks):
        def outgoing(self, resource, name, value):
            return value.upper() if name == "family" else value

        def incoming(self, resource, name, value):
            return value.lower() if name == "family" else value

    document = {
        "fields": {
            "family": {"type": "string", "create": "DBParameterGroupFamily", "observe": "Family"},
            "note": {"type": "string", "create": "Description"},
        }
    }
    engine = Recorded(
        document,
        {"family": "pg", "note": "a"},
        {"describe_db_parameter_groups": {"DBParameterGroups": [{"Family": "PG"}]}},
    )
    engine.hooks = Shout()
    engine.create()
    [(_, given)] = engine.writes
    assert (given["DBParameterGroupFamily"], given["Description"]) == ("PG", "a")
    assert engine.observe().at_provider["family"] == "pg"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"update": {"a": {"call": "modify_db_parameter_group"}}}, "update.a: no field is updated by it"),
        ({"delete": {"absent": ["A"]}}, "delete.done: without a call"),
        ({"create": {"call": "a", "instead": {"b": {"call": "c"}}}}, "create.instead: no field b"),
        ({"externalName": {"mode": "composite"}}, "externalName.format: mode composite needs it"),
        ({"externalName": {"mode": "assigned", "pattern": "a"}}, "externalName.pattern: is not of mode assigned"),
        (
            {"fields": {"a": {"type": "string", "fields": {"b": {"type": "string"}}}}},
            "fields.a.fields: string has no members",
        ),
        ({"fields": {"a": {"type": "object", "single": True}}}, "fields.a.single: object is no list"),
        ({"fields": {"a": {"type": "[]object", "key": "b"}}}, "fields.a.key: no member b"),
        ({"fields": {"a": {"type": "string", "late": True}}}, "fields.a.late: nothing is observed"),
        ({"fields": {"a": {"type": "string", "aws": "B"}}}, "fields.a.aws: is of members"),
        (
            {"fields": {"a": {"type": "string", "unsupported": "no", "default": "b"}}},
            "fields.a.default: the field is unsupported",
        ),
        ({"changes": {"a": 1}}, "changes: no field a"),
        ({"untried": {"why": ["a"]}}, "untried: no field a"),
        ({"objectsSince": "v1beta2"}, "objectsSince: v1beta2 is not served"),
        (parameters_group(name="A"), "update.parameters.name: is of mode attribute"),
        (parameters_group(mode="patch"), "update.parameters.remove: is of mode entries"),
        (parameters_group(remove=None), "update.parameters.mode: entries need a call"),
    ],
)
def test_a_key_that_says_nothing_or_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Kind.model_validate(BASE | changes)


def test_both_generations_come_from_one_file():
    found = catalogue.load("rds_instance").namespaced
    crd = crds.of_kind(found, docs=False, strict_upstream=False)
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert (crd["metadata"]["name"], crd["spec"]["scope"]) == ("instances.rds.aws.m.upbound.io", "Namespaced")
    assert spec["providerConfigRef"]["default"] == {"kind": "ClusterProviderConfig", "name": "default"}
    assert spec["forProvider"]["properties"]["passwordSecretRef"]["required"] == ["key", "name"]
    assert spec["forProvider"]["properties"]["s3Import"]["type"] == "object"
    assert "namespace" in spec["forProvider"]["properties"]["dbSubnetGroupNameRef"]["properties"]
    assert "deletionPolicy" not in spec
    references = {reference.field: reference.group for reference in found.port.references}
    assert references["dbSubnetGroupName"] == "rds.aws.m.upbound.io"
