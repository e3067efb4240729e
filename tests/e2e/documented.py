"""The commands that the documentation prints, as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = ("helm", "kubectl", "groundplane", "make", "docker", "velero")
PAGES = ("install", "operations", "backup", "moving-from-crossplane", "gitops")
# What needs a program, or a kubelet, that tests do not have; by how it begins.
ELSEWHERE = {
    "make image": "builds with docker, podman or buildah; `make image-check` tries what is in it",
    "docker push": "needs a registry",
    "groundplane iam-policy": "asks no cluster; tests/cli/test_iam_policy.py has it",
    "velero": "is not here; tests/reconcile/test_restore.py strips what it strips",
    "kubectl logs": "asks a kubelet",
    "kubectl get --raw": "goes through the API server to a Pod",
}


def text(page: str) -> str:
    return (REPOSITORY / "docs" / f"{page}.md").read_text()


def commands(page: str) -> list[str]:
    """The commands in a page's blocks, in their order; a line that ends with a backslash goes on."""
    found, rest = [], ""
    for line in text(page).splitlines():
        block = re.match(r" {4,}(\S.*)", line)
        if not block:
            rest = ""
            continue
        word = rest + block[1]
        if word.startswith(PROGRAMS):
            rest = word[:-1] if word.endswith("\\") else ""
            if not rest:
                found.append(re.sub(r"\s{2,}# .*", "", word).strip())
    return found


def looks(page: str) -> list[str]:
    """What the page's tables say to run, that only looks and has nothing to be filled in."""
    rows = [line for line in text(page).splitlines() if line.startswith("|")]
    quoted = [each for row in rows for each in re.findall(r"`([^`]+)`", row)]
    return [
        each
        for each in quoted
        if re.match(r"kubectl get |groundplane doctor", each) and not re.search(r"[A-Z]{3}", each)
    ]


def elsewhere(command: str) -> bool:
    return command.startswith(tuple(ELSEWHERE))
