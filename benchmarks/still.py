"""An AWS where everything that is asked for exists, unchanged: a light stand-in for measuring ourselves and not moto.

Answers what observing the five kinds of `ten_thousand` asks, in a process of its own: python -m benchmarks.still PORT
GET /still/calls counts the answers so far, GET /still/operations of each operation; PUT /still/failing takes names, one a line, whose observation fails from now on.
"""

from __future__ import annotations

import sys
from collections import Counter
from urllib.parse import parse_qs

from aiohttp import web

ACCOUNT = "123456789012"


class Still:
    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()  # by operation
        self.failing: frozenset[str] = frozenset()
        self.known: dict[str, dict[str, None]] = {}  # by action: the names that were asked for, which listings tell

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.startswith("/still/"):
            return await self._control(request)
        if "ResourceGroupsTagging" in request.headers.get("X-Amz-Target", ""):
            self.asked["tagging GetResources"] += 1
            tagged = [{"ResourceARN": arn, "Tags": TAGS} for arn in (await request.json())["ResourceARNList"]]
            return web.json_response({"ResourceTagMappingList": tagged})
        if request.method in ("HEAD", "GET"):
            return self._bucket(request)
        fields = {name: values[0] for name, values in parse_qs(await request.text()).items()}
        action = fields.get("Action", "")
        self.asked[action] += 1
        name = next((fields[field] for field in NAMES if field in fields), "")
        if action in LISTS and (not name or "Filter.1.Name" in fields):
            return self._listed(action, fields)
        self.known.setdefault(action, {})[name] = None
        if name in self.failing:
            return _xml(f"<Response><Errors>{_error()}</Errors></Response>", status=503)
        answer = ANSWERS.get(action)
        if answer is None:
            return _xml(f"<Response><Errors>{_error('InvalidAction')}</Errors></Response>", status=400)
        return _xml(answer.format(name=name, account=ACCOUNT))

    def _listed(self, action: str, fields: dict[str, str]) -> web.Response:
        """What a filter names, or all that is known, page by page; without what fails."""
        one, begin, end, cursor = LISTS[action]
        if "Filter.1.Name" in fields:
            names, more = [value for name, value in fields.items() if name.startswith("Filter.1.Value.")], ""
        else:
            size = int(fields.get("MaxItems") or 100)
            first, every = int(fields.get("Marker") or 0), list(self.known.get(one, {}))
            names = every[first : first + size]
            more = cursor.format(first + size) if first + size < len(every) else ""
        entry = ANSWERS[one].split(begin, 1)[1].rsplit(end, 1)[0]
        entries = "".join(entry.format(name=name, account=ACCOUNT) for name in names if name not in self.failing)
        if action in ROLES:
            entries = entries.replace("<Role>", "<member>").replace("</Role>", "</member>")
            entries = f"<{ROLES[action]}>{entries}</{ROLES[action]}>"
            return _xml(f"<{action}Response><{action}Result>{entries}{more}</{action}Result></{action}Response>")
        head, tail = ANSWERS[one].split(begin, 1)[0], ANSWERS[one].rsplit(end, 1)[1]
        return _xml(head + begin + entries + end + more + tail)

    async def _control(self, request: web.Request) -> web.Response:
        if request.method == "PUT":
            self.failing = frozenset((await request.text()).split())
        if request.path == "/still/operations":
            return web.json_response(self.asked)
        return web.Response(text=str(self.asked.total()))

    def _bucket(self, request: web.Request) -> web.Response:
        setting = next((each for each in SETTINGS if each in request.query), "")
        self.asked["s3 ListBuckets" if request.path == "/" else f"s3 {request.method} {setting}".rstrip()] += 1
        if request.path == "/":
            entries = "".join(
                f"<Bucket><Name>{name}</Name><BucketRegion>eu-west-1</BucketRegion></Bucket>"
                for name in self.known.get("HeadBucket", ())
            )
            return _xml(f"<ListAllMyBucketsResult><Buckets>{entries}</Buckets></ListAllMyBucketsResult>")
        self.known.setdefault("HeadBucket", {})[request.path.strip("/")] = None
        if request.path.strip("/") in self.failing:
            return web.Response(status=503)
        if answer := SETTINGS.get(setting):
            return _xml(answer, status=404 if answer.startswith("<Error>") else 200)
        return web.Response(headers={"x-amz-bucket-region": "eu-west-1"})


TAGS = [{"Key": "team", "Value": "orders"}]
TAG = "<Tag><Key>team</Key><Value>orders</Value></Tag>"
NAMES = ("SubnetId.1", "GroupId.1", "RoleName", "DBSubnetGroupName")
ANSWERS = {
    "DescribeSubnets": "<DescribeSubnetsResponse><subnetSet><item><subnetId>{name}</subnetId><vpcId>vpc-1</vpcId><state>available</state>"
    "<cidrBlock>10.0.0.0/24</cidrBlock><availabilityZone>eu-west-1a</availabilityZone></item></subnetSet></DescribeSubnetsResponse>",
    "DescribeSecurityGroups": "<DescribeSecurityGroupsResponse><securityGroupInfo><item><groupId>{name}</groupId><groupName>{name}</groupName>"
    "<groupDescription>still</groupDescription><vpcId>vpc-1</vpcId><ownerId>{account}</ownerId></item></securityGroupInfo>"
    "</DescribeSecurityGroupsResponse>",
    "GetRole": "<GetRoleResponse><GetRoleResult><Role><RoleName>{name}</RoleName><RoleId>AROA{name}</RoleId><Path>/</Path>"
    "<Arn>arn:aws:iam::{account}:role/{name}</Arn><AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument>"
    "<CreateDate>2026-01-01T00:00:00Z</CreateDate></Role></GetRoleResult></GetRoleResponse>",
    "DescribeDBSubnetGroups": "<DescribeDBSubnetGroupsResponse><DescribeDBSubnetGroupsResult><DBSubnetGroups><DBSubnetGroup>"
    "<DBSubnetGroupName>{name}</DBSubnetGroupName><DBSubnetGroupDescription>still</DBSubnetGroupDescription><VpcId>vpc-1</VpcId>"
    "<SubnetGroupStatus>Complete</SubnetGroupStatus><DBSubnetGroupArn>arn:aws:rds:eu-west-1:{account}:subgrp:{name}</DBSubnetGroupArn>"
    "</DBSubnetGroup></DBSubnetGroups></DescribeDBSubnetGroupsResult></DescribeDBSubnetGroupsResponse>",
    "ListTagsForResource": f"<ListTagsForResourceResponse><ListTagsForResourceResult><TagList>{TAG}</TagList></ListTagsForResourceResult>"
    "</ListTagsForResourceResponse>",
}
ROLES = {"GetAccountAuthorizationDetails": "RoleDetailList", "ListRoles": "Roles"}  # of each listing of them: its list
LISTS = {  # of each listing: the action of one, what its list begins and ends with, and how it tells that there is more
    "DescribeSubnets": ("DescribeSubnets", "<subnetSet>", "</subnetSet>", ""),
    "DescribeSecurityGroups": ("DescribeSecurityGroups", "<securityGroupInfo>", "</securityGroupInfo>", ""),
    "DescribeDBSubnetGroups": (
        "DescribeDBSubnetGroups",
        "<DBSubnetGroups>",
        "</DBSubnetGroups>",
        "<Marker>{}</Marker>",
    ),
    **dict.fromkeys(
        ROLES,
        ("GetRole", "<GetRoleResult>", "</GetRoleResult>", "<IsTruncated>true</IsTruncated><Marker>{}</Marker>"),
    ),
}


def _unset(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>there is none</Message></Error>"


SETTINGS = {  # of a bucket, by the query that asks for it
    "tagging": f"<Tagging><TagSet>{TAG}</TagSet></Tagging>",
    "accelerate": "<AccelerateConfiguration></AccelerateConfiguration>",
    "acl": "<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList></AccessControlList></AccessControlPolicy>",
    "cors": _unset("NoSuchCORSConfiguration"),
    "encryption": _unset("ServerSideEncryptionConfigurationNotFoundError"),
    "lifecycle": _unset("NoSuchLifecycleConfiguration"),
    "logging": "<BucketLoggingStatus></BucketLoggingStatus>",
    "object-lock": _unset("ObjectLockConfigurationNotFoundError"),
    "policy": _unset("NoSuchBucketPolicy"),
    "replication": _unset("ReplicationConfigurationNotFoundError"),
    "requestPayment": "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
    "versioning": "<VersioningConfiguration></VersioningConfiguration>",
    "website": _unset("NoSuchWebsiteConfiguration"),
}


def _error(code: str = "ServiceUnavailable") -> str:
    return f"<Error><Code>{code}</Code><Message>as asked for</Message></Error>"


def _xml(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/xml")


def main(port: int) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", Still().answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
