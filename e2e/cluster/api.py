"""As much of an API client as it takes to see whether the cluster is ready."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from typing import Any

from e2e.cluster.layout import Layout, Settings


class Api:
    """Requests to the API server as administrator. No answer is None: it may only just be starting."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.address, self.port = settings.address, settings.ports["api"]
        self.tls = ssl.create_default_context(cafile=layout.pki / "ca.crt")
        self.tls.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")

    def get(self, path: str) -> Any:
        return self._request("GET", path)

    def patch(self, path: str, change: object) -> Any:
        return self._request("PATCH", path, json.dumps(change))

    def is_ready(self) -> bool:
        return self._request("GET", "/readyz") is not None

    def has_condition(self, path: str, kind: str) -> bool:
        conditions = (self.get(path) or {}).get("status", {}).get("conditions", [])
        return any(one["type"] == kind and one["status"] == "True" for one in conditions)

    def _request(self, method: str, path: str, body: str | None = None) -> Any:
        headers = {"Content-Type": "application/merge-patch+json"}
        with closing(http.client.HTTPSConnection(self.address, self.port, context=self.tls, timeout=10)) as connection:
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException):
                return None
        if response.status != http.client.OK:
            return None
        return json.loads(content) if response.getheader("Content-Type") == "application/json" else content
