"""Faults on demand: the next `count` requests are refused with a status, or never answered.

`POST /faults {"status": 429, "count": 3}`, `{"status": "hang", "count": 1}`, `{"status": null}` to clear. Without
`count` the fault stays until cleared. A scenario uses it to see what the router and the operator do about a backend
that fails; the servers' own limits and shutdown produce the same answers without it.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from aiohttp import web


class Faults:
    def __init__(self) -> None:
        self.status: int | Literal["hang"] | None = None
        self.left: int | None = None  # None: until cleared

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        status, count = body.get("status"), body.get("count")
        known = status is None or status == "hang" or (isinstance(status, int) and 400 <= status <= 599)
        if not known or not (count is None or isinstance(count, int)):
            return web.json_response({"error": 'status is 400 to 599, "hang" or null; count is a number'}, status=400)
        self.status, self.left = status, count
        return web.json_response({"status": self.status, "count": self.left})

    async def strike(self) -> int | None:
        """The status to answer this request with, or None. A hang waits here until the client gives up."""
        if self.status is None or self.left == 0:
            return None
        if self.left is not None:
            self.left -= 1
        if self.status == "hang":
            await asyncio.Event().wait()
            return None
        return self.status
