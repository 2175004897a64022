"""A hosted API that speaks Anthropic's language and keeps its own books.

    API_KEYS=team-a=sk-ant-aaaa python3 -m engines.hosted_anthropic --port 8081 --canary RESTRICTED-7

Endpoints: /v1/messages (whole or streamed), /v1/models, /health, /metrics, /ledger,
/ledger/entries, /faults. Caching is explicit: breakpoint_prompt.py has its rules, breakpoint_cache.py its arithmetic.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from .breakpoint_cache import BreakpointCache, CachePlan
from .breakpoint_prompt import BreakpointPrompt, read_prompt
from .hosted_account import HostedAccount, HostedSettings, RefusalError, Visit
from .hosted_flags import read_settings
from .hosted_prices import ANTHROPIC_PRICES, Tokens
from .openai_wire import BadRequestError
from .planned_answer import PlannedAnswer, plan_answer
from .rate_limit import Allowance
from .serving import open_event_stream, serve

_MAX_BODY_BYTES = 32 * 1024 * 1024
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class MessageAsk:
    model: str
    prompt: BreakpointPrompt
    max_tokens: int
    stream: bool


class HostedAnthropic:
    def __init__(self, settings: HostedSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.account = HostedAccount(settings, clock)
        self.cache = BreakpointCache(settings.seconds_5m, settings.seconds_1h, clock)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_get("/v1/models", self._models)
        self.account.add_routes(app)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        if request.headers.get("x-api-key") not in self.settings.keys:
            return _refusal(_unknown_key())
        cards = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2025-09-29T00:00:00Z"}
            for name in self.settings.prices
        ]
        return web.json_response({"data": cards, "has_more": False, "first_id": None, "last_id": None})

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        visit = await self.account.receive(request)
        try:
            await self._admit(request, visit)
            ask = self._read(visit)
            minimum = self.settings.prices[ask.model].cache_minimum_tokens
            plan = self.cache.plan(visit.key, ask.model, ask.prompt, minimum)
            # What is read from the cache does not count towards the limit, as in the original.
            counted = ask.prompt.tokens - plan.read_tokens + ask.max_tokens
            self.account.take(visit, counted, "rate_limit_error")
        except RefusalError as refusal:
            self.account.refuse(visit, refusal.status)
            return _refusal(refusal)
        mean = self.settings.mean_output_tokens
        planned = plan_answer(self.settings.seed, ask.prompt.digest, mean, ask.max_tokens)
        return await self._answer(request, visit, ask, plan, planned)

    async def _admit(self, request: web.Request, visit: Visit) -> None:
        await self.account.admit(visit, request.headers.get("x-api-key"), _unknown_key())
        if "anthropic-version" not in request.headers:
            raise RefusalError(400, "invalid_request_error", "anthropic-version: header is required")

    def _read(self, visit: Visit) -> MessageAsk:
        body = _object(visit.raw)
        limit = body.get("max_tokens")
        if limit is None:
            raise RefusalError(400, "invalid_request_error", "max_tokens: Field required")
        if not isinstance(limit, int) or limit < 1:
            raise RefusalError(400, "invalid_request_error", "max_tokens: Input should be greater than or equal to 1")
        if visit.model not in self.settings.prices:
            raise RefusalError(404, "not_found_error", f"model: {visit.model}")
        return MessageAsk(visit.model, self._prompt(body), limit, bool(body.get("stream")))

    @staticmethod
    def _prompt(body: dict[str, Any]) -> BreakpointPrompt:
        try:
            return read_prompt(body)
        except BadRequestError as error:
            raise RefusalError(400, "invalid_request_error", str(error)) from None

    async def _answer(
        self, request: web.Request, visit: Visit, ask: MessageAsk, plan: CachePlan, planned: PlannedAnswer
    ) -> web.StreamResponse:
        name = f"msg_{planned.seed:012x}{int(visit.at * 1e6) % 10**9}"
        headers = _rate_limit_headers(self.account.allowance(visit))
        response = await open_event_stream(request, headers) if ask.stream else None
        sent = 0
        try:
            uncached = ask.prompt.tokens - plan.read_tokens
            async for ready in self.settings.latency.arrivals(uncached, planned.tokens, stream=ask.stream):
                if sent == 0:
                    self.account.first_token(visit)
                    self.cache.commit(visit.key, ask.model, plan)
                if response is not None:
                    opening = _opening(name, ask.model, plan) if sent == 0 else b""
                    await response.write(opening + _piece(planned.text(sent, ready)))
                sent = ready
        finally:
            self.account.charge(visit, _charged(plan, sent))
        stop_reason = "max_tokens" if planned.hit_limit else "end_turn"
        if response is None:
            content = [{"type": "text", "text": planned.text(0, planned.tokens)}]
            message = _message(name, ask.model, content, stop_reason, _usage(plan, planned.tokens))
            return web.json_response(message, headers=headers)
        await response.write(_closing(stop_reason, plan, planned.tokens))
        await response.write_eof()
        return response


def _rate_limit_headers(allowance: Allowance) -> dict[str, str]:
    headers: dict[str, str] = {}
    for what, (limit, remaining) in allowance.items():
        headers[f"anthropic-ratelimit-{what}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{what}-remaining"] = str(remaining)
    return headers


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusalError(400, "invalid_request_error", "The request body is not valid JSON")
    return body


def _charged(plan: CachePlan, output_tokens: int) -> Tokens:
    return Tokens(
        input=plan.input_tokens,
        cached_input=plan.read_tokens,
        cache_write_5m=plan.write_5m_tokens,
        cache_write_1h=plan.write_1h_tokens,
        output=output_tokens,
    )


def _usage(plan: CachePlan, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": plan.input_tokens,
        "cache_creation_input_tokens": plan.write_5m_tokens + plan.write_1h_tokens,
        "cache_read_input_tokens": plan.read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": plan.write_5m_tokens,
            "ephemeral_1h_input_tokens": plan.write_1h_tokens,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _message(
    name: str, model: str, content: list[dict[str, str]], stop_reason: str | None, usage: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": name,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _event(body: dict[str, Any]) -> bytes:
    return f"event: {body['type']}\ndata: {json.dumps(body, separators=(',', ':'))}\n\n".encode()


def _opening(name: str, model: str, plan: CachePlan) -> bytes:
    start = {"type": "message_start", "message": _message(name, model, [], None, _usage(plan, 1))}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return _event(start) + _event(block) + _event({"type": "ping"})


def _piece(text: str) -> bytes:
    return _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


def _closing(stop_reason: str, plan: CachePlan, output_tokens: int) -> bytes:
    delta = {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason, "stop_sequence": None},
        "usage": _usage(plan, output_tokens),
    }
    return _event({"type": "content_block_stop", "index": 0}) + _event(delta) + _event({"type": "message_stop"})


def _unknown_key() -> RefusalError:
    return RefusalError(401, "authentication_error", "invalid x-api-key")


def _refusal(refusal: RefusalError) -> web.Response:
    error = {"type": _ERROR_TYPES.get(refusal.status, "api_error"), "message": refusal.message}
    return web.json_response({"type": "error", "error": error}, status=refusal.status, headers=refusal.headers())


async def _nothing_to_drain() -> None:
    """Hosted APIs do not announce their restarts."""


async def _main() -> None:
    settings, host, port = read_settings("hosted_anthropic", ANTHROPIC_PRICES)
    await serve(HostedAnthropic(settings).application(), host, port, _nothing_to_drain)


if __name__ == "__main__":
    asyncio.run(_main())
