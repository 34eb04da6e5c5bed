"""The Learn tab in a real browser: walk, play and stop with a query of one's own, what cannot begin, a phone."""

from __future__ import annotations

import pytest
from browsing import choose, next_step, no_sideways_scroll, visitor

from demo.learning.lessons import lessons
from demo.learning.walk import STEPS

pytestmark = pytest.mark.browser


def test_walk_play_stop(chrome, lab_site):
    with visitor(chrome, lab_site) as tab:
        tab.get_by_role("tab", name="Learn").click()
        tab.wait_for_selector(".steps-long")
        tab.locator("button.dear-go:visible").click()
        assert "need the teaching corpus" in tab.wait_for_selector("p.alert:visible").inner_text()
        choose(tab, "Lesson", len(lessons()))
        tab.wait_for_function("!document.querySelector('[role=tabpanel]:not([style*=none]) .dear-query input')?.disabled")
        tab.fill(".dear-query input:visible", "canary in the text why is the sky blue")
        tab.locator("button.dear-go:visible").click()
        tab.wait_for_selector(".spread")
        tab.keyboard.press("Escape")
        tab.wait_for_selector("button.dear-go:visible")
        tab.fill(".dear-query input:visible", "the canary asks why the sky is blue")  # another, so that the new walk is seen to be there
        tab.locator("button.dear-go:visible").click()
        tab.wait_for_selector(".asked:has-text('the canary asks')")
        for place, label in enumerate(("Best", "Second", "Third")):
            choose(tab, label, place)
        tab.get_by_role("button", name="That is my guess").click()
        tab.wait_for_selector(".walk-list .chosen-as")
        for _ in range(2):
            next_step(tab)
        tab.wait_for_selector("[data-player]", timeout=30_000)
        field = tab.locator("[data-player] input")
        tab.get_by_role("button", name="one step forward").click()
        assert field.input_value() == "1"
        assert "reads places" in tab.locator(".frame:visible .caption").inner_text()
        field.focus()
        tab.keyboard.press("End")
        assert "has ranked them" in tab.locator(".frame:visible .caption").inner_text()
        assert tab.locator(".frame:visible").count() == 1
        tab.get_by_role("button", name="Play").click()
        assert tab.get_by_role("button", name="Pause").get_attribute("aria-pressed") == "true"
        for _ in range(2):
            next_step(tab)
        tab.get_by_role("button", name="Leave out each sentence").click()
        tab.wait_for_selector(".worths, .tries p", timeout=20_000)
        for _ in range(2):
            next_step(tab)
        tab.wait_for_selector(".sheet-text")
        with tab.expect_download() as download:
            tab.get_by_role("button", name="Download the worksheet").click()
        assert download.value.suggested_filename.startswith("worksheet-")
        assert not tab.get_by_role("button", name="Next step").is_visible()
        assert tab.evaluate("window.canary === undefined")


def test_a_guess_given_by_key_leaves_the_reader_at_what_it_brought(chrome, lab_site):
    with visitor(chrome, lab_site) as tab:
        tab.get_by_role("tab", name="Learn").click()
        tab.wait_for_selector(".steps-long")
        choose(tab, "Lesson", len(lessons()))
        tab.fill(".dear-query input:visible", "why is the sky blue, says the canary")
        tab.locator("button.dear-go:visible").click()
        tab.wait_for_selector(".asked:has-text('says the canary')")
        for place, label in enumerate(("Best", "Second", "Third")):
            choose(tab, label, place)
        tab.get_by_role("button", name="That is my guess").press("Enter")
        tab.wait_for_selector(".walk-list .chosen-as")
        tab.wait_for_function("document.activeElement?.closest('.walk-head, .walk-bar')", timeout=6_000)  # the button is gone, the place is kept


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(chrome, lab_site, scheme):
    with visitor(chrome, lab_site, width=390, scheme=scheme) as tab:
        tab.get_by_role("tab", name="Learn").click()
        tab.wait_for_selector(".steps-long")
        choose(tab, "Lesson", len(lessons()))
        tab.fill(".dear-query input:visible", "why is the sky blue, says the canary")
        tab.locator("button.dear-go:visible").click()
        for name in STEPS:
            tab.wait_for_selector(f".walk-bar .now b:has-text('{name}')")
            if name in ("Change", "Rank me first"):
                tab.wait_for_selector("textarea:visible", timeout=30_000)
            no_sideways_scroll(tab)
            if name != STEPS[-1]:
                tab.get_by_role("button", name="Next step").click()
