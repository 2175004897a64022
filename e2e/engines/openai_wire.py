"""The OpenAI chat and completion formats: reading a request, writing an answer whole or as server-sent events.

Shared by the simulated engine and the hosted API, which speak the same language with different accents: what differs
(limits, errors, usage details) stays with each server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .tokens import render_chat, tokenize

DONE = b"data: [DONE]\n\n"


class BadRequestError(ValueError):
    """The request is malformed; the message is for the client."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asked for. `max_tokens` is None if it left the length to the server."""

    model: str
    prompt: bytes
    chat: bool
    max_tokens: int | None
    ignore_eos: bool
    stream: bool
    include_usage: bool
    body: dict[str, Any]


def read_ask(raw: bytes, *, chat: bool) -> Ask:
    """Parse the body of `/v1/chat/completions` (`chat`) or `/v1/completions`. Raises BadRequestError."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object")
    prompt = _chat_prompt(body) if chat else _plain_prompt(body)
    limit = body.get("max_completion_tokens")
    limit = body.get("max_tokens") if limit is None else limit
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise BadRequestError(f"max_tokens must be at least 1, got {limit!r}.")
    options = body.get("stream_options") or {}
    return Ask(
        model=str(body.get("model", "")),
        prompt=prompt,
        chat=chat,
        max_tokens=limit,
        ignore_eos=bool(body.get("ignore_eos")),
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        body=body,
    )


def content_text(content: object) -> str:
    """Text of a message: a string, or a list of parts, of which those that are not text count as their JSON."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            part["text"] if isinstance(part, dict) and isinstance(part.get("text"), str) else compact(part)
            for part in content
        )
    raise BadRequestError("message content must be a string or a list of parts")


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _chat_prompt(body: dict[str, Any]) -> bytes:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise BadRequestError("messages must be a non-empty list of objects")
    turns = [(str(one.get("role", "user")), _turn_text(one)) for one in messages]
    if body.get("tools"):
        turns.insert(0, ("tools", compact(body["tools"])))  # chat templates put the tools before the conversation
    return render_chat(turns)


def _turn_text(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    return content_text(message.get("content")) + (compact(calls) if calls else "")


def _plain_prompt(body: dict[str, Any]) -> bytes:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise BadRequestError("prompt must be a non-empty string; lists of prompts are not simulated")
    return tokenize(prompt)


@dataclass(frozen=True, slots=True)
class Answer:
    """Writes one answer in the wire format."""

    id: str
    created: int
    model: str
    chat: bool

    def whole(self, text: str, finish_reason: str, usage: dict[str, Any]) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._head(kind), "choices": [choice], "usage": usage}

    def opening(self) -> bytes:
        """The first event of a chat stream, which names the role. A completion stream has none."""
        return self._event([self._choice({"role": "assistant", "content": ""}, None)]) if self.chat else b""

    def piece(self, text: str) -> bytes:
        return self._event([self._choice({"content": text}, None) if self.chat else self._text(text, None)])

    def closing(self, finish_reason: str) -> bytes:
        return self._event([self._choice({}, finish_reason) if self.chat else self._text("", finish_reason)])

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The event that `stream_options.include_usage` asks for: no choices, only the bill."""
        return self._event([], usage)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    @staticmethod
    def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    @staticmethod
    def _text(text: str, finish_reason: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        body = {**self._head("chat.completion.chunk" if self.chat else "text_completion"), "choices": choices}
        if usage is not None:
            body["usage"] = usage
        return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
