"""A claim, composite or package and all that comes of it: which objects belong to it, and how they hang together.

Source: Crossplane v1.20 `cmd/crank/beta/trace/internal/resource` (which references are followed, and the order of children).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import Json, Key, Object, annotations_of, group_of, meta, spec_of
from groundplane.core.providers import CONFIG
from groundplane.core.providers import of as family_of

PACKAGES = "pkg.crossplane.io"
PACKAGE_KINDS = ("Configuration", "Provider", "Function")
REVISION_LABEL = "pkg.crossplane.io/package"


@dataclass(frozen=True)
class Member:
    """One object of a tree, and what it is made of."""

    key: Key
    object: Object | None  # None: it is not there, or may not be read
    error: str = ""
    children: tuple[Member, ...] = ()
    folded: int = 0  # siblings like this one that are not shown

    @property
    def template(self) -> str:
        return annotations_of(self.object).get(TEMPLATE_ANNOTATION, "") if self.object else ""

    @property
    def external(self) -> str:
        """What a managed resource stands for: its ARN, else its name there."""
        if not self.object or "forProvider" not in spec_of(self.object):
            return ""
        status = self.object.get("status")
        seen = status.get("atProvider") if isinstance(status, dict) else None
        arn = seen.get("arn") if isinstance(seen, dict) else None
        return str(arn or annotations_of(self.object).get(EXTERNAL_NAME) or "")


def edges(obj: Object, *, secrets: bool = False, providers: bool = False) -> list[Key]:
    """What an object is made of: a claim's composite, a composite's composed resources; their connection Secrets and ProviderConfigs, if asked for."""
    spec = spec_of(obj)
    nested = spec.get("crossplane")
    modern: Mapping[str, Json] = nested if isinstance(nested, dict) else {}
    own = str(meta(obj).get("namespace") or "")
    found: list[Key] = []
    claimed = spec.get("resourceRef")
    listed = (
        [claimed]
        if isinstance(claimed, dict)
        else [*_list(modern.get("resourceRefs")), *_list(spec.get("resourceRefs"))]
    )
    for reference in listed:
        if isinstance(reference, dict) and reference.get("name") and reference.get("kind"):
            namespace = str(reference.get("namespace") or ("" if reference is claimed else own))
            found.append(
                Key(str(reference.get("apiVersion") or ""), str(reference["kind"]), namespace, str(reference["name"]))
            )
    secret = spec.get("writeConnectionSecretToRef")
    if secrets and isinstance(secret, dict) and secret.get("name"):
        found.append(Key("v1", "Secret", str(secret.get("namespace") or own), str(secret["name"])))
    config = spec.get("providerConfigRef")
    if providers and "forProvider" in spec and isinstance(config, dict) and config.get("name"):
        group = group_of(str(obj.get("apiVersion")))
        kind = str(config.get("kind") or CONFIG)
        if family := family_of(group):
            namespace = own if family.is_namespaced and kind == CONFIG else ""
            found += [Key(family.api_version, kind, namespace, str(config["name"]))] if family.version else []
        elif domain := group.partition(".")[2]:
            found.append(Key(f"{domain}/v1beta1", kind, "", str(config["name"])))
    return sorted(dict.fromkeys(found), key=lambda key: (key.api_version, key.kind, key.name))


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def is_package(api_version: str, kind: str) -> bool:
    """Whether packages have columns of their own for it."""
    return group_of(api_version) == PACKAGES and kind.removesuffix("Revision") in PACKAGE_KINDS


def grown(root: Key, found: Mapping[Key, Object | str], children: Mapping[Key, list[Key]]) -> Member:
    """The tree below an object.  `found` has each object, or why it is not there; what is above itself is told, and not followed."""
    return _grown(root, found, children, frozenset())


def _grown(
    key: Key, found: Mapping[Key, Object | str], children: Mapping[Key, list[Key]], above: frozenset[Key]
) -> Member:
    there = found.get(key, "not found")
    if isinstance(there, str):
        return Member(key, None, there)
    if key in above:
        return Member(key, there, "it is above already")
    below = above | {key}
    return Member(key, there, "", tuple(_grown(each, found, children, below) for each in children.get(key, ())))


def every(member: Member) -> Iterator[Member]:
    """The member and all below it, from the top."""
    yield member
    for child in member.children:
        yield from every(child)


def is_ready(member: Member) -> bool:
    """Whether it says so itself; what says nothing of it is as its status is."""
    ready = condition(member.object, "Ready")
    if member.error or member.object is None:
        return False
    synced = condition(member.object, "Synced")
    return ready.get("status", "True") == "True" and synced.get("status", "True") == "True"


def condition(obj: Object | None, type_: str) -> Mapping[str, str]:
    status = (obj or {}).get("status")
    listed = status.get("conditions") if isinstance(status, dict) else None
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and each.get("type") == type_:
            return each
    return {}


def pruned(member: Member, depth: int) -> Member:
    """Without what is deeper than that."""
    children = tuple(pruned(child, depth - 1) for child in member.children) if depth > 0 else ()
    return replace(member, children=children)


def unready(member: Member) -> Member:
    """Without the branches in which everything is ready."""
    children = tuple(unready(child) for child in member.children if not all(map(is_ready, every(child))))
    return replace(member, children=children)


def folded(member: Member, most: int) -> Member:
    """Siblings of a kind that are ready, as all below them is, beyond `most` of them as one; others never."""
    kept: list[Member] = []
    seen: dict[tuple[str, str], list[int]] = {}
    for child in member.children:
        alike = (child.key.api_version, child.key.kind)
        if all(map(is_ready, every(child))):
            places = seen.setdefault(alike, [])
            if len(places) >= most:
                last = kept[places[-1]]
                kept[places[-1]] = replace(last, folded=last.folded + 1)
                continue
            places.append(len(kept))
        kept.append(folded(child, most))
    return replace(member, children=tuple(kept))
