"""The real server in a process of its own, and clients that use it as programs do: what the benches of the page and of its load stand on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.page import LIMIT, free_port, wait_for

QUERY = "why is the sky blue"
FAKE_DELAY = "0.002"  # seconds a token (20 ms a batch of pairs)


@dataclass(frozen=True)
class Server:
    """A running server: where it is, and its process."""

    url: str
    process: subprocess.Popen[bytes]

    def memory(self) -> int:
        """Resident bytes of the server and its children."""
        import psutil

        root = psutil.Process(self.process.pid)
        return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)])

    def client(self) -> Any:
        """A program's client."""
        from gradio_client import Client

        return Client(self.url, verbose=False, analytics_enabled=False, httpx_kwargs={"timeout": 120})

    def retrieve(self) -> float:
        """Seconds of one retrieval on the route that never queues, which is the one the page takes."""
        body = json.dumps({"data": [QUERY, "", "bm25", 20]}).encode()
        request = urllib.request.Request(f"{self.url}/gradio_api/run/retrieve", body, {"Content-Type": "application/json"})
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        return time.perf_counter() - began


@dataclass
class Run:
    """Seconds until the first of each kind of event, and until the end; `refused` is what the server said instead."""

    first: dict[str, float]
    refused: str = ""


@contextmanager
def served(model: str) -> Iterator[Server]:
    """The server once it answers and its parts are loaded."""
    port = free_port()
    environment = {**os.environ, "DEAR_FAKE_DELAY": FAKE_DELAY}
    command = [sys.executable, "-m", "demo.boot", "--port", str(port), "--model", model]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = Server(f"http://127.0.0.1:{port}", process)
    try:
        wait_for(f"{server.url}/gradio_api/info", time.perf_counter())
        client = server.client()
        _until(lambda: not said(lambda: client.predict(QUERY, api_name="/retrieve")))
        told = said(lambda: client.predict(QUERY, candidates=5, depth=5, api_name="/rerank_explain"))
        if told:
            raise RuntimeError(f"the server does not rank ({told}): run `python -m demo.boot` by hand")
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)


def run(client: Any) -> Run:
    """One whole run over the API."""
    began, first = time.perf_counter(), {}
    job = client.submit(QUERY, api_name="/rerank_explain")
    seen = 0
    while not job.done() or seen < len(job.outputs()):  # iterating over a job that was turned away never ends
        for piece in job.outputs()[seen:]:
            seen += 1
            for event in piece:
                first.setdefault(event["type"], time.perf_counter() - began)
        time.sleep(0.005)
    error = job.exception()
    return Run(first, str(error) if error else "")


def together(work: Callable[[Any], Any], clients: list[Any]) -> list[Any]:
    """`work(client)` for all at once; results in the clients' order."""
    results: list[Any] = [None] * len(clients)

    def one(place: int) -> None:
        results[place] = work(clients[place])

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def crowd(server: Server, many: list[Any]) -> tuple[list[float], list[Run]]:
    """Seconds of each retrieval while all of them run, and their runs."""
    results: list[Run] = []
    working = threading.Thread(target=lambda: results.extend(together(run, many)))
    working.start()
    waits = []
    while working.is_alive():
        waits.append(server.retrieve())
        time.sleep(0.1)
    return waits, results


def said(call: Callable[[], Any]) -> str:
    """What the server says against a call; nothing when it answers."""
    from gradio_client.exceptions import AppError

    try:
        call()
    except AppError as error:
        return str(error)
    return ""


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"the server was not ready within {LIMIT:.0f} s: run `python -m demo.boot` by hand and read what it says")
        time.sleep(0.5)
