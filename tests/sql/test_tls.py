"""How far a server must prove itself, in each sslMode: against a server that speaks TLS, and refuses the password then."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from groundplane.errors import Denied, InvalidInput
from groundplane.sql.account import Login
from groundplane.sql.server import Servers
from tests.remote.certificates import Authority

REFUSAL = b"SFATAL\0VFATAL\0C28P01\0Mno such password\0\0"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def folders(authority):
    return {name: authority.sign(name, name) for name in ("localhost", "elsewhere")}


async def served(folder):
    """A listener that is as PostgreSQL until it has refused a login; without a folder it has no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if folder:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")

    async def answer(reader, writer):
        try:
            await reader.readexactly(8)  # SSLRequest
            writer.write(b"S" if folder else b"N")
            if folder:
                await writer.start_tls(context)
            await reader.read(1)
            writer.write(b"E" + (len(REFUSAL) + 4).to_bytes(4, "big") + REFUSAL)
            await writer.drain()
        except (ssl.SSLError, OSError, EOFError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("mode", "name", "trusts", "comes_through"),
    [
        ("require", "localhost", False, True),
        ("require", "elsewhere", False, True),
        ("require", "", False, False),
        ("verify-ca", "elsewhere", True, True),
        ("verify-ca", "localhost", False, False),
        ("verify-full", "localhost", True, True),
        ("verify-full", "elsewhere", True, False),
        ("verify-full", "localhost", False, False),
        ("verify-full", "", True, False),
    ],
)
async def test_each_mode_trusts_whom_it_says_and_none_speaks_in_plain_text(
    authority, folders, mode, name, trusts, comes_through
):
    listener = await served(folders.get(name))
    port = listener.sockets[0].getsockname()[1]
    ca = authority.certificate.decode() if trusts else ""
    login = Login("1", "1", "localhost", port, "boss", "hush", ssl_mode=mode, ca=ca)
    server = await Servers(lambda: None).of(login)
    expected = (Denied, "28P01") if comes_through else (InvalidInput, "certificate|has no TLS")
    try:
        with pytest.raises(expected[0], match=expected[1]):
            async with server.session():
                pass
    finally:
        listener.close()
        await listener.wait_closed()
