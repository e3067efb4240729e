"""Names of what we make: deterministic ones for composed resources, random ones for composites.

Source: Crossplane v2.0 `internal/xcrd` and `internal/names` (composed resources), Crossplane v1.20
`internal/names` (composites of claims).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

MAX_LENGTH = 63  # characters: an RFC 1123 label, the tightest limit among the kinds we compose
MAX_NAME = 253  # characters: any object's name, an RFC 1123 subdomain
DIGEST = 12  # hex digits that tell two composed resources apart
SUFFIX = 5  # random characters at the end of a composite's name
TEMPLATE_ANNOTATION = "crossplane.io/composition-resource-name"
COMPOSITE_LABEL = "crossplane.io/composite"  # on all that is composed, at any depth: the name of the root
CLAIM_NAME_LABEL = "crossplane.io/claim-name"
CLAIM_NAMESPACE_LABEL = "crossplane.io/claim-namespace"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = f"{_LABEL}([.]{_LABEL})*"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words


def composed_name(generate_prefix: str, uid: str, resource: str) -> str:
    """Name the object that the template `resource` makes for one composite.

    `generate_prefix` is the object's generateName (a "-" is added where it is missing), `uid` the
    composite's metadata.uid, so a composite that is deleted and made anew never meets its
    predecessor's half-deleted resources.  A long name loses the end of its readable part, never the digest;
    where that leaves a dot at the end, it goes as well, since no name has a "." before a "-".

    >>> composed_name("orders-", "6f1c2a", "subnet-a")
    'orders-ffb197dc9f7b'
    """
    digest = hashlib.sha256(f"{uid}{resource}".encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST]
    readable = generate_prefix.removesuffix("-")[: MAX_LENGTH - DIGEST - 1]
    return f"{readable.rstrip('-.') if readable.endswith('.') else readable}-{digest}"


def is_composed_name(generate_prefix: str, name: str) -> bool:
    """Whether a composite of that name may have given this one to what it composes, under whatever UID: we, or a Crossplane v1 at random.

    >>> is_composed_name("orders", "orders-ffb197dc9f7b"), is_composed_name("orders", "orders-x7k2p")
    (True, True)
    >>> is_composed_name("orders", "orders-eu-x7k2p")
    False
    """
    stem, _, end = name.rpartition("-")
    if re.fullmatch(f"[0-9a-f]{{{DIGEST}}}", end):
        return stem == composed_name(generate_prefix, "", "").rpartition("-")[0]
    return bool(re.fullmatch(f"[a-z0-9]{{{SUFFIX}}}", end)) and stem == generate_prefix[: MAX_LENGTH - SUFFIX - 1]


NAMES = "use lower case letters, digits, - and ., with a letter or digit at both ends, 253 characters at most"
"""The mend of a name that no object may have."""


def may_be_called(api_version: str, name: str) -> bool:
    """Whether an object of an API group may have this name: an RFC 1123 subdomain; one of roles may have colons in it, too.

    >>> may_be_called("v1", "orders.eu-1"), may_be_called("v1", "Orders"), may_be_called("v1", "a:b")
    (True, False, False)
    >>> may_be_called("rbac.authorization.k8s.io/v1", "team:orders")
    True
    """
    if api_version.startswith("rbac.authorization.k8s.io/"):
        name = name.replace(":", "")
    return len(name) <= MAX_NAME and re.fullmatch(_SUBDOMAIN, name) is not None


def secret_name(uid: str, resource: str) -> str:
    """The connection Secret of the object that the template `resource`, which may have any name, makes for one composite.

    >>> secret_name("6f1c2a", "resource 1")
    '6f1c2a-resource-1'
    """
    place = re.sub("[^a-z0-9.-]", "-", "-".join(resource.split()).lower())
    place = re.sub("[.-]*[.][.-]*", ".", place).lstrip(".")
    return f"{uid}-{place}"[:MAX_NAME].rstrip("-.")


def composite_name(claim: str, choose: Callable[[int], int]) -> str:
    """A name for a claim's composite that is probably free; `choose(n)` is a random index below n.

    >>> composite_name("orders", lambda n: n - 1)
    'orders-99999'
    """
    prefix = f"{claim}-"[: MAX_LENGTH - SUFFIX]
    return prefix + "".join(ALPHABET[choose(len(ALPHABET))] for _ in range(SUFFIX))
