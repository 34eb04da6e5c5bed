"""What the tabs build their components with: the same options, fields and buttons everywhere."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import gradio as gr

from demo.uploads import LIFE_S

QUIET = {"show_progress": "hidden", "api_visibility": "private"}


def plain(*classes: str) -> dict[str, Any]:
    """Options of every HTML panel: the default template, none of Gradio's prose styles, no script of its own."""
    return {"apply_default_css": False, "js_on_load": None, "elem_classes": ["dear-redrawn", *classes]}


def query_field() -> dict[str, Any]:
    """Options of a field that takes a query."""
    return {"lines": 1, "scale": 1, "html_attributes": gr.InputHTMLAttributes(autocomplete="off", spellcheck=True, enterkeyhint="search")}


def choice(label: str, info: str, choices: list[tuple[str, str]], usual: str) -> gr.Dropdown:
    """A dropdown over (label, value) pairs."""
    return gr.Dropdown(choices, value=usual, label=label, info=info, filterable=False)


def slider(label: str, info: str, bounds: tuple[int, int, int]) -> gr.Slider:
    """A slider over (least, most, default)."""
    least, most, usual = bounds
    return gr.Slider(least, most, value=usual, step=1, label=label, info=info, buttons=[])


def run_buttons(*, running: bool) -> tuple[Any, Any]:
    """Updates of the start and the stop button: one of them is shown."""
    return gr.Button(visible=not running), gr.Button(visible=running)


def kept(value: Any) -> gr.State:
    """State that may hold a visitor's own passages: gone half an hour after it was last written (an hour after the page was closed)."""
    return gr.State(value, time_to_live=LIFE_S)


def session_of(request: gr.Request) -> str:
    """The visitor's session; a call from outside the page gets one of its own, which nobody shares."""
    return str(getattr(request, "session_hash", None) or f"no-session:{uuid4().hex}")
