"""What the decision knows: one frozen picture of pools, routes, GPUs and measurements.

Everything is gathered outside and passed in; this package reads no clock and no network. Times are seconds since an
arbitrary epoch and only ever compared with `Snapshot.at_seconds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured value and how old it is."""

    value: float
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not knowing, with the reason. It is not zero and every rule must handle it."""

    reason: str


Measurement: TypeAlias = Sample | Unknown


@dataclass(frozen=True, slots=True)
class Profile:
    """Speed of one replica: T(b) = alpha + b (beta (in+out)/(out+1) + gamma (in + out/2)), milliseconds.

    A mixture of experts adds root sqrt(b): a concave curve.
    """

    alpha_ms: float
    beta_ms: float
    gamma_ms: float
    max_concurrency: int
    source: Literal["declared", "learned", "default"] = "default"
    samples: int = 0
    root_ms: float = 0.0
    confidence: float = 0.0  # 0..1: how far the engine's own measurements bear it out


@dataclass(frozen=True, slots=True)
class StartingReplica:
    """A replica that exists and is not ready yet."""

    expected_ready_in_seconds: float


@dataclass(frozen=True, slots=True)
class LocalPool:
    """GPUs that answer. `key` is namespace/name.

    `serving` counts the replicas that are ready and admitted (warm where a gate asks for it). `existing` counts all
    that were created and are not being deleted. `previous` is what the last decision wanted; None before the first.
    """

    key: str
    model: str
    gpu_class: str
    gpus_per_replica: int
    jurisdiction: str
    perimeter: str
    minimum: int
    maximum: int
    serving: int
    starting: tuple[StartingReplica, ...]
    previous: int | None
    profile: Profile
    startup_seconds: float
    idle_usd_per_replica_hour: float  # power at idle (owned), plus rent (rented): paid for each replica that runs
    busy_extra_usd_per_replica_hour: float  # power at full load minus idle: paid in proportion to utilisation
    paused: bool = False
    held_at: int | None = None  # annotation comptroller.dev/hold-replicas
    site: str = ""  # GPUs of one class at different sites are different inventories

    @property
    def existing(self) -> int:
        """Replicas that hold a GPU or will: serving and starting."""
        return self.serving + len(self.starting)


@dataclass(frozen=True, slots=True)
class HostedPool:
    """An API that is paid per token. `key` is namespace/name. Prices are US dollars per million tokens."""

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
    cache_write_usd_per_million_tokens: float | None = None  # None: writing costs what reading does
    cache_ttl_seconds: float | None = None  # how long a prefix stays in the provider's cache; None: unknown
    mean_latency_seconds: float = 2.0
    available: bool = True  # False while its circuit is open
    paused: bool = False


@dataclass(frozen=True, slots=True)
class BackendRule:
    """A pool that a route's policy names, with the share of tasks that it solves, declared or measured."""

    pool: str  # namespace/name
    pass_rate: float = 1.0
    judged_answers: float = 0.0  # what the measured one stands on; older answers count less


@dataclass(frozen=True, slots=True)
class Demand:
    """What a route is asked. Rates are arrivals, not completions."""

    requests_per_second: Measurement
    input_tokens: float
    output_tokens: float
    cached_ratio: float = 0.0  # share of the prompt that a hosted API finds in its cache
    peak_requests_per_second: Measurement = field(default_factory=lambda: Unknown("no peak measured"))
    # mean time between requests of one prefix; None: `cached_ratio` is measured
    prefix_gap_seconds: float | None = None
    dispersion: float = 1.0  # variance over mean of the number of arrivals in a stretch of time; 1 is Poisson


@dataclass(frozen=True, slots=True)
class CacheTerms:
    """How a hosted pool keeps a route's prefixes, where the router says so: they are found after gaps of up to
    `ttl_seconds`, and arrive with the mean `gap_seconds` of Poisson arrivals that are found as often."""

    ttl_seconds: float
    write_usd_per_million_tokens: float
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class Route:
    """One route of one policy. `key` is namespace/policy/route."""

    key: str
    name: str
    policy: str  # namespace/name
    backends: tuple[BackendRule, ...]
    demand: Demand
    time_to_first_token_ms: float
    time_per_output_token_ms: float
    percentile: float = 0.95
    minimum_pass_rate: float = 0.0
    usd_per_solved_task: float | None = None
    usd_per_second: float = 0.0
    jurisdictions: tuple[str, ...] = ()  # permitted; empty: any
    perimeters: tuple[str, ...] = ()  # permitted; empty: any
    priority: int = 100
    on_overload: Literal["spill", "queue", "reject"] = "spill"
    caches: Mapping[str, CacheTerms] = field(default_factory=dict)  # hosted pool -> instead of the pool's own rules
    judged_ratio: float = 0.0  # share of the answers that are judged, and asked again of a better pool when they fail


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the demand may be when a replica that starts now serves: a few joint scenarios with their probabilities.

    `requests_per_second[route][s]` belongs to `probabilities[s]`; all rows are as long as `probabilities`, which sum
    to 1. A route that is missing has no outlook: its mean and its peak count.
    """

    probabilities: tuple[float, ...] = ()
    requests_per_second: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Budget:
    """US dollars that some routes may still spend on hosted pools. `key` is namespace/policy, with a tenant perhaps.

    `parts` has the part of each route's requests that the budget pays for: 1 for the budget of a policy.
    """

    key: str
    parts: Mapping[str, float]
    remaining_usd: Measurement
    seconds_to_reset: float
    binding: bool = True  # False: when it is spent one is told, and goes on


@dataclass(frozen=True, slots=True)
class Rules:
    """How quickly decisions may change; from the settings."""

    scale_down_delay_seconds: float = 300.0
    longest_scale_down_delay_seconds: float = 0.0  # where idling costs little beside a start-up; 0: always the same
    transfer_delay_seconds: float = 60.0  # the same where another pool waits for the GPUs
    improvement_threshold: float = 0.02
    maximum_step_up: int = 16
    solver_time_limit_seconds: float = 0.6
    horizon_seconds: float = 900.0  # over which a switching cost is spread
    node_losses_per_year: float = 2.0  # of one node: what the reserve is reckoned with
    holding_after_restart: bool = False  # no full window of data since the operator started: nothing is scaled down


@dataclass(frozen=True, slots=True)
class Turn:
    """The newest move of a pool: up (1) or down (-1), when, and what not turning back has cost since, in US dollars."""

    direction: int
    at_seconds: float
    missed_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What the allocator remembers between decisions: when fewer replicas began to suffice, and what was sent where."""

    # pool -> (since when the programme has wanted fewer, the most it wanted since then)
    below_since_seconds: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # route -> pool -> share of the last plan
    requests_per_second: Mapping[str, float] = field(default_factory=dict)  # route -> its newest known demand
    budget_usd_per_hour: Mapping[str, float] = field(default_factory=dict)  # budget -> what the last plan spends of it
    turns: Mapping[str, Turn] = field(default_factory=dict)  # pool -> its newest move, for an hour
    at_seconds: float = 0.0  # when the last decision was made


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One frozen picture. Deterministic: equal snapshots give equal decisions, in whatever order things are listed."""

    at_seconds: float
    local_pools: tuple[LocalPool, ...]
    hosted_pools: tuple[HostedPool, ...]
    routes: tuple[Route, ...]
    # (GPU class, site) -> GPUs on ready nodes minus what pods of others hold; Unknown: hold
    gpus: Mapping[tuple[str, str], Measurement]
    rules: Rules = field(default_factory=Rules)
    memory: Memory = field(default_factory=Memory)
    outlook: Outlook = field(default_factory=Outlook)
    budgets: tuple[Budget, ...] = ()
    gpus_per_node: Mapping[tuple[str, str], float] = field(default_factory=dict)  # of one node; absent: no reserve
