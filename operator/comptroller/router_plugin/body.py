"""The body of a request: read within limits, and understood in exactly one way or not at all.

What comes out is written anew for LiteLLM, so that two parsers never disagree about doubled names, numbers that are
none or texts in another encoding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from .errors import Refusal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

LARGEST_BODY_BYTES = 64 * 1024 * 1024
DEEPEST_BODY = 100
"""Levels of nesting that a body may have: well below where Python's own JSON gives up, here and in LiteLLM."""

MALFORMED = Refusal(
    400, "malformed", "invalid_json", f"the body must be a JSON object, nested at most {DEEPEST_BODY} levels deep"
)
TOO_LARGE = Refusal(
    413, "malformed", "body_too_large", f"the body may have at most {LARGEST_BODY_BYTES // 1024**2} MiB"
)


async def read_object(headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> dict[str, Any] | Refusal:
    """The body as a JSON object, or why it is none."""
    if announced_bytes(headers) > LARGEST_BODY_BYTES:
        return TOO_LARGE
    raw = await read_body(receive)
    if len(raw) > LARGEST_BODY_BYTES:
        return TOO_LARGE
    body = parse(raw)
    return MALFORMED if body is None else body


def announced_bytes(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """What Content-Length says; 0 when it says nothing, as with a body that comes in chunks."""
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    return max((int(one) for one in lengths if one.isdigit() and len(one) < 20), default=0)


async def read_body(receive: Receive) -> bytes:
    """The whole body; of one that is too long only so much that it shows; nothing when the client has left."""
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= LARGEST_BODY_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
    return b"".join(parts)


def parse(raw: bytes) -> dict[str, Any] | None:
    """A JSON object, or None."""
    try:
        body = json.loads(raw.decode(), parse_constant=_no_number, parse_float=_finite) if raw else None
        if b"\\u" in raw:
            json.dumps(body, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) and not too_deep(body) else None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def too_deep(body: dict[str, Any]) -> bool:
    """Whether it is nested so deeply that a later reader or writer of JSON may fail."""
    level: list[Any] = [body]
    for _ in range(DEEPEST_BODY):
        inside = (one for item in level for one in (item.values() if isinstance(item, dict) else item))
        level = [one for one in inside if isinstance(one, (dict, list))]
        if not level:
            return False
    return True
