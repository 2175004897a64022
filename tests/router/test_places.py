"""A pool's places are shared by all routes of a router: who finds it full goes on at once, waits or is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import httpx
import pytest

from comptroller.render.router.plan import RouterPlan

from .plans import decided, plans, with_places
from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Upstreams = dict[str, Upstream]
IN_FLIGHT = 'comptroller_router_pool_in_flight{{pool="inference/{}"}}'
FULL = 'comptroller_router_pool_full_total{pool="inference/one"}'


def standard(upstreams: Upstreams) -> RouterPlan:
    """The routes chat and other, both planned to the pool one, with the API in reserve; single has only that pool."""
    return plans(upstreams, chat=decided("chat", {"one": 1.0}, ("outside",)))["open"]


def counts(upstreams: Upstreams) -> dict[str, int]:
    return {name: len(one.requests) for name, one in upstreams.items()}


@contextmanager
def asking(*asks: Callable[[], httpx.Response]) -> Iterator[list[httpx.Response]]:
    """Asks at the same time, and waits for the answers at the end of the block."""
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda ask=ask: answers.append(ask())) for ask in asks]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        for thread in threads:
            thread.join()


def arrive(upstream: Upstream, number: int) -> None:
    until = time.monotonic() + 10
    while len(upstream.requests) < number:
        assert time.monotonic() < until, f"{upstream.name} has {len(upstream.requests)} of {number} requests"
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_routes_share_a_pool_and_overflow_at_once_without_an_error(
    router: RunningRouter, upstreams: Upstreams, stream: bool
) -> None:
    router.apply(with_places(standard(upstreams), "one", 3))
    before = router.metrics().get(FULL, 0.0)
    upstreams["one"].seconds = upstreams["outside"].seconds = 1.0

    with asking(*(lambda name=name: router.chat(name, stream=stream) for name in ["chat", "other"] * 4)) as answers:
        pass

    assert [one.status_code for one in answers] == [200] * 8, [one.text for one in answers]
    assert counts(upstreams) == {"one": 3, "two": 0, "outside": 5}
    assert {one.headers.get("x-litellm-attempted-fallbacks", "0") for one in answers} == {"0"}  # drawn once
    router.wait_for(FULL, before + 5)
    upstreams["one"].seconds = 0.0
    assert router.chat("other").status_code == 200
    assert counts(upstreams)["one"] == 4  # a full pool is no failing one


@pytest.mark.parametrize("path", ["completions", "embeddings"])
def test_other_kinds_of_requests_overflow_as_well(router: RunningRouter, upstreams: Upstreams, path: str) -> None:
    """LiteLLM has no failover for their errors: nobody may meet a full pool there."""
    router.apply(with_places(standard(upstreams), "one", 1))
    upstreams["one"].seconds = 1.5
    body = {"model": "other", "prompt": "hello", "input": "hello"}
    body.pop("input" if path == "completions" else "prompt")

    def ask() -> httpx.Response:
        return httpx.post(
            f"{router.url}/v1/{path}", json=body, headers={"authorization": "Bearer key-a"}, timeout=60
        )  # fmt: skip

    with asking(lambda: router.chat("chat")):
        arrive(upstreams["one"], 1)
        ask()
        assert counts(upstreams) == {"one": 1, "two": 0, "outside": 1}


def test_a_route_without_an_api_is_not_starved(router: RunningRouter, upstreams: Upstreams) -> None:
    """It waits inside, in the engine's own queue; the others go outside until there is room again."""
    router.apply(with_places(standard(upstreams), "one", 2))
    upstreams["one"].seconds = 1.5

    with asking(*[lambda: router.chat("other")] * 2) as others:
        arrive(upstreams["one"], 2)
        with asking(*[lambda: router.chat("single")] * 2) as singles:
            arrive(upstreams["one"], 4)
            assert router.chat("chat").status_code == 200

    assert [one.status_code for one in (*others, *singles)] == [200] * 4
    assert counts(upstreams) == {"one": 4, "two": 0, "outside": 1}


def test_a_route_that_rejects_gets_its_part_and_then_429(router: RunningRouter, upstreams: Upstreams) -> None:
    plan = with_places(standard(upstreams), "one", 1, single=1)
    routes = tuple(replace(one, waits=False) if one.name == "single" else one for one in plan.routes)
    router.apply(replace(plan, routes=routes))
    upstreams["one"].seconds = 1.5

    with asking(lambda: router.chat("other")):
        arrive(upstreams["one"], 1)
        with asking(lambda: router.chat("single")) as assured:
            arrive(upstreams["one"], 2)
            answer = router.chat("single")

    assert [one.status_code for one in assured] == [200]
    assert answer.status_code == 429
    assert "full" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "overloaded"
    assert int(answer.headers["retry-after"]) > 0
    assert router.chat("single").status_code == 200  # and nothing cools down


def test_limits_change_while_requests_are_in_flight(router: RunningRouter, upstreams: Upstreams) -> None:
    router.apply(with_places(standard(upstreams), "one", 2))
    upstreams["one"].seconds = 3.0

    with asking(*[lambda: router.chat("other")] * 2):
        arrive(upstreams["one"], 2)
        router.apply(with_places(standard(upstreams), "one", 3))
        assert router.metrics()[IN_FLIGHT.format("one")] == 2
        with asking(lambda: router.chat("other")):
            arrive(upstreams["one"], 3)
            router.chat("other")
            assert counts(upstreams) == {"one": 3, "two": 0, "outside": 1}
    router.wait_for(IN_FLIGHT.format("one"), 0.0)


def leaving(router: RunningRouter, route: str, path: str = "chat/completions", *, stream: bool) -> None:
    """A client that goes away: after the first piece of a stream, or while it waits for a whole answer."""
    body = {"model": route, "messages": [{"role": "user", "content": "hello"}], "stream": stream, "max_tokens": 9}
    head, url = {"authorization": "Bearer key-a"}, f"{router.url}/v1/{path}"
    with suppress(httpx.ReadTimeout), httpx.Client(timeout=60 if stream else 0.2) as client:
        if not stream:
            client.post(url, json=body, headers=head)
            return
        with client.stream("POST", url, json=body, headers=head) as answer:
            next(answer.iter_raw())


def reading(router: RunningRouter, route: str) -> None:
    """A stream that is read to its end, or to where it breaks."""
    with suppress(httpx.HTTPError):
        router.chat(route, stream=True)


@pytest.mark.parametrize(
    ("seconds", "breaks", "status", "timeout"),
    [
        (0.0, True, 200, 600),
        (0.5, False, 200, 600),
        (0.1, False, 500, 600),
        (0.0, False, 429, 600),
        (3.0, False, 200, 1),
    ],
    ids=["streams break", "clients leave", "failures", "refusals", "time-outs"],
)
def test_every_place_comes_back_however_an_answer_ends(
    router: RunningRouter, upstreams: Upstreams, seconds: float, breaks: bool, status: int, timeout: int
) -> None:
    router.apply(replace(with_places(standard(upstreams), "one", 3), timeout_seconds=timeout))
    upstreams["one"].seconds, upstreams["one"].breaks, upstreams["one"].status = seconds, breaks, status
    upstreams["one"].failed = True  # give LiteLLM time to forgive
    actions = [
        action
        for route in ("chat", "other", "single")
        for action in (
            lambda route=route: leaving(router, route, stream=True),
            lambda route=route: leaving(router, route, "messages", stream=True),
            lambda route=route: leaving(router, route, stream=False),
            lambda route=route: reading(router, route),
            lambda route=route: router.chat(route),
        )
    ]
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(upstreams["one"].requests) >= 3
    for pool in upstreams:
        router.wait_for(IN_FLIGHT.format(pool), 0.0)
