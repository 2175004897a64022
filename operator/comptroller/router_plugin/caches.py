"""What is added to a request so that its hosted backend caches the prompt: marks at the parts that end, or a key.

Only what the provider's rules permit is added (Anthropic's: at most four marks, a longer life before a shorter one,
none on what is too short to be cached). Marks of the client stay as they are and count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .prompt import CHAT, MESSAGES, PARTS, Prompt

MOST_MARKS = 4
MOST_BYTES_PER_TOKEN = 3
"""Of prompts as they are sent. A part with fewer bytes for each token of the minimum is surely too short."""
GIVEN_UP_FIRST = ("tools", "system", "lastMessage")
"""When marks run out: a later one covers the parts before it as well."""


@dataclass(frozen=True)
class Cache:
    """How one deployment caches."""

    marks: Mapping[str, str]  # part -> 5m or 1h
    minimum_tokens: int = 0
    key: str | None = None  # OpenAI's prompt_cache_key: requests with the same one go to the same machines

    @classmethod
    def parse(cls, one: Mapping[str, Any]) -> Cache:
        """Reads an entry of the configuration."""
        marks = {str(part): str(life) for part, life in (one.get("marks") or {}).items()}
        if not {*marks} <= {*PARTS} or not {*marks.values()} <= {"5m", "1h"}:
            raise ValueError(f"marks: {marks}")
        return cls(marks, int(one.get("minimum_tokens") or 0), one.get("key"))


def added(cache: Cache, prompt: Prompt) -> dict[str, Any]:
    """LiteLLM's parameters for one request; what the client has set itself takes precedence there."""
    if prompt.path not in (CHAT, MESSAGES):
        return {}
    params: dict[str, Any] = {"prompt_cache_key": cache.key} if cache.key else {}
    points = [_point(part, life, prompt) for part, life in marks(cache, prompt).items()]
    return params | ({"cache_control_injection_points": points} if points else {})


def marks(cache: Cache, prompt: Prompt) -> dict[str, str]:
    """Part -> life of the marks to add, along the row."""
    sizes, theirs = prompt.bytes_up_to or {}, {mark.part for mark in prompt.marks}
    found: dict[str, str] = {}
    for part in PARTS:
        long_enough = sizes.get(part, 0) >= cache.minimum_tokens * MOST_BYTES_PER_TOKEN
        if part in cache.marks and part in sizes and part not in theirs and long_enough:
            life = _permitted(part, cache.marks[part], prompt)
            if life is not None:
                found[part] = life
    if "lastMessage" in found and not prompt.last_can_be_marked:
        del found["lastMessage"]
    for part in GIVEN_UP_FIRST:
        if len(found) + len(prompt.marks) > MOST_MARKS:
            found.pop(part, None)
    return found


def _permitted(part: str, life: str, prompt: Prompt) -> str | None:
    """The life that a mark may have between the client's own: none before it may be shorter, none after it longer."""
    at = PARTS.index(part)
    before = {mark.ttl for mark in prompt.marks if PARTS.index(mark.part) < at}
    after = {mark.ttl for mark in prompt.marks if PARTS.index(mark.part) > at}
    if "5m" in before:
        life = "5m"
    return None if life == "5m" and "1h" in after else life


def _point(part: str, life: str, prompt: Prompt) -> dict[str, Any]:
    """LiteLLM's name of a part. Five minutes are what providers mean when nothing is said."""
    control = {"type": "ephemeral"} | ({"ttl": life} if life == "1h" else {})
    if part == "tools":
        return {"location": "tool_config", "control": control}
    if part == "lastMessage":
        return {"location": "message", "index": -1, "control": control}
    if prompt.system_index is not None:
        return {"location": "message", "index": prompt.system_index, "control": control}
    return {"location": "message", "role": "system", "control": control}


def takes_marks(model: str) -> bool:
    """Whether LiteLLM's model of this name is one that marks are made for, and not merely one that may ignore them."""
    return model.startswith(("anthropic/", "bedrock/")) or (model.startswith("vertex_ai/") and "claude" in model)


def without_marks(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The same request without `cache_control`, in new lists: those that it came with may be asked elsewhere again."""
    parts = {name: [_plain(one) for one in kwargs[name]] for name in ("messages", "tools") if kwargs.get(name)}
    system = kwargs.get("system")
    return {**kwargs, **parts, **({"system": [_plain(one) for one in system]} if isinstance(system, list) else {})}


def _plain(one: Any) -> Any:
    if not isinstance(one, Mapping):
        return one
    made = {name: value for name, value in one.items() if name != "cache_control"}
    if isinstance(made.get("content"), list):
        made["content"] = [_plain(block) for block in made["content"]]
    if isinstance(made.get("function"), Mapping):
        made["function"] = _plain(made["function"])
    return made
