"""An AWS where roles and addresses are made at once, in a process of its own: python -m benchmarks.instant PORT

GET /still/calls counts the answers so far.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping
from urllib.parse import parse_qs

from aiohttp import web

ACCOUNT = "123456789012"


class Instant:
    def __init__(self) -> None:
        self.calls = 0
        self.made: dict[str, str] = {}  # by name or id: how it is shown

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.startswith("/still/"):
            return web.Response(text=str(self.calls))
        self.calls += 1
        fields = {name: values[0] for name, values in parse_qs(await request.text()).items()}
        action = fields["Action"]
        match action:
            case "CreateRole":
                name = fields["RoleName"]
                self.made[name] = _role(name, fields)
                return _result(action, f"<Role>{self.made[name]}</Role>")
            case "GetRole" if fields["RoleName"] in self.made:
                return _result(action, f"<Role>{self.made[fields['RoleName']]}</Role>")
            case "GetRole":
                error = "<Error><Code>NoSuchEntity</Code><Message>there is none</Message></Error>"
                return _xml(f"<ErrorResponse>{error}</ErrorResponse>", 404)
            case "AllocateAddress":
                id_ = f"eipalloc-{len(self.made):017x}"
                shown = f"<allocationId>{id_}</allocationId><domain>vpc</domain><publicIp>192.0.2.1</publicIp>"
                self.made[id_] = f"<item>{shown}{_tags(fields, 'TagSpecification.1.Tag', 'key', 'value')}</item>"
                return _xml(f"<AllocateAddressResponse>{shown}</AllocateAddressResponse>")
            case "DescribeAddresses":
                wanted = [
                    value for name, value in fields.items() if name.startswith(("AllocationId.", "Filter.1.Value"))
                ]
                shown = "".join(self.made.get(each, "") for each in wanted)
                return _xml(
                    f"<DescribeAddressesResponse><addressesSet>{shown}</addressesSet></DescribeAddressesResponse>"
                )
            case "GetCallerIdentity":
                return _result(action, f"<Account>{ACCOUNT}</Account><Arn>arn:aws:iam::{ACCOUNT}:user/bench</Arn>")
        if action.startswith(("List", "Describe", "GetAccount")):
            return _result(action, "")
        return _xml("<ErrorResponse><Error><Code>InvalidAction</Code></Error></ErrorResponse>", 400)


def _role(name: str, fields: Mapping[str, str]) -> str:
    return (
        f"<RoleName>{name}</RoleName><RoleId>AROA{name}</RoleId><Path>/</Path><Arn>arn:aws:iam::{ACCOUNT}:role/{name}</Arn>"
        f"<AssumeRolePolicyDocument>{html.escape(fields['AssumeRolePolicyDocument'])}</AssumeRolePolicyDocument>"
        f"<CreateDate>2026-01-01T00:00:00Z</CreateDate><MaxSessionDuration>3600</MaxSessionDuration>"
        f"{_tags(fields, 'Tags.member', 'Key', 'Value')}"
    )


def _tags(fields: Mapping[str, str], prefix: str, key: str, value: str) -> str:
    """The tags of a create, as a look shows them."""
    around, each = ("Tags", "member") if key == "Key" else ("tagSet", "item")
    entries, number = "", 1
    while name := fields.get(f"{prefix}.{number}.Key"):
        text = html.escape(fields.get(f"{prefix}.{number}.Value", ""))
        entries += f"<{each}><{key}>{html.escape(name)}</{key}><{value}>{text}</{value}></{each}>"
        number += 1
    return f"<{around}>{entries}</{around}>"


def _result(action: str, text: str) -> web.Response:
    return _xml(f"<{action}Response><{action}Result>{text}</{action}Result></{action}Response>")


def _xml(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/xml")


def main() -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", Instant().answer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
