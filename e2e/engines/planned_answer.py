"""What a simulated model will say: how many tokens, and which.

Exactly `max_tokens`, so that a test can compute what it will see; or, with a mean given, a length drawn from the
geometric distribution (a model that stops with the same chance after every token) and cut at `max_tokens`. Length and
text depend on the prompt and the server's seed only, so a replay gives the same answers in any order.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from .tokens import answer_seed, generated_text

# What a model says of its own accord when the client sets no limit.
DEFAULT_OUTPUT_TOKENS = 128


@dataclass(frozen=True, slots=True)
class PlannedAnswer:
    seed: int
    tokens: int
    hit_limit: bool  # ends because of the client's max_tokens, not by itself

    @property
    def finish_reason(self) -> str:
        """OpenAI's word for it."""
        return "length" if self.hit_limit else "stop"

    def text(self, start: int, end: int) -> str:
        """Tokens `start` (included) to `end` (excluded)."""
        return generated_text(self.seed, start, end)


def plan_answer(
    server_seed: int, prompt: bytes, mean: float | None, max_tokens: int | None, *, ignore_eos: bool = False
) -> PlannedAnswer:
    seed = answer_seed(server_seed, prompt)
    if max_tokens is not None and (mean is None or ignore_eos):
        return PlannedAnswer(seed, max_tokens, hit_limit=True)
    natural = DEFAULT_OUTPUT_TOKENS if mean is None else _geometric(seed, mean)
    if max_tokens is not None and natural >= max_tokens:
        return PlannedAnswer(seed, max_tokens, hit_limit=True)
    return PlannedAnswer(seed, natural, hit_limit=False)


def _geometric(seed: int, mean: float) -> int:
    if mean <= 1:
        return 1
    uniform = random.Random(seed).random()
    return 1 + int(math.log1p(-uniform) / math.log1p(-1 / mean))
