"""Refusals in a shape that OpenAI's and Anthropic's clients both understand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


class RefusedError(Exception):
    """A request that tries to steer the router. The message says what to leave out."""


class MalformedError(Exception):
    """A request that no model could understand. The message says what is wrong."""


@dataclass(frozen=True)
class Refusal:
    """A request that is answered here. `outcome` is its label in `comptroller_router_responses_total`."""

    status: int
    outcome: str
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        if self.code == "insufficient_quota":  # OpenAI's own word for it stands in both places
            kind = self.code
        error = {"message": self.message, "type": kind, "param": None, "code": self.code}
        return json.dumps({"type": "error", "error": error}).encode()
