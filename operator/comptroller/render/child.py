"""The frame of a child object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def child(
    api_version: str,
    kind: str,
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    owner: Mapping[str, Any],
    **content: Any,
) -> dict[str, Any]:
    """apiVersion, kind and metadata with one owner, and then whatever the kind has (`spec=`, `data=`)."""
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels), "ownerReferences": [dict(owner)]}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
