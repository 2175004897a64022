"""How a route's prompts are cached at a hosted pool: the provider's rules, the pool's declaration, the route's wishes.

LiteLLM 1.106.2 passes marks on to Anthropic, and to Claude and Nova at Bedrock and Claude at Vertex, and
`prompt_cache_key` to OpenAI, Azure and Fireworks. Everybody else gets nothing that they may refuse.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from comptroller.api.modelpool import Hosted, ModelPoolSpec, Provider
from comptroller.api.routingpolicy import Route
from comptroller.economics.prompt_cache import NONE

SHARED = ("tools", "system")
"""What many requests have in common, and where a cache breaks when a route does not say."""
_KEYED = (Provider.OPENAI, Provider.AZURE, Provider.FIREWORKS)
_MARKED_MODELS = {
    Provider.ANTHROPIC: ("",),
    Provider.BEDROCK: ("claude", "nova"),
    Provider.VERTEX: ("claude",),
}


@dataclass(frozen=True, slots=True)
class BackendCache:
    """What the router adds for one backend of one route."""

    marks: tuple[tuple[str, str], ...] = ()  # (part of the prompt, life), along the prompt
    minimum_tokens: int = 0
    key: str | None = None


def mode_of(pool: ModelPoolSpec) -> Literal["automatic", "explicit", "none"]:
    """As declared, else by the provider's own rules: Anthropic caches where it is told to, others by themselves."""
    hosted = pool.hosted
    if hosted is None:
        return "none"
    if hosted.prompt_cache is not None:
        return hosted.prompt_cache.mode
    return "explicit" if hosted.provider is Provider.ANTHROPIC else "automatic"


def marked(pool: ModelPoolSpec) -> bool:
    """Whether the pool caches at marks, and LiteLLM knows how to send them to it."""
    if pool.hosted is None or mode_of(pool) != "explicit":
        return False
    return any(part in pool.model.name.lower() for part in _MARKED_MODELS.get(pool.hosted.provider, ()))


def lives_of(pool: ModelPoolSpec) -> tuple[str, ...]:
    """The lives that may be asked for, shortest first. Where none are declared, Anthropic's own, else the default of
    five minutes."""
    if pool.hosted is None or not marked(pool):
        return ()
    declared = () if pool.hosted.prompt_cache is None else pool.hosted.prompt_cache.ttls
    if declared:
        return tuple(life for life in ("5m", "1h") if life in declared)
    return ("5m", "1h") if pool.hosted.provider is Provider.ANTHROPIC else ("5m",)


def backend_cache(policy: str, route: Route, pool: ModelPoolSpec, chosen: str | None = None) -> BackendCache | None:
    """What is added for a backend; None for nothing. `policy` is namespace/name, `chosen` the life that pays.

    A life that the pool does not offer becomes one that it does. The last message differs from request to request: with
    `ttl: auto` it lives for five minutes, which is what the next turn of a conversation needs.
    """
    hosted, asked = pool.hosted, route.prompt_cache
    if hosted is None or mode_of(pool) == "none":
        return None
    if hosted.provider in _KEYED:
        return BackendCache(key=hashlib.blake2b(f"{policy}/{route.name}".encode(), digest_size=16).hexdigest())
    lives = lives_of(pool)
    if asked is None or not lives:
        return None
    wanted = chosen or lives[0] if asked.ttl == "auto" else asked.ttl
    if wanted not in (*lives, NONE):
        wanted = lives[0]
    tail = wanted if asked.ttl != "auto" else lives[0]
    parts = asked.breakpoints or SHARED
    marks = [(part, wanted) for part in SHARED if part in parts and wanted != NONE]
    marks += [("lastMessage", tail)] if "lastMessage" in parts else []
    return BackendCache(tuple(marks), _minimum_tokens(hosted)) if marks else None


def _minimum_tokens(hosted: Hosted) -> int:
    return 1024 if hosted.prompt_cache is None else hosted.prompt_cache.minimum_tokens
