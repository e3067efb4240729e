"""Servers and roles that mean ill: nothing keeps the operator busy, and what is not ours stays as it is."""

from __future__ import annotations

import asyncio
import contextlib
import time

import asyncpg
import pytest

from groundplane.errors import GroundplaneError, InvalidInput, NotLeader, Unavailable, Waiting
from groundplane.runtime.leader import Gate
from groundplane.sql import faults, text, wire
from groundplane.sql import server as connections
from groundplane.sql.account import Login
from groundplane.sql.wire import Frames
from tests.sql.conftest import applied, edited, is_ready, message, seen, thing

OK = b"R\0\0\0\x08\0\0\0\0"


def login(rounds):
    demand = b"\0\0\0\x0br=abc,s=c2FsdA==,i=" + str(rounds).encode()
    return b"R" + (len(demand) + 4).to_bytes(4, "big") + demand


@pytest.mark.parametrize(
    ("sent", "is_sane"),
    [
        (OK + b"Z\0\0\0\x05I", True),
        (OK + bytes(64), False),
        (OK + b"D\x7f\xff\xff\xf0", False),
        (b"R\0\2\0\0", False),
        (b"D\0\0\0\3", False),
        (OK + b"D\0\x7f\xff\xf0", False),
        (b"S\0\2\0\0", False),
        (b"K\0\0\0\x0c12345678" * 8192, True),
        (b"K\0\0\0\x0c12345678" * 8193, False),
        (login(4096), True),
        (login(20_000_000), False),
    ],
)
def test_messages_are_judged_however_they_come_in_pieces(sent, is_sane):
    assert Frames().are_sane(sent) is is_sane
    frames = Frames()
    assert all(frames.are_sane(sent[n : n + 1]) for n in range(len(sent))) is is_sane


def test_an_answer_is_as_long_as_who_asks_lets_it_be():
    frames, row = Frames(), b"D\0\0\0\x04"
    assert frames.are_sane(OK + b"Z\0\0\0\5I" + row * 100_000), "nobody has said how much it may be"
    for _ in range(3):
        frames.allow(1000 * wire.LEAST)
        assert frames.are_sane(row * 1000)
    assert not frames.are_sane(row)
    frames.allow(2000)
    assert not frames.are_sane(b"D\0\0\x20\0")


def test_settings_that_a_server_tells_are_few_however_often_it_is_asked():
    frames, setting = Frames(), b"S\0\0\x40\0" + bytes(0x3FFC)
    assert frames.are_sane(OK + b"Z\0\0\0\5I")
    for _ in range(wire.LOGIN // 0x4000):
        frames.allow(wire.ANSWER)
        assert frames.are_sane(setting)
    assert not frames.are_sane(setting)


@pytest.mark.parametrize("message", [b"D\0\0\0\x06\0\0", b"D\0\x0f\0\0\0\0" + bytes(0x0F0000 - 6), b"N\0\0\0\x05\0"])
async def test_an_answer_without_end_ends_in_an_error_and_takes_no_memory(message):
    """Rows, and what is told beside them: each message is sane."""
    sent = 0

    async def serve(reader, writer):
        nonlocal sent
        await reader.read(1000)
        version = b"server_version\x0018.0\0"
        writer.write(OK + b"S" + (len(version) + 4).to_bytes(4, "big") + version + b"Z\0\0\0\x05I")
        await reader.read(10_000)
        writer.write(b"1\0\0\0\4t\0\0\0\6\0\0T\0\0\0\6\0\0")
        await reader.read(10_000)
        writer.write(b"2\0\0\0\4")
        many = message * max(1, 65536 // len(message))
        with contextlib.suppress(ConnectionError):
            while sent < 2**28:
                writer.write(many)
                sent += len(many)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as fake:
        port = fake.sockets[0].getsockname()[1]
        login = Login("uid", "1", "127.0.0.1", port, "boss", "hush", ssl_mode="disable")
        server = connections.Server(login, asyncio.Lock(), lambda: None)
        with pytest.raises(Unavailable):
            async with asyncio.timeout(60), server.session() as session:
                await session.rows("SELECT")
        await server.close()
    assert 0 < sent < 2 * wire.ANSWER + 2**24  # with what the sockets hold


@pytest.mark.parametrize("answer", [OK + bytes(64), OK + b"D\x7f\xff\xff\xf0" + bytes(64), login(20_000_000)])
async def test_a_server_that_sends_anything_ends_in_an_error_and_holds_nobody_up(answer):
    wire.guard()

    writers = []

    async def serve(reader, writer):
        writers.append(writer)
        await reader.read(1000)
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as fake:
        port = fake.sockets[0].getsockname()[1]
        with pytest.raises(GroundplaneError):
            async with asyncio.timeout(60):
                await connected(port)
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_for_a_server_that_never_answers_one_waits_however_many_objects_are_in_it(monkeypatch):
    """Else those of twenty such servers hold all the workers, and what is in a healthy one waits for minutes."""
    monkeypatch.setattr(connections, "CONNECT", 0.3)
    came, ends = [], asyncio.Event()

    async def serve(reader, writer):
        came.append(writer)
        await ends.wait()
        writer.close()

    async def ask():
        async with server.session():
            raise AssertionError("it does not answer")

    async def asked_by(many):
        """What they are told."""
        results = await asyncio.gather(*(ask() for _ in range(many)), return_exceptions=True)
        assert {type(each) for each in results} == {Unavailable}
        return {str(each) for each in results}

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as dead:
        port = dead.sockets[0].getsockname()[1]
        login = Login("uid", "1", "127.0.0.1", port, "boss", "hush", ssl_mode="disable")
        server = connections.Server(login, asyncio.Lock(), lambda: None)
        words = await asked_by(30)
        assert len(came) == 1
        assert await asked_by(30) == words, "the condition changes"
        assert len(came) == 1, "who comes later waits as well"
        server._outage._until = 0.0  # the pause is over
        assert await asked_by(30) == words
        assert len(came) == 2, "nobody, or more than one, looks whether it answers again"
        ends.set()


async def test_a_statement_that_is_late_is_no_outage_of_its_server(sql, monkeypatch):
    """A lock that somebody holds: what has nothing to do with it goes on, and the server works on the statement no more."""
    monkeypatch.setattr(connections, "COMMAND", 0.2)
    there = sql.server
    login = Login("uid", "1", there.host, there.port, there.user, there.password, ssl_mode="disable")
    server = connections.Server(login, asyncio.Lock(), lambda: None)
    for ask in (lambda each: each.rows("SELECT pg_sleep(600)"), lambda each: each.run("SELECT pg_sleep(600)")):
        with pytest.raises(Unavailable, match=r"took more than 0.2 s for a statement"):
            async with server.session() as session:
                await ask(session)
        async with server.session() as session:
            await session.rows("SELECT 1")
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(600)%'"
    assert await sql.value(running) == 0
    await server.close()


async def test_who_holds_a_lock_is_told_and_holds_up_nobody_else(sql, monkeypatch):
    monkeypatch.setattr(connections, "LOCK", 0.05)
    world, held, free = await sql.world(), thing("Role", sql.name("held")), thing("Role", sql.name("free"))
    assert is_ready(await applied(world, held))
    async with sql.connected() as other, other.transaction():
        await other.execute(f'ALTER ROLE "{sql.name("held")}" CREATEDB')
        told = message(await edited(world, held, connectionLimit=3))
        assert "another transaction holds a lock" in told
        assert f"session {other.get_server_pid()} of role {sql.user} (of no name), in a transaction since 2" in told
        assert is_ready(await applied(world, free))
        assert message(await seen(world, held)) == told, "the condition changes"
    await world.settle(seconds=130)
    assert is_ready(await seen(world, held))
    assert await sql.value("SELECT rolconnlimit FROM pg_roles WHERE rolname = $1", sql.name("held")) == 3


async def test_of_many_that_need_a_lock_only_the_first_waits_for_it_for_long(sql, monkeypatch):
    """Who comes next is told as soon as the same transaction is seen to hold it up; who waits for another one has all the patience."""
    name, there = sql.name("held"), sql.server
    await sql.run(f'CREATE ROLE "{name}"', f'CREATE ROLE "{name}-2"')
    login = Login("uid", "1", there.host, there.port, there.user, there.password, ssl_mode="disable")
    server = connections.Server(login, asyncio.Lock(), lambda: None)

    async def change(role):
        async with server.session() as session:
            await session.run(f'ALTER ROLE "{role}" CREATEDB')

    async with sql.connected() as one, one.transaction(), sql.connected() as two:
        other = two.transaction()
        await other.start()
        await one.execute(f'ALTER ROLE "{name}" CREATEROLE')
        await two.execute(f'ALTER ROLE "{name}-2" CREATEROLE')
        monkeypatch.setattr(connections, "LOCK", 0.05)
        with pytest.raises(Waiting, match=f"session {one.get_server_pid()} "):
            await change(name)
        monkeypatch.setattr(connections, "LOCK", 600.0)
        with pytest.raises(Waiting, match=f"session {one.get_server_pid()} "):
            await change(name)
        waiting = asyncio.ensure_future(change(f"{name}-2"))
        seen_ = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))"
        while not await sql.value(seen_, two.get_server_pid()):
            await asyncio.sleep(0.01)
        assert not waiting.done()
        await other.rollback()
        await waiting
    await server.close()


async def test_a_limit_of_a_statement_stays_on_no_connection(sql):
    """Of a pooler's connection the next transaction may be somebody else's."""
    there = sql.server
    login = Login("uid", "1", there.host, there.port, there.user, there.password, ssl_mode="disable")
    server = connections.Server(login, asyncio.Lock(), lambda: None)
    async with server.session() as session:
        for limit, inside in (("lock_timeout", "10s"), ("statement_timeout", "62s")):
            await session.run(f"SELECT set_config('test.limit', current_setting('{limit}'), false)")
            (row,) = await session.rows(
                f"SELECT current_setting('test.limit') AS inside, current_setting('{limit}') AS after"
            )
            assert tuple(row) == (inside, "0")
        await session.run(f'CREATE DATABASE "{sql.name("alone")}"')
        await session.run(f'DROP DATABASE "{sql.name("alone")}" WITH (FORCE)')
    await server.close()


async def test_who_loses_the_lease_while_others_write_writes_nothing_any_more(sql):
    there, gate, writing = sql.server, Gate(is_open=True), asyncio.Lock()
    login = Login("uid", "1", there.host, there.port, there.user, there.password, ssl_mode="disable")
    server, name = connections.Server(login, writing, gate.check), sql.name("late")
    async with server.session() as session, writing:
        late = asyncio.ensure_future(session.run(f'CREATE ROLE "{name}"'))
        await asyncio.sleep(0)
        gate.valid_until = float("-inf")
        writing.release()
        with pytest.raises(NotLeader):
            await late
        await writing.acquire()
    assert not await sql.value("SELECT count(*) FROM pg_roles WHERE rolname = $1", name)
    await server.close()


@pytest.mark.parametrize(
    ("words", "mend"),
    [
        ('database "orders" is not currently accepting connections', "let the database accept connections again"),
        ("pgaudit must be loaded via shared_preload_libraries", "bring it into the state that this takes"),
    ],
)
def test_of_what_is_not_in_its_state_only_a_closed_database_is_to_be_opened(words, mend):
    told = str(faults.of_state("55000", words))
    assert told.startswith(f"{words} (55000). Mend: {mend}")


def test_what_the_driver_says_itself_is_told():
    with (
        pytest.raises(Unavailable, match=r"^connection was closed in the middle of operation \(08003\)"),
        faults.told("db"),
    ):
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


async def test_a_server_that_falls_silent_while_it_is_connected_is_out(sql, monkeypatch):
    """It is asked once more: a new connection has no answer either."""
    monkeypatch.setattr(connections, "COMMAND", 0.2)
    monkeypatch.setattr(connections, "CONNECT", 0.4)
    there, speaks, came, pipes = sql.server, asyncio.Event(), [], set()
    speaks.set()

    async def pipe(reader, writer):
        with contextlib.suppress(ConnectionError):
            while sent := await reader.read(65536):
                await speaks.wait()
                writer.write(sent)
        writer.close()

    async def serve(reader, writer):
        came.append(writer)
        far = await asyncio.open_connection(there.host, there.port)
        pipes.update({asyncio.create_task(pipe(reader, far[1])), asyncio.create_task(pipe(far[0], writer))})

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as front:
        port = front.sockets[0].getsockname()[1]
        login = Login("uid", "1", "127.0.0.1", port, there.user, there.password, ssl_mode="disable")
        server = connections.Server(login, asyncio.Lock(), lambda: None)
        async with server.session() as session:
            await session.rows("SELECT 1")
        speaks.clear()
        with pytest.raises(Unavailable, match="does not answer"):
            async with server.session() as session:
                await session.rows("SELECT 1")
        asked = len(came)
        with pytest.raises(Unavailable, match="does not answer"):
            async with server.session():
                raise AssertionError("it is out")
        assert len(came) == asked, "it is asked at once again"
        speaks.set()
        server._outage._until = 0.0  # the pause is over
        async with server.session() as session:
            await session.rows("SELECT 1")
        await server.close()
        for writer in came:
            writer.close()
        await asyncio.wait(pipes)


async def connected(port):
    import asyncpg

    from groundplane.sql import faults

    with faults.told("127.0.0.1"):
        await asyncpg.connect(host="127.0.0.1", port=port, user="u", password="p", database="d", ssl=False, timeout=5)


def test_a_verifier_of_a_role_s_own_making_is_not_worked_out():
    stored = text.verifier("secret", "me", "scram-sha-256")
    assert text.is_verified("secret", "me", stored)
    begun = time.process_time()
    for rounds in ("30000000", "2147483648", "0", "-1", "x"):
        assert not text.is_verified("secret", "me", stored.replace("4096", rounds))
    assert time.process_time() - begun < 5.0  # one of them alone would take longer


@pytest.mark.parametrize("name", ["public", "none"])
def test_everybody_is_no_role(name):
    with pytest.raises(InvalidInput, match="is no role"):
        text.check_role(name, "spec.forProvider.role")
