"""Whose credentials are where, and who works with them: what a change of a Secret or of a ProviderConfig concerns."""

from __future__ import annotations

from collections.abc import Mapping

from groundplane.core.bucket import Bucket
from groundplane.core.objects import Key

REMEMBERED, LONGEST = 1_024, 65_536  # ProviderConfigs whose credentials are kept, and their bytes
CHANGES, PER_SECOND = 5, 0.1  # of a ProviderConfig's credentials that are followed at once, and from then on
COUNTS, COUNTS_PER_SECOND = 5, 1.0  # of its users that are written at once, and from then on


class Accounts:
    """The ProviderConfigs that read each Secret, and the credentials with which each managed resource was last looked at.

    As this process has found it: nothing is lost with it, since who begins looks at everything.
    """

    def __init__(self) -> None:
        self._secret: dict[Key, Key] = {}  # by ProviderConfig
        self._readers: dict[Key, dict[Key, None]] = {}  # by Secret
        self._used: dict[Key, tuple[Key, str]] = {}  # by managed resource
        self._users: dict[Key, dict[str, dict[Key, None]]] = {}  # by ProviderConfig and version of its credentials
        self._kept: dict[Key, Mapping[str, bytes]] = {}  # what the Secret held, by ProviderConfig; the latest last
        self._followed: dict[Key, tuple[str, Bucket]] = {}  # by ProviderConfig: the version in use, and what is left
        self._counted: dict[Key, Bucket] = {}  # by ProviderConfig

    def __len__(self) -> int:
        """How many objects something is known of."""
        return len({*self._secret, *self._followed, *self._counted}) + len(self._used)

    def reads(self, config: Key, secret: Key | None) -> None:
        """Its credentials come from this Secret and no other; None: from none."""
        before = self._secret.pop(config, None)
        if before and before != secret:
            left = self._readers[before]
            del left[config]
            if not left:
                del self._readers[before]
        if secret:
            self._secret[config] = secret
            self._readers.setdefault(secret, {})[config] = None

    def readers(self, secret: Key) -> list[Key]:
        """The ProviderConfigs whose credentials come from it."""
        return list(self._readers.get(secret, ()))

    def keep(self, config: Key, credentials: Mapping[str, bytes]) -> None:
        """Remember what its Secret holds, for what is deleted when that is gone; of many, and of much, only some."""
        self._kept.pop(config, None)
        if sum(map(len, credentials.values())) <= LONGEST:
            self._kept[config] = dict(credentials)
        if len(self._kept) > REMEMBERED:
            del self._kept[next(iter(self._kept))]

    def kept(self, config: Key) -> Mapping[str, bytes]:
        return self._kept.get(config, {})

    def pause(self, config: Key, version: str, now: float) -> float:
        """Seconds until these credentials are used, 0 for at once: what changes again and again would keep everybody busy.

        `now` in seconds of a clock that nobody sets: set back, it would keep everybody waiting for as long.
        """
        if config not in self._followed:
            self._followed[config] = version, Bucket(PER_SECOND, CHANGES, now)
            return 0.0
        known, bucket = self._followed[config]
        if known == version:
            return 0.0
        if not (left := bucket.wait(now)):
            self._followed[config] = version, bucket
        return left

    def until_counted(self, config: Key, now: float) -> float:
        """Seconds until another count of its users is written, 0 for at once: where a thousand come, not a thousand times."""
        return self._counted.setdefault(config, Bucket(COUNTS_PER_SECOND, COUNTS, now)).wait(now)

    def uses(self, user: Key, config: Key, version: str) -> None:
        """A managed resource is looked at with these credentials."""
        if self._used.get(user) == (config, version):
            return
        self._leave(user)
        self._used[user] = config, version
        self._users.setdefault(config, {}).setdefault(version, {})[user] = None

    def take_outdated(self, config: Key, version: str) -> list[Key]:
        """Who was last looked at with other credentials than these; each is named once, and comes back by `uses`."""
        outdated = [user for known, users in self._users.get(config, {}).items() if known != version for user in users]
        for user in outdated:
            self._leave(user)
        return outdated

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self.reads(key, None)
        self._kept.pop(key, None)
        self._followed.pop(key, None)
        self._counted.pop(key, None)
        self._leave(key)

    def _leave(self, user: Key) -> None:
        if used := self._used.pop(user, None):
            config, version = used
            versions = self._users[config]
            del versions[version][user]
            if not versions[version]:
                del versions[version]
            if not versions:
                del self._users[config]
