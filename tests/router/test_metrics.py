"""What /metrics says about requests that have just been made."""

from __future__ import annotations

import time

import httpx
import pytest

from .plans import decided, plans
from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Upstreams = dict[str, Upstream]
POLICY = 'policy="inference/research"'
ONE = 'pool="inference/one",route="single"'


class Difference:
    """How series have changed since it was made."""

    def __init__(self, router: RunningRouter) -> None:
        self.router = router
        self.before = router.metrics()

    def of(self, series: str) -> float:
        return self.router.metrics().get(series, 0.0) - self.before.get(series, 0.0)

    def becomes(self, series: str, value: float) -> None:
        until = time.monotonic() + 10
        while self.of(series) != pytest.approx(value, rel=1e-6):
            assert time.monotonic() < until, f"{series}: {self.of(series)}, not {value}"
            time.sleep(0.1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_is_counted_with_tokens_dollars_and_times(
    router: RunningRouter, upstreams: Upstreams, stream: bool
) -> None:
    change = Difference(router)

    for _ in range(3):
        assert router.chat("single", stream=stream).status_code == 200

    requests = f'comptroller_router_requests_total{{{POLICY},route="single",step="",tenant="team-a",workflow=""}}'
    change.becomes(requests, 3)
    labels = f'outcome="ok",{POLICY.replace("policy", "policy")},pool="inference/one",route="single",tenant="team-a"'
    change.becomes(f"comptroller_router_responses_total{{{labels}}}", 3)
    for kind, number in (("input", 300), ("cached_input", 120), ("output", 15)):
        change.becomes(f'comptroller_router_tokens_total{{kind="{kind}",{POLICY},{ONE}}}', number)
    # 60 uncached and 40 cached tokens at $0.10 and 5 at $0.40 per million, three times
    usd = 3 * (100 * 0.1 + 5 * 0.4) / 1e6
    change.becomes(f'comptroller_router_usd_total{{{POLICY},{ONE},tenant="team-a"}}', usd)
    change.becomes(f"comptroller_router_request_seconds_count{{{POLICY},{ONE}}}", 3)
    change.becomes(f"comptroller_router_time_to_first_token_seconds_count{{{POLICY},{ONE}}}", 3 if stream else 0)


def test_routes_are_there_before_their_first_request(router: RunningRouter) -> None:
    series = router.metrics()

    info = f'comptroller_router_route_info{{{POLICY},route="chat"}}'
    assert series[info] == 1.0
    for tenant, route in (("team-a", "single"), ("team-b", "other")):
        labels = f'{POLICY},route="{route}",step="",tenant="{tenant}",workflow=""'
        assert f"comptroller_router_requests_total{{{labels}}}" in series


def test_the_first_token_of_a_stream_is_earlier_than_its_end(router: RunningRouter, upstreams: Upstreams) -> None:
    change = Difference(router)
    router.chat("single", stream=True)

    first = change.of(f"comptroller_router_time_to_first_token_seconds_sum{{{POLICY},{ONE}}}")
    whole = change.of(f"comptroller_router_request_seconds_sum{{{POLICY},{ONE}}}")
    assert 0 < first < whole - 0.06


def test_hosted_tokens_are_priced_with_their_cached_part(router: RunningRouter, upstreams: Upstreams) -> None:
    router.apply(plans(upstreams, other=decided("other", {"outside": 1.0}))["open"])
    change = Difference(router)

    assert router.chat("other").status_code == 200

    usd = (60 * 3 + 40 * 0.3 + 5 * 15) / 1e6
    change.becomes(
        f'comptroller_router_usd_total{{{POLICY},pool="inference/outside",route="other",tenant="team-a"}}', usd
    )
    assert upstreams["outside"].headers[0]["authorization"] == "Bearer hosted-key"


def test_a_spilled_answer_is_booked_on_the_pool_that_gave_it(router: RunningRouter, upstreams: Upstreams) -> None:
    upstreams["one"].status = 500
    change = Difference(router)

    assert router.chat("other").status_code == 200

    labels = f'outcome="ok",{POLICY},pool="inference/outside",route="other",tenant="team-a"'
    change.becomes(f"comptroller_router_responses_total{{{labels}}}", 1)


def test_workflow_and_step_are_labels_of_the_demand(router: RunningRouter) -> None:
    change = Difference(router)
    router.chat("chat")
    change.becomes(
        f'comptroller_router_requests_total{{{POLICY},route="chat",step="planning",tenant="team-a",workflow="diligence"}}',
        1,
    )


def test_what_could_never_be_served_is_counted_but_is_no_demand(router: RunningRouter) -> None:
    change = Difference(router)
    router.chat("chat", key="wrong")
    router.chat("chat", key="key-b")
    router.chat("nonsense")
    router.chat("chat", api_base="http://x")

    unknown = f'{POLICY},route="unknown",step="",tenant="%s",workflow=""'
    for tenant, number in (("unknown", 1), ("team-b", 1), ("team-a", 2)):
        change.becomes(f"comptroller_router_requests_total{{{unknown % tenant}}}", number)
    for outcome, route, tenant in (
        ("unauthorized", "unknown", "unknown"),
        ("forbidden", "chat", "team-b"),
        ("unknown_route", "unknown", "team-a"),
        ("refused", "chat", "team-a"),
    ):
        labels = f'outcome="{outcome}",{POLICY},pool="none",route="{route}",tenant="{tenant}"'
        change.becomes(f"comptroller_router_responses_total{{{labels}}}", 1)


def test_shed_requests_are_demand(router: RunningRouter, upstreams: Upstreams) -> None:
    router.apply(plans(upstreams, single=decided("single", {"one": 1.0}, shed=1.0))["open"])
    change = Difference(router)

    assert router.chat("single").status_code == 429

    change.becomes(
        f'comptroller_router_requests_total{{{POLICY},route="single",step="",tenant="team-a",workflow=""}}', 1
    )


def test_a_client_that_leaves_is_counted_and_frees_its_place(router: RunningRouter, upstreams: Upstreams) -> None:
    upstreams["one"].seconds = 2.0
    change = Difference(router)
    body = {"model": "single", "messages": [{"role": "user", "content": "hello"}], "stream": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{router.url}/v1/chat/completions", json=body, headers={"authorization": "Bearer key-a"}, timeout=0.5
        )

    labels = f'outcome="disconnected",{POLICY},pool="none",route="single",tenant="team-a"'
    change.becomes(f"comptroller_router_responses_total{{{labels}}}", 1)
    router.wait_for(f'comptroller_router_in_flight{{{POLICY},route="single"}}', 0.0)


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_ends_with_usage_only_for_those_who_asked(router: RunningRouter, asked: bool) -> None:
    more = {"stream_options": {"include_usage": True}} if asked else {}

    text = router.chat("single", stream=True, **more).text

    assert ('"usage":{' in text.replace(" ", "")) is asked
    assert text.rstrip().endswith("data: [DONE]")
