"""What goes wrong at the k-th write, to the cluster or to AWS, and what is then left of the process.

KILLED: the write took effect and the process died; what was only in memory is lost with the World that used it.
To die before the k-th write is to have died after the one before it, so k = 0, 1, 2 … covers both.
LOST: the write took effect, its answer never came, and the process goes on.
REFUSED: the write never took effect, since the other side is down or throttles, and the process goes on.
BROKEN: the write took effect, and AWS says that it failed inside; the process goes on.

Only what changes something counts: a process that dies around a read leaves what it found.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from botocore.exceptions import ClientError, ReadTimeoutError

from groundplane.aws.session import Sessions
from groundplane.errors import Unavailable

MUTATING = ("create", "update", "apply", "patch", "delete")
READS = ("Describe", "Get", "List", "Head")


class Killed(BaseException):
    """Not an Exception, so that nothing on the way handles it."""


class Trouble(Enum):
    KILLED, LOST, REFUSED, BROKEN = auto(), auto(), auto(), auto()


class Counter:
    """Shared by the ports of one process: writes are counted over all of them.  `fatal` is which one goes wrong."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.calls, self.times = fatal, 0, 0

    def begin(self) -> None:
        """Count from the start again, for another part of a life."""
        self.calls = 0

    def reached(self) -> bool:
        self.calls += 1
        self.times += self.calls == self.fatal
        return self.calls == self.fatal


async def deaths(world, life):
    """Play a life, as `await life(world)`, once; the new processes that would find its store if it had died after each of its writes.

    After one write is before the next: in memory nothing outlives a process.  What changes nothing is no write.
    """
    found = []
    world.cluster.wrote = lambda since, changes: found.append(world.copied())
    await life(world)
    world.cluster.wrote = lambda since, changes: None
    return found


class FragileCluster:
    """A cluster whose writes count, and one of which goes wrong.  What changes nothing is no write."""

    def __init__(self, inner, counter, trouble):
        self.inner, self._counter, self._trouble = inner, counter, trouble

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        if name not in MUTATING:
            return found

        async def counted(*args, **kwargs):
            if self._trouble is Trouble.REFUSED and self._counter.calls + 1 == self._counter.fatal:
                self._counter.reached()
                raise Unavailable("the API server is down")
            before = self.inner.writes
            result = await found(*args, **kwargs)
            if self.inner.writes > before and self._counter.reached():
                raise Killed if self._trouble is Trouble.KILLED else Unavailable("the API server's answer was lost")
            return result

        return counted


class FragileSessions(Sessions):
    """Clients whose calls of boto3 count one by one, so that what takes several is cut in its middle as well."""

    def __init__(self, counter, trouble):
        super().__init__(attempts=1)
        self._counter, self._trouble = counter, trouble

    def clients(self, account, **how):
        return _FragileClients(super().clients(account, **how), self)

    def before(self, model, **_):
        if self._trouble is Trouble.REFUSED and not model.name.startswith(READS) and self._counter.reached():
            raise ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, model.name)

    def after(self, model, **_):
        if self._trouble is Trouble.REFUSED or model.name.startswith(READS) or not self._counter.reached():
            return
        if self._trouble is Trouble.BROKEN:
            answer = {"Error": {"Code": "InternalFailure"}, "ResponseMetadata": {"HTTPStatusCode": 500}}
            raise ClientError(answer, model.name)
        raise Killed if self._trouble is Trouble.KILLED else ReadTimeoutError(endpoint_url="http://aws")


class _FragileClients:
    def __init__(self, inner, sessions):
        self._inner, self._sessions = inner, sessions

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def client(self, *args, **kwargs):
        client = self._inner.client(*args, **kwargs)
        client.meta.events.register("before-call", self._sessions.before, unique_id="before")
        client.meta.events.register("after-call", self._sessions.after, unique_id="after")
        return client


def fragile(world, counter, trouble):
    """Have the world's reconcilers write through a fragile cluster; what a person does stays as it is."""
    world.context = replace(world.context, cluster=FragileCluster(world.cluster, counter, trouble))
    world.engine.context = world.context
    return world
