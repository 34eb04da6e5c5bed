"""The Gradio app. `build_demo` makes it, `launch` serves it; `demo.boot.main` does both behind a page that says what is loading."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # both before the import below
os.environ["GRADIO_TEMP_DIR"] = os.environ.get("GRADIO_TEMP_DIR") or tempfile.mkdtemp(prefix="dear-page-")  # visitors' files, this server's own

from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from demo import limits, render, theme
from demo.body_limit import BodyLimit
from demo.mcp_calls import cancel_when_left
from demo.resources import Resources
from demo.tabs import api, compare, explain, learn, mydata
from demo.tabs.widgets import plain
from demo.uploads import Uploads


def build_demo(resources: Resources) -> gr.Blocks:
    """The page over these resources; starts nothing and loads nothing."""
    options = {"analytics_enabled": False, "fill_width": True, "delete_cache": limits.DELETE_CACHE}
    with gr.Blocks(title="DeAR: reranking you can read", **options) as demo, gr.Column(elem_classes="dear-page"):
        header = gr.HTML(render.header(resources.chips()), **plain())
        uploads = Uploads(resources)
        with gr.Tabs(elem_classes="dear-tabs") as tabs:
            with gr.Tab("Explain", id="explain"), gr.Column(elem_classes="dear-page"):
                fields = [explain.build(resources, uploads, demo, header)]
            with gr.Tab("Learn", id="learn"), gr.Column(elem_classes="dear-page"):
                fields.append(learn.build(resources, uploads))
            with gr.Tab("Compare", id="compare"), gr.Column(elem_classes="dear-page"):
                fields.append(compare.build(resources, uploads, demo))
            with gr.Tab("My data", id="mydata") as mine, gr.Column(elem_classes="dear-page"):
                mydata.build(resources, uploads, demo, tabs, mine, fields)
            with gr.Tab("API", id="api"), gr.Column(elem_classes="dear-page"):
                api.build(resources, demo)
    return demo.queue(max_size=limits.QUEUE_SIZE, api_open=False)


def launch(demo: gr.Blocks, *, host: str = "127.0.0.1", port: int = 7860, **options: Any) -> None:
    """Serve the page and return at once; raises `OSError` when the port is not free."""
    demo.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        theme=theme.gradio_theme(),
        head=theme.head(),
        show_error=False,
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=api.speaks_mcp(),
        footer_links=[],
        allowed_paths=[],
        max_file_size=limits.MAX_BODY,
        app_kwargs={"middleware": [Middleware(BodyLimit, limit=limits.MAX_REQUEST, upload=limits.MAX_UPLOAD)]},
        state_session_capacity=limits.SESSIONS,
        **options,
    )
    if demo.mcp_server_obj is not None:
        cancel_when_left(demo.mcp_server_obj)
