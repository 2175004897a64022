"""Reading and changing a nested object by path: `spec.routes[0].name`, also below a copy that shares nothing."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

REMOVED = object()
"""The value that takes a field away."""


def steps(path: str) -> list[str | int]:
    """`spec.routes[0].name` is spec, routes, 0, name. A name with dots stands in quotes: `labels."a.b/c"`."""
    found = re.findall(r'"([^"]+)"|\[(\d+)\]|([^.\[\]"]+)', path)
    return [int(index) if index else quoted or name for quoted, index, name in found]


def get(obj: Any, path: str) -> Any:
    """The value at a path."""
    for step in steps(path):
        obj = obj[step]
    return obj


def changed(obj: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with other values at some paths; objects on the way are made where they are missing."""
    result: dict[str, Any] = copy.deepcopy(dict(obj))
    for path, value in changes.items():
        *way, last = steps(path)
        node: Any = result
        for step in way:
            node = node[step] if isinstance(step, int) else node.setdefault(step, {})
        if value is REMOVED:
            del node[last]
        elif isinstance(last, int) and last == len(node):
            node.append(value)
        else:
            node[last] = value
    return result
