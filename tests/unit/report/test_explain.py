"""Explanations as people read them, word for word."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from comptroller.report.explain import as_text, explain_policy, explain_pool, pool_sentences
from tests.unit.report.fleet import Object, condition, hosted_pool, local_pool, policy

NOW = datetime(2026, 3, 2, 14, 3, 0, tzinfo=UTC)
POOLS = [local_pool(), hosted_pool()]


def pool_text(pool: Object, *policies: Object, now: datetime = NOW) -> str:
    return as_text(explain_pool(pool, policies or [policy()], [pool, hosted_pool()], now))


def test_a_pool_that_grows() -> None:
    assert pool_text(local_pool()) == (
        "Want 4 (was 2) since 14:02:30.\n"
        "  Why   31.4 rps of extraction and planning need 3.4 replicas to keep first token under 800 ms (p95); "
        "2 of 4 are ready.\n"
        "  Until 14:05 (start-up 2m40s measured) 9.1 rps spill to claude-sonnet: $11.20/h.\n"
        "  Else  Stay at 2 and spill on: $29.60/h more. "
        "All hosted: $212/h more, and nobody would answer 2.2 rps.\n"
        "  GPU   One more h100 here would be worth $3.10/h; owning one costs $1.13/h: pays back in 515 days.\n"
        "  Data  route deal-review may only use onPremises: 0 of its 2.2 rps leave.\n"
        "  Last  14:02:30 #118 qwen3-32b-h100: 2 -> 4: 31.4 rps of extraction and planning need 3.4 replicas. "
        "($14.10/h predicted, $14.60/h spent)\n"
    )


def test_a_hosted_pool() -> None:
    assert as_text(explain_pool(hosted_pool(), [policy()], POOLS, NOW)) == (
        "A hosted API at $5.20 per million tokens.\n"
        "  Why   Carries 9.1 rps at $11.20/h until 2 more replicas are ready.\n"
        "  Data  route deal-review may only use onPremises: 0 of its 2.2 rps leave.\n"
    )


def test_a_policy_has_one_sentence_per_route() -> None:
    assert as_text(explain_policy(policy(), POOLS, NOW)) == (
        "research: 2 routes, 33.6 rps, 73% inside, 99% within the objective, $14.10/h, $0.0021 per solved task, "
        "83% saved against the baseline.\n"
        "  Route extraction: 31.4 rps: 71% on qwen3-32b-h100, 29% on claude-sonnet, $11.20/h; the spill ends when the "
        "starting replicas are ready.\n"
        "  Route deal-review: 2.2 rps: 100% on qwen3-32b-h100, $0.02/h.\n"
        "  Data  route deal-review may only use onPremises: 0 of its 2.2 rps leave.\n"
        "  Last  14:02:30 #118 qwen3-32b-h100: 2 -> 4: 31.4 rps of extraction and planning need 3.4 replicas. "
        "($14.10/h predicted, $14.60/h spent)\n"
        "  Last  2026-03-01 22:10:00 #97 qwen3-8b: 3 -> 2: 1.1 rps need 0.4 replicas.\n"
    )


def test_times_are_those_of_the_reader() -> None:
    berlin = NOW.astimezone(timezone(timedelta(hours=1)))
    assert pool_text(local_pool(), now=berlin).startswith("Want 4 (was 2) since 15:02:30.\n")


def test_a_pool_that_nobody_has_looked_at() -> None:
    bare = local_pool() | {"status": {}}
    text = as_text(explain_pool(bare, [], [bare], NOW))
    assert text == (
        "Nothing is decided yet.\n"
        "  State The operator has not looked at it yet: is it running, and does it watch this namespace?\n"
    )


def stalled(**more: Any) -> Object:
    why = "spec.routes[2].data allows perimeters [onPremises]; add a local pool"
    return policy(
        conditions=[condition("Stalled", "True", "NoPermittedBackend", why), condition("Ready", "False", "x")]
    )


def test_what_keeps_an_object_from_working_comes_first() -> None:
    lines = as_text(explain_policy(stalled(), POOLS, NOW)).splitlines()
    assert lines[1] == (
        "  State Stalled, NoPermittedBackend: spec.routes[2].data allows perimeters [onPremises]; add a local pool"
    )
    stale = condition("MetricsAvailable", "False", "Stale", "newest sample is 4m10s old. Holding the last decision.")
    text = pool_text(local_pool(conditions=[condition("Ready", "True", "HoldingUnknown", "Stays."), stale]))
    assert "  State newest sample is 4m10s old. Holding the last decision.\n" in text


def allocation(**changes: Any) -> Object:
    return local_pool(allocation={**local_pool()["status"]["allocation"], **changes})


def test_what_does_not_apply_is_not_said() -> None:
    quiet = allocation(previous=4, bridge=None, alternatives=[], message="Stays at 4: 31 rps need 3.4 replicas.")
    text = pool_text(quiet)
    assert text.startswith("Want 4 since 14:02:30.\n  Why   31 rps need 3.4 replicas.\n  GPU   ")
    assert "Until" not in text
    assert "Else" not in text


def test_staying_is_no_alternative_where_it_is_what_is_done() -> None:
    same = [{"name": "previous plan", "usdPerHour": "14.1", "moreUsdPerHour": "0", "unansweredRequestsPerSecond": "0"}]
    assert "Else" not in pool_text(allocation(previous=4, alternatives=same))


def test_an_alternative_that_is_cheaper_says_who_would_not_be_answered() -> None:
    shed = [{"name": "all hosted", "moreUsdPerHour": "-2.5", "unansweredRequestsPerSecond": "31.4"}]
    expected = "  Else  All hosted: $2.50/h less, and nobody would answer 31.4 rps.\n"
    assert expected in pool_text(allocation(alternatives=shed))


def test_a_bridge_without_a_known_end_waits_for_a_gpu() -> None:
    waiting = allocation(bridge={"requestsPerSecond": "0", "usdPerHour": "0", "pools": []})
    del waiting["status"]["startupSeconds"]
    assert "  Until a GPU is free (start-up 3m assumed) nothing spills.\n" in pool_text(waiting)


def economics(**figures: str) -> str:
    return pool_text(local_pool(economics=figures))


def test_a_gpu_is_worth_what_the_programme_says() -> None:
    dear, owning = {"shadowPriceUsdPerGpuHour": "0.2"}, {"owningUsdPerGpuHour": "1.13"}
    assert "GPU   One more h100 here would be worth $0.2/h; owning one costs $1.13/h: it never pays back." in economics(
        **dear, **owning
    )
    none = {"shadowPriceUsdPerGpuHour": "0"}
    assert "GPU   One more h100 here would be worth nothing now; owning one costs $1.13/h." in economics(
        **none, **owning
    )
    assert "GPU" not in economics(usdPerHour="2.9")


def test_data_that_leaves_is_shouted() -> None:
    leaking = policy()
    leaking["status"]["routes"][1]["shares"] = [
        {"pool": "qwen3-32b-h100", "share": "0.5"}, {"pool": "claude-sonnet", "share": "0.5"},
    ]  # fmt: skip
    assert "1.1 of its 2.2 rps LEAVE to claude-sonnet. Pause the policy and report this" in pool_text(
        local_pool(), leaking
    )
    unknown = policy()
    del unknown["status"]["routes"][1]["requestsPerSecond"]
    assert "may only use onPremises: nothing leaves." in pool_text(local_pool(), unknown)


def test_a_hosted_pool_that_calls_itself_inside_is_outside_for_who_must_stay() -> None:
    near = hosted_pool()
    near["spec"]["location"] = {"jurisdiction": "EU", "perimeter": "onPremises"}
    leaking = policy()
    leaking["status"]["routes"][1]["shares"] = [{"pool": "claude-sonnet", "share": "1"}]
    text = as_text(explain_pool(local_pool(), [leaking], [local_pool(), near], NOW))
    assert "2.2 of its 2.2 rps LEAVE to claude-sonnet" in text


def test_as_data_it_is_exactly_what_the_status_says() -> None:
    data = json.loads(json.dumps(explain_pool(local_pool(), [policy()], POOLS, NOW).data))
    assert data["allocation"] == local_pool()["status"]["allocation"]
    assert data["economics"]["shadowPriceUsdPerGpuHour"] == "3.1"
    assert [one["id"] for one in data["decisions"]] == ["118"], "the other one speaks of another pool"
    assert data["data"] == [
        {
            "policy": "research",
            "route": "deal-review",
            "classification": "restricted",
            "perimeters": ["onPremises"],
            "jurisdictions": [],
            "backends": ["qwen3-32b-h100", "claude-sonnet"],
            "requestsPerSecond": 2.2,
            "leavingRequestsPerSecond": 0.0,
            "leavingTo": [],
        }
    ]


def test_the_status_has_the_same_sentences() -> None:
    assert pool_sentences(local_pool(), NOW).splitlines() == [
        "Until: 14:05 UTC (start-up 2m40s measured) 9.1 rps spill to claude-sonnet: $11.20/h.",
        "Else: Stay at 2 and spill on: $29.60/h more. All hosted: $212/h more, and nobody would answer 2.2 rps.",
        "GPU: One more h100 here would be worth $3.10/h; owning one costs $1.13/h: pays back in 515 days.",
    ]


def test_a_route_that_bears_the_name_of_a_pool_is_not_the_pool() -> None:
    told = [
        {"id": "3", "at": "2026-03-02T14:02:33Z", "message": "Route qwen3-32b-h100: 2 rps: 100% on other."},
        {"id": "2", "at": "2026-03-02T14:02:32Z", "message": "other: 1 -> 2: more. qwen3-32b-h100: 2 -> 4: more."},
    ]
    found = explain_pool(local_pool(), [policy(decisions=told)], POOLS, NOW).data["decisions"]
    assert [one["id"] for one in found] == ["2"]
