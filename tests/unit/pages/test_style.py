"""The stylesheet and the script hold to the strict policy, and the colours to WCAG 2.2 AA."""

import re
from itertools import product
from pathlib import Path

import pytest

import denizen

PAGES = Path(denizen.__file__).parent / "pages"
STYLE = (PAGES / "assets" / "style.css").read_text("utf-8")
SCHEMES: dict[str, str] = dict(
    zip(("light", "dark"), re.findall(r":root \{(.*?)\n\s*\}", STYLE, re.DOTALL), strict=True)
)
TEXT = [
    *product(("text", "muted", "accent", "hover"), ("bg", "surface")),
    *((name, f"{name}-tint") for name in ("ok", "warn", "bad", "info")),
    ("on-accent", "accent"),
    ("on-accent", "hover"),
    ("accent", "tint"),
    ("text", "sunken"),
    ("accent", "sunken"),
    ("bad", "surface"),
    ("surface", "bad"),
]
SIGNS = [*product(("border", "accent"), ("bg", "surface"))]


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_colours_can_be_told_apart(scheme: str) -> None:
    """Text 4.5:1, borders of controls and the focus 3:1, in light and dark."""
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", SCHEMES[scheme]))
    weak = [
        (front, back, round(_contrast(colours[front], colours[back]), 2))
        for pairs, least in ((TEXT, 4.5), (SIGNS, 3.0))
        for front, back in pairs
        if _contrast(colours[front], colours[back]) < least
    ]

    assert weak == []


def test_nothing_is_inline() -> None:
    """No template needs an exception from the policy: no style, no script, no handler in it."""
    for path in (PAGES / "templates").rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r'\sstyle=|<style|\son\w+="|javascript:|<script>', text), path
        assert not re.search(r'(src|href)="(?!/|\{\{|#)', text), path


def test_script_and_style_ask_nobody_else() -> None:
    """No import, no font, no address of another machine; and nothing that makes code of text."""
    script = (PAGES / "assets" / "script.js").read_text("utf-8")

    assert not re.search(r"@import|url\(|https?:", STYLE)
    assert not re.search(r"https?:|eval|innerHTML|Function\(|document\.write", script)
