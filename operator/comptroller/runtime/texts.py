"""What the ConfigMaps hold that prefixes refer to, as far as warm-ups must know it: a digest and a length per key.

Users' ConfigMaps are read one by one and not watched: a watch would keep all of a cluster's in memory. Secrets are not
read at all: a run tells by its own digest that one has changed (`reconcile/warmup_runs.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from comptroller.api.cachewarmup import CacheWarmupSpec, Prefix, TextSource
from comptroller.kube.client import KubeClient, KubeError
from comptroller.kube.resources import CONFIG_MAP, ObjectKey

FORBIDDEN = (401, 403)
READ_AGAIN_SECONDS = 10.0
CHARACTERS_PER_TOKEN = 4.0  # of English text, until the engine has counted

Keys = Mapping[str, tuple[str, int]]
"""Key of a ConfigMap -> digest and length of what it holds."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The prefixes of one warm-up as they are now."""

    digest: str  # of all referenced ConfigMap keys; empty when none is referenced
    tokens: Mapping[str, float]  # prefix -> about how long it is, where it is known
    problems: tuple[str, ...]  # what is missing, and what to do


@dataclass(slots=True)
class Texts:
    """ConfigMaps as they were read last."""

    _read: dict[ObjectKey, tuple[float, Keys | None]] = field(default_factory=dict)

    async def contents(self, client: KubeClient, namespace: str, spec: CacheWarmupSpec, now_seconds: float) -> Contents:
        """Reads what is not known or older than a few seconds. Raises `KubeError` when the server refuses."""
        digests: list[str] = []
        problems: list[str] = []
        tokens: dict[str, float] = {}
        for index, prefix in enumerate(spec.prefixes):
            length = sum(len(message.content) for message in prefix.messages)
            known = True
            for part, source in sources(prefix):
                reference = source.config_map_key_ref
                if reference is None:
                    length += len(source.text or "")
                    known = known and source.secret_key_ref is None
                    continue
                try:
                    keys = await self._keys(client, (namespace, reference.name), now_seconds)
                except KubeError as error:
                    if error.status not in FORBIDDEN:
                        raise
                    path = f"spec.prefixes[{index}].{part}.configMapKeyRef"
                    problems.append(f"{path}: ConfigMap {reference.name} may not be read: {error.message}.")
                    continue
                if keys is None or reference.key not in keys:
                    what = f"ConfigMap {reference.name} " + ("does not exist" if keys is None else "lacks that key")
                    path = f"spec.prefixes[{index}].{part}.configMapKeyRef"
                    problems.append(f"{path}: {what} ({reference.key}). Create it or correct the name.")
                    continue
                digests.append(keys[reference.key][0])
                length += keys[reference.key][1]
            if known:
                tokens[prefix.name] = length / CHARACTERS_PER_TOKEN
        digest = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:12] if digests else ""
        return Contents(digest, tokens, tuple(problems))

    async def _keys(self, client: KubeClient, key: ObjectKey, now_seconds: float) -> Keys | None:
        read = self._read.get(key)
        if read is not None and 0.0 <= now_seconds - read[0] < READ_AGAIN_SECONDS:
            return read[1]
        item = await client.get(CONFIG_MAP, *key)
        held = None if item is None else {**(item.get("binaryData") or {}), **(item.get("data") or {})}
        keys = (
            None
            if held is None
            else {name: (hashlib.sha256(text.encode()).hexdigest()[:12], len(text)) for name, text in held.items()}
        )
        self._read[key] = now_seconds, keys
        return keys


def sources(prefix: Prefix) -> list[tuple[str, TextSource]]:
    """The texts of a prefix that may lie elsewhere, by field."""
    return [(part, one) for part, one in (("system", prefix.system), ("tools", prefix.tools)) if one is not None]
