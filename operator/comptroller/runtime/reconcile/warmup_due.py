"""When a run is due, and why. Pure: the same facts give the same Job, also after a restart of the operator."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from comptroller.api.cachewarmup import Triggers
from comptroller.runtime.reconcile.warmup_record import Ended

CATCH_UP_SECONDS = 3600.0
"""How late a scheduled run is still made when the operator was away; later it would come into the working day."""
RETRY_SECONDS = 300
"""After how long a replica that is held back is tried again."""


class Cause(StrEnum):
    """Why a run is made."""

    START = "ReplicaStart"
    CHANGE = "Change"
    SCHEDULE = "Schedule"
    REFRESH = "Refresh"
    RETRY = "Retry"


@dataclass(frozen=True, slots=True)
class Due:
    """A run that is due. `moment` (seconds since the epoch) tells it from earlier ones; None: it is the first one."""

    cause: Cause
    moment: int | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one warm-up of one replica."""

    now_seconds: float
    started_seconds: float  # this life of the container
    fresh: bool  # the replica takes no traffic yet, or is younger than the warm-up
    held: bool  # it is kept from traffic
    ended: Ended | None  # the newest run of what is wanted now
    earlier: Ended | None  # else the newest run of this warm-up in this life, with other contents
    outdated_since: int | None  # when another replica was found to have been sent newer contents
    scheduled: float | None  # when the schedule was last due
    begun: bool  # whether other replicas had that scheduled run


def due(triggers: Triggers, facts: Facts) -> Due | None:
    """The run that is due, if any."""
    ended = facts.ended
    if ended is None and facts.earlier is None:
        cause = Cause.START if facts.fresh else Cause.CHANGE
        if triggers.on_replica_start if facts.fresh else triggers.on_change:
            return Due(cause, None)
    elif ended is None and (triggers.on_change or (facts.held and triggers.on_replica_start)):
        return Due(Cause.CHANGE, None)
    elif triggers.on_change and facts.outdated_since is not None:
        return Due(Cause.CHANGE, facts.outdated_since)
    if ended is not None and facts.held and not ended.warm and facts.now_seconds >= ended.at_seconds + RETRY_SECONDS:
        return Due(Cause.RETRY, ended.at_seconds + RETRY_SECONDS)
    if facts.scheduled is not None and _waits(facts) and not missed(facts):
        return Due(Cause.SCHEDULE, int(facts.scheduled))
    newest = ended or facts.earlier
    if triggers.refresh_seconds and newest is not None:
        moment = newest.at_seconds + triggers.refresh_seconds
        if facts.now_seconds >= moment:
            return Due(Cause.REFRESH, moment)
    return None


def missed(facts: Facts) -> bool:
    """Whether the last scheduled run was not made and no longer will be: nobody was there to make it in time."""
    late = facts.scheduled is not None and facts.now_seconds - facts.scheduled > CATCH_UP_SECONDS
    return late and not facts.begun and _waits(facts)


def _waits(facts: Facts) -> bool:
    newest = facts.ended or facts.earlier
    since = facts.started_seconds if newest is None else max(facts.started_seconds, newest.at_seconds)
    return facts.scheduled is not None and since < facts.scheduled
