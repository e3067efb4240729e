"""The commands that the documentation prints, as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = ("helm", "kubectl", "groundplane", "make", "docker", "velero")
PAGES = (
    "install",
    "operations",
    "backup",
    "moving-from-crossplane",
    "gitops",
    "runbooks",
    "usages",
    "functions",
    "day-two",
)
# What needs a program, or a kubelet, that tests do not have; by how it begins.
ELSEWHERE = {
    "make image": "builds with docker, podman or buildah; `make image-check` tries what is in it",
    "docker push": "needs a registry",
    "groundplane iam-policy": "asks no cluster; tests/cli/test_iam_policy.py has it",
    "velero": "is not here; tests/reconcile/test_restore.py strips what it strips",
    "kubectl logs": "asks a kubelet",
    "kubectl get --raw": "goes through the API server to a Pod",
    "helm test": "waits for a Pod that ends; tests/chart compares it with the operator's, and the doctor that it runs is tried",
    "helm uninstall crossplane": "needs Crossplane's chart",
    "make ": "tests/image has what they run; kind, docker and skopeo are not here",
    "groundplane run --webhooks on": "tests/e2e/test_webhooks.py has it",
    "groundplane render": "needs a function; tests/cli/test_functions.py has it",
    "groundplane up platform/": "needs a function; tests/cli/test_functions.py has it",
    "groundplane crds": "brings all kinds there are; tests/cli/test_crds.py has it",
}
# What stands in a sentence to name a command, and is none that could be typed.
MENTIONED = (
    "kubectl get -o yaml",
    "kubectl delete --cascade=foreground",
    "kubectl apply --server-side -k",
    "kubectl wait --for=condition=Ready",
    "kubectl logs -l",
)


def text(page: str) -> str:
    return (REPOSITORY / "docs" / f"{page}.md").read_text()


def commands(page: str) -> list[str]:
    """The commands in a page's blocks, in their order; a line that ends with a backslash goes on."""
    found, rest, is_console = [], "", False
    for line in text(page).splitlines():
        if line.startswith("```"):
            is_console = line == "```console"
        block = re.match(r" {4,}(?:\$ )?(\S.*)", line) or (is_console and re.match(r"(\S.*)", line))
        if not block:
            rest = ""
            continue
        word = rest + block[1]
        if word.split()[0] in PROGRAMS:
            rest = word[:-1] if word.endswith("\\") else ""
            if not rest:
                found.append(re.sub(r"\s{2,}# .*", "", word).strip())
    return found


def quoted(page: str) -> list[str]:
    """The commands in a page's sentences and tables, whole ones: `helm upgrade` names one, and says nothing of what to type."""
    found = [each for each in re.findall(r"`([^`\n]+)`", text(page)) if each.split()[0] in PROGRAMS]
    return [each for each in dict.fromkeys(found) if len(each.split()) > 2 and each not in MENTIONED]


def elsewhere(command: str) -> bool:
    return command.startswith(tuple(ELSEWHERE))
