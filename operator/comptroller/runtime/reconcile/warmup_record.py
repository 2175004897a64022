"""How runs ended, kept in the replica's own condition: it outlives Jobs and operators, and goes with the replica.

`warm: docs-0a1b2c3d4e@1795327250:5f2c9a0b1d3e; failed: none` and then words for people, which are not read back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_ENTRY = re.compile(r"^([-a-z0-9]{1,63})@([0-9]{1,12})(?::([0-9a-f]{12}))?$")
_KINDS = ("warm", "failed")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the newest run of a token ended."""

    token: str  # `render.warmup.warmup_token`
    warm: bool
    at_seconds: int
    digest: str = ""  # of what was sent


def write_record(ended: Iterable[Ended]) -> str:
    """The record as the beginning of a message."""
    runs = sorted(ended, key=lambda one: one.token)
    entries = {kind: " ".join(_entry(one) for one in runs if one.warm == (kind == "warm")) or "none" for kind in _KINDS}
    return f"warm: {entries['warm']}; failed: {entries['failed']}"


def read_record(message: str) -> dict[str, Ended]:
    """What `write_record` wrote, by token. Anything else is skipped."""
    found = {}
    for kind, part in zip(_KINDS, message.split("; "), strict=False):
        if not part.startswith(f"{kind}: "):
            break
        for text in part.split()[1:]:
            if entry := _ENTRY.match(text):
                token, at, digest = entry.groups()
                found[token] = Ended(token, kind == "warm", int(at), digest or "")
    return found


def same_warmup(one: str, other: str) -> bool:
    """Whether two tokens are of one CacheWarmup: they differ in the digest at their end only."""
    return one.rpartition("-")[0] == other.rpartition("-")[0]


def _entry(one: Ended) -> str:
    return f"{one.token}@{one.at_seconds}" + (f":{one.digest}" if one.digest else "")
