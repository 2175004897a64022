"""What messages may carry: text, and pictures, sound and documents that are in the request itself.

An address in a request (`image_url`, `file_id`, `source.type: url`) is fetched by whoever gets it: LiteLLM while it
counts tokens, an engine inside the cluster, or a provider. The first two would let a client read what only the cluster
can reach, and would carry words of a restricted request out in the address. So only `data:` addresses pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import MalformedError, RefusedError

MESSAGE = frozenset(
    {
        "role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "annotations",
        "reasoning_content", "reasoning", "thinking_blocks", "cache_control", "prefix",
    }
)  # fmt: skip
"""What a message may have; the rest, such as what LiteLLM adds to its answers, is left out of what is handed on."""

PARTS: Mapping[str, frozenset[str]] = {
    "/v1/chat/completions": frozenset(
        {
            "text", "refusal", "image_url", "video_url", "audio_url", "input_audio", "file", "thinking",
            "redacted_thinking", "tool_result", "tool_use",
        }
    ),
    "/v1/messages": frozenset(
        {"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "search_result"}
    ),
}  # fmt: skip
"""Path -> types of parts that a message may have."""

BY_ADDRESS = ("image_url", "video_url", "audio_url")
IN_PLACE = frozenset({"base64", "text", "content"})
NO_ADDRESS = "addresses are not fetched here; send the content itself, as data:TYPE;base64,..."


def checked_content(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body with messages that carry nothing else. Raises `RefusedError` and `MalformedError`."""
    known = PARTS.get(path)
    if known is None:
        return body
    messages = body.get("messages")
    if not messages:
        raise MalformedError("messages: there must be at least one")
    for message in messages:
        _check(message.get("content"), known, "messages")
    _check(body.get("system"), known, "system")
    prediction = body.get("prediction")
    _check(prediction.get("content") if prediction else None, known, "prediction")
    kept = [{name: value for name, value in one.items() if name in MESSAGE} for one in messages]
    return {**body, "messages": kept}


def _check(content: Any, known: frozenset[str], field: str) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise MalformedError(f"{field}: content must be a text or a list of parts")
    for part in content:
        if not isinstance(part, Mapping):
            raise MalformedError(f"{field}: each part of a content must be an object")
        _check_part(part, known, field)


def _check_part(part: Mapping[str, Any], known: frozenset[str], field: str) -> None:
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in known:
        raise RefusedError(f"{field}: parts may be of type {', '.join(sorted(known))}; leave the others out")
    for name in BY_ADDRESS:
        if name in part:
            place = part[name]
            _data_only(place.get("url") if isinstance(place, Mapping) else place, f"{field}: {name}")
    if "file" in part:
        file = part["file"]
        if not isinstance(file, Mapping) or "file_id" in file or "file_url" in file:
            raise RefusedError(f"{field}: file: {NO_ADDRESS}")
        _data_only(file.get("file_data"), f"{field}: file")
    if kind in ("image", "document"):
        source = part.get("source")
        if not isinstance(source, Mapping) or source.get("type") not in IN_PLACE or {"url", "file_id"} & {*source}:
            raise RefusedError(f"{field}: source: {NO_ADDRESS}")
        _check(source.get("content"), known, field)
    if kind in ("tool_result", "search_result"):
        _check(part.get("content"), known, field)


def _data_only(address: Any, field: str) -> None:
    if not isinstance(address, str) or not address.startswith("data:"):
        raise RefusedError(f"{field}: {NO_ADDRESS}")
