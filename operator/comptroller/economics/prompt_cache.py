"""Whether it pays to have a provider keep a prompt's prefix, and for how long.

Providers charge more for writing a prefix to their cache than for reading it plainly, and much less for finding it.
Each time it is found its life begins anew, so that a request finds it exactly if the one before came within that life.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

SECONDS: Mapping[str, float] = {"5m": 300.0, "1h": 3600.0}
"""The lives on offer, in seconds."""
NONE = "none"
FEWEST_GAPS = 6.0
"""Below that many gaps nothing is believed of them."""
WORTH_A_CHANGE = 0.05
"""Of the cost of what is in force: how much less something else must cost before it takes its place. A change rewrites
every cached prefix, and of two equal hours one always looks a little better."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """The measured times between requests of one prefix: `within[i]` of them were at most `seconds[i]`, of `total`.

    Both rise. No shape is assumed: bursts, pauses and nights are in the counts themselves.
    """

    seconds: tuple[float, ...]
    within: tuple[float, ...]
    total: float

    def ratio(self, seconds: float) -> float:
        """The share of requests whose prefix came at most so long ago; between two counts it rises with the logarithm
        of time. Worked: 60 of 100 within 150 s and 80 within 300 s: 0.70 within 212 s."""
        if self.total <= 0.0 or not self.seconds or seconds <= 0.0:
            return 0.0
        if seconds <= self.seconds[0]:
            return self.within[0] / self.total * seconds / self.seconds[0]
        for index in range(1, len(self.seconds)):
            if seconds <= self.seconds[index]:
                before, after = self.seconds[index - 1], self.seconds[index]
                part = math.log(seconds / before) / math.log(after / before)
                counted = self.within[index - 1] + part * (self.within[index] - self.within[index - 1])
                return min(1.0, counted / self.total)
        return min(1.0, self.within[-1] / self.total)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a prefix token costs, in US dollars per million, and the lives that the provider offers."""

    input: Decimal
    cached_input: Decimal
    write: Mapping[str, Decimal]  # life -> price of writing

    def usd(self, life: str, found: float) -> float:
        """Expected dollars per million prefix tokens of one request, `found` being the chance that it finds them.

        found x read + (1 - found) x write (Anthropic: read 0.1, write 1.25 or 2 times input). Worked: input $3, read
        $0.30, write $3.75, found 0.6: 0.6 x 0.30 + 0.4 x 3.75 = $1.68, against $3 without a cache.
        """
        if life == NONE:
            return float(self.input)
        return found * float(self.cached_input) + (1.0 - found) * float(self.write[life])


@dataclass(frozen=True, slots=True)
class Choice:
    """Which life is in force, and what each would cost in US dollars per million prefix tokens; no costs: unknown."""

    life: str
    found: Mapping[str, float]
    usd: Mapping[str, float]
    gaps: float = 0.0

    @property
    def known(self) -> bool:
        """Whether the arrivals were known."""
        return bool(self.usd)


def choose(terms: Terms, gaps: Gaps | None, density: float = 1.0, before: str | None = None) -> Choice:
    """The life with the least expected dollars per request.

    `density` is how many times denser the prefix arrives at the provider than it was measured: the number of router
    processes, each of which sees a part, times the provider's share of the route. `before` is what is in force.

    Where the arrivals are not known it stays, or begins with the shortest life: who asks for a cache expects prefixes
    to come again, being wrong costs a quarter of the prefix (write 1.25), being right saves nine tenths of it, and it
    is right from one request in five on (1.25 - 1.15 found < 1 from 0.22). Worked: gaps of 60 s, all alike: found 1 at
    5m and 1h, $0.30 both, and the shorter one wins; all of 20 minutes: 0 and 1, $3.75 and $0.30 against $3.00: 1h.
    """
    lives = [life for life in SECONDS if life in terms.write]
    if not lives:
        return Choice(NONE, {}, {})
    if gaps is None or gaps.total < FEWEST_GAPS:
        return Choice(before if before in (*lives, NONE) else lives[0], {}, {})
    found = {life: gaps.ratio(SECONDS[life] * density) for life in lives}
    usd = {life: terms.usd(life, found.get(life, 0.0)) for life in (NONE, *lives)}
    best = min(usd, key=lambda life: (round(usd[life], 2), SECONDS.get(life, 0.0)))
    if before in usd and before is not None and usd[best] >= usd[before] * (1.0 - WORTH_A_CHANGE):
        best = before
    return Choice(best, found, usd, gaps.total)


def poisson_gap_seconds(found: float, seconds: float) -> float:
    """The mean gap of Poisson arrivals that would find as much: with it whoever knows only a mean reckons right.

    -seconds / ln(1 - found). Worked: 63.2 % within 300 s: 300 s.
    """
    return -seconds / math.log(1.0 - min(max(found, 1e-6), 1.0 - 1e-9))


def in_words(choice: Choice, pool: str, asked: str, lives: Sequence[str]) -> str:
    """One sentence with the sums.

    >>> in_words(Choice("5m", {}, {}), "claude", "auto", ["5m"])
    'claude keeps prefixes 5m, since too few of them have come again yet to tell what pays'
    """
    kept = "does not keep prefixes" if choice.life == NONE else f"keeps prefixes {choice.life}"
    if asked != "auto":
        return f"{pool} {kept}, as asked"
    if not lives:
        return f"{pool} {kept}: it offers no life to choose"
    if not choice.known:
        return f"{pool} {kept}, since too few of them have come again yet to tell what pays"
    sums = ", ".join(
        f"{life} ${usd:.2f}" + (f" (found {choice.found[life]:.0%})" if life in choice.found else "")
        for life, usd in choice.usd.items()
    )
    return f"{pool} {kept}; per million prefix tokens of a request: {sums}"
