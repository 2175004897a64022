"""What the demo replays: the stretch of the trace, and how its clients become the quickstart's routes."""

from __future__ import annotations

from pathlib import Path

from e2e.demo.trace import RouteShape, Stretch

TRACE = Path(__file__).resolve().parents[1] / "data" / "servegen" / "m-large-day9.csv"

# Day 9, 18:00 to 20:20: in the fourth window a batch client trebles the load, pauses for one, and ends after seven.
STRETCH = Stretch(first_window=1404, windows=14, window_seconds=14.0, peak_requests_per_second=7.0)

# A word that only prompts of the restricted route carry. The hosted APIs look for it in everything they receive.
CANARY = "CANARY-ON-PREMISES-ONLY"

PREFIX = "compliance.md"  # the text that the CacheWarmup sends ahead

ROUTES = (
    RouteShape("extraction", None, question_tokens=120, answer_tokens=45),
    RouteShape("planning", (7, 157, 116, 61, 127, 62, 78), question_tokens=160, answer_tokens=60, prefix=PREFIX),
    RouteShape(
        "deal-review", (112, 148, 88, 104), question_tokens=140, answer_tokens=50, prefix=PREFIX, restricted=True
    ),
    RouteShape("formatting", (142, 21), question_tokens=40, answer_tokens=24),
)
