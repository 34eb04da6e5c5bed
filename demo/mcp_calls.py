"""MCP callers who leave: Gradio serves their calls by a client of its own, which goes on when nobody listens any more; here it is cancelled."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger(__name__)

LOOK_S = 0.05  # how often a call is looked at
EXECUTORS = ("_execute_tool_without_progress", "_execute_tool_with_progress")  # of gradio 6; the first waits in a thread that nothing can interrupt


def cancel_when_left(server: Any) -> bool:
    """Make the calls of a `GradioMCPServer` end with their caller; False where this Gradio serves them in another way."""
    if not all(hasattr(server, name) for name in EXECUTORS):
        logger.info("this version of Gradio serves MCP in a way not known here: a run goes on when its caller leaves, until its deadline")
        return False
    for name in EXECUTORS:
        setattr(server, name, watched(getattr(server, name)))
    return True


def watched(execute: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """`execute(job, …)`, which cancels the job when it is itself cancelled before the job is done."""

    async def until_left(job: Any, *rest: Any) -> Any:
        try:
            while not rest and not job.done():  # with a progress token (`rest`) Gradio awaits the job's updates itself
                await asyncio.sleep(LOOK_S)
            return await execute(job, *rest)
        finally:
            if not job.done():
                # Cancelling asks this very server over HTTP: from its event loop that would wait for itself.
                threading.Thread(target=job.cancel, name="mcp-left", daemon=True).start()

    return until_left
