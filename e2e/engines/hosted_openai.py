"""A hosted API that speaks OpenAI's language and keeps its own books.

    API_KEYS=team-a=sk-aaaa python3 -m engines.hosted_openai --port 8080 --canary RESTRICTED-7

Endpoints: /v1/chat/completions (whole or streamed), /v1/models, /health, /metrics, /ledger, /ledger/entries, /faults.
Prompts of 1,024 tokens and more are cached by themselves (automatic_cache.py); cached tokens are cheaper and faster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from .automatic_cache import AutomaticCache
from .hosted_account import HostedAccount, HostedSettings, RefusalError, Visit
from .hosted_flags import read_settings
from .hosted_prices import OPENAI_PRICES, Tokens
from .openai_wire import DONE, Answer, Ask, BadRequestError, read_ask
from .planned_answer import PlannedAnswer, plan_answer
from .rate_limit import Allowance
from .serving import open_event_stream, serve
from .tokens import count_tokens

_MAX_BODY_BYTES = 32 * 1024 * 1024
_ERROR_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class HostedOpenai:
    def __init__(self, settings: HostedSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.account = HostedAccount(settings, clock)
        self.cache = AutomaticCache(settings.seconds_5m, clock)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        self.account.add_routes(app)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        if _bearer(request) not in self.settings.keys:
            return _refusal(_unknown_key())
        cards = [{"id": name, "object": "model", "created": 0, "owned_by": "hosted"} for name in self.settings.prices]
        return web.json_response({"object": "list", "data": cards})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        visit = await self.account.receive(request)
        try:
            await self.account.admit(visit, _bearer(request), _unknown_key())
            ask = self._read(visit)
            planned = plan_answer(
                self.settings.seed,
                ask.prompt,
                self.settings.mean_output_tokens,
                ask.max_tokens,
                ignore_eos=ask.ignore_eos,
            )
            # Like the original, the answer is counted beforehand, at the longest it may become.
            self.account.take(visit, count_tokens(ask.prompt) + (ask.max_tokens or planned.tokens), "tokens")
        except RefusalError as refusal:
            self.account.refuse(visit, refusal.status)
            return _refusal(refusal)
        return await self._answer(request, visit, ask, planned)

    def _read(self, visit: Visit) -> Ask:
        try:
            ask = read_ask(visit.raw, chat=True)
        except BadRequestError as error:
            raise RefusalError(400, "invalid_request_error", str(error)) from None
        if ask.model not in self.settings.prices:
            message = f"The model `{ask.model}` does not exist or you do not have access to it."
            raise RefusalError(404, "invalid_request_error", message)
        return ask

    async def _answer(self, request: web.Request, visit: Visit, ask: Ask, planned: PlannedAnswer) -> web.StreamResponse:
        minimum = self.settings.prices[ask.model].cache_minimum_tokens
        prompt_tokens = count_tokens(ask.prompt)
        cached = self.cache.cached_tokens(visit.key, ask.prompt, minimum)
        answer = Answer(f"chatcmpl-{planned.seed:012x}{int(visit.at * 1e6) % 10**9}", int(visit.at), ask.model, True)
        headers = _rate_limit_headers(self.account.allowance(visit))
        usage = _usage(prompt_tokens, cached, planned.tokens)
        response = await open_event_stream(request, headers) if ask.stream else None
        sent = 0
        try:
            uncached = prompt_tokens - cached
            async for ready in self.settings.latency.arrivals(uncached, planned.tokens, stream=ask.stream):
                if sent == 0:
                    self.account.first_token(visit)
                    self.cache.store(visit.key, ask.prompt, minimum)
                if response is not None:
                    piece = answer.piece(planned.text(sent, ready))
                    await response.write(answer.opening() + piece if sent == 0 else piece)
                sent = ready
        finally:
            self.account.charge(visit, Tokens(input=uncached, cached_input=cached, output=sent))
        if response is None:
            body = answer.whole(planned.text(0, planned.tokens), planned.finish_reason, usage)
            return web.json_response(body, headers=headers)
        closing = answer.closing(planned.finish_reason)
        await response.write(closing + (answer.usage(usage) if ask.include_usage else b"") + DONE)
        await response.write_eof()
        return response


def _rate_limit_headers(allowance: Allowance) -> dict[str, str]:
    headers: dict[str, str] = {}
    for what, (limit, remaining) in allowance.items():
        headers[f"x-ratelimit-limit-{what}"] = str(limit)
        headers[f"x-ratelimit-remaining-{what}"] = str(remaining)
    return headers


def _usage(prompt_tokens: int, cached_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _unknown_key() -> RefusalError:
    return RefusalError(401, "invalid_request_error", "Incorrect API key provided.")


def _refusal(refusal: RefusalError) -> web.Response:
    kind = "server_error" if refusal.status >= 500 else refusal.kind
    error = {"message": refusal.message, "type": kind, "param": None, "code": _ERROR_CODES.get(refusal.status)}
    return web.json_response({"error": error}, status=refusal.status, headers=refusal.headers())


async def _nothing_to_drain() -> None:
    """Hosted APIs do not announce their restarts."""


async def _main() -> None:
    settings, host, port = read_settings("hosted_openai", OPENAI_PRICES)
    await serve(HostedOpenai(settings).application(), host, port, _nothing_to_drain)


if __name__ == "__main__":
    asyncio.run(_main())
