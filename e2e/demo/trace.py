"""Turns a stretch of a production trace into a schedule of requests for a small fleet. Pure: no clock, no network.

The trace says how often each client asked in each ten-minute window, and how unevenly. Three things are done to it:

- **Time is compressed**: a window lasts a few seconds. What the trace calls an hour of batch work takes a minute.
- **It is scaled to the fleet**: all rates by one factor, so that the busiest window has the rate asked for. Their
  proportions, between clients and over time, stay.
- **Clients become routes**: each route is a set of clients, so its rate has the shape that theirs have together.

Within a window of a route the number of requests is what its rate says (fractions are carried over to the next), and
the gaps between them are drawn from a Gamma distribution with the window's coefficient of variation; so a bursty window
bursts, and no draw of luck changes how much work there is. The same seed gives the same schedule.

Worked: 504 requests/s in the busiest window, 7 asked for: factor 0.0139. A client with 15 requests/s in a window of
13 s then sends 15 * 0.0139 * 13 = 2.7 requests: 2 in the first such window, 3 in the second.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

SOURCE_WINDOW_SECONDS = 600
MAXIMUM_CV = 3.0  # above it a scaled-down window is a single burst at one instant, which says nothing about a fleet


@dataclass(frozen=True, slots=True)
class ClientWindow:
    """One client in one window of the source."""

    client: int
    window: int  # counted from the start of the recording
    requests_per_second: float
    cv: float


@dataclass(frozen=True, slots=True)
class RouteShape:
    """A route of the replay: whose traffic it is, and how long its prompts and answers are.

    `clients` of None takes every client that no other route names. Lengths are mean tokens; they are the replay's own,
    because a simulated engine on two processor cores answers shorter than a GPU.
    """

    name: str
    clients: tuple[int, ...] | None
    question_tokens: int
    answer_tokens: int
    prefix: str | None = None  # name of the text that all its prompts begin with
    restricted: bool = False


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which part of the recording, and how it is squeezed."""

    first_window: int
    windows: int
    window_seconds: float
    peak_requests_per_second: float
    seed: int = 1

    @property
    def seconds(self) -> float:
        return self.windows * self.window_seconds

    @property
    def compression(self) -> float:
        return SOURCE_WINDOW_SECONDS / self.window_seconds


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request of the schedule. `number` makes its prompt unlike every other."""

    at: float  # seconds from the start of the replay
    route: str
    number: int
    question_tokens: int
    answer_tokens: int


def read_windows(path: Path) -> list[ClientWindow]:
    """Reads an extract of the trace, such as e2e/data/servegen/m-large-day9.csv."""
    with path.open(newline="") as file:
        return [
            ClientWindow(
                int(row["client"]),
                int(row["window_start_seconds"]) // SOURCE_WINDOW_SECONDS,
                float(row["rate_rps"]),
                float(row["interarrival_cv"]),
            )
            for row in csv.DictReader(file)
        ]


def total_rates(windows: Iterable[ClientWindow], stretch: Stretch) -> list[float]:
    """Requests per second of all clients in each window of the stretch. Raises ValueError at a recording gap."""
    totals = [0.0] * stretch.windows
    for one in windows:
        if 0 <= one.window - stretch.first_window < stretch.windows:
            totals[one.window - stretch.first_window] += one.requests_per_second
    empty = [stretch.first_window + index for index, rate in enumerate(totals) if rate == 0]
    if empty:
        raise ValueError(f"no client has traffic in window {empty[0]}: a recording gap, choose another stretch")
    return totals


def scaled_rates(
    windows: Sequence[ClientWindow], stretch: Stretch, routes: Sequence[RouteShape]
) -> dict[str, list[tuple[float, float]]]:
    """For each route, per window of the stretch: requests per second on the fleet, and the CV of the gaps.

    The CV of several clients together is taken as their mean, weighted by rate.
    """
    factor = stretch.peak_requests_per_second / max(total_rates(windows, stretch))
    owner = _owners(routes)
    rest = next((route.name for route in routes if route.clients is None), None)
    sums: dict[str, list[list[float]]] = {route.name: [[0.0, 0.0] for _ in range(stretch.windows)] for route in routes}
    for one in windows:
        index = one.window - stretch.first_window
        name = owner.get(one.client, rest)
        if name is None or not 0 <= index < stretch.windows:
            continue
        sums[name][index][0] += one.requests_per_second
        sums[name][index][1] += one.requests_per_second * one.cv
    return {
        name: [(rate * factor, min(MAXIMUM_CV, weighted / rate) if rate else 1.0) for rate, weighted in per_window]
        for name, per_window in sums.items()
    }


def schedule(windows: Sequence[ClientWindow], stretch: Stretch, routes: Sequence[RouteShape]) -> list[PlannedRequest]:
    """All requests of the replay, by time."""
    rates = scaled_rates(windows, stretch, routes)
    planned: list[tuple[float, RouteShape, int, int]] = []
    for route in routes:
        draw = random.Random(f"{stretch.seed}/{route.name}")
        planned += [
            (at, route, _length(route.question_tokens, draw), _length(route.answer_tokens, draw))
            for at in arrivals(rates[route.name], stretch.window_seconds, draw)
        ]
    planned.sort(key=lambda one: (one[0], one[1].name))
    return [
        PlannedRequest(round(at, 3), route.name, number, question, answer)
        for number, (at, route, question, answer) in enumerate(planned)
    ]


def arrivals(rates: Sequence[tuple[float, float]], window_seconds: float, draw: random.Random) -> list[float]:
    """Times of arrival for (rate, CV) per window: as many as the rates say, with Gamma gaps inside each window."""
    times: list[float] = []
    carried = draw.random()  # else every quiet route would send its first request at the same moment
    for index, (rate, cv) in enumerate(rates):
        carried += rate * window_seconds
        count = int(carried)
        carried -= count
        shape = 1.0 / max(cv, 0.05) ** 2  # of a Gamma distribution: CV = 1 / sqrt(shape)
        gaps = [max(draw.gammavariate(shape, 1.0), 1e-9) for _ in range(count + 1)]
        reached, whole = 0.0, sum(gaps)
        for gap in gaps[:count]:
            reached += gap
            times.append((index + min(reached / whole, 0.999)) * window_seconds)
    return times


def load_step(rates: Mapping[str, Sequence[tuple[float, float]]], window_seconds: float) -> float:
    """When the largest rise between two windows begins, in seconds from the start: the load step of the replay."""
    count = len(next(iter(rates.values())))
    totals = [sum(route[index][0] for route in rates.values()) for index in range(count)]
    rises = [after - before for before, after in pairwise(totals)]
    return (rises.index(max(rises)) + 1) * window_seconds if rises else 0.0


def _owners(routes: Sequence[RouteShape]) -> dict[int, str]:
    owner: dict[int, str] = {}
    for route in routes:
        for client in route.clients or ():
            if client in owner:
                raise ValueError(f"client {client} is in route {owner[client]} and in route {route.name}")
            owner[client] = route.name
    return owner


def _length(mean_tokens: int, draw: random.Random) -> int:
    """A length around the mean, within a factor of two: long enough to vary, short enough to plan a demo by."""
    return max(1, round(mean_tokens * min(2.0, max(0.5, draw.lognormvariate(-0.06, 0.35)))))
