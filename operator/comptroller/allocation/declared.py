"""What is declared: the speed of a pool until it is measured, a policy's routes, the rules of the settings."""

from __future__ import annotations

from typing import NamedTuple

from comptroller.allocation.snapshot import BackendRule, Demand, Profile, Route, Rules
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import Backend
from comptroller.api.routingpolicy import Route as RouteSpec
from comptroller.api.settings import DefaultsSettings, GpuClass, LoopSettings


def profile_of(spec: ModelPoolSpec, gpu: GpuClass) -> Profile:
    """The declared profile, or the class's default scaled to the model's size over the replica's GPUs.

    The class's default is that of an 8-billion-parameter model on one GPU; decoding is bound by reading the weights, so
    time grows with parameters per GPU: 32.8 billion on two GPUs take 16.4 / 8 = 2.05 times as long.
    """
    local = spec.local
    assert local is not None  # noqa: S101 - only local pools have a profile
    if (declared := local.performance) is not None:
        return Profile(
            float(declared.alpha_ms),
            float(declared.beta_ms),
            float(declared.gamma_ms),
            declared.max_concurrency,
            "declared",
            root_ms=float(declared.root_ms or 0),
        )
    billions = float(spec.model.parameters_billions or 8)
    factor = max(0.1, billions / 8 / max(1, local.accelerator.count))
    return Profile(gpu.alpha_ms * factor, gpu.beta_ms * factor, gpu.gamma_ms * factor, gpu.max_concurrency, "default")


class Objective(NamedTuple):
    """How fast a route's answers must be, for which share of its requests."""

    time_to_first_token_ms: float
    time_per_output_token_ms: float
    percentile: float  # 0.95, not 95


def objective_of(spec: RouteSpec, defaults: DefaultsSettings) -> Objective:
    """The route's own objective; what it leaves open is the settings' default, for 95 % of the requests."""
    slo = spec.slo
    return Objective(
        float((slo and slo.time_to_first_token_ms) or defaults.time_to_first_token_ms),
        float((slo and slo.time_per_output_token_ms) or defaults.time_per_output_token_ms),
        (slo.percentile if slo else 95) / 100,
    )


def pass_rate_of(backend: Backend) -> float:
    """The share of tasks that a backend is declared to solve: all of them where nothing is declared, none for "0"."""
    return 1.0 if backend.pass_rate is None else float(backend.pass_rate)


def route_of(policy: str, spec: RouteSpec, defaults: DefaultsSettings, demand: Demand) -> Route:
    """A route as its policy (`namespace/name`) declares it, with this demand. It names all of its backends, also those
    that do not exist."""
    namespace, _ = policy.split("/", 1)
    value, data, quality = spec.value, spec.data, spec.quality
    solved_usd = value.usd_per_solved_task if value else None
    second_usd = value.usd_per_second if value else None
    objective = objective_of(spec, defaults)
    return Route(
        key=f"{policy}/{spec.name}",
        name=spec.name,
        policy=policy,
        backends=tuple(BackendRule(f"{namespace}/{one.pool}", pass_rate_of(one)) for one in spec.backends),
        demand=demand,
        time_to_first_token_ms=objective.time_to_first_token_ms,
        time_per_output_token_ms=objective.time_per_output_token_ms,
        percentile=objective.percentile,
        minimum_pass_rate=float(quality.minimum_pass_rate) if quality else 0.0,
        usd_per_solved_task=None if solved_usd is None else float(solved_usd),
        usd_per_second=0.0 if second_usd is None else float(second_usd),
        jurisdictions=tuple(data.jurisdictions) if data else (),
        perimeters=tuple(one.value for one in data.perimeters) if data else (),
        priority=spec.priority,
        on_overload=spec.on_overload,
    )


def rules_of(loop: LoopSettings) -> Rules:
    """How quickly decisions may change, as the settings say."""
    return Rules(
        scale_down_delay_seconds=loop.scale_down_delay_seconds,
        longest_scale_down_delay_seconds=loop.longest_scale_down_delay_seconds,
        transfer_delay_seconds=loop.transfer_delay_seconds,
        horizon_seconds=loop.horizon_seconds,
        node_losses_per_year=loop.node_losses_per_year,
        improvement_threshold=loop.improvement_threshold,
        maximum_step_up=loop.maximum_step_up,
        solver_time_limit_seconds=loop.solver_time_limit_seconds,
    )
