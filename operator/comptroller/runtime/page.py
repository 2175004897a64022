"""The page of the operator: what it shows, gathered from what the process knows, and the answers to a browser.

Read-only, off by default. It names pools, routes, tenants and nodes; no prompt, no answer and no key,
for the operator has none.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from comptroller import __version__
from comptroller.allocation.ledger import Entry
from comptroller.allocation.snapshot import LocalPool, Sample
from comptroller.kube.resources import MODEL_POOL, OWNED_BY_USERS, ROUTING_POLICY, KubeDict, key_of
from comptroller.observe.node_map import GpuNode, node_map
from comptroller.report.explain import explain_pool
from comptroller.report.page import page_html, page_parts
from comptroller.runtime.books import Books
from comptroller.runtime.clock import monotonic_seconds, now_seconds, timestamp
from comptroller.runtime.hours import Hours
from comptroller.runtime.ledger import Ledger, usd_per_hour_spent
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.state import Picture

KEPT_SECONDS = 1.0
MOST_POOLS = 100
MOST_NODES = 200  # of one GPU class
MOST_DECISIONS = 12
MOST_PROBLEMS = 10
SENTENCES = ("State", "Why", "Until", "Else", "GPU", "Data")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def content_security_policy(nonce: str) -> str:
    """Nothing from elsewhere; of scripts and styles only those that carry the nonce of this answer."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@dataclass(slots=True)
class Page:
    """The page and its data."""

    context: Context
    hours: Hours
    ledger: Ledger
    books: Books = field(init=False)
    _kept: dict[str, Any] = field(init=False, default_factory=dict)
    _kept_seconds: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.books = Books(self.context.store, self.context.settings)

    def routes(self) -> list[web.RouteDef]:
        """What the server answers."""
        return [web.get("/", self._html), web.get("/page.json", self._json)]

    async def close(self) -> None:
        """Ends what is being read."""
        await self.books.close()

    async def _html(self, request: web.Request) -> web.Response:
        """The page; with `?parts` only what is read, for a page that is open already."""
        nonce = secrets.token_urlsafe(18)
        headers = HEADERS | {"Content-Security-Policy": content_security_policy(nonce)}
        text = page_parts(self.fresh()) if "parts" in request.query else page_html(self.fresh(), nonce)
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _json(self, _: web.Request) -> web.Response:
        headers = HEADERS | {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        return web.json_response(self.fresh(), headers=headers)

    def fresh(self) -> dict[str, Any]:
        """The data, at most a second old: however many look, the loop's time goes to decisions."""
        if self._kept_seconds is None or monotonic_seconds() - self._kept_seconds > KEPT_SECONDS:
            self._kept, self._kept_seconds = self.data(), monotonic_seconds()
        return self._kept

    def data(self) -> dict[str, Any]:
        """All that the page shows, exact. Money is in US dollars; rates are requests per second."""
        now, picture = now_seconds(), self.context.state.picture
        found: dict[str, Any] = {"version": __version__, "at": timestamp(now), "atSeconds": now}
        if picture is None:
            return found
        decision, points = picture.decision, self.hours.all()
        return found | {
            "decision": {"number": picture.number, "rung": decision.rung, "ageSeconds": now - picture.at_seconds},
            "usdPerHour": decision.usd_per_hour,
            "problems": self._problems(picture),
            "gpus": self._gpus(picture),
            "hours": [[one.at_seconds, one.inside, one.spilled, one.unanswered, one.usd_per_hour] for one in points],
            "routes": _routes(picture),
            **self._pools(picture, now),
            "money": self.books.shown(),
            "budgets": [one for item in self.context.store.all(ROUTING_POLICY) for one in _budgets(item)],
            "decisions": self._decisions(),
        }

    def _problems(self, picture: Picture) -> list[str]:
        """What is not as it should be: unknown measurements, and objects that cannot be acted upon."""
        found = sorted(set(picture.decision.unknowns.values()))
        for resource in OWNED_BY_USERS:
            for item in self.context.store.all(resource):
                for one in (item.get("status") or {}).get("conditions") or ():
                    if one.get("type") == "Stalled" and one.get("status") == "True":
                        found.append(f"{resource.kind} {'/'.join(key_of(item))}: {one.get('message')}")
        left = len(found) - MOST_PROBLEMS
        return [*found[:MOST_PROBLEMS], *([f"{left} more"] if left > 0 else [])]

    def _gpus(self, picture: Picture) -> list[dict[str, Any]]:
        nodes = node_map(self.context.store, self.context.settings.gpu_classes)
        prices = picture.decision.shadow_prices_usd_per_gpu_hour
        rows = []
        for name, found in nodes.items():
            pools = [one for one in picture.snapshot.local_pools if one.gpu_class == name]
            available = picture.snapshot.gpus.get((name, ""))
            rows.append(
                {
                    "class": name,
                    "available": available.value if isinstance(available, Sample) else None,
                    "held": sum(one.gpus_per_replica * one.existing for one in pools),
                    "wanted": sum(_wanted(one, picture) * one.gpus_per_replica for one in pools),
                    "worthUsdPerHour": prices.get((name, "")),
                    "nodes": [_node(one) for one in found[:MOST_NODES]],
                    "moreNodes": max(0, len(found) - MOST_NODES),
                }
            )
        return rows

    def _pools(self, picture: Picture, now: float) -> dict[str, Any]:
        store, at = self.context.store, datetime.fromtimestamp(now, UTC)
        items, policies = list(store.all(MODEL_POOL)), list(store.all(ROUTING_POLICY))
        snapshots = {one.key: one for one in picture.snapshot.local_pools}
        shown = [
            _pool(item, snapshots.get("/".join(key_of(item))), picture, policies, items, at)
            for item in items[:MOST_POOLS]
        ]
        return {"pools": shown, "morePools": max(0, len(items) - MOST_POOLS)}

    def _decisions(self) -> list[dict[str, Any]]:
        """The newest entries of the ledger that changed something."""
        found = [_entry(entry) for entry in reversed(self.ledger.entries) if entry.changes]
        return found[:MOST_DECISIONS]


def _wanted(pool: LocalPool, picture: Picture) -> int:
    target = picture.decision.pools.get(pool.key)
    return pool.existing if target is None else target.replicas


def _node(node: GpuNode) -> dict[str, Any]:
    return {
        "name": node.name,
        "usable": node.usable,
        "gpus": node.gpus,
        "pools": dict(node.pools),
        "others": node.others,
        "free": node.free,
    }


def _routes(picture: Picture) -> list[dict[str, Any]]:
    return [
        {
            "policy": route.policy,
            "route": route.name,
            "requestsPerSecond": plan.requests_per_second,
            "spillRatio": plan.spill_ratio,
            "unansweredRatio": plan.shed_ratio,
            "message": plan.message,
        }
        for route in picture.snapshot.routes
        if (plan := picture.decision.routes.get(route.key)) is not None
    ][:MOST_POOLS]


def _pool(
    item: KubeDict,
    snapshot: LocalPool | None,
    picture: Picture,
    policies: Sequence[Mapping[str, Any]],
    pools: Sequence[Mapping[str, Any]],
    now: datetime,
) -> dict[str, Any]:
    """One pool with the sentences of `comptroller explain`."""
    key = "/".join(key_of(item))
    target, use = picture.decision.pools.get(key), picture.decision.hosted.get(key)
    explained = explain_pool(item, policies, pools, now)
    status = item.get("status") or {}
    return {
        "name": key,
        "class": status.get("modelClass"),
        "hosted": "hosted" in (item.get("spec") or {}),
        "want": None if target is None else target.replicas,
        "ready": None if snapshot is None else snapshot.serving,
        "starting": None if snapshot is None else len(snapshot.starting),
        "requestsPerSecond": target.requests_per_second if target else use.requests_per_second if use else None,
        "utilisation": None if target is None else target.utilisation,
        "usdPerHour": _figure((status.get("economics") or {}).get("usdPerHour")),
        "reason": target.reason.value if target else use.reason.value if use else None,
        "title": explained.title,
        "sentences": [{"label": one.label, "text": one.text} for one in explained.lines if one.label in SENTENCES],
    }


def _budgets(policy: KubeDict) -> list[dict[str, Any]]:
    """The budgets of a policy and of its tenants, as its status tells them. `spentUsd` None: nobody knows."""
    status, key = policy.get("status") or {}, "/".join(key_of(policy))
    told = [("", status.get("spending") or {}), *((one["name"], one) for one in status.get("tenants") or ())]
    return [
        {
            "policy": key,
            "tenant": name,
            "spentUsd": _figure(one.get("spentUsd")),
            "budgetUsd": _figure(one["budgetUsd"]),
            "resetsAt": one.get("resetsAt"),
            "state": one.get("state"),
        }
        for name, one in told
        if one.get("budgetUsd") is not None
    ]


def _figure(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": timestamp(entry.at_seconds),
        "rung": entry.rung,
        "words": [one.words for one in entry.changes],
        "usdPerHour": entry.usd_per_hour,
        "realisedUsdPerHour": usd_per_hour_spent(entry),
    }
