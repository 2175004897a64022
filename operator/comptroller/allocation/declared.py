"""What is declared: the speed of a pool, until it has been measured, and the rules of the settings."""

from __future__ import annotations

from comptroller.allocation.snapshot import Profile, Rules
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.settings import GpuClass, LoopSettings


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
