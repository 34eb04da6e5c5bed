"""The API tab, and the four calls it describes, put on the server."""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from dear.errors import DearError
from demo import api_panel
from demo.api import Api
from demo.recordings import recordings
from demo.resources import Resources, short_name
from demo.tabs.widgets import QUIET, plain


def build(resources: Resources, demo: gr.Blocks) -> None:
    """Add the tab's panel, which names the visitor's own address of this server, and the calls."""
    panel = gr.HTML(api_panel.waiting(), **plain())

    def shown(request: gr.Request) -> str:
        return _page(resources, _address(request))

    demo.load(shown, None, panel, queue=False, **QUIET)
    api = Api(resources, recordings())
    for call in (api.retrieve, api.replay):
        gr.api(_told(call), api_name=call.__name__, queue=False)
    for call in (api.score, api.rerank_explain):
        gr.api(_told(call), api_name=call.__name__, concurrency_id="model", concurrency_limit=1)


def speaks_mcp() -> bool:
    """Whether the MCP package is here in the version that Gradio's server is written for."""
    try:
        return importlib.metadata.version("mcp").split(".")[0] == "1"
    except importlib.metadata.PackageNotFoundError:
        return False


def _page(resources: Resources, base: str) -> str:
    corpora = tuple(short_name(name) for name in resources.corpora)
    return api_panel.page(base, mcp=speaks_mcp(), corpora=corpora, models=tuple(resources.models))


def _address(request: gr.Request) -> str:
    """As the visitor's browser wrote it; behind a proxy, what that forwards."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", "http").split(",")[0].strip()
    return api_panel.address(scheme, headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip())


def _told(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call as Gradio serves it: described by its own signature and docstring, its errors told in words, and over MCP its answer as JSON."""
    if inspect.isgeneratorfunction(call):

        @functools.wraps(call)
        def told(*values: Any) -> Iterator[Any]:
            try:
                for part in _apart(call(*values)):
                    yield _carried(part)
            except DearError as error:
                raise gr.Error(str(error), print_exception=False) from error
    else:

        @functools.wraps(call)
        def told(*values: Any) -> Any:
            try:
                return _carried(call(*values))
            except DearError as error:
                raise gr.Error(str(error), print_exception=False) from error

    told.__signature__ = inspect.signature(call).replace(return_annotation=list[dict])  # type: ignore[attr-defined]
    return told


def _apart(parts: Iterator[list[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    """The parts with an empty one between any two.

    Gradio sends each as its difference from the one before, and counts wrongly where lists within lists grow shorter in several
    places (`gradio.utils.diff`): a client then reads events that were never sent, or stops. From and to an empty list it counts well.
    """
    before: list[dict[str, Any]] = []
    with closing(parts):  # type: ignore[type-var]
        for part in parts:
            if before and part:
                yield []
            yield part
            before = part


def _carried(answer: list[dict[str, Any]]) -> list[dict[str, Any]] | str:
    """The answer itself; as JSON text for MCP, which carries text and would otherwise be given Python's notation."""
    return json.dumps(answer, ensure_ascii=False) if _over_mcp() else answer


def _over_mcp() -> bool:
    """Whether the request came in over MCP: directly, or by way of the client that serves the calls of its queue."""
    request = LocalContext.request.get(None)
    if request is None:
        return False
    return request.headers.get("x-gradio-user") == "mcp" or request.url.path.startswith("/gradio_api/mcp")
