"""How often prompts begin alike: the time since the same tools and system prompt last came, route by route.

What a cache of some life would have found can be read off it, whatever the arrivals look like. Only hashes are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

MOST_PREFIXES = 20_000
"""Some 4 MiB. The one that was used longest ago is forgotten first."""
NEVER_SECONDS = 7 * 86400.0
"""What is told of a prefix that is new: longer than any cache lives."""


class Prefixes:
    """When each prefix was last seen by this process."""

    def __init__(self, tell: Callable[[str, float], None], most: int = MOST_PREFIXES) -> None:
        self._tell = tell
        self._most = most
        self._seen: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def arrived(self, route: str, prefix: bytes | None, now_seconds: float) -> None:
        """Takes in one request; one without tools and system prompt shares nothing."""
        if prefix is None:
            return
        before = self._seen.pop((route, prefix), None)
        self._seen[route, prefix] = now_seconds
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        self._tell(route, NEVER_SECONDS if before is None else max(0.0, now_seconds - before))
