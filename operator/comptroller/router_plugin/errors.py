"""Refusals in OpenAI's shape, so that every client library understands them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Refusal:
    """A request that is answered here. `outcome` is its label in `comptroller_router_responses_total`."""

    status: int
    outcome: str
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 503: "server_error"}
        kind = kinds.get(self.status, "invalid_request_error")
        if self.code == "insufficient_quota":  # OpenAI's own word for it stands in both places
            kind = self.code
        return json.dumps({"error": {"message": self.message, "type": kind, "param": None, "code": self.code}}).encode()
