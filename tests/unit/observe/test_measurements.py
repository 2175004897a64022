"""One round of queries, and what its answers mean. Silence is never zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.api.settings import PrometheusSettings
from comptroller.observe import engines
from comptroller.observe.measurements import (
    Measurements,
    arrivals_of,
    find,
    in_flight_of,
    mean_tokens,
    measure,
    peak_of,
    prefix_hit_ratio,
    within_first_token,
)
from comptroller.observe.prometheus import Series

POLICY, CHAT = "ai/research", ("ai/research", "chat")


def measured(**series: Any) -> Measurements:
    fresh: dict[str, Any] = {"router_age_seconds": {CHAT: Sample(2.0)}, "arrivals": {}}
    return Measurements(**fresh | series)


def arrivals(**series: Any) -> Measurement:
    return arrivals_of(measured(**series), POLICY, "chat", stale_after_seconds=90)


def test_a_fresh_router_tells_the_rate_and_its_age() -> None:
    assert arrivals(arrivals={CHAT: Sample(31.0)}) == Sample(31.0, 2.0)


def test_a_fresh_router_without_a_rate_is_no_silence() -> None:
    assert arrivals() == Unknown("no rate yet: the window needs two scrapes of the router")
    assert arrivals(arrivals={CHAT: Sample(0.0)}) == Sample(0.0, 2.0)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        pytest.param({"router_age_seconds": {}}, "no router of this route", id="no router was scraped"),
        pytest.param(
            {"router_age_seconds": {(POLICY, "other"): Sample(1.0)}}, "no router of this", id="only another's"
        ),
        pytest.param({"router_age_seconds": {CHAT: Sample(91.0)}}, "91 s old (limit 90 s)", id="it is stale"),
        pytest.param({"router_age_seconds": {CHAT: Unknown("NaN")}}, "NaN", id="its age is no number"),
        pytest.param({"router_age_seconds": Unknown("unreachable")}, "unreachable", id="Prometheus is down"),
        pytest.param({"arrivals": Unknown("refused")}, "refused", id="only this query failed"),
        pytest.param({"arrivals": {CHAT: Unknown("a value of nan")}}, "a value of nan", id="its rate is no number"),
    ],
)
def test_what_is_not_known_stays_unknown_with_its_reason(series: Mapping[str, Any], words: str) -> None:
    found = arrivals(**{"arrivals": {CHAT: Sample(31.0)}} | dict(series))
    assert isinstance(found, Unknown)
    assert words in found.reason


@pytest.mark.parametrize(
    ("scraped", "words"),
    [
        pytest.param({CHAT: Sample(1.0)}, "1 of 2 routers is scraped", id="one is missing"),
        pytest.param({}, "no router of this route", id="none is counted"),
        pytest.param(Unknown("refused"), "refused", id="they could not be counted"),
        pytest.param({CHAT: Sample(2.0)}, "", id="all are there"),
        pytest.param({CHAT: Sample(3.0)}, "", id="an old one is still remembered"),
    ],
)
def test_a_router_that_is_not_scraped_hides_its_part_of_the_arrivals(scraped: Any, words: str) -> None:
    some = measured(arrivals={CHAT: Sample(31.0)}, routers=scraped)
    found = arrivals_of(some, POLICY, "chat", 90, routers=2)
    assert words in found.reason if isinstance(found, Unknown) else (found, words) == (Sample(31.0, 2.0), "")


def test_before_the_first_round_everything_is_unknown() -> None:
    assert isinstance(arrivals_of(Measurements(), POLICY, "chat", 90), Unknown)
    assert isinstance(peak_of(Measurements(), POLICY, "chat"), Unknown)
    assert mean_tokens(Measurements(), POLICY, "chat") is None


def test_a_sample_as_old_as_the_limit_still_counts() -> None:
    assert arrivals(router_age_seconds={CHAT: Sample(90.0)}, arrivals={CHAT: Sample(3.0)}) == Sample(3.0, 90.0)


def tokens(inputs: float, cached: float | None, outputs: float) -> dict[tuple[str, ...], Measurement]:
    given = {"input": inputs, "cached_input": cached, "output": outputs}
    return {(*CHAT, kind): Sample(value) for kind, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("answered", "per_second", "expected"),
    [
        pytest.param(Sample(2.0), tokens(2000, 500, 400), (1000.0, 200.0, 0.25), id="per answer"),
        pytest.param(Sample(2.0), tokens(2000, None, 400), (1000.0, 200.0, 0.0), id="nothing cached"),
        pytest.param(Sample(2.0), tokens(2000, 2100, 400), (1000.0, 200.0, 1.0), id="never more than all is cached"),
        pytest.param(Sample(0.0), tokens(2000, 500, 400), None, id="no answers"),
        pytest.param(Unknown("down"), tokens(2000, 500, 400), None, id="answers are not known"),
        pytest.param(Sample(2.0), tokens(0, 0, 400), None, id="no prompts"),
        pytest.param(Sample(2.0), tokens(2000, 0, 0), None, id="nothing generated"),
        pytest.param(Sample(2.0), {}, None, id="no tokens"),
    ],
)
def test_mean_tokens(answered: Measurement, per_second: Series, expected: tuple[float, float, float] | None) -> None:
    assert mean_tokens(measured(answered={CHAT: answered}, tokens=per_second), POLICY, "chat") == expected


def test_find_gives_the_reason_of_the_series_before_its_own() -> None:
    assert find(Unknown("down"), CHAT, "none") == Unknown("down")
    assert find({}, CHAT, "none") == Unknown("none")
    assert find({CHAT: Sample(1.0)}, CHAT, "none") == Sample(1.0)


def buckets(**at: float) -> Measurements:
    """Cumulative answers per second by bound, such as `s1=4` for a second and `inf=8`."""
    bounds = {name: "+Inf" if name == "inf" else name[1:].replace("_", ".") for name in at}
    return measured(first_token_buckets={(*CHAT, bounds[name]): Sample(value) for name, value in at.items()})


@pytest.mark.parametrize(
    ("seconds", "within"),
    [
        pytest.param(1.0, 4.0, id="at a bound"),
        pytest.param(1.5, 5.0, id="evenly between two bounds"),
        pytest.param(0.25, 1.0, id="below the first bound"),
        pytest.param(2.0, 6.0, id="at the last bound"),
        pytest.param(60.0, 6.0, id="beyond the last bound nothing is claimed"),
    ],
)
def test_answers_that_began_in_time(seconds: float, within: float) -> None:
    found = within_first_token(buckets(inf=8, s2=6, s1=4), POLICY, "chat", seconds)
    assert found is not None
    assert found == pytest.approx((8.0, within))


@pytest.mark.parametrize("series", [{}, {"inf": 0.0, "s1": 0.0}])
def test_before_the_first_answer_nothing_is_said_about_time(series: dict[str, float]) -> None:
    assert within_first_token(buckets(**series), POLICY, "chat", 1.0) is None
    assert within_first_token(Measurements(), POLICY, "chat", 1.0) is None
    assert within_first_token(buckets(inf=8), POLICY, "other", 1.0) is None


class Notebook:
    """A source that writes down what it is asked; one question fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def query(self, expression: str, labels: Sequence[str]) -> Series | Unknown:
        self.asked.append((expression, tuple(labels)))
        return Unknown("down") if "num_requests_waiting" in expression else {}


def dialects(*names: str) -> str:
    return " or ".join(f'label_replace(rate({one}{{pool!=""}}[60s]), "dialect", "{one}", "", "")' for one in names)


# Each was run on Prometheus 2.42 with promtool over series of all three engines; a change here wants the same again.
QUERIES = {
    "router_age_seconds": "min by (policy, route) (time() - timestamp(comptroller_router_route_info))",
    "routers": "count by (policy, route) (comptroller_router_route_info)",
    "arrivals": "sum by (policy, route) (rate(comptroller_router_requests_total[60s]))",
    "peak": "max_over_time((sum by (policy, route) (rate(comptroller_router_requests_total[60s])))[600s:60s])",
    "resets": "sum by (policy, route) (resets(comptroller_router_requests_total[60s]))",
    "peak_resets": "sum by (policy, route) (resets(comptroller_router_requests_total[600s]))",
    "tokens": "sum by (policy, route, kind) (rate(comptroller_router_tokens_total[480s]))",
    "answered": 'sum by (policy, route) (rate(comptroller_router_responses_total{outcome="ok"}[480s]))',
    "first_token_seconds": "sum by (policy, route) (rate(comptroller_router_time_to_first_token_seconds_sum[480s])) / "
    "(sum by (policy, route) (rate(comptroller_router_time_to_first_token_seconds_count[480s])) > 0)",
    "first_token_buckets": (
        "sum by (policy, route, le) (rate(comptroller_router_time_to_first_token_seconds_bucket[480s]))"
    ),
    "in_flight": 'sum by (namespace, pool, pod) ({__name__=~"vllm:num_requests_running|sglang:num_running_reqs|'
    'llamacpp:requests_processing", pool!=""}) + sum by (namespace, pool, pod) ({__name__=~"vllm:num_requests_waiting|'
    'sglang:num_queue_reqs|llamacpp:requests_deferred", pool!=""})',
    "cached_tokens": "sum by (namespace, pool) ("
    'label_replace(rate(vllm:prefix_cache_hits_total{pool!=""}[60s]), '
    '"dialect", "vllm:prefix_cache_hits_total", "", "") or '
    'label_replace(rate(sglang:cached_tokens_total{pool!=""}[60s]), '
    '"dialect", "sglang:cached_tokens_total", "", "") or '
    'label_replace(rate(llamacpp:prompt_tokens_cached_total{pool!=""}[60s]), '
    '"dialect", "llamacpp:prompt_tokens_cached_total", "", ""))',
    "prompt_tokens": "sum by (namespace, pool) ("
    'label_replace(rate(vllm:prefix_cache_queries_total{pool!=""}[60s]), '
    '"dialect", "vllm:prefix_cache_queries_total", "", "") or '
    'label_replace(rate(sglang:prompt_tokens_total{pool!=""}[60s]), '
    '"dialect", "sglang:prompt_tokens_total", "", "") or '
    'label_replace(rate(llamacpp:prompt_tokens_total{pool!=""}[60s]), '
    '"dialect", "llamacpp:prompt_tokens_total", "", "") or '
    'label_replace(rate(llamacpp:prompt_tokens_cached_total{pool!=""}[60s]), '
    '"dialect", "llamacpp:prompt_tokens_cached_total", "", ""))',
    "spent_usd_per_second": "sum by (pool) (rate(comptroller_router_usd_total[60s]))",
    "answered_by_pool": 'sum by (pool) (rate(comptroller_router_responses_total{outcome="ok"}[60s]))',
    "router_cores": 'sum by (namespace, router) (rate(process_cpu_seconds_total{router!=""}[60s]))',
    "verdicts": "sum by (policy, route, pool, verdict) "
    '(rate(comptroller_router_evaluations_total{source!="verify"}[60s]))',
    "verified": 'sum by (policy, route) (rate(comptroller_router_evaluations_total{source="verify"}[480s]))',
    "evaluation_usd": "sum by (policy, route) (rate(comptroller_router_evaluation_usd_total[480s]))",
    "running": 'sum by (namespace, pool, pod) (avg_over_time({__name__=~"vllm:num_requests_running|'
    'sglang:num_running_reqs|llamacpp:requests_processing", pool!=""}[60s]))',
    "token_seconds": f"sum by (namespace, pool) ({dialects(*engines.TOKEN_SECONDS)})",
    "timed_tokens": f"sum by (namespace, pool) ({dialects(*engines.TIMED_TOKENS)})",
    "pool_tokens": "sum by (pool, policy, route, kind) (rate(comptroller_router_tokens_total[60s]))",
    "pool_answered": 'sum by (pool, policy, route) (rate(comptroller_router_responses_total{outcome="ok"}[60s]))',
    "prefix_gaps": ("sum by (policy, route, le) (increase(comptroller_router_prefix_gap_seconds_bucket[10800s]))"),
    "prefix_tokens": "sum by (pool, policy, route, kind) (rate(comptroller_router_tokens_total[480s]))",
    "cache_blocks": 'min by (namespace, pool, num_gpu_blocks, block_size) (vllm:cache_config_info{pool!=""})',
    "cache_tokens": 'min by (namespace, pool) (sglang:max_total_num_tokens{pool!=""})',
    "hosted_latency_seconds": "sum by (pool) (rate(comptroller_router_request_seconds_sum[480s])) / "
    "(sum by (pool) (rate(comptroller_router_request_seconds_count[480s])) > 0)",
    "asked_by_tenant": "sum by (policy, route, tenant) (rate(comptroller_router_requests_total[480s]))",
    "spent_apart": 'sum by (policy, scope, name) (comptroller_router_budget_spent_usd{sharing="process"})',
    "counted_apart": 'count by (policy, scope, name) (comptroller_router_budget_spent_usd{sharing="process"})',
    "spent_together": 'max by (policy, scope, name) (comptroller_router_budget_spent_usd{sharing="redis"})',
    "budget_resets": "max by (policy, scope, name) (comptroller_router_budget_reset_timestamp_seconds)",
    "redis_answers": "min by (policy) (comptroller_router_budget_shared)",
}


async def test_the_queries_are_these() -> None:
    source = Notebook()
    await measure(source, PrometheusSettings())  # type: ignore[arg-type]
    assert [expression for expression, _ in source.asked] == list(QUERIES.values())


async def test_every_label_that_is_read_is_one_by_which_the_query_groups() -> None:
    source = Notebook()
    await measure(source, PrometheusSettings())  # type: ignore[arg-type]
    assert all(f"by ({', '.join(labels)})" in expression for expression, labels in source.asked)


async def test_a_query_that_fails_leaves_the_others_known() -> None:
    found = await measure(Notebook(), PrometheusSettings(rate_window_seconds=8))  # type: ignore[arg-type]
    assert found.in_flight == Unknown("down")
    assert found.arrivals == {}


def test_the_hit_ratio_is_cached_over_prompt_tokens_and_unknown_without_prompts() -> None:
    key = ("ai", "big")
    known = measured(cached_tokens={key: Sample(30.0)}, prompt_tokens={key: Sample(40.0)})
    assert prefix_hit_ratio(known, "ai/big") == Sample(0.75)
    idle = measured(cached_tokens={key: Sample(0.0)}, prompt_tokens={key: Sample(0.0)})
    assert prefix_hit_ratio(idle, "ai/big") == Unknown("no prompt in this window")
    assert isinstance(prefix_hit_ratio(measured(), "ai/big"), Unknown)


def test_the_load_of_a_replica_is_known_by_its_pod() -> None:
    series = {("ai", "big", "a"): Sample(3.0), ("ai", "big", "b"): Unknown("NaN"), ("ai", "other", "c"): Sample(1.0)}
    assert in_flight_of(measured(in_flight=series), "ai/big") == {"a": 3.0}
    assert in_flight_of(measured(), "ai/big") == {}
