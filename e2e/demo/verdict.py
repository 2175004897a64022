"""Did the fleet do what it promises? Pure: everything that was seen goes in, checks come out.

The story that must be found in it, in this order: the load steps up; more replicas are wanted than before; while they
start, hosted APIs answer what the GPUs cannot; when they are ready, the load comes back inside although it is still
high; when it has gone, the replicas go. And in all that time no restricted prompt reaches a hosted API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from e2e.demo.observe import Observation
from e2e.demo.results import Result

BUCKET_SECONDS = 5.0
SPILL_RATIO = 0.10  # of the requests of five seconds: below it a few stragglers, not a spill
INSIDE_RATIO = 0.90
MINIMUM_PER_BUCKET = 5  # fewer requests say nothing about a ratio
MAXIMUM_ERROR_RATIO = 0.02


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen. `load_step` and `load_end` are seconds of the replay."""

    observations: Sequence[Observation]
    results: Sequence[Result]
    load_step: float
    load_end: float
    planned_requests: int
    restricted_routes: frozenset[str]
    canaries_in_ledgers: int | None  # None: the ledgers could not be read


@dataclass(frozen=True, slots=True)
class Check:
    """One promise. `detail` has the numbers; `look_at` says where to look when it is broken."""

    name: str
    passed: bool
    detail: str
    look_at: str = ""


def checks(seen: Evidence) -> list[Check]:
    """All promises, in the order of the story."""
    promises = (_answered, _scaled_out, _spilled_while_starting, _came_back, _scaled_in, _stayed)
    return [promise(seen) for promise in promises]


def replicas_before(seen: Evidence) -> int:
    """Most replicas that were wanted in the ten seconds before the load step."""
    before = [one.desired for one in seen.observations if seen.load_step - 10 <= one.at <= seen.load_step]
    before = before or [one.desired for one in seen.observations if one.at <= seen.load_step]
    return max(before, default=0)


def first_spill(seen: Evidence) -> float | None:
    """When the first request was sent, after the load step, that a hosted API answered."""
    times = [one.at for one in seen.results if one.hosted and one.answered and one.at >= seen.load_step]
    return min(times, default=None)


def first_new_replica(seen: Evidence) -> float | None:
    """When more replicas were ready than were there, or already wanted, just before the load step."""
    before = [one.ready for one in seen.observations if one.at <= seen.load_step]
    level = max(before[-1] if before else 0, replicas_before(seen))
    return next((one.at for one in seen.observations if one.at > seen.load_step and one.ready > level), None)


def starting_intervals(observations: Sequence[Observation]) -> list[tuple[float, float]]:
    """From when to when replicas were wanted that could not serve yet; the ends are the observations around."""
    intervals: list[tuple[float, float]] = []
    for before, after in pairwise(observations):
        if not before.starting:
            continue
        if intervals and intervals[-1][1] == before.at:
            intervals[-1] = (intervals[-1][0], after.at)
        else:
            intervals.append((before.at, after.at))
    return intervals


def hosted_ratios(seen: Evidence) -> list[tuple[float, int, float]]:
    """(start, answers, share of hosted ones) for each five seconds of the replay, by the time of sending."""
    counts: dict[int, list[int]] = {}
    for one in seen.results:
        if one.answered and one.at < seen.load_end:
            bucket = counts.setdefault(int(one.at // BUCKET_SECONDS), [0, 0])
            bucket[0] += 1
            bucket[1] += one.hosted
    return [(index * BUCKET_SECONDS, total, hosted / total) for index, (total, hosted) in sorted(counts.items())]


def _answered(seen: Evidence) -> Check:
    ended, failed = len(seen.results), [one for one in seen.results if not one.answered]
    missing = seen.planned_requests - ended
    ratio = (len(failed) + missing) / seen.planned_requests if seen.planned_requests else 1.0
    reasons = sorted({f"{one.status} {one.error[:80]}".strip() for one in failed})[:2]
    detail = f"{ended - len(failed)} of {seen.planned_requests} requests were answered"
    if reasons:
        detail += f"; errors such as {'; '.join(reasons)}"
    look_at = "kubectl -n inference logs deploy/research-router"
    return Check("requests were answered", ratio <= MAXIMUM_ERROR_RATIO, detail, look_at)


def _scaled_out(seen: Evidence) -> Check:
    before = replicas_before(seen)
    peak = max((one.desired for one in seen.observations), default=0)
    ready = max((one.ready for one in seen.observations if one.at > seen.load_step), default=0)
    return Check(
        "the fleet scaled out",
        peak > before and ready > before,
        f"{before} replicas before the load step, {peak} wanted and {ready} ready at the peak",
        "kubectl -n inference get mp: WHY; kubectl -n comptroller-system logs deploy/comptroller",
    )


def _spilled_while_starting(seen: Evidence) -> Check:
    intervals = [(a, b) for a, b in starting_intervals(seen.observations) if b > seen.load_step]
    spilled = [
        one for one in seen.results if one.hosted and one.answered and any(a <= one.at <= b for a, b in intervals)
    ]
    spilled = [one for one in spilled if one.at >= seen.load_step]
    waited = sum(b - max(a, seen.load_step) for a, b in intervals)
    return Check(
        "it spilled while replicas were starting",
        bool(spilled),
        f"{len(spilled)} requests went to hosted APIs in the {waited:.0f} s in which wanted replicas were not ready",
        "kubectl -n inference get rp research -o yaml: status.routes[].shares and .message",
    )


def _came_back(seen: Evidence) -> Check:
    """Some five seconds with spill, and later, under no less load than half the peak, five seconds without."""
    after = seen.load_step - BUCKET_SECONDS
    ratios = [one for one in hosted_ratios(seen) if one[0] >= after and one[1] >= MINIMUM_PER_BUCKET]
    spills = [(at, ratio) for at, _, ratio in ratios if ratio > SPILL_RATIO]
    busiest = max((total for _, total, _ in ratios), default=0)
    ready_at = first_new_replica(seen)
    back = [
        at
        for at, total, ratio in ratios
        if spills and ready_at is not None and at >= max(spills[0][0], ready_at - BUCKET_SECONDS)
        and ratio <= 1 - INSIDE_RATIO and total >= busiest / 2
    ]  # fmt: skip
    detail = "no spill to come back from" if not spills else f"up to {max(r for _, r in spills):.0%} went outside"
    if spills:
        detail += (
            f"; from {back[0] - seen.load_step:.0f} s after the step at most 10% did, under load"
            if back
            else ("; it never fell below 10% while the load was high")
        )
    return Check("it came back inside", bool(back), detail, "kubectl -n inference get mp: READY against WANT")


def _scaled_in(seen: Evidence) -> Check:
    before, peak = replicas_before(seen), max((one.desired for one in seen.observations), default=0)
    last = seen.observations[-1] if seen.observations else None
    passed = last is not None and last.desired < peak and last.desired <= before and last.ready <= before
    end = f"{last.desired} wanted and {last.ready} ready at the end" if last else "nothing seen at the end"
    detail = f"{peak} wanted at the peak, {end}, {before} before the load step"
    return Check("it scaled in", passed, detail, "kubectl -n inference get mp: WHY; scaleDownDelaySeconds")


def _stayed(seen: Evidence) -> Check:
    sent = sum(one.route in seen.restricted_routes for one in seen.results)
    left = seen.canaries_in_ledgers
    name = "no restricted request left the premises"
    if left is None:
        return Check(name, False, "the hosted APIs' ledgers could not be read", "kubectl -n hosted-apis get pods")
    answered_outside = sum(one.hosted and one.route in seen.restricted_routes for one in seen.results)
    return Check(
        name,
        sent > 0 and left == 0 and answered_outside == 0,
        f"{left} of {sent}, by the ledgers of both hosted APIs",
        "kubectl -n inference get cm,deploy,netpol -l comptroller.dev/policy=research",
    )
