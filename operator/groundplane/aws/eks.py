"""The token that logs in to a cluster of EKS: a question to STS of who we are, signed beforehand, for the cluster to ask.

Source: kubernetes-sigs/aws-iam-authenticator, pkg/token (form and lifetime); crossplane-contrib/provider-kubernetes 06f8258, pkg/kube/client/aws.
"""

from __future__ import annotations

import base64
import re

from botocore.exceptions import NoCredentialsError

from groundplane.aws import deadline, faults
from groundplane.aws.grammar import Errors
from groundplane.aws.sdk import GLOBAL_REGIONS
from groundplane.aws.session import Sessions
from groundplane.errors import Denied
from groundplane.ports import Account

PREFIX, HEADER = "k8s-aws-v1.", "x-k8s-aws-id"
EXPIRES = 60  # seconds, as AWS's own tool writes; what was signed is taken for a quarter of an hour whatever this says
PATIENCE = 20.0  # seconds for the credentials: a role may have to be assumed with a token
MEND = "give the operator an identity in AWS (IRSA, Pod Identity) that the cluster has an access entry for"

_ARN = re.compile(r"arn:[^:]+:eks:([^:]+):[^:]*:cluster/([^/]+)")
_HOST = re.compile(r"\.([a-z0-9-]+)\.eks\.amazonaws\.com(?:\.cn)?(?::\d+)?$")


def place(cluster: str, server: str) -> tuple[str, str]:
    """Name and region of a cluster, by what a kubeconfig calls it, a name or an ARN, and by its server's address; "" where that says none.

    >>> place("arn:aws:eks:eu-west-1:123456789012:cluster/edge", "https://a.example.org")
    ('edge', 'eu-west-1')
    >>> place("edge", "https://0123ABCD.gr7.us-east-2.eks.amazonaws.com")
    ('edge', 'us-east-2')
    """
    if found := _ARN.fullmatch(cluster):
        return found[2], found[1]
    host = _HOST.search(server)
    return cluster, host[1] if host else ""


def token(sessions: Sessions, cluster: str, server: str) -> str:
    """Who the operator is in AWS, for one cluster: no other one takes it.  Taken for fifteen minutes.  Blocks while credentials are looked for.

    Raises:
        Denied: there are no credentials, or AWS does not accept what they are to be made with.
        Unavailable: whoever gives them does not answer.
    """
    name, region = place(cluster, server)
    try:
        with deadline.within(PATIENCE):
            client = sessions.clients(Account({})).client("sts", region or GLOBAL_REGIONS["aws"])
            request = {
                "method": "GET",
                "url": f"{client.meta.endpoint_url}/?Action=GetCallerIdentity&Version=2011-06-15",
                "headers": {HEADER: name},  # signed, too
                "body": {},
                "context": {},
            }
            signer = client._request_signer  # botocore signs no header of ours in public
            url = signer.generate_presigned_url(request, operation_name="GetCallerIdentity", expires_in=EXPIRES)
    except NoCredentialsError as error:
        raise Denied("AWS gives the operator no credentials", mend=MEND) from error
    except faults.BOTO as error:
        raise faults.translate(error, Errors()) from error
    return PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
