"""The page in a real browser: stages arrive in order, Stop keeps the ranking, attacks stay text, a phone does not scroll sideways."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import pytest
from browsing import READY
from demo_parts import BROAD, CANARIES, QUERY, served, write_corpus

FIELD = ".dear-query input, .dear-query textarea"
LONG = "?k=20&depth=20&window=10&stride=1"  # with a broad query: windows for half a minute, so that only a run that is ended makes room
SCORING = ".rail:not(.told):not(:has(.listwise.stopped)) :is(.pointwise.running, .pointwise.done)"  # of a run that is neither recorded nor over


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return str(write_corpus(tmp_path_factory.mktemp("pages") / "small"))


@pytest.fixture(scope="module")
def site(corpus):
    """The page with the fake model, slow enough that a run can be seen and stopped: 5 ms a token, 50 ms a batch."""
    with served(corpus, delay=0.005) as url:
        yield url


@pytest.fixture
def page(chrome, site):
    """A fresh visitor; fails on a script error or a request to anywhere else."""
    context = chrome.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
    tab.on("request", lambda request: wrong.append(f"outside: {request.url}") if _outside(request.url, site) else None)
    open_page(tab, site)
    yield tab
    context.close()
    assert wrong == []


def _outside(url: str, site: str) -> bool:
    return not url.startswith(("data:", "blob:")) and urlsplit(url).netloc != urlsplit(site).netloc


def open_page(tab, url: str) -> None:
    tab.goto(url)
    tab.wait_for_selector(FIELD, timeout=60_000)
    tab.wait_for_selector(READY, timeout=60_000)  # the rest a run waits for


def ask(tab, query: str) -> None:
    tab.fill(FIELD, query)
    tab.press(FIELD, "Enter")


def done(tab, timeout: float = 60_000) -> None:
    tab.wait_for_selector("body:not(:has(.rail.told)) .report", timeout=timeout)  # not the recorded example's
    tab.wait_for_selector("button.dear-go:visible", timeout=10_000)


def test_the_three_stages_arrive_in_order(page):
    assert page.locator(".rail.told li.done").count() == 3
    assert page.locator(".chip.recorded").inner_text() == "recorded"
    page.keyboard.press("Escape")
    page.locator("body").press("/")
    assert page.evaluate(f"document.activeElement.matches('{FIELD}')")
    ask(page, QUERY)
    order = []
    rail = ".rail:not(.told)"  # the run's own, not the recorded example's
    for selector in (f"{rail} .retrieval.done", f"{rail} .pointwise.done", f"{rail} .listwise.running", ".live .ref", f"{rail} .listwise.done"):
        page.wait_for_selector(selector, timeout=30_000, state="attached")
        order.append(page.evaluate("[...document.querySelectorAll('.rail:not(.told) li')].map(li => li.classList[1]).join(' ')"))
    done(page)
    assert order[0].startswith("done")
    assert order[1].startswith("done done")
    assert order[-1] == "done done done"
    cards = page.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.d)")
    assert len(cards) == len(set(cards)) == page.locator(".slope .track").count()
    assert page.locator(".report .tile").count() == 3
    assert page.locator(".report .ndcg").count() == 3
    assert page.locator(".dear-page [role=status]").count() == 1
    assert "Ranking complete" in page.locator(".dear-page [role=status]").inner_text()
    assert page.locator(".live").count() == 0
    assert "q=why+is+the+sky+blue" in page.url


def test_links_and_the_prompt(page):
    ask(page, QUERY)
    done(page)
    link = page.locator(".written a.ref, .chain a.ref").nth(1)
    number = link.get_attribute("data-d")
    link.click()
    assert page.evaluate("document.activeElement.id") == f"card-{number}"
    assert page.url.endswith(urlsplit(page.url).query), "a link to a card does not leave the page"
    page.get_by_role("button", name="Show prompt").click()
    assert page.locator(".sheet:popover-open pre").inner_text().count("[1]") >= 1
    page.keyboard.press("Escape")
    page.locator(".slope .track").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.classList.contains('card')")


def test_stop_keeps_the_ranking_and_frees_the_model(page, site):
    open_page(page, site + LONG)
    ask(page, BROAD)
    page.wait_for_selector(".live .ref", timeout=30_000)
    before = page.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.d)")
    page.keyboard.press("Escape")
    page.wait_for_selector("button.dear-go:visible", timeout=2_000)
    assert page.locator(".rail .listwise.stopped").count() == 1
    assert "best so far (pointwise)" in page.locator(".notes").inner_text()
    assert page.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.d)") == before
    ask(page, "scattered light")  # the model is free: the next run goes through
    page.wait_for_selector(SCORING, state="attached", timeout=4_000)
    done(page)


def test_a_closed_tab_frees_the_model(chrome, site, page):
    other = chrome.new_context()
    tab = other.new_page()
    open_page(tab, site + LONG)
    ask(tab, BROAD)
    tab.wait_for_selector(".live .ref", timeout=30_000)
    ask(page, QUERY)
    page.wait_for_selector(".rail:not(.told) .retrieval.done", state="attached")
    assert page.locator(SCORING).count() == 0, "the other visitor's run holds the model, or this test shows nothing"
    other.close()
    page.wait_for_selector(SCORING, state="attached", timeout=4_000)
    done(page)


def test_a_new_query_takes_the_place_of_the_one_before(page):
    ask(page, QUERY)
    page.wait_for_selector(".live .ref", timeout=30_000)
    ask(page, "butterscotch dust")
    done(page)
    assert page.locator(".card h3").first.inner_text() == "Mars"


def test_what_a_run_still_had_to_say_stays_off_the_page_of_the_next(chrome, site, page):
    """The second question waits behind another visitor's run: neither the cards nor the end of the first one replace its candidates."""
    open_page(page, site + LONG)
    ask(page, BROAD)
    page.wait_for_selector(".live .ref", timeout=30_000)
    other = chrome.new_context()
    try:
        tab = other.new_page()
        open_page(tab, site + LONG)
        ask(tab, BROAD)
        tab.wait_for_selector(".rail:not(.told) .retrieval.done", state="attached")
        ask(page, "butterscotch dust")
        tab.wait_for_selector(SCORING, state="attached", timeout=10_000)  # the first question's run has ended
        page.wait_for_timeout(1_000)  # in which nothing is to happen
        assert page.locator(".card h3").first.inner_text() == "Mars"
        assert "took its place" not in page.locator("body").inner_text()
        assert page.locator("button.dear-stop").first.is_visible(), "the second still waits, and can be stopped"
    finally:
        other.close()
    done(page)
    assert page.locator(".card h3").first.inner_text() == "Mars"


def test_an_open_prompt_stays_open_while_windows_end(page, site):
    open_page(page, site + LONG)
    ask(page, BROAD)
    page.wait_for_selector(".live .ref", timeout=30_000)
    page.locator("button:visible:has-text('Show prompt')").first.click()
    page.wait_for_selector(".sheet:popover-open")
    shown = page.locator(".sheet:popover-open h3").inner_text()
    ended = page.locator("details.window").count()
    page.wait_for_function(f"document.querySelectorAll('details.window').length > {ended + 1}", timeout=60_000)
    assert page.locator(".sheet:popover-open h3").inner_text() == shown
    page.keyboard.press("Escape")  # closes the prompt
    page.keyboard.press("Escape")  # stops the run
    page.wait_for_selector("button.dear-go:visible", timeout=10_000)


@pytest.mark.parametrize("bad", ["x" * 10_000, "   "])
def test_a_bad_query_is_said_and_the_page_goes_on(page, bad):
    ask(page, bad)
    alert = page.wait_for_selector("[role=alert]", timeout=10_000).inner_text()
    assert ("10000 characters" in alert and "300" in alert) or "empty" in alert
    ask(page, QUERY)
    done(page)
    assert page.locator("p.alert").count() == 0


@pytest.mark.parametrize("canaries", [CANARIES[:4], CANARIES[4:]], ids=["first", "second"])
def test_attacks_stay_text(page, canaries):
    """Each in the query; all of them at once in passages, ids, titles and, quoted by the scripted model, its answer."""
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    ask(page, f"canary in the text {' '.join(canaries)}")
    done(page)
    for card in page.locator(".card .names, .slope .name, .term, .need, q, h3").all()[:60]:
        card.hover(force=True, timeout=2_000) if card.is_visible() else None
    assert page.evaluate("window.canary === undefined")
    assert page.locator(".dear-page img, .dear-page script, .dear-page style, .dear-page [onmouseover]").count() == 0
    text = page.locator(".cards").first.inner_text()
    assert "onerror" in text or "window.canary" in text or "canary" in text
    overrides = page.evaluate("[...document.querySelector('.dear-page').textContent].filter(c => /[\\u202a-\\u202e\\u2066-\\u2069]/.test(c)).length")
    assert overrides == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(chrome, site, scheme):
    context = chrome.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, reduced_motion="reduce")
    tab = context.new_page()
    open_page(tab, site)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert tab.evaluate(wide) <= 0
    ask(tab, "canary in the text why is the sky blue")
    done(tab)
    assert tab.evaluate(wide) <= 0
    assert not tab.locator("svg.slope").is_visible()
    assert tab.locator(".twin-narrow table").is_visible()
    small = tab.evaluate(
        "[...document.querySelectorAll('.dear-page button, .dear-page summary:not(.passage > summary)')]"
        ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML.slice(0, 90))"
    )
    assert small == []
    context.close()


def test_the_address_fills_the_settings(chrome, site):
    context = chrome.new_context()
    tab = context.new_page()
    open_page(tab, f"{site}/?{urlencode({'q': '<b>sky</b> ${1}', 'retriever': 'dense', 'k': '12', 'reasoning': 'off', 'model': '<i>x'})}")
    tab.wait_for_function(f"document.querySelector('{FIELD}').value === '<b>sky</b> ${{1}}'", timeout=10_000)
    assert "'<i>x'" in tab.locator("[role=alert]").inner_text()
    tab.wait_for_function("document.querySelector('.dear-settings').textContent.includes('Dense · 12 candidates')", timeout=10_000)
    assert "fast mode" in tab.locator(".dear-settings").inner_text()
    context.close()


@pytest.mark.model
def test_the_embedded_student_ranks(chrome):
    """The real thing, with what comes with the project: Lucene, the bundled corpus, the 135M student."""
    with served("teaching", model="dear-nano") as url:
        context = chrome.new_context(viewport={"width": 1280, "height": 900})
        tab = context.new_page()
        open_page(tab, f"{url}/?k=8&depth=6")  # a query given before the student is there waits for it
        ask(tab, "why is the sky blue")
        done(tab, 280_000)
        assert "dear-nano" in tab.locator(".chips").inner_text()
        assert tab.locator(".rail li.done").count() == 3
        assert tab.locator(".badge.complete, .badge.repaired").count() >= 1
        assert tab.locator(".card").count() == 8
        context.close()
