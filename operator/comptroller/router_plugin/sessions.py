"""Which backend a session goes to: the same one as long as the plan's shares allow.

Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights as in Schindelhauer and Schomaker 2005): of each
backend a session draws a number that depends on nothing but the two, and goes where weight / -ln(number) is highest.
Over all sessions each backend gets its weight, and when weights move only what must move does, whole sessions.

Sessions are of unequal size, and all traffic may be one of them. So there is a bound (Mirrokni, Thorup and
Zadimoghaddam 2018): a backend that has had more than its share and `MARGIN` of the route's last requests is passed
over, and the session's next one answers instead.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

MARGIN = 0.03
REMEMBERED_REQUESTS = 1000
SMALLEST_PLANNED = 1.0
"""Weights below are those of reserves: no share of theirs is counted."""


def order(session: bytes, weights: Mapping[str, float]) -> list[str]:
    """The backends as the session prefers them. Those of weight 0 are left out.

    >>> order(b"x", {"a": 1.0, "b": 0.0})
    ['a']
    """
    found = {one: weight / -math.log(_uniform(session, one)) for one, weight in weights.items() if weight > 0}
    return sorted(found, key=lambda one: (-found[one], one))


def _uniform(session: bytes, backend: str) -> float:
    """A number between 0 and 1, exclusive."""
    digest = hashlib.blake2b(backend.encode(), key=session[:64], digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53 + 2**-54


class Shares:
    """What the backends of one route have had of its last requests, held against the plan's weights."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = dict(weights)
        self._total = sum(weights.values())
        self._had = dict.fromkeys(weights, 0.0)
        self._requests = 0.0

    def choose(self, session: bytes, candidates: Sequence[str]) -> str | None:
        """The session's backend among the candidates that are planned; None if none of them is.

        A choice that was not free, because some are full or failing, says nothing about shares and is not counted:
        else those that come back would be flooded.
        """
        wanted = order(session, {one: self.weights[one] for one in candidates if one in self.weights})
        if not wanted:
            return None
        free = len(wanted) == len(self.weights)
        chosen = next((one for one in wanted if not self._above(one)), wanted[0]) if free else wanted[0]
        if free:
            self._count(chosen)
        return chosen

    def _above(self, backend: str) -> bool:
        """Whether one more request would be one too many."""
        share = self.weights[backend] / self._total
        return self._had[backend] + 1.0 > (share + MARGIN) * (self._requests + 1.0) + 1.0

    def _count(self, backend: str) -> None:
        if self._requests >= REMEMBERED_REQUESTS:
            kept = 1.0 - 1.0 / REMEMBERED_REQUESTS
            self._requests *= kept
            self._had = {one: had * kept for one, had in self._had.items()}
        self._requests += 1.0
        self._had[backend] += 1.0


class Sessions:
    """The shares of all routes of this process."""

    def __init__(self) -> None:
        self._routes: dict[str, Shares] = {}

    def choose(self, route: str, session: bytes, weights: Mapping[str, float], candidates: Sequence[str]) -> str | None:
        """A backend for a session of the route; None where only reserves are left. `weights` are those of all backends
        of the route; when they change the count begins anew, since what was had before followed another plan."""
        planned = {one: weight for one, weight in weights.items() if weight >= SMALLEST_PLANNED}
        found = self._routes.get(route)
        if found is None or found.weights != planned:
            found = self._routes[route] = Shares(planned)
        return found.choose(session, candidates)
