"""`kubectl get … -o json` and `kubectl apply --server-side` without a process: a twentieth of the CPU, and tests ask thousands of times.

What `get` does not know (a name that kinds of two groups have, other options) it leaves to kubectl.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
TIMEOUT = 30.0  # seconds for an answer
LAG = 2.0  # seconds until a kind that is served is known


class Unknown(Exception):
    """Kubectl has to be asked."""


class Gone(Exception):
    """A kind is no longer served, or not in this version."""


@dataclass(frozen=True)
class Served:
    """A kind as the API server serves it."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None) -> str:
        """Of all in a namespace, or everywhere (None)."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if namespace and self.is_namespaced else ""
        return f"{root}{place}/{self.plural}"


class Direct:
    """Asks one API server, over one connection."""

    def __init__(self, server: str, authority: Path, token: str) -> None:
        """`authority`: the file of its certificate, which is there once it has been ready."""
        self._address, self._authority, self._token = urlsplit(server).netloc, authority, token
        self._lock = threading.Lock()
        self._connection: http.client.HTTPSConnection | None = None
        self._kinds: dict[str, list[Served]] = {}  # by each name that there is for one; by "*" and a category

    def close(self) -> None:
        with self._lock:
            self._drop()

    def get(self, *args: object) -> Any:
        """The object or the List; None if there is none, or no answer.  Raises Unknown."""
        asked = _Asked(*map(str, args))
        try:
            try:
                return self._get(asked)
            except Gone:
                self._kinds = {}
                return self._get(asked)
        except (Gone, OSError, http.client.HTTPException):
            return None

    def apply(self, obj: dict[str, Any]) -> None:
        """Raises AssertionError with what the API server said, or if it does not serve the kind."""
        name = obj["metadata"]["name"]
        status, said = self._send(obj, "PATCH", f"/{name}", force="true")
        if status not in (200, 201):
            raise AssertionError(f"{obj['kind']} {name}: {message(said)}")

    def judge(self, obj: dict[str, Any]) -> tuple[Any, str]:
        """What would be stored of an object if it was created, and ""; or None, and why it is refused."""
        status, said = self._send(obj, "POST", "", dryRun="All")
        return (said, "") if status == 201 else (None, message(said))

    def columns(self, kind: str, *, wide: bool) -> list[str]:
        """What `kubectl get` prints above a kind's objects, with `wide` also what `-o wide` adds."""
        _, found = self._request(f"{self._served(kind).path(None)}?limit=1", accept=TABLE)
        return [each["name"].upper() for each in found["columnDefinitions"] if wide or not each["priority"]]

    def _send(self, obj: dict[str, Any], method: str, name: str, **how: str) -> tuple[int, Any]:
        """As kubectl does: strictly."""
        group, _, version = obj["apiVersion"].rpartition("/")
        query = urlencode({"fieldManager": "kubectl", "fieldValidation": "Strict", **how})
        try:
            kind = self._served(f"{obj['kind']}.{version}.{group}")
            path = kind.path(obj["metadata"].get("namespace", "default"))
            return self._request(f"{path}{name}?{query}", method, obj)
        except (Gone, OSError, http.client.HTTPException) as error:
            raise AssertionError(f"{obj['kind']}: {error!r}") from error

    def _get(self, asked: _Asked) -> Any:
        kinds = [kind for word in asked.kinds for kind in self._known(word)]
        if not asked.name:
            items = [item for kind in kinds for item in self._all(kind, asked)]
            return {"apiVersion": "v1", "kind": "List", "items": items}
        if len(kinds) > 1:
            raise Unknown
        status, found = self._request(f"{kinds[0].path(asked.namespace or 'default')}/{asked.name}")
        if status == 404 and isinstance(found, dict):
            return None
        return asked.shown(self._checked(status, found), kinds[0])

    def _all(self, kind: Served, asked: _Asked) -> list[Any]:
        query = f"?{urlencode({'labelSelector': asked.selector})}" if asked.selector else ""
        found = self._checked(*self._request(f"{kind.path(asked.namespace)}{query}"))
        return [asked.shown(item, kind) for item in found["items"]]

    def _checked(self, status: int, answer: Any) -> Any:
        if status != 200:
            raise Gone
        return answer

    # --- which kinds there are

    def _served(self, word: str) -> Served:
        """The kind; one that has just been made is known a moment later."""
        deadline = time.monotonic() + LAG
        while True:
            try:
                [kind] = self._known(word)
                return kind
            except Gone:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def _known(self, word: str) -> list[Served]:
        """The one kind of that name; or the kinds of a category, which may have grown."""
        word = word.lower()
        if word not in self._kinds or f"*{word}" in self._kinds:
            self._kinds = self._discovered()
        if category := self._kinds.get(f"*{word}"):
            return category
        if not (found := self._kinds.get(word)):
            raise Gone
        if len(found) > 1:
            raise Unknown
        return found

    def _discovered(self) -> dict[str, list[Served]]:
        found: dict[str, list[Served]] = {}
        for root in ("/api", "/apis"):
            status, groups = self._request(root, accept=DISCOVERY)
            for group in groups["items"] if status == 200 else ():
                name, there = group["metadata"].get("name", ""), set()
                for version in group["versions"]:  # the preferred one first
                    for resource in version.get("resources", ()):
                        self._add(found, name, version["version"], resource, is_first=resource["resource"] not in there)
                        there.add(resource["resource"])
        return found

    def _add(self, found: dict[str, list[Served]], group: str, version: str, resource: Any, *, is_first: bool) -> None:
        if not {"get", "list"} <= set(resource["verbs"]):
            return
        plural, kind = resource["resource"], resource["responseKind"]["kind"]
        served = Served(group, version, plural, kind, resource["scope"] == "Namespaced")
        words = {plural, resource.get("singularResource") or plural, kind.lower(), *resource.get("shortNames", ())}
        for word in words:
            found.setdefault(f"{word}.{version}.{group}", []).append(served)
            if is_first:
                found.setdefault(f"{word}.{group}", []).append(served)
                if not found.get(word) or found[word][0].group:  # what the core group has comes first
                    found.setdefault(word, []).append(served)
        for category in resource.get("categories", ()) if is_first else ():
            found.setdefault(f"*{category}", []).append(served)

    # --- the connection

    def _request(
        self, path: str, method: str = "GET", body: Any = None, accept: str = "application/json"
    ) -> tuple[int, Any]:
        """Status, and the answer: decoded, or its text where it is no JSON."""
        with self._lock:
            for is_last in (False, True):
                try:
                    return self._answer(path, method, body, accept)
                except (OSError, http.client.HTTPException):
                    self._drop()  # the server may have been started anew since
                    if is_last:
                        raise
        raise AssertionError

    def _answer(self, path: str, method: str, body: Any, accept: str) -> tuple[int, Any]:
        if self._connection is None:
            context = ssl.create_default_context(cafile=self._authority)
            self._connection = http.client.HTTPSConnection(self._address, timeout=TIMEOUT, context=context)
        headers = {"Accept": accept, "Authorization": f"Bearer {self._token}"}
        headers["Content-Type"] = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)  # which is YAML, too
        self._connection.request(method, path, body=data, headers=headers)
        with self._connection.getresponse() as answer:
            text = answer.read()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode(errors="replace")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def message(answer: Any) -> str:
    """Of a Status, or of what came in its place."""
    return str(answer.get("message", "")) if isinstance(answer, dict) else str(answer)


class _Asked:
    """The words after `kubectl get`."""

    def __init__(self, *args: str) -> None:
        self.namespace: str | None = "default"
        self.selector = self.name = ""
        self._shows_managers = False
        words, rest = [], list(args)
        while rest:
            word = rest.pop(0)
            match word:
                case "-n":
                    self.namespace = rest.pop(0)
                case "-l":
                    self.selector = rest.pop(0)
                case "-A":
                    self.namespace = None
                case "--show-managed-fields":
                    self._shows_managers = True
                case _ if word.startswith("-"):
                    raise Unknown
                case _:
                    words.append(word)
        if len(words) == 1:
            words = words[0].split("/")
        if not 1 <= len(words) <= 2 or "/" in "".join(words):
            raise Unknown
        self.kinds, self.name = words[0].split(","), words[1] if len(words) == 2 else ""

    def shown(self, obj: Any, kind: Served) -> Any:
        """As kubectl shows it."""
        if not self._shows_managers:
            obj["metadata"].pop("managedFields", None)
        return {"apiVersion": kind.api_version, "kind": kind.kind} | obj
