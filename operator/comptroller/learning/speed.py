"""What an engine's own measurements teach about its speed: one recursive estimate per pool and GPU class.

Each sample of a busy minute (mean batch b, mean time per output token, mean tokens in and out) is one equation in four
unknowns, the coefficients of

    T(b) = alpha + root sqrt(b) + b (beta (in + out) / (out + 1) + gamma (in + out / 2))        [milliseconds]

A Kalman filter holds them as factors of the declared (or default) profile, which is the prior. Before the first sample
each factor is 1, give or take 0.43: mostly a common error (a GPU that is slower than thought is slower in all), partly
an own one. So one batch size already moves the whole curve, and several bend it. The root, which few declare, may
become at most half of alpha per sqrt(b).

What protects it:
- Nothing is learned from idle, unknown or impossible numbers, nor from two samples of one window.
- A sample that the estimate does not foretell (squared innovation over its variance above 7.378, as in llm-d's
  autoscaler) is refused. Six refusals in a row on the same side are a new truth (another engine version, a throttled
  GPU): then the prior's uncertainty is back and the samples count again. More than ten times off is never believed.
- No coefficient leaves a third to three times the prior; none is negative, so more load never takes less time.
- Uncertainty grows by 2 % of the prior's per hour: old samples fade, the newest eight or so count at one a minute.

`confidence` is the share of the newest samples that were foretold, times how much of the prior's uncertainty about a
full batch is gone. At 0.5, with five samples, the learned profile is used, and from then on; a used profile, the
declared one too, is replaced only when the curve has moved by 5 % somewhere: until then the samples confirm it. So
noise moves no plan, and capacities are not reckoned anew each tick. No margin is taken while confidence is low: the
declared numbers are the best guess, wrong to either side, and routers limit each replica to what keeps its objective by
those numbers; five minutes of traffic replace the guess.

Worked: declared alpha 5.5, beta 0.04, gamma 0.00016, 64 places; the truth is 1.3 times slower. Of samples with 20 and
40 requests at a time the first makes a full batch 1.27 times slower and ten 1.29 times; confidence is 0.74 and 0.89.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from comptroller.allocation.snapshot import Profile

Floats = npt.NDArray[np.float64]

GATE: Final = 7.378  # chi-square, two degrees of freedom, 97.5 %
NEVER_BELIEVED_FACTOR: Final = 10.0
AGREEING_REFUSALS: Final = 6
COMMON_ERROR, OWN_ERROR, ROOT_ERROR = 0.35, 0.25, 0.25  # standard deviations of the prior's factors
SAMPLE_ERROR_RATIO: Final = 0.06  # of a sample: noise, and what the formula leaves out
UNCERTAINTY_BACK_PER_SECOND: Final = 0.02 / 3600.0  # of the prior's
LOWEST_FACTOR, HIGHEST_FACTOR = 1.0 / 3.0, 3.0
ROOT_OF_ALPHA: Final = 0.5  # the largest root where none is declared
TRUST_MEMORY: Final = 8.0  # samples
FEWEST_SAMPLES: Final = 5
ENOUGH_CONFIDENCE: Final = 0.5
MOVED_RATIO: Final = 0.05
LEAST_BATCH: Final = 1.0  # below, a replica idles between requests and its mean batch says nothing


@dataclass(frozen=True, slots=True)
class SpeedSample:
    """One window of a pool: requests at a time per replica, milliseconds per output token, mean tokens."""

    at_seconds: float
    batch: float
    per_token_ms: float
    input_tokens: float
    output_tokens: float

    @property
    def usable(self) -> bool:
        """Whether a busy engine can have shown this."""
        numbers = (self.at_seconds, self.batch, self.per_token_ms, self.input_tokens, self.output_tokens)
        return (
            all(math.isfinite(one) for one in numbers)
            and LEAST_BATCH <= self.batch <= 1e5
            and 1e-3 <= self.per_token_ms <= 1e6
            and 1.0 <= self.input_tokens <= 1e7
            and 2.0 <= self.output_tokens <= 1e7
        )


def mean_shape(parts: Iterable[tuple[float, float, float]]) -> tuple[float, float] | None:
    """The tokens in and out of one kind of request that loads an iteration as a mix does; None for an empty mix.

    `parts` are (requests/s, mean tokens in, mean tokens out). A request is in flight in proportion to its answer, so
    long answers weigh more. Worked: 1 request/s of 4000 / 100 and 1 of 100 / 900 tokens: a tenth of those in flight are
    of the first kind, each computes on average 5.06 tokens per iteration and reads 900. So do requests of 802 / 196.
    """
    weight = computed = context = 0.0
    for rate, tokens_in, tokens_out in parts:
        if rate > 0.0 and tokens_in >= 0.0 and tokens_out >= 1.0:
            weight += rate * tokens_out
            computed += rate * tokens_out * (tokens_in + tokens_out) / (tokens_out + 1.0)
            context += rate * tokens_out * (tokens_in + tokens_out / 2.0)
    if weight <= 0.0 or computed <= 0.6 * weight:
        return None
    computed, context = computed / weight, context / weight
    tokens_out = (context - computed) / (computed - 0.5)  # the two terms of T solved for one shape
    return context - tokens_out / 2.0, tokens_out


@dataclass(frozen=True, slots=True)
class Speed:
    """What is known of one pool's speed on one GPU class. Frozen: `learn` answers the next one."""

    engine: str  # what runs where; another engine begins anew
    prior: Profile
    factors: tuple[float, ...]  # alpha, beta, gamma, root: estimate over the prior's unit
    covariance: tuple[tuple[float, ...], ...]
    used: Profile  # what the decision reckons with
    samples: int = 0
    trust: float = 0.0  # share of the newest samples that were foretold
    refusals: int = 0  # in a row; negative: on the side of faster
    at_seconds: float | None = None  # of the newest sample, refused or not
    shape: tuple[float, float] = (1000.0, 250.0)  # newest mean tokens in and out

    @property
    def estimate(self) -> Profile:
        """The newest estimate, used or not."""
        alpha, beta, gamma, root = (float(one) for one in np.array(self.factors) * _units(self.prior))
        return replace(
            self.prior,
            alpha_ms=alpha,
            beta_ms=beta,
            gamma_ms=gamma,
            root_ms=root,
            source="learned",
            samples=self.samples,
            confidence=self.confidence,
        )

    @property
    def confidence(self) -> float:
        """0 to 1: how far samples have replaced the prior, for a full batch of the newest shape."""
        row = _row(self.prior, self.prior.max_concurrency, *self.shape)
        left = float(row @ np.array(self.covariance) @ row)
        at_first = float(row @ _prior_covariance(self.prior) @ row)
        gone = 1.0 - math.sqrt(min(1.0, max(0.0, left) / at_first)) if at_first > 0.0 else 0.0
        return round(min(1.0, max(0.0, self.trust * gone)), 3)


def begin(engine: str, prior: Profile, remembered: Profile | None = None) -> Speed:
    """A pool's first knowledge: its declared or default profile, and what a predecessor had learned about it."""
    prior = _positive(prior)
    start = Speed(engine, prior, _factors_at_first(prior), _rows(_prior_covariance(prior)), prior)
    if remembered is None or remembered.source != "learned" or not _finite(remembered):
        return start
    values = np.array([remembered.alpha_ms, remembered.beta_ms, remembered.gamma_ms, remembered.root_ms])
    units = _units(prior)
    factors = np.divide(values, units, out=np.array(start.factors), where=units > 0.0)
    confidence = min(1.0, max(0.0, remembered.confidence))
    start = replace(
        start,
        factors=tuple(float(one) for one in np.clip(factors, *_bounds(prior))),
        covariance=_rows(_prior_covariance(prior) * max(1.0 - confidence, 0.05) ** 2),
        samples=max(0, remembered.samples),
        trust=1.0 if confidence > 0.0 else 0.0,
    )
    return replace(start, used=replace(start.estimate, confidence=confidence))


def learn(speed: Speed, sample: SpeedSample, spacing_seconds: float) -> Speed:
    """The knowledge after one more sample. `spacing_seconds` is the window that a sample is the mean of."""
    if not sample.usable:
        return speed
    elapsed = 0.0 if speed.at_seconds is None else sample.at_seconds - speed.at_seconds
    if speed.at_seconds is not None and -spacing_seconds < elapsed < spacing_seconds:
        return speed
    row = _row(speed.prior, sample.batch, sample.input_tokens, sample.output_tokens)
    foretold = float(row @ np.array(speed.factors))
    if foretold <= 0.0 or not 1.0 / NEVER_BELIEVED_FACTOR < sample.per_token_ms / foretold < NEVER_BELIEVED_FACTOR:
        return _refused(speed, sample, 0)
    covariance = _grown(speed, max(0.0, elapsed))
    innovation = sample.per_token_ms - foretold
    variance = float(row @ covariance @ row) + (SAMPLE_ERROR_RATIO * sample.per_token_ms) ** 2
    refusals = speed.refusals + (1 if innovation > 0.0 else -1) if speed.refusals * innovation >= 0.0 else 0
    foretells = innovation**2 / variance <= GATE
    if not foretells:
        if abs(refusals) < AGREEING_REFUSALS:
            return _refused(speed, sample, refusals)
        covariance = _prior_covariance(speed.prior) * 4.0
        variance = float(row @ covariance @ row) + (SAMPLE_ERROR_RATIO * sample.per_token_ms) ** 2
    gain = covariance @ row / variance
    kept = np.eye(len(gain)) - np.outer(gain, row)
    noise = (SAMPLE_ERROR_RATIO * sample.per_token_ms) ** 2
    covariance = kept @ covariance @ kept.T + noise * np.outer(gain, gain)  # stays symmetric and positive
    known = replace(
        speed,
        factors=_within(speed.prior, np.array(speed.factors) + gain * innovation, covariance),
        covariance=_rows(covariance),
        samples=speed.samples + 1,
        trust=_trust(speed, 1.0 if foretells else 0.0),
        refusals=0,
        at_seconds=sample.at_seconds,
        shape=(sample.input_tokens, sample.output_tokens),
    )
    return replace(known, used=_used(known))


def _trust(speed: Speed, foretold: float) -> float:
    weight = 1.0 / min(TRUST_MEMORY, speed.samples + 1.0)
    return speed.trust + weight * (foretold - speed.trust)


def _refused(speed: Speed, sample: SpeedSample, refusals: int) -> Speed:
    return replace(speed, trust=_trust(speed, 0.0), refusals=refusals, at_seconds=sample.at_seconds)


def _used(speed: Speed) -> Profile:
    """The profile to reckon with: it changes when there is reason to, and only the confidence shown follows at once."""
    estimate = speed.estimate
    if speed.samples < FEWEST_SAMPLES or estimate.confidence < ENOUGH_CONFIDENCE:
        return replace(speed.used, samples=speed.samples, confidence=estimate.confidence)
    if _moved(speed, estimate) <= MOVED_RATIO:  # what was reckoned with is confirmed
        return replace(speed.used, source="learned", samples=speed.samples, confidence=estimate.confidence)
    return estimate


def _moved(speed: Speed, estimate: Profile) -> float:
    """By how much the curve differs from the used one, where it differs most: alone, at half and at a full batch."""
    batches = (1.0, max(1.0, estimate.max_concurrency / 2), float(estimate.max_concurrency))
    before, after = (
        [float(_terms(batch, *speed.shape) @ _values(profile)) for batch in batches]
        for profile in (speed.used, estimate)
    )
    return max(abs(new / old - 1.0) for old, new in zip(before, after, strict=True))


def _terms(batch: float, tokens_in: float, tokens_out: float) -> Floats:
    per_token = (tokens_in + tokens_out) / (tokens_out + 1.0)
    return np.array([1.0, batch * per_token, batch * (tokens_in + tokens_out / 2.0), math.sqrt(batch)])


def _values(profile: Profile) -> Floats:
    return np.array([profile.alpha_ms, profile.beta_ms, profile.gamma_ms, profile.root_ms])


def _units(prior: Profile) -> Floats:
    """What a factor of 1 is in milliseconds: the prior's coefficient; of a root that is not declared, half of alpha."""
    values = _values(prior)
    return values if values[3] > 0.0 else np.array([*values[:3], ROOT_OF_ALPHA * values[0]])


def _row(prior: Profile, batch: float, tokens_in: float, tokens_out: float) -> Floats:
    return _terms(batch, tokens_in, tokens_out) * _units(prior)


def _factors_at_first(prior: Profile) -> tuple[float, ...]:
    return (1.0, 1.0, 1.0, 1.0 if prior.root_ms > 0.0 else 0.0)


def _prior_covariance(prior: Profile) -> Floats:
    common = np.full((4, 4), COMMON_ERROR**2)
    if prior.root_ms > 0.0:
        return common + np.eye(4) * OWN_ERROR**2
    common[3, :] = common[:, 3] = 0.0
    return common + np.diag([OWN_ERROR**2] * 3 + [ROOT_ERROR**2])


def _grown(speed: Speed, seconds: float) -> Floats:
    """The covariance after a while without samples, never beyond the prior's."""
    prior = _prior_covariance(speed.prior)
    grown = np.array(speed.covariance) + prior * min(1.0, UNCERTAINTY_BACK_PER_SECOND * seconds)
    shrink = np.sqrt(np.minimum(1.0, 4.0 * np.diag(prior) / np.maximum(np.diag(grown), 1e-12)))
    bounded: Floats = grown * np.outer(shrink, shrink)
    return bounded


def _bounds(prior: Profile) -> tuple[Floats, Floats]:
    lowest, highest = np.full(4, LOWEST_FACTOR), np.full(4, HIGHEST_FACTOR)
    if prior.root_ms <= 0.0:
        lowest[3], highest[3] = 0.0, 1.0
    return lowest, highest


def _within(prior: Profile, factors: Floats, covariance: Floats) -> tuple[float, ...]:
    """The likeliest factors within the bounds: what is held at a bound pulls along those that are tied to it.

    Cutting each for itself would undo what the sample said about the sum: alpha at its bound and beta too high.
    """
    lowest, highest = _bounds(prior)
    factors, left = factors.copy(), covariance.copy()
    for _ in range(len(factors)):
        beyond = np.maximum(lowest - factors, factors - highest)
        worst = int(np.argmax(beyond))
        if beyond[worst] <= 0.0:
            break
        held = float(np.clip(factors[worst], lowest[worst], highest[worst]))
        pull = left[:, worst] / max(float(left[worst, worst]), 1e-12)
        factors = factors + pull * (held - factors[worst])
        factors[worst] = held
        left = left - np.outer(pull, left[worst])
        left[worst, :] = left[:, worst] = 0.0
    return tuple(float(one) for one in np.clip(factors, lowest, highest))


def _rows(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(one) for one in row) for row in matrix)


def _finite(profile: Profile) -> bool:
    values = _values(profile)
    return bool(np.isfinite(values).all() and (values >= 0.0).all() and math.isfinite(profile.confidence))


def _positive(prior: Profile) -> Profile:
    """A prior to multiply by: what is no number is left out, and alpha is above zero."""
    alpha, beta, gamma, root = (min(one, 1e9) if one > 0.0 else 0.0 for one in _values(prior).tolist())  # NaN: 0
    return replace(prior, alpha_ms=max(alpha, 1e-3), beta_ms=beta, gamma_ms=gamma, root_ms=root)
