"""The API server as a kubelet needs it: requests, and a list that stays true by watching."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from e2e.cluster.layout import Layout, Settings

Object = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"
GONE = 410
GIVE_UP_SECONDS = 15.0


class ApiError(Exception):
    """An answer that is no success; `status` is the HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Api:
    """Requests as the administrator of our own cluster."""

    session: aiohttp.ClientSession
    server: str

    async def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Object:
        """Raises `ApiError`."""
        headers = {"Content-Type": kind}
        content = None if body is None else json.dumps(body)
        async with self.session.request(method, path, data=content, headers=headers) as response:
            if response.status >= 400:
                raise ApiError(response.status, (await response.text())[:300])
            found: Object = await response.json()
            return found

    async def follow(self, path: str, known: dict[str, Object], changed: Callable[[Object, bool], None]) -> None:
        """Keeps `known` (by uid) as the server has it and tells each change; the flag says that it is gone.

        Ends, by the error, when the server has not answered for a while: then the cluster is gone.
        """
        failing_since: float | None = None
        while True:
            try:
                version = self._take_list(await self.request("GET", path), known, changed)
                failing_since = None
                await self._watch(path, version, known, changed)
            except (aiohttp.ClientError, TimeoutError, ApiError):
                now = asyncio.get_running_loop().time()
                failing_since = failing_since or now
                if now - failing_since > GIVE_UP_SECONDS:
                    raise
                await asyncio.sleep(1)

    @staticmethod
    def _take_list(page: Object, known: dict[str, Object], changed: Callable[[Object, bool], None]) -> str:
        listed = {one["metadata"]["uid"]: one for one in page["items"]}
        for uid in set(known) - set(listed):
            changed(known.pop(uid), True)
        for uid, one in listed.items():
            known[uid] = one
            changed(one, False)
        version: str = page["metadata"]["resourceVersion"]
        return version

    async def _watch(
        self, path: str, version: str, known: dict[str, Object], changed: Callable[[Object, bool], None]
    ) -> None:
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "300"}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=None)
        async with self.session.get(path, params=query, timeout=timeout) as response:
            response.raise_for_status()
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return  # expired: list again
                item, gone = event["object"], event["type"] == "DELETED"
                known[item["metadata"]["uid"]] = item
                if gone:
                    del known[item["metadata"]["uid"]]
                changed(item, gone)


def connect(layout: Layout) -> Api:
    """A client of a control plane that runs on loopback; its session is the caller's to close."""
    settings = Settings.load(layout)
    if settings is None:
        raise ApiError(0, f"no cluster in {layout.state}")
    tls = ssl.create_default_context(cafile=layout.pki / "ca.crt")
    tls.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    server = f"https://{settings.address}:{settings.ports['api']}"
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    # A watched object is one line, and ConfigMaps are long ones.
    session = aiohttp.ClientSession(server, connector=connector, trust_env=False, read_bufsize=2**22)
    return Api(session, server)


def kubeconfig(api: Api, layout: Layout, token: str) -> Mapping[str, Any]:
    """The login of a service account."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "here", "cluster": {"server": api.server, "certificate-authority": str(layout.pki / "ca.crt")}}
        ],
        "users": [{"name": "pod", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "pod"}}],
        "current-context": "here",
    }
