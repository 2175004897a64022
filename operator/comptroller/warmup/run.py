"""Fills the caches of one replica with every prefix, and then proves by a second request that each is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

from comptroller.warmup.plan import Plan, PlannedPrefix, digest
from comptroller.warmup.remedies import NOT_CACHED, NOT_TOLD, PUSHED_OUT, UNREACHABLE
from comptroller.warmup.request import Answer, RefusedError, ask
from comptroller.warmup.result import Measured, Result
from comptroller.warmup.snapshots import Snapshots, open_snapshots

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
NEVER_CACHED_TOKENS = 32
"""The question itself, the end of the chat template and a block that is not full (16 tokens on GPUs) are never cached:
they do not count as missing. The hit ratio of 3,031 tokens of which 2,992 were found is 2,992 / (3,031 - 32), not
less."""


@dataclass(slots=True)
class Filled:
    """How far one prefix is."""

    prefix: PlannedPrefix
    cold_seconds: float | None = None  # None: restored
    restored: bool = False
    second: list[Answer] = field(default_factory=list)
    error: str = ""
    wrong: bool = False

    @property
    def hit_ratio(self) -> float:
        """Of its worst cache."""
        return min((hit_ratio(one) for one in self.second), default=0.0)


@dataclass(slots=True)
class Warming:
    """One run under way: the replica, and all answers so far."""

    plan: Plan
    client: httpx.AsyncClient
    snapshots: Snapshots | None
    deadline: float
    limit: asyncio.Semaphore
    answers: list[Answer] = field(default_factory=list)

    async def fill(self, one: Filled) -> None:
        """Gets the prefix into each of its caches: from a saved one where there is any, else by computing it."""
        first, *others = one.prefix.slots or (None,)
        known = False  # whether a saved cache is good for the other slots
        if first is not None and self.snapshots is not None and not one.restored:
            one.restored = known = await self.snapshots.restored(one.prefix, first)
        if not known:
            one.restored = False
            one.cold_seconds = (await self.ask(one.prefix, ".", first)).first_token_seconds
            if first is not None and self.snapshots is not None:
                known = await self.snapshots.saved(one.prefix, first)
        for slot in others:
            if not (known and self.snapshots is not None and await self.snapshots.restored(one.prefix, slot)):
                seconds = (await self.ask(one.prefix, ".", slot)).first_token_seconds
                one.cold_seconds = max(one.cold_seconds or 0.0, seconds)

    async def check(self, one: Filled) -> None:
        """Asks each cache again. What was restored and does not hold the prefix is computed after all."""
        await self._second(one)
        if one.restored and one.hit_ratio < self.plan.minimum_hit_ratio:
            await self.fill(one)
            await self._second(one)

    async def _second(self, one: Filled) -> None:
        one.second = [await self.ask(one.prefix, "?", slot) for slot in one.prefix.slots or (None,)]

    async def ask(self, prefix: PlannedPrefix, question: str, slot: int | None) -> Answer:
        """Asks until there is an answer or the time is up. An engine that is busy or just starting is asked again; what
        an interrupted prefill has finished stays cached, so that a further try is shorter."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with self.limit:
                    answer = await ask(self.client, self.plan.model, prefix, question, slot)
            except httpx.HTTPError:
                if time.monotonic() + pause >= self.deadline:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self.answers.append(answer)
                return answer


async def warm(plan: Plan) -> Result:
    """Warms one replica. All prefixes are sent before the first is checked: what the last one has pushed out is a miss.
    A prefix that is refused does not keep the others from being warmed."""
    # A prefill of a long prefix sends nothing for minutes; the deadline ends it.
    timeout = httpx.Timeout(plan.deadline_seconds, connect=5.0)
    deadline = time.monotonic() + plan.deadline_seconds
    filled = [Filled(prefix) for prefix in plan.prefixes]
    async with httpx.AsyncClient(base_url=plan.address, timeout=timeout) as client:
        snapshots = await open_snapshots(client, plan)
        work = Warming(plan, client, snapshots, deadline, asyncio.Semaphore(plan.concurrency))
        try:
            async with asyncio.timeout(plan.deadline_seconds):
                for step in (work.fill, work.check):
                    await asyncio.gather(*(_attempt(step, one) for one in filled if not one.error))
        except TimeoutError:
            for one in filled:
                one.error = one.error or ("" if one.second else f"not done within {plan.deadline_seconds:.0f} s")
    return judged(plan, filled, work.answers)


async def _attempt(step: Callable[[Filled], Awaitable[None]], one: Filled) -> None:
    try:
        await step(one)
    except RefusedError as error:
        one.error, one.wrong = str(error), True
    except httpx.TransportError as error:
        one.error = f"{type(error).__name__}: {UNREACHABLE}"
    except httpx.HTTPError as error:
        one.error = _without_address(error)


def _without_address(error: httpx.HTTPError) -> str:
    """The status of an answer that stayed an error. Its text may repeat the prefix."""
    answer = error.response if isinstance(error, httpx.HTTPStatusError) else None
    return f"the engine answered {answer.status_code} to the end" if answer is not None else type(error).__name__


def judged(plan: Plan, filled: list[Filled], answers: list[Answer]) -> Result:
    """The worst cache counts for each prefix, and the worst prefix for the run."""
    measured = tuple(_measured(one) for one in filled if one.second)
    errors = [text for one in filled if (text := _problem(plan, one))]
    said = dict.fromkeys(errors)
    return Result(
        measured,
        warm=not errors,
        error="; ".join(said),
        wrong=any(one.wrong for one in filled) and all(one.wrong or not _problem(plan, one) for one in filled),
        digest=digest(plan.prefixes),
        prompt_tokens=sum(one.prompt_tokens for one in answers),
        cached_tokens=sum(one.cached_tokens or 0 for one in answers),
    )


def _measured(one: Filled) -> Measured:
    return Measured(
        one.prefix.name,
        tokens=max(answer.prompt_tokens for answer in one.second),
        cold_ms=None if one.cold_seconds is None else round(1000 * one.cold_seconds),
        warm_ms=round(1000 * max(answer.first_token_seconds for answer in one.second)),
        hit_ratio=one.hit_ratio,
    )


def _problem(plan: Plan, one: Filled) -> str:
    if one.error:
        return one.error
    if one.hit_ratio >= plan.minimum_hit_ratio:
        return ""
    if any(answer.cached_tokens is None for answer in one.second):
        return NOT_TOLD
    tokens = max(answer.prompt_tokens for answer in one.second)
    said = (
        f"prefix {one.prefix.name}: {one.hit_ratio:.0%} of {tokens} tokens were cached, "
        f"{plan.minimum_hit_ratio:.0%} are wanted"
    )
    return f"{said}: {NOT_CACHED if one.hit_ratio == 0.0 else PUSHED_OUT}"


def hit_ratio(answer: Answer) -> float:
    """Share of the prefix that was found cached, between 0 and 1."""
    return min(1.0, (answer.cached_tokens or 0) / max(1, answer.prompt_tokens - NEVER_CACHED_TOKENS))
