"""What one request costs: reserved when its backend is chosen, settled when what it used is known.

The reservation is an estimate, so that requests that are answered at the same time see each other: the prompt's bytes
over four, and as many output tokens as answers of this backend had on average, at most `max_tokens`. LiteLLM reports
the real usage after the answer, also of a stream that the client has left (it counts the pieces that have passed). It
reports nothing of a stream that broke and of a request that was left before its first piece; those are charged for the
prompt and the pieces that have passed, one token each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from .budget import Counter
from .errors import Refusal
from .estimates import Passed
from .spending import Spending

BYTES_PER_TOKEN = 4
FIRST_OUTPUT_TOKENS = 250.0
MEMORY = 0.05
"""Weight of the newest answer in the mean length of a backend's answers."""
REPORT_SECONDS = 10.0
"""How long LiteLLM's report is waited for."""

Book = Callable[[str, str, int, int], None]
"""Books tokens that LiteLLM does not report: deployment, tenant, input, output."""

_mean_output: dict[str, float] = {}


def learn(deployment: str, output_tokens: int) -> None:
    """One more answer of a backend."""
    before = _mean_output.get(deployment, float(output_tokens))
    _mean_output[deployment] = before + MEMORY * (output_tokens - before)


class Charge:
    """One request. Nothing here awaits: between the question and the reservation no other request runs."""

    def __init__(self, spending: Spending, tenant: str, route: str, body: Mapping[str, Any], size_bytes: int) -> None:
        self._spending = spending
        self._tenant = tenant
        self._route = route
        self._input_tokens = size_bytes // BYTES_PER_TOKEN
        asked = body.get("max_completion_tokens", body.get("max_tokens"))
        self._most_output = float(asked) if isinstance(asked, int) and not isinstance(asked, bool) else None
        self._reserved: list[tuple[Counter, float]] = []
        self._deployment: str | None = None
        self._pieces = 0
        self._settled = False
        self.passed: Passed | None = None  # what the gateway has seen
        self.refusal: Refusal | None = None  # why no backend was left, for the client

    def permitted(self, deployments: Sequence[str]) -> list[str]:
        """Which backends the budgets leave."""
        self.release()
        left = self._spending.permitted(self._tenant, deployments)
        self.refusal = None if left else self._spending.refusal(self._tenant, self._route)
        return left

    def take(self, deployment: str) -> None:
        """Reserves at the backend that was chosen, in place of the one before."""
        self.release()
        self._deployment = deployment
        if not self._settled:
            self._reserve(self._estimate(deployment))

    def settle(self, deployment: str) -> bool:
        """What the request used at this backend is being booked. False: it was booked already, by estimate."""
        if deployment != self._deployment:
            return True  # somebody else's answer, such as a judge's
        first, self._settled = not self._settled, True
        self.release()
        return first

    @property
    def deployment(self) -> str | None:
        """Where it is being answered."""
        return self._deployment

    def release(self) -> None:
        """Gives the reservation back."""
        for counter, usd in self._reserved:
            counter.reserved = max(0.0, counter.reserved - usd)
        self._reserved = []

    def close(self, *, produced: bool, pieces: int, book: Book) -> None:
        """The answer has ended after so many pieces. `produced`: something of it may have to be paid."""
        self._pieces = pieces
        if self._settled or self._deployment is None or not produced:
            self._settled = True
            self.release()
            return
        asyncio.get_running_loop().call_later(REPORT_SECONDS, self.overdue, book)

    def overdue(self, book: Book) -> None:
        """LiteLLM has reported nothing: booked by what has passed."""
        if self._deployment is not None and self.settle(self._deployment):
            book(self._deployment, self._tenant, self._input_tokens, self._pieces)

    def _reserve(self, usd: float) -> None:
        self._reserved = [(counter, usd) for counter in self._spending.of(self._tenant)]
        for counter, _ in self._reserved:
            counter.reserved += usd

    def _estimate(self, deployment: str) -> float:
        """US dollars. 4,000 bytes and a mean of 250 tokens at $3 and $15 per million: $0.00675."""
        price = self._spending.config.prices.get(deployment)
        if price is None:
            return 0.0
        output = _mean_output.get(deployment)
        if output is None:
            output = FIRST_OUTPUT_TOKENS if self._most_output is None else self._most_output
        elif self._most_output is not None:
            output = min(output, self._most_output)
        return self._input_tokens * price.input + output * price.output


CHARGE: ContextVar[Charge | None] = ContextVar("charge", default=None)
"""The charge of the request that is being answered; what LiteLLM starts for it inherits it."""
