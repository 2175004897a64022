"""The measured times per output token of tests/data/silicon, by group."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from comptroller.learning.speed_fit import SpeedPoint, merged

FILE = Path(__file__).parents[2] / "data" / "silicon" / "times_per_output_token.csv.gz"
KEY = ("gpu", "model", "engine", "precision", "tp", "pp", "attention_dp", "moe_tp", "moe_ep")
DENSE_MODELS = ("Llama-3.1-8B", "Llama-3.1-70B", "Qwen3-32B")

Group = tuple[str, ...]


def measured_groups(at_least: int = 8) -> dict[Group, list[SpeedPoint]]:
    """The points of every group that has enough of them, of at least three batch sizes."""
    groups: dict[Group, list[SpeedPoint]] = {}
    with gzip.open(FILE, "rt", newline="") as text:
        for row in csv.DictReader(text):
            point = SpeedPoint(
                float(row["batch"]), float(row["input_tokens"]), float(row["output_tokens"]), float(row["per_token_ms"])
            )
            groups.setdefault(tuple(row[name] for name in KEY), []).append(point)
    result = {group: merged(points) for group, points in groups.items()}
    return {
        group: points
        for group, points in result.items()
        if len(points) >= at_least and len({one.batch for one in points}) >= 3
    }


def is_dense_on_hopper(group: Group) -> bool:
    """Llama 3.1 and Qwen3-32B on H100 or H200; the other models there are mixtures of experts."""
    return group[0] in ("h100_sxm", "h200_sxm") and any(name in group[1] for name in DENSE_MODELS)
