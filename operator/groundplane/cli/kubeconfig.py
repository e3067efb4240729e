"""What kubeconfig files say of contexts.  Who connects reads them for itself, and tells what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def paths(kubeconfig: str) -> list[Path]:
    """The files that are meant: the one that is named, those of $KUBECONFIG, else the usual one."""
    named = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return [Path(path).expanduser() for path in named.split(os.pathsep) if path]


def contexts(kubeconfig: str) -> list[str]:
    """The contexts that a kubeconfig has."""
    return [str(each.get("name")) for _, each in _contexts(kubeconfig)]


def namespace_of(kubeconfig: str, context: str) -> str:
    """The namespace of a kubeconfig's context."""
    for current, each in _contexts(kubeconfig):
        if each.get("name") == (context or current) and (each.get("context") or {}).get("namespace"):
            return str(each["context"]["namespace"])
    return "default"


def _contexts(kubeconfig: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The contexts of its files, each with the file's current one."""
    import yaml

    for path in paths(kubeconfig):
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            for each in config.get("contexts") or ():
                if isinstance(each, dict) and isinstance(each.get("context") or {}, dict):
                    yield str(config.get("current-context") or ""), each
        except (OSError, yaml.YAMLError, AttributeError, TypeError):
            continue  # whoever connects has told what is wrong with it
