"""What the operator tells Prometheus about itself and its decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import Sample, Snapshot
from comptroller.learning.demand_skill import Skill
from comptroller.observe.measurements import Measurements, prefix_hit_ratio
from comptroller.runtime.warmup_metrics import WarmupMetrics


@dataclass(slots=True)
class Metrics:
    """All series of the process, in a registry of its own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    decisions: Counter = field(init=False)
    decision_seconds: Histogram = field(init=False)
    decision_age: Gauge = field(init=False)
    reconciles: Counter = field(init=False)
    queue_depth: Gauge = field(init=False)
    api_writes: Gauge = field(init=False)
    audit_refusals: Counter = field(init=False)
    replicas: Gauge = field(init=False)
    demand: Gauge = field(init=False)
    share: Gauge = field(init=False)
    hit_ratio: Gauge = field(init=False)
    spill: Gauge = field(init=False)
    usd_per_hour: Gauge = field(init=False)
    shadow_price: Gauge = field(init=False)
    ledger_usd: Counter = field(init=False)
    ledger_unknown_seconds: Counter = field(init=False)
    prediction_error: Gauge = field(init=False)
    pool_usd: Counter = field(init=False)
    pool_gpu_hours: Counter = field(init=False)
    accounts_unknown_seconds: Counter = field(init=False)
    speed_confidence: Gauge = field(init=False)
    iteration: Gauge = field(init=False)
    unknown: Gauge = field(init=False)
    budget_remaining: Gauge = field(init=False)
    forecast_skill: Gauge = field(init=False)
    leader: Gauge = field(init=False)
    warmups: WarmupMetrics = field(init=False)

    def __post_init__(self) -> None:
        own = self.registry
        self.warmups = WarmupMetrics(own)
        self.decisions = Counter(
            "comptroller_decisions", "Decisions by the rung of the ladder that made them.", ["rung"], registry=own
        )
        self.decision_seconds = Histogram(
            "comptroller_decision_seconds",
            "Time from gathering to plan.",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 2, 5),
            registry=own,
        )
        self.decision_age = Gauge(
            "comptroller_decision_timestamp_seconds", "When the newest decision was made.", registry=own
        )
        self.reconciles = Counter(
            "comptroller_reconcile", "Reconciles by kind and result.", ["kind", "result"], registry=own
        )
        self.queue_depth = Gauge("comptroller_workqueue_depth", "Keys that wait for a worker.", registry=own)
        self.api_writes = Gauge("comptroller_api_writes", "Writes to the API server since the start.", registry=own)
        self.audit_refusals = Counter(
            "comptroller_audit_refusals", "Plans or router configurations that the auditor refused.", registry=own
        )
        self.replicas = Gauge(
            "comptroller_pool_replicas", "Replicas of a pool by state.", ["namespace", "pool", "state"], registry=own
        )
        self.demand = Gauge(
            "comptroller_route_requests_per_second", "Measured arrivals.", ["policy", "route"], registry=own
        )
        self.hit_ratio = Gauge(
            "comptroller_pool_prefix_hit_ratio",
            "Share of a pool's prompt tokens that its engines found cached.",
            ["namespace", "pool"],
            registry=own,
        )
        self.share = Gauge(
            "comptroller_route_share",
            "Planned share of a route that a pool carries.",
            ["policy", "route", "pool"],
            registry=own,
        )
        self.spill = Gauge(
            "comptroller_route_spill_ratio",
            "Planned share of a route that hosted APIs answer.",
            ["policy", "route"],
            registry=own,
        )
        self.usd_per_hour = Gauge(
            "comptroller_usd_per_hour", "Predicted spending, marginal basis: power, rent and tokens.", registry=own
        )
        self.shadow_price = Gauge(
            "comptroller_gpu_shadow_price_usd_per_hour",
            "What one more GPU would be worth for an hour.",
            ["gpu_class", "site"],
            registry=own,
        )
        self.ledger_usd = Counter(
            "comptroller_ledger_usd",
            "US dollars of the ledger's intervals, marginal basis; kind predicted or realised, counted where both are "
            "known.",
            ["kind"],
            registry=own,
        )
        self.ledger_unknown_seconds = Counter(
            "comptroller_ledger_unknown_seconds", "Seconds of which nobody knows what they cost.", registry=own
        )
        self.pool_usd = Counter(
            "comptroller_pool_usd",
            "US dollars of a local pool's replicas; basis marginal (power and rent) or allocation (with the purchase "
            "spread over its life). Never add the two.",
            ["namespace", "pool", "basis"],
            registry=own,
        )
        self.pool_gpu_hours = Counter(
            "comptroller_pool_gpu_hours",
            "Hours of GPUs that a pool's replicas held.",
            ["namespace", "pool", "gpu_class"],
            registry=own,
        )
        self.accounts_unknown_seconds = Counter(
            "comptroller_accounts_unknown_seconds",
            "Seconds for which nobody knows what ran, or how busy a pool's replicas were (then counted as idle).",
            registry=own,
        )
        self.prediction_error = Gauge(
            "comptroller_prediction_error_ratio",
            "Realised over predicted cost, less one, of the newest interval of the ledger.",
            registry=own,
        )
        self.speed_confidence = Gauge(
            "comptroller_pool_speed_confidence",
            "How far the engine's own measurements bear the pool's speed profile out, 0 to 1.",
            ["namespace", "pool", "source"],
            registry=own,
        )
        self.iteration = Gauge(
            "comptroller_pool_profile_ms",
            "The speed profile that the decision reckons with.",
            ["namespace", "pool", "coefficient"],
            registry=own,
        )
        self.forecast_skill = Gauge(
            "comptroller_forecast_skill",
            "How much better than the last value the demand of a route is forecast: 0 no better, 1 always right.",
            ["policy", "route"],
            registry=own,
        )
        self.leader = Gauge(
            "comptroller_leader", "1 for the process that decides and writes, 0 for one that follows.", registry=own
        )
        self.unknown = Gauge(
            "comptroller_unknown_measurements", "Measurements that were unknown at the last decision.", registry=own
        )

        self.budget_remaining = Gauge(
            "comptroller_budget_remaining_usd",
            "US dollars left of a budget in its present period; absent while nobody knows. Budget: namespace/policy, "
            "with a tenant perhaps.",
            ["budget"],
            registry=own,
        )

    def show_forecasts(self, snapshot: Snapshot, forecasts: Mapping[str, Skill]) -> None:
        """Replaces the skills of the routes' forecasts."""
        self.forecast_skill.clear()
        for route in snapshot.routes:
            if (found := forecasts.get(route.key)) is not None:
                self.forecast_skill.labels(route.policy, route.name).set(found.skill)

    def show_budgets(self, snapshot: Snapshot) -> None:
        """Replaces what is left of the budgets."""
        self.budget_remaining.clear()
        for budget in snapshot.budgets:
            if isinstance(budget.remaining_usd, Sample):
                self.budget_remaining.labels(budget.key).set(budget.remaining_usd.value)

    def show(self, snapshot: Snapshot, measured: Measurements, decision: Decision, at_seconds: float) -> None:
        """Replaces the series of the decision; what no longer exists disappears."""
        self.decisions.labels(decision.rung).inc()
        self.decision_age.set(at_seconds)
        self.usd_per_hour.set(decision.usd_per_hour)
        self.unknown.set(len(decision.unknowns))
        for gauge in (self.replicas, self.demand, self.share, self.spill, self.shadow_price, self.hit_ratio):
            gauge.clear()
        self.speed_confidence.clear()
        self.iteration.clear()
        for pool in snapshot.local_pools:
            namespace, name = pool.key.split("/", 1)
            self.replicas.labels(namespace, name, "ready").set(pool.serving)
            self.replicas.labels(namespace, name, "starting").set(len(pool.starting))
            if isinstance(hits := prefix_hit_ratio(measured, pool.key), Sample):
                self.hit_ratio.labels(namespace, name).set(hits.value)
            profile = pool.profile
            self.speed_confidence.labels(namespace, name, profile.source).set(profile.confidence)
            for coefficient in ("alpha", "beta", "gamma", "root"):
                self.iteration.labels(namespace, name, coefficient).set(getattr(profile, f"{coefficient}_ms"))
            if target := decision.pools.get(pool.key):
                self.replicas.labels(namespace, name, "desired").set(target.replicas)
        for route in snapshot.routes:
            if isinstance(route.demand.requests_per_second, Sample):
                self.demand.labels(route.policy, route.name).set(route.demand.requests_per_second.value)
            if plan := decision.routes.get(route.key):
                self.spill.labels(route.policy, route.name).set(plan.spill_ratio)
                for key, share in plan.shares.items():
                    self.share.labels(route.policy, route.name, key).set(share)
        for (gpu_class, site), price in decision.shadow_prices_usd_per_gpu_hour.items():
            self.shadow_price.labels(gpu_class, site).set(price)
