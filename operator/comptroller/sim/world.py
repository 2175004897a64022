"""What is true in the arena: GPUs, pools with their real speed, prices, routes, and the demand that arrived.

Policies never see these values, only what `observed.py` makes of them. The hindsight bound sees all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from comptroller.allocation.snapshot import Profile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCKED_FACTOR = 10.0
"""A blocked request costs this many times the route's reference price."""
MISSED_FACTOR = 1.0
"""An answer outside its objective costs this many times the price of the cheapest permitted hosted answer."""


@dataclass(frozen=True, slots=True)
class GpuGroup:
    """GPUs of one class at one site, in nodes of `per_node`."""

    gpu_class: str
    site: str
    count: int
    per_node: int


@dataclass(frozen=True, slots=True)
class TrueLocalPool:
    """A local pool as it really is. `key` is namespace/name; `profile` is the real speed, not the declared one."""

    key: str
    model: str
    gpu_class: str
    site: str
    gpus_per_replica: int
    jurisdiction: str
    perimeter: str
    minimum: int
    maximum: int
    profile: Profile
    startup_seconds: float
    idle_usd_per_replica_hour: float  # power at idle, plus rent: for every replica that exists
    busy_extra_usd_per_replica_hour: float  # more at full load: in proportion to load over capacity


@dataclass(frozen=True, slots=True)
class TrueHostedPool:
    """A hosted API as it really is. Prices are US dollars per million tokens; limits None: none.

    `refused_ratio` of the requests get a 429 whatever the limits say (a storm); 1 is an outage.
    """

    key: str
    model: str
    jurisdiction: str
    perimeter: str
    input_usd_per_million_tokens: float
    cached_input_usd_per_million_tokens: float
    output_usd_per_million_tokens: float
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_concurrency: int | None = None
    first_token_ms: float = 500.0
    per_output_token_ms: float = 15.0
    cache_ttl_seconds: float = 300.0
    cache_minimum_tokens: float = 1024.0
    refused_ratio: float = 0.0

    def usd_per_request(self, input_tokens: float, output_tokens: float, cached_ratio: float = 0.0) -> float:
        """Worked: 1000 tokens in at $0.23, 250 out at $0.40 per million cost $0.00033."""
        prompt = (
            1.0 - cached_ratio
        ) * self.input_usd_per_million_tokens + cached_ratio * self.cached_input_usd_per_million_tokens
        return (prompt * input_tokens + output_tokens * self.output_usd_per_million_tokens) / 1e6


@dataclass(frozen=True, slots=True)
class TrueRoute:
    """A route as it really is. `key` is namespace/policy/route.

    `permitted` are the pools that its policy names and its data rules allow (hosted ones only where a way out exists).
    """

    key: str
    name: str
    policy: str  # namespace/name
    tier: str
    permitted: tuple[str, ...]
    pass_rates: Mapping[str, float]
    input_tokens: float
    output_tokens: float
    time_to_first_token_ms: float
    time_per_output_token_ms: float
    percentile: float
    blocked_usd: float  # the penalty of one request that nobody answered
    missed_usd: float  # the penalty of one answer outside its objective
    best_cached_ratio: float = 0.0  # the share of the prompt that an endlessly warm hosted cache would find


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is true between two perturbations."""

    gpus: tuple[GpuGroup, ...]
    local: tuple[TrueLocalPool, ...]
    hosted: tuple[TrueHostedPool, ...]
    routes: tuple[TrueRoute, ...]


@dataclass(frozen=True, slots=True)
class Windows:
    """The demand that arrived: mean requests/s of each route (rows, in the order of `World.routes`) and window."""

    seconds: Floats  # [window] how long each one lasts
    requests_per_second: Floats  # [route, window]


@dataclass(frozen=True, slots=True)
class Epoch:
    """A stretch of time with one truth, and what was asked in it. A run is a row of these; bounds add up."""

    start_seconds: float
    world: World
    windows: Windows


@dataclass(frozen=True, slots=True)
class Bound:
    """The least that any policy could have paid, and of what it consists, in US dollars."""

    usd: float
    parts_usd: Mapping[str, float] = field(default_factory=dict)  # such as power, tokens, blocked
