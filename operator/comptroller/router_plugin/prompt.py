"""What of a request decides where it goes and what is cached of it: hashes and sizes, never its text.

A prompt is a row of three parts, as caches see it: tools, then the system prompt, then the messages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
SESSION_HEADERS = (b"x-session-id", b"x-litellm-session-id")
"""Who belongs together, in the client's own words; the first one counts. They are read here and go no further."""
INSTRUCTIONS = frozenset({"system", "developer"})
PARTS = ("tools", "system", "lastMessage")


@dataclass(frozen=True)
class Mark:
    """A `cache_control` of the client's own: in which part, and for how long."""

    part: str
    ttl: str


@dataclass(frozen=True)
class Prompt:
    """One request. Sizes are bytes of JSON up to the end of each part; a part that is not there has no size."""

    path: str
    session: bytes
    prefix: bytes | None = None  # hash of tools and system prompt, which many requests share
    bytes_up_to: Mapping[str, int] | None = None  # part -> bytes
    marks: tuple[Mark, ...] = ()
    system_index: int | None = None  # of the message that ends the system prompt, where that is a message
    last_can_be_marked: bool = False  # providers refuse a mark on an empty text


def read(path: str, tenant: str, route: str, headers: Iterable[tuple[bytes, bytes]], body: Mapping[str, Any]) -> Prompt:
    """Reads a request that has passed the guard. Bodies of any shape are permitted: what is not understood counts as a
    message."""
    tools, system, messages, index = _row(path, body)
    sizes, size = {}, 0
    written = {"tools": _json(tools), "system": _json(system), "lastMessage": _json(messages)}
    for part, text in written.items():
        size += len(text)
        if text:
            sizes[part] = size
    marks = [*_marks("tools", tools), *_marks("system", system), *_marks("lastMessage", messages)]
    shared = [written["tools"], written["system"]]
    first = _json(messages[0]) if isinstance(messages, list) and messages else written["lastMessage"]
    named = _named(headers, body)
    session = _hash(tenant.encode(), named) if named else _hash(*shared, first)
    return Prompt(
        path=path,
        session=_hash(route.encode(), session),
        prefix=_hash(*shared) if any(shared) else None,
        bytes_up_to=sizes,
        marks=tuple(marks),
        system_index=index,
        last_can_be_marked=_can_be_marked(body.get("messages")),
    )


def _row(path: str, body: Mapping[str, Any]) -> tuple[Any, Any, Any, int | None]:
    """Tools, system prompt, messages, and which message ends the system prompt."""
    messages = body.get("messages", body.get("prompt", body.get("input")))
    if path != CHAT:
        return body.get("tools"), body.get("system"), messages, None
    listed = messages if isinstance(messages, list) else []
    places = [index for index, one in enumerate(listed) if _role(one) in INSTRUCTIONS]
    system = [listed[index] for index in places]
    rest = [one for one in listed if _role(one) not in INSTRUCTIONS]
    return body.get("tools"), system or None, rest, places[-1] if places else None


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, Mapping) else None


def _named(headers: Iterable[tuple[bytes, bytes]], body: Mapping[str, Any]) -> bytes:
    """The session's name: a header, else OpenAI's own `prompt_cache_key`, else none."""
    found = {name.lower(): value for name, value in headers}
    for name in SESSION_HEADERS:
        if found.get(name):
            return found[name]
    key = body.get("prompt_cache_key")
    return key.encode("utf-8", "surrogatepass") if isinstance(key, str) else b""


def _marks(part: str, value: Any) -> Iterator[Mark]:
    """Every `cache_control` in a tool, a message or a block of it; deeper ones are the client's data."""
    for one in value if isinstance(value, list) else []:
        inner = one.get("content") if isinstance(one, Mapping) else None
        inside = [one, one.get("function")] if isinstance(one, Mapping) else []
        for thing in (*inside, *(inner if isinstance(inner, list) else [])):
            control = thing.get("cache_control") if isinstance(thing, Mapping) else None
            if isinstance(control, Mapping):
                yield Mark(part, "1h" if control.get("ttl") == "1h" else "5m")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode() if value else b""


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _can_be_marked(messages: Any) -> bool:
    """Whether the last message ends in something that may carry a mark."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    if _role(last) in INSTRUCTIONS:
        return False
    content = last.get("content") if isinstance(last, Mapping) else None
    if isinstance(content, str):
        return bool(content.strip())
    block = content[-1] if isinstance(content, list) and content else None
    if not isinstance(block, Mapping):
        return False
    text = block.get("text")
    return bool(text.strip()) if isinstance(text, str) else block.get("type") not in ("thinking", "redacted_thinking")


PROMPT: ContextVar[Prompt | None] = ContextVar("prompt", default=None)
"""The request that is being answered; what LiteLLM starts for it inherits it."""
