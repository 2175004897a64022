"""The summary's sums, on worked examples; what the status says, read into observations; what is shown of it."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from e2e.demo.observe import Observation, PoolView, RouteView, condition, not_ready, observation
from e2e.demo.results import Result, percentile, pool_of, result
from e2e.demo.summary import FrontierPrice, frontier_usd, lines, owned_usd, summarise
from e2e.demo.table import header, picture, plain
from e2e.demo.verdict import Evidence

CLAUDE = FrontierPrice("claude-sonnet-4-5", input=3.0, cached_input=0.30, output=15.0)


def answer(route: str = "planning", *, tokens_in: int = 1200, tokens_out: int = 50, hosted: bool = False) -> Result:
    return Result(1, route, 60.0, 200, 2.0, 0.4, "x", hosted, tokens_in, tokens_out)


def test_the_frontier_price_reads_a_long_prefix_from_its_cache() -> None:
    expected = (144 * 3.0 + 1056 * 0.30 + 50 * 15.0) / 1e6
    assert frontier_usd([answer()], CLAUDE, {"planning": 1056}) == pytest.approx(expected)


def test_a_prefix_below_the_least_length_is_not_cached() -> None:
    expected = (1200 * 3.0 + 50 * 15.0) / 1e6
    assert frontier_usd([answer()], CLAUDE, {"planning": 1000}) == pytest.approx(expected)


def powered(at: float, usd_per_hour: float | None) -> Observation:
    return Observation(at, (PoolView("a", "h100", hosted=False, usd_per_hour=usd_per_hour),))


def test_power_is_summed_over_the_time_of_the_replay() -> None:
    seen = [powered(-10.0, 3.6), powered(10.0, 7.2), powered(20.0, 0.0)]
    assert owned_usd(seen) == pytest.approx((10 * 3.6 + 10 * 7.2) / 3600)


def test_power_that_the_status_does_not_say_is_unknown_and_not_zero() -> None:
    assert owned_usd([powered(0.0, None), powered(10.0, None)]) is None


def test_dollars_spent_are_those_charged_and_those_of_power() -> None:
    last = Observation(180.0, hosted_usd=0.02, operator_hosted_usd=0.021)
    seen = Evidence(
        [powered(0.0, 3.6), last], [answer(), answer(hosted=True)], 50, 180, 2, frozenset({"deal-review"}), 0
    )
    summary = summarise(seen, CLAUDE, {"planning": 1056})
    assert summary.spent_usd == pytest.approx(0.02 + 3.6 * 180 / 3600)
    assert (summary.answered, summary.inside) == (2, 1)
    assert summary.seconds_to_spill == 10.0
    text = dict(lines(summary))
    assert "+0.001000 (+5.00%)" in text["books"]
    assert text["load step to new replica"] == "never"
    assert "50% inside, 0 errors" in text["answered"]


def test_nothing_seen_makes_a_summary_all_the_same() -> None:
    text = dict(lines(summarise(Evidence([], [], 50, 180, 5, frozenset(), None), CLAUDE, {})))
    assert text["answered"] == "0 of 5 requests, none inside, 5 errors"
    assert text["restricted requests that left"] == "unknown of 0"


def test_percentiles_are_values_that_were_seen() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2
    assert percentile([1.0], 0.95) == 1.0
    assert percentile([], 0.5) is None


@pytest.mark.parametrize(
    ("backend", "pool"),
    [
        ("inference/qwen3-8b/extraction", "qwen3-8b"),
        ("inference/claude-sonnet", "claude-sonnet"),
        ("qwen3-8b-long", "qwen3-8b-long"),
        ("", None),
        ("something-else", None),
    ],
)
def test_the_pool_is_found_in_what_the_router_says_who_answered(backend: str, pool: str | None) -> None:
    assert pool_of(backend, ["qwen3-8b", "qwen3-8b-long", "claude-sonnet"]) == pool


def test_a_line_of_the_load_generator_becomes_a_result() -> None:
    line = {"number": 3, "route": "planning", "at": 1.5, "status": 200, "seconds": 2.0, "backend": "ns/claude/planning"}
    one = result(line, {"claude": True})
    assert (one.pool, one.hosted, one.output_tokens, one.answered) == ("claude", True, 0, True)


POOL: dict[str, Any] = {
    "metadata": {"name": "qwen3-8b"},
    "spec": {"local": {"accelerator": {"class": "rtx4090"}}},
    "status": {
        "replicas": {"desired": 3, "ready": 1, "warm": 1, "starting": 2},
        "allocation": {"reason": "ScalingUp", "requestsPerSecond": "4.5"},
        "economics": {"usdPerHour": "0.12"},
        "conditions": [{"type": "Ready", "status": "False", "reason": "Starting"}],
    },
}
POLICY: dict[str, Any] = {
    "metadata": {"name": "research"},
    "status": {
        "totals": {"usdPerHour": "1.25"},
        "routes": [
            {
                "name": "extraction",
                "requestsPerSecond": "5.1",
                "spillRatio": "0.25",
                "shares": [{"pool": "qwen3-8b", "share": "0.75"}, {"pool": "gpt", "share": "0.25"}],
            }
        ],
    },
}


def test_the_status_is_read_into_an_observation() -> None:
    seen = observation(12.0, [POOL], [POLICY], [{"requests": 4, "usd": "0.01"}, {"requests": 1, "usd": "0.02"}])
    pool = seen.pools[0]
    assert (pool.desired, pool.ready, pool.reason, pool.usd_per_hour) == (3, 1, "ScalingUp", 0.12)
    assert seen.starting
    assert (seen.hosted_requests, seen.hosted_usd) == (5, pytest.approx(0.03))
    assert (seen.demand, seen.usd_per_hour, seen.owned_usd_per_hour) == (5.1, 1.25, 0.12)
    assert seen.routes[0].shares == {"qwen3-8b": 0.75, "gpt": 0.25}


def test_an_object_without_a_status_is_seen_and_is_not_ready() -> None:
    bare = {"metadata": {"name": "new"}, "spec": {"hosted": {}}}
    seen = observation(0.0, [bare], [{"metadata": {"name": "p"}}])
    assert seen.pools[0].hosted
    assert seen.usd_per_hour is None
    assert not_ready([bare, POOL]) == ["new: not seen yet", "qwen3-8b: Starting"]
    assert condition(POOL, "Stalled") == {}


def test_the_table_shows_pools_routes_and_money() -> None:
    seen = Observation(
        61.0,
        (
            PoolView("qwen3-8b", "rtx4090", hosted=False, desired=3, ready=1, warm=1, reason="ScalingUp"),
            PoolView("gpt", "hosted", hosted=True, reason="SpillWhileStarting"),
        ),
        (RouteView("extraction", 5.1, {"qwen3-8b": 0.75, "gpt": 0.25}, 0.25),),
        usd_per_hour=1.25,
    )
    console = Console(width=140, record=True, force_terminal=False, file=open_null())
    console.print(picture(header("replay", 61.0, 195.0), seen, [answer(hosted=True)]))
    text = console.export_text()
    for words in (
        "61 s of 195 s",
        "ScalingUp",
        "SpillWhileStarting",
        "gpt 25%",
        "$1.25/h planned",
        "1 requests, 0 errors",
    ):
        assert words in text
    assert "qwen3-8b 1/3" in plain(seen, [])


def open_null() -> Any:
    import io

    return io.StringIO()
