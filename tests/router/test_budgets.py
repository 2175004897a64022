"""Budgets on real LiteLLM processes: what is spent is counted, also of streams that are left or break, and holds."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from comptroller.render.router.build import key_variable
from comptroller.render.router.plan import RouterBudget, RouterPlan

from .conftest import KEYS
from .plans import budget, decided, plans, with_budget
from .redis_server import PASSWORD, redis_server
from .running import RunningRouter, running, wait_until_ready
from .stubs import Upstream

OUTSIDE_USD = 60 * 3e-6 + 40 * 0.3e-6 + 5 * 15e-6
"""One answer from outside, by the tokens of the stubs."""
UNCACHED_USD = 100 * 3e-6 + 5 * 15e-6  # of an answer that ended early nobody tells what was cached
INSIDE_USD = 100 * 0.1e-6 + 5 * 0.4e-6
KEY = {key_variable("outside"): "hosted-key"}


def outside_first(upstreams: dict[str, Upstream], *budgets: RouterBudget, **more: Any) -> RouterPlan:
    """Route other goes outside, pool one in reserve; route chat has nothing but the pool outside."""
    routes = {"other": decided("other", {"outside": 1.0}, ("one",)), "chat": decided("chat", {"outside": 1.0})}
    plan = plans(upstreams, **routes)["open"]
    alone = tuple(
        replace(one, backends=tuple(b for b in one.backends if not b.inside)) if one.name == "chat" else one
        for one in plan.routes
    )
    return with_budget(replace(plan, routes=alone), *budgets, **more)


def in_zone(one: RouterBudget, time_zone: str) -> RouterBudget:
    """A budget of its own for each test: what is spent in a period stays spent while the process lives."""
    return replace(one, time_zone=time_zone)


def spent(name: str = "team-a", scope: str = "tenant", sharing: str = "process", what: str = "spent_usd") -> str:
    labels = f'name="{name}",policy="inference/research",scope="{scope}",sharing="{sharing}"'
    return f"comptroller_router_budget_{what}{{{labels}}}"


def pool_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def spend(router: RunningRouter, times: int, before: int = 0, **more: Any) -> None:
    """So many answers from outside, each booked before the next is asked."""
    for number in range(before + 1, before + times + 1):
        assert pool_of(router.chat("other")) == "outside"
        router.wait_for(spent(**more), number * OUTSIDE_USD)


class TestWays:
    def test_degrade_stays_inside_and_leaves_others_alone(
        self, router: RunningRouter, upstreams: dict[str, Upstream]
    ) -> None:
        router.apply(outside_first(upstreams, in_zone(budget("0.0008", "degrade"), "Europe/Rome")))
        spend(router, 3)
        assert [pool_of(router.chat("other")) for _ in range(3)] == ["one"] * 3
        assert pool_of(router.chat("other", key="key-b")) == "outside"
        router.wait_for(spent(), 3 * OUTSIDE_USD + 3 * INSIDE_USD)
        assert router.metrics()[spent(what="exhausted")] == 1.0
        assert router.metrics()[spent(what="limit_usd")] == 0.0008

    def test_a_route_without_a_backend_inside_is_refused_with_what_to_do(
        self, router: RunningRouter, upstreams: dict[str, Upstream]
    ) -> None:
        router.apply(outside_first(upstreams, in_zone(budget("0.0002", "degrade"), "Europe/Madrid")))
        spend(router, 1)
        asked = 'comptroller_router_requests_total{policy="inference/research",route="chat",step="planning"'
        series = f'{asked},tenant="team-a",workflow="diligence"}}'
        before = router.metrics()[series]
        refused = router.chat("chat")
        error = refused.json()["error"]
        assert (refused.status_code, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
        said = "the budget of tenant team-a is spent: $0.000267 of $0.0002 per month. Route chat has no backend inside"
        assert error["message"].startswith(said)
        assert 0 < int(refused.headers["retry-after"]) <= 31 * 86_400
        after = router.metrics()
        assert after[series] == before + 1  # demand is arrivals, also of those that are refused
        labels = 'outcome="budget",policy="inference/research",pool="none",route="chat",tenant="team-a"'
        assert after[f"comptroller_router_responses_total{{{labels}}}"] == 1.0

    def test_reject_refuses_inside_too_and_a_new_budget_lets_in_again(
        self, router: RunningRouter, upstreams: dict[str, Upstream]
    ) -> None:
        one = in_zone(budget("0.0002", "reject"), "Europe/Paris")
        router.apply(outside_first(upstreams, one))
        spend(router, 1)
        assert [router.chat(route).status_code for route in ("other", "single", "chat")] == [429] * 3
        router.apply(outside_first(upstreams, replace(one, usd="1")))
        assert pool_of(router.chat("other")) == "outside"

    def test_alert_only_counts_and_goes_on(self, router: RunningRouter, upstreams: dict[str, Upstream]) -> None:
        router.apply(outside_first(upstreams, in_zone(budget("0.0002", "alertOnly"), "Europe/Vienna")))
        spend(router, 3)
        assert router.metrics()[spent(what="exhausted")] == 1.0

    def test_the_budget_of_the_policy_counts_all_tenants(
        self, router: RunningRouter, upstreams: dict[str, Upstream]
    ) -> None:
        whole = in_zone(budget("0.0005", "reject", tenant=None), "Europe/Oslo")
        router.apply(outside_first(upstreams, whole))
        for number, key in enumerate(("key-a", "key-b"), 1):
            assert pool_of(router.chat("other", key=key)) == "outside"
            router.wait_for(spent("", "policy"), number * OUTSIDE_USD)
        assert [router.chat("other", key=key).status_code for key in ("key-a", "key-b")] == [429, 429]

    def test_a_burst_overshoots_by_no_more_than_what_is_in_flight(
        self, router: RunningRouter, upstreams: dict[str, Upstream]
    ) -> None:
        """Reserved before it is spent: of twelve at once, the estimate of $0.0003 lets three out."""
        router.apply(outside_first(upstreams, in_zone(budget("0.0008", "degrade"), "Europe/Lisbon")))
        upstreams["outside"].seconds = 1.0
        body = {"model": "other", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 18}
        with ExitStack() as stack:
            client = stack.enter_context(httpx.Client(timeout=60, headers={"authorization": "Bearer key-a"}))
            pool = stack.enter_context(_threads(12))
            answers = list(pool.map(lambda _: client.post(f"{router.url}/v1/chat/completions", json=body), range(12)))
        assert [one.status_code for one in answers] == [200] * 12
        outside = [pool_of(one) for one in answers].count("outside")
        assert 3 <= outside < 12
        router.wait_for(spent(), outside * OUTSIDE_USD + (12 - outside) * INSIDE_USD)


@contextmanager
def _threads(number: int) -> Iterator[Any]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(number) as pool:
        yield pool


class TestStreams:
    def test_a_whole_stream_costs_what_its_usage_says(
        self, router: RunningRouter, upstreams: dict[str, Upstream]
    ) -> None:
        router.apply(outside_first(upstreams, in_zone(budget("1", "reject"), "Europe/Prague")))
        assert router.chat("other", stream=True).status_code == 200
        router.wait_for(spent(), OUTSIDE_USD)

    def test_a_stream_that_is_left_costs_what_was_generated(
        self, router: RunningRouter, upstreams: dict[str, Upstream]
    ) -> None:
        router.apply(outside_first(upstreams, in_zone(budget("1", "reject"), "Europe/Warsaw")))
        upstreams["outside"].piece_seconds = 0.5
        leave_after_first_piece(router)
        charged = wait_for_charge(router)
        # the prompt of one word, and one to four of the five pieces
        assert 15e-6 < charged < UNCACHED_USD
        time.sleep(11)  # nothing more comes when the report is overdue
        assert router.metrics()[spent()] == charged

    def test_a_stream_that_breaks_costs_what_has_passed(
        self, router: RunningRouter, upstreams: dict[str, Upstream]
    ) -> None:
        router.apply(outside_first(upstreams, in_zone(budget("1", "reject"), "Europe/Zurich")))
        upstreams["outside"].breaks = True
        router.chat("other", stream=True)
        assert 2 * 15e-6 < wait_for_charge(router) < UNCACHED_USD

    def test_a_refused_request_costs_nothing(self, router: RunningRouter, upstreams: dict[str, Upstream]) -> None:
        router.apply(outside_first(upstreams, in_zone(budget("1", "reject"), "Europe/Athens")))
        upstreams["outside"].status = upstreams["one"].status = 400
        assert router.chat("other").status_code == 400
        time.sleep(12)
        assert router.metrics()[spent()] == 0.0


def leave_after_first_piece(router: RunningRouter) -> None:
    body = {"model": "other", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    head = {"authorization": "Bearer key-a"}
    with httpx.stream("POST", f"{router.url}/v1/chat/completions", json=body, headers=head, timeout=60) as response:
        next(response.iter_bytes())


def wait_for_charge(router: RunningRouter) -> float:
    until = time.monotonic() + 20
    while not (found := router.metrics()[spent()]):
        assert time.monotonic() < until, "nothing was charged"
        time.sleep(0.1)
    return found


def test_a_killed_container_goes_on_with_what_was_spent(tmp_path: Path, upstreams: dict[str, Upstream]) -> None:
    plan = outside_first(upstreams, budget("0.0005", "reject"))
    with running(tmp_path, plan, KEYS, KEY) as router:
        wait_until_ready(router)
        spend(router, 2)
        until, file = time.monotonic() + 10, tmp_path / "spending.json"
        while not file.exists() or f'"own": {router.metrics()[spent()]!r}' not in file.read_text():
            assert time.monotonic() < until, "the file is behind"
            time.sleep(0.2)
        router.process.kill()
    with running(tmp_path, plan, KEYS, KEY) as router:
        wait_until_ready(router)
        assert router.metrics()[spent()] == pytest.approx(2 * OUTSIDE_USD)
        assert router.chat("other").status_code == 429


def test_two_routers_share_one_budget_and_do_without_redis_for_a_while(
    tmp_path: Path, upstreams: dict[str, Upstream]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    limit = 10.5 * OUTSIDE_USD
    shared = budget(f"{limit:.7f}", "reject", parts=2, mine=2)
    plan = outside_first(upstreams, shared, redis=f"redis://127.0.0.1:{port}")
    contact = 'comptroller_router_budget_shared{policy="inference/research"}'
    total, env = spent(sharing="redis"), {**KEY, "COMPTROLLER_REDIS_PASSWORD": PASSWORD}
    with ExitStack() as stack:
        routers = [stack.enter_context(running(tmp_path / name, plan, KEYS, env)) for name in ("left", "right")]
        left, right = routers
        with redis_server(tmp_path, port):
            for router in routers:
                wait_until_ready(router)
                router.wait_for(contact, 1.0)
            spend(left, 2, sharing="redis")
            right.wait_for(total, 2 * OUTSIDE_USD)
            spend(right, 2, before=2, sharing="redis")
            left.wait_for(total, 4 * OUTSIDE_USD)
        # away: 6.5 answers are left, of which each may spend half
        for router in routers:
            router.wait_for(contact, 0.0)
            for _ in range(4):
                assert pool_of(router.chat("other")) == "outside"
                time.sleep(0.5)
            router.wait_for(total, 8 * OUTSIDE_USD)
            assert router.chat("other").status_code == 429
        # back, empty: both tell it all they know, and nothing counts twice
        with redis_server(tmp_path, port):
            for router in routers:
                router.wait_for(contact, 1.0)
                router.wait_for(total, 12 * OUTSIDE_USD)
                assert router.chat("other").status_code == 429
