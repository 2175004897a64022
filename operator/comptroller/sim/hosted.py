"""Hosted APIs: how many requests they take, when they refuse, and what an answer costs.

A rate limit is a bucket that holds a minute's worth and fills evenly; what does not fit gets a 429, and the router asks
the next backend. In a storm, or an outage, each request is refused with some probability; since the router cools a
backend down after three failures, each of its processes tries only about three over that probability in each cooldown.
Answers that are given begin in time: these APIs are taken as fast enough while they answer at all.

Prompt caches: of a route's prompt tokens, so many are found as its trace says for the cache's lifetime and for the
share of the route's requests that this API gets (`ClientTrace.reuse`), if its prompts are long enough to be cached.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comptroller.sim.stage import Asked
from comptroller.sim.world import Floats, Ints, World

FAILURES_BEFORE_COOLDOWN = 3  # LiteLLM with allowed_fails 2


class HostedApis:
    """State and law of all hosted pools; rows are routes, columns hosted pools."""

    def __init__(self, world: World, asked: Sequence[Asked], step_seconds: float, random: np.random.Generator):
        self.random, self.step_seconds, self.asked = random, step_seconds, asked
        shape = (len(world.routes), len(world.hosted))
        self.in_flight: Ints = np.zeros(shape, dtype=np.int64)
        self.cached_ratio: Floats = np.zeros(shape)
        self.change(world, first=True)

    def change(self, world: World, *, first: bool = False) -> None:
        """The world changed: prices, refusals."""
        self.world = world
        pools = world.hosted
        self.tokens: Floats = np.array([route.input_tokens + route.output_tokens for route in world.routes])
        per_minute = np.array([_limit(pool.requests_per_minute) for pool in pools])
        tokens_per_minute = np.array([_limit(pool.tokens_per_minute) for pool in pools])
        if first:
            self.requests_left, self.tokens_left = per_minute.copy(), tokens_per_minute.copy()
        self.per_minute, self.tokens_per_minute = per_minute, tokens_per_minute
        self.refused = np.array([pool.refused_ratio for pool in pools])
        self.limited = bool(np.isfinite(per_minute).any() or np.isfinite(tokens_per_minute).any())
        self.counts_in_flight = any(pool.max_concurrency is not None for pool in pools)
        service = np.array(
            [
                [(pool.first_token_ms + route.output_tokens * pool.per_output_token_ms) / 1000.0 for pool in pools]
                for route in world.routes
            ]
        ).reshape(len(world.routes), len(pools))
        self.service_seconds = service
        ratio = np.maximum(service, 1e-6) / self.step_seconds
        self.stay = np.exp(-1.0 / ratio)
        self.stay_new = ratio * (1.0 - self.stay)
        self._price()

    def _price(self) -> None:
        self.usd_each = np.array(
            [
                [
                    pool.usd_per_request(route.input_tokens, route.output_tokens, float(self.cached_ratio[i, j]))
                    for j, pool in enumerate(self.world.hosted)
                ]
                for i, route in enumerate(self.world.routes)
            ]
        ).reshape(self.in_flight.shape)

    def share_traffic(self, shares: Floats) -> None:
        """Sets what the caches find, by the share of each route's requests that each API gets lately."""
        if all(one.client.reuse is None for one in self.asked):
            return
        for i, one in enumerate(self.asked):
            if one.client.reuse is None:
                continue
            for j, pool in enumerate(self.world.hosted):
                long_enough = one.client.input_tokens >= pool.cache_minimum_tokens
                self.cached_ratio[i, j] = (
                    one.client.reuse(pool.cache_ttl_seconds, float(shares[i, j])) if long_enough else 0.0
                )
        self._price()

    def begin(self) -> None:
        """A step begins: the buckets fill."""
        if self.limited:
            part = self.step_seconds / 60.0
            self.requests_left = np.minimum(self.per_minute, self.requests_left + part * self.per_minute)
            self.tokens_left = np.minimum(self.tokens_per_minute, self.tokens_left + part * self.tokens_per_minute)

    def room(self, limits: Floats) -> Floats:
        """How many more each (route, API) may be sent in this step under the router's limit of requests in flight."""
        found: Floats = np.maximum(limits - self.in_flight * self.stay, 0.0) / self.stay_new
        return found

    def take(self, pool: int, sent: Ints, processes: Ints) -> Ints:
        """How many of those sent (by route) are answered; the others got a 429 or no answer at all."""
        taken = sent
        refused = float(self.refused[pool])
        if refused > 0:
            tries = np.ceil(processes * FAILURES_BEFORE_COOLDOWN / refused).astype(np.int64)
            taken = self.random.binomial(np.minimum(sent, tries), 1.0 - refused)
        if self.limited and taken.any():
            most = min(
                1.0,
                float(self.requests_left[pool]) / float(taken.sum()),
                float(self.tokens_left[pool]) / max(float((taken * self.tokens).sum()), 1e-9),
            )
            if most < 1.0:
                taken = np.floor(taken * max(most, 0.0)).astype(np.int64)
            self.requests_left[pool] -= taken.sum()
            self.tokens_left[pool] -= (taken * self.tokens).sum()
        return taken

    def step(self, taken: Ints) -> None:
        """Lets the step pass with what was taken."""
        if self.counts_in_flight:
            ended = self.random.binomial(self.in_flight, 1.0 - self.stay)
            ended += self.random.binomial(taken, 1.0 - self.stay_new)
            self.in_flight += taken - ended


def _limit(value: float | None) -> float:
    return np.inf if value is None else float(value)
