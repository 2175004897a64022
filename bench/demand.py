"""How well demand is told a few minutes ahead, on recorded production traffic: rates and burstiness of real clients.

The log is kept as the operator keeps it, a sample a minute; outlooks are asked for every eleven minutes, so that the
ten-minute grid of the recording is met at every phase. Each route's score is the continuous ranked probability score of
its scenarios (for one number: its absolute error), against the mean demand that came. It is weighed by the work that a
request is. Totals are scored the same way: they show whether the scenarios keep what routes do together.
"""

from __future__ import annotations

import csv
import gzip
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.conditions import ROOT
from bench.report import Report, Table
from comptroller.learning.demand import DemandLearner
from comptroller.learning.demand_log import DAY_MINUTES, Floats
from comptroller.learning.demand_methods import LAST_VALUE, METHODS, Method
from comptroller.learning.demand_skill import Skill

RECORDED = ROOT / "examples" / "simulate" / "servegen-days0-9.csv.gz"
DAYS = 7  # of the recording; those after are never used for tuning
WARM_UP_DAYS = 2
CLIENTS = 12  # of each model
WINDOW_MINUTES = 10
LEAD_MINUTES = 4
SPANS_MINUTES = (10, 20)
BETWEEN_MINUTES = 11
SCENARIOS = 8
PROMPT_WORK = 0.1  # of a prompt's token, in generated tokens


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests/s by minute: [minute, route], NaN where the recording has a gap."""

    routes: tuple[str, ...]
    models: tuple[str, ...]  # of each route
    rates: Floats
    work: Floats  # of a request of each route, in generated tokens


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean scores in requests/s x work, and what they cost."""

    routes: Floats  # [route]
    totals: Floats  # of each model, and of all
    above: float  # share of outcomes above the highest scenario, over routes and times
    skills: Mapping[str, Skill]
    seconds: float  # processor time in all


def read_traffic(path: Path, days: int, clients: int, seed: int) -> Traffic:
    """The clients with most work of each model, from windows of ten minutes."""
    windows = days * DAY_MINUTES // WINDOW_MINUTES
    rates: dict[tuple[str, str], Floats] = defaultdict(lambda: np.zeros(windows))
    spreads: dict[tuple[str, str], Floats] = defaultdict(lambda: np.ones(windows))
    seen: dict[str, Floats] = defaultdict(lambda: np.zeros(windows))
    work: dict[tuple[str, str], float] = {}
    with gzip.open(path, "rt") as text:
        for row in csv.DictReader(text):
            window = int(row["window_start_seconds"]) // (60 * WINDOW_MINUTES)
            if window >= windows:
                continue
            key = row["model"], row["client"]
            rates[key][window] = float(row["rate_rps"])
            spreads[key][window] = float(row["interarrival_cv"] or 1.0)
            seen[row["model"]][window] = 1.0
            if row["mean_input_tokens"] and row["mean_output_tokens"]:
                work[key] = PROMPT_WORK * float(row["mean_input_tokens"]) + float(row["mean_output_tokens"])
    chosen = []
    for model in sorted(seen):
        own = sorted((key for key in work if key[0] == model), key=lambda key: (-rates[key].sum() * work[key], key))
        chosen += own[:clients]
    found = np.array([np.where(seen[key[0]] > 0, rates[key], np.nan) for key in chosen])
    cv = np.array([spreads[key] for key in chosen])
    return Traffic(
        routes=tuple("/".join(key) for key in chosen),
        models=tuple(key[0] for key in chosen),
        rates=_drawn(np.repeat(found, WINDOW_MINUTES, axis=1), np.repeat(cv, WINDOW_MINUTES, axis=1), seed).T,
        work=np.array([work[key] for key in chosen]),
    )


def _drawn(rates: Floats, cv: Floats, seed: int) -> Floats:
    """Arrivals of each minute, in requests/s: with the mean as recorded, and the variance of a renewal process.

    At 10 requests/s and a coefficient of variation of 2, a minute has 600 arrivals with a deviation of 2 x 24.5 = 49.
    """
    expected, variance = np.nan_to_num(rates) * 60.0, np.maximum(cv, 0.1) ** 2
    drawn = np.random.default_rng(seed).gamma(expected / variance + 1e-12, variance)
    return np.where(np.isnan(rates), np.nan, np.where(expected > 0.0, drawn / 60.0, 0.0))


def measure(path: Path | None = None, seed: int = 1, days: int = DAYS, clients: int = CLIENTS) -> Report:
    """All methods, each alone and as each route's own log chooses between them."""
    path = path or RECORDED
    if not path.exists():
        return Report("demand", (), {}, skipped=f"{path} is not there")
    traffic = read_traffic(path, min(days, DAYS), clients, seed)
    tables, values = [], {}
    for span in SPANS_MINUTES:
        table, found = _compared(traffic, span)
        tables.append(table)
        values[str(span)] = found
    return Report("demand", tuple(tables), {"file": path.name, "routes": traffic.routes, "spans": values})


def _compared(traffic: Traffic, span: int) -> tuple[Table, dict[str, dict[str, object]]]:
    point = follow(traffic, span, None)
    ways: dict[str, tuple[Method, ...]] = {f"{one.name} alone": (one,) for one in METHODS}
    scores = {name: follow(traffic, span, methods) for name, methods in (*ways.items(), ("chosen by skill", METHODS))}
    rows = [_row("last value, one number", point, point), *(_row(name, one, point) for name, one in scores.items())]
    values: dict[str, dict[str, object]] = {
        name: {
            "routes": one.routes.tolist(),
            "totals": one.totals.tolist(),
            "above": one.above,
            "methods": {route: skill.method for route, skill in one.skills.items()},
        }
        for name, one in (("point", point), *scores.items())
    }
    models = sorted(set(traffic.models))
    columns = ("scenarios", "routes", "median route", "worst route", *models, "fleet", "above all %", "processor s")
    return (
        Table(
            f"Demand {LEAD_MINUTES} to {LEAD_MINUTES + span} minutes ahead: % better than the last value as one number",
            columns,
            tuple(rows),
            (
                f"{len(traffic.routes)} routes, {SCENARIOS} scenarios; score: continuous ranked probability score.",
                "Routes: mean over routes, weighed by work. Models and fleet: the score of the total.",
                "Above all: outcomes above the highest scenario, over routes and times.",
            ),
        ),
        values,
    )


def _row(name: str, one: Scores, point: Scores) -> tuple[str, ...]:
    asked = point.routes > 0
    better = 1.0 - one.routes[asked] / point.routes[asked]
    figures = [
        1.0 - one.routes.sum() / point.routes.sum(),
        float(np.median(better)),
        float(better.min()),
        *(1.0 - one.totals / point.totals),
    ]
    above = "–" if one is point else f"{100 * one.above:.1f}"
    return (name, *(f"{100 * figure:.1f}" for figure in figures), above, f"{one.seconds:.1f}")


def follow(traffic: Traffic, span: int, methods: tuple[Method, ...] | None) -> Scores:
    """Goes through the days as an operator would, and scores every outlook. None: the last value as one number."""
    learner = DemandLearner(methods=methods or (LAST_VALUE,))
    rates, routes = traffic.rates, traffic.routes
    groups = [np.array([one == model for one in traffic.models]) for model in sorted(set(traffic.models))]
    groups.append(np.ones(len(routes), dtype=np.bool_))
    worth = dict(zip(routes, traffic.work.tolist(), strict=True))
    found, totals, above = [], [], []
    begun = time.process_time()
    for minute in range(1, rates.shape[0] - LEAD_MINUTES - span):
        seen = rates[minute - 1]
        now = {route: float(rate) for route, rate in zip(routes, seen, strict=True) if not np.isnan(rate)}
        learner.record(60.0 * minute, now)
        if minute < WARM_UP_DAYS * DAY_MINUTES or minute % BETWEEN_MINUTES:
            continue
        came = np.mean(rates[minute + LEAD_MINUTES : minute + LEAD_MINUTES + span], axis=0)
        scenarios = np.repeat(seen[:, None], SCENARIOS, axis=1)
        if methods is not None:
            outlook = learner.outlook(60.0 * minute, now, 60.0 * LEAD_MINUTES, 60.0 * span, SCENARIOS, worth)
            for place, route in enumerate(routes):
                scenarios[place] = outlook.requests_per_second.get(route, scenarios[place])
        found.append(_score(scenarios, came) * traffic.work)
        work = traffic.work[:, None]
        sums = [
            (np.nansum((scenarios * work)[group], axis=0), np.sum((came * traffic.work)[group])) for group in groups
        ]
        totals.append([float(_score(one[None, :], np.array([actual]))[0]) for one, actual in sums])
        above.append(np.where(np.isnan(came), np.nan, came > scenarios.max(axis=1) * 1.0001 + 1e-9))
    return Scores(
        routes=np.nanmean(found, axis=0),
        totals=np.nanmean(totals, axis=0),
        above=float(np.nanmean(above)),
        skills=learner.skills(),
        seconds=time.process_time() - begun,
    )


def _score(scenarios: Floats, came: Floats) -> Floats:
    """The continuous ranked probability score of equally likely scenarios: [route]."""
    distance = np.abs(scenarios - came[:, None]).mean(axis=1)
    between = np.abs(scenarios[:, :, None] - scenarios[:, None, :]).mean(axis=(1, 2))
    result: Floats = distance - between / 2
    return result
