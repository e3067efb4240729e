"""What botocore brings, whosever the account is: its models, its regions and partitions, and sessions without credentials.

All sessions have one loader of models, which is what costs memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from groundplane.errors import InvalidInput, did_you_mean, shown

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds
ATTEMPTS = 3  # of one call in all; what remains is the queue's to retry
GLOBAL_REGIONS = {
    "aws": "us-east-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1",
    "aws-iso-e": "eu-isoe-west-1",
    "aws-iso-f": "us-isof-south-1",
    "aws-eusc": "eusc-de-east-1",
}
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")  # us-gov-west-1, but not us-east-1a, which is a zone

LOADER = Loader(include_default_search_paths=True)  # the models, read once for all sessions


def check_region(region: str, config: Mapping[str, Any]) -> None:
    """`config` is the spec of the ProviderConfig.  Raises InvalidInput: the region can't be one of AWS."""
    if region and not REGION.fullmatch(region) and not config.get("skip_region_validation"):
        mend = "name one: eu-west-1 (or set skip_region_validation in the ProviderConfig, if the endpoint has others)"
        raise InvalidInput(f"{shown(region)} is no region of AWS", mend=mend, where=("spec.forProvider.region",))


def unlisted(region: str) -> str:
    """What to say of a region that botocore does not list, which may be newer than botocore; "" of one that it lists.

    >>> unlisted("us-west-9"), unlisted("us-west-2"), unlisted("")
    ('the SDK lists no region us-west-9: did you mean us-west-2?', '', '')
    """
    known = [name for partition in LOADER.load_data("endpoints")["partitions"] for name in partition["regions"]]
    return f"the SDK lists no region {region}: {did_you_mean(region, known)}" if region and region not in known else ""


@cache
def resolver() -> Any:
    """What knows partitions, regions and their suffixes."""
    return EndpointResolver(LOADER.load_data("endpoints"))


def new_session() -> Any:
    """A session that has no credentials yet; it isn't thread-safe."""
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    session.set_default_client_config(  # of those that botocore makes for itself: STS, SSO
        Config(retries=retries, connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT)
    )
    return session
