"""Recorded demand of routes as a file: what `comptroller plan` replays, and a repository can keep beside its policies.

One row per route and window: `window_start,policy,route,requests_per_second,input_tokens,output_tokens,cached_ratio`.
Times are ISO in UTC; token counts are means of the whole record, for they change slowly. No prompt, no key, no client.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

COLUMNS = ("window_start", "policy", "route", "requests_per_second", "input_tokens", "output_tokens", "cached_ratio")


@dataclass(frozen=True, slots=True)
class RouteWindow:
    """What one route was asked in one window. `policy` is namespace/name; `cached_ratio` the share of its prompt tokens
    that was found in a cache."""

    start_seconds: float
    policy: str
    route: str
    requests_per_second: float
    input_tokens: float
    output_tokens: float
    cached_ratio: float = 0.0


def as_csv(windows: Iterable[RouteWindow]) -> str:
    """The file, oldest first."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for one in sorted(windows, key=lambda one: (one.start_seconds, one.policy, one.route)):
        at = datetime.fromtimestamp(one.start_seconds, UTC).isoformat().replace("+00:00", "Z")
        numbers = (one.requests_per_second, one.input_tokens, one.output_tokens, one.cached_ratio)
        rows.writerow([at, one.policy, one.route, *(f"{number:.6g}" for number in numbers)])
    return out.getvalue()


def from_csv(text: str) -> list[RouteWindow]:
    """The rows of a file. Raises `ValueError` with the line that cannot be read."""
    found = []
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        try:
            found.append(
                RouteWindow(
                    datetime.fromisoformat(row["window_start"]).timestamp(),
                    row["policy"],
                    row["route"],
                    max(0.0, float(row["requests_per_second"])),
                    max(1.0, float(row["input_tokens"])),
                    max(1.0, float(row["output_tokens"])),
                    min(1.0, max(0.0, float(row.get("cached_ratio") or 0.0))),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {line}: {error}") from error
    return found
