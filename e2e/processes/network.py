"""The pods' network on loopback: an address for each pod, Services as forwarders, egress rules.

Every pod has an address of its own in 127/8 and listens there on its real ports. A Service has one address for each pod
that asks for it, so that the forwarder behind it knows who calls and can hold the caller's NetworkPolicies against it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
CHUNK_BYTES = 65_536


def backends(service: Object, port: int, pods: Iterable[Object]) -> list[tuple[Object, int]]:
    """Ready pods behind one port of a Service, each with the port that it listens on."""
    wanted = next((one for one in service["spec"].get("ports") or () if one["port"] == port), None)
    selector = service["spec"].get("selector")
    if wanted is None or not selector:
        return []
    all_of_them = service["spec"].get("publishNotReadyAddresses", False)
    found = []
    for pod in pods:
        same = pod["metadata"]["namespace"] == service["metadata"]["namespace"]
        if same and _matches(selector, pod) and _serves(pod, all_of_them):
            number = container_port(pod, wanted.get("targetPort", port))
            if number is not None:
                found.append((pod, number))
    return sorted(found, key=lambda one: one[0]["metadata"]["name"])


def container_port(pod: Object, name: int | str) -> int | None:
    """The number of a port that may be given by its name."""
    if isinstance(name, int):
        return name
    ports = [one for container in pod["spec"]["containers"] for one in container.get("ports") or ()]
    return next((one["containerPort"] for one in ports if one.get("name") == name), None)


def egress_allows(policies: Iterable[Object], source: Object, target: Object, port: int) -> bool:
    """Whether the NetworkPolicies that select the source let it reach a pod on a port. `matchLabels` only."""
    metadata = source["metadata"]
    selecting = [
        one["spec"]
        for one in policies
        if one["metadata"]["namespace"] == metadata["namespace"]
        and "Egress" in (one["spec"].get("policyTypes") or ())
        and _matches(one["spec"]["podSelector"].get("matchLabels") or {}, source)
    ]
    rules = [rule for spec in selecting for rule in spec.get("egress") or ()]
    return not selecting or any(_allows(rule, metadata["namespace"], target, port) for rule in rules)


def _allows(rule: Object, namespace: str, target: Object, port: int) -> bool:
    ports = rule.get("ports")
    if ports and not any(one.get("protocol", "TCP") == "TCP" and one.get("port") == port for one in ports):
        return False
    peers = rule.get("to")
    return not peers or any(_is_peer(peer, namespace, target) for peer in peers)


def _is_peer(peer: Object, namespace: str, target: Object) -> bool:
    if "podSelector" not in peer and "namespaceSelector" not in peer:
        return False  # an address range: no pod has one that is known beforehand
    there = target["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        labels = peer["namespaceSelector"].get("matchLabels") or {}
        if any(key != NAMESPACE_LABEL or value != there for key, value in labels.items()):
            return False
    elif there != namespace:
        return False
    return _matches(peer.get("podSelector", {}).get("matchLabels") or {}, target)


def _matches(labels: Object, pod: Object) -> bool:
    have = pod["metadata"].get("labels") or {}
    return all(have.get(key) == value for key, value in labels.items())


def _serves(pod: Object, also_not_ready: bool) -> bool:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or not status.get("podIP") or status.get("phase") != "Running":
        return False
    conditions = status.get("conditions") or ()
    return also_not_ready or any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@dataclass(slots=True)
class Network:
    """Addresses and forwarders. `source` of an address is a pod's uid, or "" for who is no pod."""

    number: int  # second part of the addresses: several of these may be on one machine
    pods: Callable[[], Iterable[Object]]
    policies: Callable[[], Iterable[Object]]
    _last: Iterator[int] = field(default_factory=lambda: itertools.count(257))
    _pods: dict[str, str] = field(default_factory=dict)
    _services: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _known: dict[tuple[str, str], Object] = field(default_factory=dict)
    _servers: dict[tuple[str, int], asyncio.Server] = field(default_factory=dict)
    _turn: Iterator[int] = field(default_factory=itertools.count)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def pod_address(self, uid: str) -> str:
        if uid not in self._pods:
            self._pods[uid] = self._next()
        return self._pods[uid]

    def service_address(self, source: str, namespace: str, name: str) -> str:
        key = (source, namespace, name)
        if key not in self._services:
            self._services[key] = self._next()
        return self._services[key]

    def _next(self) -> str:
        high, low = divmod(next(self._last), 256)
        return f"127.{self.number}.{high}.{low}"

    async def listen(self, services: Iterable[Object]) -> None:
        """Opens what is asked for and not open yet; a Service that is gone answers nothing."""
        self._known = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in services}
        async with self._opening:
            for (source, namespace, name), address in list(self._services.items()):
                service = self._known.get((namespace, name))
                for port in (one["port"] for one in (service or {"spec": {}})["spec"].get("ports") or ()):
                    if (address, port) not in self._servers:
                        handler = self._handler(source, namespace, name, port)
                        self._servers[address, port] = await asyncio.start_server(handler, address, port)

    def _handler(self, source: str, namespace: str, name: str, port: int) -> Callable[..., Any]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                target = self._target(source, namespace, name, port)
                if target is not None:
                    await _join(reader, writer, *await asyncio.open_connection(*target))
            writer.close()

        return handle

    def _target(self, source: str, namespace: str, name: str, port: int) -> tuple[str, int] | None:
        service = self._known.get((namespace, name))
        found = backends(service, port, self.pods()) if service else []
        caller = next((pod for pod in self.pods() if pod["metadata"]["uid"] == source), None)
        if source:
            policies = list(self.policies())
            found = [one for one in found if caller is not None and egress_allows(policies, caller, *one)]
        if not found:
            return None
        pod, number = found[next(self._turn) % len(found)]
        return pod["status"]["podIP"], number


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Passes bytes both ways as they come; who ends either way ends both, as a broken connection does."""
    ways = [asyncio.create_task(_pump(reader, far_writer)), asyncio.create_task(_pump(far_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
