"""ProviderConfig → clients: every source of credentials, role chains, endpoints, flags, and the cache."""

import copy
import threading

import pytest
from botocore.credentials import AssumeRoleCredentialFetcher

from groundplane.aws import endpoints, sdk
from groundplane.aws.sdk import LOADER
from groundplane.aws.session import Sessions
from groundplane.errors import Denied, InvalidInput
from groundplane.ports import Account
from tests.aws.conftest import INI, managed, provider_config

ROLE = "arn:aws:iam::111122223333:role/deployer"
OTHER = "arn:aws:iam::444455556666:role/deployer"
KEYS = {
    "Credentials": {
        "AccessKeyId": "a",
        "SecretAccessKey": "b",
        "SessionToken": "c",
        "Expiration": "2099-01-01T00:00:00Z",
    }
}
STATIC = "http://127.0.0.1:1"


def account(url=STATIC, secret=None, version="1", **spec):
    return Account(provider_config(url, **spec), {"creds": INI} if secret is None else secret, version)


def credentials_of(clients, region="eu-west-1"):
    found = clients.client("rds", region)._request_signer._credentials.get_frozen_credentials()
    return found.access_key, found.secret_key, found.token


def source(name, **more):
    return {"credentials": {"source": name, **more}}


@pytest.mark.parametrize(
    "text",
    [
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = c\n",
        "[Default]\nAWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nAWS_SESSION_TOKEN=c",
        "aws_access_key_id = a\naws_secret_access_key = b\naws_session_token = c\n",
        "[mine]\naws_access_key_id: a\naws_secret_access_key: b\naws_session_token: c\n",
        "\n# comment\n[default]\naws_access_key_id = a\n\naws_secret_access_key = b\naws_session_token = c\n",
    ],
)
def test_a_secret_is_ini_text_in_many_spellings(text):
    clients = Sessions({}).clients(account(secret={"creds": text.encode()}))
    assert credentials_of(clients) == ("a", "b", "c")


@pytest.mark.parametrize(
    "credentials, mend",
    [
        (source("Secret", secretRef={"namespace": "n", "name": "s", "key": "k"}), "under key k of Secret n/s "),
        (source("Filesystem", fs={"path": "/etc/aws"}), "write valid ones to /etc/aws "),
        (source("Environment", env={"name": "CREDS"}), "with valid ones in CREDS "),
        (source("WebIdentity", webIdentity={"roleARN": ROLE}), "the role trusts who issued it"),
        (source("InjectedIdentity"), "aws sso login"),
        (source("IRSA"), "identity of the operator's Pod"),
    ],
)
def test_what_to_do_about_refused_credentials_depends_on_where_they_come_from(credentials, mend):
    told = Sessions({}).clients(account(**credentials)).credentials.renewal()
    assert mend in told
    assert told.endswith("(ProviderConfig default)")


@pytest.mark.parametrize(
    "config, message",
    [
        (account(secret={"other": b"x"}), r"secretRef.key: the Secret has no key creds. Mend: it has: other"),
        (account(secret={"creds": b"just words"}), r"spec.credentials.secretRef: is no INI text"),
        (account(secret={"creds": b"[default]\naws_access_key_id=a"}), r"has no aws_secret_access_key"),
        (
            account(secret={"creds": b"[prod]\naws_access_key_id=a\n[dev]\naws_access_key_id=b"}),
            r"section \[default\] is missing, or has nothing in it. Mend: call the profile that is meant \[default\]",
        ),
        (account(**source("Secret")), r"spec.credentials.secretRef.key: is missing"),
        (account(**source("Magic")), r'source: unknown: "Magic". Mend: use one of: IRSA, InjectedIdentity'),
        (account(**source("Environment")), r"spec.credentials.env.name: is missing"),
        (account(**source("Environment", env={"name": "NOPE"})), r'env.name: no such variable: "NOPE"'),
        (account(**source("Filesystem", fs={"path": "/no/such"})), r"fs.path: can't read /no/such"),
        (account(**source("Filesystem", fs={"path": "/dev/null"})), r"fs.path: /dev/null is no regular file"),
        (account(**source("WebIdentity")), r"webIdentity.roleARN: is missing"),
        (
            account(**source("WebIdentity", webIdentity={"roleARN": ROLE})),
            r"webIdentity.tokenConfig: is missing, and the operator has no token of its own: \$AWS_WEB_IDENTITY_TOKEN_FILE is not set",
        ),
        (account(endpoint={"url": {"type": "Static"}}), r"spec.endpoint.url.static: is missing"),
        (account(endpoint={"url": {"type": "Dynamic"}}), r"spec.endpoint.url.dynamic.host: is missing"),
        (account(endpoint={"url": {"type": "Odd"}}), r'spec.endpoint.url.type: unknown: "Odd"'),
        (account(url="no url"), r"spec.endpoint.url.static: \"no url\" is no URL"),
        (account(url="http://["), r"spec.endpoint.url.static: .* is no URL"),
        (account(url="http://ok:99999"), r"spec.endpoint.url.static: .* is no URL"),
        (account(url="gopher://ok"), r"spec.endpoint.url.static: .* is no URL"),
        *(
            (
                account(endpoint={"url": {"type": "Dynamic", "dynamic": dynamic}}),
                r"spec.endpoint.url.dynamic: .* is no URL",
            )
            for dynamic in ({"host": "a..b"}, {"host": "ok:99999"}, {"host": "["}, {"host": "ok", "protocol": "gopher"})
        ),
        (account(assumeRoleChain=[{}]), r"spec.assumeRoleChain\[0\].roleARN: is missing"),
        (account(assumeRoleChain=[{"roleARN": "admin"}]), r'roleARN: "admin" is no ARN'),
    ],
)
def test_a_bad_config_names_itself_the_field_and_the_mend(config, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        Sessions({}).clients(config).client("rds", "eu-west-1")
    assert str(caught.value).startswith("ProviderConfig default")


def test_a_bad_config_for_all_namespaces_is_called_by_its_kind_and_what_waits_for_it_knows_that():
    config = provider_config(STATIC) | {"apiVersion": "aws.m.upbound.io/v1beta1", "kind": "ClusterProviderConfig"}
    with pytest.raises(InvalidInput, match="^ClusterProviderConfig default › spec.credentials") as caught:
        Sessions({}).clients(Account(config, {"creds": b"just words"}, "1")).client("rds", "eu-west-1")
    assert next(each[:2] for each in caught.value.on) == ("aws.m.upbound.io", "ClusterProviderConfig")


def test_no_text_of_a_secret_is_quoted():
    with pytest.raises(InvalidInput) as caught:
        Sessions({}).clients(account(secret={"creds": b"hunter2 hunter2"})).client("rds", "eu-west-1")
    assert "hunter2" not in str(caught.value)
    assert "dummy-secret" not in repr(account())


def test_credentials_come_from_a_variable_or_a_file(tmp_path):
    (tmp_path / "creds").write_text(INI.decode())
    by_file = account(**source("Filesystem", fs={"path": str(tmp_path / "creds")}))
    by_variable = account(**source("Environment", env={"name": "CREDS"}))
    sessions = Sessions({"CREDS": INI.decode()})
    assert credentials_of(sessions.clients(by_file))[0] == "test"
    sessions.clients(by_file).refuse(Denied("no"))
    assert credentials_of(sessions.clients(by_variable))[0] == "test"


@pytest.mark.parametrize("name", ["InjectedIdentity", "IRSA", "PodIdentity"])
def test_an_identity_of_the_pod_is_the_default_chain(monkeypatch, name):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-the-chain")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "dummy")
    assert credentials_of(Sessions().clients(account(**source(name))))[0] == "from-the-chain"


async def test_a_chain_that_offers_nothing_is_denied(cloud, standin, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/no/such")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/no/such")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nobody = account(standin.url, **source("InjectedIdentity"))
    thing = managed("rds.aws.upbound.io/v1beta1", "SubnetGroup", "a")
    with pytest.raises(Denied, match="Unable to locate credentials"):
        await cloud.observe(thing, nobody, {})
    chained = account(standin.url, version="2", **source("InjectedIdentity"), assumeRoleChain=[{"roleARN": ROLE}])
    with pytest.raises(Denied, match="offers none to assume a role with"):
        await cloud.observe(thing, chained, {})


def test_no_credentials_at_all_is_enough_for_an_endpoint_of_ones_own(standin):
    clients = Sessions({}).clients(account(standin.url, **source("None")))
    assert clients.client("rds", "eu-west-1").describe_db_instances()["DBInstances"] == []


def test_a_role_is_assumed_in_the_other_account(standin):
    chain = [
        {"roleARN": ROLE, "externalID": "partner", "tags": [{"key": "a", "value": "b"}], "transitiveTagKeys": ["a"]},
        {"roleARN": OTHER},
    ]
    clients = Sessions({}).clients(account(standin.url, assumeRoleChain=chain))
    assert clients.account_id("eu-west-1") == "444455556666"
    assert [call for call in standin.operations() if call == "AssumeRole"] == ["AssumeRole", "AssumeRole"]


@pytest.mark.parametrize("where", ["secret", "file", "environment"])
def test_a_web_identity_is_traded_for_a_role(standin, tmp_path, where):
    (tmp_path / "token").write_text("dummy-token")
    configs = {
        "secret": {"source": "Secret", "secretRef": {"namespace": "x", "name": "y", "key": "token"}},
        "file": {"source": "Filesystem", "fs": {"path": str(tmp_path / "token")}},
        "environment": None,
    }
    identity = {"roleARN": ROLE, "tokenConfig": configs[where]}
    given = account(standin.url, {"token": b"dummy-token\n"}, **source("WebIdentity", webIdentity=identity))
    environ = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")} if where == "environment" else {}
    assert Sessions(environ).clients(given).account_id("eu-west-1") == "111122223333"


@pytest.mark.parametrize(
    "credentials",
    [
        source("WebIdentity", webIdentity={"roleARN": ROLE}),
        source("Upbound", upbound={"webIdentity": {"roleARN": ROLE}}),
    ],
)
def test_the_operators_token_goes_to_no_endpoint_that_a_namespace_names(tmp_path, credentials):
    (tmp_path / "token").write_text("dummy-token")
    sessions = Sessions({"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token")})
    given = account("http://127.0.0.1:1", **credentials)
    given.provider_config["metadata"]["namespace"] = "team-a"
    with pytest.raises(InvalidInput, match=r"spec\.endpoint: is not handed the operator's own token"):
        sessions.clients(given).check()
    with pytest.raises(InvalidInput, match=r"spec\.endpoint: is not handed the operator's own token"):
        sessions.clients(given).client("rds", "eu-west-1")
    elsewhere = Account(copy.deepcopy(given.provider_config), given.credentials, "2")
    elsewhere.provider_config["spec"]["endpoint"]["services"] = ["rds"]
    assert sessions.clients(elsewhere).client("rds", "eu-west-1").meta.endpoint_url == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "endpoint, service, url",
    [
        ({"url": {"type": "Static", "static": STATIC}}, "rds", STATIC),
        ({"url": {"static": STATIC}, "services": []}, "iam", STATIC),
        ({"url": {"type": "Static", "static": STATIC}, "services": ["rds"]}, "rds", STATIC),
        (
            {"url": {"type": "Static", "static": STATIC}, "services": ["s3"]},
            "rds",
            "https://rds.eu-west-1.amazonaws.com",
        ),
        (
            {"url": {"type": "Dynamic", "dynamic": {"protocol": "http", "host": "aws.test"}}},
            "rds",
            "http://rds.eu-west-1.aws.test",
        ),
        ({"url": {"type": "Dynamic", "dynamic": {"host": "aws.test"}}}, "iam", "https://iam.aws.test"),
        ({"url": {"type": "Auto"}}, "rds", "https://rds.eu-west-1.amazonaws.com"),
        ({}, "rds", "https://rds.eu-west-1.amazonaws.com"),
    ],
)
def test_where_a_service_is_called(endpoint, service, url):
    client = Sessions({}).clients(account(endpoint=endpoint)).client(service, "" if service == "iam" else "eu-west-1")
    assert client.meta.endpoint_url == url


@pytest.mark.parametrize(
    "name, service",
    [
        ("elb", "elb"),
        ("elbv2", "elbv2"),
        ("ElasticLoadBalancingV2", "elbv2"),
        ("cloudwatchlogs", "logs"),
        ("stepfunctions", "stepfunctions"),
        ("sfn", "stepfunctions"),
        ("cognitoidp", "cognito-idp"),
        ("applicationautoscaling", "application-autoscaling"),
        ("appautoscaling", "application-autoscaling"),
        ("RDS", "rds"),
    ],
)
def test_a_service_is_named_as_boto3_or_as_terraform_name_it(name, service):
    endpoint = {"url": {"type": "Static", "static": STATIC}, "services": [name]}
    clients = Sessions({}).clients(account(endpoint=endpoint))
    assert clients.client(service, "eu-west-1").meta.endpoint_url == STATIC
    assert clients.client("sqs", "eu-west-1").meta.endpoint_url != STATIC


def test_every_alias_means_a_service_that_boto3_has():
    known = set(LOADER.list_available_services("service-2"))
    assert {service for service in endpoints.ALIASES.values() if service not in known} == set()


def test_a_service_that_is_no_more_is_no_mistake_and_an_unknown_one_keeps_every_call_from_being_made():
    endpoint = {"url": {"type": "Static", "static": STATIC}, "services": ["opsworks", "rds"]}
    assert Sessions({}).clients(account(endpoint=endpoint)).client("rds", "eu-west-1").meta.endpoint_url == STATIC
    endpoint["services"] = ["rds", "sqss"]
    with pytest.raises(
        InvalidInput, match=r"spec.endpoint.services\[1\]: no service of AWS: \"sqss\". Mend: did you mean sqs"
    ):
        Sessions({}).clients(account(endpoint=endpoint)).client("ec2", "eu-west-1")


def test_roles_are_assumed_in_the_region_that_is_asked_for_not_in_the_first_one(monkeypatch):
    asked = []
    monkeypatch.setattr(AssumeRoleCredentialFetcher, "_get_credentials", lambda fetcher: asked.append(fetcher) or KEYS)
    dynamic = {"url": {"type": "Dynamic", "dynamic": {"host": "aws.test"}}}
    clients = Sessions({}).clients(account(endpoint=dynamic, assumeRoleChain=[{"roleARN": ROLE}]))
    for region in ("eu-west-1", "us-east-2"):
        clients.client("rds", region)._request_signer._credentials.get_frozen_credentials()
    urls = [fetcher._create_client().meta.endpoint_url for fetcher in asked]
    assert urls == ["https://sts.eu-west-1.aws.test", "https://sts.us-east-2.aws.test"]


def test_host_names_end_as_those_of_the_regions_partition_do():
    clients = Sessions({}).clients(account(endpoint={}))
    found = {
        region: clients.config.dns_suffix(region)
        for region in ("eu-west-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1")
    }
    assert found == {
        "eu-west-1": "amazonaws.com",
        "cn-north-1": "amazonaws.com.cn",
        "us-gov-west-1": "amazonaws.com",
        "us-iso-east-1": "c2s.ic.gov",
    }
    assert clients.config.partition("us-gov-west-1") == "aws-us-gov"
    iso = Sessions({}).clients(account(endpoint={"url": {"type": "Auto"}, "partitionId": "aws-iso"}))
    assert iso.client("iam", "").meta.endpoint_url.endswith(".c2s.ic.gov")
    signed = Sessions({}).clients(account(endpoint={"url": {"type": "Auto"}, "signingRegion": "us-gov-west-1"}))
    assert signed.config.partition("") == "aws-us-gov"


def test_the_variable_for_all_endpoints_works_for_every_source(monkeypatch, standin):
    monkeypatch.setenv("AWS_ENDPOINT_URL", standin.url)
    for given in (account(endpoint={}), account(endpoint={}, version="2", **source("None"))):
        client = Sessions().clients(given).client("rds", "eu-west-1")
        assert client.meta.endpoint_url == standin.url
        assert client.describe_db_instances()["DBInstances"] == []


def test_a_region_is_signed_for_and_a_partition_known():
    clients = Sessions({}).clients(account(endpoint={}))
    assert clients.client("rds", "cn-north-1").meta.region_name == "cn-north-1"
    assert clients.client("iam", "").meta.endpoint_url == "https://iam.amazonaws.com"
    assert clients.config.partition("cn-north-1") == "aws-cn"
    assert clients.config.partition("eu-west-1") == "aws"
    china = Sessions({}).clients(account(endpoint={"url": {"type": "Auto"}, "partitionId": "aws-cn"}))
    assert china.client("iam", "").meta.endpoint_url == "https://iam.cn-north-1.amazonaws.com.cn"


def test_path_style_is_asked_for():
    styled = Sessions({}).clients(account(s3_use_path_style=True)).client("s3", "eu-west-1")
    assert styled.meta.config.s3 == {"addressing_style": "path"}
    plain = Sessions({}).clients(account(endpoint={}, s3_use_path_style=False)).client("s3", "eu-west-1")
    assert plain.meta.config.s3 is None


def test_an_account_that_need_not_be_asked_for_is_zeroes_if_it_can_not(standin):
    flags = {"skip_requesting_account_id": True, "skip_credentials_validation": True}
    assert Sessions({}).clients(account(standin.url, **flags)).account_id("eu-west-1") == "123456789012"
    standin.fail("sts", "GetCallerIdentity", "AccessDenied", status=403)
    assert Sessions({}).clients(account(standin.url, **flags)).account_id("eu-west-1") == "000000000000"
    standin.fail("sts", "GetCallerIdentity", "AccessDenied", status=403)
    with pytest.raises(Exception, match="AccessDenied"):
        Sessions({}).clients(account(standin.url)).account_id("eu-west-1")


def test_clients_are_made_once_for_each_region_and_service_and_anew_with_new_credentials():
    sessions = Sessions({})
    first = sessions.clients(account())
    assert sessions.clients(account()) is first
    assert first.client("rds", "eu-west-1") is first.client("rds", "eu-west-1")
    assert first.client("rds", "eu-west-1") is not first.client("rds", "us-east-1")
    second = sessions.clients(account(version="2"))
    assert second is not first
    assert sessions.clients(account(version="2")) is second


def test_provider_configs_of_one_name_keep_clients_of_their_own():
    """A ClusterProviderConfig, and one of each generation of kinds: else each use throws the other's clients away."""
    sessions = Sessions({})
    given = [account(version=uid) for uid in "123"]
    for each, (group, kind) in zip(
        given, [("aws.m", "ClusterProviderConfig"), ("aws", "ProviderConfig"), ("aws.m", "ProviderConfig")], strict=True
    ):
        each.provider_config.update(apiVersion=f"{group}.upbound.io/v1beta1", kind=kind)
    first = [sessions.clients(each) for each in given]
    assert [sessions.clients(each) for each in given] == first
    assert sessions.kept == 3


def test_what_can_work_is_looked_at_once_for_each_version_and_what_cannot_each_time(monkeypatch):
    made = []
    real = sdk.new_session
    monkeypatch.setattr(sdk, "new_session", lambda: made.append(1) or real())
    sessions = Sessions()
    for _ in range(3):
        sessions.clients(account()).check()
    assert len(made) == 1
    for _ in range(2):
        with pytest.raises(InvalidInput):
            sessions.clients(account(secret={"creds": b"no keys"}, version="2")).check()
    assert len(made) == 3
    sessions.clients(account(version="3")).check()
    assert len(made) == 4


def test_many_threads_get_the_same_client():
    clients = Sessions({}).clients(account())
    found = []
    threads = [threading.Thread(target=lambda: found.append(clients.client("ec2", "eu-west-1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in found}) == 1
