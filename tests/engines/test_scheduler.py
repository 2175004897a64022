"""Continuous batching in virtual time: the formula, the order, the limits, preemption and the prefix cache."""

import dataclasses
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e.engines.iteration_time import IterationTime
from e2e.engines.scheduler import Iteration, Limits, Request, RequestTooLongError, Scheduler, Sequence, State
from e2e.engines.tokens import tokenize

TEN_PLUS_ONE = IterationTime(alpha_ms=10, beta_ms=1, gamma_ms=0)
REAL = IterationTime(alpha_ms=6.1, beta_ms=0.05, gamma_ms=0.0004)
FOREVER = 1e9


def prompt(tokens: int, name: str = "a") -> bytes:
    """A prompt that shares no block with one of another name."""
    return tokenize(name.ljust(64, "-") * (tokens // 16 + 1))[: tokens * 4]


def ask(prompt_tokens: int, output_tokens: int, name: str = "a") -> Request:
    return Request(prompt(prompt_tokens, name), output_tokens)


def play(scheduler: Scheduler) -> list[Iteration]:
    """Run to the end of all work."""
    return scheduler.advance(FOREVER)


def time_per_output_token(sequence: Sequence) -> float:
    assert sequence.first_token_at is not None
    assert sequence.last_token_at is not None
    return (sequence.last_token_at - sequence.first_token_at) / (sequence.generated - 1)


def test_two_requests_take_the_times_of_the_worked_example() -> None:
    scheduler = Scheduler(Limits(), TEN_PLUS_ONE)
    first = scheduler.submit(ask(8, 3, "a"), 0.0)
    second = scheduler.submit(ask(8, 3, "b"), 0.0)
    play(scheduler)
    assert first.first_token_at == pytest.approx(0.018)  # 10 + 8
    assert second.first_token_at == pytest.approx(0.018 + 0.019)  # 10 + 8 prefill + 1 decode of the first
    assert first.last_token_at == pytest.approx(0.037 + 0.012)  # 10 + 2
    assert second.last_token_at == pytest.approx(0.049 + 0.011)  # 10 + 1


@pytest.mark.parametrize("batch", [1, 4, 16, 64])
def test_time_per_output_token_at_batch_b_is_alpha_plus_b_times_beta_and_context(batch: int) -> None:
    scheduler = Scheduler(Limits(max_sequences=64, max_batched_tokens=100_000, blocks=100_000), REAL)
    blocker = scheduler.submit(ask(1, 1, "blocker"), 0.0)  # so that all others start in one iteration
    sequences = [scheduler.submit(ask(1000, 101, f"{number:03}"), 0.0) for number in range(batch)]
    play(scheduler)
    assert blocker.state is State.FINISHED
    # The 100 decodes read contexts of 1,001 to 1,100 tokens: 1,050.5 on average.
    expected_ms = 6.1 + batch * (0.05 + 0.0004 * 1050.5)
    for sequence in sequences:
        assert time_per_output_token(sequence) * 1000 == pytest.approx(expected_ms)


def test_throughput_of_a_full_batch_is_its_size_over_the_iteration_time() -> None:
    scheduler = Scheduler(Limits(max_sequences=8, blocks=10_000), IterationTime(5, 0.5, 0))
    for number in range(80):
        scheduler.submit(ask(16, 200, f"{number:03}"), 0.0)
    iterations = play(scheduler)
    steady = [one for one in iterations if len(one.work) == 8 and all(count == 1 for _, count in one.work)]
    tokens_per_second = sum(len(one.produced) for one in steady) / sum(one.seconds for one in steady)
    assert len(steady) > 1500
    assert tokens_per_second == pytest.approx(8 / 0.009)  # 5 + 8 * 0.5 ms


def test_under_random_arrivals_the_mean_is_that_of_the_planners_model() -> None:
    """Averages: T = alpha + b (beta (in + out) / (out + 1) + gamma (in + out / 2)), and b = rate * out * T.

    In 200, out 100, 20 requests/s: per sequence 0.1485 + 0.1 = 0.2485 ms, so T = 6.1 + 0.2485 * 2 T = 12.13 ms.
    """
    scheduler = Scheduler(Limits(max_sequences=256, blocks=20_000), REAL)
    random = Random(1)
    now, sequences = 0.0, []
    for number in range(3000):
        now += random.expovariate(20)
        scheduler.advance(now)
        sequences.append(scheduler.submit(ask(200, 100, f"{number:04}"), now))
    play(scheduler)
    mean_ms = 1000 * sum(map(time_per_output_token, sequences)) / len(sequences)
    assert mean_ms == pytest.approx(12.13, rel=0.05)


def test_prefill_is_cut_into_chunks_of_the_token_budget_beside_running_decodes() -> None:
    scheduler = Scheduler(Limits(max_batched_tokens=100), TEN_PLUS_ONE)
    runner = scheduler.submit(ask(10, 50, "runner"), 0.0)
    scheduler.advance(0.0201)
    long = scheduler.submit(ask(250, 1, "long"), 0.0202)
    iterations = play(scheduler)
    chunks = [count for one in iterations for sequence, count in one.work if sequence is long]
    assert chunks == [99, 99, 52]
    stalls = [gap for one in iterations for sequence, gap in one.produced if sequence is runner and gap is not None]
    assert max(stalls) == pytest.approx(0.110)  # 10 + 99 + 1: the budget bounds how long a decode waits


def test_prefill_can_have_its_own_rate() -> None:
    scheduler = Scheduler(Limits(), dataclasses.replace(TEN_PLUS_ONE, prefill_ms_per_token=0.1))
    sequence = scheduler.submit(ask(1000, 2), 0.0)
    play(scheduler)
    assert sequence.first_token_at == pytest.approx(0.110)
    assert sequence.last_token_at == pytest.approx(0.121)


def test_the_time_factor_scales_every_duration() -> None:
    ends = []
    for factor in (1.0, 0.1):
        scheduler = Scheduler(Limits(), dataclasses.replace(REAL, time_factor=factor))
        sequence = scheduler.submit(ask(500, 20), 0.0)
        play(scheduler)
        ends.append(sequence.last_token_at or 0.0)
    assert ends[1] == pytest.approx(ends[0] * 0.1)


def test_requests_are_admitted_first_come_first_served() -> None:
    scheduler = Scheduler(Limits(max_sequences=2), REAL)
    sequences = [scheduler.submit(ask(20, 5 + number % 3, f"{number:02}"), 0.0) for number in range(12)]
    admitted = [sequence for one in play(scheduler) for sequence in one.admitted]
    assert admitted == sequences


def test_a_small_request_does_not_overtake_a_large_one_that_waits_for_blocks() -> None:
    scheduler = Scheduler(Limits(blocks=10, max_model_tokens=160), REAL)
    scheduler.submit(ask(90, 20, "first"), 0.0)  # 6 to 7 of 10 blocks
    large = scheduler.submit(ask(100, 2, "large"), 0.0)
    small = scheduler.submit(ask(4, 2, "small"), 0.0)
    scheduler.advance(0.05)
    assert (large.state, small.state) == (State.WAITING, State.WAITING)
    order = [sequence for one in play(scheduler) for sequence in one.admitted]
    assert order.index(large) < order.index(small)


def test_a_late_call_changes_nothing_but_when_we_hear_of_it() -> None:
    times = []
    for step in (0.001, 7.0):
        scheduler = Scheduler(Limits(max_sequences=3), REAL)
        sequences = [scheduler.submit(ask(40, 30, f"{number:02}"), 0.0) for number in range(5)]
        now = 0.0
        while scheduler.next_event_at is not None:
            now += step
            scheduler.advance(now)
        times.append([(sequence.first_token_at, sequence.last_token_at) for sequence in sequences])
    assert times[0] == times[1]


def test_the_youngest_is_preempted_when_blocks_run_out_and_still_gets_all_its_tokens() -> None:
    scheduler = Scheduler(Limits(blocks=8, max_model_tokens=128), REAL)
    old = scheduler.submit(ask(32, 60, "old"), 0.0)
    young = scheduler.submit(ask(32, 60, "young"), 0.0)
    iterations = play(scheduler)
    assert [sequence for one in iterations for sequence in one.preempted] == [young] * young.preemptions
    assert young.preemptions >= 1
    assert old.preemptions == 0
    assert (old.generated, young.generated) == (60, 60)


def test_a_preempted_request_resumes_from_what_the_cache_still_holds() -> None:
    scheduler = Scheduler(Limits(blocks=8, max_model_tokens=128), TEN_PLUS_ONE)
    scheduler.submit(ask(32, 60, "old"), 0.0)
    young = scheduler.submit(ask(32, 40, "young"), 0.0)
    iterations = play(scheduler)
    work = [count for one in iterations for sequence, count in one.work if sequence is young]
    recomputed = sum(work) - (32 + 40 - 1)
    assert young.preemptions == 1
    assert 0 < recomputed < 48  # it had computed more than 48 tokens when it lost its place


def test_a_second_request_hits_all_full_blocks_of_the_first_and_computes_the_rest() -> None:
    scheduler = Scheduler(Limits(), TEN_PLUS_ONE)
    shared = prompt(1000)
    cold = scheduler.submit(Request(shared, 1), 0.0)
    play(scheduler)
    warm = scheduler.submit(Request(shared, 1), 10.0)
    play(scheduler)
    assert (cold.cached_tokens, cold.created_cache_tokens) == (0, 992)  # 62 of 62.5 blocks
    assert (warm.cached_tokens, warm.created_cache_tokens) == (992, 0)
    assert warm.first_token_at == pytest.approx(10.018)  # 8 tokens computed


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    scheduler = Scheduler(Limits(), TEN_PLUS_ONE)
    for at in (0.0, 10.0):
        sequence = scheduler.submit(ask(64, 1), at)
        play(scheduler)
    assert sequence.cached_tokens == 48


def test_of_three_at_once_on_a_cold_prefix_one_computes_and_two_hit() -> None:
    scheduler = Scheduler(Limits(max_batched_tokens=8192), TEN_PLUS_ONE)
    scheduler.submit(ask(1, 1, "blocker"), 0.0)
    three = [scheduler.submit(Request(prompt(1000) + prompt(8, str(number)), 4), 0.0) for number in range(3)]
    play(scheduler)
    assert [sequence.cached_tokens for sequence in three] == [0, 992, 992]


def test_the_next_turn_of_a_conversation_hits_the_generated_blocks_too() -> None:
    scheduler = Scheduler(Limits(), TEN_PLUS_ONE)
    first = scheduler.submit(Request(prompt(64), 65, answer_seed=7), 0.0)
    play(scheduler)
    history = first.tokens(0, 129)
    second = scheduler.submit(Request(history + prompt(10, "next"), 1), 100.0)
    play(scheduler)
    assert second.cached_tokens == 128


def test_the_oldest_prefix_is_evicted_and_only_that() -> None:
    scheduler = Scheduler(Limits(blocks=16, max_model_tokens=128), TEN_PLUS_ONE)
    cached = {}
    for at, name in enumerate(("a", "b", "c", "b", "a")):
        sequence = scheduler.submit(ask(100, 1, name), float(at * 100))
        play(scheduler)
        cached[at] = sequence.cached_tokens
    assert cached[3] == 96
    assert cached[4] < 96


def test_a_cancelled_request_frees_its_place_and_leaves_its_blocks_in_the_cache() -> None:
    scheduler = Scheduler(Limits(max_sequences=1), TEN_PLUS_ONE)
    gone = scheduler.submit(ask(100, 100, "gone"), 0.0)
    waiting = scheduler.submit(ask(10, 1, "next"), 0.0)
    scheduler.advance(0.2)
    scheduler.cancel(gone)
    play(scheduler)
    assert gone.state is State.ABORTED
    assert waiting.state is State.FINISHED
    assert scheduler.pool.references() == 0
    again = scheduler.submit(ask(100, 1, "gone"), 100.0)
    play(scheduler)
    assert again.cached_tokens == 96


def test_a_cancelled_request_that_waits_is_never_admitted() -> None:
    scheduler = Scheduler(Limits(max_sequences=1), REAL)
    scheduler.submit(ask(10, 5, "first"), 0.0)
    gone = scheduler.submit(ask(10, 5, "gone"), 0.0)
    scheduler.cancel(gone)
    assert gone not in [sequence for one in play(scheduler) for sequence in one.admitted]


def test_what_can_never_fit_is_refused() -> None:
    scheduler = Scheduler(Limits(max_model_tokens=100, blocks=5), REAL)
    with pytest.raises(RequestTooLongError, match="maximum context length is 100 tokens"):
        scheduler.submit(ask(90, 11), 0.0)
    with pytest.raises(RequestTooLongError, match="KV cache of 5 blocks"):
        scheduler.submit(ask(80, 1), 0.0)


def test_an_idle_engine_has_no_next_event() -> None:
    scheduler = Scheduler(Limits(), REAL)
    assert scheduler.next_event_at is None
    scheduler.submit(ask(10, 1), 5.0)
    assert scheduler.next_event_at == pytest.approx(5.0 + REAL.seconds(10, 0, 10))
    play(scheduler)
    assert scheduler.next_event_at is None


arrivals = st.lists(
    st.tuples(
        st.floats(0, 0.3),  # seconds after the one before
        st.integers(1, 90),  # prompt tokens
        st.integers(1, 40),  # output tokens
        st.sampled_from("abc"),  # prompts of one name share their beginning
        st.booleans(),  # cancelled later
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(arrivals, st.integers(1, 6), st.integers(9, 20), st.integers(7, 64))
def test_no_block_leaks_and_no_token_is_lost(
    plan: list[tuple[float, int, int, str, bool]], seats: int, blocks: int, budget: int
) -> None:
    limits = Limits(max_sequences=seats, max_batched_tokens=budget, max_model_tokens=130, blocks=blocks)
    scheduler = Scheduler(limits, REAL)
    now, sequences, ended = 0.0, [], []
    for wait, prompt_tokens, output_tokens, name, cancelled in plan:
        now += wait
        ended += scheduler.advance(now)
        sequence = scheduler.submit(ask(prompt_tokens, output_tokens, name), now)
        sequences.append((sequence, cancelled))
        assert len(scheduler.running) <= seats
        assert scheduler.pool.in_use <= blocks
        held = {block for one in scheduler.running for block in one.blocks}
        assert scheduler.pool.in_use == len(held)
        assert scheduler.pool.references() == sum(len(one.blocks) for one in scheduler.running)
    ended += scheduler.advance(now + 0.05)
    for sequence, cancelled in sequences:
        if cancelled:
            scheduler.cancel(sequence)
    ended += play(scheduler)

    assert scheduler.pool.references() == 0
    assert scheduler.pool.in_use == 0
    assert not scheduler.running
    assert not scheduler.waiting
    produced = [sequence for one in ended for sequence, _gap in one.produced]
    for sequence, cancelled in sequences:
        assert produced.count(sequence) == sequence.generated
        if not cancelled:
            assert sequence.state is State.FINISHED
            assert sequence.generated == sequence.request.output_tokens
            assert sequence.cached_tokens <= sequence.prompt_tokens - 1
            # Every token but the last was computed at least once, unless the cache had it.
            work = sum(count for one in ended for worker, count in one.work if worker is sequence)
            needed = sequence.prompt_tokens + sequence.generated - 1
            assert work >= needed - sequence.cached_tokens - sequence.preemptions * limits.max_model_tokens
            if not sequence.preemptions:
                assert work == needed - sequence.cached_tokens
    times = [one.ends_at for one in ended]
    assert times == sorted(times)
    assert all(sum(count for _, count in one.work) <= budget for one in ended)
