"""How the operator's page looks, and the few lines that keep it fresh. Nothing comes from elsewhere."""

from __future__ import annotations

COLOURS = 8
LIGHT = ("#1b6fb5", "#b35c00", "#1f7a55", "#b8336a", "#6a4bc4", "#7a6c12", "#1f7f8f", "#5f6b76")
DARK = ("#5ba7e6", "#f0a04b", "#55c795", "#e3709b", "#a68ee6", "#c9b64a", "#6fd0e0", "#a5b0ba")


def _palette(colours: tuple[str, ...]) -> str:
    return "".join(f"--c{number}:{one};" for number, one in enumerate(colours))


def _pools() -> str:
    rule = ".p{0}{{background:var(--c{0})!important;border-color:var(--c{0})!important}}"
    return "".join(rule.format(number) for number in range(COLOURS))


STYLE = f"""
:root{{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1f2328;--soft:#57606a;--line:#d8dee4;--bad:#b42318;
--warn-page:#fff4e5;--warn-line:#e0a85a;--free:#fff;--others:#8c959f;--inside:#1f7a55;--spill:#b35c00;{_palette(LIGHT)}}}
@media(prefers-color-scheme:dark){{:root{{--page:#0f1317;--card:#171c22;--text:#e3e8ee;--soft:#9da8b4;--line:#2e3640;
--bad:#ff8a80;--warn-page:#33260f;--warn-line:#8a6428;--free:#171c22;--others:#6b7681;--inside:#55c795;--spill:#f0a04b;
{_palette(DARK)}}}}}
*{{box-sizing:border-box}}
body{{margin:0;overflow-wrap:anywhere;font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;
color:var(--text);background:var(--page)}}
header,main,footer{{max-width:76rem;margin:0 auto;padding:0 1.1rem}}
header{{padding-top:1.2rem;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;align-items:baseline}}
h1{{font-size:1.25rem;margin:0;letter-spacing:-.01em}}h2{{font-size:1.02rem;margin:0 0 .6rem}}
h3{{font-size:.95rem;margin:0}}p{{margin:.25rem 0}}.soft{{color:var(--soft)}}.small{{font-size:.86rem}}
.bad{{color:var(--bad);font-weight:600}}footer{{padding-bottom:2rem}}
section{{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.1rem;margin:.9rem 0}}
.warn{{background:var(--warn-page);border-color:var(--warn-line)}}.warn ul{{margin:.3rem 0;padding-left:1.2rem}}
.facts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.2rem,1fr));gap:.7rem 1.2rem;margin:0}}
.facts div{{display:flex;flex-direction:column-reverse;justify-content:flex-end}}
.facts dt{{color:var(--soft);font-size:.86rem}}
.facts dd{{margin:0;font-size:1.5rem;line-height:1.25;font-weight:600;font-variant-numeric:tabular-nums}}
.two{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 .9rem;align-items:start}}
.wide{{overflow-x:auto}}
table{{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}}
th,td{{padding:.35rem .5rem;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}}
th,td{{white-space:nowrap}}th{{color:var(--soft);font-weight:600}}th:first-child,td:first-child{{text-align:left}}
tr:last-child>*{{border-bottom:0}}
.class{{margin:0 0 1rem}}.nodes{{display:flex;flex-wrap:wrap;gap:.5rem;margin:.4rem 0}}
.node{{border:1px solid var(--line);border-radius:8px;padding:.35rem .5rem}}.node.off{{border-style:dashed}}
.gpus{{display:grid;grid-template-columns:repeat(8,1rem);gap:3px;margin-top:.2rem}}
.gpu{{width:1rem;height:1rem;border-radius:3px;border:1px solid var(--others);background:var(--free)}}
.gpu.others{{background:var(--others)}}
.legend{{display:flex;flex-wrap:wrap;gap:.15rem 1rem;list-style:none;margin:.2rem 0;padding:0;font-size:.86rem}}
.legend i{{display:inline-block;width:.75rem;height:.75rem;border-radius:3px;border:1px solid var(--others);
margin-right:.35rem;vertical-align:-.05rem}}
{_pools()}
.pool{{padding:.7rem 0;border-bottom:1px solid var(--line)}}.pool:last-child{{border-bottom:0;padding-bottom:0}}
.pool:first-of-type{{padding-top:0}}.line{{display:flex;flex-wrap:wrap;gap:.1rem .9rem;align-items:baseline}}
.chart{{width:100%;height:auto;display:block}}.chart text{{fill:var(--soft);font-size:12px}}.grid{{stroke:var(--line)}}
.inside{{fill:var(--inside);background:var(--inside)!important}}
.spilled{{fill:var(--spill);background:var(--spill)!important}}
.unanswered{{fill:var(--bad);background:var(--bad)!important}}
.bar{{width:100%;height:.6rem;display:block;border-radius:.3rem}}
.bar .track{{fill:var(--line)}}.bar .part{{fill:var(--inside)}}
.bar.Near .part{{fill:var(--spill)}}.bar.Exhausted .part{{fill:var(--bad)}}
.decisions{{list-style:none;margin:0;padding:0}}.decisions li{{padding:.45rem 0;border-bottom:1px solid var(--line)}}
.decisions li:last-child{{border-bottom:0}}a{{color:var(--c0)}}
:focus-visible{{outline:3px solid var(--c0);outline-offset:2px}}
[hidden]{{display:none!important}}
@media(max-width:34rem){{.facts dd{{font-size:1.25rem}}section{{padding:.8rem .8rem;border-radius:8px}}
header,main,footer{{padding-left:.7rem;padding-right:.7rem}}table{{font-size:.8rem}}th,td{{padding:.3rem .22rem}}}}
"""

SCRIPT = """
"use strict";
const every = 15000, lost = document.getElementById("lost");
const names = (where) => [...where.querySelectorAll("[data-part]")].map((one) => one.dataset.part).join();
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch("?parts", {cache: "no-store"});
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (names(fresh) !== names(document)) return location.reload();
    for (const old of document.querySelectorAll("[data-part]")) {
      const made = fresh.querySelector(`[data-part="${old.dataset.part}"]`);
      const read = getSelection(), marked = !read.isCollapsed && read.containsNode(old, true);
      const busy = marked || old.contains(document.activeElement);
      if (made && !busy && made.innerHTML !== old.innerHTML) {
        const left = [...old.querySelectorAll(".wide")].map((one) => one.scrollLeft);
        old.replaceWith(made);
        made.querySelectorAll(".wide").forEach((one, at) => { one.scrollLeft = left[at] || 0; });
      }
    }
    lost.hidden = true;
  } catch (error) {
    lost.hidden = false;
  }
}
setInterval(refresh, every);
document.addEventListener("visibilitychange", refresh);
"""
