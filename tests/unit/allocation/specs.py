"""Builders of raw specs, as the auditor and the validation read them."""

from __future__ import annotations

from typing import Any

from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec


def local_spec(name: str = "qwen3-32b", **local: Any) -> ModelPoolSpec:
    """A local pool on the premises, in the EU."""
    return ModelPoolSpec.model_validate(
        {
            "model": {"name": name, "source": "hf://Qwen/Qwen3-32B"},
            "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
            "local": {
                "engine": {"name": "vllm"},
                "accelerator": {"class": "h100"},
                "replicas": {"min": 0, "max": 4},
                **local,
            },
        }
    )


def hosted_spec(
    name: str = "claude-sonnet-4-5", where: tuple[str, str] = ("US", "external"), **hosted: Any
) -> ModelPoolSpec:
    """A hosted pool outside, in the US."""
    return ModelPoolSpec.model_validate(
        {
            "model": {"name": name},
            "location": {"jurisdiction": where[0], "perimeter": where[1]},
            "hosted": {"provider": "anthropic", **hosted},
        }
    )


def policy_spec(*routes: dict[str, Any]) -> RoutingPolicySpec:
    """A policy of these routes."""
    return RoutingPolicySpec.model_validate({"routes": list(routes)})


def route_spec(name: str, *pools: str, **fields: Any) -> dict[str, Any]:
    """A route over the named pools."""
    return {"name": name, "backends": [{"pool": pool} for pool in pools], **fields}
