"""OpenAI's automatic prompt cache: no marks, no fee for writing, prefixes of 1,024 tokens and more in steps of 128.

A prefix lives for a time after its last use and is shared by all requests of one account (the API key here). What is
cached of a prompt is a whole number of steps and never all of it: at least its last token is computed.

Worked: a prompt of 1,500 tokens stores its prefixes of 1,024, 1,152, 1,280 and 1,408 tokens; the same 1,300 tokens with
another question find 1,280.
"""

from __future__ import annotations

from collections.abc import Callable

from .prefix_cache import BlockHash, block_hashes
from .tokens import count_tokens

STEP_TOKENS = 128
_SWEEP_ABOVE_ENTRIES = 20_000


class AutomaticCache:
    def __init__(self, seconds_to_live: float, clock: Callable[[], float]) -> None:
        self.seconds_to_live = seconds_to_live
        self._clock = clock
        self._expires_at: dict[BlockHash, float] = {}

    def cached_tokens(self, account: str, prompt: bytes, minimum_tokens: int) -> int:
        """Tokens at the beginning of `prompt` that are cached now."""
        now = self._clock()
        chain = block_hashes(prompt, STEP_TOKENS, account.encode())[: (count_tokens(prompt) - 1) // STEP_TOKENS]
        for steps in range(len(chain), 0, -1):
            if steps * STEP_TOKENS < minimum_tokens:
                return 0
            if self._expires_at.get(chain[steps - 1], 0.0) > now:
                return steps * STEP_TOKENS
        return 0

    def store(self, account: str, prompt: bytes, minimum_tokens: int) -> None:
        """Keep the prefixes of `prompt`, those found and those new; called when its first token is there."""
        now = self._clock()
        if len(self._expires_at) > _SWEEP_ABOVE_ENTRIES:
            self._expires_at = {link: at for link, at in self._expires_at.items() if at > now}
        for index, link in enumerate(block_hashes(prompt, STEP_TOKENS, account.encode())):
            if (index + 1) * STEP_TOKENS >= minimum_tokens:
                self._expires_at[link] = now + self.seconds_to_live
