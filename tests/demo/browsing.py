"""A visitor in a real browser: fails on a script error or on a request to anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALL = (
    "[...document.querySelectorAll('.dear-page button:not(.upload-container button), .dear-page summary:not(.passage > summary)')]"
    ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML.slice(0, 90))"
)

NOW = ".walk-bar .now b"
READY = ".dear-examples > button.dear-example:visible"  # the corpus is there; the exports wear the class too and are there at once
LOADED = "(() => { const chips = document.querySelector('.chips'); return chips && !/loading/.test(chips.innerText); })()"


@contextmanager
def visitor(chrome: Any, site: str, *, width: int = 1280, scheme: str = "light") -> Iterator[Any]:
    """A fresh visitor's page, once corpus, index and model are there."""
    context = chrome.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    tab.on("request", lambda request: wrong.append(f"outside: {request.url}") if _outside(request.url, site) else None)
    tab.goto(site)
    try:
        tab.wait_for_selector(READY, timeout=60_000)
        tab.wait_for_function(LOADED, timeout=60_000)
        yield tab
    finally:
        context.close()  # a page left open keeps its run, and its run the model
    assert wrong == []


def no_sideways_scroll(tab: Any) -> None:
    """The page is no wider than the screen, and what is pressed is large enough for a finger."""
    assert tab.evaluate(WIDE) <= 0
    assert tab.evaluate(SMALL) == []


def choose(tab: Any, label: str, place: int) -> None:
    """Choose an entry of a Dropdown by its place."""
    field = tab.get_by_label(label, exact=True)
    field.click()
    tab.locator(f"#{field.get_attribute('aria-controls')} [role=option]").nth(place).click()


def next_step(tab: Any) -> None:
    """Press Learn's button, and wait for the step it opens: a second press while the first is under way counts once."""
    before = tab.locator(NOW).inner_text()
    tab.get_by_role("button", name="Next step").click()
    tab.wait_for_function("([now, before]) => document.querySelector(now)?.innerText !== before", arg=[NOW, before])


def _outside(url: str, site: str) -> bool:
    return not url.startswith(("data:", "blob:")) and urlsplit(url).netloc != urlsplit(site).netloc
