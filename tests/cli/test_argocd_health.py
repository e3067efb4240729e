"""`groundplane argocd-health`: the Lua that it prints, run as Argo CD runs it, and the CEL of Flux."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cel_expr_python import cel
from click.testing import CliRunner

from groundplane.cli import argocd_health
from groundplane.cli.main import main
from tests import gitops

PLATFORM = Path(__file__).parents[2] / "compositions" / "database-aws"
SETTLED = [["Synced", "True", "ReconcileSuccess"], ["Ready", "True", "Available"]]
FAILED = [["Synced", "False", "ReconcileError"], ["Ready", "True", "Available"]]
NEW, NOW = {"observedGeneration": -1}, {"observedGeneration": 2}
STATES = [  # name, status, conditions, Argo CD's verdict, Flux's
    ("no status", None, [], "Progressing", "waits"),
    ("new", NEW, [], "Progressing", "waits"),
    (
        "being made",
        NOW,
        [["Ready", "False", "Creating"], ["Reconciling", "True", "Creating"]],
        "Progressing",
        "inProgress",
    ),
    ("ready", NOW, SETTLED, "Healthy", "current"),
    ("edited, unseen", {"observedGeneration": 1}, SETTLED, "Progressing", "waits"),
    ("edited, under way", NOW, [*SETTLED, ["Reconciling", "True", "Updating"]], "Progressing", "inProgress"),
    (
        "invalid",
        NOW,
        [["Synced", "False", "ReconcileError"], ["Ready", "False", "C"], ["Stalled", "True", "X"]],
        "Degraded",
        "failed",
    ),
    ("live, edit refused", NOW, [*FAILED, ["Stalled", "True", "InvalidInput"]], "Degraded", "failed"),
    ("stalled below", NOW, [*SETTLED, ["Stalled", "True", "Failed"]], "Degraded", "failed"),
    ("hiccup", NOW, [*SETTLED, ["Reconciling", "True", "Retrying"]], "Progressing", "inProgress"),
    ("outage", NOW, [*FAILED, ["Reconciling", "True", "Retrying"]], "Degraded", "inProgress"),
    ("waiting for a composition", NOW, [FAILED[0], ["Reconciling", "True", "Waiting"]], "Progressing", "inProgress"),
    ("paused", NOW, [["Synced", "False", "ReconcilePaused"], SETTLED[1]], "Suspended", "current"),
    ("of Crossplane, ready", {}, SETTLED, "Healthy", "current"),
    ("of Crossplane, failed", {}, FAILED, "Degraded", "failed"),
    ("of Crossplane, being made", {}, [SETTLED[0], ["Ready", "False", "Creating"]], "Progressing", "waits"),
]


def printed(*arguments, code=0, **how):
    result = CliRunner().invoke(main, ["argocd-health", *map(str, arguments)], **how)
    assert result.exit_code == code, result.output
    return yaml.safe_load(result.output) if code == 0 else result.output


def an_object(status, conditions, kind="Database", group="platform.example.com"):
    obj = {"apiVersion": f"{group}/v1alpha1", "kind": kind, "metadata": {"name": "db", "generation": 2}}
    found = [{"type": type_, "status": value, "reason": reason} for type_, value, reason in conditions]
    if status is not None:
        obj["status"] = {**status, **({"conditions": found} if found else {})}
    return obj


@pytest.mark.parametrize("wildcard", [False, True])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state[0])
def test_argo_cd_says_the_truth_of_a_claim_in_every_state(state, wildcard):
    _, status, conditions, wanted, _ = state
    data = printed(PLATFORM, *(["--wildcard"] if wildcard else []))["data"]
    for kind in ("Database", "XDatabase"):
        assert gitops.argo(an_object(status, conditions, kind), data) == wanted
    assert gitops.argo(an_object(status, conditions, group="other.example.com"), data) == "-"


def test_the_reason_is_the_message():
    data = printed(PLATFORM)["data"]
    obj = an_object(NOW, [["Stalled", "True", "InvalidInput"]])
    obj["status"]["conditions"][0]["message"] = "no entry. Mend: add it."
    script = data["resource.customizations.health.platform.example.com_Database"]
    assert gitops.run(script, obj) == ("Degraded", "no entry. Mend: add it.")


def test_with_all_managed_resources_are_judged_by_generation_too_and_kinds_without_a_state_are_healthy():
    data = printed(PLATFORM, "--all")["data"]
    edited = an_object({"observedGeneration": 1}, SETTLED, "Instance", "rds.aws.upbound.io")
    assert (gitops.argo(edited, {}), gitops.argo(edited, data)) == ("Healthy", "Progressing")
    served = an_object(NOW, [["Installed", "True", "A"], ["Healthy", "True", "A"]], "Provider", "pkg.crossplane.io")
    assert gitops.argo(served, data) == "Healthy"
    assert gitops.argo(an_object(None, [], "EnvironmentConfig", "apiextensions.crossplane.io"), data) == "Healthy"
    assert gitops.argo(an_object(NEW, [], "Instance", "rds.aws.upbound.io"), data) == "Progressing"


def test_settings_that_somebody_may_have_of_their_own_come_only_when_asked_for():
    assert not any(name.startswith(("resource.exclusions", "resource.compare")) for name in printed(PLATFORM)["data"])
    data = printed(PLATFORM, "--settings")["data"]
    assert yaml.safe_load(data["resource.exclusions"]) == [{"apiGroups": ["*"], "kinds": ["ProviderConfigUsage"]}]
    assert yaml.safe_load(data["resource.compareoptions"]) == {"ignoreAggregatedRoles": True}


def test_definitions_are_taken_from_standard_input_as_kubectl_prints_them():
    items = [yaml.safe_load((PLATFORM / "definition.yaml").read_text())]
    found = printed("-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert found == printed(PLATFORM)


def test_no_definition_is_said_with_what_to_do(tmp_path):
    assert "name the folder with your XRDs" in printed(tmp_path, code=1)


# --- Flux


def flux_says(entry, obj):
    """As Flux asks: the generation, then inProgress, failed and current; what can't be evaluated is waited for."""
    seen = (obj.get("status") or {}).get("observedGeneration")
    if seen is not None and seen != obj["metadata"]["generation"]:
        return "waits"
    names = ("apiVersion", "kind", "metadata", "spec", "status")
    environment = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN))
    for name in ("inProgress", "failed", "current"):
        answer = environment.compile(entry[name]).eval(data={name: obj.get(name) for name in names if name in obj})
        if answer.type() == cel.Type.ERROR:
            return "waits"
        if answer.value():
            return name
    return "waits"


@pytest.mark.parametrize("state", STATES, ids=lambda state: state[0])
def test_flux_says_the_truth_of_a_claim_in_every_state(state):
    _, status, conditions, _, wanted = state
    entries = printed(PLATFORM, "--flux")["healthCheckExprs"]
    assert [(entry["apiVersion"], entry["kind"]) for entry in entries] == [
        ("platform.example.com/v1alpha1", "Database"),
        ("platform.example.com/v1alpha1", "XDatabase"),
    ]
    assert {flux_says(entry, an_object(status, conditions)) for entry in entries} == {wanted}


def test_kinds_of_scopes_without_claims_are_found_once():
    xrd = {
        "apiVersion": "apiextensions.crossplane.io/v2",
        "kind": "CompositeResourceDefinition",
        "metadata": {"name": "apps.example.org"},
        "spec": {"group": "example.org", "names": {"kind": "App", "plural": "apps"}, "versions": []},
    }
    assert argocd_health.declared([xrd, xrd]) == [("example.org", "App", ())]
