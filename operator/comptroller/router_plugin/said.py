"""Requests and answers as text for a judge. What is not understood is not judged; nothing here raises, or keeps more
than it needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from .verdict import MOST_CHARACTERS, clipped

TALKS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/messages"})
"""The paths whose answers are text."""
GOOD_ENDS = frozenset({"stop", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence"})
"""Why a complete answer ended; others were cut off."""
LARGEST_WHOLE_BYTES = 1024 * 1024
LARGEST_EVENT_BYTES = 256 * 1024


def asked(body: Mapping[str, Any]) -> str:
    """A request as text: who said what, in order. Images and other media only by their names."""
    system = [("system", body["system"])] if body.get("system") else []
    said = [(one.get("role"), one) for one in _mappings(body.get("messages"))]
    lines = [f"{role}: {_content(one)}" for role, one in [*system, *said]]
    if body.get("prompt") is not None:
        prompt = body["prompt"]
        lines.append(prompt if isinstance(prompt, str) else json.dumps(prompt))
    return clipped("\n".join(lines))


def _content(said: Any) -> str:
    """The text of one message, of its parts or of its tool calls."""
    if isinstance(said, str):
        return said
    if isinstance(said, list):
        return "\n".join(_content(one) for one in said)
    if not isinstance(said, Mapping):
        return ""
    calls = said.get("tool_calls")
    texts = [_content(said[name]) for name in ("text", "content") if said.get(name)]
    if said.get("type") == "tool_use":
        texts.append(json.dumps({"name": said.get("name"), "arguments": said.get("input")}))
    elif isinstance(said.get("type"), str) and not texts:
        texts.append(f"[{said['type'][:40]}]")
    return "\n".join([*texts, *([json.dumps(calls)] if calls else [])])


class Heard:
    """An answer as it goes by. Of one that is too long, broken or cut off nothing is kept: `text` is None."""

    def __init__(self) -> None:
        self.status = 0
        self.pool = ""  # LiteLLM's deployment
        self.finished = False
        self.too_long = False
        self._streamed = False
        self._rest = b""
        self._texts: dict[int, list[str]] = {}
        self._calls: dict[tuple[int, int], list[str]] = {}
        self._ends: list[str] = []
        self._size = 0
        self._broke = False

    def hear(self, message: MutableMapping[str, Any]) -> None:
        """One of ASGI's messages."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = {name.lower(): value for name, value in message.get("headers", [])}
            self.pool = headers.get(b"x-litellm-model-id", b"").decode("latin-1").rpartition("/")[0]
            self._streamed = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        elif message["type"] == "http.response.body" and not self.too_long:
            self._rest += message.get("body", b"")
            if self._streamed:
                self._take_events()
            self.finished = not message.get("more_body", False)
            self._bound(LARGEST_EVENT_BYTES if self._streamed else LARGEST_WHOLE_BYTES)

    def _bound(self, most: int) -> None:
        if len(self._rest) > most or self._size > MOST_CHARACTERS:
            self.too_long = True
            self._rest = b""
            self._texts.clear()
            self._calls.clear()

    def _take_events(self) -> None:
        *whole, self._rest = self._rest.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in whole:
            for line in event.split(b"\n"):
                if line.startswith(b"data: {"):
                    self._take(_object(line[6:]))

    def text(self) -> str | None:
        """The answer, when it was complete and good."""
        if not self.finished or self.status != 200 or self.too_long:
            return None
        if not self._streamed:
            self._take(_object(self._rest))
            self._rest = b""
            self._bound(LARGEST_WHOLE_BYTES)
        if self._broke or self.too_long or not self._ends or not GOOD_ENDS.issuperset(self._ends):
            return None
        calls = [{"call": key[1], "json": "".join(parts)} for key, parts in sorted(self._calls.items())]
        said = ["".join(parts) for _, parts in sorted(self._texts.items())]
        return "\n".join([*said, *([json.dumps(calls)] if calls else [])]) or None

    def _take(self, data: Mapping[str, Any]) -> None:
        """A whole answer or one event of a stream, of OpenAI's kind or Anthropic's."""
        self._broke = self._broke or bool(data.get("error")) or not data
        for choice in _mappings(data.get("choices")):
            index = _index(choice)
            said = _mapping(choice.get("delta")) or _mapping(choice.get("message")) or choice
            self._add(index, said.get("content") if isinstance(said.get("content"), str) else choice.get("text"))
            for position, call in enumerate(_mappings(said.get("tool_calls"))):
                self._call(index, _index(call, position), _mapping(call.get("function")), ("name", "arguments"))
            self._call(index, 0, _mapping(said.get("function_call")), ("name", "arguments"))
            self._end(choice.get("finish_reason"))
        for position, block in enumerate(_mappings(data.get("content"))):
            self._block(position, block)
        if isinstance(data.get("content_block"), Mapping):
            self._block(_index(data), data["content_block"], begins=True)
        delta = data.get("delta")
        if isinstance(delta, Mapping):
            self._add(_index(data), delta.get("text"))
            if isinstance(delta.get("partial_json"), str):
                self._call(_index(data), 0, delta, ("partial_json",))
            self._end(delta.get("stop_reason"))
        self._end(data.get("stop_reason"))

    def _block(self, index: int, block: Mapping[str, Any], *, begins: bool = False) -> None:
        self._add(index, block.get("text"))
        if block.get("type") == "tool_use":
            given = {"name": block.get("name"), "input": "" if begins else json.dumps(block.get("input"))}
            self._call(index, 0, given, ("name", "input"))

    def _add(self, index: int, text: Any) -> None:
        if isinstance(text, str):
            self._texts.setdefault(index, []).append(text)
            self._size += len(text)

    def _call(self, choice: int, index: int, call: Mapping[str, Any], names: Iterable[str]) -> None:
        for name in names:
            if isinstance(call.get(name), str) and call[name]:
                text = call[name] + (" " if name == "name" else "")
                self._calls.setdefault((choice, index), []).append(text)
                self._size += len(text)

    def _end(self, why: Any) -> None:
        if isinstance(why, str):
            self._ends.append(why)


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _index(value: Mapping[str, Any], otherwise: int = 0) -> int:
    found = value.get("index")
    return found if isinstance(found, int) else otherwise
