"""Everything that is rendered, in full, as files that a person can read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from .cases import CASES


@pytest.mark.parametrize("name", CASES)
def test_rendered_objects_are_as_recorded(name: str, golden: Callable[[str, str], None]) -> None:
    objects = [readable(one) for one in CASES[name]()]

    golden(f"{name}.yaml", yaml.dump_all(objects, sort_keys=True, width=120, Dumper=Readable))


@pytest.mark.parametrize("name", CASES)
def test_rendering_twice_gives_the_same(name: str) -> None:
    assert CASES[name]() == CASES[name]()


def readable(one: dict[str, Any]) -> dict[str, Any]:
    """The object without the plugin's source and its digest, which change with every line of the plugin."""
    one = copy.deepcopy(one)
    if one["kind"] == "ConfigMap" and one["metadata"]["name"].endswith("-plugin"):
        one["data"] = dict.fromkeys(one["data"], "(source)")
    annotations = one.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations", {})
    if "comptroller.dev/plugin" in annotations:
        annotations["comptroller.dev/plugin"] = "(digest)"
    return one


class Readable(yaml.SafeDumper):
    """Texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _block)
