"""Single requests become clients with windows: what files of requests share.

A file of one service has no clients, so its requests are dealt to pseudo-clients. Each gets its own rate, burstiness
and lengths per window of a minute; the simulator then draws arrivals with these, so that any seed and load can be run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from comptroller.sim.trace import ClientTrace, Trace, TraceError

Floats = npt.NDArray[np.float64]

WINDOW_SECONDS = 60.0
FEWEST_GAPS = 8
"""With fewer gaps in a window their variation says nothing: Poisson."""


def windowed(
    name: str,
    form: str,
    start_seconds: float,
    seconds: Floats,
    input_tokens: Floats,
    output_tokens: Floats,
    client_of: Sequence[int],
    reuse_of: Callable[[int], Callable[[float, float], float] | None],
) -> Trace:
    """The trace of requests that arrived `seconds` after the first one, dealt to clients."""
    if len(seconds) == 0:
        raise TraceError("there is no request in it")
    windows = max(1, int(np.ceil((float(seconds.max()) + 1e-9) / WINDOW_SECONDS)))
    owners = np.asarray(client_of)
    clients = []
    for number in sorted(set(client_of)):
        mine = owners == number
        rates, cvs = _rates(np.sort(seconds[mine]), windows)
        clients.append(
            ClientTrace(
                name,
                f"{number:03d}",
                rates,
                cvs,
                np.zeros(windows, dtype=np.int8),
                max(1.0, float(input_tokens[mine].mean())),
                max(1.0, float(output_tokens[mine].mean())),
                reuse_of(number),
            )
        )
    return Trace(form, start_seconds, WINDOW_SECONDS, windows, tuple(clients), {})


def _rates(times: Floats, windows: int) -> tuple[Floats, Floats]:
    index = np.minimum((times / WINDOW_SECONDS).astype(np.int64), windows - 1)
    counts = np.bincount(index, minlength=windows).astype(np.float64)
    cvs = np.full(windows, np.nan)
    for window in np.flatnonzero(counts > FEWEST_GAPS):
        gaps = np.diff(times[index == window])
        mean = float(gaps.mean())
        if mean > 0:
            cvs[window] = float(gaps.std()) / mean
    return counts / WINDOW_SECONDS, cvs


def dealt(keys: Sequence[object], clients: int) -> npt.NDArray[np.int64]:
    """A client for each key, the same in every run: equal keys share a client."""
    import zlib

    return np.array([zlib.crc32(str(one).encode()) % max(clients, 1) for one in keys], dtype=np.int64)
