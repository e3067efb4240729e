"""Fixtures that every test may use.  A test that asks for the control plane is marked `cluster` by that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.cluster.rig import ControlPlane
from tests.standin import Standin, serving

# A slow machine is no failure: what counts is the property, never the time that it takes.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# The same examples in every clone and on every day: what `make fuzz` finds by chance becomes an @example.
settings.register_profile("fixed", derandomize=True, database=None, **_PATIENT)
settings.register_profile("random", max_examples=300, print_blob=True, **_PATIENT)
settings.load_profile("fixed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real API server, one for the whole run: tests keep to names of their own."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def standin_process() -> Iterator[Standin]:
    with serving() as url:
        yield Standin(url)


@pytest.fixture
def standin(standin_process: Standin) -> Standin:
    """AWS's stand-in with nothing in it; one process for the whole run."""
    standin_process.reset()
    return standin_process
