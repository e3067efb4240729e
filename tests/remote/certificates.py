"""Certificates as Crossplane's core makes them: an authority, and folders of who is signed by it."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """Signs.  With the command openssl: nothing that we ship makes certificates."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._key, self._crt = folder / "ca.key", folder / "ca.crt"
        self._run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=Crossplane"
            f" -keyout {self._key} -out {self._crt}"
        )

    @property
    def certificate(self) -> bytes:
        return self._crt.read_bytes()

    def sign(self, name: str, *hosts: str) -> Path:
        """A folder with tls.key, tls.crt and ca.crt."""
        folder = self._folder / name
        folder.mkdir()
        request, extensions = folder / "tls.csr", folder / "san"
        self._run(
            f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {folder}/tls.key -out {request}"
        )
        names = ",".join(f"DNS:{host}" for host in hosts or [name])
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._run(
            f"x509 -req -in {request} -CA {self._crt} -CAkey {self._key} -CAcreateserial -days 2"
            f" -extfile {extensions} -out {folder}/tls.crt"
        )
        (folder / "ca.crt").write_bytes(self.certificate)
        return folder

    def _run(self, arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments.split()], capture_output=True, text=True, cwd=self._folder)
        assert done.returncode == 0, done.stderr


def data_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("ca.crt", "tls.crt", "tls.key")}
