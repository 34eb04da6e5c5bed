"""From `make demo` to something to see: times and memory of the real server in its own process."""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

LIMIT = 300.0


def start(rounds: int) -> dict[str, Any]:
    """Seconds until the loading page, until the app, and peak memory of the server with the student loaded."""
    first, ready, peaks = [], [], []
    for _ in range(min(rounds, 2)):
        a, b, c = _serve()
        first.append(a)
        ready.append(b)
        peaks.append(c)
    rows = [
        {"until a page says what loads": f"{statistics.median(first):.2f} s"},
        {"until the app answers": f"{statistics.median(ready):.1f} s"},
        {"peak memory of the server, student loaded": f"{max(peaks) / 2**30:.2f} GiB"},
    ]
    return {"what": f"the server in its own process, {len(first)} starts", "rows": rows}


def _serve() -> tuple[float, float, float]:
    import psutil

    port = free_port()
    begin = time.perf_counter()
    server = subprocess.Popen([sys.executable, "-m", "demo.boot", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first = wait_for(f"http://127.0.0.1:{port}/", begin)
        ready = wait_for(f"http://127.0.0.1:{port}/gradio_api/info", begin)
        process, peak, quiet = psutil.Process(server.pid), 0, 0
        while quiet < 20 and time.perf_counter() - begin < LIMIT:  # until memory has been level for ten seconds
            memory = sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])
            quiet = quiet + 1 if memory <= peak * 1.01 else 0
            peak = max(peak, memory)
            time.sleep(0.5)
        return first, ready, peak
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for(url: str, begin: float) -> float:
    while time.perf_counter() - begin < LIMIT:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return time.perf_counter() - begin
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(f"{url} did not answer within {LIMIT:.0f} s: run `python -m demo.boot` by hand and read what it says")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
