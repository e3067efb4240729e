"""Which packages need no installation, because what they bring is built in.

Registry host and tag do not matter: the path does.  Source: the packages' names in the Upbound and Crossplane registries.
"""

from __future__ import annotations

import hashlib
import re

_BUILT_IN = {
    "Provider": re.compile(
        r"(^|/)(upbound/provider-(aws|family-aws)|(upbound|crossplane-contrib)/provider-aws-[a-z0-9]+"
        r"|crossplane-contrib/provider-(upjet-aws|family-aws))$"
    ),
    "Function": re.compile(r"(^|/)function-patch-and-transform$"),
}
NAMES = {
    "Provider": "upbound/provider-aws, upbound/provider-family-aws, upbound/provider-aws-<service>",
    "Function": "function-patch-and-transform",
}


def is_built_in(kind: str, package: str) -> bool:
    """Whether a package of this kind is served without installing it.

    >>> is_built_in("Provider", "xpkg.upbound.io/upbound/provider-aws:v0.47.0")
    True
    """
    pattern = _BUILT_IN.get(kind)
    path = package.split("@", 1)[0]
    path = re.sub(r":[^/:]*$", "", path)
    return pattern is not None and pattern.search(path) is not None


def revision_name(name: str, package: str) -> str:
    """The name of the one revision of a declared package, a DNS label: it changes with the package's text.

    >>> revision_name("provider-aws", "upbound/provider-aws:v1")
    'provider-aws-230e5a19fcc6'
    """
    label = re.sub("[^a-z0-9-]", "-", name[:50])
    return f"{label}-{hashlib.sha256(package.encode()).hexdigest()[:12]}"
