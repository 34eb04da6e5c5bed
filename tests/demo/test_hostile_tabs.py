"""Text that tries to run, in a real browser, in the tabs beside Explain: as query, as passage, id and title, in the model's answer, as file."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from browsing import choose, visitor
from demo_parts import CANARIES

from demo.learning.lessons import lessons
from demo.learning.walk import STEPS

PLANTED = ".dear-page :is(img, script, style, iframe, object, [onmouseover], [onload], [onerror])"
CONTROLS = "[...document.body.innerText].filter(c => /[\\u202a-\\u202e\\u2066-\\u2069]/.test(c)).length"
BUTTON = "button.dear-go:visible"
FIELD = ".dear-query input:visible"


@contextmanager
def attacked(chrome, site, name: str):
    """A visitor in a tab of the page; at the end nothing ran, and nothing was put into the page but text."""
    with visitor(chrome, site) as tab:
        tab.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
        tab.get_by_role("tab", name=name).click()
        tab.wait_for_selector(BUTTON if name in ("Learn", "Compare") else ".lab-intro:visible")
        yield tab
        inert(tab)


def inert(tab) -> None:
    for element in tab.locator(".dear-page :is(li, h2, h3, q, b):visible").all()[:30]:
        element.hover(force=True, timeout=2_000)
    assert tab.evaluate("window.canary === undefined")
    assert tab.locator(PLANTED).count() == 0
    assert tab.evaluate(CONTROLS) == 0


HOSTILE = [f"canary in the text {' '.join(part)}" for part in (CANARIES[:4], CANARIES[4:])]


@pytest.mark.browser
@pytest.mark.parametrize("query", HOSTILE, ids=["first", "second"])
def test_compare(chrome, lab_site, query):
    with attacked(chrome, lab_site, "Compare") as tab:
        tab.fill(FIELD, query)
        tab.press(FIELD, "Enter")
        tab.wait_for_selector(".versus", timeout=90_000)
        assert "canary" in tab.locator(".versus").inner_text()
        inert(tab)
        tab.get_by_role("button", name="No difference").click()
        tab.wait_for_selector(".chosen")
        for fold in tab.locator(".versus summary").all()[:4]:
            fold.click()


@pytest.mark.browser
@pytest.mark.parametrize("query", HOSTILE, ids=["first", "second"])
def test_learn(chrome, lab_site, query):
    with attacked(chrome, lab_site, "Learn") as tab:
        choose(tab, "Lesson", len(lessons()))
        tab.wait_for_function("!document.querySelector('[role=tabpanel]:not([style*=none]) .dear-query input')?.disabled")
        tab.fill(FIELD, query)
        tab.locator(BUTTON).click()
        tab.wait_for_selector(".spread", timeout=30_000)
        assert "canary" in tab.locator(".spread").inner_text()
        for name in STEPS:
            tab.wait_for_selector(f".walk-bar .now b:has-text('{name}')")
            if name == "Windows":
                tab.wait_for_selector("[data-player]", timeout=60_000)
                tab.get_by_role("button", name="one step forward").click()
            if name == "Rank me first":
                tab.wait_for_selector("textarea:visible", timeout=60_000)
                tab.fill("textarea:visible", " ".join(CANARIES)[:290])
                tab.get_by_role("button", name="Plant it").click()
                tab.wait_for_selector(".tries", timeout=60_000)
            inert(tab)
            if name != STEPS[-1]:
                tab.get_by_role("button", name="Next step").click()


@pytest.mark.browser
def test_my_data(chrome, lab_site, tmp_path):
    rows = [{"id": canary, "title": canary, "text": f"A canary {canary} in the text."} for canary in CANARIES]
    file = tmp_path / "${window.canary='file'}<img src=x onerror=alert(1)>.jsonl"
    file.write_text("\n".join([*map(json.dumps, rows), *CANARIES]), encoding="utf-8")
    with attacked(chrome, lab_site, "My data") as tab:
        tab.set_input_files(".lab-drop input[type=file]", str(file))
        tab.wait_for_selector(".lab-kept", timeout=60_000)
        tab.wait_for_selector(".lab-errors")
        inert(tab)
        tab.get_by_role("button", name="Search them in Explain").click()
        tab.wait_for_selector(FIELD)
        tab.fill(FIELD, "canary in the text")
        tab.press(FIELD, "Enter")
        tab.wait_for_selector("body:not(:has(.rail.told)) .report", timeout=90_000)
        assert "canary" in tab.locator(".cards").first.inner_text()
