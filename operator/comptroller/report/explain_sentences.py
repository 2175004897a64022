"""The sentences of an explanation, each from the numbers of a status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from comptroller.allocation.words import listed, number, usd

Item = Mapping[str, Any]

LONGEST_ENTRY = 200
_DATE = "%Y-%m-%d %H:%M:%S"


def until_text(pool: Item, bridge: Item | None, now: datetime, zone: str = "") -> str | None:
    """Until when, after which start-up, what spills where at which cost. `zone` is said after the time."""
    if not bridge:
        return None
    measured = (pool.get("status") or {}).get("startupSeconds")
    declared = ((pool.get("spec") or {}).get("local") or {}).get("startupSeconds", 180)
    took = (
        f"start-up {_duration(measured)} measured"
        if measured is not None
        else f"start-up {_duration(declared)} assumed"
    )
    until = f"{clock(bridge['readyAt'], now, seconds=False)}{zone}" if bridge.get("readyAt") else "a GPU is free"
    rate, money = figure(bridge.get("requestsPerSecond")) or 0.0, figure(bridge.get("usdPerHour")) or 0.0
    if rate <= 0.0:
        return f"{until} ({took}) nothing spills."
    return f"{until} ({took}) {number(rate)} rps spill to {listed(list(bridge.get('pools') or ()))}: {usd(money)}/h."


def else_text(holder: Item) -> str | None:
    """The two best alternatives with what they would cost more. `holder` has them, and the counts of a pool."""
    sentences = []
    desired, before = holder.get("desired"), holder.get("previous")
    for one in sorted(holder.get("alternatives") or (), key=lambda one: str(one.get("name")), reverse=True):
        more, lost = figure(one.get("moreUsdPerHour")), figure(one.get("unansweredRequestsPerSecond")) or 0.0
        if more is None:
            continue
        name = str(one.get("name"))
        if name == "previous plan":
            if abs(more) < 0.005 and lost <= 0.0:
                continue  # nothing changes: staying is what is done
            name = f"stay at {before} and spill on" if before not in (None, desired) else "keep the previous plan"
        sentences.append(f"{name[:1].upper()}{name[1:]}: {_difference(more, lost)}.")
    return " ".join(sentences) or None


def _difference(more: float, lost: float) -> str:
    text = f"{usd(abs(more))}/h {'more' if more >= 0.0 else 'less'}"
    return f"{text}, and nobody would answer {number(lost)} rps" if lost > 0.0 else text


def gpu_text(name: str | None, economics: Item) -> str | None:
    """What one more GPU is worth, what owning it costs, when it has earned its price; None where that is unknown."""
    worth, owning = (figure(economics.get(key)) for key in ("shadowPriceUsdPerGpuHour", "owningUsdPerGpuHour"))
    days = figure(economics.get("paybackDays"))
    if worth is None or not name:
        return None
    text = f"One more {name} here would be worth {f'{usd(worth)}/h' if worth >= 0.005 else 'nothing now'}"
    if owning is None:
        return f"{text}."
    text = f"{text}; owning one costs {usd(owning)}/h"
    if worth < 0.005:
        return f"{text}."
    return f"{text}: pays back in {number(days)} days." if days is not None else f"{text}: it never pays back."


def entry_text(entry: Item, now: datetime) -> str:
    """An entry of the ledger: when, which, what, and what its interval cost against what was predicted."""
    words = str(entry.get("message"))
    words = words if len(words) <= LONGEST_ENTRY else f"{words[:LONGEST_ENTRY].rstrip()}…"
    predicted, spent = figure(entry.get("usdPerHour")), figure(entry.get("realisedUsdPerHour"))
    cost = [] if predicted is None else [f"{usd(predicted)}/h predicted"]
    cost += [] if spent is None else [f"{usd(spent)}/h spent"]
    text = f"{clock(entry['at'], now)} #{entry.get('id')} {words}"
    return f"{text} ({', '.join(cost)})" if cost else text


def figure(value: Any) -> float | None:
    """A decimal string of a status as a number; None for what is not known."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def clock(text: str, now: datetime, *, seconds: bool = True) -> str:
    """`14:02:30` for today in the time zone of `now`, with the date for any other day."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(now.tzinfo)
    except ValueError:
        return text
    if moment.date() != now.date():
        return moment.strftime(_DATE)
    return moment.strftime("%H:%M:%S" if seconds else "%H:%M")


def _duration(seconds: float) -> str:
    """`2m40s`, `45s`, `1h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s" if rest else f"{minutes}m"
    return f"{minutes // 60}h{minutes % 60:02}m"
