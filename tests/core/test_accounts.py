"""Who reads which Secret, and who works with which credentials."""

import pytest

from groundplane.core.accounts import Accounts
from groundplane.core.objects import Key


def config(name="default"):
    return Key("aws.upbound.io/v1beta1", "ProviderConfig", "", name)


def user(name):
    return Key("ec2.aws.upbound.io/v1beta1", "VPC", "", name)


def secret(name):
    return Key("v1", "Secret", "default", name)


def test_a_secret_concerns_the_provider_configs_that_read_it_last():
    accounts = Accounts()
    accounts.reads(config("a"), secret("one"))
    accounts.reads(config("b"), secret("one"))
    assert accounts.readers(secret("one")) == [config("a"), config("b")]
    accounts.reads(config("a"), secret("two"))
    accounts.reads(config("b"), None)
    assert accounts.readers(secret("one")) == []
    assert accounts.readers(secret("two")) == [config("a")]


def test_those_with_other_credentials_are_named_once():
    accounts = Accounts()
    accounts.uses(user("a"), config(), "1")
    accounts.uses(user("b"), config(), "1")
    accounts.uses(user("c"), config("other"), "1")
    assert accounts.take_outdated(config(), "1") == []
    accounts.uses(user("b"), config(), "2")
    assert accounts.take_outdated(config(), "2") == [user("a")]
    assert accounts.take_outdated(config(), "2") == []
    accounts.uses(user("a"), config(), "2")
    assert accounts.take_outdated(config(), "3") == [user("b"), user("a")]


def test_nothing_is_left_of_what_is_gone():
    accounts = Accounts()
    for number in range(1000):
        accounts.reads(config(f"{number}"), secret(f"{number % 7}"))
        accounts.uses(user(f"{number}"), config(f"{number}"), f"{number % 3}")
        accounts.uses(user(f"{number}"), config(f"{number + 1}"), f"{number % 5}")
    for number in range(1000):
        accounts.forget(user(f"{number}"))
        accounts.forget(config(f"{number}"))
    assert len(accounts) == 0
    assert not any(vars(accounts).values())


def test_credentials_are_followed_at_once_until_they_change_again_and_again():
    accounts = Accounts()
    assert [accounts.pause(config(), str(version), now=0.0) for version in range(7)] == [0.0] * 6 + [10.0]
    assert accounts.pause(config(), "5", now=0.0) == 0.0  # those in use
    assert accounts.pause(config("other"), "1", now=0.0) == 0.0
    assert accounts.pause(config(), "8", now=5.0) == pytest.approx(5.0)
    assert accounts.pause(config(), "9", now=10.0) == 0.0
    assert accounts.pause(config(), "9", now=10.0) == 0.0
    assert accounts.pause(config(), "10", now=10.0) == 10.0
    assert accounts.pause(config(), "10", now=3_600.0) == 0.0
    accounts.forget(config())
    accounts.forget(config("other"))
    assert len(accounts) == 0
