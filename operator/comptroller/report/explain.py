"""Why a pool or a policy is as it is, in one sentence per target with numbers, from what the cluster's objects say.

Objects are plain dictionaries as the API server sends them. Nothing is asked of anybody: what the operator decided
stands in the status, and what a route permits in its spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from comptroller.allocation.words import usd
from comptroller.report.explain_data import leaving_text, restricted_routes
from comptroller.report.explain_sentences import clock, else_text, entry_text, figure, gpu_text, until_text

Item = Mapping[str, Any]
Style = Callable[[str], str]

LATEST = 3  # entries of the ledger that are printed
_CHANGE = re.compile(r"^(\d+ -> \d+|Stays at \d+): ")


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled sentence: `Why   31.4 rps need 3.4 replicas.`"""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A headline with its lines, and the same as data, exact."""

    title: str
    lines: tuple[Line, ...]
    data: Mapping[str, Any]


def explain_pool(pool: Item, policies: Sequence[Item], pools: Sequence[Item], now: datetime) -> Explanation:
    """A ModelPool, with the policies and pools of its namespace. Times are told in the time zone of `now`."""
    status, name = _status(pool), pool["metadata"]["name"]
    hosted = "hosted" in (pool.get("spec") or {})
    allocation, economics = status.get("allocation") or {}, status.get("economics") or {}
    decisions = _decisions(policies, name)
    lines = [
        *_states(pool, allocation.get("reason")),
        *_labelled("Why", _why(allocation.get("message"))),
        *_labelled("Until", until_text(pool, allocation.get("bridge"), now)),
        *_labelled("Else", else_text(allocation)),
        *_labelled("GPU", None if hosted else gpu_text(status.get("modelClass"), economics)),
        *(Line("Data", text) for text in _data_of_pool(pool, policies, pools)),
        *_latest(decisions, now),
    ]
    data = {
        **_identity(pool),
        "decided": bool(allocation),
        "allocation": allocation,
        "economics": economics,
        "replicas": status.get("replicas"),
        "startupSeconds": status.get("startupSeconds"),
        "data": [one for policy in policies for one in restricted_routes(policy, pools) if name in one["backends"]],
        "decisions": decisions,
        "conditions": status.get("conditions") or [],
    }
    return Explanation(_hosted_title(status) if hosted else _local_title(allocation, now), tuple(lines), data)


def explain_policy(policy: Item, pools: Sequence[Item], now: datetime) -> Explanation:
    """A RoutingPolicy, with the pools of its namespace: one line per route."""
    status = _status(policy)
    totals, routes = status.get("totals") or {}, status.get("routes") or []
    decisions = list(status.get("decisions") or ())
    restricted = restricted_routes(policy, pools)
    lines = [
        *_states(policy, None),
        *(Line("Route", f"{one['name']}: {_undecided(one)}") for one in routes),
        *_labelled("Else", else_text(status)),
        *(Line("Data", leaving_text(one)) for one in restricted),
        *_latest(decisions, now),
    ]
    data = {
        **_identity(policy),
        "decided": bool(totals),
        "totals": totals,
        "routes": routes,
        "alternatives": status.get("alternatives") or [],
        "data": restricted,
        "decisions": decisions,
        "conditions": status.get("conditions") or [],
    }
    return Explanation(_policy_title(policy, totals), tuple(lines), data)


def as_text(explanation: Explanation, bold: Style = str, faint: Style = str) -> str:
    """The title and its lines, as the terminal shows them; without styles as a file or a pipe gets them."""
    lines = [f"  {faint(f'{one.label:<5}')} {one.text}" for one in explanation.lines]
    return "\n".join([bold(explanation.title), *lines]) + "\n"


def pool_sentences(pool: Item, now: datetime) -> str:
    """What `status.allocation.explained` says: all that is more than the reason, for people without this tool."""
    allocation, status = _status(pool).get("allocation") or {}, _status(pool)
    parts = (
        ("Until", until_text(pool, allocation.get("bridge"), now, f" {now.tzname()}")),
        ("Else", else_text(allocation)),
        ("GPU", gpu_text(status.get("modelClass"), status.get("economics") or {})),
    )
    return "\n".join(f"{label}: {text}" for label, text in parts if text)


def _identity(item: Item) -> dict[str, Any]:
    metadata = item["metadata"]
    return {"kind": item.get("kind"), "namespace": metadata.get("namespace"), "name": metadata["name"]}


def _status(item: Item) -> Item:
    return item.get("status") or {}


def _labelled(label: str, text: str | None) -> Iterator[Line]:
    if text:
        yield Line(label, text)


def _local_title(allocation: Item, now: datetime) -> str:
    desired, before = allocation.get("desired"), allocation.get("previous")
    if desired is None:
        return "Nothing is decided yet."
    was = f" (was {before})" if before is not None and before != desired else ""
    since = f" since {clock(allocation['since'], now)}" if allocation.get("since") else ""
    return f"Want {desired}{was}{since}."


def _hosted_title(status: Item) -> str:
    if not status.get("allocation"):
        return "Nothing is decided yet."
    price = figure((status.get("economics") or {}).get("usdPerMillionTokens"))
    return "A hosted API." if price is None else f"A hosted API at {usd(price)} per million tokens."


def _policy_title(policy: Item, totals: Item) -> str:
    if not totals:
        return "Nothing is decided yet."
    count = totals.get("routes", 0)
    parts = [f"{count} route{'' if count == 1 else 's'}", f"{totals.get('requestsPerSecond', '0')} rps"]
    for name, words in (
        ("inside", "{} inside"),
        ("slo", "{} within the objective"),
        ("usdPerHour", "${}/h"),
        ("usdPerTask", "${} per solved task"),
        ("saved", "{} saved against the baseline"),
    ):
        parts += [words.format(totals[name])] if name in totals else []
    return f"{policy['metadata']['name']}: {', '.join(parts)}."


def _states(item: Item, reason: str | None) -> Iterator[Line]:
    """What keeps the object from working, with the operator's own remedy; nothing while it works."""
    conditions = {one["type"]: one for one in _status(item).get("conditions") or ()}
    if not conditions:
        yield Line("State", "The operator has not looked at it yet: is it running, and does it watch this namespace?")
        return
    ready, stalled = conditions.get("Ready", {}), conditions.get("Stalled", {})
    if stalled.get("status") == "True":
        yield Line("State", f"Stalled, {stalled.get('reason')}: {stalled.get('message')}")
    elif ready.get("status") == "False" and ready.get("reason") != reason:
        yield Line("State", f"Not ready, {ready.get('reason')}: {ready.get('message')}")
    for kind, bad in (("MetricsAvailable", "False"), ("CapacityAvailable", "False"), ("Paused", "True")):
        one = conditions.get(kind, {})
        if one.get("status") == bad and one.get("message") not in (ready.get("message"), stalled.get("message")):
            yield Line("State", str(one.get("message")))


def _why(message: Any) -> str | None:
    """The decision's sentence without the counts, which the title has."""
    if not message:
        return None
    text = _CHANGE.sub("", str(message))
    return text[:1].upper() + text[1:]


def _undecided(route: Item) -> str:
    return str(route.get("message") or "nothing is decided yet")


def _data_of_pool(pool: Item, policies: Sequence[Item], pools: Sequence[Item]) -> Iterator[str]:
    name = pool["metadata"]["name"]
    for policy in policies:
        for route in restricted_routes(policy, pools):
            if name in route["backends"]:
                yield leaving_text(route)


def _decisions(policies: Sequence[Item], pool: str) -> list[Item]:
    """The newest entries of the ledger that speak of a pool, each once."""
    named = re.compile(rf"(^|(?<!Route) ){re.escape(pool)}: ")
    found = {
        str(one.get("id")): one
        for policy in policies
        for one in _status(policy).get("decisions") or ()
        if named.search(str(one.get("message")))
    }
    return sorted(found.values(), key=lambda one: str(one.get("at")), reverse=True)


def _latest(decisions: Sequence[Item], now: datetime) -> Iterator[Line]:
    yield from (Line("Last", entry_text(one, now)) for one in decisions[:LATEST])
