"""An MCP caller who leaves, by a real client that hangs up in the middle of a run: the model is free for the next one soon."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from urllib.parse import urlsplit

import pytest
from demo_parts import BROAD, QUERY, served, until, waiting, write_corpus

from demo.mcp_calls import cancel_when_left, watched

gradio_client = pytest.importorskip("gradio_client")
mcp = pytest.importorskip("mcp")
LONG = {"query": BROAD, "candidates": 20, "depth": 20, "window": 10, "stride": 1}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page with the fake model, at 20 ms a token: a whole long run takes half a minute."""
    with served(str(write_corpus(tmp_path_factory.mktemp("mcp") / "small")), delay=0.02, wait=180) as url:
        client = gradio_client.Client(url, verbose=False, httpx_kwargs={"timeout": 120})
        end = time.monotonic() + 180
        while (told := refusal(client)) and time.monotonic() < end:
            time.sleep(0.5)
        assert told == ""
        yield url


def refusal(client) -> str:
    try:
        client.predict(QUERY, api_name="/retrieve")
    except gradio_client.exceptions.AppError as error:
        return str(error)
    return ""


def behind(client, address):
    """A call that waits behind the run; asked again while the run has not taken the model yet."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        other = client.submit(QUERY, ["one passage"], api_name="/score")
        until(lambda other=other: other.done() or waiting(address) == 1, "the call in the queue, or served")
        time.sleep(1)
        if not other.done():
            return other
    pytest.fail("the run never took the model")


@pytest.mark.parametrize("progress", [False, True], ids=["plain", "with progress"])
def test_a_caller_who_hangs_up_frees_the_model(address, progress):
    params = {"name": "rerank_explain", "arguments": LONG, **({"_meta": {"progressToken": "p"}} if progress else {})}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    wire = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    wire.request("POST", "/gradio_api/mcp/", json.dumps(call), headers)
    client = gradio_client.Client(address, verbose=False, httpx_kwargs={"timeout": 120})
    other = behind(client, address)
    wire.close()
    other.result(timeout=15)  # left alone, the run would go on for longer


class Job:
    """A call that never ends by itself, as `gradio_client.client.Job` shows it."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.ended = False

    def done(self) -> bool:
        return self.ended

    def cancel(self) -> None:
        self.cancelled += 1


def test_a_call_that_ends_is_not_cancelled():
    async def execute(job):
        return ["answer"]

    job = Job()
    job.ended = True
    assert asyncio.run(watched(execute)(job)) == ["answer"]
    assert job.cancelled == 0


def test_a_cancelled_call_cancels_its_job():
    async def left(job):
        task = asyncio.create_task(watched(None)(job))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    job = Job()
    asyncio.run(left(job))
    end = time.monotonic() + 5
    while not job.cancelled and time.monotonic() < end:
        time.sleep(0.01)
    assert job.cancelled == 1


def test_another_gradio_is_left_alone():
    assert cancel_when_left(object()) is False
