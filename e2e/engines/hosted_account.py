"""What both hosted APIs do apart from their language: keys, limits, faults, books and metrics.

A request is *received* (and searched for canaries before anything may refuse it), then either *refused* or *charged*;
each way it ends in the ledger. Charging happens when the answer ends, also when the client left in the middle: then for
the tokens generated until then, as hosted APIs do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from .faults import Faults
from .hosted_latency import Latency
from .hosted_prices import Price, Tokens
from .ledger import Entry, Ledger
from .rate_limit import Allowance, RateLimit

ROUTE_HEADER = "x-comptroller-route"
_MOST_ENTRIES_PER_PAGE = 1000


class RefusalError(Exception):
    """The API does not answer this request. `kind` is the provider's word for why."""

    def __init__(self, status: int, kind: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.retry_after_seconds = retry_after_seconds

    def headers(self) -> dict[str, str]:
        seconds = self.retry_after_seconds
        return {} if seconds is None else {"retry-after": str(max(1, math.ceil(seconds)))}


@dataclass(frozen=True, slots=True)
class HostedSettings:
    """One hosted API. `keys` maps each API key to the name under which it is booked."""

    prices: Mapping[str, Price]
    keys: Mapping[str, str]
    requests_per_minute: int = 600
    tokens_per_minute: int = 400_000
    latency: Latency = field(default_factory=Latency)
    canaries: Sequence[str] = ()
    mean_output_tokens: float | None = None
    seed: int = 0
    seconds_5m: float = 300.0  # life of a cached prefix; shorter in scenarios that run faster than life
    seconds_1h: float = 3600.0


@dataclass(slots=True)
class Visit:
    """One request, as far as the books are concerned."""

    raw: bytes
    at: float
    route: str | None
    canary: bool
    key: str = "unknown"
    model: str = ""
    user: str | None = None
    metadata: dict[str, Any] | None = None


class HostedAccount:
    def __init__(self, settings: HostedSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.clock = clock
        self.ledger = Ledger()
        self.faults = Faults()
        self._limits = {
            name: RateLimit(settings.requests_per_minute, settings.tokens_per_minute, clock)
            for name in settings.keys.values()
        }
        self._registry = CollectorRegistry()
        self._requests = Counter("hosted_api_requests", "Requests by outcome", ("status",), registry=self._registry)
        self._tokens = Counter("hosted_api_tokens", "Tokens charged", ("model", "kind"), registry=self._registry)
        self._usd = Counter("hosted_api_usd", "Dollars charged", ("model",), registry=self._registry)
        self._canaries = Counter("hosted_api_canary_requests", "Prompts with a canary", registry=self._registry)
        self._first_token = Histogram(
            "hosted_api_time_to_first_token_seconds", "Arrival to first token", ("model",), registry=self._registry
        )

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/ledger", self._totals)
        app.router.add_get("/ledger/entries", self._entries)
        app.router.add_post("/faults", self.faults.handle)

    async def receive(self, request: web.Request) -> Visit:
        """Take in a request whole; from here on it is on record, whatever becomes of it."""
        raw = await request.read()
        text = raw.decode("utf-8", "replace")
        visit = Visit(raw, self.clock(), request.headers.get(ROUTE_HEADER), self._has_canary(text))
        self._note_labels(visit)
        return visit

    async def admit(self, visit: Visit, key: str | None, unknown_key: RefusalError) -> None:
        """Let a known key pass. Raises RefusalError, also for an injected fault."""
        status = await self.faults.strike()
        if status is not None:
            raise RefusalError(status, "fault", "injected fault", 1.0 if status == 429 else None)
        name = self.settings.keys.get(key or "")
        if name is None:
            raise unknown_key
        visit.key = name

    def allowance(self, visit: Visit) -> Allowance:
        return self._limits[visit.key].allowance()

    def take(self, visit: Visit, tokens: int, kind: str) -> None:
        """Count a request of `tokens` against the key's limits. Raises RefusalError with retry-after."""
        short = self._limits[visit.key].take(tokens)
        if short is not None:
            what, seconds = short
            raise RefusalError(429, kind, f"Rate limit reached for {visit.model} on {what} per minute", seconds)

    def refuse(self, visit: Visit, status: int) -> None:
        self._enter(visit, status, Tokens())

    def charge(self, visit: Visit, tokens: Tokens) -> None:
        self._enter(visit, 200, tokens)
        self._usd.labels(visit.model).inc(float(self.settings.prices[visit.model].usd(tokens)))
        for kind in ("input", "cached_input", "cache_write_5m", "cache_write_1h", "output"):
            self._tokens.labels(visit.model, kind).inc(getattr(tokens, kind))

    def first_token(self, visit: Visit) -> None:
        self._first_token.labels(visit.model).observe(max(0.0, self.clock() - visit.at))

    def _enter(self, visit: Visit, status: int, tokens: Tokens) -> None:
        usd = self.settings.prices[visit.model].usd(tokens) if status == 200 else Decimal(0)
        self._requests.labels(str(status)).inc()
        self._canaries.inc(visit.canary)
        self.ledger.enter(
            Entry(
                number=self.ledger.next_number(),
                at=self.clock(),
                key=visit.key,
                model=visit.model,
                status=status,
                tokens=tokens,
                usd=usd,
                route=visit.route,
                user=visit.user,
                metadata=visit.metadata,
                canary=visit.canary,
            )
        )

    def _has_canary(self, text: str) -> bool:
        # JSON may write any character as an escape, so look at the decoded strings as well as at the bytes.
        if any(canary in text for canary in self.settings.canaries):
            return True
        if not self.settings.canaries or "\\" not in text:
            return False
        try:
            plain = json.dumps(json.loads(text), ensure_ascii=False)
        except ValueError:
            return False
        return any(canary in plain for canary in self.settings.canaries)

    @staticmethod
    def _note_labels(visit: Visit) -> None:
        try:
            body = json.loads(visit.raw)
        except ValueError:
            return
        if not isinstance(body, dict):
            return
        visit.model = str(body.get("model", ""))[:200]
        user, metadata = body.get("user"), body.get("metadata")
        visit.user = user if isinstance(user, str) else None
        visit.metadata = metadata if isinstance(metadata, dict) else None

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _totals(self, _request: web.Request) -> web.Response:
        return web.json_response(self.ledger.totals())

    async def _entries(self, request: web.Request) -> web.Response:
        since, limit = request.query.get("since", "0"), request.query.get("limit", str(_MOST_ENTRIES_PER_PAGE))
        if not (since.isdigit() and limit.isdigit()):
            return web.json_response({"error": "since and limit are numbers"}, status=400)
        return web.json_response({"entries": self.ledger.entries(int(since), min(int(limit), _MOST_ENTRIES_PER_PAGE))})
