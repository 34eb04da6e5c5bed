"""Which sentence matters: asked of a card, found by leaving each out, marked beside quotes and words; Stop frees the model."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from demo_parts import QUERY, TEXTS, Words, passages
from test_browser import ask, corpus, done, page, site  # noqa: F401 - fixtures

from corpora.registry import Corpus
from dear import events as ev
from dear.engines.fake import FakeGenerator, FakeScorer
from dear.explain import Occlusion, decisive
from dear.replay import replay_html
from dear.types import Evidence, Passage
from demo import limits, session
from demo.exports import export
from demo.kept_runs import KeptRuns
from demo.resources import Resources
from demo.sentences import noted
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


def test_what_was_found_stays_with_the_run(tab):
    """In the events that are exported, and on the page when the next card is asked; the run's other events are as they were."""
    before = tab.kept.events("anna")
    list(tab.sentences(tab.number, ANNA))
    events = list(ev.load(export("jsonl", tab.kept.events("anna"))[1].splitlines()))
    assert events[:-1] == list(before[:-1])
    (found,) = (e for hit in events[-1].hits for e in hit.evidence if e.kind == "occlusion")
    assert (found.passage_id, found.quote) == ("paint", TEXTS["paint"][1][found.start : found.end])
    assert [(hit.id, hit.rank, hit.scores) for hit in events[-1].hits] == [(hit.id, hit.rank, hit.scores) for hit in before[-1].hits]
    list(tab.sentences(tab.number, ANNA))
    assert tab.kept.events("anna") == tuple(events), "asked again, it is there once"
    other = next(n for n in range(1, 7) if n != tab.number)
    last = list(tab.sentences(other, ANNA))[-1]
    assert '<mark class="ev occlusion">' in last[CARDS].split(f'id="card-{tab.number}"')[1].split("</li>")[0]


def test_a_newer_run_is_left_alone(tab):
    steps = tab.sentences(tab.number, ANNA)
    next(steps)
    tab.kept.keep("anna", tab.tickets.open("anna").events)  # as Rank does
    list(steps)
    assert tab.kept.events("anna") == ()


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


@pytest.mark.browser
def test_the_replay_shows_it(chrome, run_events, tmp_path):
    text = TEXTS["paint"][1]
    end = text.index(".") + 1
    file = tmp_path / "run.html"
    file.write_text(replay_html(noted(run_events, Evidence("paint", text[:end], "occlusion", 0, end, grounded=True))), encoding="utf-8")
    context = chrome.new_context(reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(f"{file.as_uri()}#end")
    assert tab.locator(".card mark.ev.occlusion").all_text_contents() == [text[:end]]
    assert tab.locator(".legend mark.occlusion").count() == 1
    context.close()
