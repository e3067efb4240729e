"""Which rules an API server of a version would refuse, as asking for what it does not know."""

from __future__ import annotations

import pytest

from groundplane.core.validation.kubernetes_versions import too_new
from tests.cli import platform
from tests.cli.platform import groundplane, write

SINCE = {  # the first version that knows each: Kubernetes 1.34, pkg/cel/environment/base.go
    "self.?text.orValue('a') == 'a'": 28,
    "optional.of(self.text).hasValue()": 28,
    "quantity(self.text).isGreaterThan(quantity('1Gi'))": 28,
    "sets.contains(['a', 'b'], [self.text])": 29,
    "'%s'.format([self.text]) == 'a'": 29,
    "isIP(self.text)": 30,
    "cidr(self.text).containsIP(ip('10.0.0.1'))": 30,
    "!format.dns1123Label().validate(self.text).hasValue()": 31,
    "self.all(key, value, key != value)": 32,
    "self.transformList(key, value, key).size() == 1": 32,
    "isSemver(self.text)": 33,
    "['b', 'a'].sort()[0] == self.text": 34,
    "lists.range(3).size() == 3": 34,
}
ALWAYS = (
    "self.ip == 'ip(x)' && self.format.size() > 0 && self.semver != ''",  # fields, and a literal
    "self.all(key, key != 'a, b,')",
    "self.text.split(',').isSorted() ? self.length > 1 : true",
)


def definition(rule, word="rule"):
    spec = {"type": "object", "x-kubernetes-validations": [{"rule": "true", word: rule}]}
    schema = {"type": "object", "properties": {"spec": spec}}
    return {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}


@pytest.mark.parametrize("rule", SINCE)
def test_what_a_rule_asks_for_is_known_from_its_version_on(rule):
    (found,) = {each.field for each in too_new(definition(rule), SINCE[rule] - 1)}
    assert found == "spec.versions[0].schema.openAPIV3Schema.properties.spec.x-kubernetes-validations[0].rule"
    assert not list(too_new(definition(rule), SINCE[rule]))


@pytest.mark.parametrize("rule", ALWAYS)
def test_what_is_only_called_so_is_always_known(rule):
    assert not list(too_new(definition(rule), 25))


def test_an_expression_of_a_message_counts_and_what_is_no_schema_does_not():
    (found,) = too_new(definition("isSemver(self.text) ? 'a' : 'b'", "messageExpression"), 32)
    assert found.field.endswith(".messageExpression")
    for odd in (None, [], [None], [{"schema": 1}], [{"schema": {"openAPIV3Schema": [1]}}]):
        assert not list(too_new({"spec": {"versions": odd}}, 25))


def test_validate_asks_for_the_version_of_the_api_server_that_is_meant(tmp_path):
    rule = '            x-kubernetes-validations: [{rule: "isIP(self.text)"}]\n'
    text = platform.DEFINITION.replace("            required: [text]\n", f"            required: [text]\n{rule}")
    assert rule in text
    write(tmp_path, definition=text, claim=platform.CLAIM.replace("hello", '"10.0.0.1"'))
    for words in ((tmp_path,), (tmp_path / "definition.yaml", tmp_path / "claim.yaml")):
        assert groundplane("validate", *words).exit_code == 0
        assert groundplane("validate", *words, "--kubernetes-version", "v1.30.2").exit_code == 0
        ran = groundplane("validate", *words, "--kubernetes-version", "1.29")
        assert ran.exit_code == 1
        assert "Kubernetes 1.29 does not know `isIP`, which came with 1.30. Mend: " in ran.stdout
        assert f"({tmp_path / 'definition.yaml'}:23:47)" in ran.stdout
    for wrong in ("1.24", "30", "latest"):
        assert groundplane("validate", tmp_path, "--kubernetes-version", wrong).exit_code == 80
