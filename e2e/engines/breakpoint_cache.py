"""Anthropic's prompt cache: only marked prefixes are kept, writing costs extra, each hit renews the life.

Reading: from each breakpoint backwards, up to 20 blocks, the cache is asked for a prefix that ends there; the longest
one found (A tokens) is read. Writing: every later breakpoint whose prefix is long enough is stored. With B tokens up to
the last 1h breakpoint and C up to the last breakpoint of all, the request pays for A read, B - A written for an hour,
C - B written for five minutes, and the rest as plain input.

Worked: system of 2,000 tokens marked 1h, conversation of 500 more marked 5m, question of 40 after it. First request:
read 0, write 2,000 (1h) + 500 (5m), input 40. With another conversation of 500: read 2,000, write 500 (5m), input 40.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .breakpoint_prompt import BreakpointPrompt, PrefixBlock

LOOK_BACK_BLOCKS = 20
_SWEEP_ABOVE_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class CachePlan:
    """What a request reads, and what it will leave behind."""

    read_tokens: int
    write_5m_tokens: int
    write_1h_tokens: int
    input_tokens: int
    renew: PrefixBlock | None
    write: tuple[PrefixBlock, ...]


class BreakpointCache:
    def __init__(self, seconds_5m: float, seconds_1h: float, clock: Callable[[], float]) -> None:
        self._seconds = {"5m": seconds_5m, "1h": seconds_1h}
        self._clock = clock
        self._kept: dict[tuple[str, str, bytes], tuple[float, str]] = {}  # account, model, prefix: expiry, life

    def plan(self, account: str, model: str, prompt: BreakpointPrompt, minimum_tokens: int) -> CachePlan:
        """Look up; changes nothing."""
        hit = self._longest_hit(account, model, prompt)
        read = 0 if hit is None else prompt.blocks[hit].prefix_tokens
        write = tuple(
            prompt.blocks[position]
            for position in prompt.breakpoints
            if (hit is None or position > hit) and prompt.blocks[position].prefix_tokens >= minimum_tokens
        )
        hour_end = max((block.prefix_tokens for block in write if block.life == "1h"), default=read)
        write_end = max((block.prefix_tokens for block in write), default=read)
        return CachePlan(
            read_tokens=read,
            write_5m_tokens=write_end - hour_end,
            write_1h_tokens=hour_end - read,
            input_tokens=prompt.tokens - write_end,
            renew=None if hit is None else prompt.blocks[hit],
            write=write,
        )

    def commit(self, account: str, model: str, plan: CachePlan) -> None:
        """Keep what the plan writes and renew what it reads: when the answer begins, not before."""
        now = self._clock()
        if len(self._kept) > _SWEEP_ABOVE_ENTRIES:
            self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
        if plan.renew is not None:
            key = (account, model, plan.renew.prefix_hash)
            _expiry, life = self._kept.get(key, (now, "5m"))
            self._kept[key] = (now + self._seconds[life], life)
        for block in plan.write:
            if block.life is not None:
                self._kept[account, model, block.prefix_hash] = (now + self._seconds[block.life], block.life)

    def _longest_hit(self, account: str, model: str, prompt: BreakpointPrompt) -> int | None:
        now = self._clock()
        for breakpoint_at in reversed(prompt.breakpoints):
            for position in range(breakpoint_at, max(-1, breakpoint_at - LOOK_BACK_BLOCKS), -1):
                kept = self._kept.get((account, model, prompt.blocks[position].prefix_hash))
                if kept is not None and kept[0] > now:
                    return position
        return None
