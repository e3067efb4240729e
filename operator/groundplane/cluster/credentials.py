"""Where the API server is and how to log in: kubeconfig, or the service account of a Pod.

Tokens, token files, client certificates and passwords are read here.  What needs a program or a login provider
(`exec`, `auth-provider`) or a merge of several files is left to the `kubernetes` package, in a short-lived process
of its own: imported here it would cost 20 MiB and half a second for good (measured, version 37).  The image does without it.
Source: client-go tools/clientcmd, `ClientConfig` (precedence) and `api/v1.AuthInfo` (fields).
"""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import yaml

from groundplane.errors import Denied, InvalidInput, shown

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_FILE_AGE = 60.0  # seconds until a token file is read again: the kubelet rotates them
PLUGIN_PATIENCE = 60.0  # seconds for a login program
DEFAULT = "~/.kube/config"
LONGEST = 64 * 1024  # bytes of a kubeconfig that somebody has handed us
DEEPEST = 16  # levels of it
MOST_PARTS = 5_000  # names, values, lists and maps of it
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ADDRESS = re.compile(r"https?://[^/\s]+")


class NoKubeconfig(InvalidInput):
    """Nothing says where an API server is."""


@dataclass(frozen=True)
class Access:
    """One way into one API server.  Never printed: it holds secrets."""

    server: str  # https://host:port, with no slash at the end
    authorization: str = field(default="", repr=False)  # the header's value
    token_file: Path | None = None
    authority: bytes = field(default=b"", repr=False)  # PEM; empty: what the system trusts
    certificate: bytes = field(default=b"", repr=False)  # PEM
    private_key: bytes = field(default=b"", repr=False)  # PEM
    verify: bool = True
    server_name: str = ""  # that the certificate must be for, if not the host
    proxy: str = ""
    cluster: str = ""  # what the kubeconfig calls it


def load(kubeconfig: str | None = None, context: str | None = None) -> Access:
    """Find the API server: the given file, else $KUBECONFIG, else ~/.kube/config, else the Pod's service account.

    May run the login program that the kubeconfig names.

    Raises:
        NoKubeconfig: there is none.
        InvalidInput: it is incomplete.
        Denied: the login program or provider gave no credentials.
    """
    named = kubeconfig or os.environ.get("KUBECONFIG") or ""
    paths = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    if not paths:
        home = Path(DEFAULT).expanduser()
        if not home.is_file() and (SERVICE_ACCOUNT / "token").is_file():
            return _in_cluster()
        paths = [home]
    present = [path for path in paths if path.is_file()]
    if not present:
        raise NoKubeconfig(
            f"no kubeconfig at {', '.join(map(str, paths))}",
            mend="name one with --kubeconfig or $KUBECONFIG, or run in a Pod with a service account",
        )
    if len(present) > 1:
        return _by_package(os.pathsep.join(map(str, present)), context)
    return _from_file(present[0], context)


def parse(kubeconfig: bytes, *, logs_in: bool = True) -> Access:
    """The way that a kubeconfig tells which somebody has handed us: no program of it is run, and no file that it names is read.

    Without `logs_in` its user is not looked at: who we are is told otherwise.

    Raises:
        InvalidInput: it is none, is incomplete, or needs a program or a file.
    """
    if len(kubeconfig) > LONGEST:
        raise InvalidInput(
            f"the kubeconfig is longer than {LONGEST // 1024} KiB",
            mend="leave in it what `kubectl config view --raw --minify --flatten` prints",
        )
    try:
        text = kubeconfig.decode()
        _check_plain(text)
        return _from_text(text, "the kubeconfig", None, None, logs_in=logs_in)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "the kubeconfig is not text", mend="store it as `kubectl config view --raw` prints it"
        ) from error


def _check_plain(text: str) -> None:
    """Raise InvalidInput for a text that is costly to read for its length: with aliases, which are merged, too, or nested without an end."""
    depth = 0
    try:
        for count, event in enumerate(yaml.parse(text, _Loader)):
            if count > MOST_PARTS:
                raise InvalidInput(
                    "the kubeconfig has too many entries",
                    mend="leave in it what `kubectl config view --raw --minify --flatten` prints",
                )
            if isinstance(event, yaml.AliasEvent):
                raise InvalidInput("the kubeconfig has YAML aliases", mend="write out what they stand for")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise InvalidInput(
                    "the kubeconfig is nested too deep", mend="store it as `kubectl config view --raw` prints it"
                )
    except yaml.YAMLError as error:
        raise InvalidInput("the kubeconfig is not YAML", mend="compare it with `kubectl config view`") from error


def ssl_context(access: Access) -> ssl.SSLContext:
    """What a connection to the server must prove and show.  Raises InvalidInput for what is no PEM."""
    try:
        result = ssl.create_default_context(cadata=access.authority.decode() if access.authority else None)
        if not access.verify:
            result.check_hostname = False
            result.verify_mode = ssl.CERT_NONE
        if access.certificate:
            with tempfile.NamedTemporaryFile() as pem:  # ssl reads files only; this one is ours alone and short-lived
                pem.write(access.certificate + b"\n" + access.private_key)
                pem.flush()
                result.load_cert_chain(pem.name)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        mend = "compare it with `kubectl config view --raw`"
        raise InvalidInput(f"a certificate or key for {access.server} is not valid PEM", mend=mend) from error
    return result


def _in_cluster() -> Access:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        token_file=SERVICE_ACCOUNT / "token",
        authority=(SERVICE_ACCOUNT / "ca.crt").read_bytes(),
    )


def _from_file(path: Path, context: str | None) -> Access:
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not YAML", mend="compare it with `kubectl config view`") from error
    return _from_text(text, path, path.parent, context)


def _from_text(
    text: str, path: Path | str, folder: Path | None, context: str | None, *, logs_in: bool = True
) -> Access:
    """`path` names it; without a `folder`, it is somebody else's, and may name no file and no program."""
    try:
        config = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"{path} is not YAML", mend="compare it with `kubectl config view`") from error
    if not isinstance(config, dict):
        raise InvalidInput(f"{path} is not a kubeconfig", mend="compare it with `kubectl config view`")
    try:
        return _of_config(config, path, folder, context, logs_in=logs_in)
    except (AttributeError, TypeError) as error:  # a list where a map belongs
        raise InvalidInput(f"{path} is not a kubeconfig", mend="compare it with `kubectl config view`") from error


def _of_config(
    config: dict[str, Any], path: Path | str, folder: Path | None, context: str | None, *, logs_in: bool
) -> Access:
    wanted = context or config.get("current-context") or ""
    chosen = _named(config, "contexts", "context", wanted, path)
    cluster = _named(config, "clusters", "cluster", chosen.get("cluster") or "", path)
    has_user = logs_in and chosen.get("user")
    user = _named(config, "users", "user", chosen.get("user") or "", path) if has_user else {}
    if "exec" in user or "auth-provider" in user:
        if folder is None:
            raise InvalidInput(
                f"user {shown(chosen.get('user'))} of {path} logs in with a program, which is not run",
                mend="give it a token or client-certificate-data and client-key-data: those of a ServiceAccount, say",
            )
        return _by_package(str(path), context)
    server = cluster.get("server")
    if not isinstance(server, str) or not server:
        raise InvalidInput(
            f"{path}: the cluster of context {wanted} has no server", mend="add clusters[].cluster.server"
        )
    if not _is_address(server):
        what = shown(server) if folder else "cluster.server"
        raise InvalidInput(
            f"{path}: {what} is no address of an API server", mend="write https://HOST:PORT as cluster.server"
        )
    token_file = user.get("tokenFile")
    if token_file and folder is None:
        raise _names_file(path, "tokenFile", "token")
    return Access(
        server=server.rstrip("/"),
        authorization=_authorization(user),
        token_file=folder / token_file if token_file and folder else None,
        authority=_pem(cluster, "certificate-authority", path, folder),
        certificate=_pem(user, "client-certificate", path, folder),
        private_key=_pem(user, "client-key", path, folder),
        verify=not cluster.get("insecure-skip-tls-verify"),
        server_name=cluster.get("tls-server-name") or "",
        proxy=cluster.get("proxy-url") or "",
        cluster=str(chosen.get("cluster") or ""),
    )


def _is_address(server: str) -> bool:
    try:
        return bool(_ADDRESS.match(server)) and (urlsplit(server).port or 443) > 0
    except ValueError:
        return False


def _names_file(path: Path | str, name: str, instead: str) -> InvalidInput:
    return InvalidInput(f"{path} names a file in {name}, which is not read", mend=f"put its contents into {instead}")


def _named(config: Mapping[str, Any], section: str, item: str, name: str, path: Path | str) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            found: dict[str, Any] = entry.get(item) or {}
            return found
    known = ", ".join(sorted(str(entry.get("name")) for entry in config.get(section) or ()))
    mend = f"use one of: {known}" if known else f"add one to {path}"
    raise InvalidInput(f'{path} has no {item} "{name}"', mend=mend)


def _authorization(user: Mapping[str, Any]) -> str:
    if user.get("token"):
        token = str(user["token"]).strip()
        if not token.isascii() or not token.isprintable():
            raise InvalidInput("the token of the kubeconfig is none", mend="store it as one line of ASCII")
        return f"Bearer {token}"
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return ""


def _pem(section: Mapping[str, Any], name: str, path: Path | str, folder: Path | None) -> bytes:
    """The data in the file itself, or in the file that it names, relative to its own folder."""
    if data := section.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except ValueError as error:
            raise InvalidInput(
                f"{path}: {name}-data is not base64", mend="compare it with `kubectl config view --raw`"
            ) from error
    if named := section.get(name):
        if folder is None:
            raise _names_file(path, name, f"{name}-data")
        try:
            return (folder / str(named)).read_bytes()
        except OSError as error:
            raise InvalidInput(f"{path}: can't read {name} {named}", mend="mend the path or the rights") from error
    return b""


def _by_package(paths: str, context: str | None) -> Access:
    if importlib.util.find_spec("kubernetes") is None:
        raise InvalidInput(
            f"{paths} needs a login program or a merge of files, and so the Python package kubernetes, which is not here",
            mend="give one file with a token or a client certificate, install the package, or, in a Pod, leave it to its ServiceAccount",
        )
    command = [sys.executable, "-m", __name__, paths, context or ""]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PLUGIN_PATIENCE, check=True)
        found = orjson.loads(done.stdout)
    except (subprocess.SubprocessError, orjson.JSONDecodeError) as error:
        raise Denied(f"no credentials from {paths}", mend="try `kubectl get namespaces` with it") from error
    if not found["authorization"] and not found["certificate"]:
        raise Denied(f"no credentials from {paths}", mend="try `kubectl get namespaces` with it")
    for name in ("authority", "certificate", "private_key"):
        found[name] = base64.b64decode(found[name])
    return Access(**found)


def _print_by_package(paths: str, context: str) -> None:
    """The child process of `_by_package`: what the `kubernetes` package makes of it, as JSON on stdout."""
    from kubernetes import client, config

    configuration = client.Configuration()
    read: Callable[..., None] = config.load_kube_config
    read(config_file=paths, context=context or None, client_configuration=configuration)
    loaded = {
        "server": configuration.host,
        "authorization": configuration.get_api_key_with_prefix("BearerToken") or "",
        "authority": _encoded(configuration.ssl_ca_cert),
        "certificate": _encoded(configuration.cert_file),
        "private_key": _encoded(configuration.key_file),
        "verify": configuration.verify_ssl,
        "server_name": configuration.tls_server_name or "",
        "proxy": configuration.proxy or "",
    }
    sys.stdout.buffer.write(orjson.dumps(loaded))


def _encoded(path: str | None) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode() if path else ""


if __name__ == "__main__":
    _print_by_package(sys.argv[1], sys.argv[2])
