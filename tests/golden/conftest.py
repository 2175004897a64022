"""Golden files: `pytest tests/golden --record` writes them anew; look at the diff before you commit it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "objects"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", default=False, help="write the golden files anew")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with a golden file, or writes it."""

    def compare(name: str, text: str) -> None:
        path = FOLDER / name
        if request.config.getoption("--record", default=False):
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} does not exist: run pytest tests/golden --record"
        assert path.read_text(encoding="utf-8") == text, (
            f"{path} differs: pytest tests/golden --record, and read the diff"
        )

    return compare
