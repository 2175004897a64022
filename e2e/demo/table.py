"""The live table: what is asked, what the fleet has and wants, who answers, what it costs.

On a terminal it is redrawn in place; elsewhere (a log of a build) a plain line is printed every ten seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from e2e.demo.observe import Observation, PoolView
from e2e.demo.results import Result

PLAIN_EVERY_SECONDS = 10.0
RECENT_SECONDS = 10.0
BAR_WIDTH = 40


def header(phase: str, at: float, total: float) -> str:
    """`replay  [########............]  62 s of 195 s`."""
    done = max(0.0, min(1.0, at / total)) if total else 0.0
    filled = round(done * BAR_WIDTH)
    return f"{phase}  [{'#' * filled}{'.' * (BAR_WIDTH - filled)}]  {max(at, 0):.0f} s of {total:.0f} s"


def plain(seen: Observation, results: Sequence[Result]) -> str:
    """One line for a log."""
    pools = "  ".join(f"{pool.name} {pool.ready}/{pool.desired}" for pool in seen.local)
    money = "?" if seen.usd_per_hour is None else f"{seen.usd_per_hour:.3g}"
    recent = _recent(results, seen.at)
    errors = sum(not one.answered for one in results)
    return (
        f"{seen.at:5.0f} s  {seen.demand:4.1f} rps  {pools}  outside {_ratio(recent)}  ${money}/h  "
        f"{len(results)} answered, {errors} errors"
    )


def picture(title: str, seen: Observation, results: Sequence[Result]) -> RenderableType:
    """The table of one moment."""
    recent = _recent(results, seen.at)
    pools = Table(expand=False, pad_edge=False, box=None, header_style="bold")
    for name in ("POOL", "CLASS", "WANT", "READY", "WARM", "RPS", "ANSWERED", "$/H", "WHY"):
        pools.add_column(name, justify="left" if name in ("POOL", "CLASS", "WHY") else "right", no_wrap=True)
    for pool in seen.pools:
        answered = sum(one.pool == pool.name for one in recent)
        pools.add_row(*_pool_row(pool, answered / RECENT_SECONDS))
    routes = Table(expand=False, pad_edge=False, box=None, header_style="bold")
    for name in ("ROUTE", "RPS", "SPILL", "PLAN"):
        routes.add_column(name, justify="right" if name in ("RPS", "SPILL") else "left", no_wrap=True)
    for route in seen.routes:
        plan = "  ".join(f"{pool} {share:.0%}" for pool, share in sorted(route.shares.items()) if share > 0)
        spill = "-" if route.spill_ratio is None else f"{route.spill_ratio:.0%}"
        rate = seen.arrivals.get(route.name, route.requests_per_second or 0.0)
        routes.add_row(route.name, f"{rate:.1f}", spill, plan)
    errors = sum(not one.answered for one in results)
    money = "?" if seen.usd_per_hour is None else f"${seen.usd_per_hour:.3g}/h planned"
    foot = (
        f"{seen.demand:.1f} rps asked · {_ratio(recent)} of the last {RECENT_SECONDS:.0f} s answered outside · "
        f"{money} · ${seen.hosted_usd:.4f} charged by APIs · {len(results)} requests, {errors} errors"
    )
    return Group(Text(title, style="bold"), Text(), pools, Text(), routes, Text(), Text(foot))


class Screen:
    """Shows observations as they come."""

    def __init__(self, console: Console, phase: str, total_seconds: float) -> None:
        self._console = console
        self._phase = phase
        self._total = total_seconds
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._next_line = -1e9

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def show(self, seen: Observation, results: Sequence[Result]) -> None:
        if self._live:
            self._live.update(picture(header(self._phase, seen.at, self._total), seen, results), refresh=True)
        elif seen.at >= self._next_line:
            self._next_line = seen.at + PLAIN_EVERY_SECONDS
            self._console.print(plain(seen, results), soft_wrap=True, highlight=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()


def _pool_row(pool: PoolView, answered_per_second: float) -> tuple[str, ...]:
    warm = "-" if pool.warm is None else str(pool.warm)
    counts = ("-", "-", "-") if pool.hosted else (str(pool.desired), str(pool.ready), warm)
    planned = "-" if pool.requests_per_second is None else f"{pool.requests_per_second:.1f}"
    money = "-" if pool.usd_per_hour is None else f"{pool.usd_per_hour:.3f}"
    return (pool.name, pool.gpu_class, *counts, planned, f"{answered_per_second:.1f}", money, pool.reason)


def _recent(results: Sequence[Result], at: float) -> list[Result]:
    """Answers that arrived in the last seconds. Results come in order of arrival: a look at the tail is enough."""
    return [one for one in results[-200:] if one.answered and at - RECENT_SECONDS <= one.at + one.seconds]


def _ratio(results: Sequence[Result]) -> str:
    return f"{sum(one.hosted for one in results) / len(results):.0%}" if results else "-"
