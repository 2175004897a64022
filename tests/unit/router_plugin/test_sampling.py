"""The sample: a fixed share of the requests, the same in every process, and never much more."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.router_plugin.sampling import Allowance, sampled


@given(st.binary(max_size=200), st.floats(0, 1), st.floats(0, 1))
def test_who_belongs_to_a_sample_belongs_to_every_larger_one(content: bytes, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert sampled(content, "judge", small) == sampled(content, "judge", small)
    assert not sampled(content, "judge", small) or sampled(content, "judge", large)


@pytest.mark.parametrize("ratio", [0.02, 0.05, 0.5])
def test_the_share_is_what_was_asked_for_and_even_over_the_requests(ratio: float) -> None:
    number, parts = 40_000, 8
    drawn = [sampled(b"request %d" % index, "judge", ratio) for index in range(number)]
    for part in range(parts):
        found = sum(drawn[part::parts])
        each = number / parts
        assert abs(found - each * ratio) < 5 * math.sqrt(each * ratio * (1 - ratio))


def test_a_judge_and_a_shadow_draw_independently() -> None:
    requests = [b"request %d" % index for index in range(40_000)]
    both = sum(sampled(one, "judge", 0.2) and sampled(one, "shadow", 0.2) for one in requests)
    assert abs(both - 0.04 * len(requests)) < 5 * math.sqrt(len(requests) * 0.04 * 0.96)


@given(st.floats(0, 1), st.integers(0, 3000))
def test_one_request_again_and_again_costs_no_more_than_twice_the_ratio(ratio: float, requests: int) -> None:
    allowance, spent = Allowance(), 0
    for _ in range(requests):
        allowance.earn(ratio)
        spent += allowance.spend()
    assert spent <= Allowance.BURST + Allowance.MARGIN * ratio * requests + 1e-6


def test_an_honest_stream_of_requests_is_never_cut() -> None:
    allowance, cut = Allowance(), 0
    for index in range(100_000):
        allowance.earn(0.05)
        cut += sampled(b"%d" % index, "judge", 0.05) and not allowance.spend()
    assert cut == 0
