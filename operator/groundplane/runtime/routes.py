"""Which reconciles a change of an object calls for: rules over the object alone, no I/O.

A change enqueues the object itself, its controller (composed resource → composite, Secret → its owner and who uses it), whoever it is
bound to (composite ↔ claim), the composites whose functions wanted to see it, the usages that speak of it (if it comes, goes or lacks
their label), and everything that waited for a change of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from groundplane.core import activation, composition, operations, providers, usages
from groundplane.core.accounts import Accounts
from groundplane.core.activation import Policies
from groundplane.core.declared_kinds import Definitions
from groundplane.core.interests import Interests
from groundplane.core.objects import Key, Object, controller_of, group_of, key_of, labels_of, meta, spec_of
from groundplane.reconcile import predecessor, provider_config
from groundplane.runtime.waiting import Target

CORE = "apiextensions.crossplane.io"
PACKAGES = "pkg.crossplane.io"

_OWN = {
    (CORE, "CompositeResourceDefinition"): ("defined", "offered"),
    (CORE, "Composition"): ("revisions",),
    (CORE, "CompositionRevision"): ("announce",),
    (CORE, activation.DEFINITION): ("managed-definition",),
    (CORE, activation.POLICY): ("activation-policy",),
    (PACKAGES, "Provider"): ("packages",),
    (PACKAGES, "Function"): ("packages",),
    (PACKAGES, "Configuration"): ("packages",),
    (operations.GROUP, operations.OPERATION): ("operation",),
    (operations.GROUP, operations.CRON): ("cronoperation",),
    (operations.GROUP, operations.WATCH): ("watchoperation",),
}
_OWN |= {(group_of(api_version), kind): ("predecessor",) for api_version, kind in predecessor.KINDS}
_OWN |= {(group_of(api_version), kind): ("providerconfig",) for api_version, kind in providers.configs()}
_OWN |= {(group_of(api_version), kind): ("collection",) for api_version, kind in providers.collections()}
_OWN |= {(group_of(api_version), kind): ("usage",) for api_version, kind in usages.KINDS}


class Routes:
    """Turns a change (the object before and after; None: it was not there) into reconciles."""

    def __init__(
        self,
        definitions: Definitions,
        is_managed: Callable[[str, str], bool],
        peek: Callable[[Key], Object | None],
        interests: Interests | None = None,
        accounts: Accounts | None = None,
        speaking_of: Callable[[usages.Role, usages.Referent], Sequence[Key]] = lambda role, referent: (),
        policies: Policies | None = None,
    ) -> None:
        """`is_managed(api_version, kind)`: does the cloud serve it?  `peek` reads what is known locally, at no cost, and so does `speaking_of`."""
        self._definitions = definitions
        self._interests = Interests() if interests is None else interests
        self._accounts = Accounts() if accounts is None else accounts
        self._policies = Policies() if policies is None else policies
        self._is_managed = is_managed
        self._peek = peek
        self._speaking_of = speaking_of

    def targets(self, before: Object | None, after: Object | None) -> set[Target]:
        """Everything that must be looked at because of this change."""
        found = {target for obj in (before, after) if obj is not None for target in self._of(obj)}
        found.update(("activation-policy", policy) for policy in self._policies_of(before, after))
        return found | {("usage", key) for key in self._usages(before, after)}

    def own(self, key: Key) -> tuple[str, ...]:
        """The controllers that reconcile this object itself."""
        group = key.group
        if own := _OWN.get((group, key.kind)):
            return own
        if self._definitions.claim(group, key.kind):
            return ("claim",)
        if self._definitions.composite(group, key.kind):
            return ("composite",)
        return ("managed",) if self._is_managed(key.api_version, key.kind) else ()

    def at_first(self, obj: Object) -> tuple[str, ...]:
        """The controllers that look at an object when we begin to work, whoever changed it before."""
        key = key_of(obj)
        if key.kind == "ProviderConfigUsage" and controller_of(obj) is None:
            return ("providerconfig",)  # nobody's: it came from a backup
        return self.own(key)

    def _of(self, obj: Object) -> Iterator[Target]:
        key = key_of(obj)
        for name in self.own(key):
            yield name, key
        if owner := self._owner(obj):
            for name in self.own(owner):
                yield name, owner
            if key.kind == "Secret":
                yield from self._user_of(owner, obj)
        elif (key.group, key.kind) == (CORE, "CompositionRevision") and (
            origin := labels_of(obj).get(composition.NAME_LABEL)
        ):
            yield "revisions", key._replace(kind="Composition", name=origin)  # nobody's: it came from a backup
        if key.kind == "CustomResourceDefinition" and self._peek(defining := _defining(key.name)):
            yield "managed-definition", defining
        for config in self._accounts.readers(key):
            yield "providerconfig", config
        if self._definitions.composite(key.group, key.kind):
            yield from self._claim_of(obj)
        yield from self.interested(obj)
        if key.kind == "ProviderConfigUsage" and (used := provider_config.used_by(obj)):
            yield "providerconfig", used
            if controller_of(obj) is None:
                yield "providerconfig", key  # nobody's

    def interested(self, obj: Object) -> Iterator[Target]:
        """Who wanted to see this object."""
        for key in self._interests.of(obj):
            yield self._interested(key), key

    def _interested(self, key: Key) -> str:
        if key.group == operations.GROUP:
            return "watchoperation"
        return "managed" if self._is_managed(key.api_version, key.kind) else "composite"

    def _usages(self, before: Object | None, after: Object | None) -> Iterator[Key]:
        """The usages that have to look at what they speak of: it came, it went, or it lacks their label."""
        obj = after or before
        if obj is None:
            return
        is_news = before is None or after is None or meta(before).get("uid") != meta(after).get("uid")
        if is_news:
            yield from self._speaking_of("by", usages.referent_of(obj))
        if is_news or not usages.is_protected(obj):
            yield from self._speaking_of("of", usages.referent_of(obj))

    def _policies_of(self, before: Object | None, after: Object | None) -> list[Key]:
        """The policies that activate a managed definition which has come, gone, or changed its state."""
        obj = after or before or {}
        if obj.get("kind") != activation.DEFINITION or group_of(obj["apiVersion"]) != CORE:
            return []
        if before and after and activation.is_active(before) == activation.is_active(after):
            return []
        return self._policies.of(meta(obj)["name"])

    def _owner(self, obj: Object) -> Key | None:
        """The key of an object's controller.  References name no namespace: the owner's kind tells its scope.

        None if the object of that name is another one: who may write an object may write any reference on it, and would have
        somebody else's reconciled as often as they like.
        """
        controller = controller_of(obj)
        if controller is None:
            return None
        group, kind = group_of(controller["apiVersion"]), controller["kind"]
        composite, claim = self._definitions.composite(group, kind), self._definitions.claim(group, kind)
        definition = composite or claim
        in_namespace = claim or (composite and composite.scope == "Namespaced")
        version = definition.api_version if definition else controller["apiVersion"]
        here = Key(version, kind, key_of(obj).namespace, controller["name"])
        if not definition and (family := providers.of(group)):
            in_namespace = family.is_namespaced or (family.is_mixed and self._peek(here) is not None)
        owner = here if in_namespace else here._replace(namespace="")
        known = self._peek(owner)
        return owner if known is None or _controls(known, obj) else None

    def _user_of(self, owner: Key, secret: Object) -> Iterator[Target]:
        """Whoever takes up the connection Secret of a composed resource, or of a composite: no status need tell of its change.

        Somebody else's kind may be in the Secret's namespace, or in none.
        """
        source = self._peek(owner) or self._peek(owner._replace(namespace=key_of(secret).namespace))
        if source is None or not _controls(source, secret):
            return
        if user := self._owner(source):
            for name in self.own(user):
                yield name, user
        if self._definitions.composite(owner.group, owner.kind):
            yield from self._claim_of(source)

    def _claim_of(self, composite: Object) -> Iterator[Target]:
        reference = spec_of(composite).get("claimRef") or {}
        definition = self._definitions.claim(group_of(reference.get("apiVersion", "")), reference.get("kind", ""))
        if definition and reference.get("name"):
            yield (
                "claim",
                Key(definition.api_version, reference["kind"], reference["namespace"], reference["name"]),
            )


def _controls(owner: Object, obj: Object) -> bool:
    return bool(meta(owner).get("uid") == (controller_of(obj) or {}).get("uid"))


def _defining(name: str) -> Key:
    """The managed definition of a CustomResourceDefinition, which has the same name; those that are built in control none."""
    return Key(activation.VERSION, activation.DEFINITION, "", name)
