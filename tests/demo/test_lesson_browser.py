"""A prepared lesson from the first step to the worksheet, in a real browser, over the corpus that the lessons are about."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import choose, next_step, visitor
from demo_parts import served

from corpora.teaching import load
from demo.learning.lessons import lessons
from demo.learning.walk import STEPS

pytestmark = pytest.mark.browser
LESSON = next(iter(lessons().values()))
HEAD = ".walk-head:visible"
LOADED = "!/loading/.test(document.querySelector('.chips').innerText)"  # retrieval is there before the models are


@pytest.fixture(scope="module")
def site():
    """The page over the teaching corpus; the fake model, since the lesson's words and grades are what is looked at."""
    with served("teaching") as url:
        yield url


def begin(tab) -> None:
    tab.wait_for_function(LOADED)
    tab.get_by_role("tab", name="Learn").click()
    choose(tab, "Lesson", 0)
    tab.locator("button.dear-go:visible").click()
    tab.wait_for_selector(".spread")


def guess(tab) -> None:
    for place, label in enumerate(("Best", "Second", "Third")):
        choose(tab, label, place)
    tab.get_by_role("button", name="That is my guess").click()
    tab.wait_for_selector(".walk-list .chosen-as")


def tiles(tab) -> list[float]:
    """CE, RankNet, KL and their sum as the page shows them."""
    return [float(text.replace("−", "-")) for text in tab.locator(".loss-tiles:visible .value b").all_inner_texts()]


def turn(tab, name: str, presses: int) -> list[float]:
    """Move a slider of the losses by the keyboard; the tiles once the sum has changed."""
    knob = tab.get_by_label(f"range slider for {name}")
    knob.focus()
    for _ in range(abs(presses)):
        tab.keyboard.press("ArrowRight" if presses > 0 else "ArrowLeft")
    tab.wait_for_function(
        "() => document.querySelector('.loss-tiles')?.dataset.at === "
        "[...document.querySelectorAll('.lab-four input[type=range]')].map(e => Number(e.value)).join(' ')"
    )
    return tiles(tab)


def summed(values: list[float], alpha: float) -> bool:
    ce, ranknet, kl, total = values
    return abs(alpha * (ce + ranknet) + (1 - alpha) * kl - total) < 0.002  # of numbers rounded to three places


def turn_the_losses(tab) -> None:
    """Each slider moves what its formula says, and nothing else."""
    start = tiles(tab)
    assert summed(start, 0.1)
    score = tab.locator("tr.moved td:visible").first
    was = float(score.inner_text().replace("−", "-"))
    shifted = turn(tab, "Shift", 15)
    assert float(score.inner_text().replace("−", "-")) == pytest.approx(was + 1.5, abs=0.011)
    assert all(new != old for new, old in zip(shifted, start, strict=True))
    assert tab.locator(".loss-tiles .delta:visible").count() == 4
    assert turn(tab, "Shift", -15) == start
    warmer = turn(tab, "Temperature T", 10)
    assert warmer[:2] == start[:2]
    assert warmer[2] != start[2]
    assert summed(warmer, 0.1)
    labels = turn(tab, "Alpha α", 8)
    assert labels[:3] == warmer[:3]
    assert summed(labels, 0.5)


def grades(tab) -> list[str]:
    """What the page says of the three guessed passages."""
    return tab.locator(".walk-list li:has(.chosen-as) .grade").all_inner_texts()


def test_a_lesson_begins_by_its_card(chrome, site):
    third = list(lessons().values())[2]
    with visitor(chrome, site) as tab:
        tab.wait_for_function(LOADED)
        tab.get_by_role("tab", name="Learn").click()
        tab.get_by_role("button", name=third.title).focus()
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".spread")
        assert third.title in tab.locator(HEAD).text_content()
        assert third.title in tab.get_by_label("Lesson", exact=True).input_value()
        assert tab.evaluate("document.querySelector('.walk-bar').getBoundingClientRect().top >= 0")
        assert tab.locator("[data-lesson]").count() == 0, "the cards make room for the walk"


def test_the_first_lesson_from_guess_to_worksheet(chrome, site):
    query = next(query for query in load().queries if query.id == LESSON.query).text
    with visitor(chrome, site) as tab:
        begin(tab)
        assert tab.locator(".dear-query input:visible").input_value() == query
        head = tab.locator(HEAD).text_content()
        assert LESSON.title in head
        assert LESSON.predict in head
        guess(tab)
        assert LESSON.notice in tab.locator(HEAD).text_content()
        assert grades(tab) == [], "grades would give the next step away"
        seen = [STEPS[0], STEPS[1]]
        for name in STEPS[2:]:
            next_step(tab)
            seen.append(tab.locator(".walk-bar .now b").inner_text())
            if name == "Pointwise":
                tab.wait_for_selector(".numbers")
                assert "among the first three by pointwise" in tab.locator(".lab-note:visible:has-text('Of your three')").inner_text()
                assert len(grades(tab)) == 3
                assert any(grade.startswith("grade ") for grade in grades(tab))
            elif name == "Losses":
                tab.wait_for_selector(".loss-tiles:visible")
                turn_the_losses(tab)
            elif name == "Windows":
                tab.wait_for_selector("[data-player]")
        assert tuple(seen) == STEPS
        assert LESSON.question in tab.locator(".lab-card:visible").first.inner_text()
        with tab.expect_download() as download:
            tab.get_by_role("button", name="Download the worksheet").click()
        saved = Path(download.value.path()).read_text(encoding="utf-8")
        assert saved.startswith(f"# {LESSON.title}\n")
        assert "Your guess: A, B, C" in saved
        assert LESSON.answer not in tab.content()
