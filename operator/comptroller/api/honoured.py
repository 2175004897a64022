"""Fields that this version accepts and does not act upon yet.

They are part of the language, so that policies can be written for them, and the operator says so on every object that
sets one: condition `FieldsHonoured=False, reason=NotHonoured` with the list from `not_honoured`. When a field gets its
reader, its line here goes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from comptroller.api.fields import ApiModel

NOT_ACTED_UPON: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ModelPool": (),
        "RoutingPolicy": (),
        "CacheWarmup": (),
    }
)
"""Paths per kind; a path stands for everything under it, `[]` for every entry of a list."""


_NOTHING: tuple[Any, ...] = (None, 0, "", [], {})


def not_honoured(
    kind: str, spec: ApiModel | Mapping[str, Any], hosted_pools: Collection[str] = frozenset()
) -> list[str]:
    """The paths that a spec sets and nothing acts upon, such as `spec.routes[0].shadow`; in the order of the spec.

    `hosted_pools` are the names of the hosted pools of the namespace: the cache of a provider is not kept alive yet, so
    a warm-up that names one is told. Values that ask for nothing (`refreshSeconds: 0`) do not count.
    """
    patterns = {_pattern(path) for path in NOT_ACTED_UPON[kind]}
    given = spec.model_dump(mode="json", by_alias=True, exclude_unset=True) if isinstance(spec, ApiModel) else spec
    ignored = [path for path, value in _paths(given, "spec") if value not in _NOTHING and _any(patterns, path)]
    if kind == "CacheWarmup":
        ignored += [f"spec.pools[{index}]" for index, pool in enumerate(given["pools"]) if pool in hosted_pools]
    return ignored


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(r"\[\]", r"\[\d+\]"))


def _any(patterns: set[re.Pattern[str]], path: str) -> bool:
    return any(one.fullmatch(path) for one in patterns)


def _paths(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _paths(one, f"{path}.{name}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _paths(one, f"{path}[{index}]")
