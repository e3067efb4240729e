"""Alerts, runbooks and dashboards: of metrics that there are, with their labels, and each with its counterpart."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from groundplane.runtime.settings import Settings
from tests.chart import generate
from tests.chart.helm import helm

RULES = [
    rule
    for group in yaml.safe_load((generate.CHART / "files" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
DASHBOARDS = {
    path.stem: json.loads(path.read_text()) for path in sorted((generate.CHART / "files" / "dashboards").iterdir())
}
RUNBOOKS = dict(
    part.partition("\n")[::2]
    for part in re.split(r"^## ", (generate.CHART.parents[1] / "docs" / "runbooks.md").read_text(), flags=re.M)[1:]
)
EXPRESSIONS = [rule["expr"] for rule in RULES] + [
    target["expr"] for each in DASHBOARDS.values() for panel in each["panels"] for target in panel["targets"]
]
GIVEN = {"job", "instance", "le"}  # labels that Prometheus adds, and that of a bucket
SAMPLE = r"\b([a-z]+_[a-z_]+)(?:\{([^}]*)\})?(?![a-z_]*\()"  # a metric and what it is selected by; no function


def test_the_values_that_runbooks_name_are_the_charts():
    values = yaml.safe_load((generate.CHART / "values.yaml").read_text())
    settings = {generate.camel(name) for name in Settings.__dataclass_fields__}
    named = set(re.findall(r"`([a-zA-Z]+(?:\.[a-zA-Z]+)+)(?:=\w+)?`", "".join(RUNBOOKS.values())))
    named = {each for each in named if not each.endswith(".io")}
    assert len(named) > 5
    for name in named:
        found = values | {"settings": dict.fromkeys(settings)}
        for part in name.split("."):
            assert part in (found or ()), name
            found = found[part]


def samples(expression):
    """Each metric in an expression, with the labels that it is selected by."""
    bare = re.sub(r"\b(?:by|on|without)\s*\([^)]*\)", "", expression)
    return [(name, re.findall(r"(\w+)\s*[=!]", selector)) for name, selector in re.findall(SAMPLE, bare)]


def labels_of(name):
    """The labels of a metric that is scraped under this name; None: there is none."""
    declared = generate.declared()
    base = re.sub("_(bucket|sum|count)$", "", name)
    if base != name and declared.get(base, ("",))[0] == "histogram":
        return {*declared[base][1], "le"}
    if name.startswith("process_"):
        return set()
    return {*declared[name][1]} if name in declared else None


def test_metrics_are_found_in_an_expression():
    expression = 'histogram_quantile(0.9, sum by (le, kind) (rate(a_bucket{x="1", y!="b_c"}[5m]))) / on (z_z) c_d > 1'
    assert samples(expression) == [("a_bucket", ["x", "y"]), ("c_d", [])]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_metric_and_label_of_an_alert_and_of_a_panel_is_there(expression):
    found = samples(expression)
    assert found
    there = set(GIVEN)
    for name, selected in found:
        labels = labels_of(name)
        assert labels is not None, f"no metric {name}"
        assert {*selected} <= labels | GIVEN
        there |= labels
    grouped = {label for group in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in re.split(r"[,\s]+", group)}
    assert grouped - {""} <= there


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_is_so_only_with_labels_that_its_expression_leaves(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("warning", "critical")
    left = re.search(r"\bby \(([^)]*)\)", rule["expr"])
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = set(re.split(r"[,\s]+", left[1])) if left else labels_of(samples(rule["expr"])[0][0])
    assert named <= kept


def test_each_alert_has_a_runbook_and_each_runbook_an_alert():
    assert set(RUNBOOKS) == set(ALERTS)
    for text in RUNBOOKS.values():
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, flags=re.M) == ["Meaning", "Impact", "Diagnosis", "Mend"]


def test_the_dashboards_are_those_of_platform_operator_and_aws_each_with_an_address_that_stays():
    assert {name: each["uid"] for name, each in DASHBOARDS.items()} == {
        name: f"groundplane-{name}" for name in ("aws", "operator", "platform")
    }
    assert not any("__inputs" in each for each in DASHBOARDS.values())


@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_panel_is_explained_has_a_unit_and_asks_the_chosen_source(name):
    panels = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
    assert [each["name"] for each in DASHBOARDS[name]["templating"]["list"]] == ["datasource"]


DOCS = sorted((generate.CHART.parents[1] / "docs").glob("*.md"))
PREFIXES = [
    "groundplane",
    "crossplane",
    "workqueue",
    "engine",
    "upjet",
    "rest_client",
    "controller_runtime",
    "function_run",
    "leader_election",
]
NOBODYS = {"crossplane_claim_exists"}  # which docs/metrics.md says


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.stem)
def test_each_metric_that_a_page_names_is_there(page):
    named = set(re.findall(rf"`((?:{'|'.join(PREFIXES)})_[a-z_]+[a-z])(?:\{{[^`]*)?`", page.read_text()))
    assert {name for name in named if labels_of(name) is None} <= NOBODYS
    if page.stem == "metrics":
        asked = re.findall(r"^\| [^|]+\? \| `([^`]+)` \|$", page.read_text(), flags=re.M)
        assert len(asked) >= 5
        assert all(labels_of(name) is not None for each in asked for name, _ in samples(each))


def rendered(values):
    where = ("--namespace", "crossplane-system", "--kube-version", "1.34")
    done = helm("template", "groundplane", generate.CHART, *where, values=values)
    assert done.returncode == 0, done.stderr
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in yaml.safe_load_all(done.stdout) if obj}


def test_rules_and_dashboards_come_only_if_they_are_asked_for_and_the_rules_only_where_the_kind_is_known():
    rule, dashboard = ("PrometheusRule", "groundplane"), ("ConfigMap", "groundplane-dashboards")
    assert not {rule, dashboard} & set(rendered({}))
    assert rule not in rendered({"prometheusRule": {"enabled": True}})
    values = {
        "prometheusRule": {"enabled": True, "renderMode": "alwaysRender", "labels": {"release": "prometheus"}},
        "grafanaDashboard": {"enabled": True},
    }
    objects = rendered(values)
    assert objects[rule]["metadata"]["labels"]["release"] == "prometheus"
    alerts = [each for group in objects[rule]["spec"]["groups"] for each in group["rules"] if "alert" in each]
    assert [each["annotations"]["summary"] for each in alerts] == [
        each["annotations"]["summary"] for each in ALERTS.values()
    ]
    for each in alerts:
        assert each["annotations"]["runbook_url"].endswith(f"runbooks.md#{each['alert'].lower()}")
    found = {name: json.loads(text) for name, text in objects[dashboard]["data"].items()}
    assert found == {f"groundplane-{name}.json": each for name, each in DASHBOARDS.items()}
    assert objects[dashboard]["metadata"]["labels"]["grafana_dashboard"] == "1"
