"""A small API server in memory: what `Applier`, `StatusWriter` and `EventRecorder` need of one, and nothing more.

It keeps what matters here: uids, versions that move only when something changes, defaults and other spellings of what
was sent, fields that were applied before and are not any more, a status of its own, deletion with a uid.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from comptroller.kube.client import KubeError
from comptroller.kube.resources import BY_KIND, KubeDict, Resource, key_of
from comptroller.kube.store import ClusterStore

Change = Callable[[KubeDict], object]


def as_sent(_: KubeDict) -> None:
    """A server that stores what it gets."""


def with_defaults(item: KubeDict) -> None:
    """What a real server does to a Deployment: it adds defaults, and writes quantities its own way."""
    spec = item.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("progressDeadlineSeconds", 600)
    for container in spec.get("template", {}).get("spec", {}).get("containers", ()):
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        for port in container.get("ports", ()):
            port.setdefault("protocol", "TCP")
        for group in container.get("resources", {}).values():
            for name, amount in group.items():
                group[name] = {"1000m": "1", "0.5": "500m", "1024Mi": "1Gi"}.get(amount, amount)
        if container.get("env") == []:
            del container["env"]


class FakeApi:
    """Stands where `KubeClient` stands, and keeps a store as the watches would."""

    def __init__(self, normalise: Change = as_sent) -> None:
        self.store = ClusterStore()
        self.objects: dict[tuple[str, tuple[str, str]], KubeDict] = {}
        self.writes = 0
        self.events: list[KubeDict] = []
        self.refuses: KubeError | None = None
        self._normalise = normalise
        self._conditions: dict[tuple[str, tuple[str, str]], set[str]] = {}  # types that we applied
        self._applied: dict[tuple[str, tuple[str, str]], KubeDict] = {}
        self._versions = itertools.count(100)

    def put(self, item: Mapping[str, Any], *, seen: bool = True) -> KubeDict:
        """Somebody else creates or replaces an object; `seen` is False for what our watches do not select."""
        mine = copy.deepcopy(dict(item))
        mine["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[mine["kind"], key_of(mine)] = mine
        if seen:
            self.store.upsert(BY_KIND[mine["kind"]], copy.deepcopy(mine))
        return mine

    def edit(self, kind: str, name: str, change: Change, namespace: str = "ai") -> None:
        """Somebody else edits an object, and the watch tells."""
        item = copy.deepcopy(self.objects[kind, (namespace, name)])
        change(item)
        self.put(item)

    def live(self, kind: str, name: str, namespace: str = "ai") -> KubeDict | None:
        """What the server has."""
        return self.objects.get((kind, (namespace, name)))

    def names(self) -> list[str]:
        """All objects, as `Kind name`."""
        return sorted(f"{kind} {name}" for kind, (_, name) in self.objects)

    async def get(self, resource: Resource, namespace: str, name: str) -> KubeDict | None:
        return copy.deepcopy(self.objects.get((resource.kind, (namespace, name))))

    async def apply(self, item: Mapping[str, Any], *, force: bool = True) -> KubeDict:
        self._write()
        assert force
        identity = item["kind"], key_of(item)
        live = self.objects.get(identity)
        sent = copy.deepcopy(dict(item))
        wanted = _without(copy.deepcopy(live or {}), self._applied.get(identity, {}), sent)
        wanted = copy.deepcopy(_merged(wanted, sent))
        self._normalise(wanted)
        self._applied[identity] = copy.deepcopy(sent)
        if live is None:
            wanted["metadata"]["uid"] = f"uid-{next(self._versions)}"
        if wanted != live:
            wanted["metadata"]["resourceVersion"] = str(next(self._versions))
            self.objects[identity] = wanted
        return copy.deepcopy(self.objects[identity])

    async def apply_status(self, item: Mapping[str, Any]) -> KubeDict:
        assert "spec" not in item
        self._write()
        identity = item["kind"], key_of(item)
        live = copy.deepcopy(self.objects[identity])
        mine = {one["type"] for one in item["status"]["conditions"]} | self._conditions.get(identity, set())
        self._conditions[identity] = mine
        before = (live.get("status") or {}).get("conditions") or ()
        foreign = [one for one in before if one["type"] not in mine]
        live["status"] = copy.deepcopy(item["status"])
        live["status"]["conditions"] = foreign + live["status"]["conditions"]
        return self.put(live, seen=False)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        self._write()
        live = self.objects.get((resource.kind, (namespace, name)))
        if live is None or live["metadata"]["uid"] != uid:
            return
        del self.objects[resource.kind, (namespace, name)]
        self._applied.pop((resource.kind, (namespace, name)), None)
        gone = copy.deepcopy(live)
        gone["metadata"]["resourceVersion"] = str(next(self._versions))
        self.store.remove(resource, gone)

    async def create(self, item: Mapping[str, Any]) -> KubeDict:
        self._write()
        self.events.append(copy.deepcopy(dict(item)))
        return self.events[-1]

    def _write(self) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.writes += 1


def _merged(live: Any, sent: Any) -> Any:
    if isinstance(live, dict) and isinstance(sent, dict):
        return live | {key: _merged(live.get(key), value) for key, value in sent.items()}
    return sent


def _without(live: Any, before: Any, sent: Any) -> Any:
    """What was applied before and is not sent any more is gone."""
    if not (isinstance(live, dict) and isinstance(before, dict) and isinstance(sent, dict)):
        return live
    kept = {key: value for key, value in live.items() if key in sent or key not in before}
    return {key: _without(value, before.get(key), sent.get(key)) for key, value in kept.items()}
