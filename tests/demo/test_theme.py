"""The palette: readable in light and dark (WCAG 2.2 AA), the same for Gradio's components, and nothing fetched from elsewhere."""

from __future__ import annotations

import re

import pytest

from dear.replay import look
from demo import theme

CSS = look()
INKS = ("ink", "ink-2", "ink-3", "retrieval", "pointwise", "listwise", "up", "down", "danger")


def colours(selector: str) -> dict[str, str]:
    block = re.search(rf"^{re.escape(selector)} \{{(.*?)^\}}", CSS, re.MULTILINE | re.DOTALL)[1]
    return dict(re.findall(r"--d-([\w-]+): (#[0-9a-f]{6})", block))


def contrast(a: str, b: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("selector", [":root", ".dark"])
def test_text_is_readable(selector):
    found = colours(selector)
    for ink in INKS:
        for ground in ("surface", "bg"):
            assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)
    for hue in ("retrieval", "pointwise", "listwise"):
        assert contrast(found[hue], found[f"{hue}-tint"]) >= 4.5, hue
        assert contrast(found["ink"], found[f"{hue}-tint"]) >= 4.5, hue
    for ink, ground in (("danger", "danger-tint"), ("down", "warn-tint"), ("ink", "warn-tint"), ("ink-2", "sunken"), ("ink-3", "sunken")):
        assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)
    assert contrast(found["focus"], found["bg"]) >= 3


def test_gradio_gets_the_same_colours():
    light, dark = colours(":root"), colours(".dark")
    names = {"edge": "line-2", "soft": "ink-2"}
    for use, values in theme._PALETTE.items():
        assert values == (light[names.get(use, use)], dark[names.get(use, use)])


def test_nothing_comes_from_elsewhere():
    head = theme.head().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(", head)
    assert head.count("</script>") == 1
    assert head.count("</style>") == 1
    css = theme.gradio_theme()._get_theme_css()
    assert "fonts.googleapis" not in css
    assert "@font-face" not in css
