"""The neutral router plan: routes -> ordered, weighted, limited backends. Each renderer turns it into one router's
files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from comptroller.api.modelpool import Provider
from comptroller.render.router.caches import BackendCache


@dataclass(frozen=True, slots=True)
class SecretMount:
    """A key of a Secret that the router's pod gets as an environment variable; nobody else reads it."""

    variable: str
    secret: str
    key: str


@dataclass(frozen=True, slots=True)
class RouterBackend:
    """One pool as one route sees it. `weight` 0 means: not planned, only tried in spill order."""

    pool: str  # namespace/name
    model: str
    inside: bool
    provider: Provider | None  # None: a local pool, which speaks the OpenAI protocol
    address: str | None  # base URL up to and including /v1; None: the provider's own
    key: SecretMount | None
    weight: int  # share of the route in tenths of a percent, 0..1000
    order: int  # 1: planned; higher numbers are tried later
    max_concurrency: int | None  # of this route in one process; None: no limit but the pool's (`RouterPlan.limits`)
    input_usd_per_token: str  # decimal strings, exact
    cached_input_usd_per_token: str
    cache_write_5m_usd_per_token: str
    cache_write_1h_usd_per_token: str
    output_usd_per_token: str
    cache: BackendCache | None = None  # how prompts are cached there


@dataclass(frozen=True, slots=True)
class RouterEvaluator:
    """Who judges answers of a route. No client can ask it: it has a model name of its own that is no route."""

    judge: RouterBackend
    sample_ratio: float
    rubric: str
    escalate_on_fail: bool
    structured: bool  # whether the judge's API keeps to a JSON schema
    ascending: tuple[str, ...]  # the route's pools, least pass rate first: whom to ask when an answer fails


@dataclass(frozen=True, slots=True)
class RouterShadow:
    """Who answers a copy of some requests of a route, unseen by the client."""

    backend: RouterBackend
    sample_ratio: float


@dataclass(frozen=True, slots=True)
class RouterRoute:
    """One model name that clients ask for."""

    name: str
    backends: tuple[RouterBackend, ...]
    workflow: str | None = None
    step: str | None = None
    shed_ratio: float = 0.0  # share of the requests that nobody can answer: refused at the door with 429
    waits: bool = False  # where all its pools are full: in the engine's queue, instead of a 429
    evaluator: RouterEvaluator | None = None
    shadow: RouterShadow | None = None

    def everybody(self) -> tuple[RouterBackend, ...]:
        """Its backends, and who judges and shadows it."""
        judge = (self.evaluator.judge,) if self.evaluator is not None else ()
        return (*self.backends, *judge, *((self.shadow.backend,) if self.shadow is not None else ()))


@dataclass(frozen=True, slots=True)
class PoolLimit:
    """How many requests one process of the router may have in flight on a local pool, all its routes together.

    A route may have its `assured` number of them even while the pool is full: it has no backend outside.
    """

    pool: str  # namespace/name
    max_concurrency: int
    assured: tuple[tuple[str, int], ...] = ()  # route -> requests in flight


@dataclass(frozen=True, slots=True)
class RouterTenant:
    """Who may ask for what. The keys are files of a mounted Secret."""

    name: str
    secret: str
    routes: tuple[str, ...]  # empty: all


@dataclass(frozen=True, slots=True)
class RouterBudget:
    """US dollars that a tenant, or the whole policy, may spend per calendar period.

    The budget is divided into `parts` equal parts, of which the counter of this router has `mine`: all that share a
    counter have one, else each process has its own.
    """

    tenant: str | None  # None: the whole policy
    usd: str  # decimal string, exact
    period: Literal["hour", "day", "week", "month"]
    time_zone: str
    on_exhausted: Literal["degrade", "reject", "alertOnly"]
    parts: int = 1
    mine: int = 1


@dataclass(frozen=True, slots=True)
class RouterRedis:
    """Where the processes of an open router share what they have spent: sums and names, never a prompt."""

    url: str
    password: SecretMount | None = None


@dataclass(frozen=True, slots=True)
class RouterPlan:
    """What one router Deployment does. `restricted` routers have no backend outside and no key at all."""

    name: str  # of the Deployment and the Service
    namespace: str
    policy: str
    kind: Literal["open", "restricted"]
    routes: tuple[RouterRoute, ...]
    tenants: tuple[RouterTenant, ...]
    timeout_seconds: int
    replicas: int = 1
    elsewhere: tuple[tuple[str, str], ...] = ()  # route of the policy's other router -> its address, for error messages
    keys: tuple[SecretMount, ...] = ()  # of every hosted pool that a route may use, also while it carries nothing
    inside_pools: tuple[
        tuple[str, int], ...
    ] = ()  # (ModelPool in the namespace, port of its pods): what egress may reach
    limits: tuple[PoolLimit, ...] = ()  # local pools whose places are known
    budgets: tuple[RouterBudget, ...] = ()
    redis: RouterRedis | None = None  # None: each process counts for itself
