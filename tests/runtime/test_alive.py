"""Whether another process of this machine lives: only what is certain counts as dead."""

from __future__ import annotations

import subprocess
import sys

import pytest

from groundplane.runtime import alive
from groundplane.runtime.election import PREFIX

OTHER = f"""
import sys
from groundplane.runtime import alive
print(alive.new_identity("{PREFIX}"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other():
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.identity = process.stdout.readline().strip()
        yield process
        process.kill()


def test_a_process_is_dead_once_it_is_killed_and_not_before(other):
    assert alive.here() in other.identity
    assert not alive.is_dead(other.identity)
    other.kill()
    other.wait()
    assert alive.is_dead(other.identity)


def test_of_another_boot_or_network_nothing_is_known(other, monkeypatch):
    other.kill()
    other.wait()
    boot, _, network = alive.here().partition("-")
    for place in (f"{'0' * 16}-{network}", f"{boot}-1", ""):
        monkeypatch.setattr(alive, "here", lambda place=place: place)
        assert not alive.is_dead(other.identity)


@pytest.mark.parametrize("identity", ["", "x", "crossplane-0", "groundplane_host_0a1b2c3d", "groundplane__"])
def test_of_who_shows_no_sign_nothing_is_known(identity):
    assert not alive.is_dead(identity)


def test_without_a_sign_an_identity_has_no_place(monkeypatch):
    monkeypatch.setattr(alive, "_address", lambda identity: b"/nowhere/sign")
    mine = alive.new_identity(PREFIX)
    assert mine.startswith(PREFIX)
    assert alive.here() not in mine
    assert not alive.is_dead(mine)


def test_of_a_clone_of_this_machine_nothing_is_known(other, monkeypatch):
    """Two that were resumed from one snapshot have the same boot and network, and other names."""
    other.kill()
    other.wait()
    monkeypatch.setattr(alive.socket, "gethostname", lambda: "clone")
    assert not alive.is_dead(other.identity)
