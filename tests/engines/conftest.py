"""Servers in this process, on a free port of the loopback interface."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

Serve = Callable[[web.Application], Awaitable[TestClient[web.Request, web.Application]]]


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    clients: list[TestClient[web.Request, web.Application]] = []

    async def start(app: web.Application) -> TestClient[web.Request, web.Application]:
        server = TestServer(app)
        await server.start_server(access_log=None)
        client = TestClient(server)
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()
