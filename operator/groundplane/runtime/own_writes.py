"""No reconcile is run again for what it wrote itself.

The invariant: a change is told exactly once, by whoever learns of it first, and told within the context of the reconcile that made it
if it is one of ours.  Three parts keep it.  The cache takes the answer to our write before the watch tells of it, in the writer's context,
and by its version recognises the event that follows (`cluster/cache.py`); the embedded store tells of a write where it is made
(`local.py`).  Here, the target that runs in this context is left out of those that its own change calls for.  All others are enqueued, a change by
somebody else between two of ours included.  What a run does need to see again of its own, it asks for: `Result.again`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from groundplane.runtime.waiting import Target

_running: ContextVar[Target | None] = ContextVar("running", default=None)


@contextmanager
def running(target: Target) -> Iterator[None]:
    """What is written inside is the target's own.  Tasks that outlive it need an empty context (`tasks.detached`)."""
    token = _running.set(target)
    try:
        yield
    finally:
        _running.reset(token)


def writer() -> Target | None:
    """Who makes the change that is told right now, if it is a reconcile of this process."""
    return _running.get()
