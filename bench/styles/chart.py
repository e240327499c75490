"""The chart of `make styles`: eight panels of bars, plain SVG, readable on light and on dark."""

from collections.abc import Iterator
from typing import Any, Final
from xml.sax.saxutils import escape

from styles.outer import STYLES

from bench.styles.copies import CHANGES, NEW_SCENARIO
from bench.styles.table import CATCHERS, caught, kept

Figures = dict[str, Any]
Bars = dict[str, list[tuple[str, float]]]  # by style, the coloured pieces of its bar

WIDTH, PANEL, LEFT, BAR, STEP = 860, 410, 30, 14, 22
TOP, HEIGHT, ROOM = 64, 176, 270
COLOURS: Final = {
    "plain": "#4477aa",
    "types": "#228833",
    "lint": "#66ccee",
    "test": "#ccbb44",
    "nothing": "#ee6677",
    "inherent": "#aa3377",
    "letter_case": "#4477aa",
    "tenant": "#66aadd",
    "audit_row": "#aaccee",
    "create_user": "#4477aa",
    "change_email": "#66aadd",
    "delete_user": "#aaccee",
}
_HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
 font-family="system-ui, sans-serif" font-size="12">
<title>Five styles of one users slice, measured</title>
<style>
 text {{ fill: #222 }} .muted {{ fill: #666 }} .track {{ fill: #8883 }} .ground {{ fill: #fff }}
 @media (prefers-color-scheme: dark) {{
  text {{ fill: #eee }} .muted {{ fill: #aaa }} .ground {{ fill: #161616 }}
 }}
</style>
<rect class="ground" width="100%" height="100%"/>
<text x="16" y="24" font-size="16" font-weight="600">One users slice in five styles</text>
<text x="16" y="42" class="muted">(a) first sketch   (b) second sketch   (c) verbs on the model\
   (d) free functions   (e) repository and service</text>
"""


def chart(figures: Figures) -> str:
    """Draw the chart."""
    panels = list(_panels(figures))
    rows = (len(panels) + 1) // 2
    parts = [_HEAD.format(width=WIDTH, height=TOP + rows * HEIGHT)]
    for number, (title, bars, most) in enumerate(panels):
        x, y = 16 + (number % 2) * PANEL, TOP + (number // 2) * HEIGHT
        parts.append(_panel(x, y, title, bars, most))
    return "".join([*parts, "</svg>\n"])


def _panels(figures: Figures) -> Iterator[tuple[str, Bars, float]]:
    held = {letter: kept(figures, letter) for letter in STYLES}
    yield (
        "properties of the contract kept, %",
        {n: [("plain", round(100 * part / whole))] for n, (part, whole) in held.items()},
        100,
    )
    reached = figures["branches"]
    yield (
        "decision branches tested without a database, by fakes, %",
        {n: [("plain", round(100 * c["fakes"] / c["branches"]))] for n, c in reached.items()},
        100,
    )
    new = figures["changes"][NEW_SCENARIO]
    yield _scaled("lines of a new scenario", {n: [("plain", new[n]["lines"])] for n in STYLES})
    yield _scaled(
        "lines touched: letter case, tenant column, audit row",
        {n: [(c, figures["changes"][c][n]["lines"]) for c in CHANGES] for n in STYLES},
    )
    heard, took = figures["statements"], figures["latency"]
    yield _scaled(
        "statements: sign-up, change of address, erasure",
        {n: [(s, heard[s][n]["statements"]) for s in heard] for n in STYLES},
    )
    yield _scaled(
        "processor's time of the same three, ms",
        {n: [(s, took[s][n]["cpu"]["ms"]) for s in took] for n in STYLES},
    )
    for kind, title in (("typos", "typos"), ("transactions", "transaction mistakes")):
        counts = {n: caught(figures, kind, n) for n in STYLES}
        yield _scaled(
            f"ten {title}: who catches them first",
            {n: [(who, counts[n][who]) for who in CATCHERS] for n in STYLES},
        )


def _scaled(title: str, bars: Bars) -> tuple[str, Bars, float]:
    return title, bars, max(sum(size for _, size in pieces) for pieces in bars.values())


def _panel(x: int, y: int, title: str, bars: Bars, most: float) -> str:
    lines = [f'<g transform="translate({x} {y})">']
    lines.append(f'<text y="12" font-weight="600">{escape(title)}</text>')
    for row, (letter, pieces) in enumerate(bars.items()):
        lines += _bar(22 + row * STEP, letter, pieces, most)
    named = [who for who in CATCHERS if any(who == p for ps in bars.values() for p, _ in ps)]
    lines += _legend(named, 22 + len(bars) * STEP + 4)
    return "\n".join([*lines, "</g>\n"])


def _bar(y: int, letter: str, pieces: list[tuple[str, float]], most: float) -> Iterator[str]:
    yield f'<text y="{y + 11}" class="muted">({letter})</text>'
    yield f'<rect class="track" x="{LEFT}" y="{y}" width="{ROOM}" height="{BAR}" rx="2"/>'
    x = float(LEFT)
    for kind, size in pieces:
        width = ROOM * size / most
        yield (
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" '
            f'fill="{COLOURS[kind]}"><title>{kind}: {size:g}</title></rect>'
        )
        x += width
    told = [f"{size:g}" for _, size in pieces if size or len(pieces) == 1]
    yield f'<text x="{LEFT + ROOM + 6}" y="{y + 11}">{" + ".join(told)}</text>'


def _legend(names: list[str], y: int) -> Iterator[str]:
    for number, name in enumerate(names):
        x = LEFT + number * 68
        yield f'<rect x="{x}" y="{y}" width="10" height="10" fill="{COLOURS[name]}"/>'
        yield f'<text x="{x + 14}" y="{y + 9}" class="muted">{name}</text>'
