"""How far each method is trusted for a route, judged on its own log against the last value.

Every method is scored at every origin. raw = 1 - score / score of the last value, and
skill = (raw * n + fleet * 36) / (n + 36), where n counts independent spans of the last days and `fleet` is the mean of
all routes, drawn to 0 in the same way and never below it: until a route has a record of its own, a method is trusted as
far as it has earned elsewhere. Half the score of the last value over 108 spans, with 0.1 for the fleet, is a skill of
(0.5 * 108 + 0.1 * 36) / 144 = 0.4.

Methods that are on share the forecast by the squares of their skills: 0.3 and 0.15 give 80 % and 20 %. So nothing jumps
when the better one becomes the worse, and a method that is no better than the last value has no part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from comptroller.learning.demand_log import DAY_MINUTES, DemandLog, Floats, Minutes
from comptroller.learning.demand_methods import METHODS, Method, score, weights
from comptroller.learning.demand_origins import STEP_MINUTES, Origins, Seen, Sorted

MEMORY_MINUTES = 2.0 * DAY_MINUTES  # a score that is older by this counts e times less
CAUTIOUS_SPANS = 36.0  # so many spans count as much as the fleet
ON_SKILL = 0.02  # a method is switched on above this
OFF_SKILL = 0.0  # and off below this
SHARE_POWER = 2.0
FEWEST_ORIGINS = 30
MOST_SCORED = 72  # origins of the past that are scored when a log is loaded
MOST_SCORED_TIMES_ROUTES = 20_000


@dataclass(frozen=True, slots=True)
class Skill:
    """How the demand of a route is forecast, and how much better than by the last value.

    `method` has the largest share of the forecast, and `skill` is its own: 0 for the last value itself and 1 for a
    forecast that is always right. `samples` counts the origins that the methods were scored on.
    """

    method: str = METHODS[0].name
    skill: float = 0.0
    samples: int = 0


@dataclass(slots=True)
class Learned:
    """What is learned for one lead and span: the origins, and the share of each method for each route."""

    origins: Origins
    methods: tuple[Method, ...] = METHODS  # the first is what the others are held against
    past: Sorted | None = None
    shares: Floats = field(default_factory=lambda: np.zeros((0, 0)))  # [method, route]: sum to 1 for each route
    scores: Floats = field(default_factory=lambda: np.zeros((0, 0)))  # [method, route]: sums that fade
    spans: Floats = field(default_factory=lambda: np.zeros(0))  # [route]: independent spans in the sums
    samples: Minutes = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # [route]

    def keep_up(self, log: DemandLog) -> None:
        """Takes in what the log knows more than last time."""
        before = self.origins.routes
        new = self.origins.keep_up(log)
        routes = self.origins.routes
        all_new = new > 0 and new >= self.origins.minutes.size
        if routes != before or all_new:
            self._carry_over({} if all_new else {route: row for row, route in enumerate(before)})
        elif new == 0:
            return
        if self.origins.minutes.size == 0:
            return
        self.past = self.origins.by_change()
        if len(self.methods) > 1:
            for place, steps in self._to_score(new):
                self._score(self.past, place, steps)
                self._share()

    def told(self) -> dict[str, Skill]:
        """For each route: the method with the largest share in its forecast, and its skill."""
        skills, largest = self._skills(), np.argmax(self.shares, axis=0)
        return {
            route: Skill(self.methods[largest[row]].name, float(skills[largest[row], row]), int(self.samples[row]))
            for row, route in enumerate(self.origins.routes)
        }

    def distribution(self, at_minute: int, rows: Minutes, seen: Seen) -> tuple[Floats, Floats]:
        """What may be asked, sorted, and how likely it is: both [route, place], for the routes of these rows."""
        if self.past is None:
            return np.zeros((rows.size, 0)), np.zeros((rows.size, 0))
        past = self.past.of(rows)
        states = past.logarithms(seen)
        weight = np.zeros(past.change.shape)
        for method, share in zip(self.methods, self.shares[:, rows], strict=True):
            used = np.flatnonzero(share)
            if 2 * used.size > rows.size:  # to take some out costs more than to weigh the others for nothing
                weight += share[:, None] * weights(past, at_minute, at_minute, states, method)
            elif used.size:
                weight[used] += share[used, None] * weights(
                    past.of(used), at_minute, at_minute, states[:, used], method
                )
        weight /= weight.sum(axis=1, keepdims=True)
        return past.demands(seen), weight

    def _to_score(self, new: int) -> list[tuple[int, int]]:
        """Places of new origins to score, and how many steps each stands for. After loading a log only some of them."""
        kept = self.origins.minutes.size
        most = min(MOST_SCORED, max(MOST_SCORED // 4, MOST_SCORED_TIMES_ROUTES // max(1, len(self.origins.routes))))
        stride = max(1, math.ceil(min(new, kept) / most))
        return [(place, stride) for place in range(kept - min(new, kept), kept, stride)]

    def _score(self, past: Sorted, place: int, steps: int) -> None:
        """Scores every method at one origin, by what was known then."""
        minute = int(self.origins.minutes[place])
        seen, came = self.origins.at(place)
        until = minute - self.origins.ahead_minutes - 1
        enough = (past.known & (past.minutes <= until)[past.order]).sum(axis=1) >= FEWEST_ORIGINS
        scored = enough & ~np.isnan(came - seen.level[0])
        fade = math.exp(-steps * STEP_MINUTES / MEMORY_MINUTES)
        self.scores, self.spans = self.scores * fade, self.spans * fade
        if not scored.any():
            return
        states, demands = past.logarithms(seen), past.demands(seen)
        found = [score(demands, weights(past, minute, until, states, method), came) for method in self.methods]
        self.scores += np.where(scored, np.array(found), 0.0) * steps
        self.spans += scored * steps * min(1.0, STEP_MINUTES / self.origins.span_minutes)
        self.samples += scored

    def _skills(self) -> Floats:
        """[method, route]"""
        base = self.scores[:1]
        raw = np.where(base > 0.0, 1.0 - self.scores / np.where(base > 0.0, base, 1.0), 0.0)
        fleet = np.maximum(
            (raw * self.spans).sum(axis=1) / max(float(np.sum(self.spans + CAUTIOUS_SPANS)), CAUTIOUS_SPANS), 0.0
        )
        result: Floats = (raw * self.spans + CAUTIOUS_SPANS * fleet[:, None]) / (self.spans + CAUTIOUS_SPANS)
        return result

    def _share(self) -> None:
        """Gives each method its share. Between the two bounds one that is on stays on, one that is off stays off."""
        skills = self._skills()
        on = np.where(self.shares > 0.0, skills > OFF_SKILL, skills > ON_SKILL)
        claims = np.where(on, np.maximum(skills, 0.0), 0.0) ** SHARE_POWER
        claims[0] = claims[1:].sum(axis=0) <= 0.0
        self.shares = claims / claims.sum(axis=0)

    def _carry_over(self, before: dict[str, int]) -> None:
        """Makes room for the routes of now; those that were known keep what was learned of them."""
        routes = self.origins.routes
        shares, scores, spans, samples = self.shares, self.scores, self.spans, self.samples
        self.shares = np.zeros((len(self.methods), len(routes)))
        self.shares[0] = 1.0
        self.scores = np.zeros((len(self.methods), len(routes)))
        self.spans, self.samples = np.zeros(len(routes)), np.zeros(len(routes), dtype=np.int64)
        pairs = [(row, before[route]) for row, route in enumerate(routes) if route in before]
        if pairs:
            new, old = np.array(pairs).T
            self.shares[:, new], self.scores[:, new] = shares[:, old], scores[:, old]
            self.spans[new], self.samples[new] = spans[old], samples[old]
