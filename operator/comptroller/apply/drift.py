"""Whether a live object still is what was asked for.

The server normalises what it stores (`1000m` becomes `1`, defaults are added), so comparing bytes would write for ever.
An object is up to date when its hash annotation says which rendering it came from, and the fields of that rendering
still have the values they had right after the last write, or equal values now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

HASH_ANNOTATION = "comptroller.dev/rendered"

_SUFFIXES = {
    "m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
}  # fmt: skip


def fingerprint(rendered: Mapping[str, Any]) -> str:
    """A short hash of a rendering, independent of the order of keys."""
    return hashlib.sha256(json.dumps(rendered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def with_fingerprint(rendered: Mapping[str, Any]) -> dict[str, Any]:
    """The rendering with its own hash as annotation."""
    metadata = rendered["metadata"]
    annotations = {**(metadata.get("annotations") or {}), HASH_ANNOTATION: fingerprint(rendered)}
    return {**rendered, "metadata": {**metadata, "annotations": annotations}}


def project(live: Any, rendered: Any) -> Any:
    """The live object cut down to the fields that the rendering has."""
    if isinstance(rendered, Mapping) and isinstance(live, Mapping):
        return {key: project(live.get(key), value) for key, value in rendered.items()}
    if _is_list(rendered) and _is_list(live) and len(rendered) == len(live):
        return [project(one, other) for one, other in zip(live, rendered, strict=True)]
    return live


def matches(live: Any, rendered: Any) -> bool:
    """Whether every field of the rendering has an equal value in the live object.

    Numbers and quantities are compared by value: `500m` and `0.5` are equal. Lists must have the same length, so that
    what somebody added is seen. An empty map or list that the server dropped is no difference.
    """
    if isinstance(rendered, Mapping):
        if not isinstance(live, Mapping):
            return not rendered and live is None
        return all(matches(live.get(key), value) for key, value in rendered.items())
    if _is_list(rendered):
        if not _is_list(live):
            return not rendered and live is None
        return len(rendered) == len(live) and all(
            matches(one, other) for one, other in zip(live, rendered, strict=True)
        )
    if live == rendered:
        return True
    if rendered in (None, "", False) and live is None:
        return True
    first, second = _quantity(live), _quantity(rendered)
    return first is not None and first == second


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _quantity(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value)
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if text.endswith(suffix):
            number, factor = text.removesuffix(suffix), _SUFFIXES[suffix]
            break
    else:
        number, factor = text, Decimal(1)
    try:
        quantity = Decimal(number) * factor
    except ArithmeticError:  # no number, or a hash such as 12e34567890 that looks like one
        return None
    return quantity if quantity.is_finite() else None
