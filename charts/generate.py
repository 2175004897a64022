"""Writes what of the chart follows from other files: its schema and README from values.yaml, the kinds from crds/.

In values.yaml a comment that begins with `# --` above a key is its description; `# @enum a, b` lists its values. Types
follow from the defaults. `settings` has the schema of the operator's own settings.

Usage: python charts/generate.py
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from comptroller import __version__
from comptroller.api.settings import Settings

CHARTS = Path(__file__).resolve().parent
CHART = CHARTS / "comptroller"
CRDS = CHARTS.parent / "crds"
MONITORING = CHARTS.parent / "monitoring"


@dataclass(frozen=True)
class Value:
    """One value: its path such as `image.tag`, what it means, its default; `enum` its permitted values."""

    path: str
    default: Any
    description: str
    enum: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """JSON Schema's word."""
        for kind, word in ((bool, "boolean"), (int, "integer"), (str, "string"), (list, "array"), (dict, "object")):
            if isinstance(self.default, kind):
                return word
        raise ValueError(f"values.yaml: {self.path}: a default of {self.default!r} tells no type")


def values(text: str) -> list[Value]:
    """Every value of a values.yaml, in its order. Raises `ValueError` for one without a description."""
    return list(_values(yaml.compose(text), text.splitlines(), ""))


def _values(node: Any, lines: list[str], path: str) -> Iterator[Value]:
    for key, value in node.value:
        name = f"{path}{key.value}"
        comment = _comment(lines, key.start_mark.line)
        described = [line.removeprefix("-- ") for line in comment if not line.startswith("@")]
        if isinstance(value, yaml.MappingNode) and value.value and not comment:
            yield from _values(value, lines, f"{name}.")
            continue
        if not described:
            raise ValueError(f"values.yaml: {name}: has no description: write `# -- What it means.` above it")
        enum = next((line.removeprefix("@enum ") for line in comment if line.startswith("@enum ")), "")
        default = yaml.safe_load(yaml.serialize(value))
        yield Value(name, default, " ".join(described), tuple(one.strip() for one in enum.split(",") if one.strip()))


def _comment(lines: list[str], line: int) -> list[str]:
    """The comment right above a line, if it is a description."""
    found: list[str] = []
    while line > 0 and (match := re.match(r"\s*# ?(.*)", lines[line - 1])):
        found.insert(0, match[1].strip())
        line -= 1
    return found if found and found[0].startswith("-- ") else []


def schema(found: list[Value]) -> dict[str, Any]:
    """The JSON schema: unknown values are refused, so that a typing error does not silently become a default."""
    settings = Settings.model_json_schema(by_alias=True)
    definitions = settings.pop("$defs")
    definitions["GpuClass"].pop("required")  # a class that is built in may be changed in one field
    root: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart comptroller",
        "type": "object",
        "additionalProperties": False,
        # what a parent chart may pass down
        "properties": {"global": {"type": "object"}, "enabled": {"type": "boolean"}},
        "definitions": _draft_07(definitions),
    }
    for one in found:
        place, parts = root, one.path.split(".")
        for part in parts[:-1]:
            empty = {"type": "object", "additionalProperties": False, "properties": {}}
            place = place["properties"].setdefault(part, empty)
        entry: dict[str, Any] = {"type": one.type, "description": one.description}
        if one.enum:
            entry["enum"] = list(one.enum)
        if one.path == "settings":
            entry = {"description": one.description, **_draft_07(settings)}
        place["properties"][parts[-1]] = entry
    return root


def _draft_07(value: Any) -> Any:
    """Helm reads draft 7: definitions are called so, and a pattern that Go cannot read is left to the operator."""
    if isinstance(value, dict):
        kept = {key: _draft_07(one) for key, one in value.items() if not (key == "pattern" and "(?!" in str(one))}
        if isinstance(kept.get("$ref"), str):
            kept["$ref"] = kept["$ref"].replace("#/$defs/", "#/definitions/")
        return kept
    return [_draft_07(one) for one in value] if isinstance(value, list) else value


def readme(found: list[Value]) -> str:
    """README.md with the table of values."""
    rows = [f"| `{one.path}` | {one.type} | `{json.dumps(one.default)}` | {_cell(one)} |" for one in found]
    return "\n".join([INTRODUCTION.strip(), "", "| value | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _cell(one: Value) -> str:
    permitted = f" One of {', '.join(one.enum)}." if one.enum else ""
    return (one.description + permitted).replace("|", "\\|")


INTRODUCTION = """
<!-- Written by charts/generate.py from values.yaml; do not edit. -->
# Chart comptroller

Installs the operator and its kinds ModelPool, RoutingPolicy and CacheWarmup. Needs Kubernetes 1.33 or newer and a
Prometheus.

```sh
helm install comptroller charts/comptroller --namespace comptroller-system --create-namespace \\
  --set settings.prometheus.url=http://prometheus.monitoring.svc:9090
helm test comptroller --namespace comptroller-system
```

- **Upgrade**: `helm upgrade` also upgrades the kinds (`crds.enabled`). It restarts no pod of a pool.
- **Uninstall**: `helm uninstall` leaves the kinds, your objects and all that serves in place (`crds.keep`); pools and
  routers go on as they are, without anybody who decides anew.
- **One namespace only**: `--set watchNamespaces='{inference}'` gives the operator Roles there instead of a ClusterRole.
  Nodes, namespaces and the definitions of the kinds it still lists: they have no namespace.
- **Air-gapped**: `image.repository`, `router.image` and the images of your pools come from your mirror; prices come
  from the package that is part of the image, or from `spec.hosted.prices`. Nothing is fetched.
- **Two pods**: one holds the Lease and writes, the other sees and learns the same and takes over: within 3 seconds when
  the first is told to stop, within 20 when it or its node is lost. Whoever cannot renew the Lease for 10 seconds writes
  nothing more, and the Lease lasts 15 (`settings.leaderElection`). `comptroller_leader` and
  `kubectl get lease -n comptroller-system` tell who leads; the page and `/ledger` are the leader's.
- **Rights**: the operator reads no Secret and writes no spec of yours; `files/rules.yaml` lists all that it may, and in
  its own namespace it may write the one Lease.

## Values
"""


def versioned(text: str) -> str:
    """Chart.yaml with the version of the package."""
    text = re.sub(r"(?m)^(version|appVersion): .*$", rf"\1: {__version__}", text)
    return re.sub(r"(comptroller/comptroller:)\S+", rf"\g<1>{__version__}", text)


WATCHING = {"rules.yaml": "alerts.yaml", "dashboard.json": "dashboard.json"}
"""File of monitoring/ -> file of the chart."""


def written() -> dict[Path, str]:
    """Every generated file with its text."""
    found = values((CHART / "values.yaml").read_text(encoding="utf-8"))
    files = {
        CHART / "values.schema.json": json.dumps(schema(found), indent=1) + "\n",
        CHART / "README.md": readme(found),
        CHART / "Chart.yaml": versioned((CHART / "Chart.yaml").read_text(encoding="utf-8")),
    }
    crds = {CHART / "files" / "crds" / path.name: path.read_text(encoding="utf-8") for path in CRDS.glob("*.yaml")}
    watching = {CHART / "files" / to: (MONITORING / name).read_text(encoding="utf-8") for name, to in WATCHING.items()}
    return files | crds | watching


def main() -> None:
    """Writes them."""
    shutil.rmtree(CHART / "files" / "crds", ignore_errors=True)
    files = written()
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
