"""The operator's small HTTP server: health, readiness, metrics, what Prometheus shall scrape, the ledger, the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], dict[str, Any]]
"""Answers what it found; the key `ok` decides."""

Ask = Callable[[Mapping[str, str]], list[dict[str, Any]]]
"""Answers a query."""


async def serve(
    port: int,
    registry: CollectorRegistry,
    healthy: Check,
    ready: Check,
    targets: Callable[[], list[dict[str, Any]]],
    ledger: Ask = lambda _: [],
    pages: Sequence[web.RouteDef] = (),
) -> web.AppRunner:
    """Starts the server on all addresses and returns its runner (`pages` are further ones); `await
    runner.cleanup()` ends it."""

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

    application = web.Application()
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
