"""The hosted API's own books: what it charged, to whom, for what, and whether a marked text ever reached it.

These books are the other side's. The operator's savings report and budgets are checked against them, and a data rule
is proven by them: an entry says whether the prompt carried a canary, a marker that a scenario plants in restricted
prompts. Refused requests are entered too, at no charge, because a prompt that is refused has left the house all the
same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .hosted_prices import Tokens

ENTRIES_KEPT = 5000


@dataclass(frozen=True, slots=True)
class Entry:
    number: int
    at: float  # unix seconds
    key: str  # name of the API key, never the key
    model: str
    status: int
    tokens: Tokens
    usd: Decimal
    route: str | None  # header x-comptroller-route
    user: str | None
    metadata: dict[str, Any] | None
    canary: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "at": self.at,
            "key": self.key,
            "model": self.model,
            "status": self.status,
            **_token_fields(self.tokens),
            "usd": f"{self.usd:f}",
            "route": self.route,
            "user": self.user,
            "metadata": self.metadata,
            "canary": self.canary,
        }


@dataclass(slots=True)
class Account:
    """A running total."""

    requests: int = 0
    refused: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    usd: Decimal = Decimal(0)

    def add(self, entry: Entry) -> None:
        if entry.status != 200:
            self.refused += 1
            return
        self.requests += 1
        self.usd += entry.usd
        mine, more = self.tokens, entry.tokens
        self.tokens = Tokens(
            input=mine.input + more.input,
            cached_input=mine.cached_input + more.cached_input,
            cache_write_5m=mine.cache_write_5m + more.cache_write_5m,
            cache_write_1h=mine.cache_write_1h + more.cache_write_1h,
            output=mine.output + more.output,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "refused": self.refused,
            **_token_fields(self.tokens),
            "usd": f"{self.usd:f}",
        }


class Ledger:
    """Totals for ever, the last `ENTRIES_KEPT` entries in detail."""

    def __init__(self) -> None:
        self._total = Account()
        self._by_key: dict[str, Account] = {}
        self._by_model: dict[str, Account] = {}
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_KEPT)
        self._count = 0
        self._canaries = 0
        self._first_at: float | None = None
        self._last_at: float | None = None

    def next_number(self) -> int:
        self._count += 1
        return self._count

    def enter(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._canaries += entry.canary
        self._first_at = entry.at if self._first_at is None else self._first_at
        self._last_at = entry.at
        self._total.add(entry)
        self._by_key.setdefault(entry.key, Account()).add(entry)
        if entry.status == 200:
            # A model's name comes from the client: only those that exist get an account.
            self._by_model.setdefault(entry.model, Account()).add(entry)

    def totals(self) -> dict[str, Any]:
        return {
            **self._total.as_json(),
            "canary_requests": self._canaries,
            "first_at": self._first_at,
            "last_at": self._last_at,
            "by_key": {name: account.as_json() for name, account in self._by_key.items()},
            "by_model": {name: account.as_json() for name, account in self._by_model.items()},
        }

    def entries(self, since: int, limit: int) -> list[dict[str, Any]]:
        """Entries with a number above `since`, oldest first, at most `limit`."""
        return [entry.as_json() for entry in self._entries if entry.number > since][:limit]


def _token_fields(tokens: Tokens) -> dict[str, int]:
    return {
        "input_tokens": tokens.input,
        "cached_input_tokens": tokens.cached_input,
        "cache_write_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_write_5m_tokens": tokens.cache_write_5m,
        "cache_write_1h_tokens": tokens.cache_write_1h,
        "output_tokens": tokens.output,
    }
