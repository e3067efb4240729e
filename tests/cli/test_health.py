"""What `up` and the demo take for fine: an object whose own condition is good is not, while something that it is made of fails."""

from __future__ import annotations

from datetime import UTC, datetime

from groundplane.cli.health import Verdict, verdict_of
from groundplane.core import conditions, health
from groundplane.core.objects import Key, key_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFUSED = "update failed: invalid class nope. Mend: correct spec.forProvider.instanceClass."


def made(api_version, kind, spec, *told):
    obj = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": kind.lower(), "creationTimestamp": "2025-12-31T23:00:00Z"},
        "spec": spec,
    }
    conditions.set_on(obj, *told, now=NOW)
    return obj


def family(*told):
    instance = made("rds.aws.upbound.io/v1beta1", "Instance", {"forProvider": {}}, conditions.available(), *told)
    reference = {"apiVersion": instance["apiVersion"], "kind": "Instance", "name": "instance"}
    composite = made("example.org/v1", "XDb", {"resourceRefs": [reference]}, conditions.available())
    return key_of(composite), {key_of(obj): obj for obj in (composite, instance)}


def test_a_composite_that_is_ready_with_an_edit_that_fails_below_is_not_fine():
    key, objects = family(conditions.reconcile_error(REFUSED))
    verdict = verdict_of(key, objects, frozenset({"composite"}), NOW)
    assert verdict.state == "stuck"
    assert "invalid class nope" in str(verdict)
    key, objects = family(conditions.reconcile_success())
    assert verdict_of(key, objects, frozenset({"composite"}), NOW).state == "fine"


def test_what_is_there_and_not_all_as_asked_for_is_under_way():
    """A table is Ready some looks before its point-in-time recovery is on."""
    key, objects = family(conditions.reconcile_success(), health.reconciling("Updating", ""))
    verdict = verdict_of(key, objects, frozenset({"composite"}), NOW)
    assert verdict.state == "under way"
    assert str(verdict) == "XDb xdb is not ready: Instance instance: is being brought to what is asked for"


def test_several_causes_have_a_line_each():
    causes = ("Instance a: no such class. Mend: use another.", "Role b: no such policy. Mend: make it.")
    verdict = Verdict(Key("example.org/v1", "XDb", "", "xdb"), "stuck", causes)
    assert str(verdict) == "\n  ".join(["XDb xdb is not ready:", *causes])


def waiting_family(*told):
    """A template waits for what the Instance will say, and is not there yet."""
    missing = "resource settings › patches[0]: status.endpoint: no such field. Mend: it is required."
    instance = made("rds.aws.upbound.io/v1beta1", "Instance", {"forProvider": {}}, *told)
    references = [
        {"apiVersion": instance["apiVersion"], "kind": "Instance", "name": "instance"},
        {"apiVersion": "secretsmanager.aws.upbound.io/v1beta1", "kind": "Secret", "name": "later"},
    ]
    composite = made(
        "example.org/v1",
        "XDb",
        {"resourceRefs": references},
        conditions.reconcile_error(missing),
        conditions.creating(missing),
        health.reconciling("Waiting", missing),
    )
    return key_of(composite), {key_of(obj): obj for obj in (composite, instance)}


def test_a_composite_that_waits_for_a_field_is_under_way_as_long_as_something_that_it_is_made_of_is():
    """An RDS instance has no endpoint for minutes; `up --once` and CI are there to see it come."""
    key, objects = waiting_family(conditions.reconcile_success(), conditions.creating("DBInstanceStatus is creating"))
    verdict = verdict_of(key, objects, frozenset({"composite"}), NOW)
    assert (verdict.state, str(verdict)) == (
        "under way",
        "XDb xdb is not ready: Instance instance: Synced, not Ready: Creating",
    )
    key, objects = waiting_family(conditions.reconcile_success(), conditions.available())
    verdict = verdict_of(key, objects, frozenset({"composite"}), NOW)
    assert verdict.state == "stuck"
    assert "status.endpoint: no such field" in str(verdict), "the path is wrong"
    key, objects = waiting_family(conditions.reconcile_error(REFUSED), conditions.creating())
    assert "invalid class nope" in str(verdict_of(key, objects, frozenset({"composite"}), NOW))
