"""Writes what is generated: `python -m monitoring`. The folder is the repository's, from which it is run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from monitoring.alerts import prometheus_rule, rules
from monitoring.catalogue import catalogue, reference
from monitoring.dashboard import dashboard

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Generated from monitoring/alerts.py by `make generate`.\n"


def files() -> Mapping[str, str]:
    """Everything that is generated: path in the repository to content."""
    return {
        "docs/reference/metrics.md": reference(catalogue()),
        "monitoring/dashboard.json": json.dumps(dashboard(), indent=1) + "\n",
        "monitoring/rules.yaml": HEAD + _yaml(rules()),
        "monitoring/prometheusrule.yaml": HEAD + _yaml(prometheus_rule()),
    }


def _yaml(content: object) -> str:
    return yaml.safe_dump(content, sort_keys=False, width=200)


def main() -> int:
    """Writes all files."""
    for name, content in files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    sys.stdout.write(f"Wrote {', '.join(files())}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
