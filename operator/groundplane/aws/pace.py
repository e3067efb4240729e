"""How fast calls may be made: a token bucket whose rate is cut where AWS throttles, and grows back.

In the manner of the AWS SDKs' adaptive mode: a cut halves what was really sent, once a second at most, since calls that were under way
together say the same thing; after it the rate doubles every ten seconds: what AWS takes is used but for a few hundredths,
and one call in two hundred is refused.  Time comes as a value, from whichever clock.
"""

from __future__ import annotations

import math

from groundplane.core.bucket import Bucket

RATE, BURST = 100.0, 200  # calls per second, and at once, of what was never throttled
SLOWEST = 0.5  # calls per second: no cut goes below
DOUBLED = 10.0  # seconds in which the rate doubles after a cut
CALM = 1.0  # seconds in which a second throttling tells nothing new


class Pace:
    """When the next call may be made, at a rate that follows what the other side can take.

    >>> pace = Pace(0.0)
    >>> [pace.take(0.0) for _ in range(4)], pace.rate(0.0)
    ([0.0, 0.0, 0.0, 0.0], 100.0)
    >>> pace.throttled(0.0)  # there were four in this second
    >>> pace.rate(0.0), pace.rate(30.0), pace.rate(1000.0)
    (2.0, 16.0, 100.0)
    """

    __slots__ = ("_base", "_bucket", "_cut", "_second", "_sent", "_sent_before")

    def __init__(self, now: float) -> None:
        self._base, self._cut = RATE, now - CALM  # the rate after the last cut, and when that was
        self._bucket = Bucket(RATE, BURST, now)
        self._second, self._sent, self._sent_before = int(now), 0, 0  # calls of this second and of the one before

    def rate(self, now: float) -> float:
        """Calls per second that may be made now."""
        return min(RATE, self._base * math.exp2(min((now - self._cut) / DOUBLED, 20.0)))

    def lately(self, now: float) -> int:
        """Calls that were made within a second, of this one and the one before."""
        if (second := int(now)) != self._second:
            self._sent_before = self._sent if second == self._second + 1 else 0
            self._second, self._sent = second, 0
        return max(self._sent, self._sent_before)

    def left(self, now: float) -> float:
        """Seconds until a call may be made; takes nothing."""
        self._follow(now)
        return self._bucket.left(now)

    def take(self, now: float) -> float:
        """Seconds until a call may be made; 0 lets it pass, and counts it."""
        self._follow(now)
        if left := self._bucket.wait(now):
            return left
        self.lately(now)
        self._sent += 1
        return 0.0

    def throttled(self, now: float) -> None:
        """Slower from now on."""
        if now - self._cut < CALM:
            return
        sent = max(1, self.lately(now))
        self._base, self._cut = max(SLOWEST, min(self.rate(now), sent) / 2), now
        self._bucket = Bucket(self._base, 1, now)  # whoever tries again after the pause may

    def _follow(self, now: float) -> None:
        rate = self.rate(now)
        self._bucket.change(rate, max(1.0, BURST * rate / RATE), now)
