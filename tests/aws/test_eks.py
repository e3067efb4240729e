"""Tokens that log in to clusters of EKS: what such a cluster looks at."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from groundplane.aws import eks
from groundplane.aws.session import Sessions

ARN = "arn:aws:eks:eu-west-1:123456789012:cluster/edge"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-told-to-anybody")


def signed(token):
    assert token.startswith("k8s-aws-v1.")
    text = token.removeprefix("k8s-aws-v1.")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


@pytest.mark.parametrize(
    ("cluster", "server", "region", "suffix"),
    [
        (ARN, "https://a.example.org", "eu-west-1", ""),
        ("edge", "https://0123ABCD.gr7.us-east-2.eks.amazonaws.com", "us-east-2", ""),
        ("edge", "https://0123ABCD.yl4.cn-north-1.eks.amazonaws.com.cn:443", "cn-north-1", ".cn"),
        ("edge", "https://10.0.0.1", "us-east-1", ""),
    ],
)
def test_a_token_is_a_question_of_who_we_are_to_sts_for_one_cluster(cluster, server, region, suffix):
    token = eks.token(Sessions(), cluster, server)
    url = urlsplit(signed(token))
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.scheme, url.hostname, url.path) == ("https", f"sts.{region}.amazonaws.com{suffix}", "/")
    assert (asked["Action"], asked["Version"]) == ("GetCallerIdentity", "2011-06-15")
    assert asked["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert asked["X-Amz-Expires"] == "60"
    assert asked["X-Amz-Credential"].endswith(f"/{region}/sts/aws4_request")
    assert "not-told" not in signed(token)
    assert token != eks.token(Sessions(), "another", server), "the name is part of what is signed"
