"""The ownerReference that ties a child to its custom resource, so that the garbage collector removes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def owner_reference(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The reference to a live custom resource (it needs `metadata.uid`).

    `controller: true` marks the one owner. `blockOwnerDeletion: false`: a foreground deletion need not wait, and the
    operator needs no right on the `finalizers` subresource.
    """
    metadata = resource["metadata"]
    return {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
