"""The managed kinds that are built in: which are active, and their ManagedResourceDefinitions, which whoever leads makes.

What the setting names is active from the start; what a managed definition of ours says is Active becomes so while we run, and stays so.
The definitions' own CustomResourceDefinitions come as all that we bring (`crds.py`), and nobody owns them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from groundplane.cluster.client import Api
from groundplane.core import activation, managed_definition
from groundplane.core.activation import ACTIVE, INACTIVE
from groundplane.core.crds.marks import MARK, Step, step
from groundplane.core.objects import Key, Object, annotations_of, meta, spec_of
from groundplane.errors import AlreadyExists, Conflict, InvalidInput, Rejected
from groundplane.ports import Cluster, ManagedKind
from groundplane.runtime import clouds, crds, logs
from groundplane.runtime.crds import Brought, Known

log = logs.get_logger(__name__)


class ManagedKinds:
    """`ports.BuiltIn` on an API server."""

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        globs: Iterable[str],
        known: Known,
        on_active: Callable[[ManagedKind], None],
        *,
        nop_scope: str = "namespaced",
        brings: bool = True,
        adopt: bool = False,
    ) -> None:
        """`globs` are those of the setting.  `on_active` is told of each kind that becomes active later.

        Without `brings` nothing is declared or brought, and the setting alone says what is active.
        """
        self._api, self._cluster, self._globs, self._known, self._on_active = (
            api,
            cluster,
            tuple(globs),
            known,
            on_active,
        )
        self._adopt = adopt
        self._kinds = {kind.name: kind for kind in clouds.kinds()} if brings else {}
        self._brought = (
            {each.name: each for each in crds.brought(nop_scope=nop_scope) if each.name in self._kinds}
            if brings
            else {}
        )
        self._active: dict[str, bool] = {}  # as far as it was asked

    def is_active(self, name: str) -> bool:
        """Whether a definition's objects are ours."""
        if name not in self._active:
            self._active[name] = crds.is_active(name, self._globs)
        return self._active[name]

    @property
    def added(self) -> list[Brought]:
        """What is active beyond the setting."""
        return [
            self._brought[name]
            for name, is_active in self._active.items()
            if is_active and name in self._brought and not crds.is_active(name, self._globs)
        ]

    def see(self, definition: Object) -> None:
        """A managed definition is there, or has changed."""
        name = meta(definition)["name"]
        if name not in self._brought or not managed_definition.is_built_in(definition):
            return
        if activation.is_active(definition) and not self.is_active(name):
            self._active[name] = True
            log.info("managed kind is active", definition=name)
            self._on_active(self._kinds[name])

    # --- the port -----------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        return name in self._brought

    def inactive(self, api_version: str, kind: str) -> str:
        found = clouds.lookup(api_version, kind)
        return found.name if found and not self.is_active(found.name) else ""

    async def bring(self, name: str) -> None:
        problems = await crds.bring(self._api, [self._brought[name]], self._known, adopt=self._adopt)
        if problems:
            raise InvalidInput(problems[name])

    async def declare(self, name: str) -> None:
        if name in self._brought:
            await self._declare(name, None)

    # --- declaring ----------------------------------------------------------------------------------------

    async def declare_all(self) -> None:
        """Make the managed definitions that are missing or older, and the default policy; what is current costs no request.

        One that can't be brought in line stays as it is, for its CustomResourceDefinition comes by itself.
        Raises NoSuchKind, Denied, Unavailable, NotLeader; what is left is found again by whoever leads next.
        """
        if not self._brought:
            return
        heads = await self._cluster.heads(activation.VERSION, activation.DEFINITION, activation.head)
        there = {meta(head)["name"]: head for head in heads}
        await self._make_policy()
        for name in sorted(self._brought):
            try:
                await self._declare(name, there.get(name))
            except (Rejected, Conflict) as error:
                log.warning("managed definition stays as it is", definition=name, error=str(error))

    async def _make_policy(self) -> None:
        """The setting as a policy, made once: whoever edits it has the last word."""
        key = Key(activation.VERSION, activation.POLICY, "", activation.DEFAULT)
        if not self._globs or await self._cluster.get(key) is not None:
            return
        policy = {
            "apiVersion": key.api_version,
            "kind": key.kind,
            "metadata": {"name": key.name},
            "spec": {"activate": list(self._globs)},
        }
        try:
            await self._cluster.create(policy)
        except AlreadyExists:
            return
        log.info("activation policy made", policy=key.name, globs=", ".join(self._globs))

    async def _declare(self, name: str, head: Object | None) -> None:
        details = clouds.connection_details(self._kinds[name])
        ours = managed_definition.mark_of(self._brought[name].mark, details)
        for _ in range(crds.TRIES):
            mark = None if head is None else annotations_of(head).get(MARK, "")
            if step(ours, mark) is not Step.APPLY:
                return
            wanted = ACTIVE if self.is_active(name) else INACTIVE
            state = wanted if head is None else str(spec_of(head).get("state") or INACTIVE)
            crd = await asyncio.to_thread(self._brought[name].read)
            definition = managed_definition.definition_of(crd, details, mark=ours, state=state)
            # "1" is no object's version: it makes one, and takes none that has come meanwhile.
            definition["metadata"]["resourceVersion"] = meta(head)["resourceVersion"] if head else "1"
            try:
                await self._cluster.apply(definition, manager=crds.MANAGER)
            except Conflict:
                key = Key(activation.VERSION, activation.DEFINITION, "", name)
                head = await self._cluster.get(key, live=True)
                continue
            log.info("managed definition applied", definition=name, mark=ours, before=mark or "", state=state)
            return
        raise Conflict(f"{name} is written by somebody else again and again")
