"""The speed of an engine, fitted to measured times per output token.

    T(b) = alpha + root sqrt(b) + b (beta (in + out) / (out + 1) + gamma (in + out / 2))        [milliseconds]

A point says: b requests at a time of so many tokens in and out took so long per output token. The coefficients are
those that make the squared relative error smallest and are not negative: an engine is never faster for having more to
do. They are found exactly, by trying every set of coefficients that may be above zero.

Whether a curve is straight (root 0) or concave is decided by the points alone: every point is foretold from the others
(in closed form, for the chosen set), and the concave curve must be better by `CONCAVE_MUST_GAIN`; else the simpler one
stays. So a few points, or noisy ones, do not bend the curve.

Worked, on 151 groups (model, GPU, engine, precision, parallelism) with 2,646 measured points, each foretold from the
other points of its group: the median of the groups' mean errors is 4.1 %, with straight curves only 12.9 %; for the 30
groups of dense models on H100 and H200 it is 4.2 %. The largest batch of a group is foretold from the smaller ones with
6.7 % (median), with straight curves only 16.7 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from comptroller.allocation.snapshot import Profile

Floats = npt.NDArray[np.float64]

CONCAVE_MUST_GAIN = 0.05  # of the error: below, the straight curve stays
FEWEST_FOR_CONCAVE = 6  # points, of at least three batch sizes
_STRAIGHT = (0, 1, 2)
_CONCAVE = (0, 1, 2, 3)
_TINY = 1e-9  # of a scaled column: keeps columns that say the same from being divided by zero


@dataclass(frozen=True, slots=True)
class SpeedPoint:
    """One measurement: requests at a time, their mean tokens in and out, and the time per output token."""

    batch: float
    input_tokens: float
    output_tokens: float
    per_token_ms: float


@dataclass(frozen=True, slots=True)
class SpeedFit:
    """The curve, and how far off it is on points that it has not seen (mean relative error; 1.0 where nobody knows)."""

    alpha_ms: float
    beta_ms: float
    gamma_ms: float
    root_ms: float
    foretold_error_ratio: float
    points: int

    def per_token_ms(self, batch: float, input_tokens: float, output_tokens: float) -> float:
        """The time per output token that the curve foretells."""
        row = _terms(np.array([[batch, input_tokens, output_tokens]]))
        return float(row[0] @ np.array([self.alpha_ms, self.beta_ms, self.gamma_ms, self.root_ms]))

    def profile(self, max_concurrency: int) -> Profile:
        """The same as the decision uses it."""
        return Profile(
            max(self.alpha_ms, 1e-3), self.beta_ms, self.gamma_ms, max_concurrency, "learned", self.points, self.root_ms
        )


def fit(points: Sequence[SpeedPoint]) -> SpeedFit:
    """The curve through the points; it raises ValueError when none is given or one is not a positive number."""
    shapes, times = _arrays(points)
    return _fit(_terms(shapes) / times[:, None], shapes[:, 0])


def leave_one_out(points: Sequence[SpeedPoint]) -> list[float]:
    """For each point the relative error of the curve that is fitted, and chosen, without it."""
    shapes, times = _arrays(points)
    rows = _terms(shapes) / times[:, None]
    errors = []
    for left_out in range(len(points)):
        others = np.arange(len(points)) != left_out
        found = _fit(rows[others], shapes[others, 0])
        foretold = rows[left_out] @ np.array([found.alpha_ms, found.beta_ms, found.gamma_ms, found.root_ms])
        errors.append(abs(float(foretold) - 1.0))
    return errors


def merged(points: Iterable[SpeedPoint]) -> list[SpeedPoint]:
    """One point per shape of load, with the median time: the same measured twice must not foretell itself."""
    times: dict[tuple[float, float, float], list[float]] = {}
    for one in points:
        times.setdefault((one.batch, one.input_tokens, one.output_tokens), []).append(one.per_token_ms)
    return [SpeedPoint(*shape, float(np.median(some))) for shape, some in sorted(times.items())]


def _arrays(points: Sequence[SpeedPoint]) -> tuple[Floats, Floats]:
    table = np.array([(p.batch, p.input_tokens, p.output_tokens, p.per_token_ms) for p in points], dtype=np.float64)
    if not len(table) or not np.isfinite(table).all() or (table <= 0.0).any():
        raise ValueError("points: every batch, token count and time must be a number above 0: leave out what is not")
    return table[:, :3], table[:, 3]


def _terms(shapes: Floats) -> Floats:
    """What alpha, beta, gamma and root are multiplied by."""
    batch, tokens_in, tokens_out = shapes.T
    return np.stack(
        [
            np.ones_like(batch),
            batch * (tokens_in + tokens_out) / (tokens_out + 1.0),
            batch * (tokens_in + tokens_out / 2.0),
            np.sqrt(batch),
        ],
        axis=1,
    )


def _fit(rows: Floats, batches: Floats) -> SpeedFit:
    """`rows` are the terms over the measured time, so that a perfect curve makes 1 of each."""
    scale = rows.mean(axis=0)
    scaled = rows / scale
    values, error = _least_squares(scaled, _STRAIGHT)
    if len(rows) >= FEWEST_FOR_CONCAVE and len(np.unique(batches)) >= 3:
        bent, bent_error = _least_squares(scaled, _CONCAVE)
        if bent_error < (1.0 - CONCAVE_MUST_GAIN) * error:
            values, error = bent, bent_error
    alpha, beta, gamma, root = (float(one) for one in values / scale)
    return SpeedFit(alpha, beta, gamma, root, error, len(rows))


def _least_squares(rows: Floats, allowed: tuple[int, ...]) -> tuple[Floats, float]:
    """The non-negative coefficients with the least squared error, and the mean error of points foretold by the others.

    Each set of coefficients is solved freely; the best one without a negative value is the answer (with four
    coefficients there are fifteen sets).
    """
    products, sums = rows.T @ rows + _TINY * np.eye(rows.shape[1]), rows.sum(axis=0)
    best: tuple[float, tuple[int, ...], Floats] | None = None
    for size in range(len(allowed), 0, -1):
        for some in combinations(allowed, size):
            solved = np.linalg.solve(products[np.ix_(some, some)], sums[list(some)])
            if (solved < 0.0).any():
                continue
            explained = float(solved @ sums[list(some)])  # the squared error is the number of rows minus this
            if best is None or explained > best[0] + 1e-12:
                best = (explained, some, solved)
    assert best is not None  # noqa: S101 - one positive term alone always fits with a positive value
    _, chosen, solved = best
    values = np.zeros(rows.shape[1])
    values[list(chosen)] = solved
    used = rows[:, list(chosen)]
    leverage = np.einsum("ij,jk,ik->i", used, np.linalg.inv(products[np.ix_(chosen, chosen)]), used)
    if len(rows) <= len(chosen):
        return values, 1.0
    foretold = np.abs(used @ solved - 1.0) / np.maximum(1.0 - leverage, 1e-3)
    return values, float(np.minimum(foretold, 1.0).mean())
