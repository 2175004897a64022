"""Requests and tokens per minute, as two token buckets.

A bucket holds one minute's allowance and refills evenly. A request is admitted if both buckets can pay for it, and then
both do; a request larger than a whole minute's allowance is admitted on a full bucket.

Worked: 60 requests per minute. 60 at once are admitted, the next one is told to come back in 1 s.
"""

from __future__ import annotations

from collections.abc import Callable

# What is limited ("requests", "tokens"): the limit per minute, and what is left of it now.
Allowance = dict[str, tuple[int, int]]


class Bucket:
    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self.level = per_minute
        self._at = now

    def refill(self, now: float) -> None:
        self.level = min(self.per_minute, self.level + (now - self._at) * self.per_minute / 60)
        self._at = now

    def seconds_until(self, amount: float) -> float:
        """How long until `amount` is there; 0 if it is."""
        missing = min(amount, self.per_minute) - self.level
        # Below a millionth is rounding: a client that waited as told must not be sent away again.
        return 0.0 if missing <= 1e-6 else missing * 60 / self.per_minute


class RateLimit:
    """The limits of one API key."""

    def __init__(self, requests_per_minute: int, tokens_per_minute: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._requests = Bucket(requests_per_minute, clock())
        self._tokens = Bucket(tokens_per_minute, clock())

    def take(self, tokens: int) -> tuple[str, float] | None:
        """Pay for one request of `tokens`; or name what is short (`requests`, `tokens`) and for how many seconds."""
        now = self._clock()
        self._requests.refill(now)
        self._tokens.refill(now)
        for name, bucket, amount in (("requests", self._requests, 1), ("tokens", self._tokens, tokens)):
            seconds = bucket.seconds_until(amount)
            if seconds > 0:
                return name, seconds
        self._requests.level -= 1
        self._tokens.level -= min(tokens, self._tokens.per_minute)
        return None

    def allowance(self) -> Allowance:
        return {
            "requests": (int(self._requests.per_minute), int(self._requests.level)),
            "tokens": (int(self._tokens.per_minute), int(self._tokens.level)),
        }
