"""Which prefixes a pool's caches keep where they cannot keep all, and which slot keeps which.

A kept prefix saves its prefill whenever a request begins with it: value = saved prefill seconds x requests per second,
that is, prefill seconds that are saved per second. What is kept is the set of most value that fits: a knapsack.

Worked: room for 20,000 tokens; A 16,000 tokens, 4 s, 1 request/s (value 4); B 12,000 tokens, 3 s, 0.9 (2.7); C 8,000
tokens, 2 s, 0.9 (1.8). A has the best single value, but B and C fit together and save 4.5 seconds per second.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

EXACT_UP_TO: Final = 20
"""Candidates for which every set is weighed (those that are dominated are dropped early)."""
STAY_UNLESS: Final = 1.1
"""A set that is kept already stays unless another is worth this much more: each change costs a prefill everywhere."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One prefix. `size` is in the unit of the capacity: tokens, or slots."""

    name: str
    size: float
    saved_seconds: float
    requests_per_second: float

    @property
    def value(self) -> float:
        """Prefill seconds that are saved per second."""
        return self.saved_seconds * self.requests_per_second


def place(candidates: Sequence[Candidate], capacity: float, kept: Collection[str] = ()) -> frozenset[str]:
    """The names of those that are kept. `kept` are those that are kept now."""
    best = _chosen(candidates, capacity)
    now = [one for one in candidates if one.name in kept]
    if _size(now) > capacity or not now or any(_size([*now, one]) <= capacity for one in best if one.name not in kept):
        return frozenset(one.name for one in best)
    return frozenset(one.name for one in (best if _value(best) > STAY_UNLESS * _value(now) else now))


def _chosen(candidates: Sequence[Candidate], capacity: float) -> list[Candidate]:
    fitting = [one for one in candidates if one.size <= capacity]
    if _size(fitting) <= capacity:
        return fitting
    return exact(fitting, capacity) if len(fitting) <= EXACT_UP_TO else greedy(fitting, capacity)


def exact(candidates: Sequence[Candidate], capacity: float) -> list[Candidate]:
    """The best set (Nemhauser and Ullmann, 1969): candidates are added one by one to all sets that no other set beats
    in both size and value."""
    fronts: list[tuple[float, float, tuple[Candidate, ...]]] = [(0.0, 0.0, ())]
    for one in candidates:
        grown = [
            (size + one.size, value + one.value, (*chosen, one))
            for size, value, chosen in fronts
            if size + one.size <= capacity
        ]
        merged = sorted([*fronts, *grown], key=lambda set_: (set_[0], -set_[1]))
        fronts, best = [], -math.inf
        for set_ in merged:
            if set_[1] > best:
                fronts.append(set_)
                best = set_[1]
    return list(fronts[-1][2])


def greedy(candidates: Sequence[Candidate], capacity: float) -> list[Candidate]:
    """At least half of the best value, for candidates that each fit alone.

    Taken in the order of value per size until the first one does not fit: the taken ones and that one together are
    worth at least as much as any set that fits (they fill the room with the densest of all), so that either the taken
    ones or that one alone is worth half of it. What else fits is added.
    """
    order = sorted(candidates, key=lambda one: (-_density(one), one.name))
    taken: list[Candidate] = []
    for one in order:
        if _size([*taken, one]) <= capacity:
            taken.append(one)
    single = max(order, key=lambda one: one.value, default=None)
    return [single] if single is not None and single.value > _value(taken) else taken


def deal(names: Sequence[str], slots: int) -> dict[str, tuple[int, ...]]:
    """Deals out the slots of a replica, so that each prefix has at least one; as many prefixes as slots at most.

    >>> deal(["a", "b"], 5)
    {'a': (0, 2, 4), 'b': (1, 3)}
    """
    return {name: tuple(range(index, slots, len(names))) for index, name in enumerate(names)}


def _density(one: Candidate) -> float:
    return one.value / one.size if one.size > 0 else math.inf


def _size(some: Sequence[Candidate]) -> float:
    return sum(one.size for one in some)


def _value(some: Sequence[Candidate]) -> float:
    return sum(one.value for one in some)
