"""Shows the whole fleet on one screen: pools, policies, warm-ups, GPU classes, what it costs, the last decisions.

With --watch it goes on until Ctrl-C. Free GPUs are counted where you may list nodes and pods of all namespaces.
Exit codes: 0 shown, 1 the cluster cannot be read, 2 wrong use.

Example: comptroller status -A --watch
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comptroller.api.settings import GpuClass, Settings, SettingsError, load_settings
from comptroller.cli.cluster import ClusterError, ask, bold, faint, fetch, fetch_all
from comptroller.cli.files import FileError, read_text
from comptroller.kube.client import KubeClient, KubeError
from comptroller.kube.login import LoginError, current_namespace
from comptroller.kube.resources import NODE, OWNED_BY_USERS, POD, KubeDict
from comptroller.kube.store import ClusterStore
from comptroller.observe.node_map import node_map
from comptroller.report.fleet import table, totals, totals_text
from comptroller.report.gpus import Nodes, decision_lines, gpu_rows, gpu_table, latest_decisions
from comptroller.runtime.clock import monotonic_seconds, now_datetime

WATCH_SECONDS = 5.0
NODES_SECONDS = 30.0  # all pods of a cluster are a long list: with --watch they are asked for less often
DECISIONS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", metavar="NAMESPACE", help="default: that of the current context")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument(
        "-w", "--watch", nargs="?", type=_seconds, const=WATCH_SECONDS, metavar="SECONDS",
        help="show it anew every so many seconds (default: 5) until Ctrl-C; with -o json one line each time",
    )  # fmt: skip
    parser.add_argument("--settings", type=Path, metavar="FILE", help="the operator's settings, for its GPU classes")


def run(options: argparse.Namespace) -> int:
    """Prints the screen, once or until Ctrl-C; 1 when the cluster cannot be read."""
    try:
        namespace = None if options.all_namespaces else options.namespace or current_namespace()
        screen = Screen(namespace, _classes(options.settings))
        if options.watch is None:
            found = ask(screen.read)
            print(json.dumps(found.data, indent=2) if options.output == "json" else "\n".join(screen.lines(found)))
        else:
            ask(lambda client: _watch(client, screen, options.watch, options.output))
    except KeyboardInterrupt:
        return 0
    except (FileError, SettingsError) as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return 2
    except (ClusterError, LoginError) as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class Found:
    """What was read: the objects by kind, and the same with sums as data."""

    items: Sequence[Sequence[KubeDict]]
    data: Mapping[str, Any]


@dataclass(slots=True)
class Screen:
    """Reads a namespace (None: all) and lays it out."""

    namespace: str | None
    classes: Mapping[str, GpuClass]
    _nodes: dict[str, Nodes] | None = None
    _nodes_seconds: float | None = None

    async def read(self, client: KubeClient) -> Found:
        """Everything that is shown. Raises `KubeError`."""
        items = await fetch_all(client, self.namespace)
        if self._nodes_seconds is None or monotonic_seconds() - self._nodes_seconds >= NODES_SECONDS:
            self._nodes, self._nodes_seconds = await self._read_nodes(client), monotonic_seconds()
        pools, policies, _ = items
        shown = {
            resource.plural: [
                {
                    "namespace": one["metadata"].get("namespace"),
                    "name": one["metadata"]["name"],
                    "status": one.get("status") or {},
                }
                for one in of_kind
            ]
            for resource, of_kind in zip(OWNED_BY_USERS, items, strict=True)
        }
        data = {
            "at": now_datetime().isoformat(timespec="seconds").replace("+00:00", "Z"),
            "totals": totals(pools),
            "gpus": gpu_rows(pools, self._nodes),
            "decisions": latest_decisions(policies, DECISIONS),
            **shown,
        }
        return Found(items, data)

    async def _read_nodes(self, client: KubeClient) -> dict[str, Nodes] | None:
        """What the nodes of each class offer; None where one may not look."""
        try:
            nodes, pods = await fetch(client, None, NODE, POD)
        except KubeError as error:
            if error.status in (401, 403):
                return None
            raise
        store = ClusterStore()
        store.replace(NODE, nodes)
        store.replace(POD, pods)
        found = node_map(store, self.classes)
        return {
            name: Nodes(sum(one.gpus for one in rows if one.usable), sum(one.free for one in rows if one.usable))
            for name, rows in found.items()
        }

    def lines(self, found: Found, width: int | None = None) -> list[str]:
        """The screen; lines that are longer than `width` are cut."""
        if not any(found.items):
            where = "any namespace" if self.namespace is None else f"namespace {self.namespace}"
            missing = f"There is no pool, policy or warm-up in {where}."
            return [f"{missing} See examples/ for a first one; -A shows all namespaces."]
        now, parts = now_datetime(), []
        for resource, items in zip(OWNED_BY_USERS, found.items, strict=True):
            parts.append(table(resource.kind, items, now, namespaces=self.namespace is None))
        parts.append(gpu_table(found.data["gpus"]))
        decisions = decision_lines(found.data["decisions"], now)
        parts.append(["LAST DECISIONS (UTC)", *decisions] if decisions else [])
        laid = []
        for part in parts:
            if part:
                head, *rest = (line[:width] for line in part)
                laid += [faint(head), *rest, ""]
        return [*laid, bold(totals_text(found.data["totals"])[:width])]


async def _watch(client: KubeClient, screen: Screen, seconds: float, output: str) -> None:
    """Until it is cancelled. A cluster that stops answering is told of, and asked again; the first time it is an
    error."""
    drawn = output == "text" and sys.stdout.isatty()
    _show(screen, await screen.read(client), output, drawn=drawn)
    try:
        while True:
            await asyncio.sleep(seconds)
            try:
                found = await screen.read(client)
            except KubeError as error:
                print(f"comptroller: {error.message.rstrip('.')}. Trying again.", file=sys.stderr, flush=True)
            else:
                _show(screen, found, output, drawn=drawn)
    finally:
        if drawn:
            print("\x1b[?25h", end="", flush=True)


def _show(screen: Screen, found: Found, output: str, *, drawn: bool) -> None:
    """On a terminal the screen is drawn over the last one, line by line, so that it does not flicker."""
    if output == "json":
        print(json.dumps(found.data), flush=True)
    elif not drawn:
        print("\n".join([f"{found.data['at']}", *screen.lines(found), ""]), flush=True)
    else:
        width, height = shutil.get_terminal_size()
        lines = screen.lines(found, width)
        lines = lines if len(lines) < height else [*lines[: height - 2], f"… {len(lines) - height + 2} more lines"]
        print("\x1b[?25l\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", end="", flush=True)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: write seconds between 0.5 and 3600, such as 5")
    return value


def _classes(path: Path | None) -> Mapping[str, GpuClass]:
    if path is None:
        return Settings().gpu_classes
    return load_settings(read_text(path, "Name the file that the operator has, or leave --settings out.")).gpu_classes
