"""A server that is restarted while it is worked on: no password is lost, nothing is left half done, and all is ready in the end."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from groundplane.core.objects import key_of
from groundplane.sql import standin
from tests.sql.conftest import Sql, is_ready, message, publishes, secret_of, seen, thing

EVERY = 23  # writes from one restart to the next


class Restartable:
    """A server that can end, and come back on its port with its data."""

    host, user = "127.0.0.1", standin.USER

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix=f"{standin.PREFIX}{os.getpid()}-"))
        self.password, self.restarts = "of-the-server", 0
        self._as_user = standin._as_nobody() if os.geteuid() == 0 else {}
        found = standin.programs()
        self._programs = standin._reachable(found, self.folder) if self._as_user else found
        (self.folder / "password").write_text(self.password)
        if self._as_user:
            for each in (self.folder, self.folder / "password"):
                shutil.chown(each, standin.NOBODY)
        standin._make(self._programs, self.folder, self._as_user)
        self.port = standin._free_port()
        self.start()

    def start(self):
        self._process, self.port = standin._start(self._programs, self.folder, self._as_user, standin.SETTINGS)

    def end(self, how):
        self._process.send_signal(how)
        self._process.wait()

    def restart(self, how):
        self.end(how)
        self.start()
        self.restarts += 1

    def remove(self):
        self.end(signal.SIGQUIT)
        shutil.rmtree(self.folder)


@pytest.fixture
def restartable(monkeypatch):
    port = standin._free_port()
    monkeypatch.setattr(standin, "_free_port", lambda: port)
    made = Restartable()
    yield made
    made.remove()


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.soak)])
async def test_a_server_that_is_restarted_again_and_again_has_all_in_the_end(restartable, count):
    """In an orderly way, and as in a crash, right before a write; now and then it is away for a while."""
    sql, ways = Sql(restartable), itertools.cycle([signal.SIGINT, signal.SIGQUIT])
    world = await sql.world()
    names = [f"app-{number}" for number in range(count)]

    def life(name):
        return [
            thing("Role", name, publishes(name), privileges={"login": True}),
            thing("Database", name, owner=name),
            thing("Grant", name, role=name, database=name, privileges=["ALL"], revokePublicOnDb=True),
        ]

    manifests = [each for name in names for each in life(name)]
    sql.before_write = lambda: len(sql.writes) % EVERY == EVERY - 1 and restartable.restart(next(ways))
    await world.apply(*manifests)
    await world.settle(seconds=1)
    restartable.end(signal.SIGQUIT)
    sql.before_write = lambda: None
    await world.settle(seconds=30, limit=20_000)
    restartable.start()
    await world.settle(seconds=600, limit=20_000)
    for each in manifests:
        assert is_ready(await seen(world, each)), message(await seen(world, each))
    passwords = [(await secret_of(world, name))["password"] for name in names]
    assert len({*passwords}) == count
    for name, password in zip(names, passwords, strict=True):
        async with sql.connected(name, name, password) as login:
            await login.execute("CREATE SCHEMA own")
    assert restartable.restarts >= count * 3 // EVERY

    sql.before_write = lambda: len(sql.writes) % EVERY == 0 and restartable.restart(next(ways))
    for each in manifests:
        await world.cluster.delete(key_of(each))
    await world.settle(seconds=600, limit=20_000)
    assert [await seen(world, each) for each in manifests] == [None] * len(manifests)
    assert await sql.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'app-%'") == 0
    assert await sql.value("SELECT count(*) FROM pg_database WHERE datname LIKE 'app-%'") == 0
    await sql.close()
