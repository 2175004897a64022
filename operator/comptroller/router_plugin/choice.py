"""Makes LiteLLM choose among the backends that have room.

LiteLLM draws a request's backend with one function, `simple_shuffle`, without an `await`, after it has left out what
cools down, what has failed this request before and what cannot take it. That is where full pools are left out as well,
and where the place is taken: earlier (`CustomLogger.async_filter_deployments`) others could take it in between, and a
limit that is found out later (`max_parallel_requests`) is an error, which costs another round and, of embeddings and
plain completions, reaches the client. The weights do the rest: planned backends first, then reserves in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import litellm
from litellm import router as litellm_router

from .charge import CHARGE
from .places import PLACE

RETRY_AFTER_SECONDS = 1


def choose_where_there_is_room() -> None:
    """Puts `drawn` in the place of LiteLLM's own function. Fails at the start where LiteLLM has none by this name."""
    draw = litellm_router.simple_shuffle

    def drawn(
        resolve_model_alias: Any, healthy_deployments: Sequence[Mapping[str, Any]], model: str, request_kwargs: Any
    ) -> Any:
        place = PLACE.get()
        if place is None:
            return draw(resolve_model_alias, healthy_deployments, model, request_kwargs)
        charge = CHARGE.get()
        known = [one["model_info"]["id"] for one in healthy_deployments]
        affordable = known if charge is None else charge.permitted(known)
        left = place.candidates(model, affordable)
        if not left:
            raise everything_full(model)
        among = [one for one in healthy_deployments if one["model_info"]["id"] in left]
        chosen = draw(resolve_model_alias, among, model, request_kwargs)
        place.take(chosen["model_info"]["id"])
        if charge is not None:
            charge.take(chosen["model_info"]["id"])
        return chosen

    litellm_router.simple_shuffle = drawn


def everything_full(route: str) -> Any:
    """A 429, which LiteLLM puts into OpenAI's shape."""
    return litellm.RateLimitError(
        message=f"every pool that route {route} permits is full; try again in {RETRY_AFTER_SECONDS} second",
        llm_provider="",
        model=route,
        category=litellm.RateLimitErrorCategory.LITELLM_RATE_LIMIT,
        rate_limit_type=litellm.RateLimitType.CONCURRENT_REQUESTS,
        headers={"retry-after": str(RETRY_AFTER_SECONDS)},
    )
