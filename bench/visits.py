"""What a visitor waits for: the page in a real browser, and each stage of a run, while others do the same."""

from __future__ import annotations

import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.serving import Run, run, served, together

CROWDS = (1, 5, 20)
FIRSTS = {"PointScore": "first score", "Token": "first token", "Final": "final ranking"}


def page(rounds: int, *, model: str = "dear-nano") -> dict[str, Any]:
    """Seconds until each thing is there, for 1, 5 and 20 clients at once; the median of the clients that were served."""
    with served(model) as server, _browser() as browser:
        rows = [_row(server, browser, count, rounds) for count in CROWDS]
    return {"what": f"seconds, model {model}, {rounds} rounds; paint is in a browser beside the clients", "rows": rows}


def _row(server: Any, browser: Any, count: int, rounds: int) -> dict[str, Any]:
    clients = together(lambda _: server.client(), [None] * count)
    runs: list[Run] = []
    paints, candidates = [], []
    for _ in range(rounds):
        crowd = threading.Thread(target=lambda: runs.extend(together(run, clients)))
        crowd.start()
        time.sleep(0.2)
        paints.append(_paint(browser, server.url))
        candidates += together(lambda _: server.retrieve(), clients)
        crowd.join()
    whole = [done for done in runs if not done.refused]
    row = {"clients": count, "first useful paint": _median(paints), "candidates": _median(candidates)}
    row |= {label: _median([done.first[kind] for done in whole if kind in done.first]) for kind, label in FIRSTS.items()}
    return row | {"turned away": len(runs) - len(whole)}


def _paint(browser: Any, url: str) -> float:
    """Seconds from asking for the page to the first passage that can be read."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        tab = context.new_page()
        began = time.perf_counter()
        tab.goto(url, wait_until="commit")
        tab.wait_for_selector(".card h3", timeout=60_000)
        return time.perf_counter() - began
    finally:
        context.close()


@contextmanager
def _browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else "–"
