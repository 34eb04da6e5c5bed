"""Which sentence matters: asked of a card, found by leaving each out, marked beside quotes and words; Stop frees the model."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from demo_parts import QUERY, TEXTS, Words, passages
from test_browser import ask, corpus, done, page, site  # noqa: F401 - fixtures

from corpora.registry import Corpus
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.explain import Occlusion, decisive
from dear.types import Passage
from demo import limits, session
from demo.kept_runs import KeptRuns
from demo.resources import Resources
from demo.uploads import Uploads

pytest.importorskip("gradio")
ANNA, BEN = SimpleNamespace(session_hash="anna"), SimpleNamespace(session_hash="ben")
CARDS, SAID = 0, 1


@pytest.fixture
def tab():
    """The tab's handlers over resources that are there, with Anna's finished run."""
    from demo.tabs.explain import ExplainTab

    resources = Resources(corpora=("small",), models=("fake",))
    parts = {"corpus:small": Corpus("small", passages()), "retriever:small:bm25": Words(passages())}
    for key, value in (parts | {"scorer:fake": FakeScorer(), "generator:fake": FakeGenerator()}).items():
        resources._jobs[key].state, resources._jobs[key].value = "ready", value
    found = ExplainTab(resources, session.Tickets(), Uploads(resources), KeptRuns())
    ticket = found.tickets.open("anna")
    found.kept.keep("anna", ticket.events)
    view = list(session.explain(resources, limits.Request(QUERY, "small", model="fake"), ticket))[-1]
    assert view.final
    found.number = view.number("paint")
    return found


def test_the_sentence_that_the_score_needs_most_is_marked(tab):
    last = list(tab.sentences(tab.number, ANNA))[-1]
    (marked,) = re.findall(r'<mark class="ev occlusion">(.*?)</p>', last[CARDS])
    shown = re.sub(r"<[^>]+>", "", marked)
    assert shown.replace("&#x27;", "'").startswith(TEXTS["paint"][1].split(". ")[0])
    assert re.search(r'<mark class="ev occlusion">(<mark class="ev quoted">)?<mark class="ev lexical">Sky</mark>', last[CARDS]), "words nest in it"
    assert "the most of 2" in last[CARDS]
    assert tab.resources.model_lock.acquire(timeout=2), "the model is free again"


def test_what_cannot_be_looked_into_is_said(tab):
    for number in (0, 99, None, "1", True, float("nan")):
        (only,) = tab.sentences(number, ANNA)
        assert "choose one of D1 to D6" in only[SAID]
    (only,) = tab.sentences(1, BEN)
    assert "press Rank first" in only[SAID], "another visitor's run is not there for Ben"


def test_stop_ends_it_and_frees_the_model(tab):
    tab.resources._jobs["scorer:fake"].value = FakeScorer(delay=0.6)
    tab.resources.model_lock.acquire()
    steps = tab.sentences(tab.number, ANNA)
    next(steps)
    tab.stop(ANNA)
    tab.resources.model_lock.release()
    assert "Stopped." in list(steps)[-1][SAID]
    assert tab.resources.model_lock.acquire(timeout=2)


def test_only_a_fall_is_decisive():
    passage = Passage("a", "One. Two.")
    assert decisive(passage, ()) is None
    assert decisive(passage, (Occlusion(0, 4, -0.5), Occlusion(5, 9, 0.0))) is None
    assert decisive(passage, (Occlusion(0, 4, 0.1), Occlusion(5, 9, 0.2))).quote == "Two."


def test_a_card_is_asked_in_the_browser(page):  # noqa: F811
    ask(page, QUERY)
    done(page)
    button = page.locator("button.which").first
    card = page.locator(".card:has(button.which)").first.get_attribute("id")
    text = page.locator(f"#{card} .text").first.text_content()
    fold = page.locator(f"#{card} summary")
    if fold.count():
        fold.first.click()
    button.click()
    page.wait_for_selector(f"#{card} .body .hint", timeout=20_000)
    assert page.locator(f"#{card} .text").first.text_content() == text, "marks leave the text as it was"
    assert page.locator("mark.ev.occlusion:visible").count() + page.locator(f"#{card} .hint:has-text('does not fall')").count() >= 1
