"""The ledger: what was decided from what, what else could have been done, and what it really cost.

An entry is made of a decision that is in force; its interval ends with the next entry. Predicted and realised cost are
on the same basis: power and rent of the replicas that exist, and tokens of hosted pools. What was not measured for the
whole interval is unknown, never zero.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from comptroller.allocation.decision import Alternative, Decision, PoolTarget, Rung
from comptroller.allocation.measured import known
from comptroller.allocation.snapshot import LocalPool, Measurement, Sample, Snapshot, Unknown
from comptroller.allocation.words import percent, short, usd

SECONDS_PER_HOUR = 3600.0
LONGEST_INTERVAL_SECONDS = 60.0  # an entry at least this often, also when nothing changes
NEWS_SHARE = 0.1  # of a route's requests that go elsewhere than before: less is the noise of steady demand
CURRENCY = "USD, marginal basis: power, rent and tokens"


@dataclass(frozen=True, slots=True)
class Change:
    """What a decision changes: `subject` is a pool, a route, or `rung`; `words` say it with numbers and why."""

    subject: str
    words: str


@dataclass(frozen=True, slots=True)
class Realised:
    """What the interval of an entry cost. `usd` None: not measured throughout, and why."""

    seconds: float
    predicted_usd: float
    usd: float | None
    why_unknown: str = ""

    @property
    def error_ratio(self) -> float | None:
        """Realised over predicted, less one: 0.1 when it cost a tenth more. None where either is not known, or zero.

        >>> round(Realised(60.0, 0.50, 0.55).error_ratio, 3)
        0.1
        """
        return self.usd / self.predicted_usd - 1.0 if self.usd is not None and self.predicted_usd > 0.0 else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision. Money in US dollars per hour, predicted; routes and pools by key."""

    number: int
    at_seconds: float
    inputs: str  # `digest` of the snapshot
    rung: Rung
    usd_per_hour: float  # now
    usd_per_hour_when_started: float  # once all wanted replicas serve: what the alternatives compare with
    alternatives: tuple[Alternative, ...]
    prices: Mapping[str, Mapping[str, float]]
    demand: Mapping[str, float | None]  # requests/s; None: unknown
    replicas: Mapping[str, int]
    shares: Mapping[str, Mapping[str, float]]
    shed: Mapping[str, float]  # share of each route that nobody answers
    shadow_prices: Mapping[tuple[str, str], float]
    unknown: int
    changes: tuple[Change, ...] = ()
    realised: Realised | None = None


def entry_of(number: int, snapshot: Snapshot, decision: Decision, before: Entry | None = None) -> Entry:
    """The entry of a decision; `before` is the last one, None for the first: then nothing counts as a change."""
    return Entry(
        number=number,
        at_seconds=snapshot.at_seconds,
        inputs=digest(snapshot),
        rung=decision.rung,
        usd_per_hour=decision.usd_per_hour,
        usd_per_hour_when_started=decision.usd_per_hour_when_started,
        alternatives=decision.alternatives,
        prices=_prices(snapshot),
        demand={route.key: known(route.demand.requests_per_second) for route in snapshot.routes},
        replicas={key: target.replicas for key, target in decision.pools.items()},
        shares={key: dict(plan.shares) for key, plan in decision.routes.items()},
        shed={key: plan.shed_ratio for key, plan in decision.routes.items() if plan.shed_ratio > 0.0},
        shadow_prices=dict(decision.shadow_prices_usd_per_gpu_hour),
        unknown=len(decision.unknowns),
        changes=() if before is None else changes(before, decision),
    )


def is_due(before: Entry | None, decision: Decision, at_seconds: float) -> bool:
    """Whether a decision is to be recorded: it changes something, or the last entry is a minute old."""
    if before is None or not 0.0 <= at_seconds - before.at_seconds < LONGEST_INTERVAL_SECONDS:
        return True
    return bool(changes(before, decision))


def changes(before: Entry, after: Decision) -> tuple[Change, ...]:
    """What is new: counts, pools and routes that come and go, a tenth of a route that goes elsewhere, another rung."""
    found = [
        Change(key, target.message)
        for key, target in sorted(after.pools.items())
        if before.replicas.get(key) != target.replicas
    ]
    found += [Change(key, f"{short(key)} is gone.") for key in sorted(before.replicas.keys() - after.pools.keys())]
    found += [
        Change(key, f"Route {short(key)}: {plan.message}")
        for key, plan in sorted(after.routes.items())
        if moved_share(before.shares.get(key), plan.shares) >= NEWS_SHARE
    ]
    found += [Change(key, f"Route {short(key)} is gone.") for key in sorted(before.shares.keys() - after.routes.keys())]
    if before.rung != after.rung:
        found.append(Change("rung", f"Decided by {after.rung} instead of {before.rung}."))
    return tuple(found)


def moved_share(before: Mapping[str, float] | None, after: Mapping[str, float]) -> float:
    """The share of a route that another pool answers, or nobody; a route that is new has moved as a whole.

    >>> round(moved_share({"a": 0.7, "b": 0.3}, {"a": 0.5, "b": 0.5}), 3)
    0.2
    """
    if before is None:
        return 1.0
    pools = before.keys() | after.keys()
    up = sum(max(0.0, after.get(pool, 0.0) - before.get(pool, 0.0)) for pool in pools)
    down = sum(max(0.0, before.get(pool, 0.0) - after.get(pool, 0.0)) for pool in pools)
    return max(up, down)


def _prices(snapshot: Snapshot) -> dict[str, dict[str, float]]:
    prices = {
        pool.key: {
            "idleUsdPerReplicaHour": pool.idle_usd_per_replica_hour,
            "busyExtraUsdPerReplicaHour": pool.busy_extra_usd_per_replica_hour,
        }
        for pool in snapshot.local_pools
    }
    return prices | {
        pool.key: {
            "inputUsdPerMillionTokens": pool.input_usd_per_million_tokens,
            "cachedInputUsdPerMillionTokens": pool.cached_input_usd_per_million_tokens,
            "outputUsdPerMillionTokens": pool.output_usd_per_million_tokens,
        }
        for pool in snapshot.hosted_pools
    }


def digest(snapshot: Snapshot) -> str:
    """Sixteen hexadecimal digits of everything that a decision depends on: equal inputs, equal decision.

    The order in which things are listed does not count, and of times only the distance to now.
    """
    now = snapshot.at_seconds
    memory = replace(
        snapshot.memory,
        below_since_seconds={
            pool: (now - since, most) for pool, (since, most) in snapshot.memory.below_since_seconds.items()
        },
    )
    plain = _plain(replace(snapshot, at_seconds=0.0, memory=memory))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {"": type(value).__name__} | {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {"/".join(key) if isinstance(key, tuple) else str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        inner = [_plain(one) for one in value]
        listed = bool(inner) and isinstance(inner[0], dict)
        return sorted(inner, key=lambda one: json.dumps(one, sort_keys=True)) if listed else inner
    return value


@dataclass(frozen=True, slots=True)
class Spending:
    """What hosted pools charge (US dollars per second by pool) and what pools answer (requests/s), as measured."""

    usd_per_second: Mapping[str, Measurement] | Unknown
    answered_per_second: Mapping[str, Measurement] | Unknown


def spent_usd_per_hour(snapshot: Snapshot, decision: Decision, measured: Spending) -> Measurement:
    """What the fleet spends now: tokens as the routers count them, power and rent of the replicas that exist.

    Worked: 2 replicas at $0.0286/h idle that answer 5.6 of the 14 rps they can, each $0.1274/h more at full load, and
    $0.004 of tokens a second: 0.0572 + 0.4 x 2 x 0.1274 + 14.40 = $14.56/h. Where a demand is unknown, so is this: a
    router that is not seen may spend unseen.
    """
    for route in snapshot.routes:
        if isinstance(rate := route.demand.requests_per_second, Unknown):
            return Unknown(f"demand of {short(route.key)}: {rate.reason}")
    if isinstance(measured.usd_per_second, Unknown):
        return measured.usd_per_second
    if isinstance(measured.answered_per_second, Unknown):
        return measured.answered_per_second
    total = 0.0
    for hosted in snapshot.hosted_pools:
        usd_per_second = measured.usd_per_second.get(hosted.key, Sample(0.0))  # counted from its first answer on
        if isinstance(usd_per_second, Unknown):
            return usd_per_second
        total += usd_per_second.value * SECONDS_PER_HOUR
    for pool in snapshot.local_pools:
        answered = measured.answered_per_second.get(pool.key, Sample(0.0))
        if isinstance(answered, Unknown):
            return answered
        busy = busy_replicas(pool, decision.pools.get(pool.key), answered.value)
        total += pool.idle_usd_per_replica_hour * pool.existing + pool.busy_extra_usd_per_replica_hour * busy
    return Sample(total)


def busy_replicas(pool: LocalPool, target: PoolTarget | None, answered_per_second: float) -> float:
    """How many of its serving replicas a pool's answers keep busy: 5.6 of the 14 rps that each can are 0.4."""
    capacity = target.capacity_requests_per_second if target is not None else 0.0
    return min(answered_per_second / capacity, float(pool.serving)) if capacity > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """The cost of an interval under way."""

    seconds: float = 0.0
    usd: float = 0.0
    why_unknown: str = ""

    def after(self, seconds: float, usd_per_hour: Measurement) -> Tally:
        """The tally with some more seconds at a rate; one stretch that is unknown makes the whole unknown."""
        if isinstance(usd_per_hour, Unknown):
            return replace(self, seconds=self.seconds + seconds, why_unknown=self.why_unknown or usd_per_hour.reason)
        more = usd_per_hour.value * seconds / SECONDS_PER_HOUR
        return replace(self, seconds=self.seconds + seconds, usd=self.usd + more)


def settled(entry: Entry, tally: Tally) -> Entry:
    """The entry with what its interval cost. Worked: $14.56/h for 60 s, $0.2427 predicted."""
    realised = Realised(
        seconds=tally.seconds,
        predicted_usd=entry.usd_per_hour * tally.seconds / SECONDS_PER_HOUR,
        usd=None if tally.why_unknown else tally.usd,
        why_unknown=tally.why_unknown,
    )
    return replace(entry, realised=realised)


def as_json(entry: Entry, pool: str | None = None) -> dict[str, Any]:
    """The entry as people's tools read it, exact; with `pool` only what speaks of that pool."""
    shares = {
        route: dict(sorted(of_route.items()))
        for route, of_route in sorted(entry.shares.items())
        if pool is None or pool in of_route
    }
    mine = [one for one in entry.changes if pool is None or one.subject in (pool, "rung", *shares)]
    found: dict[str, Any] = {
        "id": str(entry.number),
        "atSeconds": entry.at_seconds,
        "inputs": entry.inputs,
        "rung": entry.rung,
        "basis": CURRENCY,
        "usdPerHour": entry.usd_per_hour,
        "usdPerHourWhenStarted": entry.usd_per_hour_when_started,
        "alternatives": [
            {
                "name": one.name,
                "usdPerHour": one.usd_per_hour,
                "moreUsdPerHour": one.usd_per_hour - entry.usd_per_hour_when_started,
                "unansweredRequestsPerSecond": one.shed_requests_per_second,
            }
            for one in entry.alternatives
        ],
        "replicas": {key: count for key, count in sorted(entry.replicas.items()) if pool in (None, key)},
        "shares": shares,
        "shed": {key: ratio for key, ratio in sorted(entry.shed.items()) if pool is None or key in shares},
        "demand": {key: rate for key, rate in sorted(entry.demand.items()) if pool is None or key in shares},
        "prices": {key: dict(price) for key, price in sorted(entry.prices.items()) if pool in (None, key)},
        "shadowPricesUsdPerGpuHour": {"/".join(key).rstrip("/"): usd for key, usd in entry.shadow_prices.items()},
        "unknownMeasurements": entry.unknown,
        "changes": [{"subject": one.subject, "words": one.words} for one in mine],
    }
    if (realised := entry.realised) is not None:
        found["realised"] = {
            "seconds": realised.seconds,
            "predictedUsd": realised.predicted_usd,
            "usd": realised.usd,
            "errorRatio": realised.error_ratio,
            **({"whyUnknown": realised.why_unknown} if realised.why_unknown else {}),
        }
    return found


def in_words(entry: Entry) -> str:
    """What an interval cost against what was predicted: `$14.10/h predicted, $14.60/h spent (4% more)`."""
    text = f"{usd(entry.usd_per_hour)}/h predicted"
    realised = entry.realised
    if realised is None or realised.seconds <= 0.0:
        return text
    if realised.usd is None:
        return f"{text}, spent: unknown ({realised.why_unknown})"
    text += f", {usd(realised.usd * SECONDS_PER_HOUR / realised.seconds)}/h spent"
    error = realised.error_ratio
    return text if error is None else f"{text} ({percent(abs(error))} {'more' if error >= 0.0 else 'less'})"
