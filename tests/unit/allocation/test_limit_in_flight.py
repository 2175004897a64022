"""What the plan lets a router have in flight per replica."""

from __future__ import annotations

from comptroller.allocation.capacity import FULLNESS, largest_batch
from comptroller.allocation.decide import decide
from comptroller.allocation.problem import shape_of
from comptroller.allocation.snapshot import Route
from tests.unit.allocation.build import H100, demand, hosted, local, route, snapshot


def chat(dispersion: float = 1.0) -> Route:
    """Long answers: they hold places and hardly slow the others down."""
    return route("chat", demand=demand(1.5, input_tokens=50.0, output_tokens=400.0, dispersion=dispersion))


def search(dispersion: float = 1.0) -> Route:
    """Long prompts and short answers: they slow everybody down."""
    return route("search", demand=demand(1.0, input_tokens=3000.0, output_tokens=20.0, dispersion=dispersion))


def limit(*routes: Route) -> int:
    return decide(snapshot(local(serving=1, previous=1, maximum=1), hosted(), *routes)).pools["ai/own"].max_concurrency


def test_it_is_that_of_the_mix() -> None:
    alone = largest_batch(H100, [shape_of(chat(), 1.5)])
    assert limit(chat()) == alone > 64  # places run out first: some may wait
    assert limit(chat(), search()) <= round(FULLNESS * 64) < alone


def test_it_allows_for_a_burst_of_those_that_slow_the_others_down() -> None:
    assert limit(chat(), search(dispersion=50.0)) < limit(chat(), search()) < limit(chat())


def test_a_burst_of_those_that_do_not_is_no_reason_for_a_lower_one() -> None:
    assert limit(chat(dispersion=50.0), search()) == limit(chat(), search())


def test_alone_nobody_bursts_into_another_mix() -> None:
    assert limit(chat(dispersion=50.0)) == limit(chat())
