"""What LiteLLM calls by name from its configuration: the authentication, and the books on tokens and dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request  # type: ignore[import-not-found,unused-ignore]
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

from . import metrics, watching_metrics
from .caches import takes_marks, without_marks
from .charge import CHARGE, learn
from .config import pool_of
from .estimates import ESTIMATES, Passed, tells_at_once
from .prompt import PROMPT
from .tokens import Tokens
from .watchers import role_and_route


@dataclass(frozen=True)
class Admitted:
    """What the gateway has found out about a request; it travels in the ASGI scope, which no client can write."""

    policy: str
    tenant: str
    route: str


async def authenticate(request: Request, api_key: str) -> UserAPIKeyAuth:
    """LiteLLM's custom authentication. The gateway has already decided; what did not come through it is refused."""
    admitted = request.scope.get("comptroller")
    if not isinstance(admitted, Admitted):
        raise HTTPException(status_code=401, detail="only the gateway's own paths are served")
    return UserAPIKeyAuth(
        api_key=f"tenant-{admitted.tenant}",
        key_alias=admitted.tenant,
        user_role=LitellmUserRoles.INTERNAL_USER,
        models=[admitted.route],
    )


class Usage(CustomLogger):  # type: ignore[misc,unused-ignore]
    """Counts tokens and dollars of each answer, streamed or not."""

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        params = kwargs.get("litellm_params") or {}
        metadata = params.get("metadata") or params.get("litellm_metadata") or {}
        record = kwargs.get("standard_logging_object") or {}
        deployment = str(record.get("model_id") or (params.get("model_info") or {}).get("id") or "")
        usage = getattr(response_obj, "usage", None) or (
            response_obj.get("usage") if isinstance(response_obj, Mapping) else None
        )
        charge = CHARGE.get()
        if charge is not None and not charge.settle(deployment):
            return
        own = charge is not None and charge.deployment == deployment
        passed = charge.passed if charge is not None and own else None
        self.count(deployment, str(metadata.get("user_api_key_alias") or metrics.UNKNOWN), usage, record, passed)

    def count(
        self, deployment: str, tenant: str, usage: Any, record: Mapping[str, Any], passed: Passed | None = None
    ) -> None:
        """Books one answer: each kind of tokens, and their dollars. What has `passed` stands in for what was not
        reported."""
        live = current()
        if live is None:
            return
        prices = live.prices.get(deployment)
        if prices is None:
            return
        tokens = Tokens.of(usage, record)
        if passed is not None:
            cache = live.caches.get(deployment)
            keyed = cache is not None and cache.key is not None
            tokens = ESTIMATES.settled(
                deployment, passed, tokens, told=tells_at_once(live.model_of(deployment)), keyed=keyed
            )
        pool, (role, route) = pool_of(deployment), role_and_route(deployment.rpartition("/")[2])
        purpose = watching_metrics.purpose_of(role, tenant)
        for kind, number in tokens.by_kind().items():
            watching_metrics.tokens_of(purpose, live.policy, route, pool, kind).inc(number)
        usd = tokens.usd(prices)
        metrics.USD.labels(live.policy, route, tenant, pool).inc(usd)
        if purpose:
            watching_metrics.EVALUATION_USD.labels(live.policy, route, pool, purpose).inc(usd)
        learn(deployment, tokens.output)
        spend(tenant, pool, usd)

    def book(self, deployment: str, tenant: str, tokens_in: int, tokens_out: int, passed: Passed | None = None) -> None:
        """Books an answer that LiteLLM says nothing about, by what has passed."""
        if passed is not None:
            passed.unfinished = True
        self.count(deployment, tenant, {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}, {}, passed)

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> dict[str, Any] | None:
        """Takes the client's marks out of a request to a backend that does not know them and may refuse them."""
        prompt, live = PROMPT.get(), current()
        if prompt is None or live is None or not prompt.marks:
            return None
        model = str((live.model_of((kwargs.get("model_info") or {}).get("id")) or kwargs.get("model")) or "")
        return None if takes_marks(model) else without_marks(kwargs)


_source: Any = None


def bind(live: Any) -> None:
    """Tells the books where the configuration in force is. LiteLLM creates nothing here: it only finds names."""
    global _source
    _source = live


def spend(tenant: str, pool: str, usd: float) -> None:
    """The one door for money: counts US dollars that were paid for a tenant against its budgets."""
    if _source is not None:
        _source.spending.spend(tenant, pool, usd)


def source() -> Any:
    """What is live: the configuration, places, sessions; None before the start."""
    return _source


def current() -> Any:
    """The configuration in force, or None before the start."""
    return None if _source is None else _source.config


usage = Usage()
