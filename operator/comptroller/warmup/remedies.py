"""What to do about an engine's refusal. The engine's text is looked at and never told: it may repeat the prefix."""

from __future__ import annotations

import re
from typing import Final

TOO_LONG: Final = (
    "the prefix is longer than the engine's context: shorten it, or raise spec.model.contextLength of the pool"
)
NOT_CACHED: Final = (
    "nothing was found cached: switch the engine's prefix caching on (vLLM --enable-prefix-caching, SGLang without "
    "--disable-radix-cache), or give it more cache"
)
PUSHED_OUT: Final = "other prompts have pushed it out: give the engine more cache, or warm fewer prefixes there"
NOT_TOLD: Final = (
    "the engine does not say how much it found cached: start it with --enable-prompt-tokens-details (vLLM) or "
    "--enable-cache-report (SGLang)"
)
UNREACHABLE: Final = (
    "the replica does not answer: look at its log, and at network policies between this namespace's warm-up pods and it"
)
_REMEDIES: Final = (
    # vLLM, SGLang and llama.cpp in this order; they have no common code for it
    (
        400,
        r"maximum (context|model) length|longer than the model's context|exceed_context_size|context_length",
        TOO_LONG,
    ),
    (400, r"\btools?\b|tool_choice|--jinja", "the engine refuses the tools: set its tool parser or chat template"),
    (401, "", "the engine asks for a key, which a warm-up does not have: take --api-key from its arguments"),
    (403, "", "the engine asks for a key, which a warm-up does not have: take --api-key from its arguments"),
    (404, "", "the engine serves no model of this name: spec.model.name of the pool must be the name that it serves"),
    (413, "", TOO_LONG),
)


def remedy_for(status: int, text: str) -> str:
    """What to do about a refusal with this HTTP status and text; empty when nothing better is known than the status."""
    return next(
        (remedy for code, words, remedy in _REMEDIES if code == status and re.search(words, text, re.IGNORECASE)), ""
    )
