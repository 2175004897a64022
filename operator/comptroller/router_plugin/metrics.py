"""Prometheus metrics. Labels are names from the configuration, never from requests: the number of series is bounded."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

UNKNOWN = "unknown"
NONE = "none"
SECONDS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    1.5,
    2.0,
    3.0,
    5.0,
    8.0,
    12.0,
    20.0,
    40.0,
    80.0,
    160.0,
    320.0,
    640.0,
)

REQUESTS = Counter(
    "comptroller_router_requests_total",
    "Arrivals, counted before anything else happens to them, also those that are shed. What could never be served (no "
    "valid key, a route that is unknown or not permitted, a refused parameter) has route=unknown: it is no demand.",
    ["policy", "route", "tenant", "workflow", "step"],
)
RESPONSES = Counter(
    "comptroller_router_responses_total",
    "Answers by outcome: ok, client_error, overloaded, error, disconnected, and refusals: shed, budget, "
    "unauthorized, forbidden, unknown_route, refused, malformed.",
    ["policy", "route", "tenant", "pool", "outcome"],
)
TOKENS = Counter(
    "comptroller_router_tokens_total",
    "Tokens; input counts all prompt tokens, of them cached_input those that the backend found in its cache, "
    "cache_write_5m and cache_write_1h those that it wrote there.",
    ["policy", "route", "pool", "kind"],
)
USD = Counter(
    "comptroller_router_usd_total",
    "US dollars by the configured prices, marginal basis.",
    ["policy", "route", "tenant", "pool"],
)
TIME_TO_FIRST_TOKEN = Histogram(
    "comptroller_router_time_to_first_token_seconds",
    "From arrival to the first piece of a streamed answer.",
    ["policy", "route", "pool"],
    buckets=SECONDS,
)
REQUEST_SECONDS = Histogram(
    "comptroller_router_request_seconds",
    "From arrival to the end of a good answer.",
    ["policy", "route", "pool"],
    buckets=SECONDS,
)
IN_FLIGHT = Gauge("comptroller_router_in_flight", "Requests that are being answered.", ["policy", "route"])
POOL_IN_FLIGHT = Gauge(
    "comptroller_router_pool_in_flight",
    "Requests of all routes that are at a pool, from this router process.",
    ["pool"],
)
POOL_FULL = Counter(
    "comptroller_router_pool_full_total",
    "Requests that found a pool full: they went to another one, waited in the engine's queue or were refused.",
    ["pool"],
)
PLACED = Counter(
    "comptroller_router_placed_total",
    "Requests by the pool that was asked last, and why that one: planned; full or failed: it stood in for the "
    "request's own; degraded: a spent budget left only pools inside.",
    ["policy", "route", "pool", "reason"],
)
PREFIX_GAP = Histogram(
    "comptroller_router_prefix_gap_seconds",
    "Time since the same tools and system prompt last came to this process; those that are new are in +Inf alone.",
    ["policy", "route"],
    buckets=(5.0, 15.0, 30.0, 60.0, 150.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0, 14400.0, 43200.0),
)
CONFIG_INFO = Gauge("comptroller_router_config_info", "1 for the configuration in force.", ["digest"])
ROUTE_INFO = Gauge(
    "comptroller_router_route_info",
    "1 for each route that this router answers: without it, no requests on a route would look like no router.",
    ["policy", "route"],
)
RELOADS = Counter(
    "comptroller_router_reloads_total",
    "Configurations that arrived: applied, or rejected (the last good one stays).",
    ["result"],
)

BUDGET = ["policy", "scope", "name", "sharing"]
"""`scope` policy or tenant, with its `name`; `sharing` process: the sums of all routers add up, or redis: each tells
the same one."""
BUDGET_SPENT = Gauge("comptroller_router_budget_spent_usd", "US dollars spent in the present period.", BUDGET)
BUDGET_LIMIT = Gauge("comptroller_router_budget_limit_usd", "US dollars that may be spent per period.", BUDGET)
BUDGET_RESET = Gauge("comptroller_router_budget_reset_timestamp_seconds", "When the next period begins.", BUDGET)
BUDGET_EXHAUSTED = Gauge("comptroller_router_budget_exhausted", "1 while nothing more may be spent.", BUDGET)
BUDGET_RESETS = Counter("comptroller_router_budget_resets_total", "Periods that ended.", BUDGET[:3])
BUDGET_SHARED = Gauge("comptroller_router_budget_shared", "1 while Redis answers, 0 while it does not.", ["policy"])


def forget_budgets() -> None:
    """Removes the series of budgets that may no longer be there."""
    for gauge in (BUDGET_SPENT, BUDGET_LIMIT, BUDGET_RESET, BUDGET_EXHAUSTED, BUDGET_SHARED):
        gauge.clear()
