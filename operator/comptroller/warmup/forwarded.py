"""What the router makes of a user's tools before an engine sees them.

LiteLLM takes `additionalProperties: false` and every `strict` out of the tools that it forwards to engines of our own
(its `hosted_vllm` provider). A warm-up that sent them as they are written would warm another prompt than the users'.
`tests/router/test_warmup_prefix.py` holds this against a real LiteLLM, token by token.
"""

from __future__ import annotations

from typing import Any


def as_forwarded(tools: Any) -> Any:
    """The tools as the engine gets them."""
    if isinstance(tools, dict):
        return {key: as_forwarded(value) for key, value in tools.items() if not _dropped(key, value)}
    if isinstance(tools, list):
        return [as_forwarded(one) for one in tools]
    return tools


def _dropped(key: str, value: Any) -> bool:
    return key == "strict" or (key == "additionalProperties" and value is False)
