"""Where requests go: the planned split, a new split without a restart, and what happens when a backend fails."""

from __future__ import annotations

import threading
import time

import httpx
import pytest

from .plans import decided, limited, plans
from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Upstreams = dict[str, Upstream]


def counts(upstreams: Upstreams) -> dict[str, int]:
    return {name: len(one.requests) for name, one in upstreams.items()}


def test_answers_come_from_the_planned_pools_with_the_route_told_to_them(
    router: RunningRouter, upstreams: Upstreams
) -> None:
    answers = [router.chat("chat") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5, answers[0].text
    assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} <= {"one", "two"}
    assert {headers["x-comptroller-route"] for one in upstreams.values() for headers in one.headers} == {"chat"}


def test_requests_are_split_as_planned_and_reserves_get_none(router: RunningRouter, upstreams: Upstreams) -> None:
    for _ in range(120):
        assert router.chat("chat").status_code == 200

    assert counts(upstreams)["outside"] == 0
    assert 78 <= counts(upstreams)["one"] <= 112  # 96 expected of 120 at 80 %, four standard deviations


def test_a_new_split_takes_over_under_steady_requests_without_an_error(
    router: RunningRouter, upstreams: Upstreams
) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def steadily() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                body = {
                    "model": "chat",
                    "messages": [{"role": "user", "content": "hello"}],
                    "stream": len(statuses) % 2 == 0,
                }
                answer = client.post(
                    f"{router.url}/v1/chat/completions", json=body, headers={"authorization": "Bearer key-a"}
                )
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=steadily) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for shares in ({"one": 0.1, "two": 0.9}, {"one": 0.5, "outside": 0.5}, {"outside": 1.0}):
            router.apply(plans(upstreams, chat=decided("chat", shares, ("one", "two")))["open"])
            time.sleep(1.0)
        for upstream in upstreams.values():
            upstream.requests.clear()
        time.sleep(1.5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert set(statuses) == {200}
    assert len(statuses) > 30
    assert counts(upstreams)["outside"] > 5
    assert counts(upstreams)["one"] + counts(upstreams)["two"] == 0


@pytest.mark.parametrize(
    "bad",
    ["model_list: [", "model_list: []", "x_comptroller: 3"],
    ids=["not YAML", "no section for the plugin", "a section of the wrong kind"],
)
def test_a_configuration_that_cannot_be_read_leaves_the_last_good_one(
    router: RunningRouter, upstreams: Upstreams, bad: str
) -> None:
    rejected = 'comptroller_router_reloads_total{result="rejected"}'
    before = router.metrics().get(rejected, 0.0)

    router.put_text(bad)

    router.wait_for(rejected, before + 1)
    assert router.chat("chat").status_code == 200


def test_a_configuration_that_litellm_refuses_leaves_the_last_good_one(
    router: RunningRouter, upstreams: Upstreams
) -> None:
    rejected = 'comptroller_router_reloads_total{result="rejected"}'
    before = router.metrics().get(rejected, 0.0)
    text = (router.folder / "router" / "config.yaml").read_text()

    router.put_text(text.replace("hosted_vllm/model-one", "no-such-provider/model-one"))

    router.wait_for(rejected, before + 1)
    assert {router.chat("chat").status_code for _ in range(10)} == {200}
    assert counts(upstreams)["one"] > 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failing_pool_spills_without_an_error_for_the_client(
    router: RunningRouter, upstreams: Upstreams, status: int
) -> None:
    upstreams["one"].status = status

    answers = [router.chat("other") for _ in range(12)]

    assert {answer.status_code for answer in answers} == {200}
    assert counts(upstreams)["outside"] == 12
    assert 1 <= counts(upstreams)["one"] < 12  # asked, and then left alone for a while


def test_a_pool_that_refuses_connections_spills_to_the_other_planned_pool_first(
    router: RunningRouter, upstreams: Upstreams
) -> None:
    plan = plans(upstreams)["open"]
    text = (router.folder / "router" / "config.yaml").read_text()
    digest = router.put_text(text.replace(upstreams["one"].address, "http://127.0.0.1:9/v1"))
    router.wait_for(f'comptroller_router_config_info{{digest="{digest}"}}', 1.0)

    assert {router.chat("chat").status_code for _ in range(12)} == {200}
    assert counts(upstreams)["two"] == 12
    assert counts(upstreams)["outside"] == 0
    router.apply(plan)


def test_a_stream_from_a_failing_pool_spills_before_its_first_piece(
    router: RunningRouter, upstreams: Upstreams
) -> None:
    upstreams["one"].status = 500

    answer = router.chat("other", stream=True)

    assert answer.status_code == 200
    assert (
        "".join(part.split('"content":"')[1][0] for part in answer.text.split("\n\n") if '"content":"' in part)
        == "abcde"
    )
    assert counts(upstreams)["outside"] == 1


def test_a_full_pool_overflows_and_is_used_again_at_once(router: RunningRouter, upstreams: Upstreams) -> None:
    """A limit that is reached is not a failure: the pool is not cooled down."""
    router.apply(limited(plans(upstreams)["open"], "other", "one", 2))
    upstreams["one"].seconds = upstreams["outside"].seconds = 1.0
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(router.chat("other").status_code)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 6
    assert counts(upstreams) == {"one": 2, "two": 0, "outside": 4}
    upstreams["one"].seconds = 0.0
    assert router.chat("other").status_code == 200
    assert counts(upstreams)["one"] == 3


def test_a_new_limit_is_obeyed_without_a_restart(router: RunningRouter, upstreams: Upstreams) -> None:
    """LiteLLM keeps the first limit of a deployment for ever; the plugin gives it its new height."""
    for limit in (1, 4):
        router.apply(limited(plans(upstreams)["open"], "other", "one", limit))
        upstreams["one"].requests.clear()
        upstreams["one"].seconds = upstreams["outside"].seconds = 1.0
        threads = [threading.Thread(target=router.chat, args=("other",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts(upstreams)["one"] == limit


def test_the_only_pool_of_a_route_is_asked_again_at_once_after_failures(
    router: RunningRouter, upstreams: Upstreams
) -> None:
    upstreams["one"].status = 500
    failures = {router.chat("single").status_code for _ in range(6)}
    upstreams["one"].status = 200

    assert failures == {500}
    assert router.chat("single").status_code == 200


def test_a_wrong_request_is_the_clients_fault_and_does_not_spill(router: RunningRouter, upstreams: Upstreams) -> None:
    upstreams["one"].status = 400

    assert router.chat("other").status_code == 400
    assert counts(upstreams)["outside"] == 0


def test_a_route_that_the_plan_sheds_is_refused_at_the_door(router: RunningRouter, upstreams: Upstreams) -> None:
    router.apply(plans(upstreams, other=decided("other", {"one": 0.0}, shed=1.0))["open"])

    answer = router.chat("other")

    assert answer.status_code in (429, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["type"] in ("rate_limit_error", "server_error")
