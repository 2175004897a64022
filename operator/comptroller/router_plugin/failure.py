"""What a client is told when LiteLLM or a backend has failed.

A backend's own words stay here, except where they help the client to mend its request: they may speak of the router's
key at the provider, of addresses inside, or of the model behind a route. A backend that refuses the router's key is no
client without a key: 401, 403 and 404 of a backend become 502, so that nobody looks for a fault in their own key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cache

from .errors import Refusal

LONGEST_MESSAGE = 600
SHORTEST_SECRET = 8
WRONG_REQUEST = frozenset({400, 413, 422})
NOT_THE_CLIENT = frozenset({401, 402, 403, 404, 405, 407})
RETRY_AFTER_SECONDS = 1
_DECORATION = re.compile(r"^(?:litellm\.)?\w*(?:Error|Exception)(?: -)?:? ?|^\w+Exception - ")
_TOO_LONG = re.compile(r"context.?window|context.?length|maximum context|too long", re.IGNORECASE)
_FULL = "every pool that route "


def told(status: int, body: bytes, route: str, retry_after: str | None) -> Refusal:
    """The answer in place of LiteLLM's."""
    wait = retry_after if retry_after is not None and retry_after.isdigit() else str(RETRY_AFTER_SECONDS)
    said = _words(body)
    if status in WRONG_REQUEST:
        code = "context_length_exceeded" if _TOO_LONG.search(said) else "invalid_request"
        return Refusal(status, "client_error", code, said or "the backend refused the request as wrong")
    if status == 429:
        start = said.find(_FULL)
        full = said[start:] if start >= 0 else f"the pools of route {route} have reached their limits; try again later"
        return Refusal(429, "overloaded", "overloaded", full, {"retry-after": wait})
    if status in NOT_THE_CLIENT:
        message = f"a pool of route {route} does not accept the router's own requests; whoever runs it must mend that"
        return Refusal(502, "error", "backend_refused", message)
    if status in (408, 504):
        return Refusal(504, "error", "timeout", f"no pool of route {route} answered in time; try again")
    message = f"no pool of route {route} could answer; try again"
    return Refusal(max(status, 500), "error", "backend_failed", message, {"retry-after": wait} if status == 503 else {})


def _words(body: bytes) -> str:
    """What an error says, without LiteLLM's decoration and without anything that is secret here."""
    try:
        error = json.loads(body).get("error")
    except (ValueError, AttributeError):
        return ""
    found = error.get("message") if isinstance(error, Mapping) else error
    text = found if isinstance(found, str) else ""
    text = text.split("\n\nLiteLLM:")[0].strip()
    while (shorter := _DECORATION.sub("", text, count=1)) != text:
        text = shorter
    for secret in secrets():
        text = text.replace(secret, "(secret)")
    return text[:LONGEST_MESSAGE]


@cache
def secrets() -> tuple[str, ...]:
    """The values of this process's environment that are keys."""
    names = ("KEY", "CREDENTIAL", "TOKEN", "SECRET")
    values = (value for name, value in os.environ.items() if any(word in name.upper() for word in names))
    return tuple(value for value in values if len(value) >= SHORTEST_SECRET)


def broken_stream(content: bytes) -> bytes:
    """The event that tells of a stream that broke, in the shape that both kinds of clients know."""
    lead = b"event: error\n" if b"event: error" in content else b""
    message = "the answer broke off; ask again"
    error = {"type": "error", "error": {"message": message, "type": "server_error", "param": None, "code": "broken"}}
    return lead + b"data: " + json.dumps(error).encode() + b"\n\n"
