"""The operator's own picture of the cluster: seeded by lists, kept by events, healed by mark and sweep.

An event is never acted upon; it only says which object to look at. A watch may lose deletions (a gap, then a new list
without the object); `replace` is what heals that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from comptroller.kube.resources import POD, SERVICE, WATCHED, KubeDict, ObjectKey, Resource, key_of, owner_of

REMEMBERED_REMOVALS = 10_000
LEADS = frozenset(("type", "externalName", "externalIPs", "selector", "clusterIP", "clusterIPs"))
"""Where a Service leads."""


class ClusterStore:
    """Objects by kind and key. Newer resource versions win, so that late events cannot undo what was read before."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[ObjectKey, KubeDict]] = {resource.kind: {} for resource in WATCHED}
        self._children: dict[str, dict[tuple[str, ObjectKey], None]] = {}
        self._removed: dict[str, int] = {}  # uid -> version at which it went, oldest first

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
        if self._removed.get(slim["metadata"]["uid"], -1) >= _version(slim):
            return False
        if known is not None:
            if _version(known) >= _version(slim):
                return False
            self._unlink(resource, key, known)
        self._objects[resource.kind][key] = slim
        if owner := owner_of(slim):
            self._children.setdefault(owner["uid"], {})[(resource.kind, key)] = None
        return True

    def remove(self, resource: Resource, item: Mapping[str, Any]) -> bool:
        """Forgets an object, unless another of that name has taken its place or a newer state of it is known.

        What was known of it before does not come back with a late event, a slow list or the answer to a write.
        """
        key, uid = key_of(item), item["metadata"]["uid"]
        known = self._objects[resource.kind].get(key)
        if known is not None and known["metadata"]["uid"] != uid:
            known = None
        if known is not None and _version(known) > _version(item):
            return False
        self._removed[uid] = max(self._removed.pop(uid, 0), _version(item))
        if len(self._removed) > REMEMBERED_REMOVALS:
            del self._removed[next(iter(self._removed))]
        if known is None:
            return False
        self._unlink(resource, key, known)
        del self._objects[resource.kind][key]
        return True

    def uids(self, resource: Resource) -> frozenset[str]:
        """What is known of a kind: the marks of mark and sweep, to be taken before a list is asked for."""
        return frozenset(item["metadata"]["uid"] for item in self._objects[resource.kind].values())

    def replace(
        self,
        resource: Resource,
        items: Iterable[Mapping[str, Any]],
        namespace: str | None = None,
        marked: Collection[str] | None = None,
    ) -> list[KubeDict]:
        """Takes over a full list: what it lacks is forgotten. Returns every object that is new, changed or gone.

        Only what was known before the list was asked for is forgotten (`marked`; None: everything): an object that was
        created while the list was under way is not in it.
        """
        listed = {key_of(item): item for item in items}
        changed = [dict(item) for item in listed.values() if self.upsert(resource, item)]
        gone = [
            known
            for key, known in list(self._objects[resource.kind].items())
            if key not in listed
            and namespace in (None, key[0])
            and (marked is None or known["metadata"]["uid"] in marked)
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
    """The object without what nobody here reads: managed fields; of foreign pods only what holds GPUs, of foreign
    Services only where they lead."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    slim = {**item, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    if resource is SERVICE and owner_of(item) is None:
        if "spec" in slim:
            slim["spec"] = {key: value for key, value in item["spec"].items() if key in LEADS}
        slim["metadata"] = {key: value for key, value in metadata.items() if key not in ("labels", "annotations")}
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
