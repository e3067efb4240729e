"""Work that is begun again while the other side is away, and only then."""

from __future__ import annotations

import asyncio

import pytest

from groundplane.errors import Denied, NotLeader, Throttled, Unavailable
from groundplane.runtime import tasks
from tests.runtime import virtual

AWAY = Unavailable("the API server does not answer in time")


def played(*outcomes):
    """What was told, at which seconds it was tried, and how it ended; an outcome that is None is success."""
    told, tried, left = [], [], list(outcomes)

    async def work():
        tried.append(asyncio.get_running_loop().time())
        if (outcome := left.pop(0)) is not None:
            raise outcome

    virtual.run(tasks.insisting(work, told.append, 5.0))
    return told, tried


def test_it_is_begun_again_after_a_pause_until_it_is_done():
    told, tried = played(AWAY, Throttled("fewer calls"), None)
    assert [str(each) for each in told] == [str(AWAY), "fewer calls"]
    assert tried == [0, 5, 10]


def test_what_a_person_must_mend_ends_it_and_is_told():
    told, tried = played(Denied("no right"))
    assert ([str(each) for each in told], tried) == (["no right"], [0])


def test_who_leads_no_more_ends_it_without_a_word():
    with pytest.raises(NotLeader):
        played(AWAY, NotLeader("another one leads"))
