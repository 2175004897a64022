"""From a distribution for each route to a few scenarios for all of them.

Each route's distribution is cut into as many equally likely slices as there are scenarios, and each slice is
represented by its mean: so a route's scenarios have exactly the mean of its distribution. Which slices fall together is
taken from moments of the past: where two routes rose together, their high slices meet in one scenario. The moments are
chosen so that their totals represent what the whole fleet may ask for.
"""

from __future__ import annotations

import math

import numpy as np

from comptroller.learning.demand_log import Floats, Minutes

FINE_SLICES = 32  # of which the totals of past moments are made
ATTEMPTS = 12  # at choosing the moments
GOLDEN, SILVER = 0.6180339887, 0.7548776662  # spread attempts evenly without chance


def slice_means(demands: Floats, weight: Floats, *slices: int) -> list[Floats]:
    """Means of equally likely slices, lowest first, for each number of slices: [route, slice].

    `demands` are sorted, weights sum to 1. For 10, 20 and 30 with weights 1/4, 1/2, 1/4 and two slices: 15 and 25.
    """
    routes, places = demands.shape
    below = np.cumsum(weight, axis=1)
    below /= below[:, -1:]
    total = np.cumsum(weight * demands, axis=1)
    # one search for all routes: each has its own stretch of the number line
    stretch = 2.0 * np.arange(routes)[:, None]
    bounds = np.concatenate([np.arange(1, number) / number for number in slices])
    found = np.searchsorted((below + stretch).ravel(), (bounds + stretch).ravel())
    row = np.arange(routes)[:, None]
    place = np.clip(found.reshape(routes, bounds.size) - places * row, 0, places - 1)
    before, first = np.maximum(place - 1, 0), place == 0
    mass = np.where(first, 0.0, below[row, before])
    sums = np.where(first, 0.0, total[row, before]) + (bounds - mass) * demands[row, place]
    means = []
    for number in slices:
        own, sums = sums[:, : number - 1], sums[:, number - 1 :]
        edges = np.concatenate([np.zeros((routes, 1)), own, total[:, -1:]], axis=1)
        rising = np.maximum.accumulate(np.diff(edges, axis=1) * number, axis=1)
        means.append(np.clip(rising, demands[:, :1], demands[:, -1:]))
    return means


def joint_scenarios(demands: Floats, weight: Floats, rank: Minutes, worth: Floats, count: int) -> Floats:
    """Equally likely scenarios: [route, scenario].

    `rank` tells for each route and past moment (in order of time) the place of its change among all; `worth` weighs the
    routes in the total. There must be at least as many moments as scenarios.
    """
    # only their ratios count: by a power of two, which changes no digit, so that no square is beyond all numbers
    worth = np.ldexp(worth, -np.frexp(np.abs(worth).max(initial=0.0))[1])
    fine, slices = slice_means(demands, weight, FINE_SLICES, count)
    places = rank.shape[1]
    totals = worth @ np.take_along_axis(fine, rank * FINE_SLICES // places, axis=1)
    by_total = np.argsort(totals, kind="stable")
    edges = np.arange(count + 1) * places // count
    wanted = np.add.reduceat(totals[by_total], edges[:-1]) / np.diff(edges)
    best, least = slices, math.inf
    for attempt in range(ATTEMPTS):
        # one moment out of each equally likely part of the totals; the first attempt takes the middles
        within = (0.5 + attempt * (GOLDEN + SILVER * np.arange(count))) % 1.0
        moments = by_total[edges[:-1] + (within * np.diff(edges)).astype(np.int64)]
        turn = np.argsort(np.argsort(rank[:, moments], axis=1, kind="stable"), axis=1, kind="stable")
        found = np.take_along_axis(slices, turn, axis=1)
        apart = float(np.sum((np.sort(worth @ found) - wanted) ** 2))
        if apart < least:
            best, least = found, apart
    return best
