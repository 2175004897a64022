"""Every metric with its type, labels and meaning, from the registries themselves, and as a page of the reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from comptroller.router_plugin import metrics, watching_metrics
from comptroller.runtime.metrics import Metrics
from comptroller.runtime.object_metrics import ObjectMetrics

WHOSE = {
    "operator": "The operator tells them at `/metrics` of its port.",
    "router": "Each router pod tells them at `/metrics/`. They are counted per process: sum them over pods.",
}
PLUGIN = (metrics, watching_metrics)
"""The modules of the plugin that define metrics."""
NAME = re.compile(r"\bcomptroller_[a-z0-9_]+\b")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` is the one that is queried: a counter's ends in `_total`."""

    name: str
    type: str  # counter, gauge or histogram
    labels: tuple[str, ...]
    meaning: str
    whose: str  # operator or router

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series: a histogram has three."""
        if self.type == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


class _Listing(CollectorRegistry):
    """A registry that tells what was registered."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[MetricWrapperBase] = []

    def register(self, collector: Collector) -> None:
        """Takes a collector and remembers it."""
        super().register(collector)
        if isinstance(collector, MetricWrapperBase):
            self.listed.append(collector)


def catalogue() -> tuple[Metric, ...]:
    """All of them, by name."""
    registry = _Listing()
    Metrics(registry)
    ObjectMetrics(registry)
    found = [_metric(one, "operator") for one in registry.listed]
    told = {id(one): one for module in PLUGIN for one in vars(module).values() if isinstance(one, MetricWrapperBase)}
    found += [_metric(one, "router") for one in told.values()]
    return tuple(sorted(found, key=lambda one: one.name))


def _metric(collector: MetricWrapperBase, whose: str) -> Metric:
    (described,) = collector.describe()
    name = f"{described.name}_total" if described.type == "counter" else described.name
    return Metric(name, described.type, tuple(collector._labelnames), described.documentation, whose)


def series() -> Mapping[str, Metric]:
    """The metric behind each name that a query may use."""
    return {name: one for one in catalogue() for name in one.series}


def used_in(expression: str) -> tuple[str, ...]:
    """The names of this product that an expression asks for.

    >>> used_in('sum(rate(comptroller_decisions_total[5m])) / time()')
    ('comptroller_decisions_total',)
    """
    return tuple(dict.fromkeys(NAME.findall(expression)))


def reference(known: Iterable[Metric]) -> str:
    """The page in Markdown."""
    described = list(known)
    lines = [
        "# Metrics",
        "",
        "<!-- Generated from the registries by `make generate`. -->",
        "",
        "Labels hold names from the configuration, never from requests: the number of series is bounded. `policy` is",
        "namespace/name, and so is `pool`, but where `namespace` stands beside it. Money is in US dollars and says its",
        "basis.",
    ]
    for whose, where in WHOSE.items():
        lines += ["", f"## Of the {whose}", "", where, "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        for one in described:
            if one.whose == whose:
                labels = ", ".join(f"`{label}`" for label in one.labels) or "none"
                lines.append(f"| `{one.name}` | {one.type} | {labels} | {one.meaning} |")
    return "\n".join(lines) + "\n"
