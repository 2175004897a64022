"""Keeps a router's configuration in force where the new one is not worth a reload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comptroller.apply.drift import HASH_ANNOTATION, with_fingerprint
from comptroller.kube.resources import CONFIG_MAP, key_of
from comptroller.kube.store import ClusterStore
from comptroller.render.router.steady import says_the_same

FILE = "config.yaml"


def steadied(
    store: ClusterStore, children: Sequence[Mapping[str, Any]], *, blind: bool = False
) -> list[Mapping[str, Any]]:
    """The children, with the live configuration in place of one that says the same.

    Only what the operator itself has written is kept: the live text must be the one that its own mark speaks of.
    `blind`: some demand is unknown, so that limits, which are parts of the whole load, follow from nothing.
    """
    return [_steadied(store, child, blind) for child in children]


def _steadied(store: ClusterStore, child: Mapping[str, Any], blind: bool) -> Mapping[str, Any]:
    live = store.get(CONFIG_MAP, key_of(child)) if child["kind"] == CONFIG_MAP.kind and FILE in child["data"] else None
    text = ((live or {}).get("data") or {}).get(FILE)
    if live is None or text is None or not says_the_same(child["data"][FILE], text, blind=blind):
        return child
    kept = {**child, "data": {**child["data"], FILE: text}}
    mark = with_fingerprint(kept)["metadata"]["annotations"][HASH_ANNOTATION]
    return kept if mark == (live["metadata"].get("annotations") or {}).get(HASH_ANNOTATION) else child
