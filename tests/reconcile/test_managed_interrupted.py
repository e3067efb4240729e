"""Whatever goes wrong at whichever write of a managed resource's life, there is one of it in AWS, and at the end none.

The life: it is created and becomes ready, gets a tag, is deleted.  Each test plays it once for every k, with trouble at the
k-th write, to the cluster or to AWS, of each of these three parts, until k is beyond the last one.  A killed process is
tried with every kind; lost answers and refusals with a database and a VPC here, and with all in `make soak`.
"""

import itertools

import pytest

from tests.reconcile import managed
from tests.reconcile.interrupt import Counter, FragileSessions, Killed, Trouble, fragile
from tests.reconcile.managed import get, is_ready, key

EVERY_KIND = [
    pytest.param(each, marks=() if each is Trouble.KILLED else pytest.mark.soak, id=each.name) for each in Trouble
]
ROUND, ROUNDS = 5.0, 80  # seconds of the world's clock between two looks, and how many until we give up


class Life:
    """One managed resource from the cradle to the grave, in a world where one write goes wrong."""

    def __init__(self, aws, manifest, k, trouble):
        self.aws, self.manifest, self.trouble = aws, manifest, trouble
        self.counter = Counter(k)

    async def begin(self):
        world = await self.aws.world()
        self.world = self._process(world)

    def _process(self, world):
        fresh = self.aws.restarted(world, sessions=FragileSessions(self.counter, self.trouble))
        return fragile(fresh, self.counter, self.trouble)

    async def until(self, done):
        """Have trouble at the k-th write from now on, and let time pass until all is well all the same."""
        self.counter.begin()
        for _ in range(ROUNDS):
            try:
                await self.world.settle(seconds=ROUND)
            except Killed:
                self.world = self._process(self.world)
            found = await get(self.world, self.manifest)
            if done(found):
                return
        raise AssertionError(f"write {self.counter.fatal}: still {found and found.get('status')}")

    @property
    def is_undisturbed(self):
        return self.counter.times == 0


async def live(life, existing, *, tag_of, check=None):
    """Play the life; `existing()` lists what is in AWS, `tag_of` reads the tag that is set in mid-life."""
    await life.begin()
    await life.world.apply(life.manifest)
    await life.until(is_ready)
    assert len(existing()) == 1
    if check:
        await check(life.world)
    await life.world.patch(key(life.manifest), {"spec": {"forProvider": {"tags": {"team": "orders"}}}})
    await life.until(lambda found: is_ready(found) and tag_of(existing()) == "orders")
    await life.world.cluster.delete(key(life.manifest))
    await life.until(lambda found: found is None)
    assert existing() == []
    assert await managed.kinds_left(life.world) == []


async def every(aws, manifest, trouble, existing, **how):
    for k in itertools.count(1):
        life = Life(aws, manifest, k, trouble)
        await live(life, existing, **how)
        if life.is_undisturbed:
            break
    assert k > 8, "the writes were not counted"


def tag(things):
    [thing] = things
    return {entry["Key"]: entry["Value"] for entry in thing.get("Tags") or thing["TagList"]}.get("team")


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_database_is_made_once_with_one_password(aws, trouble):
    async def check(world):
        password = (await managed.secret_of(world, "crossplane-system", "orders-password"))["password"]
        assert aws.standin.passwords() == {"orders": password}
        assert (await managed.secret_of(world))["password"] == password

    await every(aws, managed.instance(), trouble, aws.databases, tag_of=tag, check=check)


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_vpc_is_made_once(aws, trouble):
    await every(aws, managed.vpc(enableDnsHostnames=True), trouble, aws.vpcs, tag_of=tag)


@pytest.mark.parametrize("trouble", EVERY_KIND)
async def test_a_security_group_is_made_once_and_lets_nothing_out(aws, trouble):
    async def check(world):
        [group] = aws.groups()
        assert group["IpPermissionsEgress"] == []

    await every(aws, managed.group(), trouble, aws.groups, tag_of=tag, check=check)


@pytest.mark.parametrize("trouble", EVERY_KIND)
async def test_a_role_is_made_once(aws, trouble):
    def tag_of(roles):
        return tag([aws.client("iam").get_role(RoleName=role["RoleName"])["Role"] for role in roles])

    await every(aws, managed.role(), trouble, aws.roles, tag_of=tag_of)


@pytest.mark.parametrize("trouble", EVERY_KIND)
async def test_a_bucket_is_made_once(aws, trouble):
    def tag_of(buckets):
        return tag([{"Tags": aws.client("s3").get_bucket_tagging(Bucket=b["Name"])["TagSet"]} for b in buckets])

    await every(aws, managed.bucket(), trouble, aws.buckets, tag_of=tag_of)
