"""Settings: every field is explained, can be set by flag and by variable, and is checked."""

from __future__ import annotations

import dataclasses

import click
import pytest
from click.testing import CliRunner

from groundplane.cli import run as command
from groundplane.errors import InvalidInput
from groundplane.ports import Options
from groundplane.runtime.settings import Settings

FIELDS = dataclasses.fields(Settings)


@pytest.fixture
def parsed():
    """Parses a command line and gives the settings, without running anything."""

    def parse(*args, **environment):
        found = []

        @click.command()
        @command._flags
        def take(**values):
            found.append(Settings(**values))

        result = CliRunner().invoke(
            take, args, env={f"GROUNDPLANE_{name}": value for name, value in environment.items()}
        )
        assert result.exit_code == 0, result.output
        return found[0]

    return parse


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_setting_is_explained_and_shown_by_help(field):
    assert field.metadata["help"].endswith(".")
    said = CliRunner().invoke(command.run, ["--help"], terminal_width=300).output
    assert f"--{field.name.replace('_', '-')}" in said
    assert f"GROUNDPLANE_{field.name.upper()}" in said


def test_without_flags_the_defaults_hold(parsed):
    assert parsed() == Settings()
    assert Settings().options == Options()


def test_a_flag_goes_before_its_variable_and_that_before_the_default(parsed):
    assert parsed(POLL_INTERVAL="10").poll_interval == 10
    assert parsed("--poll-interval", "20", POLL_INTERVAL="10").poll_interval == 20


def test_switches_are_set_by_flag_and_by_variable(parsed):
    assert parsed("--strict-upstream").options.strict_upstream
    assert parsed(STRICT_UPSTREAM="true", FORCE="1").force
    assert not parsed(STRICT_UPSTREAM="false").strict_upstream


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"poll_interval": 0}, "--poll-interval can't be 0. Mend: give a number above 0."),
        ({"aws_threads": -1}, "--aws-threads can't be -1. Mend: give a number above 0."),
        ({"health_port": 70000}, "--health-port can't be 70000. Mend: give a port from 0 to 65535."),
        ({"namespace": ""}, '--namespace can\'t be "". Mend: name one.'),
        ({"log_level": "warn"}, '--log-level can\'t be "warn". Mend: did you mean warning?'),
        ({"shutdown_grace": -1}, "--shutdown-grace can't be -1. Mend: give 0 or more seconds."),
    ],
)
def test_a_value_that_can_not_work_is_refused_with_a_mend(values, text):
    with pytest.raises(InvalidInput) as caught:
        Settings(**values)
    assert str(caught.value) == text


def test_a_settled_resource_is_looked_at_every_ten_minutes_as_upstreams_provider_does():
    assert Settings().options.poll_interval == Options().poll_interval == 600
