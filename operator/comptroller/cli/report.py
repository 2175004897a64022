"""Shows what was spent and saved, by whom, what a solved task cost, what to buy next and what nobody uses.

Reads counters from Prometheus and the objects from the cluster of the current kubeconfig.
Exit codes: 0 shown, 1 the cluster or Prometheus cannot be read, 2 wrong use.

Example: comptroller report --prometheus http://localhost:9090 --since 7d --by tenant --html report.html
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.api.settings import Settings, SettingsError, load_settings
from comptroller.cli.cluster import ClusterError, ask, fetch_all
from comptroller.cli.files import FileError, check_place, read_text, write_text
from comptroller.economics.accounts import Accounts, added
from comptroller.economics.ownership import payback_days
from comptroller.kube.login import LoginError, current_namespace
from comptroller.observe.accounts import read_accounts
from comptroller.observe.prometheus import PrometheusSource
from comptroller.report.money import BY, Money, money
from comptroller.report.money_facts import (
    BaselineError,
    baseline_of,
    narrowed,
    pool_facts,
    purchases,
    route_facts,
    unused,
)
from comptroller.report.money_page import money_page
from comptroller.report.money_words import MoneyReport, as_csv, as_json, as_text
from comptroller.runtime.clock import now_seconds

GROUPS = (*BY, "workflow", "step", "day")
UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
QUERY_SECONDS = 30.0


class WrongUseError(Exception):
    """An option that cannot be meant; the message says what to write."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", metavar="NAMESPACE", help="default: that of the current context")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace")
    parser.add_argument("--since", metavar="24h", help="how far back: 30m, 24h, 7d, 4w (default: 24h)")
    parser.add_argument(
        "--from", dest="start", metavar="TIME", help="instead of --since: 2026-11-01 or 2026-11-01T08:00"
    )
    parser.add_argument(
        "--to", dest="end", metavar="TIME", help="default: now; times are UTC unless they say otherwise"
    )
    parser.add_argument("--by", choices=GROUPS, default="route", help="what the table lists (default: route)")
    parser.add_argument(
        "--baseline", metavar="POOL|PROVIDER/MODEL", help="what is compared with; default: the dearest hosted pool"
    )
    parser.add_argument(
        "--prometheus",
        metavar="URL",
        default=os.environ.get("PROMETHEUS_URL"),
        help="its address as seen from here; default: the variable PROMETHEUS_URL",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="the operator's settings, for GPU prices")
    parser.add_argument("-o", "--output", choices=("text", "json", "csv"), default="text", help="default: text")
    parser.add_argument("--html", type=Path, metavar="FILE", help="where the report goes as a page with charts")


def run(options: argparse.Namespace) -> int:
    """Reports; 1 when the cluster or Prometheus cannot be read, 2 when an option is wrong."""
    try:
        if options.html is not None:
            check_place(options.html)
        report = _report(options)
    except (WrongUseError, BaselineError, SettingsError, FileError) as error:
        return _failed(error, 2)
    except (ClusterError, LoginError) as error:
        return _failed(error, 1)
    if len(report.total.unknown) == UNANSWERED:
        return _failed(f"{report.total.unknown[0]}. Is --prometheus {options.prometheus} its address from here?", 1)
    if options.output == "json":
        print(json.dumps(as_json(report), indent=2))
    elif options.output == "csv":
        print(as_csv(report, options.by), end="")
    else:
        print(as_text(report, options.by))
    if options.html is not None:
        try:
            write_text(options.html, money_page(report))
        except FileError as error:
            return _failed(error, 1)
        print(f"The page is in {options.html}.", file=sys.stderr)
    return 0


UNANSWERED = 6  # counters that are read: when none answers there is nothing to show


def _failed(error: object, code: int) -> int:
    print(f"comptroller: {error}", file=sys.stderr)
    return code


def _report(options: argparse.Namespace) -> MoneyReport:
    if not options.prometheus:
        raise WrongUseError(
            "where is Prometheus? Write --prometheus URL or set PROMETHEUS_URL; from outside the cluster first "
            "`kubectl port-forward -n monitoring svc/prometheus 9090` and then --prometheus http://localhost:9090"
        )
    start, end = span(options, now_seconds())
    settings = _settings(options.settings)
    namespace = None if options.all_namespaces else options.namespace or current_namespace()
    items = ask(lambda client: fetch_all(client, namespace))
    stretches, worth = asyncio.run(_read(options.prometheus, settings, start, end))
    return compose(items, stretches, worth, settings, namespace, options.baseline)


def compose(
    items: list[list[dict[str, object]]],
    stretches: list[Accounts],
    worth: Mapping[str, float],
    settings: Settings,
    namespace: str | None,
    wanted_baseline: str | None,
) -> MoneyReport:
    """The report of pools, policies and warm-ups with the books of each day. Raises `BaselineError`."""
    pools_items, policies, warmups = items
    at = datetime.fromtimestamp(stretches[-1].end_seconds, UTC)
    pools, routes = pool_facts(pools_items, at), route_facts(policies)
    words, baseline = baseline_of(wanted_baseline, pools, at)
    days = [narrowed(one, namespace) for one in stretches]
    whole = added(days)

    def counted(accounts: Accounts) -> Money:
        return money(accounts, pools, routes, baseline)

    total = counted(whole)
    back = {
        name: payback_days(settings.gpu_classes[name], Decimal(str(value)), settings.amortisation, settings.energy)
        for name, value in worth.items()
        if name in settings.gpu_classes
    }
    return MoneyReport(
        whole.start_seconds,
        whole.end_seconds,
        "all namespaces" if namespace is None else f"namespace {namespace}",
        words,
        total,
        [(_day(one.start_seconds), counted(one)) for one in days],
        purchases(pools_items, worth, {name: None if one is None else float(one) for name, one in back.items()}),
        unused(pools, warmups, total, whole),
        _notes(total),
    )


def _notes(total: Money) -> list[str]:
    notes = []
    if total.left_the_premises > 0:
        notes.append("restricted answers left the premises: this must never be; keep the logs and report it.")
    return notes


async def _read(url: str, settings: Settings, start: float, end: float) -> tuple[list[Accounts], dict[str, float]]:
    asked = settings.prometheus.model_copy(update={"url": url, "timeout_seconds": QUERY_SECONDS})
    source = PrometheusSource(asked)
    try:
        stretches = await read_accounts(source, start, end)
        window = max(60, round(end - start))
        found = await source.query(
            f"max by (gpu_class) (avg_over_time(comptroller_gpu_shadow_price_usd_per_hour[{window}s]))", ("gpu_class",)
        )
    finally:
        source.close()
    rows = {} if isinstance(found, Unknown) else found
    return stretches, {key[0]: one.value for key, one in rows.items() if isinstance(one, Sample)}


def span(options: argparse.Namespace, now: float) -> tuple[float, float]:
    """From when to when, in seconds since 1970. Raises `WrongUseError`."""
    if options.since and options.start:
        raise WrongUseError("give --since or --from, not both")
    end = now if options.end is None else moment(options.end, "--to")
    start = end - length(options.since or "24h") if options.start is None else moment(options.start, "--from")
    if not start < end <= now + 1:
        raise WrongUseError("--from must be before --to, and neither may lie in the future")
    return start, end


def length(text: str) -> float:
    """Seconds of `24h`. Raises `WrongUseError`.

    >>> length("7d")
    604800.0
    """
    found = re.fullmatch(r"(\d{1,4})([mhdw])", text)
    if found is None or not int(found[1]):
        raise WrongUseError(f"--since {text}: write a number and m, h, d or w, such as 24h or 7d")
    return float(int(found[1]) * UNITS[found[2]])


def moment(text: str, option: str) -> float:
    """Seconds since 1970 of a time in ISO form; UTC unless it says otherwise. Raises `WrongUseError`."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongUseError(
            f"{option} {text}: write a date or a time, such as 2026-11-01 or 2026-11-01T08:00"
        ) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _settings(path: Path | None) -> Settings:
    if path is None:
        return Settings()
    return load_settings(read_text(path, "Name the file that the operator has, or leave --settings out."))


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
