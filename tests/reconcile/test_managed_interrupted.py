"""Whatever goes wrong at whichever write of a managed resource's life, there is one of it in AWS, and at the end none.

The life: it is created and becomes ready, gets a tag, is deleted.  Each test plays it once for every k, with trouble at the
k-th write, to the cluster or to AWS, of each of these three parts, until k is beyond the last one.  Here a process is killed
with a database, a VPC and an attachment (whose name AWS, we, and its spec give), and the database's answers are lost or refused;
`make soak` has each trouble with each kind.
"""

import itertools
import json

import pytest

from tests.reconcile import managed
from tests.reconcile.interrupt import Counter, FragileSessions, Killed, Trouble, fragile
from tests.reconcile.managed import get, is_ready, key
from tests.reconcile.test_managed_namespaced import EC2 as EC2_OF_TEAMS
from tests.reconcile.test_managed_namespaced import config, thing

ROUND, ROUNDS = 5.0, 80  # seconds of the world's clock between two looks, and how many until we give up


def troubles(*here):
    """Each; those that are not `here` in `make soak` alone."""
    return [pytest.param(each, marks=() if each in here else pytest.mark.soak, id=each.name) for each in Trouble]


class Life:
    """One managed resource from the cradle to the grave, in a world where one write goes wrong."""

    def __init__(self, aws, manifest, k, trouble):
        self.aws, self.manifest, self.trouble = aws, manifest, trouble
        self.counter = Counter(k)

    async def begin(self):
        world = await self.aws.world()
        if "namespace" in self.manifest["metadata"]:
            await world.apply(config(self.aws.standin.url))
            await world.settle()
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


async def live(life, existing, *, tag_of=None, check=None, edit=None):
    """Play the life; `existing()` lists what is in AWS, `tag_of` reads the tag that is set in mid-life, or what `edit` sets to "orders"."""
    await life.begin()
    await life.world.apply(life.manifest)
    await life.until(is_ready)
    assert len(existing()) == 1
    if check:
        await check(life.world)
    if tag_of:
        await life.world.patch(key(life.manifest), {"spec": {"forProvider": edit or {"tags": {"team": "orders"}}}})
        await life.until(lambda found: is_ready(found) and tag_of(existing()) == "orders")
    await life.world.cluster.delete(key(life.manifest))
    await life.until(lambda found: found is None)
    assert existing() == []
    assert set(await managed.kinds_left(life.world)) <= {"ClusterProviderConfig"}


async def every(aws, manifest, trouble, existing, **how):
    for k in itertools.count(1):
        life = Life(aws, manifest, k, trouble)
        await live(life, existing, **how)
        if life.is_undisturbed:
            break
    assert k > 5, "the writes were not counted"


def tag(things):
    [thing] = things
    return {entry["Key"]: entry["Value"] for entry in thing.get("Tags") or thing["TagList"]}.get("team")


@pytest.mark.parametrize("trouble", troubles(Trouble.KILLED, Trouble.LOST, Trouble.REFUSED))
async def test_a_database_is_made_once_with_one_password(aws, trouble):
    async def check(world):
        password = (await managed.secret_of(world, "crossplane-system", "orders-password"))["password"]
        assert aws.standin.passwords() == {"orders": password}
        assert (await managed.secret_of(world))["password"] == password

    await every(aws, managed.instance(), trouble, aws.databases, tag_of=tag, check=check)


@pytest.mark.parametrize("trouble", troubles(Trouble.KILLED))
async def test_a_vpc_is_made_once(aws, trouble):
    await every(aws, managed.vpc(enableDnsHostnames=True), trouble, aws.vpcs, tag_of=tag)


@pytest.mark.parametrize("trouble", troubles())
async def test_a_security_group_is_made_once_and_lets_nothing_out(aws, trouble):
    async def check(world):
        [group] = aws.groups()
        assert group["IpPermissionsEgress"] == []

    await every(aws, managed.group(), trouble, aws.groups, tag_of=tag, check=check)


@pytest.mark.parametrize("trouble", troubles())
async def test_a_role_is_made_once(aws, trouble):
    def tag_of(roles):
        return tag([aws.client("iam").get_role(RoleName=role["RoleName"])["Role"] for role in roles])

    await every(aws, managed.role(), trouble, aws.roles, tag_of=tag_of)


@pytest.mark.parametrize("trouble", troubles())
async def test_a_bucket_is_made_once(aws, trouble):
    def tag_of(buckets):
        return tag([{"Tags": aws.client("s3").get_bucket_tagging(Bucket=b["Name"])["TagSet"]} for b in buckets])

    await every(aws, managed.bucket(), trouble, aws.buckets, tag_of=tag_of)


def policy_for(service):
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


CHEAP = ((Trouble.KILLED, "cluster"),)
GENERATIONS = [
    pytest.param(
        each, generation, marks=() if (each, generation) in CHEAP else pytest.mark.soak, id=f"{each.name}-{generation}"
    )
    for each in Trouble
    for generation in ("cluster", "namespaced")
]


def of(generation, service, kind, **for_provider):
    if generation == "cluster":
        return managed.resource(f"{service}.aws.upbound.io/v1beta1", kind, "orders", {}, **for_provider)
    return thing(f"{service}.aws.m.upbound.io/v1beta1", kind, "orders", **for_provider)


@pytest.mark.parametrize("trouble", troubles())
async def test_a_vpc_of_a_team_is_made_once(aws, trouble):
    await every(aws, thing(EC2_OF_TEAMS, "VPC", "main", cidrBlock="10.0.0.0/16"), trouble, aws.vpcs, tag_of=tag)


@pytest.mark.parametrize(("trouble", "generation"), GENERATIONS)
async def test_an_attachment_whose_name_is_made_of_its_spec_is_made_once(aws, trouble, generation):
    iam = aws.client("iam")
    iam.create_role(RoleName="orders", AssumeRolePolicyDocument=policy_for("ec2.amazonaws.com"))
    arn = iam.create_policy(PolicyName="read", PolicyDocument=policy_for("s3.amazonaws.com"))["Policy"]["Arn"]
    attachment = of(generation, "iam", "RolePolicyAttachment", role="orders", policyArn=arn)
    await every(
        aws, attachment, trouble, lambda: iam.list_attached_role_policies(RoleName="orders")["AttachedPolicies"]
    )


@pytest.mark.soak
@pytest.mark.parametrize(("trouble", "generation"), GENERATIONS)
async def test_a_policy_that_is_made_of_its_bucket_is_put_and_taken_away(aws, trouble, generation):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="orders-bucket", CreateBucketConfiguration={"LocationConstraint": managed.REGION})

    def there():
        try:
            return [s3.get_bucket_policy(Bucket="orders-bucket")["Policy"]]
        except s3.exceptions.ClientError:
            return []

    def said(policies):
        return "orders" if "ses.amazonaws.com" in policies[0] else ""

    policy = of(generation, "s3", "BucketPolicy", bucket="orders-bucket", policy=policy_for("s3.amazonaws.com"))
    edit = {"policy": policy_for("ses.amazonaws.com")}
    await every(aws, policy, trouble, there, tag_of=said, edit=edit)
