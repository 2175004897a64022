"""Shows what a change of policies would do: dollars, replicas, spill and objectives, before and after.

Replays recorded demand against both versions with the operator's own decision, in virtual time. Nothing is applied.
Exit codes: 0 nothing changes, 2 something changes, 1 error.

Example: comptroller plan -f policies/ --against main/policies/ --history demand.csv --gpus h100=8 -o markdown
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.api.kinds import KINDS
from comptroller.api.parse import SpecError, parse_spec
from comptroller.api.settings import Settings, SettingsError, load_settings
from comptroller.cli.cluster import ClusterError, ask, fetch
from comptroller.cli.files import FileError, check_place, read_text, write_text
from comptroller.cli.report import QUERY_SECONDS, WrongUseError, span
from comptroller.kube.login import LoginError
from comptroller.kube.resources import MODEL_POOL, NODE, POD, ROUTING_POLICY
from comptroller.kube.store import ClusterStore
from comptroller.learning.demand_record import as_csv
from comptroller.observe.demand_history import demand_history
from comptroller.observe.inventory import gpu_inventory, gpus_per_node
from comptroller.observe.prometheus import PrometheusSource
from comptroller.report.plan_words import PlanReport, as_json, as_markdown, as_text, changes_of
from comptroller.runtime.clock import now_seconds
from comptroller.sim.formats.routes import parse
from comptroller.sim.plan import PlanOptions, Side, replayed, routes_of, staged
from comptroller.sim.scenario import Gpus, ScenarioError
from comptroller.sim.trace import Trace, TraceError

LIVE = "live"
REPLAYED = ("ModelPool", "RoutingPolicy")
NOTHING, FAILED, CHANGED = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("-f", "--file", action="append", metavar="DIR|FILE|-", help="the proposed manifests")
    parser.add_argument("--against", default=LIVE, metavar="live|DIR|FILE", help="what is there now (default: live)")
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="of manifests that name none (default: default)")
    parser.add_argument("--history", type=Path, metavar="FILE", help="recorded demand; default: from Prometheus")
    parser.add_argument("--record", type=Path, metavar="FILE", help="keep the demand from Prometheus in this file")
    parser.add_argument("--prometheus", metavar="URL", default=os.environ.get("PROMETHEUS_URL"),
                        help="its address as seen from here; default: the variable PROMETHEUS_URL")  # fmt: skip
    parser.add_argument("--since", metavar="24h", help="how much history: 6h, 24h, 7d (default: 24h)")
    parser.add_argument("--from", dest="start", metavar="TIME", help="instead of --since")
    parser.add_argument("--to", dest="end", metavar="TIME", help="default: now")
    parser.add_argument("--gpus", metavar="CLASS=COUNT,...", help="GPUs, such as h100=8; default: the cluster's")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="the operator's settings")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each version (default: 3)")
    parser.add_argument("--tick", type=float, default=60.0, metavar="S", help="seconds between decisions (default: 60)")
    parser.add_argument("-o", "--output", choices=("text", "markdown", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    """Plans; 0 nothing changes, 2 something changes, 1 error."""
    try:
        report = _report(options)
    except (WrongUseError, ScenarioError, TraceError, SettingsError, FileError, ClusterError, LoginError) as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return FAILED
    if report is None:
        return NOTHING
    if options.output == "json":
        print(json.dumps(as_json(report), indent=2))
    else:
        print(as_markdown(report) if options.output == "markdown" else as_text(report))
    return CHANGED if report.changes else NOTHING


def _report(options: argparse.Namespace) -> PlanReport | None:
    settings = _settings(options.settings)
    if options.record is not None:
        check_place(options.record)
    if not options.file:
        if options.record is None:
            raise WrongUseError("what is proposed? Write -f DIR, or -f - to read manifests from the standard input")
        _history(options, settings)  # only record
        return None
    proposed = [one for name in options.file for one in manifests(name, options.namespace or "default")]
    today = _live() if options.against == LIVE else manifests(options.against, options.namespace or "default")
    changes = changes_of(today, proposed)
    if not changes:
        return PlanReport("", (), None, None)
    trace = _history(options, settings)
    planned = PlanOptions(_gpus(options, settings), settings, range(1, options.seeds + 1), options.tick)
    stages = {side.name: staged(side, trace, planned) for side in (Side("today", today), Side("proposed", proposed))}
    recorded = {f"{one.trace}/{one.client}" for one in trace.clients}
    hours = (trace.end_seconds - trace.start_seconds) / 3600.0
    with _progress() as progress:
        found: dict[str, Any] = {}
        for name, stage in stages.items():
            task = progress.add_task(name, total=hours * 3600.0 * options.seeds)
            found[name] = None if stage is None else replayed(
                stage, lambda _, seconds, task=task: progress.update(task, advance=seconds)  # type: ignore[misc]
            )  # fmt: skip
    return PlanReport(
        f"{hours:.0f} h of demand, {options.seeds} seed{'s' if options.seeds > 1 else ''}, "
        f"a decision every {options.tick:g} s",
        changes,
        found["today"],
        found["proposed"],
        sorted(routes_of(proposed) - recorded),
        sorted((recorded & routes_of(today)) - routes_of(proposed)),
        () if all(stages.values()) else ("a version of which no route has recorded demand was not replayed.",),
    )


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def manifests(name: str, namespace: str) -> list[dict[str, Any]]:
    """The pools and policies of a folder, a file or (`-`) the standard input. Raises `WrongUseError` for what the
    operator would refuse, with file, number and field."""
    if name == "-":
        return read_objects("standard input", sys.stdin.read(), namespace)
    path = Path(name)
    files = sorted(one for one in path.rglob("*") if one.suffix in (".yaml", ".yml")) if path.is_dir() else [path]
    otherwise = "Name a folder or file of manifests, or - for the standard input."
    return [one for file in files for one in read_objects(str(file), read_text(file, otherwise), namespace)]


def read_objects(where: str, text: str, namespace: str) -> list[dict[str, Any]]:
    """The pools and policies of a text with several documents; lists are opened, other kinds left out."""
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise WrongUseError(f"{where}: not valid YAML: {error}") from error
    found = []
    for number, document in enumerate(documents, 1):
        items = (document.get("items") or [document]) if isinstance(document, Mapping) else []
        for item in items:
            if not isinstance(item, Mapping) or item.get("kind") not in KINDS:
                continue
            metadata = item.get("metadata") or {}
            try:
                parse_spec(str(item["kind"]), item)
            except SpecError as error:
                raise WrongUseError(f"{where}, document {number}: {error}") from error
            if item["kind"] in REPLAYED:
                found.append({**item, "metadata": {**metadata, "namespace": metadata.get("namespace") or namespace}})
    return found


def _live() -> list[dict[str, Any]]:
    pools, policies = ask(lambda client: fetch(client, None, MODEL_POOL, ROUTING_POLICY))
    kinds = ((MODEL_POOL.kind, pools), (ROUTING_POLICY.kind, policies))
    found = [{**one, "kind": kind} for kind, items in kinds for one in items]
    return [one for one in found if _readable(one)]


def _readable(item: Mapping[str, Any]) -> bool:
    """An object that the operator cannot read does nothing today either."""
    try:
        parse_spec(str(item["kind"]), item)
    except SpecError:
        return False
    return True


def _gpus(options: argparse.Namespace, settings: Settings) -> list[Gpus]:
    if options.gpus:
        return counted(options.gpus, settings)
    nodes, pods, pools = ask(lambda client: fetch(client, None, NODE, POD, MODEL_POOL))
    store = ClusterStore()
    for resource, items in ((NODE, nodes), (POD, pods)):
        for item in items:
            store.upsert(resource, item)
    keys = {f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in pools}
    found, each = gpu_inventory(store, settings.gpu_classes, keys), gpus_per_node(store, settings.gpu_classes)
    there = [(key, one) for key, one in found.items() if isinstance(one, Sample)]
    if not there:
        raise WrongUseError("the cluster shows no node: say which GPUs there are, such as --gpus h100=8,rtx4090=16")
    return [_group(key[0], round(one.value), round(each.get(key, 1.0))) for key, one in there]


def counted(text: str, settings: Settings) -> list[Gpus]:
    """`h100=8,rtx4090=16`. Raises `WrongUseError`."""
    found = []
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in settings.gpu_classes or not number.isdecimal():
            known = ", ".join(sorted(settings.gpu_classes))
            raise WrongUseError(f"--gpus {text}: write CLASS=COUNT, such as h100=8 (classes: {known})")
        found.append(_group(name, int(number), 8))
    return found


def _group(name: str, count: int, per_node: int) -> Gpus:
    return Gpus.model_validate({"class": name, "count": count, "perNode": max(1, per_node)})


def _history(options: argparse.Namespace, settings: Settings) -> Trace:
    if options.history is not None:
        return parse(read_text(options.history, "Record one with `comptroller plan --record FILE --prometheus URL`."))
    if not options.prometheus:
        raise WrongUseError(
            "which demand is replayed? Write --history FILE, or --prometheus URL (from outside the cluster first "
            "`kubectl port-forward -n monitoring svc/prometheus 9090`, then --prometheus http://localhost:9090)"
        )
    start, end = span(options, now_seconds())
    usual = float(settings.defaults.input_tokens), float(settings.defaults.output_tokens)
    rows = asyncio.run(_asked(options.prometheus, settings, start, end, usual))
    if isinstance(rows, Unknown):
        raise WrongUseError(f"{rows.reason}. Is --prometheus {options.prometheus} its address from here?")
    if not rows:
        raise WrongUseError("Prometheus has no arrivals in that time: choose another with --since, or give --history")
    text = as_csv(rows)
    if options.record is not None:
        write_text(options.record, text)
    return parse(text)


async def _asked(
    url: str, settings: Settings, start: float, end: float, usual: tuple[float, float]
) -> Sequence[Any] | Unknown:
    source = PrometheusSource(settings.prometheus.model_copy(update={"url": url, "timeout_seconds": QUERY_SECONDS}))
    try:
        return await demand_history(source, start, end, usual)
    finally:
        source.close()


def _settings(path: Path | None) -> Settings:
    if path is None:
        return Settings()
    return load_settings(read_text(path, "Name the file that the operator has, or leave --settings out."))
