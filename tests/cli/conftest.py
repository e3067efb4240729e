"""What several files of commands look at."""

from __future__ import annotations

import asyncio

import pytest

from tests.cli.filled import fill


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    path = tmp_path_factory.mktemp("diff") / "groundplane.db"
    asyncio.run(fill(path))
    return path
