"""Sends every prefix once to fill the cache, and once more to prove that it is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import httpx

from comptroller.warmup.plan import Plan, PlannedPrefix
from comptroller.warmup.request import Answer, RefusedError, ask
from comptroller.warmup.result import Measured, Result

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
NEVER_CACHED_TOKENS = 32
"""The question itself, the end of the chat template and a block that is not full (16 tokens on GPUs) are never cached:
they do not count as missing. The hit ratio of 3,031 tokens of which 2,992 were found is 2,992 / (3,031 - 32), not
less."""


async def warm(plan: Plan) -> Result:
    """Warms one replica. All prefixes are sent before the first is checked: what the last one has pushed out is a
    miss."""
    deadline = time.monotonic() + plan.deadline_seconds
    limit = asyncio.Semaphore(plan.concurrency)
    # A prefill of a long prefix sends nothing for minutes; the deadline ends it.
    timeout = httpx.Timeout(plan.deadline_seconds, connect=5.0)
    async with httpx.AsyncClient(base_url=plan.address, timeout=timeout) as client:

        async def send(question: str) -> list[list[Answer]]:
            async def one(prefix: PlannedPrefix, slot: int | None) -> Answer:
                async with limit:
                    return await persistently(client, plan, prefix, question, slot, deadline)

            async def everywhere(prefix: PlannedPrefix, slots: list[int | None]) -> list[Answer]:
                return await asyncio.gather(*(one(prefix, slot) for slot in slots))

            return await asyncio.gather(*(everywhere(prefix, slots) for prefix, slots in assigned(plan)))

        try:
            cold = await asyncio.wait_for(send("."), plan.deadline_seconds)
            again = await asyncio.wait_for(send("?"), max(0.1, deadline - time.monotonic()))
        except RefusedError as error:
            return Result((), warm=False, error=str(error), wrong=True)
        except (TimeoutError, httpx.HTTPError) as error:
            problem = str(error) or f"not done within {plan.deadline_seconds:.0f} s"
            return Result((), warm=False, error=problem)
    return judged(plan, cold, again)


def assigned(plan: Plan) -> list[tuple[PlannedPrefix, list[int | None]]]:
    """Which caches each prefix goes to. One cache for all: one request. Slots with a cache each: they are dealt out, so
    that every prefix has at least one; with more prefixes than slots, some share and the last one stays.

    Two prefixes on five slots: the first on 0, 2 and 4, the second on 1 and 3.
    """
    if plan.slots == 0:
        return [(prefix, [None]) for prefix in plan.prefixes]
    number = len(plan.prefixes)
    return [
        (prefix, list[int | None](range(index, plan.slots, number)) or [index % plan.slots])
        for index, prefix in enumerate(plan.prefixes)
    ]


async def persistently(
    client: httpx.AsyncClient,
    plan: Plan,
    prefix: PlannedPrefix,
    question: str,
    slot: int | None,
    deadline: float,
) -> Answer:
    """Asks until there is an answer or the time is up. An engine that is busy or just starting is asked again; what an
    interrupted prefill has finished stays cached, so that a further try is shorter."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await ask(client, plan.model, prefix, question, slot)
        except httpx.HTTPError:
            if time.monotonic() + pause >= deadline:
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def judged(plan: Plan, cold: list[list[Answer]], again: list[list[Answer]]) -> Result:
    """The worst slot counts for each prefix, and the worst prefix for the run."""
    measured = tuple(
        Measured(
            prefix.name,
            tokens=max(answer.prompt_tokens for answer in second),
            cold_ms=_slowest_ms(first),
            warm_ms=_slowest_ms(second),
            hit_ratio=min(hit_ratio(answer) for answer in second),
        )
        for prefix, first, second in zip(plan.prefixes, cold, again, strict=True)
    )
    missed = [one for one in measured if one.hit_ratio < plan.minimum_hit_ratio]
    error = "; ".join(
        f"prefix {one.name}: {one.hit_ratio:.0%} of {one.tokens} tokens were cached, "
        f"{plan.minimum_hit_ratio:.0%} are wanted"
        for one in missed
    )
    return Result(measured, warm=not missed, error=error)


def hit_ratio(answer: Answer) -> float:
    """Share of the prefix that was found cached, between 0 and 1."""
    return min(1.0, answer.cached_tokens / max(1, answer.prompt_tokens - NEVER_CACHED_TOKENS))


def _slowest_ms(answers: Iterable[Answer]) -> int:
    return round(1000 * max(answer.first_token_seconds for answer in answers))
