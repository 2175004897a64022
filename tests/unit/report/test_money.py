"""The report on money: dollars by whatever, parts that add up, and what is not known is said."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.api.settings import Settings
from comptroller.cli.report import compose
from comptroller.economics.accounts import Accounts, added
from comptroller.economics.prices import HostedPrice
from comptroller.report.money import BY, IDLE, PoolFacts, RouteFacts, money
from comptroller.report.money_facts import BaselineError, baseline_of, narrowed, pool_facts, unused
from comptroller.report.money_page import money_page
from comptroller.report.money_words import MoneyReport, as_csv, as_json, as_text

DAY = 1_800_000_000.0
SONNET = HostedPrice(Decimal(3), Decimal("0.30"), Decimal("3.75"), Decimal(15), "test")
QWEN = HostedPrice(Decimal("0.15"), Decimal("0.075"), Decimal("0.15"), Decimal("0.60"), "test")
POOLS = {
    "ai/own": PoolFacts(True, "onPremises", "qwen3-32b", QWEN),
    "ai/idle": PoolFacts(True, "onPremises", "qwen3-8b", None),
    "ai/api": PoolFacts(False, "external", "claude-sonnet-4-5", SONNET),
    "ai/key": PoolFacts(False, "external", "gpt-5", SONNET),
}
ROUTES = {("ai/desk", "chat"): RouteFacts(0.9), ("ai/desk", "deal"): RouteFacts(0.8, restricted=True)}
ACCOUNTS = Accounts(
    DAY,
    DAY + 3600.0,
    arrivals={("ai/desk", "chat", "red", "help", "answer"): 1000.0, ("ai/desk", "unknown", "x", "", ""): 7.0},
    answers={
        ("ai/desk", "chat", "red", "ai/own", "ok"): 600.0,
        ("ai/desk", "chat", "red", "ai/api", "ok"): 300.0,
        ("ai/desk", "deal", "blue", "ai/own", "ok"): 100.0,
        ("ai/desk", "chat", "red", "ai/api", "error"): 5.0,
    },
    tokens={
        ("ai/desk", "chat", "ai/own", "input"): 600_000.0,
        ("ai/desk", "chat", "ai/own", "output"): 60_000.0,
        ("ai/desk", "chat", "ai/api", "input"): 300_000.0,
        ("ai/desk", "chat", "ai/api", "output"): 30_000.0,
    },
    usd={
        ("ai/desk", "chat", "red", "ai/own"): 0.03,
        ("ai/desk", "deal", "blue", "ai/own"): 0.01,
        ("ai/desk", "chat", "red", "ai/api"): 1.35,
    },
    pool_usd={
        ("ai", "own", "marginal"): 0.20,
        ("ai", "own", "allocation"): 2.0,
        ("ai", "idle", "marginal"): 0.05,
        ("ai", "idle", "allocation"): 1.0,
    },
    gpu_hours={("ai", "own", "h100"): 2.0, ("ai", "idle", "rtx4090"): 1.0},
)


def report(accounts: Accounts = ACCOUNTS) -> MoneyReport:
    found = money(accounts, POOLS, ROUTES, SONNET)
    words, _ = baseline_of("ai/api", POOLS, datetime(2026, 11, 1, tzinfo=UTC))
    days = [("2027-01-15", found), ("2027-01-16", found)]
    return MoneyReport(
        accounts.start_seconds, accounts.end_seconds, "namespace ai", words, found, days,
        unused=unused(POOLS, [], found, accounts),
    )  # fmt: skip


def test_an_own_pool_costs_what_its_replicas_cost_and_its_routes_share_that_by_their_tokens() -> None:
    lines = {line.name: line for line in money(ACCOUNTS, POOLS, ROUTES, SONNET).lines["route"]}
    assert lines["ai/desk/chat"].spent_usd == pytest.approx(1.35 + 0.20 * 0.75)
    assert lines["ai/desk/deal"].spent_usd == pytest.approx(0.20 * 0.25)
    assert lines[IDLE].spent_usd == pytest.approx(0.05)
    assert lines["ai/desk/chat"].usd_per_solved_task == pytest.approx(1.50 / (900 * 0.9))


def test_answers_inside_and_those_that_may_not_leave() -> None:
    found = money(ACCOUNTS, POOLS, ROUTES, SONNET)
    assert (found.arrivals, found.answers, found.inside) == (1000.0, 1000.0, 700.0)
    assert (found.restricted, found.left_the_premises) == (100.0, 0.0)
    leaked = Accounts(DAY, DAY + 1, answers={("ai/desk", "deal", "blue", "ai/api", "ok"): 1.0})
    assert money(leaked, POOLS, ROUTES, SONNET).left_the_premises == 1.0


def test_savings_are_those_of_all_pools_and_idle_ones_only_cost() -> None:
    saved = money(ACCOUNTS, POOLS, ROUTES, SONNET).savings
    assert float(saved.spent_usd) == pytest.approx(1.35 + 0.20 + 0.05)
    assert float(saved.baseline_usd) == pytest.approx(0.9 * 3 + 0.09 * 15)
    assert float(saved.routed_usd) == pytest.approx(1.35 + 0.09 + 0.036)


def test_a_pass_rate_that_nobody_knows_leaves_the_cost_per_task_unknown() -> None:
    lines = money(ACCOUNTS, POOLS, {("ai/desk", "chat"): RouteFacts(None)}, SONNET).lines["route"]
    assert {line.usd_per_solved_task for line in lines} == {None}


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["p", "q"]), st.sampled_from("ab"), st.sampled_from("tu"), st.sampled_from([*POOLS])),
        st.floats(0, 1e6),
        max_size=12,
    ),
    st.dictionaries(st.sampled_from(["own", "idle"]), st.floats(0, 1e4), max_size=2),
)
def test_every_grouping_adds_up_to_what_was_spent(
    usd: dict[tuple[str, str, str, str], float], replicas: dict[str, float]
) -> None:
    accounts = Accounts(0, 1, usd=usd, pool_usd={("ai", name, "marginal"): one for name, one in replicas.items()})
    found = money(accounts, POOLS, ROUTES, SONNET)
    total = sum(one for key, one in usd.items() if key[3] not in ("ai/own", "ai/idle")) + sum(replicas.values())
    for by in (*BY, "workflow", "step"):
        assert sum(line.spent_usd for line in found.lines[by]) == pytest.approx(total, abs=1e-6)
    assert float(found.savings.spent_usd) == pytest.approx(total, abs=1e-6)


def test_days_add_up_and_keep_what_was_not_known() -> None:
    second = Accounts(DAY + 3600, DAY + 7200, usd=ACCOUNTS.usd, unknown=("tokens: refused",))
    whole = added([ACCOUNTS, second])
    assert (whole.start_seconds, whole.end_seconds) == (DAY, DAY + 7200)
    assert whole.usd["ai/desk", "chat", "red", "ai/api"] == 2.70
    assert whole.unknown == ("tokens: refused",)
    with pytest.raises(ValueError, match="no stretch"):
        added([])


def test_one_namespace_sees_only_its_own() -> None:
    assert narrowed(ACCOUNTS, None) is ACCOUNTS
    assert narrowed(ACCOUNTS, "ai") == ACCOUNTS
    other = narrowed(ACCOUNTS, "other")
    assert (other.usd, other.pool_usd, other.gpu_hours) == ({}, {}, {})


def test_the_baseline_is_the_dearest_hosted_pool_or_what_is_named() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    assert baseline_of(None, POOLS, at)[1] == SONNET
    assert "genai-prices" in baseline_of("anthropic/claude-sonnet-4-5", {}, at)[0]
    with pytest.raises(BaselineError, match="name a model of the price list"):
        baseline_of(None, {}, at)
    with pytest.raises(BaselineError, match="neither a hosted pool"):
        baseline_of("nobody/knows", POOLS, at)


def test_what_nobody_uses_is_named_with_what_to_do() -> None:
    idle, key = report().unused
    assert idle.startswith("Pool ai/idle held GPUs for 1 h ($0.05)")
    assert key.startswith("Hosted pool ai/key answered nobody")


def test_the_text() -> None:
    text = as_text(report(), "route")
    assert "Spent     $1.60 instead of $4.05 at the price of ai/api" in text
    assert "routing leaves 36% (cheaper models) x caching leaves 100% (cached prompts)" in text
    assert "Inside    70% of 1,000 answers; of 100 restricted ones 0 left the premises" in text
    assert "ROUTE         ANSWERS  INSIDE  SPENT  SHARE  $/SOLVED TASK" in text


@pytest.mark.parametrize("by", [*BY, "workflow", "step", "day"])
def test_every_table_as_csv(by: str) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(report(), by))))
    total = sum(float(row["spent_usd"]) for row in rows)
    assert total == pytest.approx(1.60 * (2 if by == "day" else 1))


def test_json_is_exact_and_the_levers_multiply() -> None:
    data = as_json(report())
    levers = data["levers"]
    product = levers["routing"] * levers["caching"] * levers["serving"]
    assert product == pytest.approx(data["spentUsd"] / data["baselineUsd"], rel=1e-12)
    assert data["basis"].startswith("US dollars, marginal basis")


def test_the_page_says_the_same_and_escapes_names() -> None:
    page = money_page(report())
    assert "<h1>$1.60 spent instead of $4.05: 60% saved</h1>" in page
    strange = Accounts(DAY, DAY + 1, answers={("ai/desk", "<b>x</b>", "t", "ai/own", "ok"): 1.0})
    assert "<b>x</b>" not in money_page(report(strange)).split("</style>", 1)[1]


def test_nothing_answered_is_said() -> None:
    empty = report(Accounts(DAY, DAY + 60))
    assert "Nothing was answered." in as_text(empty, "pool")
    assert "Nothing was answered." in money_page(empty)


def test_it_is_composed_of_the_objects_of_the_cluster() -> None:
    pools: list[dict[str, Any]] = [
        {
            "metadata": {"namespace": "ai", "name": "own"},
            "spec": {
                "model": {"name": "qwen3-32b", "source": "hf://Qwen/Qwen3-32B-FP8"},
                "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
                "local": {"accelerator": {"class": "h100"}, "engine": {"name": "vllm"}, "replicas": {"max": 2}},
            },
            "status": {"modelClass": "h100", "economics": {"owningUsdPerGpuHour": "1.13"}},
        },
        {
            "metadata": {"namespace": "ai", "name": "api"},
            "spec": {
                "model": {"name": "claude-sonnet-4-5"},
                "location": {"jurisdiction": "US", "perimeter": "external"},
                "hosted": {"provider": "anthropic", "apiKeySecretRef": {"name": "key", "key": "key"}},
            },
        },
        {"metadata": {"namespace": "ai", "name": "broken"}, "spec": {}},
    ]
    policies = [
        {
            "metadata": {"namespace": "ai", "name": "desk"},
            "spec": {"routes": [{"name": "deal", "data": {"perimeters": ["onPremises"]}}]},
            "status": {"routes": [{"name": "deal", "passRate": "0.97"}]},
        }
    ]
    facts = pool_facts(pools, datetime(2026, 11, 1, tzinfo=UTC))
    assert set(facts) == {"ai/own", "ai/api"}
    assert facts["ai/own"].price is not None, "the list knows who sells the same weights"
    made = compose([pools, policies, []], [ACCOUNTS, ACCOUNTS], {"h100": 3.10, "nobody": 9.0}, Settings(), "ai", None)
    assert made.total.restricted == 200.0
    (next_one,) = made.purchases
    assert (next_one.gpu_class, next_one.owning_usd_per_hour) == ("h100", 1.13)
    assert next_one.payback_days == pytest.approx(515, abs=1)
