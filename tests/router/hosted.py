"""The hosted APIs of the demo, each in a thread of the tests: they keep their own books, and a record of what came."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.render.router.build import BackendState, TokenPrices, build_plans
from comptroller.render.router.plan import RouterPlan
from e2e.engines.hosted_account import HostedSettings
from e2e.engines.hosted_anthropic import HostedAnthropic
from e2e.engines.hosted_latency import Latency
from e2e.engines.hosted_openai import HostedOpenai
from e2e.engines.hosted_prices import ANTHROPIC_PRICES, OPENAI_PRICES, Price

from .plans import decided

KEY = "hosted-key"
BOOKS = (
    "requests", "input_tokens", "cached_input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "output_tokens", "usd",
)  # fmt: skip


@dataclass
class Hosted:
    """One hosted API. `requests` and `headers` are what reached it."""

    api: HostedOpenai | HostedAnthropic
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    failed: bool = False  # whether it was made to refuse since the last reset

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def fail(self, status: int | Literal["hang"] | None, count: int | None = None) -> None:
        """The next `count` requests are refused with the status; None: no more."""
        faults = self.api.account.faults
        faults.status, faults.left = status, count
        self.failed = self.failed or status is not None

    def booked(self) -> dict[str, float]:
        """Tokens by kind and dollars of the API's own ledger."""
        totals = self.api.account.ledger.totals()
        return {name: float(totals[name]) for name in BOOKS}


def openai(**changes: Any) -> Hosted:
    return Hosted(HostedOpenai(_settings(OPENAI_PRICES, **changes)))


def anthropic(**changes: Any) -> Hosted:
    return Hosted(HostedAnthropic(_settings(ANTHROPIC_PRICES, **changes)))


def _settings(prices: Any, **changes: Any) -> HostedSettings:
    plain: dict[str, Any] = {
        "prices": prices,
        "keys": {KEY: "router"},
        "requests_per_minute": 100_000,
        "tokens_per_minute": 1_000_000_000,
        "latency": Latency(first_token_ms=20.0, output_token_ms=4.0),
    }
    return HostedSettings(**(plain | changes))


@contextmanager
def serving(hosted: Hosted) -> Iterator[Hosted]:
    """Serves in a thread with a loop of its own until the block ends."""

    @web.middleware
    async def recorded(request: web.Request, handler: Any) -> Any:
        if request.method == "POST" and request.path.startswith("/v1/"):
            hosted.requests.append(json.loads(await request.read()))
            hosted.headers.append({name.lower(): value for name, value in request.headers.items()})
        return await handler(request)

    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        application = hosted.api.application()
        application.middlewares.append(recorded)
        runner = web.AppRunner(application, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hosted.port = runner.addresses[0][1]
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield hosted
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def hosted_plan(claude: Hosted, gpt: Hosted) -> RouterPlan:
    """An open router in front of both: each has a route of its own with the other one in reserve; they share one."""
    pools = {
        "inference/claude": _pool("anthropic", "claude-sonnet-4-5", claude),
        "inference/gpt": _pool("openai", "gpt-5-mini", gpt),
    }
    states = {
        "inference/claude": BackendState(_prices(ANTHROPIC_PRICES["claude-sonnet-4-5"])),
        "inference/gpt": BackendState(_prices(OPENAI_PRICES["gpt-5-mini"])),
    }
    both = [{"pool": "claude"}, {"pool": "gpt"}]
    everything = {"breakpoints": ["tools", "system", "lastMessage"], "ttl": "1h"}
    spec = RoutingPolicySpec.model_validate(
        {
            "tenants": [{"name": "team-a", "keysSecretRef": {"name": "a"}}],
            "routes": [
                {"name": "claude", "backends": both, "promptCache": everything},
                {"name": "gpt", "backends": both, "promptCache": everything},
                {"name": "shared", "backends": both, "promptCache": {"breakpoints": ["system"]}},
            ],
        }
    )
    shares = {"claude": {"claude": 1.0}, "gpt": {"gpt": 1.0}, "shared": {"claude": 0.4, "gpt": 0.6}}
    decisions = {
        f"inference/research/{name}": decided(name, found, ("claude", "gpt")) for name, found in shares.items()
    }
    return build_plans("research", "inference", spec, pools, states, decisions)[0]


def _pool(provider: str, model: str, hosted: Hosted) -> ModelPoolSpec:
    return ModelPoolSpec.model_validate(
        {
            "model": {"name": model},
            "location": {"jurisdiction": "US", "perimeter": "external"},
            "hosted": {"provider": provider, "baseUrl": hosted.address, "apiKeySecretRef": {"name": model, "key": "k"}},
        }
    )


def _prices(price: Price) -> TokenPrices:
    return TokenPrices(price.input, price.cached_input, price.output, price.cache_write_5m, price.cache_write_1h)
