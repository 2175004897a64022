"""What can be acted upon, and why the rest cannot: one bad object never hides another."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from comptroller.api.conditions import Reason
from comptroller.api.settings import Settings
from comptroller.kube.resources import BY_KIND, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.runtime.specs import read_specs
from comptroller.runtime.state import Specs
from tests.unit.kube import build

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)


def read(*items: KubeDict) -> Specs:
    store = ClusterStore()
    for item in items:
        store.upsert(BY_KIND[item["kind"]], item)
    return read_specs(store, Settings(), NOW)


def warmup(*pools: str) -> KubeDict:
    prefixes = [{"name": "rules", "system": {"text": "You are careful."}}]
    return build.item("CacheWarmup", "rules", generation=1, spec={"pools": list(pools), "prefixes": prefixes})


def without(item: KubeDict, *path: str) -> KubeDict:
    node: Any = item
    for step in path[:-1]:
        node = node[step]
    del node[path[-1]]
    return item


def test_good_objects_are_read_and_nothing_stalls() -> None:
    specs = read(build.pool(), build.hosted_pool(), build.policy(), warmup("big"))
    assert (set(specs.pools), set(specs.policies), set(specs.warmups)) == (
        {"ai/big", "ai/api"}, {"ai/research"}, {"ai/rules"},
    )  # fmt: skip
    assert specs.stalls == {}
    assert float(specs.prices["ai/api"].output) == 15


@pytest.mark.parametrize(
    ("bad", "reason", "words"),
    [
        (build.pool("bad", local={"accelerator": {"class": "h900"}}), Reason.UNKNOWN_GPU_CLASS, "h900"),
        (without(build.pool("bad"), "spec", "model"), Reason.INVALID, "spec.model"),
        (without(build.pool("bad"), "spec"), Reason.INVALID, "spec"),
        (build.item("ModelPool", "bad", spec=[]), Reason.INVALID, "spec"),
        (
            without(build.hosted_pool("bad") | {"status": {}}, "spec", "hosted", "prices"),
            None,
            "",
        ),
    ],
    ids=["an unknown GPU class", "a field that is missing", "no spec", "a spec that is no object", "a listed price"],
)
def test_a_bad_pool_stalls_alone_and_says_where(bad: KubeDict, reason: Reason | None, words: str) -> None:
    specs = read(bad, build.pool(), build.hosted_pool(), build.policy())
    stalls = specs.stalled("ModelPool", "ai/bad")
    assert [one.reason for one in stalls] == ([reason] if reason else [])
    assert all(words in one.message for one in stalls)
    assert [key for _, key in specs.stalls if key != "ai/bad"] == []


def test_a_hosted_pool_whose_price_nobody_knows_stalls_and_is_never_free() -> None:
    pool = without(build.hosted_pool("bad"), "spec", "hosted", "prices")
    pool["spec"]["model"]["name"] = "made-up-9000"
    specs = read(pool)
    assert [one.reason for one in specs.stalled("ModelPool", "ai/bad")] == [Reason.MISSING_PRICE]
    assert "ai/bad" not in specs.prices


def test_a_policy_may_only_name_pools_of_its_own_namespace() -> None:
    specs = read(build.pool("big", namespace="lab"), build.policy("research", "big"))
    stalls = specs.stalled("RoutingPolicy", "ai/research")
    assert [(one.reason, one.field) for one in stalls] == [(Reason.UNKNOWN_POOL, "spec.routes[0].backends[0].pool")]


def test_a_warmup_that_names_no_pool_that_there_is_stalls() -> None:
    specs = read(build.pool(), warmup("big", "gone"))
    stalls = specs.stalled("CacheWarmup", "ai/rules")
    assert [(one.reason, one.field) for one in stalls] == [(Reason.UNKNOWN_POOL, "spec.pools[1]")]
    assert "there are: big" in stalls[0].message


def test_what_is_being_deleted_is_not_read() -> None:
    specs = read(build.pool(deletionTimestamp=build.at(1)), build.hosted_pool())
    assert set(specs.pools) == {"ai/api"}
    assert specs.stalls == {}
