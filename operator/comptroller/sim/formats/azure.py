"""Azure LLM inference trace 2023: `TIMESTAMP, ContextTokens, GeneratedTokens`, one row per request.

The file has no clients: requests are dealt to pseudo-clients by a hash of their index, which thins the stream without
making it more regular.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import numpy as np

from comptroller.sim.formats.requests import dealt, windowed
from comptroller.sim.trace import DAY_SECONDS, Trace, TraceError

COLUMNS = frozenset({"timestamp", "contexttokens", "generatedtokens"})


def parse(text: str, pseudo_clients: int) -> Trace:
    """Day 0 is the day of the first request. Raises `TraceError` for a line that cannot be read."""
    seconds, inputs, outputs = [], [], []
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        cells = {(name or "").strip().lower(): value for name, value in row.items()}
        try:
            seconds.append(_moment(cells["timestamp"]))
            inputs.append(float(cells["contexttokens"]))
            outputs.append(float(cells["generatedtokens"]))
        except (TypeError, ValueError, AttributeError) as error:
            raise TraceError(f"line {line}: {error}") from error
    if not seconds:
        raise TraceError("there is no request in it")
    times = np.array(seconds) - min(seconds)
    return windowed(
        "azure",
        "Azure requests",
        min(seconds) % DAY_SECONDS // 60.0 * 60.0,
        times,
        np.array(inputs),
        np.array(outputs),
        [int(one) for one in dealt(range(len(seconds)), pseudo_clients)],
        lambda _: None,
    )


def _moment(text: str) -> float:
    """Seconds of `2023-11-16 18:15:46.6805900`: seven digits after the point, one more than Python reads."""
    whole, _, fraction = text.strip().partition(".")
    at = datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
    digits = fraction.split("+")[0].rstrip("Z")
    return at + (float(f"0.{digits}") if digits else 0.0)
