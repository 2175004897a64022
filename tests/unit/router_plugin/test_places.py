"""The counts of requests in flight per pool: exact, never negative, nothing left behind, within the limits."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from comptroller.router_plugin.config import Config
from comptroller.router_plugin.places import Place, Places

PRICES = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
ROUTES = {"chat": ("ai/one", "ai/two", "ai/api"), "draft": ("ai/one", "ai/api"), "secret": ("ai/one",)}


def config(limits: dict[str, int], assured: dict[str, int] | None = None, *, height: int | None = None) -> Config:
    """`assured` are the places of route secret, by pool; `height` is the limit of each route at the API."""
    models: list[dict[str, Any]] = [
        {
            "model_name": route,
            "litellm_params": PRICES | ({"max_parallel_requests": height} if pool == "ai/api" and height else {}),
            "model_info": {"id": f"{pool}/{route}"},
        }
        for route, pools in ROUTES.items()
        for pool in pools
    ]
    sure = {pool: {"secret": number} for pool, number in (assured or {}).items()}
    section = {
        "policy": "ai/policy",
        "kind": "open",
        "routes": [{"name": name, "waits": name == "chat"} for name in ROUTES],
        "limits": [
            {"pool": pool, "max_concurrency": number, "assured": sure.get(pool, {})} for pool, number in limits.items()
        ],
    }
    return Config.parse(json.dumps({"model_list": models, "x_comptroller": section}))


def taken(places: Places, deployment: str, number: int) -> list[Place]:
    found = [Place(places) for _ in range(number)]
    for place in found:
        place.take(deployment)
    return found


def test_a_pool_is_full_for_all_routes_together() -> None:
    places = Places(config({"ai/one": 3}))
    taken(places, "ai/one/chat", 2)

    assert not places.full("ai/one/draft")
    last = taken(places, "ai/one/draft", 1)[0]
    assert places.full("ai/one/draft")
    assert places.full("ai/one/secret")
    last.close()
    assert not places.full("ai/one/chat")


def test_an_assured_route_gets_its_part_although_the_pool_is_full() -> None:
    places = Places(config({"ai/one": 3}, {"ai/one": 2}))
    taken(places, "ai/one/chat", 3)

    taken(places, "ai/one/secret", 1)
    assert not places.full("ai/one/secret")
    taken(places, "ai/one/secret", 1)
    assert places.full("ai/one/secret")


def test_a_route_has_a_limit_of_its_own_at_an_api() -> None:
    places = Places(config({}, height=1))
    taken(places, "ai/api/draft", 1)

    assert places.full("ai/api/draft")
    assert not places.full("ai/api/chat")


def test_candidates_have_room_or_wait_or_are_nobody() -> None:
    places = Places(config({"ai/one": 1, "ai/two": 1}))
    taken(places, "ai/one/chat", 1)
    both = ["ai/one/chat", "ai/two/chat"]

    assert Place(places).candidates("chat", both) == {"ai/two/chat"}
    taken(places, "ai/two/chat", 1)
    assert Place(places).candidates("chat", both) == set(both)  # chat waits
    assert Place(places).candidates("draft", ["ai/one/draft"]) == set()  # draft does not


def test_a_request_does_not_stand_in_its_own_way() -> None:
    places = Places(config({"ai/one": 1}))
    place = taken(places, "ai/one/draft", 1)[0]

    assert place.candidates("draft", ["ai/one/draft"]) == {"ai/one/draft"}


def test_after_its_end_a_request_takes_nothing_any_more() -> None:
    places = Places(config({"ai/one": 1}))
    place = taken(places, "ai/one/draft", 1)[0]
    place.close()
    place.take("ai/one/draft")
    place.close()

    assert places.in_flight("ai/one") == 0


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_exact_whatever_requests_do(seed: int) -> None:
    """Thousands of requests that come, fail over, break, end twice and end late, under limits that change."""
    chance = random.Random(seed)
    limits = {"ai/one": 8, "ai/two": 5}
    places = Places(config(limits, {"ai/one": 3}, height=6))
    running: list[tuple[Place, str, str | None]] = []
    for _ in range(2000):
        what = chance.random()
        if what < 0.01:
            limits = {"ai/one": chance.randint(1, 12), "ai/two": chance.randint(1, 12)}
            places.adopt(config(limits, {"ai/one": 3}, height=6))
        elif what < 0.5 or not running:
            running.append((Place(places), chance.choice(list(ROUTES)), None))
        elif what < 0.75:
            place, route, _ = running.pop(chance.randrange(len(running)))
            before = {pool: places.in_flight(pool) for pool in limits}
            open_ = place.candidates(route, [f"{pool}/{route}" for pool in ROUTES[route]])
            chosen = chance.choice(sorted(open_)) if open_ else None
            if chosen:
                place.take(chosen)
                pool = chosen.rpartition("/")[0]
                above = places.in_flight(pool) > max(limits.get(pool, 10**6), before.get(pool, 0))
                assert not above or route in ("chat", "secret"), "only those who wait or are assured may be above"
            running.append((place, route, chosen))
        else:
            place, _, _ = running.pop(chance.randrange(len(running)))
            for _ in range(chance.randint(1, 2)):
                place.close()
            if chance.random() < 0.1:
                place.take("ai/one/chat")
        for pool in ("ai/one", "ai/two", "ai/api"):
            truth = sum(1 for _, _, at in running if at is not None and at.rpartition("/")[0] == pool)
            assert places.in_flight(pool) == truth
    for place, _, _ in running:
        place.close()

    assert [places.in_flight(pool) for pool in ("ai/one", "ai/two", "ai/api")] == [0, 0, 0]


def test_limits_change_and_counts_stay() -> None:
    places = Places(config({"ai/one": 2}))
    running = taken(places, "ai/one/draft", 2)
    places.adopt(config({"ai/one": 3}))

    assert places.in_flight("ai/one") == 2
    assert not places.full("ai/one/draft")
    places.adopt(config({"ai/one": 1}))
    running[0].close()
    assert places.full("ai/one/draft")
    running[1].close()
    assert not places.full("ai/one/draft")
