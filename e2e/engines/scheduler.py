"""Continuous batching, as a pure machine: requests and times go in, tokens with their times come out.

One iteration at a time, the whole running batch moves forward together (the scheme of Orca and of vLLM's V1
scheduler). Before each iteration the scheduler decides what it computes:

1. Sequences that run, oldest first: the next token of one that decodes, or the next chunk of one still in prefill,
   within a budget of `max_batched_tokens`. If no KV block is left, the youngest sequence is preempted: it loses its
   blocks and goes back to the head of the queue, to be computed again (its prefix may still be cached).
2. If nobody was preempted, waiting sequences, strictly first come first served, while there are seats
   (`max_sequences`), budget and blocks. What the prefix cache holds is not computed.

The iteration then takes `IterationTime.seconds`, and each sequence whose known tokens are all computed gets one token.

The machine has no clock: `advance(now)` plays every iteration that has ended by `now`, each at its own exact time,
however late the call. So tests run in virtual time, and a server may wake up rarely without bending the figures.

Worked: alpha 10 ms, beta 1 ms, gamma 0. Two requests of 8 prompt tokens, wanting 3 tokens each, arrive one right after
the other. The first is prefilled alone, 10 + 8 = 18 ms; the second beside a decode of the first, 10 + 8 + 1 = 19 ms;
both decode, 10 + 2 = 12 ms, which ends the first at 49 ms; the second decodes alone, 11 ms, and ends at 60 ms.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from .iteration_time import IterationTime
from .prefix_cache import BlockHash, BlockPool, block_hashes
from .tokens import BYTES_PER_TOKEN, count_tokens, generated_text, tokenize


class RequestTooLongError(ValueError):
    """The request could never run, not even alone on an empty engine."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine can hold. Names of vLLM: max_num_seqs, max_num_batched_tokens, max_model_len, block_size."""

    max_sequences: int = 64
    max_batched_tokens: int = 2048
    max_model_tokens: int = 8192
    block_size: int = 16
    blocks: int = 4096

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt, and exactly how many tokens its answer will have."""

    prompt: bytes
    output_tokens: int
    answer_seed: int = 0
    cache_salt: bytes = b""


class State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    ABORTED = "aborted"


@dataclass(slots=True, eq=False)
class Sequence:
    """One request on its way through the engine. Times are seconds of the caller's clock."""

    request: Request
    arrived_at: float
    prompt_tokens: int
    chain: list[BlockHash]  # hashes of the full blocks known so far
    state: State = State.WAITING
    blocks: list[int] = field(default_factory=list)
    computed: int = 0  # tokens whose keys and values are in the blocks
    generated: int = 0
    cached_tokens: int = 0  # prompt tokens found in the cache at first admission
    created_cache_tokens: int = 0  # prompt tokens this request added to the cache
    preemptions: int = 0
    admitted_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None

    @property
    def known(self) -> int:
        """Tokens that exist: the prompt and what was generated."""
        return self.prompt_tokens + self.generated

    def tokens(self, start: int, end: int) -> bytes:
        """Known tokens by position; the prompt's padded to whole tokens already, the answer's from its seed."""
        prompt = self.request.prompt[start * BYTES_PER_TOKEN : end * BYTES_PER_TOKEN]
        first, last = max(0, start - self.prompt_tokens), end - self.prompt_tokens
        return prompt if last <= 0 else prompt + tokenize(generated_text(self.request.answer_seed, first, last))


@dataclass(slots=True)
class Iteration:
    """One step of the whole batch, and what came of it."""

    ends_at: float
    seconds: float
    work: list[tuple[Sequence, int]]  # sequence, tokens computed for it
    admitted: list[Sequence]  # for the first time
    preempted: list[Sequence]
    produced: list[tuple[Sequence, float | None]] = field(default_factory=list)  # seconds since its token before
    finished: list[Sequence] = field(default_factory=list)


class Scheduler:
    def __init__(self, limits: Limits, iteration_time: IterationTime) -> None:
        self.limits = limits
        self.iteration_time = iteration_time
        self.pool = BlockPool(limits.blocks)
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._iteration: Iteration | None = None

    @property
    def next_event_at(self) -> float | None:
        """When the iteration under way ends; None when there is nothing to do."""
        return None if self._iteration is None else self._iteration.ends_at

    def submit(self, request: Request, now: float) -> Sequence:
        """Queue a request. Call `advance(now)` first, so that the past is settled before the future changes.

        Raises RequestTooLongError if prompt and answer exceed the model's context or the whole KV cache.
        """
        prompt_tokens = count_tokens(request.prompt)
        wanted = prompt_tokens + request.output_tokens
        if wanted > self.limits.max_model_tokens:
            raise RequestTooLongError(
                f"This model's maximum context length is {self.limits.max_model_tokens} tokens. However, you requested "
                f"{request.output_tokens} output tokens and your prompt contains {prompt_tokens} tokens, "
                f"{wanted} in all. Shorten the prompt or lower max_tokens."
            )
        if self.limits.blocks_for(wanted) > self.limits.blocks:
            raise RequestTooLongError(f"{wanted} tokens do not fit the KV cache of {self.limits.blocks} blocks")
        if prompt_tokens < 1 or request.output_tokens < 1:
            raise ValueError("a request has at least one prompt token and one output token")
        chain = block_hashes(request.prompt, self.limits.block_size, request.cache_salt)
        sequence = Sequence(request, now, prompt_tokens, chain)
        self.waiting.append(sequence)
        if self._iteration is None:
            self._begin(now)
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Forget a request whose client has gone: its blocks are free at once, what it computed stays cached."""
        if sequence.state is State.WAITING:
            self.waiting.remove(sequence)
        elif sequence.state is State.RUNNING:
            self.running.remove(sequence)
            self._release(sequence)
        else:
            return
        sequence.state = State.ABORTED

    def advance(self, now: float) -> list[Iteration]:
        """Play every iteration that ends at or before `now`; returns them, oldest first."""
        ended: list[Iteration] = []
        while self._iteration is not None and self._iteration.ends_at <= now:
            iteration = self._iteration
            self._end(iteration)
            ended.append(iteration)
            self._begin(iteration.ends_at)
        return ended

    def _begin(self, at: float) -> None:
        self._iteration = None
        if not self.running and not self.waiting:
            return
        work, preempted, budget = self._continue_running()
        admitted = [] if preempted else self._admit_waiting(work, budget, at)
        prefill = decode = context = 0
        for sequence, count in work:
            context += sequence.computed + count
            if sequence.generated and count == 1:
                decode += 1
            else:
                prefill += count
        seconds = self.iteration_time.seconds(prefill, decode, context)
        self._iteration = Iteration(at + seconds, seconds, work, admitted, preempted)

    def _continue_running(self) -> tuple[list[tuple[Sequence, int]], list[Sequence], int]:
        work: list[tuple[Sequence, int]] = []
        preempted: list[Sequence] = []
        budget = self.limits.max_batched_tokens
        position = 0
        while position < len(self.running) and budget > 0:
            sequence = self.running[position]
            count = min(sequence.known - sequence.computed, budget)
            missing = self.limits.blocks_for(sequence.computed + count) - len(sequence.blocks)
            while missing > self.pool.free:
                victim = self.running.pop()
                self._preempt(victim)
                preempted.append(victim)
                if victim is sequence:
                    return work, preempted, budget
            if missing > 0:
                sequence.blocks += self.pool.take(missing)
            self._remember(sequence, count)
            work.append((sequence, count))
            budget -= count
            position += 1
        return work, preempted, budget

    def _admit_waiting(self, work: list[tuple[Sequence, int]], budget: int, at: float) -> list[Sequence]:
        admitted: list[Sequence] = []
        while self.waiting and budget > 0 and len(self.running) < self.limits.max_sequences:
            sequence = self.waiting[0]
            # The last token is always computed, or there would be nothing to sample the next one from.
            hit = self.pool.longest_hit(sequence.chain)[: (sequence.known - 1) // self.limits.block_size]
            cached = len(hit) * self.limits.block_size
            count = min(sequence.known - cached, budget)
            missing = self.limits.blocks_for(cached + count) - len(hit)
            if not self.pool.fits(hit, missing):
                break  # first come, first served: nobody overtakes the head of the queue
            self.waiting.popleft()
            self.pool.hold(hit)
            sequence.blocks = hit + self.pool.take(missing)
            sequence.computed = cached
            sequence.state = State.RUNNING
            self.running.append(sequence)
            if sequence.admitted_at is None:
                sequence.admitted_at = at
                sequence.cached_tokens = cached
                admitted.append(sequence)
            self._remember(sequence, count)
            work.append((sequence, count))
            budget -= count
        return admitted

    def _remember(self, sequence: Sequence, count: int) -> None:
        """Offer the blocks that this iteration fills to others, now: a twin admitted beside this one shares them."""
        size = self.limits.block_size
        first_block, filled = sequence.computed // size, (sequence.computed + count) // size
        for index in range(first_block, filled):
            if index == len(sequence.chain):
                salt = sequence.chain[-1] if sequence.chain else sequence.request.cache_salt
                sequence.chain += block_hashes(sequence.tokens(index * size, (index + 1) * size), size, salt)
            if self.pool.remember(sequence.blocks[index], sequence.chain[index]) and not sequence.generated:
                sequence.created_cache_tokens += size

    def _preempt(self, sequence: Sequence) -> None:
        self._release(sequence)
        sequence.state = State.WAITING
        sequence.preemptions += 1
        self.waiting.appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.computed = 0

    def _end(self, iteration: Iteration) -> None:
        for sequence, count in iteration.work:
            if sequence.state is not State.RUNNING:
                continue  # cancelled while it ran
            sequence.computed += count
            if sequence.computed < sequence.known:
                continue  # prefill goes on
            gap = None if sequence.last_token_at is None else iteration.ends_at - sequence.last_token_at
            sequence.generated += 1
            sequence.last_token_at = iteration.ends_at
            if sequence.first_token_at is None:
                sequence.first_token_at = iteration.ends_at
            iteration.produced.append((sequence, gap))
            if sequence.generated == sequence.request.output_tokens:
                self.running.remove(sequence)
                self._release(sequence)
                sequence.state = State.FINISHED
                iteration.finished.append(sequence)
