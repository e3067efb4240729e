"""What is kept of Secrets that are read over and over: as long as it is used, unchanged and not too old; in virtual time."""

import asyncio

from groundplane.cluster.referenced import ABSENT, LIMIT, OLDEST, UNUSED, Referenced
from groundplane.core.objects import key_of
from tests.runtime import virtual


def secret(name="a", version="5"):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "resourceVersion": version}}


A = key_of(secret())


def test_what_is_kept_is_as_new_as_the_watch_knows():
    async def main():
        kept = Referenced()
        kept.put(secret(version="5"))
        assert kept.get(A, 4) == kept.get(A, 5) == secret(version="5")
        assert kept.get(A, 6) is None
        assert len(kept) == 0

    virtual.run(main())


def test_what_is_not_used_is_forgotten_and_what_is_used_is_fetched_again_now_and_then():
    async def main():
        kept = Referenced()
        kept.put(secret())
        kept.put(secret("b"))
        looks = 0
        while kept.get(A, 5):
            looks += 1
            await asyncio.sleep(UNUSED / 2)
            assert len(kept) == 1 + (looks * UNUSED / 2 < UNUSED)
        assert OLDEST <= looks * UNUSED / 2 <= OLDEST + UNUSED
        assert len(kept) == 0

    virtual.run(main())


def test_what_is_not_there_is_asked_for_again_before_long_however_often_it_was_meant():
    """The watch that would tell of it may be forbidden since."""

    async def main():
        kept = Referenced()
        kept.put_absent(A)
        for _ in range(3):
            await asyncio.sleep(ABSENT / 3)
            assert kept.is_absent(A)
        await asyncio.sleep(1)
        assert not kept.is_absent(A)

    virtual.run(main())


def test_it_keeps_no_more_than_its_bound():
    async def main():
        kept = Referenced()
        for number in range(LIMIT + 10):
            kept.put(secret(f"{number}"))
        assert len(kept) == LIMIT
        assert kept.get(key_of(secret("0")), 5) is None

    virtual.run(main())
