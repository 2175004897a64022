"""The client against a transport that answers from a script: what it makes of good, bad and missing answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from comptroller.kube.client import KubeClient, KubeError, NotLeadingError
from comptroller.kube.resources import DEPLOYMENT, MODEL_POOL, POD
from tests.unit.kube import build


class Answer:
    """One HTTP answer."""

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status, self.headers = status, headers or {}
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def read(self) -> bytes:
        return self._body


class Transport:
    """Stands where `kubernetes.aio`'s ApiClient stands; answers in order and keeps what was asked."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers, self.asked, self.closed = list(answers), list[dict[str, Any]](), False

    async def param_serialize(self, method: str, path: str, **rest: Any) -> tuple[dict[str, Any]]:
        return ({"method": method, "path": path, **rest},)

    async def call_api(self, request: dict[str, Any], **_: Any) -> Answer:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


def client(*answers: Answer | Exception) -> tuple[KubeClient, Transport]:
    transport = Transport(*answers)
    return KubeClient(transport), transport


def page(*names: str, more: str = "") -> Answer:
    items = [{"metadata": build.item("ModelPool", name)["metadata"]} for name in names]
    return Answer(200, {"items": items, "metadata": {"continue": more}})


async def names_of(api: KubeClient) -> list[str]:
    return [one["metadata"]["name"] async for one in api.list(MODEL_POOL)]


async def test_what_is_not_there_is_none() -> None:
    api, _ = client(Answer(404, {"message": "not found"}))
    assert await api.get(POD, "ai", "a") is None


async def test_a_list_goes_through_all_pages_and_every_item_has_its_kind() -> None:
    api, transport = client(page("a", "b", more="t"), page("c"))
    found = [one async for one in api.list(MODEL_POOL)]
    assert [one["metadata"]["name"] for one in found] == ["a", "b", "c"]
    assert {(one["apiVersion"], one["kind"]) for one in found} == {("comptroller.dev/v1alpha1", "ModelPool")}
    assert ("continue", "t") in transport.asked[1]["query_params"]


async def test_a_list_that_expired_in_the_middle_begins_anew() -> None:
    api, _ = client(page("a", "gone", more="t"), Answer(410, {"message": "expired"}), page("a", "c"))
    assert await names_of(api) == ["a", "c"]


async def test_a_list_that_is_gone_at_once_is_an_error() -> None:
    api, _ = client(Answer(410, {"message": "gone"}))
    with pytest.raises(KubeError) as caught:
        await names_of(api)
    assert caught.value.status == 410


async def test_a_group_that_is_not_served_answers_in_plain_text_and_is_a_404() -> None:
    api, _ = client(Answer(404, b"404 page not found\n"))
    with pytest.raises(KubeError) as caught:
        await names_of(api)
    assert (caught.value.status, caught.value.message) == (404, "404 page not found")


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"[1, 2]", b"\xff"])
async def test_a_success_that_is_no_object_is_an_error_and_never_an_empty_list(body: bytes) -> None:
    api, _ = client(Answer(200, body))
    with pytest.raises(KubeError) as caught:
        await names_of(api)
    assert caught.value.status == 0


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("refused"), TimeoutError(), aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError("cut off"),
    ],
)  # fmt: skip
async def test_no_answer_is_an_error_of_status_zero(error: Exception) -> None:
    api, _ = client(error)
    with pytest.raises(KubeError, match="does not answer") as caught:
        await api.get(POD, "ai", "a")
    assert caught.value.status == 0


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("Wed, 21 Oct", None), (None, None)])
async def test_the_server_says_when_to_come_again(header: str | None, seconds: float | None) -> None:
    api, _ = client(Answer(429, {"message": "slow down"}, {"Retry-After": header} if header else {}))
    with pytest.raises(KubeError) as caught:
        await api.get(POD, "ai", "a")
    assert caught.value.retry_after_seconds == seconds


async def test_an_apply_is_ours_forced_and_counted() -> None:
    api, transport = client(Answer(200, {}), Answer(200, {}))
    await api.apply(build.item("Deployment", "d"))
    await api.get(DEPLOYMENT, "ai", "d")
    asked = transport.asked[0]
    assert (asked["method"], asked["path"]) == ("PATCH", "/apis/apps/v1/namespaces/ai/deployments/d")
    assert asked["query_params"] == [("fieldManager", "comptroller"), ("force", "true")]
    assert asked["header_params"]["Content-Type"] == "application/apply-patch+yaml"
    assert api.writes == 1


async def test_a_status_is_written_to_its_own_path_and_never_with_a_spec() -> None:
    api, transport = client(Answer(200, {}))
    live = build.pool(status={"conditions": []})
    with pytest.raises(ValueError, match="spec"):
        await api.apply_status(live)
    await api.apply_status({key: value for key, value in live.items() if key != "spec"})
    assert [one["path"].rsplit("/", 1)[1] for one in transport.asked] == ["status"]


@pytest.mark.parametrize(("status", "fine"), [(200, True), (404, True), (409, True), (403, False)])
async def test_deleting_what_is_gone_or_was_replaced_is_fine(status: int, fine: bool) -> None:
    api, transport = client(Answer(status, {"message": "m"}))
    if fine:
        await api.delete(POD, "ai", "a", "uid-1")
    else:
        with pytest.raises(KubeError):
            await api.delete(POD, "ai", "a", "uid-1")
    assert transport.asked[0]["body"]["preconditions"] == {"uid": "uid-1"}


async def test_the_session_ends_with_the_client() -> None:
    api, transport = client()
    async with api:
        pass
    assert transport.closed


async def test_behind_a_closed_fence_everything_is_read_and_nothing_is_written() -> None:
    api, transport = client(Answer(200, {}), page("a"))
    api.fence.left_seconds = lambda: 0.0
    pod, deployment = build.item("Pod", "a"), build.item("Deployment", "d")
    for write in (
        lambda: api.apply(deployment),
        lambda: api.apply_status({key: value for key, value in build.pool().items() if key != "spec"}),
        lambda: api.patch(POD, "ai", "a", {}),
        lambda: api.create(pod),
        lambda: api.replace(pod),
        lambda: api.delete(POD, "ai", "a", "uid"),
    ):
        with pytest.raises(NotLeadingError):
            await write()
    assert await api.get(POD, "ai", "a") == {}
    assert await names_of(api) == ["a"]
    assert [one["method"] for one in transport.asked] == ["GET", "GET"]
    assert api.writes == 0


async def test_a_write_that_is_under_way_ends_with_the_right_to_write() -> None:
    api, transport = client()
    began = asyncio.Event()

    async def never(*_: Any, **__: Any) -> Any:
        began.set()
        await asyncio.Event().wait()

    transport.call_api = never  # type: ignore[method-assign]
    api.fence.left_seconds = lambda: 0.05
    with pytest.raises(KubeError, match="does not answer"):
        await api.apply(build.item("Deployment", "d"))
    assert began.is_set()


async def test_the_fence_closes_when_the_writes_under_way_have_ended() -> None:
    api, transport = client()
    go = asyncio.Event()

    async def slow(*_: Any, **__: Any) -> Answer:
        await go.wait()
        return Answer(200, {})

    transport.call_api = slow  # type: ignore[method-assign]
    write = asyncio.create_task(api.apply(build.item("Deployment", "d")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(api.fence.close(5.0))
    await asyncio.sleep(0)
    assert not api.fence.open
    assert not closing.done()
    go.set()
    assert await closing is True
    assert write.done() or await write == {}
    with pytest.raises(NotLeadingError):
        await api.apply(build.item("Deployment", "d"))


async def test_a_write_that_does_not_end_keeps_the_fence_from_saying_so() -> None:
    api, transport = client()

    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    transport.call_api = never  # type: ignore[method-assign]
    write = asyncio.create_task(api.apply(build.item("Deployment", "d")))
    await asyncio.sleep(0)
    assert await api.fence.close(0.01) is False
    write.cancel()


async def test_a_replacement_carries_the_version_that_was_read() -> None:
    api, transport = client(Answer(409, {"message": "changed"}))
    with pytest.raises(KubeError) as caught:
        await api.replace(build.item("Lease", "l"))
    assert caught.value.status == 409
    path = "/apis/coordination.k8s.io/v1/namespaces/ai/leases/l"
    assert (transport.asked[0]["method"], transport.asked[0]["path"]) == ("PUT", path)
