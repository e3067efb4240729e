"""Fixtures that every test may use, the order of files, and which tests are left to `make soak`.

A test that asks for the control plane is marked `cluster` by that.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.cluster.rig import ControlPlane
from tests.cpu import Cpu
from tests.standin import Standin, serving

# A slow machine is no failure: what counts is the property, never the time that it takes.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# The same examples in every clone and on every day: what `make fuzz` finds by chance becomes an @example.
settings.register_profile("fixed", derandomize=True, database=None, **_PATIENT)
settings.register_profile("random", max_examples=300, print_blob=True, **_PATIENT)
settings.load_profile("fixed")
gc.disable()  # until all tests are collected: what they consist of stays, and to look through it for garbage takes a third of the time


E2E = "tests/e2e/"
SECOND_HALF = "test_p"  # of it, by name: as much CPU as the first
# The files that ask for `control_plane`: one process runs them all, for a control plane takes ten seconds of a core to start, and some to idle.
CLUSTER = (
    "tests/contracts/",
    *(f"tests/runtime/test_{name}.py" for name in ("crds", "gate", "kopf_supervisor", "operator", "watches")),
    *(
        f"tests/{name}.py"
        for name in ("aws/test_crds", "aws/test_fields", "cli/test_doctor", "cli/test_examples", "core/test_crds")
    ),
    *(f"tests/{name}.py" for name in ("chart/test_chart", "core/test_definition", "image/test_kind")),
    "tests/cluster/",
)
# Tests whose paths begin like these take long, the longest first: what is begun last must be short, or it runs alone.
LONG = (
    E2E,
    *CLUSTER,
    "tests/reconcile/test_managed_interrupted.py",
    "tests/reconcile/",
    "tests/cli/",
    "tests/aws/",
    "tests/runtime/",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", metavar="K/N", help="instead of all others, the tests marked soak: each N-th of them from the K-th on"
    )
    parser.addoption("--cpu", action="store_true", help="tell at the end which files took how much CPU")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--cpu"):
        config.pluginmanager.register(Cpu())


def pytest_report_header(config: pytest.Config) -> str | None:
    part = config.getoption("--soak")
    return f"soak: part {part} of the long tests" if part else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)
    chosen = [item for item in items if not item.get_closest_marker("soak")]
    if part := config.getoption("--soak"):
        first, step = map(int, part.split("/"))
        chosen = [item for item in items if item.get_closest_marker("soak")][first - 1 :: step]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = sorted(chosen, key=_place)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


class _ByFile(LoadFileScheduling):
    """Hands out a file at a time; tests/e2e in two halves and all others with a control plane at once, for each of these three has one of its own."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(E2E):
            return E2E + ("1" if nodeid.removeprefix(E2E) < SECOND_HALF else "2")
        return "cluster" if nodeid.startswith(CLUSTER) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return _ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def _place(item: pytest.Item) -> int:
    return next((place for place, start in enumerate(LONG) if item.nodeid.startswith(start)), len(LONG))


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """What a command sets for its process is no other test's matter."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


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
