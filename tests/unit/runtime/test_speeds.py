"""Learning round by round: what is kept, what a restart remembers, and what begins anew."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from comptroller.allocation.snapshot import Profile, Sample
from comptroller.api.settings import Settings
from comptroller.kube.resources import BY_KIND, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.learning.speed import Speed
from comptroller.observe.measurements import Measurements
from comptroller.runtime.specs import read_specs
from comptroller.runtime.speeds import remembered_profile, speeds_after
from tests.unit.kube import build

CHAT = ("ai/big", "ai/research", "chat")
DECLARED = {"alphaMs": "6.1", "betaMs": "0.05", "gammaMs": "0.0004", "maxConcurrency": 64}
LEARNED = {
    "alphaMs": "7.3", "betaMs": "0.06", "gammaMs": "0.00048", "source": "learned", "samples": 40, "confidence": "0.9",
}  # fmt: skip


def iteration_ms(profile: Profile, batch: float) -> float:
    return (
        profile.alpha_ms
        + profile.root_ms * math.sqrt(batch)
        + batch * (profile.beta_ms * 1250 / 251 + profile.gamma_ms * 1125)
    )


def busy(batch: float, per_token_ms: float) -> Measurements:
    return Measurements(
        running={("ai", "big", "a"): Sample(batch)},
        token_seconds={("ai", "big"): Sample(per_token_ms / 1000 * 100)},
        timed_tokens={("ai", "big"): Sample(100.0)},
        pool_tokens={(*CHAT, "input"): Sample(1000.0), (*CHAT, "output"): Sample(250.0)},
        pool_answered={CHAT: Sample(1.0)},
    )


def pool(status: KubeDict | None = None, **performance: Any) -> KubeDict:
    found = build.pool(status=status)
    found["metadata"]["generation"] = 3
    found["spec"]["local"]["performance"] = DECLARED | performance
    return found


class World:
    def __init__(self, *items: KubeDict) -> None:
        self.store, self.settings = ClusterStore(), Settings()
        self.known: Mapping[str, Speed] = {}
        self.now = 0.0
        self.put(*items)

    def put(self, *items: KubeDict) -> None:
        for item in items:
            self.store.upsert(BY_KIND[item["kind"]], item)

    def round(self, measured: Measurements) -> Speed | None:
        specs = read_specs(self.store, self.settings, datetime(2026, 11, 22, tzinfo=UTC))
        self.now += 60.0
        self.known = speeds_after(self.known, self.store, specs, self.settings, measured, self.now)
        return self.known.get("ai/big")

    def rounds(self, factor: float, count: int = 10) -> Speed:
        declared = Profile(6.1, 0.05, 0.0004, 64)
        for number in range(count):
            batch = (20.0, 40.0)[number % 2]
            speed = self.round(busy(batch, factor * iteration_ms(declared, batch)))
        assert speed is not None
        return speed


def test_a_pool_that_is_slower_than_declared_is_reckoned_with_as_it_is() -> None:
    speed = World(pool()).rounds(1.3)
    assert speed.used.source == "learned"
    assert iteration_ms(speed.used, 30) == pytest.approx(
        1.3 * iteration_ms(Profile(6.1, 0.05, 0.0004, 64), 30), rel=0.03
    )


def test_rounds_without_measurements_keep_what_is_known() -> None:
    world = World(pool())
    before = world.rounds(1.3)
    assert world.round(Measurements()) == before


def test_a_restart_remembers_from_the_status() -> None:
    status = {"observedGeneration": 3, "performance": LEARNED}
    speed = World(pool(status)).round(Measurements())
    assert speed is not None
    assert speed.used.alpha_ms == pytest.approx(7.3)
    assert speed.used.samples == 40
    assert speed.used.source == "learned"


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 2, "performance": LEARNED},
        {"observedGeneration": 3, "performance": LEARNED | {"source": "declared"}},
        {"observedGeneration": 3, "performance": LEARNED | {"alphaMs": "fast"}},
        {"observedGeneration": 3, "performance": {"source": "learned"}},
        {"observedGeneration": 3},
        None,
    ],
    ids=["an older spec", "it was not learned", "no number", "incomplete", "nothing told", "no status"],
)
def test_what_the_status_does_not_tell_of_this_spec_is_not_remembered(status: KubeDict | None) -> None:
    speed = World(pool(status)).round(Measurements())
    assert speed is not None
    assert (speed.used.alpha_ms, speed.used.source) == (6.1, "declared")


def test_the_root_is_remembered_too() -> None:
    live = {
        "metadata": {"generation": 1},
        "status": {"observedGeneration": 1, "performance": LEARNED | {"rootMs": "1.6"}},
    }
    found = remembered_profile(live, Profile(6.1, 0.05, 0.0004, 64))
    assert found is not None
    assert (found.root_ms, found.confidence) == (1.6, 0.9)


def test_another_declared_profile_begins_anew() -> None:
    world = World(pool())
    world.rounds(1.3)
    world.put(pool(alphaMs="9") | {"metadata": pool()["metadata"] | {"resourceVersion": "9", "generation": 4}})
    speed = world.round(Measurements())
    assert speed is not None
    assert (speed.used.alpha_ms, speed.used.source, speed.samples) == (9.0, "declared", 0)


def test_a_pool_that_went_is_forgotten() -> None:
    world = World(pool())
    world.rounds(1.3)
    world.store = ClusterStore()
    assert world.round(Measurements()) is None


def test_of_a_stalled_pool_nothing_is_learned_and_nothing_forgotten() -> None:
    world = World(pool())
    before = world.rounds(1.3)
    stalled = pool()
    stalled["spec"]["local"]["accelerator"]["class"] = "no-such-gpu"
    stalled["metadata"] |= {"resourceVersion": "9", "generation": 4}
    world.put(stalled)
    assert world.round(busy(30.0, 99.0)) == before
