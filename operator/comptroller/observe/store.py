"""The operator's own picture of the cluster: seeded by lists, kept by events, healed by mark and sweep.

An event is never acted upon; it only says which object to look at. A watch may lose deletions (a gap, then a new list
without the object); `replace` is what heals that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from comptroller.kube.resources import POD, WATCHED, KubeDict, ObjectKey, Resource, key_of, owner_of


class ClusterStore:
    """Objects by kind and key. Newer resource versions win, so that late events cannot undo what was read before."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[ObjectKey, KubeDict]] = {resource.kind: {} for resource in WATCHED}
        self._children: dict[str, dict[tuple[str, ObjectKey], None]] = {}

    def get(self, resource: Resource, key: ObjectKey) -> KubeDict | None:
        """The newest known state of an object."""
        return self._objects[resource.kind].get(key)

    def all(self, resource: Resource) -> Iterator[KubeDict]:
        """All known objects of a kind, in the order of their keys."""
        objects = self._objects[resource.kind]
        return (objects[key] for key in sorted(objects))

    def children(self, uid: str) -> list[KubeDict]:
        """Objects whose controlling owner has this uid."""
        found = (self._objects[kind].get(key) for kind, key in sorted(self._children.get(uid, ())))
        return [item for item in found if item is not None]

    def upsert(self, resource: Resource, item: Mapping[str, Any]) -> bool:
        """Takes over an object unless a newer one is known. True when the picture changed."""
        slim = _slim(resource, item)
        key = key_of(slim)
        known = self._objects[resource.kind].get(key)
        if known is not None and known["metadata"]["uid"] == slim["metadata"]["uid"]:
            if _version(known) >= _version(slim):
                return False
            self._unlink(resource, key, known)
        elif known is not None:
            self._unlink(resource, key, known)
        self._objects[resource.kind][key] = slim
        if owner := owner_of(slim):
            self._children.setdefault(owner["uid"], {})[(resource.kind, key)] = None
        return True

    def remove(self, resource: Resource, item: Mapping[str, Any]) -> bool:
        """Forgets an object, unless another of that name has taken its place."""
        key = key_of(item)
        known = self._objects[resource.kind].get(key)
        if known is None or known["metadata"]["uid"] != item["metadata"]["uid"]:
            return False
        self._unlink(resource, key, known)
        del self._objects[resource.kind][key]
        return True

    def replace(
        self, resource: Resource, items: Iterable[Mapping[str, Any]], namespace: str | None = None
    ) -> list[KubeDict]:
        """Takes over a full list: what it lacks is forgotten. Returns every object that is new, changed or gone."""
        listed = {key_of(item): item for item in items}
        changed = [dict(item) for item in listed.values() if self.upsert(resource, item)]
        gone = [
            known
            for key, known in list(self._objects[resource.kind].items())
            if key not in listed and namespace in (None, key[0])
        ]
        for known in gone:
            self.remove(resource, known)
        return changed + gone

    def _unlink(self, resource: Resource, key: ObjectKey, known: Mapping[str, Any]) -> None:
        if owner := owner_of(known):
            children = self._children.get(owner["uid"], {})
            children.pop((resource.kind, key), None)
            if not children:
                self._children.pop(owner["uid"], None)


def _version(item: Mapping[str, Any]) -> int:
    """Resource versions are comparable numbers since Kubernetes 1.35; anything else counts as oldest."""
    text = str(item["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


def _slim(resource: Resource, item: Mapping[str, Any]) -> KubeDict:
    """The object without what nobody here reads: managed fields; of foreign pods only what holds GPUs."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    slim = {**item, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    if resource is POD and (metadata.get("labels") or {}).get("app.kubernetes.io/managed-by") != "comptroller":
        spec = item.get("spec") or {}
        kept = {key: spec[key] for key in ("nodeName", "containers", "initContainers") if key in spec}
        slim["spec"] = {
            **kept,
            **{
                group: [{"resources": one.get("resources") or {}} for one in kept[group]]
                for group in ("containers", "initContainers")
                if group in kept
            },
        }
        slim["status"] = {"phase": (item.get("status") or {}).get("phase")}
        slim["metadata"] = {
            key: metadata[key]
            for key in ("name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp")
            if key in metadata
        }
    return slim
