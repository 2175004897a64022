"""Shows the whole fleet: pools, policies and warm-ups as `kubectl get mp,rp,cw` would, and what it costs together.

Exit codes: 0 shown, 1 the cluster cannot be read.

Example: comptroller status -A
"""

from __future__ import annotations

import argparse
import json
import sys

from comptroller.cli.cluster import ClusterError, ask, bold, faint, fetch_all
from comptroller.kube.login import LoginError, current_namespace
from comptroller.kube.resources import OWNED_BY_USERS
from comptroller.report.fleet import table, totals, totals_text
from comptroller.runtime.clock import now_datetime


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", metavar="NAMESPACE", help="default: that of the current context")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    """Prints the tables; 1 when the cluster cannot be read."""
    try:
        namespace = None if options.all_namespaces else options.namespace or current_namespace()
        found = ask(lambda client: fetch_all(client, namespace))
    except (ClusterError, LoginError) as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return 1
    sums = totals(found[0])
    if options.output == "json":
        kinds = {resource.plural: items for resource, items in zip(OWNED_BY_USERS, found, strict=True)}
        shown = {
            plural: [{"namespace": one["metadata"].get("namespace"), "name": one["metadata"]["name"],
                      "status": one.get("status") or {}} for one in items]
            for plural, items in kinds.items()
        }  # fmt: skip
        print(json.dumps({"totals": sums, **shown}, indent=2))
        return 0
    if not any(found):
        where = "any namespace" if namespace is None else f"namespace {namespace}"
        print(
            f"There is no pool, policy or warm-up in {where}. See examples/ for a first one; -A shows all namespaces."
        )
        return 0
    for resource, items in zip(OWNED_BY_USERS, found, strict=True):
        lines = table(resource.kind, items, now_datetime(), namespaces=namespace is None)
        if lines:
            print("\n".join([faint(lines[0]), *lines[1:]]), end="\n\n")
    print(bold(totals_text(sums)))
    return 0
