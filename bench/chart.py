"""The chart of `make bench`: plain SVG, readable on light and on dark."""

import statistics
from typing import Any, Final
from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, STEP, ROOM = 760, 280, 14, 24, 380
_HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
 font-family="system-ui, sans-serif" font-size="12">
<title>denizen and its peers, measured in one run</title>
<style>
 text {{ fill: #222 }} .track {{ fill: #8883 }} .bar {{ fill: #4477aa }} .ours {{ fill: #228833 }}
 @media (prefers-color-scheme: dark) {{ text {{ fill: #eee }} }}
</style>
"""


def chart(figures: dict[str, Any]) -> str:
    """Draw who am I, and how long readers wait while others sign in."""
    rates = {name: statistics.median(all_) for name, all_ in figures["who_am_i"].items()}
    waits = {
        name: statistics.median(one["storm_p99_ms"] for one in rounds)
        for name, rounds in figures["storm"].items()
    }
    height = 2 * 56 + STEP * (len(rates) + len(waits))
    parts = [_HEAD.format(width=WIDTH, height=height)]
    parts += _panel(16, "who am I: reads a second (more is better)", rates)
    y = 56 + STEP * len(rates)
    parts += _panel(y, "reads while 16 others sign in: p99 in ms (less is better)", waits)
    return "\n".join([*parts, "</svg>\n"])


def _panel(y: int, title: str, bars: dict[str, float]) -> list[str]:
    most = max(bars.values(), default=1)
    lines = [f'<text x="16" y="{y + 12}" font-weight="600">{escape(title)}</text>']
    for row, (name, size) in enumerate(bars.items()):
        top = y + 22 + row * STEP
        kind = "ours" if name == "denizen" else "bar"
        width = ROOM * size / most
        place = f'x="{LEFT}" y="{top}" height="{BAR}" rx="2"'
        lines += [
            f'<text x="16" y="{top + 11}">{escape(name)}</text>',
            f'<rect class="track" {place} width="{ROOM}"/>',
            f'<rect class="{kind}" {place} width="{width:.1f}"/>',
            f'<text x="{LEFT + ROOM + 8}" y="{top + 11}">{size:,.0f}</text>',
        ]
    return lines
