"""Scenarios: errors name field, meaning and remedy; routes, load and data rules follow from the demand file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from comptroller.sim.replay import span_of
from comptroller.sim.scenario import ScenarioError, load_scenario, parse_scenario
from comptroller.sim.stage import build_stage, pseudo_clients
from comptroller.sim.trace import read_trace
from tests.unit.sim.arena_build import FLEET, scenario, stage, trace

EXAMPLES = Path(__file__).parents[3] / "examples" / "simulate"


def broken(old: str, new: str) -> str:
    text = FLEET.replace("PERTURBATIONS", "[]").replace("RULES", "{}").replace("LIMITS", "")
    assert old in text
    with pytest.raises(ScenarioError) as raised:
        parse_scenario(text.replace(old, new), Path())
    return str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "name: small",
            "nome: small",
            "name: is required: Name in tables and results. Write it such as `name: my-fleet`",
        ),
        ("count: 8", "count: -1", "gpus[0].count: must be at least 0 (given: -1)"),
        ("class: h100, count: 8", "class: h1000, count: 8", "gpus[0].class: h1000 is no GPU class"),
        ("template: chat", "template: talk", "demand.tiers[0].template: there is no route talk (there are: chat)"),
        ("maxConcurrency: 64", "maxConcurrency: 0", "objects[0]: spec.local.performance.maxConcurrency: must be at"),
        ("{pool: us}", "{pool: uk}", "RoutingPolicy ai/p: "),
        ("perturbations: []", "perturbations: [{kind: flood}]", "perturbations[0].kind: must be one of"),
        (
            "template: chat, ",
            "",
            "demand.tiers[0].template: is required: A route of a RoutingPolicy: ",
        ),
        ("count: 8, ", "", "gpus[0].count: is required: How many GPUs. Write it such as `count: 24`"),
        ("perturbations: []", "perturbations: [{kind: nodeLost, class: a100}]", "perturbations[0].class: must be one"),
        (
            "perturbations: []",
            "perturbations: [{kind: hostedOutage, pool: x}]",
            "there is no ModelPool x (there are: eu, own, us)",
        ),
        ("  load: null", "  lode: null", "demand.lode: is not known"),
        ("kind: RoutingPolicy", "kind: Other", "there is no RoutingPolicy in them"),
        ("objects:", "manifests: [none.yaml]\nobjects:", "manifests[0]: none.yaml cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(old: str, new: str, says: str) -> None:
    assert says in broken(old, new)


def test_what_is_no_yaml_is_said_to_be_none() -> None:
    with pytest.raises(ScenarioError, match="not valid YAML"):
        parse_scenario("a: [", Path())
    with pytest.raises(ScenarioError, match="must be an object"):
        parse_scenario("- a", Path())


def test_every_field_that_must_be_there_has_an_example() -> None:
    with pytest.raises(ScenarioError) as raised:
        parse_scenario("gpus: [{}]\ndemand: {tiers: [{}], routes: {chat: {}}}\nperturbations: [{}]", Path())
    lines = str(raised.value).splitlines()
    assert len(lines) == 10
    assert all("Write it such as `" in line and "..." not in line for line in lines)
    with pytest.raises(ScenarioError) as raised:
        parse_scenario("{name: x}", Path())
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == ["gpus", "demand"]


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"\x80"), lambda path: None])
def test_a_scenario_that_cannot_be_read_says_where_one_is(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "mine.yaml")
    with pytest.raises(ScenarioError, match=r"cannot be read: .*[.] Give a scenario as YAML, such as examples/"):
        load_scenario(tmp_path / "mine.yaml")


def test_the_busiest_clients_become_copies_of_the_template() -> None:
    at = stage(1.0, 5.0, 0.0, 3.0, 2.0, 4.0)
    assert [route.name for route in at.world.routes] == ["chat-001", "chat-003", "chat-004", "chat-005"]
    assert {route.permitted for route in at.world.routes} == {("ai/own", "ai/eu", "ai/us")}


def test_the_load_is_the_gpus_that_the_demand_needs_over_those_that_are_there() -> None:
    at = build_stage(scenario(), trace(1.0, 2.0), load=0.5)
    rates = [one.client.requests_per_second.mean() * one.factor for one in at.asked]
    assert rates[1] / rates[0] == pytest.approx(2.0)
    assert sum(rates) == pytest.approx(0.5 * 8 * 7.908, rel=1e-3)  # a replica answers 7.908 requests/s in time


def test_parts_of_the_work_get_data_rules_the_same_ones_every_time() -> None:
    rules = "{onPremisesOnly: 0.25, euOnly: 0.5}"
    first, second = (stage(5.0, 5.0, 5.0, 5.0, rules=rules).world.routes for _ in range(2))
    assert first == second
    assert sorted(len(route.permitted) for route in first) == [1, 2, 2, 3]


def test_penalties_are_parts_of_the_hosted_prices() -> None:
    at = stage(5.0, 5.0, 5.0, 5.0, rules="{onPremisesOnly: 0.25, euOnly: 0.25}")
    by_ways = {len(route.permitted): route for route in at.world.routes}
    us, eu = 0.00075, 0.001125
    assert by_ways[3].blocked_usd == pytest.approx(10 * eu)
    assert by_ways[3].missed_usd == pytest.approx(us)
    assert by_ways[2].missed_usd == pytest.approx(eu)
    assert by_ways[1].blocked_usd == pytest.approx(10 * us)  # nothing permitted: the tier's price in the US
    assert by_ways[1].missed_usd == pytest.approx(us)


def test_a_pass_rate_of_zero_is_not_one() -> None:
    text = FLEET.replace("PERTURBATIONS", "[]").replace("RULES", "{}").replace("LIMITS", "")
    found = parse_scenario(text.replace("{pool: us}", '{pool: us, passRate: "0"}'), Path())
    (route,) = build_stage(found, trace(1.0)).world.routes
    assert route.pass_rates == {"ai/own": 1.0, "ai/us": 0.0, "ai/eu": 1.0}


@pytest.mark.parametrize("name", ["reference", "azure", "mooncake"])
def test_the_examples_can_be_run(name: str) -> None:
    found = load_scenario(EXAMPLES / f"{name}.yaml")
    assert found.demand_file is not None
    at = build_stage(found, read_trace(found.demand_file, pseudo_clients(found)))
    days = found.spec.demand.days or [0]
    span = span_of(at, days[0], hours=1.0)
    assert span.end_seconds > span.start_seconds


def test_the_reference_scenario_is_the_fleet_it_says() -> None:
    found = load_scenario(EXAMPLES / "reference.yaml")
    assert found.demand_file is not None
    at = build_stage(found, read_trace(found.demand_file, pseudo_clients(found)))
    assert len(at.world.routes) == 36
    inside_only = [route for route in at.world.routes if all(key.endswith(("h100", "4090")) for key in route.permitted)]
    american = [route for route in at.world.routes if any(key.endswith("-us") for key in route.permitted)]
    assert 3 <= len(inside_only) <= 9
    assert len(american) < 36 - len(inside_only)


def test_a_trace_without_clients_is_dealt_to_the_tiers() -> None:
    found = load_scenario(EXAMPLES / "reference.yaml")
    at = build_stage(found, read_trace(EXAMPLES / "mooncake-20min.jsonl.gz", pseudo_clients(found)))
    assert {route.tier for route in at.world.routes} == {"large", "mid", "small"}


def test_a_trace_without_the_models_asked_for_says_which_it_has() -> None:
    found = load_scenario(EXAMPLES / "reference.yaml")
    both = trace(1.0, 2.0)
    mixed = type(both)(
        both.format, 0.0, 600.0, both.windows,
        (both.clients[0], type(both.clients[0])("other", "9", *_rest(both.clients[1]))), {},
    )  # fmt: skip
    with pytest.raises(
        ScenarioError, match=r"demand.tiers\[0\].trace: the demand file has no m-large \(it has: other, t"
    ):
        build_stage(found, mixed)


def _rest(client: object) -> tuple[object, ...]:
    names = ("requests_per_second", "cvs", "families", "input_tokens", "output_tokens")
    return tuple(getattr(client, name) for name in names)


def test_a_day_that_the_file_does_not_have_says_which_it_has() -> None:
    with pytest.raises(ValueError, match=r"nothing of day 4 .* days 0 to 0"):
        span_of(stage(1.0), 4)


def test_where_the_file_begins_its_first_part_is_the_warm_up() -> None:
    span = span_of(stage(1.0), 0, hours=1.0)
    assert (span.warm_seconds, span.start_seconds, span.end_seconds) == (0.0, 600.0, 4200.0)
