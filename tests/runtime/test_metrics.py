"""Every metric is explained, has a unit in its name where it has one, and no label that grows with the cluster."""

from __future__ import annotations

import pytest

from groundplane.runtime import metrics

DECLARED = [metric for metric in vars(metrics).values() if type(metric).__module__ == "prometheus_client.metrics"]


def test_there_are_metrics():
    assert len(DECLARED) > 15


@pytest.mark.parametrize("metric", DECLARED, ids=lambda metric: metric._name)
def test_a_metric_is_explained_registered_and_bounded(metric):
    assert metric._documentation.endswith(".")
    assert metric._name.startswith(("groundplane_", "workqueue_", "engine_", "leader_election_"))
    assert not {"namespace", "key", "object", "uid"} & set(metric._labelnames)
    assert [found for found in metrics.registry.collect() if found.name == metric._name]
    if metric._type == "histogram":
        assert metric._name.endswith("_seconds")


def test_a_request_is_counted_by_verb_resource_and_code():
    labels = {"verb": "get", "resource": "tests.example.org", "code": "404"}
    metrics.request_made("get", "tests.example.org", 404, 0.02)
    metrics.request_made("get", "tests.example.org", 404, 0.02)
    assert metrics.registry.get_sample_value("groundplane_api_requests_total", labels) == 2
