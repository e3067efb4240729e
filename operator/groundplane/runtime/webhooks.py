"""The admission webhooks of this process, looked after: a server (`webhook_server.py`) that answers what is asked (`webhook_registry.py`).

Every replica answers and keeps its certificate (`certificates.py`); the leader keeps the configurations that point here
(`webhook_configurations.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.informer import Informer
from groundplane.errors import GroundplaneError, NotLeader, Unavailable
from groundplane.ports import Context, Resource
from groundplane.runtime import certificates, guard, logs, metrics, pairs
from groundplane.runtime.pairs import SERVER, Pair
from groundplane.runtime.tasks import within
from groundplane.runtime.webhook_configurations import CONFIGURATIONS, NAMES, SERVICE, Configurations, Place, Target
from groundplane.runtime.webhook_registry import Webhook, configured
from groundplane.runtime.webhook_server import Apart

# Seconds between two looks at certificate and configurations, and while something is still to be done.
CHECK, SOON = 600.0, 1.0
LATER = 10.0  # seconds until what did not work is tried again
TRIES = 5  # looks, a second apart, whether the API server reaches them: it takes a moment to take up a configuration
CALM = 0.3  # seconds between two looks at changes that follow each other
GOODBYE = 1.5  # seconds that a process takes to withdraw what only it can answer
SECRETS = Resource("v1", "Secret", "secrets", namespaced=True)

log = logs.get_logger(__name__)


class Webhooks:
    """Server, certificate and configurations, looked after until it is cancelled."""

    def __init__(
        self,
        server: Apart,
        webhooks: Sequence[Webhook],
        api: Api,
        configurations: Configurations,
        context: Context,
        place: Place,
        *,
        leads: Callable[[], bool],
        namespace: str,
    ) -> None:
        """`api` may write the Secrets whoever leads; `configurations` are applied only while this process `leads`.

        At a tentative `place` whatever is in their way ends them, and their end withdraws them; at one that is this process's alone, no other replica is meant.
        """
        self.is_tentative = place.is_tentative
        self.have_ended = False  # given up, or withdrawn
        self._place = place
        self._server, self._webhooks, self._api, self._configurations = server, webhooks, api, configurations
        self._context, self._leads = context, leads
        self._namespace = namespace
        self._hosts = hosts(namespace, place.url)
        self._loaded: Pair | None = None
        self._problem = "no certificate yet"
        self._is_configured = False  # by us, since we lead
        self._has_begun = False  # something that only this process can answer may be there
        self._turn = asyncio.Lock()  # of who applies configurations, or withdraws them
        self._news = asyncio.Event()  # there is something to look at
        self._said = ""

    def problem(self) -> str:
        """Why no API server can be answered; "" if all is well."""
        return self._problem

    def dead(self) -> str:
        """Why nothing but a new process helps; "" if nothing is wrong."""
        return self._server.problem()

    def look(self) -> None:
        """We have begun to lead, or a definition has changed: configurations may have to say something else."""
        self._news.set()

    async def run(self) -> None:
        """Serve, renew, repair; until they have ended."""
        informers = [self._followed(CONFIGURATIONS, name) for name in NAMES]
        if not self._place.is_alone:
            informers.append(self._followed(SECRETS, SERVER))
        following = [asyncio.create_task(informer.run()) for informer in informers]
        try:
            while not self.have_ended:
                self._news.clear()
                await self._look()
                is_done = self._loaded is not None and (self._is_configured or not self._leads())
                if await within(CHECK if is_done else LATER if self._said else SOON, self._news):
                    await asyncio.sleep(CALM)  # much else may change in the same moment
        finally:
            for informer in informers:
                informer.stop()
            await asyncio.gather(*following, return_exceptions=True)
            await self._server.stop()

    def _followed(self, resource: Resource, name: str) -> Informer:
        """Whoever changes a configuration, or the certificate, it is put right at once."""
        return Informer(
            self._api,
            resource,
            Cache(),
            lambda change: self._news.set(),
            field_selector=f"metadata.name={name}",
            namespace=self._namespace if resource.namespaced else "",
            metadata_only=True,
        )

    async def withdraw(self) -> None:
        """At an orderly end, of what nobody has asked for: nothing is left that only this process can answer."""
        if self.have_ended or not (self.is_tentative and self._has_begun and self._leads()):
            return
        self.have_ended = True
        try:
            async with asyncio.timeout(GOODBYE), self._turn:
                await guard.bring(self._context.cluster)
                await self._configurations.withdraw()
        except (TimeoutError, GroundplaneError) as error:
            log.warning("the webhooks could not be withdrawn", error=str(error))

    async def _give_up(self, why: str) -> None:
        """End what nobody has asked for; if the policy can't be brought in its place now, at the next look."""
        try:
            if self._leads():
                await guard.bring(self._context.cluster)
                await self._configurations.withdraw()
        except NotLeader:
            log.debug("whoever leads brings the policy of usages")
        except GroundplaneError as error:
            self._say(str(error))
            return
        self.have_ended = True
        log.info("webhooks are off", why=why, mend="--webhooks on, with a --webhook-url that the API server reaches")

    async def _look(self) -> None:
        try:
            pair = await self._certificate()
            if pair != self._loaded:
                await self._server.serve(pair)
                self._loaded = pair
                metrics.certificate_expiry.set(pair.until.timestamp())
                log.info("webhooks are served", port=self._server.port, until=f"{pair.until:%Y-%m-%dT%H:%M:%SZ}")
            self._problem = ""
        except GroundplaneError as error:
            if self._loaded is None:
                self._problem = str(error)
            elif self._loaded.until <= certificates.now():
                self._problem = "the certificate has expired"
            self._say(str(error))
            if self.is_tentative and not isinstance(error, Unavailable):
                await self._give_up(str(error))
            return
        async with self._turn:
            if not self.have_ended:
                await self._configure(pair)

    async def _certificate(self) -> Pair:
        """From the Secret that all replicas share, or, where none but this process is to be asked, its own."""
        now = certificates.now()
        if not self._place.is_alone:
            return await certificates.ensure(self._api, self._namespace, self._hosts, now, known=self._loaded)
        if self._loaded is None or pairs.is_due(self._loaded, now):
            return await certificates.transient(self._hosts, now)
        return self._loaded

    async def _configure(self, pair: Pair) -> None:
        if not self._leads():
            self._is_configured, self._said = False, ""
            return
        url = f"{self._place.url}:{self._server.port}" if self._place.is_alone else self._place.url
        target = Target(self._namespace, self._place.port, pair.bundle, url)
        self._has_begun = True
        try:
            await self._configurations.ensure(configured(self._webhooks, target, self._context))
            if not self._is_configured:
                if self.is_tentative and not await self._are_reached():
                    await self._give_up("the API server does not reach them")
                    return
                await guard.take_away(self._context.cluster)  # not before: something refuses all the time
            self._is_configured, self._said = True, ""
        except NotLeader:
            return
        except GroundplaneError as error:
            if self.is_tentative and not isinstance(error, Unavailable):
                await self._give_up(str(error))
            else:
                self._say(str(error))

    async def _are_reached(self) -> bool:
        for _ in range(TRIES):
            if await self._configurations.answered():
                return True
            await asyncio.sleep(SOON)
        return False

    def _say(self, text: str) -> None:
        """Once, until it is another problem."""
        if text != self._said and not self.is_tentative:
            log.error("webhooks can't be set up", error=text)
        self._said = text


def hosts(namespace: str, url: str = "") -> list[str]:
    """The names and addresses that the certificate is for."""
    service = f"{SERVICE}.{namespace}"
    found = [f"{service}.svc", service, SERVICE, f"{service}.svc.cluster.local"]
    if url:
        host = urlsplit(url).hostname or ""
        try:
            host = str(ip_address(host))
        except ValueError:
            host = host.lower()
        found.append(host)
    return found
