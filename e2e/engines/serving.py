"""Runs a server from its first byte to its last: bind, wait for SIGTERM or SIGINT, drain, stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from aiohttp import web


async def serve(app: web.Application, host: str, port: int, drain: Callable[[], Awaitable[None]]) -> None:
    """Serve `app` until a signal comes; then await `drain()`, during which requests still arrive, and close.

    A handler is cancelled when its client disconnects, which is how a given-up request frees its place.
    """
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    print(f"listening on {runner.addresses[0][0]}:{runner.addresses[0][1]}", flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await drain()
    await runner.cleanup()


async def open_event_stream(request: web.Request, headers: dict[str, str] | None = None) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_type = "text/event-stream"
    response.headers["Cache-Control"] = "no-cache"
    await response.prepare(request)
    return response
