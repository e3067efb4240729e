"""Which packages need no installation, because what they bring is built in.

Registry host and tag do not matter: the path does.  Source: the packages' names in the Upbound and Crossplane registries.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from groundplane.core.objects import Json, Object, meta, spec_of

FUNCTIONS = (
    "function-auto-ready",
    "function-cel-filter",
    "function-environment-configs",
    "function-extra-resources",
    "function-go-templating",
    "function-patch-and-transform",
    "function-sequencer",
    "function-status-transformer",
    "function-tag-manager",
)
"""The functions that are built in; `functions/__init__.py` has a module for each."""

SHARED = (
    "packagePullPolicy",
    "packagePullSecrets",
    "ignoreCrossplaneConstraints",
    "skipDependencyResolution",
    "commonLabels",
    "commonAnnotations",
    "runtimeConfigRef",
    "controllerConfigRef",
)
"""What a package's spec has in common with those of its revisions."""

_BUILT_IN = {
    "Provider": re.compile(
        r"(^|/)(upbound/provider-(aws|family-aws)|(upbound|crossplane-contrib)/provider-aws-[a-z0-9]+"
        r"|crossplane-contrib/provider-(upjet-aws|family-aws)|(upbound|crossplane-contrib)/provider-(kubernetes|nop|sql))$"
    ),
    "Function": re.compile(rf"(^|/)({'|'.join(FUNCTIONS)})$"),
}
INSTEAD = {
    "provider-helm": "have Argo CD or Flux install the chart: a Composition may make an Application or a HelmRelease itself, or in another cluster with an Object",
}
"""What to use in place of a provider that is not built in, by the last part of its package's path."""
NAMES = {
    "Provider": "upbound/provider-aws, upbound/provider-family-aws, upbound/provider-aws-<service>, crossplane-contrib/provider-kubernetes, crossplane-contrib/provider-nop, crossplane-contrib/provider-sql",
    "Function": ", ".join(FUNCTIONS),
}


def is_built_in(kind: str, package: str) -> bool:
    """Whether a package of this kind is served without installing it.

    >>> is_built_in("Provider", "xpkg.upbound.io/upbound/provider-aws:v0.47.0")
    True
    """
    pattern = _BUILT_IN.get(kind)
    return pattern is not None and pattern.search(path_of(package)) is not None


def path_of(package: str) -> str:
    """A package's reference without tag and digest.

    >>> path_of("xpkg.upbound.io/crossplane-contrib/function-auto-ready:v0.4.2")
    'xpkg.upbound.io/crossplane-contrib/function-auto-ready'
    """
    return re.sub(r":[^/:]*$", "", package.split("@", 1)[0])


def revision_name(name: str, package: str) -> str:
    """The name of a declared package's current revision, a DNS label: it changes with the package's text, and is no other package's.

    >>> revision_name("provider-aws", "upbound/provider-aws:v1")
    'provider-aws-230e5a19fcc6'
    """
    label = re.sub("[^a-z0-9-]", "-", name[:50])
    told = package if label == name else f"{name}|{package}"  # the label is not all of the name
    return f"{label}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def shared(package: Object) -> dict[str, Json]:
    """What a revision's spec has from its package.

    >>> shared({"spec": {"package": "fn:v1", "packagePullPolicy": "Always"}})
    {'packagePullPolicy': 'Always'}
    """
    return {name: value for name, value in spec_of(package).items() if name in SHARED}


def number(revisions: Iterable[Object], current: str) -> int:
    """The number of the current one among a package's revisions: the highest, also if it was the current one before.

    >>> before = [{"metadata": {"name": name}, "spec": {"revision": at}} for at, name in enumerate("ab", 1)]
    >>> [number(before, name) for name in "abc"]
    [3, 2, 3]
    """
    numbers = {meta(each)["name"]: _number(each) for each in revisions}
    own = numbers.pop(current, 0)
    highest = max(numbers.values(), default=0)
    return own if own > highest else highest + 1


def is_activated(package: Object, revision: Object | None) -> bool:
    """Whether the current revision of a package is to be active: by itself, or where the policy is Manual, by somebody's hand."""
    if spec_of(package).get("revisionActivationPolicy") != "Manual":
        return True
    return revision is not None and spec_of(revision).get("desiredState") == "Active"


def surplus(package: Object, earlier: Sequence[Object]) -> list[Object]:
    """Which of a package's earlier revisions are more than it keeps; of 0 it keeps all.

    >>> earlier = [{"metadata": {"name": name}, "spec": {"revision": at}} for at, name in enumerate("abc", 1)]
    >>> [each["metadata"]["name"] for each in surplus({"spec": {"revisionHistoryLimit": 2}}, earlier)]
    ['a']
    """
    limit = spec_of(package).get("revisionHistoryLimit", 1)
    inactive = [each for each in earlier if spec_of(each).get("desiredState") != "Active"]
    kept = limit - (len(earlier) - len(inactive))
    newest = sorted(inactive, key=_number, reverse=True)
    return newest[max(0, kept) :] if limit else []


def _number(revision: Object) -> int:
    found = spec_of(revision).get("revision")
    return found if isinstance(found, int) else 0
