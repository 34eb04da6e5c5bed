"""The look: Gradio's own components brought to the page's palette, and the page's style sheet and script.

The palette itself lives in `dear/replay/look.css`, which the replay page stands on too; the values here are the ones Gradio needs as its variables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dear import replay

STATIC = Path(__file__).parent / "static"
# Names of fonts a visitor's system may have; none is fetched.
FONTS = (
    "Inter", "-apple-system", "BlinkMacSystemFont", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "Liberation Sans", "Arial", "sans-serif",
)  # fmt: skip
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")

_PALETTE = {  # use: light, dark
    "bg": ("#f3f4f7", "#0c0f15"),
    "surface": ("#ffffff", "#141922"),
    "sunken": ("#eaedf2", "#1c222e"),
    "line": ("#d9dee7", "#29303f"),
    "edge": ("#c2c9d6", "#3b4456"),
    "ink": ("#121722", "#eaeef6"),
    "soft": ("#434c5f", "#b4bdce"),
    "focus": ("#1d63c4", "#7cb4ff"),
}
_USES = {
    "body_background_fill": "bg",
    "body_text_color": "ink",
    "body_text_color_subdued": "soft",
    "background_fill_primary": "surface",
    "background_fill_secondary": "sunken",
    "block_background_fill": "surface",
    "block_border_color": "line",
    "block_label_text_color": "ink",
    "block_title_text_color": "ink",
    "block_info_text_color": "soft",
    "border_color_primary": "line",
    "border_color_accent": "focus",
    "input_background_fill": "surface",
    "input_border_color": "edge",
    "input_border_color_focus": "focus",
    "slider_color": "soft",
    "checkbox_background_color_selected": "focus",
    "checkbox_border_color_selected": "focus",
    "checkbox_border_color": "edge",
    "button_secondary_background_fill": "surface",
    "button_secondary_text_color": "ink",
    "button_primary_background_fill": "ink",
    "button_primary_text_color": "bg",
    "link_text_color": "focus",
}


def gradio_theme() -> Any:
    """Gradio's plain theme in the page's colours, light and dark, with system fonts only."""
    import gradio as gr

    theme = gr.themes.Base(font=FONTS, font_mono=MONO, radius_size=gr.themes.sizes.radius_md)
    colours = {name: _PALETTE[use][0] for name, use in _USES.items()} | {f"{name}_dark": _PALETTE[use][1] for name, use in _USES.items()}
    return theme.set(block_border_width="0px", block_shadow="none", **colours)


def head() -> str:
    """What goes into the document's head: the style sheet and the script, both inline."""
    css = replay.look() + _joined("dear.css", "lab.css")
    script = _joined("dear.js", "share.js", "lab.js")
    icon = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke-width='4' stroke-linecap='round'%3E"
    icon += "%3Cpath stroke='%234d5c76' d='M4 8C14 8 18 24 28 24'/%3E%3Cpath stroke='%23ae1f5d' d='M4 24C14 24 18 8 28 8'/%3E%3C/svg%3E"
    return f'<link rel="icon" href="{icon}"><meta name="referrer" content="no-referrer"><style>{css}</style><script>{script}</script>'


def _joined(*names: str) -> str:
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)
