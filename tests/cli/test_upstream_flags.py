"""The args of a Deployment of Crossplane's start the operator: each of its flags means the same here, or is told not to mean anything."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from groundplane.cli import run as command
from groundplane.cli import upstream_flags
from groundplane.cli.main import main
from groundplane.runtime import operator
from groundplane.runtime.settings import Settings

# `crossplane core start --help`, and the hidden ones: v1.20.11 cmd/crossplane/core/core.go; v2 has these and those of V2.
V1 = """
    debug profile namespace service-account leader-election registry ca-bundle-path user-agent xpkg-cache-dir cache-dir package-runtime
    sync-interval poll-interval max-reconcile-rate max-concurrent-package-establishers enable-webhooks webhook-enabled webhook-port
    metrics-port health-probe-port tls-server-secret-name tls-server-certs-dir tls-client-secret-name tls-client-certs-dir
    enable-external-secret-stores enable-dependency-version-upgrades enable-dependency-version-downgrades enable-signature-verification
    enable-function-response-cache xfn-cache-dir xfn-cache-max-ttl enable-composition-webhook-schema-validation
    enable-deployment-runtime-configs enable-usages enable-ssa-claims enable-realtime-compositions enable-composition-revisions
    enable-composition-functions enable-composition-functions-extra-resources enable-environment-configs
"""
V2 = """
    min-poll-interval max-concurrent-reconciles circuit-breaker-burst circuit-breaker-refill-rate circuit-breaker-cooldown
    enable-operations enable-pipeline-inspector enable-provider-deletion-protection enable-custom-to-managed-resource-conversion
    restrict-namespaced-events watch-cache-namespaced
"""
SWITCHES = re.compile("enable-|webhook-enabled$|debug$|leader-election$|restrict-|watch-cache-")
VALUES = {"profile": "localhost:6060", "namespace": "crossplane-system", "package-runtime": "Deployment"}


@pytest.fixture
def started(monkeypatch):
    """Starts an operator that works for no time: the settings that it would work with, and what was said."""

    def start(*args, words=("core", "start"), code=0):
        found = []

        async def run(settings):
            found.append(settings)
            return 0

        def ended(code):
            raise SystemExit(code)

        monkeypatch.setattr(operator, "run", run)
        monkeypatch.setattr(command.os, "_exit", ended)
        result = CliRunner().invoke(main, [*words, *args])
        assert result.exit_code == code, result.output
        return (found or [None])[0], result.output

    return start


def value(name):
    if name in VALUES:
        return VALUES[name]
    return "1m" if re.search("interval|ttl|cooldown", name) else "7"


@pytest.mark.parametrize("name", (V1 + V2).split())
def test_each_flag_of_theirs_is_taken_and_means_something_or_is_told_once_not_to(started, name):
    given = f"--{name}" if SWITCHES.match(name) else f"--{name}={value(name)}"
    settings, said = started(given)
    told = [line for line in said.splitlines() if "sets nothing here" in line]
    own = {"namespace", "poll-interval", "tls-client-certs-dir", "webhook-port"}
    if name in own or name.startswith("circuit-breaker-"):  # our own have these names
        assert not told
    else:
        (flag,) = [flag for flag in upstream_flags.FLAGS if name in flag.names]
        assert len(told) == (flag.sets is None)
        assert all(flag.means in line.replace("\\", "") for line in told)
    assert settings


def test_what_means_something_means_the_same(started):
    settings, said = started(
        *[
            "--debug",
            "-n",
            "team",
            "-l",
            "--max-reconcile-rate",
            "50",
            "--poll-interval=1m30s",
            "--metrics-port",
            "9000",
        ]
    )
    assert settings == Settings(
        log_level="debug", namespace="team", qps=250.0, burst=500, poll_interval=90.0, health_port=9000
    )
    assert "sets nothing" not in said
    settings, _ = started("--leader-election=false", "--debug=false")
    assert settings == Settings(no_leader_election=True)
    assert started("--enable-webhooks", "--webhook-port", "9444")[0] == Settings(webhooks="on", webhook_port=9444)
    assert started("--webhook-enabled=false")[0] == Settings(webhooks="off")


def test_a_flag_of_ours_goes_before_one_of_theirs_whatever_their_order(started):
    for args in (("--debug", "--log-level", "warning"), ("--log-level=warning", "--debug")):
        assert started(*args)[0].log_level == "warning"


@pytest.mark.parametrize("words", [("run",), ("run", "core", "start"), ("core", "start")])
def test_an_unknown_flag_ends_the_start_with_the_one_that_may_be_meant(started, words):
    settings, said = started("--enable-usage", words=words, code=80)
    assert settings is None
    assert "No such option '--enable-usage'" in said
    assert "Did you mean" in said
    assert "--enable-usages" in said


@pytest.mark.parametrize(
    "wrong", ["--max-reconcile-rate=0", "--sync-interval=1x", "--debug=maybe", "--poll-interval=m"]
)
def test_a_value_that_theirs_cannot_have_ends_the_start(started, wrong):
    settings, said = started(wrong, code=80)
    assert settings is None
    assert wrong.partition("=")[0] in said


def test_no_flag_of_theirs_hides_one_of_ours():
    ours = [name for param in command.run.params if not param.hidden for name in (*param.opts, *param.secondary_opts)]
    theirs = [name for param in command.run.params if param.hidden for name in param.opts]
    assert isinstance(command.run, click.Command)
    assert len({*ours, *theirs}) == len([*ours, *theirs])
