"""One request with a prefix: streamed, one token out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from comptroller.warmup.plan import PlannedPrefix
from comptroller.warmup.remedies import remedy_for

IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,48}")


class RefusedError(ValueError):
    """The engine says that the request is wrong: asking again gives the same answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says about one request."""

    first_token_seconds: float
    prompt_tokens: int
    cached_tokens: int | None  # None: the engine does not tell


def request_body(model: str, prefix: PlannedPrefix, question: str, slot: int | None) -> dict[str, Any]:
    """What is sent: the parts that make the prompt are byte for byte those that the router forwards for a user.

    One token out, as no tokens are refused by vLLM; streamed, so that the time to the first token is seen. `slot` picks
    the cache on llama.cpp.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [*prefix.messages, {"role": "user", "content": question}],
        "max_tokens": 1,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prefix.tools:
        body["tools"] = list(prefix.tools)
    if slot is not None:
        body |= {"id_slot": slot, "cache_prompt": True}
    return body


async def ask(client: httpx.AsyncClient, model: str, prefix: PlannedPrefix, question: str, slot: int | None) -> Answer:
    """Sends the prefix with a short question behind it. Raises `httpx.HTTPError` when another try may help,
    `RefusedError` when none does."""
    body = request_body(model, prefix, question, slot)
    sent = time.monotonic()
    first: float | None = None
    usage: Mapping[str, Any] = {}
    timings: Mapping[str, Any] = {}
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code >= 400:
            await response.aread()
        if 400 <= response.status_code < 500 and response.status_code not in (408, 409, 429):
            raise RefusedError(f"prefix {prefix.name}: {_refusal(response)}")
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            if first is None and event.get("choices"):
                first = time.monotonic() - sent
            usage = event.get("usage") or usage
            timings = event.get("timings") or timings
    if first is None:
        raise httpx.RemoteProtocolError(f"prefix {prefix.name}: the answer ended before its first token")
    prompt = int(usage.get("prompt_tokens") or timings.get("cache_n", 0) + timings.get("prompt_n", 0))
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens", timings.get("cache_n"))
    return Answer(first, prompt, None if cached is None else int(cached))


def _refusal(response: httpx.Response) -> str:
    """The status, and the type and code of the error where they are short identifiers. Never the engine's text: it may
    repeat the prefix, which may come from a Secret, and what is told here ends in conditions and events."""
    try:
        content = response.json()
    except (ValueError, RecursionError):
        content = None
    error = content.get("error", content) if isinstance(content, dict) else None
    told = [str(error[name]) for name in ("type", "code") if error.get(name)] if isinstance(error, dict) else []
    words = [one for one in told if IDENTIFIER.fullmatch(one) and one != str(response.status_code)]
    said = " ".join([str(response.status_code), *dict.fromkeys(words)])
    remedy = remedy_for(response.status_code, response.text)
    return f"{said}: {remedy}" if remedy else said
