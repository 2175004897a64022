"""Arrivals: as many as recorded, as bursty as recorded, and the same whatever else is simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from comptroller.sim.arrivals import history, step_counts, weibull_of
from comptroller.sim.stage import Asked
from comptroller.sim.trace import WEIBULL, ClientTrace, Trace

HOUR_STEPS = 720


def one(rate: float, cv: float, family: int = 0, hours: int = 40) -> tuple[Asked, Trace]:
    windows = hours * 6
    client = ClientTrace(
        "t", "1", np.full(windows, rate), np.full(windows, cv), np.full(windows, family, dtype=np.int8), 100.0, 10.0
    )
    return Asked(client, 1.0), Trace("made", 0.0, 600.0, windows, (client,), {})


@pytest.mark.parametrize("family", [0, WEIBULL])
@pytest.mark.parametrize(("rate", "cv"), [(0.5, 1.0), (0.5, 4.0), (5.0, 0.3), (5.0, 2.0), (100.0, 3.0), (60.0, 1.0)])
def test_as_many_arrive_as_were_recorded(rate: float, cv: float, family: int) -> None:
    asked, trace = one(rate, cv, family)
    counts = step_counts(asked, trace, "r", 1, 0.0, 40 * HOUR_STEPS, 5.0)
    expected = rate * 40 * 3600
    assert abs(counts.sum() - expected) < 4.5 * max(cv, 1.0) * np.sqrt(expected)
    assert counts.min() >= 0


@pytest.mark.parametrize("family", [0, WEIBULL])
@pytest.mark.parametrize(("rate", "cv"), [(5.0, 0.3), (5.0, 1.0), (5.0, 2.0), (100.0, 1.5)])
def test_a_minute_varies_as_the_coefficient_of_variation_says(rate: float, cv: float, family: int) -> None:
    asked, trace = one(rate, cv, family)
    minutes = step_counts(asked, trace, "r", 1, 0.0, 40 * HOUR_STEPS, 5.0).reshape(-1, 12).sum(axis=1)
    dispersion = minutes.var() / minutes.mean()
    assert dispersion == pytest.approx(cv**2, rel=0.2, abs=0.03)


@pytest.mark.parametrize("family", [0, WEIBULL])
@pytest.mark.parametrize(
    ("factor", "dispersion"), [(0.25, 1 + (16 - 1) / 4), (0.02, 1 + (16 - 1) * 0.02), (1.0, 16.0), (3.0, 16.0)]
)
def test_the_bursts_of_fewer_users_thin_out_and_those_of_more_stay(
    family: int, factor: float, dispersion: float
) -> None:
    """CV 4: a quarter of the requests has a dispersion of 4.75, not of 16; three times as many still of 16."""
    asked, trace = one(50.0, 4.0, family)
    counts = step_counts(replace(asked, factor=factor), trace, "r", 1, 0.0, 40 * HOUR_STEPS, 5.0)
    minutes = counts.reshape(-1, 12).sum(axis=1)
    assert minutes.mean() == pytest.approx(60 * 50.0 * factor, rel=0.05)
    assert minutes.var() / minutes.mean() == pytest.approx(dispersion, rel=0.15)


def test_without_a_coefficient_of_variation_arrivals_are_poisson() -> None:
    asked, trace = one(3.0, float("nan"))
    counts = step_counts(asked, trace, "r", 1, 0.0, 40 * HOUR_STEPS, 5.0)
    assert counts.var() / counts.mean() == pytest.approx(1.0, rel=0.05)


def test_what_is_asked_depends_on_nothing_but_seed_route_and_window() -> None:
    asked, trace = one(5.0, 2.0)
    long = step_counts(asked, trace, "r", 1, 0.0, 720, 5.0)
    late = step_counts(asked, trace, "r", 1, 1200.0, 240, 5.0)
    assert (long[240:480] == late).all()
    assert (long != step_counts(asked, trace, "r", 2, 0.0, 720, 5.0)).any()
    assert (long != step_counts(asked, trace, "other", 1, 0.0, 720, 5.0)).any()


def test_before_and_after_the_file_nobody_asks() -> None:
    asked, trace = one(5.0, 1.0, hours=1)
    counts = step_counts(asked, trace, "r", 1, -600.0, 960, 5.0)
    assert counts[:120].sum() == 0
    assert counts[120:840].sum() > 0
    assert counts[840:].sum() == 0


def test_demand_may_be_scaled_step_by_step() -> None:
    asked, trace = one(50.0, 1.0, hours=1)
    factor = np.where(np.arange(720) < 360, 1.0, 5.0)
    counts = step_counts(asked, trace, "r", 1, 0.0, 720, 5.0, factor)
    assert counts[360:].sum() / counts[:360].sum() == pytest.approx(5.0, rel=0.05)


def test_history_is_one_sample_a_minute_and_ends_where_the_run_begins() -> None:
    asked, trace = one(5.0, 1.0)
    found = history(asked, trace, "r", 1, -1000.0, 7200.0)
    assert len(found) == 120
    assert (found[0][0], found[-1][0]) == (60.0, 7200.0)
    assert np.mean([rate for _, rate in found]) == pytest.approx(5.0, rel=0.1)


def test_weibull_gaps_have_mean_one_and_the_variation_asked_for() -> None:
    random = np.random.default_rng(0)
    for cv in (0.3, 1.0, 2.0):
        shape, scale = weibull_of(cv)
        gaps = scale * random.weibull(shape, 400_000)
        assert gaps.mean() == pytest.approx(1.0, rel=0.02)
        assert gaps.std() == pytest.approx(cv, rel=0.03)
