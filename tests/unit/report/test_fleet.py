"""The tables of `comptroller status`."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from comptroller.report.fleet import age, table, totals, totals_text
from tests.unit.report.fleet import hosted_pool, local_pool, policy

NOW = datetime(2026, 3, 2, 14, 5, 0, tzinfo=UTC)


def test_the_tables_are_those_of_kubectl() -> None:
    assert table("ModelPool", [local_pool(), hosted_pool()], NOW) == [
        "NAME                      MODEL              CLASS   WANT  READY  WARM  UTIL  $/M-TOK  READY  WHY"
        "                 AGE",
        "modelpool/claude-sonnet   claude-sonnet-4-5  hosted  -     -      -     -     5.20     True   "
        "SpillWhileStarting  2d",
        "modelpool/qwen3-32b-h100  qwen3-32b          h100    4     2      2     93%   0.19     False  "
        "ScalingUp           2d",
    ]
    assert table("RoutingPolicy", [policy()], NOW, namespaces=True) == [
        "NAMESPACE  NAME                    ROUTES  RPS   INSIDE  SPILL  SLO  $/H    $/TASK  SAVED  BUDGET  READY  AGE",
        "inference  routingpolicy/research  2       33.6  73%     27%    99%  14.10  0.0021  83%    -       True   2d",
    ]
    assert table("CacheWarmup", [], NOW) == []


def test_what_everything_costs_says_its_basis() -> None:
    sums = totals([local_pool(), hosted_pool()])
    assert (sums["insideUsdPerHour"], sums["hostedUsdPerHour"]) == (2.9, 11.2)
    expected = "$14.10/h: $2.90 inside, $11.20 at hosted APIs (marginal basis: power, rent and tokens)"
    assert totals_text(sums) == f"{expected}."
    silent = local_pool() | {"status": {}}
    assert totals_text(totals([local_pool(), hosted_pool(), silent])) == f"{expected}; 1 pool says nothing yet."


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-03-02T14:04:30Z", "30s"),
        ("2026-03-02T13:30:00Z", "35m"),
        ("2026-03-01T14:05:00Z", "24h"),
        ("2026-02-20T14:05:00Z", "10d"),
        ("2026-03-02T14:06:00Z", "0s"),
        ("soon", "-"),
    ],
)
def test_ages_are_short(moment: str, words: str) -> None:
    assert age(moment, NOW) == words
