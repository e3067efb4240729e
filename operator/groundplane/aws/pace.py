"""How fast calls may be made: a token bucket whose rate is cut where AWS throttles, and grows back.

In the manner of the AWS SDKs' adaptive mode: a cut halves what was really sent, once a second at most, since calls that were under way
together say the same thing; after it the rate doubles every half a minute.  Time comes as a value, from whichever clock.
"""

from __future__ import annotations

import math

RATE, BURST = 100.0, 200  # calls per second, and at once, of what was never throttled
SLOWEST = 0.5  # calls per second: no cut goes below
DOUBLED = 30.0  # seconds in which the rate doubles after a cut
CALM = 1.0  # seconds in which a second throttling tells nothing new
LONGEST = 60.0  # seconds at most until who was refused comes back
EPSILON = 1e-6  # of a token: sums of fractions are not exact


class Pace:
    """Tokens that refill as time passes, at a rate that follows what the other side can take.

    >>> pace = Pace(0.0)
    >>> [pace.take(0.0) for _ in range(4)], pace.rate(0.0)
    ([0.0, 0.0, 0.0, 0.0], 100.0)
    >>> pace.throttled(0.0)  # there were four in this second
    >>> pace.rate(0.0), pace.rate(30.0), pace.rate(1000.0)
    (2.0, 4.0, 100.0)
    """

    __slots__ = ("_base", "_booked", "_cut", "_filled", "_second", "_sent", "_sent_before", "_tokens")

    def __init__(self, now: float) -> None:
        self._base, self._cut = RATE, now - CALM  # the rate after the last cut, and when that was
        self._tokens, self._filled = float(BURST), now
        self._second, self._sent, self._sent_before = int(now), 0, 0  # calls of this second and of the one before
        self._booked = now  # up to when the tokens to come are promised to those who were refused

    def rate(self, now: float) -> float:
        """Calls per second that may be made now."""
        return min(RATE, self._base * math.exp2(min((now - self._cut) / DOUBLED, 20.0)))

    def lately(self, now: float) -> int:
        """Calls that were made within a second, of this one and the one before."""
        self._fill(now)
        return max(self._sent, self._sent_before)

    def take(self, now: float) -> float:
        """0 lets a call pass; else the seconds after which it is worth another try: those refused come back one after the other."""
        self._fill(now)
        if self._tokens >= 1 - EPSILON:
            self._tokens -= 1
            self._sent += 1
            return 0.0
        self._booked = min(max(self._booked, now) + 1 / self.rate(now), now + LONGEST)
        return self._booked - now

    def give_back(self) -> None:
        """The call that took a token was not made."""
        self._tokens += 1
        self._sent = max(0, self._sent - 1)

    def throttled(self, now: float) -> None:
        """Slower from now on."""
        self._fill(now)
        if now - self._cut < CALM:
            return
        sent = max(self._sent, self._sent_before, 1)
        self._base, self._cut = max(SLOWEST, min(self.rate(now), sent) / 2), now
        self._tokens = 1.0  # whoever tries again after the pause may

    def _burst(self, now: float) -> float:
        return max(1.0, BURST * self.rate(now) / RATE)

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._filled)
        mean = (self.rate(self._filled) + self.rate(now)) / 2
        self._tokens = min(self._burst(now), self._tokens + passed * mean)
        self._filled = max(now, self._filled)
        if (second := int(now)) != self._second:
            self._sent_before = self._sent if second == self._second + 1 else 0
            self._second, self._sent = second, 0
