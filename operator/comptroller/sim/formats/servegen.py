"""ServeGen windows: `model, client, window_start_seconds, rate_rps, interarrival_cv, arrival_family, mean_..._tokens`.

One row per client and window with traffic. A window without a row had no traffic, but a window without a row of any
client of a model is a gap of the recording: there each client goes on with the mean of the windows before and after.
Token counts that a row lacks come from the client's other rows; a client without any is not used: what its requests
cost cannot be known.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from comptroller.sim.trace import WEIBULL, ClientTrace, Trace, TraceError

Floats = npt.NDArray[np.float64]

COLUMNS = frozenset({"model", "client", "window_start_seconds", "rate_rps", "interarrival_cv", "arrival_family"})
USUAL_WINDOW_SECONDS = 600.0


def parse(text: str) -> Trace:
    """Raises `TraceError` for a file without a usable row."""
    rows: dict[tuple[str, str], list[tuple[float, float, float, int]]] = defaultdict(list)
    tokens: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        try:
            key = (row["model"], row["client"])
            cv = float(row["interarrival_cv"] or "nan")
            family = WEIBULL if (row["arrival_family"] or "").strip().lower() == "weibull" else 0
            rows[key].append((float(row["window_start_seconds"]), float(row["rate_rps"]), cv, family))
            told = (row.get("mean_input_tokens") or "", row.get("mean_output_tokens") or "")
            if all(told):
                tokens[key].append((float(told[0]), float(told[1])))
        except (TypeError, ValueError) as error:
            raise TraceError(f"line {line}: {error}") from error
    if not rows:
        raise TraceError("there is no row in it")
    starts = sorted({start for found in rows.values() for start, *_ in found})
    window = min((b - a for a, b in pairwise(starts)), default=USUAL_WINDOW_SECONDS)
    windows = round((starts[-1] - starts[0]) / window) + 1
    recorded = _recorded(rows, starts[0], window, windows)
    clients = [
        _client(key, found, tokens[key], starts[0], window, recorded[key[0]])
        for key, found in sorted(rows.items())
        if tokens[key]
    ]
    untold = Counter(model for model, client in rows if not tokens[model, client])
    return Trace("ServeGen windows", starts[0], window, windows, tuple(clients), dict(untold))


def _recorded(
    rows: dict[tuple[str, str], list[tuple[float, float, float, int]]], first: float, window: float, windows: int
) -> dict[str, npt.NDArray[np.bool_]]:
    """By model: which windows have a row of any of its clients."""
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for (model, _), of_client in rows.items():
        mask = found.setdefault(model, np.zeros(windows, dtype=np.bool_))
        mask[[round((start - first) / window) for start, *_ in of_client]] = True
    return found


def _client(
    key: tuple[str, str],
    rows: Sequence[tuple[float, float, float, int]],
    tokens: Sequence[tuple[float, float]],
    first: float,
    window: float,
    recorded: npt.NDArray[np.bool_],
) -> ClientTrace:
    rates, cvs = np.zeros(len(recorded)), np.ones(len(recorded))
    families = np.zeros(len(recorded), dtype=np.int8)
    for start, rate, cv, family in rows:
        index = round((start - first) / window)
        rates[index], cvs[index], families[index] = max(rate, 0.0), cv, family
    _bridge(rates, cvs, families, recorded)
    means = np.mean(np.array(tokens), axis=0)
    return ClientTrace(key[0], key[1], rates, cvs, families, max(1.0, float(means[0])), max(1.0, float(means[1])))


def _bridge(rates: Floats, cvs: Floats, families: npt.NDArray[np.int8], recorded: npt.NDArray[np.bool_]) -> None:
    """Fills the gaps of the recording, in place."""
    there = np.flatnonzero(recorded)
    for index in np.flatnonzero(~recorded):
        after = int(np.searchsorted(there, index))
        near = [int(there[i]) for i in (after - 1, after) if 0 <= i < len(there)]
        rates[index] = float(np.mean(rates[near]))
        cvs[index], families[index] = cvs[near[0]], families[near[0]]
