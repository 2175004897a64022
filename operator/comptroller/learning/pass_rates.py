"""How many tasks a pool solves on a route: what was declared, and what judges have seen since, of which the old counts
less and less."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

PRIOR_ANSWERS: Final = 20.0
"""So many judged answers weighs what is declared."""
MATURE_ANSWERS: Final = 100.0
"""From here on the mean counts, before it a lower bound."""
HALF_LIFE_SECONDS: Final = 600.0
"""After so long a judged answer counts half."""
RECENT_HALF_LIFE_SECONDS: Final = 150.0
RECENT_PRIOR_ANSWERS: Final = 40.0
"""The same for the newest answers alone, and what the longer view weighs against them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Judged answers of one pool on one route, each with the weight that its age has left it."""

    passed: float = 0.0
    failed: float = 0.0
    at_seconds: float = 0.0  # what the weights are reckoned for
    recent_passed: float = 0.0  # the same answers, sooner forgotten
    recent_failed: float = 0.0

    @property
    def answers(self) -> float:
        """The sum of the weights."""
        return self.passed + self.failed


def after(before: Evidence, passed_per_second: float, failed_per_second: float, now_seconds: float) -> Evidence:
    """What is known after verdicts have come at these rates since `before`.

    Forgetting is exponential, so that a pool that gets no requests, and of which no verdicts come therefore, is
    believed to be what was declared again after a while, and tried: 216 judged answers are 3 after six half-lives, an
    hour. Rates, and not counts, since Prometheus knows about counters that begin anew. Worked: at 0.25 verdicts/s there
    are 0.25 x 600 / ln 2 = 216 in the long run.
    """
    seconds = max(0.0, now_seconds - before.at_seconds)
    left, gained = _forgetting(seconds, HALF_LIFE_SECONDS)
    recent_left, recent_gained = _forgetting(seconds, RECENT_HALF_LIFE_SECONDS)
    return Evidence(
        before.passed * left + passed_per_second * gained,
        before.failed * left + failed_per_second * gained,
        max(now_seconds, before.at_seconds),
        before.recent_passed * recent_left + passed_per_second * recent_gained,
        before.recent_failed * recent_left + failed_per_second * recent_gained,
    )


def _forgetting(seconds: float, half_life_seconds: float) -> tuple[float, float]:
    """What is left of a weight of 1 after so long, and what a rate of 1 per second has gained."""
    left = 2.0 ** (-seconds / half_life_seconds)
    return left, (1.0 - left) * half_life_seconds / math.log(2.0)


def pass_rate(declared: float, evidence: Evidence) -> float:
    """The share of tasks to reckon with, between 0 and 1.

    The mean of a Beta distribution with `PRIOR_ANSWERS` answers of the declared rate before the judged ones, less,
    while it is young, a part of its standard deviation: the first verdicts may be luck. With n judged answers the part
    is n / (n + 20) x (1 - n / 100): none where nothing is judged and what is declared stands, none from 100 on.

    Worked: declared 0.97, 18 of 20 passed: mean (19.4 + 18) / 40 = 0.935, deviation sqrt(0.935 x 0.065 / 41) = 0.0385,
    part 0.5 x 0.8 = 0.4: 0.935 - 0.0154 = 0.9196.

    A pool that decays must be found out sooner than it is forgotten how good it was. So the newest answers may lower
    the rate, never raise it: of a long view of 0.95 and 60 recent answers, 51 of which passed, the rate is
    (40 x 0.95 + 51) / 100 = 0.89.
    """
    long = _long_view(declared, evidence)
    recent = evidence.recent_passed + evidence.recent_failed
    newest = (RECENT_PRIOR_ANSWERS * long + evidence.recent_passed) / (RECENT_PRIOR_ANSWERS + recent)
    return min(long, newest)


def _long_view(declared: float, evidence: Evidence) -> float:
    judged = evidence.answers
    total = PRIOR_ANSWERS + judged
    mean = (PRIOR_ANSWERS * declared + evidence.passed) / total
    deviation = math.sqrt(max(0.0, mean * (1.0 - mean)) / (total + 1.0))
    part = judged / total * max(0.0, 1.0 - judged / MATURE_ANSWERS)
    return min(1.0, max(0.0, mean - part * deviation))
