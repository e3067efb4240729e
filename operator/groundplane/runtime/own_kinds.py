"""The kinds that we bring, in this cluster: whether they are served, what is in the way, and what is still to be done for them.

Which they are and how they are applied is in `crds.py`; which managed ones are active, in `managed_kinds.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from groundplane.cluster.client import Api
from groundplane.errors import NotLeader
from groundplane.runtime import crds, logs, memory, tasks
from groundplane.runtime.managed_kinds import ManagedKinds
from groundplane.runtime.settings import Settings

KNOCK = 5.0  # seconds between two attempts at what nobody waits for

log = logs.get_logger(__name__)


class OwnKinds:
    """Those that the settings name, and the managed ones that were activated since."""

    def __init__(self, api: Api, managed: ManagedKinds, known: crds.Known, settings: Settings) -> None:
        self._api, self._managed, self._known = api, managed, known
        self._adopt = settings.crds == "adopt"
        self._wanted = (
            crds.brought(settings.active, strict_upstream=settings.strict_upstream, nop_scope=settings.nop_scope)
            if settings.crds != "leave"
            else []
        )
        self._problems: dict[str, str] = {}  # why a definition is not, by its name
        self.have_been_brought = not self._wanted

    @property
    def are_left(self) -> bool:
        """Whether somebody else brings them: a start without any is told."""
        return not self._wanted

    async def bring(self) -> None:
        """Apply what is missing or old, unless that is done; returns when all are served, or that takes too long.

        Raises Denied, Unavailable, NotLeader.
        """
        if self.have_been_brought:
            return
        self._problems = await crds.bring(self._api, self._wanted, self._known, adopt=self._adopt)
        if lacking := await crds.served(self._wanted, self._known):
            log.error("not all of our kinds are served", definitions=", ".join(lacking))
        self.have_been_brought = True

    async def bring_added(self) -> None:
        """Bring in line what was activated while an earlier process led; no request if that is nothing.

        Raises Denied, Unavailable, NotLeader.
        """
        if added := self._managed.added:
            self._problems |= await crds.bring(self._api, added, self._known, adopt=self._adopt)

    async def declare(self) -> None:
        """Make what managed definitions are missing or old: nobody waits for them, and little changes."""
        try:
            await tasks.insisting(
                self._managed.declare_all,
                lambda error: log.warning("not all managed kinds are declared", error=str(error)),
                KNOCK,
            )
            memory.give_back(after_collecting=True)
        except NotLeader:
            return  # whoever leads then begins anew

    async def migrate(self) -> None:
        """Have what is stored in old versions rewritten."""
        try:
            await tasks.insisting(
                lambda: crds.migrate(self._api, [*self._wanted, *self._managed.added], self._known),
                lambda error: log.warning(
                    "not all stored objects were rewritten in their new version", error=str(error)
                ),
                KNOCK,
            )
        except NotLeader:
            return  # whoever leads then begins anew

    def lacking(self) -> str:
        """What of those that the settings name is not served, and why; "" if nothing."""
        return "; ".join(sorted(self._problems.get(name, name) for name in crds.missing(self._wanted, self._known)))

    def count(self) -> Mapping[str, int]:
        """How many definitions there are of each state."""
        wanted = [*self._wanted, *self._managed.added]
        missing, outdated = len(crds.missing(wanted, self._known)), len(crds.outdated(wanted, self._known))
        return {"missing": missing, "outdated": outdated, "served": len(wanted) - missing - outdated}
