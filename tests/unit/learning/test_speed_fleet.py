"""Learning the speeds of a whole fleet from samples alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comptroller.learning.speed import Speed, SpeedSample
from comptroller.learning.speed_fleet import with_learned
from tests.unit.allocation.build import local

BIG, SMALL = local("big"), local("small")


def sample(at_seconds: float, factor: float) -> dict[str, SpeedSample]:
    profile = BIG.profile
    per_request = profile.beta_ms * 1250 / 251 + profile.gamma_ms * 1125
    return {"ai/big": SpeedSample(at_seconds, 20, factor * (profile.alpha_ms + 20 * per_request), 1000, 250)}


def test_pools_with_samples_learn_and_the_others_keep_their_profile() -> None:
    speeds: dict[str, Speed] = {}
    for number in range(10):
        speeds, pools = with_learned(speeds, (BIG, SMALL), sample(60.0 * number, 1.4), 60.0)
    big, small = pools
    assert big.profile.source == "learned"
    assert big.profile.alpha_ms == pytest.approx(1.4 * BIG.profile.alpha_ms, rel=0.15)
    assert small.profile == SMALL.profile
    assert replace(big, profile=BIG.profile) == BIG


def test_another_declared_profile_begins_anew() -> None:
    speeds, _ = with_learned({}, (BIG,), sample(0.0, 1.4), 60.0)
    other = replace(BIG, profile=replace(BIG.profile, alpha_ms=99.0))
    speeds, pools = with_learned(speeds, (other,), {}, 60.0)
    assert speeds["ai/big"].samples == 0
    assert pools[0].profile.alpha_ms == 99.0
