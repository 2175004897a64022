"""What a run has measured, as the pod's termination message carries it to the operator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

LONGEST_BYTES = 4096
"""Kubelet cuts a termination message there, and a cut JSON text is none."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One prefix. Times are to the first token; `cold_ms` is None where a saved cache was restored instead."""

    name: str
    tokens: int
    cold_ms: int | None
    warm_ms: int
    hit_ratio: float


@dataclass(frozen=True, slots=True)
class Result:
    """One run. `wrong`: the request itself was refused, so that another try is useless. The token counts are those of
    all its requests, which the engine's counters hold too."""

    prefixes: tuple[Measured, ...]
    warm: bool
    error: str = ""
    wrong: bool = False
    digest: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0


def as_json(result: Result) -> str:
    """JSON of at most 4 KiB: `{"prefixes": [...], "warm": true, "error": ""}`. A long error is cut, never the
    numbers."""
    content = {
        "prefixes": [
            {
                "name": one.name,
                "tokens": one.tokens,
                "cold_ms": one.cold_ms,
                "warm_ms": one.warm_ms,
                "hit_ratio": round(one.hit_ratio, 4),
            }
            for one in result.prefixes
        ],
        "warm": result.warm,
        "digest": result.digest,
        "prompt_tokens": result.prompt_tokens,
        "cached_tokens": result.cached_tokens,
        "error": "",
    }
    room = LONGEST_BYTES - len(json.dumps(content))
    error = result.error.encode("ascii", "replace").decode()
    while len(json.dumps(error)) - 2 > room:
        error = error[: len(error) - 32]
    return json.dumps(content | {"error": error})


def write_result(path: Path, result: Result) -> None:
    """Writes the result in one go."""
    path.write_text(as_json(result), encoding="utf-8")
