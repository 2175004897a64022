"""Mooncake requests as JSON lines: `timestamp` [ms], `input_length`, `output_length`, `hash_ids` (512-token blocks).

Requests are dealt to pseudo-clients by the first block that tells conversations apart. The blocks say which part of a
prompt a cache still holds: all leading blocks that a request of the same client left there within the lifetime.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from comptroller.sim.formats.requests import dealt, windowed
from comptroller.sim.trace import Trace, TraceError

FIELDS = frozenset({"timestamp", "input_length", "output_length", "hash_ids"})
BLOCK_TOKENS = 512
COMMON_RATIO = 0.2
"""A first block that so many requests share is a system prompt and tells nobody apart."""

Requests = Sequence[tuple[float, Sequence[int]]]


def parse(text: str, pseudo_clients: int) -> Trace:
    """Raises `TraceError` for a line that cannot be read."""
    seconds, inputs, outputs, blocks = [], [], [], []
    for line, one in enumerate(text.splitlines(), 1):
        if not one.strip():
            continue
        try:
            row = json.loads(one)
            seconds.append(float(row["timestamp"]) / 1000.0)
            inputs.append(float(row["input_length"]))
            outputs.append(float(row["output_length"]))
            blocks.append(tuple(int(block) for block in row["hash_ids"]))
        except (KeyError, TypeError, ValueError) as error:
            raise TraceError(f"line {line}: {error}") from error
    if not seconds:
        raise TraceError("there is no request in it")
    times = np.array(seconds) - min(seconds)
    often = Counter(block for hashes in blocks for block in hashes)
    owners = dealt([_telling(hashes, often, len(blocks)) for hashes in blocks], pseudo_clients)

    def reuse_of(number: int) -> Callable[[float, float], float]:
        mine = np.flatnonzero(owners == number)
        order = mine[np.argsort(times[mine], kind="stable")]
        return reuse([(float(times[i]), blocks[i]) for i in order], np.array([inputs[i] for i in order]))

    return windowed(
        "mooncake",
        "Mooncake requests",
        0.0,
        times,
        np.array(inputs),
        np.array(outputs),
        [int(o) for o in owners],
        reuse_of,
    )


def _telling(hashes: Sequence[int], often: Counter[int], requests: int) -> int:
    for block in hashes:
        if often[block] < COMMON_RATIO * requests:
            return block
    return -1


def reuse(requests: Requests, input_tokens: npt.NDArray[np.float64]) -> Callable[[float, float], float]:
    """The share of prompt tokens found, by lifetime [s] and share of the requests that reach the cache.

    Every hit renews the lifetime, as hosted caches do. The requests that reach a cache with share 1/k are every k-th of
    a fixed shuffle: single requests, not whole conversations, which is how weights divide them.
    """

    @lru_cache(maxsize=256)
    def ratio(lifetime_seconds: float, share: float) -> float:
        if share <= 0 or lifetime_seconds <= 0 or not requests:
            return 0.0
        reaches = np.random.default_rng(0).random(len(requests)) < share
        seen: dict[int, float] = {}
        hit = total = 0.0
        for (at, hashes), tokens, mine in zip(requests, input_tokens, reaches, strict=True):
            if not mine:
                continue
            found = 0
            for block in hashes:
                if seen.get(block, -1e18) < at - lifetime_seconds:
                    break
                found += 1
            hit += min(tokens, found * BLOCK_TOKENS)
            total += tokens
            seen.update(dict.fromkeys(hashes, at))
        return hit / total if total else 0.0

    def rounded(lifetime_seconds: float, share: float) -> float:
        return ratio(lifetime_seconds, round(min(max(share, 0.0), 1.0) * 20) / 20)

    return rounded
