"""Events are posted when something changed, and not again and again for the same thing."""

from __future__ import annotations

import pytest

from comptroller.apply.events import LONGEST_NOTE, REPEAT_SECONDS, EventRecorder
from comptroller.kube.client import KubeError
from comptroller.runtime.clock import micro_timestamp
from tests.unit.apply.fake_api import FakeApi
from tests.unit.kube import build
from tests.unit.kube.build import BORN_SECONDS

POOL = build.pool("big", uid="u1")


async def post(
    recorder: EventRecorder, note: str, reason: str = "Scaled", uid: str = "u1", at: float = BORN_SECONDS
) -> None:
    await recorder.post(build.pool("big", uid=uid), reason, "Decide", note, micro_timestamp(at))


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def recorder(api: FakeApi) -> EventRecorder:
    return EventRecorder(api)  # type: ignore[arg-type]


async def test_an_event_names_its_object(api: FakeApi, recorder: EventRecorder) -> None:
    await post(recorder, "2 -> 4")
    event = api.events[0]
    assert event["metadata"] == {"generateName": "big-", "namespace": "ai"}
    assert (event["regarding"]["kind"], event["regarding"]["uid"], event["note"]) == ("ModelPool", "u1", "2 -> 4")


async def test_the_same_is_said_once_per_object_and_reason(api: FakeApi, recorder: EventRecorder) -> None:
    for note, reason, uid in [
        ("a", "Scaled", "u1"), ("a", "Scaled", "u1"), ("a", "Idle", "u1"), ("a", "Scaled", "u2"), ("b", "Scaled", "u1"),
        ("a", "Scaled", "u1"),
    ]:  # fmt: skip
        await post(recorder, note, reason, uid)
    assert [(one["note"], one["reason"], one["regarding"]["uid"]) for one in api.events] == [
        ("a", "Scaled", "u1"), ("a", "Idle", "u1"), ("a", "Scaled", "u2"), ("b", "Scaled", "u1"), ("a", "Scaled", "u1"),
    ]  # fmt: skip


async def test_a_note_is_as_long_as_the_server_permits(api: FakeApi, recorder: EventRecorder) -> None:
    await post(recorder, "x" * 5000)
    assert len(api.events[0]["note"]) == LONGEST_NOTE


async def test_a_refused_event_is_no_failure_and_is_posted_the_next_time(api: FakeApi, recorder: EventRecorder) -> None:
    api.refuses = KubeError(403, "forbidden")
    await post(recorder, "a")
    api.refuses = None
    await post(recorder, "a")
    assert [one["note"] for one in api.events] == ["a"]


async def test_what_goes_on_is_said_again_after_a_while(api: FakeApi, recorder: EventRecorder) -> None:
    for seconds in (0, 10, REPEAT_SECONDS - 1, REPEAT_SECONDS, REPEAT_SECONDS + 10, 2 * REPEAT_SECONDS):
        await post(recorder, "put back", "DriftCorrected", at=BORN_SECONDS + seconds)
    assert [one["eventTime"] for one in api.events] == [
        micro_timestamp(BORN_SECONDS + seconds) for seconds in (0, REPEAT_SECONDS, 2 * REPEAT_SECONDS)
    ]
