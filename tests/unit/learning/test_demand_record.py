"""Recorded demand as a file: what is written is read back, and a broken line is named."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.learning.demand_record import RouteWindow, as_csv, from_csv

START = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
NAMES = st.text("abcdefgh-0123456789", min_size=1, max_size=8)


@given(
    st.lists(
        st.builds(
            RouteWindow,
            st.integers(0, 1000).map(lambda number: START + 300.0 * number),
            NAMES.map(lambda name: f"ai/{name}"),
            NAMES,
            st.floats(0, 1e4),
            st.floats(1, 1e6),
            st.floats(1, 1e6),
            st.floats(0, 1),
        ),
        max_size=20,
    )
)
def test_what_is_written_is_read_back(rows: list[RouteWindow]) -> None:
    found = from_csv(as_csv(rows))
    assert sorted((one.start_seconds, one.policy, one.route) for one in found) == sorted(
        (one.start_seconds, one.policy, one.route) for one in rows
    )
    assert sum(one.requests_per_second for one in found) == pytest.approx(
        sum(one.requests_per_second for one in rows), rel=1e-5
    )


def test_a_broken_line_is_named() -> None:
    text = as_csv([RouteWindow(START, "ai/desk", "chat", 1.0, 1000.0, 250.0)]) + "yesterday,ai/desk,chat,1,1,1,0\n"
    with pytest.raises(ValueError, match="line 3: "):
        from_csv(text)
