"""A webhook that takes every call and answers none, until the API server gives it up: after ten seconds, in which its TLS must have begun."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any


class Silent:
    """It listens from `with` on; `asked` counts the calls."""

    NAME = "silent"

    def __init__(self) -> None:
        self.asked = 0
        self._listening = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> Silent:
        threading.Thread(target=self._take, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _take(self) -> None:
        while True:
            try:
                call, _ = self._listening.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._hold, args=(call,), daemon=True).start()

    @staticmethod
    def _hold(call: socket.socket) -> None:
        with call:
            while call.recv(65536):
                pass

    def holds(self, resource: str, namespace: str) -> dict[str, Any]:
        """What has the API server ask it before such objects are made or changed there, in earnest; once it is given up they are."""
        rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [resource]}
        webhook = {
            "name": "silent.example.org",
            "clientConfig": {"url": f"https://127.0.0.1:{self._listening.getsockname()[1]}/"},
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "matchConditions": [{"name": "in-earnest", "expression": "!(has(request.dryRun) && request.dryRun)"}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
            "timeoutSeconds": 30,
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.NAME},
            "webhooks": [webhook],
        }
