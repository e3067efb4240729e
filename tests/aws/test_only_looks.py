"""A cloud that only looks: no call gets through that changes anything, whoever asks for it."""

from __future__ import annotations

import pytest

from groundplane.aws import actions, catalogue
from groundplane.aws.cloud import AwsCloud
from groundplane.errors import InvalidInput
from groundplane.ports import Account, Observation
from tests.aws.conftest import INI, S3, managed, provider_config
from tests.standin import REGION


@pytest.fixture
def looking():
    made = AwsCloud(only_looks=True)
    yield made
    made.close()


async def test_what_would_change_aws_is_stopped_before_it_is_sent(standin, looking, cloud, account):
    bucket = managed(S3, "Bucket", "orders-bucket", region=REGION, tags={"a": "b"})
    assert not (await looking.observe(bucket, account, {})).exists
    with pytest.raises(InvalidInput, match="s3:create_bucket is not called here"):
        await looking.create(bucket, account, {})
    await cloud.create(bucket, account, {})
    found = await looking.observe(bucket, account, {})
    assert found.exists
    standin.forget_calls()
    if found.drift:
        with pytest.raises(InvalidInput, match="is not called here"):
            await looking.update(bucket, account, {}, found)
    with pytest.raises(InvalidInput, match="is not called here"):
        await looking.delete(bucket, account, Observation(exists=True))
    assert [call for call in standin.operations() if not call.startswith(("GET", "HEAD", "Get", "Head", "List"))] == []


async def test_who_it_is_may_be_asked(standin, looking):
    account = Account(provider_config(standin.url), {"creds": INI}, "1")
    assert (await looking.identify(account)).startswith("arn:aws:")


def test_no_kind_reads_by_a_call_that_changes_anything():
    for kind in catalogue.first_generation():
        made = {*actions.calls(kind)} - {*actions.reads(kind)}
        named = {kind.create.call, kind.delete.call, *(each.call for each in kind.update.values())} - {""}
        assert {name.partition(":")[2] or name for name in named} <= {each.partition(":")[2] for each in made}, (
            kind.file
        )
