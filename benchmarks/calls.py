"""How many calls to AWS each kind takes: until its example is Ready, for a look of its own, and for a poll at rest.

    python -m benchmarks.calls     # writes the table into README.md

Over HTTP to the stand-in, which is done at once: at AWS each further look while something comes to be is one look more.
Calls to STS are left out: one for an account and process.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tests.aws import test_life as life
from tests.aws.conftest import INI, made, provider_config
from tests.standin import Standin, serving

from groundplane.aws import catalogue, shared_reads
from groundplane.aws.cloud import AwsCloud
from groundplane.aws.grammar import READING, Kind
from groundplane.aws.session import Sessions
from groundplane.ports import Account

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- made by python -m benchmarks.calls -->\n", "<!-- until here -->\n"
HEAD = "| kind | until Ready | of them writes | a look | a poll at rest |\n|---|---|---|---|---|\n"
READS = tuple(word.rstrip("_").capitalize() for word in READING)


class Row(NamedTuple):
    kind: str
    until_ready: int
    writes: int
    look: int
    poll: str

    def line(self) -> str:
        return f"| {' | '.join(map(str, self))} |\n"


def measure() -> Iterator[tuple[str, str]]:
    for row in rows():
        yield (
            row.kind,
            f"{row.until_ready} until Ready, {row.writes} of them writes; a look {row.look}; a poll at rest {row.poll}",
        )


def rows() -> Iterator[Row]:
    with serving() as url:
        standin = Standin(url)
        for kind in catalogue.first_generation():
            standin.reset()
            life.make_policies(standin)
            yield asyncio.run(_row(kind, url))


async def _row(kind: Kind, url: str) -> Row:
    calls: list[str] = []

    def on_call(service: str, operation: str, *_: Any) -> None:
        if service != "sts":
            calls.append(operation)

    passed = itertools.count(step=60.0)  # seconds: no pause is waited for
    cloud = AwsCloud(sessions=Sessions(attempts=1, on_call=on_call), clock=lambda: next(passed), window=0)
    others = AwsCloud(sessions=Sessions(attempts=1), clock=lambda: next(passed))
    account, hidden = Account(provider_config(url), {"creds": INI}, "1"), life.secrets(kind)
    try:
        thing = await life.World(cloud, others, account).thing(kind, "orders-one")
        before = await cloud.observe(thing, account, hidden)
        thing["metadata"]["annotations"] |= before.to_note
        known = await made(cloud, thing, account, hidden)
        until_ready, writes = len(calls), sum(not name.startswith(READS) for name in calls)
        calls.clear()
        await cloud.observe(thing, account, hidden)
        look = len(calls)
        poll = await _poll(cloud, kind, thing, known, account, calls)
    finally:
        cloud.close()
        others.close()
    name = f"{kind.group.partition('.')[0]} {kind.kind}"
    return Row(name, until_ready, writes, look, poll)


async def _poll(cloud: AwsCloud, kind: Kind, thing: Any, known: Any, account: Account, calls: list[str]) -> str:
    """The calls of a look at what has settled, and the calls that it shares with others."""
    settled = copy.deepcopy(thing)
    conditions = [{"type": name, "status": "True"} for name in ("Synced", "Ready")]
    settled["status"] = {"conditions": conditions, "observedGeneration": 1, "atProvider": dict(known.at_provider)}
    settled["metadata"]["annotations"][life.SUCCEEDED] = "2026-01-01T00:00:00Z"
    settled["spec"]["forProvider"] |= known.late
    least, shared_reads.LEAST = shared_reads.LEAST, 1
    calls.clear()
    try:
        await cloud.observe(settled, replace(account, lane="poll"), life.secrets(kind))
    finally:
        shared_reads.LEAST = least
    shared = [read.shared for read in (kind.observe, *kind.also.values()) if read.shared]
    if not shared or kind.observe.shared is None:
        return str(len(calls))
    sizes = {"a page" if each.is_listing else f"up to {each.most}" for each in shared}
    sizes |= {"up to 100"} if kind.is_untagged else set()  # their tags
    return f"{len(calls)} for {' and '.join(sorted(sizes))}"


def main() -> None:
    found = list(rows())
    text = README.read_text(encoding="utf-8")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    table = HEAD + "".join(row.line() for row in found)
    README.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
