"""A fleet as the API server shows it: a local pool that grows, a hosted pool, a policy with a restricted route."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def condition(kind: str, status: str, reason: str, message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def local_pool(**status: Any) -> Object:
    message = (
        "2 -> 4: 31.4 rps of extraction and planning need 3.4 replicas to keep first token under 800 ms (p95); "
        "2 of 4 are ready."
    )
    return {
        "kind": "ModelPool",
        "metadata": {"namespace": "inference", "name": "qwen3-32b-h100", "creationTimestamp": "2026-02-28T14:05:00Z"},
        "spec": {
            "model": {"name": "qwen3-32b"},
            "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
            "local": {"accelerator": {"class": "h100"}, "startupSeconds": 180},
        },
        "status": {
            "modelClass": "h100",
            "summary": {"want": "4", "ready": "2", "warm": "2", "utilisation": "93%", "usdPerMillionTokens": "0.19"},
            "replicas": {"desired": 4, "ready": 2, "warm": 2, "starting": 2},
            "allocation": {
                "desired": 4,
                "previous": 2,
                "since": "2026-03-02T14:02:30Z",
                "reason": "ScalingUp",
                "message": message,
                "bridge": {
                    "readyAt": "2026-03-02T14:05:22Z",
                    "requestsPerSecond": "9.1",
                    "usdPerHour": "11.2",
                    "pools": ["claude-sonnet"],
                },
                "alternatives": [
                    {
                        "name": "all hosted",
                        "usdPerHour": "226",
                        "moreUsdPerHour": "212",
                        "unansweredRequestsPerSecond": "2.2",
                    },
                    {
                        "name": "previous plan",
                        "usdPerHour": "43.7",
                        "moreUsdPerHour": "29.6",
                        "unansweredRequestsPerSecond": "0",
                    },
                ],
            },
            "economics": {
                "usdPerHour": "2.9",
                "shadowPriceUsdPerGpuHour": "3.1",
                "owningUsdPerGpuHour": "1.13",
                "paybackDays": "515",
            },
            "startupSeconds": 160,
            "conditions": [
                condition("Ready", "False", "ScalingUp", message),
                condition("Stalled", "False", "Converged"),
                condition("MetricsAvailable", "True", "Available"),
            ],
            **status,
        },
    }


def hosted_pool() -> Object:
    message = "Carries 9.1 rps at $11.20/h until 2 more replicas are ready."
    return {
        "kind": "ModelPool",
        "metadata": {"namespace": "inference", "name": "claude-sonnet", "creationTimestamp": "2026-02-28T14:05:00Z"},
        "spec": {
            "model": {"name": "claude-sonnet-4-5"},
            "location": {"jurisdiction": "US", "perimeter": "external"},
            "hosted": {"provider": "anthropic"},
        },
        "status": {
            "modelClass": "hosted",
            "summary": {"want": "-", "ready": "-", "warm": "-", "utilisation": "-", "usdPerMillionTokens": "5.20"},
            "allocation": {"reason": "SpillWhileStarting", "message": message, "requestsPerSecond": "9.1"},
            "economics": {"usdPerHour": "11.2", "usdPerMillionTokens": "5.2"},
            "conditions": [condition("Ready", "True", "SpillWhileStarting", message)],
        },
    }


def policy(**status: Any) -> Object:
    return {
        "kind": "RoutingPolicy",
        "metadata": {"namespace": "inference", "name": "research", "creationTimestamp": "2026-02-28T14:05:00Z"},
        "spec": {
            "routes": [
                {"name": "extraction", "backends": [{"pool": "qwen3-32b-h100"}, {"pool": "claude-sonnet"}]},
                {
                    "name": "deal-review",
                    "backends": [{"pool": "qwen3-32b-h100"}, {"pool": "claude-sonnet"}],
                    "data": {"classification": "restricted", "perimeters": ["onPremises"]},
                },
            ]
        },
        "status": {
            "totals": {
                "routes": 2,
                "requestsPerSecond": "33.6",
                "inside": "73%",
                "spill": "27%",
                "slo": "99%",
                "usdPerHour": "14.10",
                "usdPerTask": "0.0021",
                "saved": "83%",
            },
            "routes": [
                {
                    "name": "extraction",
                    "requestsPerSecond": "31.4",
                    "shares": [{"pool": "qwen3-32b-h100", "share": "0.71"}, {"pool": "claude-sonnet", "share": "0.29"}],
                    "message": "31.4 rps: 71% on qwen3-32b-h100, 29% on claude-sonnet, $11.20/h; the spill ends when "
                    "the starting replicas are ready.",
                },
                {
                    "name": "deal-review",
                    "classification": "restricted",
                    "requestsPerSecond": "2.2",
                    "shares": [{"pool": "qwen3-32b-h100", "share": "1"}],
                    "message": "2.2 rps: 100% on qwen3-32b-h100, $0.02/h.",
                },
            ],
            "decisions": [
                {
                    "id": "118",
                    "at": "2026-03-02T14:02:30Z",
                    "message": "qwen3-32b-h100: 2 -> 4: 31.4 rps of extraction and planning need 3.4 replicas.",
                    "rung": "milp",
                    "inputs": "9f86d081884c7d65",
                    "usdPerHour": "14.1",
                    "realisedUsdPerHour": "14.6",
                },
                {"id": "97", "at": "2026-03-01T22:10:00Z", "message": "qwen3-8b: 3 -> 2: 1.1 rps need 0.4 replicas."},
            ],
            "conditions": [condition("Ready", "True", "Routed", "2 routes are answered; 73% inside.")],
            **status,
        },
    }
