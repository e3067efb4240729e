"""Ways to find and enter an API server: what a kubeconfig says, and what a login program gives."""

from __future__ import annotations

import base64
import dataclasses
import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from groundplane.cluster import credentials
from groundplane.cluster.client import Api
from groundplane.errors import Denied, InvalidInput, Unavailable
from tests.cluster.rig import ControlPlane
from tests.contracts.scripted import serving

SERVER = "https://api.example.org:6443"


def kubeconfig(folder: Path, user: dict, *, name: str = "config", **cluster: object) -> str:
    path = folder / name
    config = {
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": SERVER + "/", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


def plugin(folder: Path, status: dict) -> dict:
    """A user whose credentials come from a program."""
    program, version = folder / "login", "client.authentication.k8s.io/v1"
    answer = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o700)
    return {"exec": {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}}


def test_a_token_is_the_bearer_of_each_request(tmp_path):
    access = credentials.load(kubeconfig(tmp_path, {"token": "t0p"}))
    assert (access.server, access.authorization) == (SERVER, "Bearer t0p")
    assert "t0p" not in repr(access)


def test_a_user_with_a_password_logs_in_with_both(tmp_path):
    access = credentials.load(kubeconfig(tmp_path, {"username": "ann", "password": "x:y"}))
    assert access.authorization == "Basic " + base64.b64encode(b"ann:x:y").decode()


def test_files_are_found_beside_the_kubeconfig(tmp_path):
    (tmp_path / "ca.pem").write_text("authority")
    path = kubeconfig(tmp_path, {"tokenFile": "token"}, **{"certificate-authority": "ca.pem"})
    access = credentials.load(path)
    assert (access.authority, access.token_file) == (b"authority", tmp_path / "token")


def test_data_in_the_kubeconfig_is_decoded(tmp_path):
    user = {f"client-{name}-data": base64.b64encode(name.encode()).decode() for name in ("certificate", "key")}
    access = credentials.load(kubeconfig(tmp_path, user))
    assert (access.certificate, access.private_key) == (b"certificate", b"key")


def test_an_insecure_server_is_not_verified_and_any_other_is(tmp_path):
    trusting = credentials.load(kubeconfig(tmp_path, {}, **{"insecure-skip-tls-verify": True}))
    assert credentials.ssl_context(trusting).verify_mode == ssl.CERT_NONE
    careful = credentials.load(kubeconfig(tmp_path, {}))
    assert credentials.ssl_context(careful).verify_mode == ssl.CERT_REQUIRED


def test_the_kubeconfig_of_the_environment_is_used_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, {"token": "from the environment"}))
    assert credentials.load().authorization == "Bearer from the environment"


def test_in_a_pod_the_service_account_is_used(tmp_path, monkeypatch):
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text(name)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", tmp_path)
    access = credentials.load()
    assert (access.server, access.authority) == ("https://[fd00::1]:443", b"ca.crt")
    assert access.token_file == tmp_path / "token"


def test_a_login_program_gives_the_token(tmp_path):
    access = credentials.load(kubeconfig(tmp_path, plugin(tmp_path, {"token": "fresh"})))
    assert (access.server, access.authorization) == (SERVER, "Bearer fresh")


def test_a_login_program_may_give_a_certificate(tmp_path):
    pair = {"clientCertificateData": "certificate", "clientKeyData": "key"}
    access = credentials.load(kubeconfig(tmp_path, plugin(tmp_path, pair)))
    assert (access.certificate, access.private_key) == (b"certificate", b"key")


def test_a_login_program_that_fails_is_a_lack_of_credentials(tmp_path):
    path = kubeconfig(tmp_path, plugin(tmp_path, {}))
    with pytest.raises(Denied, match="no credentials"):
        credentials.load(path)


@pytest.mark.parametrize("several", [False, True])
def test_where_the_package_for_login_programs_is_not_installed_as_in_the_image_that_is_said(tmp_path, several):
    first = kubeconfig(tmp_path, plugin(tmp_path, {"token": "fresh"}))
    named = f"{first}:{kubeconfig(tmp_path, {}, name='second')}" if several else first
    program = """
import sys
sys.modules["kubernetes"] = None
from groundplane.cluster import credentials
from groundplane.errors import InvalidInput
try:
    credentials.load(sys.argv[1])
except InvalidInput as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, named], capture_output=True, text=True)
    assert (
        "needs a login program or a merge of files, and so the Python package kubernetes, which is not here"
        in done.stdout
    )
    assert "Mend: give one file with a token" in done.stdout


def test_several_kubeconfigs_are_merged(tmp_path, monkeypatch):
    first = tmp_path / "first"
    first.write_text(yaml.safe_dump({"current-context": "main", "users": [{"name": "u", "user": {"token": "first"}}]}))
    second = kubeconfig(tmp_path, {"token": "second"}, name="second")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path}/nothing:{second}")
    access = credentials.load()
    assert (access.server, access.authorization) == (SERVER, "Bearer first")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda config: config.update({"current-context": "prod"}), 'no context "prod". Mend: use one of: main'),
        (lambda config: config.update(clusters=[]), 'no cluster "c". Mend: add one'),
        (lambda config: config["clusters"][0]["cluster"].pop("server"), "has no server"),
        (lambda config: config["users"].pop(), 'no user "u"'),
    ],
)
def test_a_kubeconfig_that_lacks_something_says_what(tmp_path, change, says):
    path = Path(kubeconfig(tmp_path, {"token": "secret"}))
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(InvalidInput) as raised:
        credentials.load(str(path))
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("text", ["a: [", "just words", ""])
def test_a_file_that_is_no_kubeconfig_is_told_so(tmp_path, text):
    (tmp_path / "config").write_text(text)
    with pytest.raises(InvalidInput):
        credentials.load(str(tmp_path / "config"))


def test_no_configuration_at_all_is_told_with_the_places_searched(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InvalidInput, match="no kubeconfig at"):
        credentials.load()


def test_a_client_certificate_that_is_none_is_told_and_its_key_is_not(tmp_path):
    user = {f"client-{name}-data": base64.b64encode(b"nonsense").decode() for name in ("certificate", "key")}
    access = credentials.load(kubeconfig(tmp_path, user))
    with pytest.raises(InvalidInput, match="not valid PEM") as raised:
        credentials.ssl_context(access)
    assert "nonsense" not in str(raised.value)


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    make += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    return certificate, key


async def test_a_client_certificate_is_shown_to_the_server(pair):
    """A server that demands one, and that trusts the one certificate that both sides have."""
    certificate, key = pair
    demanding = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate)
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_cert_chain(certificate, key)
    async with serving(demanding) as server:
        known = credentials.Access(server.url, authority=certificate.read_bytes())
        for own in (certificate.read_bytes(), b""):
            api = Api(dataclasses.replace(known, certificate=own, private_key=key.read_bytes() if own else b""))
            if own:
                assert (await api.request("GET", "/version"))[0] == 200
            else:
                with pytest.raises(Unavailable):
                    await api.request("POST", "/version")
            await api.close()


async def test_a_server_whose_certificate_is_of_another_authority_is_not_spoken_to(control_plane: ControlPlane):
    access = credentials.load(str(control_plane.kubeconfig))
    api = Api(dataclasses.replace(access, authority=b""))
    with pytest.raises(Unavailable):
        await api.request("POST", "/version")
    await api.close()
    api = Api(access)
    assert (await api.request("GET", "/version"))[1]["gitVersion"].startswith("v1.")
    await api.close()
