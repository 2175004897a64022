"""Makes LiteLLM choose among the backends that have room, and the same one for requests of one session.

LiteLLM draws a request's backend with one function, `simple_shuffle`, without an `await`, after it has left out what
cools down, what has failed this request before and what cannot take it. That is where full pools are left out as well,
and where the place is taken: earlier (`CustomLogger.async_filter_deployments`) others could take it in between, and a
limit that is found out later (`max_parallel_requests`) is an error, which costs another round and, of embeddings and
plain completions, reaches the client. Sessions choose among the planned backends (`sessions`); where none of them is
left the weights of the reserves do the rest, in their order. The request then gets what makes its backend cache it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import litellm
from litellm import router as litellm_router

from . import caches, hooks
from .charge import CHARGE
from .places import PLACE
from .prompt import PROMPT, Prompt
from .sessions import SMALLEST_PLANNED, order

RETRY_AFTER_SECONDS = 1
NOBODYS = Prompt("", b"")
"""Of a request that nothing is known of."""


def choose_where_there_is_room() -> None:
    """Puts `drawn` in the place of LiteLLM's own function. Fails at the start where LiteLLM has none by this name."""
    draw = litellm_router.simple_shuffle

    def drawn(
        resolve_model_alias: Any, healthy_deployments: Sequence[Mapping[str, Any]], model: str, request_kwargs: Any
    ) -> Any:
        place, prompt, live = PLACE.get(), PROMPT.get(), hooks.source()
        if place is None or live is None:
            return draw(resolve_model_alias, healthy_deployments, model, request_kwargs)
        prompt = prompt or NOBODYS
        charge = CHARGE.get()
        by_id = {one["model_info"]["id"]: one for one in healthy_deployments}
        affordable = list(by_id) if charge is None else charge.permitted(list(by_id))
        left = place.candidates(model, affordable)
        if not left:
            raise everything_full(model)
        weights = live.config.weights.get(model, {})
        chosen = live.sessions.choose(model, prompt.session, weights, [one for one in affordable if one in left])
        if chosen is None:
            among = [by_id[one] for one in affordable if one in left]
            chosen = draw(resolve_model_alias, among, model, request_kwargs)["model_info"]["id"]
        place.take(chosen, why(prompt, weights, chosen, by_id, affordable, left))
        if charge is not None:
            charge.take(chosen)
        return with_cache(by_id[chosen], live.config.caches.get(chosen), prompt)

    litellm_router.simple_shuffle = drawn


def why(
    prompt: Prompt,
    weights: Mapping[str, float],
    chosen: str,
    healthy: Collection[str],
    affordable: Collection[str],
    left: Collection[str],
) -> str:
    """Why a request is where it is: `planned`, or elsewhere since its own backend is `full`, has `failed`, or is one
    that a spent budget does not permit (`degraded`)."""
    planned = {one: weight for one, weight in weights.items() if weight >= SMALLEST_PLANNED}
    if not planned:
        return "planned"
    wanted = order(prompt.session, planned)
    if chosen in planned and (chosen == wanted[0] or wanted[0] in left):
        return "planned"
    missed = wanted[:1] if chosen in planned else wanted
    if any(one in healthy and one not in affordable for one in missed):
        return "degraded"
    return "full" if any(one in healthy for one in missed) else "failed"


def with_cache(deployment: Mapping[str, Any], cache: caches.Cache | None, prompt: Prompt) -> Mapping[str, Any]:
    """The deployment with what this request adds; LiteLLM's own copy serves others and stays as it is."""
    more = caches.added(cache, prompt) if cache is not None else {}
    return {**deployment, "litellm_params": {**deployment["litellm_params"], **more}} if more else deployment


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
