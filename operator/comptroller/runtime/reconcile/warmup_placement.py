"""Which prefixes of all of a pool's warm-ups its caches keep, and in which slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from comptroller.allocation.placement import Candidate, deal, place
from comptroller.api.cachewarmup import CacheWarmupSpec, Prefix
from comptroller.render.warmup import Slots
from comptroller.runtime.texts import Contents

PREFIX_SHARE = 0.5
"""How much of a cache prefixes may fill: requests in flight need the rest for what is their own."""
UNKNOWN_TOKENS = 2000.0  # a prefix from a Secret, until the engine has counted it


@dataclass(frozen=True, slots=True)
class Caches:
    """What one replica can hold: slots with a cache each, or tokens in one for all (None: nobody knows)."""

    slots: int
    tokens: float | None
    prefill_seconds_per_token: float


@dataclass(frozen=True, slots=True)
class Placed:
    """What a pool keeps of one warm-up."""

    slots: Slots
    left_out: Mapping[str, str]  # prefix -> why


@dataclass(frozen=True, slots=True)
class Wanted:
    """One warm-up of a pool, with what its status tells of earlier runs."""

    spec: CacheWarmupSpec
    contents: Contents
    status: Mapping[str, Any]


def place_all(pool: str, caches: Caches, warmups: Mapping[str, Wanted]) -> dict[str, Placed]:
    """By warm-up. `pool` is a name without namespace. Warm-ups and their prefixes keep their order, so that one more
    moves as few as possible."""
    declared = [float(rate) for one in warmups.values() for p in one.spec.prefixes if (rate := p.requests_per_second)]
    usual = fmean(declared) if declared else 1.0
    candidates = {
        (key, prefix.name): _candidate(f"{key}/{prefix.name}", prefix, one, caches, usual)
        for key, one in warmups.items()
        for prefix in one.spec.prefixes
    }
    capacity = caches.slots or (float("inf") if caches.tokens is None else PREFIX_SHARE * caches.tokens)
    names = place(list(candidates.values()), capacity, _kept(pool, warmups))
    dealt = deal([one.name for one in candidates.values() if one.name in names], caches.slots) if caches.slots else {}
    return {
        key: Placed(
            slots={
                prefix.name: dealt.get(f"{key}/{prefix.name}", ())
                for prefix in one.spec.prefixes
                if f"{key}/{prefix.name}" in names
            },
            left_out={
                prefix.name: _reason(candidates[key, prefix.name], caches, [candidates[k] for k in candidates], names)
                for prefix in one.spec.prefixes
                if f"{key}/{prefix.name}" not in names
            },
        )
        for key, one in warmups.items()
    }


def _candidate(name: str, prefix: Prefix, one: Wanted, caches: Caches, usual: float) -> Candidate:
    measured: Sequence[Mapping[str, Any]] = one.status.get("prefixes") or ()
    known = next((row for row in measured if row.get("name") == prefix.name), {})
    tokens = float(known.get("tokens") or one.contents.tokens.get(prefix.name, UNKNOWN_TOKENS))
    cold, warm = known.get("coldTimeToFirstTokenMs"), known.get("warmTimeToFirstTokenMs")
    saved = tokens * caches.prefill_seconds_per_token
    if cold and warm is not None:
        saved = float(f"{max(0.0, cold - warm) / 1000:.1g}")  # coarse: a measurement's noise shall not move prefixes
    rate = usual if prefix.requests_per_second is None else float(prefix.requests_per_second)
    return Candidate(name, 1.0 if caches.slots else tokens, saved, rate)


def _kept(pool: str, warmups: Mapping[str, Wanted]) -> set[str]:
    """What is kept now, as the statuses tell."""
    kept = set()
    for key, one in warmups.items():
        row = next((row for row in one.status.get("caches") or () if row.get("pool") == pool), None)
        if row is not None:
            left_out = {left["prefix"] for left in row.get("leftOut") or ()}
            kept |= {f"{key}/{prefix.name}" for prefix in one.spec.prefixes if prefix.name not in left_out}
    return kept


def _reason(one: Candidate, caches: Caches, candidates: Sequence[Candidate], names: frozenset[str]) -> str:
    kept = sum(each.name in names for each in candidates)
    room = (
        f"A replica has {caches.slots} slots, one per prefix, for {len(candidates)} prefixes"
        if caches.slots
        else f"Prefixes may fill {PREFIX_SHARE * (caches.tokens or 0.0):.0f} tokens of a replica's cache, and the "
        f"{len(candidates)} of this pool have {sum(each.size for each in candidates):.0f}"
    )
    return (
        f"{room}: the {kept} that save the most are kept; this one saves {one.value:.2g} seconds of prefill per "
        "second. Give it a larger requestsPerSecond, the pool more cache, or move it to another pool."
    )
