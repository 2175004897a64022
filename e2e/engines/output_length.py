"""How many tokens an answer has.

Exactly `max_tokens`, so that a test can compute what it will see; or, with a mean given, a length drawn from the
geometric distribution (a model that stops with the same chance after every token) and cut at `max_tokens`. The draw
depends on the prompt only, so a replay gives the same lengths in any order.
"""

from __future__ import annotations

import math
import random

# What a model says of its own accord when the client sets no limit.
DEFAULT_OUTPUT_TOKENS = 128


def output_tokens(answer_seed: int, mean: float | None, max_tokens: int | None, *, ignore_eos: bool) -> tuple[int, str]:
    """Tokens, and why the answer ends there: `length` at the client's limit, else `stop`."""
    if max_tokens is not None and (mean is None or ignore_eos):
        return max_tokens, "length"
    if mean is None:
        return DEFAULT_OUTPUT_TOKENS, "stop"
    natural = 1
    if mean > 1:
        uniform = random.Random(answer_seed).random()
        natural = 1 + int(math.log1p(-uniform) / math.log1p(-1 / mean))
    if max_tokens is not None and natural >= max_tokens:
        return max_tokens, "length"
    return natural, "stop"
