"""What docs/how-to/warm-up.md shows is what this version takes and says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from comptroller.api.honoured import not_honoured
from comptroller.api.parse import parse_spec
from comptroller.warmup import remedies

TEXT = (Path(__file__).parents[3] / "docs/how-to/warm-up.md").read_text()


def test_the_example_can_be_read_and_all_of_it_is_acted_upon() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    example = yaml.safe_load(block)
    assert parse_spec(example["kind"], example) is not None
    assert not_honoured(example["kind"], example["spec"]) == []


def test_every_remedy_has_its_row() -> None:
    rows = re.findall(r"^\| `([^`]+)`", TEXT, re.MULTILINE)
    said = [remedies.TOO_LONG, remedies.NOT_CACHED, remedies.PUSHED_OUT, remedies.NOT_TOLD, remedies.UNREACHABLE]
    said += [remedies.remedy_for(404, ""), remedies.remedy_for(401, "")]
    assert [text for text in said if not any(row in text for row in rows)] == []
