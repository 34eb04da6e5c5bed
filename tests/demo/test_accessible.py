"""axe-core on every tab, light and dark, wide and narrow; the keyboard alone; less motion where it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import SMALL, WIDE, choose, next_step, visitor
from demo_parts import QUERY

from demo.learning.lessons import lessons
from demo.learning.walk import STEPS

axe = pytest.importorskip("axe_playwright_python", reason="axe is not installed: pip install -r requirements-dev.txt")
pytestmark = pytest.mark.browser

AXE = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
FIELD, GO = ".dear-query input", "button.dear-go"
TABS = ("Explain", "Learn", "Compare", "My data", "API")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FOUND = """async (rules) => {
  const found = await axe.run(document, { resultTypes: ["violations"], runOnly: rules });
  const told = (rule, node) => `${rule.id} (${rule.impact}): ${node.target} ${node.html.slice(0, 160)} ${node.failureSummary.slice(0, 300)}`;
  return found.violations.flatMap((rule) => rule.nodes.map((node) => told(rule, node)));
}"""
UNREACHED = """() => [...document.querySelectorAll(
    "a[href], button:not([disabled]), input:not([disabled]), textarea, select, summary, [tabindex='0']")]
  .filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && e.getClientRects().length && e.tabIndex >= 0)
  .filter((e) => !(e.type === "radio" && !e.checked) && !e.dataset.reached).map((e) => e.outerHTML.slice(0, 120))"""
THERE = {"Explain": "#dear-candidates .card", "Learn": ".steps-long", "Compare": ".plain-list", "My data": ".lab-intro", "API": ".snippet pre"}
STEP = """() => {
  const e = document.activeElement, again = Boolean(e.dataset.reached);
  if (e !== document.body) e.dataset.reached = "1";
  return again;
}"""


def open_tab(tab, name: str) -> None:
    if tab.get_by_role("tab", name=name, exact=True).get_attribute("aria-selected") != "true":
        tab.get_by_role("tab", name=name, exact=True).click()
    tab.wait_for_selector(f"{THERE[name]}:visible")


def violations(tab) -> list[str]:
    if not tab.evaluate("Boolean(window.axe)"):
        tab.evaluate(AXE)
    return tab.evaluate(FOUND, RULES)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), slow(1280, "dark"), slow(390, "light")])
def test_axe_finds_nothing_on_any_tab(chrome, lab_site, width, scheme):
    with visitor(chrome, lab_site, width=width, scheme=scheme) as tab:
        tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img id=probe src=\"data:,\">')")
        assert any("image-alt" in found for found in violations(tab)), "axe looks"
        tab.evaluate("document.getElementById('probe').remove()")
        for name in TABS:
            open_tab(tab, name)
            assert violations(tab) == [], name
            assert tab.evaluate(WIDE) <= 0
            assert width > 760 or tab.evaluate(SMALL) == []


@pytest.mark.parametrize("scheme", ["light", slow("dark")])
def test_axe_finds_nothing_on_any_step_of_a_walk(chrome, lab_site, scheme):
    with visitor(chrome, lab_site, scheme=scheme) as tab:
        open_tab(tab, "Learn")
        choose(tab, "Lesson", len(lessons()))
        tab.wait_for_function("!document.querySelector('[role=tabpanel]:not([style*=none]) .dear-query input')?.disabled")
        tab.fill(f"{FIELD}:visible", "  ")
        tab.locator(f"{GO}:visible").click()
        tab.wait_for_selector("[role=alert]:visible")
        assert violations(tab) == [], "an alert"
        tab.fill(f"{FIELD}:visible", QUERY)
        tab.locator(f"{GO}:visible").click()
        tab.wait_for_selector(".spread:visible", timeout=30_000)
        tab.wait_for_selector(f"{GO}:visible", timeout=60_000)  # the student has ranked
        for name in STEPS:
            tab.wait_for_selector(f".walk-bar .now b:has-text('{name}')")
            assert violations(tab) == [], name
            if name != STEPS[-1]:
                next_step(tab)


@pytest.mark.parametrize("scheme", ["dark", slow("light")])
def test_axe_finds_nothing_in_a_comparison_and_an_upload(chrome, lab_site, tmp_path, scheme):
    with visitor(chrome, lab_site, scheme=scheme) as tab:
        open_tab(tab, "Compare")
        tab.fill(f"{FIELD}:visible", QUERY)
        tab.locator(f"{GO}:visible").click()
        tab.wait_for_selector(".versus", timeout=90_000)
        assert violations(tab) == [], "the ballot"
        tab.get_by_role("button", name="No difference").click()
        tab.wait_for_selector(".chosen")
        assert violations(tab) == [], "the verdict"
        open_tab(tab, "My data")
        path = tmp_path / "mixed.jsonl"
        path.write_text('{"id": "a", "text": "fine"}\n{"id": "b", "text": ""}\n', encoding="utf-8")
        tab.set_input_files(".lab-drop input[type=file]", str(path))
        tab.wait_for_selector(".lab-kept", timeout=60_000)
        tab.wait_for_selector(".lab-errors")
        assert violations(tab) == [], "passages kept, and a row left out"


@pytest.mark.parametrize("scheme", ["dark", slow("light")])
def test_axe_finds_nothing_in_a_run(chrome, slow_site, scheme):
    """While it runs, when it is done, and with an error, for what is on the page then is not there at first."""
    with visitor(chrome, slow_site, scheme=scheme) as tab:
        field = ".dear-query input, .dear-query textarea"
        tab.fill(field, QUERY)
        tab.press(field, "Enter")
        tab.wait_for_selector(".live .ref", timeout=30_000)
        assert violations(tab) == []
        tab.wait_for_selector("body:not(:has(.rail.told)) .report", timeout=60_000)
        for summary in tab.locator(".dear-page summary:visible").all()[:12]:
            summary.click()
        assert violations(tab) == []
        tab.get_by_role("button", name="Settings").click()
        tab.get_by_label("Model", exact=True).wait_for()
        assert violations(tab) == []
        tab.fill(field, " ")
        tab.press(field, "Enter")
        tab.wait_for_selector("[role=alert]", timeout=10_000)
        assert violations(tab) == []


WHICH = ".card:has-text('a shade of paint')"


def asked_which(tab) -> None:
    """A run is done, and of one card it was asked by keyboard which sentence matters."""
    field = ".dear-query input, .dear-query textarea"
    tab.fill(field, QUERY)
    tab.press(field, "Enter")
    tab.wait_for_selector("body:not(:has(.rail.told)) .report")
    tab.locator(f"{WHICH} button.which").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector(f"{WHICH} mark.occlusion")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), slow(1280, "dark"), slow(390, "light")])
def test_the_sentence_that_matters(chrome, lab_site, width, scheme):
    """Axe finds nothing; the button is gone, and what took its place has the focus."""
    with visitor(chrome, lab_site, width=width, scheme=scheme) as tab:
        asked_which(tab)
        tab.wait_for_function("document.activeElement.matches('.card .found')")
        assert "the most of 2" in tab.evaluate("document.activeElement.innerText")
        assert tab.locator(f"{WHICH} button.which").count() == 0
        assert violations(tab) == []
        assert tab.evaluate(WIDE) <= 0
        assert width > 760 or tab.evaluate(SMALL) == []


@pytest.mark.parametrize("name", ["Explain", "Learn", "API", slow("Compare"), slow("My data")])
def test_the_keyboard_alone_reaches_everything(chrome, lab_site, name):
    with visitor(chrome, lab_site) as tab:
        open_tab(tab, name)
        tab.evaluate("document.activeElement?.blur(); window.scrollTo(0, 0)")
        for _ in range(250):
            tab.keyboard.press("Tab")
            if tab.evaluate(STEP):
                break
        assert tab.evaluate(UNREACHED) == []


def test_tabs_and_the_first_run_by_keyboard(chrome, slow_site):
    with visitor(chrome, slow_site) as tab:
        tab.get_by_role("tab", name="Explain", exact=True).focus()
        for name in TABS[1:]:
            tab.get_by_role("tab", name=name, exact=True).focus()
            tab.keyboard.press("Enter")
            assert tab.get_by_role("tab", name=name, exact=True).get_attribute("aria-selected") == "true"
        tab.get_by_role("tab", name="Explain", exact=True).focus()
        tab.keyboard.press("Enter")
        tab.locator("body").press("/")
        tab.keyboard.press("Control+A")
        tab.keyboard.type(QUERY)
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".live .ref", timeout=30_000)
        tab.keyboard.press("Escape")
        tab.wait_for_selector("button.dear-go:visible")


def test_the_focus_stays_where_rank_and_stop_take_turns(chrome, slow_site):
    focused = "document.activeElement.classList.contains('dear-{}')"
    with visitor(chrome, slow_site) as tab:
        tab.fill(".dear-query input, .dear-query textarea", QUERY)
        tab.locator("button.dear-go:visible").focus()
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".live .ref", timeout=30_000)
        tab.wait_for_function(focused.format("stop"))
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".rail .listwise.stopped", state="attached")
        tab.wait_for_function(focused.format("go"))


def test_less_motion_where_it_was_asked_for(chrome, slow_site):
    with visitor(chrome, slow_site) as tab:
        assert tab.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches")
        field = ".dear-query input, .dear-query textarea"
        tab.fill(field, QUERY)
        tab.press(field, "Enter")
        tab.wait_for_selector(".live .ref", timeout=30_000)
        moving = (
            "document.getAnimations().filter(a => a.effect.getComputedTiming().duration > 20 && a.playState === 'running').map(a => a.animationName)"
        )
        assert tab.evaluate(moving) == []
