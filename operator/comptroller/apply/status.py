"""Writes the status of a user's object: one field manager, conditions as a list-map, only when something is new.

What changes a decision (conditions, counts, words) is written at once. Readings that merely drift (rates, dollars) are
written when they moved by more than a tenth and the last write is a while ago, so that a steady fleet makes no writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comptroller.api.conditions import ConditionType
from comptroller.apply.drift import matches
from comptroller.kube.client import KubeClient
from comptroller.kube.resources import BY_KIND, KubeDict
from comptroller.kube.store import ClusterStore

RELATIVE_CHANGE = 0.2
SMALLEST_CHANGE = {
    "requestsPerSecond": 0.2,
    "confidence": 0.1,
    "skill": 0.1,
    "share": 0.05,
    "spillRatio": 0.02,
    "shedRatio": 0.01,
    "utilisation": 0.1,
    "timeToFirstTokenMs": 100.0,
}
"""What a reading must move at least to be news: the noise of steady demand is none."""

PLAIN_CHANGE = {"passRate": 0.01}
"""What these must move, whatever they are: shares near 1, of which a hundredth is much."""

READINGS = frozenset(
    (
        "actualUsd",
        "allocationUsdPerMillionTokens",
        "alternatives",
        "answers",
        "baselineUsd",
        "bridge",
        "budget",
        "breakEvenUtilisation",
        "confidence",
        "decisions",
        "etaSeconds",
        "explained",
        "inside",
        "maxRequestsPerSecond",
        "message",
        "method",
        "passRate",
        "passed",
        "paybackDays",
        "ratio",
        "reason",
        "requestsPerSecond",
        "samples",
        "saved",
        "shadowPriceUsdPerGpuHour",
        "share",
        "shedRatio",
        "skill",
        "slo",
        "spentUsd",
        "spill",
        "spillRatio",
        "startupSeconds",
        "summary",
        "timeToFirstTokenMs",
        "usdPerHour",
        "usdPerMillionTokens",
        "usdPerRequest",
        "usdPerSolvedTask",
        "usdPerTask",
        "utilisation",
    )
)
"""Fields whose small changes may wait. `message` and `reason` of conditions are compared apart, and never wait."""

OWN_CONDITIONS = frozenset(one.value for one in ConditionType)

WORDS = frozenset(
    (
        "lastTransitionTime",
        "message",
        "method",
        "explained",
        "alternatives",
        "bridge",
        "paybackDays",
        "answers",
        "passed",
        "samples",  # they only ever grow
        "decisions",  # one that changes something comes with what it changes; what it cost is told with the next
    )
)
"""Fields that are refreshed with the numbers they speak of, and are no news by themselves."""

NO_NEWS = WORDS | {"conditions"}  # conditions are compared apart: the server's list may be longer and in another order


@dataclass(slots=True)
class StatusWriter:
    """Applies status when it is news."""

    client: KubeClient
    store: ClusterStore
    quiet_seconds: float = 30.0  # least time between two writes of readings
    _written_at: dict[str, float] = field(default_factory=dict)

    async def write(
        self, live: Mapping[str, Any], status: Mapping[str, Any], now_seconds: float, now_text: str
    ) -> bool:
        """Writes the status unless it would say nothing new. True when something was written."""
        before = live.get("status") or {}
        complete = {
            **status,
            "conditions": with_transitions(before.get("conditions") or (), status["conditions"], now_text),
        }
        uid = live["metadata"]["uid"]
        urgent = not _same_conditions(before, complete) or not matches(_decisive(before), _decisive(complete))
        if not urgent:
            quiet = now_seconds - self._written_at.get(uid, float("-inf")) < self.quiet_seconds
            if quiet or not _moved(before, complete):
                return False
        answer = await self.client.apply_status(
            {
                "apiVersion": live["apiVersion"],
                "kind": live["kind"],
                "metadata": {"name": live["metadata"]["name"], "namespace": live["metadata"]["namespace"]},
                "status": complete,
            }
        )
        self.store.upsert(BY_KIND[live["kind"]], answer)
        self._written_at[uid] = now_seconds
        return True

    def forget(self, item: KubeDict) -> None:
        """Drops what is remembered of an object that is gone."""
        self._written_at.pop(item["metadata"]["uid"], None)


def with_transitions(
    before: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], now_text: str
) -> list[dict[str, Any]]:
    """The conditions with `lastTransitionTime`, which only moves when the status flips."""
    known = {one["type"]: one for one in before}
    result = []
    for one in wanted:
        old = known.get(one["type"])
        same = old is not None and old.get("status") == one["status"]
        result.append({**one, "lastTransitionTime": old["lastTransitionTime"] if same and old else now_text})
    return result


def _same_conditions(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    def essence(status: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return sorted(
            (one["type"], one["status"], one.get("reason"), one.get("observedGeneration"))
            for one in status.get("conditions") or ()
            if one["type"] in OWN_CONDITIONS  # others may add theirs: server-side apply leaves them alone
        )

    return essence(before) == essence(after)


def _decisive(value: Any) -> Any:
    """The status without readings and conditions."""
    if isinstance(value, Mapping):
        return {key: _decisive(one) for key, one in value.items() if key not in READINGS and key != "conditions"}
    if isinstance(value, list):
        return [_decisive(one) for one in value]
    return value


def _moved(before: Any, after: Any, name: str = "") -> bool:
    """Whether any reading moved enough to be news."""
    if isinstance(after, Mapping):
        if not isinstance(before, Mapping):
            return True
        return any(_moved(before.get(key), value, key) for key, value in after.items() if key not in NO_NEWS)
    if isinstance(after, list):
        if not isinstance(before, list) or len(before) != len(after):
            return True
        return any(_moved(one, other, name) for one, other in zip(before, after, strict=True))
    if before == after:
        return False
    old, new = _number(before), _number(after)
    if old is None or new is None:
        return True
    if name in PLAIN_CHANGE:
        return abs(new - old) > PLAIN_CHANGE[name]
    least = SMALLEST_CHANGE.get(name, 0.0)
    return abs(new - old) > max(least, RELATIVE_CHANGE * max(abs(old), abs(new)))


def _number(value: Any) -> float | None:
    """The value as a number; `88%` and `$14.1` are readings for people."""
    try:
        return float(str(value).strip("%$"))
    except ValueError:
        return None
