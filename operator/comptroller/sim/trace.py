"""Demand as it was recorded: who asked, how often, how burstily, and with which lengths.

A `Trace` is neutral: `formats/` makes one out of a file, whatever its format. Rates are constant within a window.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DAY_SECONDS = 86400.0
WEIBULL = 1
"""The mark of a Weibull window in `ClientTrace.families`; everything else is Gamma."""


class TraceError(ValueError):
    """A demand file that cannot be used; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True, slots=True)
class ClientTrace:
    """One client. Arrays have one entry per window; a CV that is not a number means Poisson arrivals."""

    trace: str  # the model or the file that it belongs to
    client: str
    requests_per_second: Floats
    cvs: Floats
    families: npt.NDArray[np.int8]
    input_tokens: float
    output_tokens: float
    reuse: Callable[[float, float], float] | None = None
    """Which share of its prompt tokens a cache still holds, by (lifetime in seconds, share of its requests that reach
    that cache); None: nothing is known of its prefixes."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A demand file. Window i spans `window_seconds` from `start_seconds + i window_seconds`, counted from midnight of
    the file's day 0. `untold` names clients without any token counts, by model: they cannot become routes."""

    format: str
    start_seconds: float
    window_seconds: float
    windows: int
    clients: tuple[ClientTrace, ...]
    untold: Mapping[str, int]

    @property
    def end_seconds(self) -> float:
        return self.start_seconds + self.windows * self.window_seconds

    def days(self) -> tuple[int, ...]:
        """The numbers of the days that the file has windows of."""
        first = int(self.start_seconds // DAY_SECONDS)
        last = int(np.ceil(self.end_seconds / DAY_SECONDS))
        return tuple(range(first, last))


def read_trace(path: Path, pseudo_clients: int) -> Trace:
    """Reads a demand file, packed or not. The format is found by the content, never by the name.

    `pseudo_clients` is into how many clients a file of single requests is split. Raises `TraceError`.
    """
    from comptroller.sim.formats import azure, mooncake, routes, servegen

    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        text = content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise TraceError(
            f"{path}: there is no such file. Name a csv or jsonl file in demand.file, or with --demand"
        ) from error
    except (OSError, EOFError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TraceError(
            f"{path}: cannot be read: {reason}. Give a csv or jsonl file, packed with gzip or not"
        ) from error
    if not text.strip():
        raise TraceError(f"{path}: is empty. Give a csv or jsonl file of demand")
    first = text.lstrip()[:100_000].splitlines()[0]
    names = [one.strip().lower() for one in first.split(",")]
    try:
        if servegen.COLUMNS.issubset(names):
            return servegen.parse(text)
        if azure.COLUMNS.issubset(names):
            return azure.parse(text, pseudo_clients)
        if routes.COLUMNS.issubset(names):
            return routes.parse(text)
        if first.startswith("{") and mooncake.FIELDS.issubset(json.loads(first)):
            return mooncake.parse(text, pseudo_clients)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TraceError(f"{path}: a line cannot be read: {error}") from error
    raise TraceError(
        f"{path}: the format is not known (its first line: {first[:80]!r}). Known are ServeGen windows "
        f"({', '.join(sorted(servegen.COLUMNS))}), recorded routes ({', '.join(sorted(routes.COLUMNS))}), "
        f"Azure requests ({', '.join(sorted(azure.COLUMNS))}) and Mooncake "
        f"requests as JSON lines ({', '.join(sorted(mooncake.FIELDS))})"
    )
