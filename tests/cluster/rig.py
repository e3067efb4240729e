"""A real control plane for tests and for `make cluster`: etcd, kube-apiserver and kube-controller-manager on loopback.

    with ControlPlane() as plane:
        plane.kubectl("get", "namespaces")

Each has its own ports and data folder.  What it starts ends with it: at `stop`, and also when this process dies,
for then a watchdog that reads a pipe from it ends the rest.  No kubelet: Pods stay pending.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster import build
from tests.cluster.direct import Direct, Unknown
from tests.ports import free_port

T = TypeVar("T")

READY = 90.0  # seconds for a start; 3 on an idle machine with two cores
PATIENCE = 180.0  # seconds until a state counts as one that will never come: long, since a busy machine is no fault
# The collector of garbage of Go's programs takes a fourth of their CPU time; it gets memory instead, up to a limit, since three control planes may run.
SERVER = {"GOGC": "400", "GOMEMLIMIT": "1500MiB"}
COMMAND = {"GOGC": "off"}  # what ends in a moment needs none
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "clusterrole-aggregation-controller",
)
USERS = {  # user: groups.  The token is the name with "-token"
    "admin": "system:masters",
    "operator": "system:masters",
    "nobody": "",  # authenticated, allowed nothing
}
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
# One line in: "+<process group>" started, "-<process group>" ended.  End of file: the starter is gone.
WATCHDOG = """
import os, shutil, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try: os.killpg(group, signal.SIGKILL)
    except ProcessLookupError: pass
if groups: shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class ControlPlane:
    """A Kubernetes API with garbage collection and namespaces; a context manager.

    `kubeconfig` is the admin's; `kubeconfig_of` gives the other users'.  `folder` holds the logs
    (`<program>.log`) and, with `audit`, the requests (`audit.jsonl`).
    """

    def __init__(self, *, audit: bool = False, controllers: tuple[str, ...] = ()) -> None:
        """`controllers` run beside those that always do."""
        self.folder = Path(tempfile.mkdtemp(prefix="groundplane-cluster-"))
        self.audit, self._controllers = audit, (*CONTROLLERS, *controllers)
        self.bin = build.binaries()
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.server = ""
        self._commands: dict[str, list[str]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watchdog: subprocess.Popen[str] | None = None
        self._direct: Direct | None = None
        self._requests: list[dict[str, Any]] = []  # of the audit log, as far as it was read
        self._audited = 0  # bytes

    def __enter__(self) -> ControlPlane:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return when the API is ready."""
        self._watchdog = subprocess.Popen(
            [sys.executable, "-IS", "-c", WATCHDOG, str(self.folder)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; the watchdog must outlive it
        )
        client, peer, secure = free_port(), free_port(), free_port()
        self.server = f"https://127.0.0.1:{secure}"
        self._direct = Direct(self.server, self._authority, "admin-token")
        self._write_files()
        self._commands = self._command_lines(client, peer, secure)
        self._run("etcd")
        self.start_api_server()
        for user in USERS:
            self.kubeconfig_of(user)
        self._run("kube-controller-manager")

    def stop(self) -> None:
        """End what was started, at once (its data goes with it), and remove the folder."""
        if self._direct:
            self._direct.close()
        for name in reversed(list(self._processes)):
            self._end(name)
        if self._watchdog and self._watchdog.stdin:
            self._watchdog.stdin.close()
            self._watchdog.wait()
            self._watchdog = None
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- faults ---------------------------------------------------------------------------------------

    def start_api_server(self) -> None:
        self._run("kube-apiserver")
        self.wait("the API server is ready", self.is_ready, seconds=READY)

    def kill_api_server(self) -> None:
        """As a crash would: connections break, nothing is said."""
        self._end("kube-apiserver")

    def restart_api_server(self) -> None:
        self.kill_api_server()
        self.start_api_server()

    def restart_controller_manager(self) -> None:
        """The garbage collector learns of new kinds each 30 s (no flag changes that), and at its start: at once."""
        self._end("kube-controller-manager")
        self._run("kube-controller-manager")

    @contextlib.contextmanager
    def slow_controllers(self) -> Iterator[None]:
        """They see nothing of what happens meanwhile until it is over, as on a very busy day."""
        manager = self._processes["kube-controller-manager"]
        manager.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            manager.send_signal(signal.SIGCONT)

    # --- use --------------------------------------------------------------------------------------------

    def kubectl(
        self, *args: object, input: str | None = None, check: bool = True, user: str = "admin"
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl; with `check` a failure is an error that carries what kubectl said."""
        command = [str(self.bin / "kubectl"), "--kubeconfig", str(self.kubeconfig_of(user)), *map(str, args)]
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)} | COMMAND
        done = subprocess.run(command, capture_output=True, text=True, input=input, env=environment)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, args))}: {done.stderr.strip()}")
        return done

    def forget_kinds(self) -> None:
        """Have kubectl ask anew which kinds there are: it takes a short name for that of a kind that has gone."""
        shutil.rmtree(self.folder / ".kube", ignore_errors=True)

    def apply(self, *objects: dict[str, Any]) -> None:
        """`kubectl apply --server-side` of objects as they are in YAML."""
        assert self._direct
        for obj in objects:
            self._direct.apply(obj)

    def get(self, *args: object) -> Any:
        """`kubectl get … -o json`, or None if it fails, as for what is not there."""
        assert self._direct
        with contextlib.suppress(Unknown):
            return self._direct.get(*args)
        done = self.kubectl("get", *args, "-o", "json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def judge(self, obj: dict[str, Any]) -> tuple[Any, str]:
        """`kubectl create --dry-run=server`: what would be stored, and ""; or None, and why it is refused."""
        assert self._direct
        return self._direct.judge(obj)

    def columns(self, kind: str, *, wide: bool = False) -> list[str]:
        """What `kubectl get` prints above a kind's objects."""
        assert self._direct
        return self._direct.columns(kind, wide=wide)

    def install(self, *crds: dict[str, Any]) -> None:
        """Apply CustomResourceDefinitions, and return when their kinds are served.  As few as a test needs: each takes the API server a while."""
        self.apply(*crds)
        self.wait_for_kinds(*(crd["metadata"]["name"] for crd in crds))

    def wait_for_kinds(self, *names: str) -> None:
        """Until these CustomResourceDefinitions are served, or all that there are."""
        for name in names or [crd["metadata"]["name"] for crd in self.get("crds")["items"]]:
            self.wait(f"{name} is served", lambda name=name: self._is_served(name))

    def _is_served(self, name: str) -> bool:
        """Established, and known to whoever looks for it: that comes a moment later."""
        crd = self.get("crd", name) or {}
        conditions = crd.get("status", {}).get("conditions") or ()
        if not any((each["type"], each["status"]) == ("Established", "True") for each in conditions):
            return False
        plural, _, group = name.partition(".")
        return all(
            self.get(f"{plural}.{v['name']}.{group}") is not None for v in crd["spec"]["versions"] if v["served"]
        )

    def wait(self, what: str, condition: Callable[[], T], *, seconds: float = PATIENCE) -> T:
        """Ask until the answer is true; the answer.  Fails with `what` and the API server's last words."""
        deadline = time.monotonic() + seconds
        pause = 0.02
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self._last_words()}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)
        return value

    def is_ready(self) -> bool:
        self._check_alive()
        request = urllib.request.Request(f"{self.server}/readyz", headers={"Authorization": "Bearer admin-token"})
        try:
            with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self._authority), timeout=5):
                return True
        except (urllib.error.URLError, OSError):  # not there yet, not ready yet, or its certificate not yet written
            return False

    def kubeconfig_of(self, user: str) -> Path:
        """The path of a kubeconfig for one of USERS."""
        path = self.folder / f"{user}.kubeconfig"
        if not path.exists():
            self._write_kubeconfig(path, f"{user}-token")
        return path

    def kubeconfig_of_account(self, namespace: str, name: str) -> Path:
        """The path of a kubeconfig with a fresh token of a ServiceAccount, which RBAC alone authorises."""
        path = self.folder / f"{namespace}.{name}.kubeconfig"
        self._write_kubeconfig(path, self.kubectl("create", "token", name, "-n", namespace).stdout.strip())
        return path

    def pids(self) -> list[int]:
        """The processes that serve it, the watchdog not among them."""
        return [process.pid for process in self._processes.values()]

    def requests(self) -> list[dict[str, Any]]:
        """The audit log, oldest first (only with `audit`)."""
        with (self.folder / "audit.jsonl").open("rb") as log:
            log.seek(self._audited)
            *lines, rest = log.read().split(b"\n")
            self._audited = log.tell() - len(rest)
        self._requests += map(json.loads, lines)
        return list(self._requests)

    # --- processes ----------------------------------------------------------------------------------------

    @property
    def _authority(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"

    def _write_kubeconfig(self, path: Path, token: str) -> None:
        cluster = {"server": self.server, "certificate-authority": str(self._authority)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(config, indent=1))
        path.chmod(0o600)

    def _write_files(self) -> None:
        tokens = [f'{name}-token,{name},{name},"{groups}"' for name, groups in USERS.items()]
        (self.folder / "tokens.csv").write_text("\n".join(tokens) + "\n")
        (self.folder / "audit.yaml").write_text(json.dumps(AUDIT_POLICY))
        command = ["openssl", "genrsa", "-out", str(self.folder / "accounts.key"), "2048"]
        subprocess.run(command, check=True, capture_output=True)

    def _command_lines(self, client: int, peer: int, secure: int) -> dict[str, list[str]]:
        folder, client_url, peer_url = self.folder, f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        api_server = {
            "etcd-servers": client_url,
            "secure-port": secure,
            "bind-address": "127.0.0.1",
            "cert-dir": folder / "certificates",
            "service-account-key-file": folder / "accounts.key",
            "service-account-signing-key-file": folder / "accounts.key",
            "service-account-issuer": "https://kubernetes.default.svc",
            "token-auth-file": folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.0.0.0/24",
            "disable-admission-plugins": "ServiceAccount",  # else Pods need a controller that is not there
            "enable-admission-plugins": "OwnerReferencesPermissionEnforcement",  # as on OpenShift: who owns needs rights
            "endpoint-reconciler-type": "none",
            "shutdown-delay-duration": "0s",
        }
        if self.audit:
            api_server |= {
                "audit-policy-file": folder / "audit.yaml",
                "audit-log-path": folder / "audit.jsonl",
            }
        etcd = {
            "data-dir": folder / "etcd",
            "listen-client-urls": client_url,
            "advertise-client-urls": client_url,
            "listen-peer-urls": peer_url,
            "initial-advertise-peer-urls": peer_url,
            "initial-cluster": f"default={peer_url}",
            "unsafe-no-fsync": "true",  # nobody needs this data after a power cut
            "log-level": "error",
        }
        manager = {
            "kubeconfig": self.kubeconfig,
            "service-account-private-key-file": folder / "accounts.key",
            "controllers": ",".join(self._controllers),
            "leader-elect": "false",
            "secure-port": "0",
        }
        lines = {"etcd": etcd, "kube-apiserver": api_server, "kube-controller-manager": manager}
        return {
            name: [str(self.bin / name), *(f"--{flag}={value}" for flag, value in flags.items())]
            for name, flags in lines.items()
        }

    def _run(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self._commands[name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | SERVER,
                start_new_session=True,
            )
        self._processes[name] = process
        self._tell(f"+{process.pid}")

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.kill()  # asked politely, an API server takes seconds for its open watches
            process.wait()
            self._tell(f"-{process.pid}")

    def _tell(self, line: str) -> None:
        if self._watchdog and self._watchdog.stdin:
            print(line, file=self._watchdog.stdin, flush=True)

    def _check_alive(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}\n{self._last_words(name)}")

    def _last_words(self, name: str = "kube-apiserver") -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
        return ""
