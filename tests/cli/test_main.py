"""The command as a whole: what it lists exists, help is cheap, errors are lines."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import re
import resource
import socket
import sqlite3
import ssl
import subprocess
import sys
from contextlib import closing

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from groundplane.cli.main import COMMANDS, main
from groundplane.errors import Unavailable
from groundplane.runtime import operator
from groundplane.runtime.settings import Settings
from tests.cli.platform import groundplane

HEAVY = {"aiohttp", "boto3", "botocore", "kopf", "kubernetes", "pydantic", "rich", "sqlite3", "yaml"}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert re.search(r"Examples?: +\S+ \S+", result.output)


def test_help_lists_every_command_with_what_it_does():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, does in COMMANDS.items():
        assert f"{name} " in result.output
        assert does in result.output


def test_help_imports_nothing_heavy():
    code = "import sys; from groundplane.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "groundplane.errors" in said.splitlines()[-1].split()
    assert not HEAVY & set(said.splitlines()[-1].split())


def test_a_command_that_ends_looks_for_no_garbage_among_all_that_it_has_made():
    """Python's last look is at what is not frozen; it took a fifth of the time of `validate`."""
    code = (
        "import atexit, gc, sys; sys.argv = ['groundplane', *sys.argv[1:]]; "
        "atexit.register(lambda: print(gc.get_freeze_count() > gc.get_count()[0], file=sys.stderr)); "
        "from groundplane.cli.main import main; main()"
    )
    for words, ends in ((["validate", "--help"], "True"), (["run", "--help"], "False")):
        said = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True).stderr
        assert said.splitlines()[-1] == ends, words


@pytest.mark.parametrize(
    "words, tells",
    [
        ("", "Usage:"),
        ("uninstall", "No such command"),
        ("valdate x.yaml", 'No such command "valdate". Mend: did you mean validate?'),
        ("up --bogus", "No such option"),
        ("up --timeout soon x.yaml", "not a valid float"),
        ("get", "Missing argument"),
        ("validate", "Missing argument 'RESOURCES'."),
        (
            "convert pipeline-compositon",
            'No such command "pipeline-compositon". Mend: did you mean pipeline-composition?',
        ),
        ("migrate v3 x", 'No such command "v3". Mend: use one of: check, take-over, v2.'),
        ("explain archive orders", "name the object as KIND/NAME: archive/orders, or files"),
        ("delete", "either KIND NAME or -f FILE"),
        ("run --log-level loud", "Invalid value"),
    ],
)
def test_wrong_usage_is_told_apart_from_what_is_wrong_by_its_exit_code(words, tells):
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 80
    assert tells in result.output


def test_a_deliberate_error_is_one_line_and_exit_code_1(tmp_path):
    result = CliRunner().invoke(main, ["run", "--kubeconfig", str(tmp_path / "absent")])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: no kubeconfig at ")
    assert "Mend: " in result.output
    assert "Traceback" not in result.output


def said(*arguments: object) -> tuple[int, str]:
    """As a person runs it: a process of its own; the exit code, and what it says as errors."""
    command = [sys.executable, "-m", "groundplane.cli.main", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    return done.returncode, done.stderr


def refused(*arguments: object) -> str:
    """The one line that a command ends with, in this process."""
    done = groundplane(*arguments)
    assert done.exit_code == 1, done.output
    line = done.output.splitlines()[-1]
    assert "Mend: " in line
    assert "Traceback" not in done.output
    return line


@pytest.mark.parametrize("words", [["trace", "database", "orders"], ["explain", "database/orders"], ["plan"]])
def test_where_there_is_neither_a_store_nor_a_cluster_both_are_named(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    assert "Mend: name a store of `groundplane up` with --db (there is no ./groundplane.db), or a cluster: " in refused(
        *words
    )
    assert "--db" not in refused(*words, "--kubeconfig", tmp_path / "absent")


CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


@pytest.mark.parametrize(
    "prepare, tells",
    [
        ("CREATE TABLE theirs (x)", "is a SQLite file, and no store of groundplane. Mend: name another file"),
        ("PRAGMA user_version=99", "is of a newer groundplane"),
    ],
)
def test_a_file_that_is_not_this_versions_store_is_one_line_with_its_mend(tmp_path, prepare, tells):
    db = tmp_path / "x.db"
    with closing(sqlite3.connect(db)) as other:
        other.execute(prepare)
        other.commit()
    (tmp_path / "a.yaml").write_text(CONFIG_MAP)
    assert tells in refused("up", tmp_path / "a.yaml", "--once", "--db", db)
    assert tells in refused("get", "cm", "--db", db)
    db.write_text("hello")
    assert "is not a store" in refused("get", "cm", "--db", db)


def test_a_store_that_is_locked_or_on_a_full_disk_is_one_line_with_its_mend(tmp_path, monkeypatch):
    monkeypatch.setattr("groundplane.cluster.store.BUSY", 10)
    monkeypatch.setattr("groundplane.cli.up.GRACE", 0.3)
    (tmp_path / "a.yaml").write_text(CONFIG_MAP)
    up = ("up", tmp_path / "a.yaml", "--once", "--db", tmp_path / "x.db")
    assert groundplane(*up).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "database is locked. Mend: end the process that keeps it locked" in refused(*up)
    (tmp_path / "a.yaml").write_text(CONFIG_MAP + f"data: {{x: {'x' * 100_000}}}\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        full = groundplane(*up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.exit_code == 1
    assert "ConfigMap default/a waits: " in full.output
    assert "Mend: make room on that disk" in full.output


def test_a_folder_that_this_user_may_not_look_into_is_one_line_with_its_mend(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir(mode=0)
    user = os.geteuid()
    try:
        if not user:
            os.seteuid(65534)  # the rights of files do not bind root
        line = refused("up", folder, "--once", "--db", tmp_path / "x.db")
    finally:
        os.seteuid(user)
    assert "Permission denied. Mend: " in line


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: x}}]
current-context: a
"""


@pytest.mark.parametrize(
    "old, new, tells",
    [
        ('"https://127.0.0.1:1"', "nonsense", "is no address of an API server"),
        ("server:", 'certificate-authority-data: "%%%", server:', "certificate-authority-data is not base64"),
        ("server:", "certificate-authority: /nowhere/ca.crt, server:", "can't read certificate-authority"),
        ("current-context: a", "current-context: b", "use one of: a"),
    ],
)
def test_a_kubeconfig_that_cannot_work_is_one_line_with_its_mend(tmp_path, old, new, tells):
    file = tmp_path / "config"
    file.write_text(KUBECONFIG.replace(old, new))
    assert tells in refused("run", "--kubeconfig", file, "--health-host", "127.0.0.1", "--health-port", 0)


async def test_an_api_server_that_stays_away_ends_it_with_the_address_and_the_cause(tmp_path, monkeypatch):
    monkeypatch.setattr("groundplane.runtime.operator.START_PATIENCE", 0.0)
    (tmp_path / "config").write_text(KUBECONFIG)
    with pytest.raises(Unavailable) as raised:
        await operator.run(Settings(kubeconfig=str(tmp_path / "config"), health_host="127.0.0.1", health_port=0))
    assert str(raised.value).startswith("can't reach the API server at https://127.0.0.1:1: Connection refused. Mend: ")


async def test_an_expired_certificate_ends_it_at_once(tmp_path):
    expired_certificate(tmp_path / "server.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "server.pem")
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    cluster = f'certificate-authority: server.pem, server: "https://127.0.0.1:{port}"'
    (tmp_path / "config").write_text(KUBECONFIG.replace('server: "https://127.0.0.1:1"', cluster))
    async with server:
        with pytest.raises(Unavailable) as raised:
            await operator.run(Settings(kubeconfig=str(tmp_path / "config"), health_host="127.0.0.1", health_port=0))
    assert "certificate has expired. Mend: renew the certificate" in str(raised.value)


def expired_certificate(path):
    """A certificate for 127.0.0.1 that ended yesterday, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now - datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*form))


def test_a_port_in_use_is_one_line_with_its_mend(tmp_path):
    (tmp_path / "config").write_text(KUBECONFIG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, error = said(
            "run", "--kubeconfig", tmp_path / "config", "--health-host", "127.0.0.1", "--health-port", port
        )
    assert (code, len(error.splitlines())) == (1, 1), error
    assert f"can't listen on 127.0.0.1:{port}" in error
    assert "Mend: name a free port with --health-port" in error


def test_what_the_machine_refuses_is_one_line_with_its_mend(tmp_path):
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    for command in (
        ("up", tmp_path / "a.yaml", "--once", "--db", tmp_path / "nowhere" / "x.db"),
        ("crds", "--output", tmp_path / "a.yaml" / "crds"),
    ):
        assert "-lock" not in refused(*command), "not the file that was named"
