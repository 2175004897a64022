"""Counts of arrivals per route and step, drawn from the recorded family and coefficient of variation (CV).

Arrivals of a client are a renewal process whose gaps are Gamma or Weibull with the window's CV (Poisson where no CV is
known), run in operational time, which passes as fast as the expected number of requests grows. Each window begins in
equilibrium: its first gap is what is left of one that was met at random, so the expected number of requests is exactly
rate times time, whatever the CV. Where a step expects very many, single gaps are not drawn: their number is nearly
Normal with variance CV^2 times its mean (the renewal central limit); a Gamma number with that mean and variance is
drawn, because it is never negative and needs no clipping that would raise its mean.

A fleet smaller than the recorded one has a part of its users: the recorded process is drawn, and each request kept with
that probability, so that its bursts thin out as those of fewer users do. Worked: CV 4 and a quarter of the requests:
the variance of a count over its mean falls from 16 to 1 + (16 - 1) / 4 = 4.75. A larger fleet has more users who burst
together no more and no less: the variance over the mean stays.

Everything is seeded by (seed, route, window), so that what a route is asked does not depend on what else is simulated.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from comptroller.sim.stage import Asked
from comptroller.sim.trace import WEIBULL, Trace
from comptroller.sim.world import Floats, Ints

MANY_PER_STEP = 200.0
ENOUGH_PER_VARIANCE = 25.0  # expected requests in a step over CV^2 from which the central limit is close
SMALLEST_CV, LARGEST_CV = 0.05, 30.0


def step_counts(
    asked: Asked,
    trace: Trace,
    route: str,
    seed: int,
    start_seconds: float,
    steps: int,
    step_seconds: float,
    times_as_much: Floats | None = None,
) -> Ints:
    """Requests of one route in each step from `start_seconds` on. `times_as_much` scales each step's rate."""
    at = start_seconds + step_seconds * np.arange(steps)
    window = np.floor((at + 1e-6 - trace.start_seconds) / trace.window_seconds).astype(np.int64)
    there = (window >= 0) & (window < trace.windows)
    client = asked.client
    expected = np.zeros(steps)
    expected[there] = client.requests_per_second[window[there]] * asked.factor * step_seconds
    if times_as_much is not None:
        expected *= times_as_much
    counts = np.zeros(steps, dtype=np.int64)
    name = zlib.crc32(route.encode())
    edges = np.flatnonzero(np.diff(window, prepend=window[0] - 1, append=window[-1] + 1))
    for first, last in pairwise(edges):
        index = int(window[first])
        if not there[first] or not expected[first:last].any():
            continue
        # the phase belongs to the seed: the first half hour of a window is another stretch than its second
        random = np.random.default_rng([seed, name, index + 1, round(at[first] * 10)])
        counts[first:last] = _scaled(
            random, expected[first:last], asked.factor, float(client.cvs[index]), int(client.families[index])
        )
    return counts


def _scaled(random: np.random.Generator, expected: Floats, factor: float, cv: float, family: int) -> Ints:
    """A part of the recorded requests, each kept or not by itself; or, for a larger fleet, more of the same kind."""
    if factor >= 1.0:
        return _draw(random, expected, cv, family)
    return random.binomial(_draw(random, expected / factor, cv, family), factor)


def _draw(random: np.random.Generator, expected: Floats, cv: float, family: int) -> Ints:
    if math.isnan(cv):
        return random.poisson(expected)
    cv = min(max(cv, SMALLEST_CV), LARGEST_CV)
    mean = float(expected.mean())
    if mean >= MANY_PER_STEP or mean >= ENOUGH_PER_VARIANCE * max(1.0, cv * cv):
        drawn = random.gamma(np.maximum(expected, 1e-12) / cv**2, cv**2)
        return np.floor(drawn + random.random(len(expected))).astype(np.int64)
    moments = _moments(random, float(expected.sum()), cv, family)
    return np.diff(np.searchsorted(moments, np.concatenate(([0.0], np.cumsum(expected)))))


def _moments(random: np.random.Generator, length: float, cv: float, family: int) -> Floats:
    """Arrivals in [0, length) of operational time, in which gaps have mean 1."""
    chunk = int(length + 5.0 * cv * math.sqrt(length) + 16)
    if family == WEIBULL:
        shape, scale = weibull_of(cv)
        first = scale * random.gamma(1.0 + 1.0 / shape) ** (1.0 / shape)
        gaps = scale * random.weibull(shape, chunk)
    else:
        shape = 1.0 / cv**2
        first = random.gamma(shape + 1.0, cv**2)
        gaps = random.gamma(shape, cv**2, chunk)
    gaps = np.concatenate(([first * random.random()], gaps))
    moments = np.cumsum(gaps)
    while moments[-1] < length:
        more = scale * random.weibull(shape, chunk) if family == WEIBULL else random.gamma(shape, cv**2, chunk)
        moments = np.concatenate((moments, moments[-1] + np.cumsum(more)))
    return moments[: int(np.searchsorted(moments, length))]


@lru_cache(maxsize=4096)
def weibull_of(cv: float) -> tuple[float, float]:
    """Shape and scale of the Weibull distribution with mean 1 and this coefficient of variation.

    Worked: a CV of 1 is the exponential distribution, shape 1 and scale 1; a CV of 2 has shape 0.543.
    """
    low, high = 0.08, 30.0
    for _ in range(80):
        shape = math.sqrt(low * high)
        spread = math.exp(math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)) - 1
        low, high = (shape, high) if spread > cv * cv else (low, shape)
    return shape, 1.0 / math.gamma(1 + 1 / shape)


def history(
    asked: Asked, trace: Trace, route: str, seed: int, start_seconds: float, end_seconds: float
) -> tuple[tuple[float, float], ...]:
    """One sample a minute, (seconds, requests/s), oldest first: what a Prometheus still knows."""
    first = max(start_seconds, trace.start_seconds)
    minutes = int((end_seconds - first) // 60)
    if minutes <= 0:
        return ()
    counts: npt.NDArray[np.int64] = step_counts(asked, trace, route, seed, end_seconds - 60.0 * minutes, minutes, 60.0)
    times = end_seconds - 60.0 * np.arange(minutes - 1, -1, -1)
    return tuple(zip(times.tolist(), (counts / 60.0).tolist(), strict=True))
