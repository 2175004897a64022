"""One client for everything the operator asks of the API server: `kubernetes.aio` for login and transport, plain dicts.

Typed models are avoided on purpose: they cost processor time and refuse fields that a newer server sends.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from kubernetes.aio import client as aio_client

from comptroller import __version__
from comptroller.kube.fence import Fence
from comptroller.kube.login import log_in
from comptroller.kube.resources import BY_KIND, KubeDict, Resource

FIELD_MANAGER = "comptroller"
APPLY = "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"
PAGE = 500


class KubeError(Exception):
    """An answer of the API server that is not a success; `status` is the HTTP code, 0 when there was no answer."""

    def __init__(self, status: int, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class NotLeadingError(KubeError):
    """Another process writes now; nothing was sent."""

    def __init__(self) -> None:
        super().__init__(0, "this process does not hold the lease, so it writes nothing")


class KubeClient:
    """Reads and writes objects as plain dicts; every write passes its fence. Use `async with await
    KubeClient.connect()`."""

    def __init__(self, api: Any, timeout_seconds: float = 30.0) -> None:
        self._api = api
        self._timeout = timeout_seconds
        self.writes = 0
        self.fence = Fence()

    @classmethod
    async def connect(cls, process: str = "", timeout_seconds: float = 30.0) -> Self:
        """Logs in with the pod's service account, or with the kubeconfig outside of a cluster. Raises `LoginError`.

        `process` tells the processes apart in the API server's audit log, as part of the user agent.
        """
        api = await log_in()
        api.user_agent = f"comptroller/{__version__}" + (f" ({process})" if process else "")
        return cls(api, timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._api.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> KubeDict | None:
        """The object, or None when there is none."""
        try:
            return await self._request("GET", resource.path(namespace, name))
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, resource: Resource, namespace: str | None = None) -> AsyncIterator[KubeDict]:
        """All objects of a kind, page by page. A list that expired in the middle begins anew (410)."""
        token, items = "", list[KubeDict]()
        while True:
            query = {"limit": PAGE, "continue": token, "labelSelector": resource.selector}
            try:
                page = await self._request("GET", resource.path(namespace), query)
            except KubeError as error:
                if error.status != 410 or not token:
                    raise
                token, items = "", []
                continue
            items += page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                break
        for item in items:
            yield {"apiVersion": resource.api_version, "kind": resource.kind, **item}

    async def apply(self, item: Mapping[str, Any], *, force: bool = True) -> KubeDict:
        """Server-side apply of an object that the operator owns whole."""
        resource, metadata = BY_KIND[item["kind"]], item["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return await self._write("PATCH", path, item, {"fieldManager": FIELD_MANAGER, "force": force}, APPLY)

    async def apply_status(self, item: Mapping[str, Any]) -> KubeDict:
        """Server-side apply of the status of a user's object. The spec is never part of it."""
        resource, metadata = BY_KIND[item["kind"]], item["metadata"]
        if "spec" in item:
            raise ValueError("a status write must not carry a spec")
        path = resource.path(metadata["namespace"], metadata["name"], "status")
        return await self._write("PATCH", path, item, {"fieldManager": FIELD_MANAGER, "force": True}, APPLY)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], subresource: str | None = None
    ) -> KubeDict:
        """A strategic merge patch, for the few fields of pods that are the operator's."""
        path = resource.path(namespace, name, subresource)
        return await self._write("PATCH", path, body, {"fieldManager": FIELD_MANAGER}, STRATEGIC)

    async def create(self, item: Mapping[str, Any]) -> KubeDict:
        """Creates an object; used for events and the lease only."""
        resource = BY_KIND[item["kind"]]
        return await self._write(
            "POST",
            resource.path(item["metadata"].get("namespace")),
            item,
            {"fieldManager": FIELD_MANAGER},
            "application/json",
        )

    async def replace(self, item: Mapping[str, Any]) -> KubeDict:
        """Replaces an object by one that carries the resourceVersion that was read; 409 where another was faster."""
        resource, metadata = BY_KIND[item["kind"]], item["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"])
        return await self._write("PUT", path, item, {"fieldManager": FIELD_MANAGER}, "application/json")

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Deletes this very object (by uid) in the background; one that is gone already is fine."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            await self._write("DELETE", resource.path(namespace, name), body, {}, "application/json")
        except KubeError as error:
            if error.status not in (404, 409):
                raise

    async def _write(
        self, method: str, path: str, body: Mapping[str, Any], query: Mapping[str, Any], content: str
    ) -> KubeDict:
        with self.fence.passing() as seconds:
            if seconds is None:
                raise NotLeadingError
            self.writes += 1
            return await self._request(method, path, query, body, content, seconds)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
        seconds: float = math.inf,
    ) -> KubeDict:
        parameters = [(key, _text(value)) for key, value in (query or {}).items() if value not in (None, "")]
        request = await self._api.param_serialize(
            method,
            path,
            query_params=parameters,
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            async with asyncio.timeout(min(self._timeout, seconds)):
                response = await self._api.call_api(*request, _request_timeout=self._timeout)
                data = await response.read()
        except (OSError, TimeoutError, aiohttp.ClientError, aio_client.ApiException) as error:
            raise KubeError(0, f"the API server does not answer: {error or type(error).__name__}") from error
        answer = _read(data)
        if answer is None and 200 <= response.status < 300:
            raise KubeError(0, f"the API server answered with what is no object: {data[:200]!r}")
        answer = answer or {}
        if not 200 <= response.status < 300:
            after = response.headers.get("Retry-After") if response.headers else None
            raise KubeError(
                response.status,
                str(answer.get("message") or data[:500].decode(errors="replace").strip()),
                float(after) if after and after.isdigit() else None,
            )
        return answer


def _read(data: bytes) -> KubeDict | None:
    """The answer's object. A path that is not served and an overloaded server answer in plain text: that is None."""
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
