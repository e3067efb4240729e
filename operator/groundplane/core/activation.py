"""Which managed kinds are activated by name: shell globs, and the policies (ManagedResourceActivationPolicy) that hold them.

Source: Crossplane v2.3, apis/apiextensions/v1alpha1 (mrd_policy_types.go), and Go's path/filepath.Match, whose globs they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from groundplane.core.objects import Json, Key, Object, meta, spec_of

VERSION = "apiextensions.crossplane.io/v1alpha1"
DEFINITION = "ManagedResourceDefinition"
POLICY = "ManagedResourceActivationPolicy"
DEFAULT = "default"  # the policy that is made from the setting
ACTIVE, INACTIVE = "Active", "Inactive"

_Test = Callable[[str], bool]  # of one character; None in a compiled glob stands for any text


def is_matched(name: str, globs: Iterable[str]) -> bool:
    """Whether one of the globs is of this name.  One that is malformed is of none.

    >>> [is_matched("vpcs.ec2.aws.upbound.io", [glob]) for glob in ("*.ec2.*", "vpcs", "[uv]pcs.*", "[")]
    [True, False, True, False]
    """
    return any(_matches(compiled, name) for glob in globs if (compiled := _compiled(glob)) is not None)


def globs_of(policy: Object) -> tuple[str, ...]:
    """What a policy activates."""
    found: Json = spec_of(policy).get("activate")
    return tuple(glob for glob in found if isinstance(glob, str)) if isinstance(found, list) else ()


def head(definition: Object) -> Object:
    """What is asked of a definition again and again, which may have two hundred kilobytes of schemas."""
    kept = ("name", "uid", "resourceVersion", "labels", "annotations")
    metadata = {name: meta(definition)[name] for name in kept if name in meta(definition)}
    head = {"apiVersion": definition["apiVersion"], "kind": definition["kind"], "metadata": metadata}
    return {**head, "spec": {"state": spec_of(definition).get("state")}}


def is_active(definition: Object) -> bool:
    return spec_of(definition).get("state") == ACTIVE


class Policies:
    """The globs of the policies that there are: a definition that appears calls for those that are of its name."""

    def __init__(self) -> None:
        self._globs: dict[Key, tuple[str, ...]] = {}

    def set(self, policy: Key, globs: tuple[str, ...]) -> None:
        """Take what a policy activates; nothing forgets it."""
        if globs:
            self._globs[policy] = globs
        else:
            self._globs.pop(policy, None)

    def of(self, name: str) -> list[Key]:
        """The policies that activate the definition of that name."""
        return [policy for policy, globs in self._globs.items() if is_matched(name, globs)]


# --- globs ----------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _compiled(glob: str) -> tuple[_Test | None, ...] | None:
    """A glob as tests of one character each; None if it is malformed."""
    found: list[_Test | None] = []
    place = 0
    while place < len(glob):
        sign, place = glob[place], place + 1
        if sign == "*":
            if not found or found[-1] is not None:
                found.append(None)
        elif sign == "?":
            found.append(lambda char: char != "/")
        elif sign == "[":
            read = _class(glob, place)
            if read is None:
                return None
            test, place = read
            found.append(test)
        elif sign == "\\":
            if place == len(glob):
                return None
            found.append(glob[place].__eq__)
            place += 1
        else:
            found.append(sign.__eq__)
    return tuple(found)


def _class(glob: str, place: int) -> tuple[_Test, int] | None:
    """The characters in brackets, from behind the opening one: a test, and where it goes on; None if they are malformed."""
    is_negated = glob[place : place + 1] == "^"
    place += is_negated
    ranges: list[tuple[str, str]] = []
    while place < len(glob) and (glob[place] != "]" or not ranges):
        bounds = []
        for _ in range(2):
            if glob[place : place + 1] in ("", "-", "]"):
                return None
            place += glob[place] == "\\"
            if place >= len(glob):
                return None
            bounds.append(glob[place])
            place += 1
            if len(bounds) == 2 or glob[place : place + 1] != "-":
                break
            place += 1
        ranges.append((bounds[0], bounds[-1]))
    if place >= len(glob):
        return None
    return lambda char: any(low <= char <= high for low, high in ranges) is not is_negated, place + 1


def _matches(tests: tuple[_Test | None, ...], name: str) -> bool:
    """In time proportional to both at most: only the last star is ever given more."""
    at, place, star, taken = 0, 0, -1, 0
    while place < len(name):
        if at < len(tests) and tests[at] is None:
            star, taken = at, place
            at += 1
        elif at < len(tests) and (test := tests[at]) is not None and test(name[place]):
            at, place = at + 1, place + 1
        elif star >= 0 and name[taken] != "/":
            taken += 1
            at, place = star + 1, taken
        else:
            return False
    return all(test is None for test in tests[at:])
