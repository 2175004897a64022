"""Metrics of judges and shadows. They are no demand: `comptroller_router_requests_total` does not count them."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from .config import Config
from .metrics import SECONDS, TOKENS
from .verdict import VERDICTS
from .watchers import EVALUATOR_TENANT, JUDGE

SAMPLE, SHADOW, VERIFY = "sample", "shadow", "verify"

EVALUATIONS = Counter(
    "comptroller_router_evaluations_total",
    "Judged answers by the pool that gave them. source: sample (drawn), shadow (of a copy), verify (asked for by the "
    "client, so no fair sample). verdict: pass, fail, or error when the judge gave none.",
    ["policy", "route", "pool", "source", "verdict"],
)
EVALUATIONS_DROPPED = Counter(
    "comptroller_router_evaluations_dropped_total",
    "Drawn answers that were not judged: busy (too many wait), budget (above twice the sample ratio), full (the "
    "judge has no place), too_long.",
    ["policy", "route", "reason"],
)
EVALUATION_SECONDS = Histogram(
    "comptroller_router_evaluation_seconds", "Of a judge for one verdict.", ["policy", "route", "pool"], buckets=SECONDS
)
EVALUATION_USD = Counter(
    "comptroller_router_evaluation_usd_total",
    "The part of comptroller_router_usd_total that judges and shadows cost. purpose: judge, shadow, verify.",
    ["policy", "route", "pool", "purpose"],
)
EVALUATION_TOKENS = Counter(
    "comptroller_router_evaluation_tokens_total",
    "Tokens of judges and shadows, which comptroller_router_tokens_total does not count.",
    ["policy", "route", "pool", "purpose", "kind"],
)
SHADOW_ANSWERS = Counter(
    "comptroller_router_shadow_answers_total",
    "Copies by outcome: ok, error, full (the pool had no place), busy (too many wait), budget, too_long.",
    ["policy", "route", "pool", "outcome"],
)
SHADOW_SECONDS = Histogram(
    "comptroller_router_shadow_seconds", "Of a good answer to a copy.", ["policy", "route", "pool"], buckets=SECONDS
)
ESCALATIONS = Counter(
    "comptroller_router_escalations_total",
    "Answers that failed and were asked again, by the pool that failed and the one that was asked then.",
    ["policy", "route", "failed_pool", "pool"],
)


def purpose_of(role: str, tenant: str) -> str:
    """What is paid for: "" for a client's own answer, judge, shadow, or verify where a tenant asked for the verdict."""
    return VERIFY if role == JUDGE and tenant != EVALUATOR_TENANT else role


def tokens_of(purpose: str, policy: str, route: str, pool: str, kind: str) -> Counter:
    """The counter of tokens: those of judges and shadows are not part of a route's shape of requests."""
    if purpose:
        return EVALUATION_TOKENS.labels(policy, route, pool, purpose, kind)
    return TOKENS.labels(policy, route, pool, kind)


def prepare(config: Config) -> None:
    """Counters begin at zero: a rate that is absent is unknown, and the first verdict of a series that was not there
    before is none to Prometheus' rate()."""
    for route in config.routes.values():
        if route.evaluator is None:
            continue
        seen = [(pool, SAMPLE) for pool in route.evaluator.ascending]
        seen += [(route.shadow.pool, SHADOW)] if route.shadow is not None else []
        seen += [(pool, VERIFY) for pool in route.evaluator.ascending if route.evaluator.escalate_on_fail]
        for pool, source in seen:
            for verdict in VERDICTS:
                EVALUATIONS.labels(config.policy, route.name, pool, source, verdict)
