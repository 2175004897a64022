"""What one run sends, read from the mounted JSON file that `render/warmup_job.py` writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptroller.warmup.forwarded import as_forwarded


class PlanError(ValueError):
    """A plan that cannot be carried out; the message names the prefix and what to do."""


@dataclass(frozen=True, slots=True)
class PlannedPrefix:
    """What many requests begin with, as messages and tools of the chat completions API."""

    name: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Any, ...]
    slots: tuple[int, ...] = ()  # caches that it goes to; empty for engines with one cache for all
    may_be_saved: bool = False  # whether its cache may be written to the replica's volume: not where it holds a Secret


@dataclass(frozen=True, slots=True)
class Plan:
    """One run against one replica."""

    address: str  # of the replica itself, such as http://10.0.0.7:8000
    model: str
    prefixes: tuple[PlannedPrefix, ...]
    minimum_hit_ratio: float
    concurrency: int
    deadline_seconds: float
    snapshots: str = ""  # what saved caches must agree in: pool, model, command line; empty where none can be restored
    save: bool = False  # whether caches may be saved: nobody else's prompt can be in a slot


def read_plan(path: Path) -> Plan:
    """Reads the plan and the texts that it refers to. Raises `PlanError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Plan(
            address=content["address"],
            model=content["model"],
            prefixes=tuple(_prefix(one) for one in content["prefixes"]),
            minimum_hit_ratio=float(content["minimumHitRatio"]),
            concurrency=int(content["concurrency"]),
            deadline_seconds=float(content["deadlineSeconds"]),
            snapshots=content.get("snapshots", ""),
            save=bool(content.get("save")),
        )
    except (OSError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PlanError(f"the plan {path} cannot be read: {type(error).__name__}: {error}") from error


def _prefix(content: Mapping[str, Any]) -> PlannedPrefix:
    name = content["name"]
    system, tools = _text(name, "system", content.get("system")), _text(name, "tools", content.get("tools"))
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages += content.get("messages") or []
    slots, may_be_saved = tuple(content.get("slots") or ()), bool(content.get("mayBeSaved"))
    return PlannedPrefix(name, tuple(messages), _tools(name, tools), slots, may_be_saved)


def digest(prefixes: Iterable[PlannedPrefix]) -> str:
    """Tells contents apart without telling them: 48 bits of a hash over everything that is sent."""
    content = [[one.name, one.messages, one.tools] for one in prefixes]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


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
    if any(not isinstance(one, dict) or one.get("type") != "function" for one in tools):
        raise PlanError(f'prefix {name}: every tool must be an object with "type": "function"')
    return tuple(as_forwarded(tools))
