"""SCENARIO.yaml: which fleet, which demand, what happens, with errors that name the field, what it must be, the remedy.

The fleet is real manifests (ModelPool and RoutingPolicy, as `kubectl apply` takes them) and real settings, so that
people simulate their own policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from comptroller.allocation.validation import policy_stalls, pool_stalls
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.parse import SpecError, in_words, parse_spec, shown
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings, Strict
from comptroller.economics.prices import HostedPrice, price_lookup

PRICES_AT = datetime(2026, 11, 1, tzinfo=UTC)
"""Hosted pools that declare no prices cost what the bundled list says for this moment, whenever the run is."""

A_SCENARIO = "Give a scenario as YAML, such as examples/simulate/reference.yaml"


class ScenarioError(ValueError):
    """A scenario that cannot be run; the message has one line per problem, each with the field and the remedy."""


class Gpus(Strict):
    """GPUs of one class at one site."""

    class_: str = Field(alias="class", description="A GPU class of the settings.", examples=["h100"])
    site: str = Field(default="", description="Where they are; absent: there is only one place.")
    count: int = Field(ge=0, le=100_000, description="How many GPUs.", examples=["24"])
    per_node: int = Field(default=8, ge=1, le=128, description="How many of them share a node, and are lost with it.")


class Tier(Strict):
    """Which clients of the demand file become routes of which template."""

    trace: str = Field(description="Model of the demand file; for files of requests: any word.", examples=["m-large"])
    template: str = Field(
        description="A route of a RoutingPolicy: each client becomes a copy of it.", examples=["chat"]
    )
    clients: int = Field(ge=1, le=500, description="How many clients, those with the most work first.", examples=["12"])
    share_of_load: float = Field(ge=0, le=1, description="Their part of the load.", examples=["1"])


class RouteDemand(Strict):
    """Which client of the demand file asks a route."""

    trace: str = Field(description="Model of the demand file.", examples=["m-mid"])
    client: str = Field(description="Client of that model.", examples=['"7"'])


class DataRuleShares(Strict):
    """Which part of the traffic may not go everywhere."""

    on_premises_only: float = Field(default=0.0, ge=0, le=1, description="Part that may not leave the premises.")
    eu_only: float = Field(default=0.0, ge=0, le=1, description="Part that may not leave the EU.")


class DemandSettings(Strict):
    """Who asks, and how much."""

    file: str | None = Field(default=None, description="Demand file, relative to the scenario; --demand overrides it.")
    days: Annotated[list[int], Field(min_length=1)] | None = Field(
        default=None, description="Days of the file; absent: the first one."
    )
    load: float | None = Field(
        default=1.0, gt=0, le=100, description="GPUs that the demand needs over GPUs of loadClass; null: as recorded."
    )
    load_class: str = Field(default="h100", description="The GPU class that the load is a part of.")
    tiers: list[Tier] = Field(default_factory=list, description="Clients that become copies of template routes.")
    routes: dict[str, RouteDemand] = Field(
        default_factory=dict, description="Routes by name or as namespace/policy/route, each with its client."
    )
    data_rules: DataRuleShares = Field(default_factory=DataRuleShares, description="Parts with data rules.")
    history_days: float = Field(default=3.0, ge=0, le=60, description="Days of demand that policies know before.")
    warm_up_seconds: float = Field(
        default=1800.0, ge=0, le=86400, description="Simulated and not scored before the first hour."
    )


class Perturbation(Strict):
    """Something that goes wrong."""

    kind: Literal[
        "profileError", "priceChange", "nodeLost", "hostedOutage", "storm429", "metricsStale", "demandStep"
    ] = Field(description="What happens.", examples=["nodeLost"])
    at_hour: float = Field(default=0.0, ge=0, description="Hours after the start of each day.")
    for_seconds: float | None = Field(default=None, gt=0, description="How long; absent: to the end.")
    factor: float = Field(default=1.0, gt=0, le=1000, description="Times as much: of time, price or demand.")
    ratio: float = Field(default=1.0, ge=0, le=1, description="storm429: part of the requests that is refused.")
    pool: str | None = Field(default=None, description="Name of the pool that it is about; absent: every one.")
    class_: str | None = Field(default=None, alias="class", description="nodeLost: GPU class of the node.")
    ramp_seconds: float = Field(default=60.0, ge=0, le=86400, description="demandStep: how long the rise takes.")


class HostedSpeed(Strict):
    """How fast hosted APIs answer."""

    first_token_ms: float = Field(default=500.0, ge=0, description="Time to first token.")
    per_output_token_ms: float = Field(default=15.0, ge=0, description="Time per output token.")


class ScenarioSpec(Strict):
    """The whole file."""

    name: str = Field(description="Name in tables and results.", examples=["my-fleet"])
    description: str = Field(default="", description="What it shows.")
    manifests: list[str] = Field(default_factory=list, description="Files of ModelPools and RoutingPolicies.")
    objects: list[dict[str, Any]] = Field(default_factory=list, description="The same, written here.")
    settings: Settings = Field(default_factory=Settings, description="The operator's settings.")
    gpus: list[Gpus] = Field(description="What is there.", examples=["[{class: h100, count: 24}]"])
    demand: DemandSettings = Field(
        description="Who asks, and how much.",
        examples=["{file: azure-20min.csv, tiers: [{trace: azure, template: mid, clients: 3, shareOfLoad: 1}]}"],
    )
    hosted: HostedSpeed = Field(default_factory=HostedSpeed, description="How fast hosted APIs answer.")
    perturbations: list[Perturbation] = Field(default_factory=list, description="What goes wrong.")
    seeds: Annotated[list[int], Field(min_length=1)] = Field(default_factory=lambda: [1], description="Random seeds.")
    tick_seconds: float = Field(default=60.0, ge=1, le=3600, description="Time between decisions.")
    step_seconds: float = Field(default=5.0, ge=0.5, le=60, description="Step of the simulated world.")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario with its fleet. Pools and policies are keyed namespace/name."""

    spec: ScenarioSpec
    folder: Path
    pools: Mapping[str, ModelPoolSpec]
    prices: Mapping[str, HostedPrice]
    policies: Mapping[str, RoutingPolicySpec]

    @property
    def demand_file(self) -> Path | None:
        """Where the scenario's own demand is."""
        return self.folder / self.spec.demand.file if self.spec.demand.file else None


def load_scenario(path: Path) -> Scenario:
    """Reads a scenario and its manifests. Raises `ScenarioError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"cannot be read: {_reason(error)}. {A_SCENARIO}") from error
    return parse_scenario(text, path.parent)


def _reason(error: Exception) -> str:
    """Why a file cannot be read."""
    return "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", str(error))


def parse_scenario(text: str, folder: Path) -> Scenario:
    """The scenario of a text; file names in it are relative to `folder`. Raises `ScenarioError`."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ScenarioError(f"must be an object with name, manifests, gpus and demand. {A_SCENARIO}")
    try:
        spec = ScenarioSpec.model_validate(content)
    except ValidationError as error:
        raise ScenarioError("\n".join(_line(one) for one in error.errors(include_url=False))) from error
    return with_fleet(spec, folder)


def _line(error: Any) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if error["type"] == "missing":
        meaning, example = _described(error["loc"])
        return f"{path}: is required: {meaning}. Write it such as `{error['loc'][-1]}: {example}`"
    return f"{path or '(file)'}: {in_words(error)} (given: {shown(error['input'])})"


def _described(location: tuple[int | str, ...]) -> tuple[str, str]:
    """What a field of the scenario means, and how it may be written."""
    model: Any = ScenarioSpec
    meaning, example = "a value", "..."
    for part in location:
        fields = getattr(model, "model_fields", {})
        found = next((one for name, one in fields.items() if part in (name, one.alias)), None)
        if found is None:
            continue
        meaning, example = found.description or meaning, (found.examples or [example])[0]
        inner = [found.annotation, *getattr(found.annotation, "__args__", ())]
        model = next((one for one in inner if hasattr(one, "model_fields")), None)
    return meaning.rstrip("."), str(example)


def with_fleet(spec: ScenarioSpec, folder: Path) -> Scenario:
    """The scenario of a specification with the manifests that it names. Raises `ScenarioError`."""
    found: list[tuple[str, Any]] = [(f"objects[{index}]", one) for index, one in enumerate(spec.objects)]
    problems: list[str] = []
    for index, name in enumerate(spec.manifests):
        try:
            documents = list(yaml.safe_load_all((folder / name).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problems.append(
                f"manifests[{index}]: {name} cannot be read: {_reason(error)}. Correct the name or the file"
            )
            continue
        found += [(f"manifests[{index}] {name} #{number}", one) for number, one in enumerate(documents, 1) if one]
    pools: dict[str, ModelPoolSpec] = {}
    policies: dict[str, RoutingPolicySpec] = {}
    for where, item in found:
        try:
            _take(item, pools, policies)
        except SpecError as error:
            problems += [f"{where}: {one}" for one in error.problems]
        except (KeyError, TypeError, AttributeError):
            problems.append(f"{where}: must be an object with kind, metadata.name and spec")
    price_of = price_lookup(PRICES_AT)
    for key, pool in pools.items():
        problems += [f"ModelPool {key}: {one.message}" for one in pool_stalls(pool, spec.settings, price_of)]
    for key, policy in policies.items():
        problems += [f"RoutingPolicy {key}: {one.message}" for one in policy_stalls(key.split("/")[0], policy, pools)]
    problems += _wrong_names(spec, pools, policies)
    if problems:
        raise ScenarioError("\n".join(problems))
    prices = {key: price for key, pool in pools.items() if (price := price_of(pool)) is not None}
    return Scenario(spec, folder, pools, prices, policies)


def _take(item: Mapping[str, Any], pools: dict[str, ModelPoolSpec], policies: dict[str, RoutingPolicySpec]) -> None:
    kind, metadata = item["kind"], item["metadata"]
    key = f"{metadata.get('namespace') or 'default'}/{metadata['name']}"
    if kind == "ModelPool":
        pools[key] = parse_spec("ModelPool", item)
    elif kind == "RoutingPolicy":
        policies[key] = parse_spec("RoutingPolicy", item)


def _wrong_names(
    spec: ScenarioSpec, pools: Mapping[str, ModelPoolSpec], policies: Mapping[str, RoutingPolicySpec]
) -> list[str]:
    problems = []
    routes = sorted({route.name for policy in policies.values() for route in policy.routes})
    known = f"(there are: {', '.join(routes) or 'none'})"
    if not policies:
        problems.append("manifests: there is no RoutingPolicy in them: without routes nobody asks. Add one")
    problems += [
        f"demand.tiers[{index}].template: there is no route {tier.template} {known}"
        for index, tier in enumerate(spec.demand.tiers)
        if tier.template not in routes
    ]
    full = {f"{key}/{route.name}" for key, policy in policies.items() for route in policy.routes}
    problems += [
        f"demand.routes.{name}: no such route {known}"
        for name in spec.demand.routes
        if name not in routes and name not in full
    ]
    if not spec.demand.tiers and not spec.demand.routes:
        problems.append("demand: needs tiers or routes: without them no client of the file asks for anything")
    known_classes = ", ".join(sorted(spec.settings.gpu_classes))
    problems += [
        f"gpus[{index}].class: {one.class_} is no GPU class of the settings (there are: {known_classes})"
        for index, one in enumerate(spec.gpus)
        if one.class_ not in spec.settings.gpu_classes
    ]
    return problems + _wrong_perturbations(spec, pools)


def _wrong_perturbations(spec: ScenarioSpec, pools: Mapping[str, ModelPoolSpec]) -> list[str]:
    names, classes = {key.split("/", 1)[1] for key in pools}, {one.class_ for one in spec.gpus}
    problems = []
    for index, change in enumerate(spec.perturbations):
        if change.pool is not None and change.pool not in names:
            known = ", ".join(sorted(names))
            problems.append(f"perturbations[{index}].pool: there is no ModelPool {change.pool} (there are: {known})")
        if change.kind == "nodeLost" and change.class_ not in classes:
            problems.append(f"perturbations[{index}].class: must be one of {', '.join(sorted(classes))}")
    return problems
