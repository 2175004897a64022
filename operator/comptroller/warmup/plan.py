"""What one run sends, read from the mounted JSON file that `render/warmup_job.py` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class PlanError(ValueError):
    """A plan that cannot be carried out; the message names the prefix and what to do."""


@dataclass(frozen=True, slots=True)
class PlannedPrefix:
    """What many requests begin with, as messages and tools of the chat completions API."""

    name: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One run against one replica."""

    address: str  # of the replica itself, such as http://10.0.0.7:8000
    model: str
    slots: int  # caches of the replica: one per slot for llama.cpp, 0 for engines with one cache for all
    prefixes: tuple[PlannedPrefix, ...]
    minimum_hit_ratio: float
    concurrency: int
    deadline_seconds: float


def read_plan(path: Path) -> Plan:
    """Reads the plan and the texts that it refers to. Raises `PlanError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Plan(
            address=content["address"],
            model=content["model"],
            slots=int(content["slots"]),
            prefixes=tuple(_prefix(one) for one in content["prefixes"]),
            minimum_hit_ratio=float(content["minimumHitRatio"]),
            concurrency=int(content["concurrency"]),
            deadline_seconds=float(content["deadlineSeconds"]),
        )
    except (OSError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PlanError(f"the plan {path} cannot be read: {type(error).__name__}: {error}") from error


def _prefix(content: Mapping[str, Any]) -> PlannedPrefix:
    name = content["name"]
    system, tools = _text(name, "system", content.get("system")), _text(name, "tools", content.get("tools"))
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages += content.get("messages") or []
    return PlannedPrefix(name, tuple(messages), _tools(name, tools))


def _text(name: str, part: str, source: Mapping[str, str] | None) -> str | None:
    if source is None:
        return None
    if "text" in source:
        return source["text"]
    try:
        return Path(source["file"]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"prefix {name}: {part} cannot be read: {error}") from error


def _tools(name: str, text: str | None) -> tuple[Any, ...]:
    if text is None:
        return ()
    try:
        tools = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"prefix {name}: tools is not JSON: {error}") from error
    if not isinstance(tools, list):
        raise PlanError(f"prefix {name}: tools must be a JSON list, as in the chat completions API")
    return tuple(tools)
