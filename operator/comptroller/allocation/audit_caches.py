"""The independent auditor of prompt caches: what the router may add to requests so that a provider keeps them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from comptroller.allocation.audit import Violation
from comptroller.allocation.audit_section import Kind
from comptroller.api.modelpool import ModelPoolSpec, Provider
from comptroller.api.routingpolicy import RoutingPolicySpec

_CACHE = frozenset(("pool", "route", "key", "marks", "minimum_tokens"))
_PARTS = ("tools", "system", "lastMessage")
_TAKES_A_KEY = frozenset((Provider.OPENAI, Provider.AZURE, Provider.FIREWORKS))
_TAKES_MARKS = frozenset((Provider.ANTHROPIC, Provider.BEDROCK, Provider.VERTEX))
_KEY = re.compile("[0-9a-f]{32}")
"""A digest: a name or a text would tell the provider something."""


def prompt_caches(
    section: Any, policy: RoutingPolicySpec, pools: Mapping[str, ModelPoolSpec], kind: Kind, name: str
) -> Iterator[Violation]:
    """What the section's caches break. Each must belong to a hosted pool that its route names, and hold nothing that
    the pool's provider refuses or that the pool declares to be off; a restricted router has none."""
    field = "x_comptroller.prompt_caches"
    listed = (section.get("prompt_caches") or []) if isinstance(section, Mapping) else []
    if not isinstance(listed, list):
        yield Violation(field, "is no list")
        return
    namespace = name.split("/", 1)[0]
    named = {(f"{namespace}/{one.pool}", route.name) for route in policy.routes for one in route.backends}
    seen: set[tuple[str, str]] = set()
    for one in listed:
        if not isinstance(one, Mapping) or not {*one} <= _CACHE:
            yield Violation(field, f"{one} is nothing that may be rendered")
            continue
        at = str(one.get("pool")), str(one.get("route"))
        if kind == "restricted" or at not in named or at in seen:
            yield Violation(field, f"{at[1]} at {at[0]} has no cache here, or two")
            continue
        seen.add(at)
        yield from _cache(f"{field}[{at[1]} at {at[0]}]", one, pools.get(at[0]))


def _cache(field: str, one: Mapping[str, Any], pool: ModelPoolSpec | None) -> Iterator[Violation]:
    hosted = None if pool is None else pool.hosted
    declared = None if hosted is None else hosted.prompt_cache
    if hosted is None or (declared is not None and declared.mode == "none"):
        yield Violation(field, "the pool is not hosted, or says that it never caches")
        return
    key, marks, minimum = one.get("key"), one.get("marks", {}), one.get("minimum_tokens", 0)
    if key is not None and (hosted.provider not in _TAKES_A_KEY or not isinstance(key, str) or not _KEY.fullmatch(key)):
        yield Violation(f"{field}.key", f"{key!r} is no digest, or {hosted.provider.value} takes none")
    if (key is None) is not bool(marks):
        yield Violation(field, "must have a key or marks")
    if not isinstance(marks, Mapping) or (marks and hosted.provider not in _TAKES_MARKS):
        yield Violation(f"{field}.marks", f"{hosted.provider.value} takes no marks")
        return
    offered = set(declared.ttls) if declared is not None and declared.ttls else {"5m", "1h"}
    lives = [marks[part] for part in _PARTS if part in marks]
    for part, life in marks.items():
        if part not in _PARTS or not isinstance(life, str) or life not in offered:
            yield Violation(f"{field}.marks.{part}", f"{life!r} is no life that the pool offers")
    if lives != sorted(lives, key=str):  # "1h" before "5m"
        yield Violation(f"{field}.marks", "a longer life may not follow a shorter one")
    least = 0 if not marks else 1024 if declared is None else declared.minimum_tokens
    if isinstance(minimum, bool) or minimum != least:
        yield Violation(f"{field}.minimum_tokens", f"{minimum!r} is not the pool's {least}")
