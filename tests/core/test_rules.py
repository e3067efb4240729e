"""CEL rules: the answers of a real API server (tests/vectors/cel, asked again in tests/contracts/test_rules.py), and our limits."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from groundplane.core import cel, cel_functions, rules, schema, schema_defects
from groundplane.core.structural import MISSING, Structural

VECTORS = Path(__file__).parents[1] / "vectors" / "cel"


def table(name):
    return yaml.load((VECTORS / f"{name}.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)


def with_rule(row):
    """The schema of a row's field."""
    return row["schema"] | ({"x-kubernetes-validations": [{"rule": row["rule"]}]} if "rule" in row else {})


@pytest.mark.parametrize("row", table("rules"), ids=lambda row: row["case"])
def test_a_rule_is_answered_as_the_api_server_answers(row):
    root = {"type": "object", "properties": {"v": with_rule(row)}}
    unchecked = rules.Unchecked()
    old = {"v": row["old"]} if "old" in row else None
    found = schema.validate(root, {"v": row["value"]}, old, unchecked=unchecked)
    if row.get("unchecked"):
        assert found == []
        assert [*unchecked.reasons]
    else:
        assert (found, [*unchecked.told()]) == (sorted(row["wrong"]), [])


@pytest.mark.parametrize("row", table("mistakes"), ids=lambda row: row["case"])
def test_a_rule_that_no_schema_can_have_is_told(row):
    found = schema_defects.of({"type": "object", "properties": {"v": with_rule(row)}}, "s")
    assert bool(found) == ("says" in row)
    assert row.get("says", "") in "; ".join(found)


@pytest.mark.parametrize("row", table("rules"), ids=lambda row: row["case"])
def test_a_rule_that_a_schema_can_have_is_no_mistake(row):
    assert schema_defects.of({"type": "object", "properties": {"v": with_rule(row)}}) == []


# --- our limits

DOUBLED = ".map(a, a + a)" * 22
HOSTILE = {
    "nested": f"{'(' * 5000}true{')' * 5000}",
    "a long sum": "1" + " + 1" * 20000 + " > 0",
    "many steps": "self.all(a, self.all(b, self.all(c, self.all(d, true))))",
    "text that doubles": f"self{DOUBLED}[0] != ''",
    "lists that double": f"[self]{DOUBLED}[0].size() > 0",
    "lists within lists": f"[self]{'.map(a, [a, a])' * 12} == [self]{'.map(a, [a, a])' * 12}",
    "text in text": f"self[0]{''.join(['.replace(', chr(39) * 2, ', self[0])'] * 12)} == ''",
    "text joined": "self.map(a, self.map(b, b)).map(l, l.join(self[0])).map(t, self.map(b, t).join(t)).size() > 0",
    "two variables, again and again": "self" + ".transformList(i, x, x)" * 700 + " == self",
    "two variables in two variables": "self.all(i, x, " * 40 + "true" + ")" * 40,
    "half a character": "self[0] == '\ud800'",
    "a broken escape": "self[0] == '\\q'",
    "an endless literal": "self[0] == '''",
    "nothing but a comment": "// self",
}


@pytest.mark.parametrize("rule", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_rule_is_refused_or_given_up_and_never_runs_away(rule):
    ruled = {"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": rule}]}
    unchecked = rules.Unchecked()
    found = schema.validate(ruled, ["x" * 1000] * 100, unchecked=unchecked)
    assert schema_defects.of(ruled) or unchecked.reasons or found


def test_what_a_rule_can_not_see_is_never_handed_to_the_library():
    """Fields without a type may be nested as deep as a request allows."""
    deep: object = 1
    for _ in range(5000):
        deep = {"a": deep}
    ruled = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"a": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.a > 1"}],
    }
    view = rules.view_of(Structural(ruled))
    with pytest.raises(cel.Unchecked):
        view.rules[0].holds({"a": 2, "deep": deep}, MISSING)


def test_the_rules_that_are_known_by_their_text_mean_what_cel_makes_of_them():
    values = [
        *({"plural": plural} for plural in ("things", "Things", "things2", "")),
        *({"plural": "x", "singular": singular} for singular in ("thing", "Thing", "")),
        *({"plural": "x", "scope": scope} for scope in ("LegacyCluster", "Cluster")),
        *({"plural": "x", "scope": "Cluster", name: {}} for name in ("claimNames", "connectionSecretKeys")),
        *({"plural": "x", name: {}} for name in ("by", "reason", "resourceRef", "resourceSelector", "claimNames")),
        *(
            {"plural": "x", "mode": mode, **more}
            for mode in ("Pipeline", "Resources")
            for more in ({}, {"resources": {}})
        ),
        *({"plural": "x", **more} for more in ({"resources": {}}, {"pipeline": {}})),
    ]
    names = {name for value in values for name in value}
    texts = {"plural", "singular", "scope", "mode"}
    properties = {name: {"type": "string" if name in texts else "object"} for name in names}
    view = rules.view_of(Structural({"type": "object", "properties": properties}))
    of_text = {"!self.contains('Environment')"}
    for rule in rules.RULES:
        if rule in of_text:
            continue
        known, asked = rules.Rule({"rule": rule}, view), rules.Rule({"rule": rule}, view)
        asked.known = None
        for new in values:
            for old in values:
                assert known.holds(new, old) == asked.holds(new, old), (rule, new, old)
    for rule in of_text:
        known, asked = (rules.Rule({"rule": rule}, rules.view_of(Structural({"type": "string"}))) for _ in range(2))
        asked.known = None
        for new in ("", "PatchSet", "FromEnvironmentFieldPath"):
            assert known.holds(new, MISSING) == asked.holds(new, MISSING), (rule, new)


def test_an_expression_is_compiled_once_for_all_schemas_and_old_ones_are_let_go():
    before = cel._compiled.cache_info()
    ruled = {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 12345"}]}
    for value in range(50):
        assert schema.validate(dict(ruled), value) == []
    after = cel._compiled.cache_info()
    assert after.misses - before.misses == 1
    assert after.maxsize is not None


# Siblings of what the vectors ask: one implementation is behind each family.
SIBLINGS = {"isUnspecified", "isLinkLocalMulticast", "isLinkLocalUnicast", "isInteger"}


def test_every_function_is_asked_in_the_vectors():
    asked = " ".join(row.get("rule", "") for row in table("rules"))
    missing = {each.name for each in cel_functions.FUNCTIONS if f"{each.name}(" not in asked}
    ours = ("format.", "groundplane_")  # one of many, and what two variables are made of
    assert {name for name in missing if not name.startswith(ours)} == SIBLINGS


def test_a_time_that_is_none_is_not_checked_rather_than_refused():
    ruled = {"type": "string", "format": "duration", "x-kubernetes-validations": [{"rule": "self < duration('1h')"}]}
    unchecked = rules.Unchecked()
    assert schema.validate(ruled, "3 weeks", unchecked=unchecked) == []
    assert unchecked.reasons


def test_without_the_library_the_rules_that_were_not_checked_are_named_in_one_line():
    unchecked = rules.Unchecked()
    for index in (0, 7):
        unchecked.add(((None, "spec"), index), "self < 1", cel.Unchecked("no library", missing=True))
    unchecked.add((None, "spec"), "self.a < 1", cel.Unchecked("no library", missing=True))
    assert [*unchecked.told()] == [
        (
            "2 rules were not checked, as no CEL library is installed: spec: self.a < 1; spec[*]: self < 1",
            "pip install 'groundplane[cel]'",
        )
    ]
