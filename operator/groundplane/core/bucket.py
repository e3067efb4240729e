"""The token bucket: lets `rate` pass per second, `burst` at once.  Time comes as a value, from whichever clock."""

from __future__ import annotations

EPSILON = 1e-6  # of a token: sums of fractions are not exact


class Bucket:
    """Tokens that refill as time passes.

    >>> bucket = Bucket(rate=1, burst=2, now=0.0)
    >>> [bucket.wait(now) for now in (0.0, 0.0, 0.5, 1.0)]
    [0.0, 0.0, 0.5, 0.0]
    """

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """`rate` per second, `burst` at once; `now` in seconds of the clock that `wait` and `reserve` are asked with."""
        self._rate, self._burst = rate, burst
        self._tokens, self._filled = self._burst, now

    def take(self, now: float, cost: float) -> bool:
        """Take so many tokens, if there are as many."""
        self._fill(now)
        if self._tokens < cost - EPSILON:
            return False
        self._tokens -= cost
        return True

    def wait(self, now: float) -> float:
        """Seconds until one may pass; 0 lets it pass, and takes a token."""
        if left := self.left(now):
            return left
        self._tokens -= 1
        return 0.0

    def left(self, now: float) -> float:
        """Seconds until one may pass; takes nothing."""
        self._fill(now)
        return (1 - self._tokens) / self._rate if self._tokens < 1 - EPSILON else 0.0

    def is_full(self, now: float) -> bool:
        """Whether it is as a new one."""
        self._fill(now)
        return self._tokens >= self._burst - EPSILON

    def reserve(self, now: float, cost: float = 1.0) -> float:
        """Take so many tokens in any case: seconds to wait in line before they may be used."""
        self._fill(now)
        self._tokens -= cost
        return max(0.0, -self._tokens / self._rate)

    def change(self, rate: float, burst: float, now: float) -> None:
        """From now on at another rate; tokens beyond the new burst are lost."""
        self._fill(now)
        self._rate, self._burst = rate, float(burst)
        self._tokens = min(self._burst, self._tokens)

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
