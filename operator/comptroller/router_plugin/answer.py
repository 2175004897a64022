"""An answer on its way to the client: measured, and cleaned of what the client has not asked for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import failure, metrics
from .config import pool_of
from .estimates import Passed
from .hooks import Admitted

LONGEST_ERROR_BYTES = 64 * 1024
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
KEPT = frozenset(
    {
        b"content-type", b"content-length", b"transfer-encoding", b"cache-control", b"retry-after",
        b"x-litellm-call-id", b"x-litellm-model-id", b"x-litellm-attempted-fallbacks", b"x-litellm-response-cost",
    }
)  # fmt: skip
"""What a client gets to see of the headers; those of a provider tell of the router's account there."""


class Answer:
    """Wraps ASGI's `send` for one request."""

    def __init__(
        self,
        admitted: Admitted,
        arrived: float,
        clock: Callable[[], float],
        send: Send,
        *,
        drop_usage: bool,
        timed: bool = True,  # False: the time says nothing of the backend, since others were asked as well
    ) -> None:
        self._admitted = admitted
        self._arrived = arrived
        self._clock = clock
        self._send = send
        self._drop_usage = drop_usage
        self._timed = timed
        self._status = 0
        self._streamed = False
        self._pool = metrics.NONE
        self._first: float | None = None
        self._finished = False
        self._left = False
        self._broke = False
        self.passed: Passed | None = None  # what is written down of it for the books
        self.refused: str | None = None  # the outcome, where what LiteLLM said was replaced by a refusal
        self.pieces = 0  # of a stream; of a whole answer its bytes over four
        self._failed: bytearray | None = None  # what an answer that is an error has said so far
        self._retry_after: str | None = None

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = self._begin(message)
            if self._status >= 400 and self.refused is None:
                self._failed = bytearray()
                return
        elif message["type"] == "http.response.body":
            content = message.get("body", b"")
            if content and self._first is None:
                self._first = self._clock()
            if self.passed is not None:
                self.passed.heard(content)
            self.pieces += (
                content.count(b"data: {") - content.count(b'data: {"error"') if self._streamed else len(content) // 4
            )
            if self._streamed and self._failed is None:
                message = {**message, "body": self._piece(content)}
            self._finished = self._finished or not message.get("more_body", False)
            if self._failed is not None:
                self._failed += content[:LONGEST_ERROR_BYTES]
                if self._finished:
                    await self._fail(bytes(self._failed))
                return
        await self._send(message)

    async def _fail(self, said: bytes) -> None:
        """Tells of a failure in our words."""
        refusal = failure.told(self._status, said, self._admitted.route, self._retry_after)
        self._status, content = refusal.status, refusal.body()
        headers = {"content-type": "application/json", "content-length": str(len(content))} | dict(refusal.headers)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": self._status, "headers": pairs})
        await self._send({"type": "http.response.body", "body": content})

    def left(self) -> None:
        """The client has closed the connection: news only while the answer is not complete."""
        self._left = not self._finished
        if self.passed is not None:
            self.passed.unfinished = self.passed.unfinished or self._left

    def _begin(self, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        self._status = message["status"]
        headers = []
        for name, value in message.get("headers", []):
            lowered = name.lower()
            if lowered == b"x-litellm-model-id":
                self._pool = pool_of(value.decode("latin-1"))
            if lowered == b"content-type" and value.startswith(b"text/event-stream"):
                self._streamed = True
            if lowered in (b"retry-after", b"llm_provider-retry-after"):
                self._retry_after = value.decode("latin-1")
            if lowered in KEPT or lowered.startswith(b"x-comptroller-"):
                headers.append((name, value))
        return {**message, "headers": headers}

    def _piece(self, content: bytes) -> bytes:
        """One or more server-sent events. The closing event with the usage has no choices, which surprises clients that
        have not asked for it; an event with an error means that the stream broke."""
        if b'"error"' in content and any(breaks(event) for event in events(content)):
            self._broke = True
            if self.passed is not None:
                self.passed.unfinished = True
            kept = (failure.broken_stream(event) if breaks(event) else event for event in events(content))
            return b"".join(kept)
        if not self._drop_usage or b'"usage"' not in content:
            return content
        return b"".join(event for event in events(content) if not only_usage(event))

    @property
    def produced(self) -> bool:
        """Whether something of it has to be paid: of a failure only what has passed."""
        outcome = self._outcome()
        return outcome in ("ok", "disconnected") or (outcome == "error" and self._streamed and self.pieces > 0)

    def end(self) -> None:
        """Books the answer."""
        policy, tenant, route = self._admitted.policy, self._admitted.tenant, self._admitted.route
        outcome = self._outcome()
        metrics.RESPONSES.labels(policy, route, tenant, self._pool, outcome).inc()
        if outcome != "ok" or not self._timed:
            return
        if self._streamed and self._first is not None:
            metrics.TIME_TO_FIRST_TOKEN.labels(policy, route, self._pool).observe(self._first - self._arrived)
        metrics.REQUEST_SECONDS.labels(policy, route, self._pool).observe(self._clock() - self._arrived)

    def _outcome(self) -> str:
        if self.refused is not None:
            return self.refused
        if self._left:
            return "disconnected"
        if not self._finished or self._broke or self._status >= 500:
            return "error"
        if self._status == 429:
            return "overloaded"
        return "client_error" if self._status >= 400 else "ok"


def events(content: bytes) -> list[bytes]:
    """The server-sent events of one piece, each with its empty line."""
    parts = content.split(b"\n\n")
    return [part + b"\n\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def breaks(event: bytes) -> bool:
    """True for an event that is an error, with or without Anthropic's first line."""
    _, _, text = event.partition(b"data: ")
    try:
        data = json.loads(text)
    except ValueError:
        return False
    return isinstance(data, dict) and bool(data.get("error"))


def only_usage(event: bytes) -> bool:
    """True for an event like `data: {..., "choices": [], "usage": {...}}`."""
    if not event.startswith(b"data: {"):
        return False
    try:
        data = json.loads(event[6:])
    except ValueError:
        return False
    return (
        isinstance(data, dict)
        and bool(data.get("usage"))
        and not any(choice_has_content(one) for one in data.get("choices") or [])
    )


def choice_has_content(choice: Any) -> bool:
    """Whether a choice says anything: text, a tool call or why the answer ended."""
    if not isinstance(choice, dict):
        return True
    delta = choice.get("delta") or {}
    return bool(
        choice.get("finish_reason")
        or choice.get("text")
        or any(delta.get(name) for name in ("content", "tool_calls", "reasoning_content"))
    )
