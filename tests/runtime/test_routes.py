"""Which reconciles a change calls for: what functions wanted to see."""

from __future__ import annotations

from typing import ClassVar

import pytest

from groundplane.core import definition
from groundplane.core.declared_kinds import Definitions
from groundplane.core.interests import Interests
from groundplane.core.objects import Key
from groundplane.core.pipeline import Selector
from groundplane.runtime.routes import Routes

DB, SHOP = Key("example.org/v1", "XThing", "", "db"), Key("example.org/v1", "XThing", "", "shop")


def obj(name, namespace="", kind="ConfigMap", **labels):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace, "labels": labels}}


def interested(**wanted):
    interests = Interests()
    for composite in (DB, SHOP):
        interests.set(composite, wanted.get(composite.name, ()))
    return interests


@pytest.mark.parametrize(
    ("selector", "wanted", "unwanted"),
    [
        (Selector("v1", "Namespace", name="a"), [obj("a", kind="Namespace")], [obj("b", kind="Namespace"), obj("a")]),
        (Selector("v1", "ConfigMap", name="a", namespace="n"), [obj("a", "n")], [obj("a", "m"), obj("a")]),
        (
            Selector("v1", "ConfigMap", labels={"t": "x"}),
            [obj("a", "n", t="x", u="y")],
            [obj("a", "n"), obj("a", t="y")],
        ),
        (Selector("v1", "ConfigMap", namespace="n"), [obj("a", "n")], [obj("a", "m")]),
    ],
)
def test_a_change_of_what_a_function_wanted_to_see_concerns_its_composite(selector, wanted, unwanted):
    routes = Routes(Definitions(), lambda version, kind: False, lambda key: None, interested(db=(selector,)))
    for found in wanted:
        assert routes.targets(None, found) == routes.targets(found, None) == {("composite", DB)}
    for found in unwanted:
        assert routes.targets(None, found) == set()


def test_an_object_that_comes_to_fit_or_ceases_to_concerns_the_composite_too():
    selector = Selector("v1", "ConfigMap", labels={"t": "x"})
    routes = Routes(Definitions(), lambda version, kind: False, lambda key: None, interested(db=(selector,)))
    assert routes.targets(obj("a"), obj("a", t="x")) == {("composite", DB)}
    assert routes.targets(obj("a", t="x"), obj("a")) == {("composite", DB)}


def test_only_what_was_wanted_last_counts():
    one, other = Selector("v1", "ConfigMap", name="one"), Selector("v1", "ConfigMap", name="other")
    interests = interested(db=(one, other), shop=(one,))
    assert interests.of(obj("one")) == [DB, SHOP]
    interests.set(DB, (other,))
    assert (interests.of(obj("one")), interests.of(obj("other"))) == ([SHOP], [DB])
    interests.set(SHOP, ())
    assert interests.of(obj("one")) == []


class Asked(Selector):
    """Remembers which selectors were asked about an object."""

    asked: ClassVar[list[str]] = []

    def selects(self, obj):
        self.asked.append(self.name or str(dict(self.labels)))
        return super().selects(obj)


def test_of_a_thousand_composites_those_are_asked_that_wanted_this_name_or_label():
    interests = Interests()
    for number in range(500):
        by_name, by_label = (
            Key("example.org/v1", "XThing", "", f"n{number}"),
            Key("example.org/v1", "XThing", "", f"l{number}"),
        )
        interests.set(by_name, (Asked("v1", "ConfigMap", name=f"c{number}"),))
        interests.set(by_label, (Asked("v1", "ConfigMap", labels={"t": str(number), "u": "x"}),))
    Asked.asked.clear()
    assert [key.name for key in interests.of(obj("c7", t="9", u="x"))] == ["n7", "l9"]
    assert Asked.asked == ["c7", "{'t': '9', 'u': 'x'}"]


def test_interests_of_a_day_of_churn_leave_nothing_behind():
    interests = Interests()
    for number in range(2_000):
        key = Key("example.org/v1", "XThing", "", f"x{number % 10}")
        interests.set(
            key, (Selector("v1", "ConfigMap", name=str(number)), Selector("v1", "Secret", labels={"n": str(number)}))
        )
        interests.saw(key, [obj(f"c{number}")])
    for number in range(10):
        interests.set(Key("example.org/v1", "XThing", "", f"x{number}"), ())
    assert [len(each) for each in vars(interests).values()] == [0, 0, 0, 0]


def test_a_connection_secret_concerns_the_user_of_its_owner_whoever_reconciles_that():
    definitions = Definitions()
    declared = {"group": "example.org", "names": {"kind": "XThing", "plural": "xthings"}, "scope": "Namespaced"}
    versions = [{"name": "v1", "served": True, "referenceable": True}]
    definitions.add(
        definition.read({"metadata": {"name": "x"}, "spec": declared | {"versions": versions}}), "composite"
    )
    composite = Key("example.org/v1", "XThing", "n", "db")
    for version, is_ours in [("rds.aws.m.upbound.io/v1beta1", True), ("sql.other.example/v1", False)]:
        managed = Key(version, "Instance", "n", "db-1")
        owned = {**owned_by(composite, uid="i"), "apiVersion": version, "kind": "Instance"}
        routes = Routes(definitions, lambda version, kind, is_ours=is_ours: is_ours, {managed: owned}.get)
        secret = {**owned_by(managed, "i"), "apiVersion": "v1", "kind": "Secret"}
        assert ("composite", composite) in routes.targets(None, secret)
        forged = {**owned_by(managed, "forged"), "apiVersion": "v1", "kind": "Secret"}
        free = {**secret, "metadata": {"name": "owned", "namespace": "n"}}
        assert routes.targets(None, forged) == routes.targets(forged, None) == routes.targets(None, free)


def owned_by(owner, controller="u", **metadata):
    reference = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": controller,
        "controller": True,
    }
    return {"metadata": {"name": "owned", "namespace": "n", "ownerReferences": [reference], **metadata}}


def test_a_usage_that_came_from_a_backup_before_we_worked_is_looked_at_when_we_begin_to():
    """It has no controller, so nobody's change tells of it: and as long as it is there its ProviderConfig can't go."""
    routes = Routes(Definitions(), lambda version, kind: False, lambda key: None)
    usage = {"apiVersion": "aws.upbound.io/v1beta1", "kind": "ProviderConfigUsage"}
    assert routes.at_first({**usage, "metadata": {"name": "u"}}) == ("providerconfig",)
    assert routes.at_first({**usage, **owned_by(DB)}) == ()
