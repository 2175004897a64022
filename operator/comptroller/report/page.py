"""The operator's page as HTML, out of its data: every name is escaped, and nothing comes from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from comptroller.allocation.words import number, percent, usd
from comptroller.report.page_chart import demand_chart, said
from comptroller.report.page_style import COLOURS, SCRIPT, STYLE

Data = Mapping[str, Any]

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%231b6fb5'/%3E%3Cpath d='M4 11V8m4 3V4m4 7V6' stroke='white' "
    "stroke-width='2'/%3E%3C/svg%3E"
)
UNKNOWN = "unknown"
MONEY_COLUMNS = ("UTC", "Spent", "Instead of", "Saved", "Inside")


def page_html(data: Data, nonce: str) -> str:
    """The whole page. Scripts and styles carry the nonce that its Content-Security-Policy names."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Comptroller</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="{ICON}"><style nonce="{escape(nonce)}">{STYLE}</style></head>\n<body>\n'
        f'{page_parts(data)}\n<script nonce="{escape(nonce)}">{SCRIPT}</script>\n</body></html>\n'
    )


def page_parts(data: Data) -> str:
    """What is read, without style and script: a page that is open asks for this again and takes over what is new."""
    parts = [_facts(data), _problems(data)] if "decision" in data else [_nothing_yet()]
    if "decision" in data:
        parts += [
            f'<div class="two">{_demand(data)}{_money(data)}</div>',
            _fleet(data),
            _pools(data),
            f'<div class="two">{_budgets(data)}{_routes(data)}</div>',
            _decisions(data),
        ]
    return (
        f"{_header(data)}\n<main>\n"
        '<section class="warn" id="lost" role="status" hidden>The operator does not answer: this is what it last said.'
        "</section>\n" + "\n".join(parts) + "\n</main>\n"
        '<footer class="soft small"><p>Money is in US dollars, marginal basis: power, rent and tokens. Times are '
        'UTC. The same as data: <a href="page.json">/page.json</a>. Comptroller '
        f"{escape(str(data.get('version', '')))}.</p></footer>"
    )


def _part(name: str, heading: str, inner: str, classes: str = "") -> str:
    """A section that is refreshed as a whole."""
    title = f'<h2 id="h-{name}">{escape(heading)}</h2>' if heading else ""
    label = f' aria-labelledby="h-{name}"' if heading else ""
    return f'<section data-part="{name}"{label}{f" class={classes!r}" if classes else ""}>{title}{inner}</section>'


def _header(data: Data) -> str:
    decision = data.get("decision")
    said_when = f"as of {_clock(data['at'])} UTC"
    if decision:
        said_when += (
            f" · decision {decision['number']} by {decision['rung']}, {number(round(decision['ageSeconds']))} s old"
        )
    return f'<header data-part="head"><h1>Comptroller</h1><p class="soft small">{escape(said_when)}</p></header>'


def _nothing_yet() -> str:
    return _part("facts", "Nothing is decided yet", "<p>The operator is reading the cluster.</p>")


def _facts(data: Data) -> str:
    newest = data["hours"][-1] if data["hours"] else None
    inside, spilled, lost = (newest[1], newest[2], newest[3]) if newest else (None, None, None)
    asked = None if inside is None else inside + spilled + lost
    month = (data.get("money") or {}).get("month") or {}
    facts = [
        ("spent per hour, by plan", usd(data["usdPerHour"])),
        ("asked", UNKNOWN if asked is None else f"{number(asked)} rps"),
        ("answered inside", UNKNOWN if asked is None else percent(inside / asked) if asked else "no requests"),
        ("spills to APIs", UNKNOWN if spilled is None else f"{number(spilled)} rps"),
        ("saved this month", _saved(month)),
    ]
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return _part("facts", "", f'<dl class="facts">{cells}</dl>')


def _saved(found: Data) -> str:
    if not found or found.get("savedRatio") is None:
        return "-"
    return f"{usd(found['savedUsd'])} ({percent(found['savedRatio'])})"


def _problems(data: Data) -> str:
    """Always there, so that it can appear and go."""
    if not data["problems"]:
        return '<div data-part="problems"></div>'
    rows = "".join(f"<li>{escape(one)}</li>" for one in data["problems"])
    return (
        '<div data-part="problems"><section class="warn" aria-labelledby="h-problems">'
        '<h2 id="h-problems">Needs a look</h2>'
        f"<ul>{rows}</ul></section></div>"
    )


def _demand(data: Data) -> str:
    rows = data["hours"]
    legend = "".join(
        f'<li><i class="{name}"></i>{words}</li>'
        for name, words in (("inside", "inside"), ("spilled", "hosted APIs"), ("unanswered", "nobody"))
    )
    since = f"Since {_moment(rows[0][0])} UTC. " if rows else ""
    return _part(
        "demand", "Demand and who answers it",
        f'{demand_chart(rows)}<ul class="legend">{legend}</ul><p class="soft small">Requests per second, by plan. '
        f"{escape(since + said(rows))}</p>",
    )  # fmt: skip


def _money(data: Data) -> str:
    found = data["money"]
    if not found:
        return _part("money", "Money", '<p class="soft">Prometheus is being asked; it comes in a moment.</p>')
    if "why" in found:
        return _part("money", "Money", f'<p class="soft">{escape(found["why"])}</p>')
    rows = "".join(_money_row(words, found[name]) for name, words in (("today", "Today"), ("month", "Month")))
    notes = list(dict.fromkeys(found["month"]["unknown"]))
    left = found["month"]["restrictedLeft"]
    told = f"{number(left)} of {number(found['month']['restricted'])} restricted answers left the premises this month."
    return _part(
        "money", "Money",
        _scrolling("Money", f"<table><thead><tr>{_head(MONEY_COLUMNS)}</tr></thead><tbody>{rows}</tbody></table>")
        + f'<p class="{"bad" if left else "soft small"}">{escape(told)}</p>'
        f'<p class="soft small">Compared with {escape(found["baseline"])}. As Prometheus counted it until '
        f"{_moment(found['atSeconds'])} UTC; older counts than it keeps are missing.</p>"
        + "".join(f'<p class="soft small">Not known: {escape(one)}.</p>' for one in notes),
    )  # fmt: skip


def _head(names: tuple[str, ...]) -> str:
    return "".join(f'<th scope="col">{escape(one)}</th>' for one in names)


def _money_row(words: str, found: Data) -> str:
    cells = (
        usd(found["spentUsd"]),
        usd(found["baselineUsd"]),
        _saved(found),
        "-" if found["insideRatio"] is None else percent(found["insideRatio"]),
    )
    return f'<tr><th scope="row">{words}</th>' + "".join(f"<td>{escape(one)}</td>" for one in cells) + "</tr>"


def _fleet(data: Data) -> str:
    names = sorted(
        {one["name"] for one in data["pools"] if not one["hosted"]}
        | {pool for gpu in data["gpus"] for node in gpu["nodes"] for pool in node["pools"]}
    )
    colours = {name: position % COLOURS for position, name in enumerate(names)}
    inner = "".join(_class(one, colours) for one in data["gpus"])
    return _part("fleet", "GPUs", inner or '<p class="soft">No node of a known GPU class is there.</p>')


def _class(gpu: Data, colours: Mapping[str, int]) -> str:
    worth = gpu["worthUsdPerHour"]
    words = [f"{gpu['held']} of {_count(gpu['available'])} held by pools, {gpu['wanted']} wanted"]
    if worth is not None:
        words.append(
            f"one more would be worth {usd(worth)}/h" if worth >= 0.005 else "one more would be worth nothing now"
        )
    held: dict[str, int] = {}
    for node in gpu["nodes"]:
        for pool, count in node["pools"].items():
            held[pool] = held.get(pool, 0) + count
    legend = [
        f'<li><i class="p{colours[pool]}"></i>{escape(pool)} {count}</li>' for pool, count in sorted(held.items())
    ]
    others, free = sum(one["others"] for one in gpu["nodes"]), sum(one["free"] for one in gpu["nodes"])
    legend += [f'<li><i class="gpu others"></i>others {others}</li>'] if others else []
    legend += [f"<li><i></i>free {free}</li>"]
    more = f'<p class="soft small">and {gpu["moreNodes"]} more nodes</p>' if gpu["moreNodes"] else ""
    nodes = "".join(_node(one, colours) for one in gpu["nodes"])
    return (
        f'<div class="class"><div class="line"><h3>{escape(gpu["class"])}</h3><span class="soft small">'
        f'{escape("; ".join(words))}</span></div><div class="nodes">{nodes}</div>{more}'
        f'<ul class="legend">{"".join(legend)}</ul></div>'
    )


def _node(node: Data, colours: Mapping[str, int]) -> str:
    squares = "".join(f'<span class="gpu p{colours[pool]}"></span>' * count for pool, count in node["pools"].items())
    squares += '<span class="gpu others"></span>' * node["others"] + '<span class="gpu"></span>' * node["free"]
    holders = [f"{count} {pool}" for pool, count in node["pools"].items()]
    holders += [f"{node['others']} others"] if node["others"] else []
    label = f"{node['name']}: {', '.join([*holders, str(node['free']) + ' free'])}"
    off = "" if node["usable"] else " off"
    told = "" if node["usable"] else " (takes no pods)"
    return (
        f'<div class="node{off}"><span class="small">{escape(node["name"])}{told}</span>'
        f'<div class="gpus" role="img" aria-label="{escape(label)}">{squares}</div></div>'
    )


def _pools(data: Data) -> str:
    rows = "".join(_pool(one) for one in data["pools"])
    more = f'<p class="soft">and {data["morePools"]} more pools</p>' if data["morePools"] else ""
    return _part("pools", "Why each pool has its count", rows + more or '<p class="soft">There is no pool.</p>')


def _pool(pool: Data) -> str:
    facts = [pool["class"] or "-"]
    if pool["ready"] is not None:
        starting = f", {pool['starting']} starting" if pool["starting"] else ""
        facts.append(f"{pool['ready']} ready{starting}")
    if pool["utilisation"] is not None:
        facts.append(f"{percent(pool['utilisation'])} used")
    if pool["requestsPerSecond"] is not None:
        facts.append(f"{number(pool['requestsPerSecond'])} rps")
    if pool["usdPerHour"] is not None:
        facts.append(f"{usd(pool['usdPerHour'])}/h")
    if pool["reason"]:
        facts.append(pool["reason"])
    lines = "".join(_sentence(one["label"], one["text"]) for one in pool["sentences"])
    return (
        f'<article class="pool"><div class="line"><h3>{escape(pool["name"])}</h3><strong class="small">'
        f'{escape(pool["title"])}</strong><span class="soft small">{escape(" · ".join(facts))}</span></div>{lines}'
        "</article>"
    )


def _sentence(label: str, text: str) -> str:
    if label in ("Why", "State"):
        return f"<p>{escape(text)}</p>"
    return f'<p class="soft small"><b>{escape(label)}</b> {escape(text)}</p>'


def _budgets(data: Data) -> str:
    rows = "".join(_budget(one) for one in data["budgets"])
    return _part("budgets", "Budgets", rows or '<p class="soft">No policy and no tenant has a budget.</p>')


def _budget(one: Data) -> str:
    spent, limit, state = one["spentUsd"], one["budgetUsd"], one["state"]
    name = f"{one['tenant']} in {one['policy']}" if one["tenant"] else one["policy"]
    until = f"; begins anew {_date(one['resetsAt'])} UTC" if one["resetsAt"] else ""
    if spent is None:
        return (
            f'<div class="pool"><div class="line"><h3>{escape(name)}</h3><span class="soft small">{usd(limit)}; what '
            f"is spent is unknown{until}</span></div></div>"
        )
    ratio = spent / limit if limit > 0 else 1.0
    words = f"{usd(spent)} of {usd(limit)} ({percent(ratio)})" + (", exhausted" if state == "Exhausted" else "")
    return (
        f'<div class="pool"><div class="line"><h3>{escape(name)}</h3>'
        f'<span class="{"bad" if state == "Exhausted" else "soft"} small">{escape(words + until)}</span></div>'
        f'<svg class="bar {escape(state or "")}" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="4"/><rect class="part" width="{100 * min(1.0, max(0.0, ratio)):.1f}" '
        'height="4"/></svg></div>'
    )


def _routes(data: Data) -> str:
    rows = "".join(_route(one) for one in data["routes"])
    return _part("routes", "Routes", rows or '<p class="soft">There is no route.</p>')


def _route(one: Data) -> str:
    rate = one["requestsPerSecond"]
    facts = ["demand unknown" if rate is None else f"{number(rate)} rps", f"{percent(one['spillRatio'])} spills"]
    facts += [f"{percent(one['unansweredRatio'])} unanswered"] if one["unansweredRatio"] else []
    return (
        f'<div class="pool"><div class="line"><h3>{escape(one["route"])}</h3><span class="soft small">'
        f"{escape(' · '.join([one['policy'], *facts]))}</span></div><p>{escape(one['message'])}</p></div>"
    )


def _decisions(data: Data) -> str:
    rows = "".join(_decision(one) for one in data["decisions"])
    empty = '<p class="soft">Nothing has changed since the operator started.</p>'
    return _part("decisions", "Last decisions", f'<ol class="decisions">{rows}</ol>' if rows else empty)


def _decision(one: Data) -> str:
    money = f"{usd(one['usdPerHour'])}/h predicted"
    if one["realisedUsdPerHour"] is not None:
        money += f", {usd(one['realisedUsdPerHour'])}/h spent"
    words = "".join(f"<p>{escape(text)}</p>" for text in one["words"])
    return (
        f'<li><span class="soft small">{_clock(one["at"])} · #{one["number"]} · {escape(one["rung"])} · {money}</span>'
        f"{words}</li>"
    )


def _scrolling(name: str, table: str) -> str:
    """A table that may be wider than a phone; reachable by keyboard."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(name)}, as a table">{table}</div>'


def _count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"


def _clock(at: str) -> str:
    """The time of a timestamp: `2026-11-22T14:02:30Z` is 14:02:30."""
    return escape(at[11:19])


def _date(at: str) -> str:
    """Date and time of a timestamp: `2026-11-22T14:02:30Z` is 2026-11-22 14:02."""
    return at[:16].replace("T", " ")


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
