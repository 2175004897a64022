"""The time between requests that begin alike."""

from __future__ import annotations

from comptroller.router_plugin.prefixes import NEVER_SECONDS, Prefixes


def test_the_gap_is_told_for_each_route_and_prefix() -> None:
    told: list[tuple[str, float]] = []
    prefixes = Prefixes(lambda route, gap: told.append((route, gap)))

    for route, prefix, at in (
        ("a", b"x", 0.0),
        ("a", b"x", 30.0),
        ("b", b"x", 31.0),
        ("a", b"y", 40.0),
        ("a", b"x", 90.0),
    ):
        prefixes.arrived(route, prefix, at)
    prefixes.arrived("a", None, 100.0)

    assert told == [("a", NEVER_SECONDS), ("a", 30.0), ("b", NEVER_SECONDS), ("a", NEVER_SECONDS), ("a", 60.0)]


def test_the_one_that_was_used_longest_ago_is_forgotten() -> None:
    told: list[float] = []
    prefixes = Prefixes(lambda _, gap: told.append(gap), most=2)

    for at, prefix in enumerate((b"x", b"y", b"x", b"z", b"x", b"y")):
        prefixes.arrived("a", prefix, float(at))

    assert told == [NEVER_SECONDS, NEVER_SECONDS, 2.0, NEVER_SECONDS, 2.0, NEVER_SECONDS]
