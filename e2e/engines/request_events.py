"""Replicas with continuous batching, simulated request by request and iteration by iteration, in virtual time.

It is the referee of the queue model in `comptroller.allocation.capacity`, so it shares nothing with it but the
constants: an iteration of b requests that computes c tokens while they hold k tokens of context takes

    alpha + root sqrt(b) + beta c + gamma k        [milliseconds; root is 0 for dense models]

A request's prompt is computed in pieces of what the token budget leaves (chunked prefill); the iteration that computes
its last piece gives its first token, and each further iteration one more. Requests that find the batch full wait in the
order of their arrival. Arrivals go to the replica with the fewest requests (ties in turn); with a limit per replica,
those that find all replicas at the limit leave at once and are counted.

Everything is drawn from one seed: equal arguments give equal answers.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EngineSpeed:
    """One replica: milliseconds per iteration, per computed token, per token of context; places; tokens a time."""

    alpha_ms: float
    beta_ms: float
    gamma_ms: float
    places: int
    root_ms: float = 0.0
    budget_tokens: int = 8192


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives. A coefficient of variation of 1 is a Poisson process; of lengths, 0 is always the mean."""

    requests_per_second: float
    input_tokens: float
    output_tokens: float
    arrival_cv: float = 1.0
    input_cv: float = 0.0
    output_cv: float = 0.0


@dataclass(frozen=True, slots=True)
class Experience:
    """What the requests met, one entry per answered request; `overflow_ratio` is the share that left at once."""

    first_token_ms: Floats
    per_token_ms: Floats
    latency_seconds: Floats
    overflow_ratio: float

    def first_token_at(self, percentile: float) -> float:
        return float(np.quantile(self.first_token_ms, percentile))

    def per_token_at(self, percentile: float) -> float:
        return float(np.quantile(self.per_token_ms, percentile))

    @property
    def mean_per_token_ms(self) -> float:
        return float(self.per_token_ms.mean())


@dataclass(slots=True)
class _Request:
    arrived_ms: float
    prompt: int
    answer: int
    left: int  # tokens of the prompt that are not computed yet
    first_ms: float = 0.0
    done_ms: float = 0.0


@dataclass(slots=True)
class _Replica:
    """One engine. `ends_ms` is when the iteration that runs now ends; infinite while it idles."""

    speed: EngineSpeed
    requests: int = 0
    waiting: deque[_Request] = field(default_factory=deque)
    prompting: deque[_Request] = field(default_factory=deque)
    answering: int = 0
    context: int = 0
    iteration: int = 0
    leaving: dict[int, list[_Request]] = field(default_factory=dict)
    started: list[_Request] = field(default_factory=list)  # prompts that the running iteration completes
    busy: bool = False

    def begin(self) -> float:
        """Takes in what fits and starts an iteration; returns its length in milliseconds."""
        speed = self.speed
        budget = speed.budget_tokens - self.answering
        computed, context = self.answering, self.context
        while budget > 0:
            if not self.prompting:
                if not self.waiting or self.answering + len(self.started) >= speed.places:
                    break
                self.prompting.append(self.waiting.popleft())
            one = self.prompting[0]
            piece = min(budget, one.left)
            one.left -= piece
            budget -= piece
            computed += piece
            context += one.prompt - one.left
            if one.left == 0:
                self.started.append(self.prompting.popleft())
        self.busy = True
        self.iteration += 1
        batch = self.answering + len(self.started) + len(self.prompting)
        grown = speed.root_ms * math.sqrt(batch) if speed.root_ms else 0.0
        return speed.alpha_ms + grown + speed.beta_ms * computed + speed.gamma_ms * context

    def end(self, now_ms: float) -> list[_Request]:
        """Hands a token to every request of the iteration; returns those that are complete."""
        self.context += self.answering
        done = self.leaving.pop(self.iteration, [])
        for one in self.started:
            one.first_ms = now_ms
            if one.answer <= 1:
                done.append(one)
                self.answering += 1  # taken off again below
                self.context += one.prompt + 1
            else:
                self.answering += 1
                self.context += one.prompt + 1
                self.leaving.setdefault(self.iteration + one.answer - 1, []).append(one)
        self.started.clear()
        for one in done:
            one.done_ms = now_ms
            self.context -= one.prompt + one.answer
        self.answering -= len(done)
        self.requests -= len(done)
        self.busy = False
        return done


def _gamma(draw: np.random.Generator, mean: float, cv: float, count: int) -> Floats:
    if cv <= 0.0:
        return np.full(count, mean)
    return draw.gamma(1.0 / cv**2, mean * cv**2, count)


def simulate(
    speed: EngineSpeed,
    load: Load,
    *,
    replicas: int = 1,
    requests: int = 4000,
    seed: int = 1,
    limit: int | None = None,
    warm_up_ratio: float = 0.1,
) -> Experience:
    """Answers `requests` requests; the first tenth fills the engine and is not counted."""
    draw = np.random.default_rng(seed)
    arrivals = np.cumsum(_gamma(draw, 1000.0 / load.requests_per_second, load.arrival_cv, requests))
    prompts = np.maximum(1, np.rint(_gamma(draw, load.input_tokens, load.input_cv, requests))).astype(int)
    answers = np.maximum(1, np.rint(_gamma(draw, load.output_tokens, load.output_cv, requests))).astype(int)
    engines = [_Replica(speed) for _ in range(replicas)]
    events: list[tuple[float, int]] = []
    answered: list[_Request] = []
    counted_from = int(requests * warm_up_ratio)
    left = 0

    def run_until(moment_ms: float) -> None:
        while events and events[0][0] <= moment_ms:
            now, index = events[0]
            engine = engines[index]
            answered.extend(engine.end(now))
            if engine.requests:
                heapq.heapreplace(events, (now + engine.begin(), index))
            else:
                heapq.heappop(events)

    for number in range(requests):
        now = float(arrivals[number])
        run_until(now)
        index = min(range(replicas), key=lambda i: (engines[i].requests, (i - number) % replicas))
        engine = engines[index]
        if limit is not None and engine.requests >= limit:
            left += number >= counted_from
            continue
        size = int(prompts[number])
        engine.requests += 1
        engine.waiting.append(_Request(now, size, int(answers[number]), size))
        if not engine.busy:
            heapq.heappush(events, (now + engine.begin(), index))
    run_until(float("inf"))
    counted = [one for one in answered if one.arrived_ms >= arrivals[counted_from]]
    counted.sort(key=lambda one: one.arrived_ms)
    first = np.array([one.first_ms - one.arrived_ms for one in counted])
    pace = np.array([(one.done_ms - one.first_ms) / max(1, one.answer - 1) for one in counted])
    whole = np.array([one.done_ms - one.arrived_ms for one in counted]) / 1000.0
    return Experience(first, pace, whole, left / max(1, requests - counted_from))
