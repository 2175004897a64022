"""Builds the conditions that all kinds share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from comptroller.allocation.validation import Stall
from comptroller.api.conditions import ConditionType, Reason
from comptroller.api.fields import ApiModel
from comptroller.api.honoured import not_honoured
from comptroller.runtime.state import PAUSED_ANNOTATION


def condition(kind: ConditionType, holds: bool, reason: Reason, message: str, generation: int) -> dict[str, Any]:
    """One condition; `lastTransitionTime` is added when it is written."""
    return {
        "type": kind.value,
        "status": "True" if holds else "False",
        "reason": reason.value,
        "message": message[:32768],
        "observedGeneration": generation,
    }


def stalled(stalls: Sequence[Stall], generation: int, consequence: str) -> list[dict[str, Any]]:
    """The conditions of an object that cannot be acted upon: every reason with its field and what to do."""
    first = stalls[0]
    text = " ".join(one.message for one in stalls)
    return [
        condition(ConditionType.READY, False, first.reason, f"{text} {consequence}".strip(), generation),
        condition(
            ConditionType.RECONCILING, False, first.reason, "Nothing is done until the spec changes.", generation
        ),
        condition(ConditionType.STALLED, True, first.reason, text, generation),
    ]


def progressing(ready: bool, moving: bool, reason: Reason, message: str, generation: int) -> list[dict[str, Any]]:
    """Ready, Reconciling and Stalled of an object that is acted upon."""
    return [
        condition(ConditionType.READY, ready, reason, message, generation),
        condition(
            ConditionType.RECONCILING, moving, reason, message if moving else "Nothing is left to do.", generation
        ),
        condition(ConditionType.STALLED, False, Reason.CONVERGED, "The spec can be acted upon.", generation),
    ]


def honoured(
    kind: str,
    spec: ApiModel | None,
    generation: int,
    hosted_pools: Collection[str] = (),
    unreachable: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Whether this version acts upon every field that is set; nothing about a spec that cannot be read.

    `unreachable` are sentences about backends that are named and can never be asked.
    """
    if spec is None:
        return []
    ignored = not_honoured(kind, spec, hosted_pools)
    sentences = [f"Accepted, but this version does not act upon: {', '.join(ignored)}."] if ignored else []
    if sentences := [*sentences, *(f"{one}." for one in unreachable)]:
        text = " ".join(sentences)
        return [condition(ConditionType.FIELDS_HONOURED, False, Reason.NOT_HONOURED, text, generation)]
    return [
        condition(
            ConditionType.FIELDS_HONOURED,
            True,
            Reason.ALL_HONOURED,
            "Every field that is set is acted upon.",
            generation,
        )
    ]


def paused(live: Mapping[str, Any]) -> bool:
    """Whether the user froze the object."""
    annotations = live["metadata"].get("annotations") or {}
    return bool(annotations.get(PAUSED_ANNOTATION) == "true")


def pause_condition(live: Mapping[str, Any], generation: int) -> dict[str, Any]:
    """The condition Paused."""
    if paused(live):
        text = "Frozen by the annotation comptroller.dev/paused; remove it to go on."
        return condition(ConditionType.PAUSED, True, Reason.PAUSED, text, generation)
    return condition(ConditionType.PAUSED, False, Reason.CONVERGED, "Not paused.", generation)


def metrics_condition(unknown: str | None, generation: int) -> dict[str, Any]:
    """The condition MetricsAvailable; `unknown` says what is not known and why."""
    if unknown is None:
        text = "Every measurement that the decision needs is fresh."
        return condition(ConditionType.METRICS_AVAILABLE, True, Reason.AVAILABLE, text, generation)
    text = f"{unknown}. Holding the last decision; nothing is scaled down and no spill is added."
    reason = Reason.UNREACHABLE if "Prometheus" in unknown else Reason.STALE if " s old " in unknown else Reason.NO_DATA
    return condition(ConditionType.METRICS_AVAILABLE, False, reason, text, generation)
