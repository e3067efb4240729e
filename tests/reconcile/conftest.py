"""Worlds whose managed resources are real things at the stand-in for AWS."""

import base64
import json
import logging

import pytest

from groundplane.aws.cloud import AwsCloud
from groundplane.aws.session import Sessions
from groundplane.core.turns import WEIGHTS
from groundplane.ports import Options
from tests.reconcile import managed
from tests.world import Clock, World


class SharedClock(Clock):
    """The world's clock, which takes that of the stand-in along."""

    def __init__(self, standin):
        self._standin = standin
        super().__init__()

    @property
    def moment(self):
        return self._moment

    @moment.setter
    def moment(self, value):
        passed = (value - self._moment).total_seconds() if hasattr(self, "_moment") else 0
        self._moment = value
        if passed:
            self._standin.advance(passed)


class Aws:
    """AWS as far as a test can see it, and the worlds that use it."""

    def __init__(self, standin):
        self.standin = standin
        self.worlds, self._clouds = [], []

    async def world(self, *, strict=False, ready=True, **how):
        """A world with a ProviderConfig for the stand-in (unless not `ready`) and the Secret that it names."""
        options = Options(strict_upstream=strict, poll_interval=60.0)
        clock = SharedClock(self.standin)
        world = World(self.cloud(strict=strict, now=clock, **how), options=options, clock=clock)
        self.worlds.append(world)
        await world.install()
        if ready:
            await world.apply(managed.CREDENTIALS, managed.provider_config(self.standin.url))
            await world.settle()
        return world

    def cloud(self, *, strict=False, sessions=None, **how):
        stands_still = "now" in how and "clock" not in how
        if stands_still:  # pauses pass on the world's clock, and it moves between reconciles
            how["clock"] = lambda: how["now"]().timestamp()
        timed = {"clock": how["clock"]} if "clock" in how else {}
        cloud = AwsCloud(sessions=sessions or Sessions(attempts=1, **timed), strict_upstream=strict, **how)
        if stands_still:
            cloud._budgets.patience = dict.fromkeys(WEIGHTS, 0.05)  # seconds
        self._clouds.append(cloud)
        return cloud

    def restarted(self, world, **how):
        """A new process on the same store."""
        fresh = world.restarted(cloud=self.cloud(now=world.clock, **how))
        self.worlds.append(fresh)
        return fresh

    def client(self, service):
        return self.standin.client(service)

    def close(self):
        for cloud in self._clouds:
            cloud.close()

    # --- what is there

    def databases(self):
        return self.client("rds").describe_db_instances()["DBInstances"]

    def database(self):
        [found] = self.databases()
        return found

    def vpcs(self):
        return [vpc for vpc in self.client("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]]

    def groups(self):
        found = self.client("ec2").describe_security_groups()["SecurityGroups"]
        return [group for group in found if group["GroupName"] != "default"]

    def roles(self):
        return self.client("iam").list_roles()["Roles"]

    def buckets(self):
        return self.client("s3").list_buckets()["Buckets"]

    def writes(self):
        reads = ("Describe", "Get", "List", "HEAD", "GET")
        return [name for name in self.standin.operations() if not name.startswith(reads)]


def secrets_told(worlds, logged):
    """Secret values that stand where anybody may read them: events, logs, objects other than Secrets."""
    found = []
    for world in worlds:
        objects = world.objects()
        hidden = {managed.SECRET_KEY}
        for obj in objects:
            if obj["kind"] == "Secret":
                hidden |= {value for name, value in managed.decoded(obj).items() if "password" in name}
        texts = [world.told.text(), logged, *(json.dumps(obj) for obj in objects if obj["kind"] != "Secret")]
        hidden |= {base64.b64encode(secret.encode()).decode() for secret in hidden}
        found += [text for text in texts for secret in hidden if secret in text]
    return found


@pytest.fixture
def aws(standin, caplog):
    caplog.set_level(logging.INFO)
    made = Aws(standin)
    yield made
    made.close()
    lines = [f"{record.getMessage()} {getattr(record, 'facts', '')}" for record in caplog.records]
    assert secrets_told(made.worlds, "\n".join(lines)) == []
