"""Judges, shadows and verified answers on a real LiteLLM process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from .plans import watched, with_places
from .running import RunningRouter
from .stubs import Upstream, serving
from .test_metrics import POLICY, Difference

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Upstreams = dict[str, Upstream]
PASS, FAIL = (json.dumps({"reason": "said", "pass": one}) for one in (True, False))
CANARY = "CANARY-7c1e"
ALL = {"pool": "judge", "sampleRatio": "1", "rubric": "It says its own name.", "escalateOnFail": True}


@pytest.fixture(scope="module")
def _watchers() -> Iterator[Upstreams]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(Upstream(name))) for name in ("judge", "candidate")}


@pytest.fixture
def everybody(upstreams: Upstreams, _watchers: Upstreams) -> Upstreams:
    """All backends, and a judge that lets everything pass."""
    for one in _watchers.values():
        one.reset()
    _watchers["judge"].says = PASS
    return upstreams | _watchers


def evaluations(verdict: str, pool: str = "one", source: str = "sample", route: str = "chat") -> str:
    labels = f'{POLICY},pool="inference/{pool}",route="{route}",source="{source}",verdict="{verdict}"'
    return f"comptroller_router_evaluations_total{{{labels}}}"


def arrivals(route: str = "chat") -> str:
    return (
        f'comptroller_router_requests_total{{{POLICY},route="{route}",step="planning",tenant="team-a",'
        'workflow="diligence"}'
    )


def test_a_sampled_answer_is_judged_after_the_client_has_it(router: RunningRouter, everybody: Upstreams) -> None:
    router.apply(watched(everybody, "chat", evaluator=ALL)["open"])
    change = Difference(router)

    answer = router.chat("chat")

    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "one")
    change.becomes(evaluations("pass"), 1)
    (question,) = everybody["judge"].requests
    system, user = (one["content"] for one in question["messages"])
    assert "It says its own name." in system
    assert "user: hello" in user
    assert "one" in user
    assert (question["temperature"], question["max_tokens"]) == (0, 300)
    assert question["response_format"]["json_schema"]["strict"] is True
    # the judge's dollars are the route's, its tokens and its request are not: 100 in and 5 out at $1 and $2 per million
    usd = f'{POLICY},pool="inference/judge",route="chat"'
    change.becomes(f'comptroller_router_usd_total{{{usd},tenant="operator:evaluator"}}', 110 / 1e6)
    change.becomes(
        f'comptroller_router_evaluation_usd_total{{{POLICY},pool="inference/judge",purpose="judge",route="chat"}}',
        110 / 1e6,
    )
    assert (
        change.of(f'comptroller_router_tokens_total{{kind="input",{POLICY},pool="inference/one",route="chat"}}') == 100
    )
    assert change.of(arrivals()) == 1
    assert 'pool="inference/judge"' not in "".join(
        name for name in router.metrics() if name.startswith(("comptroller_router_tokens", "comptroller_router_resp"))
    )


@pytest.mark.parametrize(
    ("says", "status", "verdict"),
    [
        (FAIL, 200, "fail"),
        (f"```json\n{PASS}\n```", 200, "pass"),
        ("It passes.", 200, "error"),
        ('{"pass": "yes"}', 200, "error"),
        (PASS + PASS, 200, "error"),
        (PASS, 500, "error"),
    ],
)
def test_only_a_verdict_counts_as_one(
    router: RunningRouter, everybody: Upstreams, says: str, status: int, verdict: str
) -> None:
    router.apply(watched(everybody, "chat", evaluator=ALL)["open"])
    everybody["judge"].says, everybody["judge"].status = says, status
    change = Difference(router)

    assert router.chat("chat").status_code == 200

    change.becomes(evaluations(verdict), 1)
    assert sum(change.of(evaluations(one)) for one in ("pass", "fail", "error")) == 1


def test_a_streamed_answer_is_judged_by_its_text(router: RunningRouter, everybody: Upstreams) -> None:
    router.apply(watched(everybody, "chat", evaluator=ALL)["open"])
    change = Difference(router)

    assert router.chat("chat", stream=True).text.rstrip().endswith("data: [DONE]")

    change.becomes(evaluations("pass"), 1)
    assert "\nabcde\n" in everybody["judge"].requests[0]["messages"][1]["content"]


def test_what_was_cut_off_or_refused_is_not_judged(router: RunningRouter, everybody: Upstreams) -> None:
    router.apply(watched(everybody, "chat", evaluator=ALL, shadow={"pool": "candidate", "sampleRatio": "1"})["open"])
    change = Difference(router)
    everybody["one"].finish = "length"
    assert router.chat("chat").status_code == 200
    everybody["one"].status = everybody["two"].status = 400
    assert router.chat("chat").status_code == 400
    everybody["one"].reset()
    assert router.chat("chat").status_code == 200

    change.becomes(evaluations("pass"), 1)
    assert len([one for one in everybody["judge"].requests if "\none\n" in one["messages"][1]["content"]]) == 1
    assert len(everybody["candidate"].requests) == 2  # of answers that came, cut off or not


def test_a_slow_judge_holds_nobody_up_and_what_is_too_much_is_dropped(
    router: RunningRouter, everybody: Upstreams
) -> None:
    router.apply(watched(everybody, "chat", evaluator=ALL)["open"])
    everybody["judge"].gate.clear()
    change = Difference(router)

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: router.chat("chat").status_code, range(75)))

    assert codes == [200] * 75
    busy = f'comptroller_router_evaluations_dropped_total{{{POLICY},reason="busy",route="chat"}}'
    change.becomes(busy, 75 - 4 - 64)
    assert len(everybody["judge"].requests) == 4
    everybody["judge"].gate.set()
    change.becomes(evaluations("pass"), 68)


def test_nobody_can_ask_a_judge_or_a_shadow(router: RunningRouter, everybody: Upstreams) -> None:
    shadow = {"pool": "candidate", "sampleRatio": "0"}
    router.apply(watched(everybody, "chat", evaluator={**ALL, "sampleRatio": "0"}, shadow=shadow)["open"])

    for name in ("judge:chat", "shadow:chat", "inference/judge/judge:chat", "model-judge"):
        answer = router.chat(name)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "judge" not in answer.json()["error"]["message"]
    listed = httpx.get(f"{router.url}/v1/models", headers={"authorization": "Bearer key-a"}).json()
    assert [one["id"] for one in listed["data"]] == ["chat", "other", "single"]
    assert router.chat("chat").status_code == 200
    assert everybody["judge"].requests == everybody["candidate"].requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_shadow_answers_a_copy_that_the_client_never_sees(
    router: RunningRouter, everybody: Upstreams, stream: bool
) -> None:
    shadow = {"pool": "candidate", "sampleRatio": "1"}
    router.apply(watched(everybody, "chat", evaluator={**ALL, "sampleRatio": "0"}, shadow=shadow)["open"])
    everybody["candidate"].says = "from the shadow"
    change = Difference(router)

    answer = router.chat("chat", stream=stream, max_tokens=7)

    assert "from the shadow" not in answer.text
    change.becomes(evaluations("pass", "candidate", "shadow"), 1)
    (copy,) = everybody["candidate"].requests
    assert (copy["messages"], copy["max_tokens"], copy["model"]) == (
        [{"role": "user", "content": "hello"}], 7, "model-candidate",
    )  # fmt: skip
    assert "from the shadow" in everybody["judge"].requests[0]["messages"][1]["content"]
    labels = f'{POLICY},pool="inference/candidate",route="chat"'
    assert change.of(f'comptroller_router_shadow_answers_total{{outcome="ok",{labels}}}') == 1
    assert change.of(f"comptroller_router_shadow_seconds_count{{{labels}}}") == 1
    change.becomes(f'comptroller_router_usd_total{{{labels},tenant="operator:shadow"}}', 110 / 1e6)
    assert change.of(arrivals()) == 1
    assert not [name for name in router.metrics() if "responses_total" in name and "inference/candidate" in name]


def test_a_shadow_takes_a_place_and_is_left_out_when_there_is_none(router: RunningRouter, everybody: Upstreams) -> None:
    plan = watched(everybody, "chat", shadow={"pool": "candidate", "sampleRatio": "1"})["open"]
    router.apply(with_places(plan, "candidate", 1))
    everybody["candidate"].gate.clear()
    change = Difference(router)

    assert [router.chat("chat").status_code for _ in range(3)] == [200] * 3

    labels = f'{POLICY},pool="inference/candidate",route="chat"'
    change.becomes(f'comptroller_router_shadow_answers_total{{outcome="full",{labels}}}', 2)
    router.wait_for('comptroller_router_pool_in_flight{pool="inference/candidate"}', 1.0)
    everybody["candidate"].gate.set()
    change.becomes(f'comptroller_router_shadow_answers_total{{outcome="ok",{labels}}}', 1)
    router.wait_for('comptroller_router_pool_in_flight{pool="inference/candidate"}', 0.0)


def test_no_word_of_a_prompt_an_answer_or_a_reason_is_left_behind(router: RunningRouter, everybody: Upstreams) -> None:
    shadow = {"pool": "candidate", "sampleRatio": "1"}
    router.apply(watched(everybody, "chat", evaluator=ALL, shadow=shadow)["open"])
    change = Difference(router)
    everybody["one"].says = everybody["candidate"].says = f"answer {CANARY}"
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"prompt {CANARY}"}]
    judge = everybody["judge"]
    for says, status, verdict in (
        (json.dumps({"reason": CANARY, "pass": False}), 200, "fail"),
        (CANARY, 200, "error"),
        (CANARY, 500, "error"),
    ):
        judge.says, judge.status = says, status
        before = change.of(evaluations(verdict))
        assert router.chat("chat", messages=messages).status_code == 200
        change.becomes(evaluations(verdict), before + 1)
        assert CANARY in judge.requests[-1]["messages"][1]["content"]
        head = {"x-comptroller-verify": "true"}
        assert router.chat("chat", messages=messages, headers=head).status_code == 200

    time.sleep(0.5)
    assert CANARY not in (router.folder / "log").read_text()
    assert CANARY not in httpx.get(f"{router.url}/metrics").text


def verify(router: RunningRouter, **more: Any) -> httpx.Response:
    return router.chat("chat", headers={"x-comptroller-verify": "true"}, **more)


def said(answer: httpx.Response) -> tuple[str, str]:
    return answer.headers["x-comptroller-verified"], answer.json()["choices"][0]["message"]["content"]


def test_an_answer_that_fails_is_asked_again_of_the_next_better_pool(
    router: RunningRouter, everybody: Upstreams
) -> None:
    router.apply(watched(everybody, "chat", evaluator=ALL)["open"])
    change = Difference(router)

    assert said(verify(router)) == ("passed", "one")
    everybody["judge"].says = FAIL
    answer = verify(router)

    assert said(answer) == ("escalated", "two")
    assert answer.headers["x-litellm-model-id"] == "inference/two/chat"
    labels = f'failed_pool="inference/one",{POLICY},pool="inference/two",route="chat"'
    change.becomes(f"comptroller_router_escalations_total{{{labels}}}", 1)
    change.becomes(evaluations("fail", source="verify"), 1)
    # both answers are paid for, by who asked, and so are the verdicts
    change.becomes(f'comptroller_router_tokens_total{{kind="input",{POLICY},pool="inference/one",route="chat"}}', 200)
    change.becomes(f'comptroller_router_tokens_total{{kind="input",{POLICY},pool="inference/two",route="chat"}}', 100)
    change.becomes(
        f'comptroller_router_usd_total{{{POLICY},pool="inference/judge",route="chat",tenant="team-a"}}', 220e-6
    )
    assert change.of(arrivals()) == 2


def test_the_first_answer_is_returned_when_nobody_can_tell_or_nobody_better_answers(
    router: RunningRouter, everybody: Upstreams
) -> None:
    router.apply(watched(everybody, "chat", evaluator=ALL)["open"])
    everybody["judge"].says = "perhaps"
    assert said(verify(router)) == ("unknown", "one")
    everybody["judge"].says = FAIL
    everybody["two"].status = everybody["outside"].status = 500
    assert said(verify(router)) == ("failed", "one")


def test_what_cannot_be_verified_is_said(router: RunningRouter, everybody: Upstreams) -> None:
    router.apply(watched(everybody, "chat", evaluator=ALL)["open"])
    for answer, word in (
        (verify(router, stream=True), "set stream to false or leave the header out"),
        (router.chat("single", headers={"x-comptroller-verify": "true"}), "spec.routes[].evaluator.escalateOnFail"),
        (router.chat("chat", headers={"x-comptroller-verify": "perhaps"}), "must be true or false"),
    ):
        assert answer.status_code == 400
        assert word in answer.json()["error"]["message"]
    assert router.chat("chat", headers={"x-comptroller-verify": "false"}).status_code == 200
    assert everybody["one"].requests[0]["model"] == "model-one"


def test_restricted_data_is_judged_inside(restricted_router: RunningRouter, everybody: Upstreams) -> None:
    plan = watched(everybody, "secret", evaluator=ALL)["restricted"]
    assert plan.keys == ()
    restricted_router.apply(plan)
    change = Difference(restricted_router)

    assert restricted_router.chat("secret").status_code == 200

    change.becomes(evaluations("pass", route="secret"), 1)
    assert len(everybody["judge"].requests) == 1
    assert everybody["outside"].requests == []
