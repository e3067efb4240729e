"""IAM AccessKey: its secret is told once, when it is made; and it has no name by which an interrupted create could be known.

Source: IAM API 2010-05-08; Amazon SES developer guide, "Obtaining Amazon SES SMTP credentials", for the SMTP password.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta

from groundplane.aws.resource import Hooks as Base
from groundplane.aws.resource import Item, Resource
from groundplane.core import conditions
from groundplane.core.managed import CREATE_PENDING
from groundplane.core.objects import annotations_of

SMTP_VERSION = b"\x04"
SMTP_REGION = "us-east-1"  # the kind has none; upstream's provider takes this one, too
EARLY = timedelta(minutes=5)  # how far AWS's clock and ours may be apart


class Hooks(Base):
    def created(self, resource: Resource, answer: Item) -> None:
        answer["smtpPassword"] = smtp_password(answer["AccessKey"]["SecretAccessKey"])

    def find(self, resource: Resource) -> str | None:
        """Nothing was made if the user has no key that is as young.  If it has one, only a person can tell whose, and its secret is lost."""
        begun = conditions.moment(annotations_of(resource.managed).get(CREATE_PENDING) or "")
        if begun is None:
            return None
        for page in resource.pages("list_access_keys", UserName=resource.spec.get("user")):
            if any(key["CreateDate"] >= begun - EARLY for key in page["AccessKeyMetadata"]):
                return None
        return ""


def smtp_password(secret: str, region: str = SMTP_REGION) -> str:
    """The password for SES's SMTP server that goes with a secret access key.

    >>> smtp_password("some+secret+key", "eu-central-1")
    'BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2'
    """
    key = f"AWS4{secret}".encode()
    for part in ("11111111", region, "ses", "aws4_request", "SendRawEmail"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return base64.b64encode(SMTP_VERSION + key).decode()
