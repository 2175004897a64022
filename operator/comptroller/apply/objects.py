"""Writes the children of one user object: server-side apply, only where something would change."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comptroller.apply.drift import HASH_ANNOTATION, matches, project, with_fingerprint
from comptroller.kube.client import KubeClient
from comptroller.kube.resources import BY_KIND, KubeDict, ObjectKey, Resource, key_of, owner_of
from comptroller.kube.store import ClusterStore

log = logging.getLogger("comptroller.apply")


class NameTakenError(Exception):
    """An object of that name exists and is not ours. It is reported, never overwritten."""

    def __init__(self, kind: str, key: ObjectKey, owner: str) -> None:
        super().__init__(
            f"{kind} {key[1]} exists in namespace {key[0]} and belongs to {owner}. "
            f"Rename this object or remove that one."
        )


@dataclass(slots=True)
class Applied:
    """What one round of writing did, for events and logs."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    corrected: list[str] = field(default_factory=list)  # edited by somebody else and put back
    deleted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Applier:
    """Keeps children equal to their rendering. Remembers what the server made of each rendering."""

    client: KubeClient
    store: ClusterStore
    _settled: dict[tuple[str, ObjectKey], tuple[str, Any]] = field(default_factory=dict)

    async def converge(
        self,
        owner: Mapping[str, Any],
        rendered: Sequence[Mapping[str, Any]],
        keep: Sequence[str] = (),
        untouched: Collection[str] = (),
    ) -> Applied:
        """Applies every rendering that is not in force and deletes children that are no longer wanted.

        `keep` names kinds that are not pruned here, `untouched` children that stay whatever they are. Raises
        `NameTakenError` before anything is written, `KubeError` when the API server refuses.
        """
        result = Applied()
        wanted = [(BY_KIND[item["kind"]], key_of(item), item) for item in rendered]
        for resource, key, _ in wanted:
            await self._refuse_foreign(owner, resource, key)
        for resource, key, item in wanted:
            await self._apply(resource, key, item, result)
        names = {(resource.kind, key) for resource, key, _ in wanted}
        for child in self.store.children(owner["metadata"]["uid"]):
            identity = (child["kind"], key_of(child))
            if identity in names or child["kind"] in keep or identity[1][1] in untouched:
                continue
            if child["metadata"].get("deletionTimestamp"):
                continue
            await self.client.delete(BY_KIND[child["kind"]], *key_of(child), child["metadata"]["uid"])
            result.deleted.append(f"{child['kind']} {identity[1][1]}")
        return result

    async def _refuse_foreign(self, owner: Mapping[str, Any], resource: Resource, key: ObjectKey) -> None:
        """The store only holds objects with our label: one without it is found by asking the server."""
        live = self.store.get(resource, key)
        if live is None:
            live = await self.client.get(resource, *key)
        if live is None:
            return
        reference = owner_of(live)
        if reference is None or reference["uid"] != owner["metadata"]["uid"]:
            by = f"{reference['kind']} {reference['name']}" if reference else "somebody else"
            raise NameTakenError(resource.kind, key, by)

    async def _apply(self, resource: Resource, key: ObjectKey, item: Mapping[str, Any], result: Applied) -> None:
        live = self.store.get(resource, key)
        complete = with_fingerprint(item)
        if live is not None and live["metadata"].get("deletionTimestamp"):
            return  # its end is an event, and then it is made anew
        if live is not None and self._in_force(resource, key, live, complete):
            return
        answer = await self.client.apply(complete)
        self.store.upsert(resource, answer)
        mark = complete["metadata"]["annotations"][HASH_ANNOTATION]
        self._settled[resource.kind, key] = (mark, project(answer, complete))
        label = f"{resource.kind} {key[1]}"
        if live is None:
            result.created.append(label)
        elif _mark(live) == mark:
            if answer["metadata"]["resourceVersion"] != live["metadata"].get("resourceVersion"):
                result.corrected.append(label)
                log.info("Put back %s, which somebody else had edited", label, extra={"namespace": key[0]})
        else:
            result.changed.append(label)

    def _in_force(self, resource: Resource, key: ObjectKey, live: KubeDict, complete: Mapping[str, Any]) -> bool:
        mark = complete["metadata"]["annotations"][HASH_ANNOTATION]
        if _mark(live) != mark:
            return False
        settled = self._settled.get((resource.kind, key))
        if settled is not None and settled[0] == mark:
            return bool(project(live, complete) == settled[1])
        return matches(live, complete)

    def forget(self, resource: Resource, key: ObjectKey) -> None:
        """Drops what is remembered of an object that is gone."""
        self._settled.pop((resource.kind, key), None)


def _mark(live: Mapping[str, Any]) -> str | None:
    mark: str | None = (live["metadata"].get("annotations") or {}).get(HASH_ANNOTATION)
    return mark
