"""The load generator: sends a schedule of chat completions and prints one JSON line for each that ends.

It runs as a pod, with this file and the schedule mounted; it needs nothing but aiohttp.

    python3 load.py --schedule schedule.json --prefix compliance.md      ($API_KEY is the client key)

Lines: {"event": "start", "at": 1764000000.0, "requests": 785}; then for each request {"event": "request", "number",
"route", "at" (seconds since the start, when it was sent), "status" (0: no answer), "seconds", "first_token_seconds" (of
streamed ones), "backend" (who answered, as the router says), "input_tokens", "output_tokens", "error"}; at last
{"event": "end"}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHARACTERS_PER_TOKEN = 4
STREAMED_ONE_IN = 4  # a router spends as much on a streamed answer as on several whole ones
BACKEND_HEADER = "x-litellm-model-id"
TIMEOUT_SECONDS = 90.0
KEEP_ALIVE_SECONDS = 2.0  # less than a router's five: else a request may meet a connection that is just being closed

_WORDS = (  # noqa: SIM905
    "revenue margin covenant filing clause schedule notice party quarter audited restated exposure maturity "
    "guarantee dividend impairment goodwill segment subsidiary liability"
).split()


def question(number: int, tokens: int, marker: str | None) -> str:
    """A question like no other of the schedule, of about so many tokens."""
    text = f"Document {number}: {marker + ' ' if marker else ''}which of the following does it state?"
    position = number
    while len(text) < tokens * CHARACTERS_PER_TOKEN:
        text += f" {_WORDS[position % len(_WORDS)]} of part {position % 97 + 1},"
        position += 7
    return text


def body(request: Mapping[str, Any], route: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The chat completion that asks one request of the schedule."""
    messages = [{"role": "system", "content": prefix}] if route.get("prefix") else []
    messages.append(
        {"role": "user", "content": question(request["number"], request["question_tokens"], route.get("marker"))}
    )
    streamed = request["number"] % STREAMED_ONE_IN == 0
    return {
        "model": request["route"],
        "messages": messages,
        "max_tokens": request["answer_tokens"],
        "stream": streamed,
        **({"stream_options": {"include_usage": True}} if streamed else {}),
    }


def input_tokens(asked: Mapping[str, Any]) -> int:
    """Length of the prompt, counted alike for all backends: tokenizers differ, and one of them cuts single letters."""
    return sum(-(-len(message["content"].encode()) // CHARACTERS_PER_TOKEN) for message in asked["messages"])


class Generator:
    def __init__(self, session: Any, schedule: Mapping[str, Any], prefix: str) -> None:
        self._session = session
        self._routes: Mapping[str, Any] = schedule["routes"]
        self._requests: list[dict[str, Any]] = schedule["requests"]
        self._prefix = prefix

    async def run(self) -> None:
        began = time.monotonic()
        say(event="start", at=time.time(), requests=len(self._requests))
        async with asyncio.TaskGroup() as group:
            for request in self._requests:
                await asyncio.sleep(max(0.0, began + request["at"] - time.monotonic()))
                group.create_task(self._ask(request, began))
        say(event="end", at=time.time())

    async def _ask(self, request: Mapping[str, Any], began: float) -> None:
        route = self._routes[request["route"]]
        asked = body(request, route, self._prefix)
        sent = time.monotonic()
        outcome: dict[str, Any] = {"status": 0}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                outcome = await self._post(f"{route['endpoint']}/chat/completions", asked, sent)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result of this request
            outcome = {"status": 0, "error": f"{type(error).__name__}: {error}"[:300]}
        say(
            event="request",
            number=request["number"],
            route=request["route"],
            at=round(sent - began, 3),
            seconds=round(time.monotonic() - sent, 3),
            input_tokens=input_tokens(asked),
            **outcome,
        )

    async def _post(self, url: str, asked: Mapping[str, Any], sent: float) -> dict[str, Any]:
        async with self._session.post(url, json=asked) as response:
            outcome: dict[str, Any] = {"status": response.status}
            if response.status != 200:
                return outcome | {"error": (await response.text())[:300]}
            outcome["backend"] = response.headers.get(BACKEND_HEADER, "")
            if not asked["stream"]:
                usage = (await response.json()).get("usage") or {}
                return outcome | {"output_tokens": usage.get("completion_tokens")}
            async for line in response.content:
                if not line.startswith(b"data:") or b"[DONE]" in line:
                    continue
                event = json.loads(line[5:])
                if "error" in event:  # the answer broke off after it had begun
                    return outcome | {"status": 502, "error": str(event["error"])[:300]}
                if "first_token_seconds" not in outcome and _has_text(event):
                    outcome["first_token_seconds"] = round(time.monotonic() - sent, 3)
                if event.get("usage"):
                    outcome["output_tokens"] = event["usage"].get("completion_tokens")
            return outcome


def _has_text(event: Mapping[str, Any]) -> bool:
    return any((choice.get("delta") or {}).get("content") for choice in event.get("choices") or ())


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedule", type=Path, required=True)
    parser.add_argument("--prefix", type=Path, required=True)
    given = parser.parse_args()
    import aiohttp

    headers = {"Authorization": f"Bearer {os.environ['API_KEY']}"}
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await Generator(session, json.loads(given.schedule.read_text()), given.prefix.read_text()).run()


if __name__ == "__main__":
    asyncio.run(main())
