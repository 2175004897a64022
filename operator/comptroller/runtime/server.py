"""The operator's small HTTP server: health, readiness, metrics, what Prometheus shall scrape, the ledger, the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], dict[str, Any]]
"""Answers what it found; the key `ok` decides."""

Ask = Callable[[Mapping[str, str]], list[dict[str, Any]]]
"""Answers a query."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANSWERED_BY_ALL = frozenset(("/healthz", "/readyz", "/metrics", "/targets"))


async def serve(
    port: int,
    registry: CollectorRegistry,
    healthy: Check,
    ready: Check,
    targets: Callable[[], list[dict[str, Any]]],
    ledger: Ask = lambda _: [],
    pages: Sequence[web.RouteDef] = (),
    led_by: Callable[[], str | None] = lambda: None,
) -> web.AppRunner:
    """Starts the server on all addresses and returns its runner (`pages` are further ones); `await
    runner.cleanup()` ends it. `led_by` names the process that leads instead of this one: what only the leader knows is
    then refused."""

    @web.middleware
    async def only_the_leader(request: web.Request, handler: Handler) -> web.StreamResponse:
        leader = None if request.path in ANSWERED_BY_ALL else led_by()
        if leader is None:
            return await handler(request)
        text = f"This process follows, {leader} leads and knows the answer: kubectl port-forward {_pod(leader)} 8080\n"
        again = {"Retry-After": "1", "Refresh": "1", "Connection": "close", "Cache-Control": "no-store"}
        return web.Response(status=503, text=text, headers=again)

    async def answer(check: Check) -> web.Response:
        found = check()
        return web.json_response(found, status=200 if found["ok"] else 503)

    async def healthz(_: web.Request) -> web.Response:
        return await answer(healthy)

    async def readyz(_: web.Request) -> web.Response:
        return await answer(ready)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def discovery(_: web.Request) -> web.Response:
        return web.json_response(targets())

    async def decisions(request: web.Request) -> web.Response:
        return web.json_response(ledger(request.query))

    application = web.Application(middlewares=[only_the_leader])
    application.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/targets", discovery),
            web.get("/ledger", decisions),
            *pages,
        ]
    )
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner


def _pod(process: str) -> str:
    """The pod of a process, as kubectl wants it: its name is that of the host."""
    return f"pod/{process.split('_', 1)[0]}"
