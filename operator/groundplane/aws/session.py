"""The clients of each account, made when first used and kept: one botocore session for each account and region.

An account is a ProviderConfig and the state of its credentials.  A session isn't thread-safe and a client is slow to build, so both are
made under the account's own lock: credentials that are looked for and never found hold up nobody else.  Clients are thread-safe.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from groundplane.aws import deadline
from groundplane.aws.account_config import AccountConfig
from groundplane.aws.client_factory import Client, ClientFactory, OnCall
from groundplane.aws.credentials import CredentialsSource
from groundplane.aws.sdk import ATTEMPTS, GLOBAL_REGIONS, check_region
from groundplane.core.objects import group_of, meta
from groundplane.errors import GroundplaneError
from groundplane.ports import Account

UNUSED = 3600.0  # seconds after which an account's clients are dropped, those of deleted ProviderConfigs among them
SWEEP = 60.0  # seconds at least between two looks for them
# Seconds until credentials that were refused are looked for again, doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
LASTING = 600.0  # seconds after which clients that are refused had been good ones
UNKNOWN_ACCOUNT = "000000000000"  # as upstream where it does not ask


class Sessions:
    """The clients of all accounts.  Safe to use from many threads."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        attempts: int = ATTEMPTS,
        may_write: Callable[[], None] = lambda: None,
        on_call: OnCall = lambda service, operation, answer, error, seconds: None,
        clock: Callable[[], float] = time.monotonic,
        only: Container[str] | None = None,
    ) -> None:
        """`attempts`, `may_write`, `on_call` and `only` as ClientFactory has them; `clock` is monotonic, in seconds."""
        self._factory = ClientFactory(
            os.environ if environ is None else environ,
            attempts=attempts,
            may_write=may_write,
            on_call=on_call,
            only=only,
        )
        self._clock = clock
        self._lock = threading.Lock()  # of the dictionary only: nothing is built or asked under it
        # By the ProviderConfig's group, kind, namespace and name.
        self._accounts: dict[tuple[str, ...], AccountClients] = {}
        self._swept = time.monotonic()

    def clients(self, account: Account, *, for_calls: bool = True) -> AccountClients:
        """The account's clients; made anew when its version changed or they were refused, the earlier ones forgotten.

        Raises:
            Denied: they are `for_calls`, and the account's credentials were refused again a moment ago; in the same words.
        """
        config = account.provider_config
        group, kind = group_of(str(config.get("apiVersion") or "")), str(config.get("kind") or "")
        key = (group, kind, meta(config).get("namespace") or "", meta(config).get("name") or "")
        with self._lock:
            now, clients = time.monotonic(), self._accounts.get(key)
            if now - self._swept > SWEEP:
                self._swept = now
                for other in [other for other, known in self._accounts.items() if now - known.used > UNUSED]:
                    if other != key:
                        del self._accounts[other]
            pause = 0.0
            if clients is not None and clients.version != account.version:
                clients = None
            if clients is not None and clients.refused is not None and for_calls:
                if self._clock() < clients.again:
                    raise copy.copy(clients.refused)
                pause, clients = clients.next_pause, None
            if clients is None:
                clients = self._accounts[key] = AccountClients(account, self._factory, self._clock, pause)
            clients.used = now
            return clients

    @property
    def kept(self) -> int:
        """How many accounts' clients there are."""
        return len(self._accounts)


class AccountClients:
    """The clients of one account, until its ProviderConfig or its credentials change, or these are refused."""

    def __init__(
        self, account: Account, factory: ClientFactory, clock: Callable[[], float] = time.monotonic, pause: float = 0.0
    ) -> None:
        """`pause`: seconds until others take their place, should they be refused soon."""
        self._factory, self._clock, self._pause, self._made = factory, clock, pause, clock()
        self.version = account.version
        self.config = AccountConfig(account.provider_config)
        self.credentials = CredentialsSource(
            self.config, account.credentials, factory.environ, partial(factory.create, self.config)
        )
        # Why these clients are not to be used again: AWS did not accept the credentials, or there are none.
        self.refused: GroundplaneError | None = None
        self.again = 0.0  # when others take their place then, by the clock that was given
        self.used = 0.0  # when last, by the monotonic clock
        self._lock = threading.RLock()  # the sessions and what is made of them
        self._sessions: dict[str, Any] = {}  # by region: STS is asked in the region that is asked for
        self._clients: dict[tuple[str, str, bool], Client] = {}
        self._account_id = ""
        # Looked at once: the session that it takes costs 12 ms of a core, too much for each user that comes or goes.
        self._is_sound = False

    def refuse(self, error: GroundplaneError) -> None:
        """Their credentials were refused.  Others are looked for at once, since these may just have ended; what is refused again only after
        pauses: to look costs a tenth of a second of a core, and each object of the account would do it anew."""
        if self.refused is None:
            now = self._clock()
            self.again = now + (self._pause if now - self._made < LASTING else 0.0)
            self.refused = copy.copy(error)  # who tells of that one adds to its words

    @property
    def next_pause(self) -> float:
        """The pause of those that take their place."""
        return min(LONGEST_PAUSE, 2 * self._pause) if self._pause else FIRST_PAUSE

    def check(self) -> None:
        """Raise InvalidInput for what can't work, as far as that shows without a call to AWS; what once could is not looked at again."""
        if self._is_sound:
            return
        self.config.check()
        self.credentials.check()
        self._is_sound = True

    def client(self, service: str, region: str, *, once: bool = False) -> Client:
        """The service's client for a region ("" for a global service); `once`: one that never repeats a call.

        Raises:
            InvalidInput: the ProviderConfig can't work, or there is no such region.
            Denied: its credentials source offers none.
        """
        found = self._clients.get((service, region, once))
        if found is not None:
            return found
        with self._lock:
            if (service, region, once) not in self._clients:
                deadline.begin(f"{service}, for want of credentials of {self.config.place}")
                check_region(region, self.config.spec)
                if region not in self._sessions:
                    self._sessions[region] = self.credentials.session(region)
                made = self._factory.create(self.config, self._sessions[region], service, region, once=once)
                self._clients[service, region, once] = made
            return self._clients[service, region, once]

    @property
    def is_identified(self) -> bool:
        """Whether the account's number is known, so that nobody is asked for it."""
        return bool(self._account_id)

    def account_id(self, region: str) -> str:
        """Asked of STS once, when first needed: some things are found by an ARN only.

        Where the ProviderConfig says not to ask, nothing else is done for want of an answer: then it is zeroes.
        """
        if not self._account_id:
            try:
                self._account_id = self.client("sts", region).get_caller_identity()["Account"]
            except (ClientError, BotoCoreError, ResponseParserError):
                spec = self.config.spec
                if not (spec.get("skip_requesting_account_id") and spec.get("skip_credentials_validation")):
                    raise
                self._account_id = UNKNOWN_ACCOUNT
        return self._account_id

    def arn(self) -> str:
        """Who the credentials are; STS is asked, whatever the account says of its validation."""
        region = self.config.signing_region or GLOBAL_REGIONS["aws"]
        return str(self.client("sts", region).get_caller_identity()["Arn"])
