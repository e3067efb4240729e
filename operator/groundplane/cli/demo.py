"""`groundplane demo`: from nothing to a database with its Secret, and back, against a stand-in for AWS.

Each thing that must be so is a check of its own; one that fails makes the exit code 1.  Nothing real is touched: this
process gets an AWS environment of its own, and the stand-in listens on the loopback interface only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.live import Live

import groundplane
from groundplane.cli import health, manifests, store, tree
from groundplane.cli.demo_postgresql import FOLDER as POSTGRESQL
from groundplane.cli.demo_postgresql import Login
from groundplane.cli.follow import Applier, Source
from groundplane.cli.get import MASK
from groundplane.cli.up import interruptible
from groundplane.core.objects import Key, Object, key_of, meta, spec_of
from groundplane.errors import GroundplaneError, InvalidInput, Unavailable
from groundplane.ports import Account, Observation
from groundplane.sql.standin import Running

if TYPE_CHECKING:
    from groundplane.runtime.local import LocalControlPlane

FOLDER = "database-aws"  # in compositions/
PLATFORM = ("definition.yaml", "composition.yaml", "provider.yaml", "network.yaml")
CLAIM = "examples/claim.yaml"
SLOW = 4.0  # seconds that a database takes to come and to go; at AWS minutes
PATIENCE = 60.0  # seconds until a step has failed
FRAME = 0.2  # seconds between two looks
PASSING = frozenset({"Event", "Namespace", "CompositionRevision"})  # what may stay when a claim has gone


@click.command(epilog="Example: make demo")
@click.option("--compositions", type=click.Path(path_type=Path), help="The repository's compositions/, if not found.")
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path(".demo"), show_default=True
)
def demo(compositions: Path | None, folder: Path) -> None:
    """Show it all in half a minute: a claim becomes a database, with its Secret, and goes again.

    Needs no cluster, no Docker and no AWS account.
    """
    from groundplane.runtime import logs

    logs.configure("text", "error")
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        raise InvalidInput(
            "the stand-in for AWS is not installed",
            mend="pip install 'groundplane[demo]', or in the repository: make setup",
        )
    source = _compositions(compositions) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    db = str(folder / "demo.db")
    console = Console(highlight=False, soft_wrap=True)
    with store.locked(db):
        for stale in (db, f"{db}-wal", f"{db}-shm"):
            Path(stale).unlink(missing_ok=True)
        with standin() as url, aws_environment(url), postgresql() as server:
            passed = asyncio.run(Demo(console, source, db, url, server).run())
    sys.exit(0 if passed else 1)


def _compositions(named: Path | None) -> Path:
    """The folder compositions/: as named, else that of the checkout we run from, else in the current folder."""
    tried = [named] if named else [Path(groundplane.__file__).parents[2] / "compositions", Path("compositions")]
    for path in tried:
        if (path / FOLDER).is_dir():
            here = Path.cwd()
            return path.relative_to(here) if path.is_relative_to(here) else path
    raise InvalidInput(
        f"there is no {tried[0] / FOLDER}",
        mend="run it in a checkout of the repository, or name its folder with --compositions",
    )


@contextlib.contextmanager
def standin(slow: float = SLOW) -> Iterator[str]:
    """AWS's stand-in as a child process on a free loopback port; its URL.

    Raises:
        Unavailable: it does not start.
    """
    command = [sys.executable, "-m", "groundplane.aws.standin", "--port", "0", "--slow", str(slow)]
    environment = without_aws(os.environ)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        if not url.startswith("http://"):
            raise Unavailable("the stand-in for AWS did not start", mend="see what it wrote above")
        yield url
    finally:
        process.terminate()
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextlib.contextmanager
def postgresql() -> Iterator[Running | None]:
    """A PostgreSQL server of the demo's own; None where there are no programs for one."""
    from groundplane.sql import standin as server

    if server.programs() is None:
        yield None
        return
    with server.serving() as running:
        yield running


@contextlib.contextmanager
def aws_environment(url: str) -> Iterator[None]:
    """Only the stand-in and made-up credentials for this process: nothing of the person's own AWS set-up."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(without_aws(before) | standin_environment(url))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without anything of the person's AWS set-up, files included."""
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    return kept | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def standin_environment(url: str) -> dict[str, str]:
    """The variables with which botocore talks to the stand-in."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "stand-in",
        "AWS_SECRET_ACCESS_KEY": "stand-in",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }


class Failed(Exception):
    """A check failed in such a way that the rest makes no sense; it has been told."""


class Interrupted(Exception):
    """The person pressed Ctrl-C."""


@dataclass
class Demo:
    """One run of it."""

    console: Console
    source: Path  # compositions/database-aws
    db: str
    url: str  # of the stand-in
    server: Running | None  # PostgreSQL
    plane: LocalControlPlane = field(init=False)
    started: float = field(default_factory=time.monotonic)
    passed: int = 0
    failed: int = 0
    shown: dict[Key, tree.Node] = field(default_factory=dict)  # what was told of the roots

    async def run(self) -> bool:
        """Play it; whether every check passed."""
        from groundplane.aws.cloud import AwsCloud
        from groundplane.ports import Options
        from groundplane.runtime.clouds import Clouds, beside_aws
        from groundplane.runtime.local import LocalControlPlane

        self.say(f"AWS's stand-in is at {self.url}, the control plane's store is {self.db}")
        if self.server:
            self.say(f"PostgreSQL is at {self.server.host}:{self.server.port}")
        else:
            self.say(
                "the part with PostgreSQL is skipped: there is none; pip install 'groundplane[demo]' brings one",
                style="yellow",
            )
        aws = AwsCloud()
        cloud = Clouds({"aws": lambda: aws} | beside_aws())
        with interruptible() as self.stop:
            try:
                async with LocalControlPlane(self.db, options=Options(poll_interval=5.0), cloud=cloud) as self.plane:
                    await self._play()
            except Failed:
                pass
            except GroundplaneError as error:
                self.failed += 1
                self.say(f"✘ NOT SO: {error}", style="bold red")
            except Interrupted:
                self.say("ended by Ctrl-C; nothing is left running")
                return False
            finally:
                aws.close()
        seconds = time.monotonic() - self.started
        if self.failed:
            self.say(
                f"demo: {self.failed} of {self.failed + self.passed} checks FAILED, {seconds:.0f} s", style="bold red"
            )
            return False
        self.say(f"demo: all {self.passed} checks passed, {seconds:.0f} s", style="bold green")
        self._next()
        return True

    async def _play(self) -> None:
        self._title("1. The platform team offers databases")
        keys = await self._apply(*(self.source / name for name in PLATFORM))
        await self.until("the platform is ready", lambda: self._all_fine(keys), keys)
        login = Login(self, self.source.parent / POSTGRESQL, self.server) if self.server else None
        if login:
            await login.offer()
            await self.plane.idle(PATIENCE)
        before = self._objects()

        self._title("2. A team asks for one on AWS, another for one in PostgreSQL: the same API, one label apart")
        asked = [self.source / CLAIM, *([login.claim] if login else [])]
        for path in asked:
            self.console.print(path.read_text().strip() + "\n", style="cyan")
        await self._apply(*asked)
        (claim,) = manifests.read(self.source / CLAIM)
        if login:
            (other,) = manifests.read(login.claim)
            await self.until("the claim in PostgreSQL is ready", lambda: self._all_fine([other.key]), [other.key])
            await login.use(other.object)
        keys = [claim.key]
        await self.until("the claim on AWS is ready", lambda: self._all_fine(keys), keys)

        self._title("3. What the team on AWS has now")
        secret = await self.secret_of(claim.object)
        managed = await self._instance(claim.key)
        self._compare(secret, await self._observe(managed))

        self._title("4. The claims are deleted")
        if login:
            await self.plane.cluster.delete(other.key)
            await self.until("the claim in PostgreSQL is gone", lambda: self._are_gone(login.family), login.family)
            await login.leave()
        family = [node.key for node in tree.every(await self.grow(claim.key))]
        await self.plane.cluster.delete(claim.key)
        await self.until(
            "the claim on AWS is gone, and all that was made for it", lambda: self._are_gone(family), family
        )
        await self.plane.idle(PATIENCE)
        self.check("the database is gone at AWS", not (await self._observe(managed)).exists)
        left = sorted(str(key) for key in self._objects() - before if key.kind not in PASSING)
        self.check("nothing of it is left in the store", not left, ", ".join(left))

    # --- the steps

    async def _apply(self, *paths: Path) -> list[Key]:
        applier = Applier(self.plane.cluster, Source(map(str, paths)), tell=lambda text: self.say(text, style="dim"))
        deadline = time.monotonic() + PATIENCE
        await applier.round()
        while applier.waiting and time.monotonic() < deadline:
            await self._wait()
            await applier.round()
        problems = [*applier.problems, *applier.refused.values(), *applier.waiting.values()]
        self.check(f"the manifests are applied: {len(applier.keys)}", not problems, "; ".join(problems), is_vital=True)
        return applier.keys

    async def secret_of(self, claim: Object) -> dict[str, str]:
        """The claim's Secret, shown without its password."""
        name = spec_of(claim)["writeConnectionSecretToRef"]["name"]
        key = Key("v1", "Secret", meta(claim)["namespace"], name)
        secret = await self.plane.cluster.get(key)
        self.check(f"{key} is there", secret is not None, is_vital=True)
        data = await self.data_of(claim)
        for name, value in data.items():
            self.say(f"  {name + ':':10} {MASK if name == 'password' else value}")
        wanted = {"host", "port", "username", "password"}
        self.check(
            "it has host, port, username and password", set(data) == wanted and all(data.values()), ", ".join(data)
        )
        return data

    async def data_of(self, claim: Object) -> dict[str, str]:
        """What the claim's Secret holds."""
        name = spec_of(claim)["writeConnectionSecretToRef"]["name"]
        secret = await self.plane.cluster.get(Key("v1", "Secret", meta(claim)["namespace"], name))
        found = sorted(((secret or {}).get("data") or {}).items())
        return {name: base64.b64decode(text).decode() for name, text in found}

    async def _instance(self, claim: Key) -> Object:
        family = await store.family(self.plane.cluster, claim)
        found = [obj for key, obj in family.items() if key.kind == "Instance"]
        self.check("one database was made for it", len(found) == 1, f"found {len(found)}", is_vital=True)
        return found[0]

    async def _observe(self, managed: Object) -> Observation:
        """What AWS itself says of the database: a describe call."""
        config = await self.plane.cluster.get(Key("aws.upbound.io/v1beta1", "ProviderConfig", "", "default"))
        return await self.plane.cloud.observe(managed, Account(config or {}), {})

    def _compare(self, secret: Mapping[str, str], observation: Observation) -> None:
        self.check("the database is there at AWS", observation.exists, is_vital=True)
        says = observation.at_provider
        for name in ("status", "instanceClass", "engine", "engineVersion", "endpoint"):
            self.say(f"  AWS says {name + ':':14} {says.get(name)}")
        self.check("it is available", says.get("status") == "available", f"it is {says.get('status')}")
        self.check(
            "the Secret's host and port are its endpoint",
            f"{secret.get('host')}:{secret.get('port')}" == says.get("endpoint"),
        )
        self.check("the Secret's username is its master user", secret.get("username") == says.get("username"))
        self.check("it has not drifted", not observation.drift, ", ".join(d.field for d in observation.drift))

    # --- waiting, while showing what happens

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]], roots: list[Key]) -> None:
        deadline = time.monotonic() + PATIENCE
        before = [self.shown[root] for root in roots if root in self.shown]
        live = Live(console=self.console, refresh_per_second=8, transient=False) if self.console.is_terminal else None
        with live or contextlib.nullcontext():
            is_so = False
            while not is_so and time.monotonic() < deadline:
                is_so = await condition()
                nodes = await self._forest(roots)
                if live:
                    live.update(Group(*map(tree.drawn, nodes)))
                else:
                    for text in tree.changes(before, nodes):
                        self.say(text)
                before = nodes
                if not is_so:
                    await self._wait()
        self.shown |= {node.key: node for node in before}
        late = [each for node in before for each in tree.every(node) if each.state not in ("ready", "absent")]
        lacking = [trouble for node in before for trouble in tree.troubles(node)] or late
        named = ", ".join(f"{node.key} ({node.cause or node.told})" for node in lacking)
        self.check(what, is_so, f"not within {PATIENCE:.0f} s{named and '; '}{named}", is_vital=True)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(FRAME):
                await self.stop.wait()
        except TimeoutError:
            return
        raise Interrupted

    async def grow(self, root: Key) -> tree.Node:
        return tree.grow(root, await store.family(self.plane.cluster, root), datetime.now(UTC))

    async def _forest(self, roots: list[Key]) -> list[tree.Node]:
        """The trees of these objects, each object once; without those that say nothing of themselves."""
        nodes = [await self.grow(root) for root in roots]
        below = {child.key for node in nodes for child in tree.every(node) if child is not node}
        return [node for node in nodes if node.key not in below and node.told != tree.SILENT]

    async def _all_fine(self, keys: list[Key]) -> bool:
        known = {(kind.group, kind.kind): kind for kind in await store.served(self.plane.cluster)}
        for key in keys:
            kind = known.get((key.group, key.kind))
            categories = frozenset(kind.categories if kind else ())
            verdict = await health.judge(self.plane.cluster, key, categories, datetime.now(UTC))
            if verdict.state != "fine":
                return False
        return True

    async def _are_gone(self, keys: list[Key]) -> bool:
        return not any([await self.plane.cluster.get(key) for key in keys])

    def _objects(self) -> set[Key]:
        return {key_of(change.object) for change in self.plane.cluster.changes(0)}

    # --- telling

    def check(self, what: str, is_so: bool, otherwise: str = "", *, is_vital: bool = False) -> None:
        """Count and tell a check.  Raises Failed if a vital one fails."""
        if is_so:
            self.passed += 1
            self.say(f"✔ {what}", style="green")
            return
        self.failed += 1
        self.say(f"✘ NOT SO: {what}{': ' + otherwise if otherwise else ''}", style="bold red")
        if is_vital:
            raise Failed

    def _title(self, text: str) -> None:
        self.console.print()
        self.console.print(text, style="bold")

    def say(self, text: str, style: str = "") -> None:
        self.console.print(f"{time.monotonic() - self.started:5.1f} s  {text}", style=style or None, markup=False)

    def _next(self) -> None:
        """What to type next."""
        commands = {
            f"groundplane get events -A --db {self.db}": "what happened, step by step",
            f"groundplane get managed,crossplane --db {self.db}": "what is left of the platform",
            f"groundplane up {self.source}": "the same in your own AWS account; it costs money",
            "make cluster": "the same on a real Kubernetes API server",
        }
        width = max(map(len, commands))
        self.console.print("\nWhat to type next:")
        for command, what in commands.items():
            self.console.print(f"  {command:{width}}  # {what}", markup=False)
