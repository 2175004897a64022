"""What the fleet's metrics say right now, gathered in one round of queries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.api.settings import PrometheusSettings
from comptroller.observe import budget_questions, engines
from comptroller.observe.prometheus import PrometheusSource, Series

PREFIX_WINDOW = 3 * 3600  # seconds: some gaps of nearly an hour, which decide whether to pay for an hour's cache
SHAPE_WINDOW_FACTOR = 8  # token counts change slowly: a longer window makes them steady


@dataclass(frozen=True, slots=True)
class Measurements:
    """One round of answers. Keys: policy is namespace/name; pool is namespace/name."""

    router_age_seconds: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, route)
    routers: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, route), scraped ones
    arrivals: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, route)
    peak: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, route)
    resets: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, route), rate window
    peak_resets: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # the same, peak window
    tokens: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (policy, route, kind) per second
    answered: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, route) per second
    first_token_seconds: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, route)
    first_token_buckets: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (policy, route, le)
    in_flight: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (namespace, pool, pod)
    cached_tokens: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (namespace, pool)
    prompt_tokens: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (namespace, pool)
    hosted_latency_seconds: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (pool,)
    running: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (namespace, pool, pod)
    token_seconds: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (namespace, pool)
    timed_tokens: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (namespace, pool)
    pool_tokens: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (pool, policy, route, kind) per second
    pool_answered: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (pool, policy, route) per second
    cache_blocks: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (namespace, pool, blocks, tokens per block)
    cache_tokens: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (namespace, pool)
    spent_usd_per_second: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (pool,)
    prefix_gaps: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (policy, route, le), counts
    prefix_tokens: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (pool, policy, route, kind) per second
    router_cores: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (namespace, router), of all its processes together
    answered_by_pool: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (pool,) per second
    verdicts: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (policy, route, pool, verdict) per second, of drawn answers
    verified: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, route) per second
    evaluation_usd: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (policy, route) per second: judges and shadows
    asked_by_tenant: Series | Unknown = field(
        default_factory=lambda: Unknown("not asked yet")
    )  # (policy, route, tenant) per second
    spent_apart: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, scope, name)
    counted_apart: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, scope, name)
    spent_together: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, scope, name)
    budget_resets: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy, scope, name)
    redis_answers: Series | Unknown = field(default_factory=lambda: Unknown("not asked yet"))  # (policy,)


async def measure(source: PrometheusSource, settings: PrometheusSettings) -> Measurements:
    """Asks everything at once. A query that fails is `Unknown`; the others still count."""
    window, shape = settings.rate_window_seconds, settings.rate_window_seconds * SHAPE_WINDOW_FACTOR
    requests = f"sum by (policy, route) (rate(comptroller_router_requests_total[{window}s]))"
    questions: Mapping[str, tuple[str, tuple[str, ...]]] = {
        "router_age_seconds": (
            "min by (policy, route) (time() - timestamp(comptroller_router_route_info))",
            ("policy", "route"),
        ),
        "routers": ("count by (policy, route) (comptroller_router_route_info)", ("policy", "route")),
        "arrivals": (requests, ("policy", "route")),
        "peak": (f"max_over_time(({requests})[{settings.peak_window_seconds}s:{window}s])", ("policy", "route")),
        "resets": (_resets(window), ("policy", "route")),
        "peak_resets": (_resets(settings.peak_window_seconds), ("policy", "route")),
        "tokens": (
            f"sum by (policy, route, kind) (rate(comptroller_router_tokens_total[{shape}s]))",
            ("policy", "route", "kind"),
        ),
        "answered": (
            f'sum by (policy, route) (rate(comptroller_router_responses_total{{outcome="ok"}}[{shape}s]))',
            ("policy", "route"),
        ),
        "first_token_seconds": (
            f"sum by (policy, route) (rate(comptroller_router_time_to_first_token_seconds_sum[{shape}s])) / "
            f"(sum by (policy, route) (rate(comptroller_router_time_to_first_token_seconds_count[{shape}s])) > 0)",
            ("policy", "route"),
        ),
        "first_token_buckets": (
            f"sum by (policy, route, le) (rate(comptroller_router_time_to_first_token_seconds_bucket[{shape}s]))",
            ("policy", "route", "le"),
        ),
        "in_flight": (
            f"{engines.by_pod(engines.RUNNING)} + {engines.by_pod(engines.WAITING)}",
            ("namespace", "pool", "pod"),
        ),
        "cached_tokens": (engines.rate_by_pool(engines.CACHED_TOKENS, window), ("namespace", "pool")),
        "prompt_tokens": (engines.rate_by_pool(engines.PROMPT_TOKENS, window), ("namespace", "pool")),
        "spent_usd_per_second": (f"sum by (pool) (rate(comptroller_router_usd_total[{window}s]))", ("pool",)),
        "answered_by_pool": (
            f'sum by (pool) (rate(comptroller_router_responses_total{{outcome="ok"}}[{window}s]))',
            ("pool",),
        ),
        "router_cores": (
            f'sum by (namespace, router) (rate(process_cpu_seconds_total{{router!=""}}[{window}s]))',
            ("namespace", "router"),
        ),
        "verdicts": (
            "sum by (policy, route, pool, verdict) "
            f'(rate(comptroller_router_evaluations_total{{source!="verify"}}[{window}s]))',
            ("policy", "route", "pool", "verdict"),
        ),
        "verified": (
            f'sum by (policy, route) (rate(comptroller_router_evaluations_total{{source="verify"}}[{shape}s]))',
            ("policy", "route"),
        ),
        "evaluation_usd": (
            f"sum by (policy, route) (rate(comptroller_router_evaluation_usd_total[{shape}s]))",
            ("policy", "route"),
        ),
        "running": (engines.mean_by_pod(engines.RUNNING, window), ("namespace", "pool", "pod")),
        "token_seconds": (engines.rate_by_pool(engines.TOKEN_SECONDS, window), ("namespace", "pool")),
        "timed_tokens": (engines.rate_by_pool(engines.TIMED_TOKENS, window), ("namespace", "pool")),
        "pool_tokens": (
            f"sum by (pool, policy, route, kind) (rate(comptroller_router_tokens_total[{window}s]))",
            ("pool", "policy", "route", "kind"),
        ),
        "pool_answered": (
            f'sum by (pool, policy, route) (rate(comptroller_router_responses_total{{outcome="ok"}}[{window}s]))',
            ("pool", "policy", "route"),
        ),
        "prefix_gaps": (
            f"sum by (policy, route, le) (increase(comptroller_router_prefix_gap_seconds_bucket[{PREFIX_WINDOW}s]))",
            ("policy", "route", "le"),
        ),
        "prefix_tokens": (
            f"sum by (pool, policy, route, kind) (rate(comptroller_router_tokens_total[{shape}s]))",
            ("pool", "policy", "route", "kind"),
        ),
        "cache_blocks": (engines.CACHE_BLOCKS, ("namespace", "pool", "num_gpu_blocks", "block_size")),
        "cache_tokens": (engines.CACHE_TOKENS, ("namespace", "pool")),
        "hosted_latency_seconds": (
            f"sum by (pool) (rate(comptroller_router_request_seconds_sum[{shape}s])) / "
            f"(sum by (pool) (rate(comptroller_router_request_seconds_count[{shape}s])) > 0)",
            ("pool",),
        ),
        "asked_by_tenant": (
            f"sum by (policy, route, tenant) (rate(comptroller_router_requests_total[{shape}s]))",
            ("policy", "route", "tenant"),
        ),
        **budget_questions.QUESTIONS,
    }
    answers = await asyncio.gather(*(source.query(expression, labels) for expression, labels in questions.values()))
    return Measurements(**dict(zip(questions, answers, strict=True)))


def _resets(window_seconds: int) -> str:
    return f"sum by (policy, route) (resets(comptroller_router_requests_total[{window_seconds}s]))"


def arrivals_of(
    measured: Measurements, policy: str, route: str, stale_after_seconds: float, routers: int = 0
) -> Measurement:
    """Requests per second of one route, or why they are unknown. `routers` is how many serve it, at least.

    A router counts every route from zero on, so a route without a rate is unknown and never silent. A router that is
    not scraped hides its part of the arrivals.
    """
    age = find(measured.router_age_seconds, (policy, route), "no router of this route has been scraped yet")
    if isinstance(age, Unknown):
        return age
    if age.value > stale_after_seconds:
        return Unknown(f"newest sample of the router is {age.value:.0f} s old (limit {stale_after_seconds:.0f} s)")
    if routers:
        scraped = find(measured.routers, (policy, route), "no router of this route has been scraped yet")
        if isinstance(scraped, Unknown):
            return scraped
        if scraped.value < routers:
            return Unknown(f"{scraped.value:.0f} of {routers} routers {'is' if scraped.value == 1 else 'are'} scraped")
    # the router's counters begin at zero, so a rate that is absent is a window with fewer than two scrapes, not silence
    value = find(measured.arrivals, (policy, route), "no rate yet: the window needs two scrapes of the router")
    return value if isinstance(value, Unknown) else Sample(value.value, age.value)


def peak_of(measured: Measurements, policy: str, route: str) -> Measurement:
    """The highest rate of the peak window."""
    return find(measured.peak, (policy, route), "no peak measured")


def mean_tokens(measured: Measurements, policy: str, route: str) -> tuple[float, float, float] | None:
    """Prompt and generated tokens per answered request, and the cached share of the prompt; None before the first."""
    answered = find(measured.answered, (policy, route), "no answer yet")
    if isinstance(answered, Unknown) or answered.value <= 0:
        return None
    totals = []
    for kind in ("input", "cached_input", "output"):
        one = find(measured.tokens, (policy, route, kind), "none")
        totals.append(0.0 if isinstance(one, Unknown) else one.value / answered.value)
    inputs, cached, outputs = totals
    if inputs <= 0 or outputs <= 0:
        return None
    return inputs, outputs, min(1.0, cached / inputs)  # the router counts cached tokens into the input


def within_first_token(measured: Measurements, policy: str, route: str, seconds: float) -> tuple[float, float] | None:
    """Streamed answers per second of a route, and how many of them began within the time; None before the first.

    Between two bounds of the histogram the answers are taken as evenly spread, as Prometheus' own quantiles do.
    """
    if isinstance(measured.first_token_buckets, Unknown):
        return None
    bounds = sorted(
        (float(key[2]), one.value)
        for key, one in measured.first_token_buckets.items()
        if key[:2] == (policy, route) and isinstance(one, Sample)
    )
    if not bounds or bounds[-1][1] <= 0:
        return None
    total = bounds[-1][1]
    below, count = 0.0, 0.0
    for bound, cumulative in bounds:
        if seconds < bound:
            part = 0.0 if bound == float("inf") else (seconds - below) / (bound - below)
            return total, min(total, count + part * (cumulative - count))
        below, count = bound, cumulative
    return total, total


def in_flight_of(measured: Measurements, pool: str) -> dict[str, float]:
    """Requests that run or wait in each replica of a pool, by the pod's name; those of unknown load are left out."""
    if isinstance(measured.in_flight, Unknown):
        return {}
    namespace, name = pool.split("/", 1)
    return {
        key[2]: one.value
        for key, one in measured.in_flight.items()
        if key[:2] == (namespace, name) and isinstance(one, Sample)
    }


def prefix_hit_ratio(measured: Measurements, pool: str) -> Measurement:
    """Share of a pool's prompt tokens that its engines found in their caches, over the rate window."""
    key = (*pool.split("/", 1),)
    prompts = find(measured.prompt_tokens, key, "no prompt yet")
    cached = find(measured.cached_tokens, key, "no prompt yet")
    if isinstance(prompts, Unknown) or isinstance(cached, Unknown):
        return prompts if isinstance(prompts, Unknown) else cached
    return Sample(min(1.0, cached.value / prompts.value)) if prompts.value > 0 else Unknown("no prompt in this window")


def cache_tokens_of(measured: Measurements, pool: str) -> float | None:
    """How many tokens the cache of a pool's smallest replica holds; None where no engine tells."""
    key = (*pool.split("/", 1),)
    told = find(measured.cache_tokens, key, "not told")
    found = [told.value] if isinstance(told, Sample) else []
    if not isinstance(measured.cache_blocks, Unknown):
        sizes = [one[2:] for one in measured.cache_blocks if one[:2] == key]
        found += [float(blocks) * float(size) for blocks, size in sizes if blocks.isdigit() and size.isdigit()]
    return min((one for one in found if one > 0), default=None)


def find(series: Series | Unknown, key: tuple[str, ...], otherwise: str) -> Measurement:
    """One measurement of a series, or `Unknown` with the given reason when there is none."""
    if isinstance(series, Unknown):
        return series
    return series.get(key, Unknown(otherwise))
