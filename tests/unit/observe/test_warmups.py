"""Results of warm-up Jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.kube.resources import JOB, POD, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.observe.measurements import Measurements, prefix_hit_ratio
from comptroller.observe.warmups import PrefixResult, RunResult, ended_runs, read_message, without_warmups
from tests.unit.kube import build

PREFIX = {"name": "rules", "tokens": 900, "cold_ms": 400, "warm_ms": 40.5, "hit_ratio": 0.98}
GOOD = json.dumps({"warm": True, "prefixes": [PREFIX]})
BAD = json.dumps({"warm": False, "prefixes": [], "error": "the engine is gone"})


def job(failed: str | None = None, kind: str = "Failed") -> KubeDict:
    conditions = [{"type": kind, "status": "True", "message": failed, "lastTransitionTime": build.at(50)}]
    return build.item(
        "Job",
        "w-1",
        labels={"comptroller.dev/run": "w-1"},
        status={"conditions": conditions if failed is not None else []},
    )


def pod(name: str, message: str | None, seconds: float = 10, owner: str = "w-1") -> KubeDict:
    state: dict[str, Any] = {"running": {}}
    if message is not None:
        state = {"terminated": {"message": message, "finishedAt": build.at(seconds)}}
    labels = {**build.MANAGED, "batch.kubernetes.io/job-name": owner}
    return build.item("Pod", name, labels=labels, status={"containerStatuses": [{"state": state}]})


def result(*items: KubeDict) -> RunResult | None:
    store = ClusterStore()
    for item in items:
        store.upsert(JOB if item["kind"] == "Job" else POD, item)
    return next((one.result for one in ended_runs(store, "ai")), None)


def test_what_warm_ups_sent_is_taken_out_of_the_engines_rates() -> None:
    store = ClusterStore()
    message = json.dumps({"warm": True, "prefixes": [], "prompt_tokens": 12_000, "cached_tokens": 6_000})
    labels = {"comptroller.dev/run": "w-1", "comptroller.dev/pool": "big"}
    store.upsert(JOB, job() | {"metadata": job()["metadata"] | {"labels": labels}})
    store.upsert(POD, pod("a", message, 10))
    rates = Measurements(
        prompt_tokens={("ai", "big"): Sample(900.0), ("ai", "small"): Sample(5.0)},
        cached_tokens={("ai", "big"): Sample(300.0), ("ai", "small"): Unknown("NaN")},
    )
    assert without_warmups(rates, store, build.BORN_SECONDS + 71, 60) == rates
    clean = without_warmups(rates, store, build.BORN_SECONDS + 69, 60)
    assert clean.prompt_tokens == {("ai", "big"): Sample(700.0), ("ai", "small"): Sample(5.0)}
    assert clean.cached_tokens == {("ai", "big"): Sample(200.0), ("ai", "small"): Unknown("NaN")}
    assert prefix_hit_ratio(clean, "ai/big") == Sample(200 / 700)
    silent = without_warmups(Measurements(prompt_tokens={("ai", "big"): Sample(200.0)}, cached_tokens={}), store,
                             build.BORN_SECONDS + 69, 60)  # fmt: skip
    assert isinstance(prefix_hit_ratio(silent, "ai/big"), Unknown)


def test_a_run_that_is_under_way_or_retried_has_no_result() -> None:
    assert result() is None
    assert result(job()) is None
    assert result(job(), pod("a", None)) is None
    assert result(job(), pod("a", BAD)) is None
    assert result(job(), pod("x", GOOD, owner="another")) is None


def test_a_success_counts_even_after_a_failed_try_and_the_newest_wins() -> None:
    found = result(job(), pod("a", BAD, 10), pod("b", GOOD, 20), pod("c", GOOD, 30))
    assert found == RunResult(True, (PrefixResult("rules", 900, 400.0, 40.5, 0.98),), "", build.BORN_SECONDS + 30)


@pytest.mark.parametrize(
    ("pods", "failed", "error"),
    [
        ([pod("a", BAD)], "deadline", "the engine is gone"),
        ([pod("a", None)], "deadline exceeded", "deadline exceeded"),
        ([], "", "the warm-up did not finish in time"),
    ],
)
def test_a_failed_run_says_why(pods: list[KubeDict], failed: str, error: str) -> None:
    found = result(job(failed), *pods)
    assert found is not None
    assert (found.warm, found.error, found.finished_seconds) == (False, error, build.BORN_SECONDS + 50)


def test_a_run_that_ended_well_and_lost_its_result_has_failed_once_its_pods_have_ended() -> None:
    ended = job("", "Complete")
    assert result(ended, pod("a", None)) is None
    found = result(ended, pod("a", ""))
    assert found is not None
    assert not found.warm
    assert "without a result" in found.error
    assert result(ended, pod("a", GOOD)) == read_message(GOOD, build.BORN_SECONDS + 10)


@pytest.mark.parametrize(
    "text",
    [
        "", "Killed", "null", "[]", "3", '{"prefixes": 3}', '{"prefixes": [{}]}', '{"prefixes": ["a"]}',
        json.dumps({"warm": True, "prefixes": [PREFIX | {"tokens": float("inf")}]}), GOOD[:-9],
    ],
)  # fmt: skip
def test_a_message_that_cannot_be_read_is_a_failed_run(text: str) -> None:
    found = read_message(text, 7.0)
    assert (found.warm, found.prefixes, found.finished_seconds) == (False, (), 7.0)
    assert "without a result" in found.error
