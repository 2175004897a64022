"""When the tokens of a hosted API arrive.

    time to first token = first_token + (prompt tokens not cached) / prefill rate
    then one token every `output_token` seconds

Other people's load is invisible from here, so there is no queue: a hosted API is as fast at any rate, up to its limits.
Tokens that fall due within 20 ms are written together, as the engine does (engine_loop.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from .engine_loop import WAKE_INTERVAL_SECONDS

# Nobody watches an answer that is not streamed grow; this is only how exactly a given-up one is charged.
_WHOLE_ANSWER_INTERVAL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Latency:
    first_token_ms: float = 350.0
    output_token_ms: float = 12.0
    prefill_tokens_per_second: float = 20_000.0
    time_factor: float = 1.0  # multiplies every duration: 0.1 is ten times faster

    def first_token_seconds(self, uncached_tokens: int) -> float:
        """Worked: 350 ms and 10,000 uncached tokens at 20,000/s: 0.35 + 0.5 = 0.85 s; all cached: 0.35 s."""
        return (self.first_token_ms / 1000 + uncached_tokens / self.prefill_tokens_per_second) * self.time_factor

    async def arrivals(self, uncached_tokens: int, output_tokens: int, *, stream: bool) -> AsyncIterator[int]:
        """Yields how many tokens are there, each time there are more: 1 first, `output_tokens` last."""
        loop = asyncio.get_running_loop()
        first_at = loop.time() + self.first_token_seconds(uncached_tokens)
        await asyncio.sleep(first_at - loop.time())
        per_token = self.output_token_ms / 1000 * self.time_factor
        interval = max(per_token, WAKE_INTERVAL_SECONDS if stream else _WHOLE_ANSWER_INTERVAL_SECONDS)
        ready = 1
        yield ready
        while ready < output_tokens:
            if per_token > 0:
                last_at = first_at + per_token * (output_tokens - 1)
                await asyncio.sleep(min(interval, max(0.0, last_at - loop.time())))
                due = output_tokens if loop.time() >= last_at else 1 + int((loop.time() - first_at) / per_token)
            else:
                due = output_tokens
            if due > ready:
                ready = min(due, output_tokens)
                yield ready
