"""What answers behind the router: an OpenAI-like server that does next to nothing, in a process of its own.

    python -m bench.upstream

It prints `listening on HOST:PORT`. A streamed answer has as many pieces as `max_tokens` asks for, as fast as they go.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from e2e.engines.serving import open_event_stream, serve

PROMPT_TOKENS = 100


async def answer(request: web.Request) -> web.StreamResponse:
    """One chat completion, whole or streamed."""
    asked = json.loads(await request.read())
    tokens = int(asked.get("max_tokens") or 1)
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": PROMPT_TOKENS + tokens}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "word " * tokens}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(_frame(asked, "chat.completion", choices=[choice], usage=usage))
    stream = await open_event_stream(request)
    for number in range(tokens):
        delta = {"role": "assistant", "content": "word "} if number == 0 else {"content": "word "}
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if number == tokens - 1 else None}
        await _send(stream, _frame(asked, "chat.completion.chunk", choices=[choice]))
    if (asked.get("stream_options") or {}).get("include_usage"):
        await _send(stream, _frame(asked, "chat.completion.chunk", choices=[], usage=usage))
    await stream.write(b"data: [DONE]\n\n")
    return stream


def _frame(asked: dict[str, Any], kind: str, **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": asked["model"], **more}


async def _send(stream: web.StreamResponse, content: dict[str, Any]) -> None:
    await stream.write(b"data: " + json.dumps(content).encode() + b"\n\n")
    await asyncio.sleep(0)  # each piece on its own, as an engine writes them


async def _nothing_to_drain() -> None:
    return


def main() -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    asyncio.run(serve(app, "127.0.0.1", 0, _nothing_to_drain))


if __name__ == "__main__":
    main()
