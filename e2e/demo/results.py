"""What the clients saw: one line of the load generator per request, as a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """One request that has ended. Times are seconds since the start of the replay."""

    number: int
    route: str
    at: float
    status: int
    seconds: float
    first_token_seconds: float | None = None
    pool: str | None = None  # None: nobody answered, or the router did not say who
    hosted: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    error: str = ""

    @property
    def answered(self) -> bool:
        return self.status == 200


def result(line: Mapping[str, Any], hosted_by_pool: Mapping[str, bool]) -> Result:
    """One line of the load generator. The pool is found by its name in what the router says who answered."""
    pool = pool_of(line.get("backend") or "", hosted_by_pool)
    return Result(
        number=int(line["number"]),
        route=line["route"],
        at=float(line["at"]),
        status=int(line["status"]),
        seconds=float(line["seconds"]),
        first_token_seconds=line.get("first_token_seconds"),
        pool=pool,
        hosted=hosted_by_pool.get(pool or "", False),
        input_tokens=int(line.get("input_tokens") or 0),
        output_tokens=int(line.get("output_tokens") or 0),
        error=line.get("error") or "",
    )


def pool_of(backend: str, pools: Iterable[str]) -> str | None:
    """`"inference/qwen3-8b/extraction"` is qwen3-8b: the longest pool name that is a whole part of the identifier."""
    parts = set(backend.replace("|", "/").replace(":", "/").split("/"))
    matching = [name for name in pools if name in parts] or [name for name in pools if name in backend]
    return max(matching, key=len, default=None)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the values lie; None of nothing. `percentile([1, 2, 3, 4], 0.5)` is 2."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))]
